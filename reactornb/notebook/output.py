"""Where `print` goes: that of a reaction to the log of its run, if the run has a panel; everything else to the cell, as ever.

A run that nobody shows prints below its cell, like any thread. `%reactor start` does not know yet whether its run will be shown
(it is when the line is the last of its cell), so its output is kept until the cell is over, or waits for it.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

from reactornb.runtime import Run, live_runs
from reactornb.runtime.workers import current_scheduler
from reactornb.viz.printed import Printed

__all__ = ["Output"]


class Output:
    """Stands in for `sys.stdout` while the notebook session lasts; whatever else is asked of it the real one answers.

    # _logs      id of a run's workers (the list that the schedulers of its enclaves share) -> (that list, log); changed under
    #            _lock, read without: one lookup of a dict, which either sees a change or does not. The list is kept as long
    #            as the log, so that its id stays its own.
    #            It also orders what a closed log kept before what its run prints from then on.
    # _keeping   written by the thread that runs cells only; a worker that reads it late prints below the cell
    """

    def __init__(self, real: Any) -> None:
        self._real = real
        self._lock = threading.Lock()
        self._logs: dict[int, tuple[Any, Printed]] = {}
        self._keeping = False
        self._undecided: list[Run] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def write(self, text: str) -> int:
        """Write to the log of the run that this thread works for, or to the real stream."""
        scheduler = current_scheduler()
        if scheduler is None:
            written: int = self._real.write(text)
            return written
        found = self._logs.get(id(scheduler.workers))
        if found is None:
            if not self._keeping:
                self._real.write(text)
                return len(text)
            found = self._made(scheduler.workers)
        rest = found[1].write(text, scheduler)
        if rest:
            with self._lock:  # not before `let_go` has written what was kept
                self._real.write(rest)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each."""
        for line in lines:
            self.write(line)

    def _made(self, workers: Any) -> tuple[Any, Printed]:
        with self._lock:
            return self._logs.setdefault(id(workers), (workers, Printed()))

    def install(self) -> None:
        """Take the place of `sys.stdout`."""
        sys.stdout = self

    def uninstall(self) -> None:
        """Give it back."""
        if sys.stdout is self:
            sys.stdout = self._real

    # -- whose output is kept: called by the thread that runs cells -------------------------------------------------

    def keep_new(self, keeping: bool) -> None:
        """While true, runs that begin print into logs of their own."""
        self._keeping = keeping

    def undecided(self, run: Run) -> None:
        """Keep what a run prints until it is shown or let go."""
        self._made(run._engine.workers)
        self._undecided.append(run)

    def of(self, run: Run) -> Printed:
        """The log of a run that is shown."""
        if run in self._undecided:
            self._undecided.remove(run)
        log = self._made(run._engine.workers)[1]
        log.reopen()
        return log

    def found(self, run: Run) -> Printed | None:
        """The log of a run, if it has one."""
        found = self._logs.get(id(run._engine.workers))
        return None if found is None or found[1].closed else found[1]

    def let_go(self) -> None:
        """The runs that were not shown print below the cell: what is kept of them now, and from now on."""
        for run in self._undecided:
            # The closed log stays: a thread in the middle of a line finds its beginning there.
            log = self._made(run._engine.workers)[1]
            with self._lock:
                self._real.write("".join(line + "\n" for line in log.close()))
        self._undecided.clear()
        if len(self._logs) > 100:  # logs of runs that are over and out of every panel
            alive = {id(run._engine.workers) for run in live_runs()}
            with self._lock:
                for key in [k for k in self._logs if k not in alive][:50]:
                    del self._logs[key]
