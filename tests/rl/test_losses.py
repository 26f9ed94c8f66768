"""Returns, advantages and losses against their definitions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reactornb.rl.losses import (
    ShapeError,
    clipped_ppo,
    clipped_value,
    gae,
    n_step_returns,
    td_errors,
    weighted_huber,
    weighted_squares,
)


def steps(seed, count, n):
    rng = np.random.default_rng(seed)
    rewards, values, next_values = (rng.standard_normal((count, n)).astype(np.float32) for _ in range(3))
    dice = rng.random((count, n))
    terminated, truncated = dice < 0.2, dice > 0.8
    # Within an episode the value of what a step led to is the value of where the next one begins.
    for t in range(count - 1):
        goes_on = ~(terminated[t] | truncated[t])
        next_values[t, goes_on] = values[t + 1, goes_on]
    return rewards, values, next_values, terminated, terminated | truncated


def by_definition(rewards, values, next_values, terminated, ended, gamma, lam):
    """The sum over k of (gamma lam)^k delta, to the end of the episode; one column."""
    count = len(rewards)
    delta = [rewards[t] + gamma * (0 if terminated[t] else next_values[t]) - values[t] for t in range(count)]
    out = []
    for t in range(count):
        total = 0.0
        for k in range(t, count):
            total += (gamma * lam) ** (k - t) * delta[k]
            if ended[k]:
                break
        out.append(total)
    return out


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 12), gamma=st.floats(0, 1), lam=st.floats(0, 1))
def test_gae_is_its_definition(seed, count, gamma, lam):
    arrays = steps(seed, count, 3)
    found = gae(*arrays, gamma=gamma, gae_lambda=lam)
    assert found.dtype == np.float32
    for i in range(3):
        assert np.allclose(found[:, i], by_definition(*(a[:, i] for a in arrays), gamma, lam), atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 12), gamma=st.floats(0, 1))
def test_with_lambda_1_advantages_are_returns_minus_values(seed, count, gamma):
    rewards, values, next_values, terminated, ended = steps(seed, count, 2)
    returns = n_step_returns(rewards, next_values, terminated, ended, gamma=gamma)
    advantages = gae(rewards, values, next_values, terminated, ended, gamma=gamma, gae_lambda=1.0)
    assert np.allclose(returns - values, advantages, atol=1e-4)


def test_a_truncated_episode_is_bootstrapped_and_a_terminated_one_is_not():
    one = np.ones((1, 1), np.float32)
    yes, no = np.ones((1, 1), bool), np.zeros((1, 1), bool)
    assert gae(one, one, 10 * one, no, yes, gamma=0.9, gae_lambda=0.5)[0, 0] == pytest.approx(1 + 0.9 * 10 - 1)
    assert gae(one, one, 10 * one, yes, yes, gamma=0.9, gae_lambda=0.5)[0, 0] == pytest.approx(0)


def test_shapes_that_differ_are_named():
    rewards, values, next_values, terminated, ended = steps(0, 4, 2)
    with pytest.raises(ShapeError, match=r"values.*\(3, 2\)"):
        gae(rewards, values[:-1], next_values, terminated, ended, gamma=1, gae_lambda=1)


def test_double_q_learning_chooses_with_one_network_and_judges_with_the_other():
    values = torch.tensor([[1.0, 2.0]])
    target, online = torch.tensor([[5.0, 3.0]]), torch.tensor([[0.0, 1.0]])
    args = (values, torch.tensor([1]), torch.tensor([0.5]), torch.tensor([0.9]))
    assert td_errors(*args, target).item() == pytest.approx(2.0 - (0.5 + 0.9 * 5))
    assert td_errors(*args, target, online).item() == pytest.approx(2.0 - (0.5 + 0.9 * 3))


def test_the_huber_loss_is_torchs():
    errors = torch.linspace(-3, 3, 25)
    ours = weighted_huber(errors, torch.ones(25))
    assert ours.item() == pytest.approx(torch.nn.functional.smooth_l1_loss(errors, torch.zeros(25)).item())
    assert weighted_huber(errors, torch.full((25,), 2.0)).item() == pytest.approx(2 * ours.item())


def test_squared_errors_are_weighted_each():
    assert weighted_squares(torch.tensor([1.0, -3.0]), torch.tensor([2.0, 1.0])).item() == pytest.approx((2 + 9) / 2)


@pytest.mark.parametrize(
    ("ratio", "advantage", "moves"),
    [(1.0, 1, True), (1.5, 1, False), (1.5, -1, True), (0.5, 1, True), (0.5, -1, False)],
)
def test_the_clipped_surrogate_stops_where_the_ratio_has_gone_far_enough(ratio, advantage, moves):
    log_probs = torch.tensor([np.log(ratio)], dtype=torch.float32, requires_grad=True)
    loss, _ = clipped_ppo(log_probs, torch.zeros(1), torch.tensor([float(advantage)]), 0.2)
    loss.backward()
    assert (log_probs.grad.item() != 0) == moves
    if moves:
        assert np.sign(log_probs.grad.item()) == -advantage  # descent makes good actions likelier


def test_the_kl_estimate_is_0_for_the_same_policy_and_positive_for_another():
    old = torch.tensor([-1.0, -2.0])
    assert clipped_ppo(old, old, torch.ones(2), 0.2)[1].item() == 0
    assert clipped_ppo(old + torch.tensor([0.3, -0.3]), old, torch.ones(2), 0.2)[1].item() > 0


def test_a_clipped_value_does_not_go_further_than_allowed():
    values = torch.tensor([2.0], requires_grad=True)
    clipped_value(values, torch.tensor([0.0]), torch.tensor([5.0]), 0.5).backward()
    assert values.grad.item() == 0
    values = torch.tensor([0.2], requires_grad=True)
    loss = clipped_value(values, torch.tensor([0.0]), torch.tensor([5.0]), 0.5)
    loss.backward()
    assert loss.item() == pytest.approx(0.5 * 4.8**2)
    assert values.grad.item() == pytest.approx(-4.8)
