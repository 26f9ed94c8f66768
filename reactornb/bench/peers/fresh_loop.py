"""The program of `fresh.lf` as a plain loop, in a process that imports nothing but Gymnasium: `fresh_loop.py ENV ENVS ROUNDS WARM_UP`."""

from __future__ import annotations

import sys
import time
from typing import Any

import gymnasium


class Env:
    """One environment, and what it replied last."""

    def __init__(self, env: str, index: int) -> None:
        self.environment: Any = gymnasium.make(env)
        self.environment.reset(seed=index)
        self.environment.action_space.seed(index)
        self.value: Any = None

    def on_inp(self) -> None:
        """The body of the client's reaction."""
        observation, reward, terminated, truncated, _ = self.environment.step(self.environment.action_space.sample())
        if terminated or truncated:
            observation, _ = self.environment.reset()
        self.value = (observation, reward)


def main(env: str, envs: int, rounds: int, warm_up: int) -> None:
    """Loop, and print what `fresh.lf` prints."""
    clients = [Env(env, index) for index in range(envs)]
    total = began = 0.0
    for done in range(1, rounds + 1):
        for client in clients:
            client.on_inp()
        total += sum(float(client.value[0][0]) for client in clients)
        if done == warm_up:
            began = time.perf_counter()
    print("seconds", time.perf_counter() - began, "total", total)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
