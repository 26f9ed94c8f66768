"""A level with uneven work: 16 reactions, one of them 50 times as long as the others, like an environment that resets.

Level time runs from the end of the reaction that asks to the beginning of the one that takes the replies. It is held
against the best schedule of the durations that were measured in that very level, on as many cores as there are workers: for two
the exact optimum (all 2^16 ways to share the reactions), for more the lower bound max(longest, sum / workers).

The straggler is predictable in the cases where it stays in one place for a while, so that a scheduler that records costs can start
it first; in the others its place is drawn at random for every level. "in order" is computed from the same durations: the time of an
ideal scheduler without such records, which hands out the reactions in their order as workers become free.
"""

from __future__ import annotations

import heapq
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from reactornb import Bank, Input, Output, Program, Reactor, Timer, connect, ms, per_member, reaction
from reactornb.bench.measure import Report, interleave, lf_program, options, workers_word
from reactornb.bench.peers.bodies import spin
from reactornb.lf import load

__all__ = ["Client", "Referee", "Straggler", "best_makespan", "main", "makespan_in_order"]

STAY = 25  # levels that a predictable straggler stays in its place


class Referee(Reactor):
    """Names the straggler of each level and keeps what every level took.

    Attributes:
        levels: one per round: seconds of the level, seconds of each reaction.
    """

    begin = Timer(ms(1))
    replies = Input[tuple[float, float]](width="clients")
    ask = Output[int]()
    clients: int = 16
    rounds: int = 100
    stay: int = STAY

    def question(self) -> int:
        """The next straggler: one that stays for a while, or, with `stay` 0, one drawn at random."""
        if self.stay:
            return len(self.levels) // self.stay * 5 % self.clients
        return int(self.rng.integers(self.clients))

    @reaction(begin)
    def on_begin(self, ask):  # type: ignore[no-untyped-def]  # noqa: D102
        self.levels: list[tuple[float, list[float]]] = []
        ask.set(self.question())
        self.asked = time.perf_counter()

    @reaction(replies)
    def on_replies(self, replies, ask):  # type: ignore[no-untyped-def]  # noqa: D102
        answered = time.perf_counter()
        self.levels.append((answered - self.asked, [ended - began for began, ended in replies.values]))
        if len(self.levels) < self.rounds:
            ask.set(self.question())
        else:
            self.request_stop()
        self.asked = time.perf_counter()


class Client(Reactor):
    """Computes, `factor` times as long if it is the straggler, and says when it began and ended."""

    inp = Input[int]()
    out = Output[tuple[float, float]]()
    turns: int = 400
    factor: int = 50
    number: int = 0

    @reaction(inp)
    def on_inp(self, inp, out):  # type: ignore[no-untyped-def]  # noqa: D102
        began = time.perf_counter()
        spin(0, self.turns * self.factor if inp.value == self.number else self.turns)
        out.set((began, time.perf_counter()))


class Straggler(Reactor):
    """A referee and its clients in a loop with a delay of one microstep."""

    clients: int = 16
    rounds: int = 100
    turns: int = 400
    factor: int = 50
    stay: int = STAY

    def compose(self) -> None:
        """Broadcast, gather."""
        self.referee = Referee(clients=self.clients, rounds=self.rounds, stay=self.stay)
        numbered = per_member(lambda index: index)
        self.client = Bank(Client, self.clients, turns=self.turns, factor=self.factor, number=numbered)
        connect(self.referee.ask, self.client.inp, after=0, broadcast=True)
        connect(self.client.out, self.referee.replies)


# -- what is possible -----------------------------------------------------------------------------------------------------


def best_makespan(durations: Sequence[float], workers: int) -> float:
    """The shortest time in which so many workers can do these jobs; for more than two, or more than 20 jobs, a lower bound.

    Args:
        durations: of the jobs.
        workers: at least 1.

    Returns:
        In the unit of `durations`: exact for one and two workers, max(longest, sum / workers) for more.
    """
    total, longest = sum(durations), max(durations)
    if workers == 2 and len(durations) <= 20:
        # What one of the two may get: the sums of all subsets.
        sums = np.zeros(1)
        for duration in durations:
            sums = np.concatenate((sums, sums + duration))
        return float(np.maximum(sums, total - sums).min())
    return max(longest, total / workers)


def makespan_in_order(durations: Sequence[float], workers: int) -> float:
    """The time of workers that take the jobs in their order, each as soon as it is free, at no cost."""
    free = [0.0] * workers
    for duration in durations:
        heapq.heapreplace(free, free[0] + duration)
    return max(free)


# -- measuring ------------------------------------------------------------------------------------------------------------


def measure(program: Program, workers: int) -> dict[str, float]:
    """Run once; means over levels of the level's time, the best possible, and the one in order, in µs."""
    run = program.start(workers=workers, fast=True)
    run.result()
    referee: Any = run.instance("referee")
    # Skip the levels in which threads start and costs are not known yet.
    levels = referee.levels[len(referee.levels) // 10 :]
    return {
        "level": 1e6 * statistics.fmean(took for took, _ in levels),
        "best": 1e6 * statistics.fmean(best_makespan(durations, workers) for _, durations in levels),
        "in order": 1e6 * statistics.fmean(makespan_in_order(durations, workers) for _, durations in levels),
    }


def main(argv: Sequence[str]) -> int:
    """Measure and print.

    Args:
        argv: words of the command line.
    """
    parser = options("straggler", __doc__, repeats=7, lf=True)
    parser.add_argument("--clients", type=int, default=16, help="reactions of the level (%(default)s)")
    parser.add_argument("--rounds", type=int, default=200, help="levels of one measurement (%(default)s)")
    parser.add_argument("--turns", type=int, default=400, help="of a client's loop (%(default)s)")
    parser.add_argument("--factor", type=int, default=50, help="how much longer the straggler takes (%(default)s)")
    chosen = parser.parse_args(argv)
    parameters = {name: getattr(chosen, name) for name in ("clients", "rounds", "turns", "factor")}
    report = Report("straggler", parameters)
    variants: dict[str, Callable[[], dict[str, float]]] = {}
    for kind, stay in (("predictable", STAY), ("unpredictable", 0)):
        programs = {"": Program(Straggler(stay=stay, **parameters))}
        if chosen.lf:
            programs[", .lf"] = load(lf_program("straggler")).program(stay=stay, **parameters)
        for form, program in programs.items():
            for count in chosen.workers:
                variants[f"{kind}, {workers_word(count)}{form}: "] = partial(measure, program, count)
    results = interleave(variants, chosen.repeats)
    for label, rows in results.items():
        report.add({label + name: [row[name] for row in rows] for name in rows[0]}, "µs per level")
        report.ratio("level", "best", label, at_most=1.1)
        report.ratio("in order", "best", label)
    return report.finish(chosen)
