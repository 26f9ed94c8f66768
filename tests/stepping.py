"""Running a program in steps that a test decides: its clock stands still until the test moves it."""

import time

from reactornb import Program
from reactornb.testing import FakeClock


class HeldClock(FakeClock):
    """A clock that only its owner moves: a run waits for it, instead of moving it as it does a `FakeClock`."""

    def wait(self, until_ns, wake):
        if until_ns is None or self._now < until_ns:
            wake.wait()


def settle(run, seconds=20):
    """Wait until a run has done all that is due by now: it waits for its clock, for an event or to be resumed, or it is over."""
    until = time.monotonic() + seconds
    for worker in run._engine.workers:
        if worker.enclaves:
            last = _turns(worker) + 2  # the next one may have begun already
            while _turns(worker) < last and run.is_alive:
                assert time.monotonic() < until, f"{run} is still busy"
                worker.wake.set()
                time.sleep(0.0001)
    return run


def _turns(worker):
    """How many turns a worker, which does in each what there is to do, has ended since this was first asked."""
    if "_turn" not in vars(worker):
        turn, ended = worker._turn, []

        def counted():
            until_ns = turn()
            ended.append(until_ns)
            return until_ns

        counted.ended = ended
        worker._turn = counted
    return len(worker._turn.ended)


class Stepped:
    """A run whose clock is moved by hand.

    Args:
        root: the reactor, or its class.
        options: of the run.
    """

    def __init__(self, root, **options):
        self.clock = HeldClock()
        self.run = Program(root).start(**{"clock": self.clock, "workers": 1, "placement": "none", **options})
        settle(self.run)

    def advance(self, by):
        """Let that much physical time pass, and the run execute what is due."""
        self.clock.advance(by)
        for (
            worker
        ) in self.run._engine.workers:  # once the time is another: a worker that goes to sleep meanwhile wakes up
            worker.wake.set()
        settle(self.run)
