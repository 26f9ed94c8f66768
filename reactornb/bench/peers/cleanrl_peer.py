"""CleanRL 1.2: its script `ppo.py`, as it is. Runs in its own environment, with gym 0.23 on CPython 3.10.

The clock runs from the script's first reset of the environments to their end. Its writer for TensorBoard is replaced by one that keeps the
returns in memory, which is faster; it notes one episode a step at most.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import runpy
import sys
import time
from typing import Any, ClassVar

from serve import serve, session
from slow_env import LONG_S, PERIOD, USUAL_S, work
from usage import Usage, versions

__all__ = ["offers", "train"]


def offers(*, algorithm: str, env: str, settings: dict[str, Any]) -> dict[str, Any]:
    """What `train` can do for a case."""
    refused = None
    if algorithm != "PPO":
        refused = "its dqn.py takes one step of the gradient at a time"
    elif env == "pong":
        refused = "its ppo_atari.py needs the ROMs of gym 0.23, which are on no registry"
    elif tuple(settings["hidden"]) != (64, 64):
        refused = "its network has two layers of 64"
    return {
        "variants": ["sync", "async"],
        "threads": True,
        "refused": refused,
        "differs": ["clip_range stays as it is"] if settings.get("anneal_clip_range") else [],
        "versions": versions("cleanrl", "torch", "numpy", "gym"),
    }


class Writer:
    """In the place of TensorBoard's; the script makes one."""

    returns: ClassVar[list[tuple[float, float]]] = []

    def __init__(self, *_: Any) -> None:
        self.returns.clear()

    def add_scalar(self, name: str, value: Any, _: int) -> None:
        """Keep returns of episodes."""
        if name == "charts/episodic_return":
            self.returns.append((time.perf_counter(), float(value)))

    def add_text(self, *_: Any) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def train(
    *,
    algorithm: str,  # noqa: ARG001 - the one that it offers
    env: str,
    steps: int,
    seed: int,
    settings: dict[str, Any],
    variant: str,
    threads: int,
    episodes: int,
) -> dict[str, Any]:
    """A whole training; arguments and result as of Stable-Baselines3's, without `learner`."""
    import gym
    import torch

    tensorboard: Any = importlib.import_module("torch.utils.tensorboard")
    torch.set_num_threads(threads)
    used: dict[str, Any] = {}
    clock: list[Any] = []
    kind: Any = gym.vector.AsyncVectorEnv if variant == "async" else gym.vector.SyncVectorEnv

    class Timed(kind):
        def reset(self, *arguments: Any, **options: Any) -> Any:
            clock[:] = [Usage(session(os.getpid())), time.perf_counter()]
            return super().reset(*arguments, **options)

        def close(self, *arguments: Any, **options: Any) -> None:
            if not used:
                used.update(clock[0].until_now())
            super().close(*arguments, **options)

    s = settings
    options = {
        "env-id": _id(env), "total-timesteps": steps, "seed": seed, "cuda": False, "num-envs": s["n_envs"], "num-steps": s["n_steps"],
        "learning-rate": s["learning_rate"], "anneal-lr": s["anneal_lr"], "gamma": s["gamma"], "gae-lambda": s["gae_lambda"],
        "num-minibatches": s["n_envs"] * s["n_steps"] // s["batch_size"], "update-epochs": s["n_epochs"],
        "norm-adv": s["normalize_advantage"], "clip-coef": s["clip_range"], "clip-vloss": s["clip_range_vf"] is not None,
        "ent-coef": s["ent_coef"], "vf-coef": 2 * s["vf_coef"], "max-grad-norm": s["max_grad_norm"],
    }  # fmt: skip
    spec = importlib.util.find_spec("cleanrl.ppo")
    assert spec is not None
    assert spec.origin is not None
    was = gym.vector.SyncVectorEnv, tensorboard.SummaryWriter, sys.argv
    gym.vector.SyncVectorEnv, tensorboard.SummaryWriter = Timed, Writer
    sys.argv = [spec.origin, *(f"--{name}={value}" for name, value in options.items())]
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # noqa: PTH123
            left = runpy.run_path(spec.origin, run_name="__main__")
    finally:
        gym.vector.SyncVectorEnv, tensorboard.SummaryWriter, sys.argv = was
    final = _final(left["agent"], env, seed + 1000, episodes) if episodes else None
    played = [(at - clock[1], score) for at, score in Writer.returns]
    return {**used, "learner": None, "steps": left["global_step"], "episodes": played, "final": final}


def _id(env: str) -> str:
    """An id of gym's; the slow environment is registered."""
    import gym

    if env != "slow":
        return env

    class Slow(gym.Wrapper):
        """`SlowCartPole` with the interface of that time."""

        count = 0

        def seed(self, seed: int | None = None) -> Any:
            self.count = (seed or 0) % PERIOD
            return self.env.seed(seed)

        def step(self, action: Any) -> Any:
            self.count += 1
            work(USUAL_S if self.count % PERIOD else LONG_S)
            return self.env.step(action)

    if "SlowCartPole-v1" not in gym.envs.registry.env_specs:
        gym.register("SlowCartPole-v1", entry_point=lambda: Slow(gym.make("CartPole-v1")))
    return "SlowCartPole-v1"


def _final(agent: Any, env: str, seed: int, episodes: int) -> float:
    """Mean return of greedy episodes."""
    import gym
    import torch

    made = gym.make(_id(env))
    total = 0.0
    for episode in range(episodes):
        made.seed(seed + episode)
        seen, over = made.reset(), False
        while not over:
            with torch.no_grad():
                action = int(agent.actor(torch.as_tensor(seen, dtype=torch.float32).unsqueeze(0)).argmax())
            seen, reward, over, _ = made.step(action)
            total += float(reward)
    made.close()
    return total / episodes


if __name__ == "__main__":
    serve(train=train, offers=offers)
