"""What SAC, TD3 and DDPG compute of their networks, in NumPy: an actor and its critics, forward and backward, on the flat weights of `ActorAndCritics`.

Arrays lie number by number, [A, B], as in `Dense`. An object of these serves one thread. Nothing here knows of reactors or torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from reactornb.rl.bounded import LOG_STD_HALF, LOG_STD_MIDDLE
from reactornb.rl.dense import Dense
from reactornb.rl.env_spec import EnvSpec

__all__ = ["ContinuousPass", "SquashedGaussian"]

TINY = np.float32(1e-6)


class SquashedGaussian:
    """`continuous_networks.squashed` with its derivative."""

    transient = ("_actions", "_noise", "_spread", "_std", "_up")  # what a forward pass leaves for its backward pass

    def forward(self, outputs: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Draw actions.

        Args:
            outputs: float32 [2A, B]: means, and what `bounded.deviation` takes.
            noise: of a normal distribution, float32 [A, B].

        Returns:
            Actions in [-1, 1], float32 [A, B], and their log-probabilities, float32 [B].
        """
        size = len(noise)
        self._noise = noise
        self._spread = np.tanh(outputs[size:])
        log_std = self._spread * np.float32(LOG_STD_HALF)
        log_std += np.float32(LOG_STD_MIDDLE)
        self._std = np.exp(log_std)
        actions = self._std * noise
        actions += outputs[:size]
        np.tanh(actions, out=actions)
        self._actions = actions
        self._up = 1 - actions * actions  # the derivative of tanh
        log_probs = noise * noise
        log_probs *= np.float32(-0.5)
        log_probs -= log_std
        log_probs -= np.log(self._up + TINY)
        total: np.ndarray = np.add.reduce(log_probs, axis=0)
        total -= np.float32(0.5 * size * math.log(2 * math.pi))
        return actions, total

    def backward(self, d_actions: np.ndarray, d_log_probs: float) -> np.ndarray:
        """The loss's derivative with respect to the outputs of the last `forward`.

        Args:
            d_actions: with respect to the actions, float32 [A, B]; overwritten.
            d_log_probs: with respect to each log-probability.

        Returns:
            float32 [2A, B].
        """
        each, up = np.float32(d_log_probs), self._up
        d_actions *= up
        # An action near its bound is more probable the further its number is from 0.
        d_actions += (2 * each) * self._actions * up / (up + TINY)
        d_log_std = d_actions * self._std
        d_log_std *= self._noise
        d_log_std -= each
        d_log_std *= np.float32(LOG_STD_HALF) * (1 - self._spread * self._spread)
        return np.concatenate([d_actions, d_log_std])


class ContinuousPass:
    """An actor and critics, for observations that are no frames.

    Args:
        spec: the environment's spaces.
        hidden: widths of the hidden layers.
        outputs: numbers that the actor gives for each number of an action.
        critics: how many.
        judges: how many of them, the first ones, judge the actor's own actions.
    """

    transient = ("_both", "_next")  # of one minibatch

    def __init__(self, spec: EnvSpec, hidden: Sequence[int], *, outputs: int, critics: int, judges: int) -> None:
        self._inputs = math.prod(spec.observation_shape)
        self._size = math.prod(spec.action_shape)
        self._scaling = spec.scaling
        self._actors = [Dense(self._inputs, hidden, ((outputs * self._size,),), "relu") for _ in range(2)]
        at = self._actors[0].size
        # Three, since each reads other weights, or keeps what its backward pass needs while another one works.
        self._critics = [
            Dense(self._inputs + self._size, hidden, [(1,)] * count, "relu", offset=at)
            for count in (critics, judges, critics)
        ]
        self._both = self._next = np.empty((0, 0), np.float32)

    def begin(self, observations: np.ndarray, next_observations: np.ndarray) -> None:
        """A minibatch: [B, *observation_shape] each."""
        rows = len(observations)
        if len(self._both) != rows:
            self._both, self._next = (np.empty((rows, self._inputs + self._size), np.float32) for _ in range(2))
        self._prepare(observations, self._both[:, : self._inputs])
        self._prepare(next_observations, self._next[:, : self._inputs])

    def _prepare(self, observations: np.ndarray, out: np.ndarray) -> None:
        """Observations as rows of scaled numbers."""
        rows = observations.reshape(len(observations), -1)
        if self._scaling is None:
            out[...] = rows
            return
        offset, span = (np.ravel(a) if a.size > 1 else a for a in self._scaling)
        np.subtract(rows, offset, out=out, casting="unsafe")
        out /= span

    def act_next(self, weights: np.ndarray) -> np.ndarray:
        """What an actor says at the next observations; float32 [outputs, B], a buffer that may be changed."""
        return self._act(1, weights, self._next)

    def act(self, weights: np.ndarray) -> np.ndarray:
        """And at the observations, from where `backward_actor` goes back."""
        return self._act(0, weights, self._both)

    def _act(self, which: int, weights: np.ndarray, rows: np.ndarray) -> np.ndarray:
        actor = self._actors[which]
        actor.bind(weights)
        return actor.forward(rows[:, : self._inputs])[0]

    def judge_next(self, weights: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """What the critics say of actions, [A, B], at the next observations; float32 [critics, B]."""
        return self._judge(2, weights, self._next, actions.T)

    def judge(self, weights: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """What they say of actions that were taken, [B, A], from where `backward_critics` goes back; float32 [critics, B]."""
        return self._judge(0, weights, self._both, actions)

    def judge_own(self, weights: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """What they say of the actor's, [A, B], from where `toward_actions` goes back; after `backward_critics`. float32 [judges, B]."""
        return self._judge(1, weights, self._both, actions.T)

    def _judge(self, which: int, weights: np.ndarray, rows: np.ndarray, actions: np.ndarray) -> np.ndarray:
        rows[:, self._inputs :] = actions
        critics = self._critics[which]
        critics.bind(weights)
        values = critics.forward(rows)
        return np.concatenate(values) if len(values) > 1 else values[0]

    def backward_critics(self, out: np.ndarray, d_values: np.ndarray) -> None:
        """Write the gradient of the critics' weights: `d_values` are the derivatives with respect to what `judge` gave."""
        self._critics[0].write_to(out)
        self._critics[0].backward([d[None] for d in d_values])

    def toward_actions(self, d_value: float, rows: Sequence[np.ndarray] | None = None) -> np.ndarray:
        """The derivative with respect to the actor's actions, float32 [A, B], after `judge_own`.

        Args:
            d_value: with respect to each value.
            rows: of each critic those for which its value counts, int64 [k]; None: all.
        """
        critics = self._critics[1]
        d_values = np.full((1, len(self._both)), d_value, np.float32)
        return critics.backward_to_inputs([d_values] * critics.count, self._inputs, rows)

    def backward_actor(self, out: np.ndarray, d_outputs: np.ndarray) -> None:
        """Write the gradient of the actor's weights: `d_outputs` are the derivatives with respect to what `act` gave."""
        self._actors[0].write_to(out)
        self._actors[0].backward([d_outputs])
