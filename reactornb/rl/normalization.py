"""Normalisation of observations and rewards: by the learner's statistics, one for all environments; and Gymnasium's wrappers, which have their own in each.

    normalizer = normalizer_of(config, spec)      # None: nothing is normalised
    Rollout(…, normalizer=normalizer)             # sends with each trajectory the moments of what it saw
    Learner(…, normalizer=normalizer)             # merges them in the order of the channels, and publishes statistics at the end of its weights
    normalizer.policy(make), normalizer.spec      # policies that read them there; what networks see

Trajectories hold observations and rewards as the environments gave them, and so does a replay buffer: the learner normalises what it learns from with the
statistics that its newest weights carry, which are those that the rollouts of its round played with. So the statistics are part of the policy, as its
weights are: whoever has the weights (an evaluator, a file, a checkpoint) has them, too, and no result depends on the number of workers.

Source: VecNormalize of Stable-Baselines3; rewards: Engstrom et al. 2020, arXiv:2005.12729, section 3.

Gymnasium's `NormalizeObservation` gathers statistics in every environment. A policy that was trained behind that wrapper knows normalised observations only:
saved without the statistics it would be worth nothing. `normalization_of` finds them; `refuse_running_statistics` refuses them where a program evaluates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from reactornb.rl.env_spec import EnvSpec, frames_in
from reactornb.rl.errors import ConfigError, PolicyNotSavableError
from reactornb.rl.statistics import CLIP, Moments, NormalForward, Statistics
from reactornb.rl.storage import Batch, Trajectory

__all__ = [
    "Drawn",
    "LearnerStatistics",
    "Measured",
    "NormalizedPolicy",
    "Normalizer",
    "normalization_of",
    "normalizer_of",
    "refuse_running_statistics",
]


@dataclass(slots=True)
class Measured(Trajectory):
    """A trajectory, with the moments of what was seen in it.

    Attributes:
        seen: of the observations that are normalised; None: there are none.
        returns: of the discounted returns so far, at each step; None: rewards are not normalised.
    """

    seen: Moments | None = None
    returns: Moments | None = None


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a replay buffer drew, with the moments of what had arrived.

    Attributes:
        batches: as they are without.
        seen, returns: of each trajectory, in the order of the channels; see `Measured`.
    """

    batches: list[Batch]
    seen: tuple[Moments | None, ...]
    returns: tuple[Moments | None, ...]


@dataclass(frozen=True, slots=True)
class Normalizer:
    """What is normalised, for all reactors that take part.

    Attributes:
        spec: of what networks see.
        moves: bool [*observation_shape]: which numbers are normalised; None: none.
        mean: float32 of that shape, what all are lessened by before anything was seen, and those that do not move for ever: their `scaling`.
        deviation: likewise, divided by.
        rewards: whether rewards are.
        gamma: of the discounted returns by whose deviation they are divided.
    """

    spec: EnvSpec
    moves: np.ndarray | None
    mean: np.ndarray
    deviation: np.ndarray
    rewards: bool
    gamma: float

    def policy(self, make: Callable[[EnvSpec], Any]) -> Callable[[EnvSpec], Any]:
        """Makes policies that read the statistics at the end of their weights."""
        return make if self.moves is None else NormalizedPolicy(make, self)

    def for_learner(self) -> LearnerStatistics:
        """What a learner does with it."""
        return LearnerStatistics(self)

    def statistics(self) -> Statistics:
        """Those of nothing."""
        return Statistics(self.spec.observation_shape, self.moves, self.mean, self.deviation, self.rewards)

    def measured(self, played: Trajectory, discounted: np.ndarray) -> Measured:
        """A trajectory with its moments.

        Args:
            played: by one rollout.
            discounted: float64 [N], the discounted returns at the end of the trajectory before; moved on.
        """
        seen = returns = None
        if self.moves is not None:
            steps, n = played.rewards.shape
            rows = played.observations[:steps].reshape(steps * n, *self.spec.observation_shape)
            seen = Moments.of(rows.reshape(steps * n, -1) if self.moves.all() else rows[:, self.moves])
        if self.rewards:
            found = np.empty(played.rewards.shape)
            ended = played.ended
            for t, rewards in enumerate(played.rewards):
                discounted *= self.gamma
                discounted += rewards
                found[t] = discounted
                discounted[ended[t]] = 0.0
            returns = Moments.of(found[played.valid])
        known: dict[str, Any] = {field.name: getattr(played, field.name) for field in fields(Trajectory)}
        return Measured(**known, seen=seen, returns=returns)


class NormalizedPolicy:
    """Makes a policy as another function does, with a `NormalForward` around its network."""

    def __init__(self, make: Callable[[EnvSpec], Any], normalizer: Normalizer) -> None:
        self.make, self.normalizer = make, normalizer

    def __call__(self, spec: EnvSpec) -> Any:  # noqa: ARG002 - the networks see another
        """Make one.

        Raises:
            TypeError: if its network does not lie where those of this package do.
        """
        made = self.make(self.normalizer.spec)
        if not hasattr(made, "_forward"):
            raise TypeError(
                f"normalize_observations is for policies that ask a network, in their attribute _forward; a {type(made).__name__} has none."
            )
        made._forward = NormalForward(made._forward, self.normalizer.spec.observation_shape, CLIP)
        return made


def normalizer_of(config: Any, spec: EnvSpec) -> Normalizer | None:
    """What a configuration says is normalised; None: nothing.

    Args:
        config: its `normalize_observations`, `normalize_rewards` and `gamma` count.
        spec: of the environment.

    Raises:
        ConfigError: if there is nothing in an observation that could be normalised.
    """
    observations, rewards = config.normalize_observations, config.normalize_rewards
    if not observations and not rewards:
        return None
    shape = spec.observation_shape
    mean, deviation = np.zeros(shape, np.float32), np.ones(shape, np.float32)
    if not observations:
        return Normalizer(spec, None, mean, deviation, rewards, float(config.gamma))
    moves = np.ones(shape, bool) if spec.numbers is None else spec.numbers
    frames = spec.observation_dtype == np.uint8 and frames_in(shape) is not None
    if frames or not moves.any():
        what = (
            "frames, whose pixels are divided by 255 already"
            if frames
            else "numbers that only name one of several, or bits"
        )
        raise ConfigError(
            f"normalize_observations=True: the observations of {spec.name} are {what}: there is nothing to normalise. Leave it out"
            f"{'; normalize_rewards=True works on its own' if not rewards else ', and keep normalize_rewards=True'}.",
            fields=("normalize_observations",),
        )
    if spec.scaling is not None:
        offset, span = spec.scaling
        mean[...], deviation[...] = (a if a.size == 1 else a.reshape(shape) for a in (offset, span))
    seen = replace(spec, observation_dtype=np.dtype(np.float32), scaling=None, encode=None)
    return Normalizer(seen, moves, mean, deviation, rewards, float(config.gamma))


class LearnerStatistics:
    """What a learner does with what rollouts measured.

    Args:
        normalizer: of the program.

    Attributes:
        statistics: all that was seen before the round that is learnt from; of returns those of this round, too.
    """

    def __init__(self, normalizer: Normalizer) -> None:
        self.statistics = normalizer.statistics()
        self._fresh: list[Moments | None] = []

    def take(self, received: Sequence[Any]) -> list[Any]:
        """What arrived, as an algorithm learns from it; its moments are kept until the round's end, since its rollouts did not know them.

        Args:
            received: trajectories, or what replay buffers drew, in the order of the channels.
        """
        seen: list[Moments | None] = []
        returns: list[Moments | None] = []
        for one in received:
            if isinstance(one, Drawn):
                seen += one.seen
                returns += one.returns
            elif isinstance(one, Measured):
                seen.append(one.seen)
                returns.append(one.returns)
        self._fresh += seen
        self.statistics.merge_returns(returns)
        return [prepared(self.statistics, one) for one in received]

    def end_round(self) -> None:
        """A round is over: what was seen in it becomes part of the statistics."""
        fresh, self._fresh = self._fresh, []
        if fresh:
            self.statistics.merge_observations(fresh)

    def beside(self, weights: np.ndarray) -> np.ndarray:
        """Weights as they are published, with the statistics at their end."""
        return self.statistics.beside(weights)


def prepared(statistics: Statistics, received: Any) -> Any:
    """What one channel brought, normalised; what is neither trajectory nor batches, as it is."""
    if isinstance(received, Drawn):
        received = received.batches
    if isinstance(received, list):
        return [_batch(statistics, batch) for batch in received]
    return _trajectory(statistics, received) if isinstance(received, Trajectory) else received


def _batch(statistics: Statistics, batch: Batch) -> Batch:
    return replace(
        batch,
        observations=statistics.observations(batch.observations),
        next_observations=statistics.observations(batch.next_observations),
        rewards=statistics.rewards(batch.rewards),
    )


def _trajectory(statistics: Statistics, played: Trajectory) -> Trajectory:
    finals = played.finals
    if finals:
        seen = statistics.observations(np.stack([one for _, _, one in finals]))
        finals = [(t, i, one) for (t, i, _), one in zip(finals, seen, strict=True)]
    return Trajectory(
        statistics.observations(played.observations),
        played.actions,
        statistics.rewards(played.rewards),
        played.terminated,
        played.truncated,
        played.valid,
        played.log_probs,
        finals,
    )


# -- Gymnasium's wrappers --------------------------------------------------------------------------------------------------

_FIX = {
    "NormalizeObservation": "normalize_observations=True",
    "NormalizeReward": "normalize_rewards=True",
}


def refuse_running_statistics(env: Any, name: str) -> None:
    """Refuse wrappers that normalise by statistics of their own, which go on changing: an evaluation's environments would have others.

    Args:
        env: an environment, or a vector environment.
        name: its, for the message.

    Raises:
        ConfigError: with the wrapper, and what to write instead.
    """
    inner = getattr(env, "unwrapped", env)
    if hasattr(type(inner), "need_fixed_statistics"):  # is in another process
        inner.need_fixed_statistics(name)
    for wrapper in _wrappers(env):
        kind = next(
            (c.__name__ for c in type(wrapper).__mro__ if c.__name__ in _FIX and c.__module__.startswith("gymnasium.")),
            None,
        )
        if kind is None or not getattr(wrapper, "update_running_mean", True):
            continue
        what = "observations" if kind == "NormalizeObservation" else "rewards"
        why = (
            "the policy would be evaluated, and used later on, with other statistics than it was trained with"
            if what == "observations"
            else "the returns that are logged, of training and of the evaluation, would be of normalised rewards, each by another measure"
        )
        raise ConfigError(
            f"{name} is in Gymnasium's {kind}, which has statistics of its own in every environment, so that {why}. Take the wrapper out and "
            f"train with {_FIX[kind]}, whose statistics are one for all environments, for the evaluation, and in the saved policy. (A wrapper whose "
            f"update_running_mean is False is taken: its statistics are fixed.)",
            fields=("env",),
        )


def _wrappers(env: Any) -> Iterable[Any]:
    """An environment's wrappers; of a vector environment also those of the first environment in it."""
    while True:
        inside = getattr(env, "env", None)
        if inside is None or not hasattr(inside, "step"):
            envs = getattr(env, "envs", None)
            if not isinstance(envs, (list, tuple)) or not envs:
                return
            inside = envs[0]
        yield env
        env = inside


NAME = "NormalizeObservation"


def normalization_of(envs: Sequence[Any], reactor: str) -> tuple[Any, dict[str, np.ndarray], float]:
    """What `NormalizeObservation` knows.

    Each environment's wrapper has statistics of its own; together they are those of all that was seen. While they are being updated,
    what is read may be of two steps, one after the other.

    Args:
        envs: environments, or vector environments, made alike.
        reactor: whose they are, for messages.

    Returns:
        The space within the wrapper, {"mean", "var"} and epsilon; None, {} and 0.0 where there is no such wrapper.

    Raises:
        PolicyNotSavableError: if what the wrapper gives is changed once more, by a wrapper around it.
    """
    wrappers = [_find(env, reactor) for env in envs]
    if any(w is None for w in wrappers):
        return None, {}, 0.0
    found = [w.obs_rms for w in wrappers]
    mean, var, count = np.asarray(found[0].mean), np.asarray(found[0].var), float(found[0].count)
    for other in found[1:]:
        # Chan, Golub, LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample variances", as the wrapper itself.
        total, delta = count + float(other.count), other.mean - mean
        squares = var * count + other.var * float(other.count) + delta**2 * (count * float(other.count) / total)
        mean, var, count = mean + delta * (float(other.count) / total), squares / total, total
    inside = wrappers[0].env
    space = getattr(inside, "single_observation_space", None) or inside.observation_space
    kept = {
        name: np.array(a, np.float32 if a.dtype == np.float32 else np.float64)
        for name, a in (("mean", mean), ("var", var))
    }
    return space, kept, float(wrappers[0].epsilon)


def _find(env: Any, reactor: str) -> Any:
    """The wrapper, or None."""
    changed = ""
    while hasattr(env, "env") and hasattr(env, "step"):
        if type(env).__name__ == NAME and hasattr(env, "obs_rms"):
            if changed:
                raise PolicyNotSavableError(
                    f"{reactor}: {changed} changes what {NAME} has normalised, which a file cannot describe. Put {NAME} around it.",
                    reactor=reactor,
                )
            return env
        inside = env.env
        if "ObservationWrapper" in {c.__name__ for c in type(env).__mro__} or _space(env) != _space(inside):
            changed = changed or type(env).__name__
        env = inside
    return None


def _space(env: Any) -> Any:
    return getattr(env, "observation_space", None)
