"""Observations of every kind: each deep algorithm trains on them, scaled by their bounds, or refuses them when the program is assembled."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from reactornb import Program
from reactornb.rl import (
    A2C,
    A3C,
    APPO,
    DQN,
    IMPALA,
    PPO,
    A2CConfig,
    A3CConfig,
    APPOConfig,
    DQNConfig,
    IMPALAConfig,
    PPOConfig,
    Rollout,
    spec_of,
)
from reactornb.rl.dqn import value_policy
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.errors import SpaceError
from reactornb.rl.layers import Prepared, frames_of
from reactornb.rl.networks import ActorCritic, Flat, QNetwork
from reactornb.rl.policies import LinearSchedule, RandomPolicy
from reactornb.rl.ppo import actor_policy

SMALL = {
    "PPO": (PPO, PPOConfig(total_timesteps=64, n_rollouts=2, n_envs=2, n_steps=8, batch_size=16, n_epochs=1, hidden=(8,), eval_episodes=2)),
    "A2C": (A2C, A2CConfig(total_timesteps=40, n_rollouts=2, n_envs=2, n_steps=5, hidden=(8,), eval_episodes=2)),
    "IMPALA": (IMPALA, IMPALAConfig(total_timesteps=40, n_rollouts=2, n_envs=2, n_steps=5, hidden=(8,), eval_episodes=2)),
    "APPO": (APPO, APPOConfig(total_timesteps=64, n_rollouts=2, n_envs=2, n_steps=8, batch_size=16, n_epochs=1, hidden=(8,), eval_episodes=2)),
    "A3C": (A3C, A3CConfig(total_timesteps=40, n_actors=2, n_envs=1, n_steps=5, hidden=(8,), eval_episodes=2)),
    "DQN": (DQN, DQNConfig(total_timesteps=80, n_rollouts=2, n_envs=2, train_freq=5, learning_starts=20, batch_size=8, hidden=(8,), eval_episodes=2, double=True)),
}  # fmt: skip

KINDS = {
    "grey": spaces.Box(0, 255, (84, 84), np.uint8),
    "RAM": spaces.Box(0, 255, (128,), np.uint8),
    "board": spaces.Box(0, 2, (8, 8), np.uint8),
    "board of planes": spaces.Box(0, 1, (3, 8, 8), np.uint8),
    "small frames": spaces.Box(0, 255, (3, 32, 32), np.uint8),
    "(C, H, W)": spaces.Box(0, 255, (3, 40, 44), np.uint8),
    "(H, W, C)": spaces.Box(0, 255, (40, 44, 3), np.uint8),
    "a stack in colour": spaces.Box(0, 255, (2, 40, 44, 3), np.uint8),
    "a number": spaces.Box(-1, 1, (), np.float32),
    "a byte": spaces.Box(0, 255, (), np.uint8),
    "one number": spaces.Box(-1, 1, (1,), np.float64),
    "doubles": spaces.Box(-5, 5, (4,), np.float64),
    "int8": spaces.Box(-100, 100, (4,), np.int8),
    "int16": spaces.Box(0, 1000, (2, 3), np.int16),
    "int64 without bounds": spaces.Box(np.iinfo(np.int64).min, np.iinfo(np.int64).max, (3,), np.int64),
    "bool": spaces.Box(0, 1, (5,), bool),
    "Discrete": spaces.Discrete(6, start=2),
    "MultiDiscrete": spaces.MultiDiscrete([3, 4]),
    "MultiDiscrete in rows": spaces.MultiDiscrete([[3, 4], [2, 5]]),
    "MultiBinary": spaces.MultiBinary([2, 3]),
    "Tuple of numbers": spaces.Tuple([spaces.Discrete(3), spaces.Discrete(4)]),
    "Tuple": spaces.Tuple([spaces.Discrete(3), spaces.Box(-1, 1, (2,))]),
    "picture and numbers": spaces.Dict(
        at=spaces.Box(-1, 1, (2,)), picture=spaces.Box(0, 255, (36, 40, 3), np.uint8), which=spaces.Discrete(3)
    ),
    "two pictures": spaces.Tuple([spaces.Box(0, 255, (1, 36, 36), np.uint8), spaces.Box(0, 255, (40, 36), np.uint8)]),
    "Dict": spaces.Dict(
        picture=spaces.Box(0, 255, (6, 6), np.uint8), at=spaces.Box(-1, 1, (2,)), which=spaces.Discrete(3)
    ),
}


class Sampled(gymnasium.Env):
    """Shows members of its observation space; episodes of five steps."""

    action_space = spaces.Discrete(2)

    def __init__(self, space):
        self.observation_space = space
        self.observation_space.seed(1)

    def seen(self):
        space = self.observation_space
        if isinstance(space, spaces.Box) and space.dtype == np.int64:
            return np.array([-3, 0, 7])
        return space.sample()

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return self.seen(), {}

    def step(self, action):
        self.count += 1
        return self.seen(), float(np.sum(action)), self.count == 5, False, {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "algorithm"),
    [
        *((kind, name) for kind in KINDS for name in ("PPO", "DQN")),
        # The network is PPO's.
        *(
            (kind, name)
            for kind in ("grey", "RAM", "board", "a number", "Dict", "picture and numbers")
            for name in ("A2C", "A3C", "IMPALA", "APPO")
        ),
    ],
)
def test_every_algorithm_trains_on_observations_of_every_kind(kind, algorithm):
    reactor, config = SMALL[algorithm]
    result = Program(reactor(env=lambda: Sampled(KINDS[kind]), config=config)).run(workers=1, seed=1, fast=True)
    assert np.isfinite(list(result.metrics["loss"])).all()
    assert len(result.metrics["loss"]) >= 1
    assert len(result.metrics["eval_return"]) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_rollout_s_policy_computes_what_the_learner_s_network_does(kind):
    space = KINDS[kind]
    env = Sampled(space)
    spec = spec_of(lambda: Sampled(space))
    encode = spec.encode or np.asarray
    seen = np.stack([encode(env.seen()) for _ in range(4)]).astype(spec.observation_dtype)
    assert seen.shape == (4, *spec.observation_shape)
    critic = ActorCritic(spec, (8,), torch.Generator().manual_seed(1))
    values = QNetwork(spec, (8,), True, torch.Generator().manual_seed(1))
    for net, head, policy in (
        (critic, critic.logits, actor_policy((8,), spec)),
        (values, values, value_policy((8,), True, LinearSchedule(0, 0, 0), spec)),
    ):
        policy.load(Flat(net).publish())
        with torch.no_grad():
            expected = head(torch.from_numpy(seen))
        assert expected.shape == (4, 2)
        assert policy.greedy(seen).tolist() == expected.argmax(1).tolist()
    with torch.no_grad():
        assert critic.value(torch.from_numpy(seen)).shape == (4,)


@pytest.mark.parametrize(
    ("space", "seen", "prepared"),
    [
        (spaces.Box(0, 255, (3,), np.uint8), [0, 51, 255], [0, 0.2, 1]),
        (spaces.Box(0, 2, (3,), np.uint8), [0, 1, 2], [0, 0.5, 1]),
        (spaces.Box(-100, 100, (3,), np.int8), [-100, 0, 100], [0, 0.5, 1]),
        (spaces.Box(np.array([0, 10]), np.array([4, 20]), dtype=np.int32), [1, 15], [0.25, 0.5]),
        (spaces.Box(0, 1, (2,), bool), [0, 1], [0, 1]),
        (spaces.Box(7, 7, (1,), np.int16), [7], [0]),
        (spaces.Box(0, 255, (2,), np.float32), [0, 255], [0, 255]),
        (spaces.Box(np.iinfo(np.int32).min, np.iinfo(np.int32).max, (2,), np.int32), [-3, 3], [-3, 3]),
        (KINDS["MultiDiscrete"], [2, 3], [2, 3]),
    ],
)
def test_integers_are_scaled_by_their_bounds_and_other_numbers_are_not(space, seen, prepared):
    spec = spec_of(lambda: Sampled(space))
    ready = Prepared(spec.scaling)(torch.tensor(np.array([seen], spec.observation_dtype)))
    assert ready.dtype == torch.float32
    assert np.allclose(ready[0].numpy(), prepared)


def test_the_parts_of_a_dict_are_scaled_each_by_its_own():
    space = spaces.Dict(a=spaces.Box(0, 255, (2,), np.uint8), b=spaces.Box(-9, 9, (1,)), c=spaces.Discrete(2))
    spec = spec_of(lambda: Sampled(space))
    seen = spec.encode({"a": np.array([255, 51], np.uint8), "b": np.array([9.0]), "c": 1})
    ready = Prepared(spec.scaling)(torch.tensor(seen[None].astype(np.float32)))[0]
    assert np.allclose(ready.numpy(), [1, 0.2, 9, 0, 1])


def bytes_of(*shape):
    return EnvSpec("test", shape, np.dtype(np.uint8), 2, (), None, None, None)


@pytest.mark.parametrize(
    ("shape", "frames"),
    [
        ((84, 84), (1, 84, 84)),
        ((4, 84, 84), (4, 84, 84)),
        ((210, 160, 3), (3, 210, 160)),
        ((1, 36, 36), (1, 36, 36)),
        ((36, 36, 1), (1, 36, 36)),
        ((4, 84, 84, 3), (12, 84, 84)),
        ((4, 3, 84, 84), (12, 84, 84)),
        ((8, 8), None),
        ((3, 35, 84), None),
        ((128,), None),
        ((), None),
        ((5, 6, 84, 84), None),
    ],
)
def test_frames_are_told_from_boards_by_their_size_and_channels_by_being_fewest(shape, frames):
    found = frames_of(bytes_of(*shape))
    assert (found[:3] if found else None) == frames


def test_channels_last_and_first_are_the_same_picture():
    picture = torch.randint(256, (2, 3, 40, 44), dtype=torch.uint8)
    first, last = (
        Prepared(None, frames_of(bytes_of(*shape)))(seen)
        for shape, seen in (((3, 40, 44), picture), ((40, 44, 3), picture.permute(0, 2, 3, 1)))
    )
    assert torch.equal(first, last)
    assert torch.equal(first, picture.float())


@pytest.mark.parametrize("algorithm", SMALL)
@pytest.mark.parametrize(
    ("space", "words"),
    [
        (spaces.Box(0, 255, (1080, 1920, 3), np.uint8), r"1080 x 1920 pixels are too large.*TransformObservation"),
        (spaces.Box(0, 1, (0,), np.float32), "holds no numbers"),
        (spaces.Graph(spaces.Discrete(3), None), "cannot be made one array.*ObservationWrapper"),
        (spaces.Sequence(spaces.Discrete(3)), "cannot be made one array"),
        (
            spaces.Dict(words=spaces.Sequence(spaces.Discrete(3)), at=spaces.Box(0, 1, (2,))),
            r"cannot be made one array.*FilterObservation\(env, \['at'\]\)",
        ),
        (
            spaces.Dict(picture=spaces.Box(0, 255, (1080, 1920, 3), np.uint8), at=spaces.Box(0, 1, (2,))),
            "1080 x 1920 pixels are too large",
        ),
    ],
)
def test_what_no_network_takes_is_refused_when_the_program_is_assembled(space, words, algorithm):
    reactor, config = SMALL[algorithm]
    with pytest.raises(SpaceError, match=words):
        Program(reactor(env=lambda: Sampled(space), config=config))


class Steered(Sampled):
    def __init__(self, actions):
        super().__init__(spaces.Box(-1, 1, (3,)))
        self.action_space = actions

    def step(self, action):
        assert self.action_space.contains(action), action
        return super().step(action)


@pytest.mark.parametrize(
    "actions",
    [
        spaces.Box(-2, 2, ()),
        spaces.Box(-2, 2, (2, 2)),
        spaces.Box(-np.inf, np.inf, (2,)),
        spaces.Box(np.array([-1, -np.inf], np.float32), np.array([np.inf, 0], np.float32)),
    ],
    ids=str,
)
def test_continuous_actions_of_any_shape_and_bounds_are_taken(actions):
    for name in ("PPO", "A2C", "A3C", "IMPALA", "APPO"):
        reactor, config = SMALL[name]
        result = Program(reactor(env=lambda: Steered(actions), config=config)).run(workers=1, seed=1, fast=True)
        assert len(result.metrics["loss"]) >= 1
    spec = spec_of(lambda: Steered(actions))
    drawn, _ = RandomPolicy(spec).act(np.zeros((50, 3), np.float32), np.random.default_rng(1))
    assert all(actions.contains(np.asarray(one, np.float32)) for one in drawn)
    assert len(np.unique(drawn)) > 25


def test_a_rollout_plays_a_box_of_one_number_whether_it_is_a_float_or_an_array():
    class Bare(Sampled):
        def seen(self):
            return 0.25 if self.count % 2 else np.array(0.25, np.float32)

        count = 0

    result = Program(Rollout(env=lambda: Bare(spaces.Box(-1, 1, ())))).run(seed=1, fast=True)
    assert result is not None
