"""`Runs`: all runs below a folder, to look at, filter, sort, compare, tag, export and delete.

Which runs there are and what the table shows comes from the index; it draws nothing: `viz.runs_view` does, and is loaded for it.
"""

from __future__ import annotations

import contextlib
import math
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, overload

from reactornb import files
from reactornb.durable.comparison import Comparison
from reactornb.durable.errors import NoSuchRunError
from reactornb.durable.expressions import Condition, Unknown, same
from reactornb.durable.folder import RunFolder, runs_root
from reactornb.durable.index import Index, Row, index_file
from reactornb.durable.lock import FolderLock
from reactornb.durable.lookup import check_names, lookup_in, value_of
from reactornb.durable.storage import Disk
from reactornb.durable.stored import LABELS, StoredRun, read_row
from reactornb.durable.tree import Tree
from reactornb.errors import ReactorError, suggestion

__all__ = ["NotConfirmedError", "Runs"]

_VIEW = "reactornb.viz.runs_view"  # above this package: named, and loaded when somebody looks


class NotConfirmedError(ReactorError, ValueError):
    """A run is to be deleted, and its name was not repeated.

    Attributes:
        run: its id.
    """

    def __init__(self, message: str, *, run: str) -> None:
        super().__init__(message)
        self.run = run


class Runs(Sequence[StoredRun]):
    """The runs below a folder, the newest first, as they were when it was made, or last `refresh`ed.

    A sequence: `runs[0]`, slices, iteration; `runs["pong"]` is the run of that name.

    Args:
        root: the folder; `$REACTORNB_RUNS` or `runs` unless given.

    Attributes:
        root: the folder.
    """

    def __init__(self, root: Path | str | None = None) -> None:
        self.root = runs_root() if root is None else Path(root)
        self._runs: list[StoredRun] = []
        self.refresh()

    def refresh(self) -> Runs:
        """Look again, at all runs below the folder; returns this object."""
        root = self.root.resolve()
        storage = Disk(root)

        def read(path: Path, before: Row | None) -> Row:
            return read_row(path, before, storage)

        rows = Index(root, read, index_file(root)).rows()
        rows.sort(key=lambda row: (-row.began, row.id))
        self._runs = [StoredRun(self.root / row.id, row) for row in rows]
        return self

    def _with(self, runs: Iterable[StoredRun]) -> Runs:
        made = Runs.__new__(Runs)
        made.root, made._runs = self.root, list(runs)
        return made

    # -- a sequence ---------------------------------------------------------------------------------------------------

    @overload
    def __getitem__(self, index: int | str) -> StoredRun: ...
    @overload
    def __getitem__(self, index: slice) -> Runs: ...
    def __getitem__(self, index: int | str | slice) -> StoredRun | Runs:
        """A run by its place or name, or some of them.

        Raises:
            NoSuchRunError: if there is none of that name.
        """
        if isinstance(index, slice):
            return self._with(self._runs[index])
        if isinstance(index, int):
            return self._runs[index]
        for run in self._runs:
            if run.id == index:
                return run
        raise NoSuchRunError(self.root / index, suggestion(index, [run.id for run in self._runs]))

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[StoredRun]:
        return iter(self._runs)

    def __contains__(self, run: object) -> bool:
        return any(run in (own, own.id) for own in self._runs)

    # -- some of them -------------------------------------------------------------------------------------------------

    def where(self, condition: str | Callable[[StoredRun], bool] | None = None, **facts: Any) -> Runs:
        """Those of which a condition is true: `runs.where("learner.lr < 1e-3", state="finished", label="baseline")`.

        In a condition, names are facts of the run (id, program, root, seed, workers, state, seconds, began, labels, parent, commit,
        changes, checkpoints, resumed, fingerprint, failure), else parameters by full name or its end, else the last values of metrics;
        also `last["episode_return"]`, and likewise `least`, `greatest`, `mean`, `count` and `parameters`.
        A comparison with what a run does not have is false.

        Args:
            condition: an expression (nothing in it is executed as Python), or a function of the run.
            facts: names as in a condition, and their values; `label` is one of its labels.

        Raises:
            ConditionError: if it is no expression of that kind.
            UnknownNameError: for a name that no run has.
        """
        chosen = self._runs
        if callable(condition):
            chosen = [run for run in chosen if condition(run)]
        elif condition is not None:
            parsed = Condition(condition)
            check_names(self._runs, parsed.names)
            chosen = [run for run in chosen if parsed.holds(lookup_in(run))]
        check_names(self._runs, [name for name in facts if name != "label"])
        for name, wanted in facts.items():
            chosen = [run for run in chosen if _has(run, name, wanted)]
        return self._with(chosen)

    def sort(self, by: str | Callable[[StoredRun], Any], reverse: bool = False) -> Runs:
        """The same runs in another order; those that do not have it come last.

        Args:
            by: a name as in a condition of `where`, or a function of the run.
            reverse: the greatest first.

        Raises:
            UnknownNameError: for a name that no run has.
        """
        if isinstance(by, str):
            name = Condition(by).names[0] if not by.isidentifier() else by
            check_names(self._runs, [name])
        keyed: list[tuple[tuple[str, Any], StoredRun]] = []
        without = []
        for run in self._runs:
            try:
                value = by(run) if callable(by) else value_of(run, name)
            except Unknown:
                value = None
            if value is None or (isinstance(value, float) and math.isnan(value)):
                without.append(run)
            else:
                is_number = isinstance(value, (int, float))
                keyed.append((("" if is_number else type(value).__name__, value if is_number else str(value)), run))
        keyed.sort(key=lambda item: item[0], reverse=reverse)
        return self._with([run for _, run in keyed] + without)

    def branches(self, run: StoredRun | str) -> Runs:
        """The runs that began as branches of one."""
        name = run if isinstance(run, str) else run.id
        return self._with(own for own in self._runs if own.parent is not None and own.parent.run == name)

    def tree(self, run: StoredRun | str | None = None) -> Tree:
        """The runs with the branches that began from them, drawn as a tree, with their curves overlaid.

        Args:
            run: only the family of this one; all of these runs unless given.

        Raises:
            NoSuchRunError: if there is none of that name.
        """
        return Tree(self._runs, self[run] if isinstance(run, str) else run)

    def compare(self, *runs: Any) -> Comparison:
        """How runs differ: parameters, seeds, versions, sources, metrics, and their curves overlaid.

        Args:
            runs: names of runs below this folder, stored runs, or live ones (`Run`); all of these here unless given.

        Raises:
            NoSuchRunError: if there is none of that name.
        """
        return Comparison([self[run] if isinstance(run, str) else run for run in runs] or self._runs)

    # -- what changes folders -----------------------------------------------------------------------------------------

    def tag(self, run: StoredRun | str, *words: str) -> StoredRun:
        """Put words on a run, by which it can be found: `runs.tag("pong", "baseline")`, `runs.where(label="baseline")`.

        Raises:
            NoSuchRunError: if there is none of that name.
            ValueError: for a word that is none.
            FileError: if it cannot be written.
        """
        for word in words:
            if not 0 < len(word) <= 100 or not word.isprintable() or word != word.strip() or "," in word:
                raise ValueError(f"{word!r} is no label: 1 to 100 printable characters, no comma, no blanks around it.")
        own = self._own(run)
        return self._label(own, dict.fromkeys((*own.labels, *words)))

    def untag(self, run: StoredRun | str, *words: str) -> StoredRun:
        """Take words off a run again; all of them unless given.

        Raises:
            NoSuchRunError: if there is none of that name.
            FileError: if it cannot be written.
        """
        own = self._own(run)
        return self._label(own, [word for word in own.labels if words and word not in words])

    def _label(self, run: StoredRun, words: Iterable[str]) -> StoredRun:
        with RunFolder.open(run.path) as folder:
            try:
                folder.set_notes({**folder.notes, LABELS: list(words)})
            except OSError as error:
                raise files.FileError(run.path, error) from error
        run.refresh()
        return run

    def delete(self, run: StoredRun | str, *, confirm: str = "") -> None:
        """Remove a run's folder with all its checkpoints. It cannot be brought back.

        Args:
            run: which one.
            confirm: its name once more.

        Raises:
            NotConfirmedError: if `confirm` is not its name; nothing is removed.
            NoSuchRunError: if there is none of that name.
            RunInUseError: if it is running.
            FileError: if the system refuses.
        """
        own = self._own(run)
        if confirm != own.id:
            branches = [branch.id for branch in self.branches(own)]
            and_branches = f" Its branches stay: {', '.join(branches)}." if branches else ""
            size = own.nbytes / 1e6
            raise NotConfirmedError(
                f"run {own.id!r} has {own.checkpoint_count} checkpoints and {size:,.1f} MB, which cannot be brought back.{and_branches} "
                f"To delete it, repeat its name: delete({own.id!r}, confirm={own.id!r}).",
                run=own.id,
            )
        self._remove(own.path)
        self._runs = [other for other in self._runs if other != own]

    def _remove(self, path: Path) -> None:
        """Remove a folder: under its name it is there wholly, or not at all."""
        lock = FolderLock(path)  # nobody writes it, and nobody begins to
        try:
            hidden = path.with_name(f".removed-{path.name[:60]}-{secrets.token_hex(4)}")
            try:
                path.rename(hidden)
            except OSError as error:
                raise files.FileError(path, error) from error
        finally:
            lock.release()
        if hidden.is_symlink():
            hidden.unlink()
        else:
            with contextlib.suppress(OSError):  # what is left is hidden, and is no run any more
                shutil.rmtree(hidden)

    def _own(self, run: StoredRun | str) -> StoredRun:
        """The run, which has to be one directly below this folder."""
        return self[run if isinstance(run, str) else run.id]

    # -- elsewhere ----------------------------------------------------------------------------------------------------

    def export(self, to: str, path: Path | str, **options: Any) -> Path:
        """Write the runs for another program: see `reactornb.durable.exports`.

        Args:
            to: "csv", "parquet", "tensorboard", "mlflow" or "wandb".
            path: the file, or the folder.
            options: of that kind.

        Returns:
            What was written.

        Raises:
            MissingPackageError: if it needs a package that is not installed.
            ReactorError: for another kind.
        """
        from reactornb.durable import exports

        return exports.export(self, to, path, **options)

    def to_frame(self) -> Any:
        """A `pandas.DataFrame` with a row for each run: its facts, its parameters, and the last values of its metrics.

        Raises:
            MissingPackageError: if pandas is not installed.
        """
        from reactornb.durable import exports

        return exports.table_frame(self)

    # -- how it shows itself ------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return str(import_module(_VIEW).runs_text(self))

    def _repr_html_(self) -> str:
        return str(import_module(_VIEW).runs_html(self))


def _has(run: StoredRun, name: str, wanted: Any) -> bool:
    if name == "label":
        return wanted in run.labels
    with contextlib.suppress(Unknown):
        return same(value_of(run, name), wanted)
    return False
