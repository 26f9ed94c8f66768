"""Multi-agent inference: what agents see and whose action goes where, for environments of many kinds, on any number of workers."""

from functools import partial

import numpy as np
import pytest

pytest.importorskip("pettingzoo")

from gymnasium import spaces
from pettingzoo import ParallelEnv

from reactornb import Program
from reactornb.errors import ReactionError
from reactornb.rl.errors import ObservationError, SpaceError, UnknownEnvironmentError
from reactornb.rl.marl import MultiAgent, mlp_choice
from reactornb.rl.traffic_junction import TrafficJunction

WORKERS = (1, 2, 8)


class Pair(ParallelEnv):
    """Two agents unlike each other: `early` is gone after the second of four steps; what it is told is written down."""

    metadata = {"name": "pair"}  # noqa: RUF012 - as PettingZoo has it
    possible_agents = ["early", "late"]  # noqa: RUF012

    def __init__(self, told=None, wrong_after=None):
        self.told = [] if told is None else told
        self.wrong_after = wrong_after
        self.spaces = {
            "early": spaces.Dict({"left": spaces.Discrete(2), "right": spaces.Box(-9, 9, (2,), np.float32)}),
            "late": spaces.Box(-9, 9, (1, 2), np.float64),
        }
        self.choices = {"early": spaces.Discrete(2, start=5), "late": spaces.Discrete(3)}

    def observation_space(self, agent):
        return self.spaces[agent]

    def action_space(self, agent):
        return self.choices[agent]

    def seen(self):
        width = 3 if self.wrong_after is not None and self.now >= self.wrong_after else 2
        every = {
            "early": {"left": 1, "right": np.full(2, self.now, np.float32)},
            "late": np.full((1, width), -self.now, np.float64),
        }
        return {agent: every[agent] for agent in self.agents}

    def reset(self, seed=None, options=None):
        self.now = 0
        self.agents = self.possible_agents[:]
        return self.seen(), {agent: {} for agent in self.agents}

    def step(self, actions):
        self.told.append(dict(actions))
        self.now += 1
        present = self.agents
        self.agents = [a for a in present if self.now < {"early": 2, "late": 4}[a]]
        every = dict.fromkeys(present, False)
        return self.seen(), dict.fromkeys(present, 1.0), every, every, {a: {} for a in present}


def written(seen, index, inputs, actions, rng):
    """A policy that writes down what it sees, and always chooses its index."""

    def choose(joint):
        assert joint.shape == (inputs,)
        seen.append(joint.tolist())
        return index

    return choose


def test_everybody_sees_what_all_see_and_the_absent_as_zeros():
    seen, told = [], []
    program = Program(
        MultiAgent,
        env=lambda: Pair(told),
        total_timesteps=6,
        policies=[lambda *a: written([], 1, *a), lambda *a: written(seen, 2, *a)],
    )
    metrics = program.run(workers=1, fast=True).metrics
    assert seen == [
        [0, 1, 0, 0, 0, 0],  # early: one-hot 1 of 2, then twice the time; late: twice minus the time
        [0, 1, 1, 1, -1, -1],
        [0, 0, 0, 0, -2, -2],  # early is gone
        [0, 0, 0, 0, -3, -3],
        [0, 1, 0, 0, 0, 0],  # everybody was gone: the next episode
        [0, 1, 1, 1, -1, -1],
    ]
    both, one = {"early": 6, "late": 2}, {"late": 2}  # early's actions are counted from 5
    assert told == [both, both, one, one, both, both]
    assert list(metrics["episode_return"]) == [6.0]


@pytest.mark.slow
@pytest.mark.parametrize("cars", [4, 10])
def test_any_number_of_workers_drives_the_same(cars):
    def fingerprint(workers, seed):
        program = Program(MultiAgent, env=partial(TrafficJunction, cars=cars), total_timesteps=60)
        return program.run(workers=workers, seed=seed, fast=True, fingerprint=True).fingerprint

    found = {fingerprint(workers, 1) for workers in WORKERS}
    assert len(found) == 1
    assert fingerprint(2, 2) not in found


def test_given_weights_decide():
    inputs, hidden = 3, 64
    weights = np.zeros(hidden * (inputs + 1) + 2 * (hidden + 1), np.float32)
    rng = np.random.default_rng(0)
    joint = np.ones(inputs, np.float32)
    weights[-1] = 1.0  # the second action's bias
    assert mlp_choice(inputs, 2, rng, weights=weights)(joint) == 1
    weights[-2] = 2.0
    assert mlp_choice(inputs, 2, rng, weights=weights)(joint) == 0


def test_numpy_and_torch_choose_the_same():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    net = torch.nn.Sequential(torch.nn.Linear(20, 64), torch.nn.ReLU(), torch.nn.Linear(64, 5), torch.nn.Softmax(-1))
    flat = torch.cat([p.detach().reshape(-1) for p in net.parameters()]).numpy()
    choose = mlp_choice(20, 5, rng, weights=flat)
    every = rng.standard_normal((50, 20)).astype(np.float32)
    with torch.no_grad():
        assert [choose(joint) for joint in every] == net(torch.from_numpy(every)).argmax(-1).tolist()


def test_an_observation_of_another_size_is_named_with_its_step():
    program = Program(MultiAgent, env=partial(Pair, wrong_after=3), total_timesteps=9)
    with pytest.raises(ReactionError) as raised:
        program.run(workers=1, fast=True)
    cause = raised.value.__cause__
    assert isinstance(cause, ObservationError)
    assert (cause.env, cause.step) == (1, 3)
    assert "late observed 3 numbers after 3 steps; its space says 2" in str(cause)


class Steered(Pair):
    def action_space(self, agent):
        return spaces.Box(-1, 1, (1,))


class Spoken(Pair):
    def observation_space(self, agent):
        return spaces.Sequence(spaces.Discrete(3))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (Steered, SpaceError, "actions of early"),
        (Spoken, SpaceError, "cannot be made one array"),
        (dict, UnknownEnvironmentError, "no pettingzoo.ParallelEnv"),
    ],
)
def test_environments_that_do_not_fit_are_refused_before_anything_runs(make, error, words):
    with pytest.raises(error, match=words):
        Program(MultiAgent, env=make)


def test_a_policy_for_each_agent():
    with pytest.raises(ValueError, match="1 policies were given for 2 agents: early, late"):
        Program(MultiAgent, env=Pair, policies=[mlp_choice])
