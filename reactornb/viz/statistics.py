"""What several runs say together: the interquartile mean, and how sure it is. Arrays only: no runs, no drawing.

The definitions are those of Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice", arXiv:2108.13264, and of
their library rliable: scores are float [runs, tasks]; the interquartile mean is the mean of the middle half of all of them; an interval has the
percentiles of that statistic over resamples, in which each task's runs are drawn anew with replacement (stratified). Where an interval is drawn
along a curve of one task, a statistic of sorted values is a weighted sum of them, so a resample is a row of weights.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy

from reactornb.errors import ReactorError

__all__ = ["bands", "bootstrap_interval", "interquartile_mean", "mean_of_means", "median_of_means"]

Array = numpy.ndarray[Any, Any]
RESAMPLES = 2000
_AT_ONCE = 1 << 22  # values of resamples that are worked on together


def interquartile_mean(scores: Any, axis: int | None = None) -> Any:
    """The mean without the lowest and the highest quarter of the values, rounded down to whole values.

    Args:
        scores: float, any shape; for rliable's numbers [runs, tasks].
        axis: along which; None: over all values.

    Returns:
        float, or an array without that axis.
    """
    values = numpy.sort(numpy.asarray(scores, float), axis=axis)
    values = numpy.moveaxis(values, -1 if axis is None else axis, -1)
    count = values.shape[-1]
    cut = count // 4
    return values[..., cut : count - cut].mean(-1)


def mean_of_means(scores: Any) -> float:
    """The mean over tasks of the mean over runs of float [runs, tasks]."""
    return float(numpy.asarray(scores, float).mean(0).mean())


def median_of_means(scores: Any) -> float:
    """The median over tasks of the mean over runs of float [runs, tasks]."""
    return float(numpy.median(numpy.asarray(scores, float).mean(0)))


def bootstrap_interval(
    scores: Any,
    statistic: Callable[[Array], Any] = interquartile_mean,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """Between which values a statistic lies, by the stratified percentile bootstrap: the runs of each task are drawn anew, with replacement.

    Args:
        scores: float [runs] of one task, or [runs, tasks].
        statistic: of float [runs, tasks].
        confidence: how much of the resamples lies between, in (0, 1).
        resamples: how many.
        seed: of the draws: the same scores have the same interval.

    Raises:
        ReactorError: for scores of another shape, or none.
    """
    table = numpy.asarray(scores, float)
    table = table[:, None] if table.ndim == 1 else table
    if table.ndim != 2 or not table.size:
        raise ReactorError(
            f"scores must be an array [runs] or [runs, tasks] with at least one of each, not one of shape {numpy.shape(scores)}."
        )
    rng = numpy.random.default_rng(seed)
    runs, tasks = table.shape
    at_once = max(1, _AT_ONCE // table.size)
    found: list[float] = []
    while len(found) < resamples:
        drawn = rng.integers(runs, size=(min(at_once, resamples - len(found)), runs, tasks))
        found += [float(statistic(sample)) for sample in table[drawn, numpy.arange(tasks)]]
    low, high = numpy.quantile(found, ((1 - confidence) / 2, (1 + confidence) / 2))
    return float(low), float(high)


def bands(values: Array, *, iqm: bool = True, confidence: float = 0.95) -> tuple[Array, Array, Array]:
    """The statistic of several runs at each point of their curves, and its bootstrap interval.

    Args:
        values: float64 [runs, points], finite.
        iqm: the interquartile mean, which of fewer than four runs is their mean; else the mean.
        confidence: see `bootstrap_interval`.

    Returns:
        The statistic, and the low and the high end of its interval, each float64 [points].
    """
    runs, points = values.shape
    ranked = numpy.sort(values, axis=0)
    weights = _weights(runs, iqm)
    low, high = numpy.empty(points), numpy.empty(points)
    at_once = max(1, _AT_ONCE // len(weights))
    ends = ((1 - confidence) / 2, (1 + confidence) / 2)
    for start in range(0, points, at_once):
        part = slice(start, start + at_once)
        low[part], high[part] = numpy.quantile(weights @ ranked[:, part], ends, axis=0)
    return _share(runs, iqm) @ ranked, low, high


def _share(runs: int, iqm: bool) -> Array:
    """The weight of each of so many sorted values in the statistic, float64 [runs]."""
    cut = runs // 4 if iqm else 0
    share = numpy.zeros(runs)
    share[cut : runs - cut] = 1 / (runs - 2 * cut)
    return share


@lru_cache(maxsize=64)
def _weights(runs: int, iqm: bool) -> Array:
    """For each resample the weights of the sorted values, float64 [resamples, runs]: ranks are drawn, which is to draw runs."""
    drawn = numpy.sort(numpy.random.default_rng(0).integers(runs, size=(RESAMPLES, runs)), axis=1)
    weights = numpy.zeros((RESAMPLES, runs))
    for place, share in enumerate(_share(runs, iqm).tolist()):
        weights[numpy.arange(RESAMPLES), drawn[:, place]] += share
    return weights
