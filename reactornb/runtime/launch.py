"""Starting threads: all of them or none, whatever interrupts the thread that asks.

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

    # _is_set   set once, by any thread, before _lock is freed; who waits looks at it, and at the lock only to sleep. An interrupt
    #           may leave the lock taken again: then others notice at the end of their slice.
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
        """Wait for it, at most so many seconds; whether it has happened."""
        until = None if timeout is None else time.monotonic() + timeout
        while not self._is_set:
            left = _SLICE_S if until is None else min(until - time.monotonic(), _SLICE_S)
            if left <= 0:
                break
            if self._lock.acquire(timeout=left):
                self._lock.release()
        return self._is_set


def undisturbed[T](make: Callable[[], T]) -> T:
    """Call something that takes locks, where no interrupt can leave one taken: on the main thread by means of a helper.

    Raises:
        BaseException: what it raises, or what interrupted the main thread; then it has been made to its end, and is dropped.
    """
    if threading.current_thread() is not threading.main_thread():
        return make()
    made: list[T] = []
    Launch(lambda _: made.append(make())).run()
    return made[0]


class Launch:
    """One call on a helper thread, made to its end or not at all.

    # _claim      an atomic counter: who draws 0 decides whether the call is made, the helper or the caller that gives up
    # cancelled   set by a caller that was interrupted; the call may ask for it up to the moment from which it is not undone
    # _error      written by the helper before it sets `_is_over`, read by the caller after that
    # _is_over, _over
    #             set, and then freed, once the helper has done its work; the caller waits for the one and looks at the other

    Args:
        call: what to do; given this object, for `cancelled`.
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
            BaseException: what the call raises; or what interrupted this thread: then the call is told so, and it is over too, unless
                a second interrupt came.
        """
        try:
            # Not threading.Thread: its `start` is Python that could be interrupted in the middle, this is one step.
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
            # The caller may forget what it started as soon as it goes on: this thread, which ends a little later, must not hold it.
            del self._call
        except BaseException as error:  # noqa: BLE001 - the caller is told
            self._error = error
        finally:
            self._is_over = True
            self._over.release()


def start_all(workers: Sequence[Worker], who: str, give_up: Callable[[], None]) -> None:
    """Start the threads of workers; on a `Launch`. If one cannot be started, `give_up` is to end those that were.

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
