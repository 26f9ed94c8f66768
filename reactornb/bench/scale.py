"""The cost of size: reactions of 16 to 10,000 reactors, assembly and start of 10,000, and 10,000 timers.

- size: the micro benchmark with that many reactors and about the same number of reactions; beside it the plain loop over as many
  bodies, which grows too, for its objects no longer fit the caches.
- assembly: from the class to the checked graph. Start: from `Program.start` to the first question, with all instances made.
- timers: periods drawn between 10 and 30 ms, so that hardly two ticks fall on one tag; the limit is a loop that pops the next
  tick from a heap, calls the same body and pushes the one after.
"""

from __future__ import annotations

import argparse
import heapq
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from reactornb import Bank, Program, Reactor, State, Timer, ns, per_member, reaction, shutdown, startup
from reactornb.bench.broadcast import plain_loop, seconds_of
from reactornb.bench.measure import Report, interleave, lf_program, numbers, options, workers_word
from reactornb.bench.micro import Micro, plain_client
from reactornb.bench.peers.bodies import now
from reactornb.lf import load

__all__ = ["Clockwork", "Timers", "heap_loop", "main", "period_ns"]


@cache
def period_ns(index: int) -> int:
    """The period of the timer with that number: 10 to 30 ms, drawn once and for all."""
    return int(np.random.default_rng([1, index]).integers(10_000_000, 30_000_000))


class Clockwork(Reactor):
    """Counts the ticks of its timer."""

    tick = Timer(lambda r: ns(r.period), lambda r: ns(r.period))
    count: Any = State(0)
    period: int

    @reaction(tick)
    def on_tick(self):  # type: ignore[no-untyped-def]  # noqa: D102
        self.count += 1


class Timers(Reactor):
    """A bank of clockworks, and the physical times between which they tick."""

    timers: int = 10_000

    def compose(self) -> None:
        """Nothing is connected."""
        self.clockwork = Bank(Clockwork, self.timers, period=per_member(period_ns))

    @reaction(startup)
    def on_startup(self):  # type: ignore[no-untyped-def]  # noqa: D102
        self.began = now()

    @reaction(shutdown)
    def on_shutdown(self):  # type: ignore[no-untyped-def]  # noqa: D102
        self.ended = now()


class PlainClockwork:
    """`Clockwork`, called by a loop."""

    def __init__(self) -> None:
        self.count = 0

    def on_tick(self) -> None:
        """The reaction."""
        self.count += 1


def heap_loop(timers: int, until_ns: int) -> tuple[float, int]:
    """Seconds and ticks of a loop over a heap of (time, timer), up to and including `until_ns`."""
    bodies = [PlainClockwork().on_tick for _ in range(timers)]
    periods = [period_ns(i) for i in range(timers)]
    heap = [(period, i) for i, period in enumerate(periods)]
    heapq.heapify(heap)
    pop, push = heapq.heappop, heapq.heappush
    ticks = 0
    began = now()
    while True:
        due, index = pop(heap)
        if due > until_ns:
            break
        bodies[index]()
        ticks += 1
        push(heap, (due + periods[index], index))
    return now() - began, ticks


# -- measuring ------------------------------------------------------------------------------------------------------------


def _heap(timers: int, until_ns: int) -> float:
    seconds, ticks = heap_loop(timers, until_ns)
    return seconds * 1e6 / ticks


def _ticking(program: Program, workers: int, until_ns: int, ticks: int) -> float:
    run = program.start(workers=workers, fast=True, until=ns(until_ns))
    run.result()
    if run.reactions != ticks + 2:  # the root's two
        raise RuntimeError(f"{run.reactions - 2} ticks, not {ticks}")
    root: Any = run.instance(program.name)
    return float(root.ended - root.began) * 1e6 / ticks


def _assembly(reactors: int) -> float:
    began = now()
    Program(Micro(clients=reactors - 1))
    return now() - began


def _start(program: Program) -> float:
    began = now()
    run = program.start(workers=1, fast=True)
    run.result()
    server: Any = run.instance("server")
    return float(server.began - began)


def measure(report: Report, chosen: argparse.Namespace) -> None:
    """Measure everything, in turns."""
    text = load(lf_program("micro")) if chosen.lf else None
    variants: dict[str, Callable[[], float]] = {}
    largest = max(chosen.sizes)
    for size in chosen.sizes:
        clients, rounds = size - 1, max(2, chosen.reactions // size)
        factor = 1e6 / (size * rounds)
        label = f"{size:,} reactors, "
        variants[label + "plain loop"] = lambda c=clients, r=rounds, f=factor: f * plain_loop(plain_client, c, r)  # type: ignore[misc]
        forms = {"": Program(Micro(clients=clients, rounds=rounds))}
        if text:
            forms[", .lf"] = text.program(clients=clients, rounds=rounds)
        for form, program in forms.items():
            for count in chosen.workers:
                variants[f"{label}{workers_word(count)}{form}"] = (
                    lambda p=program, w=count, f=factor: f * seconds_of(p, w)  # type: ignore[misc]
                )
    # Ticks: timers times the mean of 1 / period, which is ln 3 / 20 ms.
    until_ns = int(chosen.reactions / chosen.timers * 20e6 / np.log(3))
    ticks = heap_loop(chosen.timers, until_ns)[1]
    variants["timers, heapq loop"] = partial(_heap, chosen.timers, until_ns)
    forms = {"": Program(Timers(timers=chosen.timers))}
    if chosen.lf:
        forms[", .lf"] = load(lf_program("timers")).program(timers=chosen.timers)
    for form, program in forms.items():
        for count in chosen.workers:
            variants[f"timers, {workers_word(count)}{form}"] = partial(_ticking, program, count, until_ns, ticks)
    results = interleave(variants, chosen.repeats)
    report.add(results, "µs per reaction")
    whole = {
        f"assembly of {largest:,} reactors": partial(_assembly, largest),
        f"start of {largest:,} reactors": partial(_start, Program(Micro(clients=largest - 1, rounds=1))),
    }
    report.add(interleave(whole, chosen.repeats), "s")
    report.bar(f"assembly of {largest:,} reactors", 2.0)
    smallest = min(chosen.sizes)
    for name in ("plain loop", *map(workers_word, chosen.workers)):
        for size in sorted(set(chosen.sizes) - {smallest}):
            above, below = f"{size:,} reactors, {name}", f"{smallest:,} reactors, {name}"
            bar = 1.25 if name == workers_word(1) else None
            report.ratio(above, below, name=f"{name}: cost with {size:,} reactors / {smallest:,}", at_most=bar)
    for count in chosen.workers:
        report.ratio(f"timers, {workers_word(count)}", "timers, heapq loop", at_most=2.0 if count == 1 else None)


def main(argv: Sequence[str]) -> int:
    """Measure and print.

    Args:
        argv: words of the command line.
    """
    parser = options("scale", __doc__, repeats=5, workers="1,2", lf=True, cpu_time=True)
    parser.add_argument("--sizes", type=numbers, default=(16, 100, 1000, 10_000), metavar="N,N", help="of programs")
    parser.add_argument("--timers", type=int, default=10_000, help="(%(default)s)")
    parser.add_argument("--reactions", type=int, default=100_000, help="of one measurement, about (%(default)s)")
    chosen = parser.parse_args(argv)
    report = Report("scale", {name: getattr(chosen, name) for name in ("sizes", "timers", "reactions")})
    measure(report, chosen)
    return report.finish(chosen)
