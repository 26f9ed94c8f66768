"""Where a run's time goes: per reaction, and span by span for a timeline (`timeline.py`).

A profiled run times every reaction by itself (about 0.4 µs each) instead of whole groups; order and fingerprint are
the same.

# totals   per reaction; written by the worker that runs the reaction. A reaction runs one at a time, and consecutive runs are ordered
#          by the batch or by the leader. Of a host: written by the driver of its share, which also replaces the whole list, in one store.
#          Read by any thread, at any time, for display; a reader loads the list once.
# logs     per worker, the spans it ran, written by that worker, or by the driver of its share; see timeline.py
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from reactornb.graph import Graph
from reactornb.runtime.context import ReactionContext
from reactornb.runtime.reactions import RunningReaction
from reactornb.runtime.timeline import KEPT, SpanLog, Timeline, Where, pack_span
from reactornb.runtime.workers import current_worker

__all__ = ["Profile", "ProfileRow", "Profiler", "Times", "worker_order"]


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """One reaction.

    Attributes:
        reaction: its full name.
        count: number of runs.
        seconds: total time of its runs.
        share: of the time of all reactions, 0 to 1.
        waiting: total of the seconds between the beginning of its level and its own: what more or better placed workers could save.
        workers: worker -> number of runs there; "h0.1" is worker 1 of host 0.
    """

    reaction: str
    count: int
    seconds: float
    share: float
    waiting: float
    workers: dict[int | str, int]


def worker_order(worker: int | str) -> tuple[int, int]:
    """Sorts the workers of a row: the run's own, then those of each host."""
    if isinstance(worker, int):
        return -1, worker
    host, _, number = worker.removeprefix("h").partition(".")
    return int(host), int(number)


class Profile(tuple[ProfileRow, ...]):
    """The rows of a profile, the costliest first; shown as a table."""

    __slots__ = ()

    def by_bank(self) -> Profile:
        """The members of a bank as one row: `main.rollouts[*].on_weights`."""
        banks: dict[str, ProfileRow] = {}
        for row in self:
            name = re.sub(r"\[\d+\]", "[*]", row.reaction)
            known = banks.get(name, ProfileRow(name, 0, 0.0, 0.0, 0.0, {}))
            workers = {w: known.workers.get(w, 0) + row.workers.get(w, 0) for w in {**known.workers, **row.workers}}
            banks[name] = ProfileRow(
                name, known.count + row.count, known.seconds + row.seconds, known.share + row.share, known.waiting + row.waiting, workers
            )  # fmt: skip
        return Profile(sorted(banks.values(), key=lambda row: -row.seconds))

    def _cells(self) -> list[tuple[str, ...]]:
        return [
            (
                row.reaction, f"{row.count:,}", f"{row.seconds:.3f}", f"{row.share:.1%}",
                f"{row.seconds / row.count * 1e6:,.1f}" if row.count else "", f"{row.waiting:.3f}",
                " ".join(f"{w}:{row.workers[w]:,}" for w in sorted(row.workers, key=worker_order)),
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


class Times:
    """What was measured in one process.

    Args:
        reactions: how many the graph has.
        workers: how many threads.
        keep: number of spans that each keeps.

    Attributes:
        totals: of each reaction the number of runs, their ns, the ns waited before them, and {worker: number of runs}.
        logs: the spans of each worker.
    """

    def __init__(self, reactions: int, workers: int, keep: int) -> None:
        self.totals = self.none(reactions)
        self.logs = [SpanLog(keep) for _ in range(workers)]

    @staticmethod
    def none(reactions: int) -> list[list[Any]]:
        """Totals in which nothing has run."""
        return [[0, 0, 0, {}] for _ in range(reactions)]


class Profiler:
    """Times every reaction of one run.

    Its memory is bounded: a few numbers per reaction, and the spans that the timeline keeps.

    Args:
        graph: what is run.
        workers: how many threads.
        keep: number of spans that all workers together keep for the timeline; each keeps its newest.
        hosts: how many threads each host has that executes a part of the run.

    Attributes:
        began_ns: when it was made, by `time.perf_counter_ns`.
        kept: number of spans that one worker keeps.
        own: what is measured here.
        hosts: what each host has told; for who takes that in.
    """

    def __init__(self, graph: Graph, workers: int, keep: int = KEPT, hosts: Sequence[int] = ()) -> None:
        self._graph = graph
        self.began_ns = time.perf_counter_ns()
        self.kept = max(keep // (workers + sum(hosts)), 1)
        self.own = Times(len(graph.reactions), workers, self.kept)
        self.hosts = [Times(len(graph.reactions), threads, self.kept) for threads in hosts]
        self._places = [Where(worker, host=host) for host, threads in enumerate(hosts) for worker in range(threads)]
        self._logs = [
            log for times in (self.own, *self.hosts) for log in times.logs
        ]  # one list: a timeline is known by it

    def timed(self, r: RunningReaction, call: Callable[[], None], context: ReactionContext) -> Callable[[], None]:
        """`call`, timed; `context` is that of the reaction's enclave."""
        index, totals, logs, now = r.index, self.own.totals[r.index], self.own.logs, time.perf_counter_ns
        pack, full = pack_span, SpanLog.SIZE

        def timed_call() -> None:
            began = now()
            try:
                call()
            finally:
                ended = now()
                worker = current_worker()
                totals[0] += 1
                totals[1] += ended - began
                totals[2] += began - context.level_began_ns
                totals[3][worker] = totals[3].get(worker, 0) + 1
                log = logs[worker]
                log.last.append(pack(index, began, ended, context.time_ns, context.microstep))
                if len(log.last) == full:
                    log.close()

        return timed_call

    def profile(self) -> Profile:
        """The time of every reaction up to now."""
        totals = self._totals()
        whole = sum(t[1] for t in totals) or 1
        rows = [
            ProfileRow(node.name, count, busy / 1e9, busy / whole, waited / 1e9, workers)
            for node, (count, busy, waited, workers) in zip(self._graph.reactions, totals, strict=True)
        ]
        return Profile(sorted(rows, key=lambda row: -row.seconds))

    def _totals(self) -> list[list[Any]]:
        """Those of all processes, added up; workers of hosts by their names."""
        added = [[count, busy, waited, dict(workers)] for count, busy, waited, workers in self.own.totals]
        for host, times in enumerate(self.hosts):
            for row, (count, busy, waited, workers) in zip(added, times.totals, strict=True):
                if count:
                    row[:3] = row[0] + count, row[1] + busy, row[2] + waited
                    row[3].update((f"h{host}.{worker}", runs) for worker, runs in dict(workers).items())
        return added

    def timeline(self, title: str, cores: Sequence[str], is_alive: Callable[[], bool]) -> Timeline:
        """The spans that are kept.

        Args:
            title: of the timeline.
            cores: per worker of this process, text to append to its number, such as " on P3".
            is_alive: returns whether the run is alive.
        """
        places = [*(Where(worker, core) for worker, core in enumerate(cores)), *self._places]
        return Timeline(
            title, self._graph, self._logs, self.began_ns, places, lambda: [t[1] for t in self._totals()], is_alive
        )
