"""RLlib of Ray 2.60 (ray.io), its current API, on one machine. Runs in its own environment."""

from __future__ import annotations

import os
import tempfile
import time
from typing import Any

# Before Ray is imported; see ray_peer.py.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_worker_niceness", "0")
os.environ.setdefault("RAY_DEDUP_LOGS", "0")

import ray
from serve import serve, session
from slow_env import make_slow
from usage import Usage, versions

__all__ = ["offers", "train"]

SMOOTHED = 20  # episodes of the mean that it reports; as many as `bench train` takes the mean of


def offers(*, algorithm: str, env: str, settings: dict[str, Any]) -> dict[str, Any]:
    """What `train` can do for a case: all in one process, or environments in as many processes as there are cores."""
    refused = None
    if algorithm != "PPO":
        refused = "its DQN has another order of steps and updates"
    elif env == "pong":
        refused = "its preprocessing of frames is another one"
    differs = ["clip_range stays as it is"] if settings.get("anneal_clip_range") else []
    if settings.get("clip_range_vf") is not None:
        differs.append("values are not clipped, which it does in another way")
    cores = len(os.sched_getaffinity(0))
    return {
        "variants": ["local", f"{cores} runners"],
        "threads": True,
        "refused": refused,
        "differs": differs,
        "versions": versions("ray", "torch", "numpy", "gymnasium"),
    }


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
    """A whole training; arguments and result as of Stable-Baselines3's, but `means` (seconds, mean of the last episodes) instead of `episodes`."""
    import torch
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
    from ray.tune.registry import register_env

    torch.set_num_threads(threads)
    if env == "slow":
        register_env("slow", lambda _: make_slow())
    s = settings
    runners = 0 if variant == "local" else int(variant.partition(" ")[0])
    rate: Any = [[0, s["learning_rate"]], [steps, 0.0]] if s["anneal_lr"] else s["learning_rate"]
    config = (
        PPOConfig()
        .environment(env)
        .env_runners(
            num_env_runners=runners,
            num_envs_per_env_runner=s["n_envs"] // max(1, runners),
            rollout_fragment_length=s["n_steps"],
        )
        .learners(num_learners=0, num_gpus_per_learner=0)
        .training(
            train_batch_size_per_learner=s["n_envs"] * s["n_steps"], minibatch_size=s["batch_size"], num_epochs=s["n_epochs"], lr=rate,
            gamma=s["gamma"], lambda_=s["gae_lambda"], clip_param=s["clip_range"], vf_clip_param=float("inf"), vf_loss_coeff=s["vf_coef"],
            entropy_coeff=s["ent_coef"], grad_clip=s["max_grad_norm"], grad_clip_by="global_norm", use_kl_loss=False,
        )
        .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=list(s["hidden"]), fcnet_activation="tanh", vf_share_layers=False))
        .reporting(metrics_num_episodes_for_smoothing=SMOOTHED, min_time_s_per_iteration=0, min_sample_timesteps_per_iteration=0)
        .debugging(seed=seed, log_level="ERROR")
    )  # fmt: skip
    algo = config.build_algo()
    try:
        update, learner = algo.learner_group.update, 0.0

        def timed(*arguments: Any, **options: Any) -> Any:
            nonlocal learner
            before = time.perf_counter()
            try:
                return update(*arguments, **options)
            finally:
                learner += time.perf_counter() - before

        algo.learner_group.update = timed
        means: list[tuple[float, float]] = []
        ended, taken = 0, 0
        usage, began = Usage(session(os.getpid())), time.perf_counter()
        while taken < steps:
            found = algo.train()["env_runners"]
            taken = int(found["num_env_steps_sampled_lifetime"])
            ended += int(found.get("num_episodes", 0))
            if ended >= SMOOTHED:
                means.append((time.perf_counter() - began, float(found["episode_return_mean"])))
        used = usage.until_now()
        final = _final(algo.get_module(), env, seed + 1000, episodes) if episodes else None
    finally:
        algo.stop()
    return {**used, "learner": learner, "steps": taken, "episodes": [], "means": means, "final": final}


def _final(module: Any, env: str, seed: int, episodes: int) -> float:
    """Mean return of greedy episodes."""
    import gymnasium
    import torch

    made = make_slow() if env == "slow" else gymnasium.make(env)
    total = 0.0
    for episode in range(episodes):
        seen, over = made.reset(seed=seed + episode)[0], False
        while not over:
            with torch.no_grad():
                said = module.forward_inference({"obs": torch.as_tensor(seen, dtype=torch.float32).unsqueeze(0)})
            seen, reward, terminated, truncated, _ = made.step(int(said["action_dist_inputs"].argmax()))
            total += float(reward)
            over = terminated or truncated
    made.close()
    return total / episodes


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        cores = len(os.sched_getaffinity(0))
        ray.init(
            include_dashboard=False, log_to_driver=False, logging_level="ERROR", _temp_dir=folder, num_cpus=cores + 1
        )
        serve(train=train, offers=offers)
        ray.shutdown()
