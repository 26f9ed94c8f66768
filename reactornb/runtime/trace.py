"""What a run leaves behind: trace, fingerprint, value checks, and the wording of a failure.

A `Recorder` is called between levels and at the end of tags by the leader; where there are several enclaves, `level` by each leader
(it only appends, which is atomic) and `end_of_tag` under the gate's lock. So it needs no lock. `Trace` is read after the run,
`fingerprint` at any time (its newest digest is one reference, replaced whole).
"""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
import struct
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import numpy

from reactornb.errors import ReactionError, Source, ValueChangedError
from reactornb.model import Reactor
from reactornb.runtime.signals import RunningReaction, Signal
from reactornb.tags import Tag

__all__ = ["Recorder", "Trace", "digest", "failure"]


@dataclasses.dataclass
class Trace:
    """What ran and what was written, in order.

    Attributes:
        executions: (tag, full name of the reaction); within a level in the order of the reactions' numbers.
        writes: (tag, full name of the port, action or timer, value), ordered by tag and number.
    """

    executions: list[tuple[Tag, str]] = dataclasses.field(default_factory=list)
    writes: list[tuple[Tag, str, Any]] = dataclasses.field(default_factory=list)

    def tags(self, name: str) -> list[Tag]:
        """The tags at which the reactions whose full name is `name`, or ends in `.name`, ran."""
        return [tag for tag, n in self.executions if n == name or n.endswith("." + name)]

    def values(self, name: str) -> list[tuple[Tag, Any]]:
        """(tag, value) of everything written to the ports of that name."""
        return [(tag, v) for tag, n, v in self.writes if n == name or n.endswith("." + name)]

    def reactions(self) -> list[str]:
        """Names of the reactions, in the order they ran."""
        return [n for _, n in self.executions]


class Recorder:
    """Records as much of a run as was asked for."""

    def __init__(self, *, trace: bool = False, fingerprint: bool = False, check_values: bool = False) -> None:
        self.trace = Trace() if trace else None
        self._hash = hashlib.blake2b(digest_size=16) if fingerprint else None
        self._check = check_values
        self.serial = check_values  # finding the culprit needs one reaction at a time
        self.records_values = trace or fingerprint
        self.records_reactions = trace or check_values
        self.apart = False  # several enclaves report: their levels come in any order
        self.changes: list[tuple[Tag, int, Any]] = []  # (tag, number of the parameter, `tuning.Change`)
        self._ran: list[tuple[Tag, int, int, str]] = []
        self.fingerprint: str | None = self._hash.hexdigest() if self._hash is not None else None

    def level(self, tag: Tag, ready: Sequence[RunningReaction]) -> Callable[[RunningReaction], None] | None:
        """A level is about to run; what is returned is to be called after each of its reactions."""
        if self.trace is not None:
            if self.apart:
                self._ran += [(tag, r.level, r.index, r.name) for r in ready]
            else:
                self.trace.executions += [(tag, r.name) for r in sorted(ready, key=lambda r: r.index)]
        if not self._check:
            return None
        before = {id(p): digest(p.value) for r in ready for p in r.reads if p.is_present}

        def check(r: RunningReaction) -> None:
            for port in r.reads:
                if port.is_present and before.get(id(port)) not in (None, digest(port.value)):
                    raise ValueChangedError(
                        f"{r.name} ({r.node.source}) changed the value that it read from {port.name}. Values are shared with other "
                        f"readers: copy before changing, or declare Input(mutable=True)."
                    )

        return check

    def written(self, present: Sequence[Signal]) -> list[Written]:
        """What is worth recording of a tag that ends in one enclave."""
        return [
            (s.order, s.name, s.state.value) for s in set(present) if not s.is_delay
        ]  # a delayed connection repeats what its port wrote

    def end_of_tag(self, tag: tuple[int, int], written: list[Written]) -> None:
        """Take in what was written at a tag, ordered by the signals' numbers, so that threads leave no mark."""
        written.sort(key=_order)
        for order, name, value in written:
            if self.trace is not None:
                self.trace.writes.append((Tag(*tag), name, value))
            if self._hash is not None:
                self._hash.update(struct.pack("<qqq", *tag, order))
                _feed(self._hash.update, value)
        if self._hash is not None:
            self.fingerprint = self._hash.hexdigest()

    def finish(self) -> None:
        """The run is over: bring what several enclaves executed into the order of tags."""
        if self.trace is not None and self._ran:
            self.trace.executions[:] = [(tag, name) for tag, _, _, name in sorted(self._ran)]


Written = tuple[int, str, Any]
"""Number, name and value of a signal."""


def _order(written: Written) -> int:
    return written[0]


def digest(value: Any) -> str:
    """BLAKE2b over a canonical form of the value (see `_feed`)."""
    h = hashlib.blake2b(digest_size=16)
    _feed(h.update, value)
    return h.hexdigest()


def _feed(update: Callable[[Any], None], value: Any) -> None:
    """Hash plain data, arrays, tensors and dataclasses by content; anything else by its pickle, or its type's name."""
    kind = type(value)
    if value is None or kind is bool:
        update(repr(value).encode())
    elif kind is int:
        update(b"i%d" % value)
    elif kind is float:
        update(b"f" + struct.pack("<d", value))
    elif kind is str:
        update(b"s%d:" % len(value) + value.encode("utf-8", "surrogatepass"))
    elif kind is bytes:
        update(b"b%d:" % len(value) + value)
    elif isinstance(value, (tuple, list)):
        update(b"t%d" % len(value))
        for item in value:
            _feed(update, item)
    elif isinstance(value, dict):
        update(b"d%d" % len(value))
        for key, item in value.items():
            _feed(update, key)
            _feed(update, item)
    elif isinstance(value, (set, frozenset)):
        update(b"e%d" % len(value))
        for item in sorted(digest(v) for v in value):
            update(item.encode())
    elif isinstance(value, (numpy.ndarray, numpy.generic)) and value.dtype != object:
        update(f"a{value.dtype.str}{value.shape}".encode())
        update(
            numpy.ascontiguousarray(value).tobytes()
            if value.ndim == 0 or value.size == 0
            else numpy.ascontiguousarray(value).data.cast("B")
        )
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        update(f"c{kind.__qualname__}".encode())
        for field in dataclasses.fields(value):
            _feed(update, getattr(value, field.name))
    elif hasattr(value, "detach") and hasattr(value, "cpu"):
        _feed(update, value.detach().cpu().numpy())
    else:
        try:
            update(pickle.dumps(value, protocol=4))
        except Exception:  # noqa: BLE001 - what cannot be pickled has no content that two runs could compare
            update(f"o{kind.__module__}.{kind.__qualname__}".encode())


def failure(r: RunningReaction, cls: type[Reactor], tag: Tag, error: BaseException) -> ReactionError:
    """The error that ends a run, pointing at the deepest line of the user's code."""
    frames = traceback.extract_tb(error.__traceback__)
    body = r.node.declaration.fn.__code__.co_filename if r.node.declaration is not None else None
    source: Source | None = r.node.source
    for frame in frames:
        if frame.filename == body:
            source = Source(frame.filename, frame.lineno or 0)
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    made = ReactionError(
        f"reaction {r.name} raised at tag {tag}, {source}: {said}{_forgotten(r, cls, error)}",
        reaction=r.name,
        tag=tag,
        source=source,
    )
    made.__cause__ = error
    return made


def _forgotten(r: RunningReaction, cls: type[Reactor], error: BaseException) -> str:
    """What to do where a body uses a port or action by a bare name that its signature leaves out; "" otherwise."""
    declaration, name = r.node.declaration, getattr(error, "name", None)
    if declaration is None or not isinstance(error, NameError) or name not in cls._spec.touchable:
        return ""
    signature = ", ".join(("self", *declaration.parameters, name))
    return f". {cls.__name__} declares {name}; a reaction names what it touches: def {declaration.fn.__name__}({signature})"
