"""Pictures of the toy-text environments: what is where."""

import numpy as np
import pytest

pytest.importorskip("gymnasium")

import gymnasium

from reactornb.rl.drawing import BLUE, GREEN, INK, RED
from reactornb.rl.drawing_grids import CARD, CELL, FELT, ROCK, WATER, picture_of
from reactornb.rl.showing import watch


def drawn(name, **options):
    env = gymnasium.make(name, **options)
    env.reset(seed=0)
    return env


def square(picture, row, column):
    return picture[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL]


def has(picture, colour):
    return bool((picture == colour).all(axis=2).sum() > 10)


def test_on_a_frozen_lake_holes_goal_and_player_are_where_they_are():
    env = drawn("FrozenLake-v1", is_slippery=False)
    before = picture_of(env)
    assert before.shape == (4 * CELL, 4 * CELL, 3)
    holes = {(r, c) for r in range(4) for c in range(4) if has(square(before, r, c), WATER)}
    assert holes == {(r, c) for r in range(4) for c in range(4) if env.unwrapped.desc[r, c] == b"H"}
    assert has(square(before, 3, 3), GREEN)
    assert has(square(before, 0, 0), BLUE)
    env.step(2)
    assert has(square(picture_of(env), 0, 1), BLUE)
    assert not has(square(picture_of(env), 0, 0), BLUE)


def test_a_large_lake_has_smaller_squares():
    picture = picture_of(drawn("FrozenLake-v1", desc=["S" + "F" * 99] + ["F" * 100] * 98 + ["F" * 99 + "G"]))
    assert picture.shape == (800, 800, 3)


def test_on_a_cliff_the_cliff_is_between_start_and_goal():
    picture = picture_of(drawn("CliffWalking-v1"))
    assert picture.shape == (4 * CELL, 12 * CELL, 3)
    assert [has(square(picture, 3, c), ROCK) for c in range(12)] == [False, *[True] * 10, False]
    assert has(square(picture, 3, 0), BLUE)
    assert has(square(picture, 3, 11), GREEN)


def test_a_taxi_is_where_it_drives_and_its_passenger_rides_along():
    env = drawn("Taxi-v3" if "Taxi-v3" in gymnasium.registry else "Taxi-v4")
    inner = env.unwrapped
    inner.s = inner.encode(2, 2, 0, 3)
    waiting = picture_of(env)
    yellow = (250, 200, 40)
    assert has(square(waiting, 2, 2), yellow)
    assert has(square(waiting, 0, 0), RED)
    assert has(square(waiting, 4, 3), GREEN), "a flag at the destination"
    inner.s = inner.encode(0, 0, 4, 3)
    riding = picture_of(env)
    assert has(square(riding, 0, 0), yellow)
    assert not np.array_equal(square(riding, 0, 0), square(waiting, 0, 0))


def test_blackjack_shows_both_hands_and_hides_the_dealers_second_card():
    env = drawn("Blackjack-v1")
    inner = env.unwrapped
    inner.dealer, inner.player = [1, 10], [10, 5]
    hidden = picture_of(env)
    assert has(hidden, FELT)
    assert has(hidden[:100], CARD)
    inner.dealer = [1, 2]
    assert np.array_equal(picture_of(env), hidden)
    inner.dealer = [1, 2, 7]
    assert not np.array_equal(picture_of(env)[:100], hidden[:100])
    assert np.array_equal(picture_of(env)[100:], hidden[100:])
    inner.player = [10, 5, 6]
    assert has(picture_of(env)[100:], INK)
    assert not np.array_equal(picture_of(env)[100:], hidden[100:])


def test_other_environments_have_no_such_picture():
    assert picture_of(drawn("CartPole-v1")) is None


@pytest.mark.parametrize("name", ["FrozenLake-v1", "CliffWalking-v1", "Blackjack-v1"])
def test_an_episode_can_be_watched_without_pygame(name):
    watched = watch(lambda seen: 1, name, steps=4)[0]
    assert 1 <= len(watched.rewards) <= 4
    assert watched.action_words()[0] in ("down", "right", "hit")
