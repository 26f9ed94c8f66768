"""How a signal ends a command: Ctrl-C (SIGINT), SIGTERM, SIGHUP.

By convention the exit status is 128 plus the signal's number. What a signal does depends on the phase of the command:

- `free`        nothing can be lost, before the run or after it: raise `Signalled`, a KeyboardInterrupt, which ends the command. The second
                signal ends the process at once, as if there were no handler: something may have caught the exception.
- `running`     count it. The command reads `count` and ends its run in order; the second signal gives the run up.
- `writing`     count it, and finish writing. The second signal in this phase raises `Signalled`, the third ends the process.

Signals within half a second of the last one that counted are ignored: a terminal that is closed sends SIGHUP twice, service managers send
two kinds.

# count, number, _phase, _before_phase, _last_s   read and written by the main thread only: Python runs handlers there, between two bytecodes
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["SignalHandler", "Signalled", "block", "unblock"]

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]
_IGNORED_S = 0.5
_BLOCKED = "_REACTORNB_SIGNALS_BLOCKED"  # an environment variable of the interpreter that this one becomes


class Signalled(KeyboardInterrupt):
    """Raised by a signal that ends a command at once."""


class SignalHandler:
    """Handles signals while it is entered. On threads other than the main one it does nothing: they get no signals.

    A signal that is ignored, as SIGHUP is under nohup, stays ignored. A handler that the user's program installs is left alone.

    Attributes:
        count: how many signals came, without those that are ignored.
        number: the first one, or None.
    """

    def __init__(self) -> None:
        self.count = 0
        self.number: int | None = None
        self._phase = "free"
        self._before_phase = 0  # how many signals came before the phase
        self._last_s = -_IGNORED_S
        self._before: dict[int, Any] = {}
        self._hook: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._hook, sys.unraisablehook = sys.unraisablehook, self._unraisable
            for number in _SIGNALS:
                now = signal.getsignal(number)
                if now is not signal.SIG_IGN and now is not None:
                    self._before[number] = now
                    signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            if signal.getsignal(number) == self._on_signal:
                signal.signal(number, before)
        if self._before:
            sys.unraisablehook = self._hook
        self._before.clear()

    def restore_defaults(self) -> None:
        """All is done and the process ends: from here on a signal ends it at once, without a message."""
        for number in self._before:
            if signal.getsignal(number) == self._on_signal:
                signal.signal(number, signal.SIG_DFL)

    def phase(self, name: str) -> None:
        """Enter a phase: "free", "running" or "writing"."""
        self._before_phase, self._phase = self.count, name

    @property
    def status(self) -> int | None:
        """The exit status, by convention; None if no signal came."""
        return None if self.number is None else 128 + self.number

    @property
    def name(self) -> str:
        """Name of the first signal, "" if none came."""
        return "" if self.number is None else signal.Signals(self.number).name

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._last_s < _IGNORED_S:
            return
        self._last_s = now
        self.count += 1
        if self.number is None:
            self.number = number
        came = self.count - self._before_phase
        if self._phase == "running" or (self._phase == "writing" and came == 1):
            return
        if came > (1 if self._phase == "free" else 2):
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if self._phase == "free":
            with contextlib.suppress(OSError):  # not print: the signal may have come in the middle of one
                os.write(2, f"reactornb: interrupted ({self.name})\n".encode())
        raise Signalled

    def _unraisable(self, unraisable: Any, /) -> None:
        """Do not report a `Signalled` that was raised in a finalizer or a callback: the signal is counted."""
        if not isinstance(unraisable.exc_value, Signalled):
            self._hook(unraisable)


def block() -> None:
    """Hold signals back while this process becomes another interpreter, which calls `unblock` once it handles them."""
    if hasattr(signal, "pthread_sigmask"):
        os.environ[_BLOCKED] = "1"
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def unblock() -> None:
    """Deliver the signals that `block` held back, in the interpreter that called it or in the one it became."""
    if os.environ.pop(_BLOCKED, None):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
