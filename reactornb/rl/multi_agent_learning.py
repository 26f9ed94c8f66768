"""PPO for a team: an actor-critic for each group of agents, learnt side by side in one flat array of weights.

A group learns as in `ppo.py`: the rows of its agents are rows as any. Groups do not meet: each has its own network, its own minibatches, and its own limit on the
gradient. They are updated together, so that a round has one set of weights, which is sent, kept and judged as one.

Nothing here knows of reactors.

Source: de Witt et al. 2020, "Is Independent Learning All You Need in the StarCraft Multi-Agent Challenge?", arXiv:2011.09533 (IPPO); Yu et al. 2022, "The
Surprising Effectiveness of PPO in Cooperative Multi-Agent Games", arXiv:2103.01955 (MAPPO).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import nn

from reactornb.rl.losses import normalized
from reactornb.rl.minibatches import Chosen, Epochs, Minibatch, Pieces
from reactornb.rl.multi_agent_groups import Group
from reactornb.rl.multi_agent_networks import CentralActorCritic, CentralPass
from reactornb.rl.multi_agent_storage import TeamTrajectory
from reactornb.rl.normalization import LearnerStatistics, Normalizer
from reactornb.rl.ppo import PPOAlgorithm

__all__ = ["EachClipped", "GroupPPO", "TeamMinibatch", "TeamNormalizer", "TeamPPO", "blocks_of", "make_algorithm"]


class GroupPPO(PPOAlgorithm):
    """PPO of one group.

    Args:
        group: its agents and what they see.
        config: a `MultiAgentPPOConfig`.
        generator, device: see `ActorCriticAlgorithm`.
        index: the group's place in a `TeamTrajectory`.
    """

    def __init__(
        self, group: Group, config: Any, generator: torch.Generator | None, device: torch.device, index: int = 0
    ) -> None:
        self.index = index
        if not group.critic:
            super().__init__(group.spec, config, generator, device)
            return
        self.config = config
        self.device = device
        self.network = self._own = CentralActorCritic(group, config.hidden, generator, config.log_std_init)
        self._written = CentralPass(group, config.hidden) if device.type == "cpu" else None

    def minibatches(self, received: list[Any], rng: np.random.Generator, progress: float) -> Epochs:
        """See `Algorithm`; of what its group played."""
        return super().minibatches([played.groups[self.index] for played in received], rng, progress)


@dataclass(slots=True)
class TeamMinibatch:
    """A minibatch of each group; see `Algorithm`.

    Attributes:
        groups: in their order; a group may have no rows.
        factors: by what the gradient of each is multiplied: 1, and in a piece of a minibatch what makes the sum over pieces, weighted by their
            share of it, the gradient of the whole.
    """

    groups: list[Any]
    factors: list[float]

    def __len__(self) -> int:
        return max(map(len, self.groups))

    def __getitem__(self, part: slice) -> TeamMinibatch:
        """Consecutive rows: of each group the same share."""
        rows = len(self)
        begin, end, _ = part.indices(rows)
        share = (end - begin) / rows
        groups, factors = [], []
        for group, factor in zip(self.groups, self.factors, strict=True):
            count = len(group)
            a, b = count * begin // rows, count * end // rows
            groups.append(group[a:b])
            factors.append(factor * ((b - a) / count) / share if count else 0.0)
        return TeamMinibatch(groups, factors)

    def gathered(self) -> TeamMinibatch:
        """See `Algorithm`."""
        return TeamMinibatch([group.gathered() for group in self.groups], self.factors)


class TeamEpochs:
    """A round's minibatches for several groups: as `Epochs`, as many for each group as the one with the most steps has.

    Args:
        wholes: all steps of the round, for each group.
        steps: int64, which of them were taken, likewise.
        rng: draws the orders, of one group after the other.
        config: says how many epochs, and how large a minibatch is.
        device: of `Chosen`.
    """

    def __init__(
        self,
        wholes: list[Minibatch],
        steps: list[np.ndarray],
        rng: np.random.Generator,
        config: Any,
        device: torch.device | None,
    ) -> None:
        self._wholes, self._device = wholes, device
        self._normalizes = config.normalize_advantage
        most = max(map(len, steps))
        self._pieces = Pieces(steps, max(1, round(most / config.batch_size)), config.n_epochs if most else 0, rng)

    def __iter__(self) -> TeamEpochs:
        return self

    def __next__(self) -> TeamMinibatch:
        chosen = []
        for whole, rows in zip(self._wholes, next(self._pieces), strict=True):
            advantages = whole.advantages.take(rows)
            if self._normalizes and len(rows):
                advantages = normalized(advantages)
            chosen.append(Chosen(whole, rows, advantages, self._device))
        return TeamMinibatch(chosen, [1.0] * len(chosen))


class TeamPPO:
    """PPO of several groups; see `Algorithm`.

    The loss is the sum of theirs. Metrics are those of `PPOAlgorithm` for each group, such as `entropy/agent_0`.

    Args:
        groups: who learns.
        config: a `MultiAgentPPOConfig`.
        generator: for the first weights, of one group after the other; None leaves them empty.
        device: where the networks are.
    """

    target = None
    transient = ("_seen", "_views", "config")

    def __init__(
        self, groups: Sequence[Group], config: Any, generator: torch.Generator | None, device: torch.device
    ) -> None:
        self.config = config
        self.device = device
        self.names = [group.name for group in groups]
        self.parts = [GroupPPO(group, config, generator, device, i) for i, group in enumerate(groups)]
        self.network = nn.ModuleList([part.network for part in self.parts])
        self._blocks = blocks_of([part.network for part in self.parts])
        self._seen: list[np.ndarray] = []  # the flat arrays that `_views` are views of
        self._views: list[tuple[np.ndarray, np.ndarray]] = []

    def retune(self, values: Mapping[str, Any]) -> None:
        """Go on with other hyper-parameters."""
        for part in self.parts:
            part.retune(values)
        self.config = self.parts[0].config

    @property
    def analytic(self) -> bool:
        """See `Algorithm`."""
        return all(part.analytic for part in self.parts)

    def minibatches(self, received: list[Any], rng: np.random.Generator, progress: float) -> TeamEpochs:
        """See `PPOAlgorithm`."""
        config = self.config
        clip = config.clip_range * (1.0 - progress if config.anneal_clip_range else 1.0)
        wholes, steps = [], []
        for i, part in enumerate(self.parts):
            whole, valid = part.prepare([played.groups[i] for played in received], clip)
            wholes.append(whole)
            steps.append(np.flatnonzero(valid))
        return TeamEpochs(wholes, steps, rng, config, None if self.analytic else self.device)

    def loss(self, minibatch: TeamMinibatch) -> tuple[torch.Tensor, dict[str, torch.Tensor | float]]:
        """The sum of the groups'."""
        total: Any = 0.0
        metrics: dict[str, torch.Tensor | float] = {}
        for name, part, rows, factor in zip(self.names, self.parts, minibatch.groups, minibatch.factors, strict=True):
            if len(rows):
                loss, of_group = part.loss(rows)
                total = total + factor * loss
                metrics |= {f"{metric}/{name}": factor * value for metric, value in of_group.items()}
        return total, metrics

    def gradient(self, minibatch: TeamMinibatch, weights: np.ndarray, out: np.ndarray) -> dict[str, float]:
        """That of `loss`, written out."""
        if not self._seen or self._seen[0] is not weights or self._seen[1] is not out:
            self._views = [(weights[a:b], out[a:b]) for a, b in self._blocks]
            self._seen = [weights, out]
        metrics: dict[str, float] = {"loss": 0.0}
        for name, part, (own, into), rows, factor in zip(
            self.names, self.parts, self._views, minibatch.groups, minibatch.factors, strict=True
        ):
            if not len(rows):
                into[:] = 0.0
                continue
            found = part.gradient(rows, own, into)
            if factor != 1.0:
                np.multiply(into, np.float32(factor), out=into)
            metrics["loss"] += factor * found.pop("loss")
            metrics |= {f"{metric}/{name}": factor * value for metric, value in found.items()}
        return metrics

    def feedback(self) -> None:
        """Nothing goes back."""


def make_algorithm(
    groups: Sequence[Group], config: Any, generator: torch.Generator | None, device: torch.device
) -> GroupPPO | TeamPPO:
    """PPO of one group or of several."""
    if len(groups) == 1:
        return GroupPPO(groups[0], config, generator, device)
    return TeamPPO(groups, config, generator, device)


def blocks_of(networks: Iterable[nn.Module]) -> list[tuple[int, int]]:
    """Where the weights of each network begin and end in the flat array of all."""
    ends = list(accumulate(sum(p.numel() for p in network.parameters()) for network in networks))
    return list(zip([0, *ends[:-1]], ends, strict=True))


class EachClipped:
    """An optimizer that cuts the gradient of each group to a norm, so that one group's does not shorten another's step.

    Args:
        params: one flat parameter with its gradient.
        lr: learning rate.
        optimizer_class: makes the optimizer that steps.
        blocks: where each group's weights begin and end.
        max_norm: cut to this; None: never.
    """

    transient = ("_gradients",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        optimizer_class: Callable[..., Any],
        blocks: Sequence[tuple[int, int]],
        max_norm: float | None,
    ) -> None:
        (parameter,) = params
        self.inner = optimizer_class([parameter], lr=lr)
        self.max_norm = max_norm
        self._gradients = [parameter.grad[a:b] for a, b in blocks]

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The optimizer's."""
        groups: list[dict[str, Any]] = self.inner.param_groups
        return groups

    def step(self) -> None:
        """Cut, and step."""
        if self.max_norm is not None:
            for gradient in self._gradients:
                norm = float(gradient.norm())
                if norm > self.max_norm:
                    gradient.mul_(self.max_norm / (norm + 1e-6))
        self.inner.step()


# -- normalisation --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TeamNormalizer:
    """What is normalised, for each group by statistics of its own; published at the end of its weights.

    Attributes:
        each: for each group.
        blocks: where each group's weights begin and end, without statistics.
    """

    each: tuple[Normalizer, ...]
    blocks: tuple[tuple[int, int], ...]

    def for_learner(self) -> TeamStatistics:
        """See `Normalizer`."""
        return TeamStatistics(self)


class TeamStatistics:
    """What a learner does with what rollouts of a team measured; see `LearnerStatistics`."""

    transient = ("_blocks",)

    def __init__(self, normalizer: TeamNormalizer) -> None:
        self.each = [LearnerStatistics(one) for one in normalizer.each]
        self._blocks = normalizer.blocks

    def take(self, received: Sequence[TeamTrajectory]) -> list[TeamTrajectory]:
        """See `LearnerStatistics`."""
        taken = [one.take([played.groups[i] for played in received]) for i, one in enumerate(self.each)]
        return [replace(played, groups=[of_group[k] for of_group in taken]) for k, played in enumerate(received)]

    def end_round(self) -> None:
        """See `LearnerStatistics`."""
        for one in self.each:
            one.end_round()

    def beside(self, weights: np.ndarray) -> np.ndarray:
        """Weights as they are published: of one group after the other, each with its statistics behind."""
        together = np.concatenate(
            [one.beside(weights[a:b]) for one, (a, b) in zip(self.each, self._blocks, strict=True)]
        )
        together.flags.writeable = False
        return together
