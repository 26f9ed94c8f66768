"""Whole runs on hosts, for `reactornb bench hosts`: rounds, heavy bodies, hosts that are far away, hosts that are killed.

One program for all: a learner sends weights every millisecond of logical time, players answer them, and the learner waits for all answers. `staleness` says how
many rounds the weights are old by which the players play: with one, a round is played while the last one's answers are on their way.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import numpy as np

from reactornb import Bank, Input, Output, Program, Reactor, Run, Timer, connect, enclave, ms, reaction, startup
from reactornb.bench.measure import in_threads
from reactornb.bench.peers.bodies import Answers, spin
from reactornb.cluster import past
from reactornb.cluster.hosts import Hosts
from reactornb.errors import RunError

__all__ = ["Recovery", "Rounds", "in_two_threads", "recovery", "round_seconds", "turns_of"]

WAIT_S = 300.0  # only ever reached when something is broken


class Learner(Reactor):
    """Sends weights, other ones each time, and notes when all answers of a round have come."""

    tick = Timer(ms(0), ms(1))
    answers = Input[Any](width="players")
    weights = Output[Any](doc="float32 [floats]")
    players: int = 8
    floats: int = 25_000

    @reaction(startup)
    def on_startup(self):  # type: ignore[no-untyped-def]
        self.times = []

    @reaction(answers)
    def on_answers(self):  # type: ignore[no-untyped-def]
        self.times.append(time.perf_counter())

    @reaction(tick)
    def on_tick(self, weights):  # type: ignore[no-untyped-def]
        weights.set(np.full(self.floats, len(self.times), np.float32))


class Player(Reactor):
    """Answers weights after `turns` turns of a loop, or having waited for so many seconds."""

    weights = Input[Any]()
    answer = Output[Any](doc="float32 [floats]")
    floats: int = 256
    turns: int = 0
    waits: float = 0.0

    @reaction(weights)
    def on_weights(self, weights, answer):  # type: ignore[no-untyped-def]
        spin(0, self.turns)
        if self.waits:
            time.sleep(self.waits)
        answer.set(Answers(1, self.floats).answer(weights.value))


class Rounds(Reactor):
    """A learner here, and players that may be elsewhere.

    Its parameters: `players`; `size`, of the weights in bytes; `floats`, of an answer; `turns`, of a player's loop, and `waits`, seconds;
    `staleness`, in rounds.
    """

    needs_physical_time = False
    players: int = 8
    size: int = 100_000
    floats: int = 256
    turns: int = 0
    waits: float = 0.0
    staleness: int = 0

    def compose(self) -> None:
        """Broadcast, gather."""
        self.learner = Learner(players=self.players, floats=self.size // 4)
        self.player = enclave(
            Bank(Player, self.players, floats=self.floats, turns=self.turns, waits=self.waits), each=True
        )
        connect(self.learner.weights, self.player.weights, after=ms(1 + self.staleness), broadcast=True)
        connect(self.player.answer, self.learner.answers)


@contextmanager
def _running(
    hosts: Hosts | None, rounds: int, workers: int, parameters: dict[str, Any], fingerprint: bool
) -> Iterator[Run]:
    """A run of so many rounds, which is over afterwards, and its hosts with it."""
    until = ms(rounds + parameters.get("staleness", 0))
    place = {} if hosts is None else {"place": {"player": hosts}}
    program = Program(Rounds, **parameters)
    try:
        yield program.start(workers=workers, fingerprint=fingerprint, until=until, **place)
    finally:
        run = program.last_run  # there even if the end of `start` was interrupted
        if run is not None:
            try:
                run.stop(20)
            except RunError:
                run.abandon()  # hosts end with this process
                raise


def round_seconds(
    hosts: Hosts | None,
    rounds: int,
    *,
    workers: int = 1,
    fingerprint: bool = False,
    **parameters: Any,
) -> list[float]:
    """How long each round took.

    Args:
        hosts: where the players are; None: here.
        rounds: that are measured; a tenth as many come before.
        workers: of this process.
        fingerprint: of all that is sent.
        parameters: of `Rounds`.
    """
    before = 1 + rounds // 10
    with _running(hosts, before + rounds, workers, parameters, fingerprint) as run:
        run.result(WAIT_S)
        learner: Any = run.instance("learner")
    return [b - a for a, b in pairwise(learner.times[before - 1 :])]


# -- heavy bodies ---------------------------------------------------------------------------------------------------------


def turns_of(milliseconds: float) -> int:
    """Turns of `spin` that take so long here, by the fastest of a few."""
    turns, times = 20_000, []
    for _ in range(20):
        began = time.perf_counter()
        spin(0, turns)
        times.append(time.perf_counter() - began)
    return max(1, int(milliseconds / 1e3 / min(times) * turns))


def in_two_threads(rounds: int, *, players: int, floats: int, turns: int) -> float:
    """Seconds of a round of two threads that call the bodies of half the players each, and never wait for each other."""

    def prepare(index: int) -> Callable[[], None]:
        answers, weights = Answers(1, floats), np.zeros(1, np.float32)

        def run() -> None:
            for _ in range(rounds):
                for _ in range(index, players, 2):
                    spin(0, turns)
                    answers.answer(weights)

        return run

    return in_threads(2, prepare) / rounds


# -- hosts that are killed ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recovery:
    """What came of a host that was killed.

    Attributes:
        noticed_s: until the loss was noticed.
        seconds: until the run went on: two rounds later than the one that was reached when the loss was noticed.
        replayed_s: how long before the kill the state was saved from which another host went on; without one: the first round.
    """

    noticed_s: float
    seconds: float
    replayed_s: float

    @property
    def over_s(self) -> float:
        """What it took over 1.2 times the time replayed."""
        return self.seconds - 1.2 * self.replayed_s


def recovery(after_s: float, *, batches: int | None = None, **parameters: Any) -> Recovery:
    """Kill one of two hosts in the middle of a run.

    Args:
        after_s: how long after the first round; with `batches`, after the first state that was saved.
        batches: ask for the state after so many, instead of 10,000, which would take minutes.
        parameters: of `Rounds`.
    """
    most = past._MOST_BATCHES if batches is None else batches
    with (
        patch.object(past, "_MOST_BATCHES", most),
        _running(Hosts.local(2, workers=1), 10_000_000, 1, parameters, False) as run,
    ):
        placed: Any = run._engine._placed
        member = placed.members[0]
        learner: Any = run.instance("learner")
        until = time.perf_counter() + WAIT_S

        def wait_for(condition: Callable[[], bool]) -> float:
            while not condition():
                if time.perf_counter() > until or not run.is_alive:
                    run.result(0)  # raises what it failed with, or that time is up
                    raise RunError(f"{run} has ended by itself")
                time.sleep(5e-4)
            return time.perf_counter()

        began = saved = wait_for(lambda: len(getattr(learner, "times", ())) > 0)
        if batches is not None:
            began = wait_for(lambda: member._past.seq > 0)
        last = -1

        def is_time() -> bool:
            nonlocal last, saved
            if member._past.seq != last:
                last, saved = member._past.seq, time.perf_counter()
            return time.perf_counter() - began >= after_s

        wait_for(is_time)
        link, process = member.link, int(member.machine_name.rpartition(", ")[2])
        killed = time.perf_counter()
        os.kill(process, signal.SIGKILL)
        noticed = wait_for(lambda: link.is_lost or member.attempt > 0)
        rounds = len(learner.times)
        over = wait_for(lambda: len(learner.times) >= rounds + 2)
        return Recovery(noticed - killed, over - killed, killed - saved)
