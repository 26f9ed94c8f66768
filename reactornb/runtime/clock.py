"""Physical time, behind one small interface so that tests never sleep."""

from __future__ import annotations

import threading
import time
from typing import Protocol

__all__ = ["Clock", "FakeClock", "RealClock"]


class Clock(Protocol):
    """What the scheduler asks of physical time. All values in ns."""

    def start(self) -> int:
        """Begin counting; returns the time since the epoch."""
        ...

    def elapsed_ns(self) -> int:
        """Time since `start`."""
        ...

    def wait(self, until_ns: int | None, wake: threading.Event) -> None:
        """Return once `elapsed_ns() >= until_ns` or `wake` is set, whichever comes first; None waits for `wake` alone."""
        ...


class RealClock:
    """The machine's monotonic clock."""

    # Sleeping overshoots by a timer slack and a thread switch; the last stretch is slept in short turns instead.
    _margin_ns = 120_000

    def __init__(self) -> None:
        self._origin = time.perf_counter_ns()

    def start(self) -> int:
        """See `Clock`."""
        self._origin = time.perf_counter_ns()
        return time.time_ns()

    def elapsed_ns(self) -> int:
        """See `Clock`."""
        return time.perf_counter_ns() - self._origin

    def wait(self, until_ns: int | None, wake: threading.Event) -> None:
        """See `Clock`."""
        if until_ns is None:
            wake.wait()
            return
        while not wake.is_set():
            left = until_ns - self.elapsed_ns()
            if left <= 0:
                return
            if left > self._margin_ns:
                # Event.wait takes seconds and refuses more than threading.TIMEOUT_MAX.
                wake.wait(min((left - self._margin_ns) / 1e9, 3600.0))


class FakeClock:
    """A clock that jumps: waiting until an instant makes it that instant at once. `advance` plays a slow reaction.

    Its fields are written by the thread that leads the scheduler and by reactions that call `advance`; tests that
    advance it from two reactions of one level must not care which comes first.
    """

    epoch_ns = 1_000_000_000_000_000_000

    def __init__(self) -> None:
        self._now = 0

    def start(self) -> int:
        """See `Clock`."""
        self._now = 0
        return self.epoch_ns

    def elapsed_ns(self) -> int:
        """See `Clock`."""
        return self._now

    def advance(self, by_ns: int) -> None:
        """Let `by_ns` pass."""
        self._now += by_ns

    def wait(self, until_ns: int | None, wake: threading.Event) -> None:
        """See `Clock`."""
        if until_ns is None:
            wake.wait()
        elif not wake.is_set():
            self._now = max(self._now, until_ns)
