"""The host's side of the gate: how far a share may go, by the batches that have come; and what it tells the hub of itself.

The share executes every tag below `below` unasked. What it sends may come back: a message at tag m to another enclave bounds it to m plus the
distance from there, until a batch says that the hub has taken the message in.

# inbox          appended to by who receives from the link, the leader or a test; taken from by the leader
# askers         appended to by any worker that runs a reaction which asks for the end; taken by the leader
# all else       the leader's
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from reactornb.cluster.messages import Batch, Halt, Report, Save, Saved
from reactornb.cluster.packing import Packed
from reactornb.cluster.rows import Outgoing
from reactornb.cluster.times import OutgoingTimes
from reactornb.cluster.values import Values
from reactornb.cluster.wire import Message
from reactornb.durable.objects import NotSavableError
from reactornb.graph import Graph, add
from reactornb.runtime.enclaves import end_after
from reactornb.runtime.fingerprint.values import HASH_BYTES, MODULUS
from reactornb.runtime.gate_cuts import NEVER
from reactornb.runtime.machine import Message as Sent
from reactornb.runtime.machine import Open, Over, Wait
from reactornb.runtime.scheduler import Scheduler
from reactornb.runtime.signals import TagKey
from reactornb.runtime.trace import Written
from reactornb.tags import forever

__all__ = ["ShareGate"]

_EVERY_NS = 100_000_000  # a share that goes on and on tells of itself that often
_WINDOW = 256  # so many messages may be on their way before the share waits for the hub


class ShareGate:
    """What a share's scheduler asks whether it may execute its next tag; a `Passage`.

    Args:
        graph: of the run: each share is one enclave.
        declared: of the program, with the enclaves as they were declared.
        scheduler: of the share.
        values: how values travel.
        send: sends a message to the hub.
        saved: takes the share's state.
        look: puts what has come into the inbox, without waiting.

    Attributes:
        inbox: what has come from the hub.
        askers: reactors of which a reaction asked for the end.
        outgoing, times: pack what is told of the share besides; `times` is None unless the run is profiled. Set before the first tag.
        seq: of the newest batch that was taken in.
        closed: nothing more is executed, wherever the share is; set by any thread.
        sent: how many messages the share has sent, to other enclaves.
    """

    def __init__(
        self,
        graph: Graph,
        declared: Graph,
        scheduler: Scheduler,
        values: Values,
        send: Callable[[Message], None],
        saved: Callable[[], Saved],
        look: Callable[[], None],
    ) -> None:
        self.inbox: deque[Message] = deque()
        self.askers: list[int] = []
        self.outgoing: Outgoing
        self.times: OutgoingTimes | None = None
        self.seq = self.sent = 0
        self.closed = False
        self._graph = graph
        self._declared = declared
        self._scheduler = scheduler
        self._values = values
        self._send = send
        self._saved = saved
        self._look = look
        self._is_to_save = False
        self._below: TagKey = (0, 0)
        self._limit: TagKey = (0, 0)
        self._bounds: deque[tuple[int, TagKey]] = deque()  # (number of the message, how far it lets the share go)
        self._report_from: TagKey = (0, 0)
        self._seen = 0
        self._final = False  # the stop tag is that of the end
        self._halted = False
        self._idle = False
        self._has_news = False
        self._stop: TagKey | None = None
        self._messages: list[Sent] = []
        self._sums: list[tuple[TagKey, int]] = []
        self._reported_ns = time.monotonic_ns()

    # -- from the hub -------------------------------------------------------------------------------------------------------

    def take_in(self) -> None:
        """Take in what has come."""
        while self.inbox:
            message = self.inbox.popleft()
            self._has_news = True
            if isinstance(message, Batch):
                self._take_batch(message)
            elif isinstance(message, Halt):
                self._halted = True
            elif isinstance(message, Save):
                self._is_to_save = True

    def _take_batch(self, batch: Batch) -> None:
        scheduler = self._scheduler
        machine, signals = scheduler.machine, scheduler.schedule.signals
        self.seq, self._below, self._report_from = batch.seq, batch.below, batch.report_from
        self._halted = self._idle = False
        self._seen = max(self._seen, batch.seen)
        while self._bounds and self._bounds[0][0] <= batch.seen:
            self._bounds.popleft()
        self._bound()
        values: dict[int, Any] = {}

        def value_of(at: int) -> Any:
            if at not in values:
                values[at] = self._values.value(batch.values[at], f"Batch.values[{at}]")
            return values[at]

        for time_ns, microstep, edge, at in batch.messages:
            machine.queue.arrive(signals[edge], (time_ns, microstep), value_of(at))  # type: ignore[arg-type]
        for time_ns, microstep, reactor, name, at in batch.changes:
            machine.change_at((time_ns, microstep), [(reactor, name, value_of(at))])
        if batch.stop is not None:
            machine.stop_by(batch.stop)
            self._final = True

    def _bound(self) -> None:
        self._limit = min((bound for _, bound in self._bounds), default=NEVER)
        # One that waits for nobody waits for the hub, or what it has sent would pile up there.
        self._limit = min(self._limit, self._below) if self.sent - self._seen <= _WINDOW else (0, 0)

    # -- from the scheduler -------------------------------------------------------------------------------------------------

    def next(self, _: int) -> Open | Wait | Over:
        """See `Gate.next`."""
        machine = self._scheduler.machine
        if machine.outbox:
            self._collect()
        self._look()
        if self.inbox:
            self.take_in()
        if self._is_to_save and machine.begun:
            self._save()
        tag = machine.earliest()
        is_event, stop = tag is not None, machine.queue.stop_tag
        if stop is not None and (tag is None or tag > stop):
            tag = stop
        if self.closed or tag is None or self._halted or tag >= self._limit or not (is_event or self._final):
            self._has_news = self._has_news or not self._idle
            self._idle = True
            return Wait(forever)
        now = time.monotonic_ns()
        if (self._messages and machine.queue.now >= self._report_from) or now - self._reported_ns >= _EVERY_NS:
            self._has_news = True
            self.report()
        return machine.open(tag)

    def _save(self) -> None:
        """Send the state, here between two tags, after all that led to it."""
        self._is_to_save, self._has_news = False, True
        self.report()
        try:
            state = self._saved()
        except NotSavableError:  # then a replacement begins where this one did
            return
        self._send(state)

    def _collect(self) -> None:
        """Take what the share has sent, which bounds how far it may go."""
        outbox, me = self._scheduler.machine.outbox, self._scheduler.enclave
        for message in outbox:
            tag, edge, _ = message
            self.sent += 1
            least = self._graph.distances[edge.enclave][me]
            if least is not None and self.sent > self._seen:  # else the hub knows of it: it is told again
                self._bounds.append((self.sent, add(tag, least)))
        self._messages += outbox
        outbox.clear()
        self._bound()

    def record(self, _: int, written: Written) -> None:
        """See `Gate.record`."""
        self._sums.append((self._scheduler.machine.queue.now, written.terms))

    def stop_from(self, _: int, *, outside: bool = False) -> None:  # noqa: ARG002 - as `Gate` has it
        """See `Gate.stop_from`. A reaction of the share asked for the end: it comes when it comes without hosts."""
        machine, askers = self._scheduler.machine, self.askers[:]
        del self.askers[: len(askers)]
        enclaves = {self._declared.reactors[reactor].enclave for reactor in askers}
        for enclave in sorted(enclaves):
            machine.stop_by(end_after(self._declared, enclave, machine.queue.now))
        self._stop, self._final = machine.asked, True

    def cut(self, _: int) -> None:
        """See `Gate.cut`: the hub asks otherwise."""

    def failed(self, _: int) -> None:
        """See `Gate.failed`: told when the share is over."""

    def ended(self, _: int) -> None:
        """See `Gate.ended`."""
        self._collect()
        self._idle = self._has_news = True

    # -- to the hub ---------------------------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether the share executes nothing before the next batch."""
        return self._idle

    def report(self) -> None:
        """Tell the hub what is new, if anything is."""
        if not self._has_news or self.closed:
            return
        self._has_news = False
        scheduler = self._scheduler
        machine = scheduler.machine
        self._reported_ns = time.monotonic_ns()
        messages, sums, self._messages, self._sums = self._messages, self._sums, [], []
        values: list[Packed] = []
        places: dict[int, int] = {}
        for _, edge, value in messages:
            if id(value) not in places:
                places[id(value)] = len(values)
                values.append(self._values.pack(value, edge.name))
        report = Report(
            seq=self.seq,
            idle=self._idle,
            head=None if scheduler.over else machine.earliest(),
            done=machine.queue.now if machine.begun else (0, -1),
            over=scheduler.over and scheduler.failure is None,
            tags=scheduler.tags_done,
            reactions=scheduler.reactions_done,
            sums=tuple((*tag, (terms % MODULUS).to_bytes(HASH_BYTES, "little")) for tag, terms in sums),
            messages=tuple((*tag, edge.order, places[id(value)]) for tag, edge, value in messages),
            values=tuple(values),
            stop=self._stop,
            logs=self.outgoing.logs(),
            prints=self.outgoing.prints(),
            spans=None if self.times is None else self.times.pack(),
            cpu_ns=time.process_time_ns(),
        )
        self._send(report)

    # -- saved and restored -------------------------------------------------------------------------------------------------

    def saved(self) -> dict[str, Any]:
        """What a replacement needs to go on after the batch `seq`; between two tags, with nothing to report."""
        return {
            "seq": self.seq,
            "sent": self.sent,
            "bounds": list(self._bounds),
            "seen": self._seen,
            "final": self._final,
        }

    def load(self, saved: dict[str, Any]) -> None:
        """Begin with what `saved` gave. How far the share may go the hub says again, with the last batch: it may have been halted since."""
        self.seq, self.sent, self._final = saved["seq"] - 1, saved["sent"], saved["final"]
        self._bounds, self._seen = deque(saved["bounds"]), saved["seen"]
        self._bound()
