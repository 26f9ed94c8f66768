"""Worker threads: how a leader offers a batch to the others, and how idle workers wait.

There is no coordinator thread. Each enclave is led by one worker, always the same: it opens tags, runs cheap levels by itself,
offers costly ones to the other workers as a `Batch`, and works on that batch too. The leader never changes because on free-threaded
builds an object is cheapest to the thread that made it.
"""

from __future__ import annotations

import functools
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self

from reactornb.runtime import intraop
from reactornb.runtime.batch import Batch
from reactornb.runtime.clock import Wake
from reactornb.runtime.context import ReactionContext
from reactornb.runtime.immortal import immortalize
from reactornb.runtime.notices import Notices, whereabouts
from reactornb.tags import forever

__all__ = ["Place", "Worker", "act_as", "current_scheduler", "current_worker", "make_workers"]

# Yield this core to another thread that waits for it; takes about a microsecond if none does.
_give_way: Callable[[], object] = getattr(os, "sched_yield", functools.partial(time.sleep, 0))

# The worker as which the calling thread acts; each thread reads and writes its own only.
_mine = threading.local()


def current_scheduler() -> ReactionContext | None:
    """The scheduler of the reaction that calls this; None on a thread that runs no reaction."""
    worker = _this_worker()
    return None if worker is None else worker.scheduler


def current_worker() -> int:
    """Index of the calling worker; 0 on any other thread."""
    worker = _this_worker()
    return 0 if worker is None else worker.index


def act_as(worker: Worker | None) -> Worker | None:
    """Make the calling thread act as a worker; returns as which it did before, to be restored."""
    before = _this_worker()
    _mine.worker = worker
    return before


def _this_worker() -> Worker | None:
    return getattr(_mine, "worker", None)


# Warnings of teams, which do not belong to a run.
_of_teams = Notices("reactornb")


def _who() -> Callable[[str], object] | None:
    """See `intraop.who`."""
    worker = _this_worker()
    return None if worker is None else functools.partial(_warn_of_threads, worker.scheduler)


def _warn_of_threads(scheduler: ReactionContext | None, asked: str) -> None:
    reaction, source = whereabouts(scheduler)
    notices = _of_teams if scheduler is None else scheduler.notices
    notices.add(
        ("threads", source),
        f"{reaction or 'an environment'} ({source}) asks for {asked}, and does not get it: reactions compute with one thread each, or "
        f"results would depend on the number of cores. Take the call out; more cores are used by more reactors.",
    )


intraop.who = _who


class Place(Protocol):
    """The cores a worker's thread may run on: a context manager around all that the thread does; `reactornb.cpu.Pin` is one."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def loosen(self) -> bool:
        """Let the thread run on all cores for now; false if it is not pinned."""
        ...

    def tighten(self) -> None:
        """Pin the thread again."""
        ...


class Worker:
    """One thread of a run, or of a team, or the caller of a team.

    # offers    for each leader, the batch it offered last: written by that leader, read by this worker. Not a queue: if one thread
    #           stores a reference and another drops it, CPython must ask the owner to merge the reference counts (they are biased),
    #           which interrupts the owner in the middle of its work
    # offered   the last batch offered by any leader; written after `offers` by that leader, read by this worker in a loop. A single
    #           reference, because comparing two lists takes their locks, and a thread interrupted in there blocks the leader
    # _seen     for each leader, the last batch that this worker took: written by this worker once it is done with the batch before;
    #           read by a leader that was interrupted
    # parked    written by this worker, read by leaders. Each side writes (`parked`; an offer), passes `_fence`, then reads what the
    #           other side writes, so at least one of them sees the other; see `Wake`
    # wake      set after every message, command or posted action, and for a parked worker after every offer; cleared by this worker
    #           before it checks for any of them, so no wake-up is lost
    # scheduler whose reactions it runs at present; read and written by its thread only
    # enclaves  the schedulers that this worker leads; fixed before its thread starts
    # hold      called between `first` and the first turn: waits until all threads of the run have started. Set before the thread starts
    # spins     set before the thread starts: it spins before it parks, since what it waits for comes soon; see `spin_ns`
    # holds     set before the thread starts: it runs reactions at any time, not only while another thread waits for it
    # quitting  set once by the thread that ends the run, before `wake`
    # settled, _place, _loosened, _helped, _helped_ns
    #           read and written by this worker only
    # _spin_ns  fixed before the thread starts
    # _has_news set by any thread that registered a library in `intraop`; cleared by this worker before it reads that register
    # _used_ns  written once by the thread, as its last step

    Args:
        index: of the worker.
        name: of its thread.
        begin: returns the `Place` of the worker with an index.
        leaders: workers 0 to `leaders` - 1 may offer batches.
        patient: there is a core for each worker; see `patience_ns`.
        crowded: there are more workers than cores. None spins then: sixteen that sleep and answer spent a third of a round's overhead keeping each
            other from running.
    """

    # How long an idle worker spins before it parks. Handing over to a spinning worker costs about a microsecond, waking
    # a parked one 30 to 150. With a GIL spinning would only keep the others from running.
    spin_ns = 60_000
    # After that, a worker that has just helped, or whose own batch is not over, yields its core in a loop instead of parking: until the
    # batch is over, then for as long again as that took, so at most half of its time is wasted; never longer than this. (Spinning that
    # long without yielding was tried: a kernel's trivial cell took 230 ms instead of 60.)
    patience_ns = 5_000_000

    def __init__(
        self,
        index: int,
        name: str,
        begin: Callable[[int], Place],
        leaders: int,
        *,
        patient: bool,
        crowded: bool = False,
    ) -> None:
        self.index = index
        self.scheduler: ReactionContext | None = None
        self.wake = Wake()
        self.parked = False
        self._fence = itertools.count().__next__
        self.offers: list[Batch | None] = [None] * leaders
        self.offered: Batch | None = None
        self._seen: list[Batch | None] = [None] * leaders
        self.enclaves: list[Any] = []
        self.quitting = False
        self.spins = True
        self.holds = False
        self.clock: Any = None
        self._begin = begin
        self._place: Place
        self._loosened = False
        self.settled = True
        self.first: Callable[[], None] | None = None
        self.hold: Callable[[], object] | None = None
        # A daemon only so that interpreter shutdown does not wait for an endless run; run.py ends all runs in order
        # at exit.
        self.thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._used_ns = 0
        self._has_news = True
        gil = getattr(sys, "_is_gil_enabled", lambda: True)()
        self._spin_ns = 0 if gil or crowded else self.spin_ns
        self._patience_ns = self.patience_ns if patient and not gil else 0
        self._helped: Batch | None = None
        self._helped_ns = 0

    def offer(self, batch: Batch) -> None:
        """Ask this worker to help with a batch; called by the batch's leader. If the next offer comes first, the leader gets less help, no more."""
        self.offers[batch.leader.index] = batch
        self.offered = batch
        self._fence()
        if self.parked:
            self.wake.set()

    def _help(self) -> bool:
        """Work on the batches offered since the last call; returns whether there was one."""
        helped = False
        for leader, batch in enumerate(self.offers):
            if batch is not None and batch is not self._seen[leader]:
                self._seen[leader] = batch
                if not self.settled and (batch.scheduler is None or batch.scheduler.tags_done):
                    self.settle()
                if self._has_news:
                    self._has_news = False  # before reading the register
                    intraop.refresh()
                self._helped, self._helped_ns = batch, time.perf_counter_ns()
                batch.work(self)
                helped = True
        return helped

    def nudge(self) -> None:
        """See `intraop.Watcher`."""
        self._has_news = True

    def has_seen(self, batch: Batch) -> bool:
        """Whether it took a batch, hence is done with those before; called by the leader that offered it last."""
        return self._seen[batch.leader.index] is batch

    def quit(self) -> None:
        """End the thread once it is idle."""
        self.quitting = True
        self.wake.set()

    def cpu_ns(self) -> int:
        """The processor time the thread has used: as Linux counts it, or as the thread counted it itself at its end."""
        ident = self.thread.native_id
        if self._used_ns or ident is None:
            return self._used_ns
        try:
            with open(f"/proc/self/task/{ident}/schedstat", "rb") as account:  # noqa: PTH123 - read ten times a second
                return int(account.read().split()[0])
        except (
            OSError,
            ValueError,
            IndexError,
        ):  # over at this moment, not Linux, or a kernel that keeps no such account
            return self._used_ns

    def wait_for(self, batch: Batch) -> None:
        """Wait until a batch that this worker leads is over."""
        until = time.perf_counter_ns() + self._spin_ns
        while not batch.over and time.perf_counter_ns() < until:
            pass
        until += self._patience_ns
        while not batch.over and time.perf_counter_ns() < until:
            _give_way()
        if batch.over:
            return
        self.wake.clear()
        while not batch.is_over():
            self.wake.wait()
            self.wake.clear()
        self.wake.set()  # the signal cleared above may have been for another enclave of this worker

    def _turn(self) -> int:
        """Lead and help as long as there is work; returns the physical time before which there will be none."""
        while True:
            self.wake.clear()
            until = forever
            for scheduler in self.enclaves:
                self.scheduler = scheduler
                until = min(until, scheduler.go(self))
            if not self._help():
                return until

    def settle(self) -> None:
        """Pin the thread, once all enclaves that this worker leads have started up."""
        if all(scheduler.tags_done for scheduler in self.enclaves):
            if self._loosened:
                self._place.tighten()
            immortalize()  # modules that this thread imported during startup
            self.settled = True

    def _main(self) -> None:
        _mine.worker = self
        intraop.watch(self)
        if self.holds:
            intraop.enter()
        with self._begin(self.index) as self._place:
            # Startup reactions may start threads and pools of libraries, which must not inherit this thread's pinning.
            self._loosened = self._place.loosen()
            self.settled = False
            if self.first is not None:
                self.first()
            if self.hold is not None:
                self.hold()
            while not self.quitting:
                until = self._turn()
                if not self.quitting:
                    self._wait(until)
        if self.holds:
            intraop.end_thread()
        self._used_ns = time.thread_time_ns()

    def _wait(self, until_ns: int) -> None:
        """Wait until `wake` is set, or until that physical time, and help meanwhile."""
        wake, now = self.wake, time.perf_counter_ns
        while until_ns == forever:
            newest = self.offered
            self._help()  # with what was offered before that
            if wake.is_set():
                break
            batch, helped_ns, self._helped = self._helped, self._helped_ns, None
            began = now()
            until = began + (self._spin_ns if self.spins else 0)
            while self.offered is newest and not wake.is_set() and now() < until:
                pass
            last = until + self._patience_ns
            until = max(until, 2 * began - helped_ns)
            while batch is not None and self.offered is newest and not wake.is_set():
                moment = now()
                if not batch.over:
                    until = 2 * moment - helped_ns
                if moment >= min(until, last):
                    break
                _give_way()
            if self.offered is newest:
                break
        self.parked = True
        self._fence()
        if self.offers == self._seen:
            if until_ns == forever:
                wake.wait()
            else:
                self.clock.wait(until_ns, wake)
        self.parked = False


def make_workers(
    count: int, name: str, begin: Callable[[int], Place], leaders: int, *, patient: bool, crowded: bool = False
) -> list[Worker]:
    """The workers of a run or a team; arguments as those of `Worker`, the name without `reactornb` and index."""
    return [Worker(i, f"reactornb-{name}-{i}", begin, leaders, patient=patient, crowded=crowded) for i in range(count)]
