"""Very many events for one time: each costs the same, and they keep their order."""

import threading
import time

import numpy as np
import pytest

from reactornb import (
    Input,
    LogicalAction,
    Output,
    PhysicalAction,
    Program,
    Reactor,
    State,
    Tag,
    connect,
    enclave,
    ms,
    reaction,
    startup,
)
from reactornb.runtime.signals import Pending
from reactornb.testing import FakeClock


class Burst(Reactor):
    """Schedules `count` events of one action for one time, and takes them in."""

    count: int = 10
    delay: int = 0
    act = LogicalAction(min_delay=0)
    seen = State([])

    @reaction(startup)
    def on_startup(self, act):
        for i in range(self.count):
            act.schedule(self.delay, i)

    @reaction(act)
    def on_act(self, act):
        self.seen.append((self.tag, act.value))


@pytest.mark.parametrize("delay", [0, ms(3)])
def test_events_of_one_time_follow_each_other_in_microsteps_in_their_order(delay):
    program = Program(Burst, count=1000, delay=delay)
    program.run(workers=1, clock=FakeClock())
    first = 1 if delay == 0 else 0
    assert program.last_run.instance("burst").seen == [(Tag(delay, first + i), i) for i in range(1000)]


def _seconds(count, **parameters):
    began = time.process_time()
    Program(Burst, count=count, **parameters).run(workers=1, clock=FakeClock(), fast=True)
    return time.process_time() - began


@pytest.mark.parametrize("delay", [0, ms(3)])
@pytest.mark.slow
def test_ten_times_as_many_events_for_one_time_take_ten_times_as_long(delay):
    few = min(_seconds(4_000, delay=delay) for _ in range(3))
    many = min(_seconds(40_000, delay=delay) for _ in range(2))
    assert many < 40 * few  # a hundred times, if every event walked past all before it


class Spaced(Reactor):
    act = LogicalAction(min_delay=0, min_spacing=0, policy="defer")
    count = 30_000
    seen = State(0)

    @reaction(startup)
    def on_startup(self, act):
        for i in range(self.count):
            act.schedule(ms(1), i)

    @reaction(act)
    def on_act(self, act):
        assert act.value == self.seen
        self.seen += 1


@pytest.mark.slow
def test_deferred_events_of_one_time_are_linear():
    began = time.process_time()
    program = Program(Spaced)
    program.run(workers=1, clock=FakeClock())
    assert program.last_run.instance("spaced").seen == Spaced.count
    assert time.process_time() - began < 5.0  # 30 s and more when each walks past all before it


class Source(Reactor):
    out = Output[int]()
    act = LogicalAction()
    count: int = 20_000

    @reaction(startup)
    def on_startup(self, act):
        for _ in range(self.count):
            act.schedule()

    @reaction(act)
    def on_act(self, out):
        out.set(self.tag.microstep)


class Sink(Reactor):
    inp = Input[int]()
    seen = State([])

    @reaction(inp)
    def on_inp(self, inp):
        self.seen.append((self.tag, inp.value))


class Delayed(Reactor):
    def compose(self):
        self.source, self.sink = Source(), Sink()
        connect(self.source.out, self.sink.inp, after=ms(2))


class Apart(Reactor):
    def compose(self):
        self.source, self.sink = enclave(Source()), enclave(Sink())
        connect(self.source.out, self.sink.inp, after=ms(2))


@pytest.mark.parametrize("root", [Delayed, Apart])
@pytest.mark.slow
def test_what_a_delayed_connection_brings_to_one_time_is_linear_and_in_order(root):
    program = Program(root)
    began = time.process_time()
    program.run(workers=1, fast=True)
    assert time.process_time() - began < 8.0
    seen = program.last_run.instance("sink").seen
    assert seen == [(Tag(ms(2), i), i + 1) for i in range(20_000)]


class Posted(Reactor):
    act = PhysicalAction()
    seen = State(0)

    @reaction(startup)
    def on_startup(self, act):
        for i in range(30_000):
            act.schedule(0, i)

    @reaction(act)
    def on_act(self, act):
        assert act.value == self.seen
        self.seen += 1
        if self.seen == 30_000:
            self.request_stop()


@pytest.mark.slow
def test_physical_actions_of_one_instant_are_linear():
    program = Program(Posted)
    began = time.process_time()
    program.run(workers=1, clock=FakeClock())
    assert program.last_run.instance("posted").seen == 30_000
    assert time.process_time() - began < 5.0


@pytest.mark.slow
def test_stop_is_prompt_while_a_hundred_thousand_events_wait():
    scheduled = threading.Event()

    class Endless(Burst):
        @reaction(startup)
        def on_startup(self, act):
            for i in range(100_000):
                act.schedule(0, i)
            scheduled.set()

        act = LogicalAction()
        gone = State(0)

        @reaction(act)
        def on_act(self):
            self.gone += 1

    program = Program(Endless)
    run = program.start(workers=1, fast=True)
    assert scheduled.wait(30)
    began = time.monotonic()
    run.stop(20)
    assert time.monotonic() - began < 10
    assert run.failure is None


def test_the_first_free_tag_is_what_walking_finds():
    rng = np.random.default_rng(3)
    for _ in range(200):
        pending, plain = Pending(), set()
        now = 0
        for _ in range(200):
            what = rng.random()
            if what < 0.7:
                time_ns = now // 8 + int(rng.integers(3))
                tag = (time_ns, now % 8 + 1 if time_ns == now // 8 else 0)
                walked = tag
                while walked in plain:
                    walked = (walked[0], walked[1] + 1)
                assert pending.free(tag) == walked
                if rng.random() < 0.9:  # else the stop tag is before it
                    pending.add(walked)
                    plain.add(walked)
            elif what < 0.85 and plain:  # what comes first is executed
                first = min(plain)
                pending.discard(first)
                plain.discard(first)
                now = max(now, first[0] * 8 + first[1])
            elif plain:
                taken = sorted(plain)[int(rng.integers(len(plain)))]
                pending.take_back(taken)
                plain.discard(taken)


def test_runs_of_many_times_do_not_pile_up():
    pending = Pending()
    for time_ns in range(5000):
        for _ in range(3):
            pending.add(pending.free((time_ns, 0)))
        for microstep in range(3):
            pending.discard((time_ns, microstep))
    assert len(pending._runs) <= 65
