"""`Run`: one execution of a program in the background. How it begins, is steered, and ends; `observed` has what can be seen of it."""

from __future__ import annotations

import atexit
import itertools
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from reactornb import cpu
from reactornb.errors import RunError, RunOptionError
from reactornb.interpreter import environment
from reactornb.options import RunOptions
from reactornb.runtime import at_exit, import_hook, threads
from reactornb.runtime.busy import BusyWatch
from reactornb.runtime.clock import RealClock
from reactornb.runtime.engine import Engine
from reactornb.runtime.imports import Progress
from reactornb.runtime.kept import Kept
from reactornb.runtime.launch import Done
from reactornb.runtime.notices import Notices
from reactornb.runtime.observed import ObservedRun
from reactornb.runtime.outside import OutsideLog, Replay
from reactornb.runtime.placing import Placed
from reactornb.runtime.printed import Printed
from reactornb.runtime.result import Plotted, Result, exit_code
from reactornb.runtime.standing import StandingWatch
from reactornb.runtime.trace import Recorder
from reactornb.runtime.tuning import Target, targets_of
from reactornb.tags import seconds_of

__all__ = ["Meanwhile", "Run", "known_runs", "live_runs", "meanwhiles", "on_new"]

# The Jupyter kernel that `make setup` registers.
KERNEL = "reactornb"

_numbers = itertools.count(1)
_hash_told = itertools.count()  # each number is handed out once
# Called with each run that is made, on the thread that starts it, before any of its own begins.
on_new: list[Callable[[Run], None]] = []
# Runs that have begun and not ended. Added to by `register` and walked at exit, both on ordinary Python threads; WeakSet
# guards its own iteration.
_alive: weakref.WeakSet[Run] = weakref.WeakSet()


class Meanwhile(AbstractContextManager[Any], Protocol):
    """What a thread has to do while it waits for a run: entered before the wait, `look` called every `seconds`, left after it."""

    seconds: float

    def look(self) -> None:
        """The run is not over yet."""


# By number of the thread. Each entry is written and taken out by its own thread, or before that thread can wait for a run.
meanwhiles: dict[int, Meanwhile] = {}


class Run(ObservedRun, Plotted):
    """One execution of a program, on threads of its own.

    Attributes:
        program: of which it is an execution.
        number: of the runs of this process, from 1.
        options: how it was started, with all that was left open decided; `program.start(run.options)` starts another one alike.
        seed, workers: two of the options.
        placement: on which cores its workers are.
        notices: its warnings, as `warnings` has them.

    # _ended, _failure, _seconds   written once, under _ending, before _finished is set, and read after it: by the last leader, or by
    #                              who abandons the run, whichever comes first
    # _begun                       set once by who starts the run, before its first reaction; a failure before that is raised there
    # _is_written                  set by the last leader when no reaction runs any more and what is left of a kept run is written; read at exit
    # _stop_asked                  set by any thread that asks for the end, before it does; read for display
    """

    def __init__(
        self,
        program: Any,  # a `Program`, whose module imports this one
        options: RunOptions,
        recorder: Recorder,
        replay: Sequence[tuple[tuple[int, int], list[Target]]],
        outside_log: OutsideLog | None = None,
        outside_replay: Replay | None = None,
        kept: Kept | None = None,
        placed: Placed | None = None,
    ) -> None:
        assert options.workers is not None
        assert options.nice is not None
        assert options.fast is not None
        self.program = program
        self.number = next(_numbers)
        self.seed = options.seed
        self.workers = options.workers
        self.options = options
        self._recorder = recorder
        self._outside_log = outside_log if options.record_outside else None
        self._kept = kept
        self.notices = Notices(f"run {self.number} of {program.name}")
        self._printed = Printed()
        self._finished = Done()
        self._failure: BaseException | None = None
        self._seconds: float | None = None
        self._stop_asked = self._abandoned = self._begun = self._is_written = False
        self._ending = threading.Lock()
        self._began = time.perf_counter() if kept is None else kept.began_s
        self._imports = Progress()
        self.placement = replace(cpu.place(self.workers, options.placement), nice=options.nice)
        self._engine = Engine(
            program.graph if placed is None else placed.graph,
            workers=self.workers,
            seed=self.seed,
            clock=options.clock or RealClock(),
            timeout=options.until_ns,
            fast=options.fast,
            keepalive=options.keepalive,
            profile=options.profile,
            replay=replay,
            recorder=recorder,
            notices=self.notices,
            printed=self._printed,
            on_end=self._end,
            on_worker=self.placement.pin,
            patient=self.placement.is_roomy,
            crowded=self.placement.is_crowded,
            name=f"{program.name}-{self.number}",
            outside_log=outside_log,
            outside_replay=outside_replay,
            keeper=kept,
            start_from=None if kept is None else kept.start_from,
            placed=placed,
        )
        self._watch = BusyWatch(self._engine)
        self._standing = StandingWatch(self._engine, self.notices, options.until_ns)

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
        if self._kept is not None and self._begun:
            self._is_written = True
            try:
                self._kept.ended(failure)
            except BaseException as error:  # noqa: BLE001 - a fault of ours must not keep who waits for the end waiting
                self.notices.add(
                    "keep", f"the end of the run could not be written down ({type(error).__name__}: {error})."
                )
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
        if self._kept is not None:
            self._kept.leave_behind()
            self._kept = None
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

        Enclaves end at one tag, one microstep after the latest that any of them has reached; one that does not get there within a second
        ends at its own next microstep.

        Args:
            timeout: seconds to wait; None waits for ever.

        Raises:
            RunError: if a reaction is still busy when the time is up; the run ends when it returns.
            TypeError: if the timeout is no number of seconds, such as `ms(10)`.
        """
        timeout = seconds_of(timeout)
        self.request_stop()
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
        if self._kept is not None:
            self._kept.ended(self._failure, abandoned=self._abandoned)
        return self

    def checkpoint(self, name: str | None = None, timeout: float | None = None) -> Any:
        """Write a checkpoint of a kept run now, and wait until it is safe on the disk.

        Args:
            name: what it is called: one with a name stays when newer ones come, and `resume(…, at=name)` goes on from it.
            timeout: seconds to wait; None waits for ever.

        Returns:
            Its tag, folder and size.

        Raises:
            RunError: if the run is not kept, is over, or ends before.
            NotSavableError: if its state cannot be saved now.
            CheckpointNotWrittenError: if the disk is full or broken.
            TimeoutError: if it is not written in time; it is written later.
            TypeError: if the timeout is no number of seconds, such as `ms(10)`.
        """
        timeout = seconds_of(timeout)
        if self._kept is None:
            raise RunError(f"{self} is not kept, so there is nowhere to put a checkpoint: start it with keep=….")
        return self._kept.checkpoint(name, timeout)

    @property
    def kept(self) -> Path | None:
        """The folder in which the run is kept; None if it is not."""
        return None if self._kept is None else self._kept.path

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
        if isinstance(tags, bool) or not hasattr(tags, "__index__") or tags < 1:
            raise RunOptionError(f"step must be a whole number of at least 1 of tags, not {tags!r}.")
        self._engine.command(steps=tags)
        return self

    def set(self, path: str, value: Any) -> list[str]:
        """Change a parameter while the program runs: `run.set("learner.learning_rate", 1e-4)`. Any thread.

        The change is an event from outside, like a scheduled physical action: it gets a tag (the next one that the reactor's enclave
        executes, or one of its own at the present physical time, if that comes first), and is there before any reaction of
        that tag runs. It becomes part of the trace, of the fingerprint and of `changes`, with which it can be replayed. A
        paused run takes it when it goes on. Reactions with the parameter as trigger, `@reaction("learning_rate")`, run at that tag, or,
        if their mode is not active, when it is next entered.

        Args:
            path: names of contained reactors and at last a parameter: `learner.learning_rate`, `rollouts.epsilon` or `rollouts[*].epsilon` for
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
        """Wait for the end; false if `timeout` seconds were not enough. A `TypeError` if that is no number of seconds, such as `ms(10)`."""
        timeout = seconds_of(timeout)
        meanwhile = meanwhiles.get(threading.get_ident())
        if meanwhile is None:
            return self._wait(timeout)
        until = None if timeout is None else time.monotonic() + timeout
        with meanwhile:
            while True:
                left = (
                    meanwhile.seconds if until is None else max(min(meanwhile.seconds, until - time.monotonic()), 0.0)
                )
                if self._wait(left):
                    return True
                if until is not None and time.monotonic() >= until:
                    return False
                meanwhile.look()

    def _wait(self, timeout: float | None) -> bool:
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

    def exit_status(self) -> int:
        """The exit status of a process that ran the program, once the run is over: what a reaction passed to `sys.exit`, 1 for a failure or if
        a thread that a reaction started died of an exception (`warnings` says which), else 0.

        Waits for the threads that reactions started, as Python does before it exits; for daemons half a second.
        """
        threads.join(self.schedulers)
        at_exit.told(self)
        return exit_code(self._failure) or int(bool(self.notices.died))

    def result(self, timeout: float | None = None) -> Result:
        """Wait for the end and say how it was.

        Args:
            timeout: seconds to wait; None waits for ever.

        Raises:
            ReactionError: if a reaction raised; the reaction's own exception is its cause.
            TimeoutError: if the run is not over in time; it goes on.
            TypeError: if the timeout is no number of seconds, such as `ms(10)`.
        """
        if not self.wait(timeout):
            raise TimeoutError(f"{self} is not over after {timeout} s; it goes on.")
        if self._failure is not None:
            raise self._failure
        return Result(
            self.tag, self.seconds, self.reactions, self.workers, self.fingerprint, self._recorder.trace, self.metrics
        )


def register(run: Run) -> None:
    """A run has begun: it is one of `known_runs`, and is ended when the interpreter goes."""
    _alive.add(run)


def live_runs() -> list[Run]:
    """The runs of this process that have not ended, oldest first."""
    return sorted((run for run in _alive if run.is_alive), key=lambda run: run.number)


def known_runs() -> list[Run]:
    """The runs of this process that somebody still holds, alive or over, oldest first."""
    return sorted(_alive, key=lambda run: run.number)


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


# Called after `end_all`, and once Python has waited for threads that may ask.
atexit.register(at_exit.tell_failures)


@atexit.register
def end_all() -> None:
    """End all runs in order when the interpreter goes; see `at_exit.register` too."""
    at_exit.end(live_runs())
