"""What every instance of a Lingua Franca reactor brings along: defaults that are worked out, and user trace events."""

from __future__ import annotations

import zlib
from types import SimpleNamespace
from typing import Any

from reactornb.model import Reactor

__all__ = ["TRACING", "compose", "initialise"]


def initialise(self: Any, **given: Any) -> None:
    """Parameters not given have their defaults computed, each able to refer to those before it."""
    values: dict[str, Any] = {}
    scope = SimpleNamespace(bank_index=given.get("bank_index", 0))
    for name, thunk in self._lf_defaults.items():
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
    for cls in reversed(type(self).__mro__):
        steps = vars(cls).get("_lf_steps")
        if steps is not None:
            for step in steps:
                step(self)
        elif cls is not Reactor and "compose" in vars(cls):  # declared in Python
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
