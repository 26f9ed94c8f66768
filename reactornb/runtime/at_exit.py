"""Ends the runs that are still alive when a script is over, with their shutdown reactions, before the interpreter exits; and reports runs
that failed without the script asking how they ended.

At exit, Python first waits for non-daemon threads and closes thread pools, and only then calls `atexit` functions. That is too late for
a run: its shutdown reactions end such threads and use such pools. So runs end before that.

# _untold   added to by the thread on which a run ends, before other threads see that it is over; removed by any thread that asks; each is
#           a single operation on a dict
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
    """A run, as far as this module uses it."""

    number: int

    @property
    def name(self) -> str: ...


# How long all runs together may take to end. A reaction that has not returned by then is abandoned.
PATIENCE_S = 5.0

_MOST = 10  # failures that get a line each

_registered: set[Callable[[], None]] = set()
# Unreported failures: run number -> name and failure. The run itself may be freed.
_untold: dict[int, tuple[str, str]] = {}
_left_alone: list[Any] = []  # runs that had not ended in time; read only by the thread that ends the interpreter


def register(end_all: Callable[[], None]) -> None:
    """Register a function to be called when the script is over, before Python waits for threads; a second call does nothing.

    Args:
        end_all: ends the runs; registered with `atexit` as well, for a Python without that private hook.
    """
    if end_all in _registered:
        return
    _registered.add(end_all)
    # concurrent.futures registers with the same hook, and the last registered is called first: pools work until the runs have ended.
    import concurrent.futures.thread  # noqa: F401

    # Private, and what concurrent.futures itself uses.
    register_first = getattr(threading, "_register_atexit", None)
    if register_first is not None:
        with contextlib.suppress(RuntimeError):  # the script is over already
            register_first(end_all)


def failed(run: Named, failure: BaseException) -> None:
    """Remember the failure of a run until it is asked for or reported."""
    why = str(failure) if isinstance(failure, ReactorError) else f"{type(failure).__name__}: {failure}"
    line = next(iter(why.splitlines()), "")
    _untold[run.number] = run.name, f"{line[:500]}{'…' if len(line) > 500 else ''}"


def told(run: Named) -> None:
    """Forget a failure: the run was asked how it ended."""
    _untold.pop(run.number, None)


def forget() -> None:
    """In a forked child: forget all failures, which the parent reports."""
    _untold.clear()


def tell_failures() -> None:
    """Report the failures that were not asked for on stderr, once."""
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
    """End these runs, and report on stderr which did not end in time and which failed while ending."""
    runs = [run for run in runs if run not in _left_alone]
    for run in runs:
        run.request_stop()
    until = time.monotonic() + PATIENCE_S
    for run in runs:
        if _wait_for(run, until):
            run._join()
            if run.failure is not None:  # which also marks the failure as reported
                _say(f"{run.name} failed when the script was over: {run.failure}")
        else:
            _left_alone.append(run)
            busy = "; ".join(map(str, run.busy())) or "a reaction is busy"
            _say(
                f"{run.name} had not ended {PATIENCE_S:g} s after the script: {busy}. Its shutdown reactions did not run; run.stop() "
                f"waits, and says so earlier."
            )


def _wait_for(run: Any, until: float) -> bool:
    """Whether a run is over by then, or later if its reactions are and what it leaves is still written: a checkpoint may be large."""
    if run._finished.wait(max(until - time.monotonic(), 0.0)):
        return True
    if run._is_written:
        _say(f"{run.name} has ended; what is left of it is still written to {run.kept}.")
    while run._is_written:
        if run._finished.wait(0.5):  # in slices, so that Ctrl-C is noticed
            return True
    return False


def _say(words: str) -> None:
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            print(f"reactornb: {words}", file=sys.stderr)  # noqa: T201 - the script's last words
