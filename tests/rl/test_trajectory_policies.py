"""Policies that are asked once per trajectory choose what they choose when asked step by step."""

import numpy as np
import pytest
import torch

from reactornb.rl.continuous import player
from reactornb.rl.continuous_networks import ActorAndCritics
from reactornb.rl.dqn import value_policy
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.networks import ActorCritic, Flat, QNetwork
from reactornb.rl.policies import CategoricalPolicy, LinearSchedule, RandomPolicy, StepByStep, by_trajectory
from reactornb.rl.ppo import actor_policy
from reactornb.rl.sac import SACAlgorithm, SACConfig
from reactornb.rl.td3 import TD3Algorithm, TD3Config

STEPS, N = 7, 3
DISCRETE = EnvSpec("test", (4,), np.dtype(np.float32), 3, (), None, None, None)
BOX = EnvSpec("test", (4,), np.dtype(np.float32), None, (2, 1), -np.ones((2, 1), "f"), np.ones((2, 1), "f"), None)

SEVERAL = EnvSpec("test", (4,), np.dtype(np.float32), None, (3,), None, None, None, choices=(3, 2, 4))


def several():
    policy = actor_policy((8,), SEVERAL)
    policy.load(Flat(ActorCritic(SEVERAL, (8,), torch.Generator().manual_seed(1))).publish())
    return policy


def categorical():
    policy = actor_policy((8,), DISCRETE)
    policy.load(Flat(ActorCritic(DISCRETE, (8,), torch.Generator().manual_seed(1))).publish())
    return policy


def gaussian():
    policy = actor_policy((8,), BOX)
    policy.load(Flat(ActorCritic(BOX, (8,), torch.Generator().manual_seed(1))).publish())
    return policy


def epsilon_greedy():
    policy = value_policy((8,), False, LinearSchedule(1.0, 0.2, 15), DISCRETE)
    policy.load(Flat(QNetwork(DISCRETE, (8,), False, torch.Generator().manual_seed(1))).publish())
    return policy


def squashed():
    policy = player(SACAlgorithm, SACConfig(hidden=(8,)), 10, BOX)
    policy.load(Flat(ActorAndCritics(BOX, (8,), torch.Generator().manual_seed(1), outputs=2)).publish())
    return policy


def noisy():
    policy = player(TD3Algorithm, TD3Config(hidden=(8,)), 10, BOX)
    policy.load(Flat(ActorAndCritics(BOX, (8,), torch.Generator().manual_seed(1))).publish())
    return policy


def random():
    return RandomPolicy(DISCRETE)


def played(policy, spec, rounds=2):
    """Actions and log-probabilities of two trajectories."""
    rng, draw = np.random.default_rng(5), np.random.default_rng(6)
    chosen = []
    for _ in range(rounds):
        actions = np.empty((STEPS, N, *spec.action_shape), spec.action_dtype)
        policy.begin(STEPS, N, rng)
        for t in range(STEPS):
            policy.choose(t, draw.standard_normal((N, 4)).astype(np.float32), actions[t])
        log_probs = policy.log_probs(actions)
        chosen.append((actions, None if log_probs is None else log_probs.copy()))
    return chosen


@pytest.mark.parametrize(
    ("make", "spec"),
    [
        (categorical, DISCRETE),
        (gaussian, BOX),
        (squashed, BOX),
        (noisy, BOX),
        (several, SEVERAL),
        (epsilon_greedy, DISCRETE),
        (random, DISCRETE),
    ],
)
def test_drawing_for_a_whole_trajectory_gives_the_actions_of_drawing_for_each_step(make, spec):
    at_once, step_by_step = played(make(), spec), played(StepByStep(make()), spec)
    assert not np.array_equal(at_once[0][0], at_once[1][0])
    for (actions, log_probs), (expected, expected_log_probs) in zip(at_once, step_by_step, strict=True):
        assert actions.tobytes() == expected.tobytes()
        assert (log_probs is None) == (expected_log_probs is None)
        if log_probs is not None:
            assert np.allclose(log_probs, expected_log_probs, atol=1e-6)


def test_log_probabilities_of_a_trajectory_are_those_that_the_network_says():
    net = ActorCritic(DISCRETE, (8,), torch.Generator().manual_seed(1))
    policy = actor_policy((8,), DISCRETE)
    policy.load(Flat(net).publish())
    seen = np.random.default_rng(0).standard_normal((STEPS, N, 4)).astype(np.float32)
    actions = np.empty((STEPS, N), np.int64)
    policy.begin(STEPS, N, np.random.default_rng(1))
    for t in range(STEPS):
        policy.choose(t, seen[t], actions[t])
    expected, _, _ = net.evaluate(torch.from_numpy(seen.reshape(-1, 4)), torch.from_numpy(actions.ravel()))
    assert np.allclose(policy.log_probs(actions).ravel(), expected.detach().numpy(), atol=1e-5)


def test_an_action_of_almost_no_probability_is_almost_never_chosen():
    class Logits:
        def __call__(self, x):
            return np.tile(np.array([0.0, -12.0, -1000.0], np.float32), (len(x), 1))

    actions, _ = CategoricalPolicy(Logits()).act(np.zeros((400_000, 1)), np.random.default_rng(0))
    counts = np.bincount(actions, minlength=3)
    assert counts[2] == 0
    assert 0 < counts[1] < 12  # 2.5 expected


def test_without_exploration_no_action_is_drawn_and_with_epsilon_one_all_are():
    policy = epsilon_greedy()
    seen = np.random.default_rng(0).standard_normal((400, 4)).astype(np.float32)
    policy.fixed = 0.0
    actions, _ = policy.act(seen, np.random.default_rng(1))
    assert actions.tolist() == policy.greedy(seen).tolist()
    policy.fixed = 1.0
    actions, _ = policy.act(seen, np.random.default_rng(1))
    assert np.bincount(actions, minlength=3).min() > 100


def test_a_policy_that_only_acts_is_stepped_and_one_that_draws_for_a_trajectory_is_itself():
    class Acts:
        def act(self, observations, rng):
            return rng.integers(3, size=len(observations)), np.full(len(observations), -1.0, np.float32)

    whole = epsilon_greedy()
    assert by_trajectory(whole) is whole
    (first, log_probs), (second, _) = played(by_trajectory(Acts()), DISCRETE)
    assert not np.array_equal(first, second)
    assert (log_probs == -1.0).all()
