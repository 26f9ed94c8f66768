"""Physical time: how soon a parked run wakes up, how late timers are, and what an idle run costs.

- wake: another thread schedules a physical action while the run is parked; from just before its `schedule` to the reaction's
  first line. The limit is a thread that waits for an event, set in the same way.
- timer: lag of physical behind logical time at the reaction's first line, in real time; drift is the difference between the
  median lag of the last quarter of the ticks and of the first, per second. The limit is a thread that sleeps until each instant.
- idle: processor time of the whole process over the time that passes, while a run has nothing to do but wait for its action.

`--seconds 120 --repeats 1` looks for drift over minutes.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from reactornb import PhysicalAction, Program, Reactor, Timer, ms, reaction, shutdown, startup
from reactornb.bench.measure import Report, interleave, lf_program, numbers, options, workers_word
from reactornb.bench.peers.bodies import lateness, poke_from_a_thread, summary
from reactornb.lf import load

__all__ = ["Sleeper", "Ticker", "main"]


class Sleeper(Reactor):
    """Waits for a physical action that a thread of its own schedules again and again, or, with no pokes, for ever."""

    poke = PhysicalAction()
    pokes: int = 100

    @reaction(startup)
    def on_startup(self, poke):  # type: ignore[no-untyped-def]  # noqa: D102
        self.delays: list[float] = []
        self.thread = poke_from_a_thread(lambda value: poke.schedule(0, value), self.pokes)

    @reaction(poke)
    def on_poke(self, poke):  # type: ignore[no-untyped-def]  # noqa: D102
        self.delays.append(time.perf_counter() - poke.value)
        if len(self.delays) == self.pokes:
            self.request_stop()

    @reaction(shutdown)
    def on_shutdown(self):  # type: ignore[no-untyped-def]  # noqa: D102
        self.thread.join()


class Ticker(Reactor):
    """Keeps how late each tick of its timer is, in seconds."""

    tick = Timer(ms(20), lambda r: ms(r.period))
    period: int = 5
    ticks: int = 100

    @reaction(startup)
    def on_startup(self):  # type: ignore[no-untyped-def]  # noqa: D102
        self.lags: list[float] = []

    @reaction(tick)
    def on_tick(self):  # type: ignore[no-untyped-def]  # noqa: D102
        self.lags.append(self.lag_ns / 1e9)
        if len(self.lags) == self.ticks:
            self.request_stop()


def wake(program: Program, workers: int) -> dict[str, float]:
    """Run a `Sleeper`; see `summary`."""
    run = program.start(workers=workers)
    run.result()
    sleeper: Any = run.instance(program.name)
    return summary(sleeper.delays)


def wake_limit(pokes: int) -> dict[str, float]:
    """The same with a thread that waits for an event."""
    event = threading.Event()
    sent: list[float] = []

    def poke(value: float) -> None:
        sent.append(value)
        event.set()

    thread = poke_from_a_thread(poke, pokes)
    delays: list[float] = []
    while len(delays) < pokes:
        event.wait()
        event.clear()
        # On a busy machine more than one may have come meanwhile.
        delays += [time.perf_counter() - at for at in sent[len(delays) :]]
    thread.join()
    return summary(delays)


def timer(program: Program, workers: int) -> dict[str, float]:
    """Run a `Ticker` in real time; see `lateness`."""
    run = program.start(workers=workers)
    run.result()
    ticker: Any = run.instance(program.name)
    return lateness(ticker.lags, ticker.period)


def timer_limit(period: int, ticks: int) -> dict[str, float]:
    """The same with a thread that sleeps until each instant."""
    lags = []
    began = time.perf_counter() + 0.02
    for tick in range(ticks):
        due = began + tick * period / 1e3
        time.sleep(max(0.0, due - time.perf_counter()))
        lags.append(time.perf_counter() - due)
    return lateness(lags, period)


def idle(workers: int, seconds: float) -> dict[str, float]:
    """Per cent of a core that the process uses while a run waits; with no workers, while there is no run."""
    run = Program(Sleeper(pokes=0)).start(workers=workers) if workers else None
    try:
        time.sleep(0.1)  # until the run has started and parked
        began, used = time.perf_counter(), time.process_time()
        time.sleep(seconds)
        used, took = time.process_time() - used, time.perf_counter() - began
    finally:
        if run is not None:
            run.stop()
    return {"use": 100 * used / took}


def main(argv: Sequence[str]) -> int:
    """Measure and print.

    Args:
        argv: words of the command line.
    """
    parser = options("wake", __doc__, repeats=5, lf=True)
    parser.add_argument("--pokes", type=int, default=100, help="physical actions of one measurement (%(default)s)")
    parser.add_argument("--periods", type=numbers, default=(5, 20), metavar="MS,MS", help="of the timers, in ms (5,20)")
    parser.add_argument(
        "--seconds", type=float, default=0.6, help="of one measurement of a timer, or of idling (%(default)s)"
    )
    chosen = parser.parse_args(argv)
    report = Report("wake", {name: getattr(chosen, name) for name in ("pokes", "periods", "seconds")})
    measure(report, chosen)
    return report.finish(chosen)


def measure(report: Report, chosen: argparse.Namespace) -> None:
    """Measure everything asked for, in turns.

    Raises:
        PeerError: if a peer's function raises or takes too long.
    """
    ticks = {period: max(4, int(chosen.seconds * 1000 / period)) for period in chosen.periods}
    variants: dict[str, Callable[[], dict[str, float]]] = {"wake, a thread: ": partial(wake_limit, chosen.pokes)}
    variants |= {f"{p} ms timer, a thread: ": partial(timer_limit, p, ticks[p]) for p in ticks}
    variants["idle, no run: "] = partial(idle, 0, chosen.seconds)
    forms = {"": Program(Sleeper(pokes=chosen.pokes))}
    timers = {("", p): Program(Ticker(period=p, ticks=ticks[p])) for p in ticks}
    if chosen.lf:
        forms[", .lf"] = load(lf_program("wake")).program(pokes=chosen.pokes)
        text = load(lf_program("timer"))
        timers |= {(", .lf", p): text.program(period=p, ticks=ticks[p]) for p in ticks}
    for count in chosen.workers:
        word = workers_word(count)
        variants |= {f"wake, {word}{form}: ": partial(wake, program, count) for form, program in forms.items()}
        variants |= {
            f"{p} ms timer, {word}{form}: ": partial(timer, program, count) for (form, p), program in timers.items()
        }
        variants[f"idle, {word}: "] = partial(idle, count, chosen.seconds)
    with report.opened(chosen) as opened:
        for name, peer in opened.items():
            variants[f"wake, {name}: "] = partial(peer.measure, "wake", part="wake", pokes=chosen.pokes)
            for p, number in ticks.items():
                variants[f"{p} ms timer, {name}: "] = partial(
                    peer.measure, "wake", part="timer", period=p, ticks=number
                )
        results = interleave(variants, chosen.repeats)
    units = {"median": "µs", "p95": "µs", "drift": "µs per s", "use": "% of a core"}
    for label, rows in results.items():
        for name in rows[0]:
            report.add({label + name: [row[name] for row in rows]}, units[name])
    for count in chosen.workers:
        word = workers_word(count)
        report.bar(f"wake, {word}: median", 500.0)
        for p in ticks:
            report.bar(f"{p} ms timer, {word}: median", 200.0)
        report.bar(f"idle, {word}: use", 1.0)
        for name in ("a thread", *opened):
            above, below = f"wake, {name}: median", f"wake, {word}: median"
            report.ratio(above, below, name=f"wake, {word}: speed over {name}")
