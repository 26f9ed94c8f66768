"""What instances of Lingua Franca reactors have besides what every reactor has: computed defaults, contents, and user trace events."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from reactornb.model import Reactor
from reactornb.model.spec import written_bases

__all__ = ["TRACING", "Contents", "compose", "contents_of", "initialise"]


@dataclass(frozen=True, slots=True)
class Contents:
    """What the class of a Lingua Franca reactor keeps under `_lf`.

    Attributes:
        defaults: parameter -> what computes its default, from the reactor and the index in its bank; inherited ones included.
        steps: what `compose` does for this class's own contents, in order; each step is called with the instance.
        children: names of all contained reactors, inherited ones included.
    """

    defaults: Mapping[str, Callable[[Any, int], Any]]
    steps: tuple[Callable[[Reactor], None], ...]
    children: tuple[str, ...]


def contents_of(cls: Any) -> Contents:
    """The contents of a class made from Lingua Franca text, or of the nearest such base."""
    contents: Contents = cls._lf
    return contents


def initialise(self: Any, **given: Any) -> None:
    """Parameters not given have their defaults computed, each able to refer to those before it."""
    values: dict[str, Any] = {}
    scope = SimpleNamespace(bank_index=given.get("bank_index", 0))
    for name, thunk in contents_of(type(self)).defaults.items():
        if name in given:
            values[name] = given[name]
        elif name != "bank_index":
            values[name] = thunk(scope, scope.bank_index)
        else:
            continue
        scope.__dict__[name] = values[name]
    Reactor.__init__(self, **{**given, **values})


def compose(self: Reactor) -> None:
    """Make the contained reactors and connections of all that the class extends, each once, and its own."""
    for cls in written_bases(type(self)):
        if vars(cls).get("_translated"):
            for step in contents_of(cls).steps:
                step(self)
        elif "compose" in vars(cls):  # declared in Python
            vars(cls)["compose"](self)


_descriptions: dict[int, str] = {}


def register_user_trace_event(_self: Any, description: str) -> int:
    """A handle for `tracepoint_user_event`; what is traced appears among the run's metrics under its description."""
    # A dict's setdefault is atomic, and the same description always has the same handle, whoever asks first.
    handle = zlib.crc32(description.encode()) or 1
    _descriptions.setdefault(handle, description)
    return handle


def tracepoint_user_event(self: Any, handle: int) -> None:
    """Trace an event."""
    tracepoint_user_value(self, handle, 1)


def tracepoint_user_value(self: Any, handle: int, value: float) -> None:
    """Trace a value."""
    Reactor.log(self, **{_descriptions.get(handle, str(handle)): value})


TRACING = (register_user_trace_event, tracepoint_user_event, tracepoint_user_value)
