"""PPO's minibatches: a round's steps, the rows that each update takes of them, and their order; NumPy arrays, or tensors for autograd.

Nothing here knows of reactors or networks. All of it is data, so that a checkpoint can hold it between two updates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from reactornb.rl.losses import normalized

__all__ = ["Chosen", "Epochs", "Minibatch", "Pieces", "piece", "tensors"]


@dataclass(slots=True)
class Minibatch:
    """Steps of an update; arrays where the gradient is `PPOAlgorithm.gradient`'s, tensors on the learner's device where it is autograd's.

    Attributes:
        observations: [B, *observation_shape].
        actions: int64 [B] or [B, choices], or float32 [B, *action_shape].
        log_probs: float32 [B], under the policy that played.
        advantages: float32 [B], normalised already.
        values: float32 [B], when the round began.
        returns: float32 [B].
        clip: `clip_range` in this round.
    """

    observations: Any
    actions: Any
    log_probs: Any
    advantages: Any
    values: Any
    returns: Any
    clip: float

    def __len__(self) -> int:
        return len(self.returns)

    def __getitem__(self, rows: Any) -> Minibatch:
        """The minibatch of these rows, a slice or indices."""
        return Minibatch(
            self.observations[rows], self.actions[rows], self.log_probs[rows], self.advantages[rows], self.values[rows], self.returns[rows],
            self.clip,
        )  # fmt: skip

    def on(self, device: torch.device) -> Minibatch:
        """Its arrays as tensors there."""
        arrays = (self.observations, self.actions, self.log_probs, self.advantages, self.values, self.returns)
        observations, actions, log_probs, advantages, values, returns = tensors(device, *arrays)
        return Minibatch(observations, actions, log_probs, advantages, values, returns, self.clip)


@dataclass(slots=True)
class Chosen:
    """A minibatch that is put together where its gradient is computed: with shards, on several cores.

    Attributes:
        whole: all steps of the round; arrays.
        rows: int64 [B], which of them.
        advantages: float32 [B], theirs, normalised already.
        device: where autograd wants tensors; None: arrays stay arrays.
    """

    whole: Minibatch
    rows: np.ndarray
    advantages: np.ndarray
    device: torch.device | None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice) -> Chosen:
        """Consecutive ones."""
        return Chosen(self.whole, self.rows[part], self.advantages[part], self.device)

    def gathered(self) -> Minibatch:
        """The rows; see `Algorithm`."""
        whole, rows = self.whole, self.rows
        minibatch = Minibatch(
            whole.observations.take(rows, 0), whole.actions.take(rows, 0), whole.log_probs.take(rows), self.advantages,
            whole.values.take(rows), whole.returns.take(rows), whole.clip,
        )  # fmt: skip
        return minibatch if self.device is None else minibatch.on(self.device)


class Pieces:
    """`epochs` times all items of some arrays, each in an order that is drawn when the epoch begins, in as many pieces as there are minibatches.

    An object and no generator, so that a checkpoint can hold it between two minibatches.

    Args:
        items: int64 [n], of each array.
        parts: pieces of an epoch.
        epochs: how many.
        rng: draws the orders, of one array after the other.
    """

    def __init__(self, items: list[np.ndarray], parts: int, epochs: int, rng: np.random.Generator) -> None:
        self._items, self._parts, self._left, self._rng = items, parts, epochs, rng
        self._orders, self._part = items, parts  # of the epoch that runs, and which piece is next

    def __iter__(self) -> Pieces:
        return self

    def __next__(self) -> list[np.ndarray]:
        if self._part == self._parts:
            if not self._left:
                raise StopIteration
            self._left -= 1
            self._orders, self._part = [self._rng.permutation(items) for items in self._items], 0
        self._part += 1
        return [piece(order, self._parts, self._part - 1) for order in self._orders]


class Epochs:
    """A round's minibatches: `n_epochs` times all steps; see `Pieces`.

    Args:
        whole: all steps of the round.
        steps: int64, which of them were taken.
        rng: draws the orders.
        config: says how many epochs, and how large a minibatch is.
        device: of `Chosen`.
    """

    def __init__(
        self,
        whole: Minibatch,
        steps: np.ndarray,
        rng: np.random.Generator,
        config: Any,
        device: torch.device | None,
    ) -> None:
        self._whole, self._device = whole, device
        self._normalizes = config.normalize_advantage
        parts = max(1, round(len(steps) / config.batch_size))
        self._pieces = Pieces([steps], parts, config.n_epochs if len(steps) else 0, rng)

    def __iter__(self) -> Epochs:
        return self

    def __next__(self) -> Chosen:
        (rows,) = next(self._pieces)
        advantages = self._whole.advantages.take(rows)
        if self._normalizes:
            advantages = normalized(advantages)
        return Chosen(self._whole, rows, advantages, self._device)


def piece(array: np.ndarray, parts: int, part: int) -> np.ndarray:
    """One of `np.array_split(array, parts)`: parts of nearly one size, since a last one of a few steps would be an update on their noise."""
    size, longer = divmod(len(array), parts)
    begin = part * size + min(part, longer)
    return array[begin : begin + size + (part < longer)]


def tensors(device: torch.device, *arrays: np.ndarray) -> list[torch.Tensor]:
    """Arrays as tensors on a device; on the CPU they share the memory."""
    return [torch.from_numpy(a).to(device) for a in arrays]
