"""Returns of the deep algorithms over seeds, beside published ones.

Each run trains from nothing with the settings of `for_env` and is then judged by whole greedy episodes with its last weights, in
environments of its own; the mean of the last 100 training episodes stands beside it. Times include everything from the first
reaction to the last. --algorithms pong trains on Pong's screen for --frames frames and reports the throughput; --inference measures
what one call of a small policy costs in NumPy and in torch.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from reactornb import Program, files
from reactornb.bench.recordings import Behaviour, recorded
from reactornb.errors import suggestion

__all__ = ["TARGETS", "Target", "inference", "main", "pong", "train"]

_CLEANRL = "CleanRL, docs/rl-algorithms"
_ZOO = "RL Baselines3 Zoo, benchmark.md"


@dataclass(frozen=True, slots=True)
class Target:
    """An algorithm on an environment, with its bar and published figures.

    Attributes:
        algorithm: its class in reactornb.rl.
        env: the environment.
        bar: mean return that every seed has to reach; None: reported only.
        published: figures of others, with their sources.
        changes: hyper-parameters other than those of `for_env`.
        behaviours: whose recorded episodes it learns from, instead of an environment.
        settings_of: the environment whose `for_env` is meant; None: its own.
    """

    algorithm: str
    env: str
    bar: float | None
    published: str
    changes: tuple[tuple[str, Any], ...] = ()
    behaviours: tuple[Behaviour, ...] = ()
    settings_of: str | None = None


NO_VELOCITY = "reactornb.rl.no_velocity:CartPoleNoVel-v1"

# What is published: CleanRL's are means over training episodes at the end of 500,000 steps and their standard deviation over seeds
# (dqn.md, ppo.md); the Zoo's mean and deviation of deterministic episodes of one agent.
_SMALL = (("hidden", (64, 64)), ("batch_size", 128))
_MIXED = (
    Behaviour(50),
    Behaviour(50, "SAC", (*_SMALL, ("total_timesteps", 3_000)), draws=True),
    Behaviour(15, "SAC", (*_SMALL, ("total_timesteps", 8_000))),
)
TARGETS = {
    "dqn": Target("DQN", "CartPole-v1", 475, f"488.7 ± 16.1 ({_CLEANRL}, 500k steps), 500.0 ± 0.0 ({_ZOO}, 50k steps)"),
    "ppo": Target(
        "PPO", "CartPole-v1", 475, f"488.8 ± 18.4 ({_CLEANRL}, 500k steps), 500.0 ± 0.0 ({_ZOO}, 100k steps)"
    ),
    "ppo-acrobot": Target(
        "PPO", "Acrobot-v1", -100, f"-82.5 ± 5.9 ({_CLEANRL}, 500k steps), -73.5 ± 18.2 ({_ZOO}, 1M steps)"
    ),
    "ppo-pendulum": Target("PPO", "Pendulum-v1", -300, f"-172.2 ± 104.2 ({_ZOO}, 100k steps)"),
    "sac": Target("SAC", "Pendulum-v1", -245, f"-157.0 ± 88.7 ({_ZOO}, 20k steps)"),
    "td3": Target("TD3", "Pendulum-v1", -242, f"-151.9 ± 90.2 ({_ZOO}, 20k steps)"),
    "ddpg": Target("DDPG", "Pendulum-v1", None, f"-152.1 ± 94.3 ({_ZOO}, 20k steps)"),
    "sac-cheetah": Target(
        "SAC",
        "HalfCheetah-v5",
        None,
        f"9634.9 ± 1423.7 ({_CLEANRL}, HalfCheetah-v2, 1M steps), 9535.5 ± 100.5 ({_ZOO}, HalfCheetah-v3, 1M steps)",
        # CleanRL's settings, for the steps after which its curve is compared.
        (("total_timesteps", 100_000), ("learning_starts", 5_000), ("qf_learning_rate", 1e-3)),
    ),
    # Of offline algorithms what is recorded decides, so only figures on the same episodes compare: behaviour cloning beside IQL.
    "bc": Target(
        "BehaviorCloning",
        "CartPole-v1",
        475,
        "none on these episodes",
        behaviours=(Behaviour(20, "PPO", (("eval_every", 10_000), ("stop_at_return", 490.0))),),
    ),
    "bc-pendulum": Target("BehaviorCloning", "Pendulum-v1", None, "none on these episodes", behaviours=_MIXED),
    "iql-pendulum": Target(
        "IQL",
        "Pendulum-v1",
        None,
        "none on these episodes",
        (*_SMALL, ("total_timesteps", 10_000), ("learning_rate", 1e-3), ("normalize_rewards", True), ("beta", 100.0)),
        _MIXED,
    ),
    "recurrent-ppo": Target("RecurrentPPO", NO_VELOCITY, 400, f"500.0 ± 0.0 ({_ZOO}, CartPoleNoVel-v1, 100k steps)"),
    "ppo-no-velocity": Target(
        "PPO", NO_VELOCITY, None, "none found: it has no memory of what it cannot see", settings_of="CartPole-v1"
    ),
    "a2c": Target("A2C", "CartPole-v1", 450, f"500.0 ± 0.0 ({_ZOO}, 500k steps)"),
    "a3c": Target("A3C", "CartPole-v1", None, "none found for this environment"),
    "impala": Target("IMPALA", "CartPole-v1", 475, "none found for this environment"),
    "appo": Target("APPO", "CartPole-v1", 475, "none found for this environment"),
    "appo-acrobot": Target("APPO", "Acrobot-v1", None, "none found for this environment"),
    "mappo": Target(
        "MultiAgentPPO",
        "reactornb.rl.simple_spread",
        -32.2,
        "-29.3 ± 1.5, which is -133.54 ± 3.08 of MAPPO with shared parameters in Papoudakis et al. 2021, arXiv:2006.07869, maximum returns: there an agent's "
        "reward is twice this one's, and each agent collides with itself, 75 an episode",
    ),
    "dqn-single": Target("DQN", "CartPole-v1", None, "none found", (("double", False),)),
    "dqn-duelling": Target("DQN", "CartPole-v1", None, "none found", (("duelling", True),)),
    "dqn-prioritised": Target("DQN", "CartPole-v1", None, "none found", (("prioritised", True),)),
}
DEFAULT = ("dqn", "ppo", "ppo-acrobot", "ppo-pendulum", "a2c", "impala", "appo", "sac", "td3", "bc", "recurrent-ppo")


def train(target: Target, *, seed: int, workers: int | None = None, steps: int | None = None) -> dict[str, Any]:
    """One run.

    Returns:
        `greedy` (mean of the final episodes), `greedy_deviation`, `greedy_episodes`, `training` (mean of the last 100; None if no
        episode ended), `episodes`, `steps`, `seconds`, `workers`, `seed`.
    """
    from reactornb import rl

    config = getattr(rl, target.algorithm).config_type.for_env(target.settings_of or target.env)
    config = replace(config, **dict(target.changes), **({} if steps is None else {"total_timesteps": steps}))
    source = {"dataset": recorded(target.env, target.behaviours)[0]} if target.behaviours else {}
    program = Program(getattr(rl, target.algorithm)(env=target.env, config=config, **source))
    result = program.run(seed=seed, workers=workers)
    metrics = result.metrics
    greedy = list(metrics["eval_return"])
    training = list(metrics.get("episode_return", ()))
    return {
        "seed": seed,
        "greedy": statistics.fmean(greedy),
        "greedy_deviation": statistics.pstdev(greedy),
        "greedy_episodes": len(greedy),
        "training": statistics.fmean(training[-100:]) if training else None,
        "episodes": len(training),
        "steps": int(sum(metrics["steps"])),
        "seconds": result.seconds,
        "workers": result.workers,
    }


def pong(frames: int, *, seed: int, workers: int | None = None) -> dict[str, Any]:
    """The beginning of the long run, without an evaluation at its end, and its throughput."""
    from reactornb.rl.pong import CONFIG, FRAME_SKIP, Pong

    program = Program(Pong(frames=frames, config=replace(CONFIG, eval_episodes=0)))
    result = program.run(seed=seed, workers=workers)
    metrics = result.metrics
    training = list(metrics.get("episode_return", ()))
    steps = int(sum(metrics["steps"]))
    return {
        "seed": seed,
        "frames": steps * FRAME_SKIP,
        "steps": steps,
        "seconds": result.seconds,
        "steps_per_second": steps / result.seconds,
        "frames_per_second": steps * FRAME_SKIP / result.seconds,
        "training": statistics.fmean(training[-100:]) if training else None,
        "episodes": len(training),
        "workers": result.workers,
    }


def inference(rows: Sequence[int] = (1, 4, 16), hidden: int = 64, repeats: int = 2000) -> dict[str, float]:
    """Microseconds for one call of a policy of two hidden layers, for some numbers of observations."""
    import torch

    from reactornb.rl.layers import mlp
    from reactornb.rl.networks import Flat
    from reactornb.rl.policies import Mlp, TorchForward

    sizes = (4, hidden, hidden, 2)
    weights = Flat(mlp(sizes, "tanh", torch.Generator().manual_seed(0))).publish()
    numpy_twin, torch_twin = Mlp(sizes, "tanh"), TorchForward(lambda: mlp(sizes, "tanh", None))
    numpy_twin.load(weights)
    torch_twin.load(weights)
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a worker
    timings = {}
    try:
        for n in rows:
            seen = np.ones((n, 4), np.float32)
            for name, call in (("numpy", numpy_twin), ("torch", torch_twin)):
                timings[f"{name}, {n} rows"] = _microseconds(call, seen, repeats)
    finally:
        torch.set_num_threads(before)
    return timings


def _microseconds(call: Callable[[np.ndarray], np.ndarray], seen: np.ndarray, repeats: int) -> float:
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(repeats // 5):
            call(seen)
        best = min(best, (time.perf_counter() - began) / (repeats // 5) * 1e6)
    return best


def main(argv: Sequence[str]) -> int:
    """Train and print; with --check the exit status is 1 if a seed misses its bar."""
    parser = argparse.ArgumentParser(
        prog="reactornb bench learning", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--algorithms", default=",".join(DEFAULT), metavar="A,B", help=f"of {', '.join(TARGETS)}, pong (%(default)s)"
    )
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds, from 1 on (%(default)s)")
    parser.add_argument("--workers", type=int, help="as many as there are usable cores unless given")
    parser.add_argument("--steps", type=int, help="environment steps of a run, instead of the algorithm's own number")
    parser.add_argument("--frames", type=int, default=200_000, help="of Pong (%(default)s)")
    parser.add_argument("--inference", action="store_true", help="measure policies' calls and nothing else")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bar is missed")
    chosen = parser.parse_args(argv)
    measured: dict[str, Any] = {
        "python": sys.version.split()[0],
        "gil": getattr(sys, "_is_gil_enabled", lambda: True)(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }
    if chosen.inference:
        measured["inference"] = inference()
        for name, microseconds in measured["inference"].items():
            print(f"{name:16} {microseconds:7.1f} µs")
    missed = False
    for name in [] if chosen.inference else chosen.algorithms.split(","):
        if name == "pong":
            measured["pong"] = row = pong(chosen.frames, seed=1, workers=chosen.workers)
            print(
                f"pong: {row['frames']:,} frames in {row['seconds']:.0f} s with {row['workers']} workers: "
                f"{row['frames_per_second']:,.0f} frames/s, {row['steps_per_second']:,.0f} steps/s, learning included; "
                f"{row['episodes']} games ended"
                + (
                    f", the mean of the last {min(100, row['episodes'])} is {row['training']:.1f}"
                    if row["episodes"]
                    else ""
                ),
                flush=True,
            )
        elif name in TARGETS:
            target = TARGETS[name]
            rows = measured[name] = []
            print(f"{name}: {target.algorithm} on {target.env}; published: {target.published}", flush=True)
            if target.behaviours:
                dataset, means = recorded(target.env, target.behaviours)
                print(
                    f"  learns from {dataset.episodes} episodes, mean {dataset.returns.mean():.1f}; of each behaviour {', '.join(f'{m:.1f}' for m in means)}"
                )
            for seed in range(1, chosen.seeds + 1):
                row = train(target, seed=seed, workers=chosen.workers, steps=chosen.steps)
                rows.append(row)
                print(f"  seed {seed}  {_line(row)}", flush=True)
            words, good = _judge(target, rows)
            missed |= not good
            print(f"  {words}", flush=True)
        else:
            parser.error(f"there is no {name!r}. {suggestion(name, [*TARGETS, 'pong'])}")
    if chosen.json is not None:
        files.write(chosen.json, json.dumps(measured, indent=2) + "\n")
    return int(chosen.check and missed)


def _line(row: dict[str, Any]) -> str:
    training = row["training"]
    in_training = (
        "no episode ended in training" if training is None else f"{training:7.1f} over the last 100 of training"
    )
    return (
        f"{row['greedy']:7.1f} ± {row['greedy_deviation']:5.1f} over {row['greedy_episodes']} greedy episodes, "
        f"{in_training}, {row['steps']:,} steps, {row['seconds']:.0f} s"
    )


def _judge(target: Target, rows: list[dict[str, Any]]) -> tuple[str, bool]:
    greedy = [row["greedy"] for row in rows]
    spread = f" ± {statistics.stdev(greedy):.1f}" if len(greedy) > 1 else ""
    words = f"mean over seeds {statistics.fmean(greedy):.1f}{spread}, slowest {max(r['seconds'] for r in rows):.0f} s"
    if target.bar is None:
        return words, True
    good = min(greedy) >= target.bar
    return f"{words}; bar: every seed at least {target.bar:g}, {'met' if good else 'MISSED'}", good
