"""Starting threads: all of them or none, even if Ctrl-C interrupts the calling thread.

Ctrl-C may raise KeyboardInterrupt between any two bytecodes of the main thread, also between taking a lock and the `try` or `with` that
gives it back: on Python 3.14 two interrupts in five that meet a busy `with lock:` leave the lock taken. So what must not stop halfway
runs on a helper thread, which no signal reaches, and the caller only waits, for what an interrupt cannot leave locked (`Done`).
"""

from __future__ import annotations

import _thread
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from reactornb.errors import RunError

if TYPE_CHECKING:
    from reactornb.runtime.workers import Worker

__all__ = ["Done", "Launch", "start_all", "undisturbed"]

_SLICE_S = 0.5  # a signal that arrives just as the main thread falls asleep is noticed when it wakes up


class Done:
    """An event that happens once. Unlike `threading.Event`, a wait for it that is interrupted blocks nobody else.

    # _is_set   set once, by any thread, before _lock is freed. A waiter reads it, and uses the lock only to sleep. An interrupt
    #           may leave the lock taken again: then other waiters notice at the end of their time slice.
    """

    __slots__ = ("_is_set", "_lock")

    def __init__(self) -> None:
        self._is_set = False
        self._lock = _thread.allocate_lock()
        self._lock.acquire()

    def set(self) -> None:
        """It has happened."""
        if not self._is_set:
            self._is_set = True
            try:  # noqa: SIM105 - an import would be all that `contextlib` saves here
                self._lock.release()
            except RuntimeError:  # two threads set it
                pass

    def is_set(self) -> bool:
        """Whether it has happened."""
        return self._is_set

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for it, at most so many seconds; returns whether it has happened."""
        until = None if timeout is None else time.monotonic() + timeout
        while not self._is_set:
            left = _SLICE_S if until is None else min(until - time.monotonic(), _SLICE_S)
            if left <= 0:
                break
            if self._lock.acquire(timeout=left):
                self._lock.release()
        return self._is_set


def undisturbed[T](make: Callable[[], T]) -> T:
    """Call `make`, which takes locks, so that no interrupt leaves one taken: called on the main thread, it runs `make` on a helper thread.

    Raises:
        BaseException: the error that `make` raises, or the interrupt of the main thread; then `make` has finished, and its result is dropped.
    """
    if threading.current_thread() is not threading.main_thread():
        return make()
    result: list[T] = []
    Launch(lambda _: result.append(make())).run()
    return result[0]


class Launch:
    """One call on a helper thread, which runs to its end or not at all.

    # _claim      an atomic counter; the thread that draws 0 decides: the helper makes the call, an interrupted caller cancels it
    # cancelled   set by a caller that was interrupted; the call may read it as long as it can still be undone
    # _error      written by the helper before it sets `_is_over`, read by the caller after that
    # _is_over    set by the helper when the call has ended; read by the caller
    # _over       a lock that the helper frees after that; the caller waits for it

    Args:
        call: the function to call, with this object as its argument, for `cancelled`.
    """

    def __init__(self, call: Callable[[Launch], None]) -> None:
        self._call = call
        self._claim = itertools.count().__next__
        self._error: BaseException | None = None
        self._over = _thread.allocate_lock()
        self._over.acquire()
        self._is_over = False
        self.cancelled = False

    def run(self) -> None:
        """Make the call, and return once it is over.

        Raises:
            RuntimeError: if the system has no thread for the helper.
            BaseException: the error that the call raises, or the interrupt of this thread: then `cancelled` is set, and the call has
                ended too, unless a second interrupt came.
        """
        try:
            # Not threading.Thread: its `start` is Python code that could be interrupted in the middle; this is a single call of C code.
            _thread.start_new_thread(self._main, ())
            self._wait()
        except BaseException:
            self.cancelled = True
            if self._claim():
                self._wait()
            raise
        if self._error is not None:
            raise self._error

    def _wait(self) -> None:
        while not self._is_over:  # not the lock alone: an interrupt may have come just after it was taken
            self._over.acquire(timeout=_SLICE_S)

    def _main(self) -> None:
        if self._claim():
            return  # given up before it began
        try:
            self._call(self)
            # Drop the reference: this thread ends a little after the caller goes on, and must not keep the caller's objects alive.
            del self._call
        except BaseException as error:  # noqa: BLE001 - re-raised by the caller
            self._error = error
        finally:
            self._is_over = True
            self._over.release()


def start_all(workers: Sequence[Worker], who: str, give_up: Callable[[], None]) -> None:
    """Start the workers' threads; called in a `Launch`. If one cannot be started, `give_up` ends those already started.

    Raises:
        RunError: if the system gives no more threads.
    """
    for worker in workers:
        try:
            worker.thread.start()
        except BaseException as error:
            give_up()
            if isinstance(error, (RuntimeError, MemoryError)):
                raise RunError(
                    f"{who}: the system gives no thread for worker {worker.index} ({error}). Nothing is left of the start; take fewer "
                    f"workers, or raise the limit of processes and threads (ulimit -u)."
                ) from error
            raise
