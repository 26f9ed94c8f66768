"""Running statistics of what rollouts see: counted where it is seen, merged by whoever learns, applied where networks are asked.

    Moments      of some numbers: how many, their mean, their squares; of a rollout's trajectory
    Statistics   of all that was seen so far; in a learner, and in float32 at the end of the weights that it publishes
    NormalForward   a network behind them, in a policy

NumPy only; nothing here knows of reactors, environments or algorithms.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["CLIP", "Moments", "NormalForward", "Statistics", "normal", "parts"]

CLIP = 10.0
"""Of normalised numbers, as in Stable-Baselines3 and CleanRL: one that hardly ever changes must not drown all others when it does."""

EPSILON = 1e-8
"""Beside variances, likewise."""


def normal(
    x: np.ndarray, mean: np.ndarray, deviation: np.ndarray, clip: np.float32, out: np.ndarray | None = None
) -> np.ndarray:
    """(x - mean) / deviation, cut to [-clip, clip]; float32, into `out` where there is one.

    Everybody who normalises does it here, so that a rollout, its learner and a saved policy see the same bits.
    """
    rows: np.ndarray = np.subtract(x, mean, out=out, dtype=np.float32, casting="unsafe")
    rows /= deviation
    np.maximum(rows, -clip, out=rows)
    np.minimum(rows, clip, out=rows)
    return rows


@dataclass(frozen=True, slots=True)
class Moments:
    """Of some arrays of one shape.

    Attributes:
        count: how many.
        mean: float64, of that shape.
        squares: the sum of the squared distances to it, likewise.
    """

    count: int
    mean: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray) -> Moments:
        """Of rows [N, *shape]."""
        many = rows.astype(np.float64)
        mean = many.mean(axis=0) if len(many) else np.zeros(many.shape[1:])
        many -= mean
        many *= many
        return cls(len(many), np.asarray(mean), np.asarray(many.sum(axis=0)))

    def with_(self, other: Moments) -> Moments:
        """Of both together.

        Source: Chan, Golub, LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample variances".
        """
        total = self.count + other.count
        if not other.count or not self.count:
            return self if not other.count else other
        delta = other.mean - self.mean
        return Moments(
            total,
            self.mean + delta * (other.count / total),
            self.squares + other.squares + delta * delta * (self.count * (other.count / total)),
        )

    @property
    def variance(self) -> np.ndarray:
        """Of all of them; 1 where nothing was seen."""
        return self.squares / self.count if self.count else np.ones_like(self.squares)


class Statistics:
    """All that was seen so far, and what networks see with it.

    Args:
        shape: of an observation.
        moves: bool of that shape: which of its numbers are normalised; None: none of them.
        mean: float32 of that shape: what the others are lessened by.
        deviation: float32 of that shape, and divided by.
        rewards: whether rewards are divided by the deviation of discounted returns.
    """

    transient = ("_moves", "shape")

    def __init__(
        self,
        shape: tuple[int, ...],
        moves: np.ndarray | None,
        mean: np.ndarray,
        deviation: np.ndarray,
        rewards: bool,
    ) -> None:
        self.shape = shape
        self._moves = moves
        self.mean, self.deviation = np.array(mean, np.float32), np.array(deviation, np.float32)
        self.seen = None if moves is None else _nothing((int(np.count_nonzero(moves)),))
        self.returns = _nothing(()) if rewards else None

    def merge_observations(self, found: Iterable[Moments | None]) -> None:
        """Take in what rollouts saw, in this order. Networks see the change with the next weights that are published."""
        seen = self.seen
        if seen is None:
            return
        for moments in found:
            if moments is not None:
                seen = seen.with_(moments)
        self.seen = seen
        # New arrays: those of before may be on their way.
        mean, deviation = self.mean.copy(), self.deviation.copy()
        mean[self._moves], deviation[self._moves] = seen.mean, np.sqrt(seen.variance + EPSILON)
        self.mean, self.deviation = mean, deviation

    def merge_returns(self, found: Iterable[Moments | None]) -> None:
        """Likewise of discounted returns; from here on rewards are divided by their deviation."""
        if self.returns is not None:
            for moments in found:
                if moments is not None:
                    self.returns = self.returns.with_(moments)

    def observations(self, rows: np.ndarray) -> np.ndarray:
        """Observations [..., *shape] as networks see them; float32, a new array. Without normalised observations they themselves."""
        if self._moves is None:
            return rows
        return normal(rows, self.mean, self.deviation, np.float32(CLIP))

    def rewards(self, rewards: np.ndarray) -> np.ndarray:
        """Rewards divided, and cut to [-clip, clip]; float32, likewise."""
        if self.returns is None:
            return rewards
        scale = np.float32(1.0 / math.sqrt(float(self.returns.variance) + EPSILON))
        divided: np.ndarray = np.clip(rewards * scale, np.float32(-CLIP), np.float32(CLIP))
        return divided

    def load(self, weights: np.ndarray, returns: Moments | None = None) -> np.ndarray:
        """Take over what `beside` has put after weights, and the moments of discounted returns.

        Returns:
            The weights alone, a view.
        """
        if self.returns is not None and returns is not None:
            self.returns = returns
        if self._moves is None:
            return weights
        own, mean, deviation = parts(weights, self.shape)
        self.mean, self.deviation = mean, deviation
        return own

    def beside(self, weights: np.ndarray) -> np.ndarray:
        """Flat weights, float32 [P], with the statistics after them, read-only; without normalised observations the weights themselves."""
        if self._moves is None:
            return weights
        together = np.concatenate([weights, self.mean.ravel(), self.deviation.ravel()])
        together.flags.writeable = False
        return together


def parts(weights: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flat weights that have statistics at their end, as those of the network, mean and deviation; views.

    Raises:
        ValueError: if there are too few.
    """
    count = math.prod(shape)
    if len(weights) <= 2 * count:
        raise ValueError(
            f"{len(weights)} weights hold no network and statistics of {count} numbers: they are of another network."
        )
    own, mean, deviation = np.split(weights, [len(weights) - 2 * count, len(weights) - count])
    return own, mean.reshape(shape), deviation.reshape(shape)


def _nothing(shape: tuple[int, ...]) -> Moments:
    return Moments(0, np.zeros(shape), np.zeros(shape))


class NormalForward:
    """A network behind running statistics: it sees (x - mean) / deviation, cut to [-clip, clip].

    The statistics are the last numbers of the flat weights, those of the network all before: they come and go together, so whoever has the weights
    of a learner has the statistics that belong to them.

    Args:
        forward: normalised observations to outputs; also has `load`.
        shape: of an observation.
        clip: see above.
    """

    transient = ("_rows",)

    def __init__(self, forward: Any, shape: tuple[int, ...], clip: float) -> None:
        self.forward = forward
        self.clip = np.float32(clip)
        self._shape = shape
        self._mean, self._deviation = np.zeros(shape, np.float32), np.ones(shape, np.float32)
        self._rows = np.empty((0, *shape), np.float32)

    def load(self, weights: np.ndarray) -> None:
        """Take over a copy."""
        own, mean, deviation = parts(weights, self._shape)
        self._mean[...], self._deviation[...] = mean, deviation
        self.forward.load(own)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """[N, *observation_shape] -> float32 [N, outputs]; see the network's own."""
        if len(x) != len(self._rows):
            self._rows = np.empty((len(x), *self._shape), np.float32)
        outputs: np.ndarray = self.forward(normal(x, self._mean, self._deviation, self.clip, self._rows))
        return outputs
