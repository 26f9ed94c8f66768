"""Which reactions a run is in, and since when: found by looking at its threads from outside, so that a run pays nothing for it.

Nothing is looked at while tags are done. Where none was between two looks, the workers' stacks say which reaction each is in. A
stack is read while its thread runs, which is why this waits: a frame that has been there for a second is hardly left just then.
The times are lower bounds: from the first look at which a reaction was seen.

# _moved, _moved_at, _since   under _lock; any thread may ask
"""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

from reactornb.errors import Source

if TYPE_CHECKING:
    from reactornb.runtime.engine import Engine

__all__ = ["Busy", "BusyWatch"]

_SETTLED_S = 0.5  # stacks are not read before nothing has moved for so long


@dataclass(frozen=True, slots=True)
class Busy:
    """A reaction that has not returned.

    Attributes:
        reaction: its full name; "one of ..." where members of a bank cannot be told apart.
        seconds: at least so long.
        where: file or cell and line at which the reaction itself is.
        worker: number of the thread that runs it.
    """

    reaction: str
    seconds: float
    where: str
    worker: int

    def __str__(self) -> str:
        return f"{self.reaction} has been busy for {_duration(self.seconds)} ({self.where})"


class BusyWatch:
    """Looks at one run.

    Args:
        engine: what runs it.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._moved: Any = None
        self._moved_at = 0.0
        self._since: dict[tuple[int, str], float] = {}
        self._names: dict[CodeType, list[tuple[Any, str]]] | None = None

    def look(self) -> list[Busy]:
        """The reactions that are known to have been busy for half a second or more, longest first, then by name; empty while tags are done."""
        now = time.perf_counter()
        engine = self._engine
        with self._lock:
            moved = [(s.reactions_done, s.tags_done) for s in engine.schedulers]
            if moved != self._moved or engine.waiting:
                self._moved, self._moved_at = moved, now
                self._since.clear()
                return []
            if now - self._moved_at < _SETTLED_S:
                return []
            found = self.stacks()
            began = self._moved_at if not self._since else now  # one that was not there before has begun since
            self._since = {key: self._since.get(key, began) for key in found}
            busy = [
                Busy(name, now - self._since[worker, name], where, worker) for (worker, name), where in found.items()
            ]
        return sorted(busy, key=lambda b: (-b.seconds, b.reaction))

    def stacks(self) -> dict[tuple[int, str], str]:
        """Per worker and reaction that it is in at this moment, where that is; takes no lock."""
        if self._names is None:
            self._names = self._bodies()
        frames = sys._current_frames()
        found: dict[tuple[int, str], str] = {}
        for worker in self._engine.workers:
            frame: FrameType | None = frames.get(worker.thread.ident or 0)
            inner: tuple[str, str] | None = None
            while frame is not None:  # the outermost is the reaction: it may call another's body as a plain function
                known = self._names.get(frame.f_code)
                if known is not None:
                    inner = _name_of(known, frame), str(Source(frame.f_code.co_filename, frame.f_lineno or 0))
                frame = frame.f_back
            if inner is not None:
                found[worker.index, inner[0]] = inner[1]
        return found

    def _bodies(self) -> dict[CodeType, list[tuple[Any, str]]]:
        """The code of each reaction's body: the instances that it may run for, and the reaction's name for each."""
        made: dict[CodeType, list[tuple[Any, str]]] = {}
        instances = self._engine.schedule.instances
        for r in self._engine.graph.reactions:
            declaration = r.declaration
            for fn in (getattr(declaration, "fn", None), getattr(declaration, "handler", None)):
                code = getattr(fn, "__code__", None)
                if code is not None:
                    made.setdefault(code, []).append((instances[r.reactor], r.name))
        return made


def _name_of(known: list[tuple[Any, str]], frame: FrameType) -> str:
    if len(known) == 1:
        return known[0][1]
    first = frame.f_code.co_varnames[:1]
    instance = frame.f_locals.get(first[0]) if first else None
    names = [name for own, name in known if own is instance]
    return names[0] if names else f"one of {known[0][1]} to {known[-1][1]}"


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.0f} min"
