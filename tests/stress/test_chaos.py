"""The same result, and nothing lost, while every thread of the runtime is held up at random (see `chaos.py`)."""

import itertools
import threading
from collections import Counter

import numpy as np
import pytest
from chaos import chaos
from churn import Churn, fingerprint
from compare import DEFAULT_NS, check
from interpreter import EndlessError
from programs import draw_program

from reactornb import PhysicalAction, Program, Reactor, Shared, State, Timer, ms, reaction, startup, us
from reactornb.errors import AssemblyError
from reactornb.testing import FakeClock

pytestmark = [pytest.mark.slow, pytest.mark.thread_unsafe(reason="one process has one chaos")]

WAIT = 30.0  # seconds; only ever reached when something is broken


MANY = [1, 2, 4, 8, 32]


@pytest.mark.parametrize(
    ("seed", "workers"),
    [
        pytest.param(seed, workers, marks=() if (seed, workers) in {(0, 2), (1, 8)} else pytest.mark.soak)
        for seed in (0, 1)
        for workers in MANY
    ],
)
def test_any_number_of_workers_leaves_the_same_fingerprint(seed, workers, always_share):
    expected = fingerprint(1, seed)
    for again in range(3):
        with chaos(seed, workers, again) as doing:
            assert fingerprint(workers, seed) == expected
        assert doing.struck > 50


@pytest.mark.parametrize("workers", [2, 8])
def test_levels_that_are_shared_now_and_then_leave_the_same_fingerprint(workers):
    expected = fingerprint(1)
    with chaos(workers):  # reactions that are held up look costly, so what is shared changes all the time
        assert {fingerprint(workers) for _ in range(3)} == {expected}


def test_random_programs_leave_the_trace_that_the_rules_ask_for():
    seen = Counter()
    with chaos(3, rate=0.002) as doing:
        for seed in range(16):
            rng = np.random.default_rng([seed, 77])
            drawn = draw_program(lambda n, rng=rng: int(rng.integers(n)))
            try:
                seen["reactions"] += check(drawn, [(1, DEFAULT_NS, True), (2, 0, True), (8, 0, True), (2, 0, False)])
            except (AssemblyError, EndlessError) as error:
                seen[type(error).__name__] += 1
    assert seen["reactions"] > 200, seen
    assert doing.struck > 200


def test_runs_at_once_do_not_disturb_each_other(always_share):
    expected = fingerprint(1)
    found = []
    with chaos(4):
        together = [
            Program(Churn()).start(workers=w, fast=True, fingerprint=True, placement="none") for w in (1, 2, 2, 4)
        ]
        found = [run.result(WAIT).fingerprint for run in together]
    assert found == [expected] * 4


class Outer(Reactor):
    tick = Timer(0, ms(1))
    inner: Shared[object]
    workers: int = 2

    @reaction(tick)
    def on_tick(self):
        self.prints.append(fingerprint(self.workers))
        self.inner.append(
            Program(Churn()).start(workers=self.workers, fast=True, fingerprint=True, placement="none"),
        )

    prints = State([])


@pytest.mark.parametrize("workers", [1, 2])
def test_runs_that_a_reaction_starts_do_not_disturb_it(workers, always_share):
    expected = fingerprint(1)
    inner = []
    program = Program(Outer(inner=inner, workers=workers))
    with chaos(5):
        program.run(workers=workers, until=ms(2), clock=FakeClock())
        assert [run.result(WAIT).fingerprint for run in inner] == [expected] * 3
    assert program.last_run.instance("outer").prints == [expected] * 3


class Listen(Reactor):
    call = PhysicalAction()
    tick = Timer(us(100), us(300))
    calls: Shared[object]

    @reaction(startup)
    def on_startup(self, call):
        self.calls.append(call)

    @reaction(tick)
    def on_tick(self, call):
        self.posted += 1
        call.schedule(0, ("itself", self.posted))

    @reaction(call)
    def on_call(self, call):
        self.heard.append((self.tag, call.value))
        if call.value is None:
            self.request_stop()

    posted = State(0)
    heard = State([])


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_no_event_is_lost_while_threads_schedule_pause_step_and_resume(workers, always_share):
    threads, each = 6, 150
    calls = []
    program = Program(Listen(calls=calls))
    over = threading.Event()

    def post(name):
        for i in range(each):
            calls[0].schedule(int(i % 3) * us(50), (name, i))

    def interfere(run):
        for step in itertools.cycle([run.pause, run.step, run.step, run.resume, run.resume]):
            step()
            if over.wait(0.0005):
                break
        run.resume()

    with chaos(workers) as doing:
        run = program.start(workers=workers, placement="none")
        while not calls:
            pass
        helpers = [threading.Thread(target=post, args=(n,)) for n in range(threads)]
        meddler = threading.Thread(target=interfere, args=(run,))
        for t in [*helpers, meddler]:
            t.start()
        for t in helpers:
            t.join()
        over.set()
        meddler.join()
        calls[0].schedule(ms(1))
        run.result(WAIT)
    listener = run.instance("listen")
    tags = [tag for tag, _ in listener.heard]
    assert all(a < b for a, b in itertools.pairwise(tags))
    heard = Counter(value for _, value in listener.heard if value is not None and value[0] != "itself")
    assert heard == Counter((n, i) for n in range(threads) for i in range(each))
    assert doing.struck > 50


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_that_parks_is_always_woken(workers):
    calls, heard = [], threading.Semaphore(0)

    class Echo(Reactor):
        call = PhysicalAction()

        @reaction(startup)
        def on_startup(self, call):
            calls.append(call)

        @reaction(call)
        def on_call(self, call):
            heard.release()

    with chaos(6, workers, rate=0.02) as doing:
        run = Program(Echo()).start(workers=workers, placement="none")
        while not calls:
            pass
        for i in range(400):
            calls[0].schedule(0, i)
            assert heard.acquire(timeout=WAIT), f"event {i} was slept over"
        run.stop(WAIT)
    assert doing.struck > 400
