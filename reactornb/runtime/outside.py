"""What comes to a run from outside: recorded as rows (`outside_rows.py`), and replayed bit for bit.

A replay puts each input of an earlier run at its place again, with any number of workers, and waits for nothing.

Up to its *horizon*, the last tag of which the rows know anything, a replay is the earlier run. From there on the run goes on by itself: watchdogs
run, deadlines and clocks are real, what comes from outside is accepted, at tags later than the horizon. The clock begins at the latest time
that the rows know, so nothing up to there is waited for.

Not recorded: what reactions read past the runtime (`time.time()`, files, sockets), and what threads that are no workers ask for. A
physical action that a reaction scheduled is known by its number: the replay drops the call whose event the rows have, and keeps the others
until the rows are over; so it is with `Run.set` and `Run.stop`. Of other threads' calls it drops as many as the rows have, while it lasts.

# A border belongs to its enclave's leader, but for these:
# _counts         read by any thread that posts; each count hands out a number once
# _asked, _told   an entry per reaction or reactor, read and written by the worker that runs it; one reactor's run one at a time
# is_live         set once by the leader, read by any; who posts too early leaves a post that the leader finds when the replay is over
# _stop_later     under _stopping, as `is_live` where it decides about a stop: whoever comes second gives the command
"""

from __future__ import annotations

import itertools
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from reactornb.errors import ReplayError
from reactornb.graph import Graph
from reactornb.model import Reactor
from reactornb.runtime.commands import Commands
from reactornb.runtime.context import ReactionContext
from reactornb.runtime.inbox import Inbox
from reactornb.runtime.machine import Machine, Posted, due_ns
from reactornb.runtime.notices import Notices
from reactornb.runtime.outside_inbox import SET, FromReaction, LivePosts
from reactornb.runtime.outside_rows import BEFORE, BETWEEN_TAGS, OutsideLog, Replay, Row, are_rows
from reactornb.runtime.reaction_finder import finder_of
from reactornb.runtime.sending import PLAIN, settled
from reactornb.runtime.signals import Action, DelayedEdge, TagKey
from reactornb.runtime.tuning import Target, targets_of
from reactornb.runtime.watchdogs import Watchdogs
from reactornb.runtime.workers import current_scheduler

__all__ = ["Border", "Led", "OutsideLog", "Replay", "Row", "are_rows"]


class Led(Protocol):
    """What a border asks of its scheduler."""

    graph: Graph
    machine: Machine
    inbox: Inbox
    commands: Commands
    watchdogs: Watchdogs
    notices: Notices
    schedule: Any


class Border:
    """What stands between one enclave and the outside: records what passes, or lets pass what an earlier run recorded.

    Args:
        enclave: its number.
        log: takes the rows; None: nothing is recorded.
        replay: of an earlier run, or None.

    Attributes:
        stop_again: tells the gate between several enclaves that the earlier run was stopped at a tag; None: there is one enclave.
        silent: while startup reactions are run only to make what a cut is loaded into: nothing that they ask for counts.
        is_live: the replay is over, or there is none.
    """

    def __init__(self, enclave: int, log: OutsideLog | None, replay: Replay | None) -> None:
        self.enclave = enclave
        self._log = log
        self._replay = replay
        self.stop_again: Callable[[TagKey], None] | None = None
        self.silent = False
        self.is_live = replay is None
        self._rows: deque[Row] = deque()
        self._horizon = BEFORE
        self._floor_ns = 0
        self._number = 0
        self._held: list[Posted] = []  # what is to come after the horizon
        self._stop_later = False
        self._stopping = threading.RLock()  # a signal handler may ask for the end while its thread does
        self._actions: dict[str, Action] = {}
        self._dogs: frozenset[Action] = frozenset()
        self._counts: dict[tuple[str, bool], Callable[[], int]] = {}
        self._known: dict[tuple[str, bool], int] = {}  # calls below this number are those of the rows
        self._refused: set[tuple[str, int]] = set()
        self._asked: dict[str, tuple[TagKey, int]] = {}
        self._told: dict[str, tuple[TagKey, int]] = {}
        self._missed: set[tuple[TagKey, str, int]] = set()
        self._reads: dict[tuple[TagKey, str, int], int] = {}
        self._arrivals: dict[tuple[TagKey, int], int] = {}
        if replay is not None:
            self._look_up(replay)
        self._led: Led
        self._machine: Machine

    def _look_up(self, replay: Replay) -> None:
        here = self.enclave
        self._rows.extend(replay.rows(here, *BETWEEN_TAGS))
        self._horizon = replay.horizon
        self._floor_ns = replay.horizon[0] + 1
        self._number = replay.position(here)
        self._missed = {(tag, name, number) for _, _, number, tag, name in replay.rows(here, "missed")}
        self._reads = {(tag, name, number): ns for _, _, number, tag, (name, ns) in replay.rows(here, "clock")}
        self._arrivals = {(tag, edge): ns for _, _, _, tag, (edge, ns) in replay.rows(here, "connection")}
        self._refused = {(name, number) for _, _, number, _, name in replay.rows(here, "refused")}

    def adopt(self, led: Led, start_time_ns: int) -> int:
        """Made for this scheduler; before the first tag.

        Returns:
            When the run began: that of the earlier run, if one is replayed.

        Raises:
            ReplayError: if the rows name what the program does not have.
        """
        self._led, self._machine = led, led.machine
        self._actions = {s.name: s for s in led.schedule.signals if isinstance(s, Action) and s.enclave == self.enclave}
        expiries = {dog.name for dog in led.graph.watchdogs}
        self._dogs = frozenset(action for name, action in self._actions.items() if name in expiries)
        calls: dict[tuple[str, bool], list[int]] = {}
        for row in self._rows:
            if row[0] in ("action", "watchdog") and row[4][0] not in self._actions:
                raise ReplayError(f"what is replayed has an event of {row[4][0]}, which this program does not have.")
            if row[0] == "action":
                numbers = calls.setdefault((row[4][0], row[4][3] >= 0), [])
                numbers.append(row[4][3] if row[4][3] >= 0 else len(numbers))
            elif row[0] == "change" and row[4][2] >= 0:
                calls.setdefault((SET, True), []).append(row[4][2])
        for name, number in self._refused:
            calls.setdefault((name, True), []).append(number)
        for name in (*self._actions, SET):
            for key in ((name, True), (name, False)):
                numbers = calls.get(key, [])
                self._counts[key] = itertools.count(min(numbers, default=0)).__next__
                self._known[key] = max(numbers, default=-1) + 1
        replay = self._replay
        if replay is not None:
            led.watchdogs.hold()
            for tag, path, value in replay.given:
                mine = [t for t in targets_of(led.graph, path, value) if self._is_mine(t)]
                if mine:
                    self._machine.change_at(tag, mine)
                    self.given(tag, mine)
            if replay.start_time_ns is not None:
                start_time_ns = replay.start_time_ns
        if self.enclave == 0:
            self._add("start", -1, BEFORE, start_time_ns, again=replay is not None and replay.start_time_ns is not None)
        return start_time_ns

    def given(self, tag: TagKey, targets: list[Target]) -> None:
        """Parameters that are changed at a tag that was known before the first."""
        for path, value in self._named(targets):
            self._add("given", -1, tag, (path, value), again=not self.is_live)

    def ended(self) -> None:
        """The enclave has executed its last tag."""
        if self._rows:
            kind, _, _, after, _ = self._rows[0]
            self._led.notices.add(
                "replay", f"of what is replayed, {len(self._rows)} events from outside are left: the run ended before tag {after}, after which a {kind} came."
            )  # fmt: skip
        self._add("end", -1, self._machine.queue.now, None, again=self._now() <= self._horizon)

    # -- what the leader takes in, between two tags --------------------------------------------------------------------

    @property
    def replays(self) -> bool:
        """Whether something of the earlier run is still to come."""
        return bool(self._rows)

    @property
    def position(self) -> int:
        """How many rows between tags have come: a cut that is taken here has taken in those with lower numbers."""
        return self._number

    def is_due(self, posts: int) -> bool:
        """Whether there is something to be accepted before the next tag, with so many posts waiting."""
        if self._rows:
            return self._now() >= self._rows[0][3] or not len(self._machine.queue)
        return posts > 0 or not self.is_live

    def accept(self, posted: Iterable[Posted], floor_ns: int) -> None:
        """See `Machine.accept`.

        Raises:
            ReplayError: if the run does not go as the one that is replayed.
        """
        if self._machine.is_over:  # the inbox is about to be closed
            return
        if not self.is_live:
            self._repeat()
            if self._rows:
                return
            if self._is_beyond_horizon():
                self._go_live()
        held, self._held = self._held, []
        floor_ns = max(floor_ns, self._floor_ns)
        machine = self._machine
        for post in itertools.chain(held, posted):
            action, posted_ns, delay, value = post
            number = -1
            if type(value) is FromReaction:
                value, number = value
            # What a reaction has scheduled must be on the queue, for a cut. A change is taken in at whatever tag comes next, which another
            # enclave may bring.
            waits = action is None and self.stop_again is not None and self._now() < self._horizon
            if waits or (not self.is_live and (action is None or number < 0)):
                self._held.append(post)
                continue
            if action is None:
                self._came("change", (posted_ns, self._named(value), number))
                machine.tuning.accept(posted_ns, value)
                continue
            time_ns = max(due_ns(action, posted_ns, delay), floor_ns)
            if action in self._dogs:
                running = self._led.watchdogs.is_running(action)
                self._came("watchdog", (action.name, posted_ns, time_ns, running))
            else:
                self._came("action", (action.name, posted_ns, time_ns, number, value))
            machine.bring(action, time_ns, value)

    def _repeat(self) -> None:
        """Take in what came to the earlier run after the current tag."""
        rows, machine, now = self._rows, self._machine, self._now()
        while rows and rows[0][3] == now:
            row = rows.popleft()
            kind, _, number, after, data = row
            self._number = number + 1
            self._add(kind, number, after, data, again=True)
            if kind == "change":
                targets = [t for path, value in data[1] for t in targets_of(self._led.graph, path, value)]
                machine.tuning.accept(data[0], targets)
            elif kind == "stop":
                machine.stop_by((data[0], data[1]))
                if data[2] and self.stop_again is not None:
                    self.stop_again((data[0], data[1]))
            else:
                self._bring_again(kind, data)
        assert self._replay is not None
        if not rows:
            if self._replay.stop_tag is not None:
                machine.stop_by(self._replay.stop_tag)
        elif rows[0][3] < now or (self.stop_again is None and machine.limited(machine.earliest()) is None):
            raise self.astray()

    def astray(self) -> ReplayError:
        """The next event from outside has no place in this run."""
        (kind, _, _, after, _), now = self._rows[0], self._now()
        gone = f"went past that, to {now}" if after < now else f"has nothing left to do after {now}"
        return ReplayError(
            f"this run does not go as the one that is replayed: there a {kind} came after tag {after}, and this one {gone}. A replay needs the same "
            f"program, parameters and seed.",
            after=after,
        )

    def _bring_again(self, kind: str, data: Any) -> None:
        name, _, time_ns, fourth, *values = data
        action, value = self._actions[name], None
        if kind == "watchdog":
            if not fourth:
                self._led.watchdogs.stop(action)
        else:
            value = values[0] if type(values[0]) in PLAIN else settled(values[0], name)
        self._machine.bring(action, time_ns, value)

    def _is_beyond_horizon(self) -> bool:
        if self._now() >= self._horizon:
            return True
        tag = self._machine.limited(self._machine.earliest())
        return tag is None or tag > self._horizon

    def _go_live(self) -> None:
        with self._stopping:
            self.is_live = True
        self._led.inbox.posts.__class__ = LivePosts  # made for this; see there
        self._led.watchdogs.release()
        if self._stop_later:
            self._led.commands.give(stop=True, outside=True)

    def stopped(self, tag: TagKey, *, everywhere: bool) -> None:
        """See `machine.Outside`; what is left of a replay does not count any more."""
        if self._rows:
            self._repeat()
        stop = self._machine.queue.stop_tag
        if stop is None or tag < stop:
            self._rows.clear()
            self._came("stop", (*tag, everywhere))

    def arrives(self, edge: DelayedEdge, time_ns: int) -> int:
        """See `machine.Outside`."""
        tag, again = self._now(), False
        if tag <= self._horizon:
            known = self._arrivals.get((tag, edge.order))
            if known is not None:
                time_ns, again = known, True
        self._add("connection", 0, tag, (edge.order, time_ns), again=again)
        return time_ns

    # -- what reactions ask, on any worker ------------------------------------------------------------------------------

    def is_reaction(self) -> bool:
        """Whether the calling thread runs reactions of this run."""
        here: ReactionContext | None = current_scheduler()
        return here is not None and here.notices is self._led.notices

    def read(self, now_ns: int, reader: Reactor | None) -> int:
        """What a reaction is told that asks for physical time: this, or what it was told in the earlier run."""
        if self.silent or not self.is_reaction():
            return now_ns
        if reader is None:  # text of Lingua Franca does not say who asks
            reader = finder_of(self._led).find(sys._getframe(1), with_reactor=True).reactor
            if reader is None:
                return now_ns
        name, tag, again = reader._name, self._now_in_tag(), False
        number = _next_of(self._told, name, tag)
        if tag <= self._horizon:
            known = self._reads.get((tag, name, number))
            if known is not None:
                now_ns, again = known, True
        self._add("clock", number, tag, (name, now_ns), again=again)
        return now_ns

    def decide(self, name: str, is_missed: Callable[[], bool]) -> bool:
        """Whether a reaction's deadline is missed: as in the earlier run, or as the clock says."""
        if self.silent:
            return False
        tag = self._now_in_tag()
        number = _next_of(self._asked, name, tag)
        again = tag <= self._horizon
        missed = (tag, name, number) in self._missed if again else is_missed()
        if missed:
            self._add("missed", number, tag, name, again=again)
        return missed

    def request_stop(self) -> None:
        """A reaction, or a thread that is no worker, asks for the end."""
        if self.is_reaction():
            if not self.silent:
                self._led.commands.give(stop=True)
        else:
            self.stop_when_live()

    # -- what is scheduled, on any thread -------------------------------------------------------------------------------

    def call(self, name: str) -> tuple[str, int]:
        """A physical action is scheduled, or a parameter changed.

        Args:
            name: full name of the action.

        Returns:
            "accept", "drop" or "refuse", and the number of the call if a reaction makes it, else -1.
        """
        inner = self.is_reaction()
        if self.silent and inner:
            return "drop", -1
        if not inner and (self.is_live or name == SET):
            return "accept", -1
        key = (name, inner)
        number = self._counts[key]()
        if number >= self._known[key]:
            return "accept", number if inner else -1
        return "refuse" if (name, number) in self._refused and inner else "drop", number

    def refused(self, name: str, number: int, *, again: bool) -> None:
        """A reaction's call found the inbox full."""
        self._add("refused", number, self._now_in_tag(), name, again=again)

    def stop_when_live(self) -> None:
        """Somebody asks for the end, and asked for it in the earlier run: if the rows do not have that, it comes after them."""
        with self._stopping:
            self._stop_later = not self.is_live
            if self._stop_later:
                return
        self._led.commands.give(stop=True, outside=True)

    # -- rows -----------------------------------------------------------------------------------------------------------

    def _came(self, kind: str, data: Any) -> None:
        number = self._number
        self._number = number + 1
        self._add(kind, number, self._now(), data, again=False)

    def _add(self, kind: str, number: int, tag: TagKey, data: Any, *, again: bool) -> None:
        if self._log is not None:
            self._log.add((kind, self.enclave, number, tag, data), again=again)

    def _now(self) -> TagKey:
        """The tag that was executed last, for the leader between two."""
        return self._machine.queue.now if self._machine.begun else BEFORE

    def _now_in_tag(self) -> TagKey:
        return self._machine.queue.now

    def _is_mine(self, target: Target) -> bool:
        return self._led.graph.reactors[target[0]].enclave == self.enclave

    def _named(self, targets: Iterable[Target]) -> tuple[tuple[str, Any], ...]:
        reactors = self._led.graph.reactors
        return tuple((f"{reactors[index].name}.{name}", value) for index, name, value in targets)


def _next_of(counts: dict[str, tuple[TagKey, int]], name: str, tag: TagKey) -> int:
    """How often a name has been counted at a tag before; counts it."""
    at, number = counts.get(name, (tag, 0))
    if at != tag:
        number = 0
    counts[name] = (tag, number + 1)
    return number
