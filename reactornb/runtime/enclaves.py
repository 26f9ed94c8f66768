"""The gate between enclaves: how far each may advance, and what they send to each other.

Every enclave has a *head*: the tag that it executes, or the next one that it has an event for. With the least delays between
enclaves (`graph.distances`, over all paths) that bounds what can still arrive: an enclave may execute a tag t once, for every
other one, head plus delay is later than t. This is conservative simulation (Chandy and Misra 1979; Bryant 1977) with the
bounds computed from one consistent view instead of null messages, as Lingua Franca's centralized coordination does between
federates: since all heads are known, no chain of promises has to creep through a loop of small delays.

No deadlock: the enclave with the earliest head, the first in an order of connections without delay among equals, is
never held up, because a message comes back to its sender later than it was sent (assembly refuses anything else).

# Everything here is read and written under `_lock`, by leaders between two tags and by commands. Of the enclaves' machines each is touched
# by its own leader only, under the lock where what it says and what the gate notes of it must agree; others' are looked at for
# `begun`, and only while none is busy. An end that is asked for waits in `_stop_tag` until each leader takes it over, before its
# next tag: it is later than any tag that the enclave can have reached. `_patient_until_ns` is read there, too.
# A leader that is held up is marked in `_held` under the lock before it waits, and woken by whoever changes a head after that.
# `_cutting` is set by whoever asks for a cut, under the lock, and taken away by the last enclave to be cut; the parts are copied outside
# of the lock, each by its leader.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Sequence

from reactornb.errors import RunError
from reactornb.graph import Graph, add
from reactornb.runtime.commands import Hold
from reactornb.runtime.cut import Keeper
from reactornb.runtime.cutting import Cutting
from reactornb.runtime.gate_cuts import NEVER, GateCuts, Member
from reactornb.runtime.machine import OVER, Machine, Message, Open, Over, Wait
from reactornb.runtime.signals import TagKey
from reactornb.runtime.trace import Recorder, Written
from reactornb.tags import forever

__all__ = ["Gate", "Member", "end_after"]

# After so many tags a leader looks at its other enclaves, so that one which nothing holds up leaves them their turn.
_TURN = 64


class Gate(GateCuts):
    """Lets the enclaves of one run advance. To a scheduler it is what its machine is where there is one enclave: `next`.

    Attributes:
        patience_ns: physical time that enclaves get to reach the common end that somebody outside asked for. One that stands at a tag in a
            loop without delay, or lies far behind in a run that does not wait for physical time, then ends at its next microstep.

    Args:
        graph: what the run executes.
        members: one per enclave.
        recorder: what is recorded of the run.
        elapsed_ns: physical time.
        fast: do not wait for it.
        keeper: who keeps cuts, if anybody does.
    """

    patience_ns = 1_000_000_000

    def __init__(
        self,
        graph: Graph,
        members: Sequence[Member],
        recorder: Recorder,
        elapsed_ns: Callable[[], int],
        *,
        fast: bool,
        keeper: Keeper | None = None,
    ) -> None:
        self._graph = graph
        self._members = members
        self._recorder = recorder
        self._elapsed_ns = elapsed_ns
        self._fast = fast
        self._keeper = keeper
        self._cutting: Cutting | None = None
        self._hold: Hold | None = None
        self._lock = threading.Lock()
        count = len(members)
        self._heads: list[TagKey] = [(0, 0)] * count
        self._busy = [False] * count
        self._held = [False] * count
        self._over = [False] * count
        self._real = [True] * count  # whether the head is an event's, not only the end of the run
        self._last: list[TagKey] = [(0, 0)] * count  # the tag that it executed last
        self._arrived: list[list[Message]] = [[] for _ in range(count)]
        self._later: list[list[Message]] = [[] for _ in range(count)]  # arrived, for those that are yet to be cut
        self._stop_tag: TagKey | None = None
        self._patient_until_ns: int | None = (
            None  # set once, when somebody outside asks for the end; as `time.monotonic_ns` counts
        )
        self._stop_from_outside = False
        self._stop_replayed = False  # each enclave that replays takes the end over where it did in the earlier run
        self._tags = itertools.cycle(range(_TURN))
        self._final = False  # the end is one that was asked for, or came because nothing was left; not only the timeout
        # Reactions of these enclaves failed at this tag: what comes before it is still executed, and what cannot depend on them at it,
        # so that of several failures at one tag the same is reported each time; nothing else.
        self._abort = (forever, 1)
        self._failed: list[int] = []
        # A heap of what was written at tags not yet final.
        self._records: list[tuple[TagKey, int, Written]] = []
        self._order = itertools.count()
        # Enclaves in which something can happen at any physical time, and up to when they have promised that it did not.
        self._open = [False] * count
        outside = [a.reactor for a in graph.actions if a.physical] + [w.reactor for w in graph.watchdogs]
        for reactor in outside:
            self._open[graph.reactors[reactor].enclave] = True
        self._promised = [0] * count

    # -- called by leaders, between tags ----------------------------------------------------------------------------------

    def next(self, me: int) -> Open | Wait | Over:
        """Open the next tag of an enclave, if it may be executed now; see `Machine.next`.

        One step under the lock: what the enclave has sent, what has come for it, its next tag, whether it may execute that. Else another one
        could be told that nothing comes before a tag, and it came.

        Args:
            me: the enclave, which has closed its last tag.
        """
        member = self._members[me]
        machine = member.machine
        with self._lock:
            line = None if self._cutting is None else self._pass(me, self._cutting)
            if line is None:
                has_news = bool(machine.outbox)
                self._busy[me] = False
                self._last[me] = machine.queue.now
                if has_news:
                    self._send(me, machine.outbox)
                if member.inbox.posts:
                    member.accept(self._promised[me])
                if self._stop_tag is not None and not (self._stop_replayed and member.replays):
                    self._take_over_stop(machine, self._stop_tag)
                if self._arrived[me]:
                    self._receive(me)
                tag = self._head(me)
                has_news = has_news or tag != self._heads[me]
                self._heads[me] = tag
                self._flush()
                over, wait = False, None
                if tag < self._abort or (tag == self._abort and self._is_apart(me)):
                    wait = self._wait_for(me, tag)
                else:  # another enclave's reaction failed before that
                    over = True
                    self._heads[me] = NEVER
                    self._over[me] = True
                if self._hold is not None and not over:
                    wait = self._held_at(tag, wait, self._hold)
                self._held[me] = wait is not None
                if has_news or over:
                    self._wake_others(me)
                if over:
                    return OVER
                if wait is not None:
                    return Wait(wait)
                if member.shares_leader and next(self._tags) == 0:
                    return Wait(0)
                self._busy[me] = True
        if line is not None:
            self._copy(me, *line)
            return self.next(me)
        return machine.open(tag)

    def _take_over_stop(self, machine: Machine, stop: TagKey) -> None:
        if not self._stop_from_outside:
            machine.stop_by(stop)
            return
        machine.stop_from_outside(stop, everywhere=True)
        patient_until = self._patient_until_ns
        if patient_until is not None and machine.begun and time.monotonic_ns() >= patient_until:
            machine.stop_from_outside(machine.queue.next_microstep, everywhere=False)

    def _send(self, me: int, outbox: list[Message]) -> None:
        cutting = self._cutting
        for message in outbox:
            tag, edge, _ = message
            to = edge.enclave
            if cutting is None or cutting.passed[me] == cutting.passed[to]:
                self._arrived[to].append(message)
            elif cutting.passed[to]:
                self._arrived[to].append(message)
                cutting.sent[me].append(message)
            else:
                self._later[to].append(message)
            # Also at the receiver's head: that may be the end of the run, at which a message is still an event.
            if not self._busy[to] and not self._over[to] and tag <= self._heads[to]:
                self._heads[to] = tag
                self._real[to] = True
        outbox.clear()

    def _receive(self, me: int) -> None:
        queue = self._members[me].machine.queue
        for tag, edge, value in self._arrived[me]:
            queue.arrive(edge, tag, value)
        self._arrived[me].clear()

    def _head(self, me: int) -> TagKey:
        """The enclave's next tag: an event's, or the end of the run."""
        machine = self._members[me].machine
        earliest = machine.earliest()
        if self._arrived[me]:  # since its cut: not on its queue yet
            first = min(tag for tag, _, _ in self._arrived[me])
            earliest = first if earliest is None else min(earliest, first)
        self._real[me] = earliest is not None
        tag = machine.limited(earliest)
        idle = not any(self._real) and not any(self._busy) and all(member.machine.begun for member in self._members)
        starved = idle and not machine.keepalive
        if idle:
            for member in self._members:
                if member.replays:
                    member.miss_replayed()
        if starved:
            # Nothing can happen any more, anywhere: the run ends one microstep after its last tag.
            last = max(self._last)
            stop = self._stop((last[0], last[1] + 1))
            machine.stop_by(stop)
        if tag is None or starved:
            tag = machine.queue.stop_tag
        return NEVER if tag is None else tag

    def _wait_for(self, me: int, tag: TagKey) -> int | None:
        """Until when to wait before `tag` may be executed; None: not at all."""
        if tag >= NEVER:
            return forever
        machine = self._members[me].machine
        if not self._real[me] and not self._final and not machine.keepalive:
            # The timeout ends this enclave, unless nothing happens in the others up to then: the run would end before.
            for head, real, busy in zip(self._heads, self._real, self._busy, strict=True):
                if busy or (real and head < tag):
                    return forever
        now = self._elapsed_ns()
        if not self._fast and now < tag[0] > machine.queue.time_ns:
            return tag[0]
        for other, head in enumerate(self._heads):
            least = self._graph.distances[other][me]
            if other == me or least is None or self._over[other]:
                continue
            if add(head, least) <= tag:
                return forever
            if self._open[other] and not self._busy[other]:
                # Something from outside may come there at any time from now on, or one microstep after what it did last.
                self._promised[other] = max(self._promised[other], min(now, head[0]))
                before = self._last[other]
                since = max((self._promised[other], 0), (before[0], before[1] + 1))
                if add(min(head, since), least) <= tag:
                    return max(tag[0] - least[0] + 1, now + 100_000)
        return None

    def _wake_others(self, me: int) -> None:
        for member in self._members:
            if member.enclave != me and self._held[member.enclave]:
                member.wake.set()

    # -- ends ---------------------------------------------------------------------------------------------------------------

    def promise(self, time_ns: int) -> None:
        """Nothing that is not replayed comes from outside before this time; before the first tag."""
        self._promised = [time_ns] * len(self._promised)

    def hold(self, hold: Hold) -> None:
        """Go on, and be held before the first tag that is later; the leaders must be woken."""
        with self._lock:
            self._hold = hold

    def _held_at(self, tag: TagKey, wait: int | None, hold: Hold) -> int | None:
        """Until when an enclave waits before a tag, where the run is to be held. It is when every enclave stands before a later tag."""
        if tag <= hold.tag:
            return wait
        if not any(self._busy) and min(self._heads) > hold.tag:
            self._hold = None
            for member in self._members:
                member.commands.give(paused=True)
            hold.reached()
        return forever

    def stop_from(self, me: int, *, outside: bool = False) -> None:
        """A reaction of an enclave asked for the end: it comes when every other one can know of it.

        Args:
            me: the enclave.
            outside: it was no reaction, but a thread that one has started.

        Raises:
            RunError: if no connection leads from there to some other enclave.
        """
        stop = self._end_after(me)
        with self._lock:
            self._stop_from_outside = self._stop_from_outside or outside
            if self._cutting is not None and not self._cutting.passed[me]:
                self._cutting.stop_by(stop)
            self._stop(stop)

    def _end_after(self, me: int) -> TagKey:
        return end_after(self._graph, me, self._members[me].machine.queue.now)

    def stop_again(self, tag: TagKey) -> None:
        """The run that is replayed was ended from outside, at this tag. Under the lock: called while `next` takes in what is replayed.

        This run may have been stopped earlier meanwhile: then each enclave takes over that end, at once.
        """
        if self._stop_tag is None or tag < self._stop_tag:
            self._stop_replayed = True
        self._stop(tag)

    def stop_all(self) -> None:
        """Somebody outside asked for the end: one microstep after the latest tag that any enclave executes; see `patience_ns`.

        A run that is kept is cut before that.
        """
        with self._lock:
            self._stop_everywhere()

    def _stop_everywhere(self) -> None:
        self._stop_from_outside, self._stop_replayed = True, False
        self._hold = None
        if self._patient_until_ns is None:
            if self._keeper is not None:
                self._ask_cut(before_stop=True)
            self._patient_until_ns = time.monotonic_ns() + self.patience_ns
        executing = [head for head, busy in zip(self._heads, self._busy, strict=True) if busy]
        last = max([*self._last, *executing])
        self._stop((last[0], last[1] + 1))

    def _stop(self, tag: TagKey) -> TagKey:
        """The run ends at this tag at the latest; returns when it does."""
        self._final = True
        if self._stop_tag is None or tag < self._stop_tag:
            self._stop_tag = tag
        for enclave, head in enumerate(self._heads):
            if head > tag and not self._over[enclave]:
                self._heads[enclave] = tag
        self._wake_others(-1)
        return self._stop_tag

    def failed(self, me: int) -> None:
        """A reaction of an enclave raised at its current tag."""
        tag = self._members[me].machine.queue.now
        with self._lock:
            if tag < self._abort:
                self._abort, self._failed = tag, []
            if tag == self._abort:
                self._failed.append(me)
            if self._cutting is not None:  # what was cut by now is of no use; what was held back arrives
                self._cutting = None
                for arrived, later in zip(self._arrived, self._later, strict=True):
                    arrived.extend(later)
                    later.clear()

    def _is_apart(self, me: int) -> bool:
        """Whether nothing leads without delay from an enclave that failed to this one."""
        delays = [self._graph.distances[failed][me] for failed in self._failed]
        return all(least is None or add(self._abort, least) > self._abort for least in delays)

    def ended(self, me: int) -> None:
        """The enclave has executed its last tag; what it sent from there without delay still arrives."""
        machine = self._members[me].machine
        with self._lock:
            self._busy[me] = False
            self._last[me] = machine.queue.now
            self._send(me, machine.outbox)
            self._over[me] = True
            self._real[me] = False
            self._heads[me] = NEVER
            cutting = self._cutting
            if cutting is not None:
                if cutting.passed[me] or all(self._over):  # a run that is over needs no cut
                    self._cutting = None if all(self._over) else cutting
                    cutting = None
                else:
                    self._draw(me, cutting)
            self._flush()
            self._wake_others(me)
        if cutting is not None:
            self._copy(me, [], cutting)

    # -- what was written, in the order of tags ---------------------------------------------------------------------------

    def record(self, me: int, written: Written) -> None:
        """Keep what was written at the current tag of an enclave until no enclave can write anything earlier."""
        tag = self._members[me].machine.queue.now
        with self._lock:
            heapq.heappush(self._records, (tag, next(self._order), written))
            if self._cutting is not None and not self._cutting.passed[me]:
                self._cutting.pending.append((tag, written.terms))

    def _flush(self) -> None:
        final = min(self._heads)
        while self._records and self._records[0][0] < final:
            tag = self._records[0][0]
            together: list[Written] = []
            while self._records and self._records[0][0] == tag:
                together.append(heapq.heappop(self._records)[2])
            if tag < self._abort:  # an enclave that was ahead of one that failed leaves no mark
                self._recorder.end_of_tag(tag, together)


def end_after(graph: Graph, me: int, now: TagKey) -> TagKey:
    """When the run ends, if a reaction asks for that: once every enclave can know of it.

    Args:
        graph: of the program.
        me: the enclave of the reaction.
        now: its tag.

    Raises:
        RunError: if no connection leads from there to some other enclave.
    """
    # Around enclaves there often is nothing but connections: what executes nothing need not know of an end before it comes.
    # A timer is recorded even where no reaction waits for it.
    present = [r.reactor for r in graph.reactions] + [t.reactor for t in graph.timers]
    stop = (now[0], now[1] + 1)
    for other in sorted({graph.reactors[reactor].enclave for reactor in present} - {me}):
        least = graph.distances[me][other]
        if least is None:
            here, there = (graph.reactors[graph.enclaves[enclave][0]].name for enclave in (me, other))
            raise RunError(
                f"{here} cannot end the run: nothing leads from it to the enclave {there}, which may be ahead by any time. "
                f"Connect the two with a delay, ask for the end in {there}, or give the run an end in logical time, such as until=sec(10)."
            )
        stop = max(stop, add(now, least))
    return stop
