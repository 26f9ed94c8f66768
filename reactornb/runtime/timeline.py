"""The spans of a profiled run (which reaction ran, when, on which worker): how they are kept and read.

A worker packs each span into 40 bytes and collects spans in chunks; of a long run the newest are kept, about 1,000,000
(`KEPT`), which is 40 MB. A `Timeline` copies each worker's new spans into columns of its own (48 bytes a span, at most a
quarter more spans than are kept), so it can be refreshed repeatedly, while the run is alive and afterwards.

# chunks      per worker a deque; the worker appends, any thread copies it (and repeats a copy that an append interrupted).
#             Of a worker of another host the thread that takes in what the host tells is "the worker" here
# Chunk.data  a list to which its worker appends; once it is full, that worker replaces it by the joined bytes, in one store.
#             A reader loads the reference once, and sees either form, with the same spans in the same order.
"""

from __future__ import annotations

import itertools
import json
import struct
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from reactornb.files import whole
from reactornb.graph import Graph
from reactornb.tags import Tag, format_ns

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

__all__ = ["KEPT", "Lane", "SpanLog", "Timeline", "Where"]

KEPT = 1_000_000
"""Number of spans that a run keeps, split evenly among its workers, those of its hosts too."""

pack_span = struct.Struct("=5q").pack
"""Reaction, begin and end in ns on the clock of `time.perf_counter_ns`, time and microstep of the tag."""


_SPAN_BYTES = struct.calcsize("=5q")


class Chunk:
    """Consecutive spans of one worker; `number` is how many chunks came before."""

    __slots__ = ("data", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.data: list[bytes] | bytes = []


class SpanLog:
    """The spans of one worker; written by that worker only.

    Args:
        keep: number of spans to keep, at least; rounded up to whole chunks.

    Attributes:
        last: the list that the worker appends packed spans to; once it holds `SIZE`, it calls `close`.
    """

    SIZE = 1024

    def __init__(self, keep: int) -> None:
        self.keep = -(-max(keep, 1) // self.SIZE) * self.SIZE
        # One chunk more: the last one is not full.
        self._chunks: deque[Chunk] = deque([Chunk(0)], maxlen=self.keep // self.SIZE + 1)
        self.last: list[bytes] = self._chunks[-1].data  # type: ignore[assignment]

    def close(self) -> None:
        """Join the last chunk and begin another."""
        chunk = self._chunks[-1]
        chunk.data = b"".join(chunk.data)  # type: ignore[arg-type]
        following = Chunk(chunk.number + 1)
        self.last = following.data  # type: ignore[assignment]
        self._chunks.append(following)

    def extend(self, packed: bytes) -> None:
        """Append spans that were packed one after another; in place of the worker."""
        for at in range(0, len(packed), _SPAN_BYTES):
            self.last.append(packed[at : at + _SPAN_BYTES])
            if len(self.last) == self.SIZE:
                self.close()

    def since(self, first: int) -> tuple[int, Array]:
        """The kept spans from number `first` on: the number of the first of these, and int64 [n, 5]. Any thread."""
        import numpy

        while True:
            try:
                chunks = list(self._chunks)
                break
            except RuntimeError:  # the worker appended meanwhile
                continue
        wanted = [chunk for chunk in chunks if (chunk.number + 1) * self.SIZE > first]
        parts = [data if isinstance(data, bytes) else b"".join(data[:]) for data in (chunk.data for chunk in wanted)]
        rows = numpy.frombuffer(b"".join(parts), numpy.int64).reshape(-1, 5)
        begins = wanted[0].number * self.SIZE if wanted else first
        skipped = max(first - begins, 0)
        return begins + skipped, rows[skipped:]


class Where(NamedTuple):
    """Whose spans a lane has.

    Attributes:
        worker: its number, in its process.
        core: text to append to that, such as " on P3"; empty: it is not pinned.
        host: the number of the host that it belongs to; None: it is of the process that has the run.
    """

    worker: int
    core: str = ""
    host: int | None = None

    @property
    def label(self) -> str:
        """Such as "worker 0 on P3" and "host 0 · worker 1"."""
        name = f"worker {self.worker}{self.core}"
        return name if self.host is None else f"host {self.host} · {name}"

    @property
    def words(self) -> str:
        """The label, and that it is not pinned; nothing is said of the cores of hosts."""
        return f"{self.label}, not pinned to a core" if self.host is None and not self.core else self.label

    @property
    def process(self) -> int:
        """A number for its process: 1 for that of the run, 2 and up for hosts."""
        return 1 if self.host is None else 2 + self.host


class Lane:
    """The spans of one worker as columns, in the order of their times; they do not overlap.

    Args:
        log: the worker's.
        began_ns: when the run began, on the clock of the log.
        where: whose they are.

    Attributes:
        where: as given.
        dropped: number of earlier spans that were not kept.
        count: number of spans in the columns.
    """

    def __init__(self, log: SpanLog, began_ns: int, where: Where) -> None:
        import numpy

        self.where = where
        self.dropped = 0
        self.count = 0
        self._log = log
        self._began_ns = began_ns
        self._most = log.keep + max(log.keep // 4, 2 * SpanLog.SIZE)
        self._columns: Array = numpy.empty((6, SpanLog.SIZE), numpy.int64)
        self._busy = 0

    def refresh(self) -> bool:
        """Copy new spans; returns whether there were any."""
        first, rows = self._log.since(self.dropped + self.count)
        if not len(rows):
            return False
        if first > self.dropped + self.count:  # the spans that followed the last refresh are no longer kept
            self.dropped, self.count = first, 0
        self._make_room(len(rows))
        new = self._columns[:, self.count : self.count + len(rows)]
        new[:5] = rows.T
        new[1:3] -= self._began_ns
        spent = (new[2] - new[1]).cumsum()
        new[5, 0] = self._busy
        new[5, 1:] = self._busy + spent[:-1]
        self._busy += int(spent[-1])
        self.count += len(rows)
        return True

    def _make_room(self, more: int) -> None:
        import numpy

        if self.count + more <= self._columns.shape[1]:
            return
        old = self._columns
        stays = min(self.count, max(self._log.keep - more, 0)) if self.count + more > self._most else self.count
        if stays + more > old.shape[1] or old.shape[1] < self._most:
            self._columns = numpy.empty(
                (6, min(max(2 * old.shape[1], stays + more), max(self._most, more))), numpy.int64
            )
        for column, before in zip(self._columns, old, strict=True):
            column[:stays] = before[self.count - stays : self.count]
        self.dropped += self.count - stays
        self.count = stays

    @property
    def reaction(self) -> Array:
        """Indices of reactions in the graph; int64 [count], as the following."""
        return self._columns[0, : self.count]

    @property
    def begin(self) -> Array:
        """Begin of each span in ns since the run began."""
        return self._columns[1, : self.count]

    @property
    def end(self) -> Array:
        """End of each span in ns since the run began."""
        return self._columns[2, : self.count]

    @property
    def time_ns(self) -> Array:
        """The time of each span's tag."""
        return self._columns[3, : self.count]

    @property
    def microstep(self) -> Array:
        """The microstep of each span's tag."""
        return self._columns[4, : self.count]

    @property
    def busy(self) -> Array:
        """Total time of this worker's reactions before each span in ns, counted from some time before the first span here."""
        return self._columns[5, : self.count]


class Timeline:
    """The spans of a run with tags and levels: a copy, brought up to date by `refresh`.

    Used by one thread at a time.

    Args:
        title: of the timeline.
        graph: of the run.
        logs: the spans of each worker.
        began_ns: when the run began, on the clock of the logs.
        places: per log, whose it is.
        totals: returns the total time of each reaction in ns, kept spans or not.
        is_alive: returns whether more spans may follow.

    Attributes:
        title, graph, totals: as given.
        lanes: the spans of each worker, those of hosts last.
    """

    def __init__(
        self,
        title: str,
        graph: Graph,
        logs: Sequence[SpanLog],
        began_ns: int,
        places: Sequence[Where],
        totals: Callable[[], list[int]],
        is_alive: Callable[[], bool],
    ) -> None:
        self.title = title
        self.graph = graph
        self.totals = totals
        self._source = (logs, began_ns, places)
        self._is_alive = is_alive
        self.lanes = [Lane(log, began_ns, where) for log, where in zip(logs, places, strict=True)]
        self.refresh()

    def refresh(self) -> bool:
        """Copy the workers' new spans; returns whether there were any."""
        more = [lane.refresh() for lane in self.lanes]
        return any(more)

    def anew(self) -> Timeline:
        """Another timeline of the same run, for another thread."""
        return Timeline(self.title, self.graph, *self._source, self.totals, self._is_alive)

    def is_of(self, other: Timeline) -> bool:
        """Whether both are timelines of one run."""
        return self._source[0] is other._source[0]

    @property
    def is_alive(self) -> bool:
        """Whether more spans may follow."""
        return self._is_alive()

    @property
    def dropped(self) -> int:
        """How many earlier spans were not kept."""
        return sum(lane.dropped for lane in self.lanes)

    @property
    def begin_ns(self) -> int:
        """The begin of the first span in ns since the run began; 0 if there is none."""
        return min((int(lane.begin[0]) for lane in self.lanes if lane.count), default=0)

    @property
    def end_ns(self) -> int:
        """The end of the last span, in ns since the run began; 0 if there is none."""
        return max((int(lane.end[-1]) for lane in self.lanes if lane.count), default=0)

    @property
    def now_ns(self) -> int:
        """How many ns ago the run began, or the end of the last span once it is over."""
        return time.perf_counter_ns() - self._source[1] if self.is_alive else self.end_ns

    @property
    def events(self) -> list[tuple[int, str, float, float, Tag, int]]:
        """(number of the lane, reaction's full name, begin and end in seconds since the run began, tag, level), ordered by begin."""
        events = [
            (lane, node.name, begin / 1e9, end / 1e9, Tag(time_ns, microstep), node.level)
            for lane, node, begin, end, time_ns, microstep in self._rows()
        ]
        return sorted(events, key=lambda event: event[2])

    def _rows(self) -> Iterator[tuple[int, Any, int, int, int, int]]:
        for number, lane in enumerate(self.lanes):
            columns = (lane.reaction, lane.begin, lane.end, lane.time_ns, lane.microstep)
            for at in range(0, lane.count, 10_000):  # a million ints at once would take 200 MB
                for index, *rest in zip(*(column[at : at + 10_000].tolist() for column in columns), strict=True):
                    yield (number, self.graph.reactions[index], *rest)

    def _trace_events(self) -> Iterator[dict[str, Any]]:
        places = [lane.where for lane in self.lanes]
        yield {"ph": "M", "name": "process_name", "pid": 1, "tid": 0, "args": {"name": self.title}}
        for host in dict.fromkeys(where.host for where in places if where.host is not None):
            pid = Where(0, host=host).process
            yield {"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": {"name": f"host {host}"}}
        for where in places:
            name = f"worker {where.worker}{where.core}"  # its host is the process
            yield {"ph": "M", "name": "thread_name", "pid": where.process, "tid": where.worker, "args": {"name": name}}
        threads = [(where.process, where.worker) for where in places]
        tag, words = (-1, -1), ""
        for lane, node, begin, end, time_ns, microstep in self._rows():
            if tag != (time_ns, microstep):  # many spans have one tag
                tag, words = (time_ns, microstep), f"{format_ns(time_ns)}, microstep {microstep}"
            pid, tid = threads[lane]
            yield {
                "ph": "X", "name": node.name, "cat": "reaction", "pid": pid, "tid": tid, "ts": begin / 1e3, "dur": (end - begin) / 1e3,
                "args": {"tag": words, "level": node.level},
            }  # fmt: skip

    def chrome_trace(self) -> dict[str, Any]:
        """The spans in the Chrome trace format (JSON object form, complete events, µs), which Perfetto and chrome://tracing open."""
        return {"traceEvents": [*self._trace_events()], **self._about()}

    def _about(self) -> dict[str, Any]:
        return {"displayTimeUnit": "ms", "otherData": {"dropped": self.dropped}}

    def save(self, path: str | Path) -> Path:
        """Write `chrome_trace` to a file and return its path; open it at ui.perfetto.dev or in chrome://tracing.

        Raises:
            FileError: if it cannot be written; then it is not there, or as it was.
        """
        about = json.dumps(self._about())
        with whole(path, "w") as file:
            file.write(f'{about[:-1]}, "traceEvents": [')
            # In batches: a million events as one object would take 2 GB.
            for number, events in enumerate(itertools.batched(self._trace_events(), 1000)):
                file.write((",\n" if number else "\n") + json.dumps(events)[1:-1])
            file.write("\n]}\n")
        return Path(path)

    def __repr__(self) -> str:
        kept = sum(lane.count for lane in self.lanes)
        return f"<timeline of {self.title}: {kept:,} events, {self.dropped:,} dropped>"
