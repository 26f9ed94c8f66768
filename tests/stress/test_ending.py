"""A run that is stopped, or fails, ends wherever it is: with its reason, its shutdown reactions if it was stopped, and no thread."""

import threading

import pytest
from looking import ask_to_stop, threads_of, until_waiting

from reactornb import (
    Bank,
    Input,
    LogicalAction,
    Output,
    PhysicalAction,
    Program,
    Reactor,
    Shared,
    State,
    Timer,
    connect,
    ms,
    reaction,
    sec,
    shutdown,
    startup,
)
from reactornb.errors import ReactionError
from reactornb.runtime.level_runner import LevelRunner
from reactornb.runtime.sharing import Policy
from reactornb.testing import FakeClock

WAIT = 20.0  # seconds; only ever reached when something is broken
WORKERS = pytest.mark.parametrize("workers", [1, 2, 8])
HOW = pytest.mark.parametrize("how", ["stop", "request_stop", "raise", "exit"])


class Broken(Exception):  # noqa: N818 - it stands for anything a user's code may raise
    """What the reactions here raise."""


class Agent:
    """Ends the run from within a reaction, in one of several ways."""

    def __init__(self, how):
        self.how = how
        self.run = None
        self.entered = threading.Event()
        self.commanded = threading.Event()
        self.shutdowns = []  # list.append is atomic

    def act(self, reactor):
        """To be called by one reaction, once."""
        self.entered.set()
        if self.how == "stop":
            assert self.commanded.wait(WAIT)
        elif self.how == "request_stop":
            reactor.request_stop()
        elif self.how == "raise":
            raise Broken
        else:
            raise SystemExit(3)

    def start(self, root, **options):
        """Start, end and check a run."""
        self.run = Program(root).start(placement="none", **options)
        if self.how == "stop":
            assert self.entered.wait(WAIT)
            ask_to_stop(self.run)
            self.commanded.set()
        self.check()
        return self.run

    def check(self):
        run = self.run
        if self.how in {"stop", "request_stop"}:
            run.result(WAIT)
            assert run.state in ("finished", "stopped")
            assert self.shutdowns == ["shutdown"]
        else:
            with pytest.raises(ReactionError) as caught:
                run.result(WAIT)
            assert isinstance(caught.value.__cause__, Broken if self.how == "raise" else SystemExit)
            assert run.state == "failed"
            assert self.shutdowns == []
        assert not run.is_alive
        assert not threads_of(run)


class Ends(Reactor):
    """Its shutdown is what a stopped run runs and a failed one does not."""

    agent: Shared[object]

    @reaction(shutdown)
    def on_shutdown(self):
        self.agent.shutdowns.append("shutdown")


class AtStartup(Ends):
    act = LogicalAction()

    @reaction(startup)
    def on_startup(self, act):
        act.schedule(0)
        self.agent.act(self)

    @reaction(act)
    def on_act(self, act):
        act.schedule(ms(1))


@WORKERS
@HOW
def test_at_startup(how, workers):
    agent = Agent(how)
    run = agent.start(AtStartup(agent=agent), workers=workers, fast=True)
    assert run.tag.time_ns == 0


class Member(Reactor):
    """One of a level; with a barrier, all run at once and the one on worker `on` acts."""

    agent: Shared[object]
    barrier: object
    on: int
    inp = Input()
    out = Output()

    @reaction(inp)
    def on_inp(self, inp, out):
        out.set(inp.value)
        if self.barrier is None:
            mine = self.bank_index == 2
        else:
            self.barrier.wait(WAIT)
            mine = threading.current_thread().name.endswith(f"-{self.on}")
        if inp.value == 5 and mine:
            self.agent.act(self)


class Rounds(Ends):
    n: int
    gathered = Input(width="n")
    go = Output()

    @reaction(startup)
    def on_startup(self, go):
        go.set(0)

    @reaction(gathered)
    def on_gathered(self, gathered, go):
        self.done += 1
        go.set(self.done)

    done = State(0)


class Meeting(Reactor):
    agent: Shared[object]
    n: int
    on: int
    meet: bool

    def compose(self):
        self.rounds = Rounds(n=self.n, agent=self.agent)
        barrier = threading.Barrier(self.n) if self.meet else None
        self.members = Bank(Member, self.n, barrier=barrier, agent=self.agent, on=self.on)
        connect(self.rounds.go, self.members.inp, after=0)
        connect(self.members.out, self.rounds.gathered)


@WORKERS
@HOW
def test_within_a_level_that_one_worker_runs(how, workers, monkeypatch):
    monkeypatch.setattr(LevelRunner, "policy", Policy(share_above_ns=1 << 60))
    agent = Agent(how)
    run = agent.start(Meeting(agent=agent, n=4, on=0, meet=False), workers=workers, fast=True)
    assert 5 <= run.instance("rounds").done <= 7


@pytest.mark.parametrize("on", [0, 1])
@HOW
def test_within_a_level_that_two_workers_share(how, on, always_share):
    agent = Agent(how)
    run = agent.start(Meeting(agent=agent, n=2, on=on, meet=True), workers=2, fast=True)
    assert 5 <= run.instance("rounds").done <= 7


class Loop(Ends):
    act = LogicalAction()
    n: int = 1
    outs = Output(width="n")

    @reaction(startup, act)
    def on_act(self, act, outs):
        act.schedule(0)
        for out in outs:
            out.set(0)


class Quiet(Reactor):
    inp = Input()

    @reaction(inp)
    def on_inp(self):
        pass


class Busy(Reactor):
    agent: Shared[object]

    def compose(self):
        self.loop = Loop(n=4, agent=self.agent)
        self.quiet = Bank(Quiet, 4)
        connect(self.loop.outs, self.quiet.inp)


@WORKERS
@pytest.mark.parametrize("above_ns", [0, 1 << 60])
def test_between_tags(workers, above_ns, monkeypatch):
    monkeypatch.setattr(LevelRunner, "policy", Policy(share_above_ns=above_ns))
    for _ in range(6):
        agent = Agent("stop")
        agent.run = Program(Busy(agent=agent)).start(workers=workers, fast=True, placement="none")
        agent.run.stop(WAIT)
        agent.check()


class Waits(Ends):
    tick = Timer(sec(3600))
    call = PhysicalAction()

    @reaction(startup)
    def on_startup(self, call):
        self.call = call
        self.agent.ready.set()

    @reaction(tick)
    def on_tick(self):
        raise AssertionError("an hour has passed")

    @reaction(call)
    def on_call(self):
        self.agent.act(self)


def waiting(agent, workers, **parameters):
    """A run that waits for physical time."""
    agent.ready = threading.Event()
    run = agent.run = Program(Waits(agent=agent, **parameters)).start(workers=workers, placement="none")
    assert agent.ready.wait(WAIT)
    until_waiting(run)
    return run


@WORKERS
def test_while_it_waits_for_physical_time(workers):
    agent = Agent("stop")
    waiting(agent, workers).stop(WAIT)
    agent.check()


@WORKERS
@HOW
def test_in_a_reaction_to_an_event_from_outside(how, workers):
    agent = Agent(how)
    run = waiting(agent, workers)
    run.instance("waits").call.schedule(0)
    if how == "stop":
        assert agent.entered.wait(WAIT)
        ask_to_stop(run)
        agent.commanded.set()
    agent.check()


@WORKERS
def test_while_it_is_paused(workers):
    agent = Agent("stop")
    agent.run = Program(Busy(agent=agent)).start(workers=workers, fast=True, placement="none")
    agent.run.pause()
    until_waiting(agent.run)
    agent.run.stop(WAIT)
    agent.check()


@WORKERS
@pytest.mark.parametrize("how", ["request_stop", "raise", "exit"])
def test_in_a_step_of_a_paused_run(how, workers):
    agent = Agent(how)
    run = waiting(agent, workers)
    run.pause()
    run.instance("waits").call.schedule(0)
    run.step()
    assert agent.entered.wait(WAIT)
    run.resume()
    agent.check()


class AtShutdown(Reactor):
    agent: Shared[object]

    @reaction(startup)
    def on_startup(self):
        pass

    @reaction(shutdown)
    def on_shutdown(self):
        self.agent.shutdowns.append("shutdown")
        self.agent.act(self)


@WORKERS
@HOW
def test_in_a_shutdown_reaction(how, workers):
    agent = Agent(how)
    if how in {"raise", "exit"}:
        agent.run = Program(AtShutdown(agent=agent)).start(workers=workers, placement="none")
        with pytest.raises(ReactionError, match="on_shutdown"):
            agent.run.result(WAIT)
        assert agent.shutdowns == ["shutdown"]
    else:
        agent.start(AtShutdown(agent=agent), workers=workers)


class Factory(Reactor):
    x = State(factory=lambda self: 1 // 0)


@WORKERS
def test_before_its_first_tag(workers):
    for _ in range(5):
        with pytest.raises(ZeroDivisionError):
            Program(Factory()).start(workers=workers)


@WORKERS
def test_at_once_by_many(workers):
    agent = Agent("stop")
    agent.run = Program(Busy(agent=agent)).start(workers=workers, fast=True, placement="none")
    barrier = threading.Barrier(6)

    def stop():
        barrier.wait(WAIT)
        agent.run.stop(WAIT)

    stoppers = [threading.Thread(target=stop) for _ in range(6)]
    for t in stoppers:
        t.start()
    for t in stoppers:
        t.join()
    agent.check()


class AllFail(Reactor):
    tick = Timer(ms(1))

    @reaction(tick)
    def on_tick(self):
        raise Broken(self.bank_index)


class Failures(Reactor):
    fails = Bank(AllFail, 16)


@WORKERS
def test_of_many_failures_the_first_in_order_is_reported(workers, always_share):
    for _ in range(10):
        with pytest.raises(ReactionError, match=r"fails\[0\]\.on_tick") as caught:
            Program(Failures()).run(workers=workers, clock=FakeClock(), placement="none")
        assert caught.value.__cause__.args == (0,)
