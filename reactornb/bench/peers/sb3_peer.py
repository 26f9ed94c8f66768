"""Stable-Baselines3 2.9, used as its documentation advises. Runs in its own environment.

Episodes are those that its `Monitor` records anyway, with their times, so that no callback slows it down; nothing is printed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from serve import serve, session
from usage import Usage, versions

__all__ = ["LIBRARY", "offers", "train"]

LIBRARY = "stable_baselines3"  # or one with its interface


def offers(*, algorithm: str, env: str, settings: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001 - it has them all
    """What `train` can do for a case.

    Args:
        algorithm, env, settings: as of `train`.

    Returns:
        `variants`; `threads`: whether their number matters; `refused`: why it cannot, or None; `differs`: in which settings from the case;
        `versions` of what it uses.
    """
    lacking = f"{env} needs ale-py, which is not installed" if env == "pong" and not versions("ale-py") else None
    if not hasattr(_library(), algorithm):
        lacking = f"it has no {algorithm}"
    return {
        "variants": ["dummy", "subproc"],
        "threads": True,
        "refused": lacking,
        "differs": [],
        "versions": versions("stable-baselines3", "torch", "numpy", "gymnasium", "ale-py"),
    }


def train(
    *,
    algorithm: str,
    env: str,
    steps: int,
    seed: int,
    settings: dict[str, Any],
    variant: str,
    threads: int,
    episodes: int,
    without: Sequence[str] = (),
) -> dict[str, Any]:
    """A whole training, then an evaluation off the clock.

    Args:
        algorithm: "PPO", "DQN" or "SAC".
        env: a Gymnasium id, "slow" or "pong".
        steps: of all environments together.
        seed: of everything.
        settings: hyper-parameters by Stable-Baselines3's names, and `anneal_lr`, `anneal_clip_range`, `hidden`, `n_envs`.
        variant: "dummy" or "subproc": the class of its vector environment.
        threads: of torch.
        episodes: of the evaluation; 0: none.
        without: settings that the library does not have.

    Returns:
        `seconds`, `learner` (seconds of its method `train`), `processor` and `cores` as `Usage` has them, `steps`, `episodes` as pairs of
        seconds and return, `final` (mean return of greedy episodes, or None).
    """
    import torch
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.logger import Logger
    from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

    torch.set_num_threads(threads)
    settings = {name: value for name, value in settings.items() if name not in without}
    kinds = {"dummy": DummyVecEnv, "subproc": SubprocVecEnv}
    envs = _envs(env, settings.pop("n_envs"), seed, kinds[variant])
    model = _model(algorithm, env, envs, seed, settings)
    model.set_logger(
        Logger(folder=None, output_formats=[])
    )  # its own makes a folder in /tmp for each model and leaves it there
    model._stats_window_size = 1_000_000  # SBX takes no `stats_window_size`
    learner = 0.0
    update = model.train

    def timed(*arguments: Any, **options: Any) -> None:
        nonlocal learner
        began = time.perf_counter()
        update(*arguments, **options)
        learner += time.perf_counter() - began

    model.train = timed
    try:
        envs.reset()  # so that the processes of all environments are there
        envs.set_attr("t_start", time.time())  # of `Monitor`, whose times of episodes count from it
        usage = Usage(session(os.getpid()))
        model.learn(steps, log_interval=None)
        used = usage.until_now()
        played = [(float(e["t"]), float(e["r"])) for e in model.ep_info_buffer]
        final = None
        if episodes:
            judged = _envs(env, 1, seed + 1000, DummyVecEnv)
            final = float(evaluate_policy(model, judged, n_eval_episodes=episodes, deterministic=True)[0])
            judged.close()
    finally:
        envs.close()
    return {**used, "learner": learner, "steps": model.num_timesteps, "episodes": played, "final": final}


def _envs(env: str, n: int, seed: int, kind: Any) -> Any:
    from stable_baselines3.common.env_util import make_atari_env, make_vec_env
    from stable_baselines3.common.vec_env import VecFrameStack

    if env == "pong":
        import ale_py
        import gymnasium

        gymnasium.register_envs(ale_py)
        return VecFrameStack(make_atari_env("PongNoFrameskip-v4", n, seed=seed, vec_env_cls=kind), 4)
    from slow_env import make_slow

    return make_vec_env(make_slow if env == "slow" else env, n, seed=seed, vec_env_cls=kind)


def _library() -> Any:
    return import_module(LIBRARY)


def _model(algorithm: str, env: str, envs: Any, seed: int, settings: dict[str, Any]) -> Any:
    settings = dict(settings)
    hidden = settings.pop("hidden")
    rate, clip = settings["learning_rate"], settings.get("clip_range")
    if settings.pop("anneal_lr", False):
        settings["learning_rate"] = lambda left: left * rate
    if settings.pop("anneal_clip_range", False):
        settings["clip_range"] = lambda left: left * clip
    return getattr(_library(), algorithm)(
        "CnnPolicy" if env == "pong" else "MlpPolicy",
        envs,
        seed=seed,
        device="cpu",
        policy_kwargs={} if env == "pong" else {"net_arch": list(hidden)},
        **settings,
    )


if __name__ == "__main__":
    serve(train=train, offers=offers)
