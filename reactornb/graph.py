"""`assemble(root)`: from declarations to a frozen, checked `Graph`, the action-port graph.

Flattens the hierarchy into plain nodes with numbers, resolves widths and connections channel by channel, refuses what has
no meaning (unknown names, two writers, width mismatches, negative delays, loops without a delay) and gives every
reaction its level. Pure data and small algorithms: nothing here runs a reaction.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from reactornb.errors import (
    AssemblyError,
    CausalityError,
    MultipleWritersError,
    Source,
    UnknownNameError,
    WidthMismatchError,
    suggestion,
)
from reactornb.model import (
    Action,
    Bank,
    BankMember,
    Builtin,
    Connection,
    Declaration,
    Input,
    Mode,
    Output,
    Port,
    PortRef,
    Reaction,
    Reactor,
    Timer,
    Watchdog,
    per_member,
)
from reactornb.tags import format_ns

__all__ = [
    "ActionNode",
    "Edge",
    "Graph",
    "ModeNode",
    "PortNode",
    "ReactionNode",
    "ReactorNode",
    "TimerNode",
    "WatchdogNode",
    "assemble",
]


@dataclass(frozen=True, slots=True)
class ReactorNode:
    """One reactor instance.

    Attributes:
        index: position in `Graph.reactors`; parents come before their children.
        name: full path, such as `main.rollouts[3]`; `label` is its last part.
        cls: the class; `parameters` its parameter values for this instance.
        parent: index of the container, -1 for the root.
        bank_index, bank_width: position in its bank and the bank's width (0 and 1 outside banks).
        mode: index of the mode of the container that it lives in, or -1.
        source: where it was instantiated.
    """

    index: int
    name: str
    label: str
    cls: type[Reactor]
    parameters: Mapping[str, Any]
    parent: int
    bank_index: int
    bank_width: int
    mode: int
    source: Source


@dataclass(frozen=True, slots=True)
class PortNode:
    """One channel of a port. `channel` is None for a single port; `kind` is "input" or "output"."""

    index: int
    name: str
    reactor: int
    port: Port[Any]
    channel: int | None
    kind: str


@dataclass(frozen=True, slots=True)
class TimerNode:
    """A timer; `offset` and `period` in ns."""

    index: int
    name: str
    reactor: int
    offset: int
    period: int
    mode: int


@dataclass(frozen=True, slots=True)
class ActionNode:
    """An action; delays in ns, `min_spacing` None where there is no minimum."""

    index: int
    name: str
    reactor: int
    physical: bool
    min_delay: int
    min_spacing: int | None
    policy: str
    mode: int


@dataclass(frozen=True, slots=True)
class WatchdogNode:
    """A watchdog; `timeout` in ns of physical time."""

    index: int
    name: str
    reactor: int
    timeout: int
    mode: int


@dataclass(frozen=True, slots=True)
class ModeNode:
    """A mode; `outer` is the mode that its reactor lives in (through any number of levels), or -1."""

    index: int
    name: str
    reactor: int
    initial: bool
    outer: int


@dataclass(frozen=True, slots=True)
class ReactionNode:
    """One reaction of one instance.

    Attributes:
        name: full name, such as `main.learner.on_batch`.
        number: order within its reactor, from 0.
        declaration: the `Reaction`; None for the forwarding reaction of a connection inside a mode.
        triggers: ("port" | "timer" | "action" | "watchdog", index) or ("startup" | "shutdown" | "reset", -1).
        uses: channels read without triggering.
        effects: channels written.
        arguments: per parameter, ("port", channels, writable) and so on; see `runtime.schedule`.
        level: reactions of one level and one tag are independent of each other.
        deadline: ns of physical time after the tag, or None.
        mode: the mode it lives in, -1 outside modes; enclosing modes are found through `ModeNode.outer`.
    """

    index: int
    name: str
    reactor: int
    number: int
    declaration: Reaction | None
    triggers: tuple[tuple[str, int], ...]
    uses: tuple[int, ...]
    effects: tuple[int, ...]
    arguments: tuple[Any, ...]
    deadline: int | None
    mode: int
    source: Source
    level: int = -1


@dataclass(frozen=True, slots=True)
class Edge:
    """One channel connected to one channel; `after` in ns, None without delay. `mode` as in `ReactionNode`."""

    source: int
    destination: int
    after: int | None
    physical: bool
    mode: int
    made: Source


@dataclass(frozen=True, slots=True)
class Graph:
    """The action-port graph of a program. All numbers are indices into these tuples.

    Attributes:
        levels: how many levels there are.
    """

    reactors: tuple[ReactorNode, ...]
    ports: tuple[PortNode, ...]
    timers: tuple[TimerNode, ...]
    actions: tuple[ActionNode, ...]
    watchdogs: tuple[WatchdogNode, ...]
    modes: tuple[ModeNode, ...]
    reactions: tuple[ReactionNode, ...]
    edges: tuple[Edge, ...]
    levels: int

    def reaction(self, name: str) -> ReactionNode:
        """The reaction of that full name.

        Raises:
            UnknownNameError: if there is none.
        """
        for node in self.reactions:
            if node.name == name:
                return node
        raise UnknownNameError(f"no reaction {name!r}. {suggestion(name, (r.name for r in self.reactions))}", unknown=name)

    def __str__(self) -> str:
        return (
            f"{len(self.reactors)} reactors, {len(self.reactions)} reactions on {self.levels} levels, "
            f"{len(self.edges)} connections"
        )


class _Place:
    """A reactor while it is being flattened: what its names stand for."""

    __slots__ = ("actions", "children", "cls", "index", "modes", "name", "node", "owners", "ports", "timers", "watchdogs")

    def __init__(self, node: ReactorNode) -> None:
        self.node = node
        self.index = node.index
        self.name = node.name
        self.cls = node.cls
        self.ports: dict[str, list[int]] = {}
        self.timers: dict[str, int] = {}
        self.actions: dict[str, int] = {}
        self.watchdogs: dict[str, int] = {}
        self.modes: dict[str, int] = {}
        self.children: dict[str, list[_Place]] = {}
        # id of a template -> the places made of it in this container
        self.owners: dict[int, list[_Place]] = {}


_PATH = re.compile(r"^(interleaved\()?\s*([^.\[\]()]+(?:\[\d+\])?)\.(\w+)\s*\)?$")


class _Assembly:
    def __init__(self) -> None:
        self.reactors: list[ReactorNode] = []
        self.ports: list[PortNode] = []
        self.timers: list[TimerNode] = []
        self.actions: list[ActionNode] = []
        self.watchdogs: list[WatchdogNode] = []
        self.modes: list[ModeNode] = []
        self.reactions: list[ReactionNode] = []
        self.edges: list[Edge] = []
        # channel -> who writes it, in words, and the mode in which that is so
        self.writers: dict[int, list[tuple[str, int]]] = {}

    def place(self, template: Reactor, name: str, label: str, parent: int, mode: int, outer: int, bank: tuple[int, int]) -> _Place:
        cls = type(template)
        spec = cls.spec
        values = template.__dict__
        # `compose` gets a copy, so that assembling twice gives the same graph twice.
        copy = object.__new__(cls)
        copy.__dict__.update(values)
        copy.__dict__.update(_connections=[], _children={}, _named=label, bank_index=bank[0], bank_width=bank[1])
        parameters = {name: values[name] for name in spec.parameters}
        node = ReactorNode(len(self.reactors), name, label, cls, parameters, parent, *bank, mode, values["_source"])
        self.reactors.append(node)
        here = _Place(node)

        def number(spec_value: Any, what: str, source: Source, *, least: int = 0) -> int:
            value = spec_value
            if isinstance(value, str):
                if value not in spec.parameters:
                    raise UnknownNameError(
                        f"{source}: {what} of {name} is the parameter {value!r}, which {cls.__name__} does not declare. "
                        f"{suggestion(value, spec.parameters)}",
                        unknown=value,
                        source=source,
                    )
                value = parameters[value]
            elif callable(value):
                value = value(copy)
            if isinstance(value, float) and value.is_integer():
                value = int(value)
            if isinstance(value, bool) or not hasattr(value, "__index__"):
                raise AssemblyError(f"{source}: {what} of {name} must be a whole number, not {value!r}.")
            value = value.__index__()
            if value < least:
                raise AssemblyError(f"{source}: {what} of {name} is {value}; it cannot be below {least}.")
            return int(value)

        for m in spec.modes.values():
            here.modes[m.name] = len(self.modes)
            self.modes.append(ModeNode(len(self.modes), f"{name}.{m.name}", node.index, m.initial, outer))

        def mode_of(item: Declaration | Connection) -> int:
            return here.modes[item.mode.name] if item.mode is not None else -1

        for port in spec.ports.values():
            kind = "input" if isinstance(port, Input) else "output"
            channels: list[int] = []
            if port.width is None:
                channels.append(len(self.ports))
                self.ports.append(PortNode(len(self.ports), f"{name}.{port.name}", node.index, port, None, kind))
            else:
                for i in range(number(port.width, f"the width of port {port.name!r}", port.source)):
                    channels.append(len(self.ports))
                    self.ports.append(PortNode(len(self.ports), f"{name}.{port.name}[{i}]", node.index, port, i, kind))
            here.ports[port.name] = channels
        for timer in spec.timers.values():
            here.timers[timer.name] = len(self.timers)
            offset = number(timer.offset, f"the offset of timer {timer.name!r}", timer.source)
            period = number(timer.period, f"the period of timer {timer.name!r}", timer.source)
            self.timers.append(
                TimerNode(len(self.timers), f"{name}.{timer.name}", node.index, offset, period, self._inner(mode_of(timer), outer))
            )
        for action in spec.actions.values():
            here.actions[action.name] = len(self.actions)
            delay = number(action.min_delay, f"the delay of action {action.name!r}", action.source)
            spacing = action.min_spacing
            if spacing is not None:
                spacing = number(spacing, f"the spacing of action {action.name!r}", action.source)
            self.actions.append(
                ActionNode(
                    len(self.actions), f"{name}.{action.name}", node.index, action.physical, delay, spacing, action.policy,
                    self._inner(mode_of(action), outer),
                )
            )  # fmt: skip
        for dog in spec.watchdogs.values():
            here.watchdogs[dog.name] = len(self.watchdogs)
            timeout = number(dog.timeout, f"the timeout of watchdog {dog.name!r}", dog.source)
            self.watchdogs.append(
                WatchdogNode(len(self.watchdogs), f"{name}.{dog.name}", node.index, timeout, self._inner(mode_of(dog), outer))
            )

        if cls.compose is not Reactor.compose:
            copy.compose()
        here.owners[id(copy)] = here.owners[id(template)] = [here]
        composed: dict[str, Any] = copy.__dict__["_children"]
        for child_label, child in {**spec.children, **composed}.items():
            self._place_child(here, child, child_label, outer)

        for order, item in enumerate(spec.reactions):
            deadline = item.deadline
            if deadline is not None:
                deadline = number(deadline, f"the deadline of reaction {item.name!r}", item.source)
            self._reaction(here, item, order, deadline, self._inner(mode_of(item), outer))
        connections: list[Connection] = list(spec.own_connections) + copy.__dict__["_connections"]
        for child in {id(c): c for c in (*spec.children.values(), *composed.values())}.values():
            connections += child.__dict__["_connections"]
        for made in connections:
            after = None if made.after is None else number(made.after, "the delay of a connection", made.source)
            self._connect(here, made, after, self._inner(mode_of(made), outer))
        return here

    @staticmethod
    def _inner(mode: int, outer: int) -> int:
        """The innermost mode of something: its own, or the one its reactor lives in."""
        return mode if mode >= 0 else outer

    def _place_child(self, here: _Place, child: Reactor | Bank, label: str, outer: int) -> None:
        mode_declared: Mode | None = child.__dict__["_mode"]
        mode = here.modes[mode_declared.name] if mode_declared is not None else -1
        inner = self._inner(mode, outer)
        made: list[_Place] = []
        if isinstance(child, Bank):
            cls, width, given = child.__dict__["cls"], len(child), child.__dict__["_parameters"]
            for i in range(width):
                values = {k: v.fn(i) if isinstance(v, per_member) else v for k, v in given.items()}
                member = cls(**values, bank_index=i, bank_width=width)
                member.__dict__["_source"] = child.__dict__["_source"]
                name = f"{label}[{i}]"
                made.append(self.place(member, f"{here.name}.{name}", name, here.index, mode, inner, (i, width)))
        else:
            bank = (child.__dict__.get("bank_index", 0), child.__dict__.get("bank_width", 1))
            made.append(self.place(child, f"{here.name}.{label}", label, here.index, mode, inner, bank))
        here.children[label] = made
        here.owners[id(child)] = made

    # -- names ------------------------------------------------------------------------------------------------------

    def _channels(self, here: _Place, end: Any, source: Source) -> tuple[list[int], bool]:
        """The channels of a port as it stands in a connection or reaction, and whether it is a contained reactor's."""
        if isinstance(end, str):
            return self._path(here, end, source)
        if isinstance(end, Port):
            if end.name not in here.ports:
                raise UnknownNameError(
                    f"{source}: {here.cls.__name__} has no port {end.name!r}. {suggestion(end.name, here.ports)}",
                    unknown=end.name,
                    source=source,
                )
            return here.ports[end.name], False
        owner = end.owner
        index = None
        if isinstance(owner, BankMember):
            owner, index = owner.bank, owner.index
        places = here.owners.get(id(owner))
        if places is None:
            raise AssemblyError(
                f"{source}: {end} belongs to a reactor that is no child of {here.name}; give it a name in the class body or in "
                f"compose first (self.{owner._label().lower()} = …)."
            )
        if index is not None:
            places = places[index : index + 1]
        columns = [p.ports[end.port.name] for p in places]
        contained = places[0] is not here if places else True
        return self._flat(columns, end.interleaved_), contained

    @staticmethod
    def _flat(columns: list[list[int]], interleaved: bool) -> list[int]:
        if interleaved:
            return [channel for row in zip(*columns, strict=True) for channel in row]
        return [channel for column in columns for channel in column]

    def _path(self, here: _Place, path: str, source: Source) -> tuple[list[int], bool]:
        if path in here.ports:
            return here.ports[path], False
        found = _PATH.match(path)
        child, port = (found[2].strip(), found[3]) if found else (path, "")
        places = here.children.get(child)
        if places is None and "[" in child:
            bank, _, rest = child.partition("[")
            members = here.children.get(bank, [])
            i = int(rest[:-1])
            places = members[i : i + 1] or None
        if places is None:
            known = [*here.ports, *here.children]
            raise UnknownNameError(
                f"{source}: {here.name} has no port or child {child!r}. {suggestion(child, known)}", unknown=child, source=source
            )
        for p in places:
            if port not in p.ports:
                raise UnknownNameError(
                    f"{source}: {p.name} has no port {port!r}. {suggestion(port, p.ports)}", unknown=port, source=source
                )
        return self._flat([p.ports[port] for p in places], bool(found and found[1])), True

    # -- reactions --------------------------------------------------------------------------------------------------

    def _reaction(self, here: _Place, item: Reaction, number: int, deadline: int | None, mode: int) -> None:
        triggers: list[tuple[str, int]] = []
        triggered: set[int] = set()
        allowed: dict[str, list[tuple[int, bool]]] = {}  # child -> (channel, writable)

        def allow(end: Any, channels: Iterable[int], writable: bool) -> None:
            for channel in channels:
                label = self.reactors[self.ports[channel].reactor].label.partition("[")[0]
                allowed.setdefault(label, []).append((channel, writable))

        for trigger in item.triggers:
            if isinstance(trigger, str):
                for table, kind in ((here.timers, "timer"), (here.actions, "action"), (here.watchdogs, "watchdog")):
                    if trigger in table:
                        triggers.append((kind, table[trigger]))
                        break
                else:
                    self._port_trigger(here, item, trigger, triggers, triggered, allow)
            elif isinstance(trigger, Builtin):
                triggers.append((trigger.name, -1))
            elif isinstance(trigger, Timer):
                triggers.append(("timer", here.timers[trigger.name]))
            elif isinstance(trigger, Action):
                triggers.append(("action", here.actions[trigger.name]))
            elif isinstance(trigger, Watchdog):
                triggers.append(("watchdog", here.watchdogs[trigger.name]))
            else:
                self._port_trigger(here, item, trigger, triggers, triggered, allow)
        uses: list[int] = []
        effects: list[int] = []
        for use in item.uses:
            channels, contained = self._channels(here, use, item.source)
            uses += [c for c in channels if c not in triggered]
            if contained:
                allow(use, channels, False)
        for effect in item.effects:
            channels, contained = self._channels(here, effect, item.source)
            if contained:
                self._only(channels, "input", item, "write")
                allow(effect, channels, True)
            effects += channels
        arguments = [self._argument(here, item, name, triggered, uses, effects, allowed) for name in item.parameters]
        effects = list(dict.fromkeys(effects))
        full = f"{here.name}.{item.name}"
        for channel in effects:
            self._writes(channel, f"reaction {full} ({item.source})", here.index, mode)
        self.reactions.append(
            ReactionNode(
                len(self.reactions), full, here.index, number, item, tuple(dict.fromkeys(triggers)), tuple(dict.fromkeys(uses)), tuple(effects), tuple(arguments), deadline, mode,
                item.source,
            )
        )  # fmt: skip

    def _port_trigger(self, here: _Place, item: Reaction, trigger: Any, triggers: Any, triggered: set[int], allow: Any) -> None:
        channels, contained = self._channels(here, trigger, item.source)
        triggers += [("port", c) for c in channels]
        triggered.update(channels)
        if contained:
            self._only(channels, "output", item, "be triggered by")
            allow(trigger, channels, False)

    def _only(self, channels: list[int], kind: str, item: Reaction, verb: str) -> None:
        for channel in channels:
            if self.ports[channel].kind != kind:
                raise AssemblyError(
                    f"{item.source}: reaction {item.name} cannot {verb} {self.ports[channel].name}, an {self.ports[channel].kind} of a "
                    f"contained reactor; a container writes its children's inputs and reads their outputs."
                )

    def _argument(
        self, here: _Place, item: Reaction, name: str, triggered: set[int], uses: list[int], effects: list[int], allowed: Any
    ) -> tuple[Any, ...]:
        if name in here.ports:
            channels = here.ports[name]
            multi = here.cls.spec.ports[name].width is not None
            if isinstance(here.cls.spec.ports[name], Output):
                effects += channels
                return ("port", tuple(channels), True, multi)
            uses += [c for c in channels if c not in triggered]
            return ("port", tuple(channels), False, multi)
        if name in here.actions:
            return ("action", here.actions[name])
        if name in here.timers:
            return ("timer", here.timers[name])
        if name in here.modes:
            return ("mode", here.modes[name])
        if name in here.watchdogs:
            return ("watchdog", here.watchdogs[name])
        if name in here.children:
            channels_of = dict.fromkeys(allowed.get(name, ()))
            if not channels_of:
                raise AssemblyError(
                    f"{item.source}: reaction {here.name}.{item.name} takes the contained reactor {name!r} but declares no port of it; "
                    f"name what it touches: @reaction(…, uses={name}.port) or effects={name}.port."
                )
            is_bank = len(here.children[name]) != 1 or here.children[name][0].node.label.endswith("]")
            members = [p.index for p in here.children[name]]
            return ("child", name, tuple(channels_of), tuple(members), is_bank)
        known = [*here.ports, *here.actions, *here.timers, *here.modes, *here.watchdogs, *here.children]
        raise UnknownNameError(
            f"{item.source}: reaction {here.name}.{item.name} names {name!r} in its signature, which {here.cls.__name__} does not "
            f"declare. {suggestion(name, known)}",
            unknown=name,
            source=item.source,
        )

    # -- connections ------------------------------------------------------------------------------------------------

    def _connect(self, here: _Place, made: Connection, after: int | None, mode: int) -> None:
        left = [c for end in made.sources for c in self._end(here, end, made, "output")]
        right = [c for end in made.destinations for c in self._end(here, end, made, "input")]
        pairs = len(right)
        if len(left) != len(right):
            if left and (made.broadcast or (made.broadcast is None and len(left) == 1)):
                left = [left[i % len(left)] for i in range(len(right))]
            else:
                sides = f"{_sides(made.sources)} (width {len(left)}) -> {_sides(made.destinations)} (width {len(right)})"
                if made.strict:
                    raise WidthMismatchError(
                        f"{made.source}: the two sides have different widths:\n  {sides}\nMake the widths equal, or repeat the left side "
                        f"with connect(…, broadcast=True).",
                        left=len(left),
                        right=len(right),
                        source=made.source,
                    )
                warnings.warn(f"{made.source}: widths differ, what is left over stays unconnected: {sides}", stacklevel=2)
                pairs = min(len(left), len(right))
        in_mode = made.mode is not None
        for src, dst in zip(left[:pairs], right[:pairs], strict=True):
            words = f"the connection from {self.ports[src].name} ({made.source})"
            self._writes(dst, words, None, mode if in_mode else -1)
            writer = self.reactors[self.ports[src].reactor]
            inside = made.mode is not None and writer.parent == here.index and writer.mode == here.modes[made.mode.name]
            if in_mode and after is None and not made.physical and not inside:
                # A connection in a mode carries values only while the mode is active: a reaction in it forwards them.
                name = f"{here.name}.{self.ports[src].name.rpartition('.')[2]}->{self.ports[dst].name.rpartition('.')[2]}"
                self.reactions.append(
                    ReactionNode(
                        len(self.reactions), name, here.index, 1 << 20, None, (("port", src),), (), (dst,),
                        (("read", src), ("write", dst)), None, mode, made.source,
                    )
                )  # fmt: skip
            else:
                self.edges.append(Edge(src, dst, after, made.physical, mode, made.source))

    def _end(self, here: _Place, end: Any, made: Connection, outer_kind: str) -> list[int]:
        channels, contained = self._channels(here, end, made.source)
        # From the inside, a reactor's own inputs are sources and its own outputs are destinations.
        want = outer_kind if contained else ("input" if outer_kind == "output" else "output")
        for channel in channels:
            if self.ports[channel].kind != want:
                side = "source" if outer_kind == "output" else "destination"
                raise AssemblyError(
                    f"{made.source}: {self.ports[channel].name} is an {self.ports[channel].kind} and cannot be the {side} of this "
                    f"connection; connect(source, destination) goes from an output to an input. Are the two the wrong way round?"
                )
        return channels

    def _writes(self, channel: int, words: str, reactor: int | None, mode: int) -> None:
        others = self.writers.setdefault(channel, [])
        key = -2 if reactor is None else reactor
        for other, other_mode in others:
            same_reactor = reactor is not None and other.startswith(f"#{key} ")
            exclusive = mode >= 0 and other_mode >= 0 and mode != other_mode
            if not same_reactor and not exclusive:
                writers = (other.partition(" ")[2], words)
                raise MultipleWritersError(
                    f"{self.ports[channel].name} has two writers:\n  {writers[0]}\n  {writers[1]}\nGive each its own port, or make it a "
                    f"multiport (width=2).",
                    port=self.ports[channel].name,
                    writers=writers,
                )
        others.append((f"#{key} {words}", mode))


def _sides(ends: tuple[Any, ...]) -> str:
    return ", ".join(str(e) if isinstance(e, (PortRef, str)) else e.name for e in ends)


def assemble(root: Reactor, name: str | None = None) -> Graph:
    """Flatten, check and level a program.

    Args:
        root: the outermost reactor, a template; it can be assembled any number of times.
        name: what full names begin with; the class's name in lower case unless given.

    Raises:
        AssemblyError: if the reactors do not form a legal graph; its subclasses say why.
        UnknownNameError: if a name stands for nothing.
    """
    if not isinstance(root, Reactor):
        hint = f" Make an instance: {root.__name__}()." if isinstance(root, type) else ""
        raise AssemblyError(f"the outermost reactor must be an instance of Reactor, not {root!r}.{hint}")
    work = _Assembly()
    name = name or _snake(type(root).__name__)
    work.place(root, name, name, -1, -1, -1, (0, 1))
    levels, count = _levels(work)
    reactions = tuple(replace(r, level=levels[r.index]) for r in work.reactions)
    return Graph(
        tuple(work.reactors), tuple(work.ports), tuple(work.timers), tuple(work.actions), tuple(work.watchdogs), tuple(work.modes),
        reactions, tuple(work.edges), count,
    )  # fmt: skip


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _levels(work: _Assembly) -> tuple[list[int], int]:
    """Longest-path levels over "must run before", or a CausalityError with one loop."""
    reactions = work.reactions
    # Channels reached at the same tag, following connections without delay.
    onward: dict[int, list[int]] = {}
    for edge in work.edges:
        if edge.after is None and not edge.physical:
            onward.setdefault(edge.source, []).append(edge.destination)
    readers: dict[int, list[int]] = {}
    for r in reactions:
        for kind, index in r.triggers:
            if kind == "port":
                readers.setdefault(index, []).append(r.index)
        for channel in r.uses:
            readers.setdefault(channel, []).append(r.index)
    after: list[dict[int, int]] = [{} for _ in reactions]  # reaction -> (later reaction -> channel, or -1 for order)
    by_reactor: dict[int, list[ReactionNode]] = {}
    for r in reactions:
        by_reactor.setdefault(r.reactor, []).append(r)
        for channel in r.effects:
            _reach(channel, onward, readers, r.index, after)
    for group in by_reactor.values():
        _order(sorted(group, key=lambda r: (r.number, r.index)), work, after)
    waiting = [0] * len(reactions)
    for targets in after:
        for target in targets:
            waiting[target] += 1
    levels = [0] * len(reactions)
    ready = [i for i, n in enumerate(waiting) if n == 0]
    for i in ready:  # grows while it is walked
        for target in after[i]:
            levels[target] = max(levels[target], levels[i] + 1)
            waiting[target] -= 1
            if waiting[target] == 0:
                ready.append(target)
    if len(ready) < len(reactions):
        raise _loop(work, after, {i for i, n in enumerate(waiting) if n})
    return levels, max(levels, default=-1) + 1


def _reach(channel: int, onward: Any, readers: Any, writer: int, after: list[dict[int, int]]) -> None:
    stack, seen = [channel], {channel}
    while stack:
        at = stack.pop()
        for reader in readers.get(at, ()):
            if reader != writer or at != channel:
                after[writer].setdefault(reader, at)
        for nxt in onward.get(at, ()):
            if nxt not in seen:
                seen.add(nxt)
                stack.append(nxt)


def _order(group: list[ReactionNode], work: _Assembly, after: list[dict[int, int]]) -> None:
    """Reactions of one reactor run in the order they are written, unless their modes exclude each other."""
    last_common: int | None = None
    last_in: dict[int, int] = {}
    for r in group:
        own = r.mode if r.mode >= 0 and work.modes[r.mode].reactor == r.reactor else -1
        # A shutdown reaction runs whatever the mode, so it is ordered with all the others.
        common = own < 0 or any(kind == "shutdown" for kind, _ in r.triggers)
        before = list(last_in.values()) if common else [last_in[own]] if own in last_in else []
        for b in before or ([] if last_common is None else [last_common]):
            after[b].setdefault(r.index, -1)
        if common and before and last_common is not None:
            after[last_common].setdefault(r.index, -1)
        if common:
            last_common, last_in = r.index, {}
        else:
            last_in[own] = r.index


def _loop(work: _Assembly, after: list[dict[int, int]], stuck: set[int]) -> CausalityError:
    # Walk backwards inside the stuck part: every reaction in it waits for another one in it.
    before = {t: i for i in stuck for t in after[i] if t in stuck}
    at = min(stuck)
    seen: list[int] = []
    while at not in seen:
        seen.append(at)
        at = before[at]
    loop = seen[seen.index(at) :][::-1]
    names = [work.reactions[i] for i in loop]
    edges: list[Edge] = []
    by_destination: dict[int, list[Edge]] = {}
    for e in work.edges:
        if e.after is None and not e.physical:
            by_destination.setdefault(e.destination, []).append(e)
    orders: list[str] = []
    for i, r in enumerate(names):
        nxt = names[(i + 1) % len(names)]
        channel = after[r.index][nxt.index]
        if channel < 0:
            orders.append(f"{r.name} is written before {nxt.name}")
            continue
        path: list[Edge] = []
        while channel not in r.effects and channel in by_destination:
            edge = by_destination[channel][0]
            path.append(edge)
            channel = edge.source
        edges += reversed(path)
    width = max(len(_short(r.name)) for r in names)
    lines = ["these reactions wait for each other at one tag:"]
    lines += [f"  {_short(r.name):<{width}}  {r.source}" for r in names]
    through = [f"{_short(work.ports[e.source].name)} -> {_short(work.ports[e.destination].name)}" for e in edges]
    if through:
        lines += ["through these connections:", *(f"  {t}" for t in through)]
        e = edges[0]
        lines.append(
            f"Break the loop with a delay: connect({_member(work.ports[e.source].name)}, {_member(work.ports[e.destination].name)}, "
            f"after=ms(0))"
        )
    if orders:
        lines += ["and through the order of reactions in one reactor:", *(f"  {o}" for o in orders)]
        if not through:
            lines.append("Change their order, or schedule an action instead of writing the port.")
    return CausalityError("\n".join(lines), reactions=tuple(r.name for r in names), connections=tuple(through))


def _short(name: str) -> str:
    """A full name without the root's."""
    return name.partition(".")[2] or name


def _member(name: str) -> str:
    return re.sub(r"\[\d+\]", "", _short(name))


def describe_edge(graph: Graph, edge: Edge) -> str:
    """`learner.weights -> rollouts[0].weights after 0`, as drawn and as printed."""
    arrow = "~>" if edge.physical else "->"
    after = "" if edge.after is None else f" after {format_ns(edge.after)}"
    return f"{_short(graph.ports[edge.source].name)} {arrow} {_short(graph.ports[edge.destination].name)}{after}"
