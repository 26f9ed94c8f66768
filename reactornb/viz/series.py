"""Logged metrics as a screen needs them: read once, kept in a bounded number of buckets, however long the run.

A `LogReader` follows the rows that a run's reactors append; each call reads only what is new, up to the last tag that is
over, so the order is that of `Run.metrics` whatever thread logged. A `Series` keeps a few hundred buckets of mean, least and
greatest value; when they are full, neighbours merge and every bucket holds twice as many values.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import Any, Protocol

import numpy

__all__ = ["LogReader", "Series", "axis_of", "moving_mean"]

_time, _microstep, _name, _value = (itemgetter(i) for i in range(4))


class Logged(Protocol):
    """What a reader needs of a run."""

    @property
    def is_alive(self) -> bool: ...
    @property
    def tag(self) -> tuple[int, int]: ...
    @property
    def logs(self) -> list[list[tuple[int, int, str, float]]]: ...


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
        self._rest: numpy.ndarray[Any, Any] = numpy.empty(
            (3, 0)
        )  # fewer values than a bucket holds: time, microstep, value
        self.count = 0
        self.last = self.least = self.greatest = float("nan")
        self.total = 0.0
        self.tags = self.times = 0
        self._tag: tuple[float, float] | None = None

    def extend(self, times_ns: Any, microsteps: Any, values: Any) -> None:
        """Add values in the order of their tags; three arrays or lists of one length."""
        new = numpy.array((times_ns, microsteps, values), float)
        if not new.shape[1]:
            return
        new[0] /= 1e9
        self._account(new)
        data = numpy.concatenate((self._rest, new), axis=1) if self._rest.shape[1] else new
        while True:
            per = self.per_bucket
            full = min(data.shape[1] // per, self._capacity - self._filled)
            part = data[:, : full * per].reshape(3, full, per)
            at = slice(self._filled, self._filled + full)
            self._buckets[0:2, at] = part[0:2, :, -1]
            self._buckets[2, at] = part[2].mean(1) if per > 1 else part[2, :, 0]
            self._buckets[3, at] = part[2].min(1)
            self._buckets[4, at] = part[2].max(1)
            self._filled += full
            data = data[:, full * per :]
            if self._filled < self._capacity:
                break
            self._merge()
        self._rest = data.copy()

    def _account(self, new: numpy.ndarray[Any, Any]) -> None:
        values = new[2]
        self.count += len(values)
        self.last = float(values[-1])
        self.least = float(numpy.fmin(self.least, numpy.fmin.reduce(values)))
        self.greatest = float(numpy.fmax(self.greatest, numpy.fmax.reduce(values)))
        self.total += float(values.sum())
        times, microsteps = new[0], new[1]
        later = numpy.diff(times) != 0
        self.times += int(later.sum())
        self.tags += int((later | (numpy.diff(microsteps) != 0)).sum())
        if self._tag is not None:
            self.times += int(self._tag[0] != times[0])
            self.tags += int(self._tag != (times[0], microsteps[0]))
        self._tag = (float(times[-1]), float(microsteps[-1]))

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

    def points(self, axis: str = "time") -> tuple[numpy.ndarray[Any, Any], ...]:
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


def axis_of(series: Iterable[Series]) -> str:
    """The axis on which these series spread out: "time" where logical time moves, else "microstep", else "sample".

    A fast program may do all its work in the microsteps of one instant, or of a few.
    """
    made = list(series)
    tags, times = sum(s.tags for s in made), sum(s.times for s in made)
    if tags == 0 or times * 2 >= tags:
        return "time" if times or not any(s.count > 1 for s in made) else "sample"
    return "microstep" if times == 0 else "sample"


def moving_mean(values: numpy.ndarray[Any, Any]) -> tuple[numpy.ndarray[Any, Any], int]:
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
        # logged at tags before the current one is there once that is seen. A list may grow while it is sliced; a slice is
        # a copy, made under the list's own lock (or the GIL).
        alive, now = self._run.is_alive, tuple(self._run.tag)
        rows: list[tuple[int, int, str, float]] = []
        sources = 0
        at = self._at
        for i, log in enumerate(self._logs):
            start, end = at[i], len(log)
            if start == end:
                continue
            if alive:
                while end > start and log[end - 1][:2] >= now:
                    end -= 1
            if end > start:
                rows += log[start:end]
                at[i] = end
                sources += 1
        if not rows:
            return False
        # Columns at once: a Python loop over the rows would cost ten times as much.
        count = len(rows)
        times = numpy.fromiter(map(_time, rows), numpy.int64, count)
        microsteps = numpy.fromiter(map(_microstep, rows), numpy.int64, count)
        values = numpy.fromiter(map(_value, rows), float, count)
        codes = {name: code for code, name in enumerate(dict.fromkeys(map(_name, rows)))}
        kinds = numpy.fromiter(map(codes.__getitem__, map(_name, rows)), numpy.int64, count)
        if sources > 1:
            # Stable: within a tag by reactor, then as logged.
            order = numpy.lexsort((microsteps, times))
            times, microsteps, values, kinds = times[order], microsteps[order], values[order], kinds[order]
        for name, code in codes.items():
            own = kinds == code if len(codes) > 1 else slice(None)
            if name not in self.series:
                self.series[name] = Series(self._capacity)
            self.series[name].extend(times[own], microsteps[own], values[own])
        return True
