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
    """A call that a `Team` makes.

    # cost_ns, outlier   written by the worker that makes the call; read by the thread that asks, once all calls are made

    Attributes:
        call: the function.
        cost_ns: running estimate of its time; negative while it is unknown.
        outlier: its last time was far from the estimate.
        size: 1; see `Group.size`.
    """

    __slots__ = ("call", "cost_ns", "outlier")
    size = 1

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call
        self.cost_ns = -1
        self.outlier = False

    def culprit(self, _: BaseException) -> Call:
        """What raised."""
        return self


class Team:
    """Threads that make calls at the same time, while the thread that asked for them helps and waits.

    The thread that asks is worker 0, so a team of one has no thread. The others end with `close`, when the team is garbage, and
    with the interpreter. A forked child has none of them, and makes all calls itself.

    # workers   fixed. One thread at a time may ask; nothing else is shared but the batch, see there

    Attributes:
        policy: how calls are shared: always, one by one; a class attribute, which tests replace.

    Args:
        workers: how many, including the one that asks.
        name: of the threads.
    """

    policy = Policy(share_above_ns=0, pieces=False, trials=False)

    def __init__(self, workers: int, name: str) -> None:
        place = replace(cpu.place(workers), nice=cpu.default_nice())
        self.workers = make_workers(workers, name, place.pin, 1, patient=place.is_roomy, crowded=place.is_crowded)
        intraop.hold()
        self.close = weakref.finalize(self, _end, ())
        if workers == 1:
            return
        immortalize()
        try:
            Launch(self._start).run()
        except BaseException:
            self.close()  # the traceback keeps the team alive
            raise

    def _start(self, _: Launch) -> None:
        helpers = self.workers[1:]
        who = self.workers[0].thread.name.rpartition("-")[0]
        start_all(helpers, who, lambda: _end_threads([w for w in helpers if w.thread.ident is not None]))
        # From here on the threads end with the team, even if its creator was interrupted before it got a reference.
        without, self.close = self.close, weakref.finalize(self, _end, helpers)
        without.detach()

    def job(self, calls: Sequence[Call]) -> Callable[[], None]:
        """A function that makes these calls, each time it is called, and returns once all are made.

        Calls of about the same cost begin in their order; a worker that is done takes over calls that others have not begun. If calls
        raised, the exception of the first of them is raised once all are made; KeyboardInterrupt once no other thread makes a call.
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
                shared = SharedCalls(parts, None, leader, workers, history)
                history.planned(plan, time.perf_counter_ns() - history.now_ns)
            return shared.profile_round(plan.unmeasured)

        def make_all() -> None:
            had = intraop.enter_thread()
            before = act_as(leader)
            try:
                batch = shared.run() if shared is not None and shared.prebuilt_batches else profile_round()
            except BaseException:
                self._wait_for_helpers()
                raise
            finally:
                act_as(before)
                intraop.leave_thread(had)
            if batch.failed:
                raise min(batch.failures, key=lambda failed: calls.index(failed[0]))[1]

        return make_all

    def _wait_for_helpers(self) -> None:
        """Wait until no helper makes a call. After Ctrl-C the batch's counters may be inconsistent, so an empty batch is offered and awaited."""
        leader, *helpers = self.workers
        empty = Batch((), None, leader)
        for helper in helpers:
            helper.offer(empty)
        while any(helper.thread.is_alive() and not helper.has_seen(empty) for helper in helpers):
            time.sleep(0.001)


def _make_alone(worker: Worker, calls: Sequence[Call]) -> None:
    """`Team.job` for a team of one: without a batch, which would cost 5 µs per step of environments."""
    failures: list[BaseException] = []
    had = intraop.enter_thread()
    before = act_as(worker)
    try:
        for call in calls:
            try:
                call.call()
            except Exception as error:  # noqa: BLE001 - the other calls are made nevertheless
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
        # With a timeout: a call may hang, abandoned by a second Ctrl-C. And any thread may collect garbage, a worker too.
        if worker.thread is not threading.current_thread():
            worker.thread.join(10.0)
