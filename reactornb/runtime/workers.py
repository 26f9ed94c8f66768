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
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Protocol, Self

from reactornb import cpu
from reactornb.runtime import intraop
from reactornb.runtime.clock import Wake
from reactornb.runtime.failures import after, finish, members
from reactornb.runtime.immortal import immortalize
from reactornb.runtime.launch import Launch, start_all
from reactornb.runtime.notices import Notices, whereabouts
from reactornb.runtime.sharing import share_out
from reactornb.tags import forever

__all__ = [
    "Batch",
    "Call",
    "Share",
    "Team",
    "Worker",
    "current_scheduler",
    "current_worker",
    "make_workers",
]

# Let another thread have this core, if one waits for it; about a microsecond if none does.
_give_way: Callable[[], object] = getattr(os, "sched_yield", functools.partial(time.sleep, 0))

# The worker that a thread is at present; each thread reads and writes its own only.
_mine = threading.local()


def current_scheduler() -> Any:
    """The scheduler of the reaction that calls this; None on a thread that runs no reaction."""
    worker = _this_worker()
    return None if worker is None else worker.scheduler


def current_worker() -> int:
    """Number of the worker that calls this; 0 on any other thread."""
    worker = _this_worker()
    return 0 if worker is None else worker.index


def _this_worker() -> Worker | None:
    return getattr(_mine, "worker", None)


# Warnings of teams, which belong to no run.
_of_teams = Notices("reactornb")


def _who() -> Callable[[str], object] | None:
    """See `intraop.who`."""
    worker = _this_worker()
    return None if worker is None else functools.partial(_refuse, worker.scheduler)


def _refuse(scheduler: Any, asked: str) -> None:
    reaction, source = whereabouts(scheduler)
    notices = _of_teams if scheduler is None else scheduler.notices
    notices.add(
        ("threads", source),
        f"{reaction or 'an environment'} ({source}) asks for {asked}, and does not get it: reactions compute with one thread each, or "
        f"results would depend on the number of cores. Take the call out; more cores are used by more reactors.",
    )


intraop.who = _who


class Batch:
    """The ready reactions of one level, or a team's calls, for which there is no scheduler, shared out: each worker takes its own first, then what others have not begun.

    # _lists      the items of each worker, written by the leader before the batch is offered, then only read; and for each list an atomic
    #             counter (itertools.count: a compare-and-swap per call on free-threaded builds, the GIL elsewhere), so that each
    #             position is handed out once
    # _done       likewise; exactly one worker gets the last number, and sets `over`
    # over        set once, by that worker, unless there is nothing to do; the leader reads it while it spins and after each wake-up
    # failures, skipped
    #             appended to by any worker (list.append is atomic), read by the leader once the batch is over, and by workers that
    #             have seen `failed`
    # failed      set by any worker after it has appended to `failures`, read by every worker before each item: who sees it late begins
    #             one more, which `failures.py` accounts for. A flag, since to look at a list that another thread made costs both a
    #             cache line
    #
    # Publication: a worker gets the batch from its list of offers; storing there is a release, and loading from there an acquire,
    # of everything the leader wrote before.
    # Each `_done()` is a sequentially consistent read-modify-write of one word, so whoever draws the last number sees all that
    # the others' reactions wrote, and so does the leader that reads `over` after it. A worker that comes late finds every
    # counter past its end and touches nothing; a batch is never reused. Nothing relies on the GIL.
    """

    __slots__ = ("_done", "_lists", "_size", "failed", "failures", "leader", "over", "scheduler", "skipped")

    def __init__(self, items: Sequence[Sequence[Any]], scheduler: Any, leader: Worker) -> None:
        self.scheduler = scheduler
        self.leader = leader
        self._lists = tuple([(part, itertools.count().__next__) for part in items])
        self._size = sum(map(len, items))
        self.over = self._size == 0
        self._done: Callable[[], int] = itertools.count(1).__next__
        self.failed = False
        self.failures: list[tuple[Any, BaseException]] = []
        self.skipped: list[Any] = []

    def is_over(self) -> bool:
        """Whether every reaction has returned."""
        return self.over

    def work(self, worker: Worker) -> None:
        """Run what is left to claim; whoever finishes the last item ends the batch."""
        worker.scheduler = self.scheduler
        lists, done, size, me = self._lists, self._done, self._size, worker.index
        for turn in range(len(lists)):
            items, claim = lists[(me + turn) % len(lists)]
            count = len(items)
            while (i := claim()) < count:
                if self.failed:
                    self._after_failure(items[i])
                else:
                    try:
                        items[i].call()
                    except BaseException as error:  # noqa: BLE001 - a reaction may raise anything; the leader decides
                        self._failed(items[i], error)
                if done() == size:
                    self.over = True
                    if worker is not self.leader:
                        self.leader.wake.set()
                    return

    def _failed(self, item: Any, error: BaseException) -> None:
        culprit = item.culprit(error)
        self.failures.append((culprit, error))
        self.failed = True
        if self.scheduler is not None:
            self.skipped += finish(after(_untimed(item), culprit), self.failures)

    def _after_failure(self, item: Any) -> None:
        """Something has failed: of a level, only what comes before that is begun; a team makes all calls."""
        if self.scheduler is not None:
            self.skipped += finish(members(_untimed(item)), self.failures)
            return
        try:
            item.call()
        except BaseException as error:  # noqa: BLE001 - see `work`
            self.failures.append((item.culprit(error), error))


def _untimed(item: Any) -> Any:
    return item.item if type(item) is Timed else item


class Timed:
    """An item of a batch, and what its time tells.

    # item.cost_ns, item.odd, item.worker   written by the worker that calls it, read by the leader once the batch is over

    Attributes:
        item: what is called.
        share: whose it is.
    """

    __slots__ = ("item", "share")

    def __init__(self, item: Any, share: Share) -> None:
        self.item = item
        self.share = share

    def call(self) -> None:
        """Call the item, and note what it took and where."""
        item = self.item
        began = time.perf_counter_ns()
        item.call()
        took = time.perf_counter_ns() - began
        known = item.cost_ns
        if known >> 2 < took < known << 2:
            item.cost_ns = (3 * known + took) >> 2
            item.odd = False
        elif item.odd or known < 0:
            item.cost_ns = took
            item.odd, self.share.late = False, True
        else:  # an environment that resets, a core that was taken away: once is no reason to share out anew
            item.odd = self.share.saw_odd = True
        item.worker = current_worker()

    def culprit(self, error: BaseException) -> Any:
        """What raised."""
        return self.item.culprit(error)


class Share:
    """How a level, or a team's calls, are shared out, round after round.

    In most rounds nothing is done but to call the items. Now and then their times are taken, and thought over by whoever leads: after each
    time one round more goes by until the next, as long as that takes more than a hundredth of the time; none after one in which
    something took another time, unless that is usual.

    # late, saw_odd    set by the workers that call timed items; read by the leader between rounds, which takes `saw_odd` back
    # else             the leader's own

    Attributes:
        parts: each worker's items.
        late: something has changed its time for good.
        saw_odd: something took another time for once.
        looks: in how many rounds times were taken.
        cost_ns, took_ns: what all items cost, and how long it took to have them called, as of the last look.
        odd: in how many of these something took four times as long or short as it does mostly.
        ready: for each round that may pass without a look, a batch. Made together, for what lies between two levels is lost to all
            workers: code that runs once in a round, after others, takes five times as long there as in a loop.
    """

    __slots__ = (
        "_helpers", "_leader", "_scheduler", "_timed", "cost_ns", "late", "looks", "odd", "parts", "ready", "saw_odd", "took_ns",
    )  # fmt: skip

    # What it takes, about, to take times and to think them over.
    look_ns = 30_000
    # After so many rounds in any case: what took microseconds may have come to take seconds.
    most_rounds = 32

    def __init__(
        self, parts: Sequence[Sequence[Any]], scheduler: Any, leader: Worker, workers: Sequence[Worker]
    ) -> None:
        self.parts = parts
        self._timed = tuple(tuple(Timed(item, self) for item in part) for part in parts)
        self._scheduler = scheduler
        self._leader = leader
        self._helpers = [w for w in workers if w is not leader][: sum(map(len, parts)) - 1]
        self.ready: list[Batch] = []
        self.late = self.saw_odd = False
        self.looks = self.odd = self.cost_ns = self.took_ns = 0

    def run(self) -> Batch:
        """Have all items called, where there is a batch ready; returns it once it is over."""
        batch, leader = self.ready.pop(), self._leader
        for helper in self._helpers:
            helper.offer(batch)
        batch.work(leader)
        if not batch.over:
            leader.wait_for(batch)
        return batch

    def look(self) -> Batch:
        """Have all items called and take their times."""
        self.ready = [Batch(self._timed, self._scheduler, self._leader)]
        began = time.perf_counter_ns()
        batch = self.run()
        self.took_ns = time.perf_counter_ns() - began
        self.looks += 1
        self.cost_ns = sum(item.cost_ns for part in self.parts for item in part)
        rounds = min(self.looks, self.most_rounds, 100 * self.look_ns * len(self.parts) // max(self.cost_ns, 1))
        if self.saw_odd:
            self.odd, self.saw_odd = self.odd + 1, False
            if not self.is_uneven:
                rounds = 0
        self.ready = [Batch(self.parts, self._scheduler, self._leader) for _ in range(rounds)]
        return batch

    @property
    def is_uneven(self) -> bool:
        """Whether in more than an eighth of the rounds something took its time, like an environment that resets."""
        return 8 * self.odd > self.looks


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
        self.scheduler: Any = None
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
        around, _mine.worker = _this_worker(), self
        try:
            return self._turn()
        finally:
            _mine.worker = around

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


class Call:
    """What a `Team` does as one piece.

    # cost_ns, odd, worker   the worker that makes the call; the thread that asks, once all calls are made

    Attributes:
        call: makes it.
        cost_ns: running estimate of what it takes; negative while it is unknown.
        worker: which made it last.
    """

    __slots__ = ("call", "cost_ns", "odd", "worker")

    def __init__(self, call: Callable[[], None], worker: int = -1) -> None:
        self.call = call
        self.cost_ns = -1
        self.odd = False
        self.worker = worker

    def culprit(self, _: BaseException) -> Call:
        """What raised."""
        return self


class Team:
    """Threads that make calls at the same time, for one that waits until all are made: a level, without a program around it.

    The thread that asks is worker 0, so a team of one has no thread. The others end with `close`, when the team is forgotten, and
    with the interpreter. A forked child has none of them, and makes all calls itself.

    # workers   fixed. One thread at a time may ask; nothing else is shared but the batch, see there

    Args:
        workers: how many, the one that asks among them.
        name: of the threads.
    """

    def __init__(self, workers: int, name: str) -> None:
        place = replace(cpu.place(workers), nice=cpu.default_nice())
        self.workers = make_workers(workers, name, place.pin, 1, patient=place.is_roomy)
        self.close: Callable[[], object] = _nothing
        if workers == 1:
            return
        immortalize()
        try:
            Launch(self._start).run()
        except BaseException:
            self.close()  # a traceback keeps the team that nobody got
            raise

    def _start(self, _: Launch) -> None:
        helpers = self.workers[1:]
        who = self.workers[0].thread.name.rpartition("-")[0]
        start_all(helpers, who, lambda: _end([w for w in helpers if w.thread.ident is not None]))
        # From here on whoever forgets the team, interrupted before it had it perhaps, ends its threads.
        self.close = weakref.finalize(self, _end, helpers)

    def job(self, calls: Sequence[Call]) -> Callable[[], None]:
        """What makes these calls, each time it is called, and returns once all are made.

        They begin in their order, those of about the same cost; another worker takes over what one has not begun. Once all are
        made, what the first of them has raised is raised. Ctrl-C is, as soon as no other thread makes a call any more.
        """
        if len(self.workers) == 1:
            return functools.partial(_make_alone, self.workers[0], tuple(calls))
        share = self._shared_out(calls)

        def make_all() -> None:
            nonlocal share
            had = intraop.enter()
            around, _mine.worker = _this_worker(), self.workers[0]
            try:
                batch = share.run() if share.ready else share.look()
            except BaseException:
                self._come_back()
                raise
            finally:
                _mine.worker = around
                intraop.leave(had)
            if batch.failed:
                raise min(batch.failures, key=lambda failed: calls.index(failed[0]))[1]
            if share.late:
                share = self._shared_out(calls)

        return make_all

    def _shared_out(self, calls: Sequence[Call]) -> Share:
        return Share(share_out(calls, len(self.workers)), None, self.workers[0], self.workers)

    def _come_back(self) -> None:
        """Wait until no helper makes a call. Ctrl-C may have hit between two steps of the batch's own accounts: they tell nothing."""
        leader, *helpers = self.workers
        nothing = Batch((), None, leader)
        for helper in helpers:
            helper.offer(nothing)
        while any(helper.thread.is_alive() and not helper.has_seen(nothing) for helper in helpers):
            time.sleep(0.001)


def _nothing() -> None:
    """There are no threads to be ended."""


def _make_alone(worker: Worker, calls: Sequence[Call]) -> None:
    """What `Team.job` does for a team of one, without a batch, which costs 5 µs in a step of environments."""
    failures: list[BaseException] = []
    had = intraop.enter()
    around, _mine.worker = _this_worker(), worker
    try:
        for call in calls:
            try:
                call.call()
            except Exception as error:  # noqa: BLE001 - the others are made all the same
                failures.append(error)
    finally:
        _mine.worker = around
        intraop.leave(had)
    if failures:
        raise failures[0]


def _end(workers: Sequence[Worker]) -> None:
    for worker in workers:
        worker.quit()
    for worker in workers:
        # A call that hangs was left alone by a second Ctrl-C, perhaps; and what is forgotten may be found so by any thread.
        if worker.thread is not threading.current_thread():
            worker.thread.join(10.0)
