"""`verify`: what differs between two numbers of workers is named; what does not is said to be equal, with what was compared."""

import itertools
import random  # noqa: TID251 - what is drawn from it is to be found
import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest

from reactornb import (
    Bank,
    Input,
    LogicalAction,
    Output,
    PhysicalAction,
    Program,
    Reactor,
    Timer,
    connect,
    enclave,
    ms,
    ns,
    reaction,
    sec,
    startup,
    verify,
)
from reactornb.errors import ReactorError, RunOptionError, UnrecordableValueError
from reactornb.runtime.value_words import parts_of

counter = itertools.count(1)  # one for all runs: its values are other ones in each


@dataclass(frozen=True)
class Played:
    actions: np.ndarray
    rewards: np.ndarray


class Player(Reactor):
    tick = Timer(0, ms(1))
    played = Output()
    from_tag: int = 10**9

    @reaction(tick)
    def on_tick(self, played):
        rewards = self.rng.random(3).astype(np.float32)
        if self.tag.time_ns >= ms(self.from_tag) and self.bank_index == 1:
            rewards = rewards + np.float32(next(counter))
        played.set(Played(np.arange(3), rewards))


class Sum(Reactor):
    played = Input(width="n")
    total = Output()
    n: int

    @reaction(played)
    def on_played(self, played, total):
        total.set(float(sum(p.rewards.sum() for p in played.values)))


class Main(Reactor):
    from_tag: int = 10**9
    apart: bool = False

    def compose(self):
        self.players = Bank(Player, 4, from_tag=self.from_tag)
        self.sum = enclave(Sum(n=4)) if self.apart else Sum(n=4)
        connect(self.players.played, self.sum.played, after=ms(1) if self.apart else None)


@pytest.mark.parametrize("apart", [False, True])
def test_a_program_that_does_the_same_is_said_to_with_what_was_compared(apart):
    found = verify(Main, apart=apart, fast=True, workers=(1, 2, 8), tags=40, seed=5)
    assert found
    assert found.same
    assert found.difference is None
    assert [run.workers for run in found.runs] == [1, 2, 8]
    assert len({(run.fingerprint, run.tags, run.tag, run.writes) for run in found.runs}) == 1
    assert found.runs[0].tags >= 40
    words = repr(found)
    assert words.startswith("all equal: main, seed 5: ")
    assert "with 1, 2 and 8 workers" in words
    assert found.runs[0].fingerprint in words


@pytest.mark.parametrize("apart", [False, True])
def test_the_first_value_that_differs_is_named_with_its_writer_and_the_part_of_it(apart):
    found = verify(Main, from_tag=3, apart=apart, fast=True, workers=(1, 2), tags=40)
    assert not found
    assert found.difference.tag.time_ns == ms(3)
    assert found.difference.name == "main.players[1].played"
    assert found.difference.writer.startswith("main.players[1].on_tick (")
    assert "test_verifying.py, line" in found.difference.writer
    assert [path for path, _, _ in found.values] == [".rewards: "]
    words = repr(found)
    assert words.startswith(
        "they differ: main, seed 0, with 1 and with 2 workers\nfirst at tag (3 ms, 0): main.players[1].played"
    )
    assert "  1 worker   .rewards: float32[3] " in words
    assert "  2 workers  .rewards: float32[3] " in words
    _, here, there = found.values[0]
    assert here != there


def test_the_draw_from_a_global_generator_that_may_be_why_is_said():
    class Drawing(Reactor):
        tick = Timer(0, ms(1))
        out = Output()

        @reaction(tick)
        def on_tick(self, out):
            out.set(random.random())

    found = verify(Drawing, fast=True, tags=5)
    assert found.difference.name == "drawing.out"
    assert any("drew from random" in words for words in found.warnings)
    assert "warning: drawing.on_tick" in repr(found)


class Outside(Reactor):
    knock = PhysicalAction()
    out = Output()

    @reaction(startup)
    def on_startup(self, knock):
        def knocks():
            for i in range(10):
                knock.schedule(0, i)
                time.sleep(0.001)

        threading.Thread(target=knocks).start()

    @reaction(knock)
    def on_knock(self, knock, out):
        out.set((knock.value, self.physical_time_ns))
        if knock.value == 9:
            self.request_stop()


def test_what_comes_from_outside_is_replayed():
    found = verify(Outside, seconds=30)
    assert found, found
    assert found.runs[0].inputs >= 20  # ten knocks, ten looks at the clock
    assert "inputs from outside replayed" in repr(found)


def test_a_program_in_real_time_is_ended_after_the_seconds():
    class Slow(Reactor):
        tick = Timer(0, ms(20))
        out = Output()

        @reaction(tick)
        def on_tick(self, out):
            out.set(self.tag.time_ns)

    found = verify(Slow, seconds=0.01)
    assert found
    assert 2 <= found.runs[0].tags < 100
    assert found.runs[1].tags == found.runs[0].tags


def test_a_failure_is_compared_too():
    class Failing(Reactor):
        tick = Timer(0, ms(1))
        out = Output()
        unlucky: bool

        @reaction(tick)
        def on_tick(self, out):
            out.set(1)
            if self.tag.time_ns == ms(4):
                raise ValueError(next(counter) if self.unlucky else "always")

    always = verify(Failing, unlucky=False, fast=True)
    assert always
    assert "which all end with: reaction failing.on_tick raised at tag (4 ms, 0)" in repr(always)
    assert not verify(Failing, unlucky=True, fast=True)


def test_a_run_that_goes_another_way_is_followed_to_its_end():
    class Wandering(Reactor):
        """Each run has events at times of its own."""

        go = LogicalAction()
        out = Output()

        @reaction(startup, go)
        def on_go(self, go, out):
            out.set(0)
            go.schedule(ns(next(counter)))

    found = verify(Wandering, fast=True, tags=20)
    assert not found
    assert found.difference.tag.time_ns > 0


def test_a_run_that_is_under_way_is_not_touched():
    class Rare(Reactor):
        tick = Timer(0, sec(3600))
        out = Output()

        @reaction(tick)
        def on_tick(self, out):
            out.set(self.rng.random())
            began.set()

    began = threading.Event()
    program = Program(Rare)
    run = program.start(workers=1)
    try:
        assert began.wait(60)
        assert verify(program, fast=True, tags=10)
        assert program.last_run is run
        assert run.is_alive
        assert run.tag.time_ns == 0
    finally:
        run.stop()


def test_what_cannot_be_compared_is_refused():
    class Lock(Reactor):
        tick = Timer(0, ms(1))
        out = Output()

        @reaction(tick)
        def on_tick(self, out):
            out.set(threading.Lock())

    with pytest.raises(UnrecordableValueError, match="lock"):
        verify(Lock, fast=True)
    with pytest.raises(RunOptionError, match="two runs or more"):
        verify(Main, workers=(1,))
    with pytest.raises(RunOptionError, match="tags must be"):
        verify(Main, tags=0)
    with pytest.raises(ReactorError, match="nothing"):
        verify(Main, nothing=1)


def test_parts_tell_apart_what_reads_the_same():
    big = np.zeros(100)
    other = big.copy()
    other[50] = 1e-300
    a, b = parts_of({"x": [1, 2], "y": [big]}), parts_of({"x": [1, 2], "y": [other]})
    assert a.keys() == b.keys() == {"['x']", "['y'][0]"}
    assert a["['x']"] == b["['x']"]
    assert a["['y'][0]"][1] != b["['y'][0]"][1]
    assert parts_of(3)[""][0] == "3"
    assert parts_of("x" * 200)[""][0].endswith("…")
