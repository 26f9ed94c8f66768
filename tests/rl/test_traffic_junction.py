"""TrafficJunction against the descriptions it was written from, and against PettingZoo's own tests."""

from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("pettingzoo")

from pettingzoo.test import parallel_api_test, parallel_seed_test

from reactornb.rl.traffic_junction import BRAKE, GAS, LEVELS, TrafficJunction, TrafficJunctionError

JUNCTION = (3, 3)  # of the easy level: two one-way roads on 7 × 7 cells


def two_cars():
    """Both cars of the easy level have just arrived, each three steps away from the junction."""
    env = TrafficJunction("easy", cars=2, arrival=1.0)
    env.reset(seed=0)
    return env, *env.agents


@pytest.mark.parametrize("level", LEVELS)
def test_pettingzoo_accepts_it(level, capsys):
    parallel_api_test(TrafficJunction(level), num_cycles=200)
    parallel_seed_test(lambda: TrafficJunction(level), num_cycles=50)
    assert "Passed Parallel API test" in capsys.readouterr().out


@pytest.mark.parametrize(("cars", "each", "joint"), [(4, 81, 324), (10, 135, 1350)])
def test_observations_have_the_sizes_of_the_papers_experiment_6(cars, each, joint):
    env = TrafficJunction("medium", cars=cars)
    seen, _ = env.reset(seed=1)
    assert {o.shape for o in seen.values()} == {(each,)} == {env.observation_space(a).shape for a in env.agents}
    assert env.state().shape == (joint,) == env.state_space.shape


@pytest.mark.parametrize(
    ("level", "entrances", "routes", "lengths"),
    [
        ("easy", 2, 2, {7}),  # straight on or turning at the one crossing
        ("medium", 4, 3, {13, 14, 15}),  # right, straight on, left
        ("hard", 8, 7, {11, 13, 16, 17, 18, 19, 20, 23, 24, 25}),
    ],
)
def test_levels_have_the_entrances_and_routes_of_the_papers(level, entrances, routes, lengths):
    found = LEVELS[level].routes()
    assert [len(ways) for ways in found] == [routes] * entrances
    assert {len(way) for ways in found for way in ways} == lengths
    for ways in found:
        assert len({way[0] for way in ways}) == 1
        assert len({way[-1] for way in ways}) == routes
        for way in ways:
            assert {abs(a - c) + abs(b - d) for (a, b), (c, d) in pairwise(way)} == {1}


def test_traffic_keeps_to_the_right():
    left, straight, right = LEVELS["medium"].routes()[0]  # from the west
    assert [way[0] for way in (left, straight, right)] == [(7, 0)] * 3
    assert (left[-1], straight[-1], right[-1]) == ((0, 7), (7, 13), (13, 6))
    assert (6, 7) in left
    assert (7, 6) in right
    assert len(right) < len(straight) < len(left)


def test_cars_on_one_cell_collide_and_every_step_costs_time():
    env, a, b = two_cars()
    for step in (1, 2):
        _, rewards, *_ = env.step({a: GAS, b: GAS})
        assert rewards == {a: pytest.approx(-0.01 * step), b: pytest.approx(-0.01 * step)}
    _, rewards, *_ = env.step({a: GAS, b: GAS})
    assert rewards == {a: pytest.approx(-10.03), b: pytest.approx(-10.03)}


@pytest.mark.parametrize(("first_brakes", "success"), [(True, True), (False, False)])
def test_an_episode_without_a_collision_is_a_success(first_brakes, success):
    env = TrafficJunction("easy", cars=2, arrival=1.0, steps=6)
    env.reset(seed=0)
    a, b = env.agents
    for step in range(6):
        _, _, terminated, truncated, infos = env.step({a: BRAKE if first_brakes and step == 0 else GAS, b: GAS})
        assert not any(terminated.values())
        assert set(truncated.values()) == {step == 5}
    assert infos == {a: {"success": success}, b: {"success": success}}
    assert env.agents == []
    with pytest.raises(TrafficJunctionError, match="reset"):
        env.step({a: GAS, b: GAS})


def test_a_car_leaves_at_the_end_of_its_route_and_its_agent_gets_another():
    env = TrafficJunction("easy", cars=1, arrival=1.0)
    seen, _ = env.reset(seed=0)
    (car,) = env.agents
    assert seen[car].any()
    rewards = [env.step({car: GAS})[1][car] for _ in range(8)]
    # After the seventh step it is past the seventh cell; a new one has arrived, aged 0.
    assert rewards == pytest.approx([-0.01, -0.02, -0.03, -0.04, -0.05, -0.06, 0.0, -0.01])


def test_an_agent_without_a_car_sees_nothing_and_pays_nothing():
    env = TrafficJunction("easy", cars=3, arrival=0.0)
    seen, _ = env.reset(seed=0)
    assert not any(o.any() for o in seen.values())
    seen, rewards, *_ = env.step(dict.fromkeys(env.agents, GAS))
    assert not any(o.any() for o in seen.values())
    assert set(rewards.values()) == {0.0}


def test_an_agent_sees_who_where_and_which_route_in_the_cells_around_it():
    env, a, b = two_cars()
    env.step({a: GAS, b: GAS})
    seen, *_ = env.step({a: GAS, b: GAS})  # at (3, 2) and (2, 3), in whichever order
    cells = {agent: seen[agent].reshape(3, 3, 2 + 2 + 2) for agent in (a, b)}
    for i, (me, other) in enumerate(((a, b), (b, a))):
        own = cells[me][1, 1]
        assert own[:2].tolist() == [1.0 - i, float(i)]
        assert own[2:4] * 6 == pytest.approx([3, 2] if own[2] > own[3] else [2, 3])
        assert own[4:].sum() == 1.0
        # The other one is diagonally ahead: at the top right of the car from the west, at the bottom left of the one from the north.
        there = cells[me][0, 2] if own[2] > own[3] else cells[me][2, 0]
        assert np.array_equal(there, cells[other][1, 1])
        assert np.count_nonzero(cells[me].any(axis=2)) == 2
    seen, *_ = env.step({a: GAS, b: GAS})
    assert seen[a].reshape(3, 3, 6)[1, 1][:2].tolist() == [1.0, 1.0]  # collided: both are there


def test_observations_handed_out_are_not_overwritten():
    env, a, b = two_cars()
    seen, *_ = env.step({a: GAS, b: GAS})
    kept = seen[a].copy()
    env.step({a: GAS, b: GAS})
    assert np.array_equal(seen[a], kept)


def test_the_picture_shows_roads_cars_and_collisions():
    env = TrafficJunction("easy", cars=2, arrival=1.0, render_mode="ansi")
    env.reset(seed=0)
    a, b = env.agents
    for _ in range(3):
        env.step({a: GAS, b: GAS})
    rows = env.render().split("\n")
    assert rows[JUNCTION[0]] == "...*..."
    assert [row for i, row in enumerate(rows) if i != JUNCTION[0]] == ["   ."] * 6


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: TrafficJunction("meduim"), "medium"),
        (lambda: TrafficJunction(cars=0), "at least 1 car"),
        (lambda: TrafficJunction(arrival=1.5), r"\[0, 1\]"),
        (lambda: TrafficJunction(vision=-1), "vision"),
    ],
)
def test_what_makes_no_sense_is_refused(make, words):
    with pytest.raises(TrafficJunctionError, match=words):
        make()


def test_an_unknown_action_is_named():
    env, a, b = two_cars()
    with pytest.raises(TrafficJunctionError, match="car_1's action is 2"):
        env.step({a: GAS, b: 2})
