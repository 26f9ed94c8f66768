"""V-trace against values computed by hand, its definition as a sum, n-step returns and generalised advantages."""

import itertools

import numpy as np
import pytest

pytest.importorskip("torch")

from reactornb.rl.losses import ShapeError, gae, n_step_returns
from reactornb.rl.vtrace import vtrace


def column(*values, dtype=np.float32):
    return np.array(values, dtype)[:, None]


def no(steps):
    return np.zeros((steps, 1), bool)


def test_two_steps_by_hand():
    """rho = c = (0.5, 1): delta = 0.5 (1 + 0.5 * 4 - 2) = 0.5 and 1 (2 + 0.5 * 6 - 4) = 1; v = 2 + 0.5 + 0.5 * 0.5 * 1 and 4 + 1."""
    targets, advantages = vtrace(
        np.log(column(0.5, 3.0)), column(1, 2), column(2, 4), column(4, 6), no(2), no(2), gamma=0.5
    )
    assert np.allclose(targets, column(2.75, 5.0))
    assert np.allclose(advantages, column(0.5 * (1 + 0.5 * 5 - 2), 1.0 * (2 + 0.5 * 6 - 4)))


def test_the_two_limits_by_hand():
    """Ratios of 3: rho = 2, c = 1.5. Last: delta = 2 (1 + 0 - 1) = 0; first: 2 (1 + 1 - 0) = 4, and nothing that follows."""
    arrays = np.log(column(3, 3)), column(1, 2), column(0, 1), column(1, 0), no(2), no(2)
    targets, advantages = vtrace(*arrays, gamma=1.0, rho_bar=2.0, c_bar=1.5)
    assert np.allclose(targets, column(4 + 1.5 * 2, 1 + 2))
    assert np.allclose(advantages, column(2 * (1 + 3 - 0), 2 * (2 - 1)))


def case(seed, steps=12, n=5):
    """Random steps, some of which end episodes; after each end a step that only resets."""
    rng = np.random.default_rng(seed)
    normal = lambda: rng.normal(size=(steps, n)).astype(np.float32)  # noqa: E731
    valid = np.ones((steps, n), bool)
    terminated, truncated = rng.random((2, steps, n)) < 0.15
    for t, i in itertools.product(range(steps), range(n)):
        if t and valid[t - 1, i] and (terminated | truncated)[t - 1, i]:
            valid[t, i] = False
    terminated &= valid
    truncated &= valid & ~terminated
    return normal(), normal(), normal(), normal(), terminated, terminated | truncated | ~valid, valid


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_sum_of_the_papers_equation_1_within_each_episode(seed):
    log_ratios, rewards, values, next_values, terminated, ended, _ = case(seed)
    gamma, rho_bar, c_bar = 0.9, 1.3, 1.1
    targets, _ = vtrace(
        log_ratios, rewards, values, next_values, terminated, ended, gamma=gamma, rho_bar=rho_bar, c_bar=c_bar
    )
    steps, n = rewards.shape
    for s, i in itertools.product(range(steps), range(n)):
        total, factor = float(values[s, i]), 1.0
        for t in range(s, steps):
            ratio = np.exp(float(log_ratios[t, i]))
            following = 0.0 if terminated[t, i] else float(next_values[t, i])
            total += factor * min(rho_bar, ratio) * (float(rewards[t, i]) + gamma * following - float(values[t, i]))
            factor *= gamma * min(c_bar, ratio)
            if ended[t, i]:
                break
        assert targets[s, i] == pytest.approx(total, abs=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_on_policy_targets_are_n_step_returns_where_values_follow_each_other(seed):
    _, rewards, values, next_values, terminated, ended, valid = case(seed)
    next_values[:-1] = np.where(ended[:-1], next_values[:-1], values[1:])
    targets, advantages = vtrace(np.zeros_like(rewards), rewards, values, next_values, terminated, ended, gamma=0.9)
    returns = n_step_returns(rewards, next_values, terminated, ended, gamma=0.9)
    assert np.allclose(targets[valid], returns[valid], atol=1e-4)
    assert np.allclose(advantages[valid], (returns - values)[valid], atol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_on_policy_with_a_lambda_it_is_generalised_advantage_estimation(seed):
    _, *arrays, valid = case(seed)
    targets, advantages = vtrace(np.zeros_like(arrays[0]), *arrays, gamma=0.9, gae_lambda=0.8)
    expected = gae(*arrays, gamma=0.9, gae_lambda=0.8)
    assert np.allclose(advantages, expected, atol=1e-5)
    assert np.allclose(targets, expected + arrays[1], atol=1e-5)
    assert valid.any()


def test_steps_of_a_policy_that_would_never_act_so_count_nothing():
    targets, advantages = vtrace(
        np.full((3, 1), -np.inf, np.float32), column(5, 5, 5), column(1, 2, 3), column(2, 3, 4), no(3), no(3), gamma=0.9
    )
    assert np.array_equal(targets, column(1, 2, 3))
    assert not advantages.any()


def test_a_huge_ratio_is_limited_without_overflow():
    with np.errstate(all="raise"):
        targets, _ = vtrace(column(500), column(1), column(0), column(0), no(1), no(1), gamma=0.9)
    assert targets == 1.0


def test_shapes_that_differ_are_refused():
    with pytest.raises(ShapeError, match=r"log_ratios.*\(2, 1\)"):
        vtrace(column(0, 0), column(1), column(0), column(0), no(1), no(1), gamma=0.9)
