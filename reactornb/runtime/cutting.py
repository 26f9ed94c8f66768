"""Taking a cut: one enclave's part of it, and what the parts of several enclaves have in common. See `cut.py`.

# Cutter    one per enclave of a run that is kept; used by the enclave's leader between two tags (of an enclave that is over, by whoever
#           completes the cut), and by worker 0 before the first tag
# Cutting   read and written under the gate's lock
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from reactornb.graph import Graph
from reactornb.runtime.clock import Clock
from reactornb.runtime.cut import BEFORE_FIRST, Cut, EnclaveCut, Keeper, Named, Values
from reactornb.runtime.deadlines import Deadline
from reactornb.runtime.handles import InPort
from reactornb.runtime.inbox import Inbox
from reactornb.runtime.machine import Machine, Message
from reactornb.runtime.schedule import Schedule
from reactornb.runtime.signals import Action, DelayedEdge, Signal, TagKey
from reactornb.runtime.trace import Recorder
from reactornb.runtime.watchdogs import Watchdogs

__all__ = ["Cutter", "Cutting"]


class Enclave(Protocol):
    """What is counted of an enclave: its scheduler.

    Attributes:
        deadlines: of its reactions, in the order in which they were made.
    """

    enclave: int
    machine: Machine
    inbox: Inbox
    watchdogs: Watchdogs
    clock: Clock
    recorder: Recorder
    deadlines: list[Deadline]
    start_time_ns: int
    tags_done: int
    reactions_done: int

    def accept(self, floor_ns: int = 0) -> None:
        """Queue what was posted up to now."""
        ...


class Cutter:
    """Takes one enclave's part of each cut, and puts one back.

    Args:
        graph: what runs.
        schedule: of the graph.
        enclave: the enclave.
        keeper: who copies what the program made.

    Attributes:
        instances: of the enclave.
    """

    def __init__(self, graph: Graph, schedule: Schedule, enclave: Enclave, keeper: Keeper) -> None:
        self._enclave = enclave
        self._keeper = keeper
        number = enclave.enclave
        own = [signal for signal in schedule.signals if signal.enclave == number]
        self._used = [signal for signal in own if isinstance(signal, (Action, DelayedEdge))]
        self._handles = _handles(own)
        self.instances = [
            i for node, i in zip(graph.reactors, schedule.instances, strict=True) if node.enclave == number
        ]

    def line(self, floor_ns: int = 0) -> list[tuple[int, int]]:
        """The enclave is cut here: what was posted up to now belongs to it, and its watchdogs are these; see `Watchdogs.line`.

        Args:
            floor_ns: see `Machine.accept`.
        """
        return self._enclave.watchdogs.line(lambda: self._enclave.accept(floor_ns))

    def take(self, *, before_stop: bool) -> None:
        """Cut a run that is one enclave, here, and give the cut to the keeper.

        Args:
            before_stop: see `Cut`.
        """
        enclave = self._enclave
        part = self.part(self.line(), ())
        cut = Cut(
            [part],
            elapsed_ns=enclave.clock.elapsed_ns(),
            start_time_ns=enclave.start_time_ns,
            stop_tag=enclave.machine.asked,
            promised=[0],
            fingerprint=enclave.recorder.state,
            before_stop=before_stop,
        )
        self._keeper.taken(cut)

    def part(self, line: list[tuple[int, int]], sent: Iterable[Message]) -> EnclaveCut:
        """The enclave's part of a cut.

        Args:
            line: the watchdogs; see `Watchdogs.line`.
            sent: what is in flight to enclaves that were cut before.
        """
        enclave, machine, values = self._enclave, self._enclave.machine, Values()
        part = EnclaveCut(
            tag=machine.queue.now if machine.begun else BEFORE_FIRST,
            is_over=machine.is_over,
            tags_done=enclave.tags_done,
            reactions_done=enclave.reactions_done,
            refused=enclave.inbox.refused,
            queue=machine.queue.saved(values),
            signals=[used for s in self._used if (used := _used(s))[1:] != (None, [])],
            handles=[values.add(handle.value) for handle in self._handles],
            modes=None if machine.modes is None else machine.modes.saved(values),
            tuning=machine.tuning.saved(values),
            watchdogs=line,
            deadlines=[(deadline.limit_ns, deadline.missed) for deadline in enclave.deadlines],
            logged=[len(instance._log) for instance in self.instances],
            sent=[(edge.order, tag, values.add(value)) for tag, edge, value in sent],
            objects=None,
        )
        part.objects = self._keeper.capture(enclave.enclave, self.instances, values.held)
        return part

    def load(self, part: EnclaveCut, named: Named) -> None:
        """Put the enclave's part of a cut back, but for what the keeper restores, watchdogs, and counts."""
        self._enclave.machine.load(part, named)
        for order, last_tag, pending in part.signals:
            used = named.signal(order)
            if not isinstance(used, (Action, DelayedEdge)):
                raise LookupError(f"{used} is no action")  # noqa: TRY004 - data that do not fit, as any other number
            used.last_tag = last_tag
            if used.pending is not None:
                used.pending.update(pending)
        for handle, place in zip(self._handles, part.handles, strict=True):
            handle.value = named.value(place)
        for deadline, (limit_ns, missed) in zip(self._enclave.deadlines, part.deadlines, strict=True):
            deadline.limit_ns, deadline.missed = limit_ns, missed


def _used(signal: Action | DelayedEdge) -> tuple[int, TagKey | None, list[TagKey]]:
    # The last tag of a delayed edge is its sender's, which may have gone on, and is of no use once that tag is over.
    last = signal.last_tag if isinstance(signal, Action) else None
    return signal.order, last, sorted(signal.pending or ())


def _handles(signals: Sequence[Signal]) -> list[InPort]:
    """What values are written through to: each handle once, in the order of the signals."""
    found: dict[int, InPort] = {}
    for signal in signals:
        for handle in signal.handles:
            found.setdefault(id(handle), handle)
    return list(found.values())


class Cutting:
    """A cut of several enclaves, while it is taken.

    Args:
        over: per enclave, whether it has executed its last tag: it stays as it is.
        stop_tag, fingerprint, pending: see `Cut`; up to the beginning.
        before_stop: it is taken because somebody outside asked for the end.

    Attributes:
        over: per enclave, whether it had executed its last tag when the cut was asked for; whoever completes the cut copies it.
        passed: per enclave, whether it has been cut: what it does from then on does not belong to the cut.
        sent: per enclave, what it sent before that, to enclaves that had been.
        parts: those that are there.
    """

    def __init__(
        self,
        over: Sequence[bool],
        *,
        stop_tag: TagKey | None,
        fingerprint: bytes | None,
        pending: list[tuple[TagKey, int]],
        before_stop: bool,
    ) -> None:
        self.over = list(over)
        self.passed = list(over)
        self.sent: list[list[Message]] = [[] for _ in over]
        self.parts: list[EnclaveCut | None] = [None for _ in over]
        self.stop_tag = stop_tag
        self.before_stop = before_stop
        self.pending = pending
        self._fingerprint = fingerprint
        self._elapsed_ns = 0
        self._promised: list[int] = []

    @property
    def is_drawn(self) -> bool:
        """Whether every enclave has been cut, though not every part may be there."""
        return all(self.passed)

    @property
    def is_missing_parts(self) -> bool:
        """Whether some enclave that was not over is yet to be copied."""
        return any(part is None and not over for part, over in zip(self.parts, self.over, strict=True))

    def drawn(self, elapsed_ns: int, promised: list[int]) -> None:
        """The last enclave has just been cut."""
        self._elapsed_ns, self._promised = elapsed_ns, list(promised)

    def stop_by(self, tag: TagKey) -> None:
        """An enclave that has not been cut asked for the end."""
        if self.stop_tag is None or tag < self.stop_tag:
            self.stop_tag = tag

    def whole(self, start_time_ns: int) -> Cut:
        """The cut; all parts are there."""
        return Cut(
            enclaves=[part for part in self.parts if part is not None],
            elapsed_ns=self._elapsed_ns,
            start_time_ns=start_time_ns,
            stop_tag=self.stop_tag,
            promised=self._promised,
            fingerprint=self._fingerprint,
            pending=self.pending,
            before_stop=self.before_stop,
        )
