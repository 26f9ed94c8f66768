"""What runs a program: worker threads, the schedule they share, and the schedulers of its enclaves.

# failure       written by `_enclave_over` under _lock; read by whoever waits for the end
# _holds        who waits for the run to be held at a tag; under _lock
# _left         likewise: enclaves that have not executed their last tag
# _built        set once by worker 0 when the schedule exists; orders everything it made before `start` returns and before
#               any other worker's first step
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial

from reactornb.errors import ReactionError, RunError
from reactornb.graph import Graph
from reactornb.runtime import intraop
from reactornb.runtime.clock import Clock
from reactornb.runtime.commands import Hold
from reactornb.runtime.cut import Cut, Keeper
from reactornb.runtime.enclaves import Gate
from reactornb.runtime.immortal import immortalize
from reactornb.runtime.launch import Done, start_all
from reactornb.runtime.notices import Notices
from reactornb.runtime.outside import Border, OutsideLog, Replay
from reactornb.runtime.placing import HostTable, Placed
from reactornb.runtime.printed import Printed
from reactornb.runtime.profile import Profiler
from reactornb.runtime.restoring import check_fits, restore
from reactornb.runtime.sampling import Sample, Sampler
from reactornb.runtime.schedule import Schedule
from reactornb.runtime.scheduler import Scheduler
from reactornb.runtime.trace import Recorder
from reactornb.runtime.tuning import Target
from reactornb.runtime.workers import Place, make_workers
from reactornb.tags import Tag, forever

__all__ = ["Engine"]


class Engine:
    """Runs one graph once.

    Args:
        graph: what to run.
        workers: number of threads.
        seed: the run's seed.
        clock: physical time.
        timeout: logical time in ns at which the run ends, or None.
        fast: do not wait for physical time.
        keepalive: do not end when no event is left; None: exactly when the graph has physical actions.
        profile: take the time of every reaction.
        replay: changes of parameters, with their tags.
        recorder: trace, fingerprint and value checks.
        notices: the run's warnings.
        printed: what its reactions print, where that is kept.
        on_end: called once, on a worker, with the failure or None.
        on_worker: gives the place (its core) at which a worker's thread runs.
        patient: there is a core for each worker: one that waits for another may keep its own for a while.
        crowded: there are more workers than cores: none spins while it waits.
        name: of the run, for the threads.
        outside_log: takes what comes from outside; None: it is not recorded.
        outside_replay: what came from outside to an earlier run, to be repeated.
        keeper: who keeps cuts of the run, if anybody does.
        start_from: begin as the run that was cut here, of which `keeper` restores what the program made; `replay` then adds changes at later tags.
        placed: has some enclaves executed elsewhere; None: all are executed here.

    Raises:
        RunError: if the cut does not fit the program, or the run's end.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        workers: int,
        seed: int,
        clock: Clock,
        timeout: int | None,
        fast: bool,
        keepalive: bool | None,
        profile: bool,
        replay: Sequence[tuple[tuple[int, int], list[Target]]],
        recorder: Recorder,
        notices: Notices,
        printed: Printed,
        on_end: Callable[[BaseException | None], None],
        on_worker: Callable[[int], Place],
        patient: bool,
        crowded: bool,
        name: str,
        outside_log: OutsideLog | None = None,
        outside_replay: Replay | None = None,
        keeper: Keeper | None = None,
        start_from: Cut | None = None,
        placed: Placed | None = None,
    ) -> None:
        if start_from is not None:
            check_fits(graph, start_from, timeout, recorder)
        self.graph = graph
        self.clock = clock
        self._begin_ns = 0 if outside_replay is None else outside_replay.latest_ns(fast=fast)
        self.recorder = recorder
        self.printed = printed
        self.seed = seed
        self._replay = replay
        self.keeper = keeper
        self._start_from = start_from
        self._holds: list[Done] = []
        self.on_end = on_end
        self.failure: BaseException | None = None
        borders: list[Border | None] = [None] * len(graph.enclaves)
        if outside_log is not None or outside_replay is not None:
            borders = [Border(enclave, outside_log, outside_replay) for enclave in range(len(graph.enclaves))]
        self._placed = placed
        elsewhere = frozenset[int]() if placed is None else placed.elsewhere
        leaders = min(len(graph.enclaves) - len(elsewhere), workers)
        self.workers = make_workers(workers, name, on_worker, leaders, patient=patient, crowded=crowded)
        self.schedulers: list[Scheduler] = []
        for enclave in range(len(graph.enclaves)):
            leader = self.workers[enclave % workers]
            make = partial(Scheduler, graph, leader=leader) if enclave not in elsewhere else _of(placed).scheduler
            scheduler = make(
                enclave=enclave, workers=self.workers, clock=clock, timeout=timeout, fast=fast, keepalive=keepalive, recorder=recorder,
                notices=notices, printed=printed, profiled=profile, on_end=self._enclave_over, border=borders[enclave],
            )  # fmt: skip
            scheduler.keeper, scheduler.is_kept = keeper, keeper is not None
            self.schedulers.append(scheduler)
            if enclave not in elsewhere:
                leader.enclaves.append(scheduler)
        self.profiler = Profiler(graph, workers, hosts=() if placed is None else placed.workers) if profile else None
        self._sampler: Sampler | None = None  # made under _lock by who first asks, then only read
        self.gate: Gate | None = None
        if len(self.schedulers) > 1:
            recorder.apart = True
            if placed is None:
                self.gate = Gate(graph, self.schedulers, recorder, clock.elapsed_ns, fast=fast, keeper=keeper)
            else:
                self.gate = placed.gate(self.schedulers, recorder, clock.elapsed_ns, fast=fast)
            for scheduler in self.schedulers:
                scheduler.gate = self.gate
                if scheduler.border is not None:
                    scheduler.border.stop_again = self.gate.stop_again
            if outside_replay is not None:
                self.gate.promise(outside_replay.horizon[0] + 1)
        for worker in self.workers:
            worker.clock = clock
            worker.holds = True
        intraop.watch(self)
        # The schedule is made by worker 0's thread: on free-threaded builds an object is cheapest to the thread that made it,
        # and worker 0 does all that is not shared.
        self.schedule: Schedule
        self.workers[0].first = self._open
        self._lock = threading.Lock()
        self._left = (
            len(self.schedulers) if start_from is None else sum(not part.is_over for part in start_from.enclaves)
        )
        self._built = threading.Event()
        self._broken: BaseException | None = None
        # Set once it is decided that the run begins, or, with `quitting` of all workers, that it does not.
        self._decided = threading.Event()
        for worker in self.workers:
            worker.hold = self._decided.wait
        self._failed: Scheduler | None = None  # whose failure it is; written by `_enclave_over` under _lock

    # -- from other threads -----------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """What comes before the threads, on the thread that calls `Program.start`: it may own what is made immortal."""
        bodies = {r.declaration.fn for r in self.graph.reactions if r.declaration is not None}
        immortalize(bodies | {base for reactor in self.graph.reactors for base in reactor.cls.__mro__})

    def start(self, who: str) -> None:
        """Start the threads and build the schedule; reactions run once `begin` is called. On a thread that nothing interrupts.

        Raises:
            RunError: if the system gives no more threads.
            BaseException: what a parameter or state factory raises. Then no thread is left, as after `give_up`.
        """
        start_all(self.workers, who, self.give_up)
        self._built.wait()
        if self._broken is not None:
            self.give_up()
            raise self._broken
        if self._placed is not None:
            try:
                self._placed.open(self)
            except BaseException:
                self.give_up()
                raise

    def begin(self) -> None:
        """Let the threads go on."""
        self._decided.set()
        if self._placed is not None:
            self._placed.begin()

    def give_up(self) -> None:
        """End the threads before they have begun."""
        for worker in self.workers:
            worker.quit()
        self._decided.set()
        if self._placed is not None:
            self._placed.close()
        self.join()

    def _open(self) -> None:
        try:
            self.schedule = Schedule(
                self.graph, self.schedulers, self.seed, record=self.recorder.records_values,
                elsewhere=() if self._placed is None else self._placed.elsewhere,
                timed=self.profiler.timed if self.profiler is not None else None, checks=self.recorder.checks,
            )  # fmt: skip
            cut = self._start_from
            start_time_ns = self.clock.start(self._begin_ns) if cut is None else cut.start_time_ns
            for scheduler in self.schedulers:
                scheduler.adopt(self.schedule, start_time_ns)
            if cut is not None:
                assert self.keeper is not None
                restore(
                    cut, self.graph, self.schedule, self.schedulers, self.workers[0],
                    keeper=self.keeper, gate=self.gate, recorder=self.recorder, clock=self.clock, begin_ns=self._begin_ns,
                )  # fmt: skip
                self._start_from = None  # what it holds may be large
            for scheduler in self.schedulers:
                scheduler.change_at(self._replay)
        except BaseException as error:  # noqa: BLE001 - a state factory may raise anything
            self._broken = self.failure = error
            self.workers[0].quitting = True
            self.on_end(error)
        finally:
            self._built.set()

    def nudge(self) -> None:
        """Have the leaders look for libraries that came meanwhile; any thread."""
        for scheduler in self.schedulers:
            scheduler.commands.nudge()

    def command(self, *, stop: bool = False, paused: bool | None = None, steps: int = 0) -> None:
        """Stop, pause, resume or step; any thread."""
        if stop and any(s.replays for s in self.schedulers):
            borders = [s.border for s in self.schedulers if s.border is not None]
            if borders[0].is_reaction():
                for border in borders:
                    border.stop_when_live()
                return
        if self.gate is not None and stop:
            self.gate.stop_all()
            for scheduler in self.schedulers:
                scheduler.commands.give(paused=False)
            return
        for scheduler in self.schedulers:
            scheduler.commands.give(stop=stop, paused=paused, steps=steps, outside=stop)

    def request_cut(self) -> None:
        """Take a cut of the run when it comes between two tags next, also if it is paused or waits; any thread. `Keeper.taken` gets it.

        Of a run that ends before that, none is taken.

        Raises:
            RunError: if nobody keeps it.
        """
        if self.keeper is None:
            raise RunError("nobody keeps this run: start it with keep=….")
        if self.gate is not None:
            self.gate.ask_cut()
            for scheduler in self.schedulers:
                scheduler.wake.set()
            return
        self.schedulers[0].commands.cut()

    def run_to(self, tag: tuple[int, int]) -> Done:
        """Go on, and be held before the first tag that is later than this one; any thread, before `begin` too.

        Args:
            tag: time in ns and microstep.

        Returns:
            What happens when the run is held there, paused, or is over.
        """
        done = Done()
        with self._lock:
            if self._left:
                self._holds.append(done)
            else:
                done.set()
        hold = Hold(tag, done.set)
        if self.gate is not None:
            self.gate.hold(hold)
            self.command(paused=False)
        else:
            self.schedulers[0].commands.hold(hold)
        return done

    def tune(self, targets: Sequence[Target]) -> None:
        """Change parameters; any thread."""
        for scheduler in self.schedulers:
            mine = [t for t in targets if self.graph.reactors[t[0]].enclave == scheduler.enclave]
            if mine:
                scheduler.inbox.post_change(mine)

    def abandon(self) -> None:
        """In a forked child, which has none of the threads: what they held is free, what is scheduled is ignored."""
        self._lock, self.gate = threading.Lock(), None
        for scheduler in self.schedulers:
            scheduler.abandon()

    def join(self) -> None:
        """Wait until every thread is gone, but for the calling one."""
        if self._placed is not None:
            self._placed.join()
        here = threading.current_thread()
        for worker in self.workers:
            if worker.thread is not here and worker.thread.ident is not None:
                worker.thread.join()
        intraop.heal()

    # -- the end ----------------------------------------------------------------------------------------------------

    def _enclave_over(self, scheduler: Scheduler) -> None:
        with self._lock:
            if scheduler.failure is not None and (self._failed is None or _rank(scheduler) < _rank(self._failed)):
                self.failure, self._failed = scheduler.failure, scheduler
            self._left -= 1
            last = self._left == 0
        if last:
            for done in self._holds:
                done.set()
            for worker in self.workers:
                worker.quit()
            if self._placed is not None:
                self._placed.close()
            self._account_for_failure()
            self.on_end(self.failure)

    def _account_for_failure(self) -> None:
        """What enclaves executed that were ahead of one that failed does not count; no reaction runs any more."""
        first = self._failed
        if first is None:
            self.recorder.finish()
            self.printed.finish()
            return
        tag = first.current_tag()
        self.recorder.finish((tag, first.enclave))
        self.printed.forget_ahead(tag, first.enclave)
        self.printed.finish()
        for node, instance in zip(self.graph.reactors, self.schedule.instances, strict=True):
            if node.enclave != first.enclave:
                instance._log.forget(tag)

    def spoilt(self, reactor: int) -> str | None:
        """Why the state of a reactor, given by its index, is not what the program left there; None where it is. After the end."""
        for scheduler in self.schedulers:
            if reactor in scheduler.spoilt:
                ran = scheduler.spoilt[reactor].name
                return f"its reaction {ran} had begun on another worker when one that comes before it raised, so it counts as not run"
        return None

    # -- what can be seen -------------------------------------------------------------------------------------------

    @property
    def tag(self) -> Tag:
        """The latest tag that any enclave executes."""
        return max(s.current_tag() for s in self.schedulers)

    @property
    def tags_done(self) -> int:
        """How many tags are done."""
        return sum(s.tags_done for s in self.schedulers)

    @property
    def reactions_done(self) -> int:
        """How many reactions ran."""
        return sum(s.reactions_done for s in self.schedulers)

    @property
    def refused(self) -> int:
        """How many events of physical actions found the inbox full."""
        return sum(s.inbox.refused for s in self.schedulers)

    @property
    def lag_ns(self) -> int:
        """By how much physical time is past the current tag; 0 while the run waits for physical time."""
        return 0 if self.waiting else max(self.clock.elapsed_ns() - self.tag.time_ns, 0)

    @property
    def missed(self) -> int:
        """How many times a reaction began after its deadline."""
        return sum(limit.missed for s in self.schedulers for limit in s.deadlines)

    @property
    def queued(self) -> int:
        """How many later tags have events, each periodic timer counting once; for display."""
        return sum(len(s.machine.queue) for s in self.schedulers)

    @property
    def inbox(self) -> int:
        """How many events of physical actions no leader has looked at yet; for display."""
        return sum(len(s.inbox) for s in self.schedulers)

    @property
    def worker_seconds(self) -> list[float]:
        """CPU seconds that each worker's thread has used; 0 where nobody keeps account (not Linux, before the end)."""
        return [worker.cpu_ns() / 1e9 for worker in self.workers]

    @property
    def hosts(self) -> HostTable:
        """See `ObservedRun.hosts`."""
        return HostTable() if self._placed is None else self._placed.hosts

    def sample(self) -> Sample:
        """See `Run.sample`."""
        with self._lock:
            if self._sampler is None:
                self._sampler = Sampler(self.graph, self.schedulers)
        return self._sampler.sample()

    @property
    def paused(self) -> bool:
        """Whether the run is held before its next tag."""
        return any(s.commands.paused for s in self.schedulers)

    @property
    def waiting(self) -> bool:
        """Nothing is executed: every enclave waits for physical time, an action or to be resumed; for display."""
        return all(s.waiting or s.over for s in self.schedulers)

    def waiting_for(self) -> str:
        """What a run waits for that executes nothing: physical time, or an event from outside; for display."""
        until = min((s.until for s in self.schedulers if not s.over), default=forever)
        if until < forever:
            left = max(until - self.clock.elapsed_ns(), 0) / 1e9
            return f"physical time: {left:.0f} s until the next tag" if left >= 1 else "physical time"
        actions = [a.name for a in self.graph.actions if a.physical]
        return f"an event from outside{f' ({_few(actions)})' if actions else ''}"


def _of(placed: Placed | None) -> Placed:
    assert placed is not None
    return placed


def _few(names: list[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def _rank(failed: Scheduler) -> tuple[bool, Tag, int]:
    """Of the failures of several enclaves, that of the earliest tag and the lowest number is reported; one of ours before any."""
    return (isinstance(failed.failure, ReactionError), failed.current_tag(), failed.failed)
