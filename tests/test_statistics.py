"""The interquartile mean and bootstrap intervals: rliable's definitions and numbers, and distributions that can be written down."""

import itertools

import numpy as np
import pytest

from reactornb.errors import ReactorError
from reactornb.viz.statistics import (
    RESAMPLES,
    bands,
    bootstrap_interval,
    interquartile_mean,
    mean_of_means,
    median_of_means,
)


def test_the_aggregates_of_rliables_own_tests_are_the_same():
    """rliable, tests/rliable/metrics_test.py: scores are [runs, tasks]."""
    x = np.array([[1, 2], [2, 2], [1, 1], [2, 1]])
    y = np.array([[1, 1], [2, 2], [3, 3]])
    for statistic in (median_of_means, mean_of_means, interquartile_mean):
        assert (statistic(x), statistic(y)) == (1.5, 2)


@pytest.mark.parametrize(
    ("statistic", "estimate", "low", "high"),
    [
        (interquartile_mean, 256.28504667989966, 193.938, 323.853),
        (mean_of_means, 281.7582220339077, 236.203, 327.548),
        (median_of_means, 280.17178805658557, 220.365, 336.134),
    ],
)
def test_estimates_are_those_of_rliable_and_intervals_too_but_for_what_was_drawn(statistic, estimate, low, high):
    """What rliable 1.2.0's get_interval_estimates gives with 50,000 resamples; the ends differ by what two other draws of it do."""
    scores = np.arange(80).reshape(5, 16) ** 1.5
    assert statistic(scores) == pytest.approx(estimate, rel=1e-12)
    found = bootstrap_interval(scores, statistic)
    assert found == pytest.approx((low, high), abs=0.04 * (high - low))


@pytest.mark.parametrize("count", range(1, 21))
def test_the_interquartile_mean_leaves_out_a_quarter_of_the_values_at_each_end(count):
    """As scipy.stats.trim_mean(scores, 0.25), which rliable calls: a quarter rounded down."""
    values = np.random.default_rng(count).permutation(np.arange(count) ** 2)
    cut = int(0.25 * count)
    assert interquartile_mean(values) == pytest.approx(np.mean(np.arange(count)[cut : count - cut] ** 2))
    both = np.stack((values, 2 * values), axis=1)
    assert interquartile_mean(both, axis=0) == pytest.approx(
        [interquartile_mean(values), 2 * interquartile_mean(values)]
    )


def test_an_outlier_does_not_move_the_interquartile_mean():
    assert interquartile_mean([1, 2, 3, 4, 5, 6, 7, 1e9]) == interquartile_mean([1, 2, 3, 4, 5, 6, 7, 8]) == 4.5


def exact_interval(scores, statistic, confidence):
    """The interval over every resample that there is, each as likely as any other."""
    runs, tasks = scores.shape
    found = sorted(
        statistic(np.array([[scores[row[run * tasks + task], task] for task in range(tasks)] for run in range(runs)]))
        for row in itertools.product(range(runs), repeat=runs * tasks)
    )
    return tuple(np.quantile(found, ((1 - confidence) / 2, (1 + confidence) / 2)))


@pytest.mark.parametrize(
    "scores",
    [[[1.0], [2.0], [4.0]], [[0.0, 0.0], [1.0, 1.0]], [[1.0, 5.0], [3.0, 2.0], [4.0, 9.0]]],
    ids=["one task", "two tasks of two runs", "two tasks of three runs"],
)
def test_the_interval_is_that_of_all_resamples_in_which_each_task_draws_its_own_runs(scores):
    scores = np.array(scores)
    found = bootstrap_interval(scores, mean_of_means, confidence=0.8, resamples=4000)
    assert found == pytest.approx(exact_interval(scores, mean_of_means, 0.8), abs=0.1)


def test_runs_are_not_drawn_as_rows_of_all_tasks():
    # The mean of four draws of 0 or 1 is 0 in one of sixteen resamples, that of two draws in one of four.
    assert bootstrap_interval([[0, 0], [1, 1]], mean_of_means, confidence=0.8, resamples=4000) == (0.25, 0.75)
    assert bootstrap_interval([0, 1], mean_of_means, confidence=0.8) == (0, 1)


def test_the_same_scores_have_the_same_interval_and_equal_ones_have_none():
    scores = np.random.default_rng(0).normal(size=(5, 3))
    assert bootstrap_interval(scores) == bootstrap_interval(scores)
    assert bootstrap_interval(scores) != bootstrap_interval(scores, seed=1)
    assert bootstrap_interval([7.0] * 5) == (7, 7)
    low, high = bootstrap_interval(scores)
    assert low < interquartile_mean(scores) < high


@pytest.mark.slow
def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(200):
        low, high = bootstrap_interval(rng.normal(size=20), mean_of_means, resamples=400)
        hits += low <= 0 <= high
    assert 170 <= hits <= 199  # 95 % of 200 are 190; percentiles of twenty values are a little too narrow


@pytest.mark.parametrize("scores", [[], [[]], np.zeros((2, 2, 2))])
def test_scores_of_another_shape_are_refused(scores):
    with pytest.raises(ReactorError, match=r"\[runs\] or \[runs, tasks\]"):
        bootstrap_interval(scores)


@pytest.mark.parametrize("runs", [2, 3, 5, 8, 10])
@pytest.mark.parametrize("iqm", [True, False])
def test_a_band_is_the_interval_at_each_point_of_the_curve(runs, iqm):
    values = np.random.default_rng(runs).normal(size=(runs, 7)).cumsum(axis=1)
    middle, low, high = bands(values, iqm=iqm)
    drawn = np.random.default_rng(0).integers(runs, size=(RESAMPLES, runs))
    for point in range(7):
        own = np.sort(values[:, point])
        statistic = interquartile_mean if iqm else np.mean
        found = statistic(own[drawn], axis=1)
        assert middle[point] == pytest.approx(statistic(own))
        assert (low[point], high[point]) == pytest.approx(tuple(np.quantile(found, (0.025, 0.975))))


def test_a_band_over_many_points_is_worked_out_in_parts(monkeypatch):
    values = np.random.default_rng(0).normal(size=(5, 50))
    whole = bands(values)
    monkeypatch.setattr("reactornb.viz.statistics._AT_ONCE", 3 * RESAMPLES)
    assert all(np.array_equal(a, b) for a, b in zip(whole, bands(values), strict=True))
