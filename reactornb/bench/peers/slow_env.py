"""An environment whose steps take long, and uneven time: CartPole with 1 ms of work in pure Python a step, 10 ms in every tenth.

What robot simulators and environments written in Python are like. The work is measured in processor time of its thread, so that it is the
same for every interpreter, and nobody gains by running more of them at once than there are cores.
"""

from __future__ import annotations

import time
from typing import Any

import gymnasium

__all__ = ["SlowCartPole", "make_slow"]

USUAL_S, LONG_S, PERIOD = 0.001, 0.010, 10


def work(seconds: float) -> int:
    """Compute until the thread has used so many seconds of a processor."""
    until = time.thread_time() + seconds
    value = 0
    while time.thread_time() < until:
        for i in range(100):
            value = (value + i) & 0xFFFF
    return value


class SlowCartPole(gymnasium.Wrapper[Any, Any, Any, Any]):
    """CartPole-v1 with work in every step; at which step the first long one comes depends on the seed."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self._count = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Begin an episode."""
        if seed is not None:
            self._count = seed % PERIOD
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> Any:
        """Work, then a step of CartPole."""
        self._count += 1
        work(USUAL_S if self._count % PERIOD else LONG_S)
        return self.env.step(action)


def make_slow() -> gymnasium.Env[Any, Any]:
    """One of them."""
    return SlowCartPole(gymnasium.make("CartPole-v1"))
