"""How rollouts choose actions: policies in NumPy for small networks, and torch modules for the rest.

Every rollout has a policy of its own, loaded from the learner's flat weights: a module that several threads call is a place where they
count references to the same objects. For a network of a few thousand weights NumPy's calls cost a tenth of torch's
(`reactornb bench learning --inference` measures both).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from reactornb.rl.action_mask import ActionMask
from reactornb.rl.choices import MultiCategoricalPolicy, gumbel
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.perceptron import Mlp

if TYPE_CHECKING:
    import torch

__all__ = [
    "CategoricalPolicy",
    "EpsilonGreedyPolicy",
    "GaussianPolicy",
    "LinearSchedule",
    "Memory",
    "Mlp",
    "MultiCategoricalPolicy",
    "Policy",
    "RandomPolicy",
    "StepByStep",
    "TorchForward",
    "TrajectoryPolicy",
    "by_trajectory",
    "memory_of",
    "own_draws",
]

Forward = Callable[[np.ndarray], np.ndarray]


@contextmanager
def own_draws(seed: int) -> Iterator[None]:
    """While a policy is made, torch's draws come from a generator of its own; see `torch_draws.OwnGenerator`. Nothing without torch."""
    if "torch" not in sys.modules:
        yield
        return
    from reactornb.rl.torch_draws import OwnGenerator

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


class Memory(Protocol):
    """What a policy remembers of the episodes that it plays, one for each row of observations; its attribute `memory`."""

    def forget(self, rows: np.ndarray | None = None) -> None:
        """New episodes begin: in these rows, bool [N]; None: in all."""


def memory_of(policy: Any) -> Memory | None:
    """Its memory; None where an action depends on the observation alone."""
    found: Memory | None = getattr(policy, "memory", None)
    return found


class TrajectoryPolicy(Policy, Protocol):
    """A policy that a rollout asks once per trajectory for what does not depend on observations: cheaper than `act` for each step.

    The policies here are of this kind; `by_trajectory` makes one of any other.
    """

    def begin(self, n_steps: int, n: int, rng: np.random.Generator) -> None:
        """Begin a trajectory of `n_steps` steps of `n` environments: random numbers are drawn for all of it, as arrays [n_steps, n, …].

        A rollout's `rng` is an `EnvDraws`: such an array has in column i what environment i's own generator gives.
        """

    def choose(self, t: int, observations: np.ndarray, out: np.ndarray) -> None:
        """Choose the actions of step t; called for 0, 1, … in order.

        Args:
            t: the step.
            observations: [N, *observation_shape].
            out: [N, *action_shape], filled.
        """

    def log_probs(self, actions: np.ndarray) -> np.ndarray | None:
        """After the last step: the log-probabilities of all that was chosen.

        Args:
            actions: [T, N, *action_shape], as `choose` filled them.

        Returns:
            float32 [T, N], valid until the next `begin`; None where the policy has none.
        """


class StepByStep:
    """A policy that has only `act`, as a `TrajectoryPolicy`: `act` is called for each step."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._rng = np.random.default_rng(0)  # until the first `begin`
        self._log_probs: list[np.ndarray | None] = []

    def begin(self, n_steps: int, n: int, rng: np.random.Generator) -> None:  # noqa: ARG002 - `act` sees each observation
        """See `TrajectoryPolicy`."""
        self._rng = rng
        self._log_probs = []

    def choose(self, t: int, observations: np.ndarray, out: np.ndarray) -> None:  # noqa: ARG002 - one after the other
        """See `TrajectoryPolicy`."""
        out[...], log_probs = self._policy.act(observations, self._rng)
        self._log_probs.append(log_probs)

    def log_probs(self, actions: np.ndarray) -> np.ndarray | None:
        """See `TrajectoryPolicy`; a step without log-probabilities has zeros."""
        drawn, self._log_probs = self._log_probs, []
        if all(row is None for row in drawn):
            return None
        zeros = np.zeros(actions.shape[1], np.float32)
        return np.stack([zeros if row is None else row for row in drawn])


def by_trajectory(policy: Policy) -> Any:
    """The policy itself where it is a `TrajectoryPolicy`, else a `StepByStep` of it."""
    return policy if hasattr(policy, "begin") else StepByStep(policy)


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


class TorchForward:
    """A torch module of one's own as a function of arrays, its parameters one flat tensor.

    Args:
        make: makes the module.
        head: the method that is called, such as "logits".
    """

    transient = ("_head",)

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

    The action of the highest sum of logit and Gumbel noise has the softmax's probability, so that a step is one addition and one argmax
    beyond the network; probabilities are computed for a whole trajectory at its end.

    Args:
        forward: observations to float32 [N, A], an array that may be written into, perhaps a buffer; also has `load`.

    Source: Maddison, Tarlow and Minka 2014, arXiv:1411.0030, section 2 (the Gumbel-max trick).
    """

    transient = ("_logits", "_noise", "_rng", "_rows", "_steps")  # of one trajectory

    def __init__(self, forward: Any) -> None:
        self._forward = forward
        self._rng = np.random.default_rng(0)  # until the first `begin`
        self._steps: tuple[int, int] = (0, 0)
        self._logits = self._noise = np.zeros((0, 0, 0), np.float32)
        self._rows: list[tuple[np.ndarray, np.ndarray]] = []

    def load(self, weights: np.ndarray) -> None:
        """See `Policy`."""
        self._forward.load(weights)

    def act(self, observations: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        """See `Policy`."""
        actions = np.empty((1, len(observations)), np.int64)
        self.begin(1, len(observations), rng)
        self.choose(0, observations, actions[0])
        return actions[0], self.log_probs(actions)[0].copy()

    def begin(self, n_steps: int, n: int, rng: np.random.Generator) -> None:
        """See `TrajectoryPolicy`. The number of actions is known when the first logits are."""
        self._steps = n_steps, n
        self._rng = rng

    def choose(self, t: int, observations: np.ndarray, out: np.ndarray) -> None:
        """See `TrajectoryPolicy`."""
        logits = self._forward(observations)
        if t == 0:
            self._draw(logits.shape[1])
        kept, noise = self._rows[t]
        kept[...] = logits
        logits += noise
        logits.argmax(1, out)

    def _draw(self, n_actions: int) -> None:
        shape = (*self._steps, n_actions)
        if self._noise.shape != shape:
            self._logits, self._noise = np.empty(shape, np.float32), np.empty(shape, np.float32)
            self._rows = list(zip(self._logits, self._noise, strict=True))
        gumbel(shape, self._rng, self._noise)

    def log_probs(self, actions: np.ndarray) -> np.ndarray:
        """See `TrajectoryPolicy`."""
        logits = self._logits
        logits -= logits.max(axis=2, keepdims=True)
        chosen = np.take_along_axis(logits, actions[..., None], axis=2)[..., 0]
        chosen -= np.log(np.exp(logits, out=logits).sum(axis=2))
        log_probs: np.ndarray = chosen
        return log_probs

    def greedy(self, observations: np.ndarray) -> np.ndarray:
        """See `Policy`."""
        actions: np.ndarray = self._forward(observations).argmax(axis=1)
        return actions


class GaussianPolicy:
    """Actions drawn from a normal distribution with a mean that depends on the observation and a deviation that does not.

    Args:
        forward: observations to means, float32 [N, D], perhaps in a buffer; also has `load`.
        at: where the D log-deviations lie in the flat weights.
        shape: the actions' shape, of D numbers.
    """

    transient = ("_log_probs", "_noise")  # of one trajectory

    def __init__(self, forward: Any, at: int, shape: tuple[int, ...]) -> None:
        self._forward = forward
        self._at = slice(at, at + int(np.prod(shape)))
        self._shape = shape
        self._deviation = np.zeros(0, np.float32)
        self._constant = 0.0
        self._noise = self._log_probs = np.zeros((0, 0, 0), np.float32)

    def load(self, weights: np.ndarray) -> None:
        """See `Policy`."""
        self._forward.load(weights)
        log_std = weights[self._at]
        self._deviation = np.exp(log_std)
        self._constant = float(log_std.sum() + 0.5 * len(log_std) * np.log(2 * np.pi))

    def act(self, observations: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        """See `Policy`."""
        n = len(observations)
        actions = np.empty((n, *self._shape), np.float32)
        self.begin(1, n, rng)
        self.choose(0, observations, actions)
        return actions, self._log_probs[0]

    def begin(self, n_steps: int, n: int, rng: np.random.Generator) -> None:
        """See `TrajectoryPolicy`."""
        noise = rng.standard_normal((n_steps, n, len(self._deviation)), np.float32)
        # They depend on the noise alone.
        self._log_probs = -0.5 * (noise * noise).sum(axis=2) - np.float32(self._constant)
        noise *= self._deviation
        self._noise = noise

    def choose(self, t: int, observations: np.ndarray, out: np.ndarray) -> None:
        """See `TrajectoryPolicy`."""
        noise = self._noise[t]
        np.add(self._forward(observations), noise, out=out if out.ndim == 2 else out.reshape(noise.shape))

    def log_probs(self, actions: np.ndarray) -> np.ndarray:  # noqa: ARG002 - the noise says it
        """See `TrajectoryPolicy`."""
        return self._log_probs

    def greedy(self, observations: np.ndarray) -> np.ndarray:
        """See `Policy`."""
        means: np.ndarray = self._forward(observations).copy()  # the next call overwrites them
        return means.reshape(-1, *self._shape)


class EpsilonGreedyPolicy:
    """The action of the highest value, or with probability epsilon any.

    Args:
        forward: observations to values, float32 [N, A]; also has `load`.
        n_actions: A.
        epsilon: epsilon after that many steps of this rollout.
        mask: where observations say which actions are possible: among these it draws; None: all are.

    Attributes:
        fixed: what it is instead, if it is not None.
    """

    transient = ("_all", "_any", "_drawn", "_explores", "_mask")  # of one trajectory, or of the environment

    def __init__(
        self, forward: Any, n_actions: int, epsilon: Callable[[float], float], mask: ActionMask | None = None
    ) -> None:
        self._mask = mask
        self._forward = forward
        self._n_actions = n_actions
        self._schedule = epsilon
        self._steps = 0
        self._drawn = np.zeros((0, 0))
        self._explores = np.zeros((0, 0), bool)
        self._any: list[bool] = []
        self._all: list[bool] = []
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
        actions = np.empty(n, np.int64)
        self.begin(1, n, rng)
        self.choose(0, observations, actions)
        return actions, None

    def begin(self, n_steps: int, n: int, rng: np.random.Generator) -> None:
        """See `TrajectoryPolicy`. One number decides for both: below epsilon it explores, and its place below epsilon is the action."""
        drawn = rng.random((n_steps, n))
        epsilons = []
        for _ in range(n_steps):
            epsilons.append(self.epsilon)
            self._steps += n
        epsilon = np.array(epsilons)[:, None]
        self._explores = drawn < epsilon
        self._any, self._all = self._explores.any(axis=1).tolist(), self._explores.all(axis=1).tolist()
        if self._mask is not None:  # how many there will be to choose among, the observations say
            self._drawn = drawn / np.maximum(epsilon, np.finfo(np.float64).tiny)
            return
        drawn *= self._n_actions / np.maximum(epsilon, np.finfo(np.float64).tiny)
        self._drawn = np.minimum(drawn, self._n_actions - 1).astype(np.int64)

    def choose(self, t: int, observations: np.ndarray, out: np.ndarray) -> None:
        """See `TrajectoryPolicy`."""
        drawn = self._drawn[t]
        if self._mask is not None and self._any[t]:
            drawn = _possible(self._mask.of(observations), drawn)
        if self._all[t]:
            out[:] = drawn
            return
        self._forward(observations).argmax(1, out)
        if self._any[t]:
            np.copyto(out, drawn, where=self._explores[t], casting="unsafe")

    def log_probs(self, actions: np.ndarray) -> None:
        """See `TrajectoryPolicy`; it has none."""

    def greedy(self, observations: np.ndarray) -> np.ndarray:
        """See `Policy`."""
        actions: np.ndarray = self._forward(observations).argmax(axis=1)
        return actions


def _possible(allowed: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Of the possible actions of each row, [N, A], the one at this place in [0, 1), float64 [N]; int64 [N]."""
    allowed = allowed != 0
    counts = allowed.sum(axis=1)
    which = np.minimum((drawn * counts).astype(np.int64), counts - 1)
    chosen: np.ndarray = (allowed.cumsum(axis=1) > which[:, None]).argmax(axis=1)
    return chosen


class RandomPolicy:
    """Any action with the same probability (in a Box: uniform between its bounds, normal where it has none); needs no weights."""

    transient = ("_drawn", "_spec")

    def __init__(self, spec: EnvSpec) -> None:
        self._spec = spec
        self._drawn = np.zeros((0, 0), spec.action_dtype)

    def load(self, weights: np.ndarray) -> None:
        """Nothing to take over."""

    def act(self, observations: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        """See `Policy`."""
        return self._possible(observations, self._draw((len(observations),), rng)), None

    def begin(self, n_steps: int, n: int, rng: np.random.Generator) -> None:
        """See `TrajectoryPolicy`."""
        self._drawn = self._draw((n_steps, n), rng)

    def choose(self, t: int, observations: np.ndarray, out: np.ndarray) -> None:
        """See `TrajectoryPolicy`; of what it sees only masks count."""
        out[...] = self._possible(observations, self._drawn[t])

    def _possible(self, observations: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        """What was drawn; where there are masks, places in [0, 1) as possible actions."""
        mask = self._spec.mask
        if mask is None:
            return drawn
        allowed = mask.of(observations)
        if not self._spec.choices:
            return _possible(allowed, drawn)
        parts = np.split(allowed, np.cumsum(mask.choices)[:-1], axis=1)
        return np.stack([_possible(part, drawn[:, i]) for i, part in enumerate(parts)], axis=1)

    def log_probs(self, actions: np.ndarray) -> None:
        """See `TrajectoryPolicy`; it has none."""

    def _draw(self, rows: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        spec = self._spec
        if spec.mask is not None:
            return rng.random((*rows, *spec.action_shape))
        if spec.n_actions is not None:
            return rng.integers(spec.n_actions, size=rows)
        if spec.choices:
            return rng.integers(np.array(spec.choices), size=(*rows, len(spec.choices)))
        assert spec.action_low is not None
        assert spec.action_high is not None
        shape = (*rows, *spec.action_shape)
        bounded = np.isfinite(spec.action_low) & np.isfinite(spec.action_high)
        if bounded.all():
            return rng.uniform(spec.action_low, spec.action_high, shape).astype(np.float32)
        # Without one of the bounds: a normal distribution around 0, cut at the other one.
        low, high = (np.where(bounded, bound, 0) for bound in (spec.action_low, spec.action_high))
        drawn = np.where(bounded, rng.uniform(low, high, shape), rng.standard_normal(shape))
        return np.clip(drawn, spec.action_low, spec.action_high).astype(np.float32)

    def greedy(self, observations: np.ndarray) -> np.ndarray:
        """The first possible action; zeros in a Box."""
        if self._spec.mask is not None:
            return self._possible(observations, np.zeros((len(observations), *self._spec.action_shape)))
        return np.zeros((len(observations), *self._spec.action_shape), self._spec.action_dtype)
