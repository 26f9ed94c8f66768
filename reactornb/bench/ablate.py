"""What each heuristic of sharing gives: levels on which it should matter, with it and without it.

`runtime/sharing.py` decides how a level is shared among workers; each of its heuristics is a switch of `Policy`. A case is a bank whose
members answer a server, round after round. All heuristics, and each one switched off, take turns; a figure is the time of a round from the
question to the last reply, the fastest of a few runs.

A ratio above 1 says how many times as long a round takes without the heuristic.

Measured on two cores with 3.14t, on a machine with much else to do, with the threads of the runs under SCHED_FIFO, of each round the fastest of
5 to 16 runs (uncertain by about 0.05; at best, then elsewhere):

- pieces: 1.31 on the cheap bank, 1.14 on environments that reset, 1.05 to 1.09 on gym;
- trials: 1.53 on the contended list, 1.17 on gym;
- replanning: 1.07 on few reactions of which one is long, 1.12 on gym; 0.92 on costs that change little;
- outliers: 1.04 to 1.10 on gym, 1.03 on environments that reset;
- affinity, which gave a reaction to the worker that ran it last, at first to the one that started its reactor up: on the cases it was meant for,
  0.98 (data of their own) and 1.02 (objects of their own), 0.97 to 1.01 on gym. It was deleted: re-planning becomes rarer over time, so
  reactions stay on their workers without it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np

from reactornb import Bank, Input, Output, Program, Reactor, Timer, connect, ms, per_member, reaction, startup
from reactornb.bench.measure import Report, interleave, options
from reactornb.bench.peers.bodies import Player, spin
from reactornb.runtime.level_runner import LevelRunner
from reactornb.runtime.sharing import Policy

__all__ = ["CASES", "HEURISTICS", "Asked", "main"]

HEURISTICS = ("pieces", "trials", "replanning", "outliers", "in_turn")


class Asker(Reactor):
    """Asks all members, waits for all replies, and keeps when each round was over."""

    begin = Timer(ms(1))
    replies = Input[Any](width="members")
    ask = Output[int]()
    members: int = 16
    rounds: int = 100

    @reaction(begin)
    def on_begin(self, ask):  # type: ignore[no-untyped-def]
        self.times = [time.perf_counter_ns()]
        ask.set(0)

    @reaction(replies)
    def on_replies(self, replies, ask):  # type: ignore[no-untyped-def]  # noqa: ARG002
        self.times.append(time.perf_counter_ns())
        if len(self.times) <= self.rounds:
            ask.set(len(self.times) - 1)
        else:
            self.request_stop()


class Asked(Reactor):
    """Replies once `work`, which `make` made for this member on the thread that started it up, has been done for the round."""

    inp = Input[int]()
    out = Output[int]()
    make: Any = None
    number: int = 0

    @reaction(startup)
    def on_startup(self):  # type: ignore[no-untyped-def]  # noqa: D102
        self.work = self.make(self.number)

    @reaction(inp)
    def on_inp(self, inp, out):  # type: ignore[no-untyped-def]  # noqa: D102
        self.work(inp.value)
        out.set(inp.value)


class Rounds(Reactor):
    """An asker and the members of a case."""

    members: int = 16
    rounds: int = 100
    make: Any = None

    def compose(self) -> None:
        """Broadcast, gather."""
        self.asker = Asker(members=self.members, rounds=self.rounds)
        self.member = Bank(Asked, self.members, make=self.make, number=per_member(lambda index: index))
        connect(self.asker.ask, self.member.inp, after=0, broadcast=True)
        connect(self.member.out, self.asker.replies)


# -- cases ----------------------------------------------------------------------------------------------------------------

type Work = Callable[[int], object]


def _turns(of: Callable[[int, int], int]) -> Callable[[int], Work]:
    """Pure Python, so many turns of a loop (0.04 to 0.05 µs each) as `of(member, round)` says."""
    return lambda member: lambda turn: spin(0, of(member, turn))


def _drawn(seed: int, member: int, turn: int) -> float:
    """A number in [0, 1), the same in each run."""
    return (hash((seed, member, turn)) * 2654435761 % 2**32) / 2**32


def _contending(common: list[int]) -> Callable[[int], Work]:
    """A list that all members change."""

    def work(turn: int) -> None:
        for _ in range(20):
            common.append(turn)
            common.pop()

    return lambda _: work


def _own_data(member: int) -> Work:
    """An array of a member's own, 512 KiB: it fits the cache of one core, not those of both if it wanders."""
    array = np.full(65_536, float(member))
    return lambda _: array.sum()


def _own_objects(member: int) -> Work:
    """A list of floats that this thread made: another thread counts references to them with atomic operations."""
    floats = [float(i) + 0.5 for i in range(400 * (1 + member * 7 % 5))]

    def work(_: int) -> None:
        total = 0.0
        for value in floats:
            total += value

    return work


def _cart_pole(member: int) -> Work:
    player = Player("CartPole-v1", member)
    return lambda _: player.play(1)


CASES: Mapping[str, tuple[int, int, Callable[[int], Work]]] = {
    "cheap bank": (512, 300, _turns(lambda _, __: 20)),
    "contended": (64, 500, _contending([])),
    "heavy, 15": (15, 40, _turns(lambda _, __: 4000)),
    "heavy, 16": (16, 40, _turns(lambda _, __: 4000)),
    "straggler that stays": (16, 150, _turns(lambda m, t: 20_000 if t // 25 * 5 % 16 == m else 400)),
    "straggler that moves": (16, 150, _turns(lambda m, t: 20_000 if int(16 * _drawn(1, 0, t)) == m else 400)),
    "environments that reset": (32, 120, _turns(lambda m, t: 20_000 if _drawn(2, m, t) < 0.02 else 400)),
    "uneven environments": (16, 100, _turns(lambda m, _: 400 * (m + 1))),
    "costs that change": (16, 200, _turns(lambda m, t: 300 + 1500 * ((m + t // 50 * 5) % 16 < 5))),
    "data of their own": (32, 300, _own_data),
    "few, one of them long": (8, 125, _turns(lambda m, t: 42_000 if t // 25 * 5 % 8 == m else 6000)),
    "objects of their own": (16, 300, _own_objects),
    "gym, 1 step": (16, 600, _cart_pole),
}
"""Name -> members, rounds, what a member does."""


# -- measuring ------------------------------------------------------------------------------------------------------------


def measure(program: Program, policy: Policy, workers: int, runs: int) -> float:
    """Run a few times; µs per round, where of each round the fastest of these runs counts.

    Round t does the same work in each run, so what another program takes from a run's cores is left out, and what the scheduler
    does differently from round to round is not.
    """
    rounds = []
    for _ in range(runs):
        with patch.object(LevelRunner, "policy", policy):
            run = program.start(workers=workers, fast=True)
            run.result()
        asker: Any = run.instance("asker")
        rounds.append(np.diff(asker.times))
    fastest = np.min(rounds, axis=0)[len(rounds[0]) // 10 :]  # in the first rounds, no cost is known
    return float(fastest.mean() / 1000)


def main(argv: Sequence[str]) -> int:
    """Measure and print.

    Args:
        argv: words of the command line.
    """
    parser = options("ablate", __doc__, repeats=5, workers="2")
    parser.add_argument("--case", action="append", choices=list(CASES), help="may be repeated (all of them)")
    parser.add_argument("--without", action="append", choices=HEURISTICS, help="may be repeated (each heuristic)")
    parser.add_argument(
        "--runs", type=int, default=8, help="runs of which the fastest counts, round by round (%(default)s)"
    )
    chosen = parser.parse_args(argv)
    cases, heuristics = chosen.case or list(CASES), chosen.without or HEURISTICS
    report = Report("ablate", {"cases": cases, "without": heuristics})
    for case in cases:
        members, rounds, make = CASES[case]
        program = Program(Rounds, members=members, rounds=rounds, make=make)
        for workers in chosen.workers:
            label = f"{case}, " if len(chosen.workers) == 1 else f"{case}, {workers} workers, "
            policies = {"all": Policy()} | {f"no {name}": replace(Policy(), **{name: False}) for name in heuristics}
            variants = {
                name: partial(measure, program, policy, workers, chosen.runs) for name, policy in policies.items()
            }
            measured = interleave(variants, chosen.repeats)
            report.add({label + name: values for name, values in measured.items()}, "µs per round")
            for name in heuristics:
                report.ratio(f"no {name}", "all", label, f"without {name}")
    return report.finish(chosen)
