"""Logged metrics as a screen needs them: read once, kept in a bounded number of buckets, however long the run.

A `LogReader` follows the rows that a run's reactors append; each call reads only what is new, up to the last tag that is
over, so the order is that of `Run.metrics` whatever thread logged. A `Series` keeps a few hundred buckets of mean, least and
greatest value; when they are full, neighbours merge and every bucket holds twice as many values.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from operator import itemgetter
from typing import Any, Protocol

import numpy

__all__ = ["LogReader", "Series", "axis_of", "moving_mean", "spread"]

_time, _microstep, _names, _values = (itemgetter(i) for i in range(4))
Row = tuple[int, int, tuple[str, ...], tuple[float, ...]]
Array = numpy.ndarray[Any, Any]


class Logged(Protocol):
    """What a reader needs of a run."""

    @property
    def is_alive(self) -> bool: ...
    @property
    def tag(self) -> tuple[int, int]: ...
    @property
    def logs(self) -> list[list[Row]]: ...


@dataclass(frozen=True, slots=True)
class Tags:
    """The tags of some values: the first and the last, and how often they and their times change in between."""

    first: tuple[int, int]
    last: tuple[int, int]
    tags: int
    times: int

    @classmethod
    def of(cls, times_ns: Any, microsteps: Any) -> Tags:
        """Of values in the order of their tags; not empty."""
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
        self._rest: Array = numpy.empty((3, 0))  # fewer values than a bucket holds: time, microstep, value
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
        """What is drawn: x, mean, least and greatest, each float64 [buckets]; x never goes back.

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
        else:
            # A tag read while it changes can be off by a step, for display only; a curve must still not go back.
            x = numpy.maximum.accumulate(buckets[0 if axis == "time" else 1])
        return x, buckets[2], buckets[3], buckets[4]


def _fmin(a: float, b: float) -> float:
    """The smaller one; of NaN, of which nothing is known, and a number, the number. As numpy.fmin, in a tenth of the time."""
    return a if a <= b or math.isnan(b) else b


def axis_of(series: Iterable[Series]) -> str:
    """The axis on which these series spread out: "time" where logical time moves, else "microstep", else "sample".

    A fast program may do all its work in the microsteps of one instant, or of a few.
    """
    made = list(series)
    tags, times = sum(s.tags for s in made), sum(s.times for s in made)
    if tags == 0 or times * 2 >= tags:
        return "time" if times or not any(s.count > 1 for s in made) else "sample"
    return "microstep" if times == 0 else "sample"


def moving_mean(values: Array) -> tuple[Array, int]:
    """The mean over the last 1/30 of the values up to each, and over how many that is: the trend in a noisy curve."""
    width = max(1, len(values) // 30)
    if width == 1:
        return values, 1
    sums = numpy.cumsum(numpy.nan_to_num(values))
    sums[width:] -= sums[:-width].copy()
    counted = numpy.cumsum(~numpy.isnan(values)).astype(float)
    counted[width:] -= counted[:-width].copy()
    with numpy.errstate(invalid="ignore", divide="ignore"):
        return sums / counted, width


def spread(curves: Iterable[tuple[Array, Array]], points: int = 400) -> tuple[Array, ...]:
    """Several runs' curves as one: x, mean, least and greatest over the runs, each float64 [points].

    Args:
        curves: per run x, rising, and its values; read between values by straight lines.
        points: how many; the grid spans what all runs have, so that no mean is over fewer runs than another.

    Returns:
        Empty arrays if the runs have no stretch in common.
    """
    finite = [(x[kept], y[kept]) for x, y in curves for kept in [numpy.isfinite(y)]]
    start = max((x[0] for x, _ in finite if len(x)), default=0.0)
    end = min((x[-1] if len(x) else start for x, _ in finite), default=0.0)
    if end <= start:
        return tuple(numpy.empty((4, 0)))
    grid = numpy.linspace(start, end, points)
    values = numpy.array([numpy.interp(grid, x, y) for x, y in finite])
    return grid, values.mean(0), values.min(0), values.max(0)


class LogReader:
    """Reads a run's logs on from where it stopped. Used by one thread; the workers only append to what it reads.

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
        """Take in what was logged since; true if there was anything."""
        # Order matters: what was logged before a run ended is in the logs once it is seen to have ended, and what was
        # logged at tags before the current one is there once that is seen. A list may grow while it is read: its rows up to
        # `end` stay what and where they are, and taking one is safe without the GIL, too.
        alive, now = self._run.is_alive, tuple(self._run.tag)
        news: list[_Stretch] = []
        at = self._at
        for i, log in enumerate(self._logs):
            start, end = at[i], len(log)
            if start == end:
                continue
            if alive:
                while end > start and log[end - 1][:2] >= now:
                    end -= 1
            if end > start:
                news.append(_Stretch(log, start, end))
                at[i] = end
        # Where a bucket holds many values, a tag for each eighth of it places it as well on an axis a few hundred pixels
        # wide, and saves half the work; but what comes from several logs is put in order by exact tags.
        held = min((s.per_bucket for s in self.series.values()), default=1)
        stride = max(held // 8, 1) if len(news) == 1 else 1
        found: dict[str, list[_Columns]] = {}
        for rows in news:
            for name, columns in _columns(rows, stride):
                found.setdefault(name, []).append(columns)
        orders: dict[tuple[int, ...], _Order] = {}
        for name, parts in found.items():
            if name not in self.series:
                self.series[name] = Series(self._capacity)
            self.series[name].extend(*(parts[0] if len(parts) == 1 else _merged(parts, orders)))
        return bool(found)


@dataclass(frozen=True, slots=True)
class _Stretch:
    """The new rows of one log: read where they are, since a copy would touch every row."""

    log: list[Row]
    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start

    def __iter__(self) -> Iterator[Row]:
        rows = iter(self.log)
        rows.__setstate__(self.start)  # type: ignore[attr-defined]  # a list's iterator can begin anywhere
        return islice(rows, len(self))

    def tags(self, stride: int = 1) -> tuple[Array, Array]:
        """Times and microsteps; with a stride each row gets those of the last one before it whose number is a multiple of that."""
        picked = self.log[self.start : self.end : stride]
        times = numpy.fromiter(map(_time, picked), numpy.int64, len(picked))
        microsteps = numpy.fromiter(map(_microstep, picked), numpy.int64, len(picked))
        if stride > 1:
            times, microsteps = (numpy.repeat(column, stride)[: len(self)] for column in (times, microsteps))
        return times, microsteps


_Columns = tuple[Array, Array, Array, Tags | None]
"""Times, microsteps and values of one metric, with their tags where several metrics share them."""
_Order = tuple[Array, Array, Array, Tags]
"""Sorted times and microsteps, what sorts them, and their tags."""


def _values_of(rows: Iterable[Row], names: tuple[str, ...], count: int) -> Array:
    """The values of `count` rows that have these names, float64 [names, rows]."""
    flat = numpy.fromiter(chain.from_iterable(map(_values, rows)), float, count * len(names))
    return numpy.ascontiguousarray(flat.reshape(count, len(names)).T)


def _columns(rows: _Stretch, stride: int) -> Iterable[tuple[str, _Columns]]:
    """The rows of one log, a metric at a time. Columns at once: a Python loop over the rows would cost ten times as much."""
    kinds = list(map(_names, rows))
    names = kinds[0]
    if kinds.count(names) == len(kinds):  # the same metrics over and over
        times, microsteps = rows.tags(stride)
        if stride > 1:
            # How often tags change is seen in a stretch without gaps.
            seen = Tags.of(*_Stretch(rows.log, rows.start, min(rows.start + 256, rows.end)).tags())
            tags = Tags(seen.first, rows.log[rows.end - 1][:2], seen.tags, seen.times)
        else:
            tags = Tags.of(times, microsteps)
        for name, values in zip(names, _values_of(rows, names, len(rows)), strict=True):
            yield name, (times, microsteps, values, tags)
        return
    # Such as from reactions that log different things.
    times, microsteps = rows.tags()
    at: dict[tuple[str, ...], list[int]] = {}
    for place, names in enumerate(kinds):
        at.setdefault(names, []).append(place)
    found: dict[str, list[tuple[Array, Array]]] = {}
    for names, places in at.items():
        own = numpy.array(places)
        for name, values in zip(
            names, _values_of((rows.log[rows.start + i] for i in places), names, len(own)), strict=True
        ):
            found.setdefault(name, []).append((own, values))
    for name, parts in found.items():
        own, values = (numpy.concatenate(column) for column in zip(*parts, strict=True))
        order = numpy.argsort(own)
        own = own[order]
        yield name, (times[own], microsteps[own], values[order], None)


def _merged(parts: list[_Columns], orders: dict[tuple[int, ...], _Order]) -> _Columns:
    """One metric from several logs, by tag, then by reactor, then as logged (the sort is stable).

    Args:
        parts: of each log.
        orders: what was sorted already: metrics logged together have the very same arrays of times. Kept only as long as those.
    """
    key = tuple(id(times) for times, *_ in parts)
    if key not in orders:
        times, microsteps = (numpy.concatenate([part[column] for part in parts]) for column in (0, 1))
        order = numpy.lexsort((microsteps, times))
        times, microsteps = times[order], microsteps[order]
        orders[key] = times, microsteps, order, Tags.of(times, microsteps)
    times, microsteps, order, tags = orders[key]
    return times, microsteps, numpy.concatenate([part[2] for part in parts])[order], tags
