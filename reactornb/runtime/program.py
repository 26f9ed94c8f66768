"""`Program`: a checked graph, to be run any number of times."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

from reactornb import cpu
from reactornb.errors import DeclarationError, RunError
from reactornb.graph import Graph, assemble
from reactornb.model import Reactor
from reactornb.options import RunOptions, options_of, with_options
from reactornb.runtime import at_exit
from reactornb.runtime.fingerprint_log import FingerprintLog
from reactornb.runtime.kept import Kept, keep
from reactornb.runtime.launch import Launch, undisturbed
from reactornb.runtime.outside import OutsideLog, Replay, are_rows
from reactornb.runtime.placing import Placed, place
from reactornb.runtime.result import Result
from reactornb.runtime.run import Run, end_all, register
from reactornb.runtime.trace import Recorder, refuse_types
from reactornb.runtime.tuning import replayed

__all__ = ["Program"]


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

    _log_type = FingerprintLog

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

    @with_options
    def start(self, options: RunOptions | None = None, /, **changes: Any) -> Run:
        """Run in the background.

        Args:
            options: all options as one object, such as `run.options` of an earlier run; those given by name win.
            {options}

        Raises:
            RunError: if the program is running already.
            RunOptionError: for an option that there is not, or a value that does not fit.
            UnknownNameError, ParameterError: if what is to be replayed does not fit the program.
            UnrecordableValueError: if a fingerprint is to be kept, and a port declares a type of which no value can be judged.
        """
        chosen = self._decided(options_of(options, changes))
        self._check_idle()
        if chosen.fingerprint:
            refuse_types(self.graph)
        if chosen.keep is None:
            return self._start(chosen, None)
        made: list[Kept] = []
        try:
            undisturbed(lambda: made.append(keep(self, chosen)))
        except BaseException:
            for kept in made:  # the wait was interrupted
                kept.give_up()
            raise
        return self._start(chosen, made[0])

    def _start(self, chosen: RunOptions, kept: Kept | None) -> Run:
        """Begin a run, new or one that goes on.

        Args:
            chosen: all options, decided.
            kept: who keeps it or gives back its state; told to give up if the run does not begin.
        """
        run: Run | None = None
        try:
            self._check_idle()
            run = self._made(chosen, kept)
            run._introduce()
            run._engine.prepare()
            at_exit.register(end_all)
            Launch(lambda launch: self._begin(run, launch)).run()
        except BaseException:
            if kept is not None and (run is None or not run._begun):
                kept.give_up()
            raise
        return run

    def _made(self, chosen: RunOptions, kept: Kept | None) -> Run:
        log = None
        if chosen.fingerprint_log:
            log = self._log_type(self.name, chosen.seed)
            log.introduce(self.graph)
        recorder = Recorder(
            trace=chosen.trace, fingerprint=chosen.fingerprint, fingerprint_log=log, check_values=chosen.check_values
        )
        to_replay = list(chosen.replay)
        outside_replay = Replay(to_replay) if are_rows(to_replay) else None
        changes_to_replay = replayed(self.graph, to_replay if outside_replay is None else ())
        outside_log = OutsideLog() if chosen.record_outside else None
        if kept is not None:
            outside_log, outside_replay = kept.outside_log or outside_log, outside_replay or kept.outside_replay
        placed: Placed | None = None if chosen.place is None else place(self, chosen)
        return undisturbed(
            lambda: Run(self, chosen, recorder, changes_to_replay, outside_log, outside_replay, kept, placed)
        )

    def _decided(self, options: RunOptions) -> RunOptions:
        """The options with what was left open decided for this program and this machine."""
        return replace(
            options,
            workers=cpu.default_workers() if options.workers is None else options.workers,
            nice=cpu.default_nice() if options.nice is None else options.nice,
            fingerprint=options.fingerprint or options.fingerprint_log,
            fast=not self.root.needs_physical_time if options.fast is None else options.fast,
        )

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
            register(run)
            if run._kept is not None:
                run._kept.begin(run)
            run._begun = True
            engine.begin()

    @with_options
    def run(self, options: RunOptions | None = None, /, **changes: Any) -> Result:
        """Run to the end and return the result.

        Args:
            options: all options as one object; those given by name win.
            {options}

        Raises:
            ReactionError: if a reaction raised.
        """
        before = self._run
        try:
            return self.start(options, **changes).result()
        except BaseException:
            run = self._run
            if run is not None and run is not before:
                run.stop()  # also if the wait, or the end of `start`, was interrupted
            raise

    @property
    def last_run(self) -> Run | None:
        """The run started last, alive or ended."""
        return self._run

    def __repr__(self) -> str:
        return f"<Program {self.name}: {self.graph}>"
