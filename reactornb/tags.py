"""Logical time: tags and durations.

A tag is a point in superdense time (Lee and Zheng 2007, as Lingua Franca uses it): nanoseconds since the run
began, then a microstep among the events of one instant. A duration that a user gives has its unit: it is made with
`ms`, `sec` and their like, or is a `datetime.timedelta`; a bare number is refused, since 10 may mean anything.
This module knows nothing of reactors.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from numbers import Real
from typing import Any, Final, NamedTuple

__all__ = [
    "Duration", "DurationLike", "Tag", "as_duration", "days", "forever", "hours", "minutes", "ms", "never", "no_duration", "ns", "sec", "seconds_of",
    "us", "weeks",
]  # fmt: skip

forever: Final = (1 << 63) - 1
"""A duration or instant that never comes: the largest signed 64-bit count of nanoseconds."""

never: Final = -(1 << 63)
"""An instant before every other one."""


class Duration(int):
    """A length of time: a whole number of nanoseconds that knows it is one. Made with `ms(10)`, `sec(0.5)` and their like.

    Durations are added, subtracted, multiplied with a number, and compared; `//` and `%` by a number or another duration work as
    they do for `datetime.timedelta`. In every other expression a duration is the `int` of its nanoseconds: `period / 1e9` is a float of
    seconds, and a sum with another `int` a plain number of nanoseconds.
    """

    __slots__ = ()

    def __add__(self, other: int) -> int:
        total = int.__add__(self, other)
        # sum() begins with 0
        return total if total is NotImplemented or not (isinstance(other, Duration) or other == 0) else Duration(total)

    __radd__ = __add__

    def __sub__(self, other: int) -> int:
        left = int.__sub__(self, other)
        return left if left is NotImplemented or not (isinstance(other, Duration) or other == 0) else Duration(left)

    def __rsub__(self, other: int) -> int:
        left = int.__rsub__(self, other)
        return Duration(left) if left is not NotImplemented and other == 0 else left

    def __mul__(self, other: Any) -> Duration:
        if isinstance(other, Duration) or not isinstance(other, Real):
            return NotImplemented
        product: Any = int(self) * other
        return Duration(round(product))

    __rmul__ = __mul__

    def __floordiv__(self, other: int) -> int:
        whole = int.__floordiv__(self, other)
        return whole if whole is NotImplemented or isinstance(other, Duration) else Duration(whole)

    def __mod__(self, other: int) -> Duration:
        rest = int.__mod__(self, other)
        return rest if rest is NotImplemented else Duration(rest)

    def __neg__(self) -> Duration:
        return Duration(-int(self))

    def __pos__(self) -> Duration:
        return self

    def __abs__(self) -> Duration:
        return Duration(abs(int(self)))

    def __repr__(self) -> str:
        """The call that makes it: `ms(10)`, `sec(1.5)`."""
        value = int(self)
        for unit, size in (("sec", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)):
            if abs(value) >= size and value != forever:
                number = f"{value / size:.9g}"
                return f"{unit}({number})" if round(float(number) * size) == value else f"ns({value})"
        return "forever" if value == forever else f"ns({value})"

    def __str__(self) -> str:
        """As a person writes it: `10 ms`."""
        return format_ns(int(self))

    def __format__(self, spec: str) -> str:
        return format(int(self), spec) if spec else str(self)


DurationLike = Duration | timedelta | int
"""What a duration may be given as; of `int` only 0 and `forever`, which need no unit."""


def as_duration(value: Any) -> Duration | None:
    """A duration that was given to the package, or None if it is none: a bare number but 0 and `forever`, or anything else."""
    if type(value) is Duration:
        return value
    if isinstance(value, timedelta):
        return Duration(((value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds) * 1_000)
    if isinstance(value, int) and not isinstance(value, bool) and value in (0, forever):
        return Duration(value)
    return None


def no_duration(value: Any) -> str:
    """Why a value is no duration, and what to write: the end of a message that begins with what it was given for."""
    if isinstance(value, str):
        try:
            return f"{value!r} is text; write {parse_duration(value)!r}"
        except ValueError:
            return f"{value!r} is no duration; write ms(10), sec(1) or a datetime.timedelta"
    index = getattr(type(value), "__index__", None)
    if not isinstance(value, bool) and (index is not None or isinstance(value, float)):
        number = f"{value}"
        return (
            f"{number} is a bare number without a unit; write ns({number}), us({number}), ms({number}) or sec({number}), from reactornb, "
            f"or a datetime.timedelta"
        )
    return f"{value!r:.80} (a {type(value).__name__}) is no duration; write ms(10), sec(1) or a datetime.timedelta"


def seconds_of(timeout: Any) -> float | None:
    """The seconds of a physical wait, `timeout=`, or None for one without end.

    Raises:
        TypeError: for a duration, whose nanoseconds would be taken for seconds, or anything else that is no number; it says what to write.
    """
    if timeout is None:
        return None
    duration = as_duration(timeout) if isinstance(timeout, (Duration, timedelta)) else None
    if duration is not None:
        number = "None" if duration == forever else f"{duration / 1e9:.9g}"
        raise TypeError(
            f"timeout is a physical wait, a number of seconds: write timeout={number}, not {timeout!r}, which is a length of logical time."
        )
    if isinstance(timeout, bool) or not isinstance(timeout, Real):
        raise TypeError(f"timeout is a physical wait, a number of seconds or None, not {timeout!r}.")
    return float(timeout)


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
        return Tag(min(self.time_ns + int(after_ns), forever), 0)

    def __str__(self) -> str:
        return f"({format_ns(self.time_ns)}, {self.microstep})"


def _times(value: Any, unit_ns: int, name: str) -> Duration:
    if unit_ns > 1 and isinstance(value, Duration):
        raise TypeError(f"{name} takes a number, as in {name}(10); {value!r} is a duration already.")
    try:
        if not isinstance(value, Sequence):  # which would be repeated
            return Duration(round(value * unit_ns))
    except (ValueError, OverflowError):
        raise ValueError(f"{name} takes a finite number, as in {name}(10), not {value!r}.") from None
    except TypeError:
        pass
    raise TypeError(f"{name} takes a number, as in {name}(10), not {value!r:.80}.")


def ns(value: float) -> Duration:
    """`value` nanoseconds. Here and below: a `TypeError` if `value` is no number, a `ValueError` if it is not finite."""
    return _times(value, 1, "ns")


def us(value: float) -> Duration:
    """`value` microseconds."""
    return _times(value, 1_000, "us")


def ms(value: float) -> Duration:
    """`value` milliseconds."""
    return _times(value, 1_000_000, "ms")


def sec(value: float) -> Duration:
    """`value` seconds."""
    return _times(value, 1_000_000_000, "sec")


def minutes(value: float) -> Duration:
    """`value` minutes."""
    return _times(value, 60_000_000_000, "minutes")


def hours(value: float) -> Duration:
    """`value` hours."""
    return _times(value, 3_600_000_000_000, "hours")


def days(value: float) -> Duration:
    """`value` days."""
    return _times(value, 86_400_000_000_000, "days")


def weeks(value: float) -> Duration:
    """`value` weeks."""
    return _times(value, 604_800_000_000_000, "weeks")


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


def parse_duration(text: str) -> Duration:
    """The inverse of `format_ns`: `10s`, `500 ms`, `1.5 h`, `forever`, with Lingua Franca's units too.

    Raises:
        ValueError: if the text is no such duration.
    """
    words = text.strip()
    if words == "forever":
        return Duration(forever)
    number = words.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = words[len(number) :]
    try:
        if not unit and float(number) == 0:
            return Duration(0)
        return Duration(round(float(number) * _UNITS[unit]))
    except (KeyError, ValueError, OverflowError):
        raise ValueError(f"{text!r} is not a duration; write 10s, 500ms or 2min") from None


def parse_place(text: str) -> tuple[int, int] | Duration | str:
    """What a place in a kept run that was typed means.

    Args:
        text: `1.5s` is a duration; `1.5s,3`, `(20 ms, 3)` and `1500000000.3`, as the folder of a checkpoint is called, are tags; anything else
            is a name, of a checkpoint.

    Raises:
        ValueError: for a tag whose time is none.
    """
    folder = re.fullmatch(r"(\d+)\.(\d+)", text)
    if folder:
        return int(folder[1]), int(folder[2])
    pair = re.fullmatch(r"\(?\s*([^,]+?)\s*,\s*(?:microstep\s+)?([\d,_]+)\s*\)?", text)
    if pair:
        steps = int(pair[2].replace(",", ""))
        try:
            return int(pair[1]) if pair[1].isdigit() else parse_duration(pair[1]), steps
        except ValueError as error:
            raise ValueError(f"{error}; a tag is a time and a microstep: 1.5s,3") from None
    try:
        return parse_duration(text)
    except ValueError:
        return text


def format_ns(value: int) -> str:
    """A duration as a person writes it: `250 ms`, `1.5 s`, `0`."""
    value = int(value)  # a `Duration` formats itself with this
    if value == forever:
        return "forever"
    if value == never:
        return "never"
    for unit, size in (("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)):
        if abs(value) >= size:
            return f"{value / size:.9g} {unit}"
    return f"{value} ns" if value else "0"
