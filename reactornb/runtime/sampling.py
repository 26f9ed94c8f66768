"""Counts and times of a running program's reactions and values, for display: sampled in windows, at no cost in between.

While a window is open, the functions that the leader calls (`Group.call`, `RunningReaction.call`) are replaced by ones that count and
take times; when it closes they are restored. The loop over tags reads these attributes anyway, so a run that is not sampled executes
no additional instruction.

The overhead of a sampled run is limited: a window ends after 20 ms and 64 tags (several, so that reactions that alternate from tag to tag are
seen in proportion), or after 20 ms once it has cost 5 ms, and the next one opens after 50 times its cost: 2 %.

# counts, busy_ns   per reaction; written by the worker that runs the reaction. A reaction runs one at a time, and consecutive runs
#                   are ordered by the batch or by the leader
# values            per written channel; written by the worker that runs a reaction of the reactor that owns it, likewise one at a time
# Window            written and read by the enclave's leader, except `due_ns` and `watched_ns`, which any thread reads; the window
#                   is passed to the leader through the enclave's `Commands`
#                   All of it is read by any thread, at any time, for display: a reader may see a run counted before its time is added.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy

from reactornb.graph import Graph
from reactornb.runtime.context import ReactionContext
from reactornb.runtime.groups import Group, one_by_one
from reactornb.runtime.reactions import RunningReaction

__all__ = ["Sample", "Sampler", "Window"]

_Array = numpy.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Sample:
    """Totals over all windows of a run up to now.

    Attributes:
        counts: int64 [reactions], number of runs of each.
        busy: float64 [reactions], seconds that these took.
        values: int64 [ports], number of tags at which each written channel had a value; 0 for channels that are only connected.
        watched: float64 [enclaves], seconds of physical time during which a window was open.
    """

    counts: _Array
    busy: _Array
    values: _Array
    watched: _Array


class Sampled(ReactionContext, Protocol):
    """An enclave that can be watched."""

    def watch(self, window: Window) -> None:
        """Have the leader call `window.turn` between tags, from the next one on until it is over; any thread."""
        ...


class Sampler:
    """The windows of one run, one for each enclave.

    Args:
        graph: what is run.
        enclaves: of the run.
    """

    def __init__(self, graph: Graph, enclaves: Sequence[Sampled]) -> None:
        self.counts = [0] * len(graph.reactions)
        self.busy_ns = [0] * len(graph.reactions)
        self.values = [0] * len(graph.ports)
        self._windows = [(enclave, Window(self, enclave)) for enclave in enclaves]
        self._asking = threading.Lock()

    def sample(self) -> Sample:
        """The totals up to now; requests the next window. Any thread."""
        with self._asking:
            for enclave, window in self._windows:
                if time.perf_counter_ns() >= window.due_ns:
                    enclave.watch(window)
        return Sample(
            numpy.array(self.counts),
            numpy.array(self.busy_ns) / 1e9,
            numpy.array(self.values),
            numpy.array([window.watched_ns / 1e9 for _, window in self._windows]),
        )


class Window:
    """The time during which one enclave is sampled; it opens and closes repeatedly.

    Attributes:
        due_ns: when it may open next, on the clock of `time.perf_counter_ns`.
        watched_ns: how long it was open in total.
        least_ns, least_tags: how long it stays open, at least,
        dear_ns: unless it has cost that much: then `least_ns` suffices.
        reaction_ns, tag_ns: overhead per reaction and per tag, measured on 3.14t and rounded up.
        pause: the next window opens after so many times the cost of this one.
    """

    least_ns = 20_000_000
    least_tags = 64
    dear_ns = 5_000_000
    reaction_ns, tag_ns = 400, 3_000
    pause = 50

    def __init__(self, sampler: Sampler, context: ReactionContext) -> None:
        self._sampler = sampler
        self._context = context
        self._reactions: list[tuple[RunningReaction, Any, Any, Callable[[], None]]] = []
        self._groups: dict[Group, tuple[Any, Any]] = {}
        self._open = False
        self._began = self._updated = self._swap_ns = self._tags = self._ran = 0
        self.due_ns = 0
        self.watched_ns = 0

    def turn(self, goes_on: bool) -> bool:
        """Between two tags, on the leader's thread: open the window, leave it open, or close it.

        Args:
            goes_on: the run is not paused.

        Returns:
            Whether it was closed.
        """
        now = time.perf_counter_ns()
        if not self._open:
            if goes_on:
                self._begin(now)
            return False
        self._tags += 1
        self.watched_ns += now - self._updated
        self._updated = now
        cost = self._swap_ns + self.tag_ns * self._tags
        cost += self.reaction_ns * (self._context.reactions_done - self._ran)
        enough = now - self._began >= self.least_ns and (self._tags >= self.least_tags or cost >= self.dear_ns)
        if goes_on and not enough:
            return False
        self._end()
        self.due_ns = time.perf_counter_ns() + self.pause * (cost + self._swap_ns)
        return True

    def _begin(self, now: int) -> None:
        context = self._context
        own = [r for r in context.reactions if r.enclave == context.enclave]
        if not self._reactions:
            self._reactions = [(r, r.call, r.body, self._timed(r)) for r in own]
        for r, _, _, timed in self._reactions:
            r.call, r.body = timed, None  # without a body, a group that is made now calls `call`
        for group in context.groups():
            if group not in self._groups:
                self._groups[group] = group.caller
            group.caller = one_by_one(group.reactions)
        context.forget_shares()
        self._open, self._tags, self._ran = True, 0, context.reactions_done
        self._began = self._updated = time.perf_counter_ns()
        self._swap_ns = self._began - now

    def _end(self) -> None:
        for r, call, body, _ in self._reactions:
            r.call, r.body = call, body
        for group in self._context.groups():
            # A group that was made meanwhile (a mode was entered) keeps calling its reactions one by one.
            if group in self._groups:
                group.caller = self._groups[group]
        self._context.forget_shares()
        self._open = False

    def _timed(self, r: RunningReaction) -> Callable[[], None]:
        """A reaction's call that also counts, takes times, and counts the channels it writes."""
        sampler, index, now, call = self._sampler, r.index, time.perf_counter_ns, r.call
        counts, busy, values = sampler.counts, sampler.busy_ns, sampler.values
        writers = self._context.writers
        ports = [(c, writers[c]) for c in r.node.effects if c in writers]
        if len(ports) == 1:
            ((channel, port),) = ports

            def one_port() -> None:
                before, began = port.is_present, now()
                try:
                    call()
                finally:
                    busy[index] += now() - began
                    counts[index] += 1
                    if not before and port.is_present:
                        values[channel] += 1

            return one_port

        def any_ports() -> None:
            # A channel that an earlier reaction of the reactor wrote at this tag was counted then.
            absent = [(c, port) for c, port in ports if not port.is_present]
            began = now()
            try:
                call()
            finally:
                busy[index] += now() - began
                counts[index] += 1
                for c, port in absent:
                    if port.is_present:
                        values[c] += 1

        return any_ports
