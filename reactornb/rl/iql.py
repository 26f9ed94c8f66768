"""Implicit Q-learning: continuous actions from recorded episodes, good and bad ones mixed, of which the better ones are imitated, step by step.

    Program(IQL(dataset=("random", "medium"))).run(seed=1)

A value function aims, by expectile regression, at the better ones of the actions that were taken; critics learn from it, so that nothing is asked of actions
that nobody took; and the policy imitates actions by how much better than that value they are.

As for SAC and TD3, an update takes all derivatives at the same weights, where the authors' code steps the value function first.

Source: Kostrikov, Nair and Levine 2021, arXiv:2110.06169, and its code (ikostrikov/implicit_q_learning); CORL's iql.py. The policy's update is advantage-weighted
regression, Peng et al. 2019, arXiv:1910.00177.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from reactornb.rl.analytic import written_out
from reactornb.rl.bodies import Body
from reactornb.rl.bounded import LOG_STD_RANGE, Bounds, NoisyPolicy
from reactornb.rl.config import check, number
from reactornb.rl.continuous import Multiple, Parts, refuse
from reactornb.rl.continuous_networks import ActorAndCritics
from reactornb.rl.continuous_passes import ContinuousPass
from reactornb.rl.dense import Dense
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.layers import Prepared, mlp
from reactornb.rl.offline import OFFLINE, OfflineConfig, OfflineTraining, wire
from reactornb.rl.policies import Mlp, Policy, TorchForward
from reactornb.rl.shards import shards_of
from reactornb.rl.storage import Batch
from reactornb.rl.torch_draws import OwnGenerator

__all__ = ["IQL", "IQLConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IQLConfig(OfflineConfig):
    """Hyper-parameters; the defaults are those of the paper for robots that walk (its table 3 and its code).

    Attributes:
        gamma: discount.
        tau: how much of the critics their targets take over after each update.
        expectile: which of the taken actions' values the value function aims at: 0.5 the mean, towards 1 the highest.
        beta: how much better an action has to be to count more: its weight is exp(beta * advantage). 0: behaviour cloning.
        most_weight: weights are cut to this.
        total_timesteps, …: see `OfflineConfig`. `anneal_lr` lets all learning rates fall; the actor's falls to 0 in any case, along half a cosine.
    """

    renamed: ClassVar = {
        **OfflineConfig.renamed,
        "discount": "gamma",
        "exp_adv_max": "most_weight",
        "iql_tau": "expectile",
        "temperature": "beta",
    }
    presets: ClassVar = {}

    total_timesteps: int = 1_000_000
    gamma: float = 0.99
    tau: float = 0.005
    expectile: float = 0.7
    beta: float = 3.0
    most_weight: float = 100.0

    def __post_init__(self) -> None:
        check(
            self, **OFFLINE, gamma=number(0, 1), tau=number(0, 1, above=True), expectile=number(0, 1, above=True), beta=number(0),
            most_weight=number(0, above=True),
        )  # fmt: skip
        self.check_rounds()


class Value(nn.Module):
    """The value of an observation.

    Args:
        spec, hidden, generator, network: as for `ActorAndCritics`.
    """

    def __init__(self, spec: EnvSpec, hidden: tuple[int, ...], generator: torch.Generator | None, network: Any) -> None:
        super().__init__()
        body = None if network is None else Body(spec, network)
        self.prepared: nn.Module = Prepared(spec.scaling) if body is None else body
        inputs = math.prod(spec.observation_shape) if body is None else body.width
        self.layers = mlp((inputs, *hidden, 1), "relu", generator)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """[B, *observation_shape] -> float32 [B]."""
        values: torch.Tensor = self.layers(self.prepared(observations))
        return values.squeeze(-1)


class IQLNetworks(ActorAndCritics):
    """An actor, twin critics, a value function, and the logarithms of the policy's deviations, in this order.

    Args:
        spec, config, generator: as for an algorithm.
    """

    def __init__(self, spec: EnvSpec, config: IQLConfig, generator: torch.Generator | None) -> None:
        super().__init__(spec, config.hidden, generator, network=config.network)
        self.state_value = Value(spec, config.hidden, generator, config.network)
        # In a module of its own, since a module's own parameters come before those of its parts.
        self.deviations = nn.ParameterList([torch.zeros(math.prod(spec.action_shape))])

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """How many weights each of the four has."""
        actor, critics, _ = self.sizes
        return actor, critics, sum(p.numel() for p in self.state_value.parameters()), self.deviations[0].numel()


class IQLAlgorithm:
    """The loss of implicit Q-learning; see `Algorithm`.

    `gradient` is used for perceptrons on the CPU; whoever overrides `loss` alone gets autograd's.
    """

    name = "IQL"

    def __init__(self, spec: EnvSpec, config: IQLConfig, generator: torch.Generator, device: torch.device) -> None:
        self.config = config
        self.device = device
        self.bounds = Bounds.of(spec, self.name)
        self.network = self._own = IQLNetworks(spec, config, generator)
        self.target = IQLNetworks(spec, config, None)
        self._in_numpy = device.type == "cpu" and config.network is None
        if self._in_numpy:
            actor, critics, value, _ = self.network.counts
            self._pass = ContinuousPass(spec, config.hidden, outputs=1, critics=2, judges=2)
            # Two, since the backward pass of the one needs what its forward pass left.
            inputs = math.prod(spec.observation_shape)
            self._now, self._next = (
                Dense(inputs, config.hidden, ((1,),), "relu", offset=actor + critics, scaling=spec.scaling) for _ in range(2)
            )  # fmt: skip
            self._log_std = slice(actor + critics + value, None)

    @property
    def analytic(self) -> bool:
        """See `Algorithm`; False also where a subclass has put another network in the place of this one."""
        return self._in_numpy and self.network is self._own and written_out(type(self))

    def minibatches(self, received: list[list[Batch]], rng: np.random.Generator, progress: float) -> list[Batch]:  # noqa: ARG002 - as every `Algorithm` has it
        """Those that were drawn."""
        return received[0]

    def loss(self, minibatch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor | float]]:
        """Of the critics, the value function and the actor; each depends on its own weights alone."""
        m, c, net = minibatch, self.config, self.network
        as_taken = np.empty((len(m.actions), self.bounds.size), np.float32)
        self.bounds.from_box(m.actions, as_taken)
        observations, next_observations, taken, rewards, discounts = (
            # Copies: what was sent is read-only, which torch's tensors cannot be.
            torch.tensor(a, device=self.device)
            for a in (m.observations, m.next_observations, as_taken, m.rewards, m.discounts)
        )
        with torch.no_grad():
            judged = self.target.values(observations, taken).amin(0)
            goals = rewards + discounts * net.state_value(next_observations)
        values = net.values(observations, taken)
        qf_loss = ((values - goals) ** 2).mean(1).sum()
        expected = net.state_value(observations)
        advantages = judged - expected
        value_loss = (torch.where(advantages < 0, 1 - c.expectile, c.expectile) * advantages**2).mean()
        weights = torch.exp(c.beta * advantages.detach()).clamp(max=c.most_weight)
        log_std = net.deviations[0].clamp(*LOG_STD_RANGE)
        distances = (taken - torch.tanh(net.act(observations))) * torch.exp(-log_std)
        log_probs = (-0.5 * distances**2 - log_std - 0.5 * math.log(2 * math.pi)).sum(1)
        actor_loss = -(weights * log_probs).mean()
        return qf_loss + value_loss + actor_loss, {
            "qf_loss": qf_loss.detach(),
            "value_loss": value_loss.detach(),
            "actor_loss": actor_loss.detach(),
            "advantage": advantages.detach().mean(),
            "value": expected.detach().mean(),
        }

    def gradient(self, minibatch: Batch, weights: np.ndarray, out: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """That of `loss`, written out."""
        m, c, net = minibatch, self.config, self._pass
        rows = len(m.rewards)
        taken = np.empty((rows, self.bounds.size), np.float32)
        self.bounds.from_box(m.actions, taken)
        with np.errstate(over="ignore", invalid="ignore"):  # the learner looks for what is not finite, and says so
            net.begin(m.observations, m.next_observations)
            judged = np.minimum(*net.judge_own(target, taken.T))
            self._next.bind(weights)
            goals = self._next.forward(m.next_observations)[0][0]
            goals *= m.discounts
            goals += m.rewards
            errors = net.judge(weights, taken) - goals
            qf_loss = float(np.dot(errors.ravel(), errors.ravel())) / rows
            errors *= np.float32(2.0 / rows)
            net.backward_critics(out, errors)

            self._now.bind(weights)
            self._now.write_to(out)
            expected = self._now.forward(m.observations)[0][0]
            value = float(np.add.reduce(expected)) / rows
            advantages = judged - expected
            sides = np.where(advantages < 0, np.float32(1 - c.expectile), np.float32(c.expectile))
            sides *= advantages
            value_loss = float(np.dot(sides, advantages)) / rows
            self._now.backward([sides[None] * np.float32(-2.0 / rows)])

            counts = np.minimum(np.exp(np.float32(c.beta) * advantages), np.float32(c.most_weight))
            log_std = weights[self._log_std]
            within = np.clip(log_std, *LOG_STD_RANGE)[:, None]
            actions = np.tanh(net.act(weights))
            precision = np.exp(-within)
            distances = taken.T - actions
            distances *= precision
            squares = distances * distances
            constant = float(np.add.reduce(within, axis=None)) + 0.5 * len(log_std) * math.log(2 * math.pi)
            log_probs = np.add.reduce(squares, axis=0)
            log_probs *= np.float32(-0.5)
            log_probs -= np.float32(constant)
            actor_loss = -float(np.dot(counts, log_probs)) / rows
            counts *= np.float32(1.0 / rows)
            squares -= 1
            squares *= -counts
            out[self._log_std] = np.add.reduce(squares, axis=1) * (within[:, 0] == log_std)
            distances *= precision
            distances *= -counts
            distances *= 1 - actions * actions
            net.backward_actor(out, distances)
        return {
            "loss": qf_loss + value_loss + actor_loss,
            "qf_loss": qf_loss,
            "value_loss": value_loss,
            "actor_loss": actor_loss,
            "advantage": float(np.add.reduce(advantages)) / rows,
            "value": value,
        }

    def feedback(self) -> None:
        """None."""


class Cosine:
    """From 1 to 0 along half a cosine, in `steps`; what a learning rate is multiplied by."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def __call__(self, step: int) -> float:
        """At a step, from 0 on."""
        return 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.steps)))


def implicit_policy(config: IQLConfig, noise_at: int, spec: EnvSpec) -> Policy:
    """What is judged, and saved: the actor, and the deviations that its weights have after all others; NumPy if it is a perceptron."""
    bounds = Bounds.of(spec, "IQL")
    forward: Any
    if config.network is not None:
        forward = TorchForward(partial(IQLNetworks, spec, config, None), "act")
    else:
        forward = Mlp((math.prod(spec.observation_shape), *config.hidden, bounds.size), "relu", scaling=spec.scaling)
    return NoisyPolicy(forward, bounds, noise_at=noise_at)


class IQL(OfflineTraining, config_type=IQLConfig):
    """Implicit Q-learning: learns continuous actions from recorded episodes: those of the actions that led to more than others.

        result = Program(IQL(dataset="mixed")).run(seed=1)

    Parameters:
        dataset: the folder of a dataset of Minari, its id, an `OfflineDataset`, or a tuple of these: all their episodes. Observations of any kind that becomes one
            array, but frames; actions a Box with bounds.
        env: what the policy is judged in, a Gymnasium id or a function that makes it; None: what the dataset was recorded in. It is not learnt from.
        config: hyper-parameters, an `IQLConfig` (`IQLConfig?` lists all with their defaults). None, the default: `IQLConfig.for_env(env)`.
        learning_rate, gamma, …: each field of `IQLConfig` by its name, instead of what `config` says: `IQL(dataset=…, expectile=0.9)`.

    Logs `loss` (the sum of all), `qf_loss`, `value_loss`, `actor_loss`, `advantage`, `value`, `steps` (updates), and with each evaluation `eval_return` and
    `eval_mean`.

    Raises:
        DatasetError: at assembly, if there is no such dataset, or none that can be read.
        SpaceError: at assembly, for spaces that it does not take, or an environment of which the dataset is not.
        ConfigError: at assembly, for another configuration.

    Source: Kostrikov, Nair and Levine 2021, arXiv:2110.06169.
    """

    config: IQLConfig | None = None

    def compose(self) -> None:
        """Dataset -> learner, and evaluations."""
        c = self.settings
        found = self.recorded(c, gamma=c.gamma)
        spec = found.spec
        refuse(c, spec, "IQL")
        with OwnGenerator(0):  # of which only the sizes are of interest
            actor, critics, value, deviations = IQLNetworks(spec, c, None).counts
        falling = Cosine(c.rounds * c.gradient_steps)
        parts: list[tuple[int, Multiple, int]] = [
            (actor, falling, 1),
            (critics, 1.0, 1),
            (value, 1.0, 1),
            (deviations, falling, 1),
        ]
        wire(
            self, c, found, gamma=c.gamma, policy=partial(implicit_policy, c, actor + critics + value),
            learner={
                "algorithm": partial(IQLAlgorithm, spec, c),
                "optimizer_class": partial(Parts, parts=parts),
                "target_every": 1,
                "tau": c.tau,
                "shards": shards_of(c, spec, c.batch_size, networks=5),  # an actor, critics and values, some of them twice
            },
        )  # fmt: skip
