"""Who ran what, when, on which worker: what a profiled run keeps of it, and how it is read.

A worker packs each span into 40 bytes and collects them in chunks; of a long run the newest are kept, about 1,000,000 in all
(`KEPT`), which is 40 MB. A `Timeline` reads from each worker what is new into columns of its own (48 bytes a span, at most a
quarter more spans than are kept), so a view of it can be asked for again and again, while the run lives and afterwards.

# chunks      per worker a deque; the worker appends, anyone copies (a copy that meets an append is made again)
# Chunk.data  a list to which its worker appends; once full that worker puts the joined bytes in its place, in one store.
#             Whoever reads it reads the reference once, and sees either form, with the same spans in the same order.
"""

from __future__ import annotations

import itertools
import json
import struct
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reactornb.files import whole
from reactornb.graph import Graph
from reactornb.tags import Tag, format_ns

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

__all__ = ["KEPT", "Lane", "SpanLog", "Timeline"]

KEPT = 1_000_000
"""Spans that a run keeps, shared out evenly among its workers."""

pack_span = struct.Struct("=5q").pack
"""Reaction, begin and end in ns on the clock of `time.perf_counter_ns`, time and microstep of the tag."""


class Chunk:
    """Some consecutive spans of one worker; `number` counts the chunks before it."""

    __slots__ = ("data", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.data: list[bytes] | bytes = []


class SpanLog:
    """What one worker ran; written by that worker only.

    Args:
        keep: how many spans, at least; the newest are kept, to within a chunk.

    Attributes:
        last: the list that the worker appends packed spans to; once it holds `SIZE`, it calls `close`.
    """

    SIZE = 1024

    def __init__(self, keep: int) -> None:
        self.keep = -(-max(keep, 1) // self.SIZE) * self.SIZE
        # One more than is kept whole: the last one is not full.
        self._chunks: deque[Chunk] = deque([Chunk(0)], maxlen=self.keep // self.SIZE + 1)
        self.last: list[bytes] = self._chunks[-1].data  # type: ignore[assignment]

    def close(self) -> None:
        """Join the last chunk and begin another."""
        chunk = self._chunks[-1]
        chunk.data = b"".join(chunk.data)  # type: ignore[arg-type]
        following = Chunk(chunk.number + 1)
        self.last = following.data  # type: ignore[assignment]
        self._chunks.append(following)

    def since(self, first: int) -> tuple[int, Array]:
        """The spans from number `first` on that are kept: the number of the first of these, and int64 [n, 5]. Any thread."""
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


class Lane:
    """The spans of one worker as columns, in the order of their times; they do not overlap.

    Args:
        log: the worker's.
        began_ns: when the run began, on the clock of the log.
        core: what to write behind the worker's number, such as " on P3".

    Attributes:
        core: as given.
        dropped: how many earlier spans were not kept.
        count: how many are here.
    """

    def __init__(self, log: SpanLog, began_ns: int, core: str) -> None:
        import numpy

        self.core = core
        self.dropped = 0
        self.count = 0
        self._log = log
        self._began_ns = began_ns
        self._most = log.keep + max(log.keep // 4, 2 * SpanLog.SIZE)
        self._columns: Array = numpy.empty((6, SpanLog.SIZE), numpy.int64)
        self._busy = 0

    def refresh(self) -> bool:
        """Read what is new; true if there was something."""
        first, rows = self._log.since(self.dropped + self.count)
        if not len(rows):
            return False
        if first > self.dropped + self.count:  # it was away so long that what follows is no longer kept
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
        """How many ns this worker ran reactions before each span, since some time before the first one here."""
        return self._columns[5, : self.count]


class Timeline:
    """Who ran what, when, on which worker, with tags and levels: a copy, brought up to date by `refresh`.

    Used by one thread at a time.

    Args:
        title: of the whole.
        graph: what ran.
        logs: what each worker ran.
        began_ns: when the run began, on the clock of the logs.
        cores: per worker, what to write behind its number.
        totals: per reaction how many ns it took up to now, kept or not.
        is_alive: whether more may come.

    Attributes:
        title, graph, totals: as given.
        lanes: what each worker ran.
    """

    def __init__(
        self,
        title: str,
        graph: Graph,
        logs: Sequence[SpanLog],
        began_ns: int,
        cores: Sequence[str],
        totals: Callable[[], list[int]],
        is_alive: Callable[[], bool],
    ) -> None:
        self.title = title
        self.graph = graph
        self.totals = totals
        self._made_of = (logs, began_ns, cores)
        self._is_alive = is_alive
        self.lanes = [Lane(log, began_ns, core) for log, core in zip(logs, cores, strict=True)]
        self.refresh()

    def refresh(self) -> bool:
        """Read what the workers ran since; true if there was something."""
        more = [lane.refresh() for lane in self.lanes]
        return any(more)

    def anew(self) -> Timeline:
        """One more of the same run, for another thread."""
        return Timeline(self.title, self.graph, *self._made_of, self.totals, self._is_alive)

    def is_of(self, other: Timeline) -> bool:
        """Whether both are of one run."""
        return self._made_of[0] is other._made_of[0]

    @property
    def is_alive(self) -> bool:
        """Whether more may come."""
        return self._is_alive()

    @property
    def dropped(self) -> int:
        """How many earlier spans were not kept."""
        return sum(lane.dropped for lane in self.lanes)

    @property
    def begin_ns(self) -> int:
        """The begin of the first span that is here, in ns since the run began; 0 if there is none."""
        return min((int(lane.begin[0]) for lane in self.lanes if lane.count), default=0)

    @property
    def end_ns(self) -> int:
        """The end of the last span, in ns since the run began; 0 if there is none."""
        return max((int(lane.end[-1]) for lane in self.lanes if lane.count), default=0)

    @property
    def now_ns(self) -> int:
        """How many ns ago the run began, or the end of the last span once it is over."""
        return time.perf_counter_ns() - self._made_of[1] if self.is_alive else self.end_ns

    @property
    def events(self) -> list[tuple[int, str, float, float, Tag, int]]:
        """(worker, reaction's full name, begin and end in seconds since the run began, tag, level), ordered by begin."""
        found = [
            (worker, node.name, begin / 1e9, end / 1e9, Tag(time_ns, microstep), node.level)
            for worker, node, begin, end, time_ns, microstep in self._rows()
        ]
        return sorted(found, key=lambda event: event[2])

    def _rows(self) -> Iterator[tuple[int, Any, int, int, int, int]]:
        for worker, lane in enumerate(self.lanes):
            columns = (lane.reaction, lane.begin, lane.end, lane.time_ns, lane.microstep)
            for at in range(0, lane.count, 10_000):  # a million ints at once would take 200 MB
                for index, *rest in zip(*(column[at : at + 10_000].tolist() for column in columns), strict=True):
                    yield (worker, self.graph.reactions[index], *rest)

    def _trace_events(self) -> Iterator[dict[str, Any]]:
        yield {"ph": "M", "name": "process_name", "pid": 1, "tid": 0, "args": {"name": self.title}}
        for worker, lane in enumerate(self.lanes):
            name = f"worker {worker}{lane.core}"
            yield {"ph": "M", "name": "thread_name", "pid": 1, "tid": worker, "args": {"name": name}}
        tag, words = (-1, -1), ""
        for worker, node, begin, end, time_ns, microstep in self._rows():
            if tag != (time_ns, microstep):  # many spans have one tag
                tag, words = (time_ns, microstep), f"{format_ns(time_ns)}, microstep {microstep}"
            yield {
                "ph": "X", "name": node.name, "cat": "reaction", "pid": 1, "tid": worker, "ts": begin / 1e3, "dur": (end - begin) / 1e3,
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
            # Some at a time: a million of them as one object would take 2 GB.
            for number, events in enumerate(itertools.batched(self._trace_events(), 1000)):
                file.write((",\n" if number else "\n") + json.dumps(events)[1:-1])
            file.write("\n]}\n")
        return Path(path)

    def __repr__(self) -> str:
        kept = sum(lane.count for lane in self.lanes)
        return f"<timeline of {self.title}: {kept:,} events, {self.dropped:,} dropped>"
