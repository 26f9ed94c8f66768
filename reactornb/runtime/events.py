"""The event queue: which signals are present at which future tag, and the rules for actions that come too early.

A pure state machine: it decides, it does not run, wait or lock. All of it belongs to the scheduler's leader.
"""

from __future__ import annotations

import heapq
from typing import Any

from reactornb.runtime.signals import Action, Beat, Signal, Timer
from reactornb.tags import forever

__all__ = ["EventQueue"]


class EventQueue:
    """Events by tag; the scheduler is one, so that its hot loop reaches them without another look-up.

    Attributes:
        time_ns, microstep: the current tag.
        stop_tag: the last tag, once it is known.
        keepalive: without events, wait for the stop tag instead of starving.
        upcoming: events of the next microstep, by far the most frequent.
        heap, events: all later tags in order, and the events of each.
        periodic: (time in ns, number, beat) of the timers that come again and again, by time: one step of a heap for each
            event. Where there are modes, which put timers aside, they are among `events` instead.
    """

    # Slots: more attributes than a shared-key dict holds would make each access a look-up.
    __slots__ = ("events", "heap", "keepalive", "microstep", "periodic", "stop_tag", "time_ns", "upcoming")

    def __init__(self, *, stop_tag: tuple[int, int] | None, keepalive: bool) -> None:
        self.time_ns = 0
        self.microstep = 0
        self.stop_tag = stop_tag
        self.keepalive = keepalive
        self.upcoming: list[tuple[Signal, Any]] = []
        self.heap: list[tuple[int, int]] = []
        self.events: dict[tuple[int, int], list[tuple[Signal, Any]]] = {}
        self.periodic: list[tuple[int, int, Beat]] = []

    def schedule_action(self, signal: Action, tag: tuple[int, int], value: Any) -> None:
        """Queue an action's event, minding its spacing; the rules are those of Lingua Franca's `schedule`."""
        spacing, last, pending = signal.min_spacing, signal.last_tag, signal.pending
        now = (self.time_ns, self.microstep)
        if (
            spacing is not None
            and last is not None
            and (last[0] + spacing > tag[0] or (last[0] + spacing == tag[0] and spacing == 0))
        ):
            if signal.policy == "drop":
                return
            if signal.policy == "replace" and last in pending:
                for queue in self._events_at(last):
                    for i, (s, _) in enumerate(queue):
                        if s is signal:
                            queue[i] = (s, value)
                return
            if signal.policy == "update" and last in pending:
                for queue in self._events_at(last):
                    queue[:] = [(s, v) for s, v in queue if s is not signal]
                pending.take_back(last)
            else:
                tag = (last[0] + spacing, 0)
        if tag <= now:
            tag = (now[0], now[1] + 1)
        tag = pending.free(tag)  # events of one tag pile up in superdense time
        if self.stop_tag is not None and tag > self.stop_tag:
            return
        signal.last_tag = tag
        pending.add(tag)
        self.queue(tag, signal, value)

    def _events_at(self, tag: tuple[int, int]) -> list[list[tuple[Signal, Any]]]:
        """The lists that hold a tag's events: those of the next microstep may have been queued before it was the next."""
        soon = [self.upcoming] if tag == (self.time_ns, self.microstep + 1) else []
        return [*soon, self.events.get(tag, [])]

    def queue(self, tag: tuple[int, int], signal: Signal, value: Any) -> None:
        """Put an event on the queue; what is due at `forever` or later never comes, however fast the clock."""
        if tag[0] == self.time_ns and tag[1] == self.microstep + 1:
            self.upcoming.append((signal, value))
            return
        at = self.events.get(tag)
        if at is None:
            if tag[0] >= forever:
                return
            self.events[tag] = [(signal, value)]
            heapq.heappush(self.heap, tag)
        else:
            at.append((signal, value))

    def every(self, first_ns: int, signal: Timer) -> None:
        """A timer comes at that time, and then with its period."""
        heapq.heappush(self.periodic, (first_ns, signal.order, signal.beat))

    def take(self, tag: tuple[int, int]) -> list[tuple[Signal, Any]]:
        """The events of the earliest tag, off the queue; periodic timers are put back for their next time."""
        events: list[tuple[Signal, Any]] = []
        if self.heap and self.heap[0] == tag:
            heapq.heappop(self.heap)
            events = self.events.pop(tag)
        periodic = self.periodic
        while periodic and periodic[0][0] == tag[0] and tag[1] == 0:
            _, order, beat = periodic[0]
            heapq.heapreplace(periodic, (tag[0] + beat[1], order, beat))
            events.append((beat[4], None))
        return events

    def next_tag(self) -> tuple[int, int] | None:
        """The next tag, or None if nothing is queued and nothing ends the wait."""
        while self.heap and not self.events[self.heap[0]]:  # all taken back: an action was updated, a mode left
            del self.events[heapq.heappop(self.heap)]
        tag = self.heap[0] if self.heap else None
        if self.periodic and self.periodic[0][0] < forever:
            due = (self.periodic[0][0], 0)
            tag = due if tag is None or due < tag else tag
        if self.upcoming:
            soon = (self.time_ns, self.microstep + 1)
            tag = soon if tag is None or soon < tag else tag
        stop = self.stop_tag
        if stop is not None and (self.keepalive if tag is None else tag > stop):
            return stop
        return tag
