"""What a sweep goes through: lists of values, ranges, and the configurations that are made of them. It knows no runs.

A list, a `range` or an array is an axis: its values are tried. A `between` is a range from which values are drawn. Anything else, a tuple too, is one
value, the same in all trials.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Mapping
from types import CodeType
from typing import Any

import numpy as np

from reactornb.sweeps.errors import SweepOptionError

__all__ = ["Between", "axes_of", "between", "configurations", "spelled"]

_MOST = 1_000_000  # configurations
_TRIES = 100  # for each configuration that is drawn


@dataclasses.dataclass(frozen=True, slots=True)
class Between:
    """A range of numbers; see `between`."""

    low: float
    high: float
    log: bool = False
    step: float | None = None
    whole: bool = False

    def draw(self, rng: np.random.Generator) -> float | int:
        """A value at random: every one equally likely, or with `log` every order of magnitude."""
        if self.log:
            value = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
            return round(value) if self.whole else float(value)
        if self.step is not None:
            count = math.floor((self.high - self.low) / self.step + 1e-9)
            stepped = self.low + self.step * int(rng.integers(0, count, endpoint=True))
            return round(stepped) if self.whole else float(stepped)
        if self.whole:
            return int(rng.integers(round(self.low), round(self.high), endpoint=True))
        return float(rng.uniform(self.low, self.high))


def between(low: float, high: float, *, log: bool = False, step: float | None = None) -> Between:
    """All numbers from `low` to `high`: whole ones if both are.

    Args:
        low: the least.
        high: the greatest.
        log: orders of magnitude are equally likely, as it suits learning rates: `between(1e-5, 1e-2, log=True)`.
        step: only every so many.

    Raises:
        SweepOptionError: for a range without numbers, and with `log` for one that is not above 0.
    """
    whole = all(isinstance(end, (int, np.integer)) and not isinstance(end, bool) for end in (low, high))
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise SweepOptionError(f"between({low!r}, {high!r}): the first number must be less than the second one.")
    if log and low <= 0:
        raise SweepOptionError(f"between({low!r}, {high!r}, log=True): orders of magnitude are of numbers above 0.")
    if log and step is not None:
        raise SweepOptionError("between: log=True and step= exclude each other.")
    if step is not None and not 0 < step <= high - low:
        raise SweepOptionError(f"between({low!r}, {high!r}, step={step!r}): a step is above 0 and at most the range.")
    return Between(low, high, log, step, whole and (step is None or isinstance(step, (int, np.integer))))


def axes_of(parameters: Mapping[str, Any]) -> tuple[dict[str, list[Any] | Between], dict[str, Any]]:
    """What is swept, and what is the same in all trials.

    Raises:
        SweepOptionError: for an axis without values.
    """
    axes: dict[str, list[Any] | Between] = {}
    fixed: dict[str, Any] = {}
    for name, value in parameters.items():
        if isinstance(value, Between):
            axes[name] = value
        elif isinstance(value, (list, range, np.ndarray)):
            values = value.tolist() if isinstance(value, np.ndarray) else list(value)
            if not values:
                raise SweepOptionError(f"{name}=[]: an axis needs at least one value.")
            axes[name] = list({spelled(one): one for one in values}.values())
        else:
            fixed[name] = value
    return axes, fixed


def configurations(axes: Mapping[str, list[Any] | Between], samples: Any = None, seed: int = 0) -> list[dict[str, Any]]:
    """The values of the swept parameters in each configuration.

    Args:
        axes: see `axes_of`.
        samples: how many are drawn at random, no two alike; None: all combinations, the last axis changing fastest.
        seed: of what is drawn.

    Raises:
        SweepOptionError: for a range of which it is not said how many values are drawn; for far too many combinations.
    """
    lists = {name: axis for name, axis in axes.items() if isinstance(axis, list)}
    count = math.prod(map(len, lists.values()))
    if samples is None:
        ranges = [name for name in axes if name not in lists]
        if ranges:
            raise SweepOptionError(
                f"{ranges[0]} is a range, so a sweep must know how many values to draw: samples=20. Or list the values."
            )
        if count > _MOST:
            raise SweepOptionError(f"there are {count:,} combinations; samples=N draws N of them.")
        return [dict(zip(lists, values, strict=True)) for values in itertools.product(*lists.values())]
    if isinstance(samples, bool) or not isinstance(samples, (int, np.integer)) or samples < 1:
        raise SweepOptionError(f"samples must be a whole number of at least 1, not {samples!r}.")
    if len(lists) == len(axes) and samples >= count:
        return configurations(axes)
    rng = np.random.default_rng(seed)
    drawn: dict[str, dict[str, Any]] = {}
    for _ in range(_TRIES * samples):  # there may be fewer different ones, where ranges are of whole numbers
        if len(drawn) == samples:
            break
        made = {name: _draw(axis, rng) for name, axis in axes.items()}
        drawn.setdefault(spelled(made), made)
    return list(drawn.values())


def _draw(axis: list[Any] | Between, rng: np.random.Generator) -> Any:
    return axis.draw(rng) if isinstance(axis, Between) else axis[int(rng.integers(len(axis)))]


# -- what tells values apart ----------------------------------------------------------------------------------------------


def spelled(value: Any) -> str:
    """A value as text that another process spells in the same way, and only for an equal value, as far as can be told from outside.

    Functions count as equal if their code is; what has no text but its address, if its class is.
    """
    if isinstance(value, np.generic):
        return repr(value.item())
    if isinstance(value, (bool, int, float, str, bytes, complex)) or value is None:
        return repr(value)
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{spelled(k)}: {spelled(v)}' for k, v in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__}({', '.join(map(spelled, value))})"
    if isinstance(value, functools.partial):
        return f"partial({spelled(value.func)}, {spelled(value.args)}, {spelled(value.keywords)})"
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if dataclasses.is_dataclass(value):
        own = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return f"{type(value).__qualname__}{spelled(own)}"
    code = getattr(value, "__code__", None)
    if isinstance(code, CodeType):
        closed = [_content(cell) for cell in getattr(value, "__closure__", None) or ()]
        return f"{value.__qualname__}{_code(code)}{spelled(closed)}{spelled(getattr(value, '__defaults__', None))}"
    if isinstance(value, np.ndarray):
        return f"array({value.dtype.str}, {value.shape}, {value.tobytes().hex()})"
    shown = repr(value)
    return f"{type(value).__module__}.{type(value).__qualname__}" if " at 0x" in shown else shown


def _content(cell: Any) -> str:
    try:
        return spelled(cell.cell_contents)
    except ValueError:  # it is empty
        return ""


def _code(code: CodeType) -> str:
    """What a function does, without the place where it stands."""
    constants = [_code(part) if isinstance(part, CodeType) else repr(part) for part in code.co_consts]
    return f"<{code.co_code.hex()} {code.co_names} {constants}>"
