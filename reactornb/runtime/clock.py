"""Physical time, behind one small interface so that tests never sleep."""

from __future__ import annotations

import itertools
import threading
import time
from typing import Protocol

from reactornb.model.durations import duration_ns
from reactornb.tags import DurationLike

__all__ = ["Clock", "FakeClock", "RealClock", "Wake"]


class Wake:
    """A flag that one thread waits for and that may be set anywhere: by any thread, in a signal handler, in a destructor.

    threading.Event takes a lock to be set, so a signal handler that interrupts its own thread just there, and sets it again,
    waits for ever. Here the flag is the lock itself: free means set. Nothing blocks but `wait`, which makes no objects.

    # Publication: the setter writes its data, then passes _fence, then reads whether the flag is already set. The waiter clears
    # the flag, then reads the data. Without the fence the processor may read the flag before other cores see the data (x86
    # too may reorder a load before an earlier store): the setter sees a flag that is still set and does nothing, while the
    # waiter clears it, sees no data and parks. _fence is a sequentially consistent read-modify-write (itertools.count: one
    # compare-and-swap on free-threaded builds, the GIL elsewhere), so at least one of the two sees the other's write.
    """

    def __init__(self) -> None:
        self._taken = threading.Lock()
        self._taken.acquire()
        self._fence = itertools.count().__next__

    def set(self) -> None:
        """Set the flag; any thread, any number of times."""
        self._fence()
        if self._taken.locked():
            try:  # noqa: SIM105 - contextlib.suppress costs more than all the rest
                self._taken.release()
            except RuntimeError:  # another thread has just released it
                pass

    def clear(self) -> None:
        """Clear the flag. Look for work after this call, never before it: then no call of `set` is lost."""
        self._taken.acquire(blocking=False)

    def is_set(self) -> bool:
        """Whether it is set."""
        return not self._taken.locked()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, at most `timeout` seconds; returns whether it is set. One thread at a time."""
        if not self._taken.acquire(timeout=-1 if timeout is None else timeout):
            return False
        self.set()
        return True


class Clock(Protocol):
    """Physical time as the scheduler needs it. All values in ns."""

    def start(self, elapsed_ns: int = 0) -> int:
        """Begin counting, from there in a run that goes on from an earlier one; returns the time since the epoch."""
        ...

    def elapsed_ns(self) -> int:
        """Time since `start`."""
        ...

    def wait(self, until_ns: int | None, wake: Wake) -> None:
        """Return once `elapsed_ns() >= until_ns` or `wake` is set, whichever comes first; None waits for `wake` alone.

        It may return a little before: who calls looks at the clock and calls it again.
        """
        ...


class RealClock:
    """The machine's monotonic clock: timers cannot drift, since each instant is measured from the same origin.

    A sleep ends late, because of the timer's slack and a thread switch: by 50 to 350 µs, stable on one machine for a while, different
    between machines, with rare outliers. So each sleep is shortened by the recent lateness, and the remaining few µs are spent
    spinning. The lateness is tracked as a robust median: half of the sleeps end early and spin, half end late.

    After a sleep the scheduler's code has left the caches, and one pass through it takes 60 to 100 µs. So `wait` returns once, by up
    to `warm_up_ns` before the instant and at most a 64th of the sleep: the scheduler finds that nothing is due yet, and waits again, now
    with its code at hand. `bench wake`: timers of 20 ms are 120 µs late instead of 240, of 5 ms 70 instead of 135.

    The trade-off: a spin of `most_early_ns` and `warm_up_ns` at most per sleep, usually a fifth of that; sleeping and waking up
    themselves cost 30 to 70 µs of CPU time. An idle run has no instant to meet and does not spin.

    # _early_ns, _clip_ns, _was_late, _warming_up_for
    #             read and written by the thread that waits, the scheduler's leader
    """

    most_early_ns = 400_000
    warm_up_ns = 100_000

    def __init__(self) -> None:
        self._origin = time.perf_counter_ns()
        self._early_ns = 60_000
        self._clip_ns = 20_000
        self._was_late = False
        self._warming_up_for = -1

    def start(self, elapsed_ns: int = 0) -> int:
        """See `Clock`."""
        self._origin = time.perf_counter_ns() - elapsed_ns
        return time.time_ns()

    def elapsed_ns(self) -> int:
        """See `Clock`."""
        return time.perf_counter_ns() - self._origin

    def wait(self, until_ns: int | None, wake: Wake) -> None:
        """See `Clock`."""
        if until_ns is None:
            wake.wait()
            return
        until = until_ns + self._origin
        while until != self._warming_up_for:
            left = until - time.perf_counter_ns()
            early = self._early_ns + min(self.warm_up_ns, left >> 6)
            if left <= early:
                break
            # A lock's timeout is in seconds and has a limit, threading.TIMEOUT_MAX.
            if wake.wait(min((left - early) / 1e9, 3600.0)):
                return
            late = time.perf_counter_ns() - (until - early)
            if late >= 0:  # negative only when the limit of an hour ended the sleep
                # Clipped, so that an outlier counts no more than a sleep that ended a little late. If several errors in a row
                # have the same sign, the machine's lateness has changed: the clip grows, so that the estimate follows quickly.
                error = late - self._early_ns
                clip = min(2 * self._clip_ns, 160_000) if (error > 0) == self._was_late else 20_000
                self._clip_ns, self._was_late = clip, error > 0
                self._early_ns = min(max(self._early_ns + (min(max(error, -clip), clip) >> 3), 0), self.most_early_ns)
                self._warming_up_for = until
                return
        while time.perf_counter_ns() < until and not wake.is_set():
            pass


class FakeClock:
    """A clock that jumps: waiting until an instant makes it that instant at once. `advance` plays a slow reaction.

    Its fields are written by the thread that leads the scheduler and by reactions that call `advance`; tests that
    advance it from two reactions of one level must not care which comes first.
    """

    epoch_ns = 1_000_000_000_000_000_000

    def __init__(self) -> None:
        self._now = 0

    def start(self, elapsed_ns: int = 0) -> int:
        """See `Clock`."""
        self._now = elapsed_ns
        return self.epoch_ns

    def elapsed_ns(self) -> int:
        """See `Clock`."""
        return self._now

    def advance(self, by: DurationLike) -> None:
        """Let a time such as ms(10) pass.

        Raises:
            SendingError: for a bare number.
        """
        self._now += duration_ns(by, "FakeClock.advance")

    def wait(self, until_ns: int | None, wake: Wake) -> None:
        """See `Clock`."""
        if until_ns is None:
            wake.wait()
        elif not wake.is_set():
            self._now = max(self._now, until_ns)
