"""From declarations to nodes: flatten the hierarchy, resolve names, widths and connections channel by channel.

Refuses what has no meaning: unknown names, two writers of a port, width mismatches, negative delays.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from typing import Any

from reactornb.errors import (
    AssemblyError,
    MultipleWritersError,
    Source,
    UnknownNameError,
    WidthMismatchError,
    suggestion,
)
from reactornb.graph.checks import check_class, check_late, check_template
from reactornb.graph.enclaves import distances_of
from reactornb.graph.levels import levels_of
from reactornb.graph.nodes import (
    ActionNode,
    Edge,
    Flat,
    Graph,
    ModeNode,
    ParameterNode,
    PortNode,
    ReactionNode,
    ReactorNode,
    TimerNode,
    WatchdogNode,
)
from reactornb.limits import MOST_CHANNELS, MOST_REACTORS
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
    composing,
)
from reactornb.model.collect import is_own
from reactornb.model.ownership import needs_copy, owned, parameter_words
from reactornb.tags import forever

__all__ = ["assemble"]


class _Place:
    """A reactor while it is being flattened: what its names stand for."""

    def __init__(self, node: ReactorNode, template: Reactor, outer: int, decided: dict[str, str]) -> None:
        self.node = node
        self.index = node.index
        self.name = node.name
        self.cls = node.cls
        self.decided = decided
        self.outer = outer
        self._template = template
        self.ports: dict[str, list[int]] = {}
        self.timers: dict[str, int] = {}
        self.actions: dict[str, int] = {}
        self.watchdogs: dict[str, int] = {}
        self.parameters: dict[str, int] = {}  # those that trigger reactions
        self.modes: dict[str, int] = {}
        self.children: dict[str, list[_Place]] = {}
        # id of a template -> the places made of it in this container
        self.owners: dict[int, list[_Place]] = {}

    def note(self, what: str) -> None:
        """Whatever parameter was looked at since the last call decides `what`."""
        for name in sorted(self._template.__dict__.pop("_looked_at", ())):
            self.decided.setdefault(name, what)

    def mode_of(self, item: Declaration | Connection) -> int:
        """The innermost mode of something declared here: its own, or the one its reactor lives in."""
        return self.modes[item.mode.name] if item.mode is not None else self.outer

    def number(self, value: Any, what: str, source: Source) -> int:
        """A width or duration: a number, the name of a parameter, or a function of the reactor."""
        parameters = self.node.parameters
        if isinstance(value, str):
            if value not in parameters:
                raise UnknownNameError(
                    f"{source}: {what} of {self.name} is the parameter {value!r}, which {self.cls.__name__} does not "
                    f"declare. {suggestion(value, parameters)}",
                    unknown=value,
                    source=source,
                )
            self.decided[value] = what
            value = parameters[value]
        elif callable(value):
            value = value(self._template)
            self.note(what)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise AssemblyError(f"{source}: {what} of {self.name} must be a whole number, not {value!r}.")
        value = value.__index__()
        if value > forever:
            raise AssemblyError(f"{source}: {what} of {self.name} is {value}; the longest is forever, 2**63 - 1 ns.")
        if value < 0:
            raise AssemblyError(f"{source}: {what} of {self.name} is {value}; it cannot be negative.")
        return int(value)


_PATH = re.compile(r"^(interleaved\()?\s*([^.\[\]()]+(?:\[\d+\])?)\.(\w+)\s*\)?$")

_WRITER = ("the connection from", "reaction")


class _Assembly(Flat):
    def __init__(self) -> None:
        super().__init__()
        self.checked: set[type] = set()
        self.copied: dict[int, Any] = {}  # id -> a parameter's value that was seen to be one that can be copied
        # channel -> who writes it: the reactor of a reaction (-1 for a connection), the mode in which that is so, name and place
        self.writers: dict[int, list[tuple[int, int, str, Source]]] = {}

    def place(
        self,
        template: Reactor,
        name: str,
        label: str,
        parent: int,
        mode: int,
        outer: int,
        bank: tuple[int, int],
        enclave: int,
    ) -> _Place:
        """Flatten one reactor and what it contains; `outer` is the innermost mode around it, `enclave` the one it is part of."""
        cls = type(template)
        values = template.__dict__
        check_template(template)
        if cls not in self.checked:
            check_late(cls, values["_source"])
        # `compose` gets a copy, so that assembling twice gives the same graph twice.
        copy = object.__new__(composing(cls))
        copy.__dict__.update(values)
        copy.__dict__.update(_connections=[], _children={}, _named=label, bank_index=bank[0], bank_width=bank[1])
        parameters = {name: values[name] for name in cls._spec.parameters}
        decided: dict[str, str] = {}
        node = ReactorNode(
            len(self.reactors), name, label, cls, parameters, parent, *bank, mode, values["_source"], enclave, decided
        )
        composes = cls.compose is not Reactor.compose
        for parameter, value in parameters.items():
            if parameter not in cls._spec.shared and needs_copy(value) and (composes or id(value) not in self.copied):
                own = owned(value, partial(parameter_words, node, parameter))
                self.copied[id(value)] = value
                if composes:  # and may change it
                    parameters[parameter] = copy.__dict__[parameter] = own
        self.reactors.append(node)
        here = _Place(node, copy, outer, decided)
        self._own(here)
        copy.compose()
        here.note("what the reactor is composed of")
        here.owners[id(copy)] = here.owners[id(template)] = [here]
        composed: dict[str, Any] = copy.__dict__["_children"]
        for child_label, child in {**cls._spec.children, **composed}.items():
            self._place_child(here, child, child_label)
        if cls not in self.checked:
            self.checked.add(cls)
            check_class(cls, name, {id(c): label for label, c in (*cls._spec.children.items(), *composed.items())})
        for order, item in enumerate(cls._spec.reactions):
            deadline = item.deadline
            if deadline is not None:
                deadline = here.number(deadline, f"the deadline of reaction {item.name!r}", item.source)
            self._reaction(here, item, order, deadline)
        connections: list[Connection] = list(cls._spec.own_connections) + copy.__dict__["_connections"]
        for child in {id(c): c for c in (*cls._spec.children.values(), *composed.values())}.values():
            connections += child.__dict__["_connections"]
        for made in connections:
            after = None if made.after is None else here.number(made.after, "the delay of a connection", made.source)
            self._connect(here, made, after)
        return here

    def _own(self, here: _Place) -> None:
        """Number the reactor's own modes, ports, timers, actions and watchdogs."""
        spec, name, number, reactor = here.cls._spec, here.name, here.number, here.index
        for m in spec.modes.values():
            here.modes[m.name] = len(self.modes)
            self.modes.append(ModeNode(len(self.modes), f"{name}.{m.name}", reactor, m.initial, here.outer))
        for port in spec.ports.values():
            kind = "input" if isinstance(port, Input) else "output"
            channels: tuple[int | None, ...] = (None,)
            if port.width is not None:
                what = f"the width of port {port.name!r}"
                width = number(port.width, what, port.source)
                if len(self.ports) + width > MOST_CHANNELS:
                    raise AssemblyError(
                        f"{port.source}: {what} of {name} is {width:,}: a program has at most {MOST_CHANNELS:,} ports, each channel of a "
                        f"multiport counted. Send one array instead."
                    )
                channels = tuple(range(width))
            first = len(self.ports)
            for i in channels:
                full = f"{name}.{port.name}" if i is None else f"{name}.{port.name}[{i}]"
                self.ports.append(PortNode(len(self.ports), full, reactor, port, i, kind))
            here.ports[port.name] = list(range(first, len(self.ports)))
        for t in spec.timers.values():
            here.timers[t.name] = index = len(self.timers)
            offset = number(t.offset, f"the offset of timer {t.name!r}", t.source)
            period = number(t.period, f"the period of timer {t.name!r}", t.source)
            self.timers.append(TimerNode(index, f"{name}.{t.name}", reactor, offset, period, here.mode_of(t)))
        for a in spec.actions.values():
            here.actions[a.name] = index = len(self.actions)
            delay = number(a.min_delay, f"the delay of action {a.name!r}", a.source)
            spacing = a.min_spacing
            if spacing is not None:
                spacing = number(spacing, f"the spacing of action {a.name!r}", a.source)
            full, mode = f"{name}.{a.name}", here.mode_of(a)
            self.actions.append(ActionNode(index, full, reactor, a.physical, delay, spacing, a.policy, mode))
        for w in spec.watchdogs.values():
            here.watchdogs[w.name] = index = len(self.watchdogs)
            timeout = number(w.timeout, f"the timeout of watchdog {w.name!r}", w.source)
            self.watchdogs.append(WatchdogNode(index, f"{name}.{w.name}", reactor, timeout, here.mode_of(w)))

    def _place_child(self, here: _Place, child: Reactor | Bank, label: str) -> None:
        mode_declared: Mode | None = child.__dict__["_mode"]
        mode = here.modes[mode_declared.name] if mode_declared is not None else -1
        inner = mode if mode >= 0 else here.outer
        apart: str = child.__dict__.get("_enclave", "")
        if apart and inner >= 0:
            raise AssemblyError(
                f"{child.__dict__['_source']}: {here.name}.{label} cannot be an enclave inside mode {self.modes[inner].name}: modes "
                f"switch at one tag, and an enclave has tags of its own. Put the mode into the enclave, or leave out enclave(…)."
            )
        made: list[_Place] = []
        enclave = here.node.enclave

        def open_enclave() -> int:
            self.enclaves.append([])
            return len(self.enclaves) - 1

        if isinstance(child, Bank):
            width = len(child)
            if len(self.reactors) + width > MOST_REACTORS:
                raise AssemblyError(
                    f"{child.__dict__['_source']}: {here.name}.{label} is a bank of {width:,}, beside {len(self.reactors):,} reactors: a program "
                    f"has at most {MOST_REACTORS:,}. Let each member do more."
                )
            if apart == "whole" and width:
                enclave = open_enclave()
            for i in range(width):
                name = f"{label}[{i}]"
                number = open_enclave() if apart == "each" else enclave
                if apart:
                    self.enclaves[number].append(len(self.reactors))
                member = child.template(i)
                made.append(
                    self.place(member, f"{here.name}.{name}", name, here.index, mode, inner, (i, width), number)
                )
        else:
            bank = (child.__dict__.get("bank_index", 0), child.__dict__.get("bank_width", 1))
            if apart:
                enclave = open_enclave()
                self.enclaves[enclave].append(len(self.reactors))
            made.append(self.place(child, f"{here.name}.{label}", label, here.index, mode, inner, bank, enclave))
        here.children[label] = made
        here.owners[id(child)] = made

    # -- names ------------------------------------------------------------------------------------------------------

    def _channels(self, here: _Place, end: Any, source: Source) -> tuple[list[int], bool]:
        """The channels of a port as it stands in a connection or reaction, and whether it is a contained reactor's."""
        if isinstance(end, str):
            return self._path(here, end, source)
        if isinstance(end, Port):
            if end.name not in here.ports or not is_own(here.cls, end):
                raise UnknownNameError(
                    f"{source}: {here.cls.__name__} has no port {end.name!r}. {suggestion(end.name, here.ports)}",
                    unknown=end.name,
                    source=source,
                )
            return here.ports[end.name], False
        owner = end.owner
        index: int | None = None
        if isinstance(owner, BankMember):
            index = owner.position
            owner = owner.bank
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
            return [channel for row in zip_longest(*columns) for channel in row if channel is not None]
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
                f"{source}: {here.name} has no port or child {child!r}. {suggestion(child, known)}",
                unknown=child,
                source=source,
            )
        for p in places:
            if port not in p.ports:
                raise UnknownNameError(
                    f"{source}: {p.name} has no port {port!r}. {suggestion(port, p.ports)}", unknown=port, source=source
                )
        return self._flat([p.ports[port] for p in places], bool(found and found[1])), True

    # -- reactions --------------------------------------------------------------------------------------------------

    def _reaction(self, here: _Place, item: Reaction, number: int, deadline: int | None) -> None:
        mode = here.mode_of(item)
        triggers: list[tuple[str, int]] = []
        triggered: set[int] = set()
        allowed: dict[str, list[tuple[int, bool]]] = {}  # child -> (channel, writable)
        empty: dict[str, set[str]] = {}  # child -> its ports without channels, of width 0 or in a bank of none

        def allow(end: Any, channels: Iterable[int], writable: bool) -> None:
            if not channels:
                label, port = _named(here, end)
                allowed.setdefault(label, [])
                empty.setdefault(label, set()).add(port)
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
                    if trigger in here.cls._spec.parameters:
                        triggers.append(("parameter", self._parameter(here, trigger)))
                        continue
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
        arguments = [
            self._argument(here, item, name, triggered, uses, effects, allowed, empty) for name in item.parameters
        ]
        effects = list(dict.fromkeys(effects))
        full = f"{here.name}.{item.name}"
        for channel in effects:
            self._writes(channel, here.index, mode, full, item.source)
        self.reactions.append(
            ReactionNode(
                len(self.reactions), full, here.index, number, item, tuple(dict.fromkeys(triggers)), tuple(dict.fromkeys(uses)), tuple(effects), tuple(arguments), deadline, mode,
                item.source,
            )
        )  # fmt: skip

    def _parameter(self, here: _Place, name: str) -> int:
        if name not in here.parameters:
            here.parameters[name] = len(self.parameters)
            self.parameters.append(ParameterNode(len(self.parameters), f"{here.name}.{name}", here.index, name))
        return here.parameters[name]

    def _port_trigger(
        self, here: _Place, item: Reaction, trigger: Any, triggers: Any, triggered: set[int], allow: Any
    ) -> None:
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
        self,
        here: _Place,
        item: Reaction,
        name: str,
        triggered: set[int],
        uses: list[int],
        effects: list[int],
        allowed: Any,
        empty: Any,
    ) -> tuple[Any, ...]:
        if name in here.ports:
            channels = here.ports[name]
            multi = here.cls._spec.ports[name].width is not None
            if isinstance(here.cls._spec.ports[name], Output):
                effects += channels
                return ("port", tuple(channels), True, multi)
            uses += [c for c in channels if c not in triggered]
            return ("port", tuple(channels), False, multi)
        if name in here.actions:
            return ("action", here.actions[name])
        if name in here.timers:
            return ("timer", here.timers[name])
        if name in here.modes:
            return ("mode", here.modes[name], name in item.history)
        if name in here.watchdogs:
            return ("watchdog", here.watchdogs[name])
        if name in here.children:
            if name not in allowed:
                raise AssemblyError(
                    f"{item.source}: reaction {here.name}.{item.name} takes the contained reactor {name!r} but declares no port of it; "
                    f"name what it touches: @reaction(…, uses={name}.port) or effects={name}.port."
                )
            is_bank = len(here.children[name]) != 1 or here.children[name][0].node.label.endswith("]")
            members = [p.index for p in here.children[name]]
            return (
                "child",
                name,
                tuple(dict.fromkeys(allowed[name])),
                tuple(members),
                is_bank,
                tuple(sorted(empty.get(name, ()))),
            )
        if "." in name:  # Lingua Franca also calls a contained reactor's port `container_port`
            child, port = name.split(".")
            found = [c for c, _ in allowed.get(child, ()) if self.ports[c].port.name == port]
            writable = any(w for c, w in allowed.get(child, ()) if c in found)
            multi = len(here.children[child]) != 1 or not found or self.ports[found[0]].channel is not None
            return ("port", tuple(dict.fromkeys(found)), writable, multi)
        known = [*here.ports, *here.actions, *here.timers, *here.modes, *here.watchdogs, *here.children]
        raise UnknownNameError(
            f"{item.source}: reaction {here.name}.{item.name} names {name!r} in its signature, which {here.cls.__name__} does not "
            f"declare. {suggestion(name, known)}",
            unknown=name,
            source=item.source,
        )

    # -- connections ------------------------------------------------------------------------------------------------

    def _connect(self, here: _Place, made: Connection, after: int | None) -> None:
        mode = here.mode_of(made)
        left = [c for end in made.sources for c in self._end(here, end, made, "output")]
        right = [c for end in made.destinations for c in self._end(here, end, made, "input")]
        pairs = len(right)
        if len(left) != len(right):
            if left and (made.broadcast or (made.broadcast is None and len(left) == 1)):
                left = [left[i % len(left)] for i in range(len(right))]
            else:
                sides = (
                    f"{_sides(made.sources)} (width {len(left)}) -> {_sides(made.destinations)} (width {len(right)})"
                )
                if made.strict:
                    raise WidthMismatchError(
                        f"{made.source}: the two sides have different widths:\n  {sides}\nMake the widths equal, or repeat the left side "
                        f"with connect(…, broadcast=True).",
                        left=len(left),
                        right=len(right),
                        source=made.source,
                    )
                warnings.warn(
                    f"{made.source}: widths differ, what is left over stays unconnected: {sides}", stacklevel=2
                )
                pairs = min(len(left), len(right))
        in_mode = made.mode is not None
        for src, dst in zip(left[:pairs], right[:pairs], strict=True):
            self._writes(dst, -1, mode if in_mode else -1, self.ports[src].name, made.source)
            writer = self.reactors[self.ports[src].reactor]
            inside = made.mode is not None and writer.parent == here.index and writer.mode == here.modes[made.mode.name]
            if in_mode and after is None and not made.physical and not inside:
                # A connection in a mode carries values only while the mode is active: a reaction in it forwards them.
                name = (
                    f"{here.name}.{self.ports[src].name.rpartition('.')[2]}->{self.ports[dst].name.rpartition('.')[2]}"
                )
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

    def _writes(self, channel: int, reactor: int, mode: int, what: str, source: Source) -> None:
        """Note who writes a channel: a reaction of `reactor`, or a connection (-1); its words are made only for an error."""
        others = self.writers.setdefault(channel, [])
        for other, other_mode, other_what, other_source in others:
            # Only modes of one reactor exclude each other; one of another reactor is around it.
            exclusive = min(mode, other_mode) >= 0 and mode != other_mode
            exclusive = exclusive and self.modes[mode].reactor == self.modes[other_mode].reactor
            if not exclusive and (reactor < 0 or other != reactor):
                both = ((other, other_what, other_source), (reactor, what, source))
                writers = tuple(f"{_WRITER[r >= 0]} {w} ({s})" for r, w, s in both)
                raise MultipleWritersError(
                    f"{self.ports[channel].name} has two writers:\n  {writers[0]}\n  {writers[1]}\nGive each its own port, or make it a "
                    f"multiport (width=2).",
                    port=self.ports[channel].name,
                    writers=writers,
                )
        others.append((reactor, mode, what, source))


def _named(here: _Place, end: Any) -> tuple[str, str]:
    """A contained reactor's label and the name of its port, as they stand in a reaction."""
    if isinstance(end, str):
        child, _, port = end.removeprefix("interleaved(").rstrip(")").rpartition(".")
        return child.partition("[")[0].strip(), port
    owner = end.owner.bank if isinstance(end.owner, BankMember) else end.owner
    return next(label for label, places in here.children.items() if places is here.owners[id(owner)]), end.port.name


def _sides(ends: tuple[Any, ...]) -> str:
    return ", ".join(str(e) if isinstance(e, (PortRef, str)) else e.name for e in ends)


def assemble(root: Any, name: str | None = None) -> Graph:
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
    work.place(root, name, name, -1, -1, -1, (0, 1), 0)
    levels, count = levels_of(work)
    reactions = tuple(replace(r, level=levels[r.index]) for r in work.reactions)
    return Graph(
        tuple(work.reactors), tuple(work.ports), tuple(work.timers), tuple(work.actions), tuple(work.watchdogs), tuple(work.modes),
        reactions, tuple(work.edges), count, tuple(map(tuple, work.enclaves)), distances_of(work, len(work.enclaves)),
        tuple(work.parameters),
    )  # fmt: skip


def _snake(name: str) -> str:
    """`QLearner` -> `qlearner`, `TreeLearner` -> `tree_learner`, `A2C` -> `a2c`, `TD3Agent` -> `td3_agent`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[0-9])(?=[A-Z][a-z])", "_", name).lower()
