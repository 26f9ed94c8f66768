"""How good a trial was, in one number: what a sweep's table is sorted by, and what `optimize` makes as great or as small as it can."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from reactornb.runtime.logs import Column
from reactornb.runtime.metrics import Metric, Metrics
from reactornb.sweeps.errors import SweepOptionError

__all__ = ["Score", "default_score", "score_of", "up_to"]

Score = Callable[[Mapping[str, Metric]], float | None]
_LAST = 100  # episodes, as in Stable-Baselines3's ep_rew_mean


def score_of(asked: str | Score | None) -> Score:
    """What was asked for as a function of metrics.

    Args:
        asked: a function of a run's metrics; the name of a metric, of whose last 100 values the mean counts; None: see `default_score`.

    Raises:
        SweepOptionError: for anything else.
    """
    if asked is None:
        return default_score
    if isinstance(asked, str):
        return lambda metrics: _mean_of_last(metrics.get(asked))
    if callable(asked):
        return lambda metrics: _number(asked(metrics))
    raise SweepOptionError(f"score is the name of a metric, or a function of a run's metrics, not {asked!r}.")


def default_score(metrics: Mapping[str, Metric]) -> float | None:
    """The mean return of the last evaluation, where there was one; else that of the last 100 episodes of the training; None without either."""
    for name in ("eval_mean", "eval_return"):
        evaluated = metrics.get(name)
        if evaluated is not None and len(evaluated):
            last = (evaluated.time_ns == evaluated.time_ns[-1]) & (evaluated.microstep == evaluated.microstep[-1])
            return _number(evaluated.values[last].mean())
    return _mean_of_last(metrics.get("episode_return") or metrics.get("mean_return"))


def _mean_of_last(metric: Metric | None) -> float | None:
    return _number(metric.values[-_LAST:].mean()) if metric is not None and len(metric) else None


def _number(value: Any) -> float | None:
    """A finite number, or None."""
    number = None if value is None else float(value)
    return number if number is not None and math.isfinite(number) else None


def up_to(metrics: Mapping[str, Metric], steps: float) -> Metrics:
    """What had been logged when so many environment steps were taken."""
    cut: dict[str, Column] = {}
    for name, metric in metrics.items():
        end = int(np.searchsorted(metric.steps, steps, side="right"))
        columns = (metric.time_ns, metric.microstep, metric.values, metric.wall_s)
        cut[name] = Column(*(column[:end] for column in columns))
    counts = cut.get("steps")
    return Metrics({name: Metric(name, column, 0.0, counts) for name, column in cut.items() if len(column.values)})
