"""From a `Graph` to the objects that run: the compiled schedule.

Everything that can be decided before the first event is decided here: which handles a port's `set` writes, which reactions
it triggers and on which level they queue, what arguments a reaction is called with.

Nothing in this module is shared between threads except what `scheduler.py` says of it. What all workers would touch in a hot
loop was looked for by running the micro benchmark with every level shared: a body is a function (its references are
deferred), its arguments are one tuple per reaction, and what remains in common are a group's `queued` flag, read by all
who trigger it and written once a tag, the lists of `TagBuffers`, appended to once for each group, not for each value, and
the handle through which the members of a bank read what is broadcast to them. That one costs an atomic count per reaction (0.05 µs)
where a level is shared, which is done above 10 µs an item only, and saves one write per member and tag where it is not.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any, Protocol

from reactornb.graph import Graph
from reactornb.model import Reactor
from reactornb.model.durations import duration_ns
from reactornb.runtime.checking import ValueChecks
from reactornb.runtime.context import ReactionContext, Timed
from reactornb.runtime.groups import Group
from reactornb.runtime.handles import (
    LOOKED_AT,
    ActionHandle,
    AsIsOutPort,
    AskedOutPort,
    FeedingOutPort,
    FirstOutPort,
    InPort,
    ModeHandle,
    Multiport,
    OutPort,
    ScalarOutPort,
    SingleOutPort,
    View,
    WatchdogHandle,
    accepted_by,
    deliver_to,
)
from reactornb.runtime.instances import make_instance
from reactornb.runtime.reaction_finder import ReactionFinder
from reactornb.runtime.reactions import RunningReaction
from reactornb.runtime.sending import PLAIN, copied, delay_of, settled
from reactornb.runtime.signals import Action, Beat, Event, Fanout, Parameter, Port, Signal, Timer
from reactornb.runtime.tag_buffers import TagBuffers
from reactornb.runtime.wiring import Wiring
from reactornb.tags import DurationLike, forever

__all__ = ["Schedule"]

# A reaction whose ports have at most this many readers in all has them cleared whenever it ran: cheaper than noting each.
_FEW = 4


class Scheduling(ReactionContext, Protocol):
    """An enclave's scheduler, as the handles of its reactions need it."""

    def post(self, action: Action, delay: int = 0, value: Any = None) -> None:
        """Schedule a physical action; any thread."""
        ...

    def with_deadline(
        self, body: Callable[[], None], late: Callable[[], None] | None, limit_ns: int, instance: Reactor, name: str
    ) -> Callable[[], None]:
        """A call that runs `late` instead of `body` once physical time has passed the tag by more than the deadline; `name`: the reaction's."""
        ...

    def watchdog(self, expiry: Action, timeout: int) -> tuple[Callable[..., None], Callable[[], None]]:
        """`start` and `stop` of a watchdog."""
        ...


class Schedule:
    """The compiled form of one run of a graph.

    Args:
        graph: what to run.
        contexts: per enclave, its scheduler.
        seed: the run's seed.
        record: every written signal is reported at the end of its tag.
        timed: what to wrap around the call of each reaction, for a profile.
        checks: what looks for values that are changed, if that was asked for.
        elsewhere: enclaves that another process executes: their instances have parameters and a log, and no state.

    Attributes:
        buffers: per enclave.
        readers, writers: per channel, the handle that reads or writes it; see `Wiring`.
        parameters: (reactor, name) -> signal of the parameters that trigger reactions; see `tuning`.
    """

    def __init__(
        self,
        graph: Graph,
        contexts: Sequence[Scheduling],
        seed: int,
        *,
        record: bool = False,
        timed: Timed | None = None,
        checks: ValueChecks | None = None,
        elsewhere: Container[int] = (),
    ) -> None:
        self.graph = graph
        self.instances = [
            make_instance(node, contexts[node.enclave], seed, has_state=node.enclave not in elsewhere)
            for node in graph.reactors
        ]
        self.reactions = [RunningReaction(n) for n in graph.reactions]
        for r in self.reactions:
            r.enclave = graph.reactors[r.node.reactor].enclave
        self._record = record
        self._timed = timed
        self._checks = checks
        self._contexts = contexts
        self._depth = max(graph.levels, 1)
        self._group_of: dict[tuple[int, ...], Group] = {}
        self.buffers = [TagBuffers() for _ in contexts]
        self._wiring = Wiring(graph, self.reactions)
        self.readers, self.writers = self._wiring.readers, self._wiring.writers
        self.signals: list[Signal] = []
        for port in self._wiring.ports.values():
            self._register(port)
        self._times()
        self._rank()
        for r in self.reactions:
            self._bind(r)
        self._groups()

    @functools.cached_property
    def finder(self) -> ReactionFinder:
        """Tells which reaction a stack is in. Made by the first thread that asks, by two at once perhaps, both the same; then only read."""
        return ReactionFinder(self)

    def groups_of(self, reactions: Iterable[RunningReaction]) -> tuple[tuple[Callable[[Group], None], Group], ...]:
        """Reactions of one enclave by level, each group with the function that queues it."""
        by_level: dict[int, list[RunningReaction]] = {}
        for r in reactions:
            by_level.setdefault(r.level, []).append(r)
        groups = []
        for level, members in sorted(by_level.items()):
            members.sort(key=_index)
            key = tuple(r.index for r in members)
            group = self._group_of.get(key)
            if group is None:
                group = self._group_of[key] = Group(members)
            groups.append((self.buffers[members[0].enclave].levels[level].append, group))
        return tuple(groups)

    def groups_in(self, enclave: int) -> list[Group]:
        """All groups of an enclave; on its leader's thread."""
        return [g for g in self._group_of.values() if g.reactions[0].enclave == enclave]

    def _groups(self) -> None:
        """Levels are final: decide what each signal queues where, how far it reaches, and what `set` does."""
        for buffers in self.buffers:
            buffers.levels += [[] for _ in range(self._depth)]
            buffers.plain += [True] * self._depth
        ports = self._wiring.ports
        # What the end of a tag must clear: noted by `set`, or for a reaction with few readers whenever it ran.
        noted: set[int] = set()
        for r in self.reactions:
            if sum(len(ports[c].handles) for c in r.node.effects) > _FEW:
                noted.update(r.node.effects)
        for r in sorted(self.reactions, key=lambda r: -r.level):
            r.clears = tuple(h for c in r.node.effects if c not in noted for h in ports[c].handles)
            reached = (t.reach for c in r.node.effects for t in ports[c].triggers)
            r.reach = max(r.level, max(reached, default=-1))
        for signal in self.signals:
            signal.fanout = Fanout(signal.triggers, self.groups_of(signal.triggers))
            signal.at_tag_end = bool(signal.delays) or (self._record and signal.recorded)
        for port in ports.values():
            self._make_settable(port, note=port.channel in noted)
        for signal in self.signals:
            if len(signal.delays) == 1 and not self.graph.modes:
                (delay,) = signal.delays
                if delay.is_plain and delay.after == 0 and delay.enclave == signal.enclave:
                    signal.zero_delay_edge = delay
        for enclave in range(len(self.buffers)):
            for starts in (self.startup, self.shutdown, self.reset):
                self.groups_of(r for r in starts if r.enclave == enclave)
        in_groups: dict[int, int] = {}
        for group in self._group_of.values():
            for r in group.reactions:
                in_groups[r.index] = in_groups.get(r.index, 0) + 1
        for group in self._group_of.values():
            # Reactions inside modes may be inactive, one by one; and entering a mode makes groups of its own.
            if self.graph.modes or any(in_groups[r.index] > 1 for r in group.reactions):
                self.buffers[group.reactions[0].enclave].plain[group.level] = False
        for timer in self.timers:
            timer.beat = self._beat(timer)

    def _beat(self, timer: Timer) -> Beat:
        group, later_levels = timer.fanout.sole_group, timer.fanout.later_levels
        if group is None or group.size > 1 or timer.clears or timer.at_tag_end:
            return (None, timer.period, later_levels, (), timer)
        return (group.call, timer.period, later_levels, group.clears, timer)

    def _make_settable(self, signal: Port, *, note: bool) -> None:
        """Give a port what its `set` needs: the hottest function of the package."""
        port = self.writers[signal.channel]
        buffers = self.buffers[signal.enclave]
        groups = signal.fanout.groups
        has_copies = signal in self._wiring.copied
        port._handles, port._groups, port._deliver, port._signal = signal.handles, groups, signal.deliver, signal
        port._clear = buffers.cleared.extend if note else None
        port._fire = buffers.fired.append if signal.at_tag_end else None
        declared = self.graph.ports[signal.channel].port
        asked = getattr(declared, "copy", None)
        port._settle = copied if asked else None
        if self._checks is not None:
            port._deliver = self._checks.sending(port.name, signal.deliver)
            if asked is not None:
                port.__class__ = AskedOutPort
        elif len(signal.handles) == 1 and len(groups) == 1 and not (signal.at_tag_end or note or has_copies or asked):
            ((port._enqueue, port._group),) = groups
            (port._only,) = signal.handles
            scalar = declared.scalar_type
            if asked is False:
                port.__class__ = AsIsOutPort
            elif scalar is not None:
                port._plain = scalar
                port.__class__ = ScalarOutPort
            else:
                port.__class__ = SingleOutPort
        elif asked is not None:
            port.__class__ = AskedOutPort
        elif len(signal.handles) == 1 and not groups and signal.at_tag_end and not (note or has_copies):
            (port._only,) = signal.handles
            port.__class__ = FeedingOutPort
        accepted = accepted_by(declared)
        if accepted:
            port._accepted, port._left, port._then = (
                accepted,
                0 if self._checks is not None else LOOKED_AT,
                port.__class__,
            )
            port.__class__ = FirstOutPort

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

        def add(signal: Event, kind: str, node: Any) -> None:
            handle = ActionHandle(node.name)
            self.handles[kind, node.index] = handle
            signal.state = handle
            signal.handles = signal.clears = (handle,)
            signal.deliver = deliver_to(signal.handles, [False])
            signal.triggers = tuple(by_trigger.get((kind, node.index), ()))
            signal.mode = node.mode
            self._register(signal)

        self.timers: list[Timer] = []
        read = {a[1] for r in self.reactions for a in r.node.arguments if a[0] == "timer"}
        for node in graph.timers:
            timer = Timer(node.name, graph.reactors[node.reactor].enclave, node.offset, node.period)
            add(timer, "timer", node)
            if node.index not in read:
                timer.clears, timer.deliver = (), _unread
            self.timers.append(timer)
        for declared in graph.actions:
            action = Action(
                declared.name, graph.reactors[declared.reactor].enclave,
                min_delay=declared.min_delay, min_spacing=declared.min_spacing, policy=declared.policy,
            )  # fmt: skip
            add(action, "action", declared)
            bare = graph.reactors[declared.reactor].cls._translated
            self.handles["action", declared.index].schedule = self._scheduler_of(
                action, physical=declared.physical, bare=bare
            )
        for dog in graph.watchdogs:
            expiry = Action(dog.name, graph.reactors[dog.reactor].enclave)
            add(expiry, "watchdog", dog)
            handle = WatchdogHandle(dog.name)
            start, handle.stop = self._contexts[expiry.enclave].watchdog(expiry, dog.timeout)
            bare = graph.reactors[dog.reactor].cls._translated
            handle.start = _watchdog_start(start, f"{dog.name}: the extra time of start", bare=bare)
            self.handles["watchdog", dog.index] = handle
        # After what a fingerprint takes in: its numbers do not depend on what enclaves add.
        for edge in self._wiring.delayed_edges:
            self._register(edge)
        self.parameters: dict[tuple[int, str], Parameter] = {}
        for tuned in graph.parameters:
            parameter = Parameter(tuned.name, graph.reactors[tuned.reactor].enclave)
            self.parameters[tuned.reactor, tuned.parameter] = parameter
            parameter.state = InPort(tuned.name)
            parameter.triggers = tuple(by_trigger["parameter", tuned.index])
            self._register(parameter)
            parameter.order = self.parameter_order(tuned.reactor, tuned.parameter)

    def _register(self, signal: Signal) -> None:
        signal.order = len(self.signals)
        self.signals.append(signal)

    def parameter_order(self, reactor: int, name: str) -> int:
        """The number under which a parameter's change is recorded: below those of all else, since it comes before any reaction."""
        spec = self.graph.reactors[reactor].cls._spec
        before = sum(len(node.cls._spec.parameters) for node in self.graph.reactors[reactor:])
        return list(spec.parameters).index(name) - before

    def _scheduler_of(self, signal: Action, *, physical: bool, bare: bool) -> Callable[..., None]:
        """`schedule` of an action; with `bare`, a bare number is a delay in ns, as in Lingua Franca."""
        if physical:
            post = self._contexts[signal.enclave].post

            def schedule(delay: DurationLike = 0, value: Any = None) -> None:
                """See `ActionHandle`."""
                if type(delay) is not int or delay:
                    delay = delay_of(delay, signal.name, bare=bare)
                post(signal, delay, value if type(value) in PLAIN else settled(value, signal.name))

        else:
            append = self.buffers[signal.enclave].requests.append

            def schedule(delay: DurationLike = 0, value: Any = None) -> None:
                if type(delay) is not int or delay:
                    delay = delay_of(delay, signal.name, bare=bare)
                append((signal, delay, value if type(value) in PLAIN else settled(value, signal.name)))

        return schedule

    # -- reactions --------------------------------------------------------------------------------------------------

    def _bind(self, r: RunningReaction) -> None:
        node = r.node
        arguments = [self._argument(r, a) for a in node.arguments]
        channels = [i for kind, i in node.triggers if kind == "port"] + list(node.uses)
        r.reads = tuple(self.readers[c] for c in channels)
        if node.declaration is None:
            r.body, r.row = _forward, tuple(arguments)
            r.call = functools.partial(_forward, *arguments)
        else:
            instance = self.instances[node.reactor]
            r.body, r.row = node.declaration.fn, (instance, *arguments)
            r.call = functools.partial(r.body, *r.row)
            if node.deadline is not None:
                handler = node.declaration.handler
                late = functools.partial(handler, *r.row) if handler is not None else None
                r.call = self._contexts[r.enclave].with_deadline(r.call, late, node.deadline, instance, r.name)
                r.body = None
        if self._checks is not None:
            r.call, r.body = self._checks.checked(r, r.call), None
        if self._timed is not None:
            r.call = self._timed(r, r.call, self._contexts[r.enclave])
            r.body = None

    def _mode(self, enclave: int, mode: int, history: bool) -> ModeHandle:
        handle = ModeHandle(self.graph.modes[mode].name, mode)
        handle.set = _mode_setter(self.buffers[enclave].requests.append, mode, history)
        return handle

    def _rank(self) -> None:
        """Where there are deadlines, order by urgency first and level second: earliest deadline first.

        A reaction is as urgent as the earliest deadline among itself and what must come after it, so whatever comes
        before it is at least as urgent, and (urgency, level) is an order that the dependencies allow.
        """
        graph = self.graph
        if all(n.deadline is None for n in graph.reactions):
            return
        ports = self._wiring.ports
        users: dict[InPort, list[RunningReaction]] = {}  # who reads a port without being triggered by it
        for r in self.reactions:
            for channel in r.node.uses:
                users.setdefault(self.readers[channel], []).append(r)
        urgency: dict[int, int] = {}
        of_reactor: dict[int, int] = {}  # the most urgent of a reactor's reactions that come later
        for r in sorted(self.reactions, key=lambda r: -r.level):
            node = r.node
            own = forever if node.deadline is None else node.deadline
            later = [t for c in node.effects for t in ports[c].triggers]
            later += [u for c in node.effects for h in ports[c].handles for u in users.get(h, ())]
            after = min((urgency[t.index] for t in later), default=forever)
            urgency[r.index] = min(own, of_reactor.get(node.reactor, forever), after)
            of_reactor[node.reactor] = urgency[r.index]
        ranks = sorted({(urgency[r.index], r.level) for r in self.reactions})
        number = {rank: i for i, rank in enumerate(ranks)}
        for r in self.reactions:
            r.level = number[urgency[r.index], r.level]
        self._depth = max(self._depth, len(ranks))

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
            return self._mode(r.enclave, argument[1], argument[2])
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
            by_name = {k: Multiport(v[i] for i in sorted(v)) if isinstance(v, dict) else v for k, v in ports[m].items()}
            views.append(View(graph.reactors[m].name, by_name, r.name))
        return Multiport(views) if is_bank else views[0]


def _watchdog_start(start: Callable[[int], None], what: str, *, bare: bool) -> Callable[..., None]:
    def restart(extra: DurationLike = 0) -> None:
        start(duration_ns(extra, what, bare=bare, signed=True))

    return restart


def _mode_setter(append: Callable[[Any], None], index: int, default: bool) -> Callable[..., None]:
    def set_mode(*, history: bool = default) -> None:
        append((None, index, history))

    return set_mode


def _unread(_: Any) -> None:
    """What a timer delivers that no reaction looks at."""


def _index(r: RunningReaction) -> int:
    return r.index


def _forward(source: InPort, destination: OutPort) -> None:
    destination.set(source.value)
