"""What reactions hold: ports, actions, modes and watchdogs as a body sees them, and how a value reaches its readers.

A value written to a port is written through to the handle of every reader, so reading costs one slot access and no
reader shares an object with another.
"""

from __future__ import annotations

import numbers
import types
from collections.abc import Callable
from typing import Any, Union, get_args, get_origin

import numpy

from reactornb.errors import SendingError, UndeclaredEffectError
from reactornb.model.ownership import thawed
from reactornb.runtime.sending import PLAIN, apart, freeze_array, ndarray, settled

__all__ = [
    "LOOKED_AT",
    "ActionHandle",
    "AsIsOutPort",
    "AskedOutPort",
    "FeedingOutPort",
    "FirstOutPort",
    "InPort",
    "ModeHandle",
    "Multiport",
    "OutPort",
    "ScalarOutPort",
    "SingleOutPort",
    "View",
    "WatchdogHandle",
    "accepted_by",
    "deliver_to",
]  # fmt: skip


class InPort:
    """What a reaction reads: the value and whether there is one at this tag.

    Attributes:
        value: the newest value; the last one stays readable while the port is absent (None before the first).
        is_present: true if the port was written at this tag.
    """

    __slots__ = ("is_present", "name", "value")

    def __init__(self, name: str) -> None:
        self.name = name
        self.value: Any = None
        self.is_present = False

    def __repr__(self) -> str:
        return f"<{self.name} = {self.value!r}>" if self.is_present else f"<{self.name} absent>"

    def __getattr__(self, name: str) -> Any:
        if name == "set":
            raise UndeclaredEffectError(
                f"{self.name} can only be read here. A reaction writes its own reactor's outputs, named in its signature, and the "
                f"inputs of contained reactors, declared with effects=."
            )
        raise AttributeError(
            f"{self.name}: a port has .value, .is_present and, where it may be written, .set; not .{name}. What was sent is its value: "
            f"{self.name.rpartition('.')[2]}.value.{name}"
        )


NO_PORT = InPort("")


class OutPort:
    """What a reaction writes. What `set` does is decided by `Schedule`, and everything that it needs is in this one object.

    # A port belongs to one reactor, so one worker at a time calls `set`. Only the group is shared with other writers.
    """

    __slots__ = (
        "_accepted",
        "_clear",
        "_deliver",
        "_enqueue",
        "_fire",
        "_group",
        "_groups",
        "_handles",
        "_left",
        "_only",
        "_plain",
        "_settle",
        "_signal",
        "_state",
        "_then",
        "name",
    )

    _clear: Callable[[Any], None] | None
    _deliver: Callable[[Any], None]
    _enqueue: Callable[[Any], None]
    _fire: Callable[[Any], None] | None
    _group: Any
    _groups: tuple[tuple[Callable[[Any], None], Any], ...]
    _handles: tuple[InPort, ...]
    _only: InPort
    _plain: type
    _settle: Callable[[Any, str], Any] | None
    _accepted: tuple[type, ...]
    _left: int
    _then: type[OutPort]
    _signal: Any

    def __init__(self, name: str, state: InPort) -> None:
        self.name = name
        self._state = state

    def set(self, value: Any) -> None:
        """Make the port present with that value at this tag; a later call at the same tag replaces it.

        What the readers get is settled here, see `sending`: the sender may go on changing what is its own.

        Raises:
            SendingError: for a port in place of its value.
        """
        kind = type(value)
        if kind is ndarray and not value.dtype.hasobject:
            if value.base is not None:
                value = apart(value)
            freeze_array(value, False)
        elif kind not in PLAIN:
            value = settled(value, self.name)
        self._send(value)

    def _send(self, value: Any) -> None:
        """Hand a value, settled, to the readers, and have what it triggers run."""
        self._deliver(value)
        if self._clear is not None:
            self._clear(self._handles)
        for enqueue, group in self._groups:
            if not group.queued:
                group.queued = True
                enqueue(group)
        if self._fire is not None:
            signal = self._signal
            if not signal.fired:
                signal.fired = True
                self._fire(signal)

    @property
    def value(self) -> Any:
        """The value set last."""
        return self._state.value

    @property
    def is_present(self) -> bool:
        """True if it was set at this tag."""
        return self._state.is_present

    def __repr__(self) -> str:
        return repr(self._state)


class SingleOutPort(OutPort):
    """A port with one reader whose value triggers one group and goes nowhere else: the hottest case."""

    __slots__ = ()

    def set(self, value: Any) -> None:
        """See `OutPort`."""
        kind = type(value)
        if kind is ndarray and not value.dtype.hasobject:
            if value.base is not None:
                value = apart(value)
            freeze_array(value, False)
        elif kind not in PLAIN:
            value = settled(value, self.name)
        only = self._only
        only.value = value
        only.is_present = True
        if not self._group.queued:
            group = self._group
            group.queued = True
            self._enqueue(group)


class ScalarOutPort(SingleOutPort):
    """A port like that whose declared type is one of Python's numbers or strings: a value of just that type needs no further look.

    Python does not enforce the declared type: an array that is sent all the same, or a tuple that holds one, becomes read-only. The rest
    of `set` is repeated here because a call would cost more than it does.
    """

    __slots__ = ()

    def set(self, value: Any) -> None:
        """See `OutPort`."""
        if type(value) is not self._plain and type(value) not in PLAIN:
            value = settled(value, self.name)
        only = self._only
        only.value = value
        only.is_present = True
        if not self._group.queued:
            group = self._group
            group.queued = True
            self._enqueue(group)


class AsIsOutPort(SingleOutPort):
    """A port like that with `Output(copy=False)`: every value goes as it is."""

    __slots__ = ()

    def set(self, value: Any) -> None:
        """See `OutPort`."""
        only = self._only
        only.value = value
        only.is_present = True
        if not self._group.queued:
            group = self._group
            group.queued = True
            self._enqueue(group)


class AskedOutPort(OutPort):
    """A port whose declaration says what is copied: `Output(copy=…)`."""

    __slots__ = ()

    def set(self, value: Any) -> None:
        """See `OutPort`."""
        self._send(value if self._settle is None else self._settle(value, self.name))


LOOKED_AT = 8


class FirstOutPort(OutPort):
    """A port that checks its first `LOOKED_AT` values against its declared type, and then takes the class without that check.

    Checking every value would cost 5 % of a reaction, and a program that sends something other than it declares usually does so at once.
    With `check_values=True` every value is checked.
    """

    __slots__ = ()

    def set(self, value: Any) -> None:
        """See `OutPort`."""
        if not isinstance(value, self._accepted):
            raise SendingError(_mismatch(self, value))
        self._left -= 1
        self._then.set(self, value)
        if not self._left:
            self.__class__ = self._then  # type: ignore[assignment]


_NAMES = {"Integral": "int", "Real": "float", "Complex": "complex"}

_TYPES: dict[Any, tuple[type, ...]] = {
    # The plain type first: to ask `numbers` takes a microsecond, ten times what a small reaction does.
    int: (int, numbers.Integral),
    float: (float, numbers.Real),
    complex: (complex, numbers.Complex),
    bool: (bool, numpy.bool_),
    **{kind: (kind,) for kind in (str, bytes, list, dict, set, tuple, ndarray)},
}


def accepted_by(port: Any) -> tuple[type, ...]:
    """The types that fit what a port declares; () where it declares nothing, or what takes more than a look at the type."""
    alias = getattr(port, "__orig_class__", None)
    if alias is None:
        return ()
    (declared,) = get_args(alias)
    return _accepted(declared)


def _accepted(declared: Any) -> tuple[type, ...]:
    if declared is None or declared is type(None):
        return (type(None),)
    if get_origin(declared) in (Union, types.UnionType):
        parts = [_accepted(part) for part in get_args(declared)]
        return tuple(kind for part in parts for kind in part) if all(parts) else ()
    return _TYPES.get(get_origin(declared) or declared, ())


def _mismatch(port: OutPort, value: Any) -> str:
    settled(value, port.name)  # a port in place of its value is told first
    wanted = " or ".join(dict.fromkeys(_NAMES.get(k.__name__, k.__name__) for k in port._accepted))
    fix = f"Send {wanted}(…)" if wanted in ("int", "float", "str", "bool") else "Send that"
    return (
        f"{port.name} is declared as a port of {wanted}, and was given {value!r:.80} (a {type(value).__name__}). {fix}, or declare the port as what "
        f"it carries: Output[{type(value).__name__}]()."
    )


class FeedingOutPort(OutPort):
    """A port whose value goes only to delayed connections or other enclaves, which read it when the tag ends."""

    __slots__ = ()

    def set(self, value: Any) -> None:
        """See `OutPort`."""
        kind = type(value)
        if kind is ndarray and not value.dtype.hasobject:
            if value.base is not None:
                value = apart(value)
            freeze_array(value, False)
        elif kind not in PLAIN:
            value = settled(value, self.name)
        only = self._only
        only.value = value
        only.is_present = True
        signal = self._signal
        if not signal.fired:
            signal.fired = True
            self._fire(signal)  # type: ignore[misc]


class Multiport(tuple[Any, ...]):
    """The channels of a multiport, in order."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise UndeclaredEffectError(
            f"a multiport has .width, .present, .values and .is_present, and its channels, ports of their own, are reached by number: [0].{name}; not .{name}"
        )

    @property
    def width(self) -> int:
        """How many channels."""
        return len(self)

    @property
    def is_present(self) -> bool:
        """True if any channel is present."""
        return any(c.is_present for c in self)

    @property
    def present(self) -> list[tuple[int, Any]]:
        """(channel, value) of the channels that are present, in order."""
        return [(i, c.value) for i, c in enumerate(self) if c.is_present]

    @property
    def values(self) -> list[Any]:
        """The values of the channels that are present, in order."""
        return [c.value for c in self if c.is_present]


class ActionHandle(InPort):
    """An action or timer as a reaction sees it.

    Attributes:
        schedule: for actions, `schedule(delay=0, value=None)`, with a delay such as ms(5); 0 is the next microstep. That of a logical action belongs to the
            reactions that name it. That of a physical action may be kept and called from any thread, a signal handler or a
            reaction, for as long as one likes: it never blocks, wakes a run that waits, and is ignored once the run is over. At
            most 65,536 events of an action may wait to be handled; one more raises `InboxFullError` to its caller and is counted
            in `run.status()["refused"]`, so nothing is dropped in silence.
    """

    __slots__ = ("schedule",)

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.schedule: Callable[..., None]


class ModeHandle:
    """A mode as a reaction sees it: `set()` enters it at the next microstep, resetting it; `set(history=True)` resumes it."""

    __slots__ = ("index", "name", "set")

    def __init__(self, name: str, index: int) -> None:
        self.name = name
        self.index = index
        self.set: Callable[..., None]


class WatchdogHandle:
    """A watchdog as a reaction sees it: `start(extra=0)` (re)starts it, with a duration as extra, `stop()` stops it."""

    __slots__ = ("name", "start", "stop")

    def __init__(self, name: str) -> None:
        self.name = name
        self.start: Callable[..., None]
        self.stop: Callable[[], None]


class View:
    """A contained reactor as its container's reaction sees it: the ports that the reaction declared, nothing else."""

    def __init__(self, name: str, ports: dict[str, Any], reaction: str) -> None:
        self.__dict__.update(ports)
        self.__dict__["_name"] = name
        self.__dict__["_reaction"] = reaction

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        declared = ", ".join(k for k in self.__dict__ if not k.startswith("_")) or "nothing"
        raise UndeclaredEffectError(
            f"{self._reaction} touches {self._name}.{name} without declaring it (it declares: {declared}). Add it to the reaction's "
            f"triggers, uses= or effects=."
        )


class Hidden:
    """Stands on a running instance where the class has a contained reactor: reactors do not share state."""

    def __init__(self, label: str) -> None:
        self._label = label

    def __getattr__(self, name: str) -> Any:
        label = self._label
        raise UndeclaredEffectError(
            f"self.{label}.{name} cannot be reached while the program runs; name {label!r} in the reaction's signature and declare "
            f"the port: @reaction(…, uses={label}.{name}) or effects={label}.{name}."
        )


def deliver_to(
    handles: tuple[InPort, ...], mutable: list[bool], flagged: tuple[InPort, ...] | None = None
) -> Callable[[Any], None]:
    """Write a value, settled as `sending` says, through to its readers.

    Args:
        handles: who reads it.
        mutable: per handle, whether its reader gets a copy of its own.
        flagged: those of the handles to mark present; all of them unless given.
    """
    if flagged is None:
        flagged = handles
    if any(mutable):

        def to_mixed(value: Any) -> None:
            for h, own in zip(handles, mutable, strict=True):
                h.value = thawed(value) if own else value
            for h in flagged:
                h.is_present = True

        return to_mixed
    if len(handles) == 1 and not flagged:
        (steady,) = handles

        def to_steady(value: Any) -> None:
            steady.value = value

        return to_steady
    if len(handles) == 1:
        (only,) = handles

        def to_one(value: Any) -> None:
            only.value = value
            only.is_present = True

        return to_one

    def to_many(value: Any) -> None:
        for h in handles:
            h.value = value
        for h in flagged:
            h.is_present = True

    return to_many
