"""A run as it stands in its folder: what a table shows of it at once, and its metrics, changes, sources and checkpoints when asked for.

`StoredRun` has the names of `Run` where it has the same thing, so that curves and panels take either. It only reads, whoever writes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from reactornb.durable.folder import RunFolder
from reactornb.durable.history import History, Note
from reactornb.durable.index import Facts, Row
from reactornb.durable.lock import owner_of
from reactornb.durable.storage import Storage
from reactornb.durable.summary import MetricSummary, Summary, finite
from reactornb.errors import MalformedDataError, ReactorError
from reactornb.runtime.metrics import Metrics
from reactornb.runtime.result import Plotted
from reactornb.runtime.tuning import Change
from reactornb.tags import Tag, format_ns

__all__ = ["LABELS", "Parent", "StoredRun", "Words", "labels_in", "read_row"]

_AFTER_ALL = 1 << 62  # see `starting._LAST`
LABELS = "labels"  # in the notes of the folder


class Words(str):
    """What stands for a value that could not be written down: a text that says what it was."""

    __slots__ = ()

    def __repr__(self) -> str:
        """The text without quotes, which a value that is a text has."""
        return str(self)


class Parent(NamedTuple):
    """Where a branch began.

    Attributes:
        run: the id of the run.
        tag: at which tag.
    """

    run: str
    tag: Tag

    @property
    def place(self) -> str:
        """Where that is, in words: a time without a microstep if it began after all that were done at that time."""
        return str(self.tag) if self.tag.microstep < _AFTER_ALL else format_ns(self.tag.time_ns)


def read_row(path: Path, before: Row | None = None, storage: Storage | None = None) -> Row:
    """What the index keeps of a run. Damage is part of the row.

    Args:
        path: its folder.
        before: an earlier row, if its journal only grew since: only what is new is read.
        storage: of the folder above, if there is one already.
    """
    labels: tuple[str, ...] = ()
    checkpoints = _checkpoints(path)
    try:
        with RunFolder.open(path, storage=storage) as folder:
            labels = labels_in(folder.notes)
            summary = None if before is None else _continued(folder, before)
            if summary is None:
                summary = History(folder.journal.records()).summary()
            return Row.of(path.name, dict(folder.about), summary, labels, checkpoints)
    except (ReactorError, OSError) as error:
        return Row.of(path.name, {}, Summary(), labels, checkpoints, str(error))


def _continued(folder: RunFolder, before: Row) -> Summary | None:
    """The summary of a row with the records since then; None if it has to be made anew."""
    try:
        summary = Row("", 0.0, before.text).facts.summary  # another object: the row is somebody else's
    except MalformedDataError:
        return None
    if summary.position is None:
        return None
    for record in folder.journal.records(summary.position):
        if not summary.add(record):
            return None
    summary.settle()
    return summary


def labels_in(notes: Mapping[str, Any]) -> tuple[str, ...]:
    """The words that a run was tagged with, as its notes have them."""
    words = notes.get(LABELS)
    return tuple(word for word in words if isinstance(word, str)) if isinstance(words, list) else ()


def _checkpoints(path: Path) -> int:
    with contextlib.suppress(OSError):
        return sum(not name.endswith((".tmp", ".old")) for name in os.listdir(path / "checkpoints"))  # noqa: PTH208 - names only
    return 0


class StoredRun(Plotted):
    """A run in its folder, as it was when it was looked at; `refresh` looks again.

    Attributes:
        path: the folder.
        labels: the words that it was tagged with.
        problem: why it cannot be read, in words; "" if it can.
        summaries: its metrics in a few numbers each.
    """

    __slots__ = ("_folder", "_history", "_row", "path")

    def __init__(self, path: Path, row: Row | None = None) -> None:
        self.path = path
        self._row = read_row(path) if row is None else row
        self._folder: RunFolder | None = None
        self._history: History | None = None

    def __hash__(self) -> int:
        return hash(self.path)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StoredRun) and self.path == other.path

    @property
    def _facts(self) -> Facts:
        try:
            return self._row.facts
        except MalformedDataError:  # another version wrote the index
            self._row = read_row(self.path)
            return self._row.facts

    # -- what the index has -------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The name of its folder."""
        return self._row.id

    @property
    def name(self) -> str:
        """The same, as of a run that is alive."""
        return self._row.id

    @property
    def about(self) -> Mapping[str, Any]:
        """What stands in its `run.json`."""
        return self._facts.about

    @property
    def program(self) -> str:
        """The name of its program."""
        return str(self.about.get("program") or self.about.get("root") or "")

    @property
    def root(self) -> str:
        """The class of its outermost reactor."""
        return str(self.about.get("root", ""))

    @property
    def seed(self) -> int | None:
        """Its seed."""
        seed = self.about.get("seed")
        return seed if isinstance(seed, int) else None

    @property
    def workers(self) -> int | None:
        """How many threads it began with; they change no result."""
        workers = self.about.get("workers", self.options.get("workers"))
        return workers if isinstance(workers, int) else None

    @property
    def options(self) -> dict[str, Any]:
        """The options with which it was started."""
        return _mapping(self.about.get("options"))

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters at the start, by full name; `Words` for values that cannot be written down."""
        return {name: _value(value) for name, value in _mapping(self.about.get("parameters")).items()}

    @property
    def versions(self) -> dict[str, str]:
        """What a result may depend on besides program and seed."""
        return {name: str(version) for name, version in _mapping(self.about.get("versions")).items()}

    @property
    def commit(self) -> str | None:
        """The commit of git that it was started from, with "+" behind it if files differed from it; None if there was none."""
        commit = self.about.get("commit")
        if isinstance(commit, Mapping):
            return f"{commit.get('hash', '')}{'+' if commit.get('dirty') else ''}" or None
        return str(commit) if commit else None

    @property
    def graph(self) -> str:
        """A digest of its graph: runs with the same one have the same reactors, connected in the same way."""
        return str(self.about.get("graph", ""))

    @property
    def parent(self) -> Parent | None:
        """The run of which it is a branch."""
        parent = self.about.get("parent")
        try:
            return Parent(str(parent["run"]), Tag(*map(int, parent["tag"]))) if parent else None
        except (TypeError, KeyError, ValueError):
            return None

    @property
    def began(self) -> datetime | None:
        """When it was started, in local time."""
        return _time(self.about.get("began"))

    @property
    def ended(self) -> datetime | None:
        """When it ended; None if it goes on, or nobody wrote that down."""
        return _time(self._end.get("wall"))

    @property
    def labels(self) -> tuple[str, ...]:
        """The words that it was tagged with."""
        return self._facts.labels

    @property
    def problem(self) -> str:
        """Why it cannot be read, in words; "" if it can."""
        return self._facts.problem

    @property
    def summaries(self) -> dict[str, MetricSummary]:
        """Its metrics in a few numbers each."""
        return self._facts.summary.metrics

    @property
    def _end(self) -> dict[str, Any]:
        return self._facts.summary.end or {}

    @property
    def is_alive(self) -> bool:
        """Whether some process runs it now; asked of the system at each call."""
        return owner_of(self.path) is not None

    @property
    def state(self) -> str:
        """One of "running", "finished", "stopped", "abandoned", "failed", "interrupted" (its process was gone before it ended) and "damaged"."""
        if self.problem:
            return "damaged"
        if self.is_alive and not self._end:
            return "running"
        return str(self._end.get("state", "finished")) if self._facts.summary.end is not None else "interrupted"

    @property
    def tag(self) -> Tag:
        """Its last tag."""
        return Tag(*self._facts.summary.tag)

    @property
    def seconds(self) -> float:
        """Physical duration; until the last value that was logged if nobody wrote down its end."""
        seconds = self._end.get("seconds")
        return finite(self._facts.summary.wall_s if seconds is None else seconds)

    @property
    def fingerprint(self) -> str | None:
        """The hash over tag, port and value, if it ended with one."""
        fingerprint = self._end.get("fingerprint")
        return str(fingerprint) if fingerprint else None

    @property
    def failure(self) -> str | None:
        """What ended it, in words; None if nothing did."""
        failure = self._end.get("failure")
        return str(failure) if failure else None

    @property
    def checkpoint_count(self) -> int:
        """How many checkpoints its folder has."""
        return self._facts.checkpoints

    @property
    def change_count(self) -> int:
        """How many changes of parameters there were."""
        return self._facts.summary.changes

    @property
    def resumed_count(self) -> int:
        """How often it was resumed."""
        return self._facts.summary.resumed

    # -- what is read from its files ----------------------------------------------------------------------------------

    def _open(self) -> RunFolder:
        if self._folder is None:
            self._folder = RunFolder.open(self.path)
        return self._folder

    def _read(self) -> History:
        if self._history is None:
            self._history = History(self._open().journal.records())
        return self._history

    def _catch_up(self, history: History) -> None:
        position = history.position
        after = () if position is None else (position,)
        history.add(self._open().journal.records(*after))

    @property
    def metrics(self) -> Metrics:
        """What reactors logged, as `Run.metrics`.

        Raises:
            DamagedRunError: if its journal is damaged.
        """
        return self._read().metrics

    @property
    def changes(self) -> list[Change]:
        """The changes of parameters by `Run.set`, by tag."""
        return self._read().changes

    @property
    def notes(self) -> list[Note]:
        """What its user was told while it ran."""
        return self._read().notes

    @property
    def resumed(self) -> list[Tag]:
        """The tags at which it was resumed."""
        return list(self._read().resumed)

    @property
    def checkpoints(self) -> list[Any]:
        """Its complete checkpoints, oldest first."""
        return list(self._open().checkpoints())

    @property
    def sources(self) -> dict[str, str]:
        """The source of each file and cell that declares its reactors."""
        return dict(self._open().cells)

    @property
    def nbytes(self) -> int:
        """The size of its folder, in bytes."""
        total = 0
        for folder, _, names in self.path.walk():
            for name in names:
                with contextlib.suppress(OSError):
                    total += (folder / name).lstat().st_size
        return total

    def refresh(self) -> bool:
        """Look again: of the journal only what is new is read. Returns whether there was anything."""
        before = self._row
        self._row = read_row(self.path, before)
        changed = self._row.text != before.text
        if changed and self._history is not None:
            self._catch_up(self._history)
        return changed

    def __repr__(self) -> str:
        if self.problem:
            return f"<stored run {self.id}: damaged. {self.problem}>"
        facts = [self.program, self.state, f"tag {self.tag}", f"{self.seconds:.1f} s"]
        if self.seed is not None:
            facts.insert(1, f"seed {self.seed}")
        lines = [f"<stored run {self.id}: {', '.join(fact for fact in facts if fact)}"]
        lines += [
            f"   {name}: {metric.count:,} value{'s' if metric.count > 1 else ''}, the last {metric.last:.6g}"
            for name, metric in self.summaries.items()
        ]
        return "\n".join(lines) + ">"


def _mapping(value: Any) -> dict[str, Any]:
    return {str(name): part for name, part in value.items()} if isinstance(value, Mapping) else {}


def _value(value: Any) -> Any:
    """A parameter as `run.json` has it."""
    if isinstance(value, Mapping) and set(value) == {"words"}:
        return Words(value["words"])
    return value


def _time(seconds: Any) -> datetime | None:
    if isinstance(seconds, (int, float)):
        with contextlib.suppress(OverflowError, OSError, ValueError):
            return datetime.fromtimestamp(seconds).astimezone()
    return None
