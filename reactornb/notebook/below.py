"""The output of one run below the cell that started it, limited to a rate that a page can show.

Above the limit, the page shows the first lines of each second, the number of omitted lines, and the last lines; `Run.printed` has them all.
"""

from __future__ import annotations

import re
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from reactornb.runtime import Run
from reactornb.runtime.origins import Origin
from reactornb.runtime.printed import OpenLine, displayed, not_shown

__all__ = ["Below", "Stream"]

_LAST = 20  # of the omitted lines, how many of the newest are shown
_ENDS = re.compile(r"[\n\r]")  # each carriage return of a progress bar counts as a line


class Stream(Protocol):
    """One of the kernel's streams, stdout or stderr."""

    def put(self, text: str, cell: Any) -> None:
        """Write below the cell with this header; None means the running cell."""


class Below:
    """Shows a run's lines below its cell; `Run.printed` keeps all of them besides.

    Args:
        run: the run.
        cell: the starting cell's header; None for the running cell.
        targets: the redirected streams at the run's start, each with its target, which gets all lines of that stream.
        waiting: hold lines back, since a panel may still show the run.
        within: `within(cell, show)` calls `show`, which publishes an output, for that cell; on the thread that runs cells.
        streams: the first one gets the message that says how many outputs were not shown.
        behind: called when lines are omitted, on the thread that wrote them: `settle` must be called within a second.

    Attributes:
        holds: whether an unfinished line may be held back; false if a stream was redirected.
        due: whether a call of `settle` is scheduled; set by the thread that needs the call, cleared just before it. Read without a lock.

    # All that changes is read and written under _lock, by the run's threads and by the one that runs cells. The lock also keeps
    # held-back lines before those printed later.
    """

    a_second = 200  # lines; nobody reads more
    chars_a_second = 40_000
    in_all = 10_000  # lines below one cell: a page with more is slow for good
    chars_in_all = 1_000_000
    outputs_a_second = 5  # figures and the like that reactions display; older ones are dropped
    outputs_in_all = 100
    bytes_a_second = 400_000  # of displayed outputs; a single one may be larger

    def __init__(
        self,
        run: Run,
        cell: Any,
        targets: dict[Stream, Any],
        waiting: bool,
        behind: Callable[[Below], None],
        within: Callable[[Any, Callable[[], Any]], None] = lambda _, show: show(),
        streams: Sequence[Stream] = (),
    ) -> None:
        self._within = within
        self._run = weakref.ref(run)
        self._printed = run.printed
        self._who = f"run {run.number} of {run.program.name}"
        self._cell = cell
        self._targets = targets
        self._behind = behind
        self._lock = threading.Lock()
        self.holds = not targets
        self.due = False
        self._held: list[tuple[str, Stream]] | None = [] if waiting else None
        self._in_panel = False
        self._second = 0
        self._room, self._room_chars = self.a_second, self.chars_a_second  # what may still be shown in this second
        self._left, self._left_chars = self.in_all, self.chars_in_all
        self._full = False
        # Outputs that reactions displayed and that are not yet published: size in bytes, and the function that publishes.
        self._outputs: deque[tuple[int, Callable[[], Any]]] = deque(maxlen=self.outputs_a_second)
        self._outputs_left = self.outputs_in_all
        self._outputs_hidden = 0
        self._published = 0.0  # monotonic time of the last publication, in s; used by the thread that runs cells only
        self._streams = streams
        self._at_start = True  # whether the page's text ends with a line end
        # Per stream, what was omitted since lines were last shown: how many lines, and the newest pieces.
        self._hidden: dict[Stream, int] = {}
        self._pieces: dict[Stream, deque[str]] = {}

    # -- from the threads of the run --------------------------------------------------------------------------------

    def write(self, whole: str, end: int, text: str, begun: OpenLine) -> None:
        """Show the complete lines, unless a panel shows the run or the limit is reached.

        Args:
            whole: this thread's text since its last complete line.
            end: how many characters of `whole` belong to complete lines.
            text: the last piece of `whole`.
            begun: keeps the unfinished rest.
        """
        with self._lock:
            shown = begun.shown
            begun.text, begun.shown = whole[end:], 0
            if self._in_panel:
                return
            target = self._targets.get(begun.stream)
            if target is None:
                self._take(whole[shown:end], begun.stream)
                if begun.text:
                    self.wait()
                return
        try:
            target.write(text)
        except ValueError:  # it was closed meanwhile
            with self._lock:
                self._targets.pop(begun.stream, None)

    def display(self, size: int, publish: Callable[[], Any]) -> None:
        """Have an output published within about a second, unless the limit is reached.

        Args:
            size: its approximate size in bytes.
            publish: publishes it; called on the thread that runs cells.
        """
        with self._lock:
            if self._outputs_left <= 0:
                self._outputs_hidden += 1
            else:
                self._outputs_hidden += len(self._outputs) == self._outputs.maxlen
                self._outputs.append((size, publish))
            self.wait()

    def _publish(self) -> None:
        self._published = time.monotonic()
        with self._lock:
            outputs: list[Callable[[], Any]] = []
            room = self.bytes_a_second
            while self._outputs and self._outputs_left > 0 and (room > 0 or not outputs):
                size, publish = self._outputs.pop()  # the newest first
                room -= size
                outputs.append(publish)
                self._outputs_left -= 1
            self._outputs_hidden += len(self._outputs)
            self._outputs.clear()
        for publish in reversed(outputs):
            self._within(self._cell, publish)

    def wait(self) -> None:
        """Have `settle` called in a second, since output is held back."""
        self.due = True
        self._behind(self)

    def _take(self, text: str, stream: Stream) -> None:
        if not text:
            return
        second = int(time.monotonic())
        if second != self._second:
            self._next(second)
        if not self._pieces:
            fits = self._fitting(text)
            if fits:
                self._show(text[:fits], stream)
                text = text[fits:]
            if not text:
                return
            self.wait()
            if not self._full and min(self._left, self._left_chars) <= 0:
                self._full = True
                start = "" if self._at_start else "\n"
                self._show(
                    f"{start}… {self._who} has printed {self.in_all - max(self._left, 0):,} lines here; the rest is in run.printed, and its "
                    f"last lines come here at the end. As the last line of a cell, the run shows itself in a panel.\n",
                    stream,
                )
        self._hidden[stream] = self._hidden.get(stream, 0) + text.count("\n")
        self._pieces.setdefault(stream, deque(maxlen=200)).append(text[-4000:])

    def _fitting(self, text: str) -> int:
        """How many characters of a text the limits still allow."""
        lines, chars = min(self._room, self._left), min(self._room_chars, self._left_chars)
        if lines <= 0 or chars <= 0:
            return 0
        if len(text) <= chars and len(text) <= lines:  # the usual case, without a search
            return len(text)
        for number, end in enumerate(_ENDS.finditer(text, 0, chars), 1):
            if number == lines:
                return end.end()
        return min(len(text), chars)

    def _show(self, text: str, stream: Stream) -> None:
        lines = text.count("\n") + text.count("\r")
        self._room -= lines
        self._left -= lines
        self._room_chars -= len(text)
        self._left_chars -= len(text)
        self._at_start = text.endswith("\n")
        if self._held is None:
            stream.put(text, self._cell)
        else:
            self._held.append((text, stream))

    def _next(self, second: int) -> None:
        self._second, self._room, self._room_chars = second, self.a_second, self.chars_a_second
        if not self._full:
            self._show_last()

    def _show_last(self) -> None:
        """Show how many lines were omitted, and the last ones."""
        pieces, self._pieces = self._pieces, {}
        for stream, texts in pieces.items():
            self._show_last_of(stream, "".join(texts), self._hidden.pop(stream))

    def _show_last_of(self, stream: Stream, said: str, hidden: int) -> None:
        *ended, rest = said.split("\n")
        last = "".join(f"{displayed(line)[:2000]}\n" for line in ended[-_LAST:])
        last += f"\r{displayed(rest)}" if "\r" in rest else rest[-2000:]  # an open progress bar, or a line without end
        hidden -= min(len(ended), _LAST)
        if hidden > 0:
            start = "" if self._at_start else "\n"
            last = f"{start}… {not_shown(hidden)}: {self._printed.where()} ({self._who})\n{last}"
        elif ended and "\r" in ended[0]:  # overwrite the progress bar on the page with its last state
            last = f"\r{last}"
        self._show(last, stream)

    # -- from the thread that runs cells ----------------------------------------------------------------------------

    def shown(self) -> None:
        """Called when a panel shows the run: drop what was held back, and show nothing below the cell."""
        with self._lock:
            self._in_panel, self._held = True, None
            self._pieces.clear()

    def let_go(self) -> None:
        """Called when no panel shows the run: print what was held back below the cell, and all that follows."""
        with self._lock:
            held, self._held = self._held, None
            for text, stream in held or ():
                stream.put(text, self._cell)

    def settle(self) -> bool:
        """Show omitted lines if a second has passed or the run is over. Returns false once nothing is left to show."""
        run = self._run()
        over = run is None or not run.is_alive
        if over or time.monotonic() - self._published >= 1.0:
            self._publish()
        with self._lock:
            if over and self._outputs_hidden and self._streams:
                hidden, self._outputs_hidden = self._outputs_hidden, 0
                self._streams[0].put(f"… {hidden:,} outputs of {self._who} not shown\n", self._cell)
            if not self._in_panel:
                for begun in list(self._printed.opens.values()):
                    text = begun.text
                    if len(text) > begun.shown and begun.stream not in self._targets and begun.stream is not None:
                        self._take(text[begun.shown :], begun.stream)
                        begun.shown = len(text)
            if over:
                self._show_last()
            else:
                second = int(time.monotonic())
                if second != self._second:
                    self._next(second)
            return bool(self._pieces or self._outputs or self._outputs_hidden)

    def forget(self, opens: Sequence[OpenLine], forgets: Callable[[Origin], bool]) -> None:
        """Drop the unfinished lines whose origin `forgets` accepts. What the page already shows stays."""
        with self._lock:
            for begun in opens:
                begun.remove(forgets)

    def release(self) -> None:
        """Called in a forked child: make a new lock, since another thread may have held the old one."""
        self._lock = threading.Lock()
