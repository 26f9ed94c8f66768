"""Help for tests of reactor programs: run to the end on a fake clock and look at the exact trace."""

from __future__ import annotations

from typing import Any

from reactornb.model import Reactor
from reactornb.runtime import FakeClock, Program, Trace

__all__ = ["FakeClock", "run_to_end"]


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
