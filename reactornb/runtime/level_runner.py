"""Runs one level of one enclave: every ready reaction ran, or one `ReactionFailed` with the lowest number.

The leader of the enclave calls `LevelRunner.run` for each level on which more is to be done than to call one cheap group. Cheap levels
are run on the leader, costly ones shared out among all workers (`sharing.py` decides, `workers.py` does it).

# All that a LevelRunner holds is read and written by the leader of its enclave only; what the reactions of a shared level wrote
# reaches it through the batch, whose last `done` orders it before the leader's next step.
# level_began_ns   written by the leader before a level is handed out, read by the workers that run it
"""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from reactornb.errors import ReactionError
from reactornb.graph import Graph
from reactornb.runtime.failures import after, finish, lowest, members, not_counted
from reactornb.runtime.groups import Group
from reactornb.runtime.reactions import RunningReaction
from reactornb.runtime.schedule import Schedule
from reactornb.runtime.sharing import Policy, Trial, pieces, share_out
from reactornb.runtime.tag_buffers import TagBuffers
from reactornb.runtime.trace import Recorder, failure
from reactornb.runtime.workers import Batch, Share, Worker

__all__ = ["LevelRunner", "ReactionFailed"]


class ReactionFailed(Exception):  # noqa: N818 - internal; what a user sees is `error`
    """A reaction of a level raised; the leader's own, it never leaves the scheduler.

    Attributes:
        error: what ends the run.
        number: of the reaction that raised.
        counted: how many reactions of the level count as run, that one among them; see `failures.py`.
        spoilt: by index, reactors of which a reaction had begun that counts as not run.
    """

    def __init__(self, error: ReactionError, *, number: int, counted: int, spoilt: dict[int, RunningReaction]) -> None:
        super().__init__(error)
        self.error = error
        self.number = number
        self.counted = counted
        self.spoilt = spoilt


class LevelRunner:
    """Runs the levels of one enclave, one at a time.

    Args:
        context: the enclave's scheduler, as reactions see it.
        graph: what the run executes.
        enclave: which part of it.
        workers: the run's threads.
        recorder: trace, fingerprint and value checks.

    Attributes:
        policy: when and how levels are shared; a class attribute, which tests replace.
        profiled: take the time at which each level begins, even where one call runs it.
        level_began_ns: when the level that runs began.
    """

    __slots__ = (
        "_buffers", "_clear", "_context", "_enclave", "_graph", "_recorder", "_schedule", "_shares", "_trials", "_width", "_workers", "level_began_ns", "profiled",
    )  # fmt: skip

    policy = Policy()

    def __init__(self, context: Any, graph: Graph, enclave: int, workers: Sequence[Worker], recorder: Recorder) -> None:
        self._context = context
        self._graph = graph
        self._enclave = enclave
        self._workers = workers
        self._width = len(workers)
        self._recorder = recorder
        self._shares: dict[int, LevelShare] = {}  # by level
        self._trials: dict[int, Trial] = {}  # by level
        self._buffers: TagBuffers
        self._clear: Callable[[tuple[Any, ...]], None]
        self._schedule: Schedule
        self.profiled = False
        self.level_began_ns = 0

    def adopt(self, schedule: Schedule) -> None:
        """Make the schedule's part of the enclave one's own; before the first tag, on worker 0."""
        self._schedule = schedule
        self._buffers = schedule.buffers[self._enclave]
        self._clear = self._buffers.cleared.extend

    def run(self, me: Worker, level: int, groups: list[Group]) -> int:
        """Run the ready reactions of a level: every one of them.

        Args:
            me: the leader.
            level: its number.
            groups: that are ready; emptied.

        Returns:
            How many reactions ran.

        Raises:
            ReactionFailed: if one raised; of several, with the lowest number.
        """
        share = self._shares.get(level)
        if share is not None and share.ready and share.alone is groups[0] and len(groups) == 1:
            # As it was the last time.
            groups.clear()
            share.alone.queued = False
            self._shared(share.run(), share.items)
            self._clear(share.alone.clears)
            return share.alone.size
        return self._level(me, level, groups)

    def _level(self, me: Worker, level: int, groups: list[Group]) -> int:
        items: list[Any]
        serial = self._width == 1 or self._recorder.serial
        alone = check = None
        if not self._buffers.plain[level] or self._recorder.records_reactions:
            for group in groups:
                group.queued = False
            ready = {r.index: r for g in groups for r in g.reactions if not r.inactive}
            items = [ready[i] for i in sorted(ready)]
            count = len(items)
            cost = sum(Group.UNKNOWN if r.cost_ns < 0 else r.cost_ns for r in items)
            if self._recorder.records_reactions:
                check = self._recorder.level(self._context.current_tag(), items)
        elif len(groups) == 1:
            items = groups.copy()
            (alone,) = items
            alone.queued = False
            count, cost = alone.size, alone.cost_ns
        else:
            items = []
            for group in groups:
                if group.queued:  # else it was queued twice, by two workers at once
                    group.queued = False
                    items.append(group)
            if self._width > 1:
                items.sort(key=_index)  # in whatever order the workers of a shared level queued them
            count = sum(g.size for g in items)
            cost = sum(g.cost_ns for g in items)
        groups.clear()
        if not items:
            return 0
        self.level_began_ns = time.perf_counter_ns()
        share = self._shares.get(level)
        if share is not None and share.ready and share.items == items:
            self._shared(share.run(), items)
        elif serial or count == 1 or cost < self.policy.share_above_ns:
            self._inline(items, count, check)
        elif cost >= self.policy.surely_worth_ns * count or not self.policy.share_above_ns:
            self._share(me, level, items, count)
        else:
            trial = self._trials.get(level)
            if trial is None:
                trial = self._trials[level] = Trial()
            if trial.turn():
                share = self._share(me, level, items, count)
                trial.took(True, share.took_ns // count)
                if not trial.pays:
                    share.ready.clear()
            else:
                trial.took(False, self._inline(items, count, check) // count)
        for item in items:
            self._clear(item.clears)
        if alone is not None:
            cheap = serial or count == 1 or alone.cost_ns < self.policy.share_above_ns
            alone.direct = cheap and not self.profiled
        return count

    def _inline(self, items: Sequence[Any], count: int, check: Callable[[RunningReaction], None] | None) -> int:
        """Run a level on this worker, with a check after each reaction; returns how long that took, in ns."""
        began = time.perf_counter_ns()
        item: Any = None
        try:
            for item in items:
                item.call()
                if check is not None:
                    check(item)
        except BaseException as error:
            raise self.failed_in(items, item, error) from error
        took = time.perf_counter_ns() - began
        for item in items:
            item.cost_ns = took // count * item.size
        return took

    def _share(self, me: Worker, level: int, items: Sequence[Any], count: int) -> LevelShare:
        """Share one level out among the workers, and take times."""
        share = self._shares.get(level)
        if share is None or share.items != items or (share.stale and self.level_began_ns >= share.due_ns):
            known = share if share is not None and share.items == items else None
            share = self._shares[level] = self._shared_out(me, items, count, known is not None and known.is_uneven)
            if known is not None:
                share.lasts = min(2 * known.lasts, 4096)
                if not known.late:  # what was seen remains true, and is forgotten little by little
                    share.looks, share.odd = known.looks // 2, known.odd // 2
        self._shared(share.look(), items)
        share.used += 1
        noticed = share.in_pieces and share.odd >= 4 and share.is_uneven
        share.stale = share.stale or share.late or noticed or share.used == share.lasts
        for item in items:
            if isinstance(item, Group):  # what was timed are its reactions, or pieces
                item.cost_ns = share.cost_ns // count * item.size
        if share.cost_ns < self.policy.share_above_ns:  # cheaper than was thought: not to be shared the next time
            share.ready.clear()
        return share

    def _shared(self, batch: Batch, items: Sequence[Any]) -> None:
        """A shared level, of these items, is over."""
        if batch.failed:
            raise self._failed(items, batch.failures, batch.skipped)
        if self._buffers.requests:
            # In whatever order the workers asked; stable: each action's own requests keep their order.
            self._buffers.requests.sort(key=_request_order)

    def _shared_out(self, me: Worker, items: Sequence[Any], count: int, uneven: bool) -> LevelShare:
        """What each worker gets of a level: its reactions, or several together where they are cheap and take the same time each round."""
        began = time.perf_counter_ns()
        reactions = [r for item in items for r in (item.reactions if isinstance(item, Group) else (item,))]
        if any(r.worker < 0 for r in reactions):
            # What has not been shared out yet begins where another reaction of its reactor ran, `startup` perhaps: what a thread
            # made is cheapest to that thread.
            homes = {r.node.reactor: r.worker for r in self._schedule.reactions if r.worker >= 0}
            for r in reactions:
                if r.worker < 0:
                    r.worker = homes.get(r.node.reactor, -1)
        parts = share_out(reactions, self._width)
        cost = sum(item.cost_ns for item in items)
        in_pieces = isinstance(items[0], Group) and cost < self.policy.surely_worth_ns * count and not uneven
        if in_pieces:
            parts = tuple(tuple(self._pieces(part, cost // count)) for part in parts)
        share = LevelShare(parts, self._context, me, self._workers, items, in_pieces=in_pieces)
        ended = time.perf_counter_ns()
        share.due_ns = ended + 100 * (ended - began)
        return share

    def _pieces(self, part: Sequence[RunningReaction], each_ns: int) -> Iterator[Group]:
        for reactions in pieces(part, each_ns, self.policy.smallest_item_ns):
            piece = Group(reactions)
            piece.cost_ns = each_ns * piece.size
            yield piece

    def forget_shares(self) -> None:
        """What is called has changed: share out anew. On the leader's thread, between tags."""
        self._shares.clear()

    def failed_in(self, items: Sequence[Any], item: Any, error: BaseException) -> ReactionFailed:
        """One item of a level that this worker runs by itself has raised; those after it have not begun, and do as far as they count."""
        culprit = item.culprit(error)
        failures = [(culprit, error)]
        later = [r for other in items[items.index(item) + 1 :] for r in members(other)]
        return self._failed(items, failures, finish([*after(item, culprit), *later], failures))

    def _failed(
        self, items: Sequence[Any], failures: Sequence[tuple[RunningReaction, BaseException]], skipped: Sequence[Any]
    ) -> ReactionFailed:
        """A level of these items has failed: account for it as `failures.py` says. `skipped` are the reactions that were not begun."""
        r, error = lowest(failures)
        tag = self._context.current_tag()
        undone = not_counted(items, failures)
        self._recorder.failed(tag, undone)
        for reaction in undone:
            self._schedule.instances[reaction.node.reactor]._log.forget(tag)
        self._context.printed.forget(tag, self._enclave, undone)
        never = set(skipped)
        return ReactionFailed(
            failure(r, self._graph.reactors[r.node.reactor].cls, tag, error),
            number=r.index,
            counted=sum(len(members(item)) for item in items) - len(undone),
            spoilt={reaction.node.reactor: reaction for reaction in undone if reaction not in never},
        )


class LevelShare(Share):
    """How one level is shared out; the leader's own.

    Attributes:
        items: the level's groups or reactions.
        alone: the group that is all of the level, where there is nothing else to see to; else None.
        in_pieces: reactions are handed out several at a time. Whatever shares a piece with one that takes long has to wait for it.
        due_ns: not to be thought over before: thinking takes at most a hundredth of the time.
        lasts: after how many looks to think it over in any case; twice as many each time, since estimates settle.
        used: how many looks it has seen itself; `looks` and `odd` are handed on.
        stale: reactions take other times than they did, or some time has gone by.
    """

    __slots__ = ("alone", "due_ns", "in_pieces", "items", "lasts", "stale", "used")

    def __init__(
        self,
        parts: Sequence[Sequence[Any]],
        context: Any,
        leader: Worker,
        workers: Sequence[Worker],
        items: Sequence[Any],
        *,
        in_pieces: bool,
    ) -> None:
        super().__init__(parts, context, leader, workers)
        self.items = items
        is_alone = len(items) == 1 and isinstance(items[0], Group) and not context.level_runner.profiled
        self.alone: Group | None = items[0] if is_alone else None
        self.in_pieces = in_pieces
        self.stale = False
        self.due_ns = self.used = 0
        self.lasts = 16


def _request_order(request: tuple[Any, Any, Any]) -> int:
    # Mode changes come in the order in which each reactor asked for them; between reactors it does not matter.
    return -1 if request[0] is None else request[0].order


_index = operator.attrgetter("index")
