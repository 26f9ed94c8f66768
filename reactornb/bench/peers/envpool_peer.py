"""Vector environments of EnvPool 1.2. Runs in EnvPool's environment."""

from __future__ import annotations

import time
from typing import Any

import envpool
import numpy as np
from serve import serve

__all__ = ["vector"]


def vector(*, task: str, envs: int, rounds: int, threads: int) -> dict[str, Any]:
    """Steps of `envs` environments with random actions; Atari tasks with the published preprocessing.

    What is asked of Atari is what `make_atari` gives unless told otherwise.
    """
    options = {"noop_max": 30, "use_fire_reset": False} if task == "Pong-v5" else {}
    env = envpool.make_gymnasium(task, num_envs=envs, num_threads=threads, seed=1, **options)
    env.reset()
    rng = np.random.default_rng(0)
    actions = rng.integers(0, env.action_space.n, (rounds, envs))
    for row in actions[:5]:
        env.step(row)
    began = time.perf_counter()
    for row in actions:
        env.step(row)
    seconds = time.perf_counter() - began
    env.close()
    return {"seconds": seconds}


if __name__ == "__main__":
    serve(vector=vector)
