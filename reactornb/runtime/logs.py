"""What reactors log: a packed row for each call, read back as arrays.

A row is 8 bytes each for the time in ns, the microstep, which metrics these are (an index of `_kinds`), the physical time, and the
values. A reader of 100,000 values a second copies bytes, which costs a thirtieth of touching as many objects that another core has
made. Rows are kept as long as the run is: every 1,024 are joined, since 40 bytes as an object of their own take 96.

# _kinds   appended to by the worker that runs the reactor (one at a time: the scheduler orders them), a kind before its first row
# _parts   likewise, the part before `_now` says that it is there
# _now     how many rows are in parts, and the list of those after them: replaced as a whole by that worker, which appends to the list
#          until it is full, and never changes it afterwards. Read by any thread: a length that was taken stays true, and so do
#          the rows before it, whether one looks at the list or at the part that was made of it.
# _end            written once by the leader, when the run is over: rows from there on do not count, and stay where they are for readers that
#                 took the length before.
# _packers        of the worker that runs the reactor.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy

__all__ = ["Column", "Log", "merged"]

Array = numpy.ndarray[Any, Any]
_HEAD_CELLS = struct.Struct("=qqqd")  # time, microstep, kind, physical time
_HEAD = 4  # cells before the values
_now = time.perf_counter


class Column(NamedTuple):
    """The values of one metric. Metrics that were logged together have the very same arrays of tags.

    Attributes:
        times_ns, microsteps: int64 [values].
        values: float64 [values].
        wall_s: float64 [values], when each was logged, by `time.perf_counter`.
    """

    times_ns: Array
    microsteps: Array
    values: Array
    wall_s: Array


class Part(NamedTuple):
    """Some rows, one behind the other.

    Attributes:
        data: the rows.
        rows: how many.
        widths: of each the number of its cells, or that of all.
    """

    data: bytes
    rows: int
    widths: Array | int

    @classmethod
    def of(cls, rows: list[bytes]) -> Part:
        """Of at least one row."""
        data, width = b"".join(rows), len(rows[0]) // 8
        if len(data) == 8 * width * len(rows):
            # The rows before the first of another kind are where they seem to be, and so is its own mark: it is seen.
            kinds = numpy.frombuffer(data, numpy.int64)[2::width]
            if (kinds == kinds[0]).all():
                return cls(data, len(rows), width)
        return cls(data, len(rows), numpy.fromiter((len(row) // 8 for row in rows), numpy.int32, len(rows)))

    def start(self, row: int) -> int:
        """Where a row begins, in bytes."""
        return 8 * (self.widths * row if isinstance(self.widths, int) else int(self.widths[:row].sum()))

    def cut(self, start: int, end: int) -> Part:
        """Some of the rows."""
        if (start, end) == (0, self.rows):
            return self
        widths = self.widths if isinstance(self.widths, int) else self.widths[start:end]
        return Part(self.data[self.start(start) : self.start(end)], end - start, widths)


class Log:
    """What one reactor logs. Its length is the number of calls so far."""

    __slots__ = ("_end", "_kinds", "_now", "_packers", "_parts")

    size = 1024  # rows of a part

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._now: tuple[int, list[bytes]] = (0, [])
        self._end: int | None = None
        self._kinds: list[tuple[str, ...]] = []
        self._packers: dict[tuple[str, ...], tuple[Callable[..., bytes], int]] = {}

    def __len__(self) -> int:
        if self._end is not None:
            return self._end
        done, rows = self._now
        return done + len(rows)

    def forget(self, tag: tuple[int, int], since_ns: int = 0) -> None:
        """Do not count what was logged from this tag on. Called by the leader, once no reaction runs any more.

        Args:
            tag: time in ns and microstep.
            since_ns: by `time.perf_counter_ns`: what was logged earlier counts. It tells a level from those before it at one tag.
        """
        end, since_s = len(self), since_ns / 1e9  # as `time.perf_counter` divides
        while end:
            logged, wall_s = self._head(end - 1)
            if logged < tag or wall_s < since_s:
                break
            end -= 1
        self._end = end

    def add(self, tag: tuple[int, int], metrics: Mapping[str, Any]) -> None:
        """Append a row; called by the worker that runs the reactor.

        Raises:
            TypeError: for a metric that is no number.
        """
        names = tuple(metrics)
        pack, kind = self._packers.get(names) or self._new_kind(names)
        try:
            row = pack(*tag, kind, _now(), *metrics.values())
        except struct.error:
            row = pack(*tag, kind, _now(), *(_number(name, value) for name, value in metrics.items()))
        self._append(row)

    def _append(self, row: bytes) -> None:
        done, rows = self._now
        rows.append(row)
        if len(rows) == self.size:
            self._parts.append(Part.of(rows))
            self._now = done + self.size, []

    def _new_kind(self, names: tuple[str, ...]) -> tuple[Callable[..., bytes], int]:
        packer = self._packers[names] = struct.Struct(f"=qqqd{len(names)}d").pack, len(self._kinds)
        self._kinds.append(names)
        return packer

    def declare(self, names: tuple[str, ...]) -> int:
        """The number of a kind of rows, for `begin_with`."""
        return (self._packers.get(names) or self._new_kind(names))[1]

    def packed(self, start: int, end: int) -> tuple[list[tuple[str, ...]], bytes]:
        """The rows from `start` to `end` as bytes, and what their kinds are called: for `extend`, in another process, too."""
        parts = self._between(start, end)  # a kind is there before its first row
        return self._kinds[:], b"".join(part.data for part in parts)

    def extend(self, kinds: Sequence[Sequence[str]], data: bytes, shift_s: float) -> int:
        """Append rows that a log of another process has packed; called by one thread at a time.

        Args:
            kinds, data: as `packed` gave them.
            shift_s: what `time.perf_counter` says here minus what it says there.

        Returns:
            How many there were.

        Raises:
            ValueError: if the data are not whole rows of these kinds.
        """
        numbers = [self.declare(tuple(names)) for names in kinds]
        at = count = 0
        while at < len(data):
            if at + _HEAD_CELLS.size > len(data):
                raise ValueError("the rows of a log are not whole")
            time_ns, microstep, kind, wall_s = _HEAD_CELLS.unpack_from(data, at)
            end = at + 8 * (_HEAD + len(kinds[kind])) if 0 <= kind < len(kinds) else 0
            if not at < end <= len(data):
                raise ValueError("the rows of a log are not whole, or of no known kind")
            head = _HEAD_CELLS.pack(time_ns, microstep, numbers[kind], wall_s + shift_s)
            self._append(head + data[at + _HEAD_CELLS.size : end])
            at, count = end, count + 1
        return count

    def begin_with(self, rows: list[bytes]) -> None:
        """Rows of the run that goes on here, by tag; before the reactor logs anything."""
        whole = len(rows) - len(rows) % self.size
        self._parts = [Part.of(rows[at : at + self.size]) for at in range(0, whole, self.size)]
        self._now = whole, rows[whole:]

    def tag(self, row: int) -> tuple[int, int]:
        """The time in ns and the microstep of a row."""
        return self._head(row)[0]

    def _head(self, row: int) -> tuple[tuple[int, int], float]:
        """The tag of a row, and when it was logged, by `time.perf_counter`."""
        done, rows = self._now
        if row >= done:
            time_ns, microstep, _, wall_s = _HEAD_CELLS.unpack_from(rows[row - done])
        else:
            part = self._parts[row // self.size]
            time_ns, microstep, _, wall_s = _HEAD_CELLS.unpack_from(part.data, part.start(row % self.size))
        return (time_ns, microstep), wall_s

    def _between(self, start: int, end: int) -> list[Part]:
        """The rows from `start` to `end`."""
        if start >= end:
            return []
        done, rows = self._now
        parts = [
            self._parts[number].cut(max(start - first, 0), min(end - first, self.size))
            for number in range(start // self.size, -(-min(end, done) // self.size))
            for first in (number * self.size,)
        ]
        last = rows[max(start - done, 0) : max(end - done, 0)]
        return [*parts, Part.of(last)] if last else parts

    def columns(self, start: int = 0, end: int | None = None) -> dict[str, Column]:
        """The rows from `start` to `end`, a metric at a time, in the order in which they were logged. Any thread."""
        parts = self._between(start, len(self) if end is None else min(end, len(self)))
        if not parts:
            return {}
        cells = numpy.frombuffer(b"".join(part.data for part in parts), numpy.int64)
        kind = int(cells[2])
        width = _HEAD + len(self._kinds[kind])
        if all(isinstance(part.widths, int) and part.widths == width for part in parts):
            table = cells.reshape(-1, width)
            if (table[:, 2] == kind).all():
                return _unpacked(self._kinds[kind], table)
        return self._mixed(parts, cells)

    def _mixed(self, parts: list[Part], cells: Array) -> dict[str, Column]:
        """Rows of several kinds, as a reactor leaves them that logs some metrics more often than others."""
        widths = numpy.concatenate([numpy.broadcast_to(part.widths, part.rows) for part in parts]).astype(numpy.int64)
        starts = numpy.cumsum(widths) - widths
        kinds = cells[starts + 2]
        columns: dict[str, list[tuple[Array, Column]]] = {}
        for kind in numpy.unique(kinds).tolist():
            own = starts[kinds == kind]
            names = self._kinds[kind]
            for name, column in _unpacked(names, cells[own[:, None] + numpy.arange(_HEAD + len(names))]).items():
                columns.setdefault(name, []).append((own, column))
        return {
            name: parts[0][1]
            if len(parts) == 1
            else _sorted(numpy.argsort(numpy.concatenate([own for own, _ in parts])), [c for _, c in parts])
            for name, parts in columns.items()
        }


def _unpacked(names: tuple[str, ...], table: Array) -> dict[str, Column]:
    """Rows of one kind as columns; `table` is int64 [rows, 4 + metrics]."""
    times, microsteps, _, wall, *values = numpy.ascontiguousarray(table.T)
    wall = wall.view(float)
    return {name: Column(times, microsteps, own.view(float), wall) for name, own in zip(names, values, strict=True)}


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"self.log({name}=…) takes a number, not {value!r:.100}.") from error


def _sorted(order: Array, parts: Iterable[Column]) -> Column:
    return Column(*(numpy.concatenate(arrays)[order] for arrays in zip(*parts, strict=True)))


def merged(logs: Iterable[dict[str, Column]]) -> dict[str, Column]:
    """What several reactors logged as one, each metric by tag, then by reactor, then as logged.

    Args:
        logs: of each reactor, in their order.
    """
    by_name: dict[str, list[Column]] = {}
    for log in logs:
        for name, column in log.items():
            by_name.setdefault(name, []).append(column)
    columns: dict[str, Column] = {}
    # By the tags of their parts: metrics that are logged together are sorted once, and have the same tags afterwards, too.
    sorted_before: dict[tuple[int, ...], tuple[Array, Column]] = {}
    for name, parts in by_name.items():
        if len(parts) == 1:
            columns[name] = parts[0]
            continue
        key = tuple(id(part.times_ns) for part in parts)
        if key not in sorted_before:
            order = numpy.lexsort([numpy.concatenate([part[i] for part in parts]) for i in (1, 0)])  # stable
            columns[name] = _sorted(order, parts)
            sorted_before[key] = order, columns[name]
        else:
            order, alike = sorted_before[key]
            columns[name] = alike._replace(values=numpy.concatenate([part.values for part in parts])[order])
    return columns
