"""The scheduler's loop, fused: the same steps as `Scheduler._run_tags`, with what a small program spends most of its time on done in place.

Three kinds of tags are opened here without asking the machine, which would find the same, later:
- a zero-delay edge is all that the last tag leaves: its value arrives at the next microstep;
- only events of the next microstep are due;
- only a periodic timer is due, alone at its time.
And a group that is alone on its level and cheap is called here; at a tag of the first or third kind before the levels are looked at.

`Scheduler.fused = False` runs the plain loop instead. `tests/reference` holds the two against each other on random programs, recorded and
not (what is recorded keeps the loop from its short ways), `tests/golden` on the kept fingerprints.

What it gives: processor time per reaction, lowest of 12, one worker, 2-core virtual machine, 3.14t; and by how much each short way
alone shortens it where it counts most. One that gives less than 3 % is not worth its lines.

| program | fused | plain | |
|---|---|---|---|
| `bench micro`: 16 tiny reactions a tag | 0.23 µs | 0.73 µs | zero-delay edge 32 %, direct call 26 %, called at once 8 % |
| two reactors that answer each other | 0.81 µs | 3.9 µs | zero-delay edge 48 %, direct call 43 %, called at once 8 % |
| one timer | 0.67 µs | 4.9 µs | timer 81 %, the look for events of the next microstep 9 % |
| an action that schedules itself | 2.7 µs | 7.5 µs | next microstep 47 %, direct call 35 % |
| four reactors, each with a loop of its own | 3.0 µs | 4.2 µs | next microstep 25 % |
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from reactornb.runtime.clock import Clock
from reactornb.runtime.commands import Commands
from reactornb.runtime.groups import Group
from reactornb.runtime.handles import InPort
from reactornb.runtime.inbox import Inbox
from reactornb.runtime.level_runner import LevelRunner
from reactornb.runtime.machine import Machine
from reactornb.runtime.signals import Queued
from reactornb.runtime.tag_buffers import TagBuffers
from reactornb.runtime.trace import Recorder
from reactornb.runtime.workers import Worker
from reactornb.tags import forever

__all__ = ["Tags", "run_tags"]


class Tags(Protocol):
    """What the loop needs of a scheduler; see there."""

    width: int
    fast: bool
    tags_done: int
    reactions_done: int
    gate: Any
    machine: Machine
    buffers: TagBuffers
    level_runner: LevelRunner
    inbox: Inbox
    commands: Commands
    clock: Clock
    recorder: Recorder

    def open_tag(self) -> range | None:
        """Open the next tag."""
        ...

    def load(self, events: Sequence[Queued]) -> int:
        """Make events present."""
        ...

    def send(self) -> None:
        """Pass on what was present."""
        ...


def run_tags(s: Tags, me: Worker) -> None:  # noqa: C901 - one loop on purpose: a call costs as much as a small reaction
    """Execute tags until none can be executed now.

    Raises:
        ReactionFailed: if a reaction raised.
    """
    level_range = s.open_tag()
    if level_range is None:
        return
    machine, buffers, queue, commands = s.machine, s.buffers, s.machine.queue, s.commands
    levels, cleared, fired, requests = buffers.levels, buffers.cleared, buffers.fired, buffers.requests
    clear, serve = cleared.extend, machine.serve
    run_level, share_above = s.level_runner.run, s.level_runner.policy.share_above_ns
    periodic, heap, posts, upcoming = queue.periodic, queue.heap, s.inbox.posts, queue.upcoming
    # With one worker nothing is shared, so nothing is measured.
    measuring = s.width > 1 and not s.recorder.serial
    slow = False
    # A tag's end is short where no mode can change, no other enclave waits for word, nothing is recorded and the run does not end
    # at this time; that of the first tag is long, for then the worker settles.
    no_tag_end_work = machine.modes is None and s.gate is None and not s.recorder.records_values
    uniform_levels = all(buffers.plain) and not s.recorder.records_reactions and not s.level_runner.profiled
    now, before, replace = time.perf_counter_ns, 0, heapq.heapreplace
    timers = len(periodic)
    # Locals are what is looked at in each tag; what others read is stored as it changes.
    ran, tags, time_ns, stop = s.reactions_done, s.tags_done, queue.time_ns, queue.stop_tag
    stop_ns = forever if stop is None else stop[0]
    fast_path = no_tag_end_work and tags > 0 and time_ns < stop_ns
    # What is alone at the beginning of its tag is called at once, before the levels of `level_range` are looked at.
    first: Group | None = None  # what `call` is of; None: of `beat`
    beat: Any = None
    call: Callable[[], None] | None = None
    clears: tuple[InPort, ...] = ()
    group: Group | None = None  # whose reactions run in this very frame
    try:
        while True:
            if call is not None:
                call()
                call = None
                if clears:
                    clear(clears)
                if requests:
                    serve(requests)
            for level in level_range:
                groups = levels[level]
                if groups:
                    group = groups.pop()
                    while groups and groups[-1] is group:  # workers of the level before queued it at once
                        groups.pop()
                    if groups or not group.direct or (slow and group.size > 1):
                        groups.append(group)
                        group = None
                        ran += run_level(me, level, groups)
                    else:
                        group.queued = False
                        ran += group.size
                        group.call()
                        if group.clears:
                            clear(group.clears)
                        group = None
                    if requests:
                        serve(requests)
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
            s.reactions_done, s.tags_done = ran, tags
            if fired:
                signal = fired.pop()
                edge = signal.zero_delay_edge
                if (
                    edge is None
                    or not fast_path
                    or fired
                    or upcoming
                    or commands.given
                    or posts
                    or (heap and heap[0][0] <= time_ns)
                ):
                    fired.append(signal)
                    s.send()
                else:
                    # The usual case in a loop of zero delays: the next microstep, with no need to look at the clock.
                    signal.fired = False
                    edge.deliver(signal.state.value)
                    queue.microstep += 1
                    if edge.clears:
                        clear(edge.clears)
                    fanout = edge.fanout
                    first = fanout.sole_group
                    if first is not None and first.direct and not (slow and first.size > 1):
                        call, clears, level_range = first.call, first.clears, fanout.later_levels
                        ran += first.size
                        continue
                    for enqueue, ready in fanout.groups:
                        if not ready.queued:
                            ready.queued = True
                            enqueue(ready)
                    level_range = fanout.level_range
                    continue
            if not fast_path:
                machine.close()
            elif commands.given or posts or (heap and heap[0][0] <= time_ns):
                pass
            elif upcoming:
                level_range = range(s.load(queue.take_upcoming()) + 1)
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
                    or not (s.fast or s.clock.elapsed_ns() >= moment)
                ):
                    replace(periodic, (moment + beat[1], order, beat))
                    queue.time_ns = time_ns = moment
                    queue.microstep = 0
                    first, call, level_range, clears = None, due, beat[2], beat[3]
                    ran += 1
                    continue
            if not me.settled:
                me.settle()
            level_range = s.open_tag()
            if level_range is None:
                return
            time_ns, stop = queue.time_ns, queue.stop_tag
            stop_ns = forever if stop is None else stop[0]
            fast_path = no_tag_end_work and time_ns < stop_ns
    except BaseException as error:
        if call is not None:
            group = beat[4].fanout.sole_group if first is None else first
        if group is None:
            s.reactions_done = ran
            raise
        s.reactions_done = ran - group.size
        raise s.level_runner.failed_in((group,), group, error) from error
