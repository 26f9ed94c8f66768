"""Random delays at every instruction of the runtime that touches what threads share.

The interpreter itself calls us back (`sys.monitoring`), so no production code knows of it and no place is forgotten: before
each bytecode of the functions watched, a thread may yield or sleep. What happens seldom, such as a worker that is interrupted
between reading a flag and parking, then happens hundreds of times a second.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
import time
from types import CodeType, FunctionType, ModuleType

import numpy as np

from reactornb.runtime import clock, events, handles, modes, schedule, scheduler, trace, workers

__all__ = ["Chaos", "chaos"]

TOOL = 4  # one of the two numbers that sys.monitoring leaves free
# Where threads meet, before each instruction; elsewhere, before each line.
CLOSE = (workers, clock)
WIDE = (scheduler, schedule, handles, modes, events, trace)


class Chaos:
    """What has been done to the threads so far.

    # _struck   one list per thread, appended to by its thread only; summed up when all threads are done
    """

    def __init__(self, seed: tuple[int, ...], rate: float) -> None:
        self._seed = seed
        self._rate = rate
        self._local = threading.local()
        self._struck: list[list[int]] = []
        self._threads = itertools.count()

    @property
    def struck(self) -> int:
        """How many times a thread was held up."""
        return sum(map(len, self._struck))

    def strike(self, *_: object) -> None:
        """Hold up the thread that calls, now and then."""
        try:
            upcoming, struck = self._local.mine
        except AttributeError:
            upcoming, struck = self._local.mine = itertools.cycle(self._delays(next(self._threads))), []
            self._struck.append(struck)
        delay = next(upcoming)
        if delay >= 0:
            struck.append(1)
            time.sleep(delay)

    def _delays(self, thread: int) -> list[float]:
        rng = np.random.default_rng([*self._seed, thread])
        # Mostly a yield, often about as long as a wake-up takes, sometimes longer than a worker spins.
        kinds = rng.choice([0.0, 20e-6, 100e-6, 1e-3], 4099, p=[0.5, 0.3, 0.18, 0.02])
        return [float(d) if strikes else -1.0 for d, strikes in zip(kinds, rng.random(4099) < self._rate, strict=True)]


@contextlib.contextmanager
def chaos(*seed: int, rate: float = 0.004):
    """Hold up every thread that runs the scheduler, at random, in the block.

    Args:
        seed: of the delays; what the operating system makes of them is another matter.
        rate: share of the instructions before which a thread is held up.
    """
    events_of = sys.monitoring.events
    doing = Chaos(seed, rate)
    sys.monitoring.use_tool_id(TOOL, "chaos")
    codes = []
    try:
        for modules, event in ((CLOSE, events_of.INSTRUCTION), (WIDE, events_of.LINE)):
            sys.monitoring.register_callback(TOOL, event, doing.strike)
            for module in modules:
                for code in _codes(module):
                    sys.monitoring.set_local_events(TOOL, code, event)
                    codes.append(code)
        yield doing
    finally:
        for code in codes:
            sys.monitoring.set_local_events(TOOL, code, 0)
        sys.monitoring.free_tool_id(TOOL)


def _codes(module: ModuleType) -> list[CodeType]:
    """The code of every function of a module, with those within them."""
    found = []
    waiting = [*vars(module).values()]
    while waiting:
        each = waiting.pop()
        if isinstance(each, type) and each.__module__ == module.__name__:
            waiting += vars(each).values()
        elif isinstance(each, FunctionType) and each.__module__ == module.__name__:
            waiting.append(each.__code__)
        elif isinstance(each, property):
            waiting += [each.fget, each.fset]
        elif isinstance(each, CodeType):
            found.append(each)
            waiting += each.co_consts
    return found
