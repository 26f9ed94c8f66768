"""Networks of a user's own: the module that `network=` makes, between observations as numbers and the last layers of an algorithm.

    PPO(env="CartPole-v1", network=lambda spec: nn.Sequential(nn.Linear(4, 32), nn.Tanh()))

Nothing here knows of reactors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from reactornb.rl.checks import name_of
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.errors import ConfigError
from reactornb.rl.layers import Prepared
from reactornb.rl.networks import ActorCritic, QNetwork

__all__ = ["Body", "MakeNetwork", "actor_critic", "q_network"]

MakeNetwork = Callable[[EnvSpec], nn.Module]
"""From an environment's spaces to a module: float32 [B, *observation_shape] -> features, [B, F] or anything that is flattened to that."""

_BYTES = np.zeros((), np.float32), np.full((), 255, np.float32)


class Body(nn.Module):
    """A user's module, with what stands around it.

    Its observations are float32 in their own shape; integers are scaled into [0, 1], bytes of pictures, too. Its layers are initialised by
    themselves, with numbers that are drawn from the learner's generator (see `torch_draws.OwnGenerator`). Lazy layers get their size here.

    Args:
        spec: the environment's spaces.
        make: makes the module.

    Attributes:
        width: F.
        make: as given.

    Raises:
        ConfigError: if it makes no module, one that does not take these observations, or one whose layers compute with more than weights.
    """

    def __init__(self, spec: EnvSpec, make: MakeNetwork) -> None:
        super().__init__()
        is_bytes = spec.observation_dtype == np.uint8
        self.make = make
        self._shape = spec.observation_shape
        self.prepared = Prepared(spec.scaling or (_BYTES if is_bytes else None))
        own = make(spec)
        if not isinstance(own, nn.Module):
            raise _wrong(
                make,
                f"makes a {type(own).__name__} and no torch.nn.Module. Write network=lambda spec: nn.Sequential(…), or a class that derives from nn.Module",
            )
        _refuse(make, own)
        self.own = own
        example = torch.zeros((1, *self._shape), dtype=torch.uint8 if is_bytes else torch.float32)
        try:
            with torch.no_grad():
                features = self(example)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise _wrong(
                make,
                f"makes a module that does not take observations of {spec.name}, float32 [B, {', '.join(map(str, self._shape))}]: {error}",
            ) from error
        self.width = int(features.shape[1])

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """[B, *observation_shape] -> float32 [B, F]."""
        rows = len(observations)
        features: torch.Tensor = self.own(self.prepared(observations).reshape(rows, *self._shape))
        return features.reshape(rows, -1)


def _refuse(make: MakeNetwork, own: nn.Module) -> None:
    """Weights alone are sent to rollouts, saved, and learnt from in pieces."""
    for layer in own.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            raise _wrong(
                make,
                f"has a {type(layer).__name__}, whose running statistics are no weights and would not reach the rollouts; take nn.LayerNorm",
            )
        if isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0:
            raise _wrong(make, f"has a {type(layer).__name__}, which draws from torch's global generator; leave it out")


def _wrong(make: MakeNetwork, words: str) -> ConfigError:
    return ConfigError(f"network: {name_of(make)} {words}.", fields=("network",))


def actor_critic(
    spec: EnvSpec,
    hidden: Sequence[int],
    generator: torch.Generator | None,
    log_std_init: float = 0.0,
    network: MakeNetwork | None = None,
) -> ActorCritic:
    """An `ActorCritic`, on a network of the user's own where there is one."""
    body = None if network is None else Body(spec.unmasked, network)
    return ActorCritic(spec, hidden, generator, log_std_init, body)


def q_network(
    spec: EnvSpec,
    hidden: Sequence[int],
    duelling: bool,
    generator: torch.Generator | None,
    network: MakeNetwork | None = None,
) -> QNetwork:
    """A `QNetwork`, likewise."""
    return QNetwork(spec, hidden, duelling, generator, None if network is None else Body(spec.unmasked, network))
