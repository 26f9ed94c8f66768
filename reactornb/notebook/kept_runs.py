"""`KeptRuns`: what the magics do with runs that are kept on disk: keep, checkpoint, resume, rewind, and the table of them.

A part of `Session`. `reactornb.durable` is imported when it is first needed: most notebooks keep nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from reactornb.errors import ReactorError, RunOptionError
from reactornb.options import parameter_value
from reactornb.runtime import Program, Run
from reactornb.tags import parse_place

if TYPE_CHECKING:
    from reactornb.durable.runs import Runs
    from reactornb.durable.stored import StoredRun
    from reactornb.durable.tree import Tree
    from reactornb.notebook.displays import Displays

__all__ = ["KeptRuns", "place_of"]


class KeptRuns:
    """The kept runs of one notebook.

    Attributes:
        keeps: whether each run that is started is kept, under a name that is made for it; `%reactor keep on`.
    """

    if TYPE_CHECKING:
        shell: Any
        displays: Displays
        last_run: Run | None

        def run(self, name: str = "", *, alive: bool = True, command: str = "stop") -> Run:
            """See `Session`."""

        def resume(self, name: str = "", *, every: bool = False) -> list[Run]:
            """See `Session`."""

    keeps: bool = False

    def keep(self, on: bool | None = None) -> str:
        """Keep each run that is started from now on, or no longer; None changes nothing. Returns what holds now, in words.

        A run that is given a name, with `keep=` or `--keep`, is kept anyway.
        """
        if on is not None:
            self.keeps = on
        if not self.keeps:
            return "Runs are kept only where a name is given: %reactor start Main --keep NAME; %reactor keep on keeps every run."
        return f"Each run that is started is kept in {_root()}, under its program's name and a number."

    def _keep_name(self, program: Program) -> str:
        """`ppo-1`, or the first of `ppo-2`, `ppo-3`, … that no run has."""
        taken = {path.name for path in _root().glob(f"{program.name}-*")}
        number = 1
        while f"{program.name}-{number}" in taken:
            number += 1
        return f"{program.name}-{number}"

    @staticmethod
    def _another_name(keep: str | bool | None) -> str | bool | None:
        """Under what a run is kept that is started again like one kept under `keep`: a name belongs to one run."""
        if not isinstance(keep, str):
            return keep
        from reactornb.durable.new_folder import free_name

        return free_name(_root(), keep)

    def checkpoint(self, label: str | None = None, name: str = "") -> str:
        """Write a checkpoint of a kept run now; see `Run.checkpoint`.

        Args:
            label: what it is called.
            name: of the run; see `Session.run`.

        Returns:
            Where it is, in words.

        Raises:
            UsageError: if the run is not kept, or its state cannot be saved.
        """
        __tracebackhide__ = True
        run = self.run(name, command="checkpoint")
        if run.kept is None:
            raise UsageError(
                f"%reactor checkpoint: {run.name} is not kept, so there is nowhere to put one; start it with --keep NAME"
            )
        try:
            info = run.checkpoint(label or None)
        except ReactorError as error:
            raise UsageError(f"%reactor checkpoint: {error}") from None
        called = f" {info.name!r}" if info.name else ""
        return f"checkpoint{called} of {run.kept.name} at tag {_said(info.tag)}: {info.nbytes / 1e6:,.1f} MB"

    def is_stored(self, name: str) -> bool:
        """Whether a run of that name is kept on this disk."""
        return bool(name) and not Path(name).is_absolute() and (_root() / name / "run.json").is_file()

    def stored_names(self) -> list[str]:
        """The names of the kept runs."""
        from reactornb.durable.folder import run_folders

        return [path.name for path in run_folders()]

    def go_on(self, name: str = "", *, every: bool = False, **how: Any) -> Run | None:
        """What `%reactor resume` does: let a paused run go on, or else a kept one that ended or whose process is gone.

        Args:
            name: of a paused run or of a kept one; unless given, the only living run, or the last one if it is over and was kept.
            every: all paused runs (of that name).
            how: see `resume_kept`; with any of it a kept run is meant. What is None or empty does not count.

        Returns:
            The kept run, going on; None if a paused one was meant.
        """
        __tracebackhide__ = True
        given = {key: value for key, value in how.items() if value is not None and value != {}}
        if not every and (given or not self._is_living(name)):
            source = self._kept_source(name, "resume")
            if source is not None:
                return self.resume_kept(source, **given)
            if given:
                named = name or "the last run"
                options = ", ".join(f"--{key}" for key in given)
                raise UsageError(
                    f"%reactor resume: {options} needs a kept run, and {named} is none; %reactor runs lists them"
                )
        self.resume(name, every=every)
        return None

    def _is_living(self, name: str) -> bool:
        return self._has_run(name, alive=True)

    def _has_run(self, name: str, *, alive: bool = False) -> bool:
        """Whether a name means a run of this process."""
        try:
            self.run(name, alive=alive, command="resume")
        except UsageError:
            return False
        return True

    def resume_kept(self, name: Run | str | Path, **how: Any) -> Run:
        """Go on with a kept run, or with a branch of it; see `reactornb.resume`.

        Args:
            name: of the run, or its folder.
            how: `at`, `set`, `keep`, `changed`, `exact`, and options of the run.
        """
        __tracebackhide__ = True
        from reactornb.durable.resume import resume

        run = self.displays.begin(lambda: resume(name, **how))
        return self._goes_on(run)

    def rewind(self, place: Any, name: str = "", **how: Any) -> Run:
        """A run as it stood at a tag, paused there; see `reactornb.rewind`.

        Args:
            place: a tag, a duration, or the name of a checkpoint; as text it is parsed by `place_of`.
            name: of a run here or of a stored one; the last run unless given.
            how: `keep`, `exact`, and options of the run; what is None does not count.

        Raises:
            UsageError: if the run is not kept.
        """
        __tracebackhide__ = True
        from reactornb.durable.rewind import rewind

        source = self._kept_source(name, "rewind")
        if source is None:
            run = self.run(name, alive=False, command="rewind")
            raise UsageError(
                f"%reactor rewind: {run.name} is not kept, so there is nothing to go back to; start it with --keep NAME"
            )
        at = place_of(place) if isinstance(place, str) else place
        given = {key: value for key, value in how.items() if value is not None}
        run = self.displays.begin(lambda: rewind(source, at, **given))
        return self._goes_on(run)

    def travel(self, run: Run | StoredRun, do: str, at: tuple[int, int] | None, change: str = "") -> Run:
        """What the panel's *Resume*, *Go here* and *Branch here* do. Any thread.

        Args:
            run: a kept run, over or not.
            do: "resume", "rewind" or "branch".
            at: the tag of the point.
            change: `path=value` for a branch; "" if nothing is changed.

        Raises:
            ReactorError: if that cannot be.
        """
        from reactornb.durable.resume import resume
        from reactornb.durable.rewind import rewind

        if do == "resume":
            return resume(run)
        if do == "rewind":
            return rewind(run, at)
        path, equals, value = change.partition("=")
        if change and not equals:
            raise RunOptionError(
                f"a branch changes a parameter by path=value, such as learner.learning_rate=1e-4, not {change!r}."
            )
        changes = {path.strip(): parameter_value(value.strip(), self.shell.user_ns)} if change else None
        return resume(run, at=at, set=changes)

    def arrived(self, run: Run) -> None:
        """Take a run that `travel` made as the last one."""
        self._goes_on(run)

    def _goes_on(self, run: Run) -> Run:
        self.last_run = run
        self.displays.follow(run)
        return run

    def _kept_source(self, name: str, command: str) -> Run | str | None:
        """A run of this process that is kept, or the name of a stored one; None if a run is meant that is not kept, or none."""
        try:
            run = self.run(name, alive=False, command=command)
        except UsageError:
            return name if self.is_stored(name) else None
        if run.kept is not None:
            return run
        return name if self.is_stored(name) else None

    def stored(self, condition: str = "", sort: str = "", *, reverse: bool = False) -> Runs:
        """The runs on this disk, as a table that displays itself; see `reactornb.Runs`.

        Args:
            condition: such as `lr < 1e-3` or `state == "failed"`; see `Runs.where`.
            sort: by what.
            reverse: the greatest first.

        Raises:
            UsageError: if a name means nothing in these runs.
        """
        __tracebackhide__ = True
        from reactornb.durable.runs import Runs

        try:
            runs = Runs()
            runs = runs.where(condition) if condition else runs
            return runs.sort(sort, reverse=reverse) if sort else runs
        except ReactorError as error:
            raise UsageError(f"%reactor runs: {error}") from None

    def tree(self, name: str = "") -> Tree:
        """The family of a kept run, or all kept runs, drawn as a tree with their curves; see `Runs.tree`.

        Raises:
            UsageError: if there is no run of that name.
        """
        __tracebackhide__ = True
        from reactornb.durable.runs import Runs

        try:
            return Runs().tree(name or None)
        except ReactorError as error:
            raise UsageError(f"%reactor runs: {error}") from None

    def _stored_run(self, name: str) -> StoredRun:
        from reactornb.durable.stored import StoredRun

        return StoredRun(_root() / name)


def place_of(text: str) -> Any:
    """See `parse_place`; what it refuses is a mistake in a line."""
    try:
        return parse_place(text)
    except ValueError as error:
        raise UsageError(f"%reactor rewind: {error}") from None


def _root() -> Path:
    from reactornb.durable.folder import runs_root

    return runs_root()


def _said(tag: Any) -> str:
    from reactornb.tags import Tag

    return str(Tag(*tag))
