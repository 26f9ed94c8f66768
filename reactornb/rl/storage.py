"""Data of the algorithms: trajectories, batches, the ring of a replay buffer, and the sum-tree of its priorities.

A trajectory's arrays are made once, filled row by row as the environments return, handed over by reference and read-only; the ring
copies them once, in whole blocks. NumPy only; nothing here knows of reactors or torch.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reactornb.limits import MOST_STEPS
from reactornb.rl.env_spec import EnvSpec

__all__ = ["Batch", "Ring", "SumTree", "Trajectory", "aligned", "episode_sums", "own"]


def own(value: Any) -> Any:
    """A copy that no environment can change any more: arrays, dicts, lists and tuples, however nested; anything else as it is.

    Environments may write every observation and info into the same objects, so copy a value before the next call if you keep it.
    """
    if isinstance(value, np.ndarray):
        return value.copy()
    if type(value) in (dict, list, tuple):
        return {k: own(v) for k, v in value.items()} if type(value) is dict else type(value)(own(v) for v in value)
    if isinstance(value, (dict, list, tuple)):  # a subclass, whose constructor is not known
        return deepcopy(value)
    return value


@dataclass(slots=True)
class Trajectory:
    """T steps of N environments.

    An episode goes over trajectories' ends: the next one of the same rollout begins where this one ended. Step t of
    environment n leads from `observations[t, n]` to `observations[t + 1, n]`, unless `finals` has another observation for it.

    Attributes:
        observations: [T + 1, N, *observation_shape], float32 or uint8.
        actions: int64 [T, N] or [T, N, choices], or float32 [T, N, *action_shape].
        rewards: float32 [T, N].
        terminated: bool [T, N]; the episode ended there, nothing follows.
        truncated: bool [T, N]; the episode was cut there, and what would have followed has a value.
        valid: bool [T, N]; false where the environment did not take the action but only began its next episode
            (Gymnasium's next-step autoreset).
        log_probs: float32 [T, N], log-probability of the action under the policy that chose it; zeros where it has none.
        finals: (t, n, observation) where an episode ended and `observations[t + 1, n]` is the next one's first already
            (same-step autoreset, or none).
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    valid: np.ndarray
    log_probs: np.ndarray
    finals: list[tuple[int, int, np.ndarray]] = field(default_factory=list)

    @classmethod
    def empty(cls, spec: EnvSpec, n_steps: int, n: int) -> Trajectory:
        """Arrays to be filled; rewards 0, nothing ended, everything valid.

        Raises:
            ValueError: for more than `MOST_STEPS` steps.
        """
        if n_steps * n > MOST_STEPS:
            raise ValueError(
                f"n_steps of {n_steps:,} in {n:,} environments: a trajectory has at most {MOST_STEPS:,} steps. Weights that come more "
                f"often need a shorter one."
            )
        shape = (n_steps, n)
        return cls(
            np.empty((n_steps + 1, n, *spec.observation_shape), spec.observation_dtype),
            np.empty((*shape, *spec.action_shape), spec.action_dtype),
            np.zeros(shape, np.float32),
            np.zeros(shape, bool),
            np.zeros(shape, bool),
            np.ones(shape, bool),
            np.zeros(shape, np.float32),
        )

    def freeze(self) -> Trajectory:
        """Make the arrays read-only, as values on ports must be."""
        for name in ("observations", "actions", "rewards", "terminated", "truncated", "valid", "log_probs"):
            getattr(self, name).flags.writeable = False
        return self

    @property
    def steps(self) -> int:
        """How many steps the environments took."""
        return int(np.count_nonzero(self.valid))

    @property
    def ended(self) -> np.ndarray:
        """Where an episode ended, terminated or truncated; bool [T, N]."""
        ended: np.ndarray = self.terminated | self.truncated
        return ended

    def begun(self, t: int) -> np.ndarray:
        """Where the observation that step t led to, `observations[t + 1]`, is the first of an episode; bool [N]."""
        begun: np.ndarray = ~self.valid[t]
        for step, i, _ in reversed(self.finals):
            if step < t:  # they are in the order of the steps
                break
            begun[i] |= step == t
        return begun

    def __len__(self) -> int:
        return len(self.rewards)


def episode_sums(steps: np.ndarray, ended: np.ndarray, before: np.ndarray) -> tuple[list[Any], np.ndarray]:
    """Sums over episodes that go on from one trajectory to the next: of rewards, returns; of valid steps, lengths.

    Args:
        steps: [T, N], what each step adds.
        ended: bool [T, N].
        before: [N], float64 or int64, the sums so far of the episodes that have begun before.

    Returns:
        Those of the episodes that end here, in the order of their ends; and [N], of the episodes that go on.
    """
    totals = before + steps.cumsum(axis=0, dtype=before.dtype)
    t, i = np.nonzero(ended)
    if not len(t):
        return [], totals[-1]
    until = np.zeros_like(before)  # what belongs to episodes that have ended
    sums = []
    for column, total in zip(i.tolist(), totals[t, i].tolist(), strict=True):
        sums.append(total - until[column])
        until[column] = total
    return sums, totals[-1] - until


def aligned(received: list[Trajectory]) -> list[Trajectory]:
    """Trajectories of different lengths as trajectories of one, so that their arrays can be laid side by side.

    Shorter ones get rows in front that are not `valid`: sums that go back from the end, such as advantages and returns, never carry anything
    from such a row into one that was played. Trajectories of one length are returned as they are.

    Args:
        received: of a round.

    Returns:
        As many, in the same order, each of the greatest length.
    """
    most = max(map(len, received), default=0)
    return [played if len(played) == most else _longer(played, most) for played in received]


def _longer(played: Trajectory, n_steps: int) -> Trajectory:
    """`n_steps` rows, the last of which are `played`."""
    more = n_steps - len(played)

    def behind(array: np.ndarray) -> np.ndarray:
        return np.concatenate([np.zeros((more, *array.shape[1:]), array.dtype), array])

    return Trajectory(
        # The first observation again: a network is asked for its value, which must be finite.
        np.concatenate([np.repeat(played.observations[:1], more, axis=0), played.observations]),
        behind(played.actions),
        behind(played.rewards),
        behind(played.terminated),
        behind(played.truncated),
        behind(played.valid),
        behind(played.log_probs),
        [(t + more, i, seen) for t, i, seen in played.finals],
    )


@dataclass(frozen=True, slots=True)
class Batch:
    """B transitions, drawn for one update.

    Attributes:
        observations: [B, *observation_shape].
        actions: int64 [B] or [B, choices], or float32 [B, *action_shape].
        rewards: float32 [B]; discounted sums for n-step returns.
        next_observations: [B, *observation_shape].
        discounts: float32 [B]; what the next observation's value counts: gamma**n, or 0 where the episode terminated.
        weights: float32 [B], importance weights; ones for uniform draws.
        indices: int64 [B], where they lie in the buffer.
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    next_observations: np.ndarray
    discounts: np.ndarray
    weights: np.ndarray
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.rewards)


class Ring:
    """The newest steps of several streams (one for each environment), in arrays made once.

    Observations lie one after the other in their stream, so that the successor of row r is row r + 1 and is not stored twice. The
    row after the newest holds the observation that comes next; it is the one a new trajectory begins with.

    Args:
        observation: one, for its shape and dtype.
        action: likewise.
        rows: length of a stream, in steps.
        writers: how many trajectories are written side by side.
        n: environments per writer.
    """

    def __init__(self, observation: np.ndarray, action: np.ndarray, rows: int, writers: int, n: int) -> None:
        if rows < 2:
            raise ValueError(f"a stream of {rows} rows holds no transition: raise buffer_size.")
        streams = writers * n
        shape = (rows, streams)
        self.rows, self.streams, self.n = rows, streams, n
        self.observations = np.zeros((*shape, *observation.shape), observation.dtype)
        self.actions = np.zeros((*shape, *action.shape), action.dtype)
        self.rewards = np.zeros(shape, np.float32)
        self.terminated = np.zeros(shape, bool)
        self.ended = np.zeros(shape, bool)
        self.valid = np.zeros(shape, bool)
        self._apart = np.zeros(shape, bool)  # whose successor is in _finals
        self._finals: dict[tuple[int, int], np.ndarray] = {}
        self._heads = [0] * writers  # the row that is written next
        self._filled = [0] * writers  # rows written so far, at most `rows`
        self.written = 0

    def write(self, writer: int, trajectory: Trajectory) -> np.ndarray:
        """Copy a trajectory into its writer's streams.

        Returns:
            int64 [T * N], the indices of its steps, for priorities.

        Raises:
            ValueError: if it is longer than a stream, or has another number of environments.
        """
        steps, n = trajectory.rewards.shape
        if steps >= self.rows or n != self.n:
            raise ValueError(
                f"a trajectory of {steps} steps and {n} environments does not fit into streams of {self.rows} rows for {self.n}: "
                f"raise buffer_size, or lower n_steps."
            )
        head = self._heads[writer]
        columns = slice(writer * n, writer * n + n)
        for t, row, count in self._blocks(head, steps):
            here, there = slice(row, row + count), slice(t, t + count)
            self.observations[here, columns] = trajectory.observations[there]
            self.actions[here, columns] = trajectory.actions[there]
            self.rewards[here, columns] = trajectory.rewards[there]
            self.terminated[here, columns] = trajectory.terminated[there]
            np.logical_or(trajectory.terminated[there], trajectory.truncated[there], out=self.ended[here, columns])
            self.valid[here, columns] = trajectory.valid[there]
            if self._finals:
                self._forget(here, columns)
        for t, i, seen in trajectory.finals:
            place = ((head + t) % self.rows, writer * n + i)
            self._apart[place] = True
            self._finals[place] = seen
        self._heads[writer] = head = (head + steps) % self.rows
        self.observations[head, columns] = trajectory.observations[steps]
        self._filled[writer] = min(self._filled[writer] + steps, self.rows - 1)
        self.written += trajectory.steps
        rows = (head - steps + np.arange(steps)) % self.rows
        index: np.ndarray = rows[:, None] * self.streams + np.arange(columns.start, columns.stop)
        return index.ravel()

    def _blocks(self, head: int, steps: int) -> list[tuple[int, int, int]]:
        """(first step, first row, count) of the one or two blocks that a trajectory fills."""
        first = min(steps, self.rows - head)
        return [(0, head, first)] + ([(first, 0, steps - first)] if first < steps else [])

    def _forget(self, rows: slice, columns: slice) -> None:
        apart = self._apart[rows, columns]
        for r, c in np.argwhere(apart):
            del self._finals[rows.start + int(r), columns.start + int(c)]
        apart[:] = False

    @property
    def stored(self) -> int:
        """How many steps can be drawn, those that only reset counted in."""
        return sum(self._filled) * self.n

    def usable(self, index: np.ndarray, n_steps: int) -> np.ndarray:
        """bool, like `index`: whether an n-step transition begins there."""
        rows, streams = np.divmod(index, self.streams)
        writer = streams // self.n
        heads, filled = np.array(self._heads)[writer], np.array(self._filled)[writer]
        age = (heads - rows - 1) % self.rows  # 0: the newest
        complete: np.ndarray = self.valid[rows, streams] & (age < filled) & (age >= n_steps - 1)
        return complete

    def uniform(self, rng: np.random.Generator, count: int, n_steps: int) -> np.ndarray:
        """Draw indices, each usable step with the same probability.

        Returns:
            int64 [count].
        """
        filled = np.array(self._filled)
        until = np.cumsum(filled * self.n)

        def draw(size: int) -> np.ndarray:
            at = rng.integers(until[-1], size=size)
            writer = np.searchsorted(until, at, side="right")
            at -= until[writer] - filled[writer] * self.n
            age, i = np.divmod(at, self.n)
            rows = (np.array(self._heads)[writer] - 1 - age) % self.rows
            index: np.ndarray = rows * self.streams + writer * self.n + i
            return index

        drawn = draw(count)
        for _ in range(100):
            bad = np.flatnonzero(~self.usable(drawn, n_steps))
            if not len(bad):
                break
            drawn[bad] = draw(len(bad))
        return drawn

    def gather(self, index: np.ndarray, gamma: float, n_steps: int = 1) -> dict[str, np.ndarray]:
        """The transitions at `index`, of any shape: fields of a `Batch` but weights and indices.

        The n-step return ends early where the episode does.
        """
        rows, streams = np.divmod(index, self.streams)
        rewards = self.rewards[rows, streams]
        last = rows
        running = ~self.ended[rows, streams]
        discounts = np.full(index.shape, gamma, np.float32)
        for _ in range(n_steps - 1):
            following = np.where(running, (last + 1) % self.rows, last)
            rewards = rewards + np.where(running, discounts * self.rewards[following, streams], np.float32(0))
            discounts = np.where(running, discounts * np.float32(gamma), discounts)
            last = following
            running &= ~self.ended[last, streams]
        discounts[self.terminated[last, streams]] = 0.0
        following_seen = self.observations[(last + 1) % self.rows, streams]
        if self._finals:
            for place in np.argwhere(self._apart[last, streams]):
                at = tuple(place)
                following_seen[at] = self._finals[int(last[at]), int(streams[at])]
        return {
            "observations": self.observations[rows, streams],
            "actions": self.actions[rows, streams],
            "rewards": rewards,
            "next_observations": following_seen,
            "discounts": discounts,
        }


class SumTree:
    """Priorities of `capacity` places, drawn in proportion, in O(log capacity) array operations for any number at once.

    A complete binary tree in one array: node 1 is the root, node i has the children 2i and 2i + 1, a node is the sum of its
    children.

    Source: Schaul et al. 2016, arXiv:1511.05952, appendix B.2.1.
    """

    def __init__(self, capacity: int) -> None:
        self.leaves = 1 << max(1, (capacity - 1).bit_length())
        self._nodes = np.zeros(2 * self.leaves, np.float64)

    @property
    def total(self) -> float:
        """The sum of all priorities."""
        return float(self._nodes[1])

    def set(self, index: np.ndarray, priority: np.ndarray | float) -> None:
        """Set priorities, at least 0; of an index that comes twice, the last one counts."""
        nodes = np.asarray(index).ravel() + self.leaves
        self._nodes[nodes] = np.broadcast_to(priority, np.shape(index)).ravel()
        nodes = np.unique(nodes >> 1)
        while nodes[0] >= 1:
            self._nodes[nodes] = self._nodes[2 * nodes] + self._nodes[2 * nodes + 1]
            if nodes[0] == 1:
                break
            nodes = np.unique(nodes >> 1)

    def get(self, index: np.ndarray) -> np.ndarray:
        """float64, like `index`."""
        priorities: np.ndarray = self._nodes[np.asarray(index) + self.leaves]
        return priorities

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw indices, one from each of `count` equal shares of the total.

        Returns:
            int64 [count].
        """
        left = (np.arange(count) + rng.random(count)) * (self.total / count)
        node = np.ones(count, np.int64)
        while node[0] < self.leaves:
            node <<= 1
            weight = self._nodes[node]
            right = (left >= weight) & (self._nodes[node + 1] > 0)
            left -= np.where(right, weight, 0.0)
            node += right
        return node - self.leaves
