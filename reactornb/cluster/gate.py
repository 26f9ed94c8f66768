"""The hub's gate: that of the runtime, where some enclaves are *shares*, each executed by a host with which batches and reports are exchanged.

A local enclave asks whether it may execute its next tag. A host is told once how far it may go: `below` is the least, over all others, of their
next tag plus the distance to it (`Gate` has the rule, and why nothing waits for ever). A share is *busy* from the batch that lets it go on to
the report that says it can go no further; until then it stands at the next tag that it last reported.

An end, a pause and a change of a parameter need to know where a share is: it is halted first. An end that is asked for from outside comes once
all shares are.

# As in `Gate`: everything is read and written under `_lock`. `exchange` is called by the share's driver, which is the leader of that enclave.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, override

from reactornb.cluster.machine import ShareMachine
from reactornb.graph import Graph, add
from reactornb.runtime.enclaves import Gate, end_after
from reactornb.runtime.gate_cuts import NEVER
from reactornb.runtime.machine import OVER, Message, Over, Wait
from reactornb.runtime.scheduler import Scheduler
from reactornb.runtime.signals import TagKey
from reactornb.runtime.trace import Recorder, Written

__all__ = ["Grant", "HubGate"]


class Grant(NamedTuple):
    """A host may go on.

    Attributes:
        below: every earlier tag may be executed.
        stop: the tag of the end, once it is certain.
        seen: so many of its messages were taken in by then.
        messages: what has come for it: tag, edge, value.
        changes: of parameters: (tag, reactor, name, value).
    """

    below: TagKey
    stop: TagKey | None
    seen: int
    messages: list[tuple[TagKey, Any, Any]]
    changes: list[tuple[TagKey, int, str, Any]]


class HubGate(Gate):
    """Lets local enclaves and hosts advance.

    Args:
        graph: of the run: each share is one enclave.
        declared: of the program, with the enclaves as they were declared: an end that a reaction asks for comes when it comes without hosts.
        shares: the numbers of the enclaves that hosts execute.
        members: one per enclave.
        recorder: what is recorded of the run.
        elapsed_ns: physical time.
        fast: do not wait for it.
    """

    def __init__(
        self,
        graph: Graph,
        declared: Graph,
        shares: frozenset[int],
        members: Sequence[Scheduler],
        recorder: Recorder,
        elapsed_ns: Callable[[], int],
        *,
        fast: bool,
    ) -> None:
        super().__init__(graph, members, recorder, elapsed_ns, fast=fast)
        self._declared = declared
        self._shares = shares
        self._stopping = False  # somebody outside asked for the end, and some share is not halted yet

    # -- called by the drivers of shares ------------------------------------------------------------------------------------

    def exchange(
        self, me: int, machine: ShareMachine, *, idle: bool, stop: TagKey | None, may_go: bool, one_tag: bool
    ) -> Grant | Wait | Over:
        """Take in what a host has reported, and let it go on as far as it may.

        Args:
            me: the share's enclave.
            machine: its machine, which has what was reported.
            idle: the host executes nothing until it is let go on.
            stop: a reaction there asked for the end, which is this tag.
            may_go: it may be let go on; false while the run is paused.
            one_tag: only by one tag.

        Returns:
            How far it may go, also where it still executes what it was granted; when to ask again; or that it is over.
        """
        member = self._members[me]
        with self._lock:
            self._held[me] = True  # a driver is always woken
            before = self._busy[me], self._real[me]
            self._last[me] = machine.queue.now
            self._busy[me] = not idle
            self._take_sums(machine)
            has_news = bool(machine.outbox)
            self._send(me, machine.outbox)
            if stop is not None:
                self._stop(stop)
            if member.inbox.posts:
                member.accept()
            if self._stopping and not self._is_any_share_busy():
                self._stopping = False
                self._stop_everywhere()
            if self._stop_tag is not None and (idle or not self._is_impatient()):
                machine.hurried = self._is_impatient()
                self._take_over_stop(machine, self._stop_tag)
            self._receive(me)
            tag = self._head(me)
            has_news = has_news or tag != self._heads[me]
            self._heads[me] = tag
            self._flush()
            if tag > self._abort or (tag == self._abort and not self._is_apart(me)):
                self._heads[me] = NEVER
                self._over[me] = True
                self._real[me] = self._busy[me] = False
                self._wake_others(me)
                return OVER
            wait = self._wait_for(me, tag)
            # An idle share that has nothing new wakes nobody: the drivers of two would wake each other without end.
            if has_news or before != (self._busy[me], self._real[me]):
                self._wake_others(me)
            if wait is None and (not may_go or self._stopping or (not idle and self._must_halt(machine))):
                wait = NEVER[0]
            if wait is not None:
                return Wait(wait)
            below = self._below(me, tag)
            if one_tag:
                below = min(below, (tag[0], tag[1] + 1))
            end = machine.asked
            if end is None and not self._real[me] and tag == machine.queue.stop_tag:
                end = tag
            changes = [(tag, *change) for change in machine.changes] if idle else []
            if changes:
                machine.changes.clear()
            self._busy[me] = True
            return Grant(below, end, machine.received, machine.take_arrivals(), changes)

    def take_last(self, machine: ShareMachine, stop: TagKey | None) -> None:
        """Take in the last that a host has reported, but for what it sent; `ended` comes next."""
        with self._lock:
            self._take_sums(machine)
            if stop is not None:
                self._stop(stop)

    def _take_sums(self, machine: ShareMachine) -> None:
        for tag, terms in machine.sums:
            heapq.heappush(self._records, (tag, next(self._order), Written(terms, [], [])))
        machine.sums.clear()

    def must_halt(self, machine: ShareMachine) -> bool:
        """Whether a share is to stand still, so that it is known where it is."""
        with self._lock:
            return self._must_halt(machine)

    def _must_halt(self, machine: ShareMachine) -> bool:
        return self._stopping or bool(machine.changes) or (self._is_impatient() and not machine.hurried)

    def _is_impatient(self) -> bool:
        until = self._patient_until_ns
        return until is not None and time.monotonic_ns() >= until

    def _is_any_share_busy(self) -> bool:
        return any(self._busy[share] for share in self._shares)

    def _below(self, me: int, tag: TagKey) -> TagKey:
        """Every earlier tag may be executed; it is later than `tag`, of which `_wait_for` says that it may."""
        now = self._elapsed_ns()
        below = NEVER
        for other, stands_at in enumerate(self._heads):
            least = self._graph.distances[other][me]
            if other == me or least is None or self._over[other]:
                continue
            head = stands_at
            if self._open[other] and not self._busy[other]:
                # As in `_wait_for`: something from outside may come there.
                self._promised[other] = max(self._promised[other], min(now, head[0]))
                before = self._last[other]
                head = min(head, max((self._promised[other], 0), (before[0], before[1] + 1)))
            below = min(below, add(head, least))
        if not self._fast:
            below = min(below, (max(now, tag[0]) + 1, 0))
        abort = self._abort
        return min(below, (abort[0], abort[1] + 1) if self._is_apart(me) else abort)

    # -- ends ---------------------------------------------------------------------------------------------------------------

    @override
    def _send(self, me: int, outbox: list[Message]) -> None:
        # A share whose host is being replaced is busy, and stands at the next tag of the lost one: that may be later than this.
        for tag, edge, _ in outbox:
            to = edge.enclave
            if to in self._shares and not self._over[to] and tag < self._heads[to]:
                self._heads[to], self._real[to] = tag, True
        super()._send(me, outbox)

    @override
    def stop_all(self) -> None:
        with self._lock:
            self._stopping = True
            if not self._is_any_share_busy():
                self._stopping = False
                self._stop_everywhere()
            for share in self._shares:
                self._members[share].wake.set()

    @override
    def _end_after(self, me: int) -> TagKey:
        top = self._graph.enclaves[me][0]
        return end_after(self._declared, self._declared.reactors[top].enclave, self._members[me].machine.queue.now)
