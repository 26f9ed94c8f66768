"""A host: executes one share of a program, as one scheduler over its workers, and speaks with the hub.

    serve(link)      in a process of its own, or on a thread: all of it
    Share            the share's threads, schedule and scheduler; `move` is what its leader does, for tests that choose who moves next

What a reaction of a share may not do, since its clock is another one, is refused before the run begins; the clock itself when it is read.
"""

from __future__ import annotations

import contextlib
import os
import platform
import traceback
from collections.abc import Callable
from typing import Any, Protocol, Self, override

from reactornb.cluster.errors import LinkLostError, RemotePhysicalError
from reactornb.cluster.messages import Abort, Bye, Failed, Program, Ready, Refused, Restore, Saved
from reactornb.cluster.rows import Lines, Outgoing
from reactornb.cluster.saving import ShareKeeper, restore_share, saved_share
from reactornb.cluster.share import ShareGate
from reactornb.cluster.ship import unpack_program
from reactornb.cluster.times import OutgoingTimes
from reactornb.cluster.values import Values
from reactornb.cluster.waking import Bell, LinkWake
from reactornb.cluster.wire import Message
from reactornb.durable.objects import Known
from reactornb.errors import ReactionError
from reactornb.graph import Graph, grouped
from reactornb.model import Reactor
from reactornb.runtime import intraop
from reactornb.runtime.clock import RealClock
from reactornb.runtime.launch import Done
from reactornb.runtime.notices import Notices
from reactornb.runtime.profile import Profiler
from reactornb.runtime.schedule import Schedule
from reactornb.runtime.scheduler import Scheduler
from reactornb.runtime.trace import Recorder
from reactornb.runtime.workers import Worker, act_as, make_workers
from reactornb.tags import forever

__all__ = ["HostScheduler", "Link", "Share", "serve"]


class Link(Protocol):
    """A connection to the other side."""

    def send(self, message: Message) -> None:
        """Send a message; any thread, blocks where the other side does not keep up.

        Raises:
            LinkLostError: if the link is closed.
        """
        ...

    def receive(self, timeout_s: float | None = None, bell: Bell | None = None) -> Message | None:
        """The next message; None after so many seconds without one, or once the bell is rung. One thread.

        Raises:
            LinkLostError: if the link is closed.
        """
        ...

    def close(self) -> None:
        """Close it; any thread, once or more."""
        ...


class HostScheduler(Scheduler):
    """The scheduler of a share.

    Attributes:
        share_gate: its gate.
        sole: the reactor at the top of its declared enclave, if it is only one; -1: it is several.
    """

    __slots__ = ("share_gate", "sole")

    share_gate: ShareGate
    sole: int

    @override
    def go(self, me: Worker) -> int:
        gate = self.share_gate
        try:
            if not self.over:
                gate.take_in()
            until = super().go(me)
            if not self.over:
                gate.report()
        except LinkLostError:  # it is told as what came last, which ends the share
            gate.closed = True
            return forever
        return until

    @override
    def request_stop(self) -> None:
        self.end_asked_by(self.sole)

    def end_asked_by(self, reactor: int) -> None:
        """A reaction of this reactor asks for the end; any worker."""
        if self.discarding < 0:
            self.share_gate.askers.append(reactor)
            super().request_stop()

    @override
    def physical_elapsed_ns(self, reader: Reactor | None = None) -> int:
        who = "a reaction" if reader is None else reader.full_name
        raise RemotePhysicalError(
            f"{who} reads the clock, and runs on another host, whose clock is another one. Read it in a reactor that is not placed, and send "
            f"the time; or place something else.",
            what=(who,),
            source=None,
        )


class _Member:
    """What a reactor asks of a share that is several enclaves: its scheduler, which is to know who asks for the end."""

    def __init__(self, scheduler: HostScheduler, reactor: int) -> None:
        self._scheduler = scheduler
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scheduler, name)

    def request_stop(self) -> None:
        """See `Context`."""
        self._scheduler.end_asked_by(self._reactor)


class _Elsewhere:
    """Stands for the scheduler of an enclave that this host does not execute."""

    def post(self, *_: Any) -> None:
        """See `Scheduler`."""

    def with_deadline(self, body: Callable[[], None], *_: Any) -> Callable[[], None]:
        """See `Scheduler`."""
        return body

    def watchdog(self, *_: Any) -> tuple[Callable[..., None], Callable[[], None]]:
        """See `Scheduler`."""
        return _nothing, _nothing


def _nothing(_: int = 0) -> None:
    return None


class NoPlace:
    """A worker's thread runs on whatever core there is."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def loosen(self) -> bool:
        """See `Place`."""
        return False

    def tighten(self) -> None:
        """See `Place`."""


class Share:
    """One share of one run, on this host.

    Args:
        declared: the program's graph.
        options: what the hub says of the run.
        send: sends a message to the hub; its `LinkLostError` ends the share.

    Attributes:
        over: happens when the share's execution has ended, or has failed.
        left: happens when the hub has nothing more to say, or is gone; `left_by` is the error, if it was one.

    # _broken   written by worker 0 before _built, read after it
    # left_by   written by worker 0 before left, read after it
    """

    def __init__(self, declared: Graph, options: Program, send: Callable[[Message], None]) -> None:
        graph = grouped(declared, options.shares)
        enclave = len(graph.enclaves) - len(options.shares) + options.share
        self.enclave = enclave
        self.over, self.left = Done(), Done()
        self.left_by: Exception | None = None
        self._graph = graph
        self._declared = declared
        self._options = options
        self._send = send
        self._built, self._begun = Done(), Done()
        self._broken: BaseException | None = None
        crowded = options.workers > (os.cpu_count() or 1)
        self.workers = make_workers(
            options.workers, f"share-{options.share}", lambda _: NoPlace(), 1, patient=not crowded, crowded=crowded
        )
        self._wake = LinkWake()
        self.workers[0].wake, self.workers[0].spins = self._wake, False
        self._lines = Lines()
        self._recorder = Recorder(fingerprint=options.fingerprint)
        keep = options.kept_spans * options.workers
        self._profiler = Profiler(graph, options.workers, keep) if keep else None
        self.clock = RealClock()
        self.scheduler = HostScheduler(
            graph, enclave, self.workers[0], self.workers, clock=self.clock, timeout=options.until_ns, fast=True,
            keepalive=options.keepalive, recorder=self._recorder, notices=Notices(f"share {options.share}"), printed=self._lines,
            profiled=self._profiler is not None, on_end=self._ended,
        )  # fmt: skip
        self._known = Known(dict.fromkeys(node.cls for node in graph.reactors))
        self.gate = ShareGate(graph, declared, self.scheduler, Values(self._known), send, self.saved, self._wake.look)
        self.scheduler.gate = self.scheduler.share_gate = self.gate
        self.scheduler.keeper = self._keeper = ShareKeeper(self._known)
        self.workers[0].enclaves.append(self.scheduler)
        self._restore: Restore | None = None

    # -- building -----------------------------------------------------------------------------------------------------------

    def build(self, restore: Restore | None = None) -> None:
        """Make the schedule; on worker 0, or whoever acts as it.

        Args:
            restore: the state from which to go on; None: from the first tag.

        Raises:
            BaseException: what a parameter or state factory raises.
        """
        graph, scheduler = self._graph, self.scheduler
        contexts: list[Any] = [_Elsewhere() for _ in graph.enclaves]
        contexts[self.enclave] = scheduler
        elsewhere = frozenset(range(len(graph.enclaves))) - {self.enclave}
        profiler = self._profiler
        schedule = Schedule(
            graph, contexts, self._options.seed, record=self._recorder.records_values, elsewhere=elsewhere,
            timed=None if profiler is None else profiler.timed,
        )  # fmt: skip
        own = {node.index: schedule.instances[node.index] for node in graph.reactors if node.enclave == self.enclave}
        tops = graph.enclaves[self.enclave]
        scheduler.sole = tops[0] if len(self._options.shares[self._options.share]) == 1 else -1
        if scheduler.sole < 0:
            for index, instance in own.items():
                object.__setattr__(instance, "_context", _Member(scheduler, index))
        self.clock.start()
        scheduler.adopt(schedule, self._options.start_time_ns)
        if restore is not None:
            restore_share(restore, graph, scheduler, self._keeper, self.workers[0], self.gate)
        self.gate.outgoing = Outgoing(own, self._lines, self._recorder)
        if profiler is not None:
            self.gate.times = OutgoingTimes(
                profiler.own, [i for i, r in enumerate(graph.reactions) if r.reactor in own]
            )

    def start(self, restore: Restore | None = None) -> None:
        """Start the threads, and wait until the schedule is built.

        Raises:
            BaseException: as `build`; then no thread is left.
        """
        self._restore = restore
        self.workers[0].first = self._build
        for worker in self.workers:
            worker.clock, worker.holds = self.clock, True
            worker.hold = self._begun.wait
        intraop.watch(self)
        for worker in self.workers:
            worker.thread.start()
        self._built.wait()
        if self._broken is not None:
            self.end()
            raise self._broken

    def begin(self, link: Link | None = None) -> None:
        """Let the threads go on.

        Args:
            link: to the hub, at which the leader waits from now on; None: somebody else calls `take`.
        """
        if link is not None:
            self._wake.listen(link, self._hear)
        self._begun.set()

    def _build(self) -> None:
        try:
            self.build(self._restore)
            self._restore = None
        except BaseException as error:  # noqa: BLE001 - raised by `start`
            self._broken = error
            self.workers[0].quitting = True
        finally:
            self._built.set()

    def nudge(self) -> None:
        """See `intraop.Watcher`."""
        self.scheduler.commands.nudge()

    # -- going --------------------------------------------------------------------------------------------------------------

    def take(self, message: Message) -> None:
        """Something has come from the hub; any thread."""
        self.gate.inbox.append(message)
        self.scheduler.wake.set()

    def _hear(self, message: Message | Exception) -> None:
        """Something has come from the hub, or the link is over; on the leader."""
        if isinstance(message, Exception):
            self.left_by = message
        if isinstance(message, (Bye, Abort, Exception)):
            self.gate.closed = True
            self.left.set()
        else:
            self.gate.inbox.append(message)

    def move(self) -> None:
        """What the leader does when it is woken; for who has no threads."""
        worker = self.workers[0]
        before = act_as(worker)
        try:
            worker.scheduler = self.scheduler
            self.scheduler.go(worker)
        finally:
            act_as(before)

    def saved(self) -> Saved:
        """The state between two tags; on the leader.

        Raises:
            NotSavableError: if it cannot be saved.
        """
        return Saved(self.gate.seq, saved_share(self.scheduler, self.gate))

    def _ended(self, scheduler: Scheduler) -> None:
        """The share's execution has ended; on the leader."""
        error = scheduler.failure
        with contextlib.suppress(LinkLostError):
            self.gate.report()
            if error is not None:
                self._send(_failed(scheduler, error))
        self.over.set()

    def end(self) -> None:
        """End the threads, wherever the share is, and wait for them."""
        self.gate.closed = True
        for worker in self.workers:
            worker.quit()
        self._begun.set()
        for worker in self.workers:
            if worker.thread.ident is not None:
                worker.thread.join()
        self._wake.close()
        intraop.heal()


def _failed(scheduler: Scheduler, error: BaseException) -> Failed:
    tag = scheduler.current_tag()
    words = "".join(traceback.format_exception(error.__cause__ or error))
    reaction, source, cause = "", None, error
    reactor = -1
    if isinstance(error, ReactionError):
        reaction, source, cause = error.reaction, error.source, error.__cause__ or error
    if 0 <= scheduler.failed < len(scheduler.graph.reactions):
        reactor = scheduler.graph.reactions[scheduler.failed].reactor
    return Failed(
        time_ns=tag.time_ns,
        microstep=tag.microstep,
        reaction=reaction,
        reactor=reactor,
        number=scheduler.failed,
        kind=type(cause).__name__,
        text=str(error),
        file="" if source is None else source.file,
        line=0 if source is None else source.line,
        traceback=words,
    )


def serve(link: Link, unpack: Callable[[bytes], Any] = unpack_program) -> None:
    """Execute what the hub asks for, until it says that the run is over, or is gone.

    Args:
        link: to the hub, which has accepted this host.
        unpack: makes the program of what the hub has sent.
    """
    try:
        first = link.receive()
        restore = first if isinstance(first, Restore) else None
        options = first if restore is None else link.receive()
        if not isinstance(options, Program):
            return
        share = _made(link, options, restore, unpack)
        if share is None:
            return
    except LinkLostError:
        return
    try:
        share.left.wait()
    finally:
        share.end()
        link.close()
    if share.left_by is not None and not isinstance(share.left_by, LinkLostError):
        raise share.left_by


def _made(link: Link, options: Program, restore: Restore | None, unpack: Callable[[bytes], Any]) -> Share | None:
    try:
        share = Share(unpack(options.program).graph, options, link.send)
        share.start(restore)
    except LinkLostError:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever it is, the hub is told
        link.send(Refused(type(error).__name__, f"{error}\n{''.join(traceback.format_exception(error))}"))
        return None
    try:
        link.send(Ready(f"{platform.node()}, {os.getpid()}"[:400]))
    except LinkLostError:
        share.end()
        raise
    share.begin(link)
    return share
