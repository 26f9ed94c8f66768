"""Which reaction something printed comes from, also on a thread that a reaction has started.

A line counts if its reaction does, and stands at its reaction's place; so the origin is taken when the line is printed.
"""

from __future__ import annotations

import sys
import threading
from typing import Any, NamedTuple

from reactornb.runtime.reaction_finder import finder_of

__all__ = ["LAST", "Origin", "Origins", "inherit", "owner_here"]

LAST = 1 << 62
"""Sorts behind every level and every reaction."""

# The `threads.Owner` of a thread that a reaction has started; each thread reads and writes its own.
_here = threading.local()


def inherit(owner: Any) -> None:
    """Called on a thread that a reaction has started: what it prints counts if that reaction does.

    Args:
        owner: has the `origin` of what the reaction prints, and its `scheduler()`.
    """
    _here.owner = owner


def owner_here() -> Any:
    """The owner that this thread was given by `inherit`, or None."""
    return getattr(_here, "owner", None)


class Origin(NamedTuple):
    """The reaction that printed a line, or that started the thread which did.

    Attributes:
        time_ns, microstep: the tag at which the reaction ran.
        level, reaction: its level and number, `LAST` where only the reactor is known.
        reactor: index, `LAST` where it is not known.
        enclave: number; -1 where it is not known, as of what C code printed.
    """

    time_ns: int
    microstep: int
    level: int = LAST
    reaction: int = LAST
    reactor: int = LAST
    enclave: int = -1

    @property
    def tag(self) -> tuple[int, int]:
        """The tag."""
        return self.time_ns, self.microstep


class Origins:
    """Tells the origins of one run.

    # _last     of each reaction the last origin, written by the thread that runs it
    """

    def __init__(self) -> None:
        self._last: dict[int, Origin] = {}

    def find(self, scheduler: Any) -> tuple[str, Origin, bool]:
        """Where this thread is. The caller of this method runs no reaction itself: its frame is not looked at.

        Args:
            scheduler: for which the thread works.

        Returns:
            The path of the reactor whose method is running, "" if there is none; the origin; and whether the thread itself runs the
            reaction. The origin of a reaction is one object a tag.
        """
        finder = finder_of(scheduler)
        place = finder.find(sys._getframe(2), with_reactor=True)
        r, reactor = place.reaction, place.reactor
        path = "" if reactor is None else reactor.full_name.partition(".")[2] or reactor.full_name
        tag = scheduler.current_tag()
        if r is not None:
            origin = self._last.get(r.index)
            if origin is None or origin.tag != tag:
                origin = Origin(tag.time_ns, tag.microstep, r.level, r.index, r.node.reactor, r.enclave)
                self._last[r.index] = origin
            return path, origin, True
        owner = owner_here()
        if owner is not None and owner.scheduler() is scheduler:
            return path, owner.origin, False
        number = finder.numbers.get(id(reactor), LAST)
        enclave = getattr(scheduler, "enclave", -1)
        return path, Origin(tag.time_ns, tag.microstep, reactor=number, enclave=enclave), False
