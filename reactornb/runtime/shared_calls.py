"""A plan carried out: the items of each worker, round after round, with prebuilt batches or with times taken."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Protocol

from reactornb.runtime.batch import Batch, Item
from reactornb.runtime.context import ReactionContext
from reactornb.runtime.sharing import History, estimate
from reactornb.runtime.workers import Worker

__all__ = ["SharedCalls", "TimedItem"]


class Measured(Item, Protocol):
    """A reaction, group or call whose cost is estimated."""

    cost_ns: int
    outlier: bool
    size: int


class TimedItem:
    """An item of a batch whose time is taken.

    # timed.cost_ns, timed.outlier   written by the worker that calls it, read by the leader once the batch is over

    Attributes:
        timed: what is called: a reaction, a group or a call.
    """

    __slots__ = ("_shared", "timed")

    def __init__(self, timed: Measured, shared: SharedCalls) -> None:
        self.timed = timed
        self._shared = shared

    def call(self) -> None:
        """Call the item, and note how long that took."""
        item, shared = self.timed, self._shared
        began = time.perf_counter_ns()
        item.call()
        took = time.perf_counter_ns() - began
        item.cost_ns, item.outlier, changed = estimate(item.cost_ns, took, item.outlier, shared.policy)
        if changed:
            shared.cost_changed = True
        if item.outlier:
            shared.saw_outlier = True

    def culprit(self, error: BaseException) -> Any:
        """The reaction or call that raised."""
        return self.timed.culprit(error)


class SharedCalls:
    """Items that several workers call together, round after round.

    # cost_changed, saw_outlier   set by the workers that call timed items; read and reset by the leader between rounds
    # everything else             read and written by the leader only

    The leader calls `run` while there are prebuilt batches, and `profile_round` when there are none.

    Args:
        parts: each worker's items.
        scheduler: whose reactions they are; None: calls of a team.
        leader: the worker that calls `run`.
        workers: all of them.
        history: where profile rounds are written down.

    Attributes:
        prebuilt_batches: one for each round that may pass without taking times. Built together: code that runs between two levels runs on one
            core while the others wait, and with cold caches, five times as long as in a loop.
    """

    __slots__ = (
        "_before", "_helpers", "_history", "_leader", "_scheduler", "_size", "_timed", "cost_changed", "parts", "policy", "prebuilt_batches", "saw_outlier",
    )  # fmt: skip

    def __init__(
        self,
        parts: Sequence[Sequence[Measured]],
        scheduler: ReactionContext | None,
        leader: Worker,
        workers: Sequence[Worker],
        history: History,
    ) -> None:
        self.parts = parts
        self.policy = history.policy
        self._history = history
        self._timed = tuple(tuple(TimedItem(item, self) for item in part) for part in parts)
        self._scheduler = scheduler
        self._leader = leader
        self._helpers = [w for w in workers if w is not leader][: sum(map(len, parts)) - 1]
        self._size = sum(item.size for part in parts for item in part)
        self.prebuilt_batches: list[Batch] = []
        self._before: Batch | None = None
        self.cost_changed = self.saw_outlier = False

    def run(self) -> Batch:
        """Call all items with the next prebuilt batch; returns it once it is over."""
        batch, leader = self.prebuilt_batches.pop(), self._leader
        for helper in self._helpers:
            helper.offer(batch)
        batch.work(leader)
        if not batch.over:
            leader.wait_for(batch)
        # Kept for a round: by then the helpers have let go of it, so its owner frees it, with all that it made for it. A thread that frees
        # what another owns interrupts it, to merge reference counts, and the two meet at a lock at which CPython 3.14 waits 17 µs.
        self._before = batch
        return batch

    def profile_round(self, unmeasured: int) -> Batch:
        """Call all items, take their times, and build batches for so many rounds, or none if a time was unexpected."""
        self.cost_changed = self.saw_outlier = False
        self.prebuilt_batches = [Batch(self._timed, self._scheduler, self._leader)]
        began = time.perf_counter_ns()
        batch = self.run()
        took = time.perf_counter_ns() - began
        history = self._history
        history.profile_round(took // self._size, saw_outlier=self.saw_outlier, cost_changed=self.cost_changed)
        rounds = 0 if history.measure_again else unmeasured
        self.prebuilt_batches = [Batch(self.parts, self._scheduler, self._leader) for _ in range(rounds)]
        return batch

    def spread_costs(self) -> None:
        """Give the reactions of each group that was handed out, and timed, their share of its cost; a new plan is made of them."""
        for part in self.parts:
            for item in part:
                for reaction in getattr(item, "reactions", ()):
                    reaction.cost_ns = item.cost_ns // item.size

    @property
    def cost_ns(self) -> int:
        """The estimated cost of all items together."""
        return sum(item.cost_ns for part in self.parts for item in part)
