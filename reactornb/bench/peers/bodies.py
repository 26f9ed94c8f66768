"""The bodies of clients: the same code is called by reactors, plain loops, threads and peers.

Imported by reactornb's benchmarks as a module of the package, and by a peer's script as its neighbour. Standard library
only, Gymnasium where an environment is made, and NumPy where an array is.
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, TextIO

__all__ = ["Answers", "Player", "Sender", "lateness", "now", "poke_from_a_thread", "show", "spin", "summary"]


def now() -> float:
    """Seconds: physical time, or, where REACTORNB_BENCH_CLOCK is "cpu", processor time of this process (`--cpu-time`)."""
    return time.process_time() if os.environ.get("REACTORNB_BENCH_CLOCK") == "cpu" else time.perf_counter()


PAUSE = 0.004  # seconds between two pokes: long enough for the poked thread to fall asleep again


def spin(value: int, turns: int) -> int:
    """A loop of pure Python: what a client computes instead of an environment's step.

    Args:
        value: to begin with.
        turns: iterations.
    """
    for i in range(turns):
        value = (value + i) & 0xFFFF
    return value


class Player:
    """One environment and a random policy, both seeded; begins a new episode by hand when one is over.

    Args:
        env: Gymnasium's id.
        seed: of the environment and of the policy.
    """

    def __init__(self, env: str, seed: int) -> None:
        import gymnasium

        if env.startswith("ALE/"):
            import ale_py

            gymnasium.register_envs(ale_py)
        self.env: Any = gymnasium.make(env)
        self.env.reset(seed=seed)
        self.env.action_space.seed(seed)

    def play(self, steps: int) -> Any:
        """Take `steps` steps; returns the last observation."""
        env = self.env
        observation = None
        for _ in range(steps):
            observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
            if terminated or truncated:
                observation, _ = env.reset()
        return observation

    def close(self) -> None:
        """Close the environment."""
        self.env.close()


def show(observations: Iterable[Any]) -> None:
    """Print observations, as the paper's programs do within the time they take; to nowhere, so that no terminal is measured."""
    for observation in observations:
        print(observation, file=_nowhere())


@cache
def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 - one for the process


class Sender:
    """Sleeps, then replies with an array of its own.

    Args:
        size: of the array, float64, in bytes.
    """

    def __init__(self, size: int) -> None:
        import numpy as np

        self.array: Any = None  # an actor that is initialised again frees its former array first
        self.array = np.full(size // 8, 1.0)

    def reply(self, sleep_s: float, copied: bool) -> Any:
        """The array, float64 [size / 8], or a copy of it, after so many seconds."""
        time.sleep(sleep_s)
        return self.array.copy() if copied else self.array


class Answers:
    """Players of one place, each of which answers weights with an array.

    Args:
        players: how many.
        floats: of an answer, float32.
    """

    def __init__(self, players: int, floats: int) -> None:
        self.players, self.floats = players, floats

    def answer(self, weights: Any) -> Any:
        """One player's answer, float32 [floats]."""
        import numpy as np

        return np.full(self.floats, weights[0], np.float32)

    def answers(self, weights: Any) -> list[Any]:
        """Those of all players."""
        return [self.answer(weights) for _ in range(self.players)]


def poke_from_a_thread(poke: Callable[[float], object], pokes: int) -> threading.Thread:
    """Start a thread that calls `poke(time.perf_counter())` so many times, with pauses; returns the thread."""

    def run() -> None:
        for _ in range(pokes):
            time.sleep(PAUSE)
            poke(time.perf_counter())

    thread = threading.Thread(target=run, name="poker")
    thread.start()
    return thread


def summary(seconds: Sequence[float]) -> dict[str, float]:
    """Median and 95th percentile, in µs."""
    ordered = sorted(seconds)
    return {"median": 1e6 * statistics.median(ordered), "p95": 1e6 * ordered[(len(ordered) * 95 + 99) // 100 - 1]}


def lateness(lags: Sequence[float], period: float) -> dict[str, float]:
    """Median and 95th percentile of lags, and their drift.

    Args:
        lags: of ticks in their order, in seconds.
        period: between two ticks, in ms.

    Returns:
        "median" and "p95" in µs; "drift", µs per second: from the median of the first quarter to that of the last.
    """
    quarter = max(1, len(lags) // 4)
    first, last = statistics.median(lags[:quarter]), statistics.median(lags[-quarter:])
    apart = (len(lags) - quarter) * period / 1e3
    return summary(lags) | {"drift": 1e6 * (last - first) / apart if apart else 0.0}
