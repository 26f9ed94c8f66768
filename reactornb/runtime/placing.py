"""What `Program` and `Engine` ask of whoever has a part of a run executed elsewhere: `reactornb.cluster`, which is above the runtime.

The runtime imports nothing of it: it is named here, and loaded when the first run is to be placed. A run that is not loads none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Protocol

from reactornb.graph import Graph
from reactornb.options import RunOptions
from reactornb.runtime.enclaves import Gate
from reactornb.runtime.scheduler import Scheduler
from reactornb.runtime.trace import Recorder

__all__ = ["Placed", "place"]

_PLACING = "reactornb.cluster.placing"


class Placed(Protocol):
    """The part of a run that is executed elsewhere.

    Attributes:
        graph: of the run: each share, what is executed together in one other place, is one enclave of it. The others come first.
        elsewhere: the numbers of these enclaves.
        workers: how many threads each of the places has that execute them, in the order of the shares.
    """

    graph: Graph
    elsewhere: frozenset[int]
    workers: Sequence[int]

    def scheduler(self, enclave: int, **options: Any) -> Scheduler:
        """Stands for the scheduler of an enclave that is executed elsewhere; options as `Scheduler` has them, but for graph and leader."""
        ...

    def gate(
        self, schedulers: Sequence[Scheduler], recorder: Recorder, elapsed_ns: Callable[[], int], *, fast: bool
    ) -> Gate:
        """The gate between all enclaves of the run."""
        ...

    def open(self, engine: Any) -> None:
        """Have the shares made ready, and wait for it. Nothing of the run is executed before `begin`. On a thread that nothing interrupts.

        Raises:
            ReactorError: if one cannot run where it is to; then `close` is called.
        """
        ...

    def begin(self) -> None:
        """The run begins."""
        ...

    def close(self) -> None:
        """The run is over, or does not begin: let go of all. Any thread, once or more; does not wait."""
        ...

    def join(self) -> None:
        """Wait until every thread is gone, but for the calling one."""
        ...


def place(program: Any, options: RunOptions) -> Placed:
    """What is to be executed elsewhere, as `options.place` says.

    Raises:
        ReactorError: if that is no part of the program that could be.
    """
    placed: Placed = import_module(_PLACING).place(program, options)
    return placed
