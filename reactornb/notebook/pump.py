"""The one place from which widgets are moved: a timer on the kernel's own loop.

Worker threads never touch a widget, a comm or a display: they append to lists, and the pump reads those. It ticks only while
a panel of a living run is shown, at most ten times a second, and less often where a tick costs more than a tenth of the time.

# _panels, _handle   touched by the loop's thread only. `add` may be called from elsewhere (a cell in a subshell has a
#                    thread of its own): it hands over through loop.add_callback, which is made for that.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["Pump"]


class Panel(Protocol):
    """What the pump moves."""

    @property
    def is_open(self) -> bool: ...
    @property
    def run_is_alive(self) -> bool: ...
    def refresh(self) -> bool: ...


class Pump:
    """Refreshes panels.

    Made on the loop's thread.

    Args:
        loop: the kernel's tornado loop: `add_callback`, `call_later`, `remove_timeout`.
    """

    seconds = 0.1

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._thread = threading.get_ident()
        self._panels: dict[int, tuple[Panel, list[Callable[[], None]]]] = {}
        self._handle: Any = None

    def add(self, panel: Panel, last_look: Callable[[], None]) -> None:
        """Keep a panel moving until its run is over; then call `last_look`. Any thread."""
        if threading.get_ident() == self._thread:
            self._add(panel, last_look)
        else:
            self._loop.add_callback(self._add, panel, last_look)

    def _add(self, panel: Panel, last_look: Callable[[], None]) -> None:
        _, looks = self._panels.setdefault(id(panel), (panel, []))
        looks.append(last_look)
        if self._handle is None:
            self._handle = self._loop.call_later(self.seconds, self._tick)

    def _tick(self) -> None:
        self._handle = None
        began = time.perf_counter()
        for panel, _ in list(self._panels.values()):
            self._refresh(panel)
        if self._panels:
            took = time.perf_counter() - began
            self._handle = self._loop.call_later(max(self.seconds, 10 * took), self._tick)

    def _refresh(self, panel: Panel) -> None:
        try:
            goes_on = panel.is_open and panel.refresh()
        except Exception:
            # One panel that cannot be shown must neither stop the others nor come back ten times a second.
            self._panels.pop(id(panel), None)
            logging.getLogger("reactornb").exception("a panel cannot be shown any more")
            return
        if not goes_on:
            _, looks = self._panels.pop(id(panel), (panel, []))
            if panel.is_open:
                for look in looks:
                    look()

    def finish_ended(self) -> None:
        """Bring panels of ended runs to their last state now; on the loop's thread, after a cell."""
        for panel, _ in list(self._panels.values()):
            if not panel.run_is_alive:
                self._refresh(panel)

    def close(self) -> None:
        """Stop ticking and forget the panels."""
        self._panels.clear()
        if self._handle is not None:
            self._loop.remove_timeout(self._handle)
            self._handle = None
