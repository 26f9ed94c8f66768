"""Where a run's time goes: per reaction, and event by event for a timeline.

A profiled run times every reaction on its own (about 0.4 µs each) instead of whole groups; what is executed, and the fingerprint, are
the same.

# totals   per reaction; written by the worker that runs the reaction. A reaction runs one at a time, and the batch or the leader's
#          own order puts one run before the next. Read by anyone, at any time, for display.
# events   per worker a deque of its own; appended to by that worker, copied by anyone (a copy that meets an append is
#          made again)
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reactornb.graph import Graph
from reactornb.runtime.signals import RunningReaction
from reactornb.runtime.workers import current_worker
from reactornb.tags import Tag, format_ns

__all__ = ["Profile", "ProfileRow", "Profiler", "Timeline"]

Event = tuple[int, int, int, int, int]
"""Reaction, begin and end in ns on the clock of `time.perf_counter_ns`, time and microstep of the tag."""


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """One reaction.

    Attributes:
        reaction: its full name.
        count: how often it ran.
        seconds: how long in all.
        share: of the time of all reactions, 0 to 1.
        waiting: seconds between the beginning of its level and its own, in all: what more or better placed workers could save.
        workers: worker -> how often it ran there.
    """

    reaction: str
    count: int
    seconds: float
    share: float
    waiting: float
    workers: dict[int, int]


class Profile(tuple[ProfileRow, ...]):
    """The rows of a profile, the costliest first; shown as a table."""

    __slots__ = ()

    def _cells(self) -> list[tuple[str, ...]]:
        return [
            (
                row.reaction, f"{row.count:,}", f"{row.seconds:.3f}", f"{row.share:.1%}",
                f"{row.seconds / row.count * 1e6:,.1f}" if row.count else "", f"{row.waiting:.3f}",
                " ".join(f"{w}:{n:,}" for w, n in sorted(row.workers.items())),
            )
            for row in self
        ]  # fmt: skip

    def __str__(self) -> str:
        cells = [("reaction", "count", "seconds", "share", "µs each", "waiting s", "worker:count"), *self._cells()]
        widths = [max(len(row[i]) for row in cells) for i in range(7)]
        return "\n".join(
            "  ".join(
                c.ljust(w) if i in (0, 6) else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in cells
        )

    __repr__ = __str__


class Timeline:
    """Who ran what, when, on which worker.

    Attributes:
        events: (worker, reaction's full name, begin and end in seconds since the run began, tag, level), ordered by begin.
        dropped: how many earlier events were not kept.
    """

    def __init__(
        self, title: str, events: list[tuple[int, str, float, float, Tag, int]], dropped: int, cores: Sequence[str]
    ) -> None:
        self.title = title
        self.events = events
        self.dropped = dropped
        self._cores = cores

    def chrome_trace(self) -> dict[str, Any]:
        """The events in the Chrome trace format (JSON object form, complete events, µs), which Perfetto and chrome://tracing open."""
        rows: list[dict[str, Any]] = [
            {"ph": "M", "name": "process_name", "pid": 1, "tid": 0, "args": {"name": self.title}}
        ]
        rows += [
            {"ph": "M", "name": "thread_name", "pid": 1, "tid": worker, "args": {"name": f"worker {worker}{core}"}}
            for worker, core in enumerate(self._cores)
        ]
        rows += [
            {
                "ph": "X", "name": name, "cat": "reaction", "pid": 1, "tid": worker, "ts": begin * 1e6, "dur": (end - begin) * 1e6,
                "args": {"tag": f"{format_ns(tag.time_ns)}, microstep {tag.microstep}", "level": level},
            }
            for worker, name, begin, end, tag, level in self.events
        ]  # fmt: skip
        return {"traceEvents": rows, "displayTimeUnit": "ms", "otherData": {"dropped": self.dropped}}

    def save(self, path: str | Path) -> Path:
        """Write `chrome_trace` to a file and return its path; open it at ui.perfetto.dev or in chrome://tracing."""
        path = Path(path)
        path.write_text(json.dumps(self.chrome_trace()))
        return path

    def __repr__(self) -> str:
        return f"<timeline of {self.title}: {len(self.events):,} events, {self.dropped:,} dropped>"


class Profiler:
    """Takes the time of every reaction of one run.

    Args:
        graph: what is run.
        workers: how many threads.
        keep: events that each worker keeps for the timeline; the newest are kept.
    """

    def __init__(self, graph: Graph, workers: int, keep: int = 100_000) -> None:
        self._graph = graph
        self._began = time.perf_counter_ns()
        self._totals: list[list[Any]] = [[0, 0, 0, {}] for _ in graph.reactions]
        self._events: list[deque[Event]] = [deque(maxlen=keep) for _ in range(workers)]

    def timed(self, r: RunningReaction, call: Callable[[], None], scheduler: Any) -> Callable[[], None]:
        """`call`, with its time taken; `scheduler` is that of the reaction's enclave."""
        index, totals, events, now = r.index, self._totals[r.index], self._events, time.perf_counter_ns

        def timed_call() -> None:
            began = now()
            try:
                call()
            finally:
                ended = now()
                worker = current_worker()
                totals[0] += 1
                totals[1] += ended - began
                totals[2] += began - scheduler.level_began_ns
                totals[3][worker] = totals[3].get(worker, 0) + 1
                events[worker].append((index, began, ended, scheduler.time_ns, scheduler.microstep))

        return timed_call

    def profile(self) -> Profile:
        """What every reaction took up to now."""
        whole = sum(t[1] for t in self._totals) or 1
        rows = [
            ProfileRow(node.name, count, busy / 1e9, busy / whole, waited / 1e9, dict(workers))
            for node, (count, busy, waited, workers) in zip(self._graph.reactions, self._totals, strict=True)
        ]
        return Profile(sorted(rows, key=lambda row: -row.seconds))

    def timeline(self, title: str, cores: Sequence[str]) -> Timeline:
        """The events that were kept.

        Args:
            title: of the whole.
            cores: per worker, what to write behind its number.
        """
        found = []
        kept = 0
        for worker, events in enumerate(self._events):
            rows = _copy(events)
            kept += len(rows)
            for index, began, ended, time_ns, microstep in rows:
                node = self._graph.reactions[index]
                begin, end = (began - self._began) / 1e9, (ended - self._began) / 1e9
                found.append((worker, node.name, begin, end, Tag(time_ns, microstep), node.level))
        found.sort(key=lambda event: event[2])
        return Timeline(title, found, max(sum(t[0] for t in self._totals) - kept, 0), cores)


def _copy(events: deque[Event]) -> list[Event]:
    while True:
        try:
            return list(events)
        except RuntimeError:  # the worker appended meanwhile
            continue
