"""From a value to tokens: a loop over its parts, each value before its parts."""

from __future__ import annotations

import json
from operator import length_hint
from typing import Any, NamedTuple

from reactornb.errors import UnencodableValueError
from reactornb.runtime.codec.classes import NONE_DECLARED, Classes
from reactornb.runtime.codec.layout import Encoded
from reactornb.runtime.codec.parts import LEAVES, NUMBERED, Part, RefusedPartError, tokens_of_many
from reactornb.runtime.codec.write_objects import WRITERS, find_writer

__all__ = ["encode", "to_json"]


def encode(value: Any, classes: Classes | None = None) -> Encoded:
    """A value as a JSON text and buffers.

    Args:
        value: the value; while it is encoded, and until its buffers are written, nobody may change it.
        classes: which classes and functions it may contain; None: Python's and NumPy's own only.

    Raises:
        UnencodableValueError: for a part of it that cannot be encoded; it names the part, its type, and what to do.
    """
    writer = _Writer(NONE_DECLARED if classes is None else classes)
    try:
        writer.write(value)
    except RefusedPartError as error:
        cls = error.kind
        raise UnencodableValueError(
            f"{writer.where()} is a {cls.__module__}.{cls.__qualname__}: {error.reason}",
            path=writer.where(),
            kind=cls,
        ) from error.__cause__
    return Encoded(to_json(writer.tokens).encode(), tuple(writer.buffers))


to_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=False).encode


class _Opened(NamedTuple):
    value: Any
    children: list[Any]
    left: Any  # their iterator
    labels: list[str] | None
    unfinished: bool  # it is in `_unfinished`


class _Writer:
    """One walk over a value; all of it belongs to the thread that walks."""

    def __init__(self, classes: Classes) -> None:
        self.classes = classes
        self.tokens: list[Any] = []
        self.buffers: list[memoryview] = []
        self._numbers: dict[int, int] = {}  # by id, of what may be met again
        self._kept: list[Any] = []  # these, so that no id is given twice
        self._unfinished: set[int] = set()  # ids of what is complete only with all its parts, and is not yet
        self._stack: list[_Opened] = []

    def add_buffer(self, memory: memoryview) -> int:
        """Keep memory beside the text; returns its number."""
        self.buffers.append(memory)
        return len(self.buffers) - 1

    def write(self, value: Any) -> None:
        tokens, stack = self.tokens, self._stack
        append = tokens.append
        children: list[Any] = [value]
        stack.append(_Opened(None, children, iter(children), None, False))
        while stack:
            for child in stack[-1].left:
                leaf = LEAVES.get(type(child))
                if leaf is not None:
                    append(leaf(child))
                    continue
                me = id(child)
                number = self._numbers.get(me)
                if number is not None:
                    if me in self._unfinished:
                        raise RefusedPartError(
                            "it contains itself, and is complete only with all its parts; use a list or an object",
                            child,
                        )
                    append(["^", number])
                    continue
                part = self._part(child)
                append(part.token)
                numbered = part.token[0] in NUMBERED
                if numbered:
                    self._numbers[me] = len(self._kept)
                    self._kept.append(child)
                if not part.children:
                    continue
                many = tokens_of_many(self, part.children)
                if many is not None:
                    tokens += many
                    continue
                fixed = part.is_fixed and numbered
                if fixed:
                    self._unfinished.add(me)
                stack.append(_Opened(child, part.children, iter(part.children), part.labels, fixed))
                break
            else:
                done = stack.pop()
                if done.unfinished:
                    self._unfinished.discard(id(done.value))

    def _part(self, value: Any) -> Part:
        cls = type(value)
        try:
            return (WRITERS.get(cls) or find_writer(cls, self.classes))(self, value)
        except RefusedPartError:
            raise
        except Exception as error:
            raise RefusedPartError(f"it cannot be taken apart ({type(error).__name__}: {error})", value) from error

    def where(self) -> str:
        """The part at which the walk stands, as one would write it in Python."""
        words = ["value"]
        for opened in self._stack[1:]:
            at = len(opened.children) - length_hint(opened.left) - 1
            if opened.labels is not None:
                label = opened.labels[at] if at < len(opened.labels) else "?"
                words.append(f".{label}" if label.isidentifier() else f"[{label}]")
            elif isinstance(opened.value, dict):
                words.append(f"[{opened.children[at - 1]!r:.40}]" if at % 2 else f".keys()[{at // 2}]")
            elif isinstance(opened.value, (set, frozenset)):
                words.append(".member")
            else:
                words.append(f"[{at}]")
        return "".join(words if len(words) < 12 else [*words[:6], " … ", *words[-5:]])
