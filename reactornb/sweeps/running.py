"""`Sweep`: trials that are performed a few at a time, on threads that each take the next one; which trials there are, its maker says.

A *slot* is a thread with CPUs of its own. It takes a trial, assembles its program, starts the run, waits for its end, writes down what came of it, and
takes the next. The run's own threads do the work: a slot sleeps.

# _queue      under _lock: slots take trials
# _all        appended to by slots, where it is not known before which trials there are; read by any thread as a copy
# _stopping   set once by whoever stops the sweep, before it asks the runs to end; a slot reads it before a start and again after it,
#             so a run either is not begun, or is asked to end
# _working    under _lock: slots that have not ended; the last one sets `_over`
# _warned     appended to by slots, under _lock
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, overload

from reactornb.errors import RunError
from reactornb.runtime import Run, at_exit
from reactornb.runtime.launch import Done, undisturbed
from reactornb.runtime.run import end_all, meanwhiles
from reactornb.sweeps.errors import SweepError
from reactornb.sweeps.progress import Line, counts_in
from reactornb.sweeps.scores import Score
from reactornb.sweeps.table import Summary, Table, to_frame
from reactornb.sweeps.trial import Take, Trial
from reactornb.tags import seconds_of

if TYPE_CHECKING:
    from reactornb.sweeps.store import Store

__all__ = ["Slot", "Sweep", "live_sweeps"]

_VIEW = "reactornb.viz.sweep_view"  # above this package: named, and loaded when somebody looks
_CURVES = "reactornb.viz.curves"
_LOOK_S = 0.5  # how often a slot looks whether it should end its run
_TOLD = 5  # failures that are told in words
_WAIT_S = 0.2  # how often who waits looks how far it is

_numbers = itertools.count(1)
_alive: weakref.WeakSet[Sweep] = weakref.WeakSet()

Slot = Mapping[str, Any]
"""The options of a run that say on which CPUs a slot's runs are."""


class Sweep(Sequence[Trial]):
    """Many runs, each a `Trial`: a sequence of them, in the order of their numbers. `sweep` and `optimize` make it.

    Args:
        trials: all of them, in the order in which they are performed.
        slots: where they are performed, one at a time in each.
        score: how good a trial was.
        maximize: whether a greater score is better.
        store: where they are kept; None: nowhere.
        take: what is made of each run before it is let go.

    Attributes:
        number: of the sweeps of this process, from 1.
        name: what it is called.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        slots: Sequence[Slot],
        *,
        score: Score,
        maximize: bool = True,
        store: Store | None = None,
        take: Take | None = None,
    ) -> None:
        self.number = next(_numbers)
        self.name = f"sweep {self.number}" if store is None else store.name
        self.maximize = maximize
        self.slots = list(slots)
        self._all = list(trials)
        self._queue = iter(self._all)
        self._score = score
        self._store = store
        self._take_of = take
        self._lock = threading.Lock()
        self._working = 0
        self._stopping = threading.Event()
        self._over = Done()
        self._warned: list[str] = []
        self._began = time.perf_counter()
        self._seconds: float | None = None
        self._fault: BaseException | None = None  # written by a slot that ends, before it leaves

    def begin(self) -> Sweep:
        """Start the slots; returns this object. Called once, by its maker.

        Raises:
            RunError: if the system has no threads for them; those that began go on.
        """
        threads = [
            threading.Thread(target=self._work, args=(slot,), name=f"reactornb-{self.name}-{place}", daemon=True)
            for place, slot in enumerate(self.slots)
        ]
        self._working = len(threads)

        def start() -> None:
            at_exit.register(end_all)
            at_exit.register(_stop_all)  # later, so it is called before: nothing is begun while runs are ended
            _alive.add(self)
            for done, thread in enumerate(threads):
                try:
                    thread.start()
                except (RuntimeError, MemoryError) as error:
                    self._leave(len(threads) - done)
                    if not done:
                        raise RunError(f"{self.name}: the system gives no thread ({error}).") from error
                    self._warn(
                        f"it runs {done} trials at once instead of {len(threads)}: the system gives no more threads."
                    )
                    break

        undisturbed(start)
        return self

    # -- performing ---------------------------------------------------------------------------------------------------

    def _work(self, slot: Slot) -> None:
        try:
            while (job := self._take()) is not None:
                for trial in job:
                    if self._stopping.is_set():
                        break
                    self._perform(trial, slot)
        except BaseException as error:  # noqa: BLE001 - such as a search space's: the other slots go on, and who waits is told
            self._fault = error
            self._warn(f"a place for trials is gone: {type(error).__name__}: {error}")
        finally:
            self._leave(1)

    def _leave(self, slots: int) -> None:
        with self._lock:
            self._working -= slots
            last = self._working == 0
        if last:
            self._finish()
            self._seconds = time.perf_counter() - self._began
            self._over.set()

    def _take(self) -> Iterator[Trial] | None:
        """The next trials for a slot, one after the other; None: there is no more."""
        with self._lock:
            trial = None if self._stopping.is_set() else next(self._queue, None)
        return None if trial is None else iter((trial,))

    def _perform(self, trial: Trial, slot: Slot) -> None:
        trial.begins()
        try:
            run = self._start(trial, slot)
        except BaseException as error:  # noqa: BLE001 - whatever an environment raises: it is the row's, not the sweep's
            trial.failed(error)
            return
        if run is None:
            return
        state = None
        while not run.wait(_LOOK_S):
            if self._stopping.is_set():
                run.request_stop()
            elif state is None and self._is_hopeless(trial):
                state = "pruned"
                run.request_stop()
        if self._stopping.is_set() and run.state == "stopped":
            state = None
        trial.ended(run, self._score, state, self._take_of)
        for words in run.warnings:
            self._warn(words)

    def _start(self, trial: Trial, slot: Slot) -> Run | None:
        """Start the run of a trial; None if there is nothing to run."""
        program = trial.make()
        options = {**trial.options, **slot}
        store = self._store
        stored = None if store is None else store.found(trial)
        if store is not None and stored is not None:
            if store.code_changed(stored, program):
                self._warn(
                    f"{stored.id} and perhaps others were run with other code than there is now; another name, keep=…, runs them anew."
                )
            if store.is_done(stored):
                self._settle(trial, stored)
                return None
        if self._stopping.is_set():
            trial.waits()
            return None
        if store is None:
            run = program.start(**options, seed=trial.seed)
        else:
            run = store.begin(trial, program, options, stored)
            trial.kept = "" if run.kept is None else run.kept.name
        trial.has_begun(run)
        if self._stopping.is_set():
            run.request_stop()
        return run

    def _settle(self, trial: Trial, stored: Any) -> None:
        """A row of a run that is there already."""
        if stored.state in ("finished", "failed"):
            trial.settle(stored, self._score, stored.state)
        else:
            why = stored.problem or "another process, or another sweep, runs it"
            trial.failed(RunError(f"{stored.id} is {stored.state}: {why}."))

    def _is_hopeless(self, trial: Trial) -> bool:  # noqa: ARG002 - see `search`
        """Whether a trial that runs need not be run to its end; asked a few times a second."""
        return False

    def _finish(self) -> None:
        """Every slot has ended."""

    def _warn(self, words: str) -> None:
        with self._lock:
            if words not in self._warned:
                self._warned.append(words)

    def _leave_behind(self) -> None:
        """In a forked child, where none of its threads is: here it is over."""
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._stopping.set()
        self._over = Done()
        self._over.set()

    # -- commands -----------------------------------------------------------------------------------------------------

    def request_stop(self) -> None:
        """Begin no more trials, and ask the runs to end; do not wait. Any thread."""
        self._stopping.set()
        for trial in self.trials:
            run = trial.run
            if run is not None:
                run.request_stop()

    def stop(self, timeout: float | None = 10.0) -> Sweep:
        """Begin no more trials, end the runs in order, and wait for it. Kept ones go on when the sweep is started again.

        Args:
            timeout: seconds to wait; None waits for ever.

        Raises:
            RunError: if a reaction is still busy when the time is up; its run ends when it returns.
        """
        self.request_stop()
        if not self._wait(seconds_of(timeout)):
            busy = [str(run) for trial in self.trials if (run := trial.run) is not None]
            raise RunError(
                f"{self.name} has not ended after {timeout} s: {'; '.join(busy) or 'a program is being assembled'}."
            )
        return self

    def wait(self, timeout: float | None = None, *, progress: bool | None = None) -> bool:
        """Wait until all trials are over; false if `timeout` seconds were not enough.

        Args:
            timeout: seconds; None waits for ever.
            progress: a line on stderr says how far it is and what time is left; None: on a terminal only.
        """
        timeout = seconds_of(timeout)
        meanwhile = meanwhiles.get(threading.get_ident())  # of a cell, whose panel moves
        line = Line(self, progress if meanwhile is None else progress or False)
        until = None if timeout is None else time.monotonic() + timeout
        pause = _WAIT_S if meanwhile is None else meanwhile.seconds
        with contextlib.nullcontext() if meanwhile is None else meanwhile:
            try:
                while True:
                    left = pause if until is None else max(min(pause, until - time.monotonic()), 0.0)
                    if self._over.wait(left):
                        return True
                    if until is not None and time.monotonic() >= until:
                        return False
                    line.look()
                    if meanwhile is not None:
                        meanwhile.look()
            finally:
                line.close()

    def _wait(self, timeout: float | None) -> bool:
        return self._over.wait(timeout)

    def result(self, timeout: float | None = None) -> Sweep:
        """Wait until all trials are over; returns this object.

        Raises:
            TimeoutError: if they are not in time; they go on.
            SweepError: if every trial failed, or no more trials could be chosen.
        """
        if not self.wait(timeout):
            raise TimeoutError(f"{self.name} is not over after {timeout} s; it goes on.")
        if self._fault is not None:
            raise SweepError(f"{self.name}: {type(self._fault).__name__}: {self._fault}") from self._fault
        failures = [trial.failure for trial in self.trials if trial.state == "failed"]
        if failures and len(failures) == len(self.trials):
            raise SweepError(
                f"{self.name}: every trial failed, {len(failures)} in all. The first: {failures[0]}",
                failures=tuple(failures),
            )
        return self

    # -- looking ------------------------------------------------------------------------------------------------------

    @property
    def trials(self) -> list[Trial]:
        """All that are known so far."""
        return list(self._all)

    @property
    def total(self) -> int:
        """How many there will be."""
        return len(self._all)

    @property
    def is_alive(self) -> bool:
        """Whether trials are performed, or will be."""
        return not self._over.is_set()

    @property
    def state(self) -> str:
        """One of "running", "finished" (no trial is left, though some may have failed) and "stopped"."""
        if self.is_alive:
            return "running"
        return "finished" if all(trial.state not in ("waiting", "stopped") for trial in self.trials) else "stopped"

    @property
    def seconds(self) -> float:
        """Physical seconds since it was started, until its end."""
        return time.perf_counter() - self._began if self._seconds is None else self._seconds

    @property
    def warnings(self) -> list[str]:
        """What its user should know, and what its runs' users should."""
        with self._lock:
            return self._warned.copy()

    @property
    def best(self) -> Trial | None:
        """The trial with the best score; None as long as no trial that is over has one. See `summary` for the best configuration."""
        scored = [trial for trial in self.trials if trial.score is not None and trial.state in ("finished", "stopped")]
        return max(scored, key=self._goodness, default=None)

    def _goodness(self, trial: Trial) -> float:
        assert trial.score is not None
        return trial.score if self.maximize else -trial.score

    @property
    def best_score(self) -> float | None:
        """Its score."""
        best = self.best
        return None if best is None else best.score

    @property
    def summary(self) -> Summary:
        """The configurations, the best first: mean and spread of the scores over the seeds, as a table that displays itself."""
        return Summary.of(self.trials, maximize=self.maximize)

    @property
    def table(self) -> Table:
        """The trials, as a table that displays itself."""
        return Table.of(self.trials)

    def to_frame(self) -> Any:
        """A `pandas.DataFrame` with a row for each trial.

        Raises:
            MissingPackageError: if pandas is not installed.
        """
        return to_frame(self.trials)

    @property
    def runs(self) -> Any:
        """Its kept runs, as `Runs` has them.

        Raises:
            RunError: if it is not kept.
        """
        if self._store is None:
            raise RunError(f"{self.name} is not kept; start it with keep=….")
        from reactornb.durable.runs import Runs

        names = {trial.kept for trial in self.trials if trial.kept}
        return Runs(self._store.root).where(lambda run: run.id in names)

    def plot(self, metrics: Any = None, **options: Any) -> Any:
        """The learning curves as a Matplotlib figure, a mean and a band for each configuration; see `reactornb.viz.plot`."""
        begun = [trial for trial in self.trials if trial.state != "waiting" and trial.metrics]
        return import_module(_CURVES).plot(begun, metrics, **options)

    @overload
    def __getitem__(self, index: int) -> Trial: ...
    @overload
    def __getitem__(self, index: slice) -> list[Trial]: ...
    def __getitem__(self, index: int | slice) -> Trial | list[Trial]:
        """A trial by its place, or some of them."""
        return self.trials[index]

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Trial]:
        return iter(self.trials)

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __repr__(self) -> str:
        """In words: what, how far, how well each configuration did, what failed."""
        lines = [self.heading()]
        best = self.best
        if best is not None and len(self.trials) > 1:
            lines.append(f"best {best.score:.4g}: {', '.join(filter(None, (best.group, f'seed {best.seed}')))}")
        lines += [f"warning: {words}" for words in self.warnings]
        failed = [trial for trial in self.trials if trial.state == "failed"]
        for trial in failed[:_TOLD]:
            lines.append(f"trial {trial.number} failed: {next(iter(trial.failure.splitlines()), '')}")
        lines += [f"and {len(failed) - _TOLD} more failed"] if len(failed) > _TOLD else []
        return "\n".join([*lines, "", repr(self.summary)])

    def _repr_html_(self) -> str:
        return str(import_module(_VIEW).sweep_html(self))

    def heading(self) -> str:
        """One line: what, state, counts, duration."""
        words = ", ".join(f"{count} {state}" for state, count in counts_in(self.trials).items())
        return f"{self.name}: {self.state}, {self.total} trials{f' ({words})' if words else ''}, {self.seconds:.1f} s"


def live_sweeps() -> list[Sweep]:
    """The sweeps of this process that are not over, oldest first."""
    return sorted((sweep for sweep in _alive if sweep.is_alive), key=lambda sweep: sweep.number)


def _stop_all() -> None:
    """The script is over: begin no more trials, and end the runs; what does not end is told by `end_all`, which comes next."""
    sweeps = live_sweeps()
    for sweep in sweeps:
        sweep.request_stop()
    until = time.monotonic() + at_exit.PATIENCE_S
    for sweep in sweeps:
        sweep._wait(max(until - time.monotonic(), 0.0))


def _leave_all_behind() -> None:
    for sweep in live_sweeps():
        sweep._leave_behind()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_all_behind)
