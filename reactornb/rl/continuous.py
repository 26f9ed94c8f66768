"""What SAC, TD3 and DDPG have in common: hyper-parameters, minibatches with noise, an optimizer by parts, and how their reactors are connected.

Actor, critics and entropy coefficient are one vector of weights with one gradient: an update takes all derivatives at the same weights, as
Haarnoja's code does, where Stable-Baselines3 and CleanRL step the critics first. So a minibatch's update is one pass, which shards can share.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import nn

from reactornb.rl import off_policy
from reactornb.rl.bounded import Bounds
from reactornb.rl.config import (
    Rule,
    TrainingConfig,
    at_least,
    broken,
    device,
    flag,
    horizons,
    number,
    optional,
    per_rollout,
    whole,
    widths,
)
from reactornb.rl.continuous_networks import ActorAndCritics
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.errors import SpaceError
from reactornb.rl.layers import check_supported, has_frames
from reactornb.rl.names import RENAMED
from reactornb.rl.normalization import normalizer_of
from reactornb.rl.optimizers import Adam
from reactornb.rl.policies import Mlp, Policy, TorchForward
from reactornb.rl.shards import shards_of
from reactornb.rl.storage import Batch
from reactornb.rl.torch_draws import OwnGenerator

__all__ = ["COMMON", "ContinuousConfig", "Multiple", "Noised", "Parts", "noised", "player", "refuse", "wire"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContinuousConfig(TrainingConfig):
    """Hyper-parameters that SAC, TD3 and DDPG share; the defaults are CleanRL's.

    Attributes:
        total_timesteps: environment steps of a whole run.
        n_rollouts: reactors that play.
        n_envs: environments of each.
        train_freq: steps of each environment per round, which ends with the updates; a tuple has one number for each rollout.
        gradient_steps: updates per round; -1: as many as the round has environment steps.
        batch_size: transitions of an update.
        buffer_size: transitions that the replay buffer keeps.
        learning_starts: transitions before the first update; meanwhile actions are drawn evenly from their Box.
        tau: how much of the network its target takes over at a time.
        learning_rate: Adam's learning rate; `anneal_lr` lets it fall to 0.
        qf_learning_rate: that of the critics; None: the same.
        gamma: discount.
        n_steps: steps of a return before it is bootstrapped.
        max_grad_norm: the gradient of actor and critics together is cut to this; None: it is not.
        hidden: widths of the hidden layers of the actor and of each critic.
        staleness: rounds that rollouts may be ahead of the learner; see `Learner`.
        overlap: learn from a round while the next ones are played: the learner is an enclave, and `staleness` at least 1. The result
            depends on the staleness alone.
        device: of the learner.
        shards: reactors that compute the gradient of one minibatch at the same time; None: as many as `default_shards` says for this network
            and minibatch, on any machine. Results of different numbers differ by rounding, those of one are the same for any number of workers.
        network, eval_every, …: what all algorithms have; see `TrainingConfig`. With a `network` the actor's last layer lies on it, and each critic's
            hidden layers lie on one of its own and the action.
    """

    renamed: ClassVar = {**RENAMED, "horizon": "train_freq"}

    total_timesteps: int = 1_000_000
    n_rollouts: int = 1
    n_envs: int = 1
    train_freq: int | tuple[int, ...] = 1
    gradient_steps: int = 1
    batch_size: int = 256
    buffer_size: int = 1_000_000
    learning_starts: int = 25_000
    tau: float = 0.005
    learning_rate: float = 3e-4
    anneal_lr: bool = False
    qf_learning_rate: float | None = None
    gamma: float = 0.99
    n_steps: int = 1
    max_grad_norm: float | None = None
    hidden: tuple[int, ...] = (256, 256)
    staleness: int = 0
    overlap: bool = False
    device: str = "cpu"
    shards: int | None = None

    @property
    def steps_per_round(self) -> int:
        """Environment steps of a round."""
        return self.n_envs * sum(per_rollout(self, "train_freq"))

    @property
    def rounds(self) -> int:
        """Rounds of a whole run."""
        return max(1, self.total_timesteps // self.steps_per_round)

    @property
    def updates_per_round(self) -> int:
        """Updates at the end of a round."""
        return self.steps_per_round if self.gradient_steps == -1 else self.gradient_steps

    @property
    def faster(self) -> float:
        """What the critics' learning rate is a multiple of the actor's by."""
        return (
            self.qf_learning_rate / self.learning_rate
            if self.qf_learning_rate is not None and self.learning_rate
            else 1.0
        )

    def check_rounds(self) -> None:
        """Refuse fields that do not fit each other."""
        per_rollout(self, "train_freq")
        if self.learning_starts > self.total_timesteps:
            raise broken(
                self,
                f"learning_starts={self.learning_starts} is more than total_timesteps={self.total_timesteps}: there would be no update. "
                f"Lower it, such as learning_starts={max(1, self.total_timesteps // 10)}.",
                "learning_starts",
                "total_timesteps",
            )
        if self.learning_rate == 0 and self.qf_learning_rate:
            raise broken(
                self,
                f"learning_rate=0 and qf_learning_rate={self.qf_learning_rate}: the one is a multiple of the other. Take a very small one.",
                "learning_rate",
                "qf_learning_rate",
            )


COMMON: dict[str, Rule] = {
    "total_timesteps": whole(1), "n_rollouts": whole(1), "n_envs": whole(1), "train_freq": horizons,
    "gradient_steps": Rule("a whole number of at least 1, or -1", lambda v: v == -1 or whole(1).holds(v), whole(1).hint),
    "batch_size": whole(1), "buffer_size": whole(2), "learning_starts": whole(0), "tau": number(0, 1, above=True), "learning_rate": at_least(0),
    "anneal_lr": flag, "qf_learning_rate": optional(at_least(0)), "gamma": number(0, 1), "n_steps": whole(1),
    "max_grad_norm": optional(number(0, above=True)), "hidden": widths, "staleness": whole(0), "overlap": flag, "device": device,
    "shards": optional(whole(1)),
}  # fmt: skip
"""The rules of `ContinuousConfig`'s fields."""


def refuse(config: Any, spec: EnvSpec, who: str) -> Bounds:
    """The bounds of an environment's actions, before anything runs.

    Raises:
        SpaceError: for actions that are no Box with bounds, and for observations with frames, unless there is a network for them.
    """
    bounds = Bounds.of(spec, who)
    check_supported(spec)
    if has_frames(spec) and config.network is None:
        raise SpaceError(
            f"{who} has perceptrons, and there are frames in the observations of {spec.name}, {spec.observation_shape}. Use PPO, which has convolutions, or "
            f"give {who} a network of your own: network=lambda spec: nn.Sequential(…).",
            space=spec.observation_shape,
        )
    return bounds


# -- minibatches ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Noised:
    """B transitions and the noise of their update, drawn by the learner, so that what a shard computes of its rows follows from them.

    Attributes:
        observations, actions, rewards, next_observations, discounts: as in `Batch`.
        noise: of a normal distribution, float32 [B, draws, A].
        actor: whether the actor is learnt, too, at this update.
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    next_observations: np.ndarray
    discounts: np.ndarray
    noise: np.ndarray
    actor: bool


def noised(batch: Batch, rng: np.random.Generator, draws: int, size: int, actor: bool) -> Noised:
    """A minibatch with noise for `draws` actions of `size` numbers in each row."""
    noise = rng.standard_normal((len(batch), draws, size), np.float32)
    return Noised(
        batch.observations, batch.actions, batch.rewards, batch.next_observations, batch.discounts, noise, actor
    )


# -- the optimizer --------------------------------------------------------------------------------------------------------


Multiple = float | Callable[[int], float]


class Parts:
    """Adam for parts of one flat parameter, with learning rates of their own; some of them only every so many steps.

    What `Learner` asks of an optimizer.

    Args:
        params: one parameter with a gradient, such as `[Flat(network, gradients=True).parameter]`.
        lr: learning rate.
        parts: of each, in order, (weights, what its learning rate is a multiple of `lr` by, after how many steps it takes one). The multiple may be a function of
            the steps that were taken before.

    Attributes:
        param_groups: one dictionary, with "params" and "lr".
    """

    def __init__(self, params: Iterable[torch.Tensor], lr: float, parts: Sequence[tuple[int, Multiple, int]]) -> None:
        (flat,) = given = list(params)
        assert flat.grad is not None
        self.param_groups: list[dict[str, Any]] = [{"params": given, "lr": lr}]
        self._steps = 0
        self._parts: list[tuple[Any, Multiple, int]] = []
        at = 0
        for size, factor, every in parts:
            if not size:
                continue
            part = nn.Parameter(flat.detach()[at : at + size])  # a view, as its gradient: the whole one's are theirs
            part.grad = flat.grad[at : at + size]
            on_cpu = flat.device.type == "cpu"
            made: Any = Adam([part], lr) if on_cpu else torch.optim.Adam([part], lr=lr, fused=True)
            self._parts.append((made, factor, every))
            at += size
        if at != flat.numel():
            raise ValueError(f"parts of {at} weights, and {flat.numel()} weights.")

    def step(self) -> None:
        """One step of descent along the gradients as they are now."""
        self._steps += 1
        rate = self.param_groups[0]["lr"]
        for optimizer, factor, every in self._parts:
            if self._steps % every == 0:
                optimizer.param_groups[0]["lr"] = rate * (factor(self._steps - 1) if callable(factor) else factor)
                optimizer.step()

    def save(self) -> dict[str, Any]:
        """All but the weights and their gradient, which are not this object's; see `reactornb.durable.objects`."""
        parts = [o.save() if isinstance(o, Adam) else o.state_dict() for o, _, _ in self._parts]
        return {"steps": self._steps, "lr": self.param_groups[0]["lr"], "parts": parts}

    def load(self, saved: dict[str, Any]) -> None:
        """Go on from there."""
        self._steps = saved["steps"]
        self.param_groups[0]["lr"] = saved["lr"]
        for (optimizer, _, _), state in zip(self._parts, saved["parts"], strict=True):
            (optimizer.load if isinstance(optimizer, Adam) else optimizer.load_state_dict)(state)


# -- the reactors ---------------------------------------------------------------------------------------------------------


class Kind(Protocol):
    """What the class of an `Algorithm` says here.

    Attributes:
        name: of the algorithm, for messages.
        outputs: numbers that the actor gives for each number of an action.
    """

    name: str
    outputs: int

    @classmethod
    def networks(cls, spec: EnvSpec, config: Any, generator: torch.Generator | None) -> ActorAndCritics:
        """Its networks."""

    @classmethod
    def player(cls, forward: Any, bounds: Bounds, config: Any, warm_up: int) -> Policy:
        """What a rollout plays with; see `bounded`."""


def player(kind: Any, config: Any, warm_up: int, spec: EnvSpec) -> Policy:
    """What a rollout plays with: the actor, in NumPy if it is a perceptron.

    Args:
        kind: see `Kind`.
        config: a `ContinuousConfig`.
        warm_up: steps of its rollout at which actions are drawn evenly.
        spec: the environment's spaces.
    """
    bounds = Bounds.of(spec, kind.name)
    forward: Any
    if config.network is not None:
        forward = TorchForward(partial(kind.networks, spec, config, None), "act")
    else:
        sizes = (math.prod(spec.observation_shape), *config.hidden, kind.outputs * bounds.size)
        forward = Mlp(sizes, "relu", scaling=spec.scaling)
    made: Policy = kind.player(forward, bounds, config, warm_up)
    return made


def wire(program: Any, c: Any, spec: EnvSpec, kind: Any, delay: int) -> None:
    """Learner -> rollouts -> replay buffer -> learner, and what `steer` puts around them.

    Args:
        program: whose reactors these become.
        c: its configuration.
        spec: the environment's spaces.
        kind: the class of its algorithm; see `Kind`.
        delay: updates of the critics for one of the actor and of the targets.
    """
    refuse(c, spec, kind.name)
    horizon = per_rollout(c, "train_freq")
    # Each rollout counts its own steps.
    policy: list[Any] = [partial(player, kind, c, -(-c.learning_starts * steps // sum(horizon))) for steps in horizon]
    normalizer = normalizer_of(c, spec)
    if normalizer is not None:
        spec, policy = normalizer.spec, [normalizer.policy(make) for make in policy]
    with OwnGenerator(0):  # of which only the sizes are of interest
        actor, critics, coefficient = kind.networks(spec, c, None).sizes
    off_policy.wire(
        program,
        c,
        policy=policy,
        normalizer=normalizer,
        learner={
            "algorithm": partial(kind, spec, c),
            "optimizer_class": partial(
                Parts, parts=[(actor, 1.0, delay), (critics, c.faster, 1), (coefficient, c.faster, 1)]
            ),
            "target_every": delay,
            "shards": shards_of(c, spec, c.batch_size, networks=5),  # an actor and critics, each of them more than once
        },
        replay={"gradient_steps": c.updates_per_round},
    )
