"""What an instance asks of the program that runs it."""

from __future__ import annotations

from typing import Protocol

from reactornb.tags import Tag

__all__ = ["Context"]


class Context(Protocol):
    """What the methods of a running reactor ask for; the runtime's `ReactionContext` has more.

    Attributes:
        start_time_ns: physical time at which the run began, in ns since the epoch.
    """

    start_time_ns: int

    def current_tag(self) -> Tag:
        """The tag that is being executed."""
        ...

    def physical_elapsed_ns(self) -> int:
        """Physical time since the start of the run, in ns."""
        ...

    def request_stop(self) -> None:
        """Stop at the next microstep."""
        ...
