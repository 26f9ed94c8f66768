"""`OfflineDataset`: recorded episodes as arrays, which offline algorithms learn from.

Observations and actions lie as algorithms have them (see `EnvSpec`), one episode after the other, so that a transition is an index, and a minibatch four
lookups. Nothing changes them: any number of reactors and runs share one dataset. A checkpoint holds its digest instead of the numbers.

NumPy and Gymnasium's spaces; nothing here knows of reactors, torch or files. `minari_files` reads and writes them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from types import SimpleNamespace
from typing import Any

import numpy as np

from reactornb.durable.objects import CannotRestoreError
from reactornb.errors import ReactorError
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.errors import ObservationError, SpaceError
from reactornb.rl.policy_spaces import Space, space_from_gymnasium
from reactornb.rl.spaces import spec_from
from reactornb.rl.statistics import Moments

__all__ = ["DatasetChangedError", "DatasetError", "OfflineDataset"]


_ARRAYS = ("observations", "actions", "rewards", "terminated", "truncated")


class DatasetError(ReactorError, ValueError):
    """Recorded episodes cannot be used.

    Attributes:
        source: where they come from, in words.
        reason: what is wrong with them.
    """

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"{source or 'the dataset'}: {reason}.")
        self.source = source
        self.reason = reason


class DatasetChangedError(CannotRestoreError):
    """A run cannot go on, since the dataset is not the one that it has learnt from so far.

    Attributes:
        source: where the dataset comes from, in words.
    """

    def __init__(self, source: str, before: str, digest: str, now: str) -> None:
        super().__init__(
            f"the dataset {now} (digest {digest[:12]}) is not the one that this run was learning from, {source} (digest {before[:12]}): a run goes on with the same "
            f"episodes, in the same order. Give the program that dataset, or start a new run."
        )
        self.source = source


@dataclass(frozen=True, eq=False)
class OfflineDataset:
    """Episodes of one environment; S steps in E episodes. Its arrays are read-only.

    Attributes:
        observation_space: Gymnasium's.
        action_space: likewise.
        observations: [S + E, *observation_shape], float32 or uint8, encoded as `EnvSpec` says: of each episode one more than steps.
        actions: int64 [S] or [S, choices] from 0 on, or float32 [S, *action_shape].
        rewards: float32 [S].
        terminated: bool [S]; the episode ended there, nothing follows.
        truncated: bool [S]; the episode was cut there.
        starts: int64 [E + 1]; steps starts[e] to starts[e + 1] are episode e.
        env: what they were played in: a Gymnasium id, a function that makes it, or None where nobody said.
        source: where they come from, in words.
    """

    observation_space: Any
    action_space: Any
    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    starts: np.ndarray
    env: Any = None
    source: str = ""

    @classmethod
    def from_episodes(
        cls, observation_space: Any, action_space: Any, episodes: Iterable[Mapping[str, Any]], *, env: Any = None, source: str = ""
    ) -> OfflineDataset:  # fmt: skip
        """Put episodes together.

        Args:
            observation_space: Gymnasium's.
            action_space: likewise.
            episodes: of each, by Minari's names: "observations" (one more than steps), "actions", "rewards", "terminations", "truncations"; of a Dict or
                Tuple space a dict or tuple of arrays.
            env: see the class.
            source: likewise.

        Raises:
            SpaceError: for spaces that no algorithm here works with.
            DatasetError: if there is no step, or an episode does not fit its spaces.
        """
        spec = _spec_of(observation_space, action_space, source)
        seen, acted = (_described(space, source) for space in (observation_space, action_space))
        parts: list[list[np.ndarray]] = [[], [], [], [], []]
        for number, episode in enumerate(episodes):
            try:
                found = _encoded(episode, spec, seen, acted)
            except (ObservationError, ValueError, KeyError, TypeError) as error:
                said = f"it has no {error}" if isinstance(error, KeyError) else str(error).rstrip(".")
                raise DatasetError(source, f"episode {number}: {said}") from error
            if found is not None:
                for part, array in zip(parts, found, strict=True):
                    part.append(array)
        if not parts[0]:
            raise DatasetError(source, "there is no step in it")
        lengths = [len(rewards) for rewards in parts[2]]
        arrays = [np.concatenate(part) for part in parts]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        for array in (*arrays, starts):
            array.flags.writeable = False
        return cls(
            observation_space,
            action_space,
            **dict(zip(_ARRAYS, arrays, strict=True)),
            starts=starts,
            env=env,
            source=source,
        )

    @classmethod
    def joined(cls, datasets: Sequence[OfflineDataset]) -> OfflineDataset:
        """All their episodes, in order.

        Raises:
            DatasetError: if their spaces differ.
        """
        first, *others = datasets
        if not others:
            return first
        for other in others:
            if (other.observation_space, other.action_space) != (first.observation_space, first.action_space):
                raise DatasetError(
                    f"{first.source} and {other.source}",
                    f"their spaces differ: {first.observation_space} and {first.action_space}, {other.observation_space} and {other.action_space}",
                )
        arrays = {name: np.concatenate([getattr(one, name) for one in datasets]) for name in _ARRAYS}
        starts = np.concatenate([[0], np.cumsum(np.concatenate([one.lengths for one in datasets]))]).astype(np.int64)
        for array in (*arrays.values(), starts):
            array.flags.writeable = False
        source = ", ".join(one.source for one in datasets)
        return cls(first.observation_space, first.action_space, **arrays, starts=starts, env=first.env, source=source)

    # -- what it is ---------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Steps."""
        return len(self.rewards)

    @property
    def episodes(self) -> int:
        """How many."""
        return len(self.starts) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Steps of each episode, int64 [E]."""
        return np.diff(self.starts)

    @cached_property
    def returns(self) -> np.ndarray:
        """Of each episode, float64 [E]."""
        return np.add.reduceat(self.rewards.astype(np.float64), self.starts[:-1])

    @cached_property
    def spec(self) -> EnvSpec:
        """What algorithms know of the environment."""
        return _spec_of(self.observation_space, self.action_space, self.source)

    @cached_property
    def digest(self) -> str:
        """A hash of all numbers and spaces; the same for the same episodes, whatever format they were read from."""
        taken = blake2b(f"{self.observation_space} {self.action_space}".encode(), digest_size=16)
        for array in (*(getattr(self, name) for name in _ARRAYS), self.starts):
            taken.update(f"{array.dtype} {array.shape}".encode())
            taken.update(np.ascontiguousarray(array).data)
        return taken.hexdigest()

    def __repr__(self) -> str:
        name = f" {self.source}" if self.source else ""
        spread = f"{self.returns.min():.6g} to {self.returns.max():.6g}, mean {self.returns.mean():.6g}"
        return f"<dataset{name}: {len(self):,} steps in {self.episodes:,} episodes, returns {spread}>"

    # -- what is learnt from ------------------------------------------------------------------------------------------

    @cached_property
    def _rows(self) -> np.ndarray:
        """int64 [S]: where the observation of each step lies."""
        return np.arange(len(self)) + np.repeat(np.arange(self.episodes), self.lengths)

    def gather(self, index: np.ndarray, gamma: float) -> dict[str, np.ndarray]:
        """Transitions, as fields of a `Batch`: all but weights and indices.

        Args:
            index: int64, of any shape: steps.
            gamma: the discount of what follows, where something does.
        """
        rows = self._rows[index]
        return {
            "observations": self.observations[rows],
            "actions": self.actions[index],
            "rewards": self.rewards[index],
            "next_observations": self.observations[rows + 1],
            "discounts": np.where(self.terminated[index], np.float32(0.0), np.float32(gamma)),
        }

    def moments(self, moves: np.ndarray) -> Moments:
        """Of some numbers of the observations that were acted on.

        Args:
            moves: bool [*observation_shape]: which.
        """
        found = Moments(0, np.zeros(np.count_nonzero(moves)), np.zeros(np.count_nonzero(moves)))
        for begin in range(0, len(self), 65_536):  # in pieces: float64 of all of them would be another dataset
            rows = self.observations[self._rows[begin : begin + 65_536]]
            found = found.with_(Moments.of(rows[:, moves]))
        return found

    def returns_deviation(self, gamma: float) -> float:
        """The deviation of discounted returns up to each step, by which rewards are divided; 1 if they are all the same."""
        lengths, found, so_far = self.lengths, np.zeros(len(self)), np.zeros(self.episodes)
        for t in range(int(lengths.max())):
            alive = np.flatnonzero(lengths > t)
            at = self.starts[alive] + t
            so_far[alive] = found[at] = so_far[alive] * gamma + self.rewards[at]
        return float(found.std()) or 1.0

    # -- in checkpoints, and in programs ------------------------------------------------------------------------------

    def save_state(self) -> dict[str, str]:
        """What a checkpoint has of it: which one it is."""
        return {"digest": self.digest, "source": self.source}

    def load_state(self, saved: dict[str, str]) -> None:
        """A run goes on with this one.

        Raises:
            DatasetChangedError: if it is another one than that which the run began with.
        """
        if saved["digest"] != self.digest:
            raise DatasetChangedError(
                saved["source"] or "an unnamed one", saved["digest"], self.digest, self.source or "given"
            )

    def __copy__(self) -> OfflineDataset:
        return self

    def __deepcopy__(self, memo: Any) -> OfflineDataset:
        return self


def _spec_of(observation_space: Any, action_space: Any, source: str) -> EnvSpec:
    spaces = SimpleNamespace(observation_space=observation_space, action_space=action_space)
    return spec_from(spaces, f"the dataset {source}".rstrip())


def _described(space: Any, source: str) -> Space:
    """The space as data, which takes values of many steps at once."""
    try:
        return space_from_gymnasium(space)
    except ValueError as error:
        raise SpaceError(
            f"the dataset {source}: {error}: none that recorded episodes can be read from.", space=space
        ) from error


def _encoded(episode: Mapping[str, Any], spec: EnvSpec, seen: Space, acted: Space) -> list[np.ndarray] | None:
    """Observations, actions, rewards, terminations and truncations as `OfflineDataset` has them; None for an episode without a step.

    Raises:
        ValueError: with what is wrong.
    """
    rewards = np.asarray(episode["rewards"], np.float32).reshape(-1)
    steps = len(rewards)
    if not steps:
        return None
    observations, several = seen.encode(episode["observations"])
    if not several or len(observations) != steps + 1:
        raise ValueError(
            f"it has {len(observations) if several else 1} observations for {steps} steps; there must be one more than steps"
        )
    observations = observations.astype(spec.observation_dtype, copy=False)
    actions = _stored(acted, episode["actions"], steps)
    terminated, truncated = (np.asarray(episode[name], bool).reshape(-1) for name in ("terminations", "truncations"))
    if not len(terminated) == len(truncated) == len(actions) == steps:
        raise ValueError(
            f"it has {steps} rewards, {len(actions)} actions, {len(terminated)} terminations and {len(truncated)} truncations"
        )
    if (terminated | truncated)[:-1].any():
        raise ValueError(
            f"it goes on after its end at step {int(np.argmax(terminated | truncated))}; make several episodes of it"
        )
    for name, array in (("observations", observations), ("actions", actions), ("rewards", rewards)):
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"a number in its {name} is NaN or infinite")
    return [observations, actions, rewards, terminated, truncated]


def _stored(space: Space, actions: Any, steps: int) -> np.ndarray:
    """Actions of an episode, as the environment took them, as algorithms have them: what `Space.decode` undoes."""
    if space.kind == "Box":
        return np.asarray(actions, np.float32).reshape(-1, *space.shape)
    columns = np.concatenate(_columns(space, actions, steps), axis=1)
    if not ((columns >= 0) & (columns < np.array(space.choices))).all():
        raise ValueError(f"an action of it is not in {space}")
    return columns[:, 0] if space.kind == "Discrete" else columns


def _columns(space: Space, values: Any, steps: int) -> list[np.ndarray]:
    """int64 [steps, k], from 0 on, of each space in it."""
    if space.kind in ("Tuple", "Dict"):
        inside = zip(
            space.parts, (values[name] for name in space.names) if space.kind == "Dict" else values, strict=True
        )
        return [column for part, own in inside for column in _columns(part, own, steps)]
    columns = np.asarray(values)
    if columns.dtype.kind not in "biu" or columns.size != steps * math.prod(space.shape):
        raise ValueError(f"its actions are {columns.dtype} {list(columns.shape)}, and not {steps} times {space}")
    return [columns.astype(np.int64).reshape(steps, -1) - np.array(space.low or (0,), np.int64)]
