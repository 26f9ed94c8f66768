"""Finds environments that do not return: one thread for the process, alive only while a call is watched.

A thread cannot be killed, but an exception can be delivered to it between two bytecodes: that ends an environment which loops
in Python. One that is stuck inside a C call is named in the log at once, and its run fails when the call returns.
"""

from __future__ import annotations

import ctypes
import logging
import os
import threading
import time
import traceback
from sys import _current_frames
from typing import Self

from reactornb.rl.errors import EnvironmentHangError

__all__ = ["Watch"]

_log = logging.getLogger("reactornb.rl")

# _watched, _thread   written and read under _changed only; a forked child, which has none of the threads, begins anew with all three
_changed = threading.Condition()
_watched: set[Watch] = set()
_thread: threading.Thread | None = None
_LINGER_S = 0.5  # the thread outlives the last watch by this, so that short rollouts do not start one each


class _Expired(BaseException):
    """Delivered into the thread that hangs; never leaves `Watch.__exit__`."""


class Watch:
    """While entered, the environment behind `beat` has `seconds` for each call.

    Args:
        reactor: full name of the reactor.
        what: the environment, in words.
        seconds: how long one call may take; 0 or less watches nothing.

    # env, since   written by the watched thread; the watchdog reads them without a lock: a value that is older by one step
    #              only makes it look again a moment later
    # expired      written by the watchdog under _changed while the watch is in _watched; read by the watched thread after it
    #              took itself off under the same lock: from then on nothing is delivered any more

    Raises:
        EnvironmentHangError: on leaving, if the time was over.
    """

    transient = ("_ident", "_tag", "env", "expired", "reactor", "seconds", "since", "what")

    def __init__(self, reactor: str, what: str, seconds: float) -> None:
        self.reactor = reactor
        self.what = what
        self.seconds = seconds
        self.env: int | None = None
        self.since = 0.0
        self.expired = False
        self._ident = 0
        self._tag = ""

    def beat(self, env: int | None = None) -> None:
        """The call of environment `env` (None: of all) begins now."""
        self.env = env
        self.since = time.monotonic()

    def at(self, tag: object) -> Self:
        """Name the tag in messages."""
        self._tag = f" at tag {tag}"
        return self

    def __enter__(self) -> Self:
        if self.seconds > 0:
            self._ident = threading.get_ident()
            self.expired = False
            self.beat()
            global _thread  # noqa: PLW0603 - one watchdog a process
            with _changed:
                _watched.add(self)
                if _thread is None:
                    _thread = threading.Thread(target=_main, name="reactornb-env-watchdog", daemon=True)
                    _thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self.seconds <= 0:
            return
        delivered = kind is not None and issubclass(kind, _Expired)
        try:
            with _changed:
                _watched.discard(self)
            if self.expired and not delivered:
                # The call came back in that very moment: the exception is on its way to this thread, or was swallowed by
                # an `except BaseException` of the environment.
                time.sleep(0.01)
        except _Expired:
            with _changed:
                _watched.discard(self)
        if not self.expired:
            return
        raise EnvironmentHangError(self.message(), reactor=self.reactor, env=self.env, seconds=self.seconds) from error

    def message(self) -> str:
        """What hangs, in words."""
        which = "" if self.env is None else f", environment {self.env}"
        return (
            f"{self.reactor}{self._tag}: {self.what}{which} did not return within {self.seconds:g} s. Look at what it waits for, or "
            f"give it longer with hang_s=…; hang_s=0 waits for ever."
        )


def _main() -> None:
    global _thread  # noqa: PLW0603 - see __enter__
    idle_since = time.monotonic()
    with _changed:
        while True:
            now = time.monotonic()
            if _watched:
                idle_since = now
            elif now - idle_since > _LINGER_S:
                _thread = None
                return
            for watch in _watched:
                if not watch.expired and now - watch.since > watch.seconds:
                    _expire(watch)
            nearest = min((w.seconds for w in _watched), default=_LINGER_S)
            _changed.wait(min(0.25, nearest / 4))


def _expire(watch: Watch) -> None:
    watch.expired = True
    frame = _current_frames().get(watch._ident)
    where = "".join(traceback.format_stack(frame)[-3:]) if frame is not None else ""
    _log.error("%s It is at:\n%s", watch.message(), where)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(watch._ident), ctypes.py_object(_Expired))


def _free_child() -> None:
    """A forked child has no watchdog thread and no watched calls; another thread may have held the lock."""
    global _changed, _thread  # noqa: PLW0603 - there is one thread
    _changed = threading.Condition()
    _watched.clear()
    _thread = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_child)
