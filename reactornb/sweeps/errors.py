"""What is wrong with a sweep."""

from __future__ import annotations

from reactornb.errors import ReactorError

__all__ = ["SweepError", "SweepOptionError"]


class SweepOptionError(ReactorError, ValueError):
    """What a sweep was asked for makes no sense: an axis without values, a range where single values are needed, an option that a trial cannot have."""


class SweepError(ReactorError, RuntimeError):
    """A sweep has nothing to show: every trial failed, or no trial could be chosen.

    Attributes:
        failures: of each trial that failed, what it failed with, in words.
    """

    def __init__(self, message: str, *, failures: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.failures = failures
