"""What can be seen of a run, while it goes on and afterwards: state, rates, metrics, warnings, profile, the instances' state.

Everything here only looks. `Run` derives from it, and holds what begins, steers and ends a run.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from reactornb.cpu import Placement
from reactornb.errors import RunError, UnknownNameError, suggestion
from reactornb.graph import find_parameter
from reactornb.interpreter import environment
from reactornb.model import Reactor
from reactornb.options import RunOptions
from reactornb.runtime import at_exit
from reactornb.runtime.busy import Busy, BusyWatch
from reactornb.runtime.engine import Engine
from reactornb.runtime.fingerprint_log import FingerprintLog
from reactornb.runtime.imports import Progress
from reactornb.runtime.launch import Done
from reactornb.runtime.logs import Log
from reactornb.runtime.metrics import Metric, metrics_of
from reactornb.runtime.notices import Notices
from reactornb.runtime.outside import OutsideLog, Row
from reactornb.runtime.placing import HostTable
from reactornb.runtime.printed import Printed
from reactornb.runtime.profile import Profile, Profiler
from reactornb.runtime.sampling import Sample
from reactornb.runtime.scheduler import Scheduler
from reactornb.runtime.standing import StandingWatch
from reactornb.runtime.timeline import Timeline
from reactornb.runtime.trace import Recorder, Trace
from reactornb.runtime.tuning import Change
from reactornb.tags import Tag

__all__ = ["ObservedRun"]


class ObservedRun:
    """The part of `Run` that only looks. What it looks at is written by `Run` and by the engine's threads, as said there."""

    if TYPE_CHECKING:
        program: Any  # a `Program`, whose module imports that of `Run`
        number: int
        seed: int
        workers: int
        options: RunOptions
        notices: Notices
        placement: Placement
        _engine: Engine
        _recorder: Recorder
        _outside_log: OutsideLog | None
        _printed: Printed
        _finished: Done
        _failure: BaseException | None
        _seconds: float | None
        _began: float
        _stop_asked: bool
        _abandoned: bool
        _imports: Progress
        _watch: BusyWatch
        _standing: StandingWatch

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
    def began_s(self) -> float:
        """The start of the run by `time.perf_counter`, as `Column.wall_s` has it; for this package. Of a resumed run that of its first part, as if
        it had never been interrupted.
        """
        return self._began

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
        rows = sorted(
            self._recorder.changes[:], key=lambda row: row[:2]
        )  # stable: what one tag changed twice stays in order
        return [change for _, _, change in rows]

    @property
    def outside(self) -> list[Row]:
        """What came from outside so far, as rows of plain data: physical actions, changes of parameters, expired watchdogs, missed deadlines,
        clock reads, the stop. `program.start(replay=run.outside)` repeats the run bit for bit, with any number of workers.

        Raises:
            RunError: if the run records none of that.
        """
        if self._outside_log is None:
            raise RunError(f"{self} does not record what comes from outside; start it with record_outside=True.")
        return self._outside_log.rows[:]

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
        return None if self.options.fast or not self.is_alive else self._engine.lag_ns / 1e9

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
        """CPU seconds of each worker; 0 where nobody keeps account (before the end where it is not Linux)."""
        return self._engine.worker_seconds

    @property
    def hosts(self) -> HostTable:
        """Which hosts execute enclaves of this run, and how they do; empty without `place`. A table, shown as one."""
        return self._engine.hosts

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
            "hosts": [row._asdict() for row in self.hosts],
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

    def profile(self) -> Profile:
        """Per reaction how often and how long it ran, its share, how long it waited for a worker, and on which it ran; at any time. Those of
        hosts are in it as far as they have told; their workers are called "h0.1", worker 1 of host 0.

        Raises:
            RunError: if the run was not started with profile=True.
        """
        return self._profiler().profile()

    def timeline(self) -> Timeline:
        """Who ran what, when, on which worker: of a long run about the newest 1,000,000 spans, shared out among the workers (40 MB). The workers
        of hosts come last, "host 0 · worker 1".

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
    def fingerprint_log(self) -> FingerprintLog:
        """A hash of each write: `save` it for `reactornb diff`, or ask for its `difference` to another run's. Complete once the run is over.

        Raises:
            RunError: if the run keeps none.
        """
        log = self._recorder.fingerprint_log
        if log is None:
            raise RunError(
                f"{self} keeps no hash of each write; start it with fingerprint_log=True (%reactor start --fingerprint-log)."
            )
        return log

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
