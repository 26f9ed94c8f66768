"""Vector environments: ours beside Gymnasium's SyncVectorEnv and AsyncVectorEnv and, as peers, EnvPool and Ray's actors.

Random actions drawn beforehand, autoreset on, nothing printed in the timed part. Three cases: CartPole-v1, Pong's frames as they
are (210×160×3), Pong preprocessed. EnvPool's CartPole is another program, in C++, without a line of Python per step: its figure is
a limit, not a competitor. Its Pong is the same emulator, so that one is. Ray's actors step CartPole, one environment each, with a
random policy of their own.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

from reactornb import Output, Program, Reactor, cpu, per_member, reaction, startup
from reactornb.bench.broadcast import seconds_of, wire
from reactornb.bench.measure import Report, interleave, options, workers_word
from reactornb.model import Input
from reactornb.rl.atari import make_atari, make_frames, missing
from reactornb.rl.vector import ReactorVectorEnv

__all__ = ["Games", "main"]

CASES = ("cartpole", "frames", "preprocessed")
# Bank members of `Preprocessed` for each worker: two, so that one which is done early takes the other's second.
MEMBERS = 2


class Games(Reactor):
    """Some of the games of a round, with random actions."""

    inp = Input[int]()
    out = Output[Any]()
    games: int = 8
    steps: int = 100
    number: int = 0
    threads: int = 1

    @reaction(startup)
    def on_startup(self):  # type: ignore[no-untyped-def]  # noqa: D102
        self.env = make_atari("Pong", self.games, threads=self.threads)
        self.env.reset(seed=1 + self.number * self.games)
        self.actions = self.rng.integers(0, 6, (self.steps, self.games), dtype=np.int32)

    @reaction(inp)
    def on_inp(self, inp, out):  # type: ignore[no-untyped-def]  # noqa: D102
        out.set(self.env.step(self.actions[inp.value])[0])


class Preprocessed(Reactor):
    """A server and a bank of `Games`."""

    envs: int = 16
    members: int = 4
    rounds: int = 100
    threads: int = 1

    def compose(self) -> None:
        """Broadcast, gather."""
        each = self.envs // self.members
        numbered = per_member(lambda index: index)
        wire(
            self, Games, self.members, self.rounds, games=each, steps=self.rounds, number=numbered, threads=self.threads
        )


def main(argv: Sequence[str]) -> int:
    """Measure and print.

    Args:
        argv: words of the command line.
    """
    parser = options("vector", __doc__, repeats=7)
    parser.add_argument("--case", action="append", choices=CASES, help="may be repeated (all of them)")
    parser.add_argument("--envs", type=int, default=16, help="how many (%(default)s)")
    parser.add_argument("--rounds", type=int, help="steps of one measurement (CartPole 200, Pong 25)")
    chosen = parser.parse_args(argv)
    chosen.lf = False
    cases = tuple(chosen.case or CASES)
    report = Report("vector", {"cases": cases, "envs": chosen.envs, "rounds": chosen.rounds})
    for case in cases:
        why = None if case == "cartpole" else missing(vector=case == "preprocessed")
        if why is not None:
            report.notes.append(f"{case} is left out: {why}")
        elif case == "preprocessed":
            _preprocessed(report, chosen)
        else:
            _vectors(report, chosen, case)
    return report.finish(chosen)


def _cartpole() -> gymnasium.Env[Any, Any]:
    return gymnasium.make("CartPole-v1")


def _frames() -> gymnasium.Env[Any, Any]:
    return make_frames("Pong")


def _vectors(report: Report, chosen: Any, case: str) -> None:
    """The same environments in each kind of vector environment."""
    cart = case == "cartpole"
    make, label = (_cartpole, "CartPole-v1, ") if cart else (_frames, "Pong frames, ")
    n, rounds = chosen.envs, chosen.rounds or (200 if cart else 25)
    best = workers_word(max(chosen.workers))
    with contextlib.ExitStack() as stack:
        vector_envs = {
            "SyncVectorEnv": SyncVectorEnv([make] * n),
            "AsyncVectorEnv": AsyncVectorEnv([make] * n),
            **{workers_word(w): ReactorVectorEnv([make] * n, workers=w) for w in chosen.workers},
        }
        variants: dict[str, Callable[[], float]] = {}
        for name, envs in vector_envs.items():
            stack.callback(envs.close)
            envs.reset(seed=1)
            variants[name] = partial(_seconds, envs, rounds)
        for name, peer in stack.enter_context(report.opened(chosen)).items() if cart else ():
            variants[name] = partial(
                peer.seconds, "vector", task="CartPole-v1", envs=n, rounds=rounds, threads=max(chosen.workers)
            )
        # As a run pins its own worker 0, and on the same core for everyone here; after AsyncVectorEnv's processes were started,
        # which would inherit it. Without it a kernel that packs threads may keep caller and helper on one core.
        free = cpu.place(1).cpus[0]
        if free is not None:
            stack.enter_context(cpu.pin_current_thread(free))
        seconds = interleave(variants, chosen.repeats)
    report.add(
        {label + name: [s * 1e6 / (rounds * n) for s in values] for name, values in seconds.items()}, "µs per step"
    )
    bars = (1.5, 12.0) if cart and n == 16 else (1.9, None) if not cart and n == 16 else (None, None)
    report.speed(workers_word(1), "SyncVectorEnv", label)
    report.speed(best, "SyncVectorEnv", label, at_least=bars[0])
    report.speed(best, "AsyncVectorEnv", label, at_least=bars[1])
    report.speed(best, "ray", label, at_least=80.0 if cart and n == 16 else None)


def _seconds(envs: gymnasium.vector.VectorEnv[Any, Any, Any], rounds: int) -> float:
    """Seconds of so many steps of all environments."""
    actions = np.random.default_rng(0).integers(0, envs.single_action_space.n, (rounds, envs.num_envs))  # type: ignore[attr-defined]
    step = envs.step
    for row in actions[:2]:
        step(row)
    began = time.perf_counter()
    for row in actions:
        step(row)
    return time.perf_counter() - began


def _preprocessed(report: Report, chosen: Any) -> None:
    """ALE's preprocessing in a bank of reactors that share the games, in one that has all and leaves them to ALE's threads, and EnvPool's."""
    n, rounds, label = chosen.envs, chosen.rounds or 25, "Pong preprocessed, "
    best = max(chosen.workers)
    members = max(m for m in range(1, min(n, MEMBERS * best) + 1) if n % m == 0)
    program = Program(Preprocessed, envs=n, members=members, rounds=rounds)
    variants: dict[str, Callable[[], float]] = {
        workers_word(w): partial(seconds_of, program, w) for w in chosen.workers
    }
    one = f"one rollout, {best} threads of ALE's"
    variants[one] = partial(seconds_of, Program(Preprocessed, envs=n, members=1, threads=best, rounds=rounds), best)
    with report.opened(chosen) as opened:
        for name, peer in opened.items():
            if name == "ray":  # has no preprocessing of its own
                continue
            variants[name] = partial(peer.seconds, "vector", task="Pong-v5", envs=n, rounds=rounds, threads=best)
        seconds = interleave(variants, chosen.repeats)
    report.add(
        {label + name: [s * 1e6 / (rounds * n) for s in values] for name, values in seconds.items()}, "µs per step"
    )
    report.speed(workers_word(best), "envpool", label)
    report.speed(one, "envpool", label, at_least=1.1 if n == 16 else None)
