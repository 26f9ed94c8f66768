"""A level in which a reaction raises: the same reactions count for any number of workers, and the run is soon over."""

import threading
import time

import pytest

from reactornb import Bank, Input, Output, Program, Reactor, Timer, connect, enclave, ms, reaction, startup
from reactornb.errors import ReactionError, RunError
from reactornb.runtime.level_runner import LevelRunner
from reactornb.runtime.sharing import Policy
from reactornb.testing import logged

WORKERS = (1, 2, 8)


class Member(Reactor):
    go = Input[int]()
    culprits: tuple[int, ...] = (3,)
    pause: float = 0.0
    fails_at: int = 2
    ran: int = 0

    @reaction(go)
    def on_go(self, go):
        self.log(seen=go.value)
        if self.pause:
            time.sleep(self.pause)
        if go.value == self.fails_at and self.bank_index in self.culprits:
            raise ValueError(f"member {self.bank_index}")
        self.ran += 1


class Ticker(Reactor):
    tick = Timer(offset=0, period=ms(1))
    even = Output[int]()
    odd = Output[int]()

    @reaction(tick)
    def on_tick(self, even, odd):
        even.set(self.time_ns // ms(1))
        odd.set(self.time_ns // ms(1))


class Level(Reactor):
    n: int = 40
    culprits: tuple[int, ...] = (3,)
    pause: float = 0.0
    fails_at: int = 2

    def compose(self):
        self.ticker = Ticker()
        self.members = Bank(Member, self.n, culprits=self.culprits, pause=self.pause, fails_at=self.fails_at)
        connect(self.ticker.even, self.members.go, broadcast=True)


def failed(workers, *, share=True, trace=True, **parameters):
    run = Program(Level, **parameters).start(workers=workers, fast=True, trace=trace, fingerprint=True, until=ms(9))
    with pytest.raises(ReactionError) as caught:
        run.result(30)
    return run, caught.value


@pytest.fixture
def share_all(monkeypatch):
    """Share every level among all workers."""
    monkeypatch.setattr(LevelRunner, "policy", Policy(share_above_ns=0))


@pytest.mark.parametrize("culprits", [(3,), (0,), (39,), (31, 7, 12), tuple(range(40))])
def test_the_same_reactions_count_for_any_number_of_workers(culprits, share_all):
    found = []
    for workers in WORKERS:
        run, error = failed(workers, culprits=culprits)
        assert error.reaction == f"level.members[{min(culprits)}].on_go"
        assert str(error.__cause__) == f"member {min(culprits)}"
        found.append((run.trace.executions, run.trace.writes, run.metrics, run.fingerprint, run.reactions, run.tag))
    assert found[1:] == found[:-1]
    executions = [name for tag, name in found[0][0] if tag == (ms(2), 0)]
    assert executions == ["level.ticker.on_tick", *(f"level.members[{i}].on_go" for i in range(min(culprits) + 1))]
    assert len(found[0][2]["seen"]) == 2 * 40 + min(culprits) + 1


@pytest.mark.parametrize("workers", WORKERS)
def test_groups_that_are_called_directly_count_likewise(workers):
    run, _ = failed(workers, trace=False, culprits=(5, 6))
    assert run.reactions == 3 + 2 * 40 + 6
    assert len(run.metrics["seen"]) == 2 * 40 + 6


@pytest.mark.parametrize("workers", WORKERS)
def test_state_that_can_be_looked_at_is_that_of_one_worker(workers, share_all):
    run, _ = failed(workers, culprits=(20,))
    for i in range(40):
        if run._engine.spoilt(2 + i) is None:
            assert run.instance(f"members[{i}]").ran == (3 if i < 20 else 2)
        else:
            assert workers > 1
            assert i > 20
            with pytest.raises(RunError, match=rf"members\[{i}\].on_go had begun on another worker"):
                run.instance(f"members[{i}]")


class Interleaved(Reactor):
    """Two groups of one level with numbers in between each other, which are called one group after the other."""

    culprits: tuple[int, ...] = ()

    def compose(self):
        self.ticker = Ticker()
        self.members = Bank(Member, 8, culprits=self.culprits)
        for i in range(8):
            connect(self.ticker.odd if i % 2 else self.ticker.even, self.members[i].go)


@pytest.mark.parametrize("culprits", [(4,), (4, 3), (7,), (6, 1)])
def test_what_comes_before_a_failure_by_its_number_runs_though_its_group_comes_later(culprits, share_all):
    found = []
    for workers in WORKERS:
        run = Program(Interleaved, culprits=culprits).start(workers=workers, fast=True, until=ms(9))
        with pytest.raises(ReactionError, match=rf"members\[{min(culprits)}\]"):
            run.result(30)
        found.append((run.metrics, run.reactions))
        for i in range(min(culprits)):
            assert run.instance(f"members[{i}]").ran == 3
    assert found[1:] == found[:-1]
    assert len(found[0][0]["seen"]) == 2 * 8 + min(culprits) + 1


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 8])
def test_no_reaction_begins_once_a_failure_is_known(workers):
    run, _ = failed(workers, n=200, culprits=(0,), pause=0.005, fails_at=0)
    # The first is among those that begin first, and raises after 5 ms; all of them would take a second of one worker's time.
    assert sum(run._engine.schedule.instances[i + 2].ran for i in range(200)) < 100


def test_a_reaction_that_had_begun_is_waited_for_and_does_not_count(share_all):
    begun, failing = threading.Event(), threading.Event()

    class First(Reactor):
        @reaction(startup)
        def on_startup(self):
            assert begun.wait(10)
            failing.set()
            raise ValueError("first")

    class Second(Reactor):
        done: bool = False

        @reaction(startup)
        def on_startup(self):
            self.log(seen=1)
            begun.set()
            assert failing.wait(10)
            self.done = True

    class Both(Reactor):
        first = First()
        second = Second()

    run = Program(Both).start(workers=2, trace=True)
    with pytest.raises(ReactionError, match="first"):
        run.result(30)
    assert run._engine.schedule.instances[2].done
    assert run.metrics == {}
    assert run.trace.reactions() == ["both.first.on_startup"]
    assert run.reactions == 1
    with pytest.raises(RunError, match="With workers=1 it does not run"):
        run.instance("second")


class Counter(Reactor):
    tick = Timer(offset=0, period=ms(1))
    out = Output[int]()
    fails_at: int = -1

    @reaction(tick)
    def on_tick(self, out):
        out.set(self.time_ns)
        self.log(seen=self.time_ns)
        if self.time_ns // ms(1) == self.fails_at:
            raise ValueError(self.full_name)


@pytest.mark.parametrize("repeat", range(5))
def test_enclaves_that_are_ahead_of_one_that_fails_leave_no_mark(repeat):
    class Apart(Reactor):
        a = enclave(Counter(fails_at=20))
        b = enclave(Counter())

    class Together(Reactor):
        a = Counter(fails_at=20)
        b = Counter()

    found = []
    for root, workers in ((Apart, 1), (Apart, 2), (Apart, 8), (Together, 1), (Together, 2)):
        run = Program(root).start(workers=workers, fast=True, trace=True, fingerprint=True, until=ms(500))
        with pytest.raises(ReactionError, match=r"\.a"):
            run.result(30)
        seen = [row for row in logged(run, "seen") if row[0] < (ms(20), 0)]
        found.append((run.fingerprint, [(tag, value) for tag, _, value in run.trace.writes], seen))
        assert max(run.metrics["seen"].tags) == (ms(20), 0)
        assert max(tag for tag, _ in found[-1][1]) == (ms(19), 0)
    assert found[1:] == found[:-1]


@pytest.mark.parametrize("repeat", range(5))
def test_of_two_enclaves_that_fail_at_one_tag_the_first_is_reported(repeat):
    class Apart(Reactor):
        a = enclave(Counter(fails_at=7))
        b = enclave(Counter(fails_at=7))

    for workers in WORKERS:
        with pytest.raises(ReactionError) as caught:
            Program(Apart).run(workers=workers, fast=True, until=ms(50))
        assert caught.value.reaction == "apart.a.on_tick"
