"""Threads that reactions start: whose they are, and what their run says of one that dies.

Python does not keep who started a thread. Context variables would tell on the free-threaded build of 3.14, where threads inherit the
context unless a flag says otherwise; on ordinary builds, 3.12 and 3.13 they do not, and `threading.excepthook` is called outside of
the context everywhere. So `threading.Thread.start` is replaced, once, by a function that looks at who calls it. On a thread of no
run it only calls the original; else the new thread's `run` notes its owner first. Timers, `ThreadPoolExecutor`, `asyncio.to_thread`
and `multiprocessing.pool.ThreadPool` start their threads so; a thread that such a thread starts has the same owner. A thread of a
pool that outlives the run stays the first run's.

# _alive   added to by the thread that starts another, before it does, and taken from by the one that ends, each in one
#          operation of a dict; read as a copy by who waits for a run's threads
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
# Of so many threads that died a run tells each; more are one more warning.
_MOST = 20


class Owner:
    """The enclave, and so the run, whose reaction started a thread.

    A thread may outlive its run, and does not keep it.

    Attributes:
        run: in words.
        origin: the reaction; by it counts what the thread prints.
    """

    __slots__ = ("_scheduler", "origin", "run")

    def __init__(self, scheduler: ReactionContext) -> None:
        self._scheduler = weakref.ref(scheduler)
        self.run = scheduler.notices.who
        self.origin = scheduler.printed.origin(scheduler)

    def scheduler(self) -> ReactionContext | None:
        """The enclave's scheduler; None once nobody holds its run."""
        return self._scheduler()

    def living(self) -> ReactionContext:
        """The enclave's scheduler.

        Raises:
            RunOverError: if the run has ended.
        """
        found = self._scheduler()
        if found is None or found.run_is_over:
            raise RunOverError(
                f"{self.run} has ended, and thread {threading.current_thread().name!r}, which its reactions started, goes on. Let a shutdown "
                f"reaction end the thread; a pool for several runs is made by each run's startup reaction."
            )
        return found


def scheduler_here() -> ReactionContext | None:
    """The scheduler of the reaction that calls this, or of the one that started this thread; None on any other thread.

    Raises:
        RunOverError: on a thread whose run has ended.
    """
    found: ReactionContext | None = current_scheduler()
    if found is None:
        owner = _owner()
        if owner is not None:
            return owner.living()
    return found


def scheduler_of_thread() -> ReactionContext | None:
    """The same, of a run that has ended too; None once nobody holds the run."""
    found: ReactionContext | None = current_scheduler()
    if found is None:
        owner = _owner()
        if owner is not None:
            return owner.scheduler()
    return found


def join(schedulers: Sequence[ReactionContext], grace_s: float = 0.5) -> None:
    """Wait for the threads that reactions of these enclaves started, as Python does before it exits.

    Workers are daemons, and so is a thread that a reaction starts unless it says daemon=False: those have `grace_s` seconds in all, so
    that what one raises at once is not missed.
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
        if (
            owner is None or thread in _alive or thread.ident is not None
        ):  # who starts it twice is told so by the original
            start(thread)
            return
        _alive[thread] = owner
        _set(thread, functools.partial(_run, thread, thread.run, owner))
        try:
            start(thread)
        except BaseException:
            if thread.ident is None:  # there is no room for it
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
    thread.__dict__.pop("run", None)  # or the thread would hold itself
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
    """The thread's first line of its user's, which says what the thread is for."""
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
