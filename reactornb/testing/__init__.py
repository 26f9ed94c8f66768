"""Help for tests of reactor programs: run to the end on a fake clock and look at the exact trace."""

from __future__ import annotations

from typing import Any

from reactornb.model import Reactor
from reactornb.runtime import FakeClock, Program, Result, Run, Trace
from reactornb.tags import Tag

__all__ = ["FakeClock", "logged", "run_to_end"]


def logged(run: Run | Result, name: str) -> list[tuple[Tag, float]]:
    """The tag and the value of each value of a metric, for comparing with what is expected."""
    metric = run.metrics[name]
    return list(zip(metric.tags, metric, strict=True))


def run_to_end(
    root: Reactor | type[Reactor], *, workers: int = 1, clock: FakeClock | None = None, **options: Any
) -> Trace:
    """Run a program to its end and return its trace; physical time is fake, so nothing sleeps.

    Raises:
        ReactionError: if a reaction raised.
    """
    result = Program(root).run(workers=workers, clock=clock or FakeClock(), trace=True, **options)
    assert result.trace is not None
    return result.trace
