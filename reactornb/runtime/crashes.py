"""Crash reports: which reaction the process was in at a segmentation fault or an abort in C code, and what other workers ran.

`faulthandler` writes the stack of the thread that crashed; it names functions, not reactions, and without a GIL it can show no other
thread. It then calls the handler that was installed before it. Ours reads the workers' stacks as `Run.busy` does, writes a line and lets the
process die of the same signal. It costs nothing until then.

With a GIL only `faulthandler` is used: a handler in Python could wait for ever for a GIL whose own lock the crashed thread held. Without one,
Python code in such a handler is acceptable, since the process is lost anyway: a second fault kills it at once, and if the handler has to wait
(for a lock that the thread held) the process is aborted after two seconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

from reactornb.runtime.run import live_runs

__all__ = ["crash_report", "install"]

_SIGNALS = [
    getattr(signal, name) for name in ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT") if hasattr(signal, name)
]
_PATIENCE_S = 2

# Written by `install`, once a process. C code has the address of `_handler`, which restores the handlers in `_before`.
_handler: Any = None
_before: dict[int, Any] = {}
_fd = 2


def install(fd: int = 2) -> bool:
    """Report crashes from now on, unless `faulthandler` is on already (`python -X faulthandler`).

    Args:
        fd: the file descriptor to write to; a copy of it is kept.

    Returns:
        Whether crash reports were switched on.
    """
    global _handler, _fd  # noqa: PLW0603 - see above
    if faulthandler.is_enabled():
        return False
    try:
        _fd = os.dup(fd)
    except OSError:  # there is no stderr
        return False
    if sys.platform != "win32" and _handler is None and not getattr(sys, "_is_gil_enabled", lambda: True)():
        libc = ctypes.CDLL(None)
        kind = ctypes.CFUNCTYPE(None, ctypes.c_int)
        libc.signal.restype, libc.signal.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p]
        abort = ctypes.cast(libc.abort, ctypes.c_void_p)

        def handle(number: int) -> None:
            libc.signal(signal.SIGABRT, None)
            libc.signal(signal.SIGALRM, abort)
            libc.alarm(_PATIENCE_S)
            for each, old in _before.items():
                libc.signal(each, old)
            with contextlib.suppress(BaseException):
                os.write(_fd, _words(number).encode(errors="replace"))
            libc.alarm(0)
            os.kill(os.getpid(), number)  # for a signal that was sent: the faulty instruction would only run again

        _handler = kind(handle)
        for number in _SIGNALS:
            _before[number] = libc.signal(number, ctypes.cast(_handler, ctypes.c_void_p))
    faulthandler.enable(_fd)
    return True


@contextlib.contextmanager
def crash_report() -> Iterator[None]:
    """Report crashes within the block."""
    mine = install()
    try:
        yield
    finally:
        if mine:
            faulthandler.disable()


def _words(number: int) -> str:
    """The line that is written; on the thread that crashed."""
    here, others = "", []
    me = threading.get_ident()
    for run in live_runs():
        idents = {worker.index: worker.thread.ident for worker in run._engine.workers}
        for (worker, reaction), where in run._watch.stacks().items():
            words = f"{reaction} ({where}; worker {worker} of run {run.number}, tag {run.tag})"
            if idents.get(worker) == me:
                here = words
            else:
                others.append(words)
    what = f"in reaction {here}" if here else "in no reaction"
    rest = f" At that moment others ran: {', '.join(others)}." if others else ""
    return f"\nreactornb: the process crashed ({signal.Signals(number).name}) {what}.{rest}\n"
