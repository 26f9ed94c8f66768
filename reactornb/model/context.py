"""What an instance asks of the program that runs it."""

from __future__ import annotations

from typing import Any, Protocol

from reactornb.tags import Tag

__all__ = ["Context"]


class Context(Protocol):
    """What the methods of a running reactor ask for; the runtime's `ReactionContext` has more.

    Attributes:
        start_time_ns: physical time at which the run began, in ns since the epoch.
        is_kept: whether checkpoints of the run may be taken; set before the first reaction runs. What has to be recorded for them, such as an
            environment's actions, is recorded only then.
    """

    start_time_ns: int
    is_kept: bool

    def current_tag(self) -> Tag:
        """The tag that is being executed."""
        ...

    def physical_elapsed_ns(self, reader: Any = None) -> int:
        """Physical time since the start of the run, in ns.

        Args:
            reader: the instance that asks; a run that is recorded keeps what it was told.
        """
        ...

    def request_stop(self) -> None:
        """Stop at the next microstep."""
        ...
