"""Advantage actor-critic, synchronous.

    Program(A2C(env_id="CartPole-v1")).run(seed=1)

Like PPO without clipping: short trajectories, one step of gradient descent on each round's, the same weights everywhere.

Source: Mnih et al. 2016, arXiv:1602.01783, made synchronous (Wu et al. 2017, OpenAI baselines).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from reactornb.model import Reactor
from reactornb.rl.envs import EnvSpec
from reactornb.rl.networks import ActorCritic
from reactornb.rl.ppo import compose_actor_critic, estimate
from reactornb.rl.storage import Trajectory

__all__ = ["A2C", "A2CConfig"]


@dataclass(frozen=True, slots=True)
class A2CConfig:
    """Hyper-parameters; the defaults are those of Stable-Baselines3's A2C, with the RL Baselines3 Zoo's a2c.yml for CartPole.

    Attributes:
        total_steps: environment steps of a whole run.
        rollouts: reactors that play.
        n_envs: environments of each.
        horizon: steps of each environment per round.
        lr: RMSprop's learning rate; `anneal_lr` lets it fall to 0.
        rms_alpha: RMSprop's smoothing.
        rms_eps: RMSprop's epsilon.
        gamma: discount.
        lam: trace decay of the advantages; 1: returns up to the trajectory's end.
        entropy: weight of the policy's entropy.
        value: weight of the value function's squared error.
        max_grad_norm: the gradient is cut to this.
        hidden: widths of the hidden layers; images get the network of Mnih et al. 2015.
        log_deviation: of continuous actions, at the beginning.
        staleness: rounds that rollouts may be ahead of the learner; see `Learner`.
        eval_episodes: greedy episodes at the end; 0: none.
        device: of the learner.
    """

    total_steps: int = 500_000
    rollouts: int = 2
    n_envs: int = 4
    horizon: int = 5
    lr: float = 7e-4
    anneal_lr: bool = False
    rms_alpha: float = 0.99
    rms_eps: float = 1e-5
    gamma: float = 0.99
    lam: float = 1.0
    entropy: float = 0.0
    value: float = 0.5
    max_grad_norm: float = 0.5
    hidden: tuple[int, ...] = (64, 64)
    log_deviation: float = 0.0
    staleness: int = 0
    eval_episodes: int = 20
    device: str = "cpu"

    @classmethod
    def for_env(cls, env_id: Any) -> A2CConfig:  # noqa: ARG003 - as every algorithm's has it
        """What is known to work for an environment: the defaults, so far."""
        return cls()

    @property
    def rounds(self) -> int:
        """Rounds of a whole run."""
        return max(1, self.total_steps // (self.rollouts * self.n_envs * self.horizon))


class A2CAlgorithm:
    """A2C's one minibatch per round and its loss; see `Algorithm`."""

    target = None

    def __init__(self, spec: EnvSpec, config: Any, generator: torch.Generator | None, device: torch.device) -> None:
        self.config = config
        self.device = device
        self.network = ActorCritic(spec, config.hidden, generator, config.log_deviation)

    def minibatches(self, received: list[Trajectory], rng: np.random.Generator, progress: float) -> Iterator[Any]:  # noqa: ARG002 - as every `Algorithm` has it
        """All steps that were taken, with their advantages."""
        config = self.config
        observations, values, advantages, valid = estimate(
            self.network, received, self.device, gamma=config.gamma, lam=config.lam
        )
        actions = np.concatenate([r.actions for r in received], axis=1)
        rows = np.flatnonzero(valid)
        if not len(rows):
            return
        targets = (actions.reshape(-1, *actions.shape[2:]), advantages.ravel(), (advantages + values).ravel())
        yield observations[torch.from_numpy(rows)], *(torch.from_numpy(a[rows]).to(self.device) for a in targets)

    def loss(self, minibatch: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor | float]]:
        """Policy gradient, squared error of the values, entropy bonus."""
        observations, actions, advantages, returns = minibatch
        log_probs, entropies, values = self.network.evaluate(observations, actions)
        policy_loss = -(advantages * log_probs).mean()
        value_loss = ((returns - values) ** 2).mean()
        entropy = entropies.mean()
        loss = policy_loss + self.config.value * value_loss - self.config.entropy * entropy
        return loss, {"policy_loss": policy_loss, "value_loss": value_loss, "entropy": entropy}

    def feedback(self) -> None:
        """Nothing goes back."""


class A2C(Reactor):
    """A2C on an environment, with discrete or continuous actions.

    Parameters:
        env_id: a Gymnasium id, or a function that makes an environment or a vector environment.
        config: hyper-parameters; None: `A2CConfig.for_env`.

    Raises:
        UnknownEnvironmentError, SpaceError: at assembly.
    """

    env_id: Any = "CartPole-v1"
    config: A2CConfig | None = None

    def compose(self) -> None:
        """See `compose_actor_critic`."""
        c = self.config or A2CConfig.for_env(self.env_id)
        optimizer = partial(torch.optim.RMSprop, alpha=c.rms_alpha, eps=c.rms_eps)
        compose_actor_critic(self, c, A2CAlgorithm, optimizer)
