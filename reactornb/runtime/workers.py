"""Worker threads: how one level's reactions are shared out, and how idle workers wait.

There is no coordinator thread. Worker 0 *leads*, as one of the workers: it opens tags, runs cheap levels by itself and offers
costly ones as a `Batch`, of which it takes its share. Whoever finishes a batch's last reaction hands it back to worker 0 to
close (itself, if it was worker 0), and waits for the next offer. Leading moves nowhere else because on free-threaded
builds an object is cheapest to the thread that made it, and worker 0 made the schedule.
"""

from __future__ import annotations

import itertools
import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

__all__ = ["Batch", "Worker", "current_scheduler"]

# The scheduler that a worker's thread belongs to; each thread reads and writes its own only.
_mine = threading.local()


def current_scheduler() -> Any:
    """The scheduler of the run whose worker calls this; None on any other thread."""
    return getattr(_mine, "scheduler", None)


class Batch:
    """The ready reactions of one level, claimed one by one.

    # reactions   written by the leader before the batch is offered, then only read
    # claim       an atomic counter (itertools.count: one compare-and-swap per call on free-threaded builds, the
    #             GIL elsewhere); each position is handed out once
    # done        likewise; exactly one worker gets the number len(reactions), and closes the batch
    # closed      set by the closer before it hands the batch to worker 0 to lead on; read by worker 0
    # failures    appended to by any worker (list.append is atomic), read by the closer only
    #
    # Publication: a worker gets the batch through its mailbox lock, which orders everything the leader wrote before. The
    # closer's `done()` comes after every other worker's `done()`; each is a sequentially consistent read-modify-write
    # of one word, so all that the reactions wrote is visible to the closer. A worker that comes late finds `claim`
    # past the end and touches nothing; a batch is never reused. Nothing relies on the GIL.
    """

    __slots__ = ("claim", "closed", "done", "failures", "level", "reactions", "size")

    def __init__(self, reactions: Sequence[Any], level: int) -> None:
        self.reactions = reactions
        self.size = len(reactions)
        self.level = level
        self.closed = False
        self.claim: Callable[[], int] = itertools.count().__next__
        self.done: Callable[[], int] = itertools.count(1).__next__
        self.failures: list[tuple[int, BaseException]] = []

    def work(self, worker: int) -> bool:
        """Run reactions until none is left to claim; true for the one worker that finished the last of them."""
        claim, done, reactions, size = self.claim, self.done, self.reactions, self.size
        now = time.perf_counter_ns
        last = False
        while (i := claim()) < size:
            r = reactions[i]
            began = now()
            try:
                r.call()
            except BaseException as error:  # noqa: BLE001 - a reaction may raise anything; the closer decides
                self.failures.append((i, error))
            took = now() - began
            r.cost_ns = took if r.cost_ns < 0 else (3 * r.cost_ns + took) >> 2
            r.worker = worker
            if done() == size:
                last = True
        return last


class Worker:
    """One thread of a run.

    # _batch    the mailbox: written by the leader and emptied by the worker, both under _lock; the worker also peeks at
    #           it without the lock while spinning, and takes it only under the lock
    # _parked   true while the worker waits in _wake.get(); read and written under _lock, so an offer is either seen before
    #           parking or wakes the worker: no wake-up is lost
    # _wake     a token for each wake-up; a token too many only makes the worker look at its empty mailbox once more
    # _quit     set once, under _lock, by whoever ends the run
    """

    # How long an idle worker spins before it parks. Handing over to a spinning worker costs about a microsecond, waking
    # a parked one 30 to 150. With a GIL spinning would only keep the others from running.
    spin_ns = 60_000

    def __init__(
        self,
        index: int,
        name: str,
        scheduler: Any,
        begin: Callable[[int], AbstractContextManager[Any]],
    ) -> None:
        self.index = index
        self._scheduler = scheduler
        self._begin = begin
        self._lock = threading.Lock()
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._batch: Batch | None = None
        self._parked = False
        self._quit = False
        # A daemon only so that interpreter shutdown does not wait for an endless run; run.py ends all runs in order
        # at exit.
        self.thread = threading.Thread(target=self._main, name=name, daemon=True)
        gil = getattr(sys, "_is_gil_enabled", lambda: True)()
        self._spin_ns = 0 if gil else self.spin_ns

    def offer(self, batch: Batch) -> None:
        """Put a batch into the mailbox; called by the leader."""
        with self._lock:
            self._batch = batch
            parked, self._parked = self._parked, False
        if parked:
            self._wake.put(None)

    def quit(self) -> None:
        """End the thread once it has nothing in hand."""
        with self._lock:
            self._quit = True
            parked, self._parked = self._parked, False
        if parked:
            self._wake.put(None)

    def _main(self) -> None:
        single_threaded_torch()
        _mine.scheduler = self._scheduler
        with self._begin(self.index):
            while (batch := self._take()) is not None:
                # Only worker 0 is handed a closed batch, once, by its closer; for a worker that comes late to a batch
                # the flag means nothing.
                if (batch.closed and self.index == 0) or batch.work(self.index):
                    self._scheduler.lead(self, batch)

    def _take(self) -> Batch | None:
        """The next batch, or None when the run is over."""
        until = time.perf_counter_ns() + self._spin_ns
        while True:
            while self._batch is None and not self._quit and time.perf_counter_ns() < until:
                pass
            with self._lock:
                batch, self._batch = self._batch, None
                if batch is not None:
                    return batch
                if self._quit:
                    return None
                self._parked = True
            self._wake.get()


def single_threaded_torch() -> None:
    """One intra-op thread for torch in this thread: results must not depend on core counts, nor cores be oversubscribed.

    torch keeps the number per thread, so that of the notebook's own thread stays as it is.
    """
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
