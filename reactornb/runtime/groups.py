"""Groups: reactions that always become ready together, and are called together.

A reactor program triggers the same reactions again and again, so the function that calls them is generated once. The members of a bank
share one body: the generated function has a line per member that calls the body with that member's arguments, and CPython runs it without leaving its
evaluation loop (measured on 3.14t: 60 ns less per reaction than one `functools.partial` each). For larger banks it is a loop:
unpacking the arguments from a tuple costs 30 ns more per reaction.
"""

from __future__ import annotations

import functools
import hashlib
import linecache
from collections.abc import Callable, Sequence
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from reactornb.runtime.handles import InPort
from reactornb.runtime.reactions import RunningReaction
from reactornb.runtime.sharing import UNKNOWN

__all__ = ["Group", "one_by_one"]


class Group:
    """Reactions of one level that one signal makes ready together.

    # queued    set to True by the worker that sets a port that triggers the group, to False by the leader when it takes the group from
    #           its level. Two workers that set ports of one level may both find it False: the group is then in its
    #           level's list twice, and the leader skips the second.
    # direct    written and read by the leader
    # cost_ns, outlier
    #           written by the leader between levels, and, if the group is an item of a batch, by the worker that runs it

    Attributes:
        reactions: in the graph's order; `size` is their number and `level` their level.
        call: runs all of them on the calling thread.
        clears: the handles that their `set` may make present, to be cleared when the tag ends.
        direct: if it is alone on its level, the leader may call it at once: it is cheap, or there is no other worker.
        cost_ns: running estimate of the time of `call`; `UNKNOWN` until it was measured. `outlier`: the last time was far from the
            estimate.
    """

    __slots__ = (
        "_code", "call", "clears", "cost_ns", "direct", "index", "level", "outlier", "queued", "reactions", "size",
    )  # fmt: skip

    def __init__(self, reactions: Sequence[RunningReaction]) -> None:
        self.reactions = tuple(reactions)
        self.size = len(self.reactions)
        self.index = self.reactions[0].index
        self.level = self.reactions[0].level
        self.queued = False
        self.direct = False
        self.cost_ns = UNKNOWN
        self.outlier = False
        self.clears: tuple[InPort, ...] = tuple(h for r in self.reactions for h in r.clears)
        self.call, self._code = _caller(self.reactions)

    @property
    def caller(self) -> tuple[Callable[[], None], CodeType]:
        """`call`, and the code object whose frame shows which reaction runs; set between tags, by the leader."""
        return self.call, self._code

    @caller.setter
    def caller(self, caller: tuple[Callable[[], None], CodeType]) -> None:
        self.call, self._code = caller

    def culprit(self, error: BaseException) -> RunningReaction:
        """The reaction that raised `error` while `call` ran."""
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code is not self._code:
            trace = trace.tb_next
        if trace is None:
            return self.reactions[0]
        known = trace.tb_frame.f_locals
        if "reaction" in known:
            return known["reaction"]  # type: ignore[no-any-return]
        if "row" in known:
            return next(r for r in self.reactions if r.row is known["row"])
        return self.reactions[trace.tb_lineno - self._code.co_firstlineno - 1]

    def __repr__(self) -> str:
        return f"<group of {self.size} on level {self.level}>"


def one_by_one(reactions: tuple[RunningReaction, ...]) -> tuple[Callable[[], None], CodeType]:
    """A `Group.caller` that calls each reaction by itself, with what its `call` is then."""

    def call() -> None:
        for reaction in reactions:
            reaction.call()

    return call, call.__code__


def _caller(reactions: tuple[RunningReaction, ...]) -> tuple[Callable[[], None], CodeType]:
    body, width = reactions[0].body, len(reactions[0].row)
    if body is None or any(r.body is not body or len(r.row) != width for r in reactions):
        return one_by_one(reactions)
    rows = tuple(r.row for r in reactions)
    if len(rows) > _MOST_LINES:
        code = _loop(width)
        return FunctionType(code, _GLOBALS, argdefs=(body, rows)), code
    name_of: dict[int, str] = {}
    value_of: dict[str, Any] = {}
    for row in rows:
        for value in row:
            value_of[name_of.setdefault(id(value), f"a{len(name_of)}")] = value
    code = _lines(tuple(value_of), tuple(tuple(name_of[id(value)] for value in row) for row in rows))
    return FunctionType(code, _GLOBALS, argdefs=(body, *value_of.values())), code


@functools.lru_cache(maxsize=256)
def _lines(names: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> CodeType:
    """A call a line: `body(a0, a1, a2)`. All names are parameters, the fastest there are."""
    calls = "\n".join(f"    body({', '.join(row)})" for row in rows)
    return _compiled(f"def call({', '.join(('body', *names))}):\n{calls}\n")


@functools.cache
def _loop(width: int) -> CodeType:
    names = ", ".join(f"a{i}" for i in range(width))
    return _compiled(f"def call(body, rows):\n    for row in rows:\n        {names}, = row\n        body({names})\n")


def _compiled(source: str) -> CodeType:
    """The function in a source text, which debuggers and tracebacks can show: its lines are registered with `linecache`.

    The file that it claims to come from is named after the text, so that one text has one entry, and lies in this folder, so that a
    user's traceback leaves it out with the rest of the runtime.
    """
    digest = hashlib.blake2b(source.encode(), digest_size=6).hexdigest()
    file = str(Path(__file__).with_name(f"<reactions of a bank {digest}>"))
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    module = compile(source, file, "exec")
    return next(constant for constant in module.co_consts if isinstance(constant, CodeType))


_MOST_LINES = 64
_GLOBALS = {"__name__": __name__}  # of generated functions, which use no globals: it tells whose code they are
