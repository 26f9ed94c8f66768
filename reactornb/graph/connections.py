"""Connections of a program, channel by channel: directions, widths, and what a connection inside a mode becomes."""

from __future__ import annotations

import warnings
from typing import Any

from reactornb.errors import AssemblyError, WidthMismatchError
from reactornb.graph.nodes import Edge, Flat, ReactionNode
from reactornb.graph.place import Place
from reactornb.graph.writers import CONNECTION, Writers
from reactornb.model import Connection, PortRef

__all__ = ["add_connection"]

_LAST = 1 << 20
"""Number of a forwarding reaction within its reactor: after all that are written there."""


def add_connection(work: Flat, writers: Writers, here: Place, connection: Connection, after: int | None) -> None:
    """Add the edges of a connection that a reactor makes between its own and contained ports.

    Args:
        work: the program's nodes so far.
        writers: who writes each channel so far.
        here: the reactor.
        connection: the connection.
        after: its delay in ns; None: no delay.

    Raises:
        AssemblyError: for a port on the wrong side; its subclasses for different widths and for a second writer.
    """
    mode = here.mode_of(connection)
    own_mode = -1 if connection.mode is None else here.modes[connection.mode.name]
    for source, destination in _pairs(work, here, connection):
        source_port, destination_port = work.ports[source], work.ports[destination]
        writers.add(destination, CONNECTION, own_mode, source_port.name, connection.source)
        writer = work.reactors[source_port.reactor]
        inside = writer.parent == here.index and writer.mode == own_mode
        if own_mode < 0 or after is not None or connection.physical or inside:
            work.edges.append(Edge(source, destination, after, connection.physical, mode, connection.source))
            continue
        # A connection in a mode carries values only while the mode is active: a reaction in the mode forwards them.
        name = f"{here.name}.{source_port.local_name}->{destination_port.local_name}"
        work.reactions.append(
            ReactionNode(
                len(work.reactions), name, here.index, _LAST, None, (("port", source),), (), (destination,),
                (("read", source), ("write", destination)), None, mode, connection.source,
            )
        )  # fmt: skip


def _pairs(work: Flat, here: Place, connection: Connection) -> list[tuple[int, int]]:
    """Which channel is connected to which."""
    left = [c for end in connection.sources for c in _channels(work, here, end, connection, "output")]
    right = [c for end in connection.destinations for c in _channels(work, here, end, connection, "input")]
    if len(left) == len(right):
        return list(zip(left, right, strict=True))
    if left and (connection.broadcast or (connection.broadcast is None and len(left) == 1)):
        return [(left[i % len(left)], channel) for i, channel in enumerate(right)]
    sides = (
        f"{_names(connection.sources)} (width {len(left)}) -> {_names(connection.destinations)} (width {len(right)})"
    )
    if connection.strict:
        raise WidthMismatchError(
            f"{connection.source}: the two sides have different widths:\n  {sides}\nMake the widths equal, or repeat the left side "
            f"with connect(…, broadcast=True).",
            left=len(left),
            right=len(right),
            source=connection.source,
        )
    warnings.warn(f"{connection.source}: widths differ, what is left over stays unconnected: {sides}", stacklevel=2)
    return list(zip(left, right, strict=False))


def _channels(work: Flat, here: Place, end: Any, connection: Connection, outer_kind: str) -> list[int]:
    channels, contained = here.channels(end, connection.source)
    # From the inside, a reactor's own inputs are sources and its own outputs are destinations.
    want = outer_kind if contained else ("input" if outer_kind == "output" else "output")
    for channel in channels:
        port = work.ports[channel]
        if port.kind != want:
            side = "source" if outer_kind == "output" else "destination"
            raise AssemblyError(
                f"{connection.source}: {port.name} is an {port.kind} and cannot be the {side} of this "
                f"connection; connect(source, destination) goes from an output to an input. Are the two the wrong way round?"
            )
    return channels


def _names(ends: tuple[Any, ...]) -> str:
    return ", ".join(str(end) if isinstance(end, PortRef) else end.name for end in ends)
