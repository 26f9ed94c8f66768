"""What reactors logged, as bytes of a run's journal, and back as `Metrics`.

A record holds the rows that one reactor logged since its record before: for each group of metrics that were logged together their tags
and their times once, then the values, as raw little-endian arrays, so that reading is a copy and no loop over values. The layout is

    uint32 length of the head, head as JSON {"reactor": index, "groups": [[rows, [names]]]}, zeros up to a multiple of 8,
    then per group  int64 time_ns [rows], int64 microstep [rows], float64 wall_s [rows], and float64 [rows] for each name.

This module knows bytes and arrays, not files.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy

from reactornb.errors import MalformedDataError
from reactornb.runtime.logs import Column, merged
from reactornb.runtime.metrics import Metrics, all_of

__all__ = ["MetricRows", "Rows", "pack", "unpack"]

Array = numpy.ndarray[Any, Any]
_LENGTH = struct.Struct("<I")
_MOST_ROWS = 1 << 32


class Rows(NamedTuple):
    """The rows of a record.

    Attributes:
        reactor: the index of the reactor that logged them, in the graph's order.
        columns: by metric; `wall_s` is in seconds since the beginning of the run.
    """

    reactor: int
    columns: dict[str, Column]


def pack(reactor: int, columns: Mapping[str, Column], began_s: float = 0.0) -> bytes:
    """The body of a record.

    Args:
        reactor: the index of the reactor.
        columns: what it logged, as `Log.columns` gives it.
        began_s: the beginning of the run by the clock of `columns`' `wall_s`.
    """
    groups: dict[tuple[int, int, int], list[str]] = {}
    for name, column in columns.items():
        groups.setdefault((id(column.times_ns), id(column.microsteps), id(column.wall_s)), []).append(name)
    listed = list(groups.values())
    shape = [[len(columns[names[0]].values), names] for names in listed]
    head = json.dumps({"reactor": reactor, "groups": shape}, separators=(",", ":")).encode()
    parts = [_LENGTH.pack(len(head)), head, b"\0" * (-(4 + len(head)) % 8)]
    for names in listed:
        first = columns[names[0]]
        parts.append(numpy.ascontiguousarray(first.times_ns, "<i8").tobytes())
        parts.append(numpy.ascontiguousarray(first.microsteps, "<i8").tobytes())
        parts.append(numpy.ascontiguousarray(first.wall_s - began_s, "<f8").tobytes())
        parts += [numpy.ascontiguousarray(columns[name].values, "<f8").tobytes() for name in names]
    return b"".join(parts)


def unpack(body: bytes | memoryview) -> Rows:
    """The rows of a record; the arrays can be read, not changed.

    Raises:
        MalformedDataError: if the bytes are none.
    """
    body = bytes(body)
    try:
        (length,) = _LENGTH.unpack_from(body)
        reactor, groups = _head(body[4 : 4 + length])
        at = -(-(4 + length) // 8) * 8
        columns: dict[str, Column] = {}
        for rows, names in groups:
            if at + 8 * rows * (3 + len(names)) > len(body):
                raise ValueError(f"{rows} rows do not fit")
            cells = numpy.frombuffer(body, "<i8", rows * (3 + len(names)), at).reshape(3 + len(names), rows)
            at += cells.nbytes
            values = cells[2:].view("<f8")
            times_ns, microsteps, wall_s = (
                cells[0],
                cells[1],
                values[0],
            )  # one object each, by which `_joined` knows that they are shared
            for place, name in enumerate(names, start=1):
                columns[name] = Column(times_ns, microsteps, values[place], wall_s)
        if at != len(body):
            raise ValueError(f"{len(body) - at} bytes too many")
    except (ValueError, TypeError, KeyError, struct.error, RecursionError) as error:
        raise MalformedDataError(f"these {len(body)} bytes are no rows of metrics: {error}.") from error
    return Rows(reactor, columns)


@lru_cache(maxsize=4096)
def _head(data: bytes) -> tuple[int, tuple[tuple[int, tuple[str, ...]], ...]]:
    """The index of the reactor, and of each group its rows and names. Most records have the same few heads."""
    head = json.loads(data)
    reactor = head["reactor"]
    if type(reactor) is not int or not 0 <= reactor < 1 << 32:
        raise ValueError(f"no index of a reactor: {reactor!r}")
    groups = tuple((rows, tuple(names)) for rows, names in head["groups"])
    seen: set[str] = set()
    for rows, names in groups:
        if type(rows) is not int or not 0 < rows < _MOST_ROWS:
            raise ValueError(f"no number of rows: {rows!r}")
        for name in names:
            if not isinstance(name, str) or name in seen:
                raise ValueError(f"no name of a metric: {name!r}")
            name.encode()  # half a character is none
            seen.add(name)
    return reactor, groups


class MetricRows:
    """The rows of a journal, gathered in its order. Used by one thread at a time.

    Attributes:
        rows: how many values there are.
    """

    def __init__(self, records: Iterable[Rows] = ()) -> None:
        self._by_reactor: dict[int, dict[str, list[Column]]] = {}
        self.rows = 0
        for record in records:
            self.add(record)

    def add(self, record: Rows) -> None:
        """Append a record's rows."""
        own = self._by_reactor.setdefault(record.reactor, {})
        for name, column in record.columns.items():
            own.setdefault(name, []).append(column)
            self.rows += len(column.values)

    @property
    def wall_s(self) -> float:
        """Physical seconds from the beginning of the run to the last value."""
        parts = (parts[-1] for own in self._by_reactor.values() for parts in own.values())
        return max((float(column.wall_s[-1]) for column in parts), default=0.0)

    def forget_after(self, tag: tuple[int, int], tags: Sequence[tuple[int, int]] = ()) -> None:
        """Drop the rows of later tags: the run was resumed at this one, and logs them again.

        Args:
            tag: time in ns and microstep.
            tags: by reactor, where enclaves were cut at tags of their own.
        """
        self.rows = 0
        for reactor, own in self._by_reactor.items():
            until = tags[reactor] if reactor < len(tags) else tag
            for name in list(own):
                kept = [column for column in (_until(part, until) for part in own[name]) if len(column.values)]
                self.rows += sum(len(column.values) for column in kept)
                if kept:
                    own[name] = kept
                else:
                    del own[name]

    def of_reactor(self, reactor: int) -> dict[str, Column]:
        """What one reactor logged, in its order."""
        return _joined(self._by_reactor.get(reactor, {}))

    def columns(self) -> dict[str, Column]:
        """The rows as columns: by tag, then by reactor, then as logged, as those of a run."""
        return merged(_joined(self._by_reactor[reactor]) for reactor in sorted(self._by_reactor))

    def metrics(self) -> Metrics:
        """The metrics, equal to those of the run."""
        return all_of(self.columns())


def _until(column: Column, tag: tuple[int, int]) -> Column:
    """The rows up to a tag; tags never decrease within a reactor."""
    time_ns, microstep = tag
    kept = (column.times_ns < time_ns) | ((column.times_ns == time_ns) & (column.microsteps <= microstep))
    return column if kept.all() else Column(*(array[kept] for array in column))


def _joined(by_name: dict[str, list[Column]]) -> dict[str, Column]:
    """Each metric's parts as one; metrics that were always logged together share their tags, which `merged` then sorts once."""
    tags: dict[tuple[int, ...], Column] = {}
    for parts in by_name.values():
        if len(parts) == 1:
            continue
        key = tuple(id(part.times_ns) for part in parts)
        if key not in tags:
            tags[key] = Column(*(numpy.concatenate(arrays) for arrays in zip(*parts, strict=True)))
            parts[:] = [tags[key]]
        else:
            parts[:] = [tags[key]._replace(values=numpy.concatenate([part.values for part in parts]))]
    return {name: parts[0] for name, parts in by_name.items()}
