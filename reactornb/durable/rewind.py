"""`rewind`: a run as it stood at some tag, paused: to look at, to step, to go on."""

from __future__ import annotations

from typing import Any

from reactornb.durable.resume import Source, wait_for_hold
from reactornb.durable.starting import Place
from reactornb.runtime import Run

__all__ = ["rewind"]


def rewind(
    run: Any, at: Place, *, program: Any = None, keep: str | None = None, exact: str = "error", **options: Any
) -> Run:
    """A run as it stood when it had executed all tags up to this one, paused there: from the nearest checkpoint before, by replay.

    The run itself, which may still go on, stays as it is. What goes on from here is in memory only, unless `keep` says under which name
    it is to be kept, as a branch.

    Args:
        run: a run, its name, or its folder.
        at: a tag, a duration, or the name of a checkpoint.
        program: a `Program`, or its outermost reactor's class; None: found among what is declared or imported here.
        keep: keep what goes on, under this name.
        exact: "error", or "warn": go back though this machine rounds otherwise.
        **options: of the run, such as `workers`.

    Returns:
        A paused run: `instance`, `metrics`, `step`, `resume`, `set` as of any. It is over if the run ended before that tag.

    Raises:
        NoSuchRunError, DamagedRunError: see there.
        ProgramNotFoundError, SourceChangedError: if the program is not here, or not the same.
        AnotherProcessorError: unless exact="warn".
    """
    source = Source.open(run, program, changed="error", exact=exact)
    there, kept = source.go_on(at=at, branch=True, name=keep, hold=True, options=options, kept=keep is not None)
    wait_for_hold(there, kept)
    return there
