"""Signals: whatever can be present at a tag. Ports, timers, actions, delayed edges and parameters.

A signal writes its value to the handles of its readers (`deliver`), and makes reactions ready (`fanout`). What else there is to
it depends on its kind, one class each. The compiled schedule (`schedule.py`) makes all of them before the first tag.

# All fields are written before the first tag, but for these, which belong to the leader of the signal's enclave: `last_tag`, `pending`,
# and of whatever a tag's events bring `fired`. A port's `fired` is written by the worker that runs the reaction that sets it (one
# at a time), and by the leader when the tag has ended; the level's end orders the two.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from reactornb.runtime.groups import Group
from reactornb.runtime.handles import NO_PORT, InPort
from reactornb.runtime.reactions import RunningReaction

__all__ = ["Action", "Beat", "DelayedEdge", "Event", "Fanout", "Parameter", "Pending", "Port", "Queued", "Signal", "TagKey", "Timer"]  # fmt: skip

TagKey = tuple[int, int]
"""A tag as the runtime compares it: (time in ns, microstep)."""


class Pending(set[TagKey]):
    """The tags at which an action or a delayed connection is queued, at most one event each; the leader's own.

    Events that meet at one time follow each other in microsteps. `free` remembers how far it has looked, so a million events
    for one time take a million steps, not a million times a million.

    # _runs   time in ns -> (first, end): every microstep from first to end - 1 was taken when `free` last looked. A tag that has been
    #         executed leaves the set and stays in its run, which does no harm: nobody asks for a tag that is over. Whoever takes an
    #         event back (`update`, a mode that is left) calls `take_back`, which forgets the run.
    """

    __slots__ = ("_most", "_runs")

    def __init__(self) -> None:
        super().__init__()
        self._runs: dict[int, tuple[int, int]] = {}
        self._most = 64  # runs, before those that are over are looked for

    def free(self, tag: TagKey) -> TagKey:
        """The first tag, from `tag` on and at its time, at which nothing is queued."""
        if tag not in self:
            return tag
        time_ns, microstep = tag
        first, end = self._runs.get(time_ns, (-1, -1))
        if not first <= microstep < end:
            first = end = microstep
        while (time_ns, microstep) in self:
            microstep = max(microstep + 1, end)
        if len(self._runs) >= self._most:
            self._runs = {t: run for t, run in self._runs.items() if (t, run[1] - 1) in self}
            self._most = max(2 * len(self._runs), 64)
        self._runs[time_ns] = (first, microstep)
        return (time_ns, microstep)

    def take_back(self, tag: TagKey) -> None:
        """The event of a tag that is yet to come is off the queue."""
        self.discard(tag)
        self._runs.pop(tag[0], None)


class Fanout:
    """What a signal makes ready at its tag.

    Attributes:
        groups: the reactions by level, each group with the function that queues it there.
        sole_group: the group, if there is only one.
        reach: the highest level that anything it sets off at the same tag can be on, -1 if it sets off nothing.
        level_range: the levels on which something may be ready once it is present; `later_levels`: those above the first.
    """

    __slots__ = ("groups", "later_levels", "level_range", "reach", "sole_group")

    def __init__(
        self,
        triggers: Sequence[RunningReaction] = (),
        groups: tuple[tuple[Callable[[Group], None], Group], ...] = (),
    ) -> None:
        self.groups = groups
        self.reach = max((r.reach for r in triggers), default=-1)
        self.sole_group = groups[0][1] if len(groups) == 1 else None
        lowest = groups[0][1].level if groups else 0
        self.level_range = _levels(lowest, self.reach)
        self.later_levels = _levels(lowest + 1, self.reach)


@functools.lru_cache
def _levels(lowest: int, highest: int) -> range:
    """One object for all who need it."""
    return range(lowest, highest + 1)


_NOTHING = Fanout()


class Signal:
    """Something that is present at a tag; one of the classes below, or an event of the runtime's own.

    Attributes:
        order: position in the fingerprint's order.
        enclave: where it is present, and where what it triggers lives.
        mode: it hears nothing while this mode is not active; -1 outside of modes.
        handles: what its value is written through to; cleared when the tag ends.
        clears: those of its handles whose presence somebody can ask for, marked absent when the tag ends.
        state: the handle that keeps the newest value.
        deliver: writes a value to all handles.
        triggers: reactions it makes ready; `fanout` has them as they are queued.
        delays: delayed edges that it feeds when it is present at a tag's end.
        zero_delay_edge: that edge, if it is the only one, of one microstep, in the same enclave, and `is_plain`.
        at_tag_end: a tag's end must know of it: it feeds delayed edges, or values are recorded.
        fired: it stands on the list of this tag's end; as `Group.queued`.
        recorded: traces and fingerprints take it in.
        period, pending: see `Timer`, `Action`, `DelayedEdge`; here so that whoever opens a tag need not ask for the class.
    """

    __slots__ = (
        "at_tag_end", "clears", "delays", "deliver", "enclave", "fanout", "fired", "handles", "mode", "name", "order", "state", "triggers",
        "zero_delay_edge",
    )  # fmt: skip

    recorded = False
    period = 0
    pending: Pending | None = None

    def __init__(self, name: str, enclave: int = 0) -> None:
        self.name = name
        self.enclave = enclave
        self.order = 0
        self.mode = -1
        self.handles: tuple[InPort, ...] = ()
        self.clears: tuple[InPort, ...] = ()
        self.state: InPort = NO_PORT
        self.deliver: Callable[[Any], None] = _nowhere
        self.triggers: tuple[RunningReaction, ...] = ()
        self.fanout = _NOTHING
        self.delays: tuple[DelayedEdge, ...] = ()
        self.zero_delay_edge: DelayedEdge | None = None
        self.at_tag_end = False
        self.fired = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lower()} {self.name}>"


class Port(Signal):
    """A port's channel that reactions write.

    Attributes:
        channel: its index in the graph.
    """

    __slots__ = ("channel",)

    recorded = True

    def __init__(self, name: str, enclave: int, channel: int) -> None:
        super().__init__(name, enclave)
        self.channel = channel


class Event(Signal):
    """What the event queue brings by itself: a timer, an action, a watchdog's expiry."""

    __slots__ = ()

    recorded = True


class Timer(Event):
    """A timer.

    Attributes:
        offset, period: in ns; period 0: it comes once.
        beat: of a periodic timer what the scheduler needs each time, in one small object, since 10,000 timers do not fit a core's cache.
    """

    __slots__ = ("beat", "offset", "period")

    def __init__(self, name: str, enclave: int, offset: int, period: int) -> None:
        super().__init__(name, enclave)
        self.offset = offset
        self.period = period
        self.beat: Beat = (None, period, _NOTHING.later_levels, (), self)


class Action(Event):
    """An action, or a watchdog's expiry.

    Attributes:
        min_delay, min_spacing: in ns; see Lingua Franca's handbook, as for `policy`.
        last_tag: for which it was scheduled last.
        pending: the tags at which it is queued.
    """

    __slots__ = ("last_tag", "min_delay", "min_spacing", "pending", "policy")

    def __init__(
        self, name: str, enclave: int, *, min_delay: int = 0, min_spacing: int | None = None, policy: str = "defer"
    ) -> None:
        super().__init__(name, enclave)
        self.min_delay = min_delay
        self.min_spacing = min_spacing
        self.policy = policy
        self.last_tag: TagKey | None = None
        self.pending: Pending = Pending()


class DelayedEdge(Signal):
    """A delayed or physical connection, or what carries a port's value to another enclave: what arrives at its end.

    Attributes:
        after: the delay in ns; 0: one microstep; -1: none, to another enclave.
        physical: it arrives at the physical time at which the tag ends, plus the delay.
        last_tag: at which it was last fed.
        pending: the tags at which it is queued; None where values cannot meet.
    """

    __slots__ = ("after", "last_tag", "pending", "physical")

    def __init__(self, name: str, enclave: int, *, after: int, physical: bool = False, mode: int = -1) -> None:
        super().__init__(name, enclave)
        self.after = after
        self.physical = physical
        self.mode = mode
        self.last_tag: TagKey | None = None
        self.pending: Pending | None = Pending() if after > 0 or physical else None

    @property
    def is_plain(self) -> bool:
        """Its arrival only writes values and queues groups, where there are no modes."""
        return self.pending is None and not self.at_tag_end


class Parameter(Signal):
    """A parameter that is changed while the program runs; see `tuning`."""

    __slots__ = ()

    recorded = True


Queued = tuple[Signal, Any]
"""An event: what becomes present at a tag, and its value."""

Beat = tuple[Callable[[], None] | None, int, range, tuple[InPort, ...], Timer]
"""Of a periodic timer: the call of the one reaction that it triggers, if that is all it does, or None; the period in ns; the levels beyond
the call's; what to clear afterwards; the timer."""


def _nowhere(_: Any) -> None:
    return None
