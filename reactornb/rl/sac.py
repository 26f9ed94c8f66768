"""Soft actor-critic: a stochastic policy for actions in a Box, from a replay buffer, with twin critics and an entropy coefficient that is learnt.

    Program(SAC(env="Pendulum-v1")).run(seed=1)

Source: Haarnoja et al. 2018, arXiv:1812.05905; CleanRL's sac_continuous_action.py. `continuous.py` says in which order an update goes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from reactornb.rl.analytic import written_out
from reactornb.rl.bounded import Bounds, SquashedGaussianPolicy
from reactornb.rl.config import Rule, at_least, check, config_of, number
from reactornb.rl.continuous import COMMON, ContinuousConfig, Noised, noised, wire
from reactornb.rl.continuous_networks import ActorAndCritics, squashed
from reactornb.rl.continuous_passes import ContinuousPass, SquashedGaussian
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.envs import spec_of
from reactornb.rl.policies import Policy
from reactornb.rl.storage import Batch
from reactornb.rl.training import Training, env_of

__all__ = ["SAC", "SACConfig"]


def _is_auto(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    word, _, first = value.partition("_")
    try:
        return word == "auto" and (value == "auto" or 0 < float(first) < math.inf)
    except ValueError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class SACConfig(ContinuousConfig):
    """Hyper-parameters; the defaults are CleanRL's sac_continuous_action.py.

    Attributes:
        ent_coef: what the policy's entropy counts beside returns; "auto": learnt, from 1 on, or "auto_0.1": from 0.1 on.
        target_entropy: the entropy that a learnt coefficient aims at, where actions are in [-1, 1]; "auto": minus the numbers of an action.
        total_timesteps, …: see `ContinuousConfig`.
    """

    renamed: ClassVar = {**ContinuousConfig.renamed, "alpha": "ent_coef (as in Stable-Baselines3)"}

    learning_starts: int = 5_000
    qf_learning_rate: float | None = 1e-3
    ent_coef: float | str = "auto"
    target_entropy: float | str = "auto"

    def __post_init__(self) -> None:
        auto = Rule(
            'a number of at least 0, "auto", or "auto_" and its first value, such as "auto_0.1"',
            lambda v: _is_auto(v) or at_least(0).holds(v),
        )
        aim = Rule('a finite number, or "auto"', lambda v: v == "auto" or number().holds(v))
        check(self, **COMMON, ent_coef=auto, target_entropy=aim)
        self.check_rounds()

    @property
    def log_ent_coef(self) -> float | None:
        """The logarithm of a learnt coefficient's first value; None if it is not learnt."""
        if not isinstance(self.ent_coef, str):
            return None
        first = self.ent_coef.partition("_")[2]
        return math.log(float(first)) if first else 0.0


# RL Baselines3 Zoo, sac.yml; there is one learning rate in Stable-Baselines3.
_MUJOCO = SACConfig(total_timesteps=1_000_000, learning_starts=10_000, qf_learning_rate=None)
SACConfig.presets = {
    "Pendulum-v1": SACConfig(
        total_timesteps=20_000, learning_starts=100, learning_rate=1e-3, qf_learning_rate=None, buffer_size=20_000
    ),
    **{f"{name}-v{version}": _MUJOCO for name in ("Ant", "HalfCheetah", "Hopper", "Walker2d") for version in (4, 5)},
}


class SACAlgorithm:
    """Soft actor-critic's loss; see `Algorithm`.

    `gradient` is used for perceptrons on the CPU; whoever overrides `loss` alone gets autograd's.
    """

    name = "SAC"
    outputs = 2

    def __init__(self, spec: EnvSpec, config: SACConfig, generator: torch.Generator, device: torch.device) -> None:
        self.config = config
        self.device = device
        self.bounds = Bounds.of(spec, self.name)
        self.network = self._own = self.networks(spec, config, generator)
        self.target = self.networks(spec, config, None)
        self.learns_coefficient = config.log_ent_coef is not None
        self.target_entropy = (
            -float(self.bounds.size) if isinstance(config.target_entropy, str) else config.target_entropy
        )
        self._in_numpy = device.type == "cpu" and config.network is None
        if self._in_numpy:
            self._pass = ContinuousPass(spec, config.hidden, outputs=2, critics=2, judges=2)
            self._next, self._now = SquashedGaussian(), SquashedGaussian()

    @classmethod
    def networks(cls, spec: EnvSpec, config: SACConfig, generator: torch.Generator | None) -> ActorAndCritics:
        """See `Kind`."""
        first = config.log_ent_coef
        return ActorAndCritics(spec, config.hidden, generator, outputs=2, log_ent_coef=first, network=config.network)

    @classmethod
    def player(cls, forward: Any, bounds: Bounds, config: SACConfig, warm_up: int) -> Policy:  # noqa: ARG003 - as every `Kind` has it
        """See `Kind`."""
        return SquashedGaussianPolicy(forward, bounds, warm_up)

    @property
    def analytic(self) -> bool:
        """See `Algorithm`; False also where a subclass has put another network in the place of this one."""
        return self._in_numpy and self.network is self._own and written_out(type(self))

    def minibatches(self, received: list[list[Batch]], rng: np.random.Generator, progress: float) -> list[Noised]:  # noqa: ARG002 - as every `Algorithm` has it
        """Those that the replay buffer drew, with noise for the actions at both observations."""
        return [noised(batch, rng, 2, self.bounds.size, True) for batch in received[0]]

    def loss(self, minibatch: Noised) -> tuple[torch.Tensor, dict[str, torch.Tensor | float]]:
        """Of the critics, the actor and the entropy coefficient; each depends on its own weights alone."""
        m, network = minibatch, self.network
        taken = np.empty((len(m.actions), self.bounds.size), np.float32)
        self.bounds.from_box(m.actions, taken)
        observations, next_observations, actions, rewards, discounts, noise = (
            # Copies: what was sent is read-only, which torch's tensors cannot be.
            torch.tensor(a, device=self.device)
            for a in (m.observations, m.next_observations, taken, m.rewards, m.discounts, m.noise)
        )
        log_ent_coef = network.log_ent_coef
        ent_coef = float(self.config.ent_coef) if log_ent_coef is None else log_ent_coef.detach().exp()
        with torch.no_grad():
            next_actions, next_log_probs = squashed(network.actor(next_observations), noise[:, 0])
            next_values = self.target.values(next_observations, next_actions).amin(0)
            goals = rewards + discounts * (next_values - ent_coef * next_log_probs)
        values = network.values(observations, actions)
        qf_loss = ((values - goals) ** 2).mean(1).sum()
        own_actions, log_probs = squashed(network.actor(observations), noise[:, 1])
        first, second = network.frozen_values(observations, own_actions, 2)
        own_values = torch.where(second < first, second, first)
        actor_loss = (ent_coef * log_probs - own_values).mean()
        loss = qf_loss + actor_loss
        if log_ent_coef is not None:
            loss = loss - (log_ent_coef * (log_probs.detach() + self.target_entropy).mean()).sum()
        return loss, {
            "qf_loss": qf_loss.detach(),
            "actor_loss": actor_loss.detach(),
            "ent_coef": ent_coef if isinstance(ent_coef, float) else ent_coef.squeeze(),
            "entropy": -log_probs.detach().mean(),
            "value": values.detach().mean(),
        }

    def gradient(self, minibatch: Noised, weights: np.ndarray, out: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """That of `loss`, written out."""
        m, net = minibatch, self._pass
        rows = len(m.rewards)
        log_ent_coef = float(weights[-1]) if self.learns_coefficient else 0.0
        ent_coef = math.exp(log_ent_coef) if self.learns_coefficient else float(self.config.ent_coef)
        taken = np.empty((rows, self.bounds.size), np.float32)
        self.bounds.from_box(m.actions, taken)
        with np.errstate(over="ignore", invalid="ignore"):  # the learner looks for what is not finite, and says so
            net.begin(m.observations, m.next_observations)
            actions, log_probs = self._next.forward(net.act_next(weights), m.noise[:, 0].T)
            goals = np.minimum(*net.judge_next(target, actions))
            log_probs *= np.float32(ent_coef)
            goals -= log_probs
            goals *= m.discounts
            goals += m.rewards
            values = net.judge(weights, taken)
            errors = values - goals
            qf_loss = float(np.dot(errors.ravel(), errors.ravel())) / rows
            errors *= np.float32(2.0 / rows)
            net.backward_critics(out, errors)
            actions, log_probs = self._now.forward(net.act(weights), m.noise[:, 1].T)
            first, second = net.judge_own(weights, actions)
            lower = second < first  # for which rows the second critic counts
            toward = net.toward_actions(-1.0 / rows, [np.flatnonzero(~lower), np.flatnonzero(lower)])
            net.backward_actor(out, self._now.backward(toward, ent_coef / rows))
            log_prob = float(np.add.reduce(log_probs)) / rows
            actor_loss = ent_coef * log_prob - float(np.add.reduce(np.minimum(first, second))) / rows
            loss = qf_loss + actor_loss
            if self.learns_coefficient:
                out[-1] = -(log_prob + self.target_entropy)
                loss -= log_ent_coef * (log_prob + self.target_entropy)
            value = float(np.add.reduce(values, axis=None)) / values.size
        return {
            "loss": loss,
            "qf_loss": qf_loss,
            "actor_loss": actor_loss,
            "ent_coef": ent_coef,
            "entropy": -log_prob,
            "value": value,
        }

    def feedback(self) -> None:
        """None."""


class SAC(Training, config_type=SACConfig):
    """Soft actor-critic: learns continuous actions from a replay buffer, with a policy that stays as random as it can afford.

        result = Program(SAC(env="Pendulum-v1")).run(seed=1)

    Parameters:
        env: a Gymnasium id ("Pendulum-v1" by default), or a function that makes an environment or a vector environment, such as
            `lambda: MyEnv(size=8)`; each rollout makes its own. Observations of any kind that becomes one array, but frames; actions a Box
            with bounds.
        config: hyper-parameters, a `SACConfig` (`SACConfig?` lists all with their defaults). None, the default:
            `SACConfig.for_env(env)`, what is known to work for that id.
        learning_rate, gamma, …: each field of `SACConfig` by its name, instead of what `config` says: `SAC(learning_rate=1e-3)`. `SAC(…).settings` shows
            what comes of both.

    Logs `episode_return`, `episode_length`, `loss` (the sum of all), `qf_loss`, `actor_loss`, `ent_coef`, `entropy`, `value`, and at the end
    `eval_return` and `eval_mean`.

    Raises:
        UnknownEnvironmentError: at assembly, for an environment that cannot be made.
        SpaceError: at assembly, for observations or actions that it does not take.
        ConfigError: at assembly, for another configuration.

    Source: Haarnoja et al. 2018, arXiv:1812.05905.
    """

    env: Any = "Pendulum-v1"
    config: SACConfig | None = None

    def compose(self) -> None:
        """Learner -> rollouts -> replay buffer -> learner, and an evaluation at the end."""
        c = config_of(self, SACConfig)
        wire(self, c, spec_of(env_of(self, c)), SACAlgorithm, 1)
