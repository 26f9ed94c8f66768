"""Watchdogs: timers in physical time that call back unless they are restarted or stopped; one thread serves all of an enclave.

A watchdog is usually restarted long before it expires, so a restart must be cheap: it replaces one entry, and the thread, which
sleeps until the old expiry, then finds a later one and sleeps on. The clock is the machine's, in fast runs too.

# _due      expiry of each started watchdog; read and written under _lock by reactions (one at a time for each watchdog) and by
#           the thread
# _until    when the thread wakes up next; under _lock
# _thread   made by the first start, under _lock; read by `end` when no reaction runs any more
# _over     set once by `end`, before _wake
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from reactornb.runtime.clock import Wake
from reactornb.runtime.signals import Action
from reactornb.tags import forever

__all__ = ["Watchdogs"]


class Watchdogs:
    """The watchdogs of one enclave.

    Args:
        expired: called on the thread when one was not stopped in time; must not block.
        name: of the thread.
    """

    def __init__(self, expired: Callable[[Action], None], name: str) -> None:
        self._expired = expired
        self._name = name
        self._lock = threading.Lock()
        self._wake = Wake()
        self._due: dict[Action, int] = {}
        self._until = forever
        self._thread: threading.Thread | None = None
        self._over = False

    def start(self, dog: Action, after_ns: int) -> None:
        """Start or restart a watchdog; it expires after this time."""
        due = time.perf_counter_ns() + max(after_ns, 0)
        with self._lock:
            self._due[dog] = due
            if self._thread is None:
                thread = threading.Thread(target=self._main, name=self._name, daemon=True)
                thread.start()  # may raise; then `end` must not find a thread
                self._thread = thread
            sooner = due < self._until
        if sooner:
            self._wake.set()

    def stop(self, dog: Action) -> None:
        """Stop a watchdog; does nothing if it has expired or was never started."""
        with self._lock:
            self._due.pop(dog, None)

    def end(self) -> None:
        """End the thread and wait for it; called when no reaction runs any more."""
        self._over = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _main(self) -> None:
        while True:
            self._wake.clear()
            if self._over:
                return
            now = time.perf_counter_ns()
            with self._lock:
                expired = [dog for dog, due in self._due.items() if due <= now]
                for dog in expired:
                    del self._due[dog]
                self._until = until = min(self._due.values(), default=forever)
            for dog in sorted(expired, key=_order):
                self._expired(dog)
            # A lock's timeout is in seconds and has a limit, threading.TIMEOUT_MAX.
            self._wake.wait(None if until == forever else min(max(until - now, 0) / 1e9, 3600.0))


def _order(dog: Action) -> int:
    return dog.order
