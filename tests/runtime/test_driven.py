"""Driven runs: the caller is worker 0, and nothing happens between its calls."""

import threading

import pytest

from reactornb import (
    Bank,
    Input,
    LogicalAction,
    Output,
    PhysicalAction,
    Program,
    Reactor,
    Shared,
    connect,
    ms,
    ns,
    reaction,
    shutdown,
    startup,
)
from reactornb.errors import ReactionError, RunError
from reactornb.runtime.clock import FakeClock
from reactornb.runtime.level_runner import LevelRunner
from reactornb.runtime.sharing import Policy
from reactornb.runtime.workers import current_scheduler

WAIT = 10.0


class Member(Reactor):
    inp = Input()
    out = Output()
    barrier: object = None

    @reaction(inp)
    def on_inp(self, inp, out):
        if self.barrier is not None:
            self.barrier.wait(WAIT)
        if inp.value < 0:
            raise ValueError("negative")
        out.set((inp.value + self.bank_index, threading.current_thread().name))


class Caller(Reactor):
    call = PhysicalAction()
    ask = Output()
    calls: Shared[list]

    @reaction(call)
    def on_call(self, call, ask):
        ask.set(call.value)

    @reaction(startup)
    def on_startup(self, call):
        self.calls.append(call)


class Collect(Reactor):
    replies = Input(width="n")
    n: int
    results: Shared[list]

    @reaction(replies)
    def on_replies(self, replies):
        self.results.append(replies.values)

    @reaction(shutdown)
    def on_shutdown(self):
        self.results.append("over")


class Main(Reactor):
    n: int = 2
    barrier: object = None
    calls: Shared[list]
    results: Shared[list]

    def compose(self):
        self.caller = Caller(calls=self.calls)
        self.members = Bank(Member, self.n, barrier=self.barrier)
        self.collect = Collect(n=self.n, results=self.results)
        connect(self.caller.ask, self.members.inp, broadcast=True)
        connect(self.members.out, self.collect.replies)


def started(workers, **parameters):
    calls, results = [], []
    run = Program(Main(calls=calls, results=results, **parameters)).start(
        workers=workers, driven=True, fast=True, placement="none"
    )
    return run, calls, results


def test_each_call_executes_what_was_scheduled_and_returns():
    run, calls, results = started(1)
    assert run.advance()
    assert results == []
    calls[0].schedule(0, 10)
    assert results == []  # nothing happens by itself
    assert run.advance()
    me = threading.current_thread().name
    assert results == [[(10, me), (11, me)]]
    assert run.advance()
    assert len(results) == 1
    run.stop()
    assert results[1:] == ["over"]
    assert run.state == "stopped"
    assert not run.advance()


def test_the_caller_and_the_other_workers_share_a_level(monkeypatch):
    monkeypatch.setattr(LevelRunner, "policy", Policy(share_above_ns=0))
    run, calls, results = started(2, barrier=threading.Barrier(2))
    run.advance()
    for k in range(20):
        calls[0].schedule(0, k)
        assert run.advance()
        values, names = zip(*results[-1], strict=True)
        assert values == (k, k + 1)
        assert len(set(names)) == 2
        assert threading.current_thread().name in names
    run.stop()
    assert not any(w.thread.is_alive() for w in run._engine.workers)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failure_is_raised_where_the_run_is_driven(workers):
    run, calls, _ = started(workers)
    run.advance()
    calls[0].schedule(0, -1)
    with pytest.raises(ReactionError, match=r"members\[0\].*negative"):
        run.advance()
    assert run.state == "failed"
    assert not any(w.thread.is_alive() for w in run._engine.workers)


def test_only_a_driven_run_is_advanced():
    run = Program(Main(calls=[], results=[])).start(workers=1, placement="none")
    with pytest.raises(RunError, match="driven=True"):
        run.advance()
    run.stop()


def test_a_reaction_may_drive_a_run_of_its_own():
    class Outer(Reactor):
        inp = Input()

        @reaction(inp)
        def on_inp(self, inp):
            before = current_scheduler()
            inner, calls, results = started(1)
            inner.advance()
            calls[0].schedule(0, self.bank_index)
            inner.advance()
            inner.stop()
            assert current_scheduler() is before
            self.log(first=results[0][0][0], second=results[0][1][0])

    class Ask(Reactor):
        out = Output()

        @reaction(startup)
        def on_startup(self, out):
            out.set(0)

    class Around(Reactor):
        def compose(self):
            self.ask = Ask()
            self.outer = Bank(Outer, 3)
            connect(self.ask.out, self.outer.inp, broadcast=True)

    metrics = Program(Around()).run(workers=2, profile=True, placement="none").metrics
    assert list(metrics["first"]) == [0, 1, 2]
    assert list(metrics["second"]) == [1, 2, 3]


class Recorder(Reactor):
    """Notes when an action came and with what value; answers some with a logical action that comes much later."""

    asked = PhysicalAction()
    later = LogicalAction()
    busy: bool = False
    seen: Shared[list]

    @reaction(startup)
    def on_startup(self, asked):
        self.seen.append(asked.schedule)

    @reaction(asked, later)
    def on_asked(self, asked, later):
        if asked.is_present:
            self.seen.append((self.time_ns, self.tag.microstep, asked.value))
            if self.busy:
                later.schedule(ms(1) * 3600_000)


@pytest.mark.parametrize("busy", [False, True])
@pytest.mark.parametrize("together", [1, 2, 3])
def test_what_is_scheduled_from_outside_comes_in_order_whether_or_not_more_is_queued(busy, together):
    clock = FakeClock()
    seen = []
    run = Program(Recorder(busy=busy, seen=seen)).start(workers=1, driven=True, clock=clock, placement="none")
    run.advance()
    schedule = seen.pop()
    for k in range(0, 12, together):
        if k % 4 == 0:  # else the physical time is that of the last tag
            clock.advance(ns(10))
        for j in range(together):
            schedule(0, k + j)
        run.advance()
    run.stop()
    assert [value for _, _, value in seen] == list(range(12))
    tags = [(time_ns, microstep) for time_ns, microstep, _ in seen]
    assert tags == sorted(set(tags))
