"""Enclaves under random delays: the fingerprint of the program without them, and an end wherever it is asked for."""

import contextlib
import itertools
import threading
import time

import pytest
from chaos import chaos
from churn import Churn, Member, Pass
from looking import ask_to_stop, threads_of, until_waiting

from reactornb import (
    Bank,
    Input,
    Output,
    PhysicalAction,
    Program,
    Reactor,
    Shared,
    State,
    Timer,
    connect,
    enclave,
    ms,
    reaction,
    shutdown,
    startup,
)
from reactornb.errors import ReactionError, RunError

pytestmark = [pytest.mark.slow, pytest.mark.thread_unsafe(reason="one process has one chaos")]

WAIT = 30.0  # seconds; only ever reached when something is broken


class Split(Churn):
    """`Churn` with parts of it in enclaves of their own."""

    how: str = "members"

    def compose(self):
        self.source = self.source_of()
        self.members = Bank(Member, self.n)
        self.passes = Bank(Pass, self.n)
        if "source" in self.how:
            self.source = enclave(self.source)
        if "members" in self.how:
            self.members = enclave(self.members)
        if "each" in self.how:
            self.members = enclave(self.members, each=True)
        if "passes" in self.how:
            self.passes = enclave(self.passes)
        connect(self.source.ask, self.members.asked, after=ms(1))
        connect(self.members.reply, self.passes.inp)
        connect(self.passes.out, self.source.replies)
        connect(self.members.late, self.source.late, after=ms(1))


# Ended by until=: an enclave's request takes effect when all others can know of it, so at another tag than without enclaves.
ROUNDS = {"until": ms(12), "n": 4, "rounds": 1000}


def split(how, workers, until=None, **parameters):
    program = Program(Split(how=how, **parameters))
    return program.run(workers=workers, until=until, fast=True, fingerprint=True, placement="none").fingerprint


@pytest.mark.parametrize("how", ["source", "members", "each", "source members passes"])
def test_an_end_that_an_enclave_asks_for_comes_at_one_tag(how, always_share):
    with chaos(1, len(how)):
        assert len({split(how, workers, rounds=12, n=4) for workers in (1, 2, 4, 2)}) == 1


@pytest.mark.parametrize(
    ("how", "workers"),
    [
        pytest.param(how, workers, marks=pytest.mark.soak if workers == 4 and how != "each" else ())
        for how in ("source", "members", "members passes", "each", "source each passes")
        for workers in (1, 2, 4)
    ],
)
def test_enclaves_leave_the_fingerprint_of_the_program_without_them(how, workers, always_share):
    expected = split("nothing", 1, **ROUNDS)  # generators are seeded by full names, so by the same class
    with chaos(workers, len(how)) as doing:
        for _ in range(2):
            assert split(how, workers, **ROUNDS) == expected
    assert doing.struck > 50


class Upstream(Reactor):
    """Sends now and then, and whatever it is told from outside."""

    calls: Shared[object]
    # Seldom: a run that is held up at every turn must not fall behind physical time, in which its events come.
    tick = Timer(0, ms(50))
    call = PhysicalAction()
    back = Input()
    out = Output()

    @reaction(startup)
    def on_startup(self, call):
        self.calls.append(call)

    @reaction(tick)
    def on_tick(self, out):
        out.set(None)

    @reaction(call)
    def on_call(self, call, out):
        out.set(call.value)

    @reaction(back)
    def on_back(self, back):
        self.returned += back.value is not None

    @reaction(shutdown)
    def on_shutdown(self):
        self.over = True

    returned = State(0)
    over = State(False)


class Downstream(Reactor):
    inp = Input()
    out = Output()

    @reaction(inp)
    def on_inp(self, inp, out):
        if inp.value == "raise":
            raise ZeroDivisionError
        if inp.value == "stop":
            self.request_stop()
        self.heard.append((self.tag, inp.value))
        out.set(inp.value)

    @reaction(shutdown)
    def on_shutdown(self):
        self.over = True

    heard = State([])
    over = State(False)


class Pair(Reactor):
    calls: Shared[object]
    n: int = 3

    def compose(self):
        self.up = enclave(Bank(Upstream, self.n, calls=self.calls), each=True)
        self.down = enclave(Bank(Downstream, self.n), each=True)
        connect(self.up.out, self.down.inp)
        connect(self.down.out, self.up.back, after=ms(2))


@contextlib.contextmanager
def started(workers, fast=False):
    calls = []
    run = Program(Pair(calls=calls)).start(workers=workers, fast=fast, placement="none")
    try:
        while len(calls) < 3:
            pass
        yield run, calls
    finally:
        ask_to_stop(run)
        run.wait(WAIT)
    assert not threads_of(run)


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_what_comes_from_outside_reaches_every_enclave_in_strict_order(workers, always_share):
    each = 60
    with chaos(workers, 11), started(workers) as (run, calls):

        def post(call, name):
            for i in range(each):
                call.schedule(0, (name, i))

        posters = [threading.Thread(target=post, args=(c, n)) for c in calls for n in range(2)]
        for t in posters:
            t.start()
        for t in posters:
            t.join()
        downs = [run.instance(f"down[{i}]") for i in range(3)]
        until = time.monotonic() + WAIT
        while sum(1 for d in downs for _, v in list(d.heard) if v is not None) < 3 * 2 * each:
            assert time.monotonic() < until, [len(d.heard) for d in downs]
            time.sleep(0.001)
    for down in downs:
        assert all(a < b for (a, _), (b, _) in itertools.pairwise(down.heard))
        for name in range(2):
            assert [v[1] for _, v in down.heard if v is not None and v[0] == name] == list(range(each))


@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("fast", [True, False])
def test_a_stop_from_outside_ends_every_enclave_with_its_shutdown(workers, fast, always_share):
    for again in range(4):
        with chaos(workers, again), started(workers, fast) as (run, _):
            run.stop(WAIT)
        assert run.state == "stopped"
        assert all(run.instance(f"{part}[{i}]").over for part in ("up", "down") for i in range(3))


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_a_paused_run_with_enclaves_stops(workers):
    with started(workers) as (run, _):
        run.pause()
        until_waiting(run)
        run.stop(WAIT)
    assert run.state == "stopped"


@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("how", ["raise", "stop"])
def test_an_end_in_one_enclave_is_the_end_of_all(workers, how, always_share):
    for again in range(4):
        with chaos(workers, again), started(workers) as (run, calls):
            calls[again % 3].schedule(0, how)
            if how == "raise":
                with pytest.raises(ReactionError, match=r"down\[\d\]\.on_inp"):
                    run.result(WAIT)
            else:
                # The other pairs cannot know of it: nothing leads there.
                with pytest.raises(RunError, match="cannot end the run: nothing leads from it"):
                    run.result(WAIT)


class Quiet(Reactor):
    heard: Shared[object]
    inp = Input()

    @reaction(inp)
    def on_inp(self):
        time.sleep(0.0003)  # longer than a leader spins for its helpers
        self.heard.release()


class Poked(Reactor):
    which: int
    calls: Shared[object]
    call = PhysicalAction()
    out = Output()

    @reaction(startup)
    def on_startup(self, call):
        self.calls[self.which] = call

    @reaction(call)
    def on_call(self, out):
        out.set(None)


class Echo(Reactor):
    """Answers an event from outside with a level of three reactions, which workers share."""

    which: int
    calls: Shared[object]
    heard: Shared[object]

    def compose(self):
        self.poked = Poked(which=self.which, calls=self.calls)
        self.quiet = Bank(Quiet, 3, heard=self.heard[self.which])
        connect(self.poked.out, self.quiet.inp)


class Echoes(Reactor):
    calls: Shared[object]
    heard: Shared[object]

    def compose(self):
        for which in range(4):
            setattr(self, f"echo{which}", enclave(Echo(which=which, calls=self.calls, heard=self.heard)))


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_worker_that_leads_two_enclaves_sleeps_over_no_event_of_either(workers, always_share):
    calls, heard = {}, [threading.Semaphore(0) for _ in range(4)]
    with chaos(workers, 5, rate=0.02) as doing:
        run = Program(Echoes(calls=calls, heard=heard)).start(workers=workers, placement="none")
        try:
            while len(calls) < 4:
                pass
            for turn in range(150):
                # One event for each, and no other until all have been answered, so that none wakes the worker for another.
                for which in range(4):
                    calls[(which + turn) % 4].schedule(0)
                    time.sleep(1e-4 * (turn % 7))  # often while another enclave waits for its helpers
                for semaphore in heard:
                    for _ in range(3):
                        assert semaphore.acquire(timeout=WAIT), f"turn {turn}"
        finally:
            run.stop(WAIT)
    assert doing.struck > 400
