"""The names that Lingua Franca's Python target gives to reaction bodies and preambles: `lf`, `SEC`, `request_stop`, ….

They find their run through the thread that calls them: each worker belongs to one run, and so does a thread that a reaction started
(`runtime/threads.py`). On any other thread, such as one that a preamble started, it is the only run of the program.
"""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reactornb import tags
from reactornb.errors import ReactorError, RunError
from reactornb.runtime import Run, live_runs, workers
from reactornb.runtime.context import ReactionContext
from reactornb.runtime.handles import InPort
from reactornb.runtime.threads import scheduler_here

__all__ = ["LFInPort", "LFNames", "LFTag"]


@dataclass(frozen=True, order=True)
class LFTag:
    """A tag as Lingua Franca's Python target has it: `time` counts from the epoch, in ns."""

    time: int
    microstep: int = 0

    def __repr__(self) -> str:
        return f"Tag(time={self.time}, microstep={self.microstep})"


class LFInPort(InPort):
    """An input as Lingua Franca's Python target has it: its reactor may give it a value to keep, and ask when it was meant to come."""

    __slots__ = ()

    def set(self, value: Any) -> None:
        """Give the port a value to keep until one arrives."""
        self.value = value

    @property
    def intended_tag(self) -> LFTag:
        """The tag for which the value was meant: in one process no message is late, so it is the current one."""
        c = _running()
        return LFTag(c.start_time_ns + c.time_ns, c.microstep)

    @property
    def physical_time_of_arrival(self) -> int:
        """Physical time in ns since the epoch; in one process a value arrives when the reaction that asks begins."""
        c = _running()
        return c.start_time_ns + c.physical_elapsed_ns()


def _running() -> ReactionContext:
    scheduler: ReactionContext | None = workers.current_scheduler()
    if scheduler is None:
        raise RuntimeError("when a message was meant to come has a meaning only inside reactions")
    return scheduler


class FederationError(ReactorError, NotImplementedError):
    """Something that only a federation of processes can do."""


class Make:
    """An empty object that programs give attributes."""


def _unit(size: int) -> Callable[[float], int]:
    def convert(value: float) -> int:
        return value * size if isinstance(value, int) else round(value * size)

    return convert


_UNITS = {
    "NSEC": 1,
    "USEC": 1_000,
    "MSEC": 1_000_000,
    "SEC": 1_000_000_000,
    "MINUTE": 60_000_000_000,
    "HOUR": 3_600_000_000_000,
    "DAY": 86_400_000_000_000,
    "WEEK": 604_800_000_000_000,
}


class _Time:
    """`lf.time`."""

    def __init__(self, names: LFNames) -> None:
        self._names = names

    def logical(self) -> int:
        """Logical time in ns since the epoch."""
        c = self._names.context
        return c.start_time_ns + c.time_ns

    def logical_elapsed(self) -> int:
        """Logical time in ns since the start."""
        return self._names.context.time_ns

    def physical(self) -> int:
        """Physical time in ns since the epoch."""
        c = self._names.context
        return c.start_time_ns + c.physical_elapsed_ns()

    def physical_elapsed(self) -> int:
        """Physical time in ns since the start."""
        return self._names.context.physical_elapsed_ns()

    def start(self) -> int:
        """When the run began, in ns since the epoch."""
        return self._names.context.start_time_ns


class LFNames:
    """The object `lf` of one program, and the globals of its code.

    # _namespace   written before the program's code is compiled, then only read
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._namespace: dict[str, Any] | None = None
        self._maxwait = 0
        self.time = _Time(self)

    @property
    def context(self) -> ReactionContext:
        """The scheduler of the run that asks.

        Raises:
            RunOverError: on a thread that a reaction of a run started that has ended.
            RunError: on a thread of no run, unless one run of the program is alive.
        """
        mine = scheduler_here()
        if mine is not None:
            return mine
        runs = [run for run in live_runs() if self._is_mine(run)]
        if len(runs) != 1:
            why = "no run of it is alive" if not runs else f"{len(runs)} runs of it are alive"
            raise RunError(
                f"lf.… has a meaning only while the program runs: {why}, and no reaction started this thread. Start it in a reaction to startup."
            )
        scheduler: ReactionContext = runs[0].schedulers[0]
        return scheduler

    def _is_mine(self, run: Run) -> bool:
        bodies = [r.declaration.fn for r in run.program.graph.reactions if r.declaration is not None]
        return any(getattr(body, "__globals__", None) is self._namespace for body in bodies)

    def tag(self) -> LFTag:
        """The current tag."""
        c = self.context
        return LFTag(c.start_time_ns + c.time_ns, c.microstep)

    def tag_start_effective(self) -> LFTag:
        """When this federate started; here always the start of the run."""
        return LFTag(self.context.start_time_ns, 0)

    def tag_compare(self, left: LFTag, right: LFTag) -> int:
        """-1, 0 or 1 as `left` is before, at or after `right`."""
        return (left > right) - (left < right)

    def request_stop(self) -> None:
        """End the run at the next microstep."""
        self.context.request_stop()

    def stop(self) -> None:
        """For one federate to leave its federation; there is none to leave."""
        raise FederationError(
            "lf.stop() lets one federate leave; all run in one process here. lf.request_stop() ends the program."
        )

    def get_federation_id(self) -> str:
        """For launching a federate from another; there is none."""
        raise FederationError(
            "lf.get_federation_id() is for launching federates; all run in one process here, from its start."
        )

    def source_directory(self) -> str:
        """The folder of the main program."""
        return str(self._file.parent)

    def package_directory(self) -> str:
        """The parent of the nearest `src` folder above the main program, or the program's own folder."""
        return str(package_root(self._file))

    def get_fed_maxwait(self) -> int:
        """The federate's maxwait in ns; kept, and without effect in one process."""
        return self._maxwait

    def set_fed_maxwait(self, value: float) -> None:
        """Set it."""
        self._maxwait = int(value)

    def globals(self) -> dict[str, Any]:
        """A fresh namespace for the program's code."""
        names: dict[str, Any] = {name: _unit(size) for name, size in _UNITS.items()}
        names |= {name + "S": convert for name, convert in names.items()}
        names |= {
            "__name__": f"lf_{self._file.stem}",
            "__file__": str(self._file),
            "BILLION": 1_000_000_000,
            "FOREVER": tags.forever,
            "NEVER": tags.never,
            "Make": Make,
            "Tag": LFTag,
            "copy": copy,
            "exit": sys.exit,
            "get_fed_maxwait": self.get_fed_maxwait,
            "instant_t": int,
            "interval_t": int,
            "lf": self,
            "os": os,
            "quit": sys.exit,
            "request_stop": self.request_stop,
            "set_fed_maxwait": self.set_fed_maxwait,
            "sys": sys,
        }
        self._namespace = names
        return names


def package_root(file: Path) -> Path:
    """The folder above the nearest `src` that holds `file`; its own folder where there is none."""
    for parent in file.parents:
        if parent.name == "src":
            return parent.parent
    return file.parent
