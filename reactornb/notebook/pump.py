"""The only place that updates widgets: a timer on the kernel's own event loop.

Worker threads never touch a widget, a comm or a display: they append to lists, and the pump reads those lists. It runs only while
a panel of a living run is shown, at most ten times a second, and less often where its ticks cost more than 2 % of a core
(for which it waits a second at most), or more than a tenth of the time, or send more than a server lets through.

# _panels, _handle   touched by the loop's thread only. `add` may be called from elsewhere (a cell in a subshell has a
#                    thread of its own): it hands over through loop.add_callback, which is made for that.
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
    """What the pump refreshes."""

    @property
    def is_open(self) -> bool: ...
    @property
    def run_is_alive(self) -> bool: ...
    @property
    def sent_bytes(self) -> int: ...
    def refresh(self) -> bool: ...


@dataclass(slots=True)
class _Moved:
    """A panel, what updates the picture that stands for it, and when that was last done."""

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
    # The share of a core that refreshing may take, so that a run with panels is hardly slower than one without. To keep to it, the pump
    # waits `patience` seconds at most, so that curves move where a refresh is costly; it never takes more than a tenth of the time.
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
        # What brings the pictures of panels up to date that were looked at since the last cell ended; see `finish_ended`.
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
            look: updates the static picture of the panel; called now and then, and at the end.
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
        """Refresh all panels; how many seconds to wait before the next time."""
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
        """Refresh the panels if it is time to: called on the loop's thread by a cell that keeps the loop waiting."""
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
            # One panel that cannot be shown must neither stop the others nor come back ten times a second.
            goes_on = False
            logging.getLogger("reactornb").exception("a panel cannot be shown any more")
        if not goes_on:
            self._panels.pop(id(panel), None)

    def finish_ended(self) -> None:
        """Bring panels of ended runs to their last state now, and all pictures that changed; on the loop's thread, after a cell.

        A message that the timer sends belongs to the cell during which the timer was set, not to the one that runs. Who executes a
        notebook cell by cell (nbclient, hence nbconvert and `make demo`) listens to the one that runs only: pictures that changed
        since the last cell are sent once more, as that cell's, or the page would keep the one of the beginning.
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
        """Stop ticking and forget the panels."""
        self._panels.clear()
        self._pictures.clear()
        if self._handle is not None:
            self._loop.remove_timeout(self._handle)
            self._handle = None


class WaitingCell:
    """Lets panels move while a cell waits for a run, in `Run.wait`, `Run.result` or `Program.run`: see `reactornb.runtime.run.meanwhiles`.

    Such a cell holds up the loop, and with it the pump. But it waits on the loop's thread, the one from which widgets may be
    moved, so the wait itself can do it: no second thread touches a comm, and no loop runs within a loop. The messages leave at
    once, since ipykernel sends them from a thread of its own. A cell that is busy otherwise (`time.sleep`, a loop) still
    holds the panels up.

    Args:
        pump: what moves the panels.
        waits: called on the loop's thread with true before it waits, and with false after that.
        each: called there about ten times a second meanwhile, and once the wait is over.
    """

    def __init__(self, pump: Pump, waits: Callable[[bool], None], each: Callable[[], None]) -> None:
        self._pump = pump
        self._waits = waits
        self._each = each
        self.seconds = pump.seconds

    def install(self) -> None:
        """From now on, for waits on the loop's thread; called on that thread, or while it waits for nothing."""
        meanwhiles[self._pump.thread] = self

    def uninstall(self) -> None:
        """No more."""
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
