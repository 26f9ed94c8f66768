"""Who writes each channel: two writers of one port have no order, and are refused."""

from __future__ import annotations

from typing import NamedTuple

from reactornb.errors import MultipleWritersError, Source
from reactornb.graph.nodes import Flat

__all__ = ["CONNECTION", "Writers"]

CONNECTION = -1
"""Stands for the reactor where the writer is a connection and not a reaction."""


class _Writer(NamedTuple):
    reactor: int
    mode: int
    name: str
    source: Source

    def __str__(self) -> str:
        kind = "the connection from" if self.reactor == CONNECTION else "reaction"
        return f"{kind} {self.name} ({self.source})"


class Writers:
    """The writers of every channel of a program.

    Args:
        work: the program's nodes so far.
    """

    def __init__(self, work: Flat) -> None:
        self._work = work
        self._writers: dict[int, list[_Writer]] = {}

    def add(self, channel: int, reactor: int, mode: int, name: str, source: Source) -> None:
        """Note a writer.

        Args:
            channel: the port's index.
            reactor: index of the reactor whose reaction writes it, or `CONNECTION`.
            mode: index of the mode in which that is so, or -1.
            name: of the reaction, or of the port that a connection comes from.
            source: where it is declared.

        Raises:
            MultipleWritersError: if something else writes the channel that may do so at the same tag.
        """
        writer = _Writer(reactor, mode, name, source)
        others = self._writers.setdefault(channel, [])
        for other in others:
            in_turn = reactor != CONNECTION and other.reactor == reactor  # reactions of one reactor have an order
            if not in_turn and not self._exclude(mode, other.mode):
                port = self._work.ports[channel].name
                both = (str(other), str(writer))
                raise MultipleWritersError(
                    f"{port} has two writers:\n  {both[0]}\n  {both[1]}\nGive each its own port, or make it a "
                    f"multiport (width=2).",
                    port=port,
                    writers=both,
                )
        others.append(writer)

    def _exclude(self, mode: int, other: int) -> bool:
        """Whether two modes are never active at the same time: only modes of one reactor exclude each other."""
        modes = self._work.modes
        return min(mode, other) >= 0 and mode != other and modes[mode].reactor == modes[other].reactor
