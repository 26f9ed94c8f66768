"""What a command does while its run goes on: show progress, stop the run on a signal, name the reaction that delays the stop.

The main thread polls the run a few times a second, at no cost to the run. This module knows nothing of program files and of the report on
a finished run.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from reactornb.cli.console import Console
from reactornb.cli.signals import SignalHandler, Signalled
from reactornb.runtime import Program, Run
from reactornb.runtime.outlook import Outlook, clock

__all__ = ["Meter", "begin", "follow"]

_POLL_S = 0.1
_EVERY_S = 1.0
_PATIENCE_S = 2.0
_MEAN_OF = 100
_RETURNS = ("episode_return", "mean_return", "eval_mean")


def begin(program: Program, **options: Any) -> Run:
    """Start a run as `Program.start` does; if a signal interrupts the start, return the run if it has begun."""
    before = program.last_run
    try:
        return program.start(**options)
    except Signalled:
        run = program.last_run
        if run is None or run is before:
            raise
        return run


def follow(
    run: Run, signals: SignalHandler, console: Console, *, progress: bool | None = None, walltime_s: float | None = None
) -> None:
    """Wait until a run is over. A signal ends it in order, a second one gives it up.

    Args:
        run: the run; it has been started.
        signals: the handler of signals.
        console: for messages and progress.
        progress: show progress, at most once a second; None: if `console` is a terminal.
        walltime_s: seconds of physical time after which the run is ended in order; None: never.
    """
    signals.phase("running")
    if progress is None:
        progress = console.is_terminal
    meter = Meter(run, console) if progress else None
    asked, asked_s = False, 0.0
    said: list[str] = []
    with console.sharing_terminal():
        while not run.wait(_POLL_S):
            if not asked and (signals.count or (walltime_s is not None and run.seconds >= walltime_s)):
                asked, asked_s = True, run.seconds
                run.request_stop()
            elif signals.count > 1:
                run.abandon()
            elif asked:
                busy = run.busy()
                names = [b.reaction for b in busy] or (["no reaction"] if run.seconds - asked_s >= _PATIENCE_S else [])
                if names and names != said and not (said and not busy):
                    said = names
                    again = "a second signal" if signals.count else "two signals"
                    what = (
                        "; ".join(map(str, busy))
                        or f"the run goes on at tag {run.tag} to the tag at which it is to end"
                    )
                    console.say(
                        f"{signals.name or 'walltime'}: {what}. {'The run ends once it returns; ' if busy else ''}{again} will give the run up."
                    )
            if meter is not None and not said:
                meter.update()
    signals.phase("writing")


class Meter:
    """Shows the progress of a run in one line.

    Args:
        run: the run.
        console: where to show it.
    """

    def __init__(self, run: Run, console: Console) -> None:
        self._run = run
        self._console = console
        self._last_s = 0.0
        self._before = (0.0, 0.0, 0)  # seconds, steps and reactions when it was last shown
        self._read: list[int] = []
        self._steps = 0.0
        self._outlook = Outlook(run)
        self._values: dict[str, deque[float]] = {}

    def update(self) -> None:
        """Show the line if the last one is a second old; where lines cannot change in place, at ever longer intervals."""
        now = self._run.seconds
        terminal = self._console.is_terminal
        if now - self._last_s < (_EVERY_S if terminal else max(_EVERY_S, now / 20)):
            return
        self._last_s = now
        (self._console.show if terminal else self._console.say)(self.line())

    def line(self) -> str:
        """The line."""
        run = self._run
        self._read_logs()
        seconds, reactions = run.seconds, run.reactions
        then, steps, ran = self._before
        self._before = (seconds, self._steps, reactions)
        passed = max(seconds - then, 1e-9)
        parts = [f"{run.program.name} {clock(seconds)}"]
        ahead = self._outlook.look(self._steps)
        parts += ahead.words if ahead is not None else []
        if self._steps:
            if not self._outlook.total_steps:
                parts.append(f"steps {self._steps:,.0f}")
            parts.append(f"{(self._steps - steps) / passed:,.0f} steps/s")
        else:
            if ahead is None:
                parts.append(f"tag {run.tag}")
            parts.append(f"{(reactions - ran) / passed:,.0f} reactions/s")
        for name, values in self._values.items():
            many = f" (mean of {len(values)})" if len(values) > 1 else ""
            parts.append(f"{name} {sum(values) / len(values):.4g}{many}")
        waiting = run.waiting_for
        if waiting and not waiting.startswith("physical time"):
            parts.append(f"waiting for {waiting}")
        return ", ".join(parts)

    def _read_logs(self) -> None:
        """Add what was logged since the last line: the steps, and the newest returns."""
        logs = self._run.logs
        self._read = self._read or [0] * len(logs)
        for index, log in enumerate(logs):
            end = len(log)
            columns = log.columns(self._read[index], end)
            self._read[index] = end
            if "steps" in columns:
                self._steps += float(columns["steps"].values.sum())
            for name in _RETURNS:
                if name in columns:
                    self._values.setdefault(name, deque(maxlen=_MEAN_OF)).extend(
                        columns[name].values[-_MEAN_OF:].tolist()
                    )
