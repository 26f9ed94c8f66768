"""The default networks with the gradients of their losses written out: what autograd computes for `ActorCritic` and `QNetwork`, in NumPy.

An object of these reads flat weights and writes a flat gradient, in the order of its torch twin's parameters. It serves one thread: what it
computes lies in buffers of its own. Arrays of outputs lie output by output, [A, B]; see `Dense`. Nothing here knows of reactors or torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from reactornb.rl.action_mask import FORBIDDEN
from reactornb.rl.dense import Dense
from reactornb.rl.env_spec import EnvSpec

__all__ = ["ActorCriticPass", "QPass", "written_out"]


def written_out(algorithm: type[Any]) -> bool:
    """Whether an algorithm's `gradient` is that of its `loss`: no subclass has overridden `loss` and left `gradient` as it was."""

    def owner(name: str) -> type[Any]:
        return next(c for c in algorithm.__mro__ if name in vars(c))

    return issubclass(owner("gradient"), owner("loss"))


class ActorCriticPass:
    """`ActorCritic` for observations that are no frames: a policy, categorical (of one choice or several) or Gaussian, and a value function.

    Args:
        spec: the environment's spaces.
        hidden: widths of the hidden layers.
    """

    # What a forward pass leaves for its backward pass.
    transient = (
        "_choices",
        "_chosen",
        "_columns",
        "_distance",
        "_entropies",
        "_log_probs",
        "_precision",
        "_probs",
        "_starts",
    )

    def __init__(self, spec: EnvSpec, hidden: Sequence[int]) -> None:
        self._mask, spec = spec.mask, spec.unmasked
        inputs = math.prod(spec.observation_shape)
        self._discrete = spec.n_actions is not None
        outputs = spec.outputs
        ends = np.cumsum(spec.choices, dtype=np.int64).tolist()
        self._choices = [slice(end - count, end) for end, count in zip(ends, spec.choices, strict=True)]
        self._starts = np.array([part.start for part in self._choices], np.int64)
        self._deviations = outputs if spec.is_box else 0
        self._both = Dense(inputs, hidden, ((outputs,), (1,)), "tanh", offset=self._deviations, scaling=spec.scaling)
        to_critic = self._deviations + self._both.sizes[0]
        self._critic = Dense(inputs, hidden, ((1,),), "tanh", offset=to_critic, scaling=spec.scaling)
        self._columns = np.arange(0)

    def values(self, weights: np.ndarray, observations: np.ndarray) -> np.ndarray:
        """The value function alone.

        Args:
            weights: float32 [P].
            observations: [B, *observation_shape].

        Returns:
            float32 [B].
        """
        self._critic.bind(weights)
        if self._mask is not None:
            observations = self._mask.rest(observations)
        values: np.ndarray = self._critic.forward(observations)[0][0].copy()
        return values

    def forward(
        self, weights: np.ndarray, observations: np.ndarray, actions: np.ndarray
    ) -> tuple[np.ndarray, float, np.ndarray]:
        """Judge actions; `backward` goes back from here.

        Args:
            weights: float32 [P].
            observations: [B, *observation_shape].
            actions: int64 [B] or [B, choices], or float32 [B, *action_shape].

        Returns:
            Log-probabilities of the actions, float32 [B]; the policy's mean entropy; values, float32 [B].
        """
        self._both.bind(weights)
        mask = self._mask
        outputs, values = self._both.forward(observations if mask is None else mask.rest(observations))
        if mask is not None:  # its probabilities are 0, and so are the derivatives of its logits
            np.copyto(outputs, FORBIDDEN, where=mask.of(observations).T == 0)
        if self._discrete:
            log_probs, entropy = self._categorical(outputs, actions)
        elif self._choices:
            log_probs, entropy = self._several(outputs, actions)
        else:
            log_probs, entropy = self._gaussian(outputs, actions, weights[: self._deviations, None])
        return log_probs, entropy, values[0]

    def _categorical(self, logits: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, float]:
        rows = logits.shape[1]
        if len(self._columns) != rows:
            self._columns = np.arange(rows)
        logits -= np.maximum.reduce(logits, axis=0)
        probs = np.exp(logits)
        total = np.add.reduce(probs, axis=0)
        probs /= total
        logits -= np.log(total)  # from here on log-probabilities
        self._chosen = actions, self._columns
        self._probs, self._log_probs = probs, logits
        self._entropies = -np.add.reduce(probs * logits, axis=0)
        return logits[self._chosen], float(np.add.reduce(self._entropies)) / rows

    def _several(self, logits: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, float]:
        """As `_categorical`, for each choice on rows of its own; log-probabilities and entropies add up."""
        rows = logits.shape[1]
        if len(self._columns) != rows:
            self._columns = np.arange(rows)
        probs = np.empty_like(logits)
        self._entropies = np.empty((len(self._choices), rows), np.float32)
        for i, part in enumerate(self._choices):
            own = logits[part]
            own -= np.maximum.reduce(own, axis=0)
            chances = np.exp(own, out=probs[part])
            total = np.add.reduce(chances, axis=0)
            chances /= total
            own -= np.log(total)  # from here on log-probabilities
            np.negative(np.add.reduce(chances * own, axis=0), out=self._entropies[i])
        self._chosen = (actions + self._starts).T, self._columns
        self._probs, self._log_probs = probs, logits
        return np.add.reduce(logits[self._chosen], axis=0), float(np.add.reduce(self._entropies, axis=None)) / rows

    def _gaussian(self, means: np.ndarray, actions: np.ndarray, log_std: np.ndarray) -> tuple[np.ndarray, float]:
        self._precision = np.exp(-log_std)
        distance = actions.reshape(len(actions), -1).T - means
        distance *= self._precision
        self._distance = distance
        constant = float(np.add.reduce(log_std, axis=None)) + 0.5 * len(log_std) * math.log(2 * math.pi)
        log_probs = np.add.reduce(distance * distance, axis=0)
        log_probs *= -0.5
        log_probs -= constant
        return log_probs, constant + 0.5 * len(log_std)

    def backward(self, out: np.ndarray, d_log_probs: np.ndarray, d_entropy: float, d_values: np.ndarray) -> None:
        """Write the gradient of a loss.

        Args:
            out: float32 [P], overwritten.
            d_log_probs: float32 [B], the loss's derivatives with respect to the log-probabilities of the actions.
            d_entropy: with respect to the mean entropy.
            d_values: float32 [B], with respect to the values.
        """
        self._both.write_to(out)
        if self._discrete or self._choices:
            probs = self._probs
            d_outputs = probs * -d_log_probs
            d_outputs[self._chosen] += d_log_probs  # of several choices, another logit of each
            if d_entropy:
                # The entropy's derivative with respect to a logit is -p (log p + entropy).
                toward = self._log_probs
                if self._choices:
                    for part, entropies in zip(self._choices, self._entropies, strict=True):
                        toward[part] += entropies
                else:
                    toward += self._entropies
                toward *= probs
                toward *= -d_entropy / len(d_log_probs)
                d_outputs += toward
        else:
            distance = self._distance
            d_outputs = distance * d_log_probs
            out[: self._deviations] = (
                np.add.reduce(d_outputs * distance, axis=1) - np.add.reduce(d_log_probs) + np.float32(d_entropy)
            )
            d_outputs *= self._precision
        self._both.backward((d_outputs, d_values[None]))


class QPass:
    """`QNetwork` for observations that are no frames: action values; duelling, or not.

    Args:
        spec: the environment's spaces, with discrete actions.
        hidden: widths of the hidden layers.
        duelling: a state's value and each action's advantage, on shared features.
    """

    def __init__(self, spec: EnvSpec, hidden: Sequence[int], duelling: bool) -> None:
        n_actions = spec.need_discrete("DQN")
        self._mask, spec = spec.mask, spec.unmasked
        heads = (n_actions, 1) if duelling else (n_actions,)
        inputs = math.prod(spec.observation_shape)
        self._duelling = duelling
        self._dense = Dense(inputs, hidden, (heads,), "relu", scaling=spec.scaling)

    def forward(self, weights: np.ndarray, observations: np.ndarray) -> np.ndarray:
        """Action values.

        Args:
            weights: float32 [P].
            observations: [B, *observation_shape].

        Returns:
            float32 [A, B], in a buffer that the next call overwrites; also of what is not possible.
        """
        self._dense.bind(weights)
        if self._mask is not None:
            observations = self._mask.rest(observations)
        outputs = self._dense.forward(observations)
        if not self._duelling:
            return outputs[0]
        advantages, value = outputs
        advantages += value - np.add.reduce(advantages, axis=0) / np.float32(len(advantages))
        return advantages

    def backward(self, out: np.ndarray, d_values: np.ndarray) -> None:
        """Write the gradient of a loss.

        Args:
            out: float32 [P], overwritten.
            d_values: float32 [A, B], the loss's derivatives with respect to the action values of the last `forward`.
        """
        self._dense.write_to(out)
        if not self._duelling:
            self._dense.backward((d_values,))
            return
        d_value = np.add.reduce(d_values, axis=0, keepdims=True)
        self._dense.backward((d_values - d_value / np.float32(len(d_values)), d_value))
