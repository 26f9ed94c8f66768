"""What the reactions of one run printed: its last lines, each with the reactor and the tag it comes from, and not too many.

Any thread of the run writes; the panel reads. It knows nothing of the notebook, which decides whose output comes here.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from typing import Any

from reactornb.model import Reactor
from reactornb.tags import format_ns

__all__ = ["Printed"]


class Printed:
    """The last lines that a run printed.

    Attributes:
        count: how many lines there were, `left_out` of which came faster than can be shown.
        closed: true while nothing is taken.

    # _begun                 a thread's line that has no end yet; each thread reads and writes its own
    # _lines, count, left_out, closed, _second, _in_second
    #                        read and written under _lock: by the threads of the run, and by the one that looks. A thread in
    #                        the middle of a line may see late that the log is closed: its line is then handed back whole
    """

    kept = 1000
    a_second = 200  # lines; more nobody reads
    longest = 2000  # characters

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun = threading.local()
        self._lines: deque[tuple[str, str]] = deque(maxlen=self.kept)
        self._second = 0
        self._in_second = 0
        self.closed = False
        self.count = 0
        self.left_out = 0

    def write(self, text: str, scheduler: Any) -> str:
        """Take what a reaction of this scheduler writes; a line counts once it has its end.

        Returns:
            What is not taken, since the log is closed.
        """
        text = getattr(self._begun, "text", "") + text
        *lines, rest = text.split("\n")
        taken = self._add(lines, scheduler) if lines else not self.closed
        self._begun.text = rest[: self.longest] if taken else ""
        return "" if taken else text

    def _add(self, lines: list[str], scheduler: Any) -> bool:
        second = int(time.monotonic())
        with self._lock:
            if self.closed:
                return False
            if second != self._second:
                self._second, self._in_second = second, 0
            room = max(self.a_second - self._in_second, 0)
            self._in_second += len(lines)
            self.count += len(lines)
            self.left_out += max(len(lines) - room, 0)
            if room:
                where = f"{_where(scheduler)}: "
                self._lines += [(where, line[: self.longest]) for line in lines[:room]]
                if self._in_second > self.a_second:
                    self._lines.append(("", f"… more than {self.a_second} lines in a second; the rest is left out"))
            elif self._in_second == self.a_second + len(lines):
                self._lines.append(("", f"… more than {self.a_second} lines in a second; the rest is left out"))
        return True

    def lines(self, last: int = kept) -> list[str]:
        """The last lines, the newest at the end."""
        with self._lock:
            return [where + line for where, line in list(self._lines)[-last:]]

    def close(self) -> list[str]:
        """Take nothing any more; the lines as they were printed, which are handed on."""
        with self._lock:
            self.closed = True
            lines = [line for _, line in self._lines]
            self._lines.clear()
            return lines

    def reopen(self) -> None:
        """Take what is printed from now on."""
        with self._lock:
            self.closed = False


def _where(scheduler: Any) -> str:
    """Reactor and tag of the reaction that this thread runs."""
    tag = scheduler.current_tag()
    at = f"{format_ns(tag.time_ns)}, {tag.microstep}"
    reactor = _reactor()
    return f"{reactor} ({at})" if reactor else f"({at}, {threading.current_thread().name})"


def _reactor() -> str:
    """The reactor whose reaction is on this thread's stack: the nearest function whose `self` is a running reactor."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        frame = frame.f_back
        code = frame.f_code
        if code.co_argcount:
            first = frame.f_locals.get(code.co_varnames[0])
            if isinstance(first, Reactor) and first._running:
                return first.full_name.partition(".")[2] or first.full_name
    return ""
