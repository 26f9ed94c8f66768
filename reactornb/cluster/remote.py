"""A share, as the run of the hub has it: to everyone but the gate a scheduler like others, that executes nothing itself.

Its leader, the *driver*, is a worker of its own, which runs no reaction: it waits at the link, and for who wakes it; then it takes in what the host
has reported, asks the gate how far the host may go, and tells it. A host that is lost is replaced here.

# heard       what has come, each entry with the attempt that it is of
# all else    the driver's, but for what is read for display: `attempt`, `cpu_ns`, `machine_name`, `halting`
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, override

from reactornb.cluster.errors import HostLostError, LinkLostError, RemoteError, WireError
from reactornb.cluster.gate import Grant, HubGate
from reactornb.cluster.machine import ShareMachine
from reactornb.cluster.messages import Batch, Failed, Halt, Ready, Refused, Report, Save, Saved
from reactornb.cluster.packing import Packed
from reactornb.cluster.past import Past
from reactornb.cluster.rows import Incoming
from reactornb.cluster.times import IncomingTimes
from reactornb.cluster.values import Values
from reactornb.cluster.waking import LinkWake
from reactornb.cluster.wire import Message
from reactornb.errors import ReactionError, RunError, Source
from reactornb.runtime.machine import OVER, Wait
from reactornb.runtime.sampling import Window
from reactornb.runtime.schedule import Schedule
from reactornb.runtime.scheduler import Scheduler
from reactornb.runtime.signals import TagKey
from reactornb.runtime.tuning import Target
from reactornb.runtime.workers import Worker
from reactornb.tags import Tag, forever

__all__ = ["RemoteScheduler"]

_LOST = (LinkLostError, HostLostError, WireError)  # of one attempt: another may be made


class RemoteScheduler(Scheduler):
    """Stands for the scheduler of a share.

    Args:
        share: its number among the shares.
        connect: gives a link to a host that has the program, and the state if there is one: called with the attempt and the past.
        values: how values travel.
        restarts: how often a lost host is replaced.
        **options: as `Scheduler` has them.

    Attributes:
        share: its number.
        link: to the host.
        attempt: how often the host was replaced.
        cpu_ns: processor time of the host's process.
        machine_name: on which it is, and the number of its process; for display.
        listens: the driver listens to its link; else somebody puts what has come into `heard`. Set before the run begins.
        times: adds to the profile what the host measures; None: the run is not profiled. Set before the run begins.
    """

    __slots__ = (
        "_connect",
        "_elsewhere",
        "_hub_gate",
        "_idle",
        "_incoming",
        "_is_stepping",
        "_past",
        "_replay",
        "_restarts",
        "_sent_below",
        "_sent_stop",
        "_seq",
        "_stop",
        "_values",
        "attempt",
        "cpu_ns",
        "halting",
        "heard",
        "link",
        "listens",
        "machine_name",
        "share",
        "times",
    )  # fmt: skip

    machine: ShareMachine

    def __init__(
        self,
        *args: Any,
        share: int,
        connect: Callable[[int, Past], Any],
        values: Values,
        elsewhere: frozenset[int],
        restarts: int,
        timeout: int | None,
        **options: Any,
    ) -> None:
        super().__init__(*args, timeout=timeout, **options)
        self.machine = ShareMachine(
            stop_tag=None if timeout is None else (timeout, 0), keepalive=self.machine.keepalive
        )
        self.share = share
        self.heard: deque[tuple[int, Message | LinkLostError]] = deque()
        self.link: Any = None
        self.attempt = self.cpu_ns = 0
        self.machine_name = ""
        self.halting = False
        self.listens = True
        self.times: IncomingTimes | None = None
        self._connect = connect
        self._values = values
        self._elsewhere = elsewhere
        self._restarts = restarts
        self._hub_gate: HubGate
        self._incoming: Incoming
        self._past: Past
        self._replay: list[tuple[TagKey, Target]] = []
        self._idle = True
        self._is_stepping = False  # what was granted last is one tag, of a paused run
        self._seq = 0
        self._sent_below: TagKey = (0, 0)
        self._sent_stop: TagKey | None = None
        self._stop: TagKey | None = None

    @override
    def adopt(self, schedule: Schedule, start_time_ns: int) -> None:
        self.schedule = schedule
        self.buffers = schedule.buffers[self.enclave]
        self.start_time_ns = start_time_ns
        assert isinstance(self.gate, HubGate)
        self._hub_gate = self.gate
        self._incoming = Incoming(schedule.instances, self.printed, self.recorder)
        tops = tuple(self.graph.reactors[top].name for top in self.graph.enclaves[self.enclave])
        self._past = Past(self.share, tops, self._incoming)

    @override
    def change_at(self, replay: Any) -> None:
        for tag, targets in replay:
            self._replay += [(tag, t) for t in targets if self.graph.reactors[t[0]].enclave == self.enclave]

    @override
    def watch(self, window: Window) -> None:
        """Nothing of a share is watched from here."""

    # -- the host -----------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Connect to a host, and wait until it is ready; before the run begins. One that is lost by then is replaced.

        Raises:
            ReactorError: if there is none, or the share cannot run there.
        """
        try:
            self._reach()
        except _LOST as lost:
            self._replace(lost.reason)

    def _reach(self) -> None:
        self.link = self._connect(self.attempt, self._past)
        if self.listens:
            self._await_ready()
            self._listen()

    def _await_ready(self) -> None:
        message = self.link.receive()
        if isinstance(message, Refused):
            raise RemoteError(f"the host of share {self.share}", message.reason, message.text)
        assert isinstance(message, Ready), message
        self.machine_name = message.machine

    def _listen(self) -> None:
        assert isinstance(self.wake, LinkWake)
        self.wake.listen(self.link, self._hear)

    def _hear(self, message: Message | Exception) -> None:
        if isinstance(message, Exception) and not isinstance(message, LinkLostError):
            message = LinkLostError(f"share {self.share}", str(message))
        self.heard.append((self.attempt, message))

    def close(self) -> None:
        """The run is over, and the driver with it."""
        if self.link is not None:
            self.link.close()
        if isinstance(self.wake, LinkWake):
            self.wake.close()

    def _replace(self, reason: str) -> None:
        """Have another host go on from the last state, and send it all that the lost one was sent since. It may be lost, too, also before it came."""
        while True:
            if self.link is not None:
                self.link.close()
            if self.attempt >= self._restarts:
                raise HostLostError(self.share, self.attempt, reason)
            self.attempt += 1
            try:
                self._past.again()
                if self.times is not None:
                    self.times.again()
                self._reach()
                for batch in self._past.batches:
                    self.link.send(batch)
            except _LOST as lost:
                reason = lost.reason
                continue
            break
        self.halting = False
        self._idle = False  # until it says so itself
        self.machine.again((batch.seq, [message[:2] for message in batch.messages]) for batch in self._past.batches)

    # -- the driver ---------------------------------------------------------------------------------------------------------

    @override
    def go(self, me: Worker) -> int:
        if self.over:
            return forever
        until = forever
        try:
            try:
                self._take_in()
                if not self._is_ending():
                    until = self._exchange()
            except LinkLostError as lost:
                self._replace(lost.reason)
                until = 0
        except BaseException as error:  # noqa: BLE001 - as `Scheduler.go`
            self.failure = error
        if self.failure is not None:
            self._hub_gate.failed(self.enclave)
            self.over = True
        if self.over:
            self._hub_gate.take_last(self.machine, self._stop)
            self.machine.is_over = True
            self._finish()
            return forever
        self.waiting = self._idle
        self.until = until
        return until

    def _is_ending(self) -> bool:
        return self.over or self.failure is not None

    def _take_in(self) -> None:
        if self.listens:
            assert isinstance(self.wake, LinkWake)
            self.wake.look()
        while self.heard and not self._is_ending():
            attempt, message = self.heard.popleft()
            if attempt != self.attempt:
                continue  # of a host that was replaced
            if isinstance(message, LinkLostError):
                raise message
            if isinstance(message, Report):
                self._take_report(message)
            elif isinstance(message, Saved):
                self._past.saved(message)
                if self.times is not None:
                    self.times.mark()
            elif isinstance(message, Failed):
                self._fail(message)

    def _take_report(self, told: Report) -> None:
        machine = self.machine
        self.cpu_ns = told.cpu_ns
        self._incoming.take(told.logs, told.prints)
        if self.times is not None:
            self.times.take(told.spans)
        report = self._past.take(told)
        if report is None:
            return
        signals = self.schedule.signals
        for time_ns, microstep, number, at in report.messages:
            edge: Any = signals[number]
            value: Any = report.values[at]
            if edge.enclave not in self._elsewhere:
                value = self._values.value(value, f"Report.values[{at}]")
            machine.outbox.append(((time_ns, microstep), edge, value))
        machine.received += len(report.messages)
        machine.sums += [((time_ns, step), int.from_bytes(terms, "little")) for time_ns, step, terms in report.sums]
        machine.told(report.seq, report.head, report.done)
        self.tags_done, self.reactions_done = report.tags, report.reactions
        self._idle = report.idle and report.seq == self._seq
        if self._idle and self.halting:
            self.halting = False
            self._past.halted(report.head)
        if report.stop is not None:
            self._stop = report.stop
        self.over = report.over

    def _exchange(self) -> int:
        goes_on, one_tag = True, False
        if self.commands.paused and not self._idle:
            goes_on = self._is_stepping  # else it is halted, and the step is lost
        elif self.commands.given:
            goes_on = self.commands.take().goes_on
            one_tag = self.commands.paused
        step = self._hub_gate.exchange(
            self.enclave, self.machine, idle=self._idle, stop=self._stop, may_go=goes_on and not self._is_waiting_for_step(), one_tag=one_tag
        )  # fmt: skip
        self._stop = None
        if step is OVER:
            self.over = True
            return forever
        if isinstance(step, Grant):
            self._is_stepping = one_tag
            self._send(step)
            return forever
        may_halt = not self._idle and not self.halting and not self._past.is_behind
        if may_halt and (not goes_on or self._hub_gate.must_halt(self.machine)):
            self.halting = True
            self.link.send(Halt(self._seq))
        assert isinstance(step, Wait)
        return step.until_ns

    def _is_waiting_for_step(self) -> bool:
        return self._is_stepping and not self._idle and self.commands.paused

    def _send(self, grant: Grant) -> None:
        is_news = grant.messages or grant.changes or grant.below > self._sent_below or grant.stop != self._sent_stop
        if not self._idle and not is_news:
            return
        values: list[Packed] = []
        places: dict[int, int] = {}

        def place(value: Any, name: str) -> int:
            if id(value) not in places:
                places[id(value)] = len(values)
                values.append(value if type(value) is Packed else self._values.pack(value, name))
            return places[id(value)]

        self._seq += 1
        messages = tuple((*tag, edge.order, place(value, edge.name)) for tag, edge, value in grant.messages)
        changes = [*grant.changes, *((tag, *target) for tag, target in self._replay)]
        self._replay.clear()
        reactors = self.graph.reactors
        batch = Batch(
            seq=self._seq,
            below=grant.below,
            report_from=(0, 0),
            stop=grant.stop,
            seen=grant.seen,
            messages=messages,
            changes=tuple(
                (*tag, reactor, name, place(value, f"{reactors[reactor].name}.{name}"))
                for tag, reactor, name, value in changes
            ),
            values=tuple(values),
        )
        self.machine.sent(self._seq, grant.messages)
        self._idle = False
        self._sent_below, self._sent_stop = grant.below, grant.stop
        is_time = self._past.sent(batch)
        self.link.send(batch)
        if is_time:
            self.link.send(Save(self._seq))

    def _fail(self, failed: Failed) -> None:
        """A reaction raised there."""
        tag = Tag(failed.time_ns, failed.microstep)
        source = Source(failed.file, failed.line) if failed.file else None
        cause = RemoteError(f"the host of share {self.share}", failed.kind, failed.traceback)
        error: BaseException
        if failed.reaction:
            error = ReactionError(failed.text, reaction=failed.reaction, tag=tag, source=source)
        else:
            error = RunError(failed.text)
        error.__cause__ = cause
        self.machine.queue.time_ns, self.machine.queue.microstep = tag
        self.failure, self.failed = error, failed.number
