"""What curves are drawn over, and in which order they stand: names and titles, and what is chosen if nobody chooses.

An axis that a user chooses is one of `CHOICES`. "tag" means the part of the tag on which the values spread, which `axis_of` finds; the names
of those parts can be chosen, too. This module knows names and `Series`, not runs.
"""

from __future__ import annotations

from collections.abc import Iterable

from reactornb.errors import ReactorError, suggestion
from reactornb.runtime.metrics import EPISODES
from reactornb.viz.series import Series

__all__ = ["AXES", "CHOICES", "axes_of", "axis_of", "checked_axis", "in_order", "resolved", "shown"]

AXES = {
    "steps": "environment steps",
    "wall": "wall-clock, s",
    "episodes": "episodes",
    "time": "logical time, s",
    "microstep": "microstep",
    "sample": "values logged",
}
CHOICES = ("steps", "wall", "episodes", "tag")
_FIRST = (EPISODES, "eval_return", "eval_mean", "mean_return")  # what a user looks at first, training beside evaluation


def checked_axis(axis: str | None) -> str | None:
    """An axis as a user wrote it; None: the default.

    Raises:
        ReactorError: if there is none of that name.
    """
    if axis is None or axis in AXES or axis == "tag":
        return axis
    raise ReactorError(f"there is no x axis {axis!r}. {suggestion(axis, [*CHOICES, 'time', 'microstep', 'sample'])}")


def axes_of(series: Iterable[Series]) -> list[str]:
    """The `CHOICES` that mean something for these series, the default first: environment steps where any were logged, else the tag."""
    listed = list(series)
    there = {
        "steps": any(s.reach("steps") > 0 for s in listed),
        "wall": any(s.reach("wall") > 0 for s in listed),
        "episodes": any(s.reach("episodes") > 0 for s in listed),
        "tag": True,
    }
    chosen = [name for name in CHOICES if there[name]]
    return chosen if there["steps"] else ["tag", *(name for name in chosen if name != "tag")]


def resolved(axis: str | None, series: Iterable[Series]) -> str:
    """The axis, one of `AXES`, that a user's choice means for these series."""
    listed = list(series)
    axis = checked_axis(axis) or axes_of(listed)[0]
    return axis_of(listed) if axis == "tag" else axis


def axis_of(series: Iterable[Series]) -> str:
    """The part of the tag on which these series spread out: "time" where logical time moves, else "microstep", else "sample".

    A fast program may do all its work in the microsteps of one instant, or of a few.
    """
    listed = list(series)
    tags, times = sum(s.tags for s in listed), sum(s.times for s in listed)
    if tags == 0 or times * 2 >= tags:
        return "time" if times or not any(s.count > 1 for s in listed) else "sample"
    return "microstep" if times == 0 else "sample"


def in_order(names: Iterable[str]) -> list[str]:
    """Metrics as they are shown: returns of episodes, of evaluations beside them, other returns and rewards, then the rest as it comes."""
    listed = list(dict.fromkeys(names))

    def place(name: str) -> int:
        if name in _FIRST:
            return _FIRST.index(name)
        return len(_FIRST) + (0 if "return" in name or "reward" in name else 1)

    return sorted(listed, key=place)


def shown(names: Iterable[str]) -> list[str]:
    """The metrics that are shown if nobody asks for others: in order, without counts of steps, which are an axis and a rate, and without the
    mean of each evaluation, which is the curve of its returns.
    """
    listed = set(names)
    hidden = {"steps"} | ({"eval_mean"} if "eval_return" in listed else set())
    return [name for name in in_order(names) if name not in hidden]
