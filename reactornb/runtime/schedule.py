"""From a `Graph` to the objects that run: the compiled schedule.

Everything that can be decided before the first event is decided here: which handles a port's `set` writes, which reactions
it triggers and on which level they queue, what arguments a reaction is called with.

Nothing in this module is shared between threads except what `scheduler.py` says of it. What all workers would touch in a hot
loop was looked for by running the micro benchmark with every level shared: a body is a function (its references are
deferred), its arguments are one tuple per reaction, and what remains in common are a group's `queued` flag, read by all
who trigger it and written once a tag, the lists of an `Agenda`, appended to once for each group, not for each value, and
the handle through which the members of a bank read what is broadcast to them. That one costs an atomic count per reaction (0.05 µs)
where a level is shared, which is done above 10 µs an item only, and saves one write per member and tag where it is not.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

from reactornb.graph import Graph, homes
from reactornb.model import Input, Reactor
from reactornb.model.ownership import attribute_refusal, guarded, needs_guard, owned, parameter_words
from reactornb.runtime.checking import ValueChecks
from reactornb.runtime.groups import Group
from reactornb.runtime.handles import (
    LOOKED_AT,
    ActionHandle,
    AskedOutPort,
    FeedingOutPort,
    FirstOutPort,
    Hidden,
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
from reactornb.runtime.logs import Log
from reactornb.runtime.sending import PLAIN, copied, delay_of, settled
from reactornb.runtime.signals import Beat, Pending, RunningReaction, Signal
from reactornb.tags import forever

__all__ = ["Agenda", "Schedule", "first_value"]

# A reaction whose ports have at most this many readers in all has them cleared whenever it ran: cheaper than noting each.
_FEW = 4


class Agenda:
    """What the reactions of one enclave leave for its leader.

    # levels, cleared, fired, requests
    #     lists that reactions add to through the closures made here: list.append and list.extend by a tuple are atomic, on
    #     free-threaded builds through the list's own lock. Within a shared level any worker adds; the leader reads and empties them after the level's
    #     batch is over, or while it runs a level by itself.

    Attributes:
        levels: per level, the groups that are ready.
        plain: per level, whether no two groups that can be ready there have a reaction in common.
        cleared: handles to mark absent when the tag ends.
        fired: special signals that were written at this tag.
        requests: (signal, delay, value) of scheduled actions, (None, mode, history) of mode changes, since the last level.
    """

    def __init__(self) -> None:
        self.levels: list[list[Group]] = []
        self.plain: list[bool] = []
        self.cleared: list[InPort] = []
        self.fired: list[Signal] = []
        self.requests: list[tuple[Any, Any, Any]] = []


class Schedule:
    """The compiled form of one run of a graph.

    Args:
        graph: what to run.
        contexts: per enclave, its scheduler as reactions see it (`current_tag`, `request_stop`, …).
        seed: the run's seed.
        record: every written signal is reported at the end of its tag.
        timed: what to wrap around the call of each reaction, for a profile.
        checks: what looks for values that are changed, if that was asked for.

    Attributes:
        agendas: per enclave.
        parameters: (reactor, name) -> signal of the parameters that trigger reactions; see `tuning`.
    """

    def __init__(
        self,
        graph: Graph,
        contexts: Sequence[Any],
        seed: int,
        *,
        record: bool = False,
        timed: Callable[[RunningReaction, Callable[[], None], Any], Callable[[], None]] | None = None,
        checks: ValueChecks | None = None,
    ) -> None:
        self.graph = graph
        self.instances = [_instance(node, contexts[node.enclave], seed) for node in graph.reactors]
        self.reactions = [RunningReaction(n) for n in graph.reactions]
        for r in self.reactions:
            r.enclave = graph.reactors[r.node.reactor].enclave
        self._record = record
        self._timed = timed
        self._checks = checks
        self._contexts = contexts
        self._depth = max(graph.levels, 1)
        self._made: dict[tuple[int, ...], Group] = {}
        self.agendas = [Agenda() for _ in contexts]
        self._ports()
        self._times()
        self._rank()
        for r in self.reactions:
            self._bind(r)
        self._groups()

    def groups_of(self, reactions: Iterable[RunningReaction]) -> tuple[tuple[Callable[[Group], None], Group], ...]:
        """Reactions of one enclave by level, each group with the function that queues it."""
        by_level: dict[int, list[RunningReaction]] = {}
        for r in reactions:
            by_level.setdefault(r.level, []).append(r)
        found = []
        for level, members in sorted(by_level.items()):
            members.sort(key=_index)
            key = tuple(r.index for r in members)
            group = self._made.get(key)
            if group is None:
                group = self._made[key] = Group(members)
            found.append((self.agendas[members[0].enclave].levels[level].append, group))
        return tuple(found)

    def groups_in(self, enclave: int) -> list[Group]:
        """All groups of an enclave; on its leader's thread."""
        return [g for g in self._made.values() if g.reactions[0].enclave == enclave]

    def _groups(self) -> None:
        """Levels are final: decide what each signal queues where, how far it reaches, and what `set` does."""
        for agenda in self.agendas:
            agenda.levels += [[] for _ in range(self._depth)]
            agenda.plain += [True] * self._depth
        signals = {s.port: s for s in self.signals if s.port >= 0}
        # What the end of a tag must clear: noted by `set`, or for a reaction with few readers whenever it ran.
        noted: set[int] = set()
        for r in self.reactions:
            if sum(len(signals[c].handles) for c in r.node.effects) > _FEW:
                noted.update(r.node.effects)
        for r in sorted(self.reactions, key=lambda r: -r.level):
            r.clears = tuple(h for c in r.node.effects if c not in noted for h in signals[c].handles)
            reached = (t.reach for c in r.node.effects for t in signals[c].triggers)
            r.reach = max(r.level, max(reached, default=-1))
        for signal in self.signals:
            signal.groups = self.groups_of(signal.triggers)
            signal.reach = max((r.reach for r in signal.triggers), default=-1)
            if signal.groups:
                lowest = signal.groups[0][1].level
                signal.ahead = _levels(lowest, signal.reach)
                signal.beyond = _levels(lowest + 1, signal.reach)
                signal.only = signal.groups[0][1] if len(signal.groups) == 1 else None
            signal.special = bool(signal.delays) or self._record
            signal.lean = signal.is_delay and signal.pending is None and not (self.graph.modes or signal.special)
            if signal.port >= 0:
                self._make_settable(signal, note=signal.port in noted)
        for signal in self.signals:
            if len(signal.delays) == 1:
                (delay,) = signal.delays
                if delay.lean and delay.after == 0 and delay.enclave == signal.enclave:
                    signal.onward = delay
        for enclave in range(len(self.agendas)):
            for starts in (self.startup, self.shutdown, self.reset):
                self.groups_of(r for r in starts if r.enclave == enclave)
        in_groups: dict[int, int] = {}
        for group in self._made.values():
            for r in group.reactions:
                in_groups[r.index] = in_groups.get(r.index, 0) + 1
        for group in self._made.values():
            # Reactions inside modes may be inactive, one by one; and entering a mode makes groups of its own.
            if self.graph.modes or any(in_groups[r.index] > 1 for r in group.reactions):
                self.agendas[group.reactions[0].enclave].plain[group.level] = False
        for timer in self.timers:
            timer.beat = self._beat(timer)

    def _beat(self, timer: Signal) -> Beat:
        group = timer.only
        if group is None or group.size > 1 or timer.clears or timer.special:
            return (None, timer.period, timer.beyond, (), timer)
        return (group.call, timer.period, timer.beyond, group.clears, timer)

    def _make_settable(self, signal: Signal, *, note: bool) -> None:
        """Give a port what its `set` needs: the hottest function of the package."""
        port = self.writers[signal.port]
        agenda = self.agendas[signal.enclave]
        port._handles, port._groups, port._deliver, port._signal = signal.handles, signal.groups, signal.deliver, signal
        port._clear = agenda.cleared.extend if note else None
        port._fire = agenda.fired.append if signal.special else None
        declared = self.graph.ports[signal.port].port
        asked = getattr(declared, "copy", None)
        port._settle = copied if asked else None
        if self._checks is not None:
            port._deliver = self._checks.sending(port.name, signal.deliver)
            if asked is not None:
                port.__class__ = AskedOutPort
        elif (
            len(signal.handles) == 1
            and len(signal.groups) == 1
            and not (signal.special or note or signal.copied or asked)
        ):
            ((port._enqueue, port._group),) = signal.groups
            (port._only,) = signal.handles
            port.__class__ = ScalarOutPort if declared.is_scalar or asked is False else SingleOutPort
        elif asked is not None:
            port.__class__ = AskedOutPort
        elif len(signal.handles) == 1 and not signal.groups and signal.special and not (note or signal.copied):
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

    # -- ports ------------------------------------------------------------------------------------------------------

    def _ports(self) -> None:  # noqa: C901 - closures over one set of tables
        graph = self.graph
        # Per channel, the enclave in which it is read: an input by its own reactor, an output by the one around that.
        home = homes(graph.reactors, graph.ports)
        direct: dict[int, list[int]] = {}
        delayed: dict[int, list[Any]] = {}
        for edge in graph.edges:
            if edge.after is None and not edge.physical:
                direct.setdefault(edge.source, []).append(edge.destination)
            else:
                delayed.setdefault(edge.source, []).append(edge)
        triggered: dict[int, list[RunningReaction]] = {}
        read: set[int] = set()
        written: dict[int, int] = {}  # channel -> the enclave of who writes it
        for r in self.reactions:
            for kind, index in r.node.triggers:
                if kind == "port":
                    triggered.setdefault(index, []).append(r)
                    read.add(index)
            read.update(r.node.uses)
            written.update(dict.fromkeys(r.node.effects, r.enclave))
        # Whoever reads these runs only when they are present: nobody can see them absent.
        steady = {
            c
            for c in read
            if not graph.modes and triggered.get(c) and all(r.node.triggers == (("port", c),) for r in triggered[c])
        }
        for r in self.reactions:
            steady.difference_update(r.node.uses)
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

        def share_handles(channels: list[int]) -> None:
            """One handle for the members of a bank that read one signal, where none of them can see it absent or owns its value."""
            first: dict[int, int] = {}
            for c in channels:
                port = graph.ports[c].port
                if c in steady and not _mutable(graph.ports[c]):
                    shared = self.readers[first.setdefault(id(port), c)]
                    if shared is not self.readers[c]:
                        shared.name = _any_member(shared.name)
                        self.readers[c] = shared

        def wire(signal: Signal, starts: list[int], *, onward: bool = True) -> None:
            """Decide what a signal writes through to, triggers and feeds; `onward` unless another one of its delay does that."""
            reached = [reach(start) for start in starts]
            channels = list(dict.fromkeys(c for found, _ in reached for c in found))
            edges = [e for _, found in reached for e in found] if onward else []
            read_here = [c for c in channels if c in self.readers and home[c] == signal.enclave]
            share_handles(read_here)
            handles = {self.readers[c]: _mutable(graph.ports[c]) for c in read_here}
            signal.handles, mutable = tuple(handles), list(handles.values())
            copied = any(handles.values())  # a mutable input's reader changes its copy, not what was sent
            # Where there are modes, a reader further on may be another port's reader too.
            shared = bool(graph.modes) and read_here[:1] != starts[:1]
            if not read_here or copied or shared:
                # Something must keep the value for `port.value` and for the delayed connections.
                signal.handles, mutable = (InPort(signal.name), *signal.handles), [False, *mutable]
            signal.state = signal.handles[0]
            signal.triggers = tuple(dict.fromkeys(r for c in read_here for r in triggered.get(c, ())))
            signal.copied = any(mutable)
            if signal.port < 0:
                hidden = {id(self.readers[c]) for c in read_here if c in steady}
                signal.clears = tuple(h for h in signal.handles if id(h) not in hidden)
                for c in read_here:
                    if c in steady:
                        self.readers[c].is_present = True
                signal.deliver = deliver_to(signal.handles, mutable, signal.clears)
            else:
                signal.clears = signal.handles
                signal.deliver = deliver_to(signal.handles, mutable)
            # What leaves together arrives together: one signal for all edges of one delay; but where there are modes, an edge
            # may also be fed by another port, and what both bring to one time must not meet.
            groups: dict[tuple[int | None, bool, int, int], list[Any]] = {}
            for edge in edges:
                alone = id(edge) if graph.modes or len(graph.enclaves) > 1 else 0
                groups.setdefault((edge.after, edge.physical, edge.mode, alone), []).append(edge)
            signal.delays = tuple(d for group in groups.values() for d in delayed_by(group))
            if signal.port >= 0:  # a delayed connection has a signal of its own in each enclave that it leads to
                abroad = sorted({home[c] for c in channels if c in self.readers} - {signal.enclave})
                signal.delays += tuple(message(signal, starts, enclave) for enclave in abroad)
            for delay in signal.delays:
                if delay.enclave != signal.enclave:
                    assert graph.distances[signal.enclave][delay.enclave] is not None

        def delayed_by(edges: list[Any]) -> tuple[Signal, ...]:
            first = edges[0]
            ends = [e.destination for e in edges]
            homes = sorted({home[c] for end in ends for c in reach(end)[0] if c in self.readers}) or [home[ends[0]]]
            made = []
            for enclave in homes:
                key = (enclave, *(id(e) for e in edges))
                if key not in delay_of:
                    delay = delay_of[key] = Signal(f"{graph.ports[first.source].name} delayed")
                    delay.is_delay = True
                    delay.enclave = enclave
                    delay.after, delay.physical, delay.mode = first.after or 0, first.physical, first.mode
                    if delay.after or delay.physical:
                        delay.pending = Pending()
                    wire(delay, ends, onward=enclave == homes[0])
                    later.append(delay)
                made.append(delay_of[key])
            return tuple(made)

        def message(signal: Signal, starts: list[int], enclave: int) -> Signal:
            """What carries a port's value to another enclave at the same tag."""
            made = Signal(f"{signal.name} to another enclave")
            made.is_delay = True
            made.enclave = enclave
            made.after = -1
            wire(made, starts, onward=False)
            later.append(made)
            return made

        later: list[Signal] = []
        for channel in sorted(written):
            signal = Signal(graph.ports[channel].name, port=channel)
            signal.enclave = written[channel]
            wire(signal, [channel])
            self.writers[channel] = OutPort(signal.name, signal.state)
            self._register(signal)
        # Numbers of what a fingerprint takes in do not depend on what enclaves add.
        self._later = later

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
            signal.enclave = graph.reactors[node.reactor].enclave
            handle = ActionHandle(node.name)
            self.handles[kind, node.index] = handle
            signal.state = handle
            signal.handles = signal.clears = (handle,)
            signal.deliver = deliver_to(signal.handles, [False])
            signal.triggers = tuple(by_trigger.get((kind, node.index), ()))
            signal.mode = node.mode
            self._register(signal)
            return signal

        self.timers = []
        read = {a[1] for r in self.reactions for a in r.node.arguments if a[0] == "timer"}
        for timer in graph.timers:
            signal = signal_for("timer", timer)
            signal.offset, signal.period = timer.offset, timer.period
            if timer.index not in read:
                signal.clears, signal.deliver = (), _unread
            self.timers.append(signal)
        for action in graph.actions:
            signal = signal_for("action", action)
            signal.offset, signal.min_spacing, signal.policy = action.min_delay, action.min_spacing, action.policy
            signal.physical = action.physical
            signal.pending = Pending()
            self.handles["action", action.index].schedule = self._scheduler_of(signal, action)
        for dog in graph.watchdogs:
            signal = signal_for("watchdog", dog)
            signal.physical, signal.pending = True, Pending()
            handle = WatchdogHandle(dog.name)
            handle.start, handle.stop = self._contexts[signal.enclave].watchdog(signal, dog.timeout)
            self.handles["watchdog", dog.index] = handle
        for signal in self._later:
            self._register(signal)
        self.parameters: dict[tuple[int, str], Signal] = {}
        for node in graph.parameters:
            signal = self.parameters[node.reactor, node.parameter] = Signal(node.name)
            signal.enclave = graph.reactors[node.reactor].enclave
            signal.state = InPort(node.name)
            signal.triggers = tuple(by_trigger["parameter", node.index])
            self._register(signal)
            signal.order = self.parameter_order(node.reactor, node.parameter)

    def parameter_order(self, reactor: int, name: str) -> int:
        """The number under which a parameter's change is recorded: below those of all else, since it comes before any reaction."""
        spec = self.graph.reactors[reactor].cls._spec
        before = sum(len(node.cls._spec.parameters) for node in self.graph.reactors[reactor:])
        return list(spec.parameters).index(name) - before

    def _scheduler_of(self, signal: Signal, action: Any) -> Callable[..., None]:
        if action.physical:
            post = self._contexts[signal.enclave].post

            def schedule(delay: int = 0, value: Any = None) -> None:
                """See `ActionHandle`."""
                if type(delay) is not int or not 0 <= delay <= forever:
                    delay = delay_of(delay, signal.name)
                post(signal, delay, value if type(value) in PLAIN else settled(value, signal.name))

        else:
            append = self.agendas[signal.enclave].requests.append

            def schedule(delay: int = 0, value: Any = None) -> None:
                if type(delay) is not int or not 0 <= delay <= forever:
                    delay = delay_of(delay, signal.name)
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
                late = functools.partial(handler, *r.row) if handler is not None else r.call
                r.call = self._contexts[r.enclave].with_deadline(r.call, late, node.deadline, instance)
                r.body = None
        if self._checks is not None:
            r.call, r.body = self._checks.checked(r, r.call), None
        if self._timed is not None:
            r.call = self._timed(r, r.call, self._contexts[r.enclave])
            r.body = None

    def _mode(self, enclave: int, mode: int, history: bool) -> ModeHandle:
        handle = ModeHandle(self.graph.modes[mode].name, mode)
        handle.set = _mode_setter(self.agendas[enclave].requests.append, mode, history)
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
            made = {k: Multiport(v[i] for i in sorted(v)) if isinstance(v, dict) else v for k, v in ports[m].items()}
            views.append(View(graph.reactors[m].name, made, r.name))
        return Multiport(views) if is_bank else views[0]


def _instance(node: Any, context: Any, seed: int) -> Reactor:
    cls: type[Reactor] = node.cls
    made = object.__new__(cls)
    # By attribute, never through `__dict__`: while nobody asks for an object's dictionary CPython keeps none, and reading and writing
    # an attribute of `self` is one step instead of a look-up.
    put = functools.partial(object.__setattr__, made)
    put("_running", True)
    put("_context", context)
    put("_name", node.name)
    put("_run_seed", seed)
    put("_log", Log())
    put("bank_index", node.bank_index)
    put("bank_width", node.bank_width)
    spec = cls._spec
    for name, value in node.parameters.items():
        put(name, value if name in spec.shared else owned(value, functools.partial(parameter_words, node, name)))
    if "_lf_defaults" not in cls.__dict__:  # what a preamble of Lingua Franca text binds is meant to be one for all
        for name, (value, _) in spec.attributes.items():
            if needs_guard(value):
                put(name, guarded(value, attribute_refusal(cls, name)))
    for name in spec.children:
        put(name, Hidden(name))
    for state in spec.states.values():
        put(state.name, first_value(made, state))
    return made


def first_value(instance: Reactor, state: Any) -> Any:
    """The first value of a state variable, made anew."""
    if state.factory is not None:
        return state.factory(instance)
    return owned(state.initial, lambda: f"{state.source}: the first value of state {instance.full_name}.{state.name}")


def _reader(node: Any) -> InPort:
    made = getattr(node.port, "reader", None) or InPort
    return cast("InPort", made(node.name))


def _any_member(name: str) -> str:
    """`main.client[3].inp` -> `main.client[*].inp`."""
    return re.sub(r"\[\d+\]", "[*]", name)


@functools.lru_cache
def _levels(lowest: int, highest: int) -> range:
    """One object for all who need it."""
    return range(lowest, highest + 1)


def _mutable(port: Any) -> bool:
    return isinstance(port.port, Input) and port.port.mutable


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
