"""Environments are numbered through all rollouts: what one plays does not depend on how they are dealt out."""

from functools import partial
from typing import Any

import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium")

from gymnasium.vector import SyncVectorEnv  # noqa: E402

from reactornb import Bank, Input, Output, Program, Reactor, Shared, connect, ms, per_member, reaction, startup  # noqa: E402
from reactornb.rl.draws import EnvDraws, env_generators  # noqa: E402
from reactornb.rl.policies import EpsilonGreedyPolicy, GaussianPolicy, RandomPolicy  # noqa: E402
from reactornb.rl.rollout import Rollout  # noqa: E402


class Feed(Reactor):
    """Asks for `rounds` trajectories, and keeps the rollouts' columns side by side."""

    played = Input[Any](width="n")
    weights = Output[Any]()
    n: int
    keep: Shared[list]
    rounds: int = 3

    @reaction(startup)
    def on_startup(self, weights):
        weights.set(np.zeros(3, np.float32))

    @reaction(played)
    def on_played(self, played, weights):
        fields = ("observations", "actions", "rewards", "terminated", "truncated", "valid")
        self.keep.append([np.concatenate([getattr(p, f) for p in played.values], axis=1) for f in fields])
        if len(self.keep) < self.rounds:
            weights.set(np.zeros(3, np.float32))


class Players(Reactor):
    keep: Shared[list]
    rollouts_: int
    options: dict

    def compose(self):
        self.feed = Feed(n=self.rollouts_, keep=self.keep)
        self.players = Bank(Rollout, self.rollouts_, n_steps=40, **self.options)
        connect(self.feed.weights, self.players.weights, after=ms(0), broadcast=True)
        connect(self.players.trajectory, self.feed.played)


def columns(rollouts, **options):
    keep: list[Any] = []
    Program(Players(keep=keep, rollouts_=rollouts, options=options)).run(seed=3, fast=True, workers=2)
    assert len(keep) == 3
    return keep


def same(a, b):
    return all(np.array_equal(x, y) for one, other in zip(a, b, strict=True) for x, y in zip(one, other, strict=True))


def blind_gaussian(spec):
    """Means of 0 whatever it sees: what it does depends on what is drawn alone."""
    mean = np.zeros((1, 1), np.float32)

    class Forward:
        def load(self, weights):
            pass

        def __call__(self, observations):
            return np.repeat(mean, len(observations), axis=0)

    return GaussianPolicy(Forward(), 0, spec.action_shape)


def eager(spec):
    class Forward:
        def load(self, weights):
            pass

        def __call__(self, observations):
            return np.stack([observations[:, 2], -observations[:, 2]], axis=1)

    return EpsilonGreedyPolicy(Forward(), spec.n_actions, lambda step: 0.5)


def sync(n):
    return SyncVectorEnv([lambda: gymnasium.make("CartPole-v1")] * n)


@pytest.mark.parametrize(
    ("env", "policy"),
    [("CartPole-v1", RandomPolicy), ("CartPole-v1", eager), ("Pendulum-v1", RandomPolicy), ("Pendulum-v1", blind_gaussian)],
    ids=["discrete", "epsilon", "box", "normal"],
)  # fmt: skip
def test_four_rollouts_of_two_environments_play_what_two_of_four_play(env, policy):
    one, two, eight = (columns(r, n_envs=n, env=env, policy=policy) for r, n in ((4, 2), (2, 4), (8, 1)))
    assert same(one, two)
    assert same(one, eight)
    observations = one[0][0]
    assert len(np.unique(observations[0], axis=0)) == 8  # each environment has a seed of its own
    actions = one[0][1].reshape(40, 8)
    assert len(np.unique(actions, axis=1).T) == 8


def test_vector_environments_play_the_same_as_single_ones():
    assert same(columns(4, n_envs=2), columns(2, env=partial(sync, 4)))


def test_another_seed_plays_other_episodes_and_a_bank_of_another_name_too():
    class Others(Players):
        def compose(self):
            super().compose()
            self.others = Bank(Rollout, 2, n_envs=2, policy=RandomPolicy)

    keep: list[Any] = []
    program = Program(Others(keep=keep, rollouts_=2, options={"n_envs": 2}))
    run = program.start(seed=3, fast=True, workers=1)
    run.result()
    assert not np.array_equal(keep[0][0][0], run.instance("others[0]").now)
    again: list[Any] = []
    Program(Players(keep=again, rollouts_=2, options={"n_envs": 2})).run(seed=4, fast=True, workers=1)
    assert not np.array_equal(keep[0][0][0], again[0][0][0])


def test_members_with_unequal_numbers_say_where_theirs_begin():
    sizes, firsts = (1, 3), (0, 1)
    uneven = columns(2, n_envs=per_member(lambda i: sizes[i]), first_env=per_member(lambda i: firsts[i]))
    assert same(uneven, columns(2, n_envs=2))


def test_arrays_of_other_shapes_and_other_methods_come_from_the_rollout_s_own_generator():
    rest, again = np.random.default_rng(1), np.random.default_rng(1)
    draws = EnvDraws(rest, env_generators(7, 0, 4))
    assert np.array_equal(draws.random(5), again.random(5))
    assert np.array_equal(draws.standard_normal((4,)), again.standard_normal((4,)))
    assert np.array_equal(draws.permutation(9), again.permutation(9))
    assert draws.integers(10) == again.integers(10)
    assert isinstance(draws, np.random.Generator)


def test_one_environment_is_a_column_like_any_other():
    def all_kinds(first, n):
        draws = EnvDraws(np.random.default_rng(1), env_generators(7, first, n))
        return [
            draws.random((6, n)), draws.standard_normal((6, n, 2), np.float32), draws.standard_exponential((6, n, 3)),
            draws.uniform([-1, 0], [1, 5], (6, n, 2)), draws.integers(np.array([2, 9]), size=(6, n, 2)),
        ]  # fmt: skip

    whole, parts = all_kinds(0, 3), [all_kinds(i, 1) for i in range(3)]
    for k, drawn in enumerate(whole):
        assert np.array_equal(drawn, np.concatenate([part[k] for part in parts], axis=1))
