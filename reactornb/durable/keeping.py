"""`Keeping`: what writes a kept run into its folder, and gives it back to the run that goes on.

It ties together what know nothing of each other: cuts (`runtime.cut`), the state of objects (`objects`), the folder and its writer, and what came
from outside (`runtime.outside`, `inputs`). `keep` begins a new run, `resume` and `rewind` go on with one.

What the kinds of the journal's records mean:

| kind | tag | body |
|---|---|---|
| begun | (-1, 0) | workers, options |
| input | of the row | see `inputs` |
| metrics | of its last row | see `metric_rows` |
| change | from which it holds | path, old, new, reactor |
| note | at which the run was | text: a warning to its user |
| checkpoint | of the cut | folder, name |
| ended | the last | state, seconds, wall, fingerprint, failure, until: whether it came to its `until=` |
| resumed | of the cut from which it goes on, (-1, 0): from the start | tags: per reactor, of its enclave's cut; inputs: how many records of inputs count; checkpoint; workers |
| void | | tags: what reactors logged after these does not count |

# _run, _engine, _writer   set by `begin` before any thread of the run goes on; None where it was not called
# _asked, _superseded      futures of checkpoints that somebody waits for, with their names; of those that were dropped for a newer one; under _lock
# _early                   worker 0, which makes the schedule; `begin` comes after that
# _over                    set once under _lock: what comes later is dropped
# _due, _done_before, _changes, _notes, _reader   the writer's thread only, and after it ended whoever ends the run
# _trials                  each entry by that enclave's leader, before the cut is complete
# _tried, _tries, _outer   the leader that completes a cut, one at a time: the next is asked for when it is done, or by the timer
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from reactornb.durable.about import about_of
from reactornb.durable.code import texts
from reactornb.durable.folder import CheckpointInfo, RunFolder, runs_root
from reactornb.durable.inputs import INPUT, body_of
from reactornb.durable.log_rows import LogReader
from reactornb.durable.new_folder import folder_for, free_name, remove
from reactornb.durable.objects import Known, NotSavableError, Trial, capture
from reactornb.durable.outer import Outer
from reactornb.durable.rehearsal import rehearse_cut
from reactornb.durable.returning import Returning
from reactornb.durable.writer import Writer
from reactornb.errors import ReactorError, RunError, RunOverError
from reactornb.model import Reactor
from reactornb.options import RunOptions
from reactornb.runtime.codec import Classes, Encoded, encode
from reactornb.runtime.cut import CUT_CLASSES, Cut
from reactornb.runtime.outside_rows import OutsideLog, Row
from reactornb.tags import as_duration

__all__ = ["BEFORE", "CLASSES", "Keeping", "keep", "type_of"]

Tag = tuple[int, int]
BEFORE: Tag = (-1, 0)
"""A tag before the first, as the journal has it."""
CLASSES = Classes(CUT_CLASSES)
_EVERY_S = 300.0
_COLLECT_S = 1.0
_MOST_SHOWN = 1 << 16  # bytes
_TRIES = 5  # cuts that are asked for at once because the first tag is not done; then the timer asks


def keep(program: Any, options: RunOptions) -> Keeping:
    """See `runtime.kept.keep`."""
    root = runs_root()
    name = free_name(root, program.name) if options.keep is True else str(options.keep)
    folder = folder_for(root, name, about_of(program, options), texts(program.graph))
    return Keeping(folder, Known(type_of(program)), options, is_new=True, copy_inputs=True)


def type_of(program: Any) -> list[type]:
    """The classes of a program's reactors."""
    return list(dict.fromkeys(node.cls for node in program.graph.reactors))


class _Refused:
    """Stands in a cut for an enclave that could not be saved."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Keeping(Returning):
    """Keeps one run; see `runtime.kept.Kept`.

    Args:
        folder: open for writing.
        known: the classes that saved state may name.
        options: of the run.
        is_new: the folder was made for this run: it goes if the run does not begin.
        resumed: the body of the record "resumed", if it is one that goes on in its folder.
        copy_inputs: write what is replayed, too: this folder does not have it.
        **before: see `Returning`.
    """

    path: Path
    outside_log: OutsideLog

    def __init__(
        self,
        folder: RunFolder,
        known: Known,
        options: RunOptions,
        *,
        is_new: bool,
        resumed: Mapping[str, Any] | None = None,
        copy_inputs: bool = False,
        **before: Any,
    ) -> None:
        super().__init__(known, **before)
        self.path = folder.path
        self.outside_log = OutsideLog(self._came, keep=options.record_outside)
        self._folder = folder
        self._is_new = is_new
        self._resumed = resumed
        self._resumed_at = BEFORE if self.start_from is None else self.start_from.tag
        self._copy_inputs = copy_inputs
        every = as_duration(options.checkpoint)
        self._every_s = _EVERY_S if every is None else every / 1e9
        self._lock = threading.Lock()
        self._asked: list[tuple[str | None, Future[CheckpointInfo]]] = []
        self._superseded: list[Future[CheckpointInfo]] = []
        self._over = False
        self._closed = threading.Event()
        self._stopped = False  # a cut was taken since somebody outside asked for the end
        parts = [] if self.start_from is None else self.start_from.enclaves
        self._tried = frozenset(at for at, part in enumerate(parts) if part.begun)
        self._early: list[tuple[Tag, bytes]] = []  # what came while the schedule was made
        self._trials: dict[int, Trial] = {}
        self._outer = Outer(known)
        self._tries = 0
        self._due = 0.0
        self._done_before = -1
        self._changes = self._notes = 0
        self._writer: Writer | None = None
        self._reader: LogReader | None = None

    def begin(self, run: Any) -> None:
        """See `Kept`."""
        super().begin(run)
        self._reader = LogReader(run.logs, self.began_s)
        self._changes = len(run._recorder.changes)
        self._due = time.monotonic() + self._every_s
        self._writer = Writer(
            self._folder, run.notices.add, collect=self._collect, collect_every_s=min(_COLLECT_S, self._every_s)
        )
        facts = {"workers": run.workers, "pid": os.getpid(), "wall": time.time()}
        if self._resumed is None:
            self._write("begun", BEFORE, facts)
        else:
            self._write("resumed", self._resumed_at, {**self._resumed, **facts})
        for tag, body in self._early:
            self._write(INPUT, tag, body)
        if not self._tried:
            self._engine.request_cut()

    # -- what the run tells ---------------------------------------------------------------------------------------------

    def _came(self, row: Row, again: bool) -> None:
        """Something came from outside; any thread of the run."""
        if again and not self._copy_inputs:
            return
        body = body_of(row, self._known, self._lost)
        if self._writer is None:
            self._early.append((row[3], body))
        else:
            self._write(INPUT, row[3], body)

    def _lost(self, words: str) -> None:
        self._run.notices.add(
            "input lost",
            f"what came from outside cannot be saved, so this run can be resumed only from its checkpoints after it: {words}",
        )

    def _write(self, kind: str, tag: Tag, body: Any) -> None:
        writer = self._writer
        if writer is not None:
            try:
                writer.write(kind, _written(tag), body)
            except ValueError:  # closed: a reaction of an abandoned run has returned
                if not self._over:
                    raise

    def capture(self, enclave: int, instances: Sequence[Reactor], values: Sequence[Any]) -> Any:
        """See `Keeper`. What cannot be saved after the rehearsal has gone well costs this checkpoint, not the run."""
        border = self._engine.schedulers[enclave].border
        position = 0 if border is None else border.position
        try:
            if enclave in self._tried:
                tree = capture(instances, self._known, values=values)
            else:
                trial = self._trials[enclave] = Trial(instances, self._known, values=values)
                tree = trial.tree
        except Exception as error:
            if not self._tried:
                raise
            return _Refused(error)
        return {"tree": tree, "position": position}

    def taken(self, cut: Cut) -> None:
        """See `Keeper`."""
        self._stopped = self._stopped or cut.before_stop
        if self._over:
            return
        if not any(part.begun for part in cut.enclaves):
            self._not_begun(cut)
            return
        refused = [part.objects.error for part in cut.enclaves if isinstance(part.objects, _Refused)]
        if not refused:
            try:
                self._rehearse(cut)
            except NotSavableError as error:
                if not self._tried:
                    raise
                refused = [error]
        is_look = not refused and self._outer.look(self._run, self._engine.request_cut, before_stop=cut.before_stop)
        with self._lock:
            asked, self._asked = self._asked, []
        if refused:
            self._cannot(refused[0], asked)
            return
        if is_look and not asked:
            return
        for name, future in asked or [(None, Future())]:
            self._hand_over(cut, name, future)

    def _not_begun(self, cut: Cut) -> None:
        """A cut before the first tag: the next one is wanted."""
        self._tries += 1
        if self._tries < _TRIES and not cut.before_stop:
            self._engine.request_cut()
        elif self._engine.paused:  # and was not just told to step
            self._refuse_before_first()

    def _refuse_before_first(self) -> None:
        """Nobody waits for a checkpoint of a run that will not come to its first tag by itself."""
        with self._lock:
            asked, self._asked = self._asked, []
        self._tries = 0
        words = f"{self._run} has not executed its first tag, so there is nothing to keep: step() or resume() it first."
        for _, future in asked:
            future.set_exception(RunError(words))

    def _rehearse(self, cut: Cut) -> None:
        """Try out whether the run could be resumed: each enclave once, when it has begun.

        Raises:
            NotSavableError: if it could not.
        """
        new = [at for at, part in enumerate(cut.enclaves) if part.begun and at not in self._tried]
        if not new:
            return
        trials = [self._trials.pop(at) for at in new]
        untried = rehearse_cut(self._run.program.graph, self._run.seed, cut, trials, self._known)
        if untried:
            self._run.notices.add("rehearsal", f"whether this run can be resumed could not be tried: {untried}.")
        self._tried = self._tried.union(new)

    def _cannot(self, error: BaseException, asked: list[tuple[str | None, Future[CheckpointInfo]]]) -> None:
        words = str(error) if isinstance(error, ReactorError) else f"{type(error).__name__}: {error}"
        self._run.notices.add(
            "checkpoint", f"no checkpoint can be made at tag {self._run.tag}: {words} The run goes on."
        )
        for _, future in asked:
            future.set_exception(error)

    def _hand_over(self, cut: Cut, name: str | None, future: Future[CheckpointInfo]) -> None:
        assert self._writer is not None
        extra = {
            "seconds": self._run.seconds,
            "before_stop": cut.before_stop,
            "tags": [list(part.tag) for part in cut.enclaves],
            "fingerprint": self._run.fingerprint,
        }
        try:
            done = self._writer.checkpoint(cut.tag, lambda: self._encoded(cut), extra, name)
        except ValueError:
            future.set_exception(RunOverError(f"{self._run} is over; it takes no more checkpoints."))
            return
        with self._lock:  # those whose own one was dropped for this one, by this very call
            futures = [future, *self._superseded]
            self._superseded = []
        done.add_done_callback(lambda written: self._pass_on(written, futures))

    def _pass_on(self, written: Future[CheckpointInfo], futures: list[Future[CheckpointInfo]]) -> None:
        """What became of a checkpoint, to whoever waits for it; any thread."""
        if written.cancelled():
            with self._lock:
                self._superseded += futures
        elif (error := written.exception()) is not None:
            for future in futures:
                future.set_exception(error)
        else:
            for future in futures:
                future.set_result(written.result())

    # -- the writer's thread --------------------------------------------------------------------------------------------

    def _encoded(self, cut: Cut) -> Encoded:
        logged = [0] * len(self._run.logs)
        counts = [iter(part.logged) for part in cut.enclaves]
        for node in self._run.program.graph.reactors:
            logged[node.index] = next(counts[node.enclave])
        self._write_metrics(logged)
        return encode(cut, CLASSES)

    def _collect(self) -> None:
        """Write what has come since, and ask for a checkpoint when it is time."""
        run, reader = self._run, self._reader
        assert reader is not None
        lengths = [len(log) for log in run.logs]
        now_at = [self._executing(scheduler) for scheduler in self._engine.schedulers]
        nodes = run.program.graph.reactors
        self._write_metrics([reader.before(node.index, lengths[node.index], now_at[node.enclave]) for node in nodes])
        self._write_told()
        now = time.monotonic()
        assert self._writer is not None
        if not self._tried and run.is_alive:
            self._engine.request_cut()
        elif now >= max(self._due, self._writer.rested):
            # Where the disk is slow, they are written at most half of the time, and none is asked for again before it can be there.
            self._due = max(self._due + self._every_s, now + 2 * self._writer.wrote_s)
            done = run.reactions
            if done != self._done_before:  # of a run that stands there is one already
                self._done_before = done
                self._engine.request_cut()

    @staticmethod
    def _executing(scheduler: Any) -> Tag | None:
        """The tag that an enclave executes, whose rows may not count yet; None if it waits. Looked at after the logs' lengths."""
        tag = scheduler.current_tag()
        return None if scheduler.waiting or scheduler.over else (tag.time_ns, tag.microstep)

    def _write_metrics(self, until: Sequence[int | None]) -> None:
        assert self._reader is not None
        for tag, body in self._reader.new(until):
            self._write("metrics", tag, body)

    def _write_told(self) -> None:
        run = self._run
        changes = run._recorder.changes
        for tag, _, change in changes[self._changes :]:
            self._changes += 1
            facts = {
                "path": change.path,
                "old": _shown(change.old),
                "new": _shown(change.new),
                "reactor": self._index(change.path),
            }
            self._write("change", tag, facts)
        words = run.notices.words
        for text in words[self._notes :]:
            self._notes += 1
            self._write("note", run.tag, {"text": text})

    def _index(self, path: str) -> int:
        name = path.rpartition(".")[0]
        return next((node.index for node in self._run.program.graph.reactors if node.name == name), -1)

    # -- a checkpoint that somebody asks for ----------------------------------------------------------------------------

    def checkpoint(self, name: str | None, timeout: float | None) -> CheckpointInfo:
        """See `Kept`.

        Raises:
            RunError: if it is the run's own thread that asks.
            RunOverError: if the run is over, or ends before.
            NotSavableError: if the run cannot be saved now.
            CheckpointNotWrittenError: if the disk is full or broken.
            TimeoutError: if it is not written in time; it is written later.
        """
        future: Future[CheckpointInfo] = Future()
        if any(worker.thread is threading.current_thread() for worker in self._engine.workers):
            raise RunError(
                "a reaction cannot wait for a checkpoint of its own run, which is made between two tags: ask from another thread."
            )
        with self._lock:
            if self._over or not self._run.is_alive:
                raise RunOverError(f"{self._run} is over; it takes no more checkpoints.")
            self._asked.append((name, future))
        self._engine.request_cut()
        until = None if timeout is None else time.monotonic() + timeout
        while True:  # in slices: see `Run.wait`
            left = 0.5 if until is None else min(until - time.monotonic(), 0.5)
            try:
                return future.result(max(left, 0.0))
            except TimeoutError:
                if future.done():
                    raise
                if until is not None and time.monotonic() >= until:
                    raise TimeoutError(
                        f"{self._run}: a reaction has not returned for {timeout} s; the checkpoint is made when it does."
                    ) from None

    # -- the end --------------------------------------------------------------------------------------------------------

    def ended(self, failure: BaseException | None, *, abandoned: bool = False) -> None:
        """See `Kept`."""
        with self._lock:
            if self._writer is None:
                return
            is_first, self._over = not self._over, True
            waiting = [*(future for _, future in self._asked), *self._superseded]
            self._asked, self._superseded = [], []
        for future in waiting:
            future.set_exception(RunOverError(f"{self._run} ended before a checkpoint could be made."))
        if is_first:
            state = (
                "abandoned"
                if abandoned
                else "failed"
                if failure is not None
                else "stopped"
                if self._stopped
                else "finished"
            )
            try:
                self._writer.close(lambda: self._write_end(state, failure))
            finally:
                self._closed.set()
        elif not abandoned:
            self._closed.wait()

    def _write_end(self, state: str, failure: BaseException | None) -> None:
        """All that waited has been written; the writer's thread is gone."""
        run, reader = self._run, self._reader
        assert reader is not None
        tag, until = run.tag, run.options.until_ns
        if state != "abandoned":  # what its reactions log from now on does not count
            self._write_metrics([None] * len(run.logs))
        self._write_told()
        if reader.shrunk():
            self._write("void", tag, {"tags": [log.tag(len(log) - 1) if len(log) else BEFORE for log in run.logs]})
        facts = {
            "state": state,
            "seconds": run.seconds,
            "wall": time.time(),
            "fingerprint": run.fingerprint,
            "failure": None if failure is None else str(failure),
            "until": state == "finished" and until is not None and tag.time_ns >= until,
        }
        self._write("ended", tag, facts)

    def give_up(self) -> None:
        """See `Kept`."""
        with self._lock:
            self._over = True
        if self._writer is not None:
            self._writer.close()
        else:
            self._folder.close()
        if self._is_new:
            remove(self.path)

    def leave_behind(self) -> None:
        """See `Kept`."""
        self._lock = threading.Lock()
        self._over = True
        self._writer = None


def _written(tag: tuple[int, int]) -> Tag:
    """A tag as the journal has it."""
    return BEFORE if tag[1] < 0 else (tag[0], tag[1])


def _shown(value: Any) -> Any:
    """A parameter's value as the journal has it: itself, or words if the codec alone does not know it."""
    try:
        small = encode(value).nbytes <= _MOST_SHOWN
    except ReactorError:
        small = False
    return value if small else repr(value)[:200]
