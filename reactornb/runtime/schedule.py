"""From a `Graph` to the objects that run: the compiled schedule.

Everything that can be decided before the first event is decided here: which handles a port's `set` writes, which reactions
it triggers and on which level they queue, what arguments a reaction is called with.

Nothing in this module is shared between threads except what `scheduler.py` says of it.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterable
from typing import Any, cast

import numpy

from reactornb.graph import Graph
from reactornb.model import Input, Reactor
from reactornb.runtime.handles import (
    ActionHandle,
    Hidden,
    InPort,
    ModeHandle,
    Multiport,
    OutPort,
    View,
    WatchdogHandle,
    deliver_to,
)
from reactornb.runtime.signals import Group, RunningReaction, Signal
from reactornb.tags import forever

__all__ = ["Schedule", "first_value"]


class Schedule:
    """The compiled form of one run of a graph.

    # levels, cleared, fired, requests
    #     lists that reactions add to through the closures made here: list.append and list.extend are atomic, on
    #     free-threaded builds through the list's own lock. Within a shared level any worker adds; the leader reads and
    #     empties them after the level's batch is closed, or while it runs a level by itself. Only costly levels are shared, so
    #     the locks are not contended enough to matter; what order the workers left is undone by sorting.

    Args:
        graph: what to run.
        context: the scheduler, as reactions see it (`current_tag`, `request_stop`, …).
        seed: the run's seed.
        record: every written signal is reported at the end of its tag.

    Attributes:
        levels: per level, the groups that are ready.
        cleared: handles to mark absent when the tag ends.
        fired: special signals that were written at this tag.
        requests: (signal, delay, value) of scheduled actions, (None, mode, history) of mode changes, since the last level.
    """

    def __init__(self, graph: Graph, context: Any, seed: int, *, record: bool = False) -> None:
        self.graph = graph
        self.levels: list[list[Group]] = [[] for _ in range(max(graph.levels, 1))]
        self.cleared: list[InPort] = []
        self.fired: list[Signal] = []
        self.requests: list[tuple[Any, Any, Any]] = []
        self.instances = [_instance(node, context, seed) for node in graph.reactors]
        self.reactions = [RunningReaction(n) for n in graph.reactions]
        self._record = record
        self._context = context
        self._ports()
        self._times()
        self._rank()
        self._enqueue = [level.append for level in self.levels]
        self._groups()
        for r in self.reactions:
            self._bind(r)

    def groups_of(self, reactions: Iterable[RunningReaction]) -> tuple[tuple[Callable[[Group], None], Group], ...]:
        """Reactions by level, each group with the function that queues it."""
        by_level: dict[int, list[RunningReaction]] = {}
        for r in reactions:
            by_level.setdefault(r.level, []).append(r)
        return tuple((self._enqueue[level], tuple(group)) for level, group in sorted(by_level.items()))

    def _groups(self) -> None:
        """Levels are final: decide what each signal queues where, how far it reaches, and what `set` does."""
        signals = {s.port: s for s in self.signals if s.port >= 0}
        for r in sorted(self.reactions, key=lambda r: -r.level):
            reached = (t.reach for c in r.node.effects for t in signals[c].triggers)
            r.reach = max(r.level, max(reached, default=-1))
        for signal in self.signals:
            signal.groups = self.groups_of(signal.triggers)
            signal.reach = max((r.reach for r in signal.triggers), default=-1)
            signal.special = bool(signal.delays) or self._record
            if signal.port >= 0:
                self.writers[signal.port].set = self._setter(signal)

    def _setter(self, signal: Signal) -> Callable[[Any], None]:
        """`set` of one port, with everything it needs in its closure: this is the hottest function of the package."""
        deliver, handles, groups = signal.deliver, signal.handles, signal.groups
        clear, clear_all, fire = self.cleared.append, self.cleared.extend, self.fired.append
        ndarray, special = numpy.ndarray, signal.special
        if len(handles) == 1 and len(groups) == 1 and not special:
            (only,), ((enqueue, group),) = handles, groups

            def set_one(value: Any) -> None:
                if type(value) is ndarray:
                    deliver(value)
                else:
                    only.value = value
                    only.is_present = True
                clear(only)
                enqueue(group)

            return set_one

        def set_any(value: Any) -> None:
            deliver(value)
            clear_all(handles)
            for enqueue, group in groups:
                enqueue(group)
            if special:
                fire(signal)

        return set_any

    # -- ports ------------------------------------------------------------------------------------------------------

    def _ports(self) -> None:
        graph = self.graph
        direct: dict[int, list[int]] = {}
        delayed: dict[int, list[Any]] = {}
        for edge in graph.edges:
            if edge.after is None and not edge.physical:
                direct.setdefault(edge.source, []).append(edge.destination)
            else:
                delayed.setdefault(edge.source, []).append(edge)
        triggered: dict[int, list[RunningReaction]] = {}
        read: set[int] = set()
        written: set[int] = set()
        for r in self.reactions:
            for kind, index in r.node.triggers:
                if kind == "port":
                    triggered.setdefault(index, []).append(r)
                    read.add(index)
            read.update(r.node.uses)
            written.update(r.node.effects)
        self.readers: dict[int, InPort] = {c: _reader(graph.ports[c]) for c in read}
        self.writers: dict[int, OutPort] = {}
        self.signals: list[Signal] = []
        delay_of: dict[tuple[int, ...], Signal] = {}

        def reach(start: int) -> tuple[list[int], list[Any]]:
            """Channels that carry the value at the same tag, and the delayed edges leaving them."""
            seen, stack, edges = [start], [start], list(delayed.get(start, ()))
            while stack:
                for nxt in direct.get(stack.pop(), ()):
                    seen.append(nxt)
                    stack.append(nxt)
                    edges += delayed.get(nxt, ())
            return seen, edges

        def wire(signal: Signal, starts: list[int]) -> None:
            reached = [reach(start) for start in starts]
            channels = list(dict.fromkeys(c for found, _ in reached for c in found))
            edges = [e for _, found in reached for e in found]
            read_here = [c for c in channels if c in self.readers]
            mutable = [_mutable(graph.ports[c]) for c in read_here]
            signal.handles = tuple(self.readers[c] for c in read_here)
            # Lingua Franca hands a mutable input a copy even where it is the only reader.
            copied = any(
                own and graph.ports[c].port.__dict__["reader"] for c, own in zip(read_here, mutable, strict=True)
            )
            # Where there are modes, a reader further on may be another port's reader too.
            shared = bool(graph.modes) and read_here[:1] != starts[:1]
            if not read_here or copied or shared or (edges and any(mutable)):
                # Something must keep the value for `port.value` and for the delayed connections.
                signal.handles, mutable = (InPort(signal.name), *signal.handles), [False, *mutable]
            signal.state = signal.handles[0]
            signal.triggers = tuple(dict.fromkeys(r for c in channels for r in triggered.get(c, ())))
            signal.deliver = deliver_to(signal.handles, mutable)
            # What leaves together arrives together: one signal for all edges of one delay; but where there are modes, an edge
            # may also be fed by another port, and what both bring to one time must not meet.
            groups: dict[tuple[int | None, bool, int, int], list[Any]] = {}
            for edge in edges:
                alone = id(edge) if graph.modes else 0
                groups.setdefault((edge.after, edge.physical, edge.mode, alone), []).append(edge)
            signal.delays = tuple(delayed_by(group) for group in groups.values())

        def delayed_by(edges: list[Any]) -> Signal:
            key = tuple(id(e) for e in edges)
            if key not in delay_of:
                first = edges[0]
                delay = delay_of[key] = Signal(f"{graph.ports[first.source].name} delayed")
                delay.is_delay = True
                delay.after, delay.physical, delay.mode = first.after or 0, first.physical, first.mode
                if delay.after or delay.physical:
                    delay.pending = set()
                wire(delay, [e.destination for e in edges])
                self._register(delay)
            return delay_of[key]

        for channel in sorted(written):
            signal = Signal(graph.ports[channel].name, port=channel)
            wire(signal, [channel])
            self.writers[channel] = OutPort(signal.name, signal.state)
            self._register(signal)

    def _register(self, signal: Signal) -> None:
        signal.order = len(self.signals)
        self.signals.append(signal)

    # -- timers, actions, watchdogs ---------------------------------------------------------------------------------

    def _times(self) -> None:
        graph = self.graph
        by_trigger: dict[tuple[str, int], list[RunningReaction]] = {}
        for r in self.reactions:
            for trigger in r.node.triggers:
                by_trigger.setdefault(trigger, []).append(r)
        self.startup = by_trigger.get(("startup", -1), [])
        self.shutdown = by_trigger.get(("shutdown", -1), [])
        self.reset = by_trigger.get(("reset", -1), [])
        self.handles: dict[tuple[str, int], Any] = {}

        def signal_for(kind: str, node: Any) -> Signal:
            signal = Signal(node.name)
            handle = ActionHandle(node.name)
            self.handles[kind, node.index] = handle
            signal.state = handle
            signal.handles = (handle,)
            signal.deliver = deliver_to(signal.handles, [False])
            signal.triggers = tuple(by_trigger.get((kind, node.index), ()))
            signal.mode = node.mode
            self._register(signal)
            return signal

        self.timers = []
        for timer in graph.timers:
            signal = signal_for("timer", timer)
            signal.offset, signal.period = timer.offset, timer.period
            self.timers.append(signal)
        for action in graph.actions:
            signal = signal_for("action", action)
            signal.offset, signal.min_spacing, signal.policy = action.min_delay, action.min_spacing, action.policy
            signal.physical = action.physical
            signal.pending = set()
            self.handles["action", action.index].schedule = self._scheduler_of(signal, action)
        for dog in graph.watchdogs:
            signal = signal_for("watchdog", dog)
            signal.physical, signal.pending = True, set()
            handle = WatchdogHandle(dog.name)
            handle.start, handle.stop = self._context.watchdog(signal, dog.timeout)
            self.handles["watchdog", dog.index] = handle

    def _scheduler_of(self, signal: Signal, action: Any) -> Callable[..., None]:
        if action.physical:
            post = self._context.post

            def schedule(delay: int = 0, value: Any = None) -> None:
                post(signal, int(delay), value)

        else:
            append = self.requests.append

            def schedule(delay: int = 0, value: Any = None) -> None:
                append((signal, int(delay), value))

        return schedule

    # -- reactions --------------------------------------------------------------------------------------------------

    def _bind(self, r: RunningReaction) -> None:
        node = r.node
        arguments = [self._argument(r, a) for a in node.arguments]
        channels = [i for kind, i in node.triggers if kind == "port"] + list(node.uses)
        r.reads = tuple(self.readers[c] for c in channels)
        if node.declaration is None:
            r.call = functools.partial(_forward, *arguments)
            return
        instance = self.instances[node.reactor]
        body = functools.partial(node.declaration.fn, instance, *arguments)
        if node.deadline is None:
            r.call = body
        else:
            handler = node.declaration.handler
            late = functools.partial(handler, instance, *arguments) if handler is not None else body
            r.call = self._context.with_deadline(body, late, node.deadline, instance)

    def _mode(self, mode: int, history: bool) -> ModeHandle:
        handle = ModeHandle(self.graph.modes[mode].name, mode)
        handle.set = _mode_setter(self.requests.append, mode, history)
        return handle

    def _rank(self) -> None:
        """Where there are deadlines, order by urgency first and level second: earliest deadline first.

        A reaction is as urgent as the earliest deadline among itself and what must come after it, so whatever comes
        before it is at least as urgent, and (urgency, level) is an order that the dependencies allow.
        """
        graph = self.graph
        if all(n.deadline is None for n in graph.reactions):
            return
        signals = {s.port: s for s in self.signals if s.port >= 0}
        users: dict[InPort, list[RunningReaction]] = {}  # who reads a port without being triggered by it
        for r in self.reactions:
            for channel in r.node.uses:
                users.setdefault(self.readers[channel], []).append(r)
        urgency: dict[int, int] = {}
        of_reactor: dict[int, int] = {}  # the most urgent of a reactor's reactions that come later
        for r in sorted(self.reactions, key=lambda r: -r.level):
            node = r.node
            own = forever if node.deadline is None else node.deadline
            later = [t for c in node.effects for t in signals[c].triggers]
            later += [u for c in node.effects for h in signals[c].handles for u in users.get(h, ())]
            after = min((urgency[t.index] for t in later), default=forever)
            urgency[r.index] = min(own, of_reactor.get(node.reactor, forever), after)
            of_reactor[node.reactor] = urgency[r.index]
        ranks = sorted({(urgency[r.index], r.level) for r in self.reactions})
        number = {rank: i for i, rank in enumerate(ranks)}
        for r in self.reactions:
            r.level = number[urgency[r.index], r.level]
        self.levels += [[] for _ in range(len(ranks) - len(self.levels))]

    def _argument(self, r: RunningReaction, argument: tuple[Any, ...]) -> Any:
        kind = argument[0]
        if kind == "port":
            _, channels, writable, multi = argument
            handles = [self.writers[c] if writable else self.readers[c] for c in channels]
            return Multiport(handles) if multi else handles[0]
        if kind == "read":
            return self.readers[argument[1]]
        if kind == "write":
            return self.writers[argument[1]]
        if kind == "child":
            return self._view(r, argument)
        if kind == "mode":
            return self._mode(argument[1], argument[2])
        return self.handles[kind, argument[1]]

    def _view(self, r: RunningReaction, argument: tuple[Any, ...]) -> Any:
        _, _, channels, members, is_bank, empty = argument
        graph = self.graph
        ports: dict[int, dict[str, Any]] = {m: {port: {} for port in empty} for m in members}
        for channel, writable in channels:
            node = graph.ports[channel]
            handle = self.writers[channel] if writable else self.readers[channel]
            if node.channel is None:
                ports[node.reactor][node.port.name] = handle
            else:
                ports[node.reactor].setdefault(node.port.name, {})[node.channel] = handle
        views = []
        for m in members:
            made = {k: Multiport(v[i] for i in sorted(v)) if isinstance(v, dict) else v for k, v in ports[m].items()}
            views.append(View(graph.reactors[m].name, made, r.name))
        return Multiport(views) if is_bank else views[0]


def _instance(node: Any, context: Any, seed: int) -> Reactor:
    cls: type[Reactor] = node.cls
    made = object.__new__(cls)
    values = made.__dict__
    values["_running"] = True
    values["_context"] = context
    values["_name"] = node.name
    values["_run_seed"] = seed
    values["_log"] = []
    values["bank_index"] = node.bank_index
    values["bank_width"] = node.bank_width
    for name, value in node.parameters.items():
        # A default is the class's; what the user gave is the user's, and passed on as it is.
        shared = value is cls._spec.parameters[name] and type(value) in (list, dict, set)
        values[name] = copy.deepcopy(value) if shared else value
    for name in cls._spec.children:
        values[name] = Hidden(name)
    for state in cls._spec.states.values():
        values[state.name] = first_value(made, state)
    return made


def first_value(instance: Reactor, state: Any) -> Any:
    """The first value of a state variable, made anew."""
    return state.factory(instance) if state.factory is not None else copy.deepcopy(state.initial)


def _reader(node: Any) -> InPort:
    made = getattr(node.port, "reader", None) or InPort
    return cast("InPort", made(node.name))


def _mutable(port: Any) -> bool:
    return isinstance(port.port, Input) and port.port.mutable


def _mode_setter(append: Callable[[Any], None], index: int, default: bool) -> Callable[..., None]:
    def set_mode(*, history: bool = default) -> None:
        append((None, index, history))

    return set_mode


def _forward(source: InPort, destination: OutPort) -> None:
    destination.set(source.value)
