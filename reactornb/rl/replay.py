"""`ReplayBuffer`: many writers, one ring of preallocated arrays, batches drawn uniformly or by priority."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from reactornb.model import Fixed, Input, Output, Reactor, reaction, startup
from reactornb.rl.config import at_least, check_parameters, flag, number, whole
from reactornb.rl.names import RENAMED
from reactornb.rl.normalization import Drawn, Measured
from reactornb.rl.policies import LinearSchedule
from reactornb.rl.storage import Batch, Ring, SumTree, Trajectory

__all__ = ["ReplayBuffer"]


class ReplayBuffer(Reactor):
    """Keeps the newest `buffer_size` steps and draws `gradient_steps` minibatches whenever trajectories arrive.

    Each channel of `trajectories` writes into streams of its own; what came is stored in the order of the channels, so the content
    does not depend on which rollout was ready first. Logs `steps`, the environment steps that arrived. A trajectory's bytes are copied once, into the ring. All minibatches of a round
    are drawn at once, from the priorities at its beginning. What is stored is as the environments gave it: a learner that normalises does so with what was drawn,
    and gets the moments of what arrived beside it.

    Parameters:
        writers: how many rollouts write.
        buffer_size: steps kept, over all writers.
        batch_size: transitions of a minibatch.
        gradient_steps: minibatches per round; none are drawn while fewer than `learning_starts` steps came, and an empty list goes out.
        learning_starts: see `gradient_steps`.
        gamma: discount per step.
        n_steps: steps of a return before it is bootstrapped.
        prioritised: draw in proportion to priority**alpha (the learner sends priorities back), instead of uniformly.
        alpha: how much priorities count.
        beta: exponent of the importance weights, from `beta` to 1 in `rounds` rounds.
        rounds: see `beta`.

    Source: Mnih et al. 2015; priorities: Schaul et al. 2016, arXiv:1511.05952, section 3.
    """

    trajectories = Input[Trajectory](width="writers")
    priorities = Input[tuple[Any, ...]](doc="(indices, absolute TD errors) of what was drawn, back from the learner")
    batches = Output[Any](doc="list[Batch], one per update, none while too little is stored; or these as `Drawn`")

    _renamed = RENAMED

    writers: int = 1
    buffer_size: Fixed[int] = 100_000
    batch_size: int = 64
    gradient_steps: int = 1
    learning_starts: int = 0
    gamma: float = 0.99
    n_steps: int = 1
    prioritised: Fixed[bool] = False
    alpha: float = 0.6
    beta: Fixed[float] = 0.4
    rounds: Fixed[int] = 1

    def check_parameter(self, name: str, value: Any) -> None:
        """Refuse a value that would end the run."""
        if name == "gamma" and not 0 <= value <= 1:
            raise ValueError("a discount is in [0, 1].")

    @reaction(startup)
    def on_startup(self) -> None:
        """Check the parameters. The ring is allocated when the first trajectory arrives, which has the shapes."""
        check_parameters(
            self.full_name,
            buffer_size=(self.buffer_size, whole(2)),
            batch_size=(self.batch_size, whole(1)),
            gradient_steps=(self.gradient_steps, whole(0)),
            learning_starts=(self.learning_starts, whole(0)),
            gamma=(self.gamma, number(0, 1)),
            n_steps=(self.n_steps, whole(1)),
            prioritised=(self.prioritised, flag),
            alpha=(self.alpha, at_least(0)),
            beta=(self.beta, number(0, 1)),
            rounds=(self.rounds, whole(1)),
        )
        self.ring: Ring | None = None
        self.tree: SumTree | None = None
        self.round = 0
        self.drawn_in: deque[int] = deque()  # rounds whose minibatches' priorities have not come back yet
        self.highest = 1.0  # priority of new steps: the highest so far
        self.exponent = LinearSchedule(self.beta, 1.0, self.rounds)

    @reaction(priorities)
    def on_priorities(self, priorities: Any) -> None:
        """Take over new priorities, before anything is overwritten in this round."""
        if self.tree is None or not self.drawn_in:
            return
        indices, errors = priorities.value
        # They may come some rounds after the draw; what lies there by now may be another step, which keeps the priority of a new one.
        kept = self.stored_in[indices] <= self.drawn_in.popleft()
        indices, errors = indices[kept], errors[kept]
        if not len(indices):
            return
        # A step that lies in several minibatches keeps the error that was seen last.
        new = (np.abs(errors) + 1e-6) ** self.alpha
        self.tree.set(indices, new)
        self.highest = max(self.highest, float(new.max()))

    @reaction(trajectories)
    def on_trajectories(self, trajectories: Any, batches: Any) -> None:
        """Store, then draw."""
        steps = 0
        self.round += 1
        if self.ring is None:
            self.ring = self.make(trajectories.values)
        for writer, trajectory in trajectories.present:
            steps += trajectory.steps
            indices = self.ring.write(writer, trajectory)
            if self.tree is not None:
                self.tree.set(indices, np.where(trajectory.valid.ravel(), self.highest, 0.0))
                self.stored_in[indices] = self.round
        count = self.gradient_steps if self.ring.written >= max(self.learning_starts, 2 * self.n_steps) else 0
        drawn = self.draw(self.ring, count) if count else []
        measured = [played for _, played in trajectories.present if isinstance(played, Measured)]
        if measured:
            moments = tuple(m.seen for m in measured), tuple(m.returns for m in measured)
            batches.set(Drawn(drawn, *moments))
        else:
            batches.set(drawn)
        self.log(steps=steps)

    def make(self, received: list[Trajectory]) -> Ring:
        """The ring for trajectories like these."""
        first, steps = received[0], max(map(len, received))
        n = first.rewards.shape[1]
        rows = max(self.buffer_size // (self.writers * n), steps + self.n_steps) + 1
        ring = Ring(first.observations[0, 0], first.actions[0, 0], rows, self.writers, n)
        if self.prioritised:
            self.tree = SumTree(rows * ring.streams)
            self.stored_in = np.zeros(rows * ring.streams, np.int64)  # the round in which each step was stored
        return ring

    def draw(self, ring: Ring, gradient_steps: int) -> list[Batch]:
        """`gradient_steps` minibatches."""
        shape = (gradient_steps, self.batch_size)
        count = gradient_steps * self.batch_size
        weights = np.ones(shape, np.float32)
        if self.tree is None:
            index = ring.uniform(self.rng, count, self.n_steps)
        else:
            # Shuffled: each minibatch gets its share of every part of the tree.
            index = self.rng.permutation(self.by_priority(ring, self.tree, count))
            chances = self.tree.get(index) / self.tree.total
            importance = ((chances * ring.stored) ** -self.exponent(self.round)).reshape(shape)
            weights = (importance / importance.max(axis=1, keepdims=True)).astype(np.float32)
            self.drawn_in.append(self.round)
        index = index.reshape(shape)
        drawn = {**ring.gather(index, self.gamma, self.n_steps), "weights": weights, "indices": index}
        return [Batch(**{name: array[u] for name, array in drawn.items()}) for u in range(gradient_steps)]

    def by_priority(self, ring: Ring, tree: SumTree, count: int) -> np.ndarray:
        """Draw by priority; of the newest n - 1 steps, whose returns are not complete, others are drawn instead."""
        index = tree.draw(self.rng, count)
        for _ in range(100):
            bad = np.flatnonzero(~ring.usable(index, self.n_steps))
            if not len(bad):
                break
            index[bad] = tree.draw(self.rng, len(bad))
        return index
