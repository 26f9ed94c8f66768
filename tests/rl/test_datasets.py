"""`OfflineDataset`: recorded episodes as arrays, as algorithms have observations and actions."""

import copy
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("gymnasium")

from gymnasium import spaces

sys.path.insert(0, str(Path(__file__).parent))

from recorded_episodes import made_up, made_up_episode

from reactornb.rl.datasets import DatasetChangedError, DatasetError, OfflineDataset
from reactornb.rl.errors import SpaceError
from reactornb.rl.spaces import spec_from

PLANE = spaces.Box(-2, 2, (3,), np.float32)
HANDS = spaces.Dict(
    turns=spaces.MultiDiscrete([3, 2], start=[1, 0]), go=spaces.MultiBinary(2), way=spaces.Discrete(3, start=-1)
)
ACTIONS = {
    "discrete": spaces.Discrete(4),
    "discrete from -1": spaces.Discrete(3, start=-1),
    "box": spaces.Box(-2, 3, (2,), np.float32),
    "box of integers": spaces.Box(0, 9, (2, 2), np.int32),
    "multi-discrete": spaces.MultiDiscrete([3, 2], start=[1, 0]),
    "multi-binary": spaces.MultiBinary(3),
    "dict": HANDS,
    "tuple": spaces.Tuple((spaces.Discrete(2), spaces.MultiBinary(2))),
}
OBSERVATIONS = {
    "box": PLANE,
    "bytes": spaces.Box(0, 255, (4, 5), np.uint8),
    "one of five": spaces.Discrete(5, start=2),
    "numbers": spaces.MultiDiscrete([4, 7]),
    "dict": spaces.Dict(b=spaces.Box(-1, 1, (2,), np.float64), a=spaces.Discrete(3)),
    "tuple": spaces.Tuple((spaces.Discrete(3), spaces.Box(0, 1, (2, 2), np.float32))),
    "tuple of discretes": spaces.Tuple((spaces.Discrete(3), spaces.Discrete(4))),
}


def part(value, t):
    """What an environment gave, or took, at a step."""
    if isinstance(value, dict):
        return {name: part(one, t) for name, one in value.items()}
    return tuple(part(one, t) for one in value) if isinstance(value, tuple) else value[t]


def equal(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[k], other[k]) for k in one)
    if isinstance(one, tuple):
        return all(map(equal, one, other))
    return np.array_equal(one, other)


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_observations_are_what_a_rollout_would_have_stored(name):
    space = OBSERVATIONS[name]
    episode = made_up_episode(np.random.default_rng(1), space, ACTIONS["discrete"], 6)
    dataset = OfflineDataset.from_episodes(space, ACTIONS["discrete"], [episode])
    spec = dataset.spec
    encode = spec.encode or np.asarray
    expected = np.stack(
        [np.asarray(encode(part(episode["observations"], t)), spec.observation_dtype) for t in range(7)]
    )
    assert np.array_equal(dataset.observations, expected)
    assert dataset.observations.dtype == spec.observation_dtype
    assert dataset.observations.shape == (7, *spec.observation_shape)


@pytest.mark.parametrize("name", ACTIONS)
def test_actions_are_those_that_lead_back_to_what_the_environment_took(name):
    space = ACTIONS[name]
    episode = made_up_episode(np.random.default_rng(2), PLANE, space, 6)
    dataset = OfflineDataset.from_episodes(PLANE, space, [episode])
    spec, actions = dataset.spec, dataset.actions
    assert actions.dtype == spec.action_dtype
    assert actions.shape == (6, *spec.action_shape)
    taken = actions + spec.action_start if spec.decode is None else spec.decode(actions.copy(), False)
    for t in range(6):
        assert equal(taken[t], part(episode["actions"], t))


def test_a_transition_is_an_index():
    dataset = made_up(ACTIONS["box"], lengths=(3, 5, 2))
    assert (len(dataset), dataset.episodes) == (10, 3)
    assert dataset.lengths.tolist() == [3, 5, 2]
    index = np.array([[0, 2, 3], [7, 8, 9]])
    drawn = dataset.gather(index, 0.9)
    at = index + np.array([[0, 0, 1], [1, 2, 2]])  # an observation more in each episode before
    assert np.array_equal(drawn["observations"], dataset.observations[at])
    assert np.array_equal(drawn["next_observations"], dataset.observations[at + 1])
    assert np.array_equal(drawn["rewards"], dataset.rewards[index])
    # Steps 2 and 9 end by termination, step 7 is truncated: what follows it has a value.
    assert drawn["discounts"].tolist() == [[np.float32(0.9), 0, np.float32(0.9)], [np.float32(0.9), np.float32(0.9), 0]]
    assert dataset.returns == pytest.approx(
        [dataset.rewards[a:b].sum() for a, b in ((0, 3), (3, 8), (8, 10))], abs=1e-6
    )


def test_statistics_are_those_of_all_that_was_acted_on():
    dataset = made_up(ACTIONS["box"], lengths=(3, 5, 2))
    moves = np.array([True, False, True])
    seen = np.concatenate([dataset.observations[a : a + n] for a, n in ((0, 3), (4, 5), (10, 2))])[:, moves]
    found = dataset.moments(moves)
    assert found.count == 10
    assert found.mean == pytest.approx(seen.mean(0, np.float64))
    assert found.variance == pytest.approx(seen.var(0, np.float64))
    discounted = []
    for a, b in ((0, 3), (3, 8), (8, 10)):
        total = 0.0
        for reward in dataset.rewards[a:b]:
            total = 0.9 * total + float(reward)
            discounted.append(total)
    assert dataset.returns_deviation(0.9) == pytest.approx(np.std(discounted))


def test_nobody_changes_it_and_copies_are_it():
    dataset = made_up(ACTIONS["discrete"])
    for name in ("observations", "actions", "rewards", "terminated", "truncated", "starts"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(dataset, name)[0] = 0
    assert copy.deepcopy(dataset) is copy.copy(dataset) is dataset


def test_several_are_one_after_the_other():
    first, second = made_up(ACTIONS["box"], seed=1), made_up(ACTIONS["box"], seed=2, lengths=(4,))
    both = OfflineDataset.joined([first, second])
    assert both.episodes == 5
    assert np.array_equal(both.actions, np.concatenate([first.actions, second.actions]))
    assert np.array_equal(both.gather(np.array([len(first)]), 1.0)["observations"][0], second.observations[0])
    assert OfflineDataset.joined([first]) is first
    with pytest.raises(DatasetError, match=r"made up, 1 and made up, 3: their spaces differ"):
        OfflineDataset.joined([first, made_up(ACTIONS["discrete"], seed=3)])


def test_the_digest_tells_datasets_apart_and_a_run_goes_on_with_the_same_one_only():
    dataset, same, other = made_up(ACTIONS["box"]), made_up(ACTIONS["box"]), made_up(ACTIONS["box"], seed=1)
    assert dataset.digest == same.digest != other.digest
    same.load_state(dataset.save_state())
    with pytest.raises(DatasetChangedError, match=r"the dataset made up, 1 .* is not the one that .*made up, 0"):
        other.load_state(dataset.save_state())


def broken(**changes):
    """An episode of three steps with something else in it."""
    return {**made_up_episode(np.random.default_rng(3), PLANE, ACTIONS["discrete"], 3), **changes}


@pytest.mark.parametrize(
    ("episode", "words"),
    [
        (broken(observations=np.zeros((3, 3), "f")), "3 observations for 3 steps"),
        (broken(observations=np.zeros((4, 2), "f")), "no observation of Box"),
        (broken(observations=np.full((4, 3), np.nan, "f")), "observations is NaN"),
        (broken(rewards=np.array([1, np.inf, 0])), "rewards is NaN or infinite"),
        (broken(actions=np.array([0, 4, 1])), "not in Discrete"),
        (broken(actions=np.array([0.5, 1.0, 0.0])), "actions are float64"),
        (broken(actions=np.array([0, 1])), r"actions are int64 \[2\]"),
        (broken(terminations=np.array([True, False, False])), "goes on after its end at step 0"),
        (broken(truncations=np.zeros(2, bool)), "2 truncations"),
        ({k: v for k, v in broken().items() if k != "rewards"}, "has no 'rewards'"),
    ],
)
def test_an_episode_that_fits_nothing_is_refused_by_its_number(episode, words):
    whole = made_up_episode(np.random.default_rng(3), PLANE, ACTIONS["discrete"], 3)
    with pytest.raises(DatasetError, match=rf"^here: episode 1: .*{words}"):
        OfflineDataset.from_episodes(PLANE, ACTIONS["discrete"], [whole, episode], source="here")


def test_without_a_step_there_is_no_dataset_and_unknown_spaces_are_refused():
    with pytest.raises(DatasetError, match="no step"):
        OfflineDataset.from_episodes(PLANE, ACTIONS["discrete"], [], source="here")
    with pytest.raises(SpaceError):
        OfflineDataset.from_episodes(spaces.Text(4), ACTIONS["discrete"], [])


def test_its_spec_is_that_of_an_environment_with_its_spaces():
    class Env:
        observation_space, action_space = OBSERVATIONS["dict"], HANDS

    ours, theirs = made_up(HANDS, OBSERVATIONS["dict"]).spec, spec_from(Env(), "env")
    for name in ("observation_shape", "observation_dtype", "choices", "action_shape", "frames"):
        assert getattr(ours, name) == getattr(theirs, name)
