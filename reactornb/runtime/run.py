"""`Program` and `Run`: what a user holds. A program is a checked graph; a run is one execution of it, in the background."""

from __future__ import annotations

import atexit
import itertools
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from reactornb import cpu
from reactornb.errors import DeclarationError, ReactionError, RunError, RunOptionError, UnknownNameError, suggestion
from reactornb.graph import Graph, assemble, find_parameter
from reactornb.interpreter import environment
from reactornb.limits import MOST_WORKERS
from reactornb.model import Reactor
from reactornb.runtime import at_exit, import_hook, threads
from reactornb.runtime.busy import Busy, BusyWatch
from reactornb.runtime.clock import Clock, RealClock
from reactornb.runtime.engine import Engine
from reactornb.runtime.imports import Progress
from reactornb.runtime.launch import Done, Launch, undisturbed
from reactornb.runtime.logs import Log
from reactornb.runtime.metrics import Metric, metrics_of
from reactornb.runtime.notices import Notices
from reactornb.runtime.printed import Printed
from reactornb.runtime.profile import Profile, Profiler
from reactornb.runtime.sampling import Sample
from reactornb.runtime.scheduler import Scheduler
from reactornb.runtime.standing import StandingWatch
from reactornb.runtime.timeline import Timeline
from reactornb.runtime.trace import Recorder, Trace, refuse_types
from reactornb.runtime.tuning import Change, Target, replayed, targets_of
from reactornb.tags import DurationLike, Tag, as_duration, no_duration

__all__ = ["Program", "Result", "Run", "known_runs", "live_runs"]

# The Jupyter kernel that `make setup` registers.
KERNEL = "reactornb"

_numbers = itertools.count(1)
_hash_told = itertools.count()  # each number is handed out once
# Called with each run that is made, on the thread that starts it, before any of its own begins.
on_new: list[Callable[[Run], None]] = []
# Runs that have begun and not ended. Added to by `Program._begin` and walked at exit, both on ordinary Python threads; WeakSet
# guards its own iteration.
_alive: weakref.WeakSet[Run] = weakref.WeakSet()


class Program:
    """A reactor program: assembled and checked when it is made, run any number of times, once at a time.

    Args:
        root: the outermost reactor, or its class.
        parameters: parameters for a class.

    Raises:
        AssemblyError: if the reactors do not form a legal graph.

    Attributes:
        graph: the action-port graph.
        name: the root's name.
    """

    def __init__(self, root: Reactor | type[Reactor], /, **parameters: Any) -> None:
        if isinstance(root, type) and issubclass(root, Reactor):
            root = root(**parameters)
        elif parameters:
            raise DeclarationError(
                f"parameters go to the class: Program({type(root).__name__}, …), or into the instance."
            )
        self.root = root
        self.graph: Graph = assemble(root)
        self.name = self.graph.reactors[0].name
        # _run is written under _lock, so that two threads cannot both start the program.
        self._lock = threading.Lock()
        self._run: Run | None = None

    def start(
        self,
        *,
        workers: Any = None,
        seed: int = 0,
        until: DurationLike | None = None,
        fast: bool | None = None,
        keepalive: bool | None = None,
        fingerprint: bool = False,
        trace: bool = False,
        check_values: bool = False,
        clock: Clock | None = None,
        placement: Any = "performance",
        nice: Any = None,
        driven: bool = False,
        profile: bool = False,
        replay: Iterable[Change] = (),
    ) -> Run:
        """Run in the background.

        Args:
            workers: threads; as many as there are usable cores unless given.
            seed: all reactors' seeds derive from it.
            until: logical time at which the run ends, such as sec(10); None: when no event is left, or a reaction asks for it.
            fast: do not wait for physical time; unless given, exactly when the root reactor's class says
                `needs_physical_time = False`, as the programs of `reactornb.rl` do.
            keepalive: go on when no event is left; by default exactly when the program has physical actions.
            fingerprint: add up a hash over tag, port and value of all that is sent; see `reactornb.runtime.fingerprint`. A value that
                cannot be judged, such as a lock or a lambda, ends the run.
            trace: keep what ran, and copies of what was written.
            check_values: find a reaction that changes a value it was given; runs one reaction at a time, slowly.
            clock: physical time; a `FakeClock` in tests.
            placement: which cores; see `reactornb.cpu.place`.
            nice: how far the workers' threads stand back behind others, in levels of niceness (Linux); unless given 5 in a Jupyter
                kernel, so that cells and panels come first, and 0 elsewhere.
            driven: worker 0 is the thread that calls `Run.advance`, and nothing is executed in between: for who steps a program
                from a loop of their own.
            profile: take the time of every reaction, for `Run.profile` and `Run.timeline`.
            replay: `Run.changes` of another run, to be made again at the same tags.

        Raises:
            RunError: if the program is running already.
            RunOptionError: if `workers` or `nice` is not a number that fits.
            UnknownNameError, ParameterError: if what is to be replayed does not fit the program.
            UnrecordableValueError: if a fingerprint is to be kept, and a port declares a type of which no value can be judged.
        """
        if workers is None:
            workers = cpu.default_workers()
        if isinstance(workers, bool) or not isinstance(workers, int) or not 1 <= workers <= MOST_WORKERS:
            raise RunOptionError(
                f"workers must be a whole number of at least 1 and at most {MOST_WORKERS:,}, not {workers!r}: one thread for each core that is to be used."
            )
        if nice is None:
            nice = cpu.default_nice()
        if isinstance(nice, bool) or not isinstance(nice, int) or nice < 0:
            raise RunOptionError(f"nice must be a whole number of at least 0, not {nice!r}.")
        _whole("seed", seed)
        if until is not None:
            end = as_duration(until)
            if end is None:
                raise RunOptionError(f"until: {no_duration(until)}.")
            if end < 0:
                raise RunOptionError(f"until is a logical time of at least 0, not {end}.")
            until = end
        self._check_idle()
        if fingerprint:
            refuse_types(self.graph)
        recorder = Recorder(trace=trace, fingerprint=fingerprint, check_values=check_values)
        options = {
            "workers": workers,
            "seed": seed,
            "until": until,
            "fast": not self.root.needs_physical_time if fast is None else fast,
            "keepalive": keepalive,
            "clock": clock or RealClock(),
            "driven": driven,
            "profile": profile,
            "replay": replayed(self.graph, replay),
        }

        def make() -> Run:
            return Run(self, options, recorder, placement, nice)

        # Of a driven run the caller is worker 0, and objects are cheapest to the thread that made them.
        run = make() if driven else undisturbed(make)
        run._introduce()
        run._engine.prepare()
        if driven:
            run._engine.open_here()
        at_exit.register(_end_all)
        Launch(lambda launch: self._begin(run, launch)).run()
        return run

    def _check_idle(self) -> None:
        if self._run is not None and self._run.is_alive:
            raise RunError(
                f"{self.name} is running already ({self._run}). Stop it first with run.stop() or %reactor stop; two runs at once "
                f"need two programs."
            )

    def _begin(self, run: Run, launch: Launch) -> None:
        """Start a run and register it, or leave nothing; on a thread that nothing interrupts."""
        engine = run._engine
        with self._lock:
            self._check_idle()
            engine.start(self.name)
            if launch.cancelled:
                engine.give_up()
                return
            self._run = run
            _alive.add(run)
            run._begun = True
            engine.begin()

    def run(self, **options: Any) -> Result:
        """Run to the end and return the result; options as for `start`.

        Raises:
            ReactionError: if a reaction raised.
        """
        before = self._run
        try:
            return self.start(**options).result()
        except BaseException:
            run = self._run
            if run is not None and run is not before:
                run.stop()  # also where the wait, or the end of `start`, was interrupted
            raise

    @property
    def last_run(self) -> Run | None:
        """The run started last, alive or ended."""
        return self._run

    def __repr__(self) -> str:
        return f"<Program {self.name}: {self.graph}>"


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended.

    Attributes:
        tag: the last tag.
        seconds: physical duration.
        reactions: how many reactions ran.
        workers: how many threads.
        fingerprint: hash over tag, port and value, if it was asked for.
        trace: what ran, if it was asked for.
        metrics: see `Run.metrics`.
    """

    tag: Tag
    seconds: float
    reactions: int
    workers: int
    fingerprint: str | None
    trace: Trace | None
    metrics: Mapping[str, Metric]

    def __repr__(self) -> str:
        """In a few lines: the metrics by name and number of values, not each of them."""
        parts = [
            f"tag {self.tag}",
            f"{self.seconds:.1f} s",
            f"{self.reactions:,} reactions",
            f"{self.workers} worker{'s' if self.workers > 1 else ''}",
        ]
        if self.fingerprint is not None:
            parts.append(f"fingerprint {self.fingerprint}")
        if self.trace is not None:
            parts.append("trace kept")
        lines = [f"<result: {', '.join(parts)}"]
        lines += [
            f"   {name}: {len(metric):,} value{'s' if len(metric) > 1 else ''}, the last {metric[-1]:.6g}"
            for name, metric in self.metrics.items()
        ]
        return "\n".join(lines) + ">"


class Run:
    """One execution of a program, on threads of its own.

    # _ended, _failure, _seconds   written once, under _ending, before _finished is set, and read after it: by the last leader, or by
    #                              who abandons the run, whichever comes first
    # _begun                       set once by who starts the run, before its first reaction; a failure before that is raised there
    # _stop_asked                  set by any thread that asks for the end, before it does; read for display
    """

    def __init__(
        self, program: Program, options: dict[str, Any], recorder: Recorder, placement: Any, nice: int
    ) -> None:
        self.program = program
        self.number = next(_numbers)
        self.seed: int = options["seed"]
        self.workers: int = options["workers"]
        self.options = options
        self._recorder = recorder
        self.notices = Notices(f"run {self.number} of {program.name}")
        self._printed = Printed()
        self._finished = Done()
        self._failure: BaseException | None = None
        self._seconds: float | None = None
        self._stop_asked = self._abandoned = self._begun = False
        self._ending = threading.Lock()
        self._began = time.perf_counter()
        self._imports = Progress()
        self.placement = replace(cpu.place(self.workers, placement), nice=nice)
        self._engine = Engine(
            program.graph,
            recorder=recorder,
            notices=self.notices,
            printed=self._printed,
            on_end=self._end,
            on_worker=self.placement.pin,
            patient=self.placement.is_roomy,
            name=f"{program.name}-{self.number}",
            timeout=None if options["until"] is None else int(options["until"]),
            **{name: value for name, value in options.items() if name != "until"},
        )
        self._watch = BusyWatch(self._engine)
        self._standing = StandingWatch(self._engine, self.notices, options["until"])

    def _introduce(self) -> None:
        """Tell who wants to know of new runs, and the user what is known by now; on the thread that starts the run."""
        for tell in on_new:
            tell(self)
        self._look_at_gil()
        checked, compared = self._recorder.serial, self._recorder.keeps_fingerprint
        # Who checks values is told each time; who compares fingerprints once in a process.
        if (checked or compared) and environment()["hash_seed"] == "random" and (next(_hash_told) == 0 or checked):
            why = "" if checked else ", and with it perhaps the fingerprint"
            self.notices.add(
                "hash",
                f"the order of a set of strings is another in each process{why}: PYTHONHASHSEED is not set. Sort what is taken out of a set, or "
                f"start Python with PYTHONHASHSEED=0, as the kernel and `reactornb run` do.",
            )

    def _look_at_gil(self) -> None:
        if import_hook.gil_is_back():
            who = import_hook.turned_on
            why = f"the import of {who} turned it on" if who else "it was on when reactornb was imported"
            self.notices.add(
                "gil",
                f"the GIL is on ({why}), so reactions take turns: nothing runs in parallel but what libraries compute without it. Start "
                f"Python with PYTHON_GIL=0, as the kernel {KERNEL!r} and `reactornb run` do, and restart this one.",
            )

    def _end(self, failure: BaseException | None) -> None:
        with self._ending:
            if self._finished.is_set():  # it was abandoned
                return
            self._failure = failure
            self._seconds = time.perf_counter() - self._began
            if failure is not None and self._begun and exit_code(failure) != 0:
                at_exit.failed(self, failure)
            self._finished.set()

    def _leave_behind(self) -> None:
        """In a forked child, where none of the run's threads is: here the run is over, and no lock of its threads is waited for."""
        self._engine.abandon()
        self.notices.release()
        self._printed.release()
        self.program._lock = threading.Lock()
        self._ending = threading.Lock()
        self._finished = Done()
        self._end(
            RunError(f"{self.program.name}: run {self.number} stayed in the process that this one was forked from.")
        )

    # -- commands ---------------------------------------------------------------------------------------------------

    def request_stop(self) -> None:
        """Ask the run to end at the next microstep, with its shutdown reactions, and do not wait; any thread."""
        self._stop_asked = self._stop_asked or self.is_alive
        self.busy()  # from now on it is known what does not move
        self._engine.command(stop=True)

    def stop(self, timeout: float | None = 10.0) -> Run:
        """Ask the run to end at the next microstep, with its shutdown reactions, and wait for it.

        Args:
            timeout: seconds to wait; None waits for ever.

        Raises:
            RunError: if a reaction is still busy when the time is up; the run ends when it returns.
        """
        self.request_stop()
        until = None if timeout is None else time.monotonic() + timeout
        # An enclave may have to wait for what another worker does for a third one: one turn is not always enough.
        while self._engine.driven and self.advance() and (until is None or time.monotonic() < until):
            self._finished.wait(0.001)
        if not self._finished.wait(timeout):
            busy = "; ".join(map(str, self.busy())) or f"a reaction is still busy after {timeout} s"
            raise RunError(
                f"{self}: {busy}. The run ends as soon as it returns. If it never does, run.abandon() (%reactor stop --abandon, "
                f"Abandon in the panel) gives the run up: its program can be started again."
            )
        self._join()
        return self

    def abandon(self) -> Run:
        """Give up a run that does not end because a reaction does not return.

        The run counts as over at once, with state "abandoned": its program can be started again, and nothing waits for it, at
        exit neither. A thread cannot be killed: the reaction's stays behind, as a daemon, with what it holds (memory, locks, a
        core if it computes). If the reaction ever returns, nothing follows it but the shutdown reactions, and its threads end.
        Of a run that is over nothing is changed.
        """
        busy = "; ".join(map(str, self.busy())) or "no reaction was seen to be busy"
        self._engine.command(stop=True)
        with self._ending:
            if not self._finished.is_set():
                self._abandoned = True
                self._failure = RunError(f"{self.name} was abandoned at tag {self.tag}: {busy}.")
                self._seconds = time.perf_counter() - self._began
                self._finished.set()
        return self

    def advance(self) -> bool:
        """Of a driven run: execute what is due, on the calling thread, and return when nothing is left to do at present.

        Physical actions scheduled before the call are due. Without `fast`, what has a later time is due once that time has come.
        Always the same thread calls this, and `stop`; reactions of a costly level run on the other workers too.

        Returns:
            False once the run is over.

        Raises:
            ReactionError: if a reaction raised; the reaction's own exception is its cause.
            RunError: if the run is not driven.
        """
        if not self._engine.driven:
            raise RunError(
                f"{self} goes on by itself; start it with driven=True to advance it from a loop of your own."
            )
        alive = self._engine.advance()
        if self._failure is not None:
            at_exit.told(self)
            self._join()
            raise self._failure
        return alive

    def pause(self) -> Run:
        """Hold the run before its next tag."""
        self._engine.command(paused=True)
        return self

    def resume(self) -> Run:
        """Let a paused run go on."""
        self._engine.command(paused=False)
        return self

    def step(self, tags: int = 1) -> Run:
        """Execute that many tags of a paused run.

        Raises:
            RunError: unless it is a whole number of at least 1.
        """
        _whole("step", tags, 1, " of tags")
        self._engine.command(steps=tags)
        return self

    def set(self, path: str, value: Any) -> list[str]:
        """Change a parameter while the program runs: `run.set("learner.lr", 1e-4)`. Any thread.

        The change is an event from outside, like a scheduled physical action: it gets a tag (the next one that the reactor's enclave
        executes, or one of its own at the present physical time, if that comes first), and is there before any reaction of
        that tag runs. It becomes part of the trace, of the fingerprint and of `changes`, with which it can be replayed. A
        paused run takes it when it goes on. Reactions with the parameter as trigger, `@reaction("lr")`, run at that tag, or,
        if their mode is not active, when it is next entered.

        Args:
            path: names of contained reactors and at last a parameter: `learner.lr`, `rollouts.epsilon` or `rollouts[*].epsilon` for
                every member of a bank, `rollouts[3].epsilon` for one.
            value: what it becomes; checked against the parameter's type, and by `Reactor.check_parameter`.

        Returns:
            The full names of the parameters.

        Raises:
            UnknownNameError: if the path leads nowhere.
            ParameterError: if the value does not fit, or the parameter decides the graph or is `Fixed`.
            RunError: if the run is over.
        """
        targets = self.check(path, value)
        self._engine.tune(targets)
        reactors = self.program.graph.reactors
        return [f"{reactors[index].name}.{name}" for index, name, _ in targets]

    def check(self, path: str, value: Any) -> list[Target]:
        """Raise what `set` would raise, and change nothing."""
        if not self.is_alive:
            raise RunError(f"{self} is over, and {path} with it; start the program again with another value.")
        return targets_of(self.program.graph, path, value, self._engine.schedule.instances)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end; false if `timeout` seconds were not enough."""
        if timeout is None:
            # In slices: a signal that arrives just as the main thread falls asleep is noticed when it wakes up, and a wait
            # without end would keep Ctrl-C until the run is over (seen once in forty).
            while not self._finished.wait(0.5):
                self._standing.look()
            ended = True
        else:
            ended = self._finished.wait(timeout)
            if not ended:
                self._standing.look()
        if ended:
            at_exit.told(self)
            self._join()
        return ended

    def _join(self) -> None:
        if not self._abandoned:
            self._engine.join()

    # -- what can be seen -------------------------------------------------------------------------------------------

    @property
    def is_alive(self) -> bool:
        """True until the last tag is done."""
        return not self._finished.is_set()

    @property
    def name(self) -> str:
        """What tells the run from others: its program's name and its number, such as `ppo#3`."""
        return f"{self.program.name}#{self.number}"

    @property
    def state(self) -> str:
        """One of "running", "paused", "finished", "stopped" (it was asked to end, by `stop`), "abandoned" and "failed"."""
        if not self._finished.is_set():
            return "paused" if self._engine.paused else "running"
        if self._abandoned:
            return "abandoned"
        if self._failure is not None:
            at_exit.told(self)
            return "failed"
        return "stopped" if self._stop_asked else "finished"

    @property
    def stop_requested(self) -> bool:
        """Whether it was asked to end, by `stop`, while it lived."""
        return self._stop_asked

    def busy(self) -> list[Busy]:
        """Which reactions have not returned for half a second or more, while nothing else moved; longest first.

        Found by looking: the first call only notes where the run is, later ones tell what has not moved since. The run pays
        nothing for it.
        """
        return self._watch.look() if self.is_alive else []

    @property
    def tag(self) -> Tag:
        """The current tag."""
        return self._engine.tag

    @property
    def seconds(self) -> float:
        """Physical seconds since the start, until the end."""
        return self._seconds if self._seconds is not None else time.perf_counter() - self._began

    @property
    def tags(self) -> int:
        """How many tags are done."""
        return self._engine.tags_done

    @property
    def reactions(self) -> int:
        """How many reactions have run."""
        return self._engine.reactions_done

    @property
    def fingerprint(self) -> str | None:
        """The hash over tag, port and value of the tags that are done, 64 digits; of a run that failed, of those before the failure. None unless
        the run keeps one.
        """
        return self._recorder.fingerprint

    @property
    def failure(self) -> BaseException | None:
        """What ended the run, or None. Of a failure that nobody asks for, in any way, a line on stderr tells when the interpreter ends."""
        if self._failure is not None:
            at_exit.told(self)
        return self._failure

    @property
    def schedulers(self) -> list[Scheduler]:
        """Of each enclave, that of the root first; for this package."""
        return self._engine.schedulers

    def exit_status(self) -> int:
        """The exit status of a process that ran the program, once the run is over: what a reaction passed to `sys.exit`, 1 for a failure or if
        a thread that a reaction started died of an exception (`warnings` says which), else 0.

        Waits for the threads that reactions started, as Python does before it exits; for daemons half a second.
        """
        threads.join(self.schedulers)
        at_exit.told(self)
        return exit_code(self._failure) or int(bool(self.notices.died))

    @property
    def environment(self) -> dict[str, str]:
        """What a result may depend on besides program and seed: versions of Python and of packages, GIL, machine, "hash_seed"."""
        return environment()

    @property
    def warnings(self) -> list[str]:
        """What this run's user should know: each said once, in the order found. `notices.add(key, words)` adds one, from any thread."""
        if self.is_alive:
            self._standing.look()
        return self.notices.words

    @property
    def printed(self) -> Printed:
        """What reactions printed, on stdout and stderr, each line with its reactor and tag: the last 100,000 lines. `print(run.printed)`.

        Kept where a page shows only some of it, in a notebook with `%load_ext reactornb`; elsewhere all of it is printed and nothing kept.

        Once the run is over it is the same for any number of workers: ordered by tag, level and reaction, and without what reactions
        printed that count as not run, because one before them raised, or because their enclave was ahead of one that failed.
        Lines that are shown below a cell already, or on a terminal, stay there. What threads print that reactions start
        counts as their reactions do, at the tag that the run had reached; what C code prints belongs to no reaction, and stays.
        """
        return self._printed

    @property
    def logs(self) -> list[Log]:
        """What each reactor logged so far, in the graph's order, growing at the end.

        For who reads on where it stopped, such as a live view; `metrics` merges them.
        """
        return [instance._log for instance in self._engine.schedule.instances]

    @property
    def metrics(self) -> dict[str, Metric]:
        """What reactors logged so far, by name: arrays, ordered by tag, then reactor, whatever thread ran them."""
        return metrics_of(self.logs, self._began)

    @property
    def changes(self) -> list[Change]:
        """What `set` has changed so far, by tag. `program.start(replay=run.changes)` makes the same changes at the same tags."""
        found = sorted(
            self._recorder.changes[:], key=lambda row: row[:2]
        )  # stable: what one tag changed twice stays in order
        return [change for _, _, change in found]

    def parameters(self, path: str) -> dict[str, Any]:
        """The present values of the parameters that a path names (see `set`), by full name.

        Raises:
            UnknownNameError: if the path leads nowhere.
        """
        nodes, name = find_parameter(self.program.graph, path)
        instances = self._engine.schedule.instances
        return {f"{node.name}.{name}": getattr(instances[node.index], name) for node in nodes}

    @property
    def waiting_for(self) -> str:
        """What the run waits for at this moment, in words: "importing torch", "physical time: 0.5 s until the next tag", an event
        from outside, to be resumed; empty while it executes reactions, and once it is over. Any thread, cheap.
        """
        if not self.is_alive:
            return ""
        importing = self._imports.waiting_for(self._engine.reactions_done)
        if importing:
            return importing
        if self._engine.paused:
            return "resume() or step()"
        return self._engine.waiting_for() if self._engine.waiting else ""

    @property
    def lag(self) -> float | None:
        """By how many seconds physical time is past the tag; None for a run that does not wait for it, or is over."""
        return None if self.options.get("fast") or not self.is_alive else self._engine.lag_ns / 1e9

    @property
    def queue(self) -> int:
        """How many later tags have events; each periodic timer counts once."""
        return self._engine.queued if self.is_alive else 0

    @property
    def inbox(self) -> int:
        """How many events of physical actions wait to be looked at."""
        return self._engine.inbox

    @property
    def deadlines_missed(self) -> int:
        """How many times a reaction began after its deadline."""
        return self._engine.missed

    @property
    def worker_seconds(self) -> list[float]:
        """CPU seconds of each worker; 0 where nobody keeps account (a driven run's caller; before the end where it is not Linux)."""
        return self._engine.worker_seconds

    def status(self) -> dict[str, Any]:
        """State, tag, rates and workers, as plain data.

        `refused` counts events of physical actions that found the inbox full; the others are properties of the run.
        """
        seconds = self.seconds
        return {
            "run": self.number,
            "program": self.program.name,
            "state": self.state,
            "waiting_for": self.waiting_for,
            "tag": self.tag,
            "seconds": seconds,
            "tags": self.tags,
            "reactions": self.reactions,
            "tags_per_second": self.tags / seconds if seconds else 0.0,
            "workers": self.workers,
            "placement": self.placement.describe(),
            "worker_seconds": self.worker_seconds,
            "seed": self.seed,
            "lag": self.lag,
            "queue": self.queue,
            "inbox": self.inbox,
            "refused": self._engine.refused,
            "deadlines_missed": self.deadlines_missed,
            "fingerprint": self.fingerprint,
            "warnings": self.warnings,
            "environment": self.environment,
            "failure": None if self._failure is None else str(self._failure),
        }

    def result(self, timeout: float | None = None) -> Result:
        """Wait for the end and say how it was.

        Args:
            timeout: seconds to wait; None waits for ever.

        Raises:
            ReactionError: if a reaction raised; the reaction's own exception is its cause.
            TimeoutError: if the run is not over in time; it goes on.
        """
        if not self.wait(timeout):
            raise TimeoutError(f"{self} is not over after {timeout} s; it goes on.")
        if self._failure is not None:
            raise self._failure
        return Result(
            self.tag, self.seconds, self.reactions, self.workers, self.fingerprint, self._recorder.trace, self.metrics
        )

    def profile(self) -> Profile:
        """Per reaction how often and how long it ran, its share, how long it waited for a worker, and on which it ran; at any time.

        Raises:
            RunError: if the run was not started with profile=True.
        """
        return self._profiler().profile()

    def timeline(self) -> Timeline:
        """Who ran what, when, on which worker: of a long run about the newest 1,000,000 spans, shared out among the workers (40 MB).

        `run.timeline().save("t.json")` writes the Chrome trace format, which Perfetto opens; in a notebook it shows its panel.

        Raises:
            RunError: if the run was not started with profile=True.
        """
        title = f"run {self.number} of {self.program.name}"
        return self._profiler().timeline(title, self.placement.describe_each(), lambda: self.is_alive)

    def sample(self) -> Sample:
        """How often and how long reactions ran, and how many values ports carried, in short windows of which each call asks for more.

        For who watches a run that was not started with profile=True, such as the graph's panel: shares and rates are read off
        the difference of two samples. A run pays at most about 2 % however often this is called, and nothing if it is not.
        """
        return self._engine.sample()

    def _profiler(self) -> Profiler:
        profiler = self._engine.profiler
        if profiler is None:
            raise RunError(f"{self} takes no times; start it with profile=True (%reactor start --profile).")
        return profiler

    @property
    def trace(self) -> Trace | None:
        """What ran, if it was asked for; complete once the run is over."""
        return self._recorder.trace

    def instance(self, name: str) -> Reactor:
        """The running instance of that full name, for looking at its state once the run is over or paused.

        Args:
            name: such as `main.rollouts[3]`, or `rollouts[3]`.

        Raises:
            UnknownNameError: if the program has no such reactor.
            RunError: if its state depends on how many workers there were, since it went on while a reaction before it raised.
        """
        for node, instance in zip(self.program.graph.reactors, self._engine.schedule.instances, strict=True):
            if name in (node.name, node.name.partition(".")[2]):
                spoilt = self._engine.spoilt(node.index)
                if spoilt is not None:
                    raise RunError(f"{node.name} cannot be looked at: {spoilt}. With workers=1 it does not run.")
                return instance
        known = [node.name.partition(".")[2] or node.name for node in self.program.graph.reactors]
        raise UnknownNameError(f"{self.program.name} has no reactor {name!r}. {suggestion(name, known)}", unknown=name)

    def __repr__(self) -> str:
        return f"<run {self.number} of {self.program.name}: {self.state}, tag {self.tag}, {self.seconds:.1f} s>"


def _whole(name: str, value: Any, least: int | None = None, what: str = "") -> None:
    """Refuse what is no whole number, before anything begins."""
    whole = hasattr(value, "__index__") and not isinstance(value, bool)
    if not whole or (least is not None and value < least):
        at_least = "" if least is None else f" of at least {least}"
        raise RunOptionError(f"{name} must be a whole number{at_least}{what}, not {value!r}.")


def live_runs() -> list[Run]:
    """The runs of this process that have not ended, oldest first."""
    return sorted((run for run in _alive if run.is_alive), key=lambda run: run.number)


def known_runs() -> list[Run]:
    """The runs of this process that somebody still holds, alive or over, oldest first."""
    return sorted(_alive, key=lambda run: run.number)


def exit_code(error: BaseException | None) -> int:
    """The exit status of a process that ran a program: what a reaction passed to `sys.exit`, or 1 for a failure."""
    if error is None:
        return 0
    cause = error.__cause__ if isinstance(error, ReactionError) else error
    if isinstance(cause, SystemExit) and (cause.code is None or isinstance(cause.code, int)):
        return cause.code or 0
    return 1


def _look_at_gil() -> None:
    for r in live_runs():
        r._look_at_gil()


import_hook.on_gil.append(_look_at_gil)


def _leave_all_behind() -> None:
    for r in live_runs():
        r._leave_behind()
    at_exit.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_all_behind)


# Called after `_end_all`, and once Python has waited for threads that may ask.
atexit.register(at_exit.tell_failures)


@atexit.register
def _end_all() -> None:
    """End all runs in order when the interpreter goes; see `at_exit.register` too."""
    at_exit.end(live_runs())
