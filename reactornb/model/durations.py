"""Where a duration is asked for, a value with a unit is needed: judged in declarations, and where one is given while a program runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reactornb.errors import DeclarationError, SendingError, Source
from reactornb.tags import Duration, DurationLike, as_duration, forever, no_duration

__all__ = ["DurationSpec", "duration", "duration_ns"]

DurationSpec = DurationLike | str | Callable[[Any], DurationLike]
"""A duration known at assembly: itself, the name of a parameter, or a function of the reactor."""


def duration(value: Any, what: str, source: Source) -> Any:
    """A duration as it is declared: judged at once, or at assembly where it is a parameter's name or a function.

    Raises:
        DeclarationError: for a bare number, or anything else that is no duration.
    """
    if value is None or isinstance(value, str) or callable(value):
        return value
    judged = as_duration(value)
    if judged is None:
        raise DeclarationError(f"{source}: {what}: {no_duration(value)}.")
    return judged


def duration_ns(value: Any, what: str, *, bare: bool = False, signed: bool = False) -> int:
    """A duration that is given while a program runs, in ns.

    Args:
        value: what was given.
        what: what it was given for; a message begins with it.
        bare: whether a bare number counts ns, as in the language that a front end translates.
        signed: whether it may be negative.

    Raises:
        SendingError: if it is no duration, negative though not `signed`, or beyond `forever`.
    """
    if type(value) is Duration and 0 <= value <= forever:
        return int(value)
    found: int | None = _whole(value) if bare else as_duration(value)
    if found is None:
        words = f"takes whole ns, not {value!r} (a {type(value).__name__})" if bare else no_duration(value)
        raise SendingError(f"{what}: {words}.")
    found = int(found)
    if found < 0 and not signed:
        raise SendingError(f"{what} cannot go back in time, by {-found} ns; a duration is at least 0.")
    if found > forever:
        raise SendingError(
            f"{what}: {found} ns lie beyond the end of logical time; the longest duration is forever, 2**63 - 1 ns (292 years)."
        )
    return found


def _whole(value: Any) -> int | None:
    """A whole number, or None: NumPy's numbers and whole floats are some, booleans are none."""
    if type(value).__name__ in ("bool", "bool_"):
        return None
    if hasattr(value, "__index__"):
        return int(value.__index__())
    try:
        number = float(value)
    except (TypeError, ValueError):
        return as_duration(value)
    return int(number) if number.is_integer() and not isinstance(value, str) else None
