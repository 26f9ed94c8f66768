"""Rollouts that play different numbers of steps in a round: what is learnt from each is what it would be alone."""

from functools import partial
from itertools import pairwise

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from reactornb import Bank, Input, Output, Program, Reactor, Shared, connect, ms, per_member, reaction, startup
from reactornb.rl import (
    A2C,
    A3C,
    APPO,
    DQN,
    IMPALA,
    PPO,
    A2CConfig,
    APPOConfig,
    DQNConfig,
    IMPALAConfig,
    PPOConfig,
    QLearning,
    RandomPolicy,
    Rollout,
    Trajectory,
)
from reactornb.rl.a2c import A2CAlgorithm
from reactornb.rl.appo import APPOAlgorithm
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.errors import ConfigError
from reactornb.rl.impala import IMPALAAlgorithm
from reactornb.rl.ppo import PPOAlgorithm
from reactornb.rl.storage import Ring, aligned

SPEC = EnvSpec("test", (2,), np.dtype(np.float32), 3, (), None, None, None)


def trajectory(rewards, *, first, terminated=(), truncated=(), reset=(), finals=()):
    """Of [T][N] rewards; each observation is (its number, counted from `first`, 1)."""
    rewards = np.array(rewards, np.float32)
    made = Trajectory.empty(SPEC, *rewards.shape)
    made.rewards[:] = rewards
    made.observations[..., 0] = first + np.arange(made.observations[..., 0].size).reshape(made.observations.shape[:2])
    made.observations[..., 1] = 1.0
    made.actions[:] = np.arange(rewards.size).reshape(rewards.shape) % 3
    made.log_probs[:] = -0.1 * (1 + made.actions)
    for flags, places in ((made.terminated, terminated), (made.truncated, truncated)):
        for place in places:
            flags[place] = True
    for place in reset:
        made.valid[place] = False
    made.finals.extend((t, i, np.array([number, 2.0], np.float32)) for t, i, number in finals)
    return made.freeze()


def uneven():
    """Horizons of 4, 1 and 3, two environments each; episodes end within, exactly at a horizon, and in a step before a reset."""
    return [
        trajectory([[1, 2], [3, 4], [5, 6], [7, 8]], first=0, terminated=[(1, 0)], reset=[(2, 0)]),
        trajectory([[10, 20]], first=100, terminated=[(0, 0)]),
        trajectory([[1, 1], [0, 1], [2, 4]], first=200, truncated=[(2, 1)], reset=[(0, 1)], finals=[(2, 1, 999)]),
    ]


def by_observation(minibatches):
    """{number of the observation: (action, advantage, return)} of all rows."""
    rows = {}
    for observations, *columns in minibatches:
        for number, *values in zip(
            np.asarray(observations)[:, 0].tolist(), *(np.asarray(c).tolist() for c in columns), strict=True
        ):
            assert number not in rows
            rows[number] = values
    return rows


def learnt_by_a2c(received, algorithm=A2CAlgorithm, config_type=A2CConfig, **config):
    made = algorithm(SPEC, config_type(hidden=(4,), **config), torch.Generator().manual_seed(1), torch.device("cpu"))
    return by_observation(made.minibatches(received, np.random.default_rng(0), 0.0))


def learnt_by_impala(received, **config):
    return learnt_by_a2c(received, IMPALAAlgorithm, IMPALAConfig, **config)


def learnt_by_ppo(received, algorithm=PPOAlgorithm, config_type=PPOConfig, **config):
    config = config_type(hidden=(4,), n_epochs=1, batch_size=1000, normalize_advantage=False, **config)
    algorithm = algorithm(SPEC, config, torch.Generator().manual_seed(1), torch.device("cpu"))
    made = [m.gathered() for m in algorithm.minibatches(received, np.random.default_rng(0), 0.0)]
    return by_observation((m.observations, m.actions, m.log_probs, m.advantages, m.values, m.returns) for m in made)


def learnt_by_appo(received, **config):
    return learnt_by_ppo(received, APPOAlgorithm, APPOConfig, **config)


@pytest.mark.parametrize("learnt", [learnt_by_a2c, learnt_by_impala, learnt_by_ppo, learnt_by_appo])
@pytest.mark.parametrize("gae_lambda", [1.0, 0.8])
def test_a_round_of_different_horizons_is_learnt_from_as_each_trajectory_alone(learnt, gae_lambda):
    together = learnt(uneven(), gamma=0.9, gae_lambda=gae_lambda)
    alone = {}
    for played in uneven():
        alone |= learnt([played], gamma=0.9, gae_lambda=gae_lambda)
    assert len(together) == 2 * (4 + 1 + 3) - 2
    assert together.keys() == alone.keys()
    for number, values in alone.items():
        assert together[number] == pytest.approx(values, abs=1e-5)


def test_returns_of_different_horizons_are_those_computed_by_hand():
    class Worthless(A2CAlgorithm):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            for parameter in self.network.parameters():
                parameter.data.zero_()

    algorithm = Worthless(
        SPEC, A2CConfig(hidden=(4,), gamma=0.5), torch.Generator().manual_seed(1), torch.device("cpu")
    )
    rows = by_observation(algorithm.minibatches(uneven(), np.random.default_rng(0), 0.0))
    returns = {int(number): values[-1] for number, values in rows.items()}
    assert returns == {
        0: 1 + 0.5 * 3, 2: 3, 6: 7,  # environment 0: the second step terminates, the third only resets
        1: 2 + 0.5 * (4 + 0.5 * (6 + 0.5 * 8)), 3: 4 + 0.5 * (6 + 0.5 * 8), 5: 6 + 0.5 * 8, 7: 8,
        100: 10, 101: 20,
        200: 1 + 0.5 * (0 + 0.5 * 2), 202: 0.5 * 2, 204: 2,
        203: 1 + 0.5 * 4, 205: 4,  # its first step only resets
    }  # fmt: skip


def test_trajectories_of_one_length_are_laid_side_by_side_as_they_are():
    one, two = trajectory([[1, 2], [3, 4]], first=0), trajectory([[5, 6], [7, 8]], first=10)
    assert all(a is b for a, b in zip(aligned([one, two]), [one, two], strict=True))


def test_a_shorter_trajectory_gets_rows_in_front_that_are_not_steps():
    long, short = (
        trajectory([[1, 2]] * 3, first=0),
        trajectory([[5, 6]], first=10, truncated=[(0, 1)], finals=[(0, 1, 77)]),
    )
    same, longer = aligned([long, short])
    assert same is long
    assert longer.valid.tolist() == [[False, False], [False, False], [True, True]]
    assert longer.rewards.tolist() == [[0, 0], [0, 0], [5, 6]]
    assert longer.observations[:, 0, 0].tolist() == [10, 10, 10, 12]
    assert longer.truncated.tolist() == [[False, False], [False, False], [False, True]]
    assert [(t, i) for t, i, _ in longer.finals] == [(2, 1)]
    assert longer.steps == short.steps


def test_transitions_of_writers_of_different_horizons_lead_to_their_successors():
    ring = Ring(np.zeros(2, np.float32), np.int64(0), rows=12, writers=2, n=2)
    for k in range(9):  # several times around
        ring.write(0, trajectory(np.ones((5, 2)), first=1000 + 10 * k))
        ring.write(1, trajectory(np.ones((2, 2)), first=5000 + 4 * k))
    everything = np.arange(12 * 4)
    index = everything[ring.usable(everything, 3)]
    drawn = ring.gather(index, 1.0, 3)
    assert drawn["rewards"].tolist() == [3.0] * len(index)
    assert (drawn["next_observations"][:, 0] - drawn["observations"][:, 0]).tolist() == [6.0] * len(index)
    assert {int(number) // 1000 for number in drawn["observations"][:, 0]} == {1, 5}


class Counted(gymnasium.Env):
    """Episodes of three steps: what is seen is (episode, step)."""

    observation_space = spaces.Box(0, 1000, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self):
        self.episode = -1

    def reset(self, *, seed=None, options=None):
        self.episode += 1
        self.at = 0
        return self.seen(), {}

    def step(self, action):
        self.at += 1
        return self.seen(), 1.0, self.at == 3, False, {}

    def seen(self):
        return np.array([self.episode, self.at], np.float32)


class Twelve(Reactor):
    """Lets each rollout play until all have taken 12 steps."""

    weights = Output[np.ndarray](width="n")
    trajectories = Input[Trajectory](width="n")
    n: int
    keep: Shared[list]

    @reaction(startup)
    def on_startup(self, weights):
        for i in range(self.n):
            weights[i].set(np.zeros(0, np.float32))

    @reaction(trajectories)
    def on_trajectories(self, trajectories, weights):
        for i, played in trajectories.present:
            self.keep[i].append(played)
            if sum(map(len, self.keep[i])) < 12:
                weights[i].set(np.zeros(0, np.float32))


class Plays(Reactor):
    horizons: tuple = (12, 3, 1, 4)
    autoreset: str = "next_step"
    keep: Shared[list]

    def compose(self):
        n = len(self.horizons)
        self.twelve = Twelve(n=n, keep=self.keep)
        self.rollouts = Bank(
            Rollout, n, env=Counted, policy=RandomPolicy, n_envs=2, autoreset=self.autoreset,
            n_steps=per_member(lambda i: self.horizons[i]),
        )  # fmt: skip
        connect(self.twelve.weights, self.rollouts.weights, after=ms(0))
        connect(self.rollouts.trajectory, self.twelve.trajectories)


@pytest.mark.parametrize("autoreset", ["next_step", "same_step"])
def test_episodes_go_over_the_ends_of_trajectories_whatever_the_horizon(autoreset):
    keep = [[], [], [], []]
    Program(Plays, keep=keep, autoreset=autoreset).run(workers=2, fast=True, seed=1)
    (whole,), *parts = keep
    assert [len(p) for p in parts[1]] == [1] * 12
    assert whole.valid.all() == (autoreset == "same_step")
    for played in parts:
        for name in ("rewards", "terminated", "truncated", "valid"):
            assert np.array_equal(np.concatenate([getattr(p, name) for p in played]), getattr(whole, name)), name
        seen = np.concatenate([p.observations[:-1] for p in played])
        assert np.array_equal(seen, whole.observations[:-1])
        for before, after in pairwise(played):
            assert np.array_equal(before.observations[-1], after.observations[0])
        begins = np.cumsum([0] + [len(p) for p in played]).tolist()
        finals = [
            (t + begin, i, seen.tolist()) for p, begin in zip(played, begins, strict=False) for t, i, seen in p.finals
        ]
        assert finals == [(t, i, seen.tolist()) for t, i, seen in whole.finals]
    assert bool(whole.finals) == (autoreset == "same_step")


@pytest.mark.slow
@pytest.mark.parametrize(
    "program",
    [
        partial(PPO, n_rollouts=3, n_envs=2, n_steps=(16, 5, 1), batch_size=16),
        partial(A2C, n_rollouts=2, n_envs=2, n_steps=(8, 3)),
        partial(DQN, n_envs=2, train_freq=(2, 30), n_steps=3, prioritised=True, buffer_size=100, learning_starts=50),
        partial(IMPALA, n_rollouts=2, n_envs=2, n_steps=(8, 3)),
        partial(APPO, n_rollouts=2, n_envs=2, n_steps=(16, 5), batch_size=16),
        partial(A3C, n_actors=2, n_steps=(10, 3)),
        partial(QLearning, n_rollouts=2, n_envs=2, n_steps=(10, 3), env="FrozenLake-v1"),
    ],
    ids=lambda p: p.func.__name__,
)
def test_programs_with_uneven_horizons_have_one_fingerprint_for_any_number_of_workers(program):
    prints = set()
    for workers in (1, 2, 8):
        made = program(total_timesteps=300, eval_episodes=2)
        prints.add(Program(made).run(workers=workers, seed=3, fast=True, fingerprint=True).fingerprint)
    assert len(prints) == 1


def test_a_run_has_as_many_rounds_as_its_horizons_say_together():
    assert PPOConfig(total_timesteps=1000, n_rollouts=2, n_envs=2, n_steps=(40, 10)).rounds == 10
    assert DQNConfig(total_timesteps=10_000, n_rollouts=2, n_envs=2, train_freq=(40, 10)).steps_per_round == 100


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (partial(PPOConfig, n_rollouts=2, n_steps=(32, 8, 1)), r"n_steps=\(32, 8, 1\) are 3 numbers for n_rollouts=2: write one for each"),
        (partial(DQNConfig, train_freq=(1,)), r"train_freq=\(1,\) are 1 numbers for n_rollouts=2"),
        (partial(A2CConfig, n_steps=(5, 0)), r"n_steps=\(5, 0\) must be a whole number of at least 1, or a tuple"),
        (partial(PPOConfig, n_steps=[32, 8]), r"write \(32, 8\)"),
    ],
)  # fmt: skip
def test_horizons_that_do_not_fit_the_rollouts_are_refused(config, said):
    with pytest.raises(ConfigError, match=said):
        config()
