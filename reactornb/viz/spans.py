"""The spans of a timeline reduced to pixels: spans wider than a pixel as they are, the others summed up per pixel.

The cost grows with the pixels and with the logarithm of the spans, so the whole of a long run can be looked at ten times a
second: which spans lie where is found by bisection, how long they took from running sums, and a crowded pixel takes the color of
the longest span that is found in it at a few instants.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy

from reactornb.runtime.timeline import Lane

__all__ = ["Drawn", "decimate", "tag_changes"]

Array = numpy.ndarray[Any, Any]
_LOOKS = 4  # instants at which a pixel with several spans is sampled


@dataclass(frozen=True, slots=True)
class Drawn:
    """What is drawn of one lane.

    Attributes:
        single: places in the lane of spans that are drawn as they are; int64, rising.
        bins: numbers of the pixels in which several short spans begin; int64, rising, as the following.
        counts: how many begin there.
        busy: which share of the pixel's time they take, 0 to 1.
        shown: place in the lane of the longest of them that was seen.
    """

    single: Array
    bins: Array
    counts: Array
    busy: Array
    shown: Array


def edges_of(begin_ns: int, end_ns: int, bins: int) -> Array:
    """Where the pixels of a window begin and end, in ns; int64 [bins + 1]."""
    return begin_ns + (numpy.arange(bins + 1) * (max(end_ns - begin_ns, bins) / bins)).astype(numpy.int64)


def decimate(lane: Lane, begin_ns: int, end_ns: int, bins: int) -> Drawn:
    """What a window of that many pixels shows of a lane: no more rows than twice the pixels.

    Args:
        lane: the lane; not empty.
        begin_ns, end_ns: the window, in ns since the run began.
        bins: pixels.
    """
    begin, end = lane.begin, lane.end
    edges = edges_of(begin_ns, end_ns, bins)
    at = begin.searchsorted(edges)  # per edge the first span that begins there or later
    # A span as wide as a pixel lies over an edge, and the one that began last before an edge is the only one that can.
    over = at - 1
    over = numpy.unique(over[(over >= 0) & (end[over] > edges)])
    wide = over[end[over] - begin[over] >= (edges[-1] - edges[0]) / bins]
    # The other spans: a wide span is the last one that begins in its pixel, so they come before it.
    counts = numpy.diff(at) - numpy.diff(begin[wide].searchsorted(edges))
    alone = at[:-1][counts == 1]
    crowded = numpy.flatnonzero(counts > 1)
    first, counts = at[crowded], counts[crowded]
    last = first + counts - 1
    busy = (lane.busy[last] + end[last] - begin[last] - lane.busy[first]) / numpy.diff(edges)[crowded]
    left, width = edges[crowded], numpy.diff(edges)[crowded]
    shown, longest = first, end[first] - begin[first]
    for look in range(_LOOKS):
        seen = begin.searchsorted(left + width * (2 * look + 1) // (2 * _LOOKS), side="right") - 1
        length = numpy.where((seen >= first) & (seen <= last), end[seen] - begin[seen], -1)
        shown = numpy.where(length > longest, seen, shown)
        longest = numpy.maximum(longest, length)
    return Drawn(numpy.union1d(wide, alone), crowded, counts, numpy.minimum(busy, 1.0), shown)


def tag_changes(
    lanes: list[Lane], begin_ns: int, end_ns: int, bins: int, most: int
) -> list[tuple[int, int, int]] | None:
    """Where tags begin in a window, in order: (ns since the run began, time and microstep of the tag).

    Of tags that begin and end within one pixel of a lane some are left out.

    Returns:
        None if there are more than `most`.
    """
    edges = edges_of(begin_ns, end_ns, bins)
    begin_of: dict[tuple[int, int], int] = {}
    for lane in lanes:
        if not lane.count:
            continue
        time_ns, microstep = lane.time_ns, lane.microstep
        at = numpy.clip(lane.begin.searchsorted(edges) - 1, 0, None)
        here = (
            int(time_ns[at[0]]),
            int(microstep[at[0]]),
        )  # the tag at the beginning of the window, maybe begun before
        begin_of[here] = min(begin_of.get(here, end_ns), int(lane.begin[at[0]]))
        changed = numpy.flatnonzero((numpy.diff(time_ns[at]) != 0) | (numpy.diff(microstep[at]) != 0))
        if len(changed) > most:
            return None
        for pixel in changed.tolist():
            low, high = int(at[pixel]), int(at[pixel + 1])
            other = (time_ns[low : high + 1] != time_ns[low]) | (microstep[low : high + 1] != microstep[low])
            place = low + int(other.argmax())
            tag, where = (int(time_ns[place]), int(microstep[place])), int(lane.begin[place])
            begin_of[tag] = min(begin_of.get(tag, where), where)
    if len(begin_of) > most:
        return None
    return sorted((where, *tag) for tag, where in begin_of.items())
