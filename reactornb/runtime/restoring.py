"""A run that starts from a `Cut`, and instances beside a run: both run startup reactions whose effects count for nothing.

What a startup reaction makes on the instance (a network, an environment, a thread that listens somewhere) is what the keeper then puts the saved state
into. What it sends, schedules, logs and asks for is discarded: that has happened, and is part of the cut. A thread that it starts is live:
what that posts comes from outside.

Everything here is called on worker 0 before the first tag, or, `Shadow`, on a thread that runs nothing else.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from reactornb.errors import RunError
from reactornb.graph import Graph
from reactornb.runtime.clock import Clock, Wake
from reactornb.runtime.cut import Cut, EnclaveCut, Keeper, Named
from reactornb.runtime.enclaves import Gate
from reactornb.runtime.groups import Group
from reactornb.runtime.handles import OutPort
from reactornb.runtime.inbox import Inbox
from reactornb.runtime.logs import Log
from reactornb.runtime.notices import Notices
from reactornb.runtime.printed import Printed
from reactornb.runtime.quiet import quiet
from reactornb.runtime.reactions import RunningReaction
from reactornb.runtime.schedule import Schedule
from reactornb.runtime.scheduler import Scheduler
from reactornb.runtime.signals import Action
from reactornb.runtime.trace import Recorder, failure
from reactornb.runtime.workers import Worker, act_as, make_workers
from reactornb.tags import Tag

__all__ = ["Shadow", "check_fits", "restore"]


def check_fits(graph: Graph, cut: Cut, timeout: int | None, recorder: Recorder) -> None:
    """Look at what can be seen before a thread is started.

    Args:
        graph: what is to run.
        cut: from which it is to start.
        timeout: logical time in ns at which it is to end, or None.
        recorder: what it is to record.

    Raises:
        RunError: if they do not fit.
    """
    modes = [0 if part.modes is None else len(part.modes["started"]) for part in cut.enclaves]
    for what, then, now in (
        ("enclaves", len(cut.enclaves), len(graph.enclaves)),
        ("reactors", sum(len(part.logged) for part in cut.enclaves), len(graph.reactors)),
        ("modes", modes[0], len(graph.modes)),
    ):
        if then != now:
            raise RunError(f"the run that was cut had {then} {what}, and the program has {now}: it is another program.")
    if cut.fingerprint is None and recorder.keeps_fingerprint:
        raise RunError(
            "the run that was cut kept no fingerprint, so there is none to go on with: start without fingerprint=True."
        )
    end = None if timeout is None else (timeout, 0)
    going = [part.tag for part in cut.enclaves if not part.is_over]
    if not going:
        raise RunError(f"the run had ended, at tag {Tag(*cut.tag)}, when it was cut: there is nothing to go on with.")
    if end is not None and any(end <= tag for tag in going):
        raise RunError(
            f"the run was cut at tag {Tag(*cut.tag)}, and is to end at {Tag(*end)}, which is not later: give it a later end, until=…, or none."
        )
    ended = [part.tag for part in cut.enclaves if part.is_over]
    if ended and cut.stop_tag is None and end != ended[0]:
        raise RunError(
            f"some enclaves of the run had ended, at tag {Tag(*ended[0])}, when it was cut, so the others can only end there, too: until=ns({ended[0][0]})."
        )


def restore(
    cut: Cut,
    graph: Graph,
    schedule: Schedule,
    schedulers: Sequence[Scheduler],
    worker: Worker,
    *,
    keeper: Keeper,
    gate: Gate | None,
    recorder: Recorder,
    clock: Clock,
    begin_ns: int,
) -> None:
    """Make a run that has not begun what the cut one was, and let its clock go on.

    Args:
        cut: the other run between two tags.
        graph: of both.
        schedule: of this run.
        schedulers: which have adopted it.
        worker: the one that calls this.
        keeper: who restores what the program made.
        gate: between the enclaves, where there are several.
        recorder: of this run.
        clock: of this run.
        begin_ns: physical time before which it does not begin, since what is replayed tells of it.

    Raises:
        RunError: if the cut does not fit the program.
        ReactionError: if a startup reaction raises.
    """
    elapsed_ns = max(cut.elapsed_ns, begin_ns)
    clock.start(
        elapsed_ns
    )  # a thread that startup starts may post at once: what it posts comes after what the cut holds
    for scheduler, part in zip(schedulers, cut.enclaves, strict=True):
        with _discarded(scheduler, worker):
            run_bodies(_begun(schedule.startup, scheduler.enclave, part), graph)
    _forget_startup(schedule)
    for instance in schedule.instances:
        object.__setattr__(instance, "_log", Log())
    values = keeper.restore([part.objects for part in cut.enclaves], schedule.instances)
    try:
        named = [
            Named(schedule.signals, scheduler.machine.tuning.numbered, schedule.reactions, own)
            for scheduler, own in zip(schedulers, values, strict=True)
        ]
        for scheduler, part, names in zip(schedulers, cut.enclaves, named, strict=True):
            _go_on(scheduler, part, names)
        for part, names in zip(cut.enclaves, named, strict=True):
            for order, tag, place in part.sent:
                edge: Any = names.signal(order)
                schedulers[edge.enclave].machine.queue.arrive(edge, tag, names.value(place))
        if gate is not None:
            gate.load(cut)
        elif cut.stop_tag is not None:
            schedulers[0].machine.stop_by(cut.stop_tag)
        recorder.load(cut.fingerprint)
        if not any(len(scheduler.inbox.posts) for scheduler in schedulers):
            clock.start(elapsed_ns)  # what restoring took does not count
        for scheduler, part, names in zip(schedulers, cut.enclaves, named, strict=True):
            for order, left_ns in part.watchdogs:
                dog = names.signal(order)
                assert isinstance(dog, Action)
                scheduler.watchdogs.start(dog, left_ns)
    except (LookupError, ValueError, TypeError, AttributeError, AssertionError) as error:
        raise RunError(
            f"the run that was cut at tag {Tag(*cut.tag)} is one of another program, or the cut is damaged: {error!r}."
        ) from error


def _go_on(scheduler: Scheduler, part: EnclaveCut, named: Named) -> None:
    """Make an enclave what it was."""
    assert scheduler.cutter is not None
    scheduler.cutter.load(part, named)
    scheduler.tags_done, scheduler.reactions_done = part.tags_done, part.reactions_done
    scheduler.inbox.refused = part.refused
    if part.is_over:
        scheduler.over = True
        scheduler.inbox.close()


def run_bodies(reactions: Sequence[RunningReaction], graph: Graph) -> None:
    """Call the bodies of reactions, in their order: without deadlines, checks, and times taken.

    Raises:
        ReactionError: if one raises.
    """
    for r in sorted(reactions, key=lambda r: (r.level, r.index)):
        try:
            r.node.declaration.fn(*r.row)
        except BaseException as error:  # noqa: BLE001 - as of any reaction
            failed = failure(r, graph.reactors[r.node.reactor].cls, Tag(0), error)
            raise failed from failed.__cause__


@contextmanager
def _discarded(scheduler: Scheduler, worker: Worker) -> Iterator[None]:
    """What reactions that are called on this thread ask of the scheduler meanwhile is discarded; what they print, too.

    A watchdog that is started expires into an inbox that ignores it, or is forgotten with the others.
    """
    inbox, printed, runs = scheduler.inbox, scheduler.printed, worker.scheduler
    scheduler.inbox = _Deaf(inbox, scheduler.wake)
    scheduler.printed = Printed()
    scheduler.discarding = threading.get_ident()
    worker.scheduler = scheduler
    if scheduler.border is not None:
        scheduler.border.silent = True
    try:
        with quiet():
            yield
    finally:
        if scheduler.border is not None:
            scheduler.border.silent = False
        scheduler.watchdogs.forget()
        worker.scheduler = runs
        scheduler.discarding = -1
        scheduler.printed = printed
        scheduler.inbox = inbox


class _Deaf(Inbox):
    """An inbox that ignores what the thread that made it posts, and watchdogs; what others post goes to the real one."""

    __slots__ = ("_real", "_thread")

    def __init__(self, real: Inbox, wake: Wake) -> None:
        super().__init__(wake, _never)
        self._real = real
        self._thread = threading.get_ident()

    def post(self, action: Action, delay: int = 0, value: Any = None) -> None:
        """See `Inbox`."""
        if threading.get_ident() != self._thread:
            self._real.post(action, delay, value)

    def post_change(self, targets: Any) -> None:
        """See `Inbox`."""
        self._real.post_change(targets)

    def put(self, action: Action | None, delay: int, value: Any) -> None:
        """See `Inbox`: a watchdog has expired."""


def _never() -> int:
    raise AssertionError("nothing is put into this inbox")


def _forget_startup(schedule: Schedule) -> None:
    """Take back what startup reactions made present, triggered and asked for."""
    for r in schedule.startup:
        for handle in r.clears:
            handle.is_present = False
    for buffers in schedule.buffers:
        for groups in buffers.levels:
            for group in groups:
                group.queued = False
            groups.clear()
        for signal in buffers.fired:
            signal.fired = False
        for handle in buffers.cleared:
            handle.is_present = False
        for rest in (buffers.fired, buffers.cleared, buffers.requests):
            rest.clear()


class Shadow:
    """The instances of a run, once more, beside it: what is restored into them is held against what it was taken from.

    Making one runs the startup reactions that the run has run by the cut; nothing that they ask of the runtime happens.

    Args:
        graph: of the run.
        seed: of the run.
        cut: of the run.

    Attributes:
        schedule: the instances' own.
        instances: all of the graph, in its order.

    Raises:
        ReactionError: if a startup reaction raises.
    """

    def __init__(self, graph: Graph, seed: int, cut: Cut) -> None:
        self._graph = graph
        self._contexts = [_Nowhere(enclave) for enclave in range(len(graph.enclaves))]
        self.schedule = Schedule(graph, self._contexts, seed)
        for context in self._contexts:
            context.schedule = self.schedule
        self.instances = self.schedule.instances
        self._cut = cut
        self._run(self.schedule.startup)

    def end(self) -> None:
        """Run the shutdown reactions; the instances are of no use afterwards.

        Raises:
            ReactionError: if one raises.
        """
        self._run(self.schedule.shutdown)

    def _run(self, reactions: Sequence[RunningReaction]) -> None:
        (worker,) = make_workers(1, "shadow", _no_place, 1, patient=False)
        before = act_as(worker)
        try:
            for context, part in zip(self._contexts, self._cut.enclaves, strict=True):
                worker.scheduler = context
                with quiet():
                    run_bodies(_begun(reactions, context.enclave, part), self._graph)
        finally:
            act_as(before)
        _forget_startup(self.schedule)


def _begun(reactions: Iterable[RunningReaction], enclave: int, part: EnclaveCut) -> list[RunningReaction]:
    """Those of an enclave's startup or shutdown reactions whose mode, if they are in one, has been active."""
    if not part.begun:
        return []
    started = part.modes["started"] if part.modes is not None else ()
    return [r for r in reactions if r.enclave == enclave and (r.mode < 0 or started[r.mode])]


def _no_place(_: int) -> Any:
    raise AssertionError("this worker has no thread")


class _Nowhere:
    """The scheduler of an enclave of a `Shadow`: it stands at the first tag, and does nothing of what is asked."""

    def __init__(self, enclave: int) -> None:
        self.enclave = enclave
        self.width = 1
        self.tags_done = self.reactions_done = 0
        self.level_began_ns = self.time_ns = self.microstep = 0
        self.start_time_ns = time.time_ns()
        self.run_is_over = False
        self.is_kept = True
        self.notices = Notices("a rehearsal")
        self.printed = Printed()
        self.recorder = Recorder()
        self.schedule: Schedule
        self._began_ns = time.perf_counter_ns()

    @property
    def reactions(self) -> Sequence[RunningReaction]:
        """See `ReactionContext`."""
        return self.schedule.reactions

    @property
    def writers(self) -> Mapping[int, OutPort]:
        """See `ReactionContext`."""
        return self.schedule.writers

    def groups(self) -> Sequence[Group]:
        """See `ReactionContext`."""
        return self.schedule.groups_in(self.enclave)

    def forget_shares(self) -> None:
        """See `ReactionContext`."""

    def current_tag(self) -> Tag:
        """See `Context`."""
        return Tag(0)

    def physical_elapsed_ns(self, _: Any = None) -> int:
        """See `Context`."""
        return self.elapsed_ns()

    def elapsed_ns(self) -> int:
        """See `ReactionContext`."""
        return time.perf_counter_ns() - self._began_ns

    def request_stop(self) -> None:
        """See `Context`."""

    def post(self, action: Action, delay: int = 0, value: Any = None) -> None:
        """See `Scheduler`."""

    def with_deadline(self, body: Callable[[], None], *_: Any) -> Callable[[], None]:
        """See `Scheduler`."""
        return body

    def watchdog(self, *_: Any) -> tuple[Callable[..., None], Callable[[], None]]:
        """See `Scheduler`."""
        return _ignore, _ignore


def _ignore(_: int = 0) -> None:
    return None
