"""SimpleSpread: the numbers of MPE2's simple_spread_v3, and PettingZoo's contract."""

from importlib import util

import numpy as np
import pytest

pytest.importorskip("pettingzoo")

from pettingzoo.test import parallel_api_test

from reactornb.rl.parallel_envs import make_parallel
from reactornb.rl.simple_spread import SimpleSpread, SimpleSpreadError

# From mpe2 1.1.1, simple_spread_v3.parallel_env(), seed 10: actions, and after each of them the sum of the state and the rewards. Two agents touch in the first.
RECORDED_ACTIONS = [(2, 1, 4)] * 3 + [(3, 2, 1)] * 2 + [(1, 3, 2)] * 3
RECORDED = [
    [7.800066, -2.198307571, -2.198307571, -1.698307571],
    [8.075066, -1.694328896, -1.694328896, -1.694328896],
    [8.181316, -1.637636248, -1.637636248, -1.637636248],
    [7.161003, -1.565297762, -1.565297762, -1.565297762],
    [6.495769, -1.506773306, -1.506773306, -1.506773306],
    [6.096843, -1.458100131, -1.458100131, -1.458100131],
    [5.897648, -1.434403361, -1.434403361, -1.434403361],
    [5.848253, -1.427898437, -1.427898437, -1.427898437],
]


def test_it_keeps_pettingzoos_contract():
    parallel_api_test(SimpleSpread(N=2, max_cycles=7), num_cycles=40)


def test_its_numbers_are_those_that_mpe2_gives():
    env = make_parallel("reactornb.rl.simple_spread")
    env.reset(seed=10)
    told = []
    for actions in RECORDED_ACTIONS:
        _, rewards, _, _, _ = env.step(dict(zip(env.possible_agents, actions, strict=True)))
        told.append([float(env.state().sum(dtype=np.float64)), *rewards.values()])
    np.testing.assert_allclose(told, RECORDED, rtol=1e-5)


@pytest.mark.skipif(util.find_spec("mpe2") is None, reason="no MPE2 here")
def test_it_agrees_with_mpe2_for_whole_episodes():
    ours, theirs = SimpleSpread(), make_parallel("mpe2.simple_spread_v3")
    rng = np.random.default_rng(0)
    for seed in range(20):
        first, other = ours.reset(seed=seed)[0], theirs.reset(seed=seed)[0]
        assert all(np.array_equal(first[agent], other[agent]) for agent in first)
        while ours.agents:
            actions = {agent: int(rng.integers(5)) for agent in ours.agents}
            mine, its = ours.step(actions), theirs.step(actions)
            for agent in actions:
                np.testing.assert_allclose(mine[0][agent], its[0][agent], rtol=1e-5, atol=1e-6)
                assert mine[1][agent] == pytest.approx(its[1][agent], abs=1e-9)
                assert (mine[2][agent], mine[3][agent]) == (its[2][agent], its[3][agent])
            assert np.allclose(ours.state(), theirs.state(), atol=1e-6)


def test_agents_that_touch_repel_each_other_and_pay_for_it():
    env = SimpleSpread(N=2, local_ratio=1.0)
    env.reset(seed=1)
    env._places = [[0.0, 0.0], [0.2, 0.0]]
    _, rewards, _, _, _ = env.step({"agent_0": 0, "agent_1": 0})
    assert rewards == {"agent_0": -1.0, "agent_1": -1.0}
    (left, _), (right, _) = env._speeds
    assert left == pytest.approx(-1.0)  # 100 * (0.3 - 0.2) * 0.1
    assert right == pytest.approx(1.0)


def test_what_makes_no_sense_is_refused():
    with pytest.raises(SimpleSpreadError, match="at least 1 agent"):
        SimpleSpread(N=0)
    env = SimpleSpread(N=1, max_cycles=1)
    with pytest.raises(SimpleSpreadError, match="call reset"):
        env.step({"agent_0": 0})
    env.reset(seed=1)
    with pytest.raises(SimpleSpreadError, match="action is 5; it is from 0 to 4"):
        env.step({"agent_0": 5})
