"""A batch: the items of one level, or of one job of a team, which several threads claim one by one until all are done."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from reactornb.runtime.clock import Wake
from reactornb.runtime.context import ReactionContext
from reactornb.runtime.failures import after, finish, members

__all__ = ["Batch", "Item", "Member"]


class Member(Protocol):
    """What a batch uses of a `Worker`."""

    index: int
    scheduler: ReactionContext | None
    wake: Wake


class Item(Protocol):
    """What a batch calls: a reaction, a group, a call of a team, or one of these with its time taken."""

    @property
    def call(self) -> Callable[[], None]:
        """The call."""
        ...

    def culprit(self, error: BaseException) -> Any:
        """The reaction or call that raised the error."""
        ...


class Batch:
    """The ready items of one level, or the calls of a team: each worker takes its own first, then those that others have not begun.

    # _lists      the items of each worker: written by the leader before the batch is offered, then only read. Each list has an atomic
    #             counter (itertools.count: a compare-and-swap per call on free-threaded builds, protected by the GIL elsewhere), so
    #             each position is claimed once
    # _done       another such counter of finished items; exactly one worker draws the last number, and sets `over`
    # over        set once, by that worker, or from the beginning if there is no item; the leader reads it while it spins and after
    #             each wake-up
    # failures, skipped
    #             appended to by any worker (list.append is atomic), read by the leader once the batch is over, and by workers that
    #             have seen `failed`
    # failed      set by any worker after it has appended to `failures`, read by every worker before each item: a worker that sees it
    #             late begins one more item, which `failures.py` accounts for. A flag, because reading a list that another thread
    #             made moves a cache line to and fro
    #
    # Publication: a worker gets the batch from its list of offers; the store there is a release, and the load an acquire,
    # of everything the leader wrote before.
    # Each `_done()` is a sequentially consistent read-modify-write of one word, so the worker that draws the last number sees all that
    # the others' reactions wrote, and so does the leader that reads `over` after it. A worker that comes late finds every
    # counter past its end and does nothing; a batch is never reused. Nothing relies on the GIL.

    Args:
        items: for each worker, what it calls first.
        scheduler: whose reactions they are; None: calls of a team.
        leader: the worker that offers the batch and waits for it.
    """

    __slots__ = ("_done", "_lists", "_size", "failed", "failures", "leader", "over", "scheduler", "skipped")

    def __init__(self, items: Sequence[Sequence[Item]], scheduler: ReactionContext | None, leader: Member) -> None:
        self.scheduler = scheduler
        self.leader = leader
        self._lists = tuple([(part, itertools.count().__next__) for part in items])
        self._size = sum(map(len, items))
        self.over = self._size == 0
        self._done: Callable[[], int] = itertools.count(1).__next__
        self.failed = False
        self.failures: list[tuple[Any, BaseException]] = []
        self.skipped: list[Any] = []

    def is_over(self) -> bool:
        """Whether every reaction has returned."""
        return self.over

    def work(self, worker: Member) -> None:
        """Claim and call items until none is left; the worker that finishes the last one ends the batch."""
        worker.scheduler = self.scheduler
        lists, done, size, me = self._lists, self._done, self._size, worker.index
        for turn in range(len(lists)):
            items, claim = lists[(me + turn) % len(lists)]
            count = len(items)
            while (i := claim()) < count:
                if self.failed:
                    self._after_failure(items[i])
                else:
                    try:
                        items[i].call()
                    except BaseException as error:  # noqa: BLE001 - a reaction may raise anything; the leader decides
                        self._failed(items[i], error)
                if done() == size:
                    self.over = True
                    if worker is not self.leader:
                        self.leader.wake.set()
                    return

    def _failed(self, item: Item, error: BaseException) -> None:
        culprit = item.culprit(error)
        self.failures.append((culprit, error))
        self.failed = True
        if self.scheduler is not None:
            self.skipped += finish(after(_untimed(item), culprit), self.failures)

    def _after_failure(self, item: Item) -> None:
        """An item has failed: of a level, only reactions with lower numbers are begun; a team makes all calls."""
        if self.scheduler is not None:
            self.skipped += finish(members(_untimed(item)), self.failures)
            return
        try:
            item.call()
        except BaseException as error:  # noqa: BLE001 - see `work`
            self.failures.append((item.culprit(error), error))


def _untimed(item: Item) -> Any:
    """The reaction, group or call behind an item that takes its time."""
    return getattr(item, "timed", item)
