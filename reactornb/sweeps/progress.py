"""How far a sweep is, in one line: counts, what runs, what time is left. For a terminal; a panel has its own.

Read by one thread, which has a `Progress` of its own; the runs only append to their logs.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from reactornb.runtime import Run
from reactornb.runtime.outlook import clock
from reactornb.sweeps.trial import Trial

__all__ = ["DONE", "Line", "Progress", "counts_in"]

DONE = ("finished", "failed", "pruned")
"""The states of trials of which nothing is left to do."""
_WIDTH = 100  # of a terminal that does not say


class Watched(Protocol):
    """A sweep as this module uses it."""

    name: str

    @property
    def trials(self) -> Sequence[Trial]: ...
    @property
    def total(self) -> int: ...
    @property
    def seconds(self) -> float: ...
    @property
    def best_score(self) -> float | None: ...


class Steps:
    """Environment steps that a run has logged so far, read on from where the last look ended."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._read = [0] * len(run.logs)
        self._steps = 0.0

    def look(self) -> float:
        """All of them."""
        for place, log in enumerate(self.run.logs):
            end = len(log)
            if end > self._read[place]:
                columns = log.columns(self._read[place], end)
                self._read[place] = end
                if "steps" in columns:
                    self._steps += float(columns["steps"].values.sum())
        return self._steps


class Progress:
    """How far a sweep's trials are.

    Args:
        sweep: the sweep.
    """

    def __init__(self, sweep: Watched) -> None:
        self._sweep = sweep
        self._steps: dict[int, Steps] = {}

    def share(self, trial: Trial) -> float:
        """The part of a trial that is done, from 0 to 1; 0 for a running one of which it is not known."""
        if trial.is_over:
            self._steps.pop(trial.number, None)
            return 1.0
        run = trial.run
        if run is None:
            return 0.0
        if trial.total:
            steps = self._steps.get(trial.number)
            if steps is None:
                steps = self._steps[trial.number] = Steps(run)
            return min(steps.look() / trial.total, 1.0)
        until = run.options.until_ns
        return min(run.tag.time_ns / until, 1.0) if until else 0.0

    def left_s(self) -> float | None:
        """Seconds that are left, if it goes on as it did; None while nothing is known."""
        sweep = self._sweep
        trials = list(sweep.trials)
        # What an earlier process had done took no time now.
        new = [trial for trial in trials if not trial.was_there]
        done = sum(self.share(trial) for trial in new)
        left = sweep.total - (len(trials) - len(new)) - done
        if done < 0.01 or not sweep.seconds:
            return None
        return sweep.seconds * left / done

    def line(self) -> str:
        """The line."""
        sweep = self._sweep
        counts = counts_in(sweep.trials)
        over = sum(count for state, count in counts.items() if state in DONE)
        parts = [f"{over} of {sweep.total} trials done"]
        parts += [
            f"{counts[state]} {state}" for state in ("running", "failed", "pruned", "stopped") if counts.get(state)
        ]
        best = sweep.best_score
        if best is not None:
            parts.append(f"best {best:.4g}")
        parts.append(clock(sweep.seconds))
        left = self.left_s()
        if left is not None and counts.get("running"):
            parts.append(f"{clock(left)} left")
        return f"{sweep.name}: {', '.join(parts)}"


def counts_in(trials: Sequence[Trial]) -> Mapping[str, int]:
    """How many trials are in each state."""
    counts: dict[str, int] = {}
    for trial in list(trials):
        counts[trial.state] = counts.get(trial.state, 0) + 1
    return counts


class Line:
    """Shows the line on stderr: in place on a terminal, elsewhere a line at ever longer intervals.

    Args:
        sweep: the sweep.
        shown: whether at all; None: on a terminal only.
    """

    def __init__(self, sweep: Watched, shown: bool | None = None) -> None:
        self._progress = Progress(sweep)
        self._is_terminal = _is_terminal()
        self.shown = self._is_terminal if shown is None else shown
        self._began = self._last = time.monotonic()
        self._wrote = False

    def look(self) -> None:
        """Show it, if it is time."""
        now = time.monotonic()
        pause = 1.0 if self._is_terminal else max(2.0, (now - self._began) / 10)
        if self.shown and now - self._last >= pause:
            self._last = now
            self._write(self._progress.line(), "\r" if self._is_terminal else "\n")

    def close(self) -> None:
        """Show it for the last time, so that it stays."""
        if self.shown and (self._wrote or not self._is_terminal):
            self._write(self._progress.line(), "\n")

    def _write(self, words: str, end: str) -> None:
        self._wrote = True
        width = shutil.get_terminal_size((_WIDTH, 24)).columns - 1
        text = f"\r{words[:width]:<{width}}" if self._is_terminal else words
        with contextlib.suppress(OSError, ValueError, AttributeError):  # nobody listens
            sys.stderr.write(f"{text}{end}")
            sys.stderr.flush()


def _is_terminal() -> bool:
    try:
        return bool(sys.stderr.isatty())
    except (AttributeError, ValueError):  # there is none, or it is closed
        return False
