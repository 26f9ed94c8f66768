"""From the graph's connections to signals: what a port's value is written through to, what it triggers, what it feeds.

A port's value reaches its readers without a step in between: all that a channel leads to at the same tag is found here, once.
What leaves with a delay, or for another enclave, is a `DelayedEdge`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, cast

from reactornb.graph import Graph, homes
from reactornb.model import Input
from reactornb.runtime.handles import InPort, OutPort, deliver_to
from reactornb.runtime.reactions import RunningReaction
from reactornb.runtime.signals import DelayedEdge, Port, Signal

__all__ = ["Wiring"]


class Wiring:
    """The handles and signals of all ports of a graph.

    Args:
        graph: what is to run.
        reactions: of the graph, with their enclaves.

    Attributes:
        readers: per channel that some reaction reads, what it reads it through. Members of a bank may share one.
        writers: per channel that some reaction writes, what it writes it through.
        ports: their signals, by channel.
        delayed_edges: in the order in which they were found.
        copied: the signals of which some reader gets a copy of its own.
    """

    def __init__(self, graph: Graph, reactions: Sequence[RunningReaction]) -> None:
        self._graph = graph
        # Per channel, the enclave in which it is read: an input by its own reactor, an output by the one around that.
        self._home = homes(graph.reactors, graph.ports)
        self._direct: dict[int, list[int]] = {}
        self._delayed: dict[int, list[Any]] = {}
        for edge in graph.edges:
            if edge.after is None and not edge.physical:
                self._direct.setdefault(edge.source, []).append(edge.destination)
            else:
                self._delayed.setdefault(edge.source, []).append(edge)
        self._triggered: dict[int, list[RunningReaction]] = {}
        read: set[int] = set()
        written: dict[int, int] = {}  # channel -> the enclave of who writes it
        for r in reactions:
            for kind, index in r.node.triggers:
                if kind == "port":
                    self._triggered.setdefault(index, []).append(r)
                    read.add(index)
            read.update(r.node.uses)
            written.update(dict.fromkeys(r.node.effects, r.enclave))
        if graph.modes:
            # Where there are modes, a connection may write a port that reactions write, too: they can see that it did.
            connected = {edge.destination for edge in graph.edges}
            read.update(c for c, enclave in written.items() if c in connected and self._home[c] == enclave)
        # Whoever reads these runs only when they are present: nobody can see them absent.
        self._never_absent = {
            c
            for c in read
            if not graph.modes
            and self._triggered.get(c)
            and all(r.node.triggers == (("port", c),) for r in self._triggered[c])
        }
        for r in reactions:
            self._never_absent.difference_update(r.node.uses)
        self.readers: dict[int, InPort] = {c: _reader(graph.ports[c]) for c in read}
        self.writers: dict[int, OutPort] = {}
        self.ports: dict[int, Port] = {}
        self.delayed_edges: list[DelayedEdge] = []
        self.copied: set[Signal] = set()
        self._edges_made: dict[tuple[int, ...], DelayedEdge] = {}
        for channel in sorted(written):
            port = self.ports[channel] = Port(graph.ports[channel].name, written[channel], channel)
            self._wire(port, [channel])
            self.writers[channel] = OutPort(port.name, port.state)

    def _wire(self, signal: Signal, starts: list[int], *, feeds: bool = True) -> None:
        """Decide what a signal writes through to, triggers and feeds.

        Args:
            signal: a port, or a delayed edge.
            starts: the channels at which its value appears.
            feeds: its value goes on through delayed edges; false where another signal of the same connection sees to that.
        """
        graph, readers, home = self._graph, self.readers, self._home
        reached = [self._reach(start) for start in starts]
        channels = list(dict.fromkeys(c for reachable, _ in reached for c in reachable))
        edges = [e for _, leaving in reached for e in leaving] if feeds else []
        read_here = [c for c in channels if c in readers and home[c] == signal.enclave]
        self._share_handles(read_here)
        handles = {readers[c]: _mutable(graph.ports[c]) for c in read_here}
        signal.handles, mutable = tuple(handles), list(handles.values())
        copied = any(handles.values())  # a mutable input's reader changes its copy, not what was sent
        # Where there are modes, a reader further on may be another port's reader too.
        shared = bool(graph.modes) and read_here[:1] != starts[:1]
        if not read_here or copied or shared:
            # Something must keep the value for `port.value` and for the delayed edges.
            signal.handles, mutable = (InPort(signal.name), *signal.handles), [False, *mutable]
        signal.state = signal.handles[0]
        signal.triggers = tuple(dict.fromkeys(r for c in read_here for r in self._triggered.get(c, ())))
        if any(mutable):
            self.copied.add(signal)
        if isinstance(signal, Port):
            signal.clears = signal.handles
            signal.deliver = deliver_to(signal.handles, mutable)
        else:
            hidden = {id(readers[c]) for c in read_here if c in self._never_absent}
            signal.clears = tuple(h for h in signal.handles if id(h) not in hidden)
            for c in read_here:
                if c in self._never_absent:
                    readers[c].is_present = True
            signal.deliver = deliver_to(signal.handles, mutable, signal.clears)
        # What leaves together arrives together: one edge for all connections of one delay; but where there are modes, a connection
        # may also be fed by another port, and what both bring to one time must not meet.
        together: dict[tuple[int | None, bool, int, int], list[Any]] = {}
        for edge in edges:
            alone = id(edge) if graph.modes or len(graph.enclaves) > 1 else 0
            together.setdefault((edge.after, edge.physical, edge.mode, alone), []).append(edge)
        signal.delays = tuple(d for group in together.values() for d in self._delayed_by(group))
        if isinstance(signal, Port):  # a delayed edge has a signal of its own in each enclave that it leads to
            abroad = sorted({home[c] for c in channels if c in readers} - {signal.enclave})
            signal.delays += tuple(self._message(signal, starts, enclave) for enclave in abroad)
        for delay in signal.delays:
            if delay.enclave != signal.enclave:
                assert graph.distances[signal.enclave][delay.enclave] is not None

    def _reach(self, start: int) -> tuple[list[int], list[Any]]:
        """Channels that carry a channel's value at the same tag, and the delayed connections leaving them."""
        seen, stack, edges = [start], [start], list(self._delayed.get(start, ()))
        while stack:
            for nxt in self._direct.get(stack.pop(), ()):
                seen.append(nxt)
                stack.append(nxt)
                edges += self._delayed.get(nxt, ())
        return seen, edges

    def _share_handles(self, channels: list[int]) -> None:
        """One handle for the members of a bank that read one signal, where none of them can see it absent or owns its value."""
        first: dict[int, int] = {}
        for c in channels:
            node = self._graph.ports[c]
            if c in self._never_absent and not _mutable(node):
                shared = self.readers[first.setdefault(id(node.port), c)]
                if shared is not self.readers[c]:
                    shared.name = _any_member(shared.name)
                    self.readers[c] = shared

    def _delayed_by(self, connections: list[Any]) -> tuple[DelayedEdge, ...]:
        """The delayed edges of connections that leave together: one for each enclave that they lead to."""
        first = connections[0]
        ends = [e.destination for e in connections]
        read_in = {self._home[c] for end in ends for c in self._reach(end)[0] if c in self.readers}
        enclaves = sorted(read_in) or [self._home[ends[0]]]
        edges = []
        for enclave in enclaves:
            key = (enclave, *(id(e) for e in connections))
            if key not in self._edges_made:
                edge = self._edges_made[key] = DelayedEdge(
                    f"{self._graph.ports[first.source].name} delayed", enclave, after=first.after or 0, physical=first.physical, mode=first.mode
                )  # fmt: skip
                self._wire(edge, ends, feeds=enclave == enclaves[0])
                self.delayed_edges.append(edge)
            edges.append(self._edges_made[key])
        return tuple(edges)

    def _message(self, signal: Signal, starts: list[int], enclave: int) -> DelayedEdge:
        """What carries a port's value to another enclave at the same tag."""
        message = DelayedEdge(f"{signal.name} to another enclave", enclave, after=-1)
        self._wire(message, starts, feeds=False)
        self.delayed_edges.append(message)
        return message


def _reader(node: Any) -> InPort:
    make = getattr(node.port, "reader", None) or InPort
    return cast("InPort", make(node.name))


def _any_member(name: str) -> str:
    """`main.client[3].inp` -> `main.client[*].inp`."""
    return re.sub(r"\[\d+\]", "[*]", name)


def _mutable(port: Any) -> bool:
    return isinstance(port.port, Input) and port.port.mutable
