"""Advantage actor-critic, synchronous.

    Program(A2C(env="CartPole-v1")).run(seed=1)

Like PPO without clipping: short trajectories, one step of gradient descent on each round's, the same weights everywhere.

Source: Mnih et al. 2016, arXiv:1602.01783, made synchronous (Wu et al. 2017, OpenAI baselines).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

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
from reactornb.rl.minibatches import tensors
from reactornb.rl.ppo import ActorCriticAlgorithm, compose_actor_critic, estimate
from reactornb.rl.storage import Trajectory, aligned
from reactornb.rl.training import Training

__all__ = ["A2C", "A2CConfig"]


@dataclass(frozen=True, slots=True)
class A2CConfig(TrainingConfig):
    """Hyper-parameters; the defaults are those of Stable-Baselines3's A2C, with the RL Baselines3 Zoo's a2c.yml for CartPole.

    Attributes:
        total_timesteps: environment steps of a whole run.
        n_rollouts: reactors that play. Workers take one after the other, so that several for each core even out what takes uneven time: if a
            step takes more than 0.1 ms, 4 for each core with few environments each; below, one for each core, whose calls of the
            network serve more environments at once.
        n_envs: environments of each: `n_rollouts * n_envs` in all.
        n_steps: steps of each environment per round; a tuple has one number for each rollout, such as (128, 32): fewer for those whose
            environments are slower, so that the others need not wait.
        learning_rate: RMSprop's learning rate; `anneal_lr` lets it fall to 0.
        rms_prop_alpha: RMSprop's smoothing.
        rms_prop_eps: RMSprop's epsilon.
        gamma: discount.
        gae_lambda: trace decay of the advantages; 1: returns up to the trajectory's end.
        ent_coef: weight of the policy's entropy.
        vf_coef: weight of the value function's mean squared error.
        max_grad_norm: the gradient is cut to this.
        hidden: widths of the hidden layers; images get the network of Mnih et al. 2015.
        log_std_init: of continuous actions, at the beginning.
        staleness: rounds that rollouts may be ahead of the learner: 1 means that round n + 1 is played with the weights that round
            n was played with already, not with those learnt from it; see `Learner`.
        overlap: learn from a round while the next ones are played: the learner is an enclave, and `staleness` at least 1. The result
            depends on the staleness alone.
        device: of the learner.
        shards: reactors that compute the gradient of one minibatch at the same time; None: as many as `default_shards` says for this network
            and minibatch, on any machine. Results of different numbers differ by rounding, those of one are the same for any number of workers.
        network, eval_every, …: what all algorithms have; see `TrainingConfig`.
    """

    total_timesteps: int = 500_000
    n_rollouts: int = 2
    n_envs: int = 4
    n_steps: int | tuple[int, ...] = 5
    learning_rate: float = 7e-4
    anneal_lr: bool = False
    rms_prop_alpha: float = 0.99
    rms_prop_eps: float = 1e-5
    gamma: float = 0.99
    gae_lambda: float = 1.0
    ent_coef: float = 0.0
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5
    hidden: tuple[int, ...] = (64, 64)
    log_std_init: float = 0.0
    staleness: int = 0
    overlap: bool = False
    device: str = "cpu"
    shards: int | None = None

    def __post_init__(self) -> None:
        check(
            self, total_timesteps=whole(1), n_rollouts=whole(1), n_envs=whole(1), n_steps=horizons, learning_rate=at_least(0), anneal_lr=flag,
            rms_prop_alpha=number(0, 1), rms_prop_eps=number(0, above=True), gamma=number(0, 1), gae_lambda=number(0, 1), ent_coef=at_least(0),
            vf_coef=at_least(0), max_grad_norm=optional(number(0, above=True)), hidden=widths, log_std_init=number(),
            staleness=whole(0), overlap=flag, device=device, shards=optional(whole(1)),
        )  # fmt: skip
        per_rollout(self)

    @property
    def rounds(self) -> int:
        """Rounds of a whole run."""
        return max(1, self.total_timesteps // (self.n_envs * sum(per_rollout(self))))


class A2CAlgorithm(ActorCriticAlgorithm):
    """A2C's one minibatch per round and its loss; see `Algorithm`."""

    def minibatches(self, received: list[Trajectory], rng: np.random.Generator, progress: float) -> list[Any]:  # noqa: ARG002 - as every `Algorithm` has it
        """All steps that were taken: observations, actions, advantages and returns; arrays, or tensors for autograd."""
        observations, actions, advantages, returns, valid = self.judge(received)
        rows = np.flatnonzero(valid)
        if not len(rows):
            return []
        arrays = tuple(a[rows] for a in (observations, actions, advantages.ravel(), returns.ravel()))
        return [arrays if self.analytic else tensors(self.device, *arrays)]

    def judge(self, received: list[Trajectory]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """All steps of a round: observations and actions, [T * N, …]; advantages and returns, float32 [T, N]; which were taken, bool [T, N]."""
        config = self.config
        received = aligned(received)
        observations, values, advantages, valid = estimate(
            self.value, received, gamma=config.gamma, gae_lambda=config.gae_lambda
        )
        actions = np.concatenate([r.actions for r in received], axis=1)
        return observations, actions.reshape(-1, *actions.shape[2:]), advantages, advantages + values, valid

    def loss(self, minibatch: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor | float]]:
        """Policy gradient, squared error of the values, entropy bonus."""
        observations, actions, advantages, returns = minibatch
        log_probs, entropies, values = self.network.evaluate(observations, actions)
        policy_loss = -(advantages * log_probs).mean()
        value_loss = ((returns - values) ** 2).mean()
        entropy = entropies.mean()
        loss = policy_loss + self.config.vf_coef * value_loss - self.config.ent_coef * entropy
        return loss, {"policy_loss": policy_loss, "value_loss": value_loss, "entropy": entropy}

    def gradient(self, minibatch: Any, weights: np.ndarray, out: np.ndarray) -> dict[str, float]:
        """That of `loss`, written out."""
        config, net = self.config, self.written
        assert net is not None
        observations, actions, advantages, returns = minibatch
        rows = len(returns)
        with np.errstate(over="ignore", invalid="ignore"):  # the learner looks for what is not finite, and says so
            log_probs, entropy, values = net.forward(weights, observations, actions)
            errors = values - returns
            policy_loss = -float(np.dot(advantages, log_probs)) / rows
            value_loss = float(np.dot(errors, errors)) / rows
            d_values = errors * np.float32(2.0 * config.vf_coef / rows)
            net.backward(out, advantages * np.float32(-1.0 / rows), -config.ent_coef, d_values)
        loss = policy_loss + config.vf_coef * value_loss - config.ent_coef * entropy
        return {"loss": loss, "policy_loss": policy_loss, "value_loss": value_loss, "entropy": entropy}


class A2C(Training, config_type=A2CConfig):
    """Advantage actor-critic, synchronous: learns a policy and a value function, one step of descent on each short round of play.

        result = Program(A2C(env="CartPole-v1", total_timesteps=50_000)).run(seed=1)

    Parameters:
        env: a Gymnasium id ("CartPole-v1" by default), or a function that makes an environment or a vector environment, such as
            `lambda: MyEnv(size=8)`; each rollout makes its own. Observations of any kind that becomes one array (frames, also in a Dict or Tuple, go
            through the network of Mnih et al. 2015); actions Discrete, a Box, MultiDiscrete, MultiBinary, or a Tuple or Dict of whole numbers.
        config: hyper-parameters, an `A2CConfig` (`A2CConfig?` lists all with their defaults). None, the default:
            `A2CConfig.for_env(env)`, what is known to work for that id.
        learning_rate, gamma, …: each field of `A2CConfig` by its name, instead of what `config` says: `A2C(learning_rate=1e-3)`. `A2C(…).settings` shows
            what comes of both.

    Logs `episode_return`, `episode_length`, `loss`, `policy_loss`, `value_loss`, `entropy`, and with each evaluation `eval_return` and `eval_mean`.

    Raises:
        UnknownEnvironmentError: at assembly, for an environment that cannot be made.
        SpaceError: at assembly, for observations or actions that it does not take.
        ConfigError: at assembly, for another configuration.

    Source: Mnih et al. 2016, arXiv:1602.01783, made synchronous (Wu et al. 2017, OpenAI baselines).
    """

    env: Any = "CartPole-v1"
    config: A2CConfig | None = None

    def compose(self) -> None:
        """See `compose_actor_critic`."""
        c = config_of(self, A2CConfig)
        optimizer_class = rms_prop(c.device, alpha=c.rms_prop_alpha, eps=c.rms_prop_eps)
        compose_actor_critic(self, c, A2CAlgorithm, optimizer_class)
