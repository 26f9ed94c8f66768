"""What `Program` and `Run` ask of whoever keeps a run on disk: `reactornb.durable`, which is above the runtime.

The runtime imports nothing of it: it is named here, and loaded when the first run is to be kept. A run that nobody keeps loads none of it.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from reactornb.options import RunOptions
from reactornb.runtime.cut import Cut, Keeper
from reactornb.runtime.outside_rows import OutsideLog, Replay

__all__ = ["Kept", "keep"]

_KEEPING = "reactornb.durable.keeping"


class Kept(Keeper, Protocol):
    """A run's folder and what is written there.

    Attributes:
        path: the folder; None if the run is only given back its state.
        start_from: the run goes on from here; None: it is a new one.
        outside_log: takes what comes from outside.
        outside_replay: what came from outside after `start_from`, to be repeated; None: nothing.
        began_s: when the run began, by `time.perf_counter`, as if it had never been interrupted.
    """

    path: Path | None
    start_from: Cut | None
    outside_log: OutsideLog | None
    outside_replay: Replay | None
    began_s: float

    def begin(self, run: Any) -> None:
        """The run, whose threads exist, begins in a moment."""
        ...

    def checkpoint(self, name: str | None, timeout: float | None) -> Any:
        """Write one now and wait until it is safe; any thread that is none of the run's."""
        ...

    def ended(self, failure: BaseException | None, *, abandoned: bool = False) -> None:
        """The run is over: write what is left, and let go of the folder. Called once or more, on any thread."""
        ...

    def leave_behind(self) -> None:
        """In a forked child, which has none of the threads: forget the folder and touch nothing of it."""
        ...

    def give_up(self) -> None:
        """The run does not begin: leave no folder that was not there before."""
        ...


def keep(program: Any, options: RunOptions) -> Kept:
    """Make the folder of a new run, as `options.keep` and `options.checkpoint` say.

    Raises:
        ReactorError: if there is one of that name, or the name is none.
        OSError: if the system refuses.
    """
    kept: Kept = import_module(_KEEPING).keep(program, options)
    return kept
