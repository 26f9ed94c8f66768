"""Memory stays flat, however many rounds: what a run keeps is what its user asked it to keep.

Each is measured in a process of its own: the resident memory of one that ran a thousand tests moves by megabytes for reasons
of theirs. For a million rounds: python tests/stress/endurance.py --rounds 1000000
"""

import json
import os
import subprocess
import sys

import pytest
from endurance import BLOCKS, KB, grown, memory, soak

from reactornb import (
    Input,
    LogicalAction,
    Output,
    Program,
    Reactor,
    Shared,
    State,
    Timer,
    connect,
    ms,
    ns,
    reaction,
    startup,
)
from reactornb.runtime.level_runner import LevelRunner
from reactornb.runtime.sharing import Policy

pytestmark = pytest.mark.slow


class Ping(Reactor):
    """As many rounds as one likes, of few and cheap reactions."""

    rounds: int
    every: int
    seen: Shared[object]
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
            act.schedule(ns(self.done % 3), self.done)

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
    seen: Shared[object] = None

    def compose(self):
        self.ping = Ping(rounds=self.rounds, every=self.rounds // self.looks if self.looks else 0, seen=self.seen)
        self.pong = Pong()
        connect(self.ping.out, self.pong.inp, after=ns(1))
        connect(self.pong.out, self.ping.back, after=0)


def cheap():
    """A hundred thousand rounds that one worker runs by itself."""
    seen = []
    Program(Table(rounds=100_000, looks=5, seen=seen)).run(workers=2, fast=True, placement="none")
    return seen


def everything():
    """Rounds with all that a program can have."""
    return soak(8_000, workers=1)


def shared():
    """Rounds in which every level is shared."""
    LevelRunner.policy = Policy(share_above_ns=0)
    return soak(2_000, workers=2, looks=40)


def starts():
    """Runs that begin and end. The first half is not looked at: allocators and threads' stacks are still made.

    From look to look the resident memory of one and the same process moves by 4 MB either way, whatever was run.
    """
    program = Program(Table(rounds=50))
    seen = []
    for k in range(1_200):
        program.run(workers=2, fast=True, placement="none")
        if k >= 600 and k % 30 == 29:
            seen.append((k, *memory()))
    return seen


MEASURED = {made.__name__: made for made in (cheap, everything, shared, starts)}


@pytest.mark.parametrize(("name", "immortal"), [*((name, "1") for name in MEASURED), ("shared", "0"), ("starts", "0")])
def test_nothing_is_kept_of(name, immortal):
    done = subprocess.run(
        [sys.executable, __file__, name],
        env={**os.environ, "REACTORNB_IMMORTAL": immortal, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    blocks, kb = grown(seen)
    assert blocks <= BLOCKS, seen
    assert kb <= KB, seen


if __name__ == "__main__":
    sys.stdout.write(json.dumps(MEASURED[sys.argv[1]]()))
