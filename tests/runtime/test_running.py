"""Running for real: threads, stopping, failing, and the same result whatever the number of workers."""

import threading
from types import SimpleNamespace

import pytest
from stepping import Stepped, settle

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
    ns,
    reaction,
    sec,
    shutdown,
    startup,
)
from reactornb.errors import ReactionError, RunError, ValueChangedError
from reactornb.runtime.level_runner import LevelRunner
from reactornb.runtime.sharing import Policy
from reactornb.runtime.workers import current_scheduler
from reactornb.testing import FakeClock, run_to_end

WAIT = 20.0  # seconds; only ever reached when something is broken


class Loop(Reactor):
    """A loop of zero delays that only `stop` ends."""

    act = LogicalAction()

    @reaction(startup, act)
    def on_act(self, act):
        self.rounds += 1
        act.schedule(0)

    rounds = State(0)


class Meet(Reactor):
    """Waits at a barrier with its siblings: passes only if they run at the same time."""

    barrier: object
    inp = Input()
    out = Output()

    @reaction(inp)
    def on_inp(self, inp, out):
        self.barrier.wait(WAIT)
        out.set((self.bank_index, float(self.rng.random())))


class Rounds(Reactor):
    """`n` members meet in each of `rounds` rounds."""

    n: int = 2
    rounds: int = 20
    barrier: object
    gathered = Input(width="n")
    go = Output()

    @reaction(startup)
    def on_startup(self, go):
        self.done = 0
        go.set(0)

    @reaction(gathered)
    def on_gathered(self, gathered, go):
        assert [i for i, _ in gathered.values] == list(range(self.n))
        self.done += 1
        if self.done < self.rounds:
            go.set(self.done)


class Meeting(Reactor):
    n: int = 2
    rounds: int = 20

    def compose(self):
        barrier = threading.Barrier(self.n)
        self.rounds_ = Rounds(n=self.n, rounds=self.rounds, barrier=barrier)
        self.members = Bank(Meet, self.n, barrier=barrier)
        connect(self.rounds_.go, self.members.inp, after=0)
        connect(self.members.out, self.rounds_.gathered)


@pytest.fixture
def always_share(monkeypatch):
    """Offer every level to all workers, however cheap it is."""
    monkeypatch.setattr(LevelRunner, "policy", Policy(share_above_ns=0))


@pytest.mark.parametrize("n", [2, 4])
def test_reactions_of_one_level_run_at_the_same_time(n, always_share):
    result = Program(Meeting(n=n)).run(workers=n, placement="none")
    assert result.reactions == 1 + 20 * (n + 1)


class Noise(Reactor):
    inp = Input()
    out = Output()
    act = LogicalAction()

    @reaction(inp)
    def on_inp(self, inp, out, act):
        sum(range(int(self.rng.integers(1, 3000))))
        out.set(inp.value + float(self.rng.random()))
        if self.rng.random() < 0.5:
            act.schedule(ns(self.rng.integers(0, 3)), self.bank_index)

    @reaction(act)
    def on_act(self, act, out):
        out.set(float(act.value))


class Mix(Reactor):
    replies = Input(width="n")
    ask = Output()
    n: int
    rounds: int

    @reaction(startup)
    def on_startup(self, ask):
        self.k = 0
        ask.set(0.0)

    @reaction(replies)
    def on_replies(self, replies, ask):
        self.k += 1
        if self.k < self.rounds:
            ask.set(sum(replies.values))


class Mixer(Reactor):
    n: int = 12
    rounds: int = 150

    def compose(self):
        self.mix = Mix(n=self.n, rounds=self.rounds)
        self.noise = Bank(Noise, self.n)
        connect(self.mix.ask, self.noise.inp, after=0)
        connect(self.noise.out, self.mix.replies)


@pytest.mark.parametrize("above_ns", [0, Policy.share_above_ns])
def test_one_two_and_eight_workers_leave_the_same_fingerprint(above_ns, monkeypatch):
    monkeypatch.setattr(LevelRunner, "policy", Policy(share_above_ns=above_ns))
    prints = {Program(Mixer()).run(workers=w, fast=True, fingerprint=True).fingerprint for w in (1, 2, 8)}
    assert len(prints) == 1


def test_another_seed_leaves_another_fingerprint():
    prints = {Program(Mixer(rounds=20)).run(workers=2, seed=s, fast=True, fingerprint=True).fingerprint for s in (0, 1)}
    assert len(prints) == 2


def test_a_program_runs_again_with_the_same_result():
    program = Program(Mixer(rounds=20))
    assert program.run(workers=2, fast=True, fingerprint=True).fingerprint == (
        program.run(workers=1, fast=True, fingerprint=True).fingerprint
    )


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_stop_ends_an_endless_run(workers):
    run = Program(Loop()).start(workers=workers, fast=True)
    assert run.state == "running"
    run.stop(WAIT)
    assert (run.state, run.is_alive) == ("stopped", False)
    assert run.instance("loop").rounds > 0


def test_starting_twice_says_how_to_stop():
    program = Program(Loop())
    run = program.start(workers=1)
    try:
        with pytest.raises(RunError, match=r"running already.*run\.stop\(\) or %reactor stop"):
            program.start()
    finally:
        run.stop(WAIT)
    program.start(workers=1).stop(WAIT)


@pytest.mark.parametrize("workers", [0, -1, 1.5, True])
def test_the_number_of_workers_is_checked(workers):
    with pytest.raises(RunError, match="at least 1"):
        Program(Loop()).start(workers=workers)


class Fails(Reactor):
    tick = Timer(0, ms(1))
    at: int = ms(5)

    @reaction(tick)
    def on_tick(self):
        if self.time_ns == self.at:
            raise ZeroDivisionError(f"member {self.bank_index}")
        self.log(ok=1)

    @reaction(shutdown)
    def on_shutdown(self):
        raise AssertionError("a failed run has no shutdown reactions")


class FailingBank(Reactor):
    fails = Bank(Fails, 4)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_reaction_that_raises_stops_the_run_at_its_tag(workers):
    run = Program(FailingBank()).start(workers=workers, clock=FakeClock())
    with pytest.raises(
        ReactionError, match=r"failing_bank\.fails\[0\]\.on_tick raised at tag \(5 ms, 0\).*member 0"
    ) as caught:
        run.result(WAIT)
    assert caught.value.tag == (ms(5), 0)
    assert caught.value.source.line == Fails._spec.reactions[0].fn.__code__.co_firstlineno + 3
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert run.state == "failed"
    assert len(run.metrics["ok"]) == 20, "what was logged before the failure is kept"


def test_a_state_that_cannot_be_made_leaves_no_thread():
    class Bad(Reactor):
        x = State(factory=lambda self: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        Program(Bad()).start(workers=2)


def test_pause_holds_the_run_and_step_executes_single_tags():
    run = Program(Loop()).start(workers=1, fast=True)
    try:
        run.pause()
        while not run._engine.waiting:
            pass
        before = run.tags
        assert run.state == "paused"
        run.step(3)
        while run.tags < before + 3:
            pass
        while not run._engine.waiting:
            pass
        assert run.tags == before + 3
        run.resume()
        while run.tags < before + 100:
            pass
    finally:
        run.stop(WAIT)


class Listen(Reactor):
    call = PhysicalAction()

    @reaction(call)
    def on_call(self, call):
        self.heard.append(call.value)
        if call.value == "end":
            self.request_stop()

    @reaction(startup)
    def on_startup(self, call):
        self.registry["call"] = call

    heard = State([])
    registry: Shared[object]


def test_a_physical_action_from_any_thread_is_never_lost():
    registry = {}
    program = Program(Listen(registry=registry))
    run = program.start(workers=2)
    while "call" not in registry:
        pass

    def post(name):
        for i in range(200):
            registry["call"].schedule(0, (name, i))

    threads = [threading.Thread(target=post, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    registry["call"].schedule(0, "end")
    run.result(WAIT)
    heard = run.instance("listen").heard
    assert len(heard) == 801
    for name in range(4):
        assert [i for n, i in heard[:-1] if n == name] == list(range(200))


def test_two_runs_at_once_do_not_disturb_each_other():
    alone = Program(Mixer(rounds=40)).run(workers=2, fast=True, fingerprint=True).fingerprint
    runs = [Program(Mixer(rounds=40)).start(workers=2, fast=True, fingerprint=True) for _ in range(3)]
    assert {r.result(WAIT).fingerprint for r in runs} == {alone}


def test_a_run_can_be_started_from_a_reaction():
    class Outer(Reactor):
        @reaction(startup)
        def on_startup(self):
            self.inner = Program(Mixer(rounds=10)).run(workers=2, fast=True, fingerprint=True).fingerprint

    program = Program(Outer())
    program.run(workers=1)
    assert program.last_run.instance("outer").inner == (
        Program(Mixer(rounds=10)).run(workers=1, fast=True, fingerprint=True).fingerprint
    )


def test_a_reaction_that_changes_a_value_is_named():
    class Send(Reactor):
        out = Output()

        @reaction(startup)
        def on_startup(self, out):
            out.set(SimpleNamespace(items=[1, 2]))

    class Change(Reactor):
        inp = Input()

        @reaction(inp)
        def on_inp(self, inp):
            inp.value.items.append(3)

    class Top(Reactor):
        send = Send()
        change = Change()
        connect(send.out, change.inp)

    run_to_end(Top())
    with pytest.raises(ReactionError, match=r"top\.change\.on_inp.*changed the value") as caught:
        run_to_end(Top(), check_values=True)
    assert isinstance(caught.value.__cause__, ValueChangedError)


def test_logical_time_waits_for_physical_time_unless_fast():
    class Tick(Reactor):
        tick = Timer(0, ms(20))

        @reaction(tick)
        def on_tick(self):
            self.lags.append(self.lag_ns)

        lags = State([])

    program = Program(Tick())
    result = program.run(workers=1, until=ms(60))
    assert result.seconds >= 0.06
    assert all(lag >= 0 for lag in program.last_run.instance("tick").lags)
    program.run(workers=1, until=sec(3600), fast=True)
    assert program.last_run.tag.time_ns == sec(3600)


def test_stopping_wakes_a_run_that_waits_for_physical_time():
    class Slow(Reactor):
        tick = Timer(sec(3600))

        @reaction(tick)
        def on_tick(self):
            pass

    run = Program(Slow()).start(workers=2)
    run.stop(WAIT)
    assert run.tag.time_ns == 0


def test_status_says_lag_queues_missed_deadlines_and_the_time_of_each_worker():
    class Late(Reactor):
        tick = Timer(0, ms(1))
        later = LogicalAction(ms(50))
        key = PhysicalAction()
        on_late = 0

        @reaction(tick, deadline=ms(2))
        def on_tick(self, later, key):
            later.schedule()
            self.post = key.schedule

        @on_tick.missed
        def late(self, later, key):
            self.on_late += 1

    made = Stepped(Late())
    run = made.run
    try:
        made.advance(ms(1))
        status = run.status()
        assert (status["deadlines_missed"], status["lag"], status["inbox"]) == (0, 0.0, 0)
        assert status["queue"] == 1 + 2, "the timer, and two events of the action"
        run.pause()
        made.advance(ms(7))
        run.instance("late").post()
        settle(run)
        assert run.status()["inbox"] == 1
        settle(run.resume())
        assert run.status()["inbox"] == 0
        assert run.status()["deadlines_missed"] == run.instance("late").on_late == 4, "those of 2, 3, 4 and 5 ms"
    finally:
        run.stop()
    assert run.status()["lag"] is None
    assert run.status()["queue"] == 0


def test_the_time_of_each_worker_is_known_when_the_run_is_over():
    run = Program(Mixer(rounds=50)).start(workers=2, fast=True)
    run.result(WAIT)
    used = run.status()["worker_seconds"]
    assert len(used) == 2
    assert all(0 < seconds < WAIT for seconds in used)


def test_status_is_plain_data():
    run = Program(Mixer(rounds=5)).start(workers=2, fast=True)
    run.result(WAIT)
    status = run.status()
    assert (status["state"], status["program"], status["workers"]) == ("finished", "mixer", 2)


def test_a_reaction_may_run_a_program_of_its_own():
    class Inner(Reactor):
        number: int

        @reaction(startup)
        def on_startup(self):
            self.log(number=self.number)

    class Outer(Reactor):
        inp = Input()

        @reaction(inp)
        def on_inp(self, inp):
            before = current_scheduler()
            inner = Program(Inner(number=self.bank_index)).run(workers=1, clock=FakeClock())
            assert current_scheduler() is before
            self.log(number=inner.metrics["number"][0])

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
    assert list(metrics["number"]) == [0, 1, 2]
