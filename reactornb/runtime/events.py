"""The event queue: which signals are present at which future tag, and the rules for actions that come too early.

A data structure: it decides nothing about time, runs nothing, locks nothing. It is its machine's, hence the leader's.
"""

from __future__ import annotations

import heapq
from collections.abc import Container
from typing import Any

from reactornb.runtime.cut import Named, Values
from reactornb.runtime.signals import Action, Beat, DelayedEdge, Queued, Signal, TagKey, Timer
from reactornb.tags import forever

__all__ = ["EventQueue"]


class EventQueue:
    """Events by tag. Those after the stop tag stay where they are: who goes on from a cut may have a later end.

    Args:
        stop_tag: the last tag, if it is known.

    Attributes:
        time_ns, microstep: the current tag.
        stop_tag: the last tag, once it is known.
        upcoming: events of the next microstep, by far the most frequent.
        heap, events: all later tags in order, and the events of each.
        periodic: (time in ns, number, beat) of the timers that come again and again, by time: one step of a heap for each
            event. Where there are modes, which put timers aside, they are among `events` instead.
    """

    # Slots: more attributes than a shared-key dict holds would make each access a look-up.
    __slots__ = ("events", "heap", "microstep", "periodic", "stop_tag", "time_ns", "upcoming")

    def __init__(self, stop_tag: TagKey | None = None) -> None:
        self.time_ns = 0
        self.microstep = 0
        self.stop_tag = stop_tag
        self.upcoming: list[Queued] = []
        self.heap: list[TagKey] = []
        self.events: dict[TagKey, list[Queued]] = {}
        self.periodic: list[tuple[int, int, Beat]] = []

    @property
    def now(self) -> TagKey:
        """The current tag."""
        return (self.time_ns, self.microstep)

    @property
    def next_microstep(self) -> TagKey:
        """The earliest tag that can follow."""
        return (self.time_ns, self.microstep + 1)

    def __len__(self) -> int:
        """How many later tags have events, each periodic timer counting once; for display, by any thread."""
        return bool(self.upcoming) + len(self.heap) + len(self.periodic)

    # -- putting events on the queue --------------------------------------------------------------------------------

    def add(self, tag: TagKey, signal: Signal, value: Any) -> None:
        """Put an event on the queue; what is due at `forever` or later never comes, however fast the clock."""
        if tag[0] == self.time_ns and tag[1] == self.microstep + 1:
            self.upcoming.append((signal, value))
            return
        at_tag = self.events.get(tag)
        if at_tag is None:
            if tag[0] >= forever:
                return
            self.events[tag] = [(signal, value)]
            heapq.heappush(self.heap, tag)
        else:
            at_tag.append((signal, value))

    def schedule(self, action: Action, tag: TagKey, value: Any) -> None:
        """Queue an action's event, minding its spacing; the rules are those of Lingua Franca's `schedule`."""
        spacing, last, pending = action.min_spacing, action.last_tag, action.pending
        now = (self.time_ns, self.microstep)
        if (
            spacing is not None
            and last is not None
            and (last[0] + spacing > tag[0] or (last[0] + spacing == tag[0] and spacing == 0))
        ):
            if action.policy == "drop":
                return
            if action.policy == "replace" and last in pending:
                for events in self._events_at(last):
                    for i, (s, _) in enumerate(events):
                        if s is action:
                            events[i] = (s, value)
                return
            if action.policy == "update" and last in pending:
                for events in self._events_at(last):
                    events[:] = [(s, v) for s, v in events if s is not action]
                pending.take_back(last)
            else:
                tag = (last[0] + spacing, 0)
        if tag <= now:
            tag = (now[0], now[1] + 1)
        tag = pending.free(tag)  # events of one tag pile up in superdense time
        action.last_tag = tag
        pending.add(tag)
        self.add(tag, action, value)

    def arrive(self, edge: DelayedEdge, tag: TagKey, value: Any) -> None:
        """Queue what a delayed edge brings."""
        pending = edge.pending
        if pending is not None:
            tag = pending.free(tag)  # none is lost: values that meet follow each other in microsteps
            pending.add(tag)
        self.add(tag, edge, value)

    def every(self, first_ns: int, timer: Timer) -> None:
        """A timer comes at that time, and then with its period."""
        heapq.heappush(self.periodic, (first_ns, timer.order, timer.beat))

    def _events_at(self, tag: TagKey) -> list[list[Queued]]:
        """The lists that hold a tag's events: those of the next microstep may have been queued before it was the next."""
        soon = [self.upcoming] if tag == self.next_microstep else []
        return [*soon, self.events.get(tag, [])]

    # -- taking them off --------------------------------------------------------------------------------------------

    def next_tag(self) -> TagKey | None:
        """The earliest tag that has an event, whatever the stop tag; None if there is none."""
        while self.heap and not self.events[self.heap[0]]:  # all taken back: an action was updated, a mode left
            del self.events[heapq.heappop(self.heap)]
        tag = self.heap[0] if self.heap else None
        if self.periodic and self.periodic[0][0] < forever:
            due = (self.periodic[0][0], 0)
            tag = due if tag is None or due < tag else tag
        if self.upcoming:
            soon = self.next_microstep
            tag = soon if tag is None or soon < tag else tag
        return tag

    def take(self, tag: TagKey) -> list[Queued]:
        """Make `tag` the current one, and take its events off the queue; periodic timers are put back for their next time.

        Args:
            tag: none that has an event is earlier.
        """
        events: list[Queued] = []
        if self.upcoming and tag == self.next_microstep:
            events = self.upcoming.copy()
            self.upcoming.clear()
        if self.heap and self.heap[0] == tag:
            heapq.heappop(self.heap)
            events += self.events.pop(tag)
        self.time_ns, self.microstep = tag
        for signal, _ in events:
            if signal.pending:
                signal.pending.discard(tag)
        periodic = self.periodic
        while periodic and periodic[0][0] == tag[0] and tag[1] == 0:
            _, order, beat = periodic[0]
            heapq.heapreplace(periodic, (tag[0] + beat[1], order, beat))
            events.append((beat[4], None))
        return events

    def take_upcoming(self) -> list[Queued]:
        """Make the next microstep the current tag, and take its events; the caller knows that no other event is due."""
        self.microstep += 1
        events = self.upcoming.copy()
        self.upcoming.clear()
        for signal, _ in events:
            if signal.pending:
                signal.pending.discard((self.time_ns, self.microstep))
        return events

    def take_back(self, modes: Container[int]) -> list[tuple[Signal, Any, TagKey]]:
        """Take all events of the signals of these modes off the queue.

        Returns:
            (signal, value, tag) of each, in the order in which their tags came to be on the queue.
        """
        taken: list[tuple[Signal, Any, TagKey]] = []
        for tag, events in [(self.next_microstep, self.upcoming), *self.events.items()]:
            taken += [(signal, value, tag) for signal, value in events if signal.mode in modes]
            events[:] = [event for event in events if event[0].mode not in modes]
        for signal, _, tag in taken:
            if signal.pending is not None:
                signal.pending.take_back(tag)
        return taken

    # -- cuts -------------------------------------------------------------------------------------------------------

    def saved(self, values: Values) -> dict[str, Any]:
        """Between two tags, all that is queued, for a cut: events as (number of the signal, value), their tags in the order in which they
        came to be on the queue. The stop tag is not among it.
        """

        def plain(events: list[Queued]) -> list[tuple[int, int]]:
            return [(signal.order, values.add(value)) for signal, value in events]

        return {
            "now": self.now,
            "upcoming": plain(self.upcoming),
            "events": [(tag, plain(events)) for tag, events in self.events.items()],
            "periodic": sorted((time_ns, order) for time_ns, order, _ in self.periodic),
        }

    def load(self, saved: dict[str, Any], named: Named) -> None:
        """Begin with what `saved` gave; in place, since the loop holds on to the lists."""

        def queued(events: list[tuple[int, int]]) -> list[Queued]:
            return [(named.signal(order), named.value(place)) for order, place in events]

        self.time_ns, self.microstep = saved["now"]
        self.upcoming[:] = queued(saved["upcoming"])
        self.events.clear()
        self.events.update((tag, queued(events)) for tag, events in saved["events"])
        self.heap[:] = sorted(self.events)
        self.periodic[:] = [(time_ns, order, named.timer(order).beat) for time_ns, order in saved["periodic"]]
