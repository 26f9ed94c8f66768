"""Enclaves: what may run ahead of what, and by how much.

A message from one enclave to another takes at least the delay of a connection between them. The least delay over all paths says how
far the receiver may be ahead of the sender: at a time t the sender can still cause nothing at the receiver before t plus that.
"""

from __future__ import annotations

from reactornb.errors import AssemblyError
from reactornb.graph.nodes import Edge, Flat, Graph, PortNode, ReactorNode, short

__all__ = ["Delay", "add", "distances_of", "homes"]

Delay = tuple[int, int]
"""A least delay as (ns, microsteps): the microsteps are counted after the last delay that takes time."""


def add(tag: tuple[int, int], delay: Delay) -> tuple[int, int]:
    """The earliest tag that a message sent at `tag` can have; of two delays, the delay of one after the other."""
    return (tag[0] + delay[0], delay[1]) if delay[0] else (tag[0], tag[1] + delay[1])


def homes(
    reactors: list[ReactorNode] | tuple[ReactorNode, ...], ports: list[PortNode] | tuple[PortNode, ...]
) -> list[int]:
    """Per channel, the enclave in which it is read: an input by its own reactor, an output by the one around that."""
    enclaves = []
    for port in ports:
        node = reactors[port.reactor]
        enclaves.append((node if port.kind == "input" or node.parent < 0 else reactors[node.parent]).enclave)
    return enclaves


def distances_of(work: Flat | Graph, enclaves: int) -> tuple[tuple[Delay | None, ...], ...]:
    """Least delays: row sender, column receiver, None where no path leads.

    Raises:
        AssemblyError: if a message could come back to its sender at the tag at which it was sent.
    """
    if enclaves == 1:
        return ((None,),)
    home = homes(work.reactors, work.ports)
    least: list[list[Delay | None]] = [[None] * enclaves for _ in range(enclaves)]
    reason_of: dict[tuple[int, int], str] = {}

    def note(sender: int, receiver: int, delay: Delay, reason: str) -> None:
        old = least[sender][receiver]
        if sender != receiver and (old is None or delay < old):
            least[sender][receiver] = delay
            reason_of[sender, receiver] = reason

    direct: dict[int, list[Edge]] = {}
    delayed: dict[int, list[Edge]] = {}
    for edge in work.edges:
        kind = direct if edge.after is None and not edge.physical else delayed
        kind.setdefault(edge.source, []).append(edge)
    read = {c for r in work.reactions for c in (*r.uses, *(i for kind, i in r.triggers if kind == "port"))}
    followed: set[tuple[int, int]] = set()

    def reach(start: int) -> list[int]:
        channels = [start]
        for at in channels:  # grows while it is walked
            channels += [e.destination for e in direct.get(at, ())]
        return channels

    for edge in work.edges:
        if edge.mode >= 0:
            here = work.reactors[work.modes[edge.mode].reactor].enclave
            ends = {
                work.reactors[work.ports[edge.source].reactor].enclave,
                *(home[c] for c in reach(edge.destination) if c in read),
            }
            if ends - {here}:
                raise AssemblyError(
                    f"{edge.made_at}: a delayed connection inside mode {work.modes[edge.mode].name} cannot lead to or from another enclave: "
                    f"what is on its way waits when the mode is left. Connect outside the mode, and decide in a reaction."
                )

    def follow(sender: int, start: int, delay: Delay, reason: str) -> None:
        """What `sender` puts on a channel: who reads it, and what that feeds through delayed connections."""
        channels = reach(start)
        there = sorted({home[c] for c in channels if c in read})
        if delay != (0, 0):
            there = there or [home[start]]  # nobody reads it: it arrives where the port is, as in `runtime.schedule`
        for receiver in there:
            note(sender, receiver, delay, reason)
        # A delayed value continues from the enclave that received it.
        sender = sender if delay == (0, 0) else there[0]
        if (sender, start) in followed:
            return
        followed.add((sender, start))
        for channel in channels:
            for edge in delayed.get(channel, ()):
                step = (1, 0) if edge.physical else (edge.after or 0, 0 if edge.after else 1)
                ends = f"{short(work.ports[edge.source].name)} -> {short(work.ports[edge.destination].name)}"
                follow(sender, edge.destination, step, f"{ends} ({edge.made_at})")

    for r in work.reactions:
        for channel in r.effects:
            follow(work.reactors[r.reactor].enclave, channel, (0, 0), f"what {r.name} writes ({r.source})")
    _close(least, reason_of)
    return tuple(map(tuple, least))


def _close(least: list[list[Delay | None]], reason_of: dict[tuple[int, int], str]) -> None:
    """From least delays over one connection to those over any path (Floyd and Warshall)."""
    enclaves = len(least)
    for via in range(enclaves):
        for a in range(enclaves):
            for b in range(enclaves):
                first, second = least[a][via], least[via][b]
                if first is not None and second is not None:
                    through = add(first, second)
                    old = least[a][b]
                    if old is None or through < old:
                        least[a][b] = through
                        reason_of[a, b] = reason_of[a, via]
                        if a == b and through == (0, 0):
                            raise AssemblyError(
                                "enclaves wait for each other: what leaves one comes back to it at the same tag, through\n"
                                f"  {reason_of[a, via]}\n  {reason_of[via, a]}\nGive one of the connections a delay: connect(…, after=ms(1))."
                            )
