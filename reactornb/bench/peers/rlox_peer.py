"""rlox 1.2: reinforcement learning with a data plane in Rust. Runs in its own environment."""

from __future__ import annotations

import os
import time
from typing import Any

from serve import serve, session
from usage import Usage, versions

__all__ = ["offers", "train"]


class Stamped(list[Any]):
    """A list that keeps when each of its values was appended."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def append(self, value: Any) -> None:
        """Append it, and the time."""
        self.times.append(time.perf_counter())
        super().append(value)


def offers(*, algorithm: str, env: str, settings: dict[str, Any]) -> dict[str, Any]:
    """What `train` can do for a case."""
    refused = "it has no network for frames" if env == "pong" else None
    differs = []
    if settings.get("anneal_clip_range"):
        differs.append("clip_range stays as it is")
    if algorithm == "PPO" and env == "CartPole-v1":
        differs.append("CartPole is its own, in Rust")
    if algorithm == "DQN":
        differs.append("squared errors instead of Huber's loss")
    return {
        "variants": [""],
        "threads": True,
        "refused": refused,
        "differs": differs,
        "versions": versions("rlox", "torch", "numpy", "gymnasium"),
    }


def train(
    *,
    algorithm: str,
    env: str,
    steps: int,
    seed: int,
    settings: dict[str, Any],
    variant: str,  # noqa: ARG001 - there is one
    threads: int,
    episodes: int,
) -> dict[str, Any]:
    """A whole training; arguments and result as of Stable-Baselines3's, `learner` only of PPO."""
    import numpy as np
    import torch
    from rlox.algorithms.dqn import DQN
    from rlox.algorithms.ppo import PPO

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - its DQN draws from it
    s = settings
    learner = None
    if algorithm == "PPO":
        model = PPO(
            _id(env), n_envs=s["n_envs"], seed=seed, n_steps=s["n_steps"], n_epochs=s["n_epochs"], batch_size=s["batch_size"],
            learning_rate=s["learning_rate"], anneal_lr=s["anneal_lr"], clip_eps=s["clip_range"], gamma=s["gamma"],
            gae_lambda=s["gae_lambda"], ent_coef=s["ent_coef"], vf_coef=2 * s["vf_coef"], max_grad_norm=s["max_grad_norm"],
            normalize_advantages=s["normalize_advantage"], clip_vloss=s["clip_range_vf"] is not None,
        )  # fmt: skip
        ended = model.collector._completed_rewards = Stamped()
        collect, playing = model.collector.collect, 0.0

        def timed(*arguments: Any, **options: Any) -> Any:
            nonlocal playing
            began = time.perf_counter()
            batch = collect(*arguments, **options)
            playing += time.perf_counter() - began
            return batch

        model.collector.collect = timed
    else:
        ended = Stamped()
        model = DQN(
            _recorded(env, seed, ended), seed=seed, double_dqn=False, hidden=s["hidden"][0], target_update_freq=s["target_update_interval"],
            **{k: v for k, v in s.items() if k not in ("n_envs", "hidden", "target_update_interval")},
        )  # fmt: skip
    usage, began = Usage(session(os.getpid())), time.perf_counter()
    model.train(steps)
    used = usage.until_now()
    if algorithm == "PPO":
        learner = used["seconds"] - playing
    final = _final(model, algorithm, env, seed + 1000, episodes) if episodes else None
    played = [(at - began, score) for at, score in zip(ended.times, ended, strict=True)]
    return {**used, "learner": learner, "steps": steps, "episodes": played, "final": final}


def _id(env: str) -> str:
    """A Gymnasium id, which is what it takes."""
    if env != "slow":
        return env
    import gymnasium
    from slow_env import make_slow

    if "SlowCartPole-v1" not in gymnasium.registry:
        gymnasium.register("SlowCartPole-v1", make_slow)
    return "SlowCartPole-v1"


def _recorded(env: str, seed: int, ended: Stamped) -> Any:
    """One environment whose episodes' returns are kept."""
    import gymnasium

    class Recorded(gymnasium.Wrapper[Any, Any, Any, Any]):
        total = 0.0

        def step(self, action: Any) -> Any:
            found = self.env.step(action)
            self.total += float(found[1])
            if found[2] or found[3]:
                ended.append(self.total)
                self.total = 0.0
            return found

    made = Recorded(gymnasium.make(_id(env)))
    made.reset(seed=seed)
    made.action_space.seed(seed)
    return made


def _final(model: Any, algorithm: str, env: str, seed: int, episodes: int) -> float:
    """Mean return of greedy episodes."""
    import gymnasium
    import torch

    network = model.policy.actor if algorithm == "PPO" else model.q_network
    made = gymnasium.make(_id(env))
    total = 0.0
    for episode in range(episodes):
        seen, over = made.reset(seed=seed + episode)[0], False
        while not over:
            with torch.no_grad():
                action = int(network(torch.as_tensor(seen, dtype=torch.float32).unsqueeze(0)).argmax())
            seen, reward, terminated, truncated, _ = made.step(action)
            total += float(reward)
            over = terminated or truncated
    made.close()
    return total / episodes


if __name__ == "__main__":
    serve(train=train, offers=offers)
