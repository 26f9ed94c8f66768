"""IMPALA: an actor-critic whose rollouts are ahead of its learner, corrected by V-trace.

    Program(IMPALA(env="CartPole-v1")).run(seed=1)

Rollouts play a round while the learner works on the one before, so they play with older weights than those that learn from it. V-trace
weighs what they did by how probable it is for the newer ones. In IMPALA chance decides how much older weights are; here the program says
it (`staleness`), so a run gives the same result each time, on any number of threads.

Source: Espeholt et al. 2018, arXiv:1802.01561.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from reactornb.rl.a2c import A2CAlgorithm
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
from reactornb.rl.learner import rms_prop
from reactornb.rl.ppo import ActorCriticAlgorithm, compose_actor_critic, evaluate
from reactornb.rl.storage import Trajectory, aligned
from reactornb.rl.training import Training
from reactornb.rl.vtrace import vtrace

__all__ = ["IMPALA", "IMPALAConfig", "corrected"]


@dataclass(frozen=True, slots=True)
class IMPALAConfig(TrainingConfig):
    """Hyper-parameters; the defaults are the paper's for Atari (table G.1), with fewer environments.

    Attributes:
        total_timesteps: environment steps of a whole run.
        n_rollouts: reactors that play.
        n_envs: environments of each: `n_rollouts * n_envs` in all.
        n_steps: steps of each environment per round, which ends with one update; a tuple has one number for each rollout; see `PPOConfig`.
        learning_rate: RMSprop's learning rate; `anneal_lr` lets it fall to 0.
        rms_prop_alpha: RMSprop's smoothing.
        rms_prop_eps: RMSprop's epsilon.
        gamma: discount.
        gae_lambda: trace decay of the targets and the advantages; 1: the paper's.
        rho_bar: limit of the ratio of both policies in the temporal differences.
        c_bar: its limit in the trace.
        ent_coef: weight of the policy's entropy.
        vf_coef: weight of the value function's mean squared error; the paper's 0.5 of half of it is 0.25 here.
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
    n_envs: int = 4
    n_steps: int | tuple[int, ...] = 20
    learning_rate: float = 6e-4
    anneal_lr: bool = True
    rms_prop_alpha: float = 0.99
    rms_prop_eps: float = 0.1
    gamma: float = 0.99
    gae_lambda: float = 1.0
    rho_bar: float = 1.0
    c_bar: float = 1.0
    ent_coef: float = 0.01
    vf_coef: float = 0.25
    max_grad_norm: float | None = 40.0
    hidden: tuple[int, ...] = (64, 64)
    log_std_init: float = 0.0
    staleness: int = 1
    overlap: bool = True
    device: str = "cpu"
    shards: int | None = None

    def __post_init__(self) -> None:
        check(
            self, total_timesteps=whole(1), n_rollouts=whole(1), n_envs=whole(1), n_steps=horizons, learning_rate=at_least(0), anneal_lr=flag,
            rms_prop_alpha=number(0, 1), rms_prop_eps=number(0, above=True), gamma=number(0, 1), gae_lambda=number(0, 1),
            rho_bar=number(0, above=True), c_bar=number(0, above=True), ent_coef=at_least(0), vf_coef=at_least(0),
            max_grad_norm=optional(number(0, above=True)), hidden=widths, log_std_init=number(), staleness=whole(0), overlap=flag,
            device=device, shards=optional(whole(1)),
        )  # fmt: skip
        per_rollout(self)

    @property
    def rounds(self) -> int:
        """Rounds of a whole run."""
        return max(1, self.total_timesteps // (self.n_envs * sum(per_rollout(self))))


IMPALAConfig.presets = {
    # Our own; the paper has no task of this kind.
    "CartPole-v1": IMPALAConfig(
        total_timesteps=400_000, n_envs=8, learning_rate=3e-3, rms_prop_eps=1e-5, gae_lambda=0.95, max_grad_norm=0.5,
    ),
}  # fmt: skip


def corrected(
    algorithm: ActorCriticAlgorithm, received: list[Trajectory]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What an actor-critic makes of a round that an older policy played.

    Args:
        algorithm: its policy learns; its `config` has `gamma`, `gae_lambda`, `rho_bar`, `c_bar`.
        received: what was played.

    Returns:
        Observations and actions, [T * N, …]; log-probabilities under the policy that learns, values, V-trace's targets and advantages,
        float32 [T, N] each; and which steps were taken, bool [T, N].
    """
    config = algorithm.config
    received = aligned(received)
    observations, values, next_values = evaluate(algorithm.value, received)

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(r, name) for r in received], axis=1)

    actions, valid = joined("actions"), joined("valid")
    actions = actions.reshape(-1, *actions.shape[2:])
    log_probs = algorithm.log_probs(observations, actions).reshape(valid.shape)
    targets, advantages = vtrace(
        log_probs - joined("log_probs"), joined("rewards"), values, next_values, joined("terminated"), joined("ended") | ~valid,
        gamma=config.gamma, gae_lambda=config.gae_lambda, rho_bar=config.rho_bar, c_bar=config.c_bar,
    )  # fmt: skip
    return observations, actions, log_probs, values, targets, advantages, valid


class IMPALAAlgorithm(A2CAlgorithm):
    """A2C's loss, with V-trace's targets and advantages; see `Algorithm`."""

    def judge(self, received: list[Trajectory]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """As A2C's, with V-trace's advantages and targets."""
        observations, actions, _, _, targets, advantages, valid = corrected(self, received)
        return observations, actions, advantages, targets, valid


class IMPALA(Training, config_type=IMPALAConfig):
    """IMPALA: learns a policy and a value function from rounds that are played while it learns from the one before, corrected by V-trace.

        result = Program(IMPALA(env="CartPole-v1", total_timesteps=50_000)).run(seed=1)

    Parameters:
        env: a Gymnasium id ("CartPole-v1" by default), or a function that makes an environment or a vector environment, such as
            `lambda: MyEnv(size=8)`; each rollout makes its own. Observations of any kind that becomes one array (frames, also in a Dict or Tuple, go
            through the network of Mnih et al. 2015); actions Discrete, a Box, MultiDiscrete, MultiBinary, or a Tuple or Dict of whole numbers.
        config: hyper-parameters, an `IMPALAConfig` (`IMPALAConfig?` lists all with their defaults). None, the default:
            `IMPALAConfig.for_env(env)`, what is known to work for that id.
        learning_rate, gamma, …: each field of `IMPALAConfig` by its name, instead of what `config` says: `IMPALA(learning_rate=1e-3)`.
            `IMPALA(…).settings` shows what comes of both.

    Logs `episode_return`, `episode_length`, `loss`, `policy_loss`, `value_loss`, `entropy`, and with each evaluation `eval_return` and `eval_mean`.

    Raises:
        UnknownEnvironmentError: at assembly, for an environment that cannot be made.
        SpaceError: at assembly, for observations or actions that it does not take.
        ConfigError: at assembly, for another configuration.

    Source: Espeholt et al. 2018, arXiv:1802.01561.
    """

    env: Any = "CartPole-v1"
    config: IMPALAConfig | None = None

    def compose(self) -> None:
        """See `compose_actor_critic`."""
        c = config_of(self, IMPALAConfig)
        optimizer_class = rms_prop(c.device, alpha=c.rms_prop_alpha, eps=c.rms_prop_eps)
        compose_actor_critic(self, c, IMPALAAlgorithm, optimizer_class)
