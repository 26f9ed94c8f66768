"""What `Program` and `Engine` ask of whoever has a part of a run executed elsewhere: `reactornb.cluster`, which is above the runtime.

The runtime imports nothing of it: it is named here, and loaded when the first run is to be placed. A run that is not loads none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NamedTuple, Protocol

from reactornb.graph import Graph
from reactornb.options import RunOptions
from reactornb.runtime.enclaves import Gate
from reactornb.runtime.scheduler import Scheduler
from reactornb.runtime.trace import Recorder
from reactornb.tags import Tag, format_ns

__all__ = ["HostRow", "HostTable", "Placed", "place"]

_PLACING = "reactornb.cluster.placing"


class HostRow(NamedTuple):
    """A host of a run, for display.

    Attributes:
        share: its number.
        machine: name of its machine and number of its process; "" where that is this process, or nobody knows.
        reactors: at the top of what it executes.
        tag: that it has executed last, as far as this process knows.
        lag: by how many seconds of logical time it is behind the latest tag of the run.
        tags, reactions: how many it has executed.
        cpu_s: processor time of its process, in seconds.
        bytes_sent, bytes_received: over its link, by this process.
        restarts: how often it was replaced.
    """

    share: int
    machine: str
    reactors: tuple[str, ...]
    tag: Tag
    lag: float
    tags: int
    reactions: int
    cpu_s: float
    bytes_sent: int
    bytes_received: int
    restarts: int


class HostTable(tuple[HostRow, ...]):
    """The hosts of a run as they are at a moment; shown as a table."""

    __slots__ = ()

    TITLES = ("host", "machine", "share", "tag", "lag", "CPU s", "sent", "received", "restarts")

    def cells(self) -> list[tuple[str, ...]]:
        """A row of words for each host, under `TITLES`."""
        return [
            (
                str(row.share), row.machine or "here", folded(row.reactors), f"{format_ns(row.tag.time_ns)}, {row.tag.microstep:,}",
                f"{row.lag * 1e3:,.0f} ms", f"{row.cpu_s:,.1f}", _bytes(row.bytes_sent), _bytes(row.bytes_received), f"{row.restarts:,}",
            )
            for row in self
        ]  # fmt: skip

    def __str__(self) -> str:
        cells = [self.TITLES, *self.cells()]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in cells)

    __repr__ = __str__


def folded(names: Sequence[str]) -> str:
    """Names of reactors without the program's, members of one bank as one: `rollouts[0…3]`."""
    short = [name.partition(".")[2] or name for name in names]
    banks: dict[str, list[str]] = {}
    for name in short:
        bank, _, index = name.removesuffix("]").rpartition("[") if name.endswith("]") else (name, "", "")
        banks.setdefault(bank, []).append(index)
    return ", ".join(
        bank if indexes == [""] else f"{bank}[{indexes[0]}{'…' + indexes[-1] if len(indexes) > 1 else ''}]"
        for bank, indexes in banks.items()
    )


def _bytes(count: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} B"


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

    @property
    def hosts(self) -> HostTable:
        """What executes them, for display; any thread."""
        ...

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
