"""Worker threads: how one level's reactions are shared out, and how idle workers wait.

There is no coordinator thread. Each enclave is led by one worker, always the same: it opens tags, runs cheap levels by itself
and offers costly ones as a `Batch`, of which it takes its share. A leader stays a leader because on free-threaded builds
an object is cheapest to the thread that made it.
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

# Let another thread have this core, if one waits for it; about a microsecond if none does.
_give_way: Callable[[], object] = getattr(os, "sched_yield", functools.partial(time.sleep, 0))

# The worker that a thread is at present; each thread reads and writes its own only.
_mine = threading.local()


def current_scheduler() -> ReactionContext | None:
    """The scheduler of the reaction that calls this; None on a thread that runs no reaction."""
    worker = _this_worker()
    return None if worker is None else worker.scheduler


def current_worker() -> int:
    """Number of the worker that calls this; 0 on any other thread."""
    worker = _this_worker()
    return 0 if worker is None else worker.index


def act_as(worker: Worker | None) -> Worker | None:
    """Make the calling thread act as a worker; returns as which it did before, to be restored."""
    before = _this_worker()
    _mine.worker = worker
    return before


def _this_worker() -> Worker | None:
    return getattr(_mine, "worker", None)


# Warnings of teams, which belong to no run.
_of_teams = Notices("reactornb")


def _who() -> Callable[[str], object] | None:
    """See `intraop.who`."""
    worker = _this_worker()
    return None if worker is None else functools.partial(_refuse, worker.scheduler)


def _refuse(scheduler: ReactionContext | None, asked: str) -> None:
    reaction, source = whereabouts(scheduler)
    notices = _of_teams if scheduler is None else scheduler.notices
    notices.add(
        ("threads", source),
        f"{reaction or 'an environment'} ({source}) asks for {asked}, and does not get it: reactions compute with one thread each, or "
        f"results would depend on the number of cores. Take the call out; more cores are used by more reactors.",
    )


intraop.who = _who


class Place(Protocol):
    """Where a worker's thread runs: a context manager around all that it does; `reactornb.cpu.Pin` is one."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def loosen(self) -> bool:
        """Let the thread run anywhere for now; false if it may anyway."""
        ...

    def tighten(self) -> None:
        """Back to its place."""
        ...


class Worker:
    """One thread of a run, or the caller's where the run is driven.

    # offers    per leader the batch that it offered last: written by that leader, read by this worker. Not a queue: a reference
    #           that one thread puts somewhere and another takes away is one that its owner has to be asked to settle, which
    #           stops the owner in the middle of its work (CPython's biased reference counts)
    # offered   the last of them all; written after `offers` by who offers, read by this worker in a loop: to compare two lists takes
    #           their locks, and whoever is interrupted then holds up the leader
    # _seen     per leader the last batch that this worker looked at: written by this worker when it has left the one before;
    #           read by a leader that was interrupted
    # parked    written by this worker, read by who offers. Each writes (`parked`; an offer), passes `_fence`, then reads what the other
    #           writes, so one of the two sees the other; see `Wake`
    # wake      set after every message, command or posted action, and for a parked worker after every offer; cleared by this worker
    #           before it looks for any of them: nothing is slept over
    # scheduler for which it runs reactions at present; read and written by its thread only
    # enclaves  the schedulers that this worker leads; fixed before its thread starts
    # hold      called between `first` and the first turn: waits until all threads of the run are there. Set before the thread starts
    # holds     set before the thread starts: it runs reactions whenever it likes, not only while another thread waits for it
    # quitting  set once by whoever ends the run, before `wake`
    # settled, _place, _loosened, _helped, _helped_ns
    #           read and written by this worker only
    # _has_news set by any thread that found a library, after it is to be found in `intraop`; cleared by this worker before it looks there
    # _used_ns  written once by the thread, as the last thing it does

    Args:
        index: number of the worker.
        name: of its thread.
        begin: gives the place, a core, at which the thread runs.
        leaders: workers 0 to `leaders` - 1 may offer batches.
        patient: there is a core for each worker; see `patience_ns`.
        alone: there is no other worker.
    """

    # How long an idle worker spins before it parks. Handing over to a spinning worker costs about a microsecond, waking
    # a parked one 30 to 150. With a GIL spinning would only keep the others from running.
    spin_ns = 60_000
    # After that a worker that has just helped, or whose own batch is not over, gives way in a loop instead of parking: until the batch
    # is over, then as long again as that took, so that at most half of its time is lost; never longer than this. (To spin so
    # long without giving way was tried: a kernel's trivial cell took 230 ms instead of 60.)
    patience_ns = 5_000_000

    def __init__(
        self, index: int, name: str, begin: Callable[[int], Place], leaders: int, *, patient: bool, alone: bool = False
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
        self.holds = False
        self.clock: Any = None
        self._begin = begin
        self._place: Place
        self._loosened = False
        self._alone = alone
        self.settled = True
        self.first: Callable[[], None] | None = None
        self.hold: Callable[[], object] | None = None
        # A daemon only so that interpreter shutdown does not wait for an endless run; run.py ends all runs in order
        # at exit.
        self.thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._used_ns = 0
        self._has_news = True
        gil = getattr(sys, "_is_gil_enabled", lambda: True)()
        self._spin_ns = 0 if gil else self.spin_ns
        self._patience_ns = self.patience_ns if patient and not gil else 0
        self._helped: Batch | None = None
        self._helped_ns = 0

    def offer(self, batch: Batch) -> None:
        """Ask for help with a batch; its leader. One that is not taken before the next is only helped less."""
        self.offers[batch.leader.index] = batch
        self.offered = batch
        self._fence()
        if self.parked:
            self.wake.set()

    def _help(self) -> bool:
        """Work on what was offered since the last look; whether there was something."""
        helped = False
        for place, batch in enumerate(self.offers):
            if batch is not None and batch is not self._seen[place]:
                self._seen[place] = batch
                if not self.settled and (batch.scheduler is None or batch.scheduler.tags_done):
                    self.settle()
                if self._has_news:
                    self._has_news = False  # before it looks
                    intraop.refresh()
                self._helped, self._helped_ns = batch, time.perf_counter_ns()
                batch.work(self)
                helped = True
        return helped

    def nudge(self) -> None:
        """See `intraop.Watcher`."""
        self._has_news = True

    def has_seen(self, batch: Batch) -> bool:
        """Whether it took note of a batch, hence has left those before; the leader that offered it last."""
        return self._seen[batch.leader.index] is batch

    def quit(self) -> None:
        """End the thread once it has nothing in hand."""
        self.quitting = True
        self.wake.set()

    def cpu_ns(self) -> int:
        """The processor time that the thread has used: its own account once it is over, before that Linux's."""
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
        """Wait until a batch of this worker's own is over."""
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
        self.wake.set()  # what was cleared here may have been meant for another enclave of this worker

    def turn(self) -> int:
        """Lead and help as long as there is something to do; returns the physical time until which there is nothing."""
        # The thread may be in the middle of another run's reaction, which drives this run.
        before = act_as(self)
        try:
            return self._turn()
        finally:
            act_as(before)

    def _turn(self) -> int:
        while True:
            self.wake.clear()
            until = forever
            for scheduler in self.enclaves:
                self.scheduler = scheduler
                until = min(until, scheduler.go(self))
            if not self._help():
                return until

    def settle(self) -> None:
        """Go to one's place, once all enclaves that this worker leads have started up."""
        if all(scheduler.tags_done for scheduler in self.enclaves):
            if self._loosened:
                self._place.tighten()
            if not self._alone:
                immortalize()  # what this thread has imported meanwhile
            self.settled = True

    def _main(self) -> None:
        _mine.worker = self
        intraop.watch(self)
        if self.holds:
            intraop.enter()
        with self._begin(self.index) as self._place:
            # What reactions start when the program starts up, threads and pools of libraries, must not inherit this thread's core.
            self._loosened = self._place.loosen()
            self.settled = self._alone and not self._loosened
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
        """Until somebody sets `wake`, or until that physical time; help meanwhile."""
        wake, now = self.wake, time.perf_counter_ns
        while until_ns == forever:
            newest = self.offered
            self._help()  # with what came before that
            if wake.is_set():
                break
            batch, helped_ns, self._helped = self._helped, self._helped_ns, None
            began = now()
            until = began + self._spin_ns
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


def make_workers(count: int, name: str, begin: Callable[[int], Place], leaders: int, *, patient: bool) -> list[Worker]:
    """The workers of a run or a team; arguments as those of `Worker`, the name without `reactornb` and number."""
    return [Worker(i, f"reactornb-{name}-{i}", begin, leaders, patient=patient, alone=count == 1) for i in range(count)]
