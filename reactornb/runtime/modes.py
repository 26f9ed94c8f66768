"""Modal reactors: which mode is active, and what entering and leaving a mode does to events, state and reactions.

The rules are those of Lingua Franca's handbook ("Modal Reactors"). A reaction of an inactive mode is removed from the ready
reactions when its level opens. Only the machine uses this module, hence only the scheduler's leader.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from reactornb.graph import Graph
from reactornb.runtime.cut import Named, Values
from reactornb.runtime.events import EventQueue
from reactornb.runtime.instances import first_value
from reactornb.runtime.reactions import RunningReaction
from reactornb.runtime.schedule import Schedule
from reactornb.runtime.signals import Action, Fanout, Queued, Signal, TagKey, Timer

__all__ = ["Modes"]

_BEFORE = (0, -1)  # the microstep before the first: where a mode's local time begins


class Modes:
    """The modes of one enclave of a running graph, a `TagSource`. Modes of other enclaves keep their initial state here and are not read.

    When a tag ends, transitions are carried out: events of modes that were left move from the queue to this object, events of
    modes that were entered move back. Reactions to entering a mode (startup, reset, its kept events) are an event at the next
    microstep.

    Args:
        graph: the running graph.
        enclave: the number of this enclave.
        schedule: the schedule of the graph.
        queue: the enclave's event queue.

    Attributes:
        active: per mode, whether it and all enclosing modes are active.
        current: reactor -> its current mode.
    """

    def __init__(self, graph: Graph, enclave: int, schedule: Schedule, queue: EventQueue) -> None:
        self._queue = queue
        self._schedule = schedule
        self._modes = graph.modes
        count = len(graph.modes)
        self.current = {m.reactor: m.index for m in graph.modes if m.initial}
        self._initial = dict(self.current)
        self._outer = {m.reactor: m.outer for m in graph.modes}
        self.active = [False] * count
        self._next: dict[int, tuple[int, bool]] = {}  # reactor -> (mode, by history)
        self._entry: Signal | None = None  # of the next microstep: what entering modes triggers
        self._started = [False] * count
        self._wants_reset = [False] * count
        self._kept: list[list[RunningReaction]] = [[] for _ in range(count)]
        # Inactive mode -> its events with their tags, and the tag after which it was left.
        self._suspended: list[list[tuple[Signal, Any, TagKey]]] = [[] for _ in range(count)]
        self._left_at = [_BEFORE] * count
        self._reactions: list[list[RunningReaction]] = [[] for _ in range(count)]
        for r in schedule.reactions:
            if r.mode >= 0 and r.enclave == enclave:
                self._reactions[r.mode].append(r)
        self._startup = [r for r in schedule.startup if r.enclave == enclave]
        self._shutdown = [r for r in schedule.shutdown if r.enclave == enclave]
        self._timers: list[list[Timer]] = [[] for _ in range(count)]
        for t in schedule.timers:
            if t.mode >= 0 and t.enclave == enclave:
                self._timers[t.mode].append(t)
        self._spaced: list[list[Action]] = [[] for _ in range(count)]
        for signal in schedule.signals:
            if signal.mode >= 0 and isinstance(signal, Action) and signal.min_spacing is not None:
                self._spaced[signal.mode].append(signal)
        self._states: list[list[tuple[Any, Any]]] = [[] for _ in range(count)]
        by_name = {m.name: m.index for m in graph.modes}
        lives_in = self._innermost(graph)
        for node, instance in zip(graph.reactors, schedule.instances, strict=True):
            for state in node.cls._spec.states.values():
                if state.reset:
                    mode = by_name[f"{node.name}.{state.mode.name}"] if state.mode is not None else lives_in[node.index]
                    if mode >= 0:
                        self._states[mode].append((instance, state))

    def _innermost(self, graph: Graph) -> list[int]:
        """Per reactor, the innermost mode that contains it."""
        modes_of: dict[tuple[int, str], int] = {(m.reactor, m.name): m.index for m in graph.modes}
        assert len(modes_of) == len(graph.modes)
        innermost: list[int] = []
        for node in graph.reactors:
            if node.mode >= 0:
                innermost.append(node.mode)
            else:
                innermost.append(innermost[node.parent] if node.parent >= 0 else -1)
        return innermost

    def is_active(self, mode: int) -> bool:
        """True for a reaction outside all modes or in an active mode."""
        return mode < 0 or self.active[mode]

    def begin(self) -> None:
        """Enter the initial modes, at tag (0, 0)."""
        self._recompute()
        for mode, active in enumerate(self.active):
            self._started[mode] = active
            for r in self._reactions[mode]:
                r.inactive = not active

    def suspend_timer(self, timer: Timer) -> None:
        """Keep the first event of a timer whose mode is inactive at the start."""
        self._suspended[timer.mode].append((timer, None, (timer.offset, 0)))

    def request(self, mode: int, history: bool) -> None:
        """A reaction sets the next mode; the last request at a tag counts."""
        self._next[self._modes[mode].reactor] = (mode, history)

    def keep_for_later(self, reactions: Iterable[RunningReaction]) -> None:
        """A parameter has changed: its reactions in inactive modes run when their mode is entered next."""
        for r in reactions:
            if r.inactive and r not in self._kept[r.mode]:
                self._kept[r.mode].append(r)

    def release_shutdown(self) -> None:
        """Allow shutdown reactions of all modes that were ever active, active now or not."""
        for r in self._shutdown:
            if r.mode >= 0 and self._started[r.mode]:
                r.inactive = False

    # -- as a source of tags ----------------------------------------------------------------------------------------

    def next_tag(self, earliest: TagKey | None) -> TagKey | None:
        """See `TagSource`: modes that were entered have reactions at the next microstep."""
        return earliest if self._entry is None else self._queue.next_microstep

    def take(self) -> Sequence[Queued]:
        """See `TagSource`."""
        entry, self._entry = self._entry, None
        return () if entry is None else ((entry, None),)

    def close(self) -> None:
        """See `TagSource`: carry out the transitions that this tag's reactions asked for."""
        if not self._next:
            return
        entered: dict[int, bool] = {}  # mode -> by history
        for reactor, initial in self._initial.items():  # in the graph's order: outer reactors first
            outer = self._outer[reactor]
            if outer >= 0 and entered.get(outer) is False:
                self._next[reactor] = (initial, False)  # a reset of a mode resets the modal reactors in it
            wanted = self._next.get(reactor)
            if wanted is not None:
                entered[wanted[0]] = wanted[1]
        self._next.clear()
        before = list(self.active)
        for mode in entered:
            self.current[self._modes[mode].reactor] = mode
        self._recompute()
        self._suspend(before, entered)
        triggered: list[RunningReaction] = []
        for mode, active in enumerate(self.active):
            if mode in entered:
                self._enter(mode, by_history=entered[mode])
            if active and (not before[mode] or entered.get(mode) is False):
                self._resume(mode)
                triggered += self._triggered(mode)
            for r in self._reactions[mode]:
                r.inactive = not active
        if triggered:
            self._entry = self._entry_of(triggered)

    def _entry_of(self, triggered: Iterable[RunningReaction]) -> Signal:
        entry = Signal("mode entry")  # nothing that a trace would show
        entry.triggers = tuple(dict.fromkeys(triggered))
        entry.fanout = Fanout(entry.triggers, self._schedule.groups_of(entry.triggers))
        return entry

    # -- cuts -------------------------------------------------------------------------------------------------------

    def saved(self, values: Values) -> dict[str, Any]:
        """Between two tags, which modes are active, and what waits for others; for a cut."""
        return {
            "current": list(self.current.items()),
            "started": list(self._started),
            "wants_reset": list(self._wants_reset),
            "left_at": list(self._left_at),
            "kept": [[r.index for r in kept] for kept in self._kept],
            "suspended": [[(s.order, values.add(v), tag) for s, v, tag in events] for events in self._suspended],
            "entry": None if self._entry is None else [r.index for r in self._entry.triggers],
        }

    def load(self, saved: dict[str, Any], named: Named) -> None:
        """Begin with what `saved` gave, of an enclave that had begun."""
        self.current.update(saved["current"])
        self._started[:], self._wants_reset[:] = saved["started"], saved["wants_reset"]
        self._left_at[:] = saved["left_at"]
        self._kept = [[named.reaction(index) for index in kept] for kept in saved["kept"]]
        self._suspended = [
            [(named.signal(order), named.value(place), tag) for order, place, tag in events]
            for events in saved["suspended"]
        ]
        self._recompute()
        for mode, active in enumerate(self.active):
            for r in self._reactions[mode]:
                r.inactive = not active
        entry = saved["entry"]
        self._entry = None if entry is None else self._entry_of(named.reaction(index) for index in entry)

    # -- transitions ------------------------------------------------------------------------------------------------

    def _recompute(self) -> None:
        # Outer modes come before inner ones in the graph.
        for m in self._modes:
            outer = m.outer
            self.active[m.index] = self.current[m.reactor] == m.index and (outer < 0 or self.active[outer])

    def _suspend(self, before: list[bool], entered: dict[int, bool]) -> None:
        """Take the events of modes that were left, or reset while active, off the queue."""
        left = {m for m, was in enumerate(before) if was and (not self.active[m] or entered.get(m) is False)}
        if not left:
            return
        for mode in left:
            self._left_at[mode] = self._queue.now
        for signal, value, tag in self._queue.take_back(left):
            self._suspended[signal.mode].append((signal, value, tag))

    def _enter(self, mode: int, *, by_history: bool) -> None:
        self._wants_reset[mode] = not by_history
        if not by_history:
            self._suspended[mode].clear()
            for timer in self._timers[mode]:
                # Until the mode is active its timers wait with their first offset.
                self._suspended[mode].append((timer, None, (timer.offset, 0)))
            self._left_at[mode] = _BEFORE
            for action in self._spaced[mode]:
                action.last_tag = None
            for instance, state in self._states[mode]:
                instance.__dict__[state.name] = first_value(instance, state)

    def _resume(self, mode: int) -> None:
        """Put the mode's events back on the queue, with the delay that remained when the mode was left."""
        queue = self._queue
        left_time_ns, left_microstep = self._left_at[mode]

        def moved(tag: TagKey) -> TagKey:
            ahead = tag[0] - left_time_ns
            return (queue.time_ns + ahead, tag[1] if ahead else tag[1] + queue.microstep - left_microstep)

        for signal, value, was in self._suspended[mode]:
            tag = moved(was)
            if signal.pending is not None:
                signal.pending.add(tag)
            queue.add(tag, signal, value)
        self._suspended[mode].clear()
        for action in self._spaced[mode]:
            if action.last_tag is not None:
                action.last_tag = moved(action.last_tag)

    def _triggered(self, mode: int) -> list[RunningReaction]:
        """The reactions that entering a mode triggers."""
        triggered: list[RunningReaction] = []
        if not self._started[mode]:
            self._started[mode] = True
            triggered += [r for r in self._startup if r.mode == mode]
        if self._wants_reset[mode]:
            self._wants_reset[mode] = False
            triggered += [r for r in self._schedule.reset if r.mode == mode]
        triggered += self._kept[mode]
        self._kept[mode].clear()
        return triggered
