"""Tabular Q-learning: its arithmetic, its tables, the same result on any number of workers, and how well it plays Blackjack."""

from functools import cache, partial

import numpy as np
import pytest

pytest.importorskip("gymnasium")

import gymnasium
from gymnasium import spaces

from reactornb import Program
from reactornb.rl import Trajectory
from reactornb.rl.errors import SpaceError
from reactornb.rl.qlearning import QLearning, QLearningConfig, Table, TableLearner, strides_of
from reactornb.rl.toy_text import blackjack

WORKERS = (1, 2, 8)
SMALL = QLearningConfig(total_timesteps=960, n_rollouts=4, n_envs=2, n_steps=20, eval_episodes=40)


class Counted(gymnasium.Env):
    """Nothing but an observation space."""

    action_space = spaces.Discrete(2)

    def __init__(self, space):
        self.observation_space = space


# -- draws by index ----------------------------------------------------------------------------------------------------------


def test_cheap_draws_are_the_environments_own_bit_for_bit():
    plain, cheap = gymnasium.make("Blackjack-v1"), blackjack()
    actions = np.random.default_rng(0).integers(2, size=1500).tolist()
    for seed in (3, 4):  # a second seed replaces the generator
        assert plain.reset(seed=seed) == cheap.reset(seed=seed)
        for action in actions:
            step = plain.step(action)
            assert cheap.step(action) == step
            if step[2]:
                assert plain.reset() == cheap.reset()


def test_other_draws_find_the_generator_where_it_would_be():
    env, plain = blackjack(), gymnasium.make("Blackjack-v1")
    env.reset(seed=1)
    plain.reset(seed=1)
    ours, theirs = env.unwrapped.np_random, plain.unwrapped.np_random
    few, many = ["one"], list(range(1000))
    for _ in range(400):  # more than a block, now and then an odd number of halves of a 64-bit number
        assert ours.choice(many) == theirs.choice(many)
        assert ours.choice([7, 8, 9]) == theirs.choice([7, 8, 9])
        assert ours.choice(few) == theirs.choice(few)
    for _ in range(5):
        assert ours.choice([7, 8, 9]) == theirs.choice([7, 8, 9])
        assert ours.random() == theirs.random()
        assert ours.choice(5, size=3).tolist() == theirs.choice(5, size=3).tolist()
        assert ours.choice([7, 8], p=[0.5, 0.5]) == theirs.choice([7, 8], p=[0.5, 0.5])
    assert ours.bit_generator.state == theirs.bit_generator.state


# -- states as numbers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "states"),
    [
        (spaces.Tuple((spaces.Discrete(3), spaces.Discrete(4), spaces.Discrete(2))), 24),
        (spaces.MultiDiscrete([3, 4, 2]), 24),
    ],
)
def test_every_observation_has_a_number_of_its_own(space, states):
    strides, count = strides_of(partial(Counted, space))
    assert count == states
    every = np.array(list(np.ndindex(3, 4, 2)), np.float32)
    assert (every @ strides).tolist() == list(range(24))


def test_a_discrete_observation_is_its_number():
    strides, count = strides_of("FrozenLake-v1")
    assert count == 16
    assert (np.eye(16, dtype=np.float32) @ strides).tolist() == list(range(16))


@pytest.mark.parametrize(
    "space", [spaces.Box(0.0, 1.0, (2,)), spaces.Discrete(3, start=1), spaces.MultiDiscrete([2, 2], start=[0, 5])]
)
def test_what_cannot_be_counted_from_0_is_refused(space):
    with pytest.raises(SpaceError, match="finitely many"):
        strides_of(partial(Counted, space))


def test_a_table_looks_values_up():
    table = Table(np.array([4, 1], np.float32), 2)
    table.load(np.arange(24, dtype=np.float32))
    assert table(np.array([[0, 3], [2, 1]], np.float32)).tolist() == [[6, 7], [18, 19]]


# -- the update --------------------------------------------------------------------------------------------------------------


def test_updates_follow_the_rule_step_by_step():
    """Three states in a row, one environment: a step, an end, a row that only resets, and a cut."""
    learner = TableLearner(n=1, strides=np.ones(1), states=3, actions=2, rounds=1, gamma=0.5, omega=1.0)
    learner.table = [[0.0, 0.0], [0.0, 4.0], [0.0, 0.0]]
    learner.visits = [[0, 0], [1, 0], [0, 0]]
    played = Trajectory(
        observations=np.array([0, 1, 2, 0, 1], np.float32).reshape(5, 1, 1),
        actions=np.array([[1], [0], [0], [1]]),
        rewards=np.array([[1.0], [3.0], [0.0], [2.0]], np.float32),
        terminated=np.array([[False], [True], [False], [False]]),
        truncated=np.array([[False], [False], [False], [True]]),
        valid=np.array([[True], [True], [False], [True]]),
        log_probs=np.zeros((4, 1), np.float32),
    )
    errors, count = learner.update(played)
    # 0,1: 1 + 0.5 * 4 = 3, first visit. 1,0: ended, 3, second visit: half of it. 0,1 again: 2 + 0.5 * max(1.5, 4) = 4, half the way.
    assert learner.table == [[0.0, 3.5], [1.5, 4.0], [0.0, 0.0]]
    assert learner.visits == [[0, 2], [2, 0], [0, 0]]
    assert (errors, count) == (3.0 + 3.0 + 1.0, 3)


# -- runs --------------------------------------------------------------------------------------------------------------------


def learned(config, workers, seed, env=blackjack):
    """The fingerprint and the final table of a run."""
    run = Program(QLearning, env=env, config=config).start(workers=workers, seed=seed, fast=True, fingerprint=True)
    result = run.result()
    return result.fingerprint, run.instance("learner").flat(), result.metrics


@pytest.mark.slow
def test_any_number_of_workers_learns_the_same_table():
    runs = [learned(SMALL, workers, 1) for workers in WORKERS]
    assert len({fingerprint for fingerprint, *_ in runs}) == 1
    assert len({table.tobytes() for _, table, _ in runs}) == 1
    assert runs[0][1].any()
    other = learned(SMALL, 2, 2)
    assert other[0] != runs[0][0]
    assert other[1].tobytes() != runs[0][1].tobytes()


@pytest.mark.slow
def test_it_finds_the_way_over_a_frozen_lake():
    config = QLearningConfig(total_timesteps=19_200, n_rollouts=2, n_envs=8, n_steps=100, gamma=0.95, eval_episodes=8)
    *_, metrics = learned(config, 2, 1, partial(gymnasium.make, "FrozenLake-v1", is_slippery=False))
    assert list(metrics["eval_mean"]) == [1.0, 1.0]


@pytest.mark.slow
def test_it_plays_blackjack_nearly_as_well_as_possible():
    config = QLearningConfig(total_timesteps=96_000, n_rollouts=2, n_envs=16, n_steps=250, eval_episodes=0)
    _, table, _ = learned(config, 2, 1)
    hits = table.reshape(32, 11, 2, 2).argmax(axis=3)
    best, found = worth(None), worth(hits)
    assert best == pytest.approx(-0.0466, abs=1e-4)
    assert best >= found > -0.08  # a tenth of the steps of the real run; at random it is -0.39
    assert worth(np.ones_like(hits)) < -0.9  # who never stops loses


# -- what a way to play Blackjack is worth, exactly --------------------------------------------------------------------------

CARDS = {**dict.fromkeys(range(1, 10), 1 / 13), 10: 4 / 13}


@cache
def dealt(hard, ace):
    """Chances of the dealer's final sums 17 … 21 and of a bust, from a hand of that sum (aces as 1)."""
    total = hard + 10 if ace and hard + 10 <= 21 else hard
    if total >= 17:
        return np.eye(6)[min(total, 22) - 17]
    return sum(p * dealt(hard + card, ace or card == 1) for card, p in CARDS.items())


@cache
def stands(total, up):
    """What a hand of that total is worth against that open card."""
    final = sum(p * dealt(up + card, 1 in (up, card)) for card, p in CARDS.items())
    return final[5] + sum(final[i] * np.sign(total - 17 - i) for i in range(5))


def worth(hits):
    """Mean return per game of a table of actions [sum, dealer's card, usable ace]; of the best one there is without."""

    @cache
    def hand(hard, ace, up):
        usable = int(ace and hard + 10 <= 21)
        total = hard + 10 * usable
        stand = stands(total, up)
        if hits is not None and not hits[total, up, usable]:
            return stand
        hit = sum(p * (-1.0 if hard + c > 21 else hand(hard + c, ace or c == 1, up)) for c, p in CARDS.items())
        return max(hit, stand) if hits is None else hit

    return sum(
        p * q * r * hand(a + b, 1 in (a, b), up)
        for a, p in CARDS.items()
        for b, q in CARDS.items()
        for up, r in CARDS.items()
    )


def test_a_generator_by_index_is_loaded_into_an_object_that_startup_did_not_make():
    env = blackjack()
    env.reset(seed=3)
    one = env.unwrapped.np_random
    cards = list(range(1, 11))
    [one.choice(cards) for _ in range(7)]
    other = object.__new__(type(one))
    other.load(one.save())
    assert [other.choice(cards) for _ in range(500)] == [one.choice(cards) for _ in range(500)]
    assert other.integers(1 << 60) == one.integers(1 << 60)
