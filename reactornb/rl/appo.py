"""APPO: proximal policy optimization whose rollouts are ahead of its learner, corrected by V-trace.

    Program(APPO(env="CartPole-v1")).run(seed=1)

Rollouts play a round while the learner works on the one before. What they did is weighed by V-trace for the policy that the round's updates
begin with; the clipped surrogate then limits how far the updates go from that one, not from the older policy that played: a far
ratio to the latter would be clipped before the first update.

Source: V-trace: Espeholt et al. 2018, arXiv:1802.01561; the clipped surrogate: Schulman et al. 2017, arXiv:1707.06347; both together: APPO of
RLlib and of Sample Factory (Petrenko et al. 2020, arXiv:2006.11751); apart from the policy that played: Hilton et al. 2022, arXiv:2110.00641.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from reactornb.rl.config import (
    TrainingConfig,
    at_least,
    check,
    config_of,
    device,
    flag,
    horizons,
    number,
    optional,
    per_rollout,
    whole,
    widths,
)
from reactornb.rl.impala import corrected
from reactornb.rl.learner import adam
from reactornb.rl.ppo import Minibatch, PPOAlgorithm, PPOConfig, compose_actor_critic
from reactornb.rl.storage import Trajectory
from reactornb.rl.training import Training

__all__ = ["APPO", "APPOConfig"]


@dataclass(frozen=True, slots=True)
class APPOConfig(TrainingConfig):
    """Hyper-parameters; the defaults are those of PPO here, with V-trace's limits and the overlap.

    Attributes:
        total_timesteps: environment steps of a whole run.
        n_rollouts: reactors that play.
        n_envs: environments of each: `n_rollouts * n_envs` in all.
        n_steps: steps of each environment per round; a tuple has one number for each rollout; see `PPOConfig`.
        n_epochs: how often a round's steps are used.
        batch_size: steps of an update.
        learning_rate: Adam's learning rate; `anneal_lr` lets it fall to 0.
        adam_eps: Adam's epsilon.
        gamma: discount.
        gae_lambda: trace decay of the targets and the advantages, which are PPO's where both policies are the same.
        rho_bar: limit of the ratio of both policies in the temporal differences.
        c_bar: its limit in the trace.
        clip_range: how far the probability ratio may go from 1; `anneal_clip_range` lets it fall to 0.
        clip_vloss: clip the value function's steps likewise.
        ent_coef: weight of the policy's entropy.
        vf_coef: weight of the value function's loss, which is half its mean squared error.
        normalize_advantage: per minibatch.
        max_grad_norm: the gradient is cut to this.
        hidden: widths of the hidden layers; images get the network of Mnih et al. 2015.
        log_std_init: of continuous actions, at the beginning.
        staleness: rounds that rollouts may be ahead of the learner; with `overlap` at least 1; see `Learner`.
        overlap: learn from a round while the next ones are played. The result depends on the staleness alone.
        device: of the learner.
        shards: reactors that compute the gradient of one minibatch at the same time; None: as many as `default_shards` says.
        network, eval_every, …: what all algorithms have; see `TrainingConfig`.
    """

    total_timesteps: int = 500_000
    n_rollouts: int = 2
    n_envs: int = 2
    n_steps: int | tuple[int, ...] = 128
    n_epochs: int = 4
    batch_size: int = 128
    learning_rate: float = 2.5e-4
    anneal_lr: bool = True
    adam_eps: float = 1e-5
    gamma: float = 0.99
    gae_lambda: float = 0.95
    rho_bar: float = 1.0
    c_bar: float = 1.0
    clip_range: float = 0.2
    anneal_clip_range: bool = False
    clip_vloss: bool = True
    ent_coef: float = 0.01
    vf_coef: float = 0.5
    normalize_advantage: bool = True
    max_grad_norm: float | None = 0.5
    hidden: tuple[int, ...] = (64, 64)
    log_std_init: float = 0.0
    staleness: int = 1
    overlap: bool = True
    device: str = "cpu"
    shards: int | None = None

    def __post_init__(self) -> None:
        check(
            self, total_timesteps=whole(1), n_rollouts=whole(1), n_envs=whole(1), n_steps=horizons, n_epochs=whole(1),
            batch_size=whole(1), learning_rate=at_least(0), anneal_lr=flag, adam_eps=number(0, above=True), gamma=number(0, 1),
            gae_lambda=number(0, 1), rho_bar=number(0, above=True), c_bar=number(0, above=True), clip_range=number(0, above=True),
            anneal_clip_range=flag, clip_vloss=flag, ent_coef=at_least(0), vf_coef=at_least(0), normalize_advantage=flag,
            max_grad_norm=optional(number(0, above=True)), hidden=widths, log_std_init=number(), staleness=whole(0), overlap=flag,
            device=device, shards=optional(whole(1)),
        )  # fmt: skip
        per_rollout(self)

    @property
    def rounds(self) -> int:
        """Rounds of a whole run."""
        return max(1, self.total_timesteps // (self.n_envs * sum(per_rollout(self))))


# Those of PPO here, but for its staleness and overlap; measured on CartPole only.
APPOConfig.presets = {
    env: APPOConfig(**{name: getattr(preset, name) for name in preset.names() if name not in {"staleness", "overlap"}})
    for env, preset in PPOConfig.presets.items()
}


class APPOAlgorithm(PPOAlgorithm):
    """PPO's minibatches and loss, with V-trace's targets and advantages; see `Algorithm`."""

    def prepare(self, received: list[Trajectory], clip: float) -> tuple[Minibatch, np.ndarray]:
        """All steps of a round as arrays, rows in the order [T, N], and which of them were taken."""
        observations, actions, log_probs, values, targets, advantages, valid = corrected(self, received)
        judged = (log_probs.ravel(), advantages.ravel(), values.ravel(), targets.ravel())
        return Minibatch(observations, actions, *judged, clip), valid


class APPO(Training, config_type=APPOConfig):
    """Asynchronous PPO, its asynchrony declared: rounds are played while it learns from the one before, corrected by V-trace.

        result = Program(APPO(env="CartPole-v1", total_timesteps=50_000)).run(seed=1)

    Parameters:
        env: a Gymnasium id ("CartPole-v1" by default), or a function that makes an environment or a vector environment, such as
            `lambda: MyEnv(size=8)`; each rollout makes its own. Observations of any kind that becomes one array (frames, also in a Dict or Tuple, go
            through the network of Mnih et al. 2015); actions Discrete, a Box, MultiDiscrete, MultiBinary, or a Tuple or Dict of whole numbers.
        config: hyper-parameters, an `APPOConfig` (`APPOConfig?` lists all with their defaults). None, the default:
            `APPOConfig.for_env(env)`, what is known to work for that id.
        learning_rate, gamma, …: each field of `APPOConfig` by its name, instead of what `config` says: `APPO(learning_rate=1e-3)`.
            `APPO(…).settings` shows what comes of both.

    Logs `episode_return`, `episode_length`, `loss`, `policy_loss`, `value_loss`, `entropy`, `kl`, and with each evaluation `eval_return` and `eval_mean`.

    Raises:
        UnknownEnvironmentError: at assembly, for an environment that cannot be made.
        SpaceError: at assembly, for observations or actions that it does not take.
        ConfigError: at assembly, for another configuration.

    Source: Espeholt et al. 2018, arXiv:1802.01561; Schulman et al. 2017, arXiv:1707.06347; the module names more.
    """

    env: Any = "CartPole-v1"
    config: APPOConfig | None = None

    def compose(self) -> None:
        """See `compose_actor_critic`."""
        c = config_of(self, APPOConfig)
        compose_actor_critic(self, c, APPOAlgorithm, adam(c.device, eps=c.adam_eps))
