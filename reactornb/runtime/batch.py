"""A batch: the items of one level, or of one job of a team, claimed by several threads at once until all are done."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from reactornb.runtime.clock import Wake
from reactornb.runtime.failures import after, finish, members

__all__ = ["Batch", "Member"]


class Member(Protocol):
    """What a batch uses of a `Worker`."""

    index: int
    scheduler: Any
    wake: Wake


class Batch:
    """The ready reactions of one level, or a team's calls, for which there is no scheduler, shared out: each worker takes its own first, then what others have not begun.

    # _lists      the items of each worker, written by the leader before the batch is offered, then only read; and for each list an atomic
    #             counter (itertools.count: a compare-and-swap per call on free-threaded builds, the GIL elsewhere), so that each
    #             position is handed out once
    # _done       likewise; exactly one worker gets the last number, and sets `over`
    # over        set once, by that worker, unless there is nothing to do; the leader reads it while it spins and after each wake-up
    # failures, skipped
    #             appended to by any worker (list.append is atomic), read by the leader once the batch is over, and by workers that
    #             have seen `failed`
    # failed      set by any worker after it has appended to `failures`, read by every worker before each item: who sees it late begins
    #             one more, which `failures.py` accounts for. A flag, since to look at a list that another thread made costs both a
    #             cache line
    #
    # Publication: a worker gets the batch from its list of offers; storing there is a release, and loading from there an acquire,
    # of everything the leader wrote before.
    # Each `_done()` is a sequentially consistent read-modify-write of one word, so whoever draws the last number sees all that
    # the others' reactions wrote, and so does the leader that reads `over` after it. A worker that comes late finds every
    # counter past its end and touches nothing; a batch is never reused. Nothing relies on the GIL.
    """

    __slots__ = ("_done", "_lists", "_size", "failed", "failures", "leader", "over", "scheduler", "skipped")

    def __init__(self, items: Sequence[Sequence[Any]], scheduler: Any, leader: Member) -> None:
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
        """Run what is left to claim; whoever finishes the last item ends the batch."""
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

    def _failed(self, item: Any, error: BaseException) -> None:
        culprit = item.culprit(error)
        self.failures.append((culprit, error))
        self.failed = True
        if self.scheduler is not None:
            self.skipped += finish(after(_untimed(item), culprit), self.failures)

    def _after_failure(self, item: Any) -> None:
        """Something has failed: of a level, only what comes before that is begun; a team makes all calls."""
        if self.scheduler is not None:
            self.skipped += finish(members(_untimed(item)), self.failures)
            return
        try:
            item.call()
        except BaseException as error:  # noqa: BLE001 - see `work`
            self.failures.append((item.culprit(error), error))


def _untimed(item: Any) -> Any:
    """The reaction, group or call behind an item that takes its time."""
    return getattr(item, "timed", item)
