"""Why something cannot be saved, where it comes from, and what to do: the words of `NotSavableError`."""

from __future__ import annotations

import collections.abc
import dis
import io
import sys
import threading
import types
from typing import Any

from reactornb.durable.objects.attributes import code_of
from reactornb.durable.objects.errors import NotSavableError
from reactornb.durable.objects.tree import Path
from reactornb.errors import Source, with_article

__all__ = ["Refused", "not_savable", "reason_for"]


class Refused(Exception):  # noqa: N818 - caught where the path to it is known
    """A value that cannot be saved.

    Attributes:
        reason: why, as the end of a sentence.
        fix: what to do; None: what is told of its kind.
    """

    def __init__(self, value: Any, reason: str, fix: str | None = None) -> None:
        super().__init__(reason)
        self.value = value
        self.reason = reason
        self.fix = fix


def reason_for(value: Any) -> tuple[str, str]:
    """Why an object that is more than its attributes cannot be saved, and what to do."""
    cls = type(value)
    module = cls.__module__.partition(".")[0]
    anew = "Make it in startup, and say so in the class that holds it: {transient}"
    if module in ("_thread", "threading") or isinstance(value, threading.Thread):
        return "which belongs to the threads of this process", anew
    if isinstance(value, io.IOBase):
        return "which is open in this process only", anew + ". Keep the path and the position if they matter"
    if module in ("socket", "_socket", "select", "ssl", "_ssl", "asyncio", "_asyncio", "multiprocessing", "subprocess"):
        return "which is open in this process only", anew
    if isinstance(value, (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType)):
        return (
            "which stands in the middle of a function",
            "Keep what it goes through, and how far it is, instead: a list and an index",
        )
    if isinstance(value, collections.abc.Iterator):
        return "which does not say how far it is", "Keep what it goes through and an index instead"
    if isinstance(value, types.FrameType | types.TracebackType | types.CodeType):
        return "which belongs to this process", anew
    name = cls.__qualname__
    return (
        "whose content is not in its attributes",
        f"Say how: reactornb.durable.savable({name}, save=..., load=...). Or, if startup makes it anew: {{transient}}",
    )


def not_savable(instance: Any, path: Path, holder: type | None, value: Any, reason: str, fix: str) -> NotSavableError:
    """The error.

    Args:
        instance: the reactor; None for a value that was sent.
        path: from there to the value.
        holder: class of the object that holds it; None: the reactor does.
        value: what cannot be saved.
        reason: see `Refused`.
        fix: likewise.
    """
    cls, attribute = type(value), path.words.removeprefix("self.").partition(".")[0].partition("[")[0].partition("(")[0]
    if instance is None:
        return _not_sendable(path.words, value, reason, fix.replace("{transient}", f"not in {cls.__qualname__}"))
    named, owner = path.attribute, holder or type(instance)
    if owner.__module__.partition(".")[0] in sys.stdlib_module_names - {"__main__"}:  # whose classes nobody changes
        named, owner = attribute, type(instance)
    fix = fix.replace("{transient}", f'transient = ("{named}",) in {owner.__name__}').rstrip(".") + "."
    source = _assigned(type(instance), attribute)
    where = f"it is assigned in {source}"
    if source is None:
        source = getattr(type(instance), "_definition", None)
        where = f"{type(instance).__name__} is declared in {source}"
    kind = f"{cls.__module__}.{cls.__qualname__}".removeprefix("builtins.")
    return NotSavableError(
        f"{path.reactor}: {path.words} is {with_article(kind)}, {reason}, so the run could not be resumed ({where}). {fix}",
        reactor=path.reactor,
        attribute=path.words,
        kind=cls,
        source=source,
        fix=fix,
    )


def _not_sendable(path: str, value: Any, reason: str, fix: str) -> NotSavableError:
    cls = type(value)
    kind = f"{cls.__module__}.{cls.__qualname__}".removeprefix("builtins.")
    part = path.partition("]")[2]
    return NotSavableError(
        f"a value that was sent and may still be read {f'has {part.lstrip(chr(46))}, ' if part else 'is '}a {kind}, {reason}, so the run could not be resumed. "
        f"{fix.rstrip('.')}.",
        reactor="", attribute=path, kind=cls, source=None, fix=fix,
    )  # fmt: skip


def _assigned(cls: type, name: str) -> Source | None:
    """Where a class's code first stores an attribute of that name."""
    for base in cls.__mro__:
        for value in list(base.__dict__.values()):
            for code in code_of(value):
                if name not in code.co_names:
                    continue
                for step in dis.get_instructions(code):
                    if step.opname == "STORE_ATTR" and step.argval == name and step.positions is not None:
                        return Source(code.co_filename, step.positions.lineno or code.co_firstlineno)
    return None
