"""Watchdogs: timers in physical time that call back unless they are restarted or stopped; one thread serves all of an enclave.

A watchdog is usually restarted long before it expires, so a restart must be cheap: it replaces one entry, and the thread, which
sleeps until the old expiry, then finds a later one and sleeps on. The clock is the machine's, in fast runs too.

# _due      expiry of each started watchdog; read and written under _lock by reactions (one at a time for each watchdog) and by
#           the thread, which posts what has expired under it, too: `line` finds each either here or in the inbox
# _until    when the thread wakes up next; under _lock
# _thread   made by the first start, under _lock; read by `end` when no reaction runs any more
# _over     set once by `end`, before _wake
# _held     while a run is replayed: time left of each started watchdog, none of which expires; under _lock
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
        expired: called on the thread when one was not stopped in time, under the lock; must not block.
        name: of the thread.
    """

    def __init__(self, expired: Callable[[Action], None], name: str) -> None:
        self._expired = expired
        self._name = name
        self._lock = threading.RLock()  # `line` has the leader accept what was posted, which may stop and start some
        self._wake = Wake()
        self._due: dict[Action, int] = {}
        self._until = forever
        self._thread: threading.Thread | None = None
        self._over = False
        self._held: dict[Action, int] | None = None

    def start(self, dog: Action, after_ns: int) -> None:
        """Start or restart a watchdog; it expires after this time."""
        due = time.perf_counter_ns() + max(after_ns, 0)
        with self._lock:
            if self._held is not None:
                self._held[dog] = after_ns
                return
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
            if self._held is not None:
                self._held.pop(dog, None)

    def calls(self, dog: Action, timeout: int) -> tuple[Callable[..., None], Callable[[], None]]:
        """What the reactions of one call: `start`, with what is added to its time, and `stop`."""

        def start(extra: int = 0) -> None:
            self.start(dog, timeout + int(extra))

        def stop() -> None:
            self.stop(dog)

        return start, stop

    def is_running(self, dog: Action) -> bool:
        """Whether it will expire."""
        with self._lock:
            return dog in self._due

    def hold(self) -> None:
        """From now on none expires: a run is replayed. Before the first start."""
        self._held = {}

    def release(self) -> None:
        """The replay is over: those that run by now expire after their whole time."""
        with self._lock:
            held, self._held = self._held or {}, None
        for dog, after_ns in held.items():
            self.start(dog, after_ns)

    def line(self, accept: Callable[[], None]) -> list[tuple[int, int]]:
        """The leader cuts its enclave here.

        Args:
            accept: takes what was posted up to now; no watchdog expires meanwhile, so that each is either started or posted.

        Returns:
            Of those that are started, the number of the expiry and the physical time left in ns.
        """
        with self._lock:
            accept()
            now = time.perf_counter_ns()
            if self._held is not None:
                return sorted((dog.order, max(after_ns, 0)) for dog, after_ns in self._held.items())
            return sorted((dog.order, max(due - now, 0)) for dog, due in self._due.items())

    def forget(self) -> None:
        """Stop all."""
        with self._lock:
            self._due.clear()
            if self._held is not None:
                self._held.clear()

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
                for dog in sorted(expired, key=_order):
                    del self._due[dog]
                    self._expired(dog)
                self._until = until = min(self._due.values(), default=forever)
            # A lock's timeout is in seconds and has a limit, threading.TIMEOUT_MAX.
            self._wake.wait(None if until == forever else min(max(until - now, 0) / 1e9, 3600.0))


def _order(dog: Action) -> int:
    return dog.order
