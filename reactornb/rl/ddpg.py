"""Deep deterministic policy gradient: TD3 with one critic, no noise on what it aims at, and an actor that learns at every update.

    Program(DDPG(env="Pendulum-v1")).run(seed=1)

Source: Lillicrap et al. 2015, arXiv:1509.02971; CleanRL's ddpg_continuous_action.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reactornb.rl.config import at_least, check, config_of, whole
from reactornb.rl.continuous import COMMON, ContinuousConfig, wire
from reactornb.rl.envs import spec_of
from reactornb.rl.td3 import TD3Algorithm
from reactornb.rl.training import Training, env_of

__all__ = ["DDPG", "DDPGConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DDPGConfig(ContinuousConfig):
    """Hyper-parameters; the defaults are CleanRL's ddpg_continuous_action.py.

    Attributes:
        exploration_noise: deviation of the noise on the actions of rollouts, which are in [-1, 1] before they are stretched to their Box.
        policy_delay: updates of the critic for one of the actor and of the targets; 1 as published, CleanRL's is 2.
        total_timesteps, …: see `ContinuousConfig`.
    """

    exploration_noise: float = 0.1
    policy_delay: int = 2

    def __post_init__(self) -> None:
        check(self, **COMMON, exploration_noise=at_least(0), policy_delay=whole(1))
        self.check_rounds()

    @property
    def target_policy_noise(self) -> float:
        """That of `TD3Algorithm`: none."""
        return 0.0

    @property
    def target_noise_clip(self) -> float:
        """Likewise."""
        return 0.0


# RL Baselines3 Zoo, ddpg.yml, which has nothing for MuJoCo.
DDPGConfig.presets = {
    "Pendulum-v1": DDPGConfig(
        total_timesteps=20_000, learning_starts=10_000, learning_rate=1e-3, gamma=0.98, buffer_size=20_000, hidden=(400, 300), policy_delay=1
    ),
}  # fmt: skip


class DDPGAlgorithm(TD3Algorithm):
    """DDPG's loss: see `Algorithm`."""

    name = "DDPG"
    critics = 1


class DDPG(Training, config_type=DDPGConfig):
    """Deep deterministic policy gradient: learns continuous actions from a replay buffer. TD3 is what became of it.

        result = Program(DDPG(env="Pendulum-v1")).run(seed=1)

    Parameters:
        env: a Gymnasium id ("Pendulum-v1" by default), or a function that makes an environment or a vector environment, such as
            `lambda: MyEnv(size=8)`; each rollout makes its own. Observations of any kind that becomes one array, but frames; actions a Box
            with bounds.
        config: hyper-parameters, a `DDPGConfig` (`DDPGConfig?` lists all with their defaults). None, the default:
            `DDPGConfig.for_env(env)`, what is known to work for that id.
        learning_rate, gamma, …: each field of `DDPGConfig` by its name, instead of what `config` says: `DDPG(learning_rate=1e-3)`. `DDPG(…).settings` shows
            what comes of both.

    Logs `episode_return`, `episode_length`, `loss` (the sum of all), `qf_loss`, `actor_loss`, `value`, and at the end `eval_return` and `eval_mean`.

    Raises:
        UnknownEnvironmentError: at assembly, for an environment that cannot be made.
        SpaceError: at assembly, for observations or actions that it does not take.
        ConfigError: at assembly, for another configuration.

    Source: Lillicrap et al. 2015, arXiv:1509.02971.
    """

    env: Any = "Pendulum-v1"
    config: DDPGConfig | None = None

    def compose(self) -> None:
        """Learner -> rollouts -> replay buffer -> learner, and an evaluation at the end."""
        c = config_of(self, DDPGConfig)
        wire(self, c, spec_of(env_of(self, c)), DDPGAlgorithm, c.policy_delay)
