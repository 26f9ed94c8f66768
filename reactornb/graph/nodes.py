"""The frozen graph: plain nodes with numbers for what a program consists of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reactornb.errors import Source, UnknownNameError, suggestion
from reactornb.model import Port, Reaction, Reactor
from reactornb.tags import format_ns

__all__ = [
    "ActionNode",
    "Edge",
    "Graph",
    "ModeNode",
    "ParameterNode",
    "PortNode",
    "ReactionNode",
    "ReactorNode",
    "TimerNode",
    "WatchdogNode",
    "describe_edge",
]


@dataclass(frozen=True, slots=True)
class ReactorNode:
    """One reactor instance.

    Attributes:
        index: position in `Graph.reactors`; parents come before their children.
        name: full path, such as `main.rollouts[3]`.
        label: the last part of the name: `rollouts[3]`.
        group: what the container calls it, without the index in a bank or list: `rollouts`.
        cls: the class; `parameters` its parameter values for this instance.
        parent: index of the container, -1 for the root.
        bank_index, bank_width: position in its bank and the bank's width (0 and 1 outside banks).
        mode: index of the container's mode that it is declared in, or -1.
        source: where it was instantiated.
        enclave: number of the enclave that it is part of; 0 is the outermost.
        decided: parameters that the graph depends on, each with the words for what it decides. A run cannot change them.
    """

    index: int
    name: str
    label: str
    group: str
    cls: type[Reactor]
    parameters: Mapping[str, Any]
    parent: int
    bank_index: int
    bank_width: int
    mode: int
    source: Source
    enclave: int = 0
    decided: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PortNode:
    """One channel of a port. `channel` is None for a single port; `kind` is "input" or "output"."""

    index: int
    name: str
    reactor: int
    port: Port[Any]
    channel: int | None
    kind: str

    @property
    def local_name(self) -> str:
        """Its name within its reactor, such as `out` or `out[2]`."""
        return self.port.name if self.channel is None else f"{self.port.name}[{self.channel}]"


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
class ParameterNode:
    """A parameter that triggers reactions when `Run.set` changes it."""

    index: int
    name: str
    reactor: int
    parameter: str


@dataclass(frozen=True, slots=True)
class ModeNode:
    """A mode; `outer` is the index of the innermost mode around its reactor, or -1."""

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
        triggers: ("port" | "timer" | "action" | "watchdog" | "parameter", index) or ("startup" | "shutdown" | "reset", -1).
        uses: channels read without triggering.
        effects: channels written.
        arguments: per parameter, ("port", channels, writable) and so on; see `runtime.schedule`.
        level: reactions of one level and one tag are independent of each other.
        deadline: ns of physical time after the tag, or None.
        mode: index of the innermost mode around it, or -1; `ModeNode.outer` leads to the modes around that.
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
    """A connection of two channels; `after` in ns, None without delay. `mode` as in `ReactionNode`, `made_at` the place of `connect`."""

    source: int
    destination: int
    after: int | None
    physical: bool
    mode: int
    made_at: Source


@dataclass(frozen=True, slots=True)
class Graph:
    """The action-port graph of a program. All numbers are indices into these tuples.

    Attributes:
        levels: how many levels there are.
        enclaves: per enclave, the reactors at its top (several where a whole bank is one enclave); the first is the root's.
        distances: least delay of messages between enclaves, as (ns, microsteps): row sender, column receiver, None if none comes.
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
    enclaves: tuple[tuple[int, ...], ...] = ((0,),)
    distances: tuple[tuple[tuple[int, int] | None, ...], ...] = ((None,),)
    parameters: tuple[ParameterNode, ...] = ()

    def reaction(self, name: str) -> ReactionNode:
        """The reaction of that full name.

        Raises:
            UnknownNameError: if there is none.
        """
        for node in self.reactions:
            if node.name == name:
                return node
        raise UnknownNameError(
            f"no reaction {name!r}. {suggestion(name, (r.name for r in self.reactions))}", unknown=name
        )

    def __str__(self) -> str:
        return (
            f"{len(self.reactors)} reactors, {len(self.reactions)} reactions on {self.levels} levels, "
            f"{len(self.edges)} connections"
        )


class Flat:
    """The nodes of a program while it is being flattened."""

    def __init__(self) -> None:
        self.reactors: list[ReactorNode] = []
        self.enclaves: list[list[int]] = [[0]]
        self.ports: list[PortNode] = []
        self.timers: list[TimerNode] = []
        self.actions: list[ActionNode] = []
        self.watchdogs: list[WatchdogNode] = []
        self.parameters: list[ParameterNode] = []
        self.modes: list[ModeNode] = []
        self.reactions: list[ReactionNode] = []
        self.edges: list[Edge] = []


def short(name: str) -> str:
    """A full name without the root's."""
    return name.partition(".")[2] or name


def declared_path(work: Flat, port: PortNode) -> str:
    """A port as a program writes it, without indices: `rollouts.weights` for `main.rollouts[3].weights`."""
    parts = [port.port.name]
    node = work.reactors[port.reactor]
    while node.parent >= 0:
        parts.append(node.group)
        node = work.reactors[node.parent]
    return ".".join(reversed(parts))


def describe_edge(graph: Graph, edge: Edge) -> str:
    """`learner.weights -> rollouts[0].weights after 0`, as drawn and as printed."""
    arrow = "~>" if edge.physical else "->"
    after = "" if edge.after is None else f" after {format_ns(edge.after)}"
    return f"{short(graph.ports[edge.source].name)} {arrow} {short(graph.ports[edge.destination].name)}{after}"
