"""Runs that a script leaves behind: they end in order, with their shutdown reactions, before the interpreter goes.

Python first waits for the threads that are no daemons, and forbids new work to thread pools, and only then calls what `atexit` was
given. That is too late for a run: its shutdown reactions end such threads, and use such pools. So runs end before that.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reactornb.runtime.run import Run

__all__ = ["PATIENCE_S", "end", "register"]

# How long all runs together have for their end. A reaction that does not return by then is left where it is.
PATIENCE_S = 5.0

_registered: set[Callable[[], None]] = set()
_left_alone: list[Run] = []  # those that had not ended in time; only the thread that ends the interpreter looks


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


def end(runs: Sequence[Run]) -> None:
    """End these runs, and say on stderr which could not be ended, and which failed in doing so."""
    runs = [run for run in runs if run not in _left_alone]
    for run in runs:
        run.busy()  # what does not move from now on is told
        run._engine.command(stop=True)
    until = time.monotonic() + PATIENCE_S
    for run in runs:
        while (
            run._engine.driven and _is_mine(run._engine.driver) and run._engine.advance() and time.monotonic() < until
        ):
            run._finished.wait(0.001)  # as in `Run.stop`
        if run._finished.wait(max(until - time.monotonic(), 0.0)):
            run._join()
            if run.failure is not None:
                _say(f"{run.name} failed when the script was over: {run.failure}")
        else:
            _left_alone.append(run)
            busy = "; ".join(map(str, run.busy())) or "a reaction is busy"
            _say(
                f"{run.name} had not ended {PATIENCE_S:g} s after the script: {busy}. Its shutdown reactions did not run; run.stop() "
                f"waits, and says so earlier."
            )


def _is_mine(driver: int | None) -> bool:
    """Whether this thread may advance a run: nobody has, this thread did, or the one that did is gone."""
    return driver in (None, threading.get_ident()) or all(t.ident != driver for t in threading.enumerate())


def _say(words: str) -> None:
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            print(f"reactornb: {words}", file=sys.stderr)  # noqa: T201 - the script's last words
