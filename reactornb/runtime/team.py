"""A team of threads that makes calls at the same time, for `ReactorVectorEnv`: a level without a program around it."""

from __future__ import annotations

import functools
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace

from reactornb import cpu
from reactornb.runtime import intraop
from reactornb.runtime.batch import Batch
from reactornb.runtime.immortal import immortalize
from reactornb.runtime.launch import Launch, start_all
from reactornb.runtime.shared_calls import SharedCalls
from reactornb.runtime.sharing import History, Policy, decide
from reactornb.runtime.workers import Worker, act_as, make_workers

__all__ = ["Call", "Team"]


class Call:
    """What a `Team` does as one piece.

    # cost_ns, outlier, worker   written by the worker that makes the call; read by the thread that asks, once all calls are made

    Attributes:
        call: makes it.
        cost_ns: running estimate of what it takes; negative while it is unknown.
        outlier: its last time was far from the estimate.
        size: 1; see `Group.size`.
        worker: which made it last.
    """

    __slots__ = ("call", "cost_ns", "outlier", "worker")
    size = 1

    def __init__(self, call: Callable[[], None], worker: int = -1) -> None:
        self.call = call
        self.cost_ns = -1
        self.outlier = False
        self.worker = worker

    def culprit(self, _: BaseException) -> Call:
        """What raised."""
        return self


class Team:
    """Threads that make calls at the same time, for one that waits until all are made: a level, without a program around it.

    The thread that asks is worker 0, so a team of one has no thread. The others end with `close`, when the team is forgotten, and
    with the interpreter. A forked child has none of them, and makes all calls itself.

    # workers   fixed. One thread at a time may ask; nothing else is shared but the batch, see there

    Attributes:
        policy: how calls are shared: always, one by one; a class attribute, which tests replace.

    Args:
        workers: how many, the one that asks among them.
        name: of the threads.
    """

    policy = Policy(share_above_ns=0, pieces=False, trials=False)

    def __init__(self, workers: int, name: str) -> None:
        place = replace(cpu.place(workers), nice=cpu.default_nice())
        self.workers = make_workers(workers, name, place.pin, 1, patient=place.is_roomy)
        intraop.hold()
        self.close = weakref.finalize(self, _end, ())
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
        start_all(helpers, who, lambda: _end_threads([w for w in helpers if w.thread.ident is not None]))
        # From here on whoever forgets the team, interrupted before it had it perhaps, ends its threads.
        without, self.close = self.close, weakref.finalize(self, _end, helpers)
        without.detach()

    def job(self, calls: Sequence[Call]) -> Callable[[], None]:
        """What makes these calls, each time it is called, and returns once all are made.

        They begin in their order, those of about the same cost; another worker takes over what one has not begun. Once all are
        made, what the first of them has raised is raised. Ctrl-C is, as soon as no other thread makes a call any more.
        """
        workers = self.workers
        leader = workers[0]
        if len(workers) == 1 or len(calls) < 2:
            return functools.partial(_make_alone, leader, tuple(calls))
        history = History(self.policy)
        shared: SharedCalls | None = None

        def profile_round() -> Batch:
            nonlocal shared
            history.now_ns = time.perf_counter_ns()
            plan = decide(calls, history, len(workers))
            assert plan.parts is not None
            if shared is None or history.plan is None or plan.parts is not history.plan.parts:
                parts = tuple(tuple(call for (call,) in part) for part in plan.parts)
                shared = SharedCalls(parts, None, leader, workers, self.policy)
                history.planned(plan, time.perf_counter_ns() - history.now_ns)
            batch = shared.profile_round()
            history.profile_round(saw_outlier=shared.saw_outlier, cost_changed=shared.cost_changed)
            shared.prebuild(0 if history.measure_again else plan.unmeasured)
            return batch

        def make_all() -> None:
            had = intraop.enter_thread()
            before = act_as(leader)
            try:
                batch = shared.run() if shared is not None and shared.prebuilt_batches else profile_round()
            except BaseException:
                self._come_back()
                raise
            finally:
                act_as(before)
                intraop.leave_thread(had)
            if batch.failed:
                raise min(batch.failures, key=lambda failed: calls.index(failed[0]))[1]

        return make_all

    def _come_back(self) -> None:
        """Wait until no helper makes a call. Ctrl-C may have hit between two steps of the batch's own accounts: they tell nothing."""
        leader, *helpers = self.workers
        nothing = Batch((), None, leader)
        for helper in helpers:
            helper.offer(nothing)
        while any(helper.thread.is_alive() and not helper.has_seen(nothing) for helper in helpers):
            time.sleep(0.001)


def _make_alone(worker: Worker, calls: Sequence[Call]) -> None:
    """What `Team.job` does for a team of one, without a batch, which costs 5 µs in a step of environments."""
    failures: list[BaseException] = []
    had = intraop.enter_thread()
    before = act_as(worker)
    try:
        for call in calls:
            try:
                call.call()
            except Exception as error:  # noqa: BLE001 - the others are made all the same
                failures.append(error)
    finally:
        act_as(before)
        intraop.leave_thread(had)
    if failures:
        raise failures[0]


def _end(workers: Sequence[Worker]) -> None:
    intraop.release()
    _end_threads(workers)


def _end_threads(workers: Sequence[Worker]) -> None:
    for worker in workers:
        worker.quit()
    for worker in workers:
        # A call that hangs was left alone by a second Ctrl-C, perhaps; and what is forgotten may be found so by any thread.
        if worker.thread is not threading.current_thread():
            worker.thread.join(10.0)
