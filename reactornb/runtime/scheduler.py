"""The scheduler of one enclave: it opens tags, runs their levels, and closes them.

A run has one enclave unless reactors ask for more (`enclaves.py`). One worker leads it, always the same. What happens next is decided by
the `Machine` (with several enclaves by the `Gate`, which asks it); the levels of a tag are run by the `LevelRunner`; what other threads
want comes through `Inbox` and `Commands`. README.md, beside this file, has the picture.

# machine, buffers, over, until, begun, tags_done, reactions_done, early
#               the leader's. `tags_done`, `reactions_done`, `until`, `over` and the machine's current tag are also read by other threads, for
#               display; the current tag by reactions of the level that runs, too: it was written before the level was offered
# waiting       written by the leader, read for display
# failure, failed, spoilt
#               written by the leader before it calls `on_end`, read after the end of the run
# deadlines     filled before the first tag
# keeper, is_kept, cutter, discarding
#               set before the first tag
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reactornb.graph import Graph
from reactornb.model import Reactor
from reactornb.runtime import fused, intraop
from reactornb.runtime.clock import Clock, Wake
from reactornb.runtime.commands import Commands, Hold
from reactornb.runtime.cut import Keeper
from reactornb.runtime.cutting import Cutter
from reactornb.runtime.deadlines import Deadline
from reactornb.runtime.gate_cuts import Passage
from reactornb.runtime.generators import Generators
from reactornb.runtime.groups import Group
from reactornb.runtime.handles import OutPort
from reactornb.runtime.level_runner import LevelRunner, ReactionFailed
from reactornb.runtime.machine import Machine, Open, Over, Wait
from reactornb.runtime.notices import Notices
from reactornb.runtime.outside import Border
from reactornb.runtime.outside_inbox import deadline_behind, inbox_behind
from reactornb.runtime.printed import Printed
from reactornb.runtime.reactions import RunningReaction
from reactornb.runtime.sampling import Window
from reactornb.runtime.schedule import Schedule
from reactornb.runtime.signals import Action, Queued, Signal, TagKey
from reactornb.runtime.tag_buffers import TagBuffers
from reactornb.runtime.trace import Recorder, UnrecordableSignal, unrecordable
from reactornb.runtime.tuning import Target
from reactornb.runtime.watchdogs import Watchdogs
from reactornb.runtime.workers import Worker
from reactornb.tags import Tag, forever

__all__ = ["Scheduler"]


class Scheduler:
    """Runs one enclave of one run. To its reactions it is their `ReactionContext`, to the gate a `Member`.

    Args:
        graph: what the run executes.
        enclave: which part of it is this scheduler's.
        leader: the worker that leads it.
        workers: the run's threads.
        clock: physical time.
        timeout: logical time in ns at which the run ends, or None.
        fast: do not wait for physical time.
        keepalive: do not end when no event is left; None: exactly when the graph has physical actions.
        recorder: trace, fingerprint and value checks.
        notices: the run's warnings.
        printed: what its reactions print.
        profiled: take the time at which each level begins, even where one call runs it.
        on_end: called once, on the leader's thread, when the enclave has executed its last tag.
        border: records or replays what comes from outside; None: neither.

    Attributes:
        wake: the leader's.
        until: after `go`: physical time in ns before which there is nothing to do; `forever`: not before `wake`.
        over: the last tag is done.
        failure: what ended the run, or None; `failed` is the number of the reaction that raised it, -1 where none did.
        spoilt: by index, reactors of which a reaction had begun that counts as not run; see `failures.py`.
        keeper: who keeps cuts of the run, if anybody does, and then `is_kept`; `cutter` takes them here.
        discarding: the thread, by its number, whose requests for the end count for nothing: it runs startup reactions again; -1: none.
        early: looks at the first tags; None once that is over.
        fused: run the loop of `fused.py`; else the plain one. A class attribute, which tests replace.
    """

    __slots__ = (
        "__weakref__", "_leader", "_workers", "border", "buffers", "clock", "commands", "cutter", "deadlines", "discarding", "early", "enclave", "failed",
        "failure", "fast", "gate", "graph", "inbox", "is_kept", "keeper", "level_runner", "machine", "notices", "on_end", "over", "printed", "reactions_done",
        "recorder", "schedule", "spoilt", "start_time_ns", "tags_done", "until", "waiting", "wake", "watchdogs", "width",
    )  # fmt: skip

    fused = True

    def __init__(
        self,
        graph: Graph,
        enclave: int,
        leader: Worker,
        workers: Sequence[Worker],
        *,
        clock: Clock,
        timeout: int | None,
        fast: bool,
        keepalive: bool | None,
        recorder: Recorder,
        notices: Notices,
        printed: Printed,
        profiled: bool,
        on_end: Callable[[Scheduler], None],
        border: Border | None = None,
    ) -> None:
        self.graph = graph
        self.enclave = enclave
        self._leader = leader
        self._workers = workers
        self.width = len(workers)
        self.clock = clock
        self.fast = fast
        self.recorder = recorder
        self.notices = notices
        self.printed = printed
        self.on_end = on_end
        self.wake: Wake = leader.wake
        self.machine = Machine(
            stop_tag=None if timeout is None else (timeout, 0),
            keepalive=any(a.physical for a in graph.actions) if keepalive is None else keepalive,
        )
        self.border = self.machine.border = border
        self.inbox = inbox_behind(border, self.wake, clock.elapsed_ns)
        self.commands = Commands(self.wake)
        self.level_runner = LevelRunner(self, graph, enclave, workers, recorder)
        self.level_runner.profiled = profiled
        self.watchdogs = Watchdogs(self._expired, f"{workers[0].thread.name}-watchdogs-{enclave}")
        self.gate: Passage | None = None
        self.schedule: Schedule
        self.buffers: TagBuffers
        self.deadlines: list[Deadline] = []
        self.keeper: Keeper | None = None
        self.cutter: Cutter | None = None
        self.early: Generators | None = None
        self.start_time_ns = 0
        self.is_kept = False  # written by who makes the engine, before it starts
        self.tags_done = self.reactions_done = self.until = 0
        self.over = self.waiting = False
        self.failure: BaseException | None = None
        self.failed = self.discarding = -1
        self.spoilt: dict[int, RunningReaction] = {}

    def adopt(self, schedule: Schedule, start_time_ns: int) -> None:
        """Make the schedule's part of this enclave one's own; before the first tag, on worker 0."""
        self.schedule = schedule
        self.buffers = schedule.buffers[self.enclave]
        self.level_runner.adopt(schedule)
        self.machine.adopt(
            self.graph, self.enclave, schedule, self.recorder, elapsed_ns=self.clock.elapsed_ns, gated=self.gate is not None
        )  # fmt: skip
        self.start_time_ns = start_time_ns
        if self.border is not None:
            self.start_time_ns = self.border.adopt(self, start_time_ns)
        self.early = Generators(self, always=self.recorder.serial)
        self.commands.ask_again()
        if self.keeper is not None:
            self.cutter = Cutter(self.graph, schedule, self, self.keeper)

    def change_at(self, replay: Sequence[tuple[TagKey, list[Target]]]) -> None:
        """Change parameters of the enclave at these tags; before the first tag, on worker 0."""
        for tag, targets in replay:
            mine = [t for t in targets if self.graph.reactors[t[0]].enclave == self.enclave]
            self.machine.change_at(tag, mine)
            if self.border is not None and mine:
                self.border.given(tag, mine)

    def abandon(self) -> None:
        """In a forked child, which has none of the threads: what they held is free, what is scheduled is ignored."""
        self.wake = Wake()
        self.commands.abandon()
        self.inbox.abandon(self.wake)

    # -- what reactions ask, and who looks at them: see `ReactionContext` -----------------------------------------------

    @property
    def time_ns(self) -> int:
        """Logical time of the tag that is being executed."""
        return self.machine.queue.time_ns

    @property
    def microstep(self) -> int:
        """Its microstep."""
        return self.machine.queue.microstep

    @property
    def level_began_ns(self) -> int:
        """When the level that runs began."""
        return self.level_runner.level_began_ns

    @property
    def reactions(self) -> Sequence[RunningReaction]:
        """All reactions of the run; () before its first tag."""
        schedule: Schedule | None = getattr(self, "schedule", None)
        return () if schedule is None else schedule.reactions

    @property
    def writers(self) -> Mapping[int, OutPort]:
        """Per channel, the handle that writes it."""
        return self.schedule.writers

    def groups(self) -> Sequence[Group]:
        """All groups of the enclave; on its leader's thread."""
        return self.schedule.groups_in(self.enclave)

    def forget_shares(self) -> None:
        """What is called has changed: share levels out anew. On the leader's thread, between tags."""
        self.level_runner.forget_shares()

    def current_tag(self) -> Tag:
        """The tag that is being executed."""
        queue = self.machine.queue
        return Tag(queue.time_ns, queue.microstep)

    def elapsed_ns(self) -> int:
        """Physical time since the start of the run."""
        return self.clock.elapsed_ns()

    def physical_elapsed_ns(self, reader: Reactor | None = None) -> int:
        """Physical time since the start of the run; `reader`: whose reaction asks, if that is known."""
        now_ns = self.clock.elapsed_ns()
        return now_ns if self.border is None else self.border.read(now_ns, reader)

    @property
    def run_is_over(self) -> bool:
        """Whether every enclave of the run has executed its last tag."""
        return all(s.over for worker in self._workers for s in worker.enclaves)

    def request_stop(self) -> None:
        """Stop at the next microstep; from a reaction or from any other thread."""
        if self.discarding == threading.get_ident():
            return
        if self.border is None:
            self.commands.give(stop=True)
        else:
            self.border.request_stop()

    @property
    def replays(self) -> bool:
        """Whether what came from outside in an earlier run is still to come."""
        return self.border is not None and self.border.replays

    def miss_replayed(self) -> None:
        """Nothing can happen any more, so that never comes.

        Raises:
            ReplayError: which says so.
        """
        assert self.border is not None
        raise self.border.astray()

    def post(self, action: Action, delay: int = 0, value: Any = None) -> None:
        """Schedule a physical action; any thread. See `Inbox.post`."""
        self.inbox.post(action, delay, value)

    def watch(self, window: Window) -> None:
        """Watch what the enclave executes; any thread. See `Sampled`."""
        self.commands.watch(window)

    def with_deadline(
        self, body: Callable[[], None], late: Callable[[], None] | None, limit_ns: int, instance: Reactor, name: str
    ) -> Callable[[], None]:
        """A call that runs `late` instead of `body` once physical time has passed the tag by more than the deadline; `name`: the reaction's."""
        deadline = deadline_behind(self.border, self, limit_ns, late, name)
        self.deadlines.append(deadline)
        return deadline.guarded(body, instance)

    def watchdog(self, expiry: Action, timeout: int) -> tuple[Callable[..., None], Callable[[], None]]:
        """`start` and `stop` of a watchdog, which posts its expiry."""
        return self.watchdogs.calls(expiry, timeout)

    def _expired(self, expiry: Action) -> None:
        self.inbox.put(expiry, 0, None)

    # -- leading ----------------------------------------------------------------------------------------------------

    @property
    def shares_leader(self) -> bool:
        """Whether its leader leads other enclaves, too."""
        return len(self._leader.enclaves) > 1

    def go(self, me: Worker) -> int:
        """Execute tags until none can be executed now.

        Returns:
            `until`.
        """
        if self.over:
            return forever
        self.waiting = False
        try:
            if self.fused:
                fused.run_tags(self, me)
            else:
                self._run_tags(me)
        except ReactionFailed as failed:
            self.failure, self.failed, self.spoilt = failed.error, failed.number, failed.spoilt
            self.reactions_done += failed.counted
            self.over = True
        except BaseException as error:  # noqa: BLE001 - a fault of ours must end the run, not hang it
            self.failure = error
            self.over = True
        if self.failure is not None and self.gate is not None:
            self.gate.failed(self.enclave)
        if self.over:
            self._finish()
            return forever
        self.waiting = True
        return self.until

    def _run_tags(self, me: Worker) -> None:
        """The loop in which a run spends its time; `fused.py` has the same, faster.

        Raises:
            ReactionFailed: if a reaction raised.
        """
        buffers = self.buffers
        while (levels := self.open_tag()) is not None:
            for level in levels:
                groups = buffers.levels[level]
                if groups:
                    self.reactions_done += self.level_runner.run(me, level, groups)
                if buffers.requests:
                    self.machine.serve(buffers.requests)
            self.close_tag()
            if not me.settled:
                me.settle()

    def open_tag(self) -> range | None:
        """Open the next tag, and make what it brings present: the only place where that is done, but for `fused.py`.

        Returns:
            The levels on which something may be ready; None if no tag may be opened now, with `until` set, or ever, with `over`.
        """
        if self.commands.given and not self.machine.is_over and not self._obey():
            self.until = forever
            return None
        step = self._next()
        if isinstance(step, Open):
            top = self.load(step.events)
            for reactions in step.starts:
                top = max(top, self._trigger(reactions))
            return range(top + 1)
        if isinstance(step, Wait):
            self.until = step.until_ns
        else:
            self.over = True
        return None

    def _next(self) -> Open | Wait | Over:
        machine = self.machine
        if self.gate is not None and not machine.is_over:
            return self.gate.next(self.enclave)
        if self.inbox.posts:
            self.accept()
        return machine.next(forever if self.fast else self.clock.elapsed_ns())

    def load(self, events: Sequence[Queued]) -> int:
        """Make events present at the tag that opens; returns the highest level that they reach, -1 for none."""
        top = -1
        clear, fire = self.buffers.cleared.extend, self.buffers.fired.append
        for signal, value in events:
            signal.deliver(value)
            if signal.clears:
                clear(signal.clears)
            fanout = signal.fanout
            for enqueue, group in fanout.groups:
                if not group.queued:
                    group.queued = True
                    enqueue(group)
            if fanout.reach > top:
                top = fanout.reach
            if signal.at_tag_end and not signal.fired:
                signal.fired = True
                fire(signal)
        return top

    def _trigger(self, reactions: Sequence[RunningReaction]) -> int:
        """Make reactions ready; returns the highest level that they reach."""
        if not reactions:
            return -1
        for enqueue, group in self.schedule.groups_of(reactions):
            if not group.queued:
                group.queued = True
                enqueue(group)
        return max(r.reach for r in reactions)

    def close_tag(self) -> None:
        """All levels of the open tag have run: mark absent what was present, record it, pass it on."""
        cleared = self.buffers.cleared
        for handle in cleared:
            handle.is_present = False
        cleared.clear()
        self.tags_done += 1
        if self.buffers.fired:
            self.send()
        self.machine.close()

    def send(self) -> None:
        """Record what was present at the tag that ends, and pass it on to delayed edges and other enclaves.

        Raises:
            UnrecordableValueError: where a fingerprint cannot take in a value.
        """
        fired = self.buffers.fired
        if len(fired) > 1 and self.width > 1:
            fired.sort(key=_order)  # in whatever order the workers of a shared level wrote them
        if self.recorder.records_values:
            self._record(fired)
        for signal in fired:
            signal.fired = False
            if signal.delays:
                self.machine.feed(signal)
        fired.clear()

    def _record(self, fired: list[Signal]) -> None:
        tag = self.machine.queue.now
        try:
            written = self.recorder.written(tag, fired)
        except UnrecordableSignal as refused:
            why = refused.error
            raise unrecordable(self.graph, refused.signal, self.current_tag(), why) from why.__cause__
        if written is None:
            return
        if self.gate is None:
            self.recorder.end_of_tag(tag, (written,))
        else:
            self.gate.record(self.enclave, written)

    # -- between tags -----------------------------------------------------------------------------------------------

    def _obey(self) -> bool:
        """Carry out commands between two tags; false while the run is paused."""
        order = self.commands.take()
        intraop.refresh()
        early, window = self.early, order.window
        if early is not None:
            if order.goes_on and early.turn(wanted=window is not None):
                early = self.early = None
            else:
                self.commands.ask_again()
        # Both replace what is called: one after the other, or the window within a look that never ends.
        if window is not None and (early is None or (early.always and early.is_open)) and window.turn(order.goes_on):
            self.commands.window_closed(window)
        if self.gate is not None:  # cuts, and the end of all enclaves, are its business
            if order.stop or order.outside:
                self.gate.stop_from(self.enclave, outside=order.outside)
            if not order.goes_on:
                self.gate.cut(self.enclave)
            return order.goes_on
        machine = self.machine
        if order.outside and not machine.begun:
            # It is obeyed after the first tag, which is the same end: no cut comes between, which would have it as one that the program asked for.
            self.commands.give(stop=True, outside=True)
            order = order._replace(outside=False)
        if order.stop:
            machine.stop_by(machine.queue.next_microstep)
        if self.cutter is not None and (order.cut or order.outside):
            self.cutter.take(before_stop=order.outside)
        if order.outside:
            machine.stop_from_outside(machine.queue.next_microstep, everywhere=True)
        elif order.hold is not None and self._is_held_at(order.hold):
            return False
        return order.goes_on

    def _is_held_at(self, hold: Hold) -> bool:
        """Whether nothing is left to do up to the tag after which the run is to be held."""
        self.accept()
        coming = self.machine.coming()
        is_held = coming is None or coming > hold.tag
        if is_held:
            self.commands.held()
            hold.reached()
        return is_held

    def accept(self, floor_ns: int = 0) -> None:
        """Queue what was posted up to now: the only place where an inbox is emptied. With several enclaves, under the gate's lock."""
        self.machine.accept(self.inbox.take(), floor_ns)

    def _finish(self) -> None:
        """The last tag is done."""
        self.inbox.close()
        if self.border is not None:
            self.border.ended()
        if self.gate is not None:
            self.gate.ended(self.enclave)
        self.watchdogs.end()
        if self.early is not None:
            self.early.finish()
        self.on_end(self)


_order = operator.attrgetter("order")
