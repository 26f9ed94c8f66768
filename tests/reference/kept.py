"""One program that is kept in a folder, stopped at some of its tags and resumed from what lies there: all in all it is the run that nobody stopped."""

from __future__ import annotations

import shutil
from functools import partial
from unittest.mock import patch

from compare import WAYS, Different
from cuts import a_way, checked
from keeping_runs import held

from reactornb import hours, ns, resume
from reactornb.durable import storage
from reactornb.durable.errors import RunFinishedError
from reactornb.durable.folder import RunFolder
from reactornb.testing import FakeClock

__all__ = ["check_kept"]


def check_kept(drawn, salt, root, *, apart=False):
    """Keep a program, stop it at random tags, resume it each time, and compare.

    Args:
        drawn: `programs.Drawn`.
        salt: decides about tags, ways and enclaves.
        root: a folder that is there; it is left empty.
        apart: put some of its reactors into enclaves.

    Returns:
        How many times it was resumed, or why it was not.

    Raises:
        AssemblyError, EndlessError, Different: as `compare.check`.
    """
    try:
        with patch.object(storage, "_fsync", lambda *_: None):
            return checked(drawn, salt, partial(_check, root), apart=apart)
    finally:
        shutil.rmtree(root / "r", ignore_errors=True)


def _check(root, program, drawn, draw):
    options = {"until": ns(drawn.timeout), "fast": drawn.fast, "placement": "none"}
    whole = program.run(workers=1, clock=FakeClock(), fingerprint=True, trace=True, **options)
    tags = sorted({tuple(row[0]) for row in [*whole.trace.executions, *whole.trace.writes]})
    if not tags:
        return "nothing happens"
    resumed, result = 0, None
    for tag in sorted({tags[i] for i in draw.integers(len(tags), size=3)}):
        run = _begin(program, draw, root, options, tag, resumed)
        if run is None:
            break
        if not run._engine.paused:
            result = run.result(20.0)
            break
        if draw.random() < 0.5:
            run.checkpoint(f"at {tag}")
        run.stop()
        if draw.random() < 0.4:
            _lose_the_newest(root / "r")
        resumed += 1
    if result is None:
        try:
            with a_way(_way(draw)) as workers:
                result = resume(root / "r", program=program, workers=workers, clock=FakeClock()).result(20.0)
        except RunFinishedError:
            result = whole
    if (result.fingerprint, result.tag, result.reactions) != (whole.fingerprint, whole.tag, whole.reactions):
        raise Different(
            f"resumed {resumed} times it ends at {result.tag} after {result.reactions} reactions, not at {whole.tag} after {whole.reactions}, "
            f"the fingerprint the same: {result.fingerprint == whole.fingerprint}:\n{drawn!r}"
        )
    return resumed


def _begin(program, draw, root, options, tag, resumed):
    """Begin, or go on, as far as a tag."""
    with held(tag), a_way(_way(draw)) as workers:
        if resumed:
            try:
                run = resume(root / "r", program=program, workers=workers, clock=FakeClock())
            except RunFinishedError:
                return None
        else:
            with patch.dict("os.environ", REACTORNB_RUNS=str(root)):
                run = program.start(
                    workers=workers, clock=FakeClock(), fingerprint=True, keep="r", checkpoint=hours(1), **options
                )
        assert run._kept.held.wait(20.0)
    return run


def _way(draw):
    return [*WAYS, (8, 0, True)][draw.integers(len(WAYS) + 1)]


def _lose_the_newest(path):
    """As if the newest checkpoint had not been written."""
    with RunFolder.open(path, writable=True) as folder:
        infos = folder.checkpoints()
        if infos:
            folder.remove_checkpoint(infos[-1])
