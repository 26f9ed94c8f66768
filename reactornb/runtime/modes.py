"""Modal reactors: which mode is active, what entering and leaving one does to events, state and reactions.

The rules are those of Lingua Franca's handbook ("Modal Reactors"). A reaction of an inactive mode is dropped from what is
ready when its level opens. All of this belongs to the scheduler's leader.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from reactornb.runtime.instances import first_value
from reactornb.runtime.reactions import RunningReaction
from reactornb.runtime.signals import Action, Fanout, Signal, Timer

if TYPE_CHECKING:
    from reactornb.runtime.scheduler import Scheduler

__all__ = ["Modes"]

_BEFORE = (0, -1)  # the microstep before the first: where a mode's local time begins


class Modes:
    """The modes of one enclave of a running graph; those of others stay as they began, and nothing here asks for them.

    Attributes:
        active: per mode, whether it and all modes around it are active.
        current: reactor -> its current mode.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        graph = scheduler.graph
        schedule = scheduler.schedule
        self._modes = graph.modes
        count = len(graph.modes)
        self.current = {m.reactor: m.index for m in graph.modes if m.initial}
        self._initial = dict(self.current)
        self._outer = {m.reactor: m.outer for m in graph.modes}
        self.active = [False] * count
        self._next: dict[int, tuple[int, bool]] = {}  # reactor -> (mode, by history)
        self._started = [False] * count
        self._wants_reset = [False] * count
        self._kept: list[list[RunningReaction]] = [[] for _ in range(count)]
        # Of a mode that is not active: its events with their tags, and the tag after which it was left.
        self._suspended: list[list[tuple[Signal, Any, tuple[int, int]]]] = [[] for _ in range(count)]
        self._left_at = [_BEFORE] * count
        self._reactions: list[list[RunningReaction]] = [[] for _ in range(count)]
        for r in schedule.reactions:
            if r.mode >= 0 and r.enclave == scheduler.enclave:
                self._reactions[r.mode].append(r)
        self._timers: list[list[Timer]] = [[] for _ in range(count)]
        for t in schedule.timers:
            if t.mode >= 0 and t.enclave == scheduler.enclave:
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

    def _innermost(self, graph: Any) -> list[int]:
        """Per reactor, the innermost mode around it."""
        modes_of: dict[tuple[int, str], int] = {(m.reactor, m.name): m.index for m in graph.modes}
        assert len(modes_of) == len(graph.modes)
        found: list[int] = []
        for node in graph.reactors:
            if node.mode >= 0:
                found.append(node.mode)
            else:
                found.append(found[node.parent] if node.parent >= 0 else -1)
        return found

    def is_active(self, mode: int) -> bool:
        """True outside modes and in an active one."""
        return mode < 0 or self.active[mode]

    def begin(self) -> None:
        """Enter the initial modes, at tag (0, 0)."""
        self._recompute()
        for mode, active in enumerate(self.active):
            self._started[mode] = active
            for r in self._reactions[mode]:
                r.inactive = not active

    def suspend_timer(self, timer: Timer) -> None:
        """A timer of a mode that is not active at the start."""
        self._suspended[timer.mode].append((timer, None, (timer.offset, 0)))

    def request(self, mode: int, history: bool) -> None:
        """A reaction sets the next mode; the last request of a tag holds."""
        self._next[self._modes[mode].reactor] = (mode, history)

    def keep_for_later(self, reactions: Iterable[RunningReaction]) -> None:
        """A parameter has changed: reactions to it whose mode is not active run when it is entered next."""
        for r in reactions:
            if r.inactive and r not in self._kept[r.mode]:
                self._kept[r.mode].append(r)

    def release_shutdown(self) -> None:
        """Let shutdown reactions run whose mode has been active, whatever is active now."""
        for r in self._scheduler.shutdown:
            if r.mode >= 0 and self._started[r.mode]:
                r.inactive = False

    def _recompute(self) -> None:
        # Outer modes come before inner ones in the graph.
        for m in self._modes:
            outer = m.outer
            self.active[m.index] = self.current[m.reactor] == m.index and (outer < 0 or self.active[outer])

    def end_of_tag(self) -> None:
        """Carry out the transitions that this tag's reactions asked for."""
        if not self._next:
            return
        entered: dict[int, bool] = {}  # mode -> by history
        for reactor, initial in self._initial.items():  # in the graph's order: outer reactors first
            outer = self._outer[reactor]
            if outer >= 0 and entered.get(outer) is False:
                self._next[reactor] = (initial, False)  # a reset of the mode around resets what is in it
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
            wake = Signal("mode entry")  # nothing that a trace would show
            wake.triggers = tuple(dict.fromkeys(triggered))
            wake.fanout = Fanout(wake.triggers, self._scheduler.schedule.groups_of(wake.triggers))
            self._scheduler.upcoming.append((wake, None))

    def _suspend(self, before: list[bool], entered: dict[int, bool]) -> None:
        """Take the events of modes that were left, or reset while active, off the queue."""
        gone = {m for m, was in enumerate(before) if was and (not self.active[m] or entered.get(m) is False)}
        if not gone:
            return
        s = self._scheduler
        for mode in gone:
            self._left_at[mode] = (s.time_ns, s.microstep)
        kept = []
        for signal, value in s.upcoming:
            if signal.mode in gone:
                self._put_aside(signal, value, (s.time_ns, s.microstep + 1))
            else:
                kept.append((signal, value))
        s.upcoming[:] = kept
        for tag, events in s.events.items():
            for signal, value in events:
                if signal.mode in gone:
                    self._put_aside(signal, value, tag)
            events[:] = [e for e in events if e[0].mode not in gone]

    def _put_aside(self, signal: Signal, value: Any, tag: tuple[int, int]) -> None:
        self._suspended[signal.mode].append((signal, value, tag))
        if signal.pending is not None:
            signal.pending.take_back(tag)

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
        """Put the mode's events back on the queue, as far from now as they were when it was left."""
        s = self._scheduler
        left_time_ns, left_microstep = self._left_at[mode]

        def moved(tag: tuple[int, int]) -> tuple[int, int]:
            ahead = tag[0] - left_time_ns
            return (s.time_ns + ahead, tag[1] if ahead else tag[1] + s.microstep - left_microstep)

        for signal, value, was in self._suspended[mode]:
            tag = moved(was)
            if signal.pending is not None:
                signal.pending.add(tag)
            s.queue(tag, signal, value)
        self._suspended[mode].clear()
        for action in self._spaced[mode]:
            if action.last_tag is not None:
                action.last_tag = moved(action.last_tag)

    def _triggered(self, mode: int) -> list[RunningReaction]:
        found: list[RunningReaction] = []
        if not self._started[mode]:
            self._started[mode] = True
            found += [r for r in self._scheduler.startup if r.mode == mode]
        if self._wants_reset[mode]:
            self._wants_reset[mode] = False
            found += [r for r in self._scheduler.schedule.reset if r.mode == mode]
        found += self._kept[mode]
        self._kept[mode].clear()
        return found
