"""How soon a run is over after the reactions that run at present have returned, with every thread gone.

    python tests/stress/ending.py

From the return of the last reaction to the last thread's end, for a stop and for an exception, in runs that are busy in cheap
levels, share costly ones, wait for physical time, or are paused. Medians, and the worst, of 31 runs each; ms.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from looking import ask_to_stop, threads_of, until_waiting

from reactornb import (
    Bank,
    Input,
    LogicalAction,
    Output,
    PhysicalAction,
    Program,
    Reactor,
    Shared,
    connect,
    reaction,
    startup,
)


class Server(Reactor):
    """A loop of rounds, each a level of four members."""

    replies = Input(width=4)
    ask = Output()
    act = LogicalAction()
    call = PhysicalAction()
    idle: bool = False
    fail: Shared[object]
    returned: Shared[object]

    @reaction(startup)
    def on_startup(self, act, call):
        self.call_handle = call
        if not self.idle:
            act.schedule(0)

    @reaction(act, replies)
    def on_act(self, ask):
        self.fail_if_asked()
        ask.set(0)

    @reaction(call)
    def on_call(self):
        self.fail_if_asked()

    def fail_if_asked(self):
        if self.fail.is_set():
            self.returned.append(time.perf_counter())
            raise ZeroDivisionError


class Member(Reactor):
    """Notes when it returns."""

    work: int
    returned: Shared[object]
    inp = Input()
    out = Output()

    @reaction(inp)
    def on_inp(self, inp, out):
        sum(range(self.work))
        out.set(0)
        self.returned.append(time.perf_counter())
        if len(self.returned) > 1000:
            del self.returned[:-10]


class Table(Reactor):
    """A server and four members."""

    work: int = 10
    idle: bool = False
    fail: Shared[object]
    returned: Shared[object]

    def compose(self):
        self.server = Server(idle=self.idle, fail=self.fail, returned=self.returned)
        self.members = Bank(Member, 4, work=self.work, returned=self.returned)
        connect(self.server.ask, self.members.inp, after=0)
        connect(self.members.out, self.server.replies)


SITUATIONS = {
    "busy in cheap levels": {"work": 10},
    "sharing costly levels": {"work": 20_000},
    "waiting": {"idle": True},
    "paused": {"work": 10},
}


def once(situation: str, how: str, workers: int) -> float:
    """Seconds from the last return, or from the command where no reaction runs, until no thread is left."""
    returned: list[float] = []
    fail = threading.Event()
    idle = situation == "waiting"
    run = Program(Table(returned=returned, fail=fail, **SITUATIONS[situation])).start(workers=workers, fast=not idle)
    time.sleep(0.03)
    if situation == "paused":
        run.pause()
    if idle or situation == "paused":
        until_waiting(run)
        time.sleep(0.005)
    began = time.perf_counter()
    if how == "stop":
        ask_to_stop(run)
    else:
        fail.set()
        if idle:
            run.instance("server").call_handle.schedule(0)
        run.resume()
    while threads_of(run):
        time.sleep(0.0002)
    over = time.perf_counter()
    return over - max([began, *returned[-10:]])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=31)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 8])
    options = parser.parse_args()
    worst = 0.0
    for workers in options.workers:
        for situation in SITUATIONS:
            for how in ("stop", "exception"):
                took = [1e3 * once(situation, how, workers) for _ in range(options.runs)]
                median = statistics.median(took)
                worst = max(worst, median)
                sys.stdout.write(
                    f"{workers} workers, {situation:22} {how:10} median {median:6.2f} ms, worst {max(took):6.2f} ms\n"
                )
                sys.stdout.flush()
    return int(worst > 50.0)


if __name__ == "__main__":
    sys.exit(main())
