"""Groups: reactions that always become ready together, and are called together.

A reactor program triggers the same reactions again and again, so what calls them is made once. A bank's members share one
body: their group calls it in a loop over the members' arguments, which CPython runs without leaving its evaluation loop
(measured on 3.14t: 60 ns less per reaction than one `functools.partial` each).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import CodeType
from typing import Any

from reactornb.runtime.handles import InPort
from reactornb.runtime.signals import RunningReaction

__all__ = ["Group", "culprit", "one_by_one"]


class Group:
    """Reactions of one level that one signal makes ready together.

    # queued    written True by whoever sets a port that triggers the group, False by the leader when it takes the group from
    #           its level. Two workers that set ports of one level may both find it False: the group then stands twice on its
    #           level's list, and the leader passes over the second.
    # direct    the leader, when it has run the group alone on its level
    # cost_ns, odd, worker
    #           the leader, between levels; and, of a group that is handed out as one item, the worker that runs it

    Attributes:
        reactions: in the graph's order; `size` is their number and `level` their level.
        call: runs all of them on the calling thread.
        clears: the handles that their `set` may make present, to be cleared when the tag ends.
        direct: the leader may simply call it where it is alone on its level: it is cheap, or there is nobody to share it with.
        cost_ns: running estimate of what `call` takes; more than any limit while it is unknown; `odd`: it took another
            time when it was last called.
        worker: which ran it last, as one item of a shared level.
    """

    __slots__ = (
        "_code", "call", "clears", "cost_ns", "direct", "index", "level", "odd", "queued", "reactions", "size", "worker",
    )  # fmt: skip

    UNKNOWN = 1 << 62

    def __init__(self, reactions: Sequence[RunningReaction]) -> None:
        self.reactions = tuple(reactions)
        self.size = len(self.reactions)
        self.index = self.reactions[0].index
        self.level = self.reactions[0].level
        self.queued = False
        self.direct = False
        self.cost_ns = self.UNKNOWN
        self.odd = False
        self.clears: tuple[InPort, ...] = tuple(h for r in self.reactions for h in r.clears)
        self.worker = -1
        self.call, self._code = _caller(self.reactions)

    @property
    def caller(self) -> tuple[Callable[[], None], CodeType]:
        """What `call` is, with the code in whose frame `row` is the reaction that runs; set between tags, by the leader."""
        return self.call, self._code

    @caller.setter
    def caller(self, caller: tuple[Callable[[], None], CodeType]) -> None:
        self.call, self._code = caller

    def culprit(self, error: BaseException) -> RunningReaction:
        """The reaction out of which `error` came while `call` ran."""
        frame = error.__traceback__
        while frame is not None:
            if frame.tb_frame.f_code is self._code:
                found = [frame.tb_frame.f_locals.get(name) for name in _NAMES]
                return next((r for r in self.reactions if r is found[0] or _is_row(r.row, found)), self.reactions[0])
            frame = frame.tb_next
        return self.reactions[0]

    def __repr__(self) -> str:
        return f"<group of {self.size} on level {self.level}>"


def culprit(item: Group | RunningReaction, error: BaseException) -> RunningReaction:
    """The reaction that raised, given what was called."""
    return item.culprit(error) if isinstance(item, Group) else item


# What the loops below call what they are at.
_NAMES = ("a", "b", "c", "d")


def _is_row(row: tuple[Any, ...], found: Sequence[Any]) -> bool:
    return all(argument is value for argument, value in zip(row, found, strict=False))


def one_by_one(reactions: tuple[RunningReaction, ...]) -> tuple[Callable[[], None], CodeType]:
    """A `Group.caller` that calls each reaction by itself, with what its `call` is then."""
    made = _one_by_one(reactions)
    return made, made.__code__


def _caller(reactions: tuple[RunningReaction, ...]) -> tuple[Callable[[], None], CodeType]:
    first = reactions[0].body
    width = len(reactions[0].row)
    if first is not None and width in _LOOPS and all(r.body is first and len(r.row) == width for r in reactions):
        made = _LOOPS[width](first, tuple(r.row for r in reactions))
    else:
        made = _one_by_one(reactions)
    return made, made.__code__


def _one_by_one(reactions: tuple[RunningReaction, ...]) -> Any:
    def call() -> None:
        for a in reactions:
            a.call()

    return call


def _loop_1(body: Callable[..., None], rows: tuple[Any, ...]) -> Any:
    def call() -> None:
        for (a,) in rows:
            body(a)

    return call


def _loop_2(body: Callable[..., None], rows: tuple[Any, ...]) -> Any:
    def call() -> None:
        for a, b in rows:
            body(a, b)

    return call


def _loop_3(body: Callable[..., None], rows: tuple[Any, ...]) -> Any:
    def call() -> None:
        for a, b, c in rows:
            body(a, b, c)

    return call


def _loop_4(body: Callable[..., None], rows: tuple[Any, ...]) -> Any:
    def call() -> None:
        for a, b, c, d in rows:
            body(a, b, c, d)

    return call


_LOOPS = {1: _loop_1, 2: _loop_2, 3: _loop_3, 4: _loop_4}
