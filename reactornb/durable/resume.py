"""`resume`: a run goes on from its newest checkpoint, with what came from outside after it, as if it had never been interrupted.

In its own folder, unless it is to go on otherwise than it did, from an earlier tag, with other parameters or changed code: that is a branch,
a run of its own with a folder of its own, which remembers its parent. `rewind` is built of the same steps.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reactornb.durable.about import about_of, options_in
from reactornb.durable.canary import differing
from reactornb.durable.code import texts
from reactornb.durable.errors import AnotherProcessorError, RunFinishedError, SourceChangedError
from reactornb.durable.finding import changes_of, program_of
from reactornb.durable.folder import RunFolder, runs_root
from reactornb.durable.inputs import Past
from reactornb.durable.keeping import Keeping, type_of
from reactornb.durable.new_folder import folder_for, free_name, remove
from reactornb.durable.objects import Known
from reactornb.durable.returning import Returning
from reactornb.durable.starting import LAST, Place, start_of
from reactornb.errors import RunError, RunOptionError
from reactornb.interpreter import environment
from reactornb.options import RunOptions
from reactornb.runtime import Program, Run
from reactornb.tags import as_duration

__all__ = ["Source", "folder_of", "resume", "wait_for_hold"]


def resume(
    run: Any,
    *,
    at: Place | None = None,
    set: Mapping[str, Any] | None = None,  # noqa: A002 - as `Run.set`
    program: Any = None,
    keep: str | None = None,
    changed: str = "error",
    exact: str = "error",
    **options: Any,
) -> Run:
    """Go on with a kept run: with the same values, fingerprint and metrics as if it had never been interrupted, with any number of workers.

    Args:
        run: its name, or its folder.
        at: go on from this tag instead of where it stopped, as a branch: a tag, a duration, or the name of a checkpoint.
        set: parameters that are changed there, at the next microstep, by path as for `Run.set`; makes it a branch.
        program: a `Program`, or its outermost reactor's class; None: found among what is declared or imported here.
        keep: name of the branch; None: the first free one of NAME-2, NAME-3, …
        changed: "error", or "allow": go on with changed code, as a branch, from the newest checkpoint.
        exact: "error", or "warn": go on though this machine rounds otherwise.
        **options: of the run, such as `workers` and `until`; the others are as they were.

    Returns:
        The run, which goes on in the background.

    Raises:
        NoSuchRunError, RunInUseError, DamagedRunError: see there.
        RunFinishedError: if it has come to its own end.
        ProgramNotFoundError, SourceChangedError: if the program is not here, or not the same.
        AnotherProcessorError: unless exact="warn".
    """
    source = Source.open(run, program, changed=changed, exact=exact)
    branch = at is not None or bool(set) or bool(source.changed) or keep is not None
    going, _ = source.go_on(at=at, branch=branch, name=keep, changes=set or {}, options=options)
    return going


def wait_for_hold(run: Run, kept: Returning) -> None:
    """Wait until a run stands where it is to be held.

    Raises:
        ReactionError: if it failed before.
    """
    assert kept.held is not None
    try:
        kept.held.wait()
    except BaseException:  # the wait was interrupted
        run.stop()
        raise
    if run.failure is not None:
        raise run.failure


def folder_of(run: Any) -> Path:
    """The folder of a run, by its name, its path, or the run itself."""
    for attribute in ("kept", "path"):
        path = getattr(run, attribute, None)
        if isinstance(path, Path):
            return path
    if isinstance(run, Run):
        raise RunError(f"{run} is not kept; start it with keep=….")
    if not isinstance(run, (str, Path)):
        raise RunError(f"a run is named by its name or its folder, not by {run!r:.100}.")
    separators = [os.sep, *filter(None, [os.altsep])]
    return Path(run) if isinstance(run, Path) or any(mark in run for mark in separators) else runs_root() / run


@dataclass
class Source:
    """A kept run that is to go on, and the program for it.

    Attributes:
        path: its folder.
        about: what its `run.json` says.
        program: idle.
        changed: functions that are not what they were.
        notices: what its user is to be told.
    """

    path: Path
    about: Mapping[str, Any]
    program: Program
    changed: list[str]
    notices: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, run: Any, program: Any, *, changed: str, exact: str) -> Source:
        """See `resume`."""
        for name, value, allowed in (("changed", changed, ("error", "allow")), ("exact", exact, ("error", "warn"))):
            if value not in allowed:
                raise RunOptionError(f"{name} is one of {', '.join(map(repr, allowed))}, not {value!r}.")
        path = folder_of(run)
        with RunFolder.open(path) as folder:
            about = folder.about
        if program is None and isinstance(run, Run):
            program = run.program
        found = program_of(about, program, path.name)
        made = cls(path, about, found, changes_of(about, found))
        if made.changed:
            if changed == "error":
                raise SourceChangedError(made.changed)
            made.notices.append(f"it goes on with changed code: {', '.join(made.changed[:8])}.")
        before = about.get("canary")
        libraries = differing(before) if isinstance(before, Mapping) else []
        if libraries:
            if exact == "error":
                raise AnotherProcessorError(libraries)
            made.notices.append(
                f"{' and '.join(libraries)} round otherwise on this machine, so from here on results may differ."
            )
        made.notices += _other_versions(about)
        return made

    def go_on(
        self,
        *,
        at: Place | None,
        branch: bool,
        name: str | None,
        hold: bool = False,
        changes: Mapping[str, Any] | None = None,
        options: Mapping[str, Any],
        kept: bool = True,
    ) -> tuple[Run, Returning]:
        """Start the run from its newest checkpoint that fits.

        Args:
            at: see `resume`.
            branch: leave the folder as it is.
            name: of the branch.
            changes: of parameters, at the first tag that may come after `at`.
            hold: hold the run at the tag `at`, or as far as it is known; `Returning.held` then tells when.
            options: that differ.
            kept: keep what goes on; False: only in memory.
        """
        for refused in ("seed", "replay", "keep"):
            if refused in options:
                raise RunOptionError(f"a run goes on with the {refused} that it had; {refused}= cannot be given.")
        folder = RunFolder.open(self.path, writable=kept and not branch)
        new: RunFolder | None = None
        try:
            past = Past(folder.journal.records())
            known = Known(type_of(self.program))
            until = as_duration(options.get("until"))
            self._check_end(past, at=at, until=until)
            start = start_of(
                folder, past, at, known, self.program.graph, replayed=not self.changed, notices=self.notices
            )
            tag = _after(start.tag)
            replay = [(at_tag, path, None, value) for at_tag, path, value in start.given]
            replay += [(tag, path, None, value) for path, value in (changes or {}).items()]
            chosen = {**options_in(self.about), **options, "replay": replay}
            if kept and branch:
                root = self.path.parent
                made_options = RunOptions(**chosen, keep=name or free_name(root, self.path.name))
                decided = self.program._decided(made_options)
                parent = {"run": self.path.name, "tag": list(start.tag)}
                new = folder_for(
                    root, str(made_options.keep), about_of(self.program, decided, parent), texts(self.program.graph)
                )
                start.copy_to(new, self.program.graph)
            else:
                decided = self.program._decided(RunOptions(**chosen, keep=self.path.name if kept else None))
            target = new or folder
            given: dict[str, Any] = {
                "cut": start.cut,
                "replay": start.replay,
                "history": start.history,
                "seconds": start.seconds,
                "hold_at": start.tag if hold else None,
                "notices": self.notices,
            }
            returning: Returning
            if kept:
                resumed = None if branch else start.resumed(self.program.graph)
                returning = Keeping(target, known, decided, is_new=branch, resumed=resumed, copy_inputs=branch, **given)
            else:
                returning = Returning(known, **given)
        except BaseException:
            for opened in filter(None, (new, folder)):
                opened.close()
            if new is not None:
                remove(new.path)
            raise
        if target is not folder or not kept:
            folder.close()
        run = self.program._start(decided, returning)
        returning.tell()
        return run, returning

    def _check_end(self, past: Past, *, at: Place | None, until: int | None) -> None:
        """Refuse to go on with a run that came to its end, unless it now has a later one."""
        end = past.history.end
        if end is None or end.get("state") != "finished" or at is not None:
            return
        name = self.path.name
        if end.get("until") is True:
            if until is not None and until > past.history.tag.time_ns:
                return
            words = f"it came to its end at {past.history.tag}, as until= said. Give it a later one: resume({name!r}, until=…)"
        else:
            words = f"it came to its own end, so nothing is left to go on with. As a branch it goes on from an earlier tag: resume({name!r}, at=…)"
        raise RunFinishedError(self.path, f"run {name!r} is finished: {words}.")


def _after(tag: tuple[int, int]) -> tuple[int, int]:
    """The first tag after one; after all microsteps of an instant, the next nanosecond."""
    time_ns, microstep = tag
    return (time_ns, microstep + 1) if microstep < LAST else (time_ns + 1, 0)


def _other_versions(about: Mapping[str, Any]) -> list[str]:
    """What else may make a difference, in words."""
    before, here = about.get("versions"), environment()
    if not isinstance(before, Mapping):
        return []
    differ = [
        f"{name} {before[name]} then and {here[name]} now"
        for name in ("reactornb", "python", "numpy", "torch", "gymnasium", "machine")
        if name in before and name in here and before[name] != here[name]
    ]
    return [f"other versions may compute other results: {'; '.join(differ)}."] if differ else []
