"""What happens next: the state machine of one enclave. Pure and single-threaded: it runs nothing, waits for nothing, locks nothing.
It is told what time it is, and asks for it only where a physical connection is fed.

The scheduler tells it what was asked for and what physical time it is, and is told which tag is open, with its events:

    next(now) -> Open(tag, events, starts) | Wait(until) | OVER        close()        next(now) -> ...

The machine owns the event queue, the modes, the timers and the changes of parameters, each of which says in its turn what the next tag
is (`TagSource`). All of it belongs to the leader of the enclave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from reactornb.graph import Graph
from reactornb.runtime.cut import EnclaveCut, Named
from reactornb.runtime.events import EventQueue
from reactornb.runtime.modes import Modes
from reactornb.runtime.reactions import RunningReaction
from reactornb.runtime.schedule import Schedule
from reactornb.runtime.signals import Action, DelayedEdge, Parameter, Queued, Signal, TagKey, Timer
from reactornb.runtime.trace import Recorder
from reactornb.runtime.tuning import Target, Tuning
from reactornb.tags import forever

__all__ = ["OVER", "Machine", "Message", "Open", "Outside", "Over", "Posted", "TagSource", "Wait", "due_ns"]


class Open(NamedTuple):
    """A tag is open.

    Attributes:
        tag: the current one from now on.
        events: what becomes present.
        starts: what is ready besides what the events trigger: the startup reactions at the first tag, the shutdown reactions at the last.
            A tag that is both has both, apart: a reaction may be among both, and together they would be groups that `Schedule` does not know.
    """

    tag: TagKey
    events: list[Queued]
    starts: tuple[Sequence[RunningReaction], ...]


class Wait(NamedTuple):
    """No tag may be opened now.

    Attributes:
        until_ns: physical time at which to ask again; `forever`: not before something is posted or commanded.
    """

    until_ns: int


class Over:
    """The last tag is done."""


OVER: Final = Over()

Message = tuple[TagKey, DelayedEdge, Any]
"""What an enclave sends to another: the tag at which it arrives, what carries it, the value."""

Posted = tuple[Action | None, int, int, Any]
"""What another thread asks for: an action, the physical time in ns at which it asked, the delay, the value. Without an action: the value is a
list of targets, parameters to be changed."""


class TagSource(Protocol):
    """Something besides the event queue that brings events: modes that are entered, changes of parameters.

    A source returns what it means and sets nothing of the machine's; it may add to the event queue that it was given, and take from it.
    """

    def next_tag(self, earliest: TagKey | None) -> TagKey | None:
        """The next tag, given the earliest that others have events for: that, or an earlier one."""
        ...

    def take(self) -> Sequence[Queued]:
        """Its events of the tag that opens, which is the queue's current one already."""
        ...

    def close(self) -> None:
        """The reactions of the open tag have run."""
        ...


class Outside(Protocol):
    """What stands between a machine and the outside in a run that is recorded or replayed; see `outside.py`."""

    def accept(self, posted: Iterable[Posted], floor_ns: int) -> None:
        """As `Machine.accept`; takes nothing of `posted` while a replay lasts."""
        ...

    def arrives(self, edge: DelayedEdge, time_ns: int) -> int:
        """The time at which a physical connection's value arrives: this one, or that of the run that is replayed."""
        ...

    def stopped(self, tag: TagKey, *, everywhere: bool) -> None:
        """The end is asked for from outside, at this tag; `everywhere`: in all enclaves."""
        ...


class Machine:
    """The state machine of one enclave.

    Args:
        stop_tag: the last tag, or None if nothing ends the run but a command or the lack of events.
        keepalive: without events, wait for what is posted instead of ending.

    Attributes:
        queue: the events.
        asked: the last tag, if it was asked for: not because a timeout says so.
        tuning: the changes of parameters; from `adopt` on.
        modes: of the enclave; None without any.
        begun: the first tag has been opened.
        is_over: the last tag has been closed.
        outbox: what is to be sent to other enclaves; emptied by the gate.
        border: records or replays what comes from outside; None: neither.
    """

    __slots__ = (
        "_elapsed_ns", "_enclave", "_shutdown", "_sources", "_startup", "_timers", "asked", "begun", "border", "is_over", "keepalive", "modes", "outbox", "queue",
        "tuning",
    )  # fmt: skip

    def __init__(self, *, stop_tag: TagKey | None, keepalive: bool) -> None:
        self.queue = EventQueue(stop_tag)
        self.keepalive = keepalive
        self.begun = False
        self.is_over = False
        self.modes: Modes | None = None
        self.outbox: list[Message] = []
        self.border: Outside | None = None
        self.asked: TagKey | None = None
        self.tuning: Tuning
        self._sources: tuple[TagSource, ...] = ()
        self._timers: Sequence[Timer] = ()
        self._startup: Sequence[RunningReaction] = ()
        self._shutdown: Sequence[RunningReaction] = ()
        self._enclave = 0
        self._elapsed_ns: Callable[[], int] = _never_asked

    def adopt(
        self, graph: Graph, enclave: int, schedule: Schedule, recorder: Recorder, *, elapsed_ns: Callable[[], int], gated: bool
    ) -> None:  # fmt: skip
        """Make the schedule's part of an enclave one's own; before the first tag.

        Args:
            graph: what runs.
            enclave: which part of it.
            schedule: of the graph.
            recorder: what is recorded of the run.
            elapsed_ns: physical time, asked for where a physical connection is fed.
            gated: there are other enclaves.
        """
        self._enclave = enclave
        self._elapsed_ns = elapsed_ns
        self._timers = [t for t in schedule.timers if t.enclave == enclave]
        self._startup = [r for r in schedule.startup if r.enclave == enclave]
        self._shutdown = [r for r in schedule.shutdown if r.enclave == enclave]
        self.tuning = Tuning(graph, schedule, self.queue, recorder, opens_tags=not gated)
        if graph.modes:
            self.modes = Modes(graph, enclave, schedule, self.queue)
            self._sources = (self.modes, self.tuning)
        else:
            self._sources = (self.tuning,)

    # -- what is asked for ------------------------------------------------------------------------------------------

    def accept(self, posted: Iterable[Posted], floor_ns: int = 0) -> None:
        """Queue what other threads asked for.

        Args:
            posted: in the order in which it came.
            floor_ns: others were told that nothing comes before this time.
        """
        if self.border is not None:
            self.border.accept(posted, floor_ns)
            return
        for action, posted_ns, delay, value in posted:
            if action is None:
                self.tuning.accept(posted_ns, value)
            else:
                self.bring(action, max(due_ns(action, posted_ns, delay), floor_ns), value)

    def bring(self, action: Action, time_ns: int, value: Any) -> None:
        """Queue an action's event from outside. As in Lingua Franca, an action of an inactive mode hears nothing."""
        if self.modes is None or self.modes.is_active(action.mode):
            self.queue.schedule(action, (time_ns, 0), value)

    def change_at(self, tag: TagKey, targets: Iterable[Target]) -> None:
        """Change parameters at a tag that is known: a run is replayed."""
        for parameter, value in self.tuning.events(targets):
            self.queue.add(tag, parameter, value)

    def serve(self, requests: list[tuple[Any, Any, Any]]) -> None:
        """Carry out what the reactions of a level asked for, and empty the list; see `TagBuffers.requests`."""
        queue = self.queue
        for action, first, second in requests:
            if action is None:
                assert self.modes is not None
                self.modes.request(first, second)
            else:
                delay = max(int(first), 0) + action.min_delay
                tag = (queue.time_ns + delay, 0) if delay else (queue.time_ns, queue.microstep + 1)
                queue.schedule(action, tag, second)
        requests.clear()

    def feed(self, signal: Signal) -> None:
        """The tag ends: queue what a present signal feeds through delayed edges, or put it into the outbox."""
        queue, value = self.queue, signal.state.value
        now = (queue.time_ns, queue.microstep)
        for edge in signal.delays:
            if edge.last_tag == now:  # written twice at this tag: queued already
                continue
            edge.last_tag = now
            if self.modes is not None and not self.modes.is_active(edge.mode):
                continue
            if edge.physical:
                arrives_ns = self._elapsed_ns() + edge.after
                if self.border is not None:
                    arrives_ns = self.border.arrives(edge, arrives_ns)
                tag = (max(arrives_ns, now[0] + 1), 0)
            elif edge.after > 0:
                tag = (now[0] + edge.after, 0)
            else:
                tag = now if edge.after < 0 else (now[0], now[1] + 1)
            if edge.enclave != self._enclave:
                self.outbox.append((tag, edge, value))
            elif edge.pending is None:
                queue.add(tag, edge, value)
            else:
                queue.arrive(edge, tag, value)

    def stop_by(self, tag: TagKey) -> None:
        """End at this tag at the latest."""
        queue = self.queue
        if queue.stop_tag is None or tag < queue.stop_tag:
            queue.stop_tag = tag
        if self.asked is None or tag < self.asked:
            self.asked = tag

    def stop_from_outside(self, tag: TagKey, *, everywhere: bool) -> None:
        """The same, because somebody outside of the program wants it.

        Args:
            everywhere: the other enclaves end at that tag, too.
        """
        if self.border is not None:
            self.border.stopped(tag, everywhere=everywhere)
        self.stop_by(tag)

    # -- cuts -------------------------------------------------------------------------------------------------------

    def load(self, part: EnclaveCut, named: Named) -> None:
        """Begin as an enclave that was cut, of a run of the same program."""
        self.begun, self.is_over = part.begun, part.is_over
        self.queue.load(part.queue, named)
        self.tuning.load(part.tuning, named)
        if self.modes is not None and part.begun and part.modes is not None:
            self.modes.load(part.modes, named)

    # -- tags -------------------------------------------------------------------------------------------------------

    def next(self, now_ns: int) -> Open | Wait | Over:
        """Open the next tag, if there is one and its time has come.

        Args:
            now_ns: physical time; `forever` in a run that does not wait for it.
        """
        if self.is_over:
            return OVER
        queue = self.queue
        tag = self.limited(self.earliest())
        if tag is None:
            if self.keepalive:
                return Wait(forever)
            # Nothing can happen any more: the run ends one microstep later.
            tag = queue.stop_tag = queue.next_microstep
        if now_ns < tag[0] > queue.time_ns:
            return Wait(tag[0])
        return self.open(tag)

    def earliest(self) -> TagKey | None:
        """The earliest tag for which there are events, whatever the stop tag; None if there is none."""
        if not self.begun:
            return (0, 0)
        tag = self.queue.next_tag()
        for source in self._sources:
            tag = source.next_tag(tag)
        return tag

    def limited(self, earliest: TagKey | None) -> TagKey | None:
        """The next tag, given that: it, or the stop tag; None if nothing is to come."""
        stop = self.queue.stop_tag
        if stop is not None and (self.keepalive if earliest is None else earliest > stop):
            return stop
        return earliest

    def coming(self) -> TagKey | None:
        """The tag that `next` would open when its time has come; None if nothing is to come."""
        tag = self.limited(self.earliest())
        return self.queue.next_microstep if tag is None and not self.keepalive else tag

    def open(self, tag: TagKey) -> Open:
        """Open a tag. The caller knows that it is the next one."""
        queue, modes = self.queue, self.modes
        events = queue.take(tag)
        for source in self._sources:
            events += source.take()
        starts: tuple[Sequence[RunningReaction], ...] = ()
        if not self.begun:
            self.begun = True
            events += self._begin()
            starts = (self._startup,)
        if modes is not None:
            for signal, _ in events:
                if signal.period:
                    queue.add((tag[0] + signal.period, 0), signal, None)
                elif isinstance(signal, Parameter):
                    modes.keep_for_later(signal.triggers)
        if tag == queue.stop_tag:
            if modes is not None:
                modes.release_shutdown()
            starts = (*starts, self._shutdown)
        return Open(tag, events, starts)

    def _begin(self) -> list[Queued]:
        """The first tag: the timers without offset are present, the others are queued."""
        queue, modes = self.queue, self.modes
        if modes is not None:
            modes.begin()
        present: list[Queued] = []
        for timer in self._timers:
            if modes is not None and not modes.is_active(timer.mode):
                modes.suspend_timer(timer)
                continue
            if timer.offset == 0:
                present.append((timer, None))
            elif modes is not None or not timer.period:
                queue.add((timer.offset, 0), timer, None)
            if modes is None and timer.period:
                queue.every(timer.offset or timer.period, timer)
        return present

    def close(self) -> None:
        """The reactions of the open tag have run, and `feed` was called for what they wrote."""
        for source in self._sources:
            source.close()
        stop = self.queue.stop_tag
        self.is_over = stop is not None and stop <= self.queue.now


def due_ns(action: Action, posted_ns: int, delay: int) -> int:
    """Physical time for which a physical action was scheduled."""
    return posted_ns + max(int(delay), 0) + action.min_delay


def _never_asked() -> int:
    raise AssertionError("a machine without a schedule has no physical connections")
