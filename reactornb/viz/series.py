"""Logged metrics, reduced for display: each value is read once and kept in a bounded number of buckets, however long the run.

A `LogReader` follows the rows that a run's reactors append; each call reads only new rows, up to the last completed
tag, so the order is that of `Run.metrics`, whichever thread logged. A `Series` keeps a few hundred buckets of mean, least and
greatest value, and where each ends on every axis: tag, environment steps, physical time, episodes. When they are full, neighbours merge and
every bucket holds twice as many values.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy

from reactornb.runtime.logs import Column, Log, merged
from reactornb.runtime.metrics import EPISODES, STEPS, Metric, rows_until

__all__ = [
    "COLUMNS",
    "LogReader",
    "Series",
    "episodes_in_mean",
    "is_line",
    "moving_mean",
    "on_one_grid",
    "rolling_mean",
    "spread",
]

Array = numpy.ndarray[Any, Any]
COLUMNS = ("time", "microstep", "steps", "wall", "episodes")
"""The axes whose places a bucket keeps, in the order of its rows; "sample", the number of values, follows from the bucket's number."""
_X = len(COLUMNS)
SHARE = 1 / 30  # of a curve's points or episodes that its trend is a mean over, unless a panel's slider says otherwise


class Logged(Protocol):
    """A run as `LogReader` uses it."""

    @property
    def is_alive(self) -> bool: ...
    @property
    def tag(self) -> tuple[int, int]: ...
    @property
    def logs(self) -> list[Log]: ...
    @property
    def began_s(self) -> float: ...


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
        is_of_episodes: whether each value is of an episode, so that its trend is a mean over so many episodes.
    """

    def __init__(self, capacity: int = 600, *, is_of_episodes: bool = False) -> None:
        assert capacity % 2 == 0
        self._capacity = capacity
        self.is_of_episodes = is_of_episodes
        # Rows: where the bucket ends on each of `COLUMNS`, mean, least, greatest.
        self._buckets = numpy.empty((_X + 3, capacity))
        self._filled = 0
        self.per_bucket = 1
        self._rest: Array = numpy.empty((_X + 1, 0))  # values of the incomplete last bucket: `COLUMNS`, value
        self.count = 0
        self.last = self.least = self.greatest = float("nan")
        self.total = 0.0
        self.tags = self.times = 0
        self._tag: tuple[int, int] | None = None

    def extend(
        self,
        times_ns: Any,
        microsteps: Any,
        values: Any,
        tags: Tags | None = None,
        *,
        steps: Any = 0.0,
        wall: Any = 0.0,
        episodes: Any = 0.0,
    ) -> None:
        """Add values in the order of their tags; arrays or lists of one length.

        Args:
            times_ns, microsteps: of their tags.
            values: the values.
            tags: worked out unless given.
            steps, wall, episodes: environment steps, physical seconds and episodes up to each value; 0 where nobody counts.
        """
        new = numpy.empty((_X + 1, len(values)))
        if not new.shape[1]:
            return
        new[0], new[1], new[2], new[3], new[4], new[_X] = times_ns, microsteps, steps, wall, episodes, values
        new[0] /= 1e9
        self._account(new[_X], tags or Tags.of(times_ns, microsteps))
        data = numpy.concatenate((self._rest, new), axis=1) if self._rest.shape[1] else new
        while True:
            per = self.per_bucket
            full = min(data.shape[1] // per, self._capacity - self._filled)
            if full:
                part = data[:, : full * per].reshape(_X + 1, full, per)
                at = slice(self._filled, self._filled + full)
                self._buckets[:_X, at] = part[:_X, :, -1]
                if per > 1:
                    numpy.add.reduce(part[_X], 1, out=self._buckets[_X, at])
                    self._buckets[_X, at] /= per
                    numpy.minimum.reduce(part[_X], 1, out=self._buckets[_X + 1, at])
                    numpy.maximum.reduce(part[_X], 1, out=self._buckets[_X + 2, at])
                else:
                    self._buckets[_X:, at] = part[_X, :, 0]
                self._filled += full
                data = data[:, full * per :]
            if self._filled < self._capacity:
                break
            self._merge()
        self._rest = data.copy()

    def extend_by(self, metric: Metric) -> None:
        """Add what a metric has beyond the values that are here; it has these, too."""
        new = slice(self.count, None)
        self.is_of_episodes = metric.is_of_episodes
        self.extend(
            metric.time_ns[new],
            metric.microstep[new],
            metric.values[new],
            steps=metric.steps[new],
            wall=metric.wall_s[new],
            episodes=metric.episodes[new],
        )

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
        pairs = self._buckets.reshape(_X + 3, -1, 2)
        half = self._capacity // 2
        merged = numpy.empty((_X + 3, half))
        merged[:_X] = pairs[:_X, :, 1]
        merged[_X] = pairs[_X].mean(1)
        merged[_X + 1] = pairs[_X + 1].min(1)
        merged[_X + 2] = pairs[_X + 2].max(1)
        self._buckets[:, :half] = merged
        self._filled = half
        self.per_bucket *= 2

    def buckets(self) -> tuple[Array, Array]:
        """The buckets so far: float64 [8, buckets], the rows of `COLUMNS`, mean, least, greatest; and how many values are in each."""
        buckets, rest = self._buckets[:, : self._filled], self._rest
        weight = numpy.full(self._filled + bool(rest.shape[1]), float(self.per_bucket))
        if not rest.shape[1]:
            return buckets.copy(), weight
        weight[-1] = rest.shape[1]
        open_bucket = (*rest[:_X, -1], rest[_X].mean(), rest[_X].min(), rest[_X].max())
        return numpy.concatenate((buckets, numpy.array(open_bucket)[:, None]), axis=1), weight

    def reach(self, axis: str) -> float:
        """Where the last value is on one of `COLUMNS`; 0 before the first."""
        row = COLUMNS.index(axis)
        if self._rest.shape[1]:
            return float(self._rest[row, -1])
        return float(self._buckets[row, self._filled - 1]) if self._filled else 0.0

    def points(self, axis: str = "time") -> tuple[Array, ...]:
        """The points of the curve: x, mean, least and greatest, each float64 [points]; x never decreases, and only over "sample" are there
        several points for what has one x.

        Args:
            axis: "time" (s), "microstep", "steps", "wall" (s), "episodes" or "sample" (how many values there were).
        """
        return self._weighted(axis)[:4]

    def trend(self, axis: str = "time", share: float = SHARE) -> tuple[Array, Array, int]:
        """The curve without its noise: x, a trailing mean, and the number of values that each is over (1: the points themselves).

        Of what is logged for each episode it is a mean over the last `episodes_in_mean`, of anything else over a share of the points.
        """
        x, mean, _, _, weight = self._weighted(axis)
        if self.is_of_episodes:
            window = episodes_in_mean(self.count, share)
            return x, rolling_mean(mean, weight, window), window
        smooth, width = moving_mean(mean, share)
        return x, smooth, width * self.per_bucket if width > 1 else 1

    def _weighted(self, axis: str) -> tuple[Array, ...]:
        """The points, and how many values are in each."""
        buckets, weight = self.buckets()
        mean, least, greatest = buckets[_X:]
        if axis == "sample":
            x = numpy.minimum(numpy.arange(1.0, buckets.shape[1] + 1) * self.per_bucket, self.count)
            return x, mean, least, greatest, weight
        # A tag that is read while it changes can be off by one; that is fine for a display, but x must not decrease.
        x = numpy.maximum.accumulate(buckets[COLUMNS.index(axis)])
        first = numpy.flatnonzero(numpy.concatenate(([True], x[1:] != x[:-1])))[: len(x)]
        if len(first) == len(x):
            return x, mean, least, greatest, weight
        # Several values at one x, such as the episodes of an evaluation, become one point with mean and spread, not a vertical line.
        mean = _weighted_means(mean, weight, first)
        least, greatest = numpy.fmin.reduceat(least, first), numpy.fmax.reduceat(greatest, first)
        return x[first], mean, least, greatest, numpy.add.reduceat(weight, first)

    def tag_near(self, x: float, axis: str) -> tuple[int, int] | None:
        """The last tag, time in ns and microstep, of the point that is nearest to x on an axis; None if there is none."""
        points = self.points(axis)[0]
        if not len(points):
            return None
        nearest = points[int(numpy.abs(points - x).argmin())]
        buckets = self._ends()
        along = points if axis == "sample" else numpy.maximum.accumulate(buckets[COLUMNS.index(axis)])
        at = int(numpy.flatnonzero(along == nearest)[-1])
        return round(buckets[0, at] * 1e9), int(buckets[1, at])

    def x_before(self, tag: tuple[int, int], axis: str) -> float:
        """Where the curve stood on an axis before a tag: a change at that tag is marked there. 0 if it had not begun."""
        if axis in ("time", "microstep"):
            return tag[0] / 1e9 if axis == "time" else float(tag[1])
        ends = self._ends()
        before = (ends[0] < tag[0] / 1e9) | ((ends[0] == tag[0] / 1e9) & (ends[1] < tag[1]))
        places = numpy.flatnonzero(before)
        if not len(places):
            return 0.0
        at = int(places[-1])
        return float(min((at + 1) * self.per_bucket, self.count) if axis == "sample" else ends[COLUMNS.index(axis), at])

    def _ends(self) -> Array:
        """Where each bucket ends, on `COLUMNS`."""
        return numpy.concatenate((self._buckets[:_X, : self._filled], self._rest[:_X, -1:]), axis=1)


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


def is_line(x: Array) -> bool:
    """False for one or two points, or if all share one x, as the last evaluation's: these are drawn as dots."""
    return len(x) >= 3 and bool(x[0] != x[-1])


def moving_mean(values: Array, share: float = SHARE) -> tuple[Array, int]:
    """The trend of a noisy curve: a trailing mean over a share of the values, and the number of values in that window."""
    width = max(1, int(len(values) * share))
    if width == 1:
        return values, 1
    sums = numpy.cumsum(numpy.nan_to_num(values))
    sums[width:] -= sums[:-width].copy()
    counted = numpy.cumsum(~numpy.isnan(values)).astype(float)
    counted[width:] -= counted[:-width].copy()
    with numpy.errstate(invalid="ignore", divide="ignore"):
        return sums / counted, width


def episodes_in_mean(count: int, share: float = SHARE) -> int:
    """The number of episodes that the trend of a curve of so many episodes is a mean over: 100, as usual, but at most a tenth of all."""
    return max(1, int(min(100.0, count / 10) * share / SHARE + 0.5))  # as JavaScript rounds


def rolling_mean(values: Array, weight: Array, window: int) -> Array:
    """At each point the mean of the fewest last points that are at least `window` values together; of all of them where there are not so many.

    Args:
        values: float64 [points], the mean of each point.
        weight: float64 [points], how many values that is of.
        window: how many values.
    """
    there = numpy.isfinite(values)
    counted = numpy.cumsum(numpy.where(there, weight, 0.0))
    sums = numpy.concatenate(((0.0,), numpy.cumsum(numpy.where(there, values * weight, 0.0))))
    first = numpy.searchsorted(counted, counted - window, "right")
    totals = counted - numpy.concatenate(((0.0,), counted))[first]
    means: Array
    with numpy.errstate(invalid="ignore", divide="ignore"):
        means = (sums[1:] - sums[first]) / totals
    return means


def spread(
    curves: Iterable[tuple[Array, Array]], points: int = 400, ended: Iterable[bool] | None = None
) -> tuple[tuple[Array, ...], bool]:
    """Several runs' curves as one: x, mean, least and greatest over the runs, each float64 [points]; see `on_one_grid`."""
    (grid, values), held = on_one_grid(curves, points, ended)
    if not len(grid):
        return tuple(numpy.empty((4, 0))), False
    return (grid, values.mean(0), values.min(0), values.max(0)), held


def on_one_grid(
    curves: Iterable[tuple[Array, Array]], points: int = 400, ended: Iterable[bool] | None = None
) -> tuple[tuple[Array, Array], bool]:
    """Several runs' curves at the same places.

    The grid begins where all runs have begun. An ended run keeps its last value up to the end of the longest run: so every mean is
    over all runs, and a run that solved its task early counts with its last value. A live run limits the grid to its present
    position.

    Args:
        curves: per run x, rising, and its values; read between values by straight lines.
        points: how many.
        ended: per run whether it is over; all of them unless given.

    Returns:
        x float64 [points] and the values float64 [runs, points], empty if the runs have no stretch in common; and whether a last value
        was held.
    """
    listed = list(curves)
    over = [True] * len(listed) if ended is None else list(ended)
    finite = [(x[kept], y[kept], e) for (x, y), e in zip(listed, over, strict=True) for kept in [numpy.isfinite(y)]]
    finite = [curve for curve in finite if len(curve[0])]
    start = max((x[0] for x, _, _ in finite), default=0.0)
    end = min([x[-1] for x, _, e in finite if not e] or [max((x[-1] for x, _, _ in finite), default=0.0)])
    if end <= start:
        return (numpy.empty(0), numpy.empty((0, 0))), False
    held = any(e and x[-1] < end for x, _, e in finite)
    grid = numpy.linspace(start, end, points)
    return (grid, numpy.array([numpy.interp(grid, x, y) for x, y, _ in finite])), held  # which holds the last value


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
        self._steps, self._episodes = 0.0, 0  # of the rows that were read
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
        seen: dict[int, tuple[Tags, Array, Array, Array]] = {}  # shared by metrics that are logged in one call
        for name, column in rows.items():
            if name not in self.series:
                self.series[name] = Series(self._capacity, is_of_episodes=_is_of_episodes(column, rows))
            where = seen.get(id(column.times_ns))
            if where is None:
                where = seen[id(column.times_ns)] = self._places(column, rows)
            tags, steps, wall, episodes = where
            self.series[name].extend(
                column.times_ns, column.microsteps, column.values, tags, steps=steps, wall=wall, episodes=episodes
            )
        if STEPS in rows:
            self._steps += float(rows[STEPS].values.sum())
        if EPISODES in rows:
            self._episodes += len(rows[EPISODES].values)
        return bool(rows)

    def _places(self, column: Column, rows: dict[str, Column]) -> tuple[Tags, Array, Array, Array]:
        """The tags of new values, and where they are on the other axes; see `Metric.steps` and `Metric.episodes`."""
        times, microsteps = column.times_ns, column.microsteps
        steps, episodes = numpy.full(len(times), self._steps), numpy.full(len(times), float(self._episodes))
        counted = rows.get(STEPS)
        if counted is not None:
            totals = numpy.concatenate(((0.0,), counted.values.cumsum()))
            steps += totals[rows_until(counted.times_ns, counted.microsteps, times, microsteps)]
        ended = rows.get(EPISODES)
        if _is_of_episodes(column, rows):
            episodes += numpy.arange(1, len(times) + 1)
        elif ended is not None:
            episodes += rows_until(ended.times_ns, ended.microsteps, times, microsteps)
        return Tags.of(times, microsteps), steps, column.wall_s - self._run.began_s, episodes


def _is_of_episodes(column: Column, rows: dict[str, Column]) -> bool:
    """Whether these values were logged together with returns of episodes."""
    return EPISODES in rows and rows[EPISODES].times_ns is column.times_ns
