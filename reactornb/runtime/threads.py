"""Threads that reactions start: which run they belong to, and the warning about one that dies.

Python does not keep which thread started another. Context variables would tell on the free-threaded build of 3.14, where threads inherit the
context unless a flag says otherwise; on ordinary builds, 3.12 and 3.13 they do not, and `threading.excepthook` is called outside of
the context everywhere. So `threading.Thread.start` is replaced, once a process, by a function that asks which run the calling thread works
for. If it works for none, the function only calls the original; else the new thread's `run` first stores its owner. Timers,
`ThreadPoolExecutor`, `asyncio.to_thread` and `multiprocessing.pool.ThreadPool` start their threads this way; a thread that such a thread
starts has the same owner. A thread of a pool that outlives the run keeps the first run as its owner.

# _alive   a thread is added by the one that starts it, before it starts, and removed by itself when it ends, each in one
#          operation of a dict; read as a copy by a thread that waits for a run's threads
"""

from __future__ import annotations

import functools
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from reactornb.errors import RunOverError, Source
from reactornb.runtime.context import ReactionContext
from reactornb.runtime.hints import said
from reactornb.runtime.origins import inherit, owner_here
from reactornb.runtime.workers import current_scheduler

__all__ = ["join", "scheduler_here", "scheduler_of_thread"]

_alive: dict[threading.Thread, Owner] = {}
# A run warns about so many threads that died, one by one; the others are one more warning.
_MOST = 20


class Owner:
    """The enclave, and so the run, whose reaction started a thread.

    A thread may outlive its run; it does not keep the run in memory.

    Attributes:
        run: in words.
        origin: the reaction. What the thread prints counts if the reaction does.
    """

    __slots__ = ("_scheduler", "origin", "run")

    def __init__(self, scheduler: ReactionContext) -> None:
        self._scheduler = weakref.ref(scheduler)
        self.run = scheduler.notices.who
        self.origin = scheduler.printed.origin(scheduler)

    def scheduler(self) -> ReactionContext | None:
        """The enclave's scheduler; None once its run is no longer in memory."""
        return self._scheduler()

    def living(self) -> ReactionContext:
        """The enclave's scheduler.

        Raises:
            RunOverError: if the run has ended.
        """
        scheduler = self._scheduler()
        if scheduler is None or scheduler.run_is_over:
            raise RunOverError(
                f"{self.run} has ended, and thread {threading.current_thread().name!r}, which its reactions started, goes on. Let a shutdown "
                f"reaction end the thread; a pool for several runs is made by each run's startup reaction."
            )
        return scheduler


def scheduler_here() -> ReactionContext | None:
    """The scheduler of the reaction that calls this, or of the one that started this thread; None on any other thread.

    Raises:
        RunOverError: on a thread whose run has ended.
    """
    scheduler: ReactionContext | None = current_scheduler()
    if scheduler is None:
        owner = _owner()
        if owner is not None:
            return owner.living()
    return scheduler


def scheduler_of_thread() -> ReactionContext | None:
    """As `scheduler_here`, also for a run that has ended; None once it is no longer in memory."""
    scheduler: ReactionContext | None = current_scheduler()
    if scheduler is None:
        owner = _owner()
        if owner is not None:
            return owner.scheduler()
    return scheduler


def join(schedulers: Sequence[ReactionContext], grace_s: float = 0.5) -> None:
    """Wait for the threads that reactions of these enclaves started, as Python does before it exits.

    Workers are daemon threads, and so is a thread that a reaction starts unless it is made with daemon=False. Daemon threads get `grace_s`
    seconds in all, so that an exception which one raises at once is not missed.
    """
    until = time.monotonic() + grace_s
    while left := [thread for thread, owner in _alive.copy().items() if owner.scheduler() in schedulers]:
        firm = [thread for thread in left if not thread.daemon]
        if not firm and time.monotonic() >= until:
            return
        (firm or left)[0].join(0.5 if firm else max(until - time.monotonic(), 0.0))  # in slices: see `Run.wait`


def _owner() -> Owner | None:
    owner: Owner | None = owner_here()
    return owner


def _extended(start: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    @functools.wraps(start)
    def start_thread(thread: threading.Thread) -> None:
        scheduler = current_scheduler()
        owner = _owner() if scheduler is None else Owner(scheduler)
        if owner is None or thread in _alive or thread.ident is not None:
            start(thread)  # which raises if the thread is started twice
            return
        _alive[thread] = owner
        _set(thread, functools.partial(_run, thread, thread.run, owner))
        try:
            start(thread)
        except BaseException:
            if thread.ident is None:  # the system gives no thread
                _forget(thread)
            raise

    return start_thread


def _set(thread: threading.Thread, run: Callable[[], None]) -> None:
    thread.run = run  # type: ignore[method-assign]


def _forget(thread: threading.Thread) -> None:
    _alive.pop(thread, None)
    thread.__dict__.pop("run", None)


def _run(thread: threading.Thread, run: Callable[[], None], owner: Owner) -> None:
    inherit(owner)
    thread.__dict__.pop("run", None)  # else the thread would refer to itself
    try:
        run()
    except SystemExit:
        raise
    except RunOverError as error:
        _tell(owner, thread, str(error), died=False)
    except BaseException as error:
        words = f"thread {thread.name!r}, which a reaction started, died: {said(error)}"
        place = _place(error)
        _tell(owner, thread, words if place is None else f"{words} ({place})", died=True)
        raise
    finally:
        _alive.pop(thread, None)


def _tell(owner: Owner, thread: threading.Thread, words: str, *, died: bool) -> None:
    scheduler = owner.scheduler()
    if scheduler is None:
        return
    notices = scheduler.notices
    if died:
        notices.died.append(thread.name)
    if len(notices.died) > _MOST:
        notices.add("threads died", f"more than {_MOST} threads that reactions started died; the others are not told.")
    else:
        notices.add(("thread", thread.name, thread.ident), words)


def _place(error: BaseException) -> Source | None:
    """The outermost line of the user's, which tells what the thread is for."""
    here = error.__traceback__
    while here is not None:
        name: Any = here.tb_frame.f_globals.get("__name__", "")
        if name not in (__name__, "threading", "concurrent.futures.thread"):
            return Source(here.tb_frame.f_code.co_filename, here.tb_lineno)
        here = here.tb_next
    return None


def _install() -> None:
    cls: Any = threading.Thread
    cls.start = _extended(threading.Thread.start)


_install()
