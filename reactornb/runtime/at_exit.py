"""Runs that a script leaves behind: they end in order, with their shutdown reactions, before the interpreter goes; and those that
failed without anybody asking how they ended are told then.

Python first waits for the threads that are no daemons, and forbids new work to thread pools, and only then calls what `atexit` was
given. That is too late for a run: its shutdown reactions end such threads, and use such pools. So runs end before that.

# _untold   added to by the thread on which a run ends, before the run is over for anybody else, and taken from by any that asks, each in
#           one operation of a dict
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from reactornb.errors import ReactorError

__all__ = ["PATIENCE_S", "end", "failed", "forget", "register", "tell_failures", "told"]


class Named(Protocol):
    """A run, as far as its failure is told."""

    number: int

    @property
    def name(self) -> str: ...


# How long all runs together have for their end. A reaction that does not return by then is left where it is.
PATIENCE_S = 5.0

_MOST = 10  # failures that are told one by one

_registered: set[Callable[[], None]] = set()
# Of runs that failed and of which nobody knows, by number: name and failure. Such a run need not live on.
_untold: dict[int, tuple[str, str]] = {}
_left_alone: list[Any] = []  # those that had not ended in time; only the thread that ends the interpreter looks


def register(end_all: Callable[[], None]) -> None:
    """Have this called when the script is over, before Python waits for threads; a second time is nothing.

    Args:
        end_all: what ends the runs; registered with `atexit` as well, for a Python without such a place.
    """
    if end_all in _registered:
        return
    _registered.add(end_all)
    # Its own call comes in the same place, and the last registered is called first: pools go on until the runs have ended.
    import concurrent.futures.thread  # noqa: F401

    # Private, and what concurrent.futures itself uses.
    register_first = getattr(threading, "_register_atexit", None)
    if register_first is not None:
        with contextlib.suppress(RuntimeError):  # the script is over already
            register_first(end_all)


def failed(run: Named, failure: BaseException) -> None:
    """A run ended in a failure, of which nobody knows yet."""
    why = str(failure) if isinstance(failure, ReactorError) else f"{type(failure).__name__}: {failure}"
    line = next(iter(why.splitlines()), "")
    _untold[run.number] = run.name, f"{line[:500]}{'…' if len(line) > 500 else ''}"


def told(run: Named) -> None:
    """Somebody has asked how a run ended."""
    _untold.pop(run.number, None)


def forget() -> None:
    """In a forked child: its parent tells."""
    _untold.clear()


def tell_failures() -> None:
    """Say on stderr which runs failed without anybody asking, once."""
    numbers = sorted(_untold)
    for number in numbers[:_MOST]:
        name, why = _untold.pop(number, ("", ""))
        if name:
            _say(
                f"{name} failed, and nobody asked how it ended: {why.rstrip('.')}; run.result() raises it, with its traceback."
            )
    if len(numbers) > _MOST:
        _say(f"{len(numbers) - _MOST} more runs failed, and nobody asked how they ended.")
        _untold.clear()


def end(runs: Sequence[Any]) -> None:
    """End these runs, and say on stderr which could not be ended, and which failed in doing so."""
    runs = [run for run in runs if run not in _left_alone]
    for run in runs:
        run.request_stop()
    until = time.monotonic() + PATIENCE_S
    for run in runs:
        while (
            run._engine.driven and _is_mine(run._engine.driver) and run._engine.advance() and time.monotonic() < until
        ):
            run._finished.wait(0.001)  # as in `Run.stop`
        if run._finished.wait(max(until - time.monotonic(), 0.0)):
            run._join()
            if run.failure is not None:  # and is told by now
                _say(f"{run.name} failed when the script was over: {run.failure}")
        else:
            _left_alone.append(run)
            busy = "; ".join(map(str, run.busy())) or "a reaction is busy"
            _say(
                f"{run.name} had not ended {PATIENCE_S:g} s after the script: {busy}. Its shutdown reactions did not run; run.stop() "
                f"waits, and says so earlier."
            )


def _is_mine(driver: threading.Thread | None) -> bool:
    """Whether this thread may advance a run: nobody has, this thread did, or the one that did is gone."""
    return driver is None or driver is threading.current_thread() or not driver.is_alive()


def _say(words: str) -> None:
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            print(f"reactornb: {words}", file=sys.stderr)  # noqa: T201 - the script's last words
