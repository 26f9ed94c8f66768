"""The scheduler of one enclave: its tags, its event queue, its levels.

A run has one enclave unless reactors ask for more (`enclaves.py`). One worker leads it, always the same: it opens tags, runs
cheap levels itself, has costly ones shared out (`level_runner.py`), and closes tags.

# heap, events, upcoming, tag, top, counters, modes, stop_tag, until, untagged, tuning
#               read and written by the leader only; what the reactions of a shared level wrote reaches it through the
#               batch, whose last `done` orders it before the leader's next step
# tag           also read by reactions of the level that runs (written before the batch is offered) and, for display
#               only, by other threads, which may see the time of one tag with the microstep of the next
# buffers       see `TagBuffers`
# inbox         deque: appended to by any thread, taken from by the leader; every append is followed by the leader's
#               wake.set(), and the leader clears `wake` before it looks at the inbox, so nothing is slept over
# refused       events that found the inbox full; written under _refusing by any thread, read for display
# ended         set once by the leader; a post that misses it leaves an event that nobody takes
# _stop, _paused, _steps, _window
#               commands from other threads, under _command_lock; the leader looks at `_commanded` once a tag
# deadlines     each counts what one reaction missed, written by the worker that runs it; read for display
# waiting       written by the leader, read for display
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from reactornb.errors import InboxFullError
from reactornb.graph import Graph
from reactornb.model import Reactor
from reactornb.runtime import intraop
from reactornb.runtime.clock import Clock, Wake
from reactornb.runtime.events import EventQueue
from reactornb.runtime.generators import Generators
from reactornb.runtime.handles import InPort
from reactornb.runtime.level_runner import LevelRunner, ReactionFailed
from reactornb.runtime.modes import Modes
from reactornb.runtime.notices import Notices
from reactornb.runtime.printed import Printed
from reactornb.runtime.reactions import RunningReaction
from reactornb.runtime.schedule import Schedule
from reactornb.runtime.signals import Action, DelayedEdge, Signal, Timer
from reactornb.runtime.tag_buffers import TagBuffers
from reactornb.runtime.trace import Recorder, UnrecordableSignal, unrecordable
from reactornb.runtime.tuning import Target, Tuning
from reactornb.runtime.watchdogs import Watchdogs
from reactornb.runtime.workers import Worker
from reactornb.tags import Tag, forever

if TYPE_CHECKING:
    from reactornb.runtime.enclaves import Gate
    from reactornb.runtime.sampling import Window

__all__ = ["Scheduler"]


class Scheduler(EventQueue):
    """Runs one enclave of one run.

    Args:
        graph: what the run executes.
        enclave: which part of it is this scheduler's.
        workers: the run's threads.
        clock: physical time.
        timeout: logical time in ns at which the run ends, or None.
        fast: do not wait for physical time.
        keepalive: do not end when no event is left; None: exactly when the graph has physical actions.
        recorder: trace, fingerprint and value checks.
        on_end: called once, on the leader's thread, when the enclave has executed its last tag.

    Attributes:
        wake: the leader's.
        until: after `go`: physical time in ns before which there is nothing to do; `forever`: not before `wake`.
        over: the last tag is done.
        level_runner: runs a level where there is more to it than calling one group.
        failure: what ended the run, or None; `failed` is the number of the reaction that raised it, -1 where none did.
        spoilt: by index, reactors of which a reaction had begun that counts as not run; see `failures.py`.
        untagged: changes of parameters that have no tag yet; `tuning.waiting`.
        notices: the run's warnings.
        early: looks at the first tags; None once that is over.
    """

    __slots__ = (
        "__weakref__",
        "_command_lock",
        "_commanded",
        "_outbox",
        "_paused",
        "_refusing",
        "_steps",
        "_stop",
        "_window",
        "begun",
        "buffers",
        "clock",
        "deadlines",
        "early",
        "enclave",
        "ended",
        "failed",
        "failure",
        "fast",
        "gate",
        "graph",
        "inbox",
        "leads",
        "level_runner",
        "modes",
        "notices",
        "on_end",
        "over",
        "printed",
        "reactions_done",
        "recorder",
        "refused",
        "schedule",
        "shutdown",
        "spoilt",
        "start_time_ns",
        "startup",
        "tags_done",
        "timers",
        "top",
        "tuning",
        "untagged",
        "until",
        "waiting",
        "wake",
        "watchdogs",
        "width",
        "workers",
    )  # fmt: skip

    # How many events of one physical action may be waiting: not yet seen by the leader, whatever their action, or queued.
    inbox_limit = 2**16

    def __init__(
        self,
        graph: Graph,
        enclave: int,
        workers: Sequence[Worker],
        *,
        clock: Clock,
        timeout: int | None,
        fast: bool,
        keepalive: bool | None,
        recorder: Recorder,
        on_end: Callable[[Scheduler], None],
    ) -> None:
        super().__init__(
            stop_tag=None if timeout is None else (timeout, 0),
            keepalive=any(a.physical for a in graph.actions) if keepalive is None else keepalive,
        )
        self.graph = graph
        self.enclave = enclave
        self.workers = workers
        self.width = len(workers)
        self.clock = clock
        self.fast = fast
        self.recorder = recorder
        self.on_end = on_end
        self.gate: Gate | None = None
        self.notices = Notices("a run")  # `Engine` puts the run's in its place
        self.printed = Printed()  # likewise
        self.early: Generators | None = None
        self.start_time_ns = 0
        self.tags_done = 0
        self.reactions_done = 0
        self.top = -1
        self.until = 0
        self.over = False
        self.failure: BaseException | None = None
        self.failed = -1
        self.spoilt: dict[int, RunningReaction] = {}
        self.inbox: deque[tuple[Action, int, int, Any]] = deque()
        self.wake = Wake()
        self.refused = 0
        self._refusing = threading.RLock()  # a signal handler may post while its thread is being refused
        self.ended = False
        self._command_lock = threading.Lock()
        self._commanded = False
        self._stop = False
        self._paused = False
        self._steps = 0
        self._window: Window | None = None
        self.deadlines: list[Deadline] = []
        self.waiting = False
        self.watchdogs = Watchdogs(self._expired, f"{workers[0].thread.name}-watchdogs-{enclave}")
        self.begun = False
        self.leads: Sequence[Scheduler] = ()  # all enclaves of this one's leader
        self._outbox: list[tuple[tuple[int, int], DelayedEdge, Any]] = []
        self.level_runner = LevelRunner(self, graph, enclave, workers, recorder)
        self.buffers: TagBuffers
        self.modes: Modes | None = None
        self.tuning = Tuning(self)
        self.untagged = self.tuning.waiting
        self.timers: list[Timer] = []
        self.startup: list[RunningReaction] = []
        self.shutdown: list[RunningReaction] = []

    def adopt(
        self, schedule: Schedule, start_time_ns: int, replay: Sequence[tuple[tuple[int, int], list[Target]]] = ()
    ) -> None:
        """Make the schedule's part of this enclave one's own, and its changes of parameters; before the first tag, on worker 0."""
        self.schedule = schedule
        self.buffers = schedule.buffers[self.enclave]
        self.level_runner.adopt(schedule)
        self.timers = [t for t in schedule.timers if t.enclave == self.enclave]
        self.startup = [r for r in schedule.startup if r.enclave == self.enclave]
        self.shutdown = [r for r in schedule.shutdown if r.enclave == self.enclave]
        self.modes = Modes(self) if self.graph.modes else None
        self.start_time_ns = start_time_ns
        self.early = Generators(self, always=self.recorder.serial)
        self._commanded = True
        for tag, targets in replay:
            mine = [t for t in targets if self.graph.reactors[t[0]].enclave == self.enclave]
            if mine:
                self.queue(tag, self.tuning.signal, mine)

    # -- from other threads -----------------------------------------------------------------------------------------

    def post(self, signal: Action, delay: int = 0, value: Any = None) -> None:
        """Schedule a physical action; any thread, never blocking. Its tag is fixed by the physical time of this call.

        What was accepted is never lost while the run goes on; what comes after its end is ignored.

        Raises:
            InboxFullError: if `inbox_limit` events of that action wait already. Threads that post at the same instant may
                together exceed the limit by one each: nothing is locked.
        """
        if len(self.inbox) + len(signal.pending) >= self.inbox_limit and not self.ended:
            with self._refusing:
                self.refused += 1
            raise InboxFullError(
                f"{signal.name}: {self.inbox_limit} scheduled events wait to be handled; this one is refused. The program does not keep "
                f"up: schedule less often, or give the action min_spacing and a policy. run.status()['refused'] counts these.",
                action=signal.name,
            )
        self._put(signal, delay, value)

    def tune(self, targets: list[Target]) -> None:
        """Change parameters of this enclave's reactors, at a tag that comes soon; any thread."""
        self.post(self.tuning.signal, value=targets)

    def _put(self, signal: Action, delay: int, value: Any) -> None:
        if not self.ended:
            self.inbox.append((signal, self.clock.elapsed_ns(), delay, value))
            self.wake.set()

    def command(self, *, stop: bool = False, paused: bool | None = None, steps: int = 0) -> None:
        """Stop, pause, resume or step; any thread."""
        with self._command_lock:
            self._stop = self._stop or stop
            if paused is not None:
                self._paused = paused
                self._steps = 0
            self._steps += steps
            self._commanded = self._stop or self._paused or self._window is not None or self.early is not None
        self.wake.set()

    def nudge(self) -> None:
        """Have the leader look for libraries that came meanwhile; any thread."""
        with self._command_lock:
            self._commanded = True

    def sample(self, window: Window) -> None:
        """Watch what the enclave executes from its next tag on, for as long as the window says; any thread."""
        with self._command_lock:  # nobody is woken: where nothing happens there is nothing to see
            self._window = window
            self._commanded = True

    def abandon(self) -> None:
        """In a forked child, which has none of the threads: what they held is free, what is scheduled is ignored."""
        self._command_lock = threading.Lock()
        self._refusing = threading.RLock()
        self.wake = Wake()
        self.ended = True

    # -- from reactions ---------------------------------------------------------------------------------------------

    def current_tag(self) -> Tag:
        """The tag that is being executed."""
        return Tag(self.time_ns, self.microstep)

    def physical_elapsed_ns(self) -> int:
        """Physical time since the start of the run."""
        return self.clock.elapsed_ns()

    @property
    def run_is_over(self) -> bool:
        """Whether every enclave of the run has executed its last tag."""
        return all(s.over for worker in self.workers for s in worker.enclaves)

    def request_stop(self) -> None:
        """Stop at the next microstep; from a reaction or from any other thread."""
        self.command(stop=True)

    def with_deadline(
        self, body: Callable[[], None], late: Callable[[], None], deadline: int, instance: Reactor
    ) -> Callable[[], None]:
        """A call that runs `late` instead of `body` once physical time has passed the tag by more than the deadline."""
        limit = Deadline(self, deadline, late)
        self.deadlines.append(limit)

        def call() -> None:
            if limit.is_missed():
                limit.missed += 1
                late()
                return
            # For check_deadline and update_deadline in the body; reactions of one reactor run one at a time.
            object.__setattr__(instance, "_deadline", limit)
            try:
                body()
            finally:
                object.__setattr__(instance, "_deadline", None)

        return call

    def watchdog(self, signal: Action, timeout: int) -> tuple[Callable[..., None], Callable[[], None]]:
        """`start` and `stop` of a watchdog, which posts its expiry."""
        dogs = self.watchdogs

        def start(extra: int = 0) -> None:
            dogs.start(signal, timeout + int(extra))

        def stop() -> None:
            dogs.stop(signal)

        return start, stop

    def _expired(self, dog: Action) -> None:
        self._put(dog, 0, None)

    # -- leading ----------------------------------------------------------------------------------------------------

    def go(self, me: Worker) -> int:
        """Execute tags until none can be executed now.

        Returns:
            `until`.
        """
        if self.over:
            return forever
        self.waiting = False
        try:
            if self._open():
                self._tags(me)
        except BaseException as error:  # noqa: BLE001 - a fault of ours must end the run, not hang it
            self.failure = self.failure or error
            self.over = True
        if self.failure is not None and self.gate is not None:
            self.gate.failed(self)
        if self.over:
            self._finish()
            return forever
        self.waiting = True
        return self.until

    def _tags(self, me: Worker) -> None:  # noqa: C901 - one loop on purpose: a call costs as much as a small reaction
        """Execute the tag that is open and all that can follow it: the loop in which a run spends its time."""
        buffers = self.buffers
        levels, cleared, fired, requests = buffers.levels, buffers.cleared, buffers.fired, buffers.requests
        clear = cleared.extend
        # With one worker nothing is shared, so nothing is measured.
        run_level, share_above = self.level_runner.run, self.level_runner.policy.share_above_ns
        measuring = self.width > 1 and not self.recorder.serial
        slow = False
        # A tag's end is short where no mode can change, no other enclave waits for word, nothing is recorded and the run does not end
        # at this time; that of the first tag is long, for then the worker settles.
        no_tag_end_work = self.modes is None and self.gate is None and not self.recorder.records_values
        now, before, replace = time.perf_counter_ns, 0, heapq.heapreplace
        periodic, heap, inbox, upcoming = self.periodic, self.heap, self.inbox, self.upcoming
        uniform_levels = all(buffers.plain) and not self.recorder.records_reactions and not self.level_runner.profiled
        timers = len(periodic)
        # Locals are what is looked at in each tag; what others read is stored as it changes.
        ran, tags, time_ns, microstep, stop = (
            self.reactions_done,
            self.tags_done,
            self.time_ns,
            self.microstep,
            self.stop_tag,
        )
        stop_ns = forever if stop is None else stop[0]
        fast_path = no_tag_end_work and tags > 0 and time_ns < stop_ns
        # What is alone at the beginning of its tag is called at once; `level_range` are the levels that may follow.
        arriving: DelayedEdge | None = None
        beat: Any = None
        call: Callable[[], None] | None = None
        clears: tuple[InPort, ...] = ()
        level_range = range(self.top + 1)
        while True:
            if call is not None:
                try:
                    call()
                except BaseException as error:  # noqa: BLE001 - a reaction may raise anything
                    first = (beat[4] if arriving is None else arriving).fanout.sole_group
                    assert first is not None
                    self._failed(self.level_runner.failed_in((first,), first, error), ran - first.size)
                    return
                if clears:
                    clear(clears)
                if requests:
                    self._serve()
                call = None
            for level in level_range:
                groups = levels[level]
                if groups:
                    group = groups.pop()
                    if groups or not group.direct or (slow and group.size > 1):
                        groups.append(group)
                        try:
                            ran += run_level(me, level, groups)
                        except ReactionFailed as failed:
                            self._failed(failed, ran)
                            return
                    else:
                        group.queued = False
                        ran += group.size
                        try:
                            group.call()
                        except BaseException as error:  # noqa: BLE001 - a reaction may raise anything
                            self._failed(self.level_runner.failed_in((group,), group, error), ran - group.size)
                            return
                        if group.clears:
                            clear(group.clears)
                    if requests:
                        self._serve()
            # The tag ends. The clock is read every eighth time: where tags lately took long, levels are measured one by one.
            if measuring and not tags & 7:
                moment = now()
                slow = moment - before >= 8 * share_above
                before = moment
            tags += 1
            if cleared:
                for handle in cleared:
                    handle.is_present = False
                cleared.clear()
            self.reactions_done, self.tags_done = ran, tags
            if fired:
                signal = fired.pop()
                arriving = signal.zero_delay_edge
                if (
                    arriving is None
                    or not fast_path
                    or fired
                    or upcoming
                    or self._commanded
                    or inbox
                    or (heap and heap[0][0] <= time_ns)
                ):
                    fired.append(signal)
                    self._send(fired)
                else:
                    # The usual case in a loop of zero delays: the next microstep, with no need to look at the clock.
                    signal.fired = False
                    arriving.deliver(signal.state.value)
                    self.microstep = microstep = microstep + 1
                    if arriving.clears:
                        clear(arriving.clears)
                    fanout = arriving.fanout
                    first = fanout.sole_group
                    if first is not None and first.direct and not (slow and first.size > 1):
                        call, clears, level_range = first.call, first.clears, fanout.later_levels
                        ran += first.size
                        continue
                    for enqueue, group in fanout.groups:
                        if not group.queued:
                            group.queued = True
                            enqueue(group)
                    level_range = fanout.level_range
                    continue
            if not fast_path:
                if self.modes is not None:
                    self.modes.end_of_tag()
                stop = self.stop_tag  # another enclave's leader may have named the last tag meanwhile
                if stop is not None and stop <= (time_ns, microstep):
                    self.over = True
                    return
            elif self._commanded or inbox or (heap and heap[0][0] <= time_ns):
                pass
            elif upcoming:
                self.microstep = microstep = microstep + 1
                events = upcoming.copy()
                upcoming.clear()
                self.top = -1
                self._load(events)
                level_range = range(self.top + 1)
                continue
            elif uniform_levels and periodic and not heap:
                # Only timers are due. One that is alone at its tag and that nobody reads has its reaction called at once.
                moment, order, beat = periodic[0]
                # Of what is not needed not even a reference is counted: 10,000 timers do not fit a cache.
                due = beat[0]
                if not (
                    due is None
                    or (timers > 1 and periodic[1][0] == moment)  # the next smallest of a heap is one of these two
                    or (timers > 2 and periodic[2][0] == moment)
                    or moment >= stop_ns
                    or not (self.fast or self.clock.elapsed_ns() >= moment)
                ):
                    replace(periodic, (moment + beat[1], order, beat))
                    self.time_ns = time_ns = moment
                    self.microstep = microstep = 0
                    arriving, call, level_range, clears = None, due, beat[2], beat[3]
                    ran += 1
                    continue
            if not me.settled:
                me.settle()
            if not self._open():
                return
            time_ns, microstep, stop = self.time_ns, self.microstep, self.stop_tag
            stop_ns = forever if stop is None else stop[0]
            fast_path = no_tag_end_work and time_ns < stop_ns
            level_range = range(self.top + 1)

    def _failed(self, failed: ReactionFailed, ran: int) -> None:
        """A reaction raised: the run is over. `ran` counts the reactions of the levels before."""
        self.failure, self.failed, self.spoilt = failed.error, failed.number, failed.spoilt
        self.reactions_done, self.over = ran + failed.counted, True

    # -- what reactions ask for -------------------------------------------------------------------------------------

    def _serve(self) -> None:
        requests = self.buffers.requests
        for signal, first, second in requests:
            if signal is None:
                assert self.modes is not None
                self.modes.request(first, second)
            else:
                delay = max(int(first), 0) + signal.min_delay
                time_ns = self.time_ns + delay
                self.schedule_action(signal, (time_ns, 0) if delay else (time_ns, self.microstep + 1), second)
        requests.clear()

    # -- tags -------------------------------------------------------------------------------------------------------

    def _open_first(self, events: list[tuple[Signal, Any]]) -> None:
        """Tag (0, 0): startup, the timers without offset, and what other enclaves sent."""
        modes = self.modes
        if modes is not None:
            modes.begin()
        for timer in self.timers:
            if modes is not None and not modes.is_active(timer.mode):
                modes.suspend_timer(timer)
                continue
            if timer.offset == 0:
                events.append((timer, None))
            elif modes is not None or not timer.period:
                self.queue((timer.offset, 0), timer, None)
            if modes is None and timer.period:
                self.every(timer.offset or timer.period, timer)
        self.top = -1
        self._trigger(self.startup)
        self._load(events)

    def _trigger(self, reactions: list[RunningReaction]) -> None:
        for enqueue, group in self.schedule.groups_of(reactions):
            if not group.queued:
                group.queued = True
                enqueue(group)
        self.top = max(self.top, max((r.reach for r in reactions), default=-1))

    def _shutdown(self) -> None:
        if self.modes is not None:
            self.modes.release_shutdown()
        self._trigger(self.shutdown)

    def _load(self, events: list[tuple[Signal, Any]]) -> None:
        """Make events present at the tag that opens."""
        buffers, top = self.buffers, self.top
        clear, fire = buffers.cleared.extend, buffers.fired.append
        modal = self.modes is not None
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
            if modal and signal.period:
                self.queue((self.time_ns + signal.period, 0), signal, None)
            elif signal.pending:
                signal.pending.discard((self.time_ns, self.microstep))
        self.top = top

    def _send(self, fired: list[Signal]) -> None:
        """The tag ends: record what was written, and pass it on to delayed connections and other enclaves."""
        if len(fired) > 1 and self.width > 1:
            fired.sort(key=_signal_order)  # in whatever order the workers of a shared level wrote them
        if self.recorder.records_values:
            self._record(fired)
        for signal in fired:
            signal.fired = False
            if signal.delays:
                self._delay(signal)
        fired.clear()

    def _record(self, fired: list[Signal]) -> None:
        """Take in what was written at this tag.

        Raises:
            UnrecordableValueError: where a fingerprint cannot take in a value.
        """
        tag = (self.time_ns, self.microstep)
        try:
            written = self.recorder.written(tag, fired)
        except UnrecordableSignal as found:
            why = found.error
            raise unrecordable(self.graph, found.signal, self.current_tag(), why) from why.__cause__
        if written is None:
            return
        if self.gate is None:
            self.recorder.end_of_tag(tag, (written,))
        else:
            self.gate.record(self, written)

    def _delay(self, signal: Signal) -> None:
        """Queue what a present signal feeds through delayed connections, or send it to the enclave that reads it."""
        value = signal.state.value
        now = (self.time_ns, self.microstep)
        for delay in signal.delays:
            if delay.last_tag == now:  # written twice at this tag: queued already
                continue
            delay.last_tag = now
            if self.modes is not None and not self.modes.is_active(delay.mode):
                continue
            if delay.physical:
                tag = (max(self.clock.elapsed_ns() + delay.after, self.time_ns + 1), 0)
            elif delay.after > 0:
                tag = (self.time_ns + delay.after, 0)
            else:
                tag = now if delay.after < 0 else (now[0], now[1] + 1)
            if delay.enclave == self.enclave:
                self.arrive(tag, delay, value)
            else:
                self._outbox.append((tag, delay, value))

    def arrive(self, tag: tuple[int, int], delay: DelayedEdge, value: Any) -> None:
        """Queue what a delayed connection or another enclave brings."""
        if delay.pending is not None:
            tag = delay.pending.free(tag)  # none is lost: values that meet follow each other in microsteps
            delay.pending.add(tag)
        self.queue(tag, delay, value)

    def _open(self) -> bool:
        """Open the next tag; false, with `until` set, if there is none that may be opened now, or `over` if there is none at all."""
        if self._commanded and not self._obey():
            self.until = forever
            return False
        tag: tuple[int, int] | None
        if self.gate is not None:
            tag = self.gate.next_tag(self, self._outbox)
            if tag is None:
                return False
        elif not self.begun:
            tag = (0, 0)
        else:
            if self.inbox:
                if len(self.inbox) == 1 and self._open_for_lone_post():
                    return True
                self.take_inbox()
            tag = self.next_tag()
            if self.untagged:
                tag = self.tuning.soonest(tag)
            if tag is None:
                if self.keepalive:
                    self.until = forever
                    return False
                # Nothing can happen any more: the run ends one microstep later.
                tag = self.stop_tag = (self.time_ns, self.microstep + 1)
            if not self.fast and tag[0] > self.time_ns and self.clock.elapsed_ns() < tag[0]:
                self.until = tag[0]
                return False
        events: list[tuple[Signal, Any]] = []
        if self.upcoming and tag == (self.time_ns, self.microstep + 1):
            events = self.upcoming.copy()
            self.upcoming.clear()
        events += self.take(tag)
        if self.untagged:
            events += self.tuning.take()
        if self.begun:
            self.time_ns, self.microstep = tag
            self.top = -1
            self._load(events)
        else:
            self.begun = True
            self._open_first(events)
        if tag == self.stop_tag:
            self._shutdown()
        return True

    def _open_for_lone_post(self) -> bool:
        """Open the tag of a physical action that is all there is to do, past the queue; false if the queue must decide."""
        signal, posted, delay, value = self.inbox[0]
        if (
            posted <= self.time_ns
            or delay > 0
            or signal.min_delay
            or signal.min_spacing is not None
            or signal is self.tuning.signal
            or self.heap
            or self.upcoming
            or self.periodic
            or self.untagged
            or self.stop_tag is not None
            or self.modes is not None
        ):
            return False
        self.inbox.popleft()
        self.time_ns, self.microstep, self.top = posted, 0, -1
        self._load([(signal, value)])
        return True

    def take_inbox(self, floor_ns: int = 0) -> None:
        """Queue what was posted from outside, not before the time up to which others were told that nothing comes."""
        inbox = self.inbox
        while inbox:
            signal, posted, delay, value = inbox.popleft()
            if signal is self.tuning.signal:
                self.untagged.append((posted, value))
                continue
            tag = (max(posted + max(int(delay), 0) + signal.min_delay, floor_ns), 0)
            if self.modes is not None and not self.modes.is_active(signal.mode):
                continue  # as in Lingua Franca, an action of an inactive mode hears nothing from outside
            self.schedule_action(signal, tag, value)

    def _obey(self) -> bool:
        """Carry out commands between two tags; false while the run is paused."""
        intraop.refresh()
        with self._command_lock:
            stop, paused, steps = self._stop, self._paused, self._steps
            if stop:
                self._stop = self._paused = False
            elif steps:
                self._steps -= 1
            goes_on = stop or not paused or steps > 0
            early = self.early
            if early is not None and goes_on and early.turn(wanted=self._window is not None):
                early = self.early = None
            # Both replace what is called: one after the other, or the window within a look that never ends.
            if (
                self._window is not None
                and (early is None or (early.always and early.is_open))
                and self._window.turn(goes_on)
            ):
                self._window = None
            self._commanded = self._stop or self._paused or self._window is not None or self.early is not None
        if stop and self.gate is not None:
            self.gate.stop_from(self)
        elif stop:
            soon = (self.time_ns, self.microstep + 1)
            if self.stop_tag is None or soon < self.stop_tag:
                self.stop_tag = soon
        return goes_on

    def _finish(self) -> None:
        """The last tag is done."""
        self.ended = True
        self.inbox.clear()
        if self.gate is not None:
            self.gate.ended(self, self._outbox)
        self.watchdogs.end()
        if self.early is not None:
            self.early.finish()
        self.on_end(self)


class Deadline:
    """The deadline of one reaction; `limit_ns` and `missed` are the reaction's own, so they need no lock."""

    def __init__(self, scheduler: Scheduler, limit_ns: int, late: Callable[[], None]) -> None:
        self._scheduler = scheduler
        self.limit_ns = limit_ns
        self.late = late
        self.missed = 0

    def is_missed(self) -> bool:
        """True once physical time has passed the tag by more than the deadline."""
        return self._scheduler.clock.elapsed_ns() - self._scheduler.time_ns > self.limit_ns


def _signal_order(signal: Signal) -> int:
    return signal.order
