"""What a sweep goes through: axes, ranges, combinations, and text that tells values apart."""

import functools

import numpy as np
import pytest

from reactornb import between
from reactornb.sweeps.errors import SweepOptionError
from reactornb.sweeps.space import axes_of, configurations, spelled


def test_lists_ranges_and_arrays_are_axes_and_anything_else_is_one_value():
    axes, fixed = axes_of(
        {"a": [1, 2], "b": range(3), "c": np.array([0.5, 0.25]), "d": (64, 64), "e": "CartPole-v1", "f": None}
    )
    assert axes == {"a": [1, 2], "b": [0, 1, 2], "c": [0.5, 0.25]}
    assert all(type(value) is float for value in axes["c"])
    assert fixed == {"d": (64, 64), "e": "CartPole-v1", "f": None}


def test_a_value_that_is_listed_twice_is_tried_once():
    assert axes_of({"a": [1, 2, 1]})[0] == {"a": [1, 2]}


def test_an_axis_without_values_is_refused():
    with pytest.raises(SweepOptionError, match="a=\\[\\]: an axis needs at least one value"):
        axes_of({"a": []})


def test_all_combinations_are_taken_the_last_axis_changing_fastest():
    assert configurations({"a": [1, 2], "b": ["x", "y"]}) == [
        {"a": 1, "b": "x"},
        {"a": 1, "b": "y"},
        {"a": 2, "b": "x"},
        {"a": 2, "b": "y"},
    ]
    assert configurations({}) == [{}]


def test_samples_are_different_ones_and_the_same_each_time():
    axes = {"a": [1, 2, 3], "b": between(1e-5, 1e-2, log=True), "c": between(1, 4)}
    drawn = configurations(axes, samples=20)
    assert drawn == configurations(axes, samples=20)
    assert drawn != configurations(axes, samples=20, seed=1)
    assert len({spelled(one) for one in drawn}) == 20
    assert {one["a"] for one in drawn} == {1, 2, 3}
    assert all(1e-5 <= one["b"] <= 1e-2 for one in drawn)
    assert max(one["b"] for one in drawn) > 50 * min(one["b"] for one in drawn), "orders of magnitude"
    assert all(type(one["c"]) is int and 1 <= one["c"] <= 4 for one in drawn)


def test_more_samples_than_there_are_combinations_are_all_of_them():
    assert len(configurations({"a": [1, 2], "b": [1, 2]}, samples=100)) == 4
    assert len(configurations({"a": between(1, 3)}, samples=100)) == 3


def test_a_step_is_kept_to():
    rng = np.random.default_rng(0)
    drawn = {round(between(0.0, 1.0, step=0.25).draw(rng), 6) for _ in range(100)}
    assert drawn == {0.0, 0.25, 0.5, 0.75, 1.0}
    assert {between(2, 8, step=3).draw(rng) for _ in range(50)} == {2, 5, 8}


def test_a_range_without_a_number_of_samples_is_refused_with_what_to_write():
    with pytest.raises(SweepOptionError, match=r"samples=20"):
        configurations({"a": between(0, 1)})


@pytest.mark.parametrize(
    ("ends", "options", "words"),
    [
        ((1, 1), {}, "must be less"),
        ((0.0, 1.0), {"log": True}, "above 0"),
        ((1.0, 2.0), {"log": True, "step": 0.1}, "exclude each other"),
        ((0, 1), {"step": 2}, "at most the range"),
    ],
)
def test_a_range_that_is_none_is_refused(ends, options, words):
    with pytest.raises(SweepOptionError, match=words):
        between(*ends, **options)


def make(size):
    return lambda: size


def test_values_are_spelled_so_that_equal_ones_are_spelled_alike():
    assert spelled(make(1)) == spelled(make(1))
    assert spelled(make(1)) != spelled(make(2)), "what a function closes over"
    assert spelled(lambda: 1) != spelled(lambda: 2)
    assert spelled(functools.partial(make, 1)) != spelled(functools.partial(make, 2))
    assert spelled({"a": (1, 2.0)}) == spelled({"a": (1, 2.0)})
    assert spelled(1) != spelled(1.0)
    assert spelled(np.float64(0.5)) == spelled(0.5)
    assert " at 0x" not in spelled(object())
