"""The scheduler: tags, the event queue, levels, and what ends a run.

One `Scheduler` owns an event queue and a current tag. Worker 0 leads it, except between its last reaction of a shared level
and the moment when that level is closed (see `workers.py`).

# heap, events, upcoming, tag, counters, modes, stop_tag
#               read and written by the leader only; what the reactions of a shared level wrote reaches it through the
#               batch: `done` orders it before the closer, the mailbox's lock orders the closer before worker 0
# tag           also read by reactions of the level that runs (written before the batch is offered) and, for display
#               only, by other threads, which may see the time of one tag with the microstep of the next
# schedule.levels, cleared, fired, requests
#               see `schedule.Schedule`
# inbox         deque: appended to by any thread, taken from by the leader; every append is followed by wake.set(), and
#               the leader clears `wake` before it looks at the inbox, so nothing is slept over
# _stop, _paused, _steps
#               commands from other threads, under _command_lock; the leader looks at `_commanded` once a tag
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from reactornb.graph import Graph
from reactornb.model import Reactor
from reactornb.runtime.clock import Clock
from reactornb.runtime.events import EventQueue
from reactornb.runtime.modes import Modes
from reactornb.runtime.schedule import Schedule
from reactornb.runtime.signals import Group, RunningReaction, Signal
from reactornb.runtime.trace import Recorder, failure
from reactornb.runtime.workers import Batch, Worker
from reactornb.tags import Tag

__all__ = ["Scheduler"]


class Scheduler(EventQueue):
    """Runs one graph once.

    Args:
        graph: what to run.
        workers: number of threads.
        seed: the run's seed.
        clock: physical time.
        timeout: logical time in ns at which the run ends, or None.
        fast: do not wait for physical time.
        keepalive: do not end when no event is left; None: exactly when the graph has physical actions.
        recorder: trace, fingerprint and value checks.
        on_end: called once, on the last leader's thread, with the failure or None.
        on_worker: gives the context (its core) in which a worker's thread runs.
        name: of the run, for the threads.
    """

    # A level is offered to other workers if its estimated work is above what handing over costs.
    share_above_ns = 40_000

    def __init__(
        self,
        graph: Graph,
        *,
        workers: int,
        seed: int,
        clock: Clock,
        timeout: int | None,
        fast: bool,
        keepalive: bool | None,
        recorder: Recorder,
        on_end: Callable[[BaseException | None], None],
        on_worker: Callable[[int], AbstractContextManager[Any]],
        name: str,
    ) -> None:
        super().__init__(
            stop_tag=None if timeout is None else (timeout, 0),
            keepalive=any(a.physical for a in graph.actions) if keepalive is None else keepalive,
        )
        self.graph = graph
        self.clock = clock
        self.fast = fast
        self.recorder = recorder
        self.on_end = on_end
        self.start_time_ns = 0
        self.tags_done = 0
        self.reactions_done = 0
        self.top = -1
        self.level_cost: dict[int, int] = {}  # level -> estimated ns per reaction
        self.failure: BaseException | None = None
        self.inbox: deque[tuple[Signal, int, int, Any]] = deque()
        self.wake = threading.Event()
        self._command_lock = threading.Lock()
        self._commanded = False
        self._stop = False
        self._paused = False
        self._steps = 0
        self.waiting = False  # for display: the leader waits for physical time, an action or to be resumed
        self.watchdog_stops: list[Callable[[], None]] = []
        self.seed = seed
        # schedule and modes are made by worker 0's thread before `start` returns (_built orders the two): on free-threaded
        # builds an object is cheapest to the thread that made it, and worker 0 does all that is not shared.
        self.schedule: Schedule
        self.modes: Modes | None = None
        self._built = threading.Event()
        self.width = workers
        self.workers = [Worker(i, f"reactornb-{name}-{i}", self, on_worker) for i in range(workers)]

    # -- from other threads -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the threads; worker 0 builds the schedule and leads first.

        Raises:
            ReactorError, or whatever a parameter or state factory raises: then no thread is left.
        """
        opening = _Opening(self)
        self.workers[0].offer(Batch([opening], -1))
        for worker in self.workers:
            worker.thread.start()
        self._built.wait()
        if opening.error is not None:
            for worker in self.workers:
                worker.thread.join()
            raise opening.error

    def _build(self) -> None:
        self.schedule = Schedule(self.graph, self, self.seed, record=self.recorder.records_values)
        self.modes = Modes(self) if self.graph.modes else None
        self.start_time_ns = self.clock.start()

    def post(self, signal: Signal, delay: int = 0, value: Any = None) -> None:
        """Schedule a physical action; any thread. Its tag is fixed by the physical time of this call."""
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
            self._commanded = self._stop or self._paused
        self.wake.set()

    # -- from reactions ---------------------------------------------------------------------------------------------

    def current_tag(self) -> Tag:
        """The tag that is being executed."""
        return Tag(self.time_ns, self.microstep)

    def physical_elapsed_ns(self) -> int:
        """Physical time since the start of the run."""
        return self.clock.elapsed_ns()

    def request_stop(self) -> None:
        """Stop at the next microstep; from a reaction or from any other thread."""
        self.command(stop=True)

    def with_deadline(
        self, body: Callable[[], None], late: Callable[[], None], deadline: int, instance: Reactor
    ) -> Callable[[], None]:
        """A call that runs `late` instead of `body` once physical time has passed the tag by more than the deadline."""
        limit = Deadline(self, deadline, late)

        def call() -> None:
            if limit.is_missed():
                late()
                return
            # For check_deadline and update_deadline in the body; reactions of one reactor run one at a time.
            instance.__dict__["_deadline"] = limit
            try:
                body()
            finally:
                instance.__dict__["_deadline"] = None

        return call

    def watchdog(self, signal: Signal, timeout: int) -> tuple[Callable[..., None], Callable[[], None]]:
        """`start` and `stop` of a watchdog: threading.Timer objects that post its expiry."""
        timers: list[threading.Timer] = []

        def stop() -> None:
            while timers:
                timers.pop().cancel()

        def start(extra: int = 0) -> None:
            stop()
            timer = threading.Timer((timeout + extra) / 1e9, self.post, (signal,))
            timer.daemon = True
            timers.append(timer)
            timer.start()

        self.watchdog_stops.append(stop)
        return start, stop

    # -- leading ----------------------------------------------------------------------------------------------------

    def lead(self, me: Worker, batch: Batch) -> None:
        """Close `batch` and go on until a level is shared and another worker finishes it, or the run ends.

        Leading belongs to worker 0, which made the schedule: what it touches between shared levels (queues, handles,
        reactions) is cheapest to the thread that made it. Worker 0 has just run out of reactions to claim, so it still spins.
        """
        if me.index != 0:
            batch.closed = True
            self.workers[0].offer(batch)
            return
        try:
            if self.failure is not None:
                self._finish()
                return
            self._close(batch)
            level = batch.level + 1
            while True:
                levels, top = self.schedule.levels, self.top
                while level <= top and self.failure is None:
                    groups = levels[level]
                    if groups:
                        ready = self._ready(groups)
                        offered = self._offer(me, ready, level) if self.width > 1 else None
                        if offered is None:
                            self._inline(ready, level)
                        elif offered.work(me.index):
                            self._close(offered)
                        else:
                            return
                    level += 1
                if not self._advance():
                    break
                level = 0
        except BaseException as error:  # noqa: BLE001 - a fault of ours must end the run, not hang it
            self.failure = self.failure or error
        self._finish()

    def _ready(self, groups: list[Group]) -> Sequence[RunningReaction]:
        """The reactions of a level, each once, and the level's list emptied."""
        ready: Sequence[RunningReaction] = groups[0]
        if len(groups) > 1 and groups.count(groups[0]) < len(groups):
            ready = list(dict.fromkeys(itertools.chain.from_iterable(groups)))
            if self.width > 1:
                ready.sort(key=_index)  # in whatever order the workers of a shared level queued them
        groups.clear()
        if self.modes is not None:
            ready = [r for r in ready if not r.inactive]
        return ready

    def _inline(self, ready: Sequence[RunningReaction], level: int) -> None:
        """Run one level on this worker."""
        began = time.perf_counter_ns() if self.width > 1 else 0
        self.reactions_done += len(ready)
        if self.recorder.records_reactions:
            self._inline_recorded(ready)
        else:
            r = None
            try:
                for r in ready:
                    r.call()
            except BaseException as error:  # noqa: BLE001 - a reaction may raise anything
                self._fail(r, error)
        if self.schedule.requests:
            self._serve()
        if began and ready:
            self._measure(level, (time.perf_counter_ns() - began) // len(ready))

    def _inline_recorded(self, ready: Sequence[RunningReaction]) -> None:
        check = self.recorder.level(self.current_tag(), ready)
        r = None
        try:
            for r in ready:
                r.call()
                if check is not None:
                    check(r)
        except BaseException as error:  # noqa: BLE001 - a reaction may raise anything
            self._fail(r, error)

    def _measure(self, level: int, cost: int) -> None:
        old = self.level_cost.get(level)
        self.level_cost[level] = cost if old is None else (3 * old + cost) >> 2

    def _offer(self, me: Worker, ready: Sequence[RunningReaction], level: int) -> Batch | None:
        """Share a level if that is worth it; a level not measured yet is."""
        count = len(ready)
        if count < 2 or self.recorder.serial:
            return None
        cost = self.level_cost.get(level)
        if cost is not None and cost * count < self.share_above_ns:
            return None
        # The longest first: what is left at the end is short, so the workers finish together.
        batch = Batch(sorted(ready, key=_cost), level)
        if self.recorder.records_reactions:
            self.recorder.level(self.current_tag(), ready)
        self.reactions_done += count
        helpers = count - 1
        for worker in self.workers:
            if worker is not me and helpers > 0:
                helpers -= 1
                worker.offer(batch)
        return batch

    def _close(self, batch: Batch) -> None:
        """A shared level is finished: its failures, its costs, and what its reactions asked for."""
        if batch.level < 0:
            self.open_first()
            return
        if batch.failures:
            # The failure reported is that of the reaction with the lowest number, whoever ran it and whenever.
            position, error = min(batch.failures, key=lambda f: batch.reactions[f[0]].index)
            self._fail(batch.reactions[position], error)
            return
        if self.schedule.requests:
            self.schedule.requests.sort(key=_request_order)  # stable: each action's own requests keep their order
            self._serve()
        self._measure(batch.level, sum(r.cost_ns for r in batch.reactions) // batch.size)

    def _fail(self, r: RunningReaction | None, error: BaseException) -> None:
        assert r is not None
        self.failure = failure(r, self.current_tag(), error)

    # -- what reactions ask for -------------------------------------------------------------------------------------

    def _serve(self) -> None:
        requests = self.schedule.requests
        for signal, first, second in requests:
            if signal is None:
                assert self.modes is not None
                self.modes.request(first, second)
            else:
                delay = max(int(first), 0) + signal.offset
                time_ns = self.time_ns + delay
                self.schedule_action(signal, (time_ns, 0) if delay else (time_ns, self.microstep + 1), second)
        requests.clear()

    # -- tags -------------------------------------------------------------------------------------------------------

    def open_first(self) -> None:
        """Tag (0, 0): startup and the timers without offset."""
        modes = self.modes
        if modes is not None:
            modes.begin()
        events: list[tuple[Signal, Any]] = []
        for timer in self.schedule.timers:
            if modes is not None and not modes.is_active(timer.mode):
                modes.suspend_timer(timer)
            elif timer.offset == 0:
                events.append((timer, None))
            else:
                self.queue((timer.offset, 0), timer, None)
        self.top = -1
        self._trigger(self.schedule.startup)
        self._load(events)
        if self.stop_tag == (0, 0):
            self._shutdown()

    def _trigger(self, reactions: list[RunningReaction]) -> None:
        for enqueue, group in self.schedule.groups_of(reactions):
            enqueue(group)
        self.top = max(self.top, max((r.reach for r in reactions), default=-1))

    def _shutdown(self) -> None:
        if self.modes is not None:
            self.modes.release_shutdown()
        self._trigger(self.schedule.shutdown)

    def _load(self, events: list[tuple[Signal, Any]]) -> None:
        """Make events present at the tag that opens."""
        schedule, top = self.schedule, self.top
        clear, fire = schedule.cleared.extend, schedule.fired.append
        for signal, value in events:
            signal.deliver(value)
            clear(signal.handles)
            for enqueue, group in signal.groups:
                enqueue(group)
            if signal.reach > top:
                top = signal.reach
            if signal.special:
                fire(signal)
            if signal.period:
                self.queue((self.time_ns + signal.period, 0), signal, None)
            elif signal.pending:
                signal.pending.discard((self.time_ns, self.microstep))
        self.top = top

    def _advance(self) -> bool:
        """End this tag and open the next; false when the run is over."""
        if self.failure is not None:
            return False
        fired = self.schedule.fired
        if fired:
            if len(fired) > 1 and self.width > 1:
                fired.sort(key=_signal_order)
            if self.recorder.records_values:
                self.recorder.end_of_tag(self.current_tag(), fired)
            for signal in fired:
                if signal.delays:
                    self._delay(signal)
            fired.clear()
        cleared = self.schedule.cleared
        for handle in cleared:
            handle.is_present = False
        cleared.clear()
        self.tags_done += 1
        if self.modes is not None:
            self.modes.end_of_tag()
        if self.stop_tag == (self.time_ns, self.microstep):
            return False
        if self._commanded and not self._obey():
            return False
        if self.inbox:
            self._take_inbox()
        if self.upcoming and (self.stop_tag is None or (self.time_ns, self.microstep + 1) < self.stop_tag):
            # The usual case in a loop of zero delays: the next microstep, with no need to look at the clock.
            events, self.upcoming = self.upcoming, []
            self.microstep += 1
            if self.events and (more := self.events.pop((self.time_ns, self.microstep), None)) is not None:
                self.heap.remove((self.time_ns, self.microstep))
                heapq.heapify(self.heap)
                events += more
            self.top = -1
            self._load(events)
            return True
        return self._advance_time()

    def _delay(self, signal: Signal) -> None:
        """Queue what a present signal feeds through delayed connections."""
        value = signal.state.value
        now = (self.time_ns, self.microstep)
        for delay in signal.delays:
            if delay.last_tag == now:  # written twice at this tag: queued already
                continue
            delay.last_tag = now
            if self.modes is not None and not self.modes.is_active(delay.mode):
                continue
            if delay.pending is None:
                self.upcoming.append((delay, value))
                continue
            if delay.physical:
                tag = (max(self.clock.elapsed_ns() + delay.after, self.time_ns + 1), 0)
            else:
                tag = (self.time_ns + delay.after, 0)
            while tag in delay.pending:  # none is lost: values that meet follow each other in microsteps
                tag = (tag[0], tag[1] + 1)
            delay.pending.add(tag)
            self.queue(tag, delay, value)

    def _advance_time(self) -> bool:
        """Open the next tag, waiting for physical time if the run is not fast."""
        while True:
            tag = self.next_tag()
            if tag is None:
                if not self.keepalive:
                    # Nothing can happen any more: the run ends one microstep later.
                    tag = self.stop_tag = (self.time_ns, self.microstep + 1)
                elif not self._wait(None):
                    return False
                else:
                    continue
            if not self.fast and tag[0] > self.time_ns and self.clock.elapsed_ns() < tag[0]:
                if not self._wait(tag[0]):
                    return False
                continue  # an action or a command may have come in between
            break
        if self.upcoming:  # only the stop tag can come first or at the same time
            events, self.upcoming = self.upcoming, []
        else:
            events = []
        if self.heap and self.heap[0] == tag:
            heapq.heappop(self.heap)
            events += self.events.pop(tag)
        self.time_ns, self.microstep = tag
        self.top = -1
        stopping = tag == self.stop_tag
        self._load(events)
        if stopping:
            self._shutdown()
        return True

    def _wait(self, until_ns: int | None) -> bool:
        """Wait for physical time, an action or a command; false if the run must end without another tag."""
        self.wake.clear()
        if not self.inbox and not self._commanded:
            self.waiting = True
            self.clock.wait(until_ns, self.wake)
            self.waiting = False
        if self._commanded and not self._obey():
            return False
        if self.inbox:
            self._take_inbox()
        return True

    def _take_inbox(self) -> None:
        inbox = self.inbox
        while inbox:
            signal, posted, delay, value = inbox.popleft()
            tag = (max(posted + max(int(delay), 0) + signal.offset, 0), 0)
            if self.modes is not None and not self.modes.is_active(signal.mode):
                continue  # as in Lingua Franca, an action of an inactive mode hears nothing from outside
            self.schedule_action(signal, tag, value)

    def _obey(self) -> bool:
        """Carry out commands between two tags."""
        while True:
            with self._command_lock:
                stop, paused, steps = self._stop, self._paused, self._steps
                if steps:
                    self._steps -= 1
                if stop:
                    self._stop = False
                    self._commanded = self._paused = False
            if stop:
                soon = (self.time_ns, self.microstep + 1)
                if self.stop_tag is None or soon < self.stop_tag:
                    self.stop_tag = soon
                return True
            if not paused or steps:
                return True
            self.wake.clear()
            with self._command_lock:
                still = self._paused and not self._steps and not self._stop
            if still:
                self.waiting = True
                self.wake.wait()
                self.waiting = False

    def _finish(self) -> None:
        """The run is over: let every thread go. Called once, by the last leader."""
        for stop in self.watchdog_stops:
            stop()
        for worker in self.workers:
            worker.quit()
        self.on_end(self.failure)


class Deadline:
    """The deadline of one reaction; `limit_ns` is the reaction's own, so it needs no lock."""

    def __init__(self, scheduler: Scheduler, limit_ns: int, late: Callable[[], None]) -> None:
        self._scheduler = scheduler
        self.limit_ns = limit_ns
        self.late = late

    def is_missed(self) -> bool:
        """True once physical time has passed the tag by more than the deadline."""
        return self._scheduler.clock.elapsed_ns() - self._scheduler.time_ns > self.limit_ns


class _Opening:
    """The first batch of a run: builds the schedule on the worker that leads first."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.cost_ns = 0
        self.worker = 0
        self.error: BaseException | None = None  # written before _built is set, read after it

    def call(self) -> None:
        try:
            self._scheduler._build()
        except BaseException as error:  # noqa: BLE001 - a state factory may raise anything
            self.error = self._scheduler.failure = error
        finally:
            self._scheduler._built.set()


def _signal_order(signal: Signal) -> int:
    return signal.order


def _request_order(request: tuple[Any, Any, Any]) -> int:
    # Mode changes come in the order in which each reactor asked for them; between reactors it does not matter.
    return -1 if request[0] is None else request[0].order


def _cost(r: RunningReaction) -> tuple[int, int]:
    return (-r.cost_ns, r.index)


def _index(r: RunningReaction) -> int:
    return r.index
