"""Behaviour cloning: a policy that does what was done in recorded episodes.

    record(expert, "CartPole-v1", episodes=20, path="expert")
    Program(BehaviorCloning(dataset="expert")).run(seed=1)

Discrete actions, and several choices at once, are classified: the loss is the cross-entropy, as in imitation and d3rlpy. For a Box the actor is
deterministic (tanh, as TD3's), and the loss the squared error where actions are in [-1, 1], as in CORL, TD3+BC and d3rlpy's default, and not the likelihood of a squashed
Gaussian: experts act at the very bounds of their Box, where the likelihood of such a policy is infinite.

Source: Pomerleau 1991, "Efficient training of artificial neural networks for autonomous navigation", doi:10.1162/neco.1991.3.1.88; Fujimoto and Gu 2021,
arXiv:2106.06860, whose baseline BC is; CORL's any_percent_bc.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from reactornb.rl.analytic import written_out
from reactornb.rl.bodies import actor_critic
from reactornb.rl.bounded import Bounds, NoisyPolicy
from reactornb.rl.config import broken, check
from reactornb.rl.continuous import refuse
from reactornb.rl.continuous_networks import ActorAndCritics
from reactornb.rl.dense import Dense
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.layers import check_supported, has_frames, mlp
from reactornb.rl.learner import adam
from reactornb.rl.offline import OFFLINE, OfflineConfig, OfflineTraining, wire
from reactornb.rl.policies import CategoricalPolicy, Mlp, MultiCategoricalPolicy, Policy, TorchForward
from reactornb.rl.ppo import actor_policy
from reactornb.rl.shards import shards_of
from reactornb.rl.storage import Batch

__all__ = ["BCConfig", "BehaviorCloning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BCConfig(OfflineConfig):
    """Hyper-parameters; batch size, learning rate and network are CORL's any_percent_bc.py.

    Attributes:
        total_timesteps, …: see `OfflineConfig`. Rewards are not looked at, so `normalize_rewards` is refused.
    """

    total_timesteps: int = 10_000

    def __post_init__(self) -> None:
        check(self, **OFFLINE)
        self.check_rounds()
        if self.normalize_rewards:
            raise broken(
                self,
                "normalize_rewards=True: behaviour cloning does not look at rewards. Leave it out.",
                "normalize_rewards",
            )


# Our own: what suffices there.
_SMALL = BCConfig(hidden=(64, 64), learning_rate=1e-3)
BCConfig.presets = {"CartPole-v1": replace(_SMALL, total_timesteps=3_000), "Pendulum-v1": _SMALL}


def is_perceptron(spec: EnvSpec, config: BCConfig) -> bool:
    """Whether the network is one perceptron, on all that is seen: not on frames, beside a mask, or one of the user's own."""
    return config.network is None and not has_frames(spec) and spec.mask is None


def network_of(spec: EnvSpec, config: BCConfig, generator: torch.Generator | None) -> nn.Module:
    """A perceptron, of a Box as `actor`; elsewhere an `ActorCritic`, of which the critic is not learnt."""
    if spec.is_box:
        return ActorAndCritics(spec, config.hidden, generator, critics=0, network=config.network)
    if not is_perceptron(spec, config):
        return actor_critic(spec, config.hidden, generator, network=config.network)
    return mlp(
        (math.prod(spec.observation_shape), *config.hidden, spec.outputs), "relu", generator, scaling=spec.scaling
    )


class BCAlgorithm:
    """The loss of behaviour cloning; see `Algorithm`.

    `gradient` is used for perceptrons on the CPU; whoever overrides `loss` alone gets autograd's.
    """

    target = None

    def __init__(self, spec: EnvSpec, config: BCConfig, generator: torch.Generator, device: torch.device) -> None:
        self.config = config
        self.device = device
        self.bounds = Bounds.of(spec, "BehaviorCloning") if spec.is_box else None
        self.network: Any = network_of(spec, config, generator)
        self._own = self.network
        ends = np.cumsum(spec.choices or (spec.outputs,), dtype=np.int64).tolist()
        self._choices = list(zip([0, *ends], ends, strict=False))  # where the logits of each lie
        self._in_numpy = device.type == "cpu" and is_perceptron(spec, config)
        if self._in_numpy:
            inputs = math.prod(spec.observation_shape)
            self._pass = Dense(inputs, config.hidden, ((spec.outputs,),), "relu", scaling=spec.scaling)

    @property
    def analytic(self) -> bool:
        """See `Algorithm`; False also where a subclass has put another network in the place of this one."""
        return self._in_numpy and self.network is self._own and written_out(type(self))

    def minibatches(self, received: list[list[Batch]], rng: np.random.Generator, progress: float) -> list[Batch]:  # noqa: ARG002 - as every `Algorithm` has it
        """Those that were drawn."""
        return received[0]

    def _taken(self, actions: np.ndarray) -> np.ndarray:
        """Float32 [B, A] in [-1, 1], or int64 [B, choices]."""
        if self.bounds is None:
            return actions.reshape(len(actions), -1)
        taken = np.empty((len(actions), self.bounds.size), np.float32)
        self.bounds.from_box(actions, taken)
        return taken

    def loss(self, minibatch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor | float]]:
        """Squared error or cross-entropy; of several choices the sum of theirs."""
        observations, taken = (
            # Copies: what was sent is read-only, which torch's tensors cannot be.
            torch.tensor(a, device=self.device)
            for a in (minibatch.observations, self._taken(minibatch.actions))
        )
        net = self.network
        if self.bounds is not None:
            return ((torch.tanh(net.act(observations)) - taken) ** 2).mean(), {}
        logits = net.logits(observations) if hasattr(net, "logits") else net(observations)
        parts = [logits[:, begin:end] for begin, end in self._choices]
        losses = [cross_entropy(part, taken[:, i]) for i, part in enumerate(parts)]
        right = torch.stack([part.argmax(1) == taken[:, i] for i, part in enumerate(parts)]).float().mean()
        return torch.stack(losses).sum(), {"accuracy": right}

    def gradient(self, minibatch: Batch, weights: np.ndarray, out: np.ndarray) -> dict[str, float]:
        """That of `loss`, written out."""
        net, taken = self._pass, self._taken(minibatch.actions)
        rows = len(taken)
        net.bind(weights)
        net.write_to(out)
        with np.errstate(over="ignore", invalid="ignore"):  # the learner looks for what is not finite, and says so
            outputs = net.forward(minibatch.observations)[0]
            if self.bounds is not None:
                acted = np.tanh(outputs)
                errors = acted - taken.T
                loss = float(np.vdot(errors, errors)) / errors.size
                errors *= np.float32(2.0 / errors.size)
                errors *= 1 - acted * acted
                net.backward([errors])
                return {"loss": loss}
            columns, loss, right = np.arange(rows), 0.0, 0
            for (begin, end), chosen in zip(self._choices, taken.T, strict=True):
                own = outputs[begin:end]
                right += int(np.count_nonzero(own.argmax(axis=0) == chosen))
                own -= np.maximum.reduce(own, axis=0)
                said = own[chosen, columns]
                np.exp(own, out=own)
                total = np.add.reduce(own, axis=0)
                loss += float(np.add.reduce(np.log(total) - said)) / rows
                own /= total
                own[chosen, columns] -= 1
            outputs *= np.float32(1.0 / rows)
            net.backward([outputs])
        return {"loss": loss, "accuracy": right / taken.size}

    def feedback(self) -> None:
        """None."""


def cloned_policy(config: BCConfig, spec: EnvSpec) -> Policy:
    """What is judged, and saved: NumPy for perceptrons, else torch."""
    if not spec.is_box and not is_perceptron(spec, config):
        return actor_policy(config.hidden, spec, config.network)
    forward: Any
    if config.network is not None:
        forward = TorchForward(partial(network_of, spec, config, None), "act")
    else:
        forward = Mlp((math.prod(spec.observation_shape), *config.hidden, spec.outputs), "relu", scaling=spec.scaling)
    if spec.is_box:
        return NoisyPolicy(forward, Bounds.of(spec, "BehaviorCloning"), noise=0.0)
    return MultiCategoricalPolicy(forward, spec.choices) if spec.choices else CategoricalPolicy(forward)


class BehaviorCloning(OfflineTraining, config_type=BCConfig):
    """Behaviour cloning: learns to do what was done in recorded episodes, good or bad.

        result = Program(BehaviorCloning(dataset="expert")).run(seed=1)

    Parameters:
        dataset: the folder of a dataset of Minari, its id, an `OfflineDataset`, or a tuple of these: all their episodes. Observations of any kind that becomes one
            array; actions Discrete, MultiDiscrete, MultiBinary, a Tuple or Dict of whole numbers, or a Box with bounds.
        env: what the policy is judged in, a Gymnasium id or a function that makes it; None: what the dataset was recorded in. It is not learnt from.
        config: hyper-parameters, a `BCConfig`. None, the default: `BCConfig.for_env(env)`.
        learning_rate, …: each field of `BCConfig` by its name, instead of what `config` says: `BehaviorCloning(dataset=…, learning_rate=1e-3)`.

    Logs `loss`, of whole numbers `accuracy` (of those in the dataset), `steps` (updates), and with each evaluation `eval_return` and `eval_mean`.

    Raises:
        DatasetError: at assembly, if there is no such dataset, or none that can be read.
        SpaceError: at assembly, for spaces that it does not take, or an environment of which the dataset is not.
        ConfigError: at assembly, for another configuration.

    Source: Pomerleau 1991; see the module.
    """

    config: BCConfig | None = None

    def compose(self) -> None:
        """Dataset -> learner, and evaluations."""
        c = self.settings
        found = self.recorded(c, gamma=1.0)
        spec = found.spec
        if spec.is_box:
            refuse(c, spec, "BehaviorCloning")
        check_supported(spec)
        wire(
            self, c, found, gamma=1.0, policy=partial(cloned_policy, c),
            learner={
                "algorithm": partial(BCAlgorithm, spec, c),
                "optimizer_class": adam(c.device),
                "shards": shards_of(c, spec, c.batch_size, networks=1),
            },
        )  # fmt: skip
