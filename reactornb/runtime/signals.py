"""What the scheduler moves: signals (whatever can be present at a tag) and reactions ready to be called."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from reactornb.runtime.handles import NO_PORT, InPort

if TYPE_CHECKING:
    from reactornb.runtime.groups import Group

__all__ = ["Beat", "Pending", "RunningReaction", "Signal"]


class Pending(set[tuple[int, int]]):
    """The tags at which an action or a delayed connection is queued, at most one event each; the leader's own.

    Events that meet at one time follow each other in microsteps. `free` remembers how far it has looked, so a million events
    for one time take a million steps, not a million times a million.

    # _runs   time in ns -> (first, end): every microstep from first to end - 1 was taken when `free` last looked. A tag that has been
    #         executed leaves the set and stays in its run, which does no harm: nobody asks for a tag that is over. Whoever takes an
    #         event back (`update`, a mode that is left) calls `take_back`, which forgets the run.
    """

    __slots__ = ("_most", "_runs")

    def __init__(self) -> None:
        super().__init__()
        self._runs: dict[int, tuple[int, int]] = {}
        self._most = 64  # runs, before those that are over are looked for

    def free(self, tag: tuple[int, int]) -> tuple[int, int]:
        """The first tag, from `tag` on and at its time, at which nothing is queued."""
        if tag not in self:
            return tag
        time_ns, microstep = tag
        first, end = self._runs.get(time_ns, (-1, -1))
        if not first <= microstep < end:
            first = end = microstep
        while (time_ns, microstep) in self:
            microstep = max(microstep + 1, end)
        if len(self._runs) >= self._most:
            self._runs = {t: run for t, run in self._runs.items() if (t, run[1] - 1) in self}
            self._most = max(2 * len(self._runs), 64)
        self._runs[time_ns] = (first, microstep)
        return (time_ns, microstep)

    def take_back(self, tag: tuple[int, int]) -> None:
        """The event of a tag that is yet to come is off the queue."""
        self.discard(tag)
        self._runs.pop(tag[0], None)


class Signal:
    """Something that is present at a tag: a port being written, an action, a timer, a delayed connection.

    Attributes:
        handles: what its value is written through to; cleared when the tag ends.
        triggers: reactions it makes ready; `groups` has them by level, each with the function that queues it there.
        only: the group it makes ready, if that is one.
        reach: the highest level that anything it sets off at the same tag can be on, -1 if it sets off nothing.
        ahead: the levels on which something may be ready once it is present; `beyond`: those above the first.
        delays: delayed connections that a written port feeds.
        onward: that connection, if it is a `lean` one of one microstep in the same enclave and all that is fed.
        port: index of the written port in the graph, -1 for anything else.
        clears: those of its handles whose presence somebody can ask for, marked absent when the tag ends.
        enclave: where it is present, and where what it triggers lives.
    """

    __slots__ = (
        "after", "ahead", "beat", "beyond", "clears", "copied", "delays", "deliver", "enclave", "fired", "groups", "handles", "is_delay", "last_tag", "lean", "min_spacing", "mode", "name", "offset", "only",
        "onward", "order", "pending", "period", "physical", "policy", "port", "reach", "special", "state", "triggers",
    )  # fmt: skip

    def __init__(self, name: str, *, port: int = -1) -> None:
        self.name = name
        self.port = port
        self.order = 0  # position in the fingerprint's order
        self.handles: tuple[InPort, ...] = ()
        self.clears: tuple[InPort, ...] = ()
        self.enclave = 0
        self.triggers: tuple[RunningReaction, ...] = ()
        self.groups: tuple[tuple[Callable[[Group], None], Group], ...] = ()
        self.only: Group | None = None
        self.reach = -1
        self.ahead = self.beyond = range(0)
        self.delays: tuple[Signal, ...] = ()
        self.onward: Signal | None = None
        self.state: InPort = NO_PORT
        self.fired = False  # whether it stands on its agenda's list of this tag; as `Group.queued`
        self.copied = False  # some reader gets a copy of its own
        # Of a periodic timer: what the scheduler needs each time, in one small object, since 10,000 timers do not fit a core's cache.
        # The call is that of the one reaction that it triggers, if that is all it does; else None.
        self.beat: Beat = (None, 0, self.beyond, (), self)
        self.lean = False  # true if it is a delayed connection whose arrival only writes values and queues groups
        self.special = False  # true if the end of the tag must know of it: it feeds delays, or values are recorded
        self.deliver: Callable[[Any], None] = _nowhere
        self.mode = -1
        # timers: first offset and period; actions: least delay and spacing; connections: delay. All in ns.
        self.offset = 0
        self.period = 0
        self.after = 0
        self.is_delay = False
        self.physical = False
        self.min_spacing: int | None = None
        self.policy = "defer"
        self.last_tag: tuple[int, int] | None = None
        # tags at which an action or delayed connection is queued; None for anything whose tags cannot collide
        self.pending: Pending | None = None

    def __repr__(self) -> str:
        return f"<signal {self.name}>"


def _nowhere(_: Any) -> None:
    return None


class RunningReaction:
    """A reaction of one instance, ready to be called.

    Attributes:
        call: runs the body with its arguments (or the deadline's handler).
        body, row: the plain function and its arguments where nothing stands between the scheduler and the body, else None, ().
        clears: handles that its `set` may make present and that are cleared after it ran whether it did or not; see `Schedule`.
        inactive: true while its mode is not active.
        reach: the highest level of what it may set off at the same tag, its own at least.
        cost_ns: running estimate of the body's time; `odd`: it took another one last time.
    """

    __slots__ = (
        "body", "call", "clears", "cost_ns", "enclave", "inactive", "index", "level", "mode", "name", "node", "odd", "reach", "reads", "row", "size", "worker",
    )  # fmt: skip

    def __init__(self, node: Any) -> None:
        self.node = node
        self.index: int = node.index
        self.name: str = node.name
        self.level: int = node.level
        self.mode: int = node.mode
        self.call: Callable[[], None]
        self.body: Callable[..., None] | None = None
        self.row: tuple[Any, ...] = ()
        self.clears: tuple[InPort, ...] = ()
        self.enclave = 0
        self.inactive = False
        self.reach = -1
        self.reads: tuple[InPort, ...] = ()
        self.cost_ns = -1
        self.odd = False
        self.size = 1
        self.worker = -1

    def culprit(self, _: BaseException) -> RunningReaction:
        """What raised; of a group, see there."""
        return self

    def __repr__(self) -> str:
        return f"<reaction {self.name} level {self.level}>"


Beat = tuple[Callable[[], None] | None, int, range, tuple[InPort, ...], Signal]
"""Of a periodic timer: the call or None, period in ns, the levels beyond the call's, what to clear afterwards, the signal."""
