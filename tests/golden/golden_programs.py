"""Programs whose fingerprints are kept in `fingerprints.json`, the same for every build of CPython and number of workers.

None needs torch. Arrays are added, compared and drawn, never multiplied as matrices: what BLAS rounds depends on the machine.

After a change that is meant to change fingerprints, write the file anew with `make golden`, and say in the commit why.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import numpy as np
from programs import draw_program
from programs import make as drawn_root
from regressions import PROGRAMS as REGRESSIONS

import reactornb
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
    enclave,
    loading,
    ms,
    ns,
    reaction,
    sec,
    startup,
    us,
)
from reactornb.lf import load, loads
from reactornb.testing import FakeClock

FILE = Path(__file__).parent / "fingerprints.json"
NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
BENCH = Path(reactornb.__file__).parent / "bench"
WORKERS = (1, 2, 8)


# -- an algorithm like the quick start's, with a game instead of Gymnasium and a table instead of torch ------------------------


@dataclass(frozen=True)
class Steps:
    """A row for each step: int64 [T] cells, int64 [T] moves, float32 [T] rewards."""

    cell: np.ndarray
    move: np.ndarray
    reward: np.ndarray


class Player(Reactor):
    """Walks along eleven cells, from the middle; the last one pays."""

    table = Input[np.ndarray]()
    steps = Output[Steps]()
    returns = Output[list]()
    horizon: int = 24

    @reaction(startup)
    def on_startup(self):
        self.cell, self.played = 5, 0

    @reaction(table)
    def on_table(self, table, steps, returns):
        q, rows, ended = table.value, [], []
        for _ in range(self.horizon):
            move = int(self.rng.integers(2)) if self.rng.random() < 0.3 else int(q[self.cell, 1] > q[self.cell, 0])
            rows.append((self.cell, move, np.float32(self.cell + move == 10)))
            self.cell += 2 * move - 1
            self.played += 1
            if self.cell in {0, 10}:
                ended.append(self.played)
                self.cell, self.played = 5, 0
        self.log(ended=len(ended))
        cell, move, reward = map(np.array, zip(*rows, strict=True))
        steps.set(Steps(cell, move, reward.astype(np.float32)))
        returns.set(ended)


class Buffer(Reactor):
    """Keeps all steps, and hands on a sample of them."""

    steps = Input[Steps](width="n")
    batch = Output[dict]()
    n: int

    @reaction(startup)
    def on_startup(self):
        self.kept = []

    @reaction(steps)
    def on_steps(self, steps, batch):
        for value in steps.values:
            self.kept += zip(value.cell.tolist(), value.move.tolist(), value.reward.tolist(), strict=True)
        drawn = self.rng.integers(len(self.kept), size=32)
        batch.set({"rows": [self.kept[i] for i in drawn], "from": drawn, "of": len(self.kept)})


class Learner(Reactor):
    """Moves the values of what was drawn towards its reward and what follows."""

    batch = Input[dict]()
    table = Output[np.ndarray]()
    rounds: int = 12

    @reaction(startup)
    def on_startup(self, table):
        self.q, self.done = np.zeros((11, 2)), 0
        table.set(self.q.copy())

    @reaction(batch)
    def on_batch(self, batch, table):
        for cell, move, reward in batch.value["rows"]:
            after = cell + 2 * move - 1
            goal = reward + (0.0 if after in {0, 10} else 0.5 * self.q[after].max())
            self.q[cell, move] += 0.25 * (goal - self.q[cell, move])
        self.done += 1
        if self.done == self.rounds:
            self.request_stop()
        table.set(self.q.copy())


class Training(Reactor):
    n: int = 6
    apart: bool = False

    def compose(self):
        self.learner = enclave(Learner()) if self.apart else Learner()
        self.players = Bank(Player, self.n)
        self.buffer = Buffer(n=self.n)
        connect(self.learner.table, self.players.table, after=ms(1))
        connect(self.players.steps, self.buffer.steps)
        connect(self.buffer.batch, self.learner.batch, after=ms(1) if self.apart else None)


# -- time: timers, actions, microsteps, modes ---------------------------------------------------------------------------------


class Clock(Reactor):
    """Two timers that meet now and then, and an action that overtakes them."""

    fast = Timer(0, us(300))
    slow = Timer(us(100), us(500))
    ring = LogicalAction(us(50))
    out = Output[tuple](width=3)

    @reaction(fast, slow)
    def on_timers(self, fast, slow, ring, out):
        self.n += 1
        out[0].set((self.n, fast.is_present, slow.is_present))
        ring.schedule(us(70) * (self.n % 3), {"asked": self.n})

    @reaction(ring)
    def on_ring(self, ring, out):
        out[1 + ring.value["asked"] % 2].set((self.tag.time_ns, ring.value))

    n = State(0)


class Countdown(Reactor):
    """Microsteps: each count asks for the next, at one time."""

    again = LogicalAction()
    every = Timer(0, ms(1))
    out = Output[int]()

    @reaction(every, again)
    def on_either(self, every, again, out):
        left = 5 if every.is_present else again.value
        out.set(left)
        if left:
            again.schedule(0, left - 1)


class Traffic(Reactor):
    """Modes that are left and entered, with timers that stand still meanwhile."""

    press = Input[int]()
    shown = Output[str]()
    go, halt = Mode(initial=True), Mode()
    with go:
        tick = Timer(us(200), us(700))

        @reaction(tick)
        def on_tick(self, shown):
            shown.set("go")

        @reaction(press)
        def stop(self, press, halt):
            halt.set(history=press.value % 3 == 0)

    with halt:
        tock = Timer(us(100), us(400))

        @reaction(tock)
        def on_tock(self, shown):
            shown.set("halt")

        @reaction(press)
        def leave(self, press, go):
            go.set(history=press.value % 2 == 0)


class Button(Reactor):
    every = Timer(ms(1), us(1300))
    press = Output[int]()

    @reaction(every)
    def on_every(self, press):
        self.n += 1
        press.set(self.n)

    n = State(0)


class Crossing(Reactor):
    def compose(self):
        self.button, self.lights = Button(), Bank(Traffic, 3)
        connect(self.button.press, self.lights.press, broadcast=True)


# -- banks, values of many kinds, what is logged --------------------------------------------------------------------------------


class Kinds(Reactor):
    """Sends values of every kind that a port may carry."""

    every = Timer(0, ms(1))
    out = Output[object]()

    @reaction(every)
    def on_every(self, out):
        k = self.bank_index
        values = [
            None, True, 3**50 * k, -0.0, float("inf"), complex(k, -1), f"ä{k}", b"\x00\xff", (k, [k, (k,)]), {"a": {1, 2, k}},
            frozenset("abc"), np.arange(6, dtype=np.int16).reshape(2, 3).T + k, np.array(["x", "yz"]), np.float32(0.1) * k,
            np.zeros((0, 4)), np.array([np.nan, 1.0]), Steps(np.arange(k), np.zeros(k), np.ones(k, np.float32)), range(k, 9, 2),
        ]  # fmt: skip
        out.set(values[(self.time_ns // 1_000_000 + k) % len(values)])


class Mixed(Reactor):
    kinds = Bank(Kinds, 4)


class Grid(Reactor):
    """A value goes from each row of a bank to each column."""

    n: int = 5

    def compose(self):
        self.rows, self.columns = Bank(Row, self.n, n=self.n), Bank(Column, self.n, n=self.n)
        connect(self.rows.out.interleaved, self.columns.inp)
        connect(self.columns.out, self.rows.inp, after=us(10))


class Row(Reactor):
    n: int
    inp = Input[float]()
    out = Output[float](width="n")

    @reaction(startup, inp)
    def on_either(self, inp, out):
        drawn = self.rng.random(self.n)
        for channel, value in zip(out, drawn.tolist(), strict=True):
            channel.set(value + (inp.value if inp.is_present else self.bank_index))


class Column(Reactor):
    n: int
    inp = Input[float](width="n")
    out = Output[float]()

    @reaction(inp)
    def on_inp(self, inp, out):
        total = sum(inp.values)
        self.log(total=total)
        out.set(total / (1 << 5))


LF = {
    "lf: ball": """
        target Python
        main reactor Ball {
          output seen
          logical action bounce
          state height = 0.45
          reaction(startup) -> bounce {= bounce.schedule(MSEC(300)) =}
          reaction(bounce) -> bounce, seen {=
            seen.set((lf.time.logical_elapsed(), self.height))
            self.height *= 0.67
            if self.height > 0.05:
              bounce.schedule(int(self.height * 1e9))
          =}
        }""",
    "lf: modal banks": """
        target Python
        reactor Light(bank_index = 0) {
          output shown
          initial mode Red {
            timer over(3 msec)
            reaction(over) -> shown, reset(Green) {= shown.set(("red", self.bank_index)); Green.set() =}
          }
          mode Green {
            timer over2(2 msec, 1 msec)
            state n = 0
            reaction(over2) -> shown, history(Red) {=
              self.n += 1
              shown.set(self.n)
              if self.n % 3 == 0: Red.set()
            =}
          }
        }
        reactor Sum(n = 4) {
          input[n] shown
          output total
          reaction(shown) -> total {= total.set([p.value for p in shown if p.is_present]) =}
        }
        main reactor { lights = new[4] Light(); sum = new Sum(); lights.shown -> sum.shown }""",
}


@dataclass(frozen=True)
class Golden:
    """A program, made anew for each run, and how long it runs in logical time (None: until it ends by itself)."""

    make: Callable[[], Program]
    timeout: int | None = None


def notebook(name, reactor, timeout):
    return Golden(lambda: Program(loading.load(NOTEBOOKS / name).root(reactor)), timeout)


def drawn(seed):
    """A random program of the reference's; 33 to 405 values are sent in those below."""
    rng = np.random.default_rng([seed, 2026])
    program = draw_program(lambda n: int(rng.integers(n)))
    return Golden(lambda: Program(drawn_root(program.source)), program.timeout)


def text(source):
    return lambda: loads(dedent(source).lstrip("\n"), file="golden.lf").program()


def bench(name, **parameters):
    return Golden(lambda: load(BENCH / f"{name}.lf").program(**parameters), ms(200))


GOLDEN = {
    "training": Golden(lambda: Program(Training)),
    "training with a learner in an enclave": Golden(lambda: Program(Training, apart=True)),
    "timers and actions": Golden(lambda: Program(Clock), ms(12)),
    "microsteps": Golden(lambda: Program(Countdown), ms(6)),
    "modes": Golden(lambda: Program(Crossing), ms(25)),
    "values of every kind": Golden(lambda: Program(Mixed), ms(20)),
    "banks in a grid": Golden(lambda: Program(Grid), us(200)),
    "01_reactors: diamond": notebook("01_reactors.ipynb", "Diamond", ms(900)),
    **{name: Golden(text(source), ms(60) if "modal" in name else sec(2)) for name, source in LF.items()},
    "lf: micro": bench("micro", clients=5, rounds=9),
    "lf: heavy": bench("heavy", clients=3, rounds=4, turns=40),
    "lf: timers": bench("timers", timers=12),
    **{f"once differed: {name}": Golden(lambda s=s: Program(drawn_root(s)), t) for name, (s, t) in REGRESSIONS.items()},
    **{f"random program {seed}": drawn(seed) for seed in (1, 3, 4, 5, 8, 9)},
}


def fingerprint(name, workers):
    """The fingerprint of one of them, its physical time a fake clock's."""
    golden = GOLDEN[name]
    return (
        golden.make()
        .run(
            workers=workers,
            seed=1,
            until=None if golden.timeout is None else ns(golden.timeout),
            clock=FakeClock(),
            fingerprint=True,
            placement="none",
        )
        .fingerprint
    )


if __name__ == "__main__":
    found = {name: fingerprint(name, 1) for name in GOLDEN}
    FILE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"{len(found)} fingerprints in {FILE}\n")
