"""Where a run's time goes: per reaction, and span by span for a timeline (`timeline.py`).

A profiled run times every reaction by itself (about 0.4 µs each) instead of whole groups; order and fingerprint are
the same.

# totals   per reaction; written by the worker that runs the reaction. A reaction runs one at a time, and consecutive runs are ordered
#          by the batch or by the leader. Read by any thread, at any time, for display.
# logs     per worker, the spans it ran, written by that worker; see timeline.py
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
from reactornb.runtime.timeline import KEPT, SpanLog, Timeline, pack_span
from reactornb.runtime.workers import current_worker

__all__ = ["Profile", "ProfileRow", "Profiler"]


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """One reaction.

    Attributes:
        reaction: its full name.
        count: number of runs.
        seconds: total time of its runs.
        share: of the time of all reactions, 0 to 1.
        waiting: total of the seconds between the beginning of its level and its own: what more or better placed workers could save.
        workers: worker -> number of runs there.
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


class Profiler:
    """Times every reaction of one run.

    Its memory is bounded: a few numbers per reaction, and the spans that the timeline keeps.

    Args:
        graph: what is run.
        workers: how many threads.
        keep: number of spans that all workers together keep for the timeline; each keeps its newest.
    """

    def __init__(self, graph: Graph, workers: int, keep: int = KEPT) -> None:
        self._graph = graph
        self._began = time.perf_counter_ns()
        self._totals: list[list[Any]] = [[0, 0, 0, {}] for _ in graph.reactions]
        self._logs = [SpanLog(keep // workers) for _ in range(workers)]

    def timed(self, r: RunningReaction, call: Callable[[], None], context: ReactionContext) -> Callable[[], None]:
        """`call`, timed; `context` is that of the reaction's enclave."""
        index, totals, logs, now = r.index, self._totals[r.index], self._logs, time.perf_counter_ns
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
        whole = sum(t[1] for t in self._totals) or 1
        rows = [
            ProfileRow(node.name, count, busy / 1e9, busy / whole, waited / 1e9, dict(workers))
            for node, (count, busy, waited, workers) in zip(self._graph.reactions, self._totals, strict=True)
        ]
        return Profile(sorted(rows, key=lambda row: -row.seconds))

    def timeline(self, title: str, cores: Sequence[str], is_alive: Callable[[], bool]) -> Timeline:
        """The spans that are kept.

        Args:
            title: of the timeline.
            cores: per worker, text to append to its number, such as " on P3".
            is_alive: returns whether the run is alive.
        """
        return Timeline(
            title, self._graph, self._logs, self._began, cores, lambda: [t[1] for t in self._totals], is_alive
        )
