"""`Cut`: all that a run is between tags, as plain data, and what it takes to keep one. A run that starts from it goes on as if never interrupted.

Each enclave is cut where it stands when it next comes between two tags, on its leader, while others go on: nobody waits for anybody. What an
enclave sent before its cut, to one that was cut before, is in flight, and belongs to the cut; what it sends after its cut is received by
another one only after that one's. So the parts, at tags of their own, are one consistent state of the run. (Chandy and Lamport 1985,
without markers: the gate sees both ends of each message under one lock. A common tag for all was the first design. Where physical actions
come into a run that does not wait for physical time, or a paused run holds its enclaves apart, there is none that all reach soon.)

The runtime does not know how objects are saved. Whatever the program made, the instances and every value that was sent and may be read again, goes
through a `Keeper`; the rest of a cut is numbers. What of a cut belongs to a part of the runtime is written and read there: `saved` and `load` of
`EventQueue`, `Modes`, `Tuning`, `Machine`, `Gate`, `Recorder`, and `Cutter`. `restoring.py` starts a run from one.

Not in a cut: the trace, the fingerprint's log, what was printed, warnings, profile, estimates of costs. Those of a resumed run begin with it.

# A cut is made by the leaders, one part each, and is complete when `Keeper.taken` is called. Nothing changes it afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from reactornb.model import Reactor
from reactornb.runtime.reactions import RunningReaction
from reactornb.runtime.signals import Signal, TagKey, Timer

__all__ = ["BEFORE_FIRST", "CUT_CLASSES", "Cut", "EnclaveCut", "Keeper", "Named", "Values"]

BEFORE_FIRST: TagKey = (0, -1)
"""The tag of a cut that was taken before the first."""


@dataclass(slots=True)
class EnclaveCut:
    """One enclave between two tags. Signals are named by their numbers (`Signal.order`), values by their places in `Values`.

    Attributes:
        tag: the last one that it executed; `BEFORE_FIRST` if it has not begun.
        is_over: it has executed its last tag.
        tags_done, reactions_done, refused: as counted up to there.
        queue: see `EventQueue.saved`.
        signals: (number, last tag, pending tags) of the actions and delayed edges that have been used.
        handles: per handle that signals of the enclave write, in their order, its value.
        modes: see `Modes.saved`; None without any.
        tuning: see `Tuning.saved`.
        watchdogs: (number of its expiry, physical time left in ns) of those that were started.
        deadlines: (limit in ns, how often missed) of each reaction that has one.
        logged: per reactor of the enclave, in the graph's order, how many rows it had logged.
        sent: (number of the edge, tag, value) of what was in flight to enclaves that were cut before.
        objects: what `Keeper.capture` returned.
    """

    tag: TagKey
    is_over: bool
    tags_done: int
    reactions_done: int
    refused: int
    queue: dict[str, Any]
    signals: list[tuple[int, TagKey | None, list[TagKey]]]
    handles: list[int]
    modes: dict[str, Any] | None
    tuning: dict[str, Any]
    watchdogs: list[tuple[int, int]]
    deadlines: list[tuple[int, int]]
    logged: list[int]
    sent: list[tuple[int, TagKey, int]]
    objects: Any

    @property
    def begun(self) -> bool:
        """It had opened its first tag."""
        return self.tag != BEFORE_FIRST


@dataclass(slots=True)
class Cut:
    """A run between tags.

    Attributes:
        enclaves: one each, in their order.
        elapsed_ns: physical time since the start of the run; it goes on from there.
        start_time_ns: physical time of the start, since the epoch.
        stop_tag: the last tag, where the program itself has asked for the end; `until` is an option, and may be another one.
        promised: per enclave, the physical time before which nothing comes from outside any more, as others were told.
        fingerprint: `Fingerprint.state` of the tags that all enclaves had done; None where none was kept.
        pending: (tag, sum of the terms) of tags that some enclave had done and others had not.
        before_stop: somebody outside asked for the end, and this was taken before it.
    """

    enclaves: list[EnclaveCut]
    elapsed_ns: int
    start_time_ns: int
    stop_tag: TagKey | None
    promised: list[int] = field(default_factory=list)
    fingerprint: bytes | None = None
    pending: list[tuple[TagKey, int]] = field(default_factory=list)
    before_stop: bool = False

    @property
    def tag(self) -> TagKey:
        """The latest that any enclave had executed; `BEFORE_FIRST` if none had begun."""
        return max(part.tag for part in self.enclaves)


CUT_CLASSES = (Cut, EnclaveCut)
"""To be declared to a codec."""


class Keeper(Protocol):
    """Who keeps cuts; `reactornb.durable` has one.

    # `capture` of several enclaves may run at the same time, each on its own leader. What any of these raises ends the run.
    """

    def capture(self, enclave: int, instances: Sequence[Reactor], values: Sequence[Any]) -> Any:
        """Copy what the instances of an enclave hold, and the values; nothing of the enclave runs meanwhile, other enclaves may.

        Values and attributes may be one object, and two values may be: what is restored must be, too. What cannot be changed any
        more, such as an array that is read-only down to its memory, need not be copied.

        Args:
            enclave: its number.
            instances: of the enclave, in the graph's order.
            values: what was sent and may be read again: on the queue, in handles, parameters' changes; may hold anything that can be sent.

        Returns:
            What `restore` is given back, by way of `EnclaveCut.objects`; independent of what the program does from now on.
        """
        ...

    def taken(self, cut: Cut) -> None:
        """A cut is complete. Called once for each, on the leader that completed it, which then goes on: it must return quickly."""
        ...

    def restore(self, objects: Sequence[Any], instances: Sequence[Reactor]) -> Sequence[Sequence[Any]]:
        """Put back what `capture` took; on worker 0, before the first tag, after startup reactions were run with their effects discarded.

        Args:
            objects: per enclave, what `capture` returned.
            instances: all of the run, in the graph's order.

        Returns:
            Per enclave, the values in the order in which `capture` was given them.
        """
        ...


class Values:
    """The values that one enclave's part of a cut refers to, by their places."""

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held: list[Any] = []

    def add(self, value: Any) -> int:
        """The place of a value; -1 for None, by far the most frequent."""
        if value is None:
            return -1
        self.held.append(value)
        return len(self.held) - 1


class Named:
    """What the numbers in one enclave's part of a cut stand for in the run that starts from it.

    Args:
        signals: by number.
        parameter: makes the signal of a parameter, which has a number below 0; see `Schedule.parameter_order`.
        reactions: by number.
        values: by place.
    """

    __slots__ = ("_parameter", "_reactions", "_signals", "_values")

    def __init__(
        self,
        signals: Sequence[Signal],
        parameter: Callable[[int], Signal],
        reactions: Sequence[RunningReaction],
        values: Sequence[Any],
    ) -> None:
        self._signals = signals
        self._parameter = parameter
        self._reactions = reactions
        self._values = values

    def signal(self, order: int) -> Signal:
        """The signal of a number."""
        return self._parameter(order) if order < 0 else self._signals[order]

    def timer(self, order: int) -> Timer:
        """The timer of a number."""
        timer = self._signals[order]
        if not isinstance(timer, Timer):
            raise LookupError(f"{timer} is no timer")  # noqa: TRY004 - data that do not fit, as any other number
        return timer

    def reaction(self, index: int) -> RunningReaction:
        """The reaction of a number."""
        return self._reactions[index]

    def value(self, place: int) -> Any:
        """The value at a place."""
        return None if place < 0 else self._values[place]
