"""The cases of `reactornb bench train`: one table of hyper-parameters, read by every side.

`settings` are by Stable-Baselines3's names and with its meanings; `config` translates them for us, and each peer's script for its library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any

from reactornb.bench.peers.slow_env import make_slow
from reactornb.errors import ReactorError, suggestion
from reactornb.rl.atari import MNIH_2015, make_atari
from reactornb.rl.dqn import DQN, DQNConfig
from reactornb.rl.ppo import PPO, PPOConfig
from reactornb.rl.sac import SAC, SACConfig

__all__ = ["CASES", "Case"]

OURS: dict[str, tuple[Any, Any]] = {"PPO": (PPO, PPOConfig), "DQN": (DQN, DQNConfig), "SAC": (SAC, SACConfig)}


@dataclass(frozen=True, slots=True)
class Case:
    """One training.

    Attributes:
        name: as `--case` takes it.
        algorithm: "PPO", "DQN" or "SAC".
        env: a Gymnasium id, "slow" (`peers/slow_env.py`) or "pong" (with the preprocessing of Mnih et al. 2015).
        steps: of all environments together.
        settings: hyper-parameters by Stable-Baselines3's names; `n_envs`, `hidden`, `anneal_lr`, `anneal_clip_range` besides.
        rollouts: how many reactors share the environments with us.
        target: the return to reach, by the mean of training episodes; None: the case is for speed only.
        source: of the settings.
    """

    name: str
    algorithm: str
    env: str
    steps: int
    settings: Mapping[str, Any]
    rollouts: int
    target: float | None
    source: str
    ours: Mapping[str, Any] = field(default_factory=dict)

    @property
    def round_steps(self) -> int:
        """Environment steps from one update to the next."""
        per_env: int = self.settings["n_steps" if self.algorithm == "PPO" else "train_freq"]
        return per_env * int(self.settings["n_envs"])

    def lasting(self, steps: int | None) -> Case:
        """The case with another number of steps, in whole rounds, since some libraries stop before a last part and others after it.

        What is annealed is annealed over them, and a replay buffer learns after a quarter of them at the latest.
        """
        whole = max(1, (steps or self.steps) // self.round_steps) * self.round_steps
        settings = dict(self.settings)
        if "learning_starts" in settings:
            settings["learning_starts"] = min(settings["learning_starts"], whole // 4)
        return replace(self, steps=whole, settings=settings)

    def request(self) -> dict[str, Any]:
        """What a peer's function `train` is told of the case."""
        return {"algorithm": self.algorithm, "env": self.env, "steps": self.steps, "settings": dict(self.settings)}

    def config(self, **changes: Any) -> Any:
        """Our configuration: a `PPOConfig`, a `DQNConfig` or a `SACConfig`.

        Args:
            changes: fields by name, instead of what the case says.

        Raises:
            ReactorError: for a name that is no field.
            ConfigError: for a value that does not fit.
        """
        kind: Any = OURS[self.algorithm][1]
        there = [f.name for f in fields(kind)]
        for name in changes:
            if name not in there:
                raise ReactorError(f"--ours: {kind.__name__} has no field {name!r}. {suggestion(name, there)}")
        s = dict(self.settings)
        rollouts = changes.get("n_rollouts", self.rollouts)
        s["n_envs"], rest = divmod(s["n_envs"], rollouts)
        if rest:
            raise ReactorError(
                f"--ours: n_rollouts={rollouts} does not divide the {self.settings['n_envs']} environments of {self.name}. Take a divisor."
            )
        if self.algorithm == "PPO":
            # Stable-Baselines3 weights the whole squared error of the values, we weight half of it; unclipped it has None.
            s["vf_coef"] *= 2
            s["clip_vloss"] = s.pop("clip_range_vf") is not None
            s["anneal_clip_range"] = s.get("anneal_clip_range", False)
        elif self.algorithm == "DQN":
            # Its counter of the target's interval stands still during a round's updates, so with an interval shorter than a round the
            # target is replaced once a round; ours counts on. Its loss is Huber's.
            s["target_update_interval"] = max(s["target_update_interval"], self.round_steps)
            s["huber"] = True
        else:
            s["qf_learning_rate"] = None
        return kind(**{**s, "n_rollouts": rollouts, "total_timesteps": self.steps, "eval_episodes": 0, **self.ours, **changes})  # fmt: skip

    def program(self, **changes: Any) -> Any:
        """Our root reactor for it; arguments and errors as of `config`."""
        config = self.config(**changes)
        env: Any = self.env
        if env == "slow":
            env = make_slow
        elif env == "pong":
            env = partial(make_atari, "Pong", config.n_envs, **MNIH_2015)
        return OURS[self.algorithm][0](env=env, config=config)


_PPO = {
    "anneal_clip_range": False, "clip_range_vf": None, "normalize_advantage": True, "max_grad_norm": 0.5, "hidden": (64, 64),
}  # fmt: skip
_CARTPOLE = {
    **_PPO, "n_envs": 8, "n_steps": 32, "n_epochs": 20, "batch_size": 256, "learning_rate": 1e-3, "anneal_lr": True,
    "clip_range": 0.2, "anneal_clip_range": True, "gamma": 0.98, "gae_lambda": 0.8, "ent_coef": 0.0, "vf_coef": 0.5,
}  # fmt: skip

CASES: dict[str, Case] = {
    case.name: case
    for case in (
        Case("ppo-cartpole", "PPO", "CartPole-v1", 100_000, _CARTPOLE, 2, 450.0, "RL Baselines3 Zoo, ppo.yml"),
        Case(
            "ppo-acrobot", "PPO", "Acrobot-v1", 100_000,
            {
                **_PPO, "n_envs": 4, "n_steps": 128, "n_epochs": 4, "batch_size": 128, "learning_rate": 2.5e-4, "anneal_lr": True,
                "clip_range": 0.2, "clip_range_vf": 0.2, "gamma": 0.99, "gae_lambda": 0.95, "ent_coef": 0.01, "vf_coef": 0.25,
            },
            2, -100.0, "CleanRL, ppo.py",
        ),
        Case(
            "dqn-cartpole", "DQN", "CartPole-v1", 50_000,
            {
                "n_envs": 1, "train_freq": 256, "gradient_steps": 128, "learning_rate": 2.3e-3, "batch_size": 64, "buffer_size": 100_000,
                "learning_starts": 1000, "target_update_interval": 10, "gamma": 0.99, "exploration_fraction": 0.16,
                "exploration_final_eps": 0.04, "max_grad_norm": 10.0, "hidden": (256, 256),
            },
            1, 300.0, "RL Baselines3 Zoo, dqn.yml",
        ),
        Case(
            "sac-pendulum", "SAC", "Pendulum-v1", 10_000,
            {
                "n_envs": 1, "train_freq": 1, "gradient_steps": 1, "learning_rate": 1e-3, "batch_size": 256, "buffer_size": 100_000,
                "learning_starts": 100, "tau": 0.005, "gamma": 0.99, "ent_coef": "auto", "hidden": (256, 256),
            },
            1, -250.0, "RL Baselines3 Zoo, sac.yml",
        ),
        Case(
            "ppo-slow", "PPO", "slow", 8192, {**_CARTPOLE, "n_envs": 16, "n_steps": 32}, 8, None,
            "ppo-cartpole with 16 environments",
        ),
        Case(
            "ppo-pong", "PPO", "pong", 3072,
            {
                **_PPO, "n_envs": 8, "n_steps": 128, "n_epochs": 4, "batch_size": 256, "learning_rate": 2.5e-4, "anneal_lr": True,
                "clip_range": 0.1, "gamma": 0.99, "gae_lambda": 0.95, "ent_coef": 0.01, "vf_coef": 0.5,
            },
            2, None, "RL Baselines3 Zoo, ppo.yml (atari); 4 frames a step",
        ),
    )
}  # fmt: skip
