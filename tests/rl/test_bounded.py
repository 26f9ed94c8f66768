"""Actions within the bounds of a Box: stretched and shrunk, drawn evenly at first, then from the policy; what has no bounds is refused."""

import numpy as np
import pytest

from reactornb.rl.bounded import Bounds, NoisyPolicy, SquashedGaussianPolicy, deviation
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.errors import SpaceError

FLOAT = np.dtype(np.float32)
LOW, HIGH = np.array([[-2.0], [0.0], [1.0]], "f"), np.array([[2.0], [4.0], [1.0]], "f")


class Says:
    """A network that says the same of every observation."""

    def __init__(self, *outputs):
        self.outputs = np.array(outputs, np.float32)

    def load(self, weights):
        self.outputs = weights

    def __call__(self, observations):
        return np.tile(self.outputs, (len(observations), 1))


def seen(rows):
    return np.zeros((rows, 4), np.float32)


def test_actions_are_stretched_to_their_box_and_back():
    bounds = Bounds(LOW, HIGH)
    unit = np.array([[-1, 0, 1], [1, 0.5, -1]], np.float32)
    stretched = bounds.to_box(unit.copy())
    assert stretched.tolist() == [[[-2], [2], [1]], [[2], [3], [1]]]
    back = np.empty((2, 3), np.float32)
    bounds.from_box(stretched, back)
    assert back[:, :2].tolist() == unit[:, :2].tolist()
    assert back[:, 2].tolist() == [0, 0]  # of a number that is always the same nothing is left


def test_wide_bounds_do_not_overflow_on_the_way():
    most = np.finfo(np.float32).max
    bounds = Bounds(np.array([-most], "f"), np.array([most], "f"))
    assert bounds.to_box(np.array([[1.0], [-1.0]], "f")).ravel().tolist() == [most, -most]


def test_deviations_are_within_their_range():
    assert deviation(np.array([-1e9, 0, 1e9], "f")) == pytest.approx(np.exp([-5, -1.5, 2]))


def test_the_first_actions_are_drawn_evenly_and_the_next_from_the_policy():
    policy = NoisyPolicy(Says(0.0, 9.0, -9.0), Bounds(LOW, HIGH), warm_up=1000, noise=0.0)
    rng = np.random.default_rng(1)
    rounds = []
    for _ in range(3):
        actions = np.empty((100, 5, 3, 1), np.float32)
        policy.begin(100, 5, rng)
        for t in range(100):
            policy.choose(t, seen(5), actions[t])
        rounds.append(actions)
    even = np.concatenate(rounds[:2])
    assert even.min(axis=(0, 1)).ravel() == pytest.approx([-2, 0, 1], abs=0.05)
    assert even.max(axis=(0, 1)).ravel() == pytest.approx([2, 4, 1], abs=0.05)
    assert even.mean(axis=(0, 1)).ravel() == pytest.approx([0, 2, 1], abs=0.15)
    assert np.allclose(rounds[2].reshape(-1, 3), [0, 4, 1], atol=1e-4)


def test_noise_has_its_deviation_where_actions_are_from_minus_one_to_one_and_is_cut_at_the_bounds():
    policy = NoisyPolicy(Says(0.0, 9.0), Bounds(np.array([-3, -3], "f"), np.array([3, 3], "f")), noise=0.25)
    actions, log_probs = policy.act(seen(20_000), np.random.default_rng(1))
    assert log_probs is None
    assert actions[:, 0].std() == pytest.approx(0.75, rel=0.03)
    assert actions[:, 1].max() == 3
    assert (actions[:, 1] == 3).mean() == pytest.approx(0.5, abs=0.05)


def test_a_squashed_gaussian_is_the_tanh_of_normal_numbers():
    policy = SquashedGaussianPolicy(Says(0.5, 0.3), Bounds(np.array([-4], "f"), np.array([4], "f")))
    actions, _ = policy.act(seen(20_000), np.random.default_rng(1))
    numbers = np.arctanh(actions.ravel() / 4)
    assert numbers.mean() == pytest.approx(0.5, abs=0.02)
    assert numbers.std() == pytest.approx(float(np.exp(-1.5 + 3.5 * np.tanh(0.3))), rel=0.03)
    assert policy.greedy(seen(2)) == pytest.approx(np.full((2, 1), 4 * np.tanh(0.5)))


def test_what_has_no_bounds_and_what_is_no_box_is_refused_with_what_to_do():
    unbounded = EnvSpec("Free-v0", (4,), FLOAT, None, (2,), np.array([-np.inf, 0], "f"), np.ones(2, "f"), None)
    with pytest.raises(
        SpaceError, match=r"SAC needs actions with bounds; those of Free-v0 are a Box from -inf to 1\. Use PPO"
    ):
        Bounds.of(unbounded, "SAC")
    discrete = EnvSpec("Few-v0", (4,), FLOAT, 3, (), None, None, None)
    with pytest.raises(SpaceError, match=r"TD3 chooses numbers .*Few-v0.*DQN"):
        Bounds.of(discrete, "TD3")
