"""How rollouts choose actions: policies in NumPy for small networks, and torch modules for the rest.

Every rollout has a policy of its own, loaded from the learner's flat weights: a module that several threads call is a place where they
count references to the same objects. For a network of a few thousand weights NumPy's calls cost a tenth of torch's
(`reactornb bench learning --inference` measures both).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from reactornb.rl.envs import EnvSpec

if TYPE_CHECKING:
    import torch

__all__ = [
    "CategoricalPolicy",
    "EpsilonGreedyPolicy",
    "GaussianPolicy",
    "LinearSchedule",
    "Mlp",
    "Policy",
    "RandomPolicy",
    "TorchForward",
    "own_draws",
]

Forward = Callable[[np.ndarray], np.ndarray]


@contextmanager
def own_draws(seed: int) -> Iterator[None]:
    """While a policy is made, torch's draws come from a generator of its own; see `networks.OwnGenerator`. Nothing without torch."""
    if "torch" not in sys.modules:
        yield
        return
    from reactornb.rl.networks import OwnGenerator

    with OwnGenerator(seed):
        yield


class Policy(Protocol):
    """Chooses actions for the environments of one rollout."""

    def load(self, weights: np.ndarray) -> None:
        """Take over weights, float32 [P], read-only: parameters in the order of the learner's network."""

    def act(self, observations: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        """Choose.

        Args:
            observations: [N, *observation_shape].
            rng: the rollout's own generator.

        Returns:
            Actions [N, *action_shape] and their log-probabilities float32 [N], or None where the policy has none.
        """

    def greedy(self, observations: np.ndarray) -> np.ndarray:
        """The best actions it knows, without chance; [N, *action_shape]."""


class LinearSchedule:
    """From `start` to `end` in `steps`, then `end`."""

    def __init__(self, start: float, end: float, steps: float) -> None:
        self.start, self.end, self.steps = start, end, steps

    def __call__(self, step: float) -> float:
        """The value at a step."""
        if step >= self.steps:
            return self.end
        return self.start + (self.end - self.start) * step / self.steps

    def __repr__(self) -> str:
        return f"LinearSchedule({self.start}, {self.end}, {self.steps})"


class Mlp:
    """A multi-layer perceptron in NumPy, reading the flat weights of its torch twin (`networks.mlp`).

    Args:
        sizes: inputs, hidden layers, outputs.
        activation: "relu" or "tanh", between layers.
        offset: where its weights begin.
        scaling: (offset, span) of its inputs, as in `EnvSpec`; None: as they are.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str,
        offset: int = 0,
        scaling: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        self.sizes = tuple(sizes)
        self._scaling = scaling
        self.offset = offset
        self._relu = activation == "relu"
        self._layers: list[tuple[np.ndarray, np.ndarray]] = []

    @property
    def size(self) -> int:
        """How many weights."""
        return sum(n * m + m for n, m in pairwise(self.sizes))

    def load(self, weights: np.ndarray) -> None:
        """Take over a copy: the array is everybody's."""
        own = weights[self.offset : self.offset + self.size].copy()
        at = 0
        self._layers = []
        for n, m in pairwise(self.sizes):
            matrix = np.ascontiguousarray(own[at : at + n * m].reshape(m, n).T)
            self._layers.append((matrix, own[at + n * m : at + n * m + m]))
            at += n * m + m

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """[N, *observation_shape] -> float32 [N, outputs]."""
        if x.ndim != 2:
            x = x.reshape(len(x), -1)
        if self._scaling is not None:
            x = (x - self._scaling[0]) / self._scaling[1]
        *hidden, (matrix, bias) = self._layers
        relu = self._relu
        for w, b in hidden:
            x = x @ w
            x += b
            if relu:
                np.maximum(x, 0.0, out=x)
            else:
                np.tanh(x, out=x)
        x = x @ matrix
        x += bias
        return x


class TorchForward:
    """A torch module of one's own as a function of arrays, its parameters one flat tensor.

    Args:
        make: makes the module.
        head: the method that is called, such as "logits".
    """

    def __init__(self, make: Callable[[], torch.nn.Module], head: str = "forward") -> None:
        from reactornb.rl.networks import Flat

        self._module = make()
        self._flat = Flat(self._module)
        self._head = getattr(self._module, head)

    def load(self, weights: np.ndarray) -> None:
        """Take over a copy."""
        self._flat.load(weights)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """[N, *observation_shape] -> float32 [N, outputs]."""
        import torch

        with torch.inference_mode():
            outputs: np.ndarray = self._head(torch.tensor(x)).numpy()
        return outputs


class CategoricalPolicy:
    """Actions drawn from a softmax over logits.

    Args:
        forward: observations to float32 [N, A]; also has `load`.
    """

    def __init__(self, forward: Any) -> None:
        self._forward = forward

    def load(self, weights: np.ndarray) -> None:
        """See `Policy`."""
        self._forward.load(weights)

    def act(self, observations: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        """See `Policy`."""
        logits = self._forward(observations)
        logits -= logits.max(axis=1, keepdims=True)
        mass = np.exp(logits).cumsum(axis=1)
        total = mass[:, -1]
        # The first action whose cumulated mass exceeds the draw; below 1, so that rounding never goes past the last.
        actions = (mass <= (rng.random(len(mass)) * total)[:, None]).sum(axis=1)
        np.minimum(actions, logits.shape[1] - 1, out=actions)
        return actions, logits[np.arange(len(actions)), actions] - np.log(total)

    def greedy(self, observations: np.ndarray) -> np.ndarray:
        """See `Policy`."""
        actions: np.ndarray = self._forward(observations).argmax(axis=1)
        return actions


class GaussianPolicy:
    """Actions drawn from a normal distribution with a mean that depends on the observation and a deviation that does not.

    Args:
        forward: observations to means, float32 [N, D]; also has `load`.
        at: where the D log-deviations lie in the flat weights.
        shape: the actions' shape, of D numbers.
    """

    def __init__(self, forward: Any, at: int, shape: tuple[int, ...]) -> None:
        self._forward = forward
        self._at = slice(at, at + int(np.prod(shape)))
        self._shape = shape
        self._deviation = np.zeros(0, np.float32)
        self._constant = 0.0

    def load(self, weights: np.ndarray) -> None:
        """See `Policy`."""
        self._forward.load(weights)
        log_std = weights[self._at]
        self._deviation = np.exp(log_std)
        self._constant = float(log_std.sum() + 0.5 * len(log_std) * np.log(2 * np.pi))

    def act(self, observations: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        """See `Policy`."""
        mean = self._forward(observations)
        noise = rng.standard_normal(mean.shape, np.float32)
        log_probs = -0.5 * (noise * noise).sum(axis=1) - np.float32(self._constant)
        return (mean + self._deviation * noise).reshape(-1, *self._shape), log_probs

    def greedy(self, observations: np.ndarray) -> np.ndarray:
        """See `Policy`."""
        means: np.ndarray = self._forward(observations).reshape(-1, *self._shape)
        return means


class EpsilonGreedyPolicy:
    """The action of the highest value, or with probability epsilon any.

    Args:
        forward: observations to values, float32 [N, A]; also has `load`.
        n_actions: A.
        epsilon: epsilon after that many steps of this rollout.

    Attributes:
        fixed: what it is instead, if it is not None.
    """

    def __init__(self, forward: Any, n_actions: int, epsilon: Callable[[float], float]) -> None:
        self._forward = forward
        self._n_actions = n_actions
        self._schedule = epsilon
        self._steps = 0
        self.fixed: float | None = None

    @property
    def epsilon(self) -> float:
        """What it is now."""
        return self._schedule(self._steps) if self.fixed is None else self.fixed

    def load(self, weights: np.ndarray) -> None:
        """See `Policy`."""
        self._forward.load(weights)

    def act(self, observations: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        """See `Policy`."""
        n = len(observations)
        explores = rng.random(n) < self.epsilon
        self._steps += n
        if not explores.any():
            return self.greedy(observations), None
        actions = rng.integers(self._n_actions, size=n)
        if not explores.all():
            actions = np.where(explores, actions, self.greedy(observations))
        return actions, None

    def greedy(self, observations: np.ndarray) -> np.ndarray:
        """See `Policy`."""
        actions: np.ndarray = self._forward(observations).argmax(axis=1)
        return actions


class RandomPolicy:
    """Any action with the same probability (in a Box: uniform between its bounds, normal where it has none); needs no weights."""

    def __init__(self, spec: EnvSpec) -> None:
        self._spec = spec

    def load(self, weights: np.ndarray) -> None:
        """Nothing to take over."""

    def act(self, observations: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        """See `Policy`."""
        spec, n = self._spec, len(observations)
        if spec.n_actions is not None:
            return rng.integers(spec.n_actions, size=n), None
        assert spec.action_low is not None
        assert spec.action_high is not None
        shape = (n, *spec.action_shape)
        bounded = np.isfinite(spec.action_low) & np.isfinite(spec.action_high)
        if bounded.all():
            return rng.uniform(spec.action_low, spec.action_high, shape).astype(np.float32), None
        # Without one of the bounds: a normal distribution around 0, cut at the other one.
        low, high = (np.where(bounded, bound, 0) for bound in (spec.action_low, spec.action_high))
        drawn = np.where(bounded, rng.uniform(low, high, shape), rng.standard_normal(shape))
        return np.clip(drawn, spec.action_low, spec.action_high).astype(np.float32), None

    def greedy(self, observations: np.ndarray) -> np.ndarray:
        """The first action; zeros in a Box."""
        return np.zeros((len(observations), *self._spec.action_shape), self._spec.action_dtype)
