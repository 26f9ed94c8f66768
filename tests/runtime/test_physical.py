"""Physical time: sleeps that end late, runs that never sleep, and events from other threads."""

import contextlib
import itertools
import sys
import threading

import pytest
from stepping import Stepped, settle

from reactornb import (
    Input,
    LogicalAction,
    Output,
    PhysicalAction,
    Program,
    Reactor,
    Shared,
    State,
    Tag,
    Timer,
    connect,
    ms,
    ns,
    reaction,
    sec,
    startup,
    us,
)
from reactornb.errors import InboxFullError, ReactionError
from reactornb.runtime import clock as clocks
from reactornb.runtime.clock import RealClock, Wake
from reactornb.runtime.inbox import Inbox
from reactornb.testing import FakeClock

pytestmark = pytest.mark.alone  # how threads share the machine's time is part of what is asserted

WAIT = 20.0  # seconds; only ever reached when something is broken

# ---------------------------------------------------------------- sleeping


class Ticks(Reactor):
    tick = Timer(0, ms(1))

    @reaction(tick)
    def on_tick(self):
        self.lags.append(self.lag_ns)

    lags = State([])


class LateClock(FakeClock):
    """Every wait ends 100 µs late."""

    def wait(self, until_ns, wake):
        super().wait(until_ns, wake)
        self.advance(us(100))


def test_lateness_does_not_add_up():
    program = Program(Ticks())
    program.run(workers=1, clock=LateClock(), until=sec(1))
    assert program.last_run.instance("ticks").lags == [0] + [us(100)] * 1000


class Machine:
    """A machine on which sleeping ends late, as seen by `RealClock`: looking at the time takes 0.1 µs."""

    def __init__(self, overshoots_ns):
        self.now = 0
        self.looked = 0
        self.overshoots = itertools.cycle(overshoots_ns)

    def perf_counter_ns(self):
        self.now += 100
        self.looked += 1
        return self.now

    def time_ns(self):
        return 0

    # as the flag that ends the wait
    def is_set(self):
        return False

    def wait(self, timeout=None):
        self.now += round(timeout * 1e9) + next(self.overshoots)
        return False


MACHINES = {
    "as here": [90_000, 84_000, 97_000, 88_000, 93_000, 91_000],
    "quick": [3_000, 4_000, 2_000],
    "slow": [290_000, 284_000, 297_000, 288_000, 293_000, 291_000],
    "shared": [140_000, 125_000, 4_000_000, 131_000, 128_000, 9_000_000, 136_000],
}


@pytest.mark.parametrize("overshoots", MACHINES.values(), ids=MACHINES)
def test_a_sleep_aims_early_by_what_sleeps_are_late_by(overshoots, monkeypatch):
    machine = Machine(overshoots)
    monkeypatch.setattr(clocks, "time", machine)
    clock = RealClock()
    clock.start()
    late, spun, waits = [], [], []
    for k in range(1, 2001):
        before, due, calls = machine.looked, ms(20) * k, 0
        while clock.elapsed_ns() < due:
            machine.now += us(50)  # the scheduler looks whether anything is due
            clock.wait(due, machine)
            calls += 1
        waits.append(calls)
        late.append(clock.elapsed_ns() - due)
        spun.append((machine.looked - before) * 100)
    settled, spins = sorted(late[30:]), sorted(spun[30:])
    assert settled[len(settled) // 2] < us(20)
    assert sorted(waits[30:])[1000] == 2, "the scheduler's code is in the caches when it is time"
    assert max(waits) == 2
    assert spins[len(spins) // 2] < us(75), "no long spinning"
    assert max(spun) <= RealClock.most_early_ns + RealClock.warm_up_ns + us(2), "a bound on spinning"


def test_who_waits_for_a_short_time_is_not_let_go_early_to_spin(monkeypatch):
    machine = Machine([3_000])
    monkeypatch.setattr(clocks, "time", machine)
    clock = RealClock()
    clock.start()
    spun = []
    for k in range(1, 1001):
        before, due = machine.looked, us(500) * k
        while clock.elapsed_ns() < due:
            clock.wait(due, machine)
        spun.append((machine.looked - before) * 100)
    assert sorted(spun[200:])[400] < us(15), "a 64th of 500 us at most, and what sleeps are late by"


def test_an_instant_that_has_passed_is_not_waited_for():
    clock = RealClock()
    clock.start()
    clock.wait(-1, None)  # would fail on any use of the flag


def test_a_flag_that_is_set_ends_a_wait_however_long():
    wake = Wake()
    wake.set()
    wake.set()
    clock = RealClock()
    clock.start()
    clock.wait(sec(3600 * 24 * 365 * 200), wake)
    clock.wait(None, wake)
    assert wake.is_set()
    wake.clear()
    wake.clear()
    assert not wake.is_set()
    assert not wake.wait(0.0)


class Sleepless(FakeClock):
    def wait(self, until_ns, wake):
        assert until_ns is None, f"waited until {until_ns}"  # None: a worker without work waits for some
        super().wait(until_ns, wake)


class Busy(Reactor):
    out = Output()
    inp = Input()
    tick = Timer(ms(3), ms(7))
    act = LogicalAction(ms(2))

    @reaction(startup, tick)
    def on_tick(self, out, act):
        out.set(1)
        act.schedule(ms(5))

    @reaction(act, inp)
    def on_act(self):
        self.seen += 1

    seen = State(0)


class Delayed(Reactor):
    busy = Busy()
    connect(busy.out, busy.inp, after=ms(11))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_fast_run_never_waits(workers):
    program = Program(Delayed())
    result = program.run(workers=workers, fast=True, until=sec(10), clock=Sleepless())
    assert result.tag == Tag(sec(10))
    assert program.last_run.instance("busy").seen > 2000


# ---------------------------------------------------------------- events from other threads


class Listen(Reactor):
    """Keeps what it hears, and hands out the action."""

    call = PhysicalAction()
    ready: Shared[object]
    held: object = None  # an Event that the first reaction to the action waits for

    @reaction(startup)
    def on_startup(self, call):
        self.call = call
        self.ready.set()

    @reaction(call)
    def on_call(self, call):
        if self.held is not None:
            self.entered.set()
            self.held.wait(WAIT)
        self.heard.append((self.tag, call.value))
        if callable(call.value):
            call.value()

    heard = State([])
    entered = State(factory=lambda self: threading.Event())


@contextlib.contextmanager
def listening(workers=1, **parameters):
    """A run that listens: (run, its reactor); stopped in the end."""
    ready = threading.Event()
    run = Program(Listen(ready=ready, **parameters)).start(workers=workers, placement="none")
    try:
        assert ready.wait(WAIT)
        yield run, run.instance("listen")
    finally:
        run.stop(WAIT)


def sync(listener):
    """Return once everything scheduled before is handled."""
    done = threading.Event()
    listener.call.schedule(0, done.set)
    assert done.wait(WAIT)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_many_threads_schedule_at_once_is_all_there_in_strict_order(workers):
    threads, each = 8, 250
    barrier = threading.Barrier(threads)
    with listening(workers) as (run, listener):

        def post(name):
            for i in range(each):
                if i % 50 == 0:
                    barrier.wait(WAIT)
                listener.call.schedule(0, (name, i))

        posters = [threading.Thread(target=post, args=(n,)) for n in range(threads)]
        for t in posters:
            t.start()
        for t in posters:
            t.join()
        sync(listener)
        heard = listener.heard[:-1]
        assert run.status()["refused"] == 0
    tags = [tag for tag, _ in heard]
    assert all(a < b for a, b in itertools.pairwise(tags))
    for name in range(threads):
        assert [i for _, (n, i) in heard if n == name] == list(range(each))


@pytest.mark.slow
def test_no_event_is_slept_over():
    with listening() as (_, listener):
        for _ in range(2000):  # each time the run is parked, or just about to be
            sync(listener)
        assert len(listener.heard) == 2000


def test_a_full_inbox_refuses_and_says_so_and_what_it_took_is_handled(monkeypatch):
    monkeypatch.setattr(Inbox, "limit", 100)
    held = threading.Event()
    with listening(held=held) as (run, listener):
        listener.call.schedule(0, "first")
        assert listener.entered.wait(WAIT)
        taken = []
        for i in range(150):
            with contextlib.suppress(InboxFullError):
                listener.call.schedule(0, i)
                taken.append(i)
        assert taken == list(range(100))
        with pytest.raises(InboxFullError, match=r"listen\.call: 100 .* refused.*schedule less often") as caught:
            listener.call.schedule(0)
        assert caught.value.action == "listen.call"
        held.set()
        while len(listener.heard) < 101:
            pass
        sync(listener)
        assert [v for _, v in listener.heard[:101]] == ["first", *taken]
        assert run.status()["refused"] == 51


def test_events_that_wait_in_the_queue_count_too(monkeypatch):
    monkeypatch.setattr(Inbox, "limit", 100)
    with listening() as (run, listener):
        taken = 0
        for _ in range(200):
            with contextlib.suppress(InboxFullError):
                listener.call.schedule(sec(3600))
                taken += 1
        # One more than the limit while the scheduler has one in hand.
        assert taken in (100, 101)
        assert run.status()["refused"] == 200 - taken


class Floods(Reactor):
    act = PhysicalAction()
    gentle: bool = False

    @reaction(startup)
    def on_startup(self, act):
        for _ in range(200):
            with contextlib.suppress(InboxFullError) if self.gentle else contextlib.nullcontext():
                act.schedule(0)

    @reaction(act)
    def on_act(self):
        self.seen += 1
        if self.seen == 100:
            self.request_stop()

    seen = State(0)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_reaction_that_floods_its_own_run_is_refused_and_not_blocked(workers, monkeypatch):
    monkeypatch.setattr(Inbox, "limit", 100)
    program = Program(Floods(gentle=True))
    program.run(workers=workers)
    assert program.last_run.instance("floods").seen == 100
    with pytest.raises(ReactionError, match="100 scheduled events wait") as caught:
        Program(Floods()).run(workers=workers)
    assert isinstance(caught.value.__cause__, InboxFullError)


def test_scheduling_after_the_end_is_ignored():
    with listening() as (run, listener):
        sync(listener)
    for _ in range(10):
        listener.call.schedule(0, "too late")
    assert len(listener.heard) == 1
    assert run.state == "stopped"


def test_a_signal_handler_may_schedule_wherever_it_interrupts_scheduling():
    with listening() as (_, listener):
        within = 0

        # A handler runs between two lines of its thread, and so does a trace function.
        def handler(frame, event, _):
            nonlocal within
            if event == "line":
                listener.call.schedule(0, "within")
                within += 1
            return handler

        sys.settrace(handler)
        try:
            for i in range(50):
                listener.call.schedule(0, i)
        finally:
            sys.settrace(None)
        sync(listener)
        assert within > 50 * 5
        assert len(listener.heard) == 50 + within + 1


class Answers(Reactor):
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
    seen = []
    made = Stepped(Answers(busy=busy, seen=seen))
    schedule = seen.pop()
    for k in range(0, 12, together):
        made.run.pause()
        if k % 4 == 0:  # else the physical time is that of the last tag
            made.advance(ns(10))
        for j in range(together):
            schedule(0, k + j)
        settle(made.run.resume())
    made.run.stop()
    assert [value for _, _, value in seen] == list(range(12))
    tags = [(time_ns, microstep) for time_ns, microstep, _ in seen]
    assert tags == sorted(set(tags))
