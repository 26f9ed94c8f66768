"""Commands on their way from any thread to the leader of an enclave: stop, pause, step, go on to a tag, cut, watch a window of tags.

# given         what the leader's loop looks at once a tag: something is to be looked at here. Set under _lock by who commands, after
#               what it commands; cleared under _lock by the leader before it looks (`take`), so a command that comes meanwhile
#               sets it again, and none is lost. The loop reads it without the lock: who sees it late does so at the next tag, or
#               after the wake-up that follows each command that must not wait for one.
# _stop, _outside, _cut, _hold, _paused, _steps, _window
#               written by any thread and by the leader, under _lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from reactornb.runtime.clock import Wake
from reactornb.runtime.sampling import Window
from reactornb.runtime.signals import TagKey

__all__ = ["Commands", "Hold", "Order"]


class Hold(NamedTuple):
    """The run is to go on, and to be held before its first tag that is later than this one.

    Attributes:
        tag: that tag.
        reached: to be called when the run is held there.
    """

    tag: TagKey
    reached: Callable[[], None]


class Order(NamedTuple):
    """What the leader is to do before its next tag.

    Attributes:
        stop: a reaction has asked for the end at the next microstep.
        goes_on: open the next tag; false while the run is paused.
        window: a window of tags that is to be watched, or None.
        outside: somebody outside of the program has asked for the end.
        cut: take a cut of the run; see `cut.py`.
        hold: where to be held, or None.
    """

    stop: bool
    goes_on: bool
    window: Window | None
    outside: bool = False
    cut: bool = False
    hold: Hold | None = None


class Commands:
    """What other threads command one enclave.

    Args:
        wake: the leader's.

    Attributes:
        given: the leader is to call `take` before its next tag.
    """

    __slots__ = ("_cut", "_hold", "_lock", "_outside", "_paused", "_steps", "_stop", "_wake", "_window", "given")

    def __init__(self, wake: Wake) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._stop = False
        self._outside = False
        self._cut = False
        self._hold: Hold | None = None
        self._paused = False
        self._steps = 0
        self._window: Window | None = None
        self.given = False

    @property
    def paused(self) -> bool:
        """The enclave is held before its next tag; for display."""
        return self._paused

    # -- any thread -------------------------------------------------------------------------------------------------

    def give(self, *, stop: bool = False, paused: bool | None = None, steps: int = 0, outside: bool = False) -> None:
        """Stop, pause, resume or step.

        Args:
            stop: end at the next microstep.
            paused: hold the enclave before its next tag, or let it go on.
            steps: so many tags, of an enclave that is held.
            outside: it is no reaction that wants the end.
        """
        with self._lock:
            self._stop = self._stop or (stop and not outside)
            self._outside = self._outside or (stop and outside)
            if paused is not None:
                self._paused = paused
                self._steps = 0
            self._steps += steps
            self.given = True
        self._wake.set()

    def cut(self) -> None:
        """Take a cut before the next tag, of a paused run, too."""
        with self._lock:
            self._cut = True
            self.given = True
        self._wake.set()

    def hold(self, hold: Hold) -> None:
        """Go on, and be held before the first tag that is later."""
        with self._lock:
            self._hold = hold
            self._paused = False
            self._steps = 0
            self.given = True
        self._wake.set()

    def nudge(self) -> None:
        """Have the leader look for libraries that came meanwhile, at its next tag."""
        with self._lock:
            self.given = True

    def watch(self, window: Window) -> None:
        """Watch what is executed from the next tag on, for as long as the window says."""
        with self._lock:  # nobody is woken: where nothing happens there is nothing to see
            self._window = window
            self.given = True

    def abandon(self) -> None:
        """In a forked child, where another thread may have held the lock."""
        self._lock = threading.Lock()

    # -- the leader -------------------------------------------------------------------------------------------------

    def take(self) -> Order:
        """What to do before the next tag."""
        with self._lock:
            stop, outside, paused, steps = self._stop, self._outside, self._paused, self._steps
            cut, self._cut = self._cut, False
            if stop or outside:
                self._stop = self._outside = self._paused = paused = False
                if outside:
                    self._hold = None
            elif steps:
                self._steps -= 1
            self.given = self._paused or self._window is not None or self._hold is not None
            return Order(stop, not paused or steps > 0, self._window, outside, cut, self._hold)

    def ask_again(self) -> None:
        """The leader wants to be asked before its next tag, too: it watches the enclave's first tags."""
        self.given = True

    def held(self) -> None:
        """The tag up to which the enclave was to go on is done: it is paused."""
        with self._lock:
            self._hold = None
            self._paused = True
            self.given = True

    def window_closed(self, window: Window) -> None:
        """That window is over."""
        with self._lock:
            if self._window is window:
                self._window = None
