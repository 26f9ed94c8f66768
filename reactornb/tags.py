"""Logical time: tags and durations.

A tag is a point in superdense time (Lee and Zheng 2007, as Lingua Franca uses it): nanoseconds since the run
began, then a microstep among the events of one instant. Durations are plain `int` nanoseconds, made with the
helpers below, so that arithmetic on them needs no library. This module knows nothing of reactors.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["Tag", "days", "forever", "hours", "minutes", "ms", "never", "ns", "sec", "us", "weeks"]

forever: Final = (1 << 63) - 1
"""A duration or instant that never comes: the largest signed 64-bit count of nanoseconds."""

never: Final = -(1 << 63)
"""An instant before every other one."""


class Tag(NamedTuple):
    """A point in logical time, ordered first by time and then by microstep.

    Attributes:
        time_ns: nanoseconds of logical time since the start of the run.
        microstep: position among the tags of one instant, from 0.
    """

    time_ns: int
    microstep: int = 0

    def delay(self, after_ns: int) -> Tag:
        """The tag `after_ns` later: a delay of zero is one microstep, as in Lingua Franca."""
        if after_ns == 0:
            return Tag(self.time_ns, self.microstep + 1)
        return Tag(min(self.time_ns + after_ns, forever), 0)

    def __str__(self) -> str:
        return f"({format_ns(self.time_ns)}, {self.microstep})"


def ns(value: float) -> int:
    """`value` nanoseconds."""
    return round(value)


def us(value: float) -> int:
    """`value` microseconds, in nanoseconds."""
    return round(value * 1_000)


def ms(value: float) -> int:
    """`value` milliseconds, in nanoseconds."""
    return round(value * 1_000_000)


def sec(value: float) -> int:
    """`value` seconds, in nanoseconds."""
    return round(value * 1_000_000_000)


def minutes(value: float) -> int:
    """`value` minutes, in nanoseconds."""
    return sec(value * 60)


def hours(value: float) -> int:
    """`value` hours, in nanoseconds."""
    return sec(value * 3_600)


def days(value: float) -> int:
    """`value` days, in nanoseconds."""
    return sec(value * 86_400)


def weeks(value: float) -> int:
    """`value` weeks, in nanoseconds."""
    return sec(value * 604_800)


_UNITS: Final = {
    unit: size
    for size, names in (
        (1, "ns nsec nsecs"),
        (1_000, "us usec usecs"),
        (1_000_000, "ms msec msecs"),
        (1_000_000_000, "s sec secs second seconds"),
        (60_000_000_000, "m min mins minute minutes"),
        (3_600_000_000_000, "h hour hours"),
        (86_400_000_000_000, "d day days"),
        (604_800_000_000_000, "week weeks"),
    )
    for unit in names.split()
}


def parse_duration(text: str) -> int:
    """The inverse of `format_ns`: `10s`, `500 ms`, `1.5 h`, `forever`, with Lingua Franca's units too; in ns.

    Raises:
        ValueError: if the text is no such duration.
    """
    words = text.strip()
    if words == "forever":
        return forever
    number = words.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = words[len(number) :]
    try:
        if not unit and float(number) == 0:
            return 0
        return round(float(number) * _UNITS[unit])
    except (KeyError, ValueError, OverflowError):
        raise ValueError(f"{text!r} is not a duration; write 10s, 500ms or 2min") from None


def format_ns(value: int) -> str:
    """A duration as a person writes it: `250 ms`, `1.5 s`, `0`."""
    if value == forever:
        return "forever"
    if value == never:
        return "never"
    for unit, size in (("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)):
        if abs(value) >= size:
            return f"{value / size:.9g} {unit}"
    return f"{value} ns" if value else "0"
