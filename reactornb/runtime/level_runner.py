"""Runs one level of one enclave: every ready reaction ran, or one `ReactionFailed` with the lowest number.

The leader of the enclave calls `LevelRunner.run` for each level on which more is to be done than to call one cheap group. Cheap levels
are run on the leader, costly ones shared among all workers: `sharing.py` decides, `shared_calls.py` and `batch.py` carry it out.

# All that a LevelRunner holds is read and written by the leader of its enclave only; what the reactions of a shared level wrote
# reaches it through the batch, whose last `done` orders it before the leader's next step.
# level_began_ns   written by the leader before a level is handed out, read by the workers that run it
"""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Sequence
from typing import Any

from reactornb.errors import ReactionError
from reactornb.graph import Graph
from reactornb.runtime.batch import Batch
from reactornb.runtime.context import ReactionContext
from reactornb.runtime.failures import after, finish, lowest, members, not_counted
from reactornb.runtime.groups import Group
from reactornb.runtime.reactions import RunningReaction
from reactornb.runtime.schedule import Schedule
from reactornb.runtime.shared_calls import SharedCalls
from reactornb.runtime.sharing import UNKNOWN, History, Policy, decide
from reactornb.runtime.tag_buffers import TagBuffers
from reactornb.runtime.trace import Recorder, failure
from reactornb.runtime.workers import Worker

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
        "_buffers", "_clear", "_context", "_enclave", "_graph", "_recorder", "_schedule", "_shared_levels", "_width", "_workers", "level_began_ns", "profiled",
    )  # fmt: skip

    policy = Policy()

    def __init__(
        self, context: ReactionContext, graph: Graph, enclave: int, workers: Sequence[Worker], recorder: Recorder
    ) -> None:
        self._context = context
        self._graph = graph
        self._enclave = enclave
        self._workers = workers
        self._width = len(workers)
        self._recorder = recorder
        self._shared_levels: dict[int, SharedLevel] = {}  # by level
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
        shared = self._shared_levels.get(level)
        if shared is not None and shared.calls is not None and shared.calls.prebuilt_batches:
            group = shared.sole_group
            if group is not None and group is groups[0] and len(groups) == 1:  # the set of ready reactions is unchanged
                groups.clear()
                group.queued = False
                self.level_began_ns = time.perf_counter_ns()
                self._finish_shared(shared.calls.run(), shared.items)
                self._clear(group.clears)
                return group.size
        return self._run_level(me, level, groups)

    def _run_level(self, me: Worker, level: int, groups: list[Group]) -> int:
        items: list[Any]
        serial = self._width == 1 or self._recorder.serial
        sole_group = check = None
        if not self._buffers.plain[level] or self._recorder.records_reactions:
            for group in groups:
                group.queued = False
            ready = {r.index: r for g in groups for r in g.reactions if not r.inactive}
            items = [ready[i] for i in sorted(ready)]
            count = len(items)
            cost = sum(UNKNOWN if r.cost_ns < 0 else r.cost_ns for r in items)
            if self._recorder.records_reactions:
                check = self._recorder.level(self._context.current_tag(), items)
        elif len(groups) == 1:
            items = groups.copy()
            (sole_group,) = items
            sole_group.queued = False
            count, cost = sole_group.size, sole_group.cost_ns
        else:
            items = []
            for group in groups:
                if group.queued:  # else two workers queued it at once, and it is in the list twice
                    group.queued = False
                    items.append(group)
            if self._width > 1:
                items.sort(key=_index)  # the workers of a shared level queue groups in any order
            count = sum(g.size for g in items)
            cost = sum(g.cost_ns for g in items)
        groups.clear()
        if not items:
            return 0
        self.level_began_ns = time.perf_counter_ns()
        shared = self._shared_levels.get(level)
        if shared is not None and shared.calls is not None and shared.calls.prebuilt_batches and shared.items == items:
            self._finish_shared(shared.calls.run(), items)
        elif serial or count == 1 or cost < self.policy.share_above_ns:
            self._run_alone(items, count, check)
        else:
            self._run_as_decided(me, level, items, count, check)
        for item in items:
            self._clear(item.clears)
        if sole_group is not None:
            cheap = serial or count == 1 or sole_group.cost_ns < self.policy.share_above_ns
            sole_group.direct = cheap and not self.profiled
        return count

    def _run_alone(self, items: Sequence[Any], count: int, check: Callable[[RunningReaction], None] | None) -> int:
        """Run a level on this thread, with a check after each reaction; returns how long that took, in ns."""
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

    def _run_as_decided(
        self,
        me: Worker,
        level: int,
        items: list[Any],
        count: int,
        check: Callable[[RunningReaction], None] | None,
    ) -> None:
        """A measured round of a level that may be worth sharing: ask `decide`, do that, and write down what was measured."""
        shared = self._shared_levels.get(level)
        if shared is None:
            shared = self._shared_levels[level] = SharedLevel(History(self.policy))
        if shared.items != items:
            shared.forget_plan()
            shared.items = items
            shared.sole_group = (
                items[0] if len(items) == 1 and isinstance(items[0], Group) and not self.profiled else None
            )
        history = shared.history
        history.now_ns = self.level_began_ns
        if shared.calls is not None and history.is_stale:
            shared.calls.spread_costs()
        plan = decide(items, history, self._width)
        if plan.parts is None:
            history.ran(shared=False, each_ns=self._run_alone(items, count, check) // count)
            return
        if history.plan is None or plan.parts is not history.plan.parts:
            each_ns = sum(item.cost_ns for item in items) // count
            parts = tuple(tuple(_item(piece, each_ns) for piece in part) for part in plan.parts)
            shared.calls = SharedCalls(parts, self._context, me, self._workers, history)
            history.planned(plan, time.perf_counter_ns() - self.level_began_ns)
        calls = shared.calls
        assert calls is not None
        self._finish_shared(calls.profile_round(plan.unmeasured), items)
        for item in items:
            if isinstance(item, Group):  # times were taken of its reactions, or of pieces of it
                item.cost_ns = calls.cost_ns // count * item.size

    def _finish_shared(self, batch: Batch, items: Sequence[Any]) -> None:
        """A shared level, of these items, is over."""
        if batch.failed:
            raise self._failed(items, batch.failures, batch.skipped)
        if self._buffers.requests:
            # Workers ask in any order. The sort is stable: each action's own requests keep their order.
            self._buffers.requests.sort(key=_request_order)

    def forget_shares(self) -> None:
        """The functions that are called have changed: make new plans. On the leader's thread, between tags."""
        for shared in self._shared_levels.values():
            shared.forget_plan()

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
        never = set(skipped)
        for reaction in undone:
            if reaction not in never:  # its reactor may have logged at an earlier level of this tag: that counts
                self._schedule.instances[reaction.node.reactor]._log.forget(tag, self.level_began_ns)
        self._context.printed.forget(tag, self._enclave, undone)
        return ReactionFailed(
            failure(r, self._graph.reactors[r.node.reactor].cls, tag, error),
            number=r.index,
            counted=sum(len(members(item)) for item in items) - len(undone),
            spoilt={reaction.node.reactor: reaction for reaction in undone if reaction not in never},
        )


class SharedLevel:
    """A level that is shared, or was considered for it; the leader's own.

    Attributes:
        history: what was measured.
        items: the groups or reactions that were ready the last time, for which the plan was made.
        sole_group: the group that is all of the level, if nothing else has to be looked at; else None.
        calls: the plan as it is carried out; None if the level is run by the leader alone.
    """

    __slots__ = ("calls", "history", "items", "sole_group")

    def __init__(self, history: History) -> None:
        self.history = history
        self.items: list[Any] = []
        self.sole_group: Group | None = None
        self.calls: SharedCalls | None = None

    def forget_plan(self) -> None:
        """Other reactions are ready, or other functions are called. What trials have shown stays."""
        self.items = []
        self.sole_group = self.calls = None
        self.history.forget_plan()


def _item(piece: Sequence[RunningReaction], each_ns: int) -> Any:
    """What is handed out for a piece of a plan: its reaction, or a group of its reactions."""
    if len(piece) == 1:
        return piece[0]
    group = Group(piece)
    group.cost_ns = each_ns * group.size
    return group


def _request_order(request: tuple[Any, Any, Any]) -> int:
    # Mode changes come in the order in which each reactor asked for them; between reactors it does not matter.
    return -1 if request[0] is None else request[0].order


_index = operator.attrgetter("index")
