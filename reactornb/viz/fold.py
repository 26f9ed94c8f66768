"""What is drawn of a graph: a bank becomes one box, long lists and deep hierarchies are cut to a readable size.

A `Picture` is plain data between the graph and any drawing of it (`dot`, `text`, later a panel that unfolds on a click). It
knows nothing of Graphviz. Everything in it is ordered as in the graph, so the same graph gives the same picture.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from reactornb.errors import DeclarationError, is_library
from reactornb.graph import Graph, PortNode, ReactionNode, ReactorNode
from reactornb.model.declarations import Port
from reactornb.tags import forever, format_ns

__all__ = ["Box", "Line", "Picture", "Symbol", "fold"]

# In a container with more than LISTS_ABOVE distinct children lists are folded, too; with more than CLASSES_ABOVE, all children of one
# class. Every level of the hierarchy is drawn while the picture has at most BOXES boxes.
LISTS_ABOVE = 12
CLASSES_ABOVE = 40
BOXES = 120
# Larger banks cannot be unfolded: the picture would be unreadable, and layout would take minutes.
UNFOLDED = 64


@dataclass(slots=True)
class Box:
    """A reactor, or several of one kind drawn as one.

    Attributes:
        key: its folded path, such as `main.rollouts`; `parent` is the container's, empty for the root.
        label: the name shown.
        members: indices of the reactors that it stands for.
        count: how many of them one container holds.
        mode: key of the mode symbol that it lives in, or empty.
        within: indices of the reactors inside it that are not drawn, `hidden` of them.
        unfolds: the entry of `expanded` that draws its members one by one; empty where there are none.
        enclave: whether it has tags of its own.
    """

    key: str
    parent: str
    label: str
    cls: type
    members: list[int]
    count: int = 1
    mode: str = ""
    within: list[int] = field(default_factory=list)
    tooltip: str = ""
    unfolds: str = ""
    enclave: bool = False

    @property
    def hidden(self) -> int:
        """How many reactors inside it are not drawn."""
        return len(self.within)


@dataclass(slots=True)
class Symbol:
    """A port, timer, action, watchdog, mode, reaction, or one of startup, shutdown and reset, in a box.

    Attributes:
        kind: "input", "output", "timer", "logical action", "physical action", "watchdog", "mode", "reaction", "startup",
            "shutdown" or "reset".
        detail: the width of a multiport, the times of a timer, the delay of an action.
        number: order of a reaction within its reactor, from 1.
        level: of a reaction; `reactions` are the indices of those that it stands for; `deadline` is its, in words, or empty.
    """

    key: str
    box: str
    kind: str
    label: str
    detail: str = ""
    mode: str = ""
    number: int = 0
    level: int = -1
    tooltip: str = ""
    reactions: list[int] = field(default_factory=list)
    deadline: str = ""


@dataclass(slots=True)
class Line:
    """A connection between ports, or a dependency of a reaction.

    Attributes:
        kind: "connection", "trigger", "use", "effect" (a port is written), "schedule" (an action, watchdog or mode).
        label: the delay, if there is one.
        count: how many channels it stands for; `channels` are the indices of those whose values it shows.
    """

    tail: str
    head: str
    kind: str
    label: str = ""
    physical: bool = False
    count: int = 1
    channels: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Picture:
    """Boxes, outermost first, what is in them, and the lines between."""

    boxes: dict[str, Box] = field(default_factory=dict)
    symbols: dict[str, Symbol] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)


def fold(graph: Graph, *, depth: int | None = None, expanded: Collection[str] = ()) -> Picture:
    """Decide what is drawn.

    Args:
        graph: the graph.
        depth: levels of the hierarchy drawn below the root; as many as give a readable picture unless given.
        expanded: keys of boxes, such as `main.rollouts`, whose members are drawn one by one.
    """
    if depth is not None and depth < 0:
        raise DeclarationError(
            f"depth is how many levels below the root are drawn, a whole number of at least 0, not {depth!r}."
        )
    work = _Fold(graph, depth, frozenset(expanded))
    work.boxes()
    work.symbols()
    work.reactions()
    work.connections()
    return work.picture


class _Fold:
    def __init__(self, graph: Graph, depth: int | None, expanded: frozenset[str]) -> None:
        self.graph = graph
        self.depth = depth
        self.expanded = expanded
        self.picture = Picture()
        self.key_of: dict[int, str] = {}  # reactor -> key of its box, for those that are drawn
        self.port_key: dict[int, str] = {}
        self.lines: dict[tuple[str, str, str, str, bool], Line] = {}

    # -- reactors ---------------------------------------------------------------------------------------------------

    def boxes(self) -> None:
        reactors = self.graph.reactors
        layers: list[list[ReactorNode]] = []
        layer_of: dict[int, int] = {}
        for node in reactors:  # containers come before what they contain
            layer = layer_of[node.index] = 0 if node.parent < 0 else layer_of[node.parent] + 1
            if layer == len(layers):
                layers.append([])
            layers[layer].append(node)
        for layer, nodes in enumerate(layers):
            grouped: dict[str, list[ReactorNode]] = {}
            for node in nodes:
                grouped.setdefault(self.key_of.get(node.parent, ""), []).append(node)
            made = [box for parent, members in grouped.items() for box in self._group(parent, members)]
            if self.depth is None:
                drawn = layer <= 1 or len(self.picture.boxes) + len(made) <= BOXES
            else:
                drawn = layer <= self.depth
            if not drawn:
                self._hide(layers[layer:])
                return
            for box in made:
                self.picture.boxes[box.key] = box
                self.key_of.update(dict.fromkeys(box.members, box.key))

    def _hide(self, layers: list[list[ReactorNode]]) -> None:
        for nodes in layers:
            for node in nodes:
                at = node.parent
                while at not in self.key_of:
                    at = self.graph.reactors[at].parent
                self.picture.boxes[self.key_of[at]].within.append(node.index)

    def _group(self, parent: str, nodes: list[ReactorNode]) -> list[Box]:
        """The boxes of what containers drawn as `parent` contain."""
        boxes = self._boxes_named(parent, nodes, lists=False)
        if len(boxes) > LISTS_ABOVE:
            boxes = self._boxes_named(parent, nodes, lists=True)
        if len(boxes) > CLASSES_ABOVE:
            # Banks and lists keep their boxes unless there are too many of these, too.
            kept = [box for box in boxes if len(box.members) > 1]
            boxes = kept if len(kept) <= LISTS_ABOVE else []
            apart = {member for box in boxes for member in box.members}
            by_class: dict[type, list[ReactorNode]] = {}
            for node in nodes:
                if node.index not in apart:
                    by_class.setdefault(node.cls, []).append(node)
            for cls, members in by_class.items():
                first, last = members[0].label, members[-1].label
                label = first if first == last else f"{first} … {last}"
                boxes.append(self._box(f"{parent}.{cls.__name__}*", parent, label, members))
        return boxes

    def _boxes_named(self, parent: str, nodes: list[ReactorNode], *, lists: bool) -> list[Box]:
        grouped: dict[str, list[ReactorNode]] = {}
        for node in nodes:
            base = node.label.partition("[")[0]
            folded = (node.bank_width > 1 or lists) and f"{parent}.{base}" not in self.expanded
            grouped.setdefault(base if folded else node.label, []).append(node)
        return [
            self._box(f"{parent}.{label}" if parent else label, parent, label, members)
            for label, members in grouped.items()
        ]

    def _box(self, key: str, parent: str, label: str, members: list[ReactorNode]) -> Box:
        first = members[0]
        around = len(self.picture.boxes[parent].members) if parent else 1
        count = len(members) // around if len(members) % around == 0 else len(members)
        mode = self._mode_key(first.mode, parent)
        box = Box(key, parent, label, first.cls, [m.index for m in members], count, mode)
        bank = f"{parent}.{label.partition('[')[0]}"
        if bank in self.expanded or (1 < count <= UNFOLDED and key == bank):
            box.unfolds = bank
        box.enclave = first.parent >= 0 and first.enclave != self.graph.reactors[first.parent].enclave
        many = f" ×{count}" if count > 1 else ""
        shown = [f"{label}: {first.cls.__name__}{many}", *_doc(first.cls)]
        shown += [_port_words(name, port) for name, port in first.cls._spec.ports.items()]
        shown += [f"{name} = {_brief(value)}" for name, value in _common(members).items()]
        if box.enclave:
            shown.append("an enclave: its tags are its own, and run ahead or behind as far as the delays allow")
        if is_library(first.cls._definition.file):  # its instance was made in library code, a place that says nothing
            shown.append(f"class {first.cls.__name__} in {first.cls._definition}")
        else:
            shown.append(str(first.source))
        box.tooltip = "\n".join(shown)
        return box

    def _mode_key(self, mode: int, box: str) -> str:
        return f"{box}.{self.graph.modes[mode].name.rpartition('.')[2]}" if mode >= 0 else ""

    # -- symbols --------------------------------------------------------------------------------------------

    def symbols(self) -> None:
        graph = self.graph
        for mode in graph.modes:
            tooltip = "initial mode" if mode.initial else "mode"
            self._symbol(mode.name, mode.reactor, "mode", tooltip=tooltip, detail="initial" if mode.initial else "")
        widths: dict[str, int] = {}
        for port in graph.ports:
            key = self._symbol(_port_path(port), port.reactor, port.kind)
            if key:
                self.port_key[port.index] = key
                symbol = self.picture.symbols[key]
                if port.channel is not None:
                    widths[key] = max(widths.get(key, 0), port.channel + 1)
                    symbol.detail = f"[{widths[key]}]"
                typed = f": {port.port.type_name}" if port.port.type_name else ""
                symbol.tooltip = "\n".join(
                    filter(None, [f"{port.kind} {symbol.label}{symbol.detail}{typed}", port.port.doc])
                )
        for timer in graph.timers:
            offset, period = format_ns(timer.offset), format_ns(timer.period)
            detail = f"({offset}, {period})" if timer.period else f"({offset})"
            words = f"timer {_last(timer.name)}: first at {offset}" + (f", then every {period}" if timer.period else "")
            self._symbol(timer.name, timer.reactor, "timer", detail=detail, mode=timer.mode, tooltip=words)
        for action in graph.actions:
            kind = "physical action" if action.physical else "logical action"
            detail = f"({format_ns(action.min_delay)})" if action.min_delay else ""
            words = f"{kind} {_last(action.name)}: delay {format_ns(action.min_delay)}"
            if action.min_spacing is not None:
                words += f", spacing {format_ns(action.min_spacing)} ({action.policy})"
            self._symbol(action.name, action.reactor, kind, detail=detail, mode=action.mode, tooltip=words)
        for dog in graph.watchdogs:
            detail = f"({format_ns(dog.timeout)})"
            words = f"watchdog {_last(dog.name)}: {format_ns(dog.timeout)} of physical time"
            self._symbol(dog.name, dog.reactor, "watchdog", detail=detail, mode=dog.mode, tooltip=words)
        for (
            parameter
        ) in graph.parameters:  # like a physical action: set from outside, at a tag that physical time decides
            words = f"parameter {parameter.parameter}: changed while the program runs by %reactor set"
            self._symbol(parameter.name, parameter.reactor, "physical action", tooltip=words)

    def _symbol(
        self,
        name: str,
        reactor: int,
        kind: str,
        *,
        detail: str = "",
        mode: int = -1,
        tooltip: str = "",
        number: int = 0,
    ) -> str:
        """Add a symbol, or find the one it is folded into; empty if its reactor is not drawn."""
        box = self.key_of.get(reactor)
        if box is None:
            return ""
        label = _last(name)
        key = f"{box}.{label}"
        known = self.picture.symbols.get(key)
        if known is None:
            own = mode >= 0 and self.graph.modes[mode].reactor == reactor
            inside = self._mode_key(mode, box) if own else ""
            self.picture.symbols[key] = Symbol(key, box, kind, label, detail, inside, number, -1, tooltip)
        elif known.detail != detail and detail:
            known.detail = "(differs)"  # members of a bank with parameters of their own
        return key

    # -- reactions and lines ----------------------------------------------------------------------------------------

    def reactions(self) -> None:
        for node in self.graph.reactions:
            if node.declaration is None:  # forwards a connection while its mode is active: drawn as that connection
                ((_, source),) = node.triggers
                tail, head = self.port_key.get(source, ""), self.port_key.get(node.effects[0], "")
                self._line(tail, head, "connection", channel=node.effects[0])
                continue
            key = self._symbol(node.name, node.reactor, "reaction", mode=node.mode, number=node.number + 1)
            if key:
                symbol = self.picture.symbols[key]
                symbol.level = max(symbol.level, node.level)
                symbol.reactions.append(node.index)
                symbol.tooltip = _reaction_words(node, symbol)
                if node.deadline is not None and node.deadline < forever:
                    symbol.deadline = format_ns(node.deadline)
                self._dependencies(node, key)

    def _dependencies(self, node: ReactionNode, key: str) -> None:
        graph = self.graph
        named = {
            "timer": graph.timers,
            "action": graph.actions,
            "watchdog": graph.watchdogs,
            "parameter": graph.parameters,
            "mode": graph.modes,
        }
        for kind, index in node.triggers:
            if kind == "port":
                self._line(self.port_key.get(index, ""), key, "trigger", channel=index)
            elif index < 0:
                self._line(self._builtin(kind, node), key, "trigger")
            else:
                self._line(self._find(named[kind][index]), key, "trigger")
        for channel in node.uses:
            self._line(self.port_key.get(channel, ""), key, "use", channel=channel)
        for channel in node.effects:
            self._line(key, self.port_key.get(channel, ""), "effect", channel=channel)
        for argument in node.arguments:
            kind = argument[0]
            if kind in ("action", "watchdog", "mode") and (kind, argument[1]) not in node.triggers:
                self._line(key, self._find(named[kind][argument[1]]), "schedule")

    def _builtin(self, kind: str, node: ReactionNode) -> str:
        suffix = ""
        if node.mode >= 0 and self.graph.modes[node.mode].reactor == node.reactor:
            suffix = f" {_last(self.graph.modes[node.mode].name)}"  # each mode has its own
        name = f"{kind}{suffix}"
        key = self._symbol(f".{name}", node.reactor, kind, mode=node.mode, tooltip=kind)
        self.picture.symbols[key].label = kind
        return key

    def _find(self, node: object) -> str:
        box = self.key_of.get(node.reactor, "")  # type: ignore[attr-defined]  # timers, actions, watchdogs and modes all have one
        return f"{box}.{_last(node.name)}" if box else ""  # type: ignore[attr-defined]

    def connections(self) -> None:
        for edge in self.graph.edges:
            label = "" if edge.after is None else format_ns(edge.after)
            tail, head = self.port_key.get(edge.source, ""), self.port_key.get(edge.destination, "")
            self._line(tail, head, "connection", label, edge.physical, edge.source)
        self.picture.lines = list(self.lines.values())

    def _line(
        self, tail: str, head: str, kind: str, label: str = "", physical: bool = False, channel: int = -1
    ) -> None:
        if tail and head:
            identity = (tail, head, kind, label, physical)
            line = self.lines.get(identity)
            if line is None:
                line = self.lines[identity] = Line(tail, head, kind, label, physical)
            else:
                line.count += 1
            if channel >= 0:
                line.channels.append(channel)


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _port_path(port: PortNode) -> str:
    return port.name if port.channel is None else port.name.rpartition("[")[0]


def _port_words(name: str, port: Port[Any]) -> str:
    typed = f": {port.type_name}" if port.type_name else ""
    return f"{port.kind} {name}{typed}" + (f" ({port.doc})" if port.doc else "")


def _doc(obj: object) -> list[str]:
    text = inspect.getdoc(obj) or ""
    return [text.partition("\n\n")[0]] if text and not text.startswith("Base class of all reactors") else []


def _reaction_words(node: ReactionNode, symbol: Symbol) -> str:
    assert node.declaration is not None
    words = [f"reaction {symbol.number}, {symbol.label}: level {symbol.level}"]
    if node.declaration.__doc__:
        words.append(inspect.cleandoc(node.declaration.__doc__).partition("\n\n")[0])
    if node.deadline is not None and node.deadline < forever:
        words.append(f"deadline {format_ns(node.deadline)}")
    return "\n".join([*words, str(node.source)])


def _common(members: list[ReactorNode]) -> Mapping[str, object]:
    """Parameters that have one value in all members, and "differs" for the others."""
    common: dict[str, object] = {}
    for name, value in members[0].parameters.items():
        same = all(m.parameters.get(name) is value or repr(m.parameters.get(name)) == repr(value) for m in members)
        common[name] = value if same else _DIFFERS
    return common


class _Differs:
    def __repr__(self) -> str:
        return "(differs)"


_DIFFERS = _Differs()


def _brief(value: object) -> str:
    text = " ".join(_shown(value).split())
    return text if len(text) <= 60 else text[:57] + "…"


def _shown(value: object) -> str:
    """A parameter's value; a function by its name, a partial one as it would be called."""
    if isinstance(value, functools.partial):
        given = [*map(_shown, value.args), *(f"{name}={_shown(v)}" for name, v in value.keywords.items())]
        return f"{_shown(value.func)}({', '.join([*given, '…'])})"
    if isinstance(value, (types.FunctionType, types.BuiltinFunctionType, types.MethodType, type)):
        return value.__qualname__
    return repr(value)
