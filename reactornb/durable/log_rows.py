"""Metrics of a kept run: what its reactors log goes into the journal as it comes, and back into the logs of the run that goes on.

A row is written once its enclave has gone on to a later tag, or belongs to a checkpoint: until then it may turn out not to count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy

from reactornb.durable.metric_rows import pack
from reactornb.runtime.logs import Column, Log

__all__ = ["LogReader", "fill"]

Array = numpy.ndarray[Any, Any]
Tag = tuple[int, int]


class LogReader:
    """Reads what is new in the logs of a run. Used by one thread at a time, the writer's.

    Args:
        logs: one per reactor, in the graph's order.
        began_s: the beginning of the run, by `time.perf_counter`.
    """

    def __init__(self, logs: Sequence[Log], began_s: float) -> None:
        self._logs = logs
        self._began_s = began_s
        self._read = [len(log) for log in logs]

    def new(self, until: Sequence[int | None]) -> list[tuple[Tag, bytes]]:
        """The bodies of records with what is new, and the last tag of each.

        Args:
            until: per reactor how many of its rows count; None: all of them.
        """
        made: list[tuple[Tag, bytes]] = []
        for index, (log, count) in enumerate(zip(self._logs, until, strict=True)):
            start = self._read[index]
            end = len(log) if count is None else count
            if end > start:
                columns = log.columns(start, end)
                made.append((log.tag(end - 1), pack(index, columns, self._began_s)))
                self._read[index] = end
        return made

    def before(self, index: int, end: int, tag: Tag | None) -> int:
        """How many rows of a reactor, of so many, are of tags before this one; None: all of them."""
        log, start = self._logs[index], self._read[index]
        while tag is not None and end > start and log.tag(end - 1) >= tag:
            end -= 1
        return end

    def shrunk(self) -> bool:
        """Whether rows that were given out do not count any more."""
        return any(len(log) < read for log, read in zip(self._logs, self._read, strict=True))


def fill(log: Log, columns: Mapping[str, Column], began_s: float) -> None:
    """Give an empty log earlier rows: metrics with the same arrays of tags were logged together.

    Args:
        log: of one reactor, before it logs anything.
        columns: by metric; `wall_s` in seconds since the beginning of the run.
        began_s: that beginning, by `time.perf_counter`.
    """
    groups: dict[tuple[int, int, int], list[str]] = {}
    for name, column in columns.items():
        groups.setdefault((id(column.times_ns), id(column.microsteps), id(column.wall_s)), []).append(name)
    tables: list[Array] = []
    for names in groups.values():
        first = columns[names[0]]
        kind = log.declare(tuple(names))
        table = numpy.empty((len(first.values), 4 + len(names)), numpy.int64)
        table[:, 0], table[:, 1], table[:, 2] = first.times_ns, first.microsteps, kind
        table[:, 3] = (first.wall_s + began_s).view(numpy.int64)
        for place, name in enumerate(names):
            table[:, 4 + place] = numpy.ascontiguousarray(columns[name].values).view(numpy.int64)
        tables.append(table)
    log.begin_with(_in_order(tables))


def _in_order(tables: list[Array]) -> list[bytes]:
    """The rows of all tables by tag."""
    rows: list[bytes] = []
    for table in tables:
        data, width = table.tobytes(), 8 * table.shape[1]
        rows += [data[at : at + width] for at in range(0, len(data), width)]
    if len(tables) > 1:
        heads = numpy.concatenate([table[:, :2] for table in tables])
        rows = [rows[place] for place in numpy.lexsort((heads[:, 1], heads[:, 0])).tolist()]  # stable
    return rows
