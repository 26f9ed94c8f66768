"""The hub: the part of a run that hosts execute, in the process that has the run.

It makes of each share a `RemoteScheduler` with a thread of its own, and connects it to a host: through what `place=` was given, of which it asks
no more than `HostEngine` says. See README.md for the picture.

# connections   written by `open`, on the thread that starts the run, before any driver's; read by drivers and by `close`
# _closed       set once, under _lock, by whoever closes first
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from reactornb.cluster.errors import LinkLostError
from reactornb.cluster.gate import HubGate
from reactornb.cluster.host import Link, NoPlace
from reactornb.cluster.messages import Bye, Program, Restore
from reactornb.cluster.past import Past
from reactornb.cluster.remote import RemoteScheduler
from reactornb.cluster.times import IncomingTimes
from reactornb.cluster.values import Values
from reactornb.cluster.waking import LinkWake
from reactornb.durable.objects import Known
from reactornb.graph import Graph, grouped
from reactornb.options import RunOptions
from reactornb.runtime.placing import HostRow, HostTable
from reactornb.runtime.scheduler import Scheduler
from reactornb.runtime.trace import Recorder
from reactornb.runtime.workers import make_workers

__all__ = ["Connections", "HostEngine", "Hub", "ShareSpec"]


class Connections(Protocol):
    """The links of one run to its hosts."""

    def link(self, share: int, attempt: int, timeout_s: float | None = None) -> Link:
        """A host for a share, which has proved itself; the one of an earlier attempt counts no more.

        Raises:
            ReactorError: if there is none in time.
        """
        ...

    def close(self) -> None:
        """The run is over: end the hosts that are left."""
        ...


class HostEngine(Protocol):
    """Where hosts come from: subprocesses, a Dask cluster, threads.

    Attributes:
        count: how many hosts there are to be.
        workers: threads of each; None: as many as the run has.
        restarts: how often the host of a share is replaced until the run is given up.
    """

    count: int
    workers: int | None
    restarts: int

    def pack(self, program: Any) -> bytes:
        """A program for the way to such a host.

        Raises:
            ShipError: if it cannot travel.
        """
        ...

    def open(self, shares: int, /) -> Connections:
        """Make ready for so many shares."""
        ...


@dataclass(frozen=True, slots=True)
class ShareSpec:
    """What one host is to execute.

    Attributes:
        enclaves: as they were declared, by number.
        engine: where its host comes from.
        local: its number among the shares of that engine.
    """

    enclaves: tuple[int, ...]
    engine: HostEngine
    local: int


class Hub:
    """The shares of one run; a `Placed`.

    Args:
        program: what is run.
        options: how.
        shares: one for each host.
    """

    def __init__(self, program: Any, options: RunOptions, shares: Sequence[ShareSpec]) -> None:
        declared: Graph = program.graph
        self.graph = grouped(declared, [share.enclaves for share in shares])
        first = len(self.graph.enclaves) - len(shares)
        self.elsewhere = frozenset(range(first, len(self.graph.enclaves)))
        self.members: list[RemoteScheduler] = []
        self.connections: dict[int, Connections] = {}
        assert options.workers is not None
        self.workers = [share.engine.workers or options.workers for share in shares]
        self._first = first
        self._program = program
        self._declared = declared
        self._options = options
        self._shares = shares
        self._values = Values(Known(dict.fromkeys(node.cls for node in declared.reactors)))
        self._packed: dict[int, bytes] = {}
        self._drivers = make_workers(
            len(shares), f"driver of {program.name}", lambda _: NoPlace(), 1, patient=False
        )  # fmt: skip
        self._begun = threading.Event()
        self._lock = threading.Lock()
        self._closed = False
        self._engine: Any = None

    # -- see `Placed` -------------------------------------------------------------------------------------------------------

    def scheduler(self, enclave: int, **options: Any) -> Scheduler:
        """See `Placed`."""
        share = enclave - self._first
        driver = self._drivers[share]
        driver.wake, driver.spins = LinkWake(), False
        member = RemoteScheduler(
            self.graph, enclave, driver, share=share, values=self._values, elsewhere=self.elsewhere,
            restarts=self._shares[share].engine.restarts, connect=lambda attempt, past: self._connect(share, attempt, past), **options,
        )  # fmt: skip
        driver.enclaves.append(member)
        driver.clock = options["clock"]
        driver.hold = self._begun.wait
        self.members.append(member)
        return member

    def gate(
        self, schedulers: Sequence[Scheduler], recorder: Recorder, elapsed_ns: Callable[[], int], *, fast: bool
    ) -> HubGate:
        """See `Placed`."""
        return HubGate(self.graph, self._declared, self.elsewhere, schedulers, recorder, elapsed_ns, fast=fast)

    def open(self, engine: Any) -> None:
        """See `Placed`."""
        self.prepare(engine)
        failures: list[BaseException] = []

        def open_one(member: RemoteScheduler) -> None:
            try:
                member.open()
            except BaseException as error:  # noqa: BLE001 - raised below
                failures.append(error)

        threads = [threading.Thread(target=open_one, args=(m,), name=f"reactornb-open-{m.share}") for m in self.members]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        for driver in self._drivers:
            driver.thread.start()

    def prepare(self, engine: Any) -> None:
        """Pack the program, and open the way to the hosts."""
        self._engine = engine
        if engine.profiler is not None:
            reactors, reactions = self.graph.reactors, self.graph.reactions
            for member, times in zip(self.members, engine.profiler.hosts, strict=True):
                own = [i for i, r in enumerate(reactions) if reactors[r.reactor].enclave == member.enclave]
                member.times = IncomingTimes(times, own, len(reactions), engine.profiler.began_ns)
        for share in self._shares:
            key = id(share.engine)
            if key not in self.connections:
                self._packed[key] = share.engine.pack(self._program)
                self.connections[key] = share.engine.open(sum(one.engine is share.engine for one in self._shares))

    def begin(self) -> None:
        """See `Placed`."""
        self._begun.set()

    def close(self) -> None:
        """See `Placed`."""
        with self._lock:
            closed, self._closed = self._closed, True
        if closed:
            return
        for driver in self._drivers:
            driver.quit()
        self._begun.set()
        for member in self.members:
            if member.link is not None:
                with contextlib.suppress(LinkLostError):
                    member.link.send(Bye("the run is over"))

    def join(self) -> None:
        """See `Placed`."""
        here = threading.current_thread()
        for driver in self._drivers:
            if driver.thread.ident is not None and driver.thread is not here:
                driver.thread.join()
        if all(driver.quitting for driver in self._drivers) and here not in [d.thread for d in self._drivers]:
            for connections in self.connections.values():
                connections.close()
            for member in self.members:
                member.close()

    # -- hosts --------------------------------------------------------------------------------------------------------------

    def _connect(self, share: int, attempt: int, past: Past) -> Link:
        """A link to a host that is told what to execute."""
        spec, options = self._shares[share], self._options
        key = id(spec.engine)
        link = self.connections[key].link(spec.local, attempt)
        if past.state is not None:
            link.send(Restore(past.seq, past.state))
        keepalive = self.members[share].machine.keepalive
        link.send(
            Program(
                share=share,
                shares=tuple(one.enclaves for one in self._shares),
                program=self._packed[key],
                seed=options.seed,
                workers=self.workers[share],
                until_ns=options.until_ns,
                fingerprint=options.fingerprint,
                start_time_ns=self._engine.schedulers[0].start_time_ns,
                keepalive=keepalive,
                kept_spans=0 if self._engine.profiler is None else self._engine.profiler.kept,
            )
        )
        return link

    @property
    def hosts(self) -> HostTable:
        """See `Placed`."""
        latest = max((s.current_tag().time_ns for s in self._engine.schedulers), default=0) if self._engine else 0
        return HostTable(self._row(member, latest) for member in self.members)

    def _row(self, member: RemoteScheduler, latest_ns: int) -> HostRow:
        tag, link = member.current_tag(), member.link
        return HostRow(
            member.share,
            member.machine_name,
            tuple(self.graph.reactors[top].name for top in self.graph.enclaves[member.enclave]),
            tag,
            max(latest_ns - tag.time_ns, 0) / 1e9,
            member.tags_done,
            member.reactions_done,
            member.cpu_ns / 1e9,
            getattr(link, "bytes_sent", 0),
            getattr(link, "bytes_received", 0),
            member.attempt,
        )
