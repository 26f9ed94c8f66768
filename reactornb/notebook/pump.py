"""The only place that updates widgets: a timer on the kernel's own event loop.

Worker threads never touch a widget, a comm or a display: they append to lists, and the pump reads those lists. It runs only while
the panel of a live run is shown, at most ten times a second. It slows down to keep below 2 % of a core (but to one refresh a
second at the slowest), below a tenth of the time in any case, and below the data rate that a Jupyter server lets through.

# _panels, _handle   used by the loop's thread only. `add` may be called on another thread (a cell in a subshell has a
#                    thread of its own): it passes the panel on through loop.add_callback, which is thread-safe.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, Self

from reactornb.runtime.run import meanwhiles

__all__ = ["Pump", "WaitingCell"]


class Panel(Protocol):
    """A panel as the pump sees it."""

    @property
    def is_open(self) -> bool: ...
    @property
    def run_is_alive(self) -> bool: ...
    @property
    def sent_bytes(self) -> int: ...
    def refresh(self) -> bool: ...


@dataclass(slots=True)
class _Moved:
    """A panel with `look`, which updates its static picture, and when that was last called."""

    panel: Panel
    look: Callable[[], None]
    began: float
    looked_at: float


class Pump:
    """Refreshes panels.

    Made on the loop's thread.

    Args:
        loop: the kernel's tornado loop: `add_callback`, `call_later`, `remove_timeout`.
    """

    seconds = 0.1
    # The share of a core that refreshing may use, so that panels hardly slow a run down. To stay below it the pump waits for at most
    # `patience` seconds, so that curves still move where a refresh is costly; it never uses more than a tenth of the time.
    share = 0.02
    patience = 1.0
    picture_seconds = 20.0
    # A Jupyter server drops a kernel's messages, cells' output among them, above 1,000,000 bytes a second.
    bytes_a_second = 400_000

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self.thread = threading.get_ident()
        self._panels: dict[int, _Moved] = {}
        self._handle: Any = None
        self._due = 0.0
        # Per panel whose picture changed since the last cell ended, the function that updates the picture; see `finish_ended`.
        self._pictures: dict[int, Callable[[], None]] = {}

    def call(self, fn: Callable[[], None]) -> None:
        """Call something on the loop's thread, soon. Any thread."""
        self._loop.add_callback(fn)

    def after(self, seconds: float, fn: Callable[[], None]) -> None:
        """Call something on the loop's thread, that much later. Any thread."""
        self._loop.add_callback(self._loop.call_later, seconds, fn)

    def add(self, panel: Panel, look: Callable[[], None]) -> None:
        """Refresh a panel until its runs are over. Any thread; a panel is added only once.

        Args:
            panel: the panel.
            look: updates the panel's static picture; called every 1 to 20 s, and at the end.
        """
        if threading.get_ident() == self.thread:
            self._add(panel, look)
        else:
            self._loop.add_callback(self._add, panel, look)

    def _add(self, panel: Panel, look: Callable[[], None]) -> None:
        now = time.perf_counter()
        self._panels[id(panel)] = _Moved(panel, look, now, now)
        if self._handle is None:
            self._handle = self._loop.call_later(self.seconds, self._tick)

    def _tick(self) -> None:
        self._handle = None
        pause = self._beat()
        if self._panels:
            self._handle = self._loop.call_later(pause, self._tick)

    def _beat(self) -> float:
        """Refresh all panels; returns how many seconds to wait before the next refresh."""
        # CPU time of this thread: waiting longer would not help if other threads take the cores.
        began = time.thread_time()
        sent = 0
        for moved in list(self._panels.values()):
            self._refresh(moved)
            sent += moved.panel.sent_bytes
        cost = time.thread_time() - began
        pause = max(self.seconds, min(cost / self.share, self.patience), 10 * cost, sent / self.bytes_a_second)
        self._due = time.perf_counter() + pause
        return pause

    def beat_while_waiting(self) -> None:
        """Refresh the panels if a refresh is due. Called on the loop's thread by a cell that blocks the loop."""
        if threading.get_ident() == self.thread and self._panels and time.perf_counter() >= self._due:
            self._beat()

    def _refresh(self, moved: _Moved) -> None:
        panel = moved.panel
        try:
            goes_on = panel.is_open and panel.refresh()
            now = time.perf_counter()
            # A young panel's picture is renewed more often: a notebook may be saved a few seconds after a run began.
            age = min(self.picture_seconds, max(now - moved.began, 1.0) / 2)
            if panel.is_open and (not goes_on or now - moved.looked_at > age):
                moved.looked_at = now
                moved.look()
                self._pictures[id(panel)] = moved.look
        except Exception:
            # A panel that fails must neither stop the others nor log its error ten times a second.
            goes_on = False
            logging.getLogger("reactornb").exception("a panel cannot be shown any more")
        if not goes_on:
            self._panels.pop(id(panel), None)

    def finish_ended(self) -> None:
        """Refresh the panels of ended runs for the last time, and all pictures that changed; on the loop's thread, after a cell.

        A message that the timer sends belongs to the cell during which the timer was set, not to the running cell. A front end that
        executes a notebook cell by cell (nbclient, hence nbconvert and `make demo`) receives messages of the running cell only. So
        pictures that changed since the last cell are sent again, as this cell's; else the page would keep the first ones.
        """
        now = time.perf_counter()
        old = [moved for moved in self._panels.values() if now - moved.looked_at > 1.0]
        self._pictures |= {id(moved.panel): moved.look for moved in old}
        for moved in old:
            moved.looked_at = now
        for moved in list(self._panels.values()):
            if not moved.panel.run_is_alive:
                self._refresh(moved)
                self._pictures.pop(id(moved.panel), None)  # its last picture was sent just now
        pictures, self._pictures = self._pictures, {}
        for look in pictures.values():
            look()

    def close(self) -> None:
        """Stop the timer and drop the panels."""
        self._panels.clear()
        self._pictures.clear()
        if self._handle is not None:
            self._loop.remove_timeout(self._handle)
            self._handle = None


class WaitingCell:
    """Refreshes panels while a cell waits for a run, in `Run.wait`, `Run.result` or `Program.run`: see `reactornb.runtime.run.meanwhiles`.

    Such a cell blocks the loop, and with it the pump. But it waits on the loop's thread, the one that may update widgets, so the
    wait itself can refresh them: no second thread touches a comm, and no loop runs within a loop. The messages leave at
    once, since ipykernel sends them from a thread of its own. A cell that is busy in another way (`time.sleep`, a long
    computation) still blocks the panels.

    Args:
        pump: refreshes the panels.
        waits: called on the loop's thread with true before the wait, and with false after it.
        each: called there about ten times a second during the wait, and once after it.
    """

    def __init__(self, pump: Pump, waits: Callable[[bool], None], each: Callable[[], None]) -> None:
        self._pump = pump
        self._waits = waits
        self._each = each
        self.seconds = pump.seconds

    def install(self) -> None:
        """Register for waits on the loop's thread; call it on that thread, or while that thread waits for no run."""
        meanwhiles[self._pump.thread] = self

    def uninstall(self) -> None:
        """Undo `install`."""
        if meanwhiles.get(self._pump.thread) is self:
            del meanwhiles[self._pump.thread]

    def look(self) -> None:
        """See `reactornb.runtime.run.Meanwhile`."""
        self._pump.beat_while_waiting()
        self._each()

    def __enter__(self) -> Self:
        self._waits(True)
        return self

    def __exit__(self, *_: object) -> None:
        self._waits(False)
        self._each()
