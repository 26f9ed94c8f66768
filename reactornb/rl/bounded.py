"""Actions in a Box with bounds: as an environment takes them, as networks have them (in [-1, 1]), and the policies that choose them. NumPy only.

Networks are told nothing of units: an actor's output goes through tanh, critics see actions in [-1, 1], and only what leaves a policy is
stretched to the Box. So a hyper-parameter such as a target entropy or a deviation of noise means the same in each environment.

Source: Haarnoja et al. 2018, arXiv:1812.05905, appendix C; the range of deviations is that of CleanRL's sac_continuous_action.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.errors import SpaceError

__all__ = [
    "LOG_STD_HALF",
    "LOG_STD_MIDDLE",
    "LOG_STD_RANGE",
    "Bounds",
    "NoisyPolicy",
    "SquashedGaussianPolicy",
    "deviation",
]

LOG_STD_MIDDLE, LOG_STD_HALF = -1.5, 3.5
"""Log-deviations are from -5 to 2: the middle of that range, and half of it."""

LOG_STD_RANGE = LOG_STD_MIDDLE - LOG_STD_HALF, LOG_STD_MIDDLE + LOG_STD_HALF


def deviation(outputs: np.ndarray) -> np.ndarray:
    """Deviations from what a network says of them, in a new array."""
    spread = np.tanh(outputs)
    spread *= LOG_STD_HALF
    spread += LOG_STD_MIDDLE
    return np.exp(spread, out=spread)


class Bounds:
    """From [-1, 1] to a Box and back.

    Args:
        low, high: float32, the Box's bounds; finite.

    Attributes:
        shape: of one action.
        size: how many numbers it has.
        middle, half: float32 [size], the Box's middle, and how far it reaches from there.
    """

    def __init__(self, low: np.ndarray, high: np.ndarray) -> None:
        self.shape = low.shape
        self.size = math.prod(low.shape)
        low, high = low.ravel().astype(np.float64), high.ravel().astype(np.float64)
        self.middle = ((low + high) / 2).astype(np.float32)
        self.half = ((high - low) / 2).astype(np.float32)
        self._scale = np.where(self.half > 0, self.half, np.float32(1))  # of a number that is always the same

    @classmethod
    def of(cls, spec: EnvSpec, who: str) -> Bounds:
        """Those of an environment's actions.

        Args:
            spec: its spaces.
            who: the algorithm, for the message.

        Raises:
            SpaceError: if its actions are no Box, or have no bounds.
        """
        if spec.action_low is None or spec.action_high is None:
            raise SpaceError(
                f"{who} chooses numbers in a Box; the actions of {spec.name} are discrete. Use DQN or PPO, or wrap the environment in a "
                f"gymnasium.ActionWrapper whose action_space is a Box, and whose action(self, numbers) rounds them.",
                space=spec.n_actions,
            )
        if not (np.isfinite(spec.action_low).all() and np.isfinite(spec.action_high).all()):
            raise SpaceError(
                f"{who} needs actions with bounds; those of {spec.name} are a Box from {spec.action_low.min():g} to {spec.action_high.max():g}. Use PPO, "
                f"which takes any, or wrap the environment in gymnasium.wrappers.TransformAction with a Box that has bounds.",
                space=spec.action_shape,
            )
        return cls(spec.action_low, spec.action_high)

    def to_box(self, actions: np.ndarray) -> np.ndarray:
        """Stretch actions, [N, size] in [-1, 1], in place; returned in the Box's shape, [N, *shape]."""
        actions *= self.half
        actions += self.middle
        return actions.reshape(-1, *self.shape)

    def from_box(self, actions: np.ndarray, out: np.ndarray) -> None:
        """Shrink actions, [N, *shape], into [-1, 1].

        Args:
            actions: not changed.
            out: float32 [N, size].
        """
        np.subtract(actions.reshape(len(actions), -1), self.middle, out=out)
        out /= self._scale


class _BoundedPolicy:
    """What both have in common: at first, actions are drawn evenly from the Box.

    Args:
        forward: observations to what the network says, float32 [N, outputs], in an array that may be written into; also has `load`.
        bounds: of the actions.
        warm_up: steps of this rollout, over all its environments, at which actions are drawn evenly.

    Attributes:
        warm_up: likewise; may be changed.
    """

    transient = ("_drawn", "_evenly")  # of one trajectory

    def __init__(self, forward: Any, bounds: Bounds, warm_up: int = 0) -> None:
        self._forward = forward
        self._bounds = bounds
        self.warm_up = warm_up
        self._steps = 0
        self._evenly = 0  # how many steps of a trajectory, from the first on
        self._drawn: np.ndarray = np.zeros((0, 0, 0), np.float32)

    def load(self, weights: np.ndarray) -> None:
        """See `Policy`."""
        self._forward.load(weights)

    def act(self, observations: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        """See `Policy`."""
        n = len(observations)
        actions = np.empty((n, *self._bounds.shape), np.float32)
        self.begin(1, n, rng)
        self.choose(0, observations, actions)
        return actions, None

    def begin(self, n_steps: int, n: int, rng: np.random.Generator) -> None:
        """See `TrajectoryPolicy`."""
        left = self.warm_up - self._steps
        self._evenly = min(n_steps, -(-left // n)) if left > 0 else 0
        self._steps += n_steps * n
        shape = (n, self._bounds.size)
        if not self._evenly:
            self._drawn = rng.standard_normal((n_steps, *shape), np.float32)
            return
        self._drawn = np.empty((n_steps, *shape), np.float32)
        self._drawn[: self._evenly] = rng.uniform(-1.0, 1.0, (self._evenly, *shape))
        self._drawn[self._evenly :] = rng.standard_normal((n_steps - self._evenly, *shape), np.float32)

    def choose(self, t: int, observations: np.ndarray, out: np.ndarray) -> None:
        """See `TrajectoryPolicy`."""
        drawn = self._drawn[t]
        out[...] = self._bounds.to_box(drawn if t < self._evenly else self._noisy(self._forward(observations), drawn))

    def log_probs(self, actions: np.ndarray) -> None:
        """See `TrajectoryPolicy`; no algorithm asks for them."""

    def greedy(self, observations: np.ndarray) -> np.ndarray:
        """See `Policy`: without noise."""
        return self.best(self._forward(observations))

    def best(self, outputs: np.ndarray) -> np.ndarray:
        """The actions without noise, [N, *shape], for what the network says, which is left as it is."""
        return self._bounds.to_box(np.tanh(outputs[:, : self._bounds.size]))

    def _noisy(self, outputs: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Actions in [-1, 1], float32 [N, size], a new array or one of the arguments.

        Args:
            outputs: float32 [N, outputs], a buffer.
            noise: of a normal distribution, float32 [N, size].
        """
        raise NotImplementedError


class SquashedGaussianPolicy(_BoundedPolicy):
    """The tanh of numbers that are drawn from normal distributions; means and deviations depend on the observation: SAC's.

    Args:
        forward: gives means and what `deviation` takes, float32 [N, 2 size].
        bounds, warm_up: see `_BoundedPolicy`.
    """

    def _noisy(self, outputs: np.ndarray, noise: np.ndarray) -> np.ndarray:
        size = self._bounds.size
        noise *= deviation(outputs[:, size:])
        noise += outputs[:, :size]
        return np.tanh(noise, out=noise)


class NoisyPolicy(_BoundedPolicy):
    """The tanh of what a network says, with normal noise on it: TD3's and DDPG's.

    Args:
        forward: float32 [N, size].
        bounds, warm_up: see `_BoundedPolicy`.
        noise: deviation of the noise, where actions are in [-1, 1]; a sequence has one for each number of an action.
        noise_at: where the logarithms of the deviations lie in the flat weights, which are then taken from there; None: nowhere, they are as given.

    Attributes:
        noise: likewise.
    """

    def __init__(
        self, forward: Any, bounds: Bounds, warm_up: int = 0, noise: float | Sequence[float] = 0.1, noise_at: int | None = None
    ) -> None:  # fmt: skip
        super().__init__(forward, bounds, warm_up)
        self.noise = noise
        self._noise_at = noise_at

    def load(self, weights: np.ndarray) -> None:
        """See `Policy`."""
        super().load(weights)
        if self._noise_at is not None:
            log_std = weights[self._noise_at : self._noise_at + self._bounds.size]
            self.noise = np.exp(np.clip(log_std, *LOG_STD_RANGE)).tolist()

    def _noisy(self, outputs: np.ndarray, noise: np.ndarray) -> np.ndarray:
        noise *= np.asarray(self.noise, np.float32)
        noise += np.tanh(outputs)
        np.maximum(noise, -1.0, out=noise)
        np.minimum(noise, 1.0, out=noise)
        return noise
