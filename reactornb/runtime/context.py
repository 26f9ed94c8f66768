"""What code below and beside the scheduler may ask of it while reactions run: one protocol, `ReactionContext`.

Whoever is called from a reaction (handles, threads that it starts, what it prints, preambles of Lingua Franca text), or looks at what an enclave
executes (profile, sampling, generators), gets the scheduler of the reaction's enclave as this. So none of them imports the scheduler.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from reactornb.model.context import Context
from reactornb.runtime.groups import Group
from reactornb.runtime.handles import OutPort
from reactornb.runtime.notices import Notices
from reactornb.runtime.printed import Printed
from reactornb.runtime.reactions import RunningReaction
from reactornb.runtime.trace import Recorder

__all__ = ["ReactionContext", "Timed"]


class ReactionContext(Context, Protocol):
    """An enclave that runs, as its reactions see it.

    # Everything may be read by any thread. What moves while the run goes on (`time_ns`, `microstep`, `tags_done`, `reactions_done`,
    # `level_began_ns`) is written by the enclave's leader only: a reaction of the level that runs sees it as of the beginning of the
    # level; others read it for display, and may see the time of one tag with the microstep of the next.

    Attributes:
        enclave: its number.
        width: how many workers the run has.
        tags_done, reactions_done: how many.
        notices: the run's warnings.
        printed: what its reactions print.
        recorder: trace, fingerprint and value checks; one for all enclaves of a run.
    """

    enclave: int
    width: int
    tags_done: int
    reactions_done: int
    notices: Notices
    printed: Printed
    recorder: Recorder

    @property
    def time_ns(self) -> int:
        """Logical time of the tag that is executed."""
        ...

    @property
    def microstep(self) -> int:
        """Its microstep."""
        ...

    @property
    def level_began_ns(self) -> int:
        """When the level that runs began, on the clock of `time.perf_counter_ns`."""
        ...

    def elapsed_ns(self) -> int:
        """Physical time since the start of the run, also where `physical_elapsed_ns` tells that of an earlier one."""
        ...

    @property
    def run_is_over(self) -> bool:
        """Whether every enclave of the run has executed its last tag."""
        ...

    @property
    def reactions(self) -> Sequence[RunningReaction]:
        """Of the whole run; () before the first tag."""
        ...

    @property
    def writers(self) -> Mapping[int, OutPort]:
        """Per channel, the handle that writes it."""
        ...

    def groups(self) -> Sequence[Group]:
        """All groups of the enclave; on its leader's thread."""
        ...

    def forget_shares(self) -> None:
        """What is called has changed: share levels out anew. On the leader's thread, between tags."""
        ...


Timed = Callable[[RunningReaction, Callable[[], None], ReactionContext], Callable[[], None]]
"""What a profile wraps around the call of each reaction."""
