"""A policy and a value function that see different numbers of a row: the centralised critic of MAPPO, in torch and written out in NumPy.

Nothing here knows of reactors.

Source: Yu et al. 2022, "The Surprising Effectiveness of PPO in Cooperative Multi-Agent Games", arXiv:2103.01955; centralised critics: Lowe et al. 2017,
arXiv:1706.02275.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from reactornb.rl.analytic import ActorCriticPass
from reactornb.rl.dense import Dense
from reactornb.rl.layers import mlp
from reactornb.rl.multi_agent_groups import Group
from reactornb.rl.networks import ActorCritic

__all__ = ["CentralActorCritic", "CentralPass"]


def _critic_part(group: Group) -> tuple[int, tuple[np.ndarray, np.ndarray] | None]:
    """How many numbers the value function sees, and their scaling."""
    inputs = math.prod(group.spec.observation_shape) - group.critic
    scaling = group.spec.scaling
    return inputs, None if scaling is None else (scaling[0][group.critic :], scaling[1][group.critic :])


class Nothing(nn.Module):
    """In the place of the critic that sees what the actor sees: it has no weights and values nothing."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Zeros, [B, 1]."""
        return features.new_zeros((len(features), 1))


class CentralActorCritic(ActorCritic):
    """Two perceptrons: the policy on the first numbers of a row, the value function on the last ones.

    Parameters lie in the order log-deviations, actor, critic.

    Args:
        group: says which numbers each sees.
        hidden: widths of the hidden layers of both.
        generator: see `layers.linear`.
        log_std_init: see `ActorCritic`.
    """

    def __init__(
        self, group: Group, hidden: Sequence[int], generator: torch.Generator | None, log_std_init: float = 0.0
    ) -> None:
        super().__init__(group.actor, hidden, generator, log_std_init)
        inputs, scaling = _critic_part(group)
        root2 = math.sqrt(2)
        self.critic = Nothing()
        self.central = mlp((inputs, *hidden, 1), "tanh", generator, gain=root2, last_gain=1.0, scaling=scaling)
        self._seen, self._from = group.width, group.critic

    def logits(self, observations: torch.Tensor) -> torch.Tensor:
        """See `ActorCritic`; of whole rows."""
        return super().logits(observations[:, : self._seen])

    def value(self, observations: torch.Tensor) -> torch.Tensor:
        """See `ActorCritic`."""
        values: torch.Tensor = self.central(observations[:, self._from :]).squeeze(-1)
        return values

    def evaluate(
        self, observations: torch.Tensor, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """See `ActorCritic`."""
        log_probs, entropies, _ = super().evaluate(observations[:, : self._seen], actions)
        return log_probs, entropies, self.value(observations)


class Apart:
    """An actor and a critic that see different numbers, called as `Dense` with both.

    Args:
        group: says which.
        hidden: widths of the hidden layers.
        offset: where the actor's weights begin.

    Attributes:
        critic: alone, for values.
    """

    def __init__(self, group: Group, hidden: Sequence[int], offset: int) -> None:
        actor, (inputs, scaling) = group.actor.unmasked, _critic_part(group)
        masks = (
            0 if group.actor.mask is None else group.actor.mask.size
        )  # which are taken out of rows before they come here
        self._seen, self._from = group.width - masks, group.critic - masks
        self._actor = Dense(self._seen, hidden, ((actor.outputs,),), "tanh", offset=offset, scaling=actor.scaling)
        self.critic = Dense(inputs, hidden, ((1,),), "tanh", offset=offset + self._actor.size, scaling=scaling)

    def bind(self, weights: np.ndarray) -> None:
        """See `Dense`."""
        self._actor.bind(weights)
        self.critic.bind(weights)

    def write_to(self, gradient: np.ndarray) -> None:
        """See `Dense`."""
        self._actor.write_to(gradient)
        self.critic.write_to(gradient)

    def forward(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The policy's outputs [outputs, B] and values [1, B]; see `Dense`."""
        (outputs,) = self._actor.forward(rows[:, : self._seen])
        return outputs, self.values(rows)

    def values(self, rows: np.ndarray) -> np.ndarray:
        """The values alone, [1, B]."""
        (values,) = self.critic.forward(rows[:, self._from :])
        return values

    def backward(self, d_outputs: tuple[np.ndarray, np.ndarray]) -> None:
        """See `Dense`."""
        of_actor, of_critic = d_outputs
        self._actor.backward((of_actor,))
        self.critic.backward((of_critic,))


class CentralPass(ActorCriticPass):
    """`CentralActorCritic` with the gradient of its losses written out; see `ActorCriticPass`."""

    def __init__(self, group: Group, hidden: Sequence[int]) -> None:
        super().__init__(group.actor, hidden)
        self._both: Any = Apart(group, hidden, self._deviations)

    def values(self, weights: np.ndarray, observations: np.ndarray) -> np.ndarray:
        """See `ActorCriticPass`."""
        self._both.critic.bind(weights)
        if self._mask is not None:
            observations = self._mask.rest(observations)
        values: np.ndarray = self._both.values(observations)[0].copy()
        return values
