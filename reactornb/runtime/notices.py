"""The warnings of a run, each given once.

A warning is added to the run's list, which the panel and `status` show, and goes to the logger `reactornb`, which prints it on stderr
unless the user's logging is set otherwise.

# _said    written under _lock, by any thread that warns: a worker, or one that shows the run
# _words   appended to under _lock; read at any time, as a copy
# died     appended to by a thread that dies, in one operation; read by any
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Hashable
from typing import Any

from reactornb.errors import Source
from reactornb.runtime.reaction_finder import finder_of

__all__ = ["Notices", "whereabouts"]


class Notices:
    """The warnings of one run.

    Args:
        who: what the warnings are about, such as "run 3 of main".

    Attributes:
        died: names of threads that reactions started and that ended in an exception.
    """

    def __init__(self, who: str) -> None:
        self.who = who
        self._lock = threading.Lock()
        self._said: set[Hashable] = set()
        self._words: list[str] = []
        self.died: list[str] = []

    def add(self, key: Hashable, words: str) -> bool:
        """Warn, unless there was a warning with that key. Any thread may call it.

        Returns:
            Whether it is the first one.
        """
        with self._lock:
            if key in self._said:
                return False
            self._said.add(key)
            self._words.append(words)
        import logging  # not needed by runs without a warning

        logging.getLogger("reactornb").warning("%s: %s", self.who, words)
        return True

    @property
    def words(self) -> list[str]:
        """The warnings so far, oldest first."""
        with self._lock:
            return self._words.copy()

    def release(self) -> None:
        """In a forked child, where another thread may have held the lock."""
        self._lock = threading.Lock()


def whereabouts(scheduler: Any) -> tuple[str, Source]:
    """The full name of the reaction that this thread runs, and the line at which its body is; "" and the nearest line of the user's if none.

    Args:
        scheduler: of the run for which the thread works; None if there is none.
    """
    place = finder_of(scheduler).find(sys._getframe(1))
    return (place.name, place.source) if place.source is not None else ("", Source.caller())
