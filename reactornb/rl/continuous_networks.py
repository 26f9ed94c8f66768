"""The networks of SAC, TD3 and DDPG in torch: an actor and critics that judge an observation and an action together.

What is learnt lies in the order actor, critics, entropy coefficient, so that rollouts, which play with the actor alone, read the beginning
of the flat weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.func import functional_call

from reactornb.rl.bodies import Body, MakeNetwork
from reactornb.rl.bounded import LOG_STD_HALF, LOG_STD_MIDDLE
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.layers import Prepared, linear, mlp

__all__ = ["ActorAndCritics", "squashed"]


class Critic(nn.Module):
    """The value of an action, in [-1, 1], after an observation: a perceptron on both.

    Args:
        spec: the environment's spaces.
        hidden: widths of the hidden layers.
        generator: see `layers.linear`; layers begin as torch's do.
        network: makes what its observations go through first, if that is one of the user's own.
    """

    def __init__(
        self, spec: EnvSpec, hidden: Sequence[int], generator: torch.Generator | None, network: MakeNetwork | None
    ) -> None:
        super().__init__()
        body = None if network is None else Body(spec, network)
        self.prepared: nn.Module = Prepared(spec.scaling) if body is None else body
        inputs = math.prod(spec.observation_shape) if body is None else body.width
        self.layers = mlp((inputs + math.prod(spec.action_shape), *hidden, 1), "relu", generator)

    def forward(self, observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """[B, *observation_shape] and [B, A] -> float32 [B]."""
        values: torch.Tensor = self.layers(torch.cat([self.prepared(observations), actions], 1))
        return values.squeeze(-1)


class ActorAndCritics(nn.Module):
    """An actor, critics, and, if it is learnt, the logarithm of the entropy coefficient.

    Args:
        spec: the environment's spaces.
        hidden: widths of the hidden layers of each.
        generator: see `layers.linear`.
        outputs: numbers that the actor gives for each number of an action.
        critics: how many critics.
        log_ent_coef: its first value; None: there is none.
        network: makes a body of the user's own for the actor, which has one layer on it, and one for each critic.
    """

    def __init__(
        self,
        spec: EnvSpec,
        hidden: Sequence[int],
        generator: torch.Generator | None,
        *,
        outputs: int = 1,
        critics: int = 2,
        log_ent_coef: float | None = None,
        network: MakeNetwork | None = None,
    ) -> None:
        super().__init__()
        size = math.prod(spec.action_shape)
        if network is None:
            sizes = (math.prod(spec.observation_shape), *hidden, outputs * size)
            self.actor = mlp(sizes, "relu", generator, scaling=spec.scaling)
        else:
            body = Body(spec, network)
            self.actor = nn.Sequential(body, linear(body.width, outputs * size, generator))
        self.critics = nn.ModuleList(Critic(spec, hidden, generator, network) for _ in range(critics))
        # In a module of its own, since a module's own parameters come before those of its parts.
        self.coefficient = nn.ParameterList([] if log_ent_coef is None else [torch.full((1,), log_ent_coef)])

    @property
    def log_ent_coef(self) -> torch.Tensor | None:
        """The logarithm of the entropy coefficient, [1]; None: it is not learnt."""
        return self.coefficient[0] if len(self.coefficient) else None

    @property
    def sizes(self) -> tuple[int, int, int]:
        """How many weights the actor, the critics, and the entropy coefficient have."""
        actor, critics = (sum(p.numel() for p in part.parameters()) for part in (self.actor, self.critics))
        return actor, critics, len(self.coefficient)

    def act(self, observations: torch.Tensor) -> torch.Tensor:
        """What the actor says, [B, outputs * A]."""
        said: torch.Tensor = self.actor(observations)
        return said

    def values(self, observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """What each critic says.

        Args:
            observations: [B, *observation_shape].
            actions: [B, A], in [-1, 1].

        Returns:
            float32 [critics, B].
        """
        return torch.stack([critic(observations, actions) for critic in self.critics])

    def frozen_values(self, observations: torch.Tensor, actions: torch.Tensor, count: int) -> torch.Tensor:
        """What the first `count` critics say; gradients go through them to the actions, and not to their weights."""
        return torch.stack(
            [
                functional_call(critic, {name: p.detach() for name, p in critic.named_parameters()}, (observations, actions))
                for critic in self.critics[:count]
            ]
        )  # fmt: skip


def squashed(outputs: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Actions of a squashed Gaussian, [B, A] in [-1, 1], and their log-probabilities, [B].

    Args:
        outputs: [B, 2A], means and what `bounded.deviation` takes.
        noise: of a normal distribution, [B, A].

    Source: Haarnoja et al. 2018, arXiv:1812.05905, appendix C.
    """
    means, spread = outputs.chunk(2, dim=1)
    log_std = LOG_STD_MIDDLE + LOG_STD_HALF * torch.tanh(spread)
    actions = torch.tanh(means + log_std.exp() * noise)
    each = -0.5 * noise * noise - log_std - 0.5 * math.log(2 * math.pi) - torch.log(1 - actions * actions + 1e-6)
    return actions, each.sum(1)
