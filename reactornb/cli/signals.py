"""How a command ends that is told to by a signal: Ctrl-C (SIGINT), SIGTERM, SIGHUP.

By convention the exit status is 128 and the signal's number. What a signal does depends on what the command is doing:

- `free`        nothing is there (yet, or any more) that could be lost: it raises `Signalled`, a KeyboardInterrupt, and the command ends. The second,
                where something does not let that through, ends the process at once, as if nobody handled signals.
- `running`     it is noted, and the command, which looks at `count`, ends its run in order; the second gives the run up.
- `writing`     it is noted: what is being written is written. The second during the writing raises `Signalled`, the third ends the process.

Signals within half a second of one that counts are the same wish: a terminal that is closed sends SIGHUP twice, service managers two kinds.

# count, number, _phase, _since, _last   touched by the main thread only: Python runs handlers there, between two bytecodes
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

__all__ = ["Ending", "Signalled", "block", "unblock"]

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]
_SAME_WISH_S = 0.5
_BLOCKED = "_REACTORNB_SIGNALS_BLOCKED"  # an environment variable of the interpreter that this one becomes


class Signalled(KeyboardInterrupt):
    """What a signal raises that is to end a command at once."""


class Ending:
    """Handles signals as long as it is entered; on other threads than the main one, which get none, it does nothing.

    A signal that is ignored, as SIGHUP is under nohup, stays ignored, and a handler that the user's program sets stays.

    Attributes:
        count: how many signals came.
        number: the first one, or None.
    """

    def __init__(self) -> None:
        self.count = 0
        self.number: int | None = None
        self._phase = "free"
        self._since = 0  # signals before the phase began
        self._last = -_SAME_WISH_S
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

    def let_go(self) -> None:
        """The process ends now, and all is done: from here on a signal ends it at once, without a word."""
        for number in self._before:
            if signal.getsignal(number) == self._on_signal:
                signal.signal(number, signal.SIG_DFL)

    def phase(self, name: str) -> None:
        """The command does something else from now on: "free", "running" or "writing"."""
        self._since, self._phase = self.count, name

    @property
    def status(self) -> int | None:
        """The exit status by convention, None if no signal came."""
        return None if self.number is None else 128 + self.number

    @property
    def name(self) -> str:
        """What the first signal is called."""
        return "" if self.number is None else signal.Signals(self.number).name

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._last < _SAME_WISH_S:
            return
        self._last = now
        self.count += 1
        if self.number is None:
            self.number = number
        came = self.count - self._since
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
        """A signal's exception that met a finalizer or a callback, where Python can only report it: `count` has it."""
        if not isinstance(unraisable.exc_value, Signalled):
            self._hook(unraisable)


def block() -> None:
    """Have signals wait: this process becomes another interpreter, which calls `unblock` once it handles them."""
    if hasattr(signal, "pthread_sigmask"):
        os.environ[_BLOCKED] = "1"
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def unblock() -> None:
    """Let come what waited since `block`, in the interpreter that called it or that it has become."""
    if os.environ.pop(_BLOCKED, None):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
