"""How long reactions of a share took, on its way into the profile and the timeline of the hub's run.

    spans   {"clock": perf_counter_ns of the host, "totals": [reaction, runs, ns, ns waited], "workers": [reaction, worker, runs],
             "spans": per worker [reaction, begin and end by that clock, time and microstep of the tag]}; rows of int64 arrays, since the last report

A host that replaces another one executes the same again. The profile counts it once: what the lost host told since the last state is taken back when the
replacement tells for the first time. The timeline shows what happened, so it has the spans of both.

A host keeps as many spans as the hub does; those that it drops before it tells are counted in the profile, but not among the dropped ones of the timeline.

# OutgoingTimes   read by the share's leader between two tags, when no worker runs a reaction of it: what workers wrote is ordered by the batch
# IncomingTimes   the share's driver
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import numpy

from reactornb.cluster.errors import WireError
from reactornb.cluster.packing import Packed, checked, pack
from reactornb.runtime.profile import Times

__all__ = ["IncomingTimes", "OutgoingTimes"]

_FIELD = "Report.spans"
_SAME_CLOCK_NS = 500_000_000
_MOST_NS = 1 << 62  # more than a century; two of them can be added in an int64


class OutgoingTimes:
    """Packs what is new of a share.

    Args:
        times: measured on this host.
        reactions: those of the share, by number.
    """

    def __init__(self, times: Times, reactions: Iterable[int]) -> None:
        self._times = times
        self._told = {index: _copied(times.totals[index]) for index in reactions}
        self._next = [first + len(rows) for first, rows in (log.since(0) for log in times.logs)]

    def pack(self) -> Packed | None:
        """What ran since the last call; None: nothing."""
        totals: list[tuple[int, ...]] = []
        workers: list[tuple[int, ...]] = []
        for index, told in self._told.items():
            now = self._times.totals[index]
            if now[0] == told[0]:
                continue
            totals.append((index, *(new - old for new, old in zip(now[:3], told[:3], strict=True))))
            runs = ((worker, count - told[3].get(worker, 0)) for worker, count in now[3].items())
            workers += [(index, worker, count) for worker, count in runs if count]
            self._told[index] = _copied(now)
        if not totals:
            return None
        spans = []
        for worker, log in enumerate(self._times.logs):
            first, rows = log.since(self._next[worker])
            self._next[worker] = first + len(rows)
            spans.append(rows)
        return pack(
            {
                "clock": time.perf_counter_ns(),
                "totals": numpy.array(totals, numpy.int64).reshape(-1, 4),
                "workers": numpy.array(workers, numpy.int64).reshape(-1, 3),
                "spans": spans,
            }
        )


class IncomingTimes:
    """Adds what comes from a share to the profile of the hub's run.

    Args:
        times: where to.
        reactions: those of the share, by number.
        count: how many reactions the program has.
        began_ns: when the run began, by `time.perf_counter_ns`.
    """

    def __init__(self, times: Times, reactions: Iterable[int], count: int, began_ns: int) -> None:
        self._times = times
        self._count = count
        self._own = numpy.zeros(count, bool)
        self._own[list(reactions)] = True
        self._ends = [began_ns] * len(times.logs)  # of the last span of each worker
        self._shift_ns: int | None = None  # from the clock of the present host to ours
        self._saved: dict[int, list[Any]] = {}  # the totals at the last state
        self._goes_back = False

    def mark(self) -> None:
        """What the present host has told is in its saved state."""
        if not self._goes_back:
            self._saved = {index: _copied(row) for index, row in enumerate(self._times.totals) if row[0]}

    def again(self) -> None:
        """The host was replaced: what came after the last state comes again."""
        self._goes_back = True
        self._shift_ns = None

    def take(self, told: Packed | None) -> None:
        """Add what a report has.

        Raises:
            WireError: if it is not what `OutgoingTimes` gives; then nothing is added.
        """
        given = None if told is None else self._checked(told)
        if self._goes_back:
            totals = Times.none(self._count)
            for index, row in self._saved.items():
                totals[index] = _copied(row)
            self._times.totals, self._goes_back = totals, False
        if given is None:
            return
        totals = self._times.totals
        for index, *more in given["totals"].tolist():
            row = totals[index]
            row[:3] = (old + new for old, new in zip(row[:3], more, strict=True))
        for index, worker, count in given["workers"].tolist():
            runs = totals[index][3]
            runs[worker] = runs.get(worker, 0) + count
        shift = self._shift(given["clock"])
        for worker, rows in enumerate(given["spans"]):
            if len(rows):
                self._add(worker, rows, shift)

    def _checked(self, told: Packed) -> dict[str, Any]:
        given = checked(_FIELD, told)
        if type(given) is not dict or given.keys() != {"clock", "totals", "workers", "spans"}:
            raise WireError(_FIELD, "has not the parts that it should")
        clock, spans, workers = given["clock"], given["spans"], len(self._times.logs)
        if type(clock) is not int or not 0 <= clock < _MOST_NS:
            raise WireError(_FIELD, "has no clock")
        if type(spans) is not list or len(spans) != workers:
            raise WireError(_FIELD, f"has not the spans of {workers} workers")
        for part, columns, rows in (("totals", 4, given["totals"]), ("workers", 3, given["workers"]), *(("spans", 5, one) for one in spans)):  # fmt: skip
            self._check_rows(part, columns, rows)
        if (given["workers"][:, 1] >= workers).any():
            raise WireError(_FIELD, f"names a worker of {workers} that there is not")
        for rows in spans:
            begin, end = rows[:, 1], rows[:, 2]
            if (begin > end).any() or (end > clock).any():
                raise WireError(_FIELD, "has spans that end before they begin, or are to come")
        return given

    def _check_rows(self, part: str, columns: int, rows: Any) -> None:
        is_array = type(rows) is numpy.ndarray and rows.dtype == numpy.int64
        if not is_array or rows.ndim != 2 or rows.shape[1] != columns:
            raise WireError(_FIELD, f"has {part} that are no rows of {columns} integers")
        if (rows < 0).any() or (part != "spans" and (rows >= _MOST_NS).any()):
            raise WireError(_FIELD, f"has {part} that no run could have")
        index = rows[:, 0]
        if (index >= self._count).any() or not self._own[index].all():
            raise WireError(_FIELD, f"has {part} of a reaction that the share does not have")

    def _shift(self, clock_ns: int) -> int:
        """From the host's clock to ours. What a report says is as old as the report was long under way: that which came fastest is right."""
        shift = time.perf_counter_ns() - clock_ns
        if self._shift_ns is None or shift < self._shift_ns:
            self._shift_ns = shift
        return 0 if abs(self._shift_ns) < _SAME_CLOCK_NS else self._shift_ns

    def _add(self, worker: int, rows: Any, shift_ns: int) -> None:
        """Add the spans of a worker; where a better shift, or a replacement's clock, would let them overlap earlier ones, they begin after those."""
        moved = rows.copy()
        last = self._ends[worker]
        ends = numpy.maximum.accumulate(numpy.maximum(moved[:, 2] + shift_ns, last))
        moved[0, 1] = max(int(moved[0, 1]) + shift_ns, last)
        moved[1:, 1] = numpy.maximum(moved[1:, 1] + shift_ns, ends[:-1])
        moved[:, 2] = ends
        self._ends[worker] = int(ends[-1])
        self._times.logs[worker].extend(moved.tobytes())


def _copied(row: list[Any]) -> list[Any]:
    return [*row[:3], dict(row[3])]
