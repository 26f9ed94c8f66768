"""What the reactions of one run printed, each line with the reactor and the tag it comes from: `Run.printed`.

Any thread of the run writes; whoever shows the run reads. It knows nothing of the notebook, which decides whose output comes here
and what of it is shown elsewhere (`notebook/output.py`). On the command line nothing comes here.

What is here once the run is over is the same for any number of workers: lines stand in the order of tags, levels and reactions, and
those of reactions that count as not run (`failures.py`) are taken out. While the run goes on, lines stand as they came. Elsewhere,
below a cell or on a terminal, what is shown stays: lines could be held back until their level has succeeded, but then a crash
or a reaction that hangs would keep the very lines that tell why.
"""

from __future__ import annotations

import re
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, NamedTuple

from reactornb.runtime.reaction_finder import ReactionFinder
from reactornb.tags import format_ns

__all__ = ["Line", "Origin", "Printed", "inherit", "not_shown", "owner_here", "seen"]

# Colors, and the cursor's moves of progress bars: they mean something in a terminal and below a cell only.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])")


_LAST = 1 << 62  # behind every level and every reaction

# The thread's `threads.Owner`, if a reaction started it; each thread reads and writes its own.
_here = threading.local()


def inherit(owner: Any) -> None:
    """This thread was started by a reaction: what it prints counts if that reaction does.

    Args:
        owner: has the `origin` of what the reaction prints, and its `scheduler()`.
    """
    _here.owner = owner


def owner_here() -> Any:
    """Whose this thread is: the owner that `inherit` was given, or None."""
    return getattr(_here, "owner", None)


class Origin(NamedTuple):
    """The reaction that printed a line, or started the thread that did; by it a line counts or not, and has its place.

    Attributes:
        time_ns, microstep: the tag at which the reaction ran.
        level, reaction: its level and number, `_LAST` where only the reactor is known.
        reactor: index, `_LAST` where it is not known.
        enclave: number; -1 where it is not known, as of what C code printed.
    """

    time_ns: int
    microstep: int
    level: int = _LAST
    reaction: int = _LAST
    reactor: int = _LAST
    enclave: int = -1

    @property
    def tag(self) -> tuple[int, int]:
        """The tag."""
        return self.time_ns, self.microstep


class Line(NamedTuple):
    """One line.

    Attributes:
        reactor: its path below the root, or the root's name; "" for a thread that no reaction is on.
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
        """Its place among the lines of a run that is over: by tag, level and reaction; lines of one reaction stay in order."""
        tag, origin = (self.time_ns, self.microstep), self.origin
        # A thread that a reaction of an earlier tag started is nowhere in the order of levels.
        return (*tag, *origin[2:5]) if origin.tag == tag else (*tag, _LAST, _LAST, _LAST)

    def __str__(self) -> str:
        """The line behind its reactor and its tag."""
        at = f"{format_ns(self.time_ns)}, {self.microstep}"
        where = f"{self.reactor} ({at})" if self.reactor else f"({at}, {self.thread})"
        return f"{where}: {_ESCAPES.sub('', self.text)}"


class Open:
    """What a reactor's reactions, or another thread, print and have not ended yet.

    Attributes:
        text: since its last line end or carriage return.
        shown: how many characters of it are shown below a cell.
        last: the line as it was behind the last carriage return.
        line: as what `text` would stand in the log.
        stream: where it is printed, as the notebook knows it.
        before: of the last reactions that have printed, what had no end when each began; to go back there if it does not count.

    # text           grown by the thread that is in the reactor's reaction (one at a time: the scheduler orders them) or by its own; cut
    #                by it too, and by `forget`, under the lock of what shows it below a cell if there is such a thing, with `shown`.
    #                Read by any: it may be a little older
    # last, line     replaced by the same thread, read by any
    # before         appended to by the same thread, which may be in another enclave and go on while `forget` looks at a copy; `forget`
    #                takes from it only where that thread is over, or a thread that a reaction started, whose lines do not count
    """

    __slots__ = ("before", "last", "line", "shown", "stream", "text")

    kept = 100  # an enclave that is ahead has seldom printed in more tags

    def __init__(self, line: Line, stream: Any) -> None:
        self.text = self.last = ""
        self.shown = 0
        self.line = line
        self.stream = stream
        self.before: deque[tuple[Origin, str, str, Line]] = deque([(line.origin, "", "", line)], self.kept)

    def prints(self, line: Line) -> None:
        """From here on it is such a line's reaction that prints."""
        if line.origin != self.line.origin:
            self.before.append((line.origin, self.text, self.last, self.line))
        self.line = line

    def forget(self, forgets: Callable[[Origin], bool]) -> None:
        """Back to what there was before the first reaction that does not count; nothing that comes after it does."""
        for at, (origin, text, last, line) in enumerate(self.before.copy()):
            if forgets(origin):
                self.text, self.last, self.line = text, last, line
                self.shown = min(self.shown, len(text))
                while len(self.before) > at:
                    self.before.pop()
                return


class Printed:
    """The lines that a run printed, on stdout and stderr: the last 100,000 of them, and at most 8,000,000 characters.

    A line counts once it has its end. Of a progress bar, which goes back with carriage returns, the last state is kept. What a reactor
    begins in one reaction it may end in another, on whatever worker.

    Attributes:
        count: how many lines there were.
        dropped: how many of them are no longer kept.
        version: grows with each change.
        below: who shows the lines below a cell; set by the notebook when the run is made.

    # _lines, _chars, count, dropped, _forgotten
    #            read and written under _lock: by the threads of the run, and by the one that looks
    # version    counted up by any thread without a lock: two that do so at once may count one
    # opens      per reactor or thread, and stream, what has no end yet; who prints adds its own once, under _lock
    # _origins   of each reaction the last one, by the thread that is in it
    # _finder    made by whoever prints first, two at once perhaps, both the same; then only read
    """

    kept = 100_000
    kept_chars = 8_000_000
    longest_open = 4000  # characters that a line may have before its end comes; it is a line then

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: deque[Line] = deque()
        self._chars = 0
        self.opens: dict[tuple[int, int, bool], Open] = {}
        self.count = 0
        self.dropped = 0
        self.version = 0
        self.below: Any = None
        self._forgotten: list[Callable[[Origin], bool]] = []
        self._finder: ReactionFinder | None = None
        self._origins: dict[int, Origin] = {}

    def open(self, scheduler: Any, error: bool = False, stream: Any = None) -> Open:
        """What the reactor whose reaction this thread is in has begun to print, or else what the thread has.

        Args:
            scheduler: for which the thread works.
            error: on stderr.
            stream: where that is printed, as the notebook knows it.
        """
        reactor, origin, inside = self._whence(scheduler)
        key = (origin.reactor, 0, error) if inside else (-1, threading.get_ident(), error)
        found = self.opens.get(key)
        if found is not None and found.line.origin is origin and inside and found.line.reactor == reactor:
            return found  # the usual case: the next line of the same reaction
        thread = "" if reactor else threading.current_thread().name
        tag = scheduler.current_tag()
        line = Line(reactor, tag.time_ns, tag.microstep, thread, "", error, origin)
        if found is None:
            found = Open(line, stream)
            with self._lock:
                self.opens[key] = found
        else:
            found.prints(line)
        return found

    def origin(self, scheduler: Any) -> Origin:
        """The reaction that this thread is in."""
        return self._whence(scheduler)[1]

    def write(self, text: str, scheduler: Any, error: bool = False) -> None:
        """Take what a thread of this scheduler writes."""
        begun = self.open(scheduler, error)
        text = begun.text + text
        begun.text = text[self.add(text, begun) :]
        begun.shown = len(begun.text)

    def add(self, text: str, begun: Open) -> int:
        """Take the lines of a text that begins with what is begun.

        Returns:
            How many characters have their end, or are so many that they count as a line; the others are what is begun now.
        """
        line = begun.line
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
        if self._forgotten and self._does_not_count(line):
            return  # of a thread that goes on after its run has failed
        if len(line.text) > self.kept_chars:
            line = line._replace(text=line.text[: self.kept_chars])
        self._lines.append(line)
        self._chars += len(line.text)
        self.count += 1
        while len(self._lines) > self.kept or self._chars > self.kept_chars:
            self._chars -= len(self._lines.popleft().text)
            self.dropped += 1

    def _whence(self, scheduler: Any) -> tuple[str, Origin, bool]:
        """Where this thread is: the reactor's path, "" if it is in none, the reaction, and whether the thread is in it, not only of it."""
        finder = self._finder
        if finder is None:
            schedule = getattr(scheduler, "schedule", None)
            finder = ReactionFinder(schedule)
            if schedule is not None:
                self._finder = finder
        place = finder.find(sys._getframe(3), with_reactor=True)
        ran, nearest = place.reaction, place.reactor
        name = "" if nearest is None else nearest.full_name.partition(".")[2] or nearest.full_name
        tag = scheduler.current_tag()
        if ran is not None:
            last = self._origins.get(ran.index)
            if last is None or last.tag != tag:
                last = self._origins[ran.index] = Origin(
                    tag.time_ns, tag.microstep, ran.level, ran.index, ran.node.reactor, ran.enclave
                )
            return name, last, True
        owner = owner_here()
        if owner is not None and owner.scheduler() is scheduler:
            return name, owner.origin, False
        reactor = finder.numbers.get(id(nearest), _LAST)
        enclave = getattr(scheduler, "enclave", -1)
        return name, Origin(tag.time_ns, tag.microstep, reactor=reactor, enclave=enclave), False

    def _does_not_count(self, line: Line) -> bool:
        return any(forgets(line.origin) for forgets in self._forgotten)

    def forget(self, tag: tuple[int, int], enclave: int, undone: Sequence[Any]) -> None:
        """What these reactions printed at a tag counts as not printed; their leader, once they are over."""
        if not undone:
            return
        numbers, reactors = {r.index for r in undone}, {r.node.reactor for r in undone}
        self._forget(
            lambda o: (
                o.tag == tag
                and o.enclave == enclave
                and (o.reaction in numbers or (o.reaction == _LAST and o.reactor in reactors))
            )
        )

    def forget_ahead(self, tag: tuple[int, int], enclave: int) -> None:
        """An enclave failed at a tag: what others printed from there on counts as not printed; the last leader, once all are over."""
        self._forget(lambda o: o.enclave not in (enclave, -1) and o.tag >= tag)

    def _forget(self, forgets: Callable[[Origin], bool]) -> None:
        """Take out lines by their origin, and take in no more of these."""
        with self._lock:
            self._forgotten.append(forgets)
            kept = [line for line in self._lines if not forgets(line.origin)]
            self.count -= len(self._lines) - len(kept)
            self._lines = deque(kept)
            self._chars = sum(len(line.text) for line in kept)
            begun = list(self.opens.values())
            self.version += 1
        if self.below is not None:
            self.below.forget(begun, forgets)
        else:
            for o in begun:
                o.forget(forgets)

    def finish(self) -> None:
        """The run is over: bring the lines into the order of tags, levels and reactions, which no number of workers changes."""
        with self._lock:
            ordered = sorted(self._lines, key=_place)  # stable: what one reaction printed stays in order
            self._lines = deque(ordered)
            self.version += bool(ordered)

    def lines(self, last: int | None = None, chars: int | None = None) -> list[str]:
        """The kept lines, each behind its reactor and its tag, the newest at the end; then those that have no end yet.

        Args:
            last: no more than that many.
            chars: no more than about that many characters, and the newest line.
        """
        with self._lock:
            begun = [
                o.line._replace(text=o.text or o.last)
                for o in self.opens.values()
                if (o.text or o.last) and not self._does_not_count(o.line)
            ]
            begun.sort(key=_place)
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


def _place(line: Line) -> tuple[int, ...]:
    return line.place
