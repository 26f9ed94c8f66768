"""A sweep as text: `%reactor sweep PPO env=CartPole-v1 learning_rate=[1e-3,3e-4] --seeds 5`, and the same on a command line.

Both are made of this module, so that they mean the same.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reactornb.errors import ReactorError
from reactornb.model import Reactor, from_text
from reactornb.options import add_arguments, given_options, parameter_value

if TYPE_CHECKING:
    from reactornb.sweeps.space import Between

__all__ = ["add_sweep_arguments", "axis_value", "begin"]

_BETWEEN = re.compile(r"between\((.*)\)", re.DOTALL)
_OPTIONS = ("seeds", "samples", "at_once", "score", "retry", "trials", "prune")


def add_sweep_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a command line what a sweep can be asked for, and the options of its runs. What was not given is absent from its namespace."""
    hidden = argparse.SUPPRESS
    parser.add_argument("--seeds", type=_seeds, default=hidden, metavar="N", help="how many seeds: 5; or which: 1,2,3")
    parser.add_argument("--samples", type=int, default=hidden, metavar="N", help="draw N configurations at random")
    parser.add_argument(
        "--at-once", type=int, default=hidden, metavar="N", help="runs at the same time; the cores unless given"
    )
    parser.add_argument(
        "--score", default=hidden, metavar="METRIC", help="what is compared; the mean return unless given"
    )
    parser.add_argument("--minimize", action="store_true", default=hidden, help="the least score is the best")
    parser.add_argument("--retry", action="store_true", default=hidden, help="of a kept sweep: try again what failed")
    parser.add_argument(
        "--trials", type=int, default=hidden, metavar="N", help="search: Optuna chooses N configurations"
    )
    parser.add_argument(
        "--prune", action="store_true", default=hidden, help="with --trials: end what is worse than the median"
    )
    add_arguments(parser, process_goes_on=False)


def begin(cls: type[Reactor], parameters: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
    """Start the sweep that was asked for.

    Args:
        cls: the program's class.
        parameters: as `axis_value` read them.
        given: the values of a command line's namespace.
    """
    asked = {name: given[name] for name in _OPTIONS if name in given}
    asked |= {**given_options(given), "maximize": not given.get("minimize", False)}
    own = {name: _fitting(cls, name, value) for name, value in parameters.items()}
    if "trials" not in asked:
        from reactornb.sweeps.making import sweep

        asked.pop("prune", None)
        return sweep(cls, parameters=own, **asked)
    from reactornb.sweeps.search import optimize

    for name in ("samples", "retry"):
        if asked.pop(name, None):
            raise ReactorError(f"--{name} is for a sweep; with --trials Optuna chooses.")
    return optimize(cls, parameters=own, **asked)


def axis_value(text: str, names: Mapping[str, Any] | None = None) -> Any:
    """What stands behind the `=`: a value, a list of them, `[1e-3,3e-4]` or `[CartPole-v1,Acrobot-v1]`, or `between(1e-5,1e-2,log=True)`.

    Args:
        text: the text.
        names: variables of the user's, where there are any.

    Raises:
        SweepOptionError: for a range that is none.
        ValueError: for what is no call of `between`.
    """
    called = _BETWEEN.fullmatch(text.strip())
    if called is not None:
        return _between(called[1], names)
    value = parameter_value(text, names)
    if value == text and text.startswith("[") and text.endswith("]"):
        return [parameter_value(word.strip(), names) for word in text[1:-1].split(",") if word.strip()]
    return value


def _between(text: str, names: Mapping[str, Any] | None) -> Between:
    from reactornb.sweeps.space import between  # which brings NumPy: `reactornb --help` has no need of it

    ends: list[Any] = []
    options: dict[str, Any] = {}
    for word in filter(None, (word.strip() for word in text.split(","))):
        name, equals, value = word.partition("=")
        if equals:
            options[name.strip()] = parameter_value(value.strip(), names)
        elif word == "log":
            options["log"] = True
        else:
            ends.append(parameter_value(word, names))
    numbers = all(isinstance(end, (int, float)) for end in ends)
    if len(ends) != 2 or not numbers or set(options) - {"log", "step"}:
        raise ValueError(f"between({text}) is not of the form between(1e-5,1e-2) or between(1e-5,1e-2,log)")
    return between(*ends, **options)


def _fitting(cls: type[Reactor], name: str, value: Any) -> Any:
    """Durations that are written as text, `10ms`, also within a list."""
    if isinstance(value, list):
        return [from_text(cls, {name: one})[name] for one in value]
    return from_text(cls, {name: value})[name]


def _seeds(text: str) -> int | list[int]:
    try:
        return [int(word) for word in text.split(",")] if "," in text else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"a number of seeds, 5, or which ones, 1,2,3, not {text!r}") from None
