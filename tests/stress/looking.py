"""What the tests here see and do that a user does not."""

import contextlib
import threading

from reactornb.errors import RunError

__all__ = ["ask_to_stop", "threads_of", "until_waiting"]


def ask_to_stop(run):
    """Without waiting for the end."""
    with contextlib.suppress(RunError):
        run.stop(0)


def threads_of(run):
    """The run's threads that are alive."""
    return [t for t in threading.enumerate() if t.name.startswith(f"reactornb-{run.program.name}-{run.number}-")]


def until_waiting(run):
    """Return once nothing is executed: the run waits for physical time, for an action, or to be resumed."""
    engine = getattr(run, "_engine", None) or run._scheduler
    while not engine.waiting:
        pass
