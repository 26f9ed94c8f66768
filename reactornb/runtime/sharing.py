"""How a level's reactions, or a team's calls, are shared out among workers: what to decide, and the numbers it is decided by.

Pure: nothing here calls a reaction, knows a thread, or reads a clock.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Policy", "Trial", "pieces", "share_out"]


@dataclass(frozen=True)
class Policy:
    """The thresholds of sharing, in one place.

    Attributes:
        share_above_ns: a level is shared out if its estimated work is above what handing over costs; 0 shares everything.
        smallest_item_ns: reactions cheaper than this are handed out several at a time.
        surely_worth_ns: where reactions are cheaper than this on average, sharing is tried against not sharing: what workers have in
            common (lists, reference counts, a library's lock, a core that is one of two threads of a real one) may cost more than a
            second core gives.
    """

    share_above_ns: int = 40_000
    smallest_item_ns: int = 10_000
    surely_worth_ns: int = 50_000


class Trial:
    """Whether to share a level of cheap reactions: whatever was faster, and now and then the other; the leader's own.

    The other is tried after 8 turns, rounds in which times are taken, then after twice as many each time that it was slower, up to 256;
    where running it alone was slower by a fifth, after 256; after 8 again once the better way has become the worse one. A single
    time is not believed when it is long, since a core may be taken away, but when it is short.
    """

    __slots__ = ("_left", "_ns", "_wait")

    def __init__(self) -> None:
        self._ns = [0, 0]  # per reaction, alone and shared
        self._wait = self._left = 8

    def turn(self) -> bool:
        """Whether to share this time."""
        alone, shared = self._ns
        if not shared or not alone:
            return not shared
        self._left -= 1
        return (shared < alone) != (self._left < 0)

    @property
    def pays(self) -> bool:
        """Whether sharing was faster."""
        return self._ns[True] < self._ns[False]

    def took(self, shared: bool, ns: int) -> None:
        """How long a reaction took."""
        known, before = self._ns[shared], self.pays
        self._ns[shared] = ns if ns < known or not known else known + min(ns - known, known) // 8
        changed = before != self.pays
        if self._left < 0 or changed:
            clear = 5 * self._ns[False] > 6 * self._ns[True]  # what one thread does alone is at nobody's mercy
            self._wait = self._left = 8 if changed else 256 if clear else min(2 * self._wait, 256)


def share_out(items: Sequence[Any], width: int) -> tuple[tuple[Any, ...], ...]:
    """A list of items per worker: about the same work for each, the costliest first, and what ran on a worker last again there.

    The longest first (Graham, "Bounds on Multiprocessing Timing Anomalies", 1969) keeps the end short: the workers take over
    from each other what has not begun, so they finish within one of the shortest items of each other.
    """
    lists: list[list[Any]] = [[] for _ in range(width)]
    loads = [0] * width
    fair = sum(max(item.cost_ns, 1) for item in items) / width
    for item in sorted(items, key=_cost, reverse=True):
        cost = max(item.cost_ns, 1)
        # An environment that stays on its core finds its data in that core's cache.
        place = item.worker
        if not 0 <= place < width or loads[place] + cost > fair * 1.02:
            place = loads.index(min(loads))
        loads[place] += cost
        lists[place].append(item)
    return tuple(map(tuple, lists))


def pieces(part: Sequence[Any], each_ns: int, smallest_ns: int) -> Iterator[Sequence[Any]]:
    """Cheap reactions of one worker, several at a time: half of those that are left, then half of the rest, and so on.

    So the first piece costs one hand-out, and the last, which another worker may take over, ends the level evenly: guided
    self-scheduling (Polychronopoulos and Kuck, IEEE Trans. Computers, 1987).
    """
    least = smallest_ns // max(each_ns, 1) + 1
    at = 0
    while at < len(part):
        size = max((len(part) - at) // 2, least)
        yield part[at : at + size]
        at += size


_cost = operator.attrgetter("cost_ns")
