"""The rehearsal: at the first tag a run that is kept is restored beside itself, and held against itself, so that what cannot be resumed says so at once."""

from __future__ import annotations

import random  # noqa: TID251 - not drawn from: it is put back as a program's startup found it
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy

from reactornb.durable.objects import Known, Trial, put_on_trial
from reactornb.errors import ReactionError
from reactornb.graph import Graph
from reactornb.runtime.codec import encode
from reactornb.runtime.cut import Cut
from reactornb.runtime.restoring import Shadow

__all__ = ["rehearse_cut"]

_MOST = 2_000_000_000  # bytes: a rehearsal holds the state as captured, decoded, restored, and captured again


def rehearse_cut(graph: Graph, seed: int, cut: Cut, trials: Sequence[Trial], known: Known) -> str:
    """Restore a cut into instances made anew, and compare.

    Args:
        graph: of the run.
        seed: of the run.
        cut: its state.
        trials: what was captured of each enclave.
        known: of the program; knows after this what startup makes.

    Returns:
        Why it could not be tried; "" if it went well.

    Raises:
        NotSavableError: if something is not what it was.
    """
    nbytes = sum(encode(trial.tree).nbytes for trial in trials)  # copies nothing
    if nbytes > _MOST:
        return f"it holds {nbytes / 1e9:.1f} GB, which are not copied four times to try it"
    with _generators_kept():
        try:
            shadow = Shadow(graph, seed, cut)
        except ReactionError as error:
            return f"a startup reaction cannot run a second time beside the first ({error})"
        put_on_trial(trials, shadow.instances, known)
        try:
            shadow.end()
        except ReactionError as error:
            return f"a shutdown reaction fails on instances that were only restored ({error})"
    return ""


@contextmanager
def _generators_kept() -> Iterator[None]:
    """What startup draws from the process's own generators, or how it seeds them, changes nothing for the run."""
    torch: Any = sys.modules.get("torch")
    torch_state = torch.random.get_rng_state() if hasattr(torch, "random") else None
    numpy_state, python_state = numpy.random.get_state(), random.getstate()  # noqa: NPY002 - the program may use it
    try:
        yield
    finally:
        random.setstate(python_state)
        numpy.random.set_state(numpy_state)  # noqa: NPY002
        if torch_state is not None:
            torch.random.set_rng_state(torch_state)
