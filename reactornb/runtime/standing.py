"""A warning that logical time does not advance in a run that is to end at a logical time.

A loop without delays, or with `after=ms(0)`, advances in microsteps of one time, as most training programs do; `until=` is logical time and
never comes. That is legal, and right if the loop ends by itself, so the run goes on and its user is warned. The check is made by threads
that wait for the run or ask for its state, at no cost to the run.

# _seen   under _lock; any thread may look
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from reactornb.runtime.notices import Notices
from reactornb.tags import format_ns

if TYPE_CHECKING:
    from reactornb.runtime.engine import Engine

__all__ = ["StandingWatch"]

_STANDS_S = 2.0
_TAGS = 10  # at least so many microsteps: one slow reaction is another matter


class StandingWatch:
    """Watches one run.

    Args:
        engine: what runs it.
        notices: where the warning goes.
        until_ns: the logical time at which the run is to end, or None: then nothing is looked at.
    """

    def __init__(self, engine: Engine, notices: Notices, until_ns: int | None) -> None:
        self._engine = engine
        self._notices = notices
        self._until_ns = until_ns
        self._lock = threading.Lock()
        self._seen: dict[
            int, tuple[int, int, float]
        ] = {}  # enclave -> its time, how many tags it had done, and when that was

    def look(self) -> None:
        """Warn, once, if an enclave has executed tags of one and the same time for two seconds."""
        if self._until_ns is None:
            return
        now = time.perf_counter()
        with self._lock:
            for scheduler in self._engine.schedulers:
                time_ns, tags = scheduler.time_ns, scheduler.tags_done
                before = self._seen.get(scheduler.enclave)
                if before is None or before[0] != time_ns:
                    self._seen[scheduler.enclave] = (time_ns, tags, now)
                elif not scheduler.over and now - before[2] >= _STANDS_S and tags - before[1] >= _TAGS:
                    self._warn(time_ns, scheduler.microstep, now - before[2])
                    self._until_ns = None
                    return

    def _warn(self, time_ns: int, microstep: int, seconds: float) -> None:
        self._notices.add(
            "standing",
            f"logical time has stood at {format_ns(time_ns)} for {seconds:.0f} s, in microstep {microstep:,} by now: the end at "
            f"{format_ns(self._until_ns or 0)} is logical time, and does not come as long as every event follows without a delay. "
            f"Give the loop one (after=ms(1), a timer), or end it by physical time (`reactornb run --walltime 10s`, run.stop()), or from "
            f"a reaction (self.request_stop()).",
        )
