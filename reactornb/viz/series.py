"""Logged metrics, reduced for display: each value is read once and kept in a bounded number of buckets, however long the run.

A `LogReader` follows the rows that a run's reactors append; each call reads only new rows, up to the last completed
tag, so the order is that of `Run.metrics`, whichever thread logged. A `Series` keeps a few hundred buckets of mean, least and
greatest value; when they are full, neighbours merge and every bucket holds twice as many values.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy

from reactornb.runtime.logs import Log, merged

__all__ = ["LogReader", "Series", "axis_of", "moving_mean", "spread"]

Array = numpy.ndarray[Any, Any]


class Logged(Protocol):
    """A run as `LogReader` uses it."""

    @property
    def is_alive(self) -> bool: ...
    @property
    def tag(self) -> tuple[int, int]: ...
    @property
    def logs(self) -> list[Log]: ...


@dataclass(frozen=True, slots=True)
class Tags:
    """The tags of a block of values: the first, the last, and how often the tag and its time change in between."""

    first: tuple[int, int]
    last: tuple[int, int]
    tags: int
    times: int

    @classmethod
    def of(cls, times_ns: Any, microsteps: Any) -> Tags:
        """The `Tags` of values in the order of their tags; at least one value."""
        times, steps = numpy.asarray(times_ns), numpy.asarray(microsteps)
        later = times[1:] != times[:-1]
        changed = later | (steps[1:] != steps[:-1])
        first, last = (int(times[0]), int(steps[0])), (int(times[-1]), int(steps[-1]))
        return cls(first, last, int(numpy.count_nonzero(changed)), int(numpy.count_nonzero(later)))


class Series:
    """One metric in at most `capacity` buckets.

    Args:
        capacity: an even number of buckets; a chart a few hundred pixels wide shows no more.

    Attributes:
        count: how many values there were; `per_bucket` of them are in one bucket.
        last, least, greatest, total: of all values; NaN before the first (0 for `total`).
        tags, times: how often the tag changed from one value to the next, and how often its time did.
    """

    def __init__(self, capacity: int = 600) -> None:
        assert capacity % 2 == 0
        self._capacity = capacity
        # Rows: time in s, microstep, mean, least, greatest.
        self._buckets = numpy.empty((5, capacity))
        self._filled = 0
        self.per_bucket = 1
        self._rest: Array = numpy.empty((3, 0))  # values of the incomplete last bucket: time, microstep, value
        self.count = 0
        self.last = self.least = self.greatest = float("nan")
        self.total = 0.0
        self.tags = self.times = 0
        self._tag: tuple[int, int] | None = None

    def extend(self, times_ns: Any, microsteps: Any, values: Any, tags: Tags | None = None) -> None:
        """Add values in the order of their tags; three arrays or lists of one length. `tags` is worked out unless given."""
        new = numpy.empty((3, len(values)))
        if not new.shape[1]:
            return
        new[0], new[1], new[2] = times_ns, microsteps, values
        new[0] /= 1e9
        self._account(new[2], tags or Tags.of(times_ns, microsteps))
        data = numpy.concatenate((self._rest, new), axis=1) if self._rest.shape[1] else new
        while True:
            per = self.per_bucket
            full = min(data.shape[1] // per, self._capacity - self._filled)
            if full:
                part = data[:, : full * per].reshape(3, full, per)
                at = slice(self._filled, self._filled + full)
                self._buckets[0:2, at] = part[0:2, :, -1]
                if per > 1:
                    numpy.add.reduce(part[2], 1, out=self._buckets[2, at])
                    self._buckets[2, at] /= per
                    numpy.minimum.reduce(part[2], 1, out=self._buckets[3, at])
                    numpy.maximum.reduce(part[2], 1, out=self._buckets[4, at])
                else:
                    self._buckets[2:5, at] = part[2, :, 0]
                self._filled += full
                data = data[:, full * per :]
            if self._filled < self._capacity:
                break
            self._merge()
        self._rest = data.copy()

    def _account(self, values: Array, tags: Tags) -> None:
        self.count += len(values)
        self.last = float(values[-1])
        self.least = _fmin(self.least, float(numpy.fmin.reduce(values)))
        self.greatest = -_fmin(-self.greatest, -float(numpy.fmax.reduce(values)))
        self.total += float(numpy.add.reduce(values))
        self.times += tags.times
        self.tags += tags.tags
        if self._tag is not None:
            self.times += int(self._tag[0] != tags.first[0])
            self.tags += int(self._tag != tags.first)
        self._tag = tags.last

    def _merge(self) -> None:
        pairs = self._buckets.reshape(5, -1, 2)
        half = self._capacity // 2
        merged = numpy.empty((5, half))
        merged[0:2] = pairs[0:2, :, 1]
        merged[2] = pairs[2].mean(1)
        merged[3] = pairs[3].min(1)
        merged[4] = pairs[4].max(1)
        self._buckets[:, :half] = merged
        self._filled = half
        self.per_bucket *= 2

    def points(self, axis: str = "time") -> tuple[Array, ...]:
        """The points of the curve: x, mean, least and greatest, each float64 [buckets]; x never decreases.

        Args:
            axis: "time" (s), "microstep" or "sample" (how many values there were).
        """
        buckets = self._buckets[:, : self._filled]
        rest = self._rest
        if rest.shape[1]:
            open_bucket = (rest[0, -1], rest[1, -1], rest[2].mean(), rest[2].min(), rest[2].max())
            buckets = numpy.concatenate((buckets, numpy.array(open_bucket)[:, None]), axis=1)
        else:
            buckets = buckets.copy()
        if axis == "sample":
            x = numpy.minimum(numpy.arange(1.0, buckets.shape[1] + 1) * self.per_bucket, self.count)
            return x, buckets[2], buckets[3], buckets[4]
        # A tag that is read while it changes can be off by one; that is fine for a display, but x must not decrease.
        x = numpy.maximum.accumulate(buckets[0 if axis == "time" else 1])
        first = numpy.flatnonzero(numpy.concatenate(([True], x[1:] != x[:-1])))[: len(x)]
        if len(first) == len(x):
            return x, buckets[2], buckets[3], buckets[4]
        # Several values at one x, such as the episodes of an evaluation, become one point with mean and spread, not a vertical line.
        weight = numpy.full(len(x), float(self.per_bucket))
        weight[-1] = rest.shape[1] or self.per_bucket
        mean = _weighted_means(buckets[2], weight, first)
        least, greatest = numpy.fmin.reduceat(buckets[3], first), numpy.fmax.reduceat(buckets[4], first)
        return x[first], mean, least, greatest


def _weighted_means(values: Array, weight: Array, first: Array) -> Array:
    """The means of the stretches that begin at `first`; NaN where a stretch has no number."""
    there = ~numpy.isnan(values)
    sums = numpy.add.reduceat(numpy.where(there, values * weight, 0.0), first)
    counts = numpy.add.reduceat(numpy.where(there, weight, 0.0), first)
    with numpy.errstate(invalid="ignore", divide="ignore"):
        return sums / counts


def _fmin(a: float, b: float) -> float:
    """The smaller value; a number is preferred to NaN. Like numpy.fmin, in a tenth of the time."""
    return a if a <= b or math.isnan(b) else b


def axis_of(series: Iterable[Series]) -> str:
    """The axis on which these series spread out: "time" where logical time moves, else "microstep", else "sample".

    A fast program may do all its work in the microsteps of one instant, or of a few.
    """
    listed = list(series)
    tags, times = sum(s.tags for s in listed), sum(s.times for s in listed)
    if tags == 0 or times * 2 >= tags:
        return "time" if times or not any(s.count > 1 for s in listed) else "sample"
    return "microstep" if times == 0 else "sample"


def moving_mean(values: Array) -> tuple[Array, int]:
    """The trend of a noisy curve: a trailing mean over 1/30 of the values, and the number of values in that window."""
    width = max(1, len(values) // 30)
    if width == 1:
        return values, 1
    sums = numpy.cumsum(numpy.nan_to_num(values))
    sums[width:] -= sums[:-width].copy()
    counted = numpy.cumsum(~numpy.isnan(values)).astype(float)
    counted[width:] -= counted[:-width].copy()
    with numpy.errstate(invalid="ignore", divide="ignore"):
        return sums / counted, width


def spread(
    curves: Iterable[tuple[Array, Array]], points: int = 400, ended: Iterable[bool] | None = None
) -> tuple[tuple[Array, ...], bool]:
    """Several runs' curves as one: x, mean, least and greatest over the runs, each float64 [points].

    The grid begins where all runs have begun. An ended run keeps its last value up to the end of the longest run: so every mean is
    over all runs, and a run that solved its task early counts with its last value. A live run limits the grid to its present
    position.

    Args:
        curves: per run x, rising, and its values; read between values by straight lines.
        points: how many.
        ended: per run whether it is over; all of them unless given.

    Returns:
        The four arrays, empty if the runs have no stretch in common, and whether a last value was held.
    """
    listed = list(curves)
    over = [True] * len(listed) if ended is None else list(ended)
    finite = [(x[kept], y[kept], e) for (x, y), e in zip(listed, over, strict=True) for kept in [numpy.isfinite(y)]]
    finite = [curve for curve in finite if len(curve[0])]
    start = max((x[0] for x, _, _ in finite), default=0.0)
    end = min([x[-1] for x, _, e in finite if not e] or [max((x[-1] for x, _, _ in finite), default=0.0)])
    if end <= start:
        return tuple(numpy.empty((4, 0))), False
    held = any(e and x[-1] < end for x, _, e in finite)
    grid = numpy.linspace(start, end, points)
    values = numpy.array([numpy.interp(grid, x, y) for x, y, _ in finite])  # which holds the last value
    return (grid, values.mean(0), values.min(0), values.max(0)), held


class LogReader:
    """Reads a run's logs incrementally. Used by one thread; the workers only append to the logs.

    Attributes:
        series: the metrics by name, in the order of their first values.
    """

    def __init__(self, run: Logged, capacity: int = 600) -> None:
        self._run = run
        self._logs = run.logs
        self._at = [0] * len(self._logs)
        self._capacity = capacity
        self.series: dict[str, Series] = {}

    def read(self) -> bool:
        """Read the rows logged since the last call; returns whether there were any."""
        # Order matters: read `is_alive` and `tag` first. Once a run is seen to have ended, the logs are complete; once a tag is
        # seen as current, the logs of all earlier tags are.
        alive, now = self._run.is_alive, tuple(self._run.tag)
        news = []
        at = self._at
        for i, log in enumerate(self._logs):
            start, end = at[i], len(log)
            if alive:
                while end > start and log.tag(end - 1) >= now:
                    end -= 1
            if end > start:
                news.append(log.columns(start, end))
                at[i] = end
        rows = merged(news)
        seen: dict[int, Tags] = {}  # shared by metrics that are logged in one call
        for name, (times, microsteps, values, _) in rows.items():
            if name not in self.series:
                self.series[name] = Series(self._capacity)
            tags = seen.get(id(times))
            if tags is None:
                tags = seen[id(times)] = Tags.of(times, microsteps)
            self.series[name].extend(times, microsteps, values, tags)
        return bool(rows)
