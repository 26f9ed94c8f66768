"""Pictures of the classic control tasks: where what is drawn lies."""

import numpy as np
import pytest

pytest.importorskip("gymnasium")

import gymnasium
from policies_made import mlp, policy

from reactornb.rl.drawing import BLUE, GREEN, INK, RED, WOOD, picture_of
from reactornb.rl.policy_blueprint import Blueprint
from reactornb.rl.policy_spaces import space_from_gymnasium


def drawn(name, state):
    env = gymnasium.make(name)
    env.reset(seed=0)
    env.unwrapped.state = np.array(state, float)
    found = picture_of(env)
    env.close()
    assert (found.shape, found.dtype) == ((200, 300, 3), np.uint8)
    return found


def center(picture, colour):
    """The middle of all pixels of just that colour, (x, y) from 0 to 1, y upwards."""
    rows, columns = np.nonzero((picture == colour).all(axis=2))
    assert len(rows) > 10
    return (columns.mean() + 0.5) / 300, 1 - (rows.mean() + 0.5) / 200


def test_a_cart_is_where_it_is_and_its_pole_leans_as_it_does():
    left, right = drawn("CartPole-v1", (-1, 0, 0.2, 0)), drawn("CartPole-v1", (1, 0, -0.2, 0))
    assert center(left, INK)[0] == pytest.approx(0.5 - 200 / 3.3 / 300, abs=0.01)
    assert center(right, INK)[0] == pytest.approx(0.5 + 200 / 3.3 / 300, abs=0.01)
    assert center(left, WOOD)[0] > center(left, INK)[0] + 0.01  # an angle above 0 is to the right
    assert center(right, WOOD)[0] < center(right, INK)[0] - 0.01
    assert np.array_equal(left[:, 290:], drawn("CartPole-v1", (0, 0, 0, 0))[:, 290:])
    assert (drawn("CartPole-v1", (50, 0, 0, 0)) == INK).all(axis=2).sum() == 0, "far outside"


def test_a_pendulum_stands_at_angle_nothing_and_turns_to_the_left():
    assert center(drawn("Pendulum-v1", (0, 0)), RED)[1] > 0.6
    assert center(drawn("Pendulum-v1", (np.pi, 0)), RED)[1] < 0.4
    assert center(drawn("Pendulum-v1", (np.pi / 2, 0)), RED)[0] < 0.45


def test_an_acrobot_hangs_at_angle_nothing_and_its_second_arm_turns_about_the_first():
    hanging, bent = drawn("Acrobot-v1", (0, 0, 0, 0)), drawn("Acrobot-v1", (0, np.pi / 2, 0, 0))
    assert center(hanging, WOOD)[1] < center(hanging, BLUE)[1] < 0.5
    assert center(bent, WOOD)[0] > 0.55
    assert center(bent, GREEN)[1] == pytest.approx(0.5 + 1 / 4.6, abs=0.01)


@pytest.mark.parametrize("name", ["MountainCar-v0", "MountainCarContinuous-v0"])
def test_a_car_is_on_its_mountain(name):
    valley, top = (center(drawn(name, (x, 0)), INK) for x in (-np.pi / 6, 0.45))
    assert valley[0] < top[0]
    assert valley[1] < top[1] - 0.5


def test_other_environments_have_no_picture():
    class CartPoleEnv(gymnasium.Env):
        state = (0, 0, 0, 0)

    assert picture_of(CartPoleEnv()) is None
    env = gymnasium.make("FrozenLake-v1")
    assert picture_of(env) is None
    env.close()


def test_an_episode_on_a_classic_task_can_be_watched_without_pygame():

    env = gymnasium.make("CartPole-v1")
    network, tensors = mlp(np.random.default_rng(0), (4, 2))
    spaces = map(space_from_gymnasium, (env.observation_space, env.action_space))
    made = policy(Blueprint(*spaces, network, {"kind": "categorical"}, tensors))
    watched = made.watch(env, seed=1)
    env.close()
    assert len(watched.frames) == len(watched.rewards) + 1 > 5
    assert center(watched.frames[0], INK)[0] == pytest.approx(0.5, abs=0.02)
