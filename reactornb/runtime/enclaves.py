"""The gate between enclaves: how far each may advance, and what they send to each other.

Every enclave has a *head*: the tag that it executes, or the next one that it has an event for. With the least delays between
enclaves (`graph.distances`, over all paths) that bounds what can still arrive: an enclave may execute a tag t once, for every
other one, head plus delay is later than t. This is conservative simulation (Chandy and Misra 1979; Bryant 1977) with the
bounds computed from one consistent view instead of null messages, as Lingua Franca's centralized coordination does between
federates: since all heads are known, no chain of promises has to creep through a loop of small delays.

No deadlock: the enclave with the earliest head, the first in an order of connections without delay among equals, is
never held up, because a message comes back to its sender later than it was sent (assembly refuses anything else).

# Everything here is read and written under `_lock`, by leaders between two tags and by commands; the one exception is a
# scheduler's `stop_tag`, which its leader also reads at the end of a tag. It is written only to a tag that the enclave cannot
# have reached, so whichever value the leader sees there, it goes on.
# A leader that is held up is marked in `_held` under the lock before it waits, and woken by whoever changes a head after that.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reactornb.errors import RunError
from reactornb.graph import Graph, add
from reactornb.runtime.signals import DelayedEdge
from reactornb.runtime.trace import Written
from reactornb.tags import forever

if TYPE_CHECKING:
    from reactornb.runtime.scheduler import Scheduler

__all__ = ["Gate"]

_NEVER = (forever, 0)

# After so many tags a leader looks at its other enclaves, so that one which nothing holds up leaves them their turn.
_TURN = 64


class Gate:
    """Lets the enclaves of one run advance.

    Args:
        graph: what the run executes.
        schedulers: one per enclave.
    """

    def __init__(self, graph: Graph, schedulers: Sequence[Scheduler]) -> None:
        self._graph = graph
        self._schedulers = schedulers
        self._lock = threading.Lock()
        count = len(schedulers)
        self._heads: list[tuple[int, int]] = [(0, 0)] * count
        self._busy = [False] * count
        self._held = [False] * count
        self._over = [False] * count
        self._real = [True] * count  # whether the head is an event's, not only the end of the run
        self._arrived: list[list[tuple[tuple[int, int], DelayedEdge, Any]]] = [[] for _ in range(count)]
        self._tags = itertools.cycle(range(_TURN))
        self._final = False  # the end is one that was asked for, or came because nothing was left; not only the timeout
        # Reactions of these enclaves failed at this tag: what comes before it is still executed, and what cannot depend on them at it,
        # so that of several failures at one tag the same is reported each time; nothing else.
        self._abort = (forever, 1)
        self._failed: list[int] = []
        # A heap of what was written at tags not yet final.
        self._records: list[tuple[tuple[int, int], int, Written]] = []
        self._order = itertools.count()
        # Enclaves in which something can happen at any physical time, and up to when they have promised that it did not.
        self._open = [False] * count
        outside = [a.reactor for a in graph.actions if a.physical] + [w.reactor for w in graph.watchdogs]
        for reactor in outside:
            self._open[graph.reactors[reactor].enclave] = True
        self._promised = [0] * count
        # Around enclaves there often is nothing but connections: what executes nothing need not know of an end before it comes.
        # A timer is recorded even where no reaction waits for it.
        present = [r.reactor for r in graph.reactions] + [t.reactor for t in graph.timers]
        reacting = {graph.reactors[reactor].enclave for reactor in present}
        self._reacts = [enclave in reacting for enclave in range(count)]

    # -- called by leaders, between tags ----------------------------------------------------------------------------------

    def next_tag(self, s: Scheduler, outbox: list[tuple[tuple[int, int], DelayedEdge, Any]]) -> tuple[int, int] | None:
        """The tag that the enclave may execute now; None, with `until` set, if none yet, or with `over` if none at all.

        Args:
            outbox: (tag, signal, value) that the enclave sends, from the tag that it has just executed; emptied.
        """
        me = s.enclave
        with self._lock:
            news = bool(outbox)
            self._busy[me] = False
            for tag, signal, value in outbox:
                self._send(tag, signal, value)
            outbox.clear()
            if s.inbox:
                s.take_inbox(self._promised[me])
            self._receive(s)
            tag = self._head(s)
            news = news or tag != self._heads[me]
            self._heads[me] = tag
            self._flush()
            if tag < self._abort or (tag == self._abort and self._is_apart(me)):
                wait = self._wait_for(s, tag)
            else:  # another enclave's reaction failed before that
                s.over, wait = True, None
            if s.over:
                self._heads[me] = _NEVER
                self._over[me] = True
            self._held[me] = wait is not None
            if news or s.over:
                self._wake_others(me)
            if wait is not None:
                s.until = wait
                return None
            if s.over:
                return None
            self._busy[me] = True
            if len(s.leads) > 1 and next(self._tags) == 0:
                self._busy[me], s.until = False, 0
                return None
            return tag

    def _send(self, tag: tuple[int, int], signal: DelayedEdge, value: Any) -> None:
        to = signal.enclave
        self._arrived[to].append((tag, signal, value))
        if not self._busy[to] and not self._over[to] and tag < self._heads[to]:
            self._heads[to] = tag
            self._real[to] = True

    def _receive(self, s: Scheduler) -> None:
        arrived = self._arrived[s.enclave]
        for tag, signal, value in arrived:
            s.arrive(tag, signal, value)
        arrived.clear()

    def _head(self, s: Scheduler) -> tuple[int, int]:
        """The enclave's next tag: an event's, or the end of the run."""
        me = s.enclave
        tag = s.next_tag() if s.begun else (0, 0)
        stop = s.stop_tag
        self._real[me] = not s.begun or (bool(s.upcoming or s.heap or s.periodic) and tag is not None)
        if tag is None and stop is not None:
            tag = stop
        starved = (
            not any(self._real) and not any(self._busy) and not s.keepalive and all(o.begun for o in self._schedulers)
        )
        if starved:
            # Nothing can happen any more, anywhere: the run ends one microstep after its last tag.
            last = max((o.time_ns, o.microstep) for o in self._schedulers)
            self._stop((last[0], last[1] + 1))
            tag = s.stop_tag
        return _NEVER if tag is None else tag

    def _wait_for(self, s: Scheduler, tag: tuple[int, int]) -> int | None:
        """Until when to wait before `tag` may be executed; None: not at all."""
        if tag >= _NEVER:
            return forever
        if not self._real[s.enclave] and not self._final and not s.keepalive:
            # The timeout ends this enclave, unless nothing happens in the others up to then: the run would end before.
            for head, real, busy in zip(self._heads, self._real, self._busy, strict=True):
                if busy or (real and head < tag):
                    return forever
        now = s.clock.elapsed_ns()
        if s.begun and not s.fast and tag[0] > s.time_ns and now < tag[0]:
            return tag[0]
        for other, head in enumerate(self._heads):
            least = self._graph.distances[other][s.enclave]
            if other == s.enclave or least is None or self._over[other]:
                continue
            if add(head, least) <= tag:
                return forever
            if self._open[other] and not self._busy[other]:
                # Something from outside may come there at any time from now on, or one microstep after what it did last.
                self._promised[other] = max(self._promised[other], min(now, head[0]))
                before = self._schedulers[other]
                since = max((self._promised[other], 0), (before.time_ns, before.microstep + 1))
                if add(min(head, since), least) <= tag:
                    return max(tag[0] - least[0] + 1, now + 100_000)
        return None

    def _wake_others(self, me: int) -> None:
        for s in self._schedulers:
            if s.enclave != me and self._held[s.enclave]:
                s.wake.set()

    # -- ends ---------------------------------------------------------------------------------------------------------------

    def stop_from(self, s: Scheduler) -> None:
        """A reaction of `s` asked for the end: it comes when every other enclave can know of it.

        Raises:
            RunError: if no connection leads from there to some other enclave.
        """
        now = (s.time_ns, s.microstep)
        stop = (now[0], now[1] + 1)
        with self._lock:
            for other in self._schedulers:
                if other is s or not self._reacts[other.enclave]:
                    continue
                least = self._graph.distances[s.enclave][other.enclave]
                if least is None:
                    here, there = (self._name(o.enclave) for o in (s, other))
                    raise RunError(
                        f"{here} cannot end the run: nothing leads from it to the enclave {there}, which may be ahead by any time. "
                        f"Connect the two with a delay, ask for the end in {there}, or give the run a timeout."
                    )
                stop = max(stop, add(now, least))
            self._stop(stop)

    def stop_all(self) -> None:
        """Somebody outside asked for the end: one microstep after the latest tag that any enclave executes."""
        with self._lock:
            last = max((s.time_ns, s.microstep) for s in self._schedulers)
            last = max([last, *(h for h, busy in zip(self._heads, self._busy, strict=True) if busy)])
            self._stop((last[0], last[1] + 1))

    def _stop(self, tag: tuple[int, int]) -> None:
        self._final = True
        for s in self._schedulers:
            if s.stop_tag is None or tag < s.stop_tag:
                s.stop_tag = tag
            if self._heads[s.enclave] > tag and not self._over[s.enclave]:
                self._heads[s.enclave] = tag
        self._wake_others(-1)

    def failed(self, s: Scheduler) -> None:
        """A reaction of `s` raised at its current tag."""
        tag = (s.time_ns, s.microstep)
        with self._lock:
            if tag < self._abort:
                self._abort, self._failed = tag, []
            if tag == self._abort:
                self._failed.append(s.enclave)

    def _is_apart(self, me: int) -> bool:
        """Whether nothing leads without delay from an enclave that failed to this one."""
        delays = [self._graph.distances[failed][me] for failed in self._failed]
        return all(least is None or add(self._abort, least) > self._abort for least in delays)

    def ended(self, s: Scheduler, outbox: list[tuple[tuple[int, int], DelayedEdge, Any]]) -> None:
        """The enclave has executed its last tag; what it sent from there without delay still arrives."""
        with self._lock:
            self._busy[s.enclave] = False
            for tag, signal, value in outbox:
                self._send(tag, signal, value)
            outbox.clear()
            self._over[s.enclave] = True
            self._real[s.enclave] = False
            self._heads[s.enclave] = _NEVER
            self._flush()
            self._wake_others(s.enclave)

    def _name(self, enclave: int) -> str:
        return self._graph.reactors[self._graph.enclaves[enclave][0]].name

    # -- what was written, in the order of tags ---------------------------------------------------------------------------

    def record(self, s: Scheduler, written: Written) -> None:
        """Keep what was written at the current tag of `s` until no enclave can write anything earlier."""
        with self._lock:
            heapq.heappush(self._records, ((s.time_ns, s.microstep), next(self._order), written))

    def _flush(self) -> None:
        final = min(self._heads)
        while self._records and self._records[0][0] < final:
            tag = self._records[0][0]
            together: list[Written] = []
            while self._records and self._records[0][0] == tag:
                together.append(heapq.heappop(self._records)[2])
            if tag < self._abort:  # an enclave that was ahead of one that failed leaves no mark
                self._schedulers[0].recorder.end_of_tag(tag, together)
