"""Memory stays flat, however many rounds: what a run keeps is what its user asked it to keep.

For a million rounds: python tests/stress/soak.py --rounds 1000000
"""

import pytest
from soak import BLOCKS, KB, grown, memory, soak

from reactornb import Input, LogicalAction, Output, Program, Reactor, State, Timer, connect, ms, reaction, startup

pytestmark = [pytest.mark.slow, pytest.mark.thread_unsafe(reason="memory is the whole process's")]


class Ping(Reactor):
    """As many rounds as one likes, of few and cheap reactions."""

    rounds: int
    every: int
    seen: object
    back = Input()
    out = Output()
    act = LogicalAction()
    tick = Timer(0, ms(1))

    @reaction(startup, back)
    def on_back(self, act, out):
        self.done += 1
        if self.every and self.done % self.every == 0:
            self.seen.append((self.done, *memory()))
        if self.done == self.rounds:
            self.request_stop()
        elif self.done % 2:
            out.set(self.done)
        else:
            act.schedule(self.done % 3, self.done)

    @reaction(act)
    def on_act(self, act, out):
        out.set(act.value)

    @reaction(tick)
    def on_tick(self):
        pass

    done = State(0)


class Pong(Reactor):
    inp = Input()
    out = Output()

    @reaction(inp)
    def on_inp(self, inp, out):
        out.set(inp.value)


class Table(Reactor):
    rounds: int
    looks: int = 0
    seen: object = None

    def compose(self):
        self.ping = Ping(rounds=self.rounds, every=self.rounds // self.looks if self.looks else 0, seen=self.seen)
        self.pong = Pong()
        connect(self.ping.out, self.pong.inp, after=1)
        connect(self.pong.out, self.ping.back, after=0)


def test_a_hundred_thousand_cheap_rounds():
    seen = []
    Program(Table(rounds=100_000, looks=5, seen=seen)).run(workers=2, fast=True, placement="none")
    blocks, kb = grown(seen)
    assert blocks <= BLOCKS
    assert kb <= KB


def test_rounds_with_everything_in_them():
    blocks, kb = grown(soak(8_000, workers=1))
    assert blocks <= BLOCKS
    assert kb <= KB


def test_rounds_that_two_workers_share(always_share):
    blocks, kb = grown(soak(2_000, workers=2))
    assert blocks <= BLOCKS
    assert kb <= KB


def test_starting_and_ending_runs_leaves_nothing():
    program = Program(Table(rounds=50))
    seen = []
    for k in range(60):
        program.run(workers=2, fast=True, placement="none")
        if k % 10 == 9:
            seen.append((k, *memory()))
    blocks, kb = grown(seen)
    assert blocks <= BLOCKS
    assert kb <= KB
