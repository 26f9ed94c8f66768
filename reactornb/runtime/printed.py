"""What the reactions of one run printed, each line with the reactor and the tag it comes from: `Run.printed`.

Any thread of the run writes; whoever shows the run reads. The notebook (`notebook/output.py`) decides whose output comes here and what of
it is shown elsewhere; this module does not know it. On the command line nothing comes here.

Once the run is over, the lines are the same for any number of workers: they are sorted by tag, level and reaction, and lines of reactions
that count as not run (`failures.py`) are removed. While the run goes on, lines stand as they came. What is shown below a cell or on a
terminal is not removed: it could be held back until the level has succeeded, but then a crash, or a reaction that hangs, would keep the
very lines that tell why.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, NamedTuple

from reactornb.runtime.origins import LAST, Origin, Origins
from reactornb.tags import format_ns

__all__ = ["Line", "OpenLine", "Printed", "displayed", "not_shown"]

# Colors, and the cursor's moves of progress bars: they mean something in a terminal and below a cell only.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])")

Rule = Callable[[Origin], bool]
"""Whether what comes from an origin is to be removed."""


class Line(NamedTuple):
    """One line.

    Attributes:
        reactor: its path below the root, or the root's name; "" for a thread that runs no reaction.
        time_ns, microstep: the tag.
        thread: name of the thread, where there is no reactor.
        text: without its end.
        error: whether it went to stderr.
        origin: where it comes from.
    """

    reactor: str
    time_ns: int
    microstep: int
    thread: str
    text: str
    error: bool
    origin: Origin

    @property
    def place(self) -> tuple[int, ...]:
        """Sorts the lines of a run that is over: by tag, level and reaction. A stable sort keeps the order within a reaction."""
        tag, origin = (self.time_ns, self.microstep), self.origin
        # A thread that was started by a reaction of an earlier tag has no place in the order of levels.
        return (*tag, *origin[2:5]) if origin.tag == tag else (*tag, LAST, LAST, LAST)

    def __str__(self) -> str:
        """The line behind its reactor and its tag."""
        at = f"{format_ns(self.time_ns)}, {self.microstep}"
        where = f"{self.reactor} ({at})" if self.reactor else f"({at}, {self.thread})"
        return f"{where}: {_ESCAPES.sub('', self.text)}"


class OpenLine:
    """A line that a reactor's reactions, or another thread, have begun and not ended.

    Attributes:
        text: what was printed since the last line end or carriage return.
        shown: how many characters of it are shown below a cell.
        last: the line as it was before the last carriage return.
        line: the line that `text` will be, without its text.
        stream: where it is printed, as the notebook knows it.
        before: the state when each of the last reactions began to print (origin, text, last, line), to return to if that one does not count.

    # text           extended by the thread that runs the reactor's reaction (one at a time: the scheduler orders them) or by its own
    #                thread. Cut by it too, and by `remove`, under the lock of what shows it below a cell if there is such a thing, with
    #                `shown`. Read by any thread, which may see an older value
    # last, line     replaced by the same thread, read by any
    # before         appended to by the same thread, which may belong to another enclave and go on while `remove` reads a copy; `remove`
    #                takes from it only where that thread is over, or is a thread that a reaction started, whose lines do not count
    """

    __slots__ = ("before", "last", "line", "shown", "stream", "text")

    kept = 100  # an enclave that is ahead of another has seldom printed in more tags

    def __init__(self, line: Line, stream: Any) -> None:
        self.text = self.last = ""
        self.shown = 0
        self.line = line
        self.stream = stream
        self.before: deque[tuple[Origin, str, str, Line]] = deque([(line.origin, "", "", line)], self.kept)

    def continue_as(self, line: Line) -> None:
        """Called when another reaction goes on with the line."""
        if line.origin != self.line.origin:
            self.before.append((line.origin, self.text, self.last, self.line))
        self.line = line

    def remove(self, rule: Rule) -> None:
        """Return to the state before the first reaction that does not count: none after it does."""
        for at, (origin, text, last, line) in enumerate(self.before.copy()):
            if rule(origin):
                self.text, self.last, self.line = text, last, line
                self.shown = min(self.shown, len(text))
                while len(self.before) > at:
                    self.before.pop()
                return


class Printed:
    """The lines that a run printed, on stdout and stderr: the last 100,000 of them, and at most 8,000,000 characters.

    A line counts once it has its end. Of a progress bar, which goes back with carriage returns, the last state is kept. A line that one
    reaction of a reactor begins may be ended by another, on any worker.

    Attributes:
        count: how many lines there were.
        dropped: how many of them are no longer kept.
        version: grows with each change.
        below: who shows the lines below a cell; set by the notebook when the run is made.

    # _lines, _chars, count, dropped, _rules
    #            read and written under _lock: by the threads of the run, and by the reader
    # version    increased by any thread without a lock: two at once may count as one
    # opens      the line that is open, by reactor or thread, and stream; a thread that prints adds its own once, under _lock
    """

    kept = 100_000
    kept_chars = 8_000_000
    longest_open = 4000
    """Characters: a line that has more and no end yet is ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: deque[Line] = deque()
        self._chars = 0
        self._rules: list[Rule] = []
        self._origins = Origins()
        self.opens: dict[tuple[int, int, bool], OpenLine] = {}
        self.count = 0
        self.dropped = 0
        self.version = 0
        self.below: Any = None

    def open(self, scheduler: Any, error: bool = False, stream: Any = None) -> OpenLine:
        """The open line of the reactor whose reaction this thread runs, or else that of the thread.

        Args:
            scheduler: for which the thread works.
            error: on stderr.
            stream: where that is printed, as the notebook knows it.
        """
        reactor, origin, runs_reaction = self._origins.find(scheduler)
        key = (origin.reactor, 0, error) if runs_reaction else (-1, threading.get_ident(), error)
        opened = self.opens.get(key)
        if opened is not None and opened.line.origin is origin and runs_reaction and opened.line.reactor == reactor:
            return opened  # the usual case: the next line of the same reaction
        thread = "" if reactor else threading.current_thread().name
        tag = scheduler.current_tag()
        line = Line(reactor, tag.time_ns, tag.microstep, thread, "", error, origin)
        if opened is None:
            opened = OpenLine(line, stream)
            with self._lock:
                self.opens[key] = opened
        else:
            opened.continue_as(line)
        return opened

    def origin(self, scheduler: Any) -> Origin:
        """The origin of what this thread would print."""
        return self._origins.find(scheduler)[1]

    def write(self, text: str, scheduler: Any, error: bool = False) -> None:
        """Take what a thread of this scheduler writes."""
        opened = self.open(scheduler, error)
        text = opened.text + text
        opened.text = text[self.add(text, opened) :]
        opened.shown = len(opened.text)

    def add(self, text: str, opened: OpenLine) -> int:
        """Take the lines that a text ends.

        Args:
            text: begins with the text of the open line.
            opened: the open line.

        Returns:
            How many characters are done with; the others are the new text of the open line.
        """
        line = opened.line
        *ended, rest = text.split("\n")
        back = rest.rfind("\r") + 1
        too_long = len(rest) - back > self.longest_open
        with self._lock:
            self.version += 1
            for part in ended:
                self._add(line._replace(text=displayed(part) or opened.last))
                opened.last = ""
            if too_long:
                self._add(line._replace(text=rest[back:]))
                back = len(rest)
            elif back:
                opened.last = displayed(rest[:back]) or opened.last
        return len(text) - len(rest) + back

    def take_lines(self, lines: Sequence[Line]) -> None:
        """Take whole lines that were printed in another process."""
        with self._lock:
            self.version += 1
            for line in lines:
                self._add(line)

    def _add(self, line: Line) -> None:
        if self._rules and self._is_removed(line):
            return  # printed by a thread that goes on after its run has failed
        if len(line.text) > self.kept_chars:
            line = line._replace(text=line.text[: self.kept_chars])
        self._lines.append(line)
        self._chars += len(line.text)
        self.count += 1
        while len(self._lines) > self.kept or self._chars > self.kept_chars:
            self._chars -= len(self._lines.popleft().text)
            self.dropped += 1

    # -- reactions that count as not run ------------------------------------------------------------------------------------

    def forget(self, tag: tuple[int, int], enclave: int, undone: Sequence[Any]) -> None:
        """Remove what these reactions printed at a tag. Called by their leader, once they are over."""
        if not undone:
            return
        numbers, reactors = {r.index for r in undone}, {r.node.reactor for r in undone}
        self._remove(
            lambda o: (
                o.tag == tag
                and o.enclave == enclave
                and (o.reaction in numbers or (o.reaction == LAST and o.reactor in reactors))
            )
        )

    def forget_ahead(self, tag: tuple[int, int], enclave: int) -> None:
        """Remove what other enclaves printed from the tag on at which one has failed. Called by the last leader, once all are over."""
        self._remove(lambda o: o.enclave not in (enclave, -1) and o.tag >= tag)

    def _remove(self, rule: Rule) -> None:
        """Remove lines by their origin, and take no more of these."""
        with self._lock:
            self._rules.append(rule)
            lines = [line for line in self._lines if not rule(line.origin)]
            self.count -= len(self._lines) - len(lines)
            self._lines = deque(lines)
            self._chars = sum(len(line.text) for line in lines)
            opens = list(self.opens.values())
            self.version += 1
        if self.below is not None:
            self.below.forget(opens, rule)
        else:
            for opened in opens:
                opened.remove(rule)

    def _is_removed(self, line: Line) -> bool:
        return any(rule(line.origin) for rule in self._rules)

    def finish(self) -> None:
        """The run is over: sort the lines by tag, level and reaction, an order that is the same for any number of workers."""
        with self._lock:
            self._lines = deque(sorted(self._lines, key=_place))
            self.version += bool(self._lines)

    # -- reading ------------------------------------------------------------------------------------------------------------

    def lines(self, last: int | None = None, chars: int | None = None) -> list[str]:
        """The kept lines, each behind its reactor and its tag, the newest at the end; then those that are open.

        Args:
            last: no more than that many.
            chars: no more than about that many characters, and the newest line.
        """
        with self._lock:
            opens = [
                o.line._replace(text=o.text or o.last)
                for o in self.opens.values()
                if (o.text or o.last) and not self._is_removed(o.line)
            ]
            opens.sort(key=_place)
            room = len(self._lines) if last is None else max(last - len(opens), 0)
            newest = list(islice(reversed(self._lines), room))
        words: list[str] = []
        for line in (*reversed(opens), *newest):
            text = str(line)
            if chars is not None:
                text = text[:2000]
                chars -= len(text)
                if chars < 0 and words:
                    break
            words.append(text)
        return words[::-1]

    def tail(self, last: int = 200, chars: int = 20_000) -> list[str]:
        """What a page shows: the last lines, below one that says how many are not shown."""
        lines = self.lines(last, chars)
        hidden = self.count - len(lines)
        return [f"… {not_shown(hidden)}: {self.where()}", *lines] if hidden > 0 else lines

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


def displayed(text: str) -> str:
    """What a terminal displays of a line: a carriage return goes back to its begin."""
    return text.rstrip("\r").rpartition("\r")[2] if "\r" in text else text


def _place(line: Line) -> tuple[int, ...]:
    return line.place
