"""`Run.metrics`: what reactors logged, as arrays. It knows rows of logs, not runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from importlib import import_module
from typing import Any

import numpy

from reactornb.errors import MissingPackageError, UnknownMetricError, suggestion
from reactornb.runtime.logs import Column, Log, merged
from reactornb.tags import Tag

__all__ = ["EPISODES", "STEPS", "Metric", "Metrics", "all_of", "metrics_of", "rows_until"]

Array = numpy.ndarray[Any, Any]
STEPS, EPISODES = "steps", "episode_return"
"""The metrics that other metrics are counted by: environment steps, and one value for each episode that ended."""


class Metric:
    """The values of one metric up to the moment at which `Run.metrics` was read, ordered by tag, then by reactor.

    It is a sequence of its values: `len`, indices, slices, iteration and `numpy.asarray` work on them. Two metrics are equal if names,
    tags and values are; physical time differs in each run and is not compared. The arrays can be read, not changed.

    Attributes:
        name: as in `self.log(name=…)`.
        values: float64 [n].
        time_ns: int64 [n], the logical time of each value's tag, in ns.
        microstep: int64 [n], the microstep of each value's tag.
        wall_s: float64 [n], physical seconds from the start of the run until the value was logged.
    """

    __hash__ = None  # type: ignore[assignment]  # its values are compared

    def __init__(
        self,
        name: str,
        column: Column,
        began_s: float = 0.0,
        steps: Column | None = None,
        episodes: Column | None = None,
    ) -> None:
        self.name = name
        self.values = _fixed(column.values)
        self.time_ns = _fixed(column.times_ns)
        self.microstep = _fixed(column.microsteps)
        self.wall_s = _fixed(column.wall_s - began_s)
        self._steps = steps
        self._episodes = episodes

    @cached_property
    def steps(self) -> Array:
        """int64 [n]: environment steps taken up to and at each value's tag: the sum of what was logged as `steps`; 0 if nothing was."""
        counts = self._steps
        if counts is None:
            return _fixed(numpy.zeros(len(self), numpy.int64))
        here = rows_until(counts.times_ns, counts.microsteps, self.time_ns, self.microstep)
        totals = numpy.concatenate(((0.0,), counts.values.cumsum()))
        return _fixed(numpy.rint(totals[here]).astype(numpy.int64))

    @property
    def is_of_episodes(self) -> bool:
        """Whether it was logged together with each `episode_return`: a value for each episode."""
        return self._episodes is not None and self._episodes.times_ns is self.time_ns

    @cached_property
    def episodes(self) -> Array:
        """int64 [n]: which episode each value is of, if it was logged together with `episode_return`; else how many had ended up to and at its tag."""
        counts = self._episodes
        if counts is None:
            return _fixed(numpy.zeros(len(self), numpy.int64))
        if self.is_of_episodes:
            return _fixed(numpy.arange(1, len(self) + 1))
        return _fixed(rows_until(counts.times_ns, counts.microsteps, self.time_ns, self.microstep))

    @property
    def tags(self) -> list[Tag]:
        """The tag of each value."""
        return list(map(Tag, self.time_ns.tolist(), self.microstep.tolist()))

    def to_frame(self) -> Any:
        """A `pandas.DataFrame` with the columns `time_ns`, `microstep`, `wall_s`, `steps`, and the values under the metric's name.

        Raises:
            MissingPackageError: if pandas is not installed.
        """
        try:
            pandas: Any = import_module("pandas")
        except ModuleNotFoundError as error:
            raise MissingPackageError(
                f"to_frame() of metric {self.name!r} needs pandas: pip install pandas. Without it, .values, .time_ns, .microstep, .wall_s "
                f"and .steps are NumPy arrays."
            ) from error
        columns = {
            "time_ns": self.time_ns,
            "microstep": self.microstep,
            "wall_s": self.wall_s,
            "steps": self.steps,
        }
        return pandas.DataFrame({**columns, self.name: self.values})  # a metric called "steps" shows its own values

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[float]:
        return iter(self.values.tolist())

    def __getitem__(self, index: Any) -> Any:
        return self.values[index]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return numpy.array(self.values, dtype, copy=copy)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Metric):
            return NotImplemented
        return self.name == other.name and all(
            numpy.array_equal(a, b, equal_nan=a.dtype.kind == "f")
            for a, b in (
                (self.time_ns, other.time_ns),
                (self.microstep, other.microstep),
                (self.values, other.values),
            )
        )

    def __repr__(self) -> str:
        """In one line: `<metric loss: 120 values, from 2.3 to 0.1, the last at (1.2 s, 0)>`."""
        if not len(self):
            return f"<metric {self.name}: no values>"
        many = f"{len(self):,} values" if len(self) > 1 else "1 value"
        last = Tag(int(self.time_ns[-1]), int(self.microstep[-1]))
        first = f"from {self.values[0]:.6g} to " if len(self) > 1 else ""
        return f"<metric {self.name}: {many}, {first}{self.values[-1]:.6g} at {last}; .values, .time_ns, .microstep, .wall_s, .steps, .episodes are arrays>"


def _fixed(array: Array) -> Array:
    array.setflags(write=False)
    return array


class Metrics(dict[str, Metric]):
    """The metrics of a run, by name; what it does not have is an error that says what it has."""

    def __missing__(self, name: str) -> Metric:
        """Refuse.

        Raises:
            UnknownMetricError: always.
        """
        known = suggestion(name, self) if self else "Nothing was logged yet."
        raise UnknownMetricError(f"the run has no metric {name!r} so far. {known}", metric=name)


def metrics_of(logs: Iterable[Log], began_s: float) -> Metrics:
    """What several reactors logged, by metric, in the order of their names.

    Args:
        logs: of each reactor, in their order.
        began_s: the start of the run, by `time.perf_counter`.
    """
    return all_of(merged(log.columns() for log in logs), began_s)


def all_of(columns: Mapping[str, Column], began_s: float = 0.0) -> Metrics:
    """Columns as metrics, in the order of their names; `began_s` is the start of the run by the clock of their `wall_s`."""
    steps, episodes = columns.get(STEPS), columns.get(EPISODES)
    return Metrics({name: Metric(name, own, began_s, steps, episodes) for name, own in sorted(columns.items())})


def rows_until(times: Array, microsteps: Array, at_times: Array, at_microsteps: Array) -> Array:
    """How many of the first tags are not later than each of the second ones; int64, both in their order."""
    if not len(times) or not len(at_times):
        return numpy.zeros(len(at_times), numpy.int64)
    if times[0] == times[-1] == at_times[0] == at_times[-1]:  # a training that knows microsteps only
        return numpy.searchsorted(microsteps, at_microsteps, "right")
    if not microsteps.any() and not at_microsteps.any():
        return numpy.searchsorted(times, at_times, "right")
    # The first ones come before the second ones of the same tag.
    asked = numpy.repeat((False, True), (len(times), len(at_times)))
    order = numpy.lexsort((asked, numpy.concatenate((microsteps, at_microsteps)), numpy.concatenate((times, at_times))))
    asked = asked[order]
    counted: Array = numpy.cumsum(~asked)[asked]
    return counted
