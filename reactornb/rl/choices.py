"""Several whole numbers chosen at once, as a MultiDiscrete or a MultiBinary takes them: a policy in NumPy. Nothing here knows of environments or torch."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["MultiCategoricalPolicy", "gumbel"]


class MultiCategoricalPolicy:
    """Several choices at once, each drawn from a softmax over logits of its own, as for a MultiDiscrete.

    Args:
        forward: observations to float32 [N, A], the logits of one choice after those of the other; also has `load`.
        choices: how many logits each has.
    """

    transient = ("_logits", "_noise", "_parts")  # of one trajectory

    def __init__(self, forward: Any, choices: tuple[int, ...]) -> None:
        self._forward = forward
        self._choices = tuple(choices)
        ends = np.cumsum(self._choices).tolist()
        self._parts = [slice(end - count, end) for end, count in zip(ends, self._choices, strict=True)]
        self._logits = self._noise = np.zeros((0, 0, 0), np.float32)

    def load(self, weights: np.ndarray) -> None:
        """See `Policy`."""
        self._forward.load(weights)

    def act(self, observations: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        """See `Policy`."""
        actions = np.empty((1, len(observations), len(self._choices)), np.int64)
        self.begin(1, len(observations), rng)
        self.choose(0, observations, actions[0])
        return actions[0], self.log_probs(actions)[0].copy()

    def begin(self, n_steps: int, n: int, rng: np.random.Generator) -> None:
        """See `TrajectoryPolicy`; the noise is that of `CategoricalPolicy`, for all choices."""
        shape = (n_steps, n, sum(self._choices))
        if self._noise.shape != shape:
            self._logits, self._noise = np.empty(shape, np.float32), np.empty(shape, np.float32)
        gumbel(shape, rng, self._noise)

    def choose(self, t: int, observations: np.ndarray, out: np.ndarray) -> None:
        """See `TrajectoryPolicy`."""
        logits = self._forward(observations)
        self._logits[t] = logits
        logits += self._noise[t]
        self._best(logits, out)

    def _best(self, scores: np.ndarray, out: np.ndarray) -> np.ndarray:
        """The highest of each choice, int64 [N, choices], into `out`."""
        for i, part in enumerate(self._parts):
            out[:, i] = scores[:, part].argmax(axis=1)
        return out

    def log_probs(self, actions: np.ndarray) -> np.ndarray:
        """See `TrajectoryPolicy`: the sum over the choices."""
        total: np.ndarray = np.zeros(actions.shape[:2], np.float32)
        for i, part in enumerate(self._parts):
            logits = self._logits[..., part]
            logits -= logits.max(axis=2, keepdims=True)
            total += np.take_along_axis(logits, actions[..., i, None], axis=2)[..., 0]
            total -= np.log(np.exp(logits, out=logits).sum(axis=2))
        return total

    def greedy(self, observations: np.ndarray) -> np.ndarray:
        """See `Policy`."""
        return self._best(self._forward(observations), np.empty((len(observations), len(self._choices)), np.int64))


def gumbel(shape: tuple[int, ...], rng: np.random.Generator, out: np.ndarray) -> None:
    """Gumbel noise, float32, into `out`; computed in double precision: an action whose probability is 1e-8 comes that often."""
    drawn = rng.standard_exponential(shape)
    np.maximum(drawn, np.finfo(np.float64).tiny, out=drawn)  # log(0)
    np.negative(np.log(drawn, out=drawn), out=out, casting="same_kind")
