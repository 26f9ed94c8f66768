"""What a table of runs says of one run, worked out from its journal and continued where the last look ended.

A summary is plain data (`to_json`, `of_json`), which `index` keeps. It knows records, not files.
"""

from __future__ import annotations

import math
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

import numpy

from reactornb.durable.journal import Position, Record
from reactornb.durable.metric_rows import MetricRows, Rows, unpack
from reactornb.errors import MalformedDataError

__all__ = ["MetricSummary", "Summary", "facts_of", "finite", "plain"]

Array = numpy.ndarray[Any, Any]
_POINTS = 64  # of a sparkline, at most
_NONE: Array = numpy.empty(0)


class MetricSummary:
    """One metric in a few numbers and a short curve.

    Attributes:
        count: how many values there are.
        last, least, greatest: of all values, as `min` and `max` that leave out NaN; NaN before the first.
        total: the sum of all values.
    """

    __slots__ = ("_filled", "_per", "_rest", "_sparks", "count", "greatest", "last", "least", "total")

    def __init__(self) -> None:
        self.count = 0
        self.last = self.least = self.greatest = math.nan
        self.total = 0.0
        self._per = 1  # values in each of the buckets, whose means these are
        self._sparks: Array = _NONE
        self._rest: Array = _NONE  # values of the bucket that is not full

    def extend(self, values: Array) -> None:
        """Add at least one value."""
        self.count += len(values)
        self.last = float(values[-1])
        least, greatest = float(numpy.fmin.reduce(values)), float(numpy.fmax.reduce(values))
        self.least = least if math.isnan(self.least) or least < self.least else self.least
        self.greatest = greatest if math.isnan(self.greatest) or greatest > self.greatest else self.greatest
        self.total += float(numpy.add.reduce(values))
        rest = numpy.concatenate((self._rest, values)) if len(self._rest) else values
        sparks = self._sparks
        while len(rest) // self._per >= _POINTS - len(sparks):  # one bucket is left for the rest
            if len(sparks) % 2:  # the last one is no half of a pair: it is taken apart into as many of its mean
                rest = numpy.concatenate((numpy.full(self._per, sparks[-1]), rest))
                sparks = sparks[:-1]
            if len(sparks):
                sparks = numpy.add.reduce(sparks.reshape(-1, 2), 1) / 2
            self._per *= 2
        full = len(rest) // self._per
        if full:
            means = numpy.add.reduce(rest[: full * self._per].reshape(full, self._per), 1) / self._per
            sparks = numpy.concatenate((sparks, means)) if len(sparks) else means
        self._sparks, self._rest = sparks, rest[full * self._per :].copy()

    @property
    def mean(self) -> float:
        """The mean of all values; NaN before the first."""
        return self.total / self.count if self.count else math.nan

    @property
    def spark(self) -> list[float]:
        """The curve in at most 64 points, each the mean of equally many values, but the last."""
        points: list[float] = self._sparks.tolist()
        if len(self._rest):
            points.append(float(self._rest.sum()) / len(self._rest))
        return points

    def to_json(self) -> list[Any]:
        """As plain data."""
        numbers = [self.count, self.last, self.least, self.greatest, self.total, self._per]
        return [*numbers, _text_of(self._sparks), _text_of(self._rest)]

    @classmethod
    def of_json(cls, data: list[Any]) -> MetricSummary:
        """From `to_json`."""
        made = cls()
        made.count, made.last, made.least, made.greatest, made.total, made._per, sparks, rest = data
        made._sparks, made._rest = _array_of(sparks), _array_of(rest)
        return made


def _text_of(array: Array) -> str:
    return b64encode(array.tobytes()).decode("ascii")


def _array_of(text: str) -> Array:
    return numpy.frombuffer(b64decode(text), numpy.float64)


class Summary:
    """A run in a few facts.

    Attributes:
        position: behind the last record that these facts are of; None before the first.
        end: the body of the record that ended the run; None while there is none.
        tag: of the last record.
        changes: how many parameters were changed.
        resumed: how often it was resumed.
        wall_s: physical seconds from the beginning of the run to the last value that was logged.
        metrics: by name.
    """

    def __init__(self) -> None:
        self.position: Position | None = None
        self.end: dict[str, Any] | None = None
        self.tag = (0, 0)
        self.changes = 0
        self.resumed = 0
        self.wall_s = 0.0
        self.metrics: dict[str, MetricSummary] = {}
        self._waiting: list[Rows] = []

    def add(self, record: Record) -> bool:
        """Take in a record of the journal; call `settle` after the last one.

        Returns:
            False if the summary has to be made anew from the whole journal: the run was resumed, and what followed that tag is void.
        """
        self.tag = (int(record.tag[0]), int(record.tag[1]))
        match record.kind:
            case "metrics":
                self._waiting.append(unpack(record.body))
            case "resumed" | "void":
                return False
            case "change":
                self.changes += 1
            case "ended":
                self.end = plain(facts_of(record))
        self.position = record.position
        return True

    def settle(self) -> None:
        """Work out the metrics of the records that were added."""
        rows = MetricRows(self._waiting)
        self.wall_s = max(self.wall_s, rows.wall_s)
        for name, column in rows.columns().items():
            self.metrics.setdefault(name, MetricSummary()).extend(column.values)
        self._waiting = []

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "position": self.position,
            "end": self.end,
            "tag": list(self.tag),
            "changes": self.changes,
            "resumed": self.resumed,
            "wall_s": self.wall_s,
            "metrics": {name: metric.to_json() for name, metric in sorted(self.metrics.items())},
        }

    @classmethod
    def of_json(cls, data: Mapping[str, Any]) -> Summary:
        """From `to_json`.

        Raises:
            MalformedDataError: if it is something else.
        """
        made = cls()
        try:
            made.end, made.changes, made.resumed, made.wall_s = (
                data[name] for name in ("end", "changes", "resumed", "wall_s")
            )
            if data["position"] is not None:
                at, crc = data["position"]
                made.position = Position(at, crc)
            time_ns, microstep = data["tag"]
            made.tag = (time_ns, microstep)
            made.metrics = {name: MetricSummary.of_json(metric) for name, metric in data["metrics"].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise MalformedDataError(f"this is no summary of a run: {error!r}.") from error
        return made


def facts_of(record: Record) -> dict[str, Any]:
    """What a record says, by name; nothing if it names classes that nobody declared here, since a store has no program."""
    try:
        value = record.value()
    except MalformedDataError:
        return {}
    return {str(name): part for name, part in value.items()} if isinstance(value, Mapping) else {}


def finite(value: Any) -> float:
    """A number from a file as a float; 0 for whatever else it is."""
    try:
        number = float(value) if isinstance(value, (int, float)) else 0.0
    except OverflowError:
        return 0.0
    return number if math.isfinite(number) else 0.0


def plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts as JSON has them; whatever else they are, in words."""
    return {
        name: value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
        for name, value in facts.items()
    }
