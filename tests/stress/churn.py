"""A program in which much happens at once and everything depends on what came before: one lost or doubled event, or two in the
wrong order, and the fingerprint is another.
"""

from __future__ import annotations

import numpy as np

from reactornb import (
    Bank,
    Input,
    LogicalAction,
    Mode,
    Output,
    Program,
    Reactor,
    State,
    Timer,
    connect,
    ms,
    reaction,
    reset,
    startup,
)

__all__ = ["Churn", "fingerprint"]


class Source(Reactor):
    """Asks all members and waits for all of them, `rounds` times."""

    n: int
    rounds: int
    replies = Input(width="n")
    late = Input(width="n")
    ask = Output()
    tick = Timer(ms(1), ms(3))

    @reaction(startup)
    def on_startup(self, ask):
        ask.set((0, 1.0))

    @reaction(late, tick)
    def on_late(self, late):
        self.weight = 0.5 * self.weight + sum((i + 1) * v for i, v in late.present)

    @reaction(replies)
    def on_replies(self, replies, ask):
        self.done += 1
        total = float(sum(v.sum() for v in replies.values))
        if self.done == self.rounds:
            self.request_stop()
        else:
            ask.set((self.done, (total + self.weight) % 17.0))

    done = State(0)
    weight = State(1.0)


class Member(Reactor):
    """Answers at once, and late, and now and then changes its mode."""

    asked = Input()
    reply = Output()
    late = Output()
    act = LogicalAction()
    calm, wild = Mode(initial=True), Mode()

    @reaction(asked)
    def on_asked(self, asked, act):
        self.number, self.value = asked.value
        for _ in range(int(self.rng.integers(0, 3))):
            act.schedule(int(self.rng.integers(0, 3)) * ms(1), self.number)

    with calm:

        @reaction(asked)
        def on_calm(self, asked, reply, wild):
            reply.set(np.full(3, self.value + self.bank_index))
            if self.rng.random() < 0.2:
                wild.set()

    with wild:
        count = State(0, reset=True)
        hum = Timer(0, ms(2))

        @reaction(reset)
        def on_reset(self, late):
            late.set(-1.0)

        @reaction(hum)
        def on_hum(self, late):
            self.count += 1
            late.set(float(self.count))

        @reaction(asked)
        def on_wild(self, asked, reply, calm):
            reply.set(self.rng.random(4) + self.count)
            if self.rng.random() < 0.4:
                calm.set(history=self.rng.random() < 0.5)

    @reaction(act)
    def on_act(self, act, late):
        late.set(float(act.value) + self.value)

    number = State(0)
    value = State(0.0)


class Pass(Reactor):
    """One level more."""

    inp = Input(mutable=True)
    out = Output()

    @reaction(inp)
    def on_inp(self, inp, out):
        inp.value[0] += self.rng.random()
        out.set(inp.value)


class Churn(Reactor):
    n: int = 9
    rounds: int = 25

    def source_of(self):
        return Source(n=self.n, rounds=self.rounds)

    def compose(self):
        self.source = self.source_of()
        self.members = Bank(Member, self.n)
        self.passes = Bank(Pass, self.n)
        connect(self.source.ask, self.members.asked, after=ms(1))
        connect(self.members.reply, self.passes.inp)
        connect(self.passes.out, self.source.replies)
        connect(self.members.late, self.source.late, after=ms(1))


def fingerprint(workers: int, seed: int = 0, **parameters: int) -> str | None:
    """That of a fast run."""
    program = Program(Churn(**parameters))
    return program.run(workers=workers, seed=seed, fast=True, fingerprint=True, placement="none").fingerprint
