"""What the reactions of one run printed, each line with the reactor and the tag it comes from: `Run.printed`.

Any thread of the run writes; whoever shows the run reads. It knows nothing of the notebook, which decides whose output comes here
and what of it is shown elsewhere (`notebook/output.py`). On the command line nothing comes here.
"""

from __future__ import annotations

import re
import sys
import threading
from collections import deque
from itertools import islice
from typing import Any, NamedTuple

from reactornb.model import Reactor
from reactornb.tags import format_ns

__all__ = ["Line", "Printed", "not_shown", "seen"]

# Colors, and the cursor's moves of progress bars: they mean something in a terminal and below a cell only.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])")


class Line(NamedTuple):
    """One line.

    Attributes:
        reactor: its path below the root, or the root's name; "" for a thread that no reaction is on.
        time_ns, microstep: the tag.
        thread: name of the thread, where there is no reactor.
        text: without its end.
        error: whether it went to stderr.
    """

    reactor: str
    time_ns: int
    microstep: int
    thread: str
    text: str
    error: bool

    def __str__(self) -> str:
        """The line behind its reactor and its tag."""
        at = f"{format_ns(self.time_ns)}, {self.microstep}"
        where = f"{self.reactor} ({at})" if self.reactor else f"({at}, {self.thread})"
        return f"{where}: {_ESCAPES.sub('', self.text)}"


class Open:
    """What a thread prints and has not ended yet.

    Attributes:
        text: since its last line end or carriage return.
        shown: how many characters of it are shown below a cell.
        last: the line as it was behind the last carriage return.
        line: as what `text` would stand in the log.
        stream: where it is printed, as the notebook knows it.

    # text           grown by its thread; cut by it too, under the lock of what shows it below a cell if there is such a thing, with
    #                `shown`. Read by any: it may be a little older
    # last, line     replaced by its thread, read by any
    """

    __slots__ = ("last", "line", "shown", "stream", "text")

    def __init__(self, line: Line, stream: Any) -> None:
        self.text = self.last = ""
        self.shown = 0
        self.line = line
        self.stream = stream


class Printed:
    """The lines that a run printed, on stdout and stderr: the last 100,000 of them, and at most 8,000,000 characters.

    A line counts once it has its end. Of a progress bar, which goes back with carriage returns, the last state is kept.

    Attributes:
        count: how many lines there were.
        dropped: how many of them are no longer kept.
        version: grows with each change.
        below: who shows the lines below a cell; set by the notebook when the run is made.

    # _lines, _chars, count, dropped
    #            read and written under _lock: by the threads of the run, and by the one that looks
    # version    counted up by any thread without a lock: two that do so at once may count one
    # opens      per thread and stream what has no end yet; a thread adds its own once, under _lock
    """

    kept = 100_000
    kept_chars = 8_000_000
    longest_open = 4000  # characters that a line may have before its end comes; it is a line then

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: deque[Line] = deque()
        self._chars = 0
        self.opens: dict[tuple[int, bool], Open] = {}
        self.count = 0
        self.dropped = 0
        self.version = 0
        self.below: Any = None

    def open(self, error: bool = False, stream: Any = None) -> Open:
        """What this thread has begun to print."""
        key = (threading.get_ident(), error)
        found = self.opens.get(key)
        if found is None:
            found = Open(Line("", 0, 0, threading.current_thread().name, "", error), stream)
            with self._lock:
                self.opens[key] = found
        return found

    def write(self, text: str, scheduler: Any, error: bool = False) -> None:
        """Take what a thread of this scheduler writes."""
        begun = self.open(error)
        text = begun.text + text
        begun.text = text[self.add(text, scheduler, begun) :]
        begun.shown = len(begun.text)

    def add(self, text: str, scheduler: Any, begun: Open) -> int:
        """Take the lines of a text that begins with what this thread has begun.

        Returns:
            How many characters have their end, or are so many that they count as a line; the others are what is begun now.
        """
        tag = scheduler.current_tag()
        reactor = _reactor()
        thread = "" if reactor else threading.current_thread().name
        line = begun.line = Line(reactor, tag.time_ns, tag.microstep, thread, "", begun.line.error)
        *ended, rest = text.split("\n")
        back = rest.rfind("\r") + 1
        long = len(rest) - back > self.longest_open
        with self._lock:
            self.version += 1
            for part in ended:
                self._add(line._replace(text=seen(part) or begun.last))
                begun.last = ""
            if long:
                self._add(line._replace(text=rest[back:]))
                back = len(rest)
            elif back:
                begun.last = seen(rest[:back]) or begun.last
        return len(text) - len(rest) + back

    def _add(self, line: Line) -> None:
        if len(line.text) > self.kept_chars:
            line = line._replace(text=line.text[: self.kept_chars])
        self._lines.append(line)
        self._chars += len(line.text)
        self.count += 1
        while len(self._lines) > self.kept or self._chars > self.kept_chars:
            self._chars -= len(self._lines.popleft().text)
            self.dropped += 1

    def lines(self, last: int | None = None, chars: int | None = None) -> list[str]:
        """The kept lines, each behind its reactor and its tag, the newest at the end; then those that have no end yet.

        Args:
            last: no more than that many.
            chars: no more than about that many characters, and the newest line.
        """
        with self._lock:
            begun = [o.line._replace(text=o.text or o.last) for o in self.opens.values() if o.text or o.last]
            room = len(self._lines) if last is None else max(last - len(begun), 0)
            newest = list(islice(reversed(self._lines), room))
        found: list[str] = []
        for line in (*reversed(begun), *newest):
            said = str(line)
            if chars is not None:
                said = said[:2000]
                chars -= len(said)
                if chars < 0 and found:
                    break
            found.append(said)
        return found[::-1]

    def tail(self, last: int = 200, chars: int = 20_000) -> list[str]:
        """What a page shows: the last lines, behind one that says how many are not shown."""
        found = self.lines(last, chars)
        hidden = self.count - len(found)
        return [f"… {not_shown(hidden)}: {self.where()}", *found] if hidden > 0 else found

    def where(self) -> str:
        """Where the lines are that are not shown."""
        return "run.printed has them" if not self.dropped else f"run.printed has the last {len(self._lines):,}"

    @property
    def text(self) -> str:
        """The kept lines as they were printed."""
        with self._lock:
            return "".join(f"{line.text}\n" for line in self._lines)

    def release(self) -> None:
        """In a forked child, where another thread may have held the lock: what it prints goes where its parent's other output goes."""
        self._lock, self.below = threading.Lock(), None

    def __len__(self) -> int:
        """How many lines are kept."""
        return len(self._lines)

    def __str__(self) -> str:
        """Each line behind its reactor and its tag."""
        return "\n".join(self.lines())

    def __repr__(self) -> str:
        gone = f", the first {self.dropped:,} dropped" if self.dropped else ""
        return f"<printed: {self.count:,} line{'' if self.count == 1 else 's'}{gone}; print() shows them, .lines(20) the last 20, .text the plain text>"


def not_shown(lines: int) -> str:
    """How many lines are left out, in words."""
    return f"{lines:,} line{'' if lines == 1 else 's'} not shown"


def seen(text: str) -> str:
    """What a line looks like once the carriage returns in it are obeyed."""
    return text.rstrip("\r").rpartition("\r")[2] if "\r" in text else text


def _reactor() -> str:
    """The reactor whose reaction is on this thread's stack: the nearest function whose `self` is a running reactor."""
    frame = sys._getframe(2)
    while frame.f_back is not None:
        frame = frame.f_back
        code = frame.f_code
        if code.co_argcount:
            first = frame.f_locals.get(code.co_varnames[0])
            if isinstance(first, Reactor) and first._running:
                return first.full_name.partition(".")[2] or first.full_name
    return ""
