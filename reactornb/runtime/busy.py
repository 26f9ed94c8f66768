"""Which reactions a run is in, and since when. Its threads are looked at from outside: a run pays nothing for it.

Stacks are read only if no tag and no reaction was done between two looks. A stack is read while its thread runs, hence the wait: a
frame that has been there for half a second is hardly left just then. The times are lower bounds: they begin with the first look that
finds a reaction.

# _moved, _moved_at, _since   under _lock; any thread may ask
"""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
            places = self.stacks()
            began = (
                self._moved_at if not self._since else now
            )  # one that was not there at the last look has begun since
            self._since = {key: self._since.get(key, began) for key in places}
            busy = [
                Busy(name, now - self._since[worker, name], where, worker) for (worker, name), where in places.items()
            ]
        return sorted(busy, key=lambda b: (-b.seconds, b.reaction))

    def stacks(self) -> dict[tuple[int, str], str]:
        """Per worker and reaction that it is in at this moment, file or cell and line; takes no lock."""
        finder = self._engine.schedule.finder
        frames = sys._current_frames()
        places: dict[tuple[int, str], str] = {}
        for worker in self._engine.workers:
            place = finder.find(frames.get(worker.thread.ident or 0))
            if place.candidates:
                places[worker.index, place.name] = str(place.source)
        return places


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.0f} min"
