"""Environments: every autoreset mode gives the same transitions, and what is wrong with one is said with reactor and tag."""

import time
from functools import partial

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from reactornb import Input, Output, Program, Reactor, ReactorError, connect, ms, reaction, startup
from reactornb.errors import ReactionError
from reactornb.rl import Rollout, Trajectory, spec_of
from reactornb.rl.envs import make_envs
from reactornb.rl.errors import EnvironmentHangError, ObservationError, SpaceError, UnknownEnvironmentError
from reactornb.rl.watchdog import Watch

LENGTHS = [(3, 2, 4), (1, 1, 5), (2, 7, 1)]


def transitions(make, n, steps, autoreset="next_step"):
    """For each environment its (seen, reward, seen next, terminated, truncated), in order."""
    envs = make_envs(make, n, autoreset=autoreset, watch=Watch("test", "it", 0))
    played = Trajectory.empty(envs.spec, steps, envs.n)
    envs.reset(1, played.observations[0])
    for t in range(steps):
        played.actions[t] = 0
        envs.step(t, played)
    envs.close()
    finals = {(t, i): seen for t, i, seen in played.finals}
    rows = [[] for _ in range(envs.n)]
    for t in range(steps):
        for i in range(envs.n):
            if played.valid[t, i]:
                after = finals.get((t, i), played.observations[t + 1, i])
                rows[i].append(
                    (
                        tuple(played.observations[t, i].tolist()),
                        float(played.rewards[t, i]),
                        tuple(after.tolist()),
                        bool(played.terminated[t, i]),
                        bool(played.truncated[t, i]),
                    )
                )
    return rows


def expected(lengths, count):
    """What an environment of those lengths does."""
    rows, episode = [], 0
    while len(rows) < count:
        length, odd = lengths[episode % len(lengths)], episode % 2 == 1
        for step in range(length):
            ended = step + 1 == length
            rows.append(
                (
                    (float(episode), float(step)),
                    100.0 * episode + step + 1,
                    (float(episode), step + 1.0),
                    ended and not odd,
                    ended and odd,
                )
            )
        episode += 1
    return rows[:count]


@pytest.mark.parametrize("mode", [None, *AutoresetMode])
def test_a_vector_environment_of_any_autoreset_mode_gives_the_same_transitions(scripted, mode):
    def vector():
        made = SyncVectorEnv([partial(scripted, lengths) for lengths in LENGTHS], autoreset_mode=mode or "NextStep")
        if mode is None:  # one that says nothing is taken for Gymnasium's default
            del made.metadata["autoreset_mode"]
        return made

    for lengths, rows in zip(LENGTHS, transitions(vector, 1, 20), strict=True):
        assert len(rows) >= 10
        assert rows == expected(lengths, len(rows))


@pytest.mark.parametrize("autoreset", ["next_step", "same_step"])
def test_single_environments_give_the_same_transitions(scripted, autoreset):
    for lengths in LENGTHS:
        (rows,) = transitions(partial(scripted, lengths), 1, 20, autoreset)
        assert len(rows) == 20 if autoreset == "same_step" else 10 <= len(rows) < 20
        assert rows == expected(lengths, len(rows))


def test_the_step_after_an_episode_only_resets_and_is_marked(scripted):
    envs = make_envs(scripted, 1, watch=Watch("test", "it", 0))
    played = Trajectory.empty(envs.spec, 6, 1)
    envs.reset(1, played.observations[0])
    for t in range(6):
        played.actions[t] = 0
        envs.step(t, played)
    assert played.valid[:, 0].tolist() == [True, True, True, False, True, True]
    assert played.rewards[:, 0].tolist() == [1, 2, 3, 0, 101, 102]
    assert played.terminated[:, 0].tolist() == [False, False, True, False, False, False]
    assert played.truncated[:, 0].tolist() == [False, False, False, False, False, True]
    assert played.observations[3:5, 0].tolist() == [[0, 3], [1, 0]]
    assert played.steps == 5


@pytest.mark.parametrize(
    ("space", "value", "encoded"),
    [
        (spaces.Tuple([spaces.Discrete(32), spaces.Discrete(11), spaces.Discrete(2)]), (20, 7, 1), [20, 7, 1]),
        (spaces.Discrete(4), 2, [0, 0, 1, 0]),
        (spaces.MultiDiscrete([3, 5]), np.array([2, 4]), [2, 4]),
        (
            spaces.Dict(a=spaces.Discrete(2), b=spaces.Box(0, 9, (2,))),
            {"a": 1, "b": np.array([3.0, 4.0])},
            [0, 1, 3, 4],
        ),
        (spaces.Box(-1, 1, (2,), np.float64), np.array([0.5, -0.5]), [0.5, -0.5]),
    ],
)
def test_observations_become_one_array(space, value, encoded):
    class Fixed(gymnasium.Env):
        observation_space = space
        action_space = spaces.Discrete(2, start=5)

        def reset(self, *, seed=None, options=None):
            return value, {}

        def step(self, action):
            assert action in (5, 6)
            return value, 0.0, False, False, {}

    def both():
        return SyncVectorEnv([Fixed, Fixed])

    for make in (Fixed, both):
        envs = make_envs(make, 2, watch=Watch("test", "it", 0))
        played = Trajectory.empty(envs.spec, 1, 2)
        envs.reset(0, played.observations[0])
        played.actions[0] = [0, 1]
        envs.step(0, played)
        assert played.observations.dtype == np.float32
        assert played.observations.tolist() == [[encoded] * 2] * 2


def test_images_stay_bytes():
    class Image(gymnasium.Env):
        observation_space = spaces.Box(0, 255, (4, 84, 84), np.uint8)
        action_space = spaces.Discrete(2)

    spec = spec_of(Image)
    assert spec.observation_dtype == np.uint8
    assert spec.observation_shape == (4, 84, 84)


def test_continuous_actions_are_clipped_into_their_box_but_kept_as_chosen():
    took = []

    class Pushed(gymnasium.Env):
        observation_space = spaces.Box(-1, 1, (1,), np.float32)
        action_space = spaces.Box(-2, 2, (1,), np.float32)

        def reset(self, *, seed=None, options=None):
            return np.zeros(1, np.float32), {}

        def step(self, action):
            took.append(float(action[0]))
            return np.zeros(1, np.float32), 0.0, False, False, {}

    envs = make_envs(Pushed, 2, watch=Watch("test", "it", 0))
    played = Trajectory.empty(envs.spec, 1, 2)
    envs.reset(0, played.observations[0])
    played.actions[0] = [[5.0], [-0.5]]
    envs.step(0, played)
    assert took == [2.0, -0.5]
    assert played.actions.tolist() == [[[5.0], [-0.5]]]


# -- what is wrong is said, with reactor and tag, and the metrics so far are kept ---------------------------------------------


class Loop(Reactor):
    """One rollout, fed again and again."""

    env: object = "CartPole-v1"
    n_steps: int = 100
    hang_s: float = 0.0

    def compose(self):
        class Feeder(Reactor):
            played = Input[Trajectory]()
            weights = Output[np.ndarray]()

            @reaction(startup)
            def on_startup(self, weights):
                weights.set(np.zeros(1, np.float32))

            @reaction(played)
            def on_played(self, played, weights):
                weights.set(np.zeros(1, np.float32))

        self.feeder = Feeder()
        self.rollout = Rollout(env=self.env, n_steps=self.n_steps, hang_s=self.hang_s)
        connect(self.feeder.weights, self.rollout.weights, after=ms(1))
        connect(self.rollout.trajectory, self.feeder.played)


def fails(root):
    """Run it; what it raised, and the run."""
    run = Program(root).start(workers=2, fast=True, until=ms(100_000))
    with pytest.raises(ReactionError) as caught:
        run.result(30)
    return caught.value, run


def test_an_unknown_environment_is_named_with_what_could_be_meant():
    with pytest.raises(UnknownEnvironmentError, match=r"'CartPole-v9'.*v1"):
        spec_of("CartPole-v9")
    error, _ = fails(Loop(env="CartPole-v9"))
    assert isinstance(error.__cause__, UnknownEnvironmentError)
    assert error.reaction == "loop.rollout.on_startup"
    assert "CartPole-v9" in str(error)


def test_a_function_that_makes_something_else_is_named():
    with pytest.raises(UnknownEnvironmentError, match="made a dict"):
        spec_of(dict)


def test_actions_that_no_algorithm_takes_are_refused():
    class Odd(gymnasium.Env):
        observation_space = spaces.Box(0, 1, (1,))
        action_space = spaces.Sequence(spaces.Discrete(2))

    with pytest.raises(SpaceError, match="Sequence"):
        spec_of(Odd)


@pytest.mark.slow
def test_an_observation_of_the_wrong_shape_after_10_000_steps_is_named(scripted):
    class Breaks(scripted):
        count = 0

        def step(self, action):
            seen, *rest = super().step(action)
            self.count += 1
            return (seen[:1] if self.count > 10_000 else seen), *rest

    error, run = fails(Loop(env=Breaks))
    cause = error.__cause__
    assert isinstance(cause, ObservationError)
    assert (cause.shape, cause.expected, cause.env) == ((1,), (2,), 0)
    assert cause.step >= 10_000
    assert "loop.rollout.on_weights" in str(error)
    assert error.tag.time_ns > ms(100)
    assert len(run.metrics["episode_return"]) > 3_000


def test_a_scalar_is_no_observation_of_shape_2(scripted):
    class Scalar(scripted):
        def seen(self):
            return 1.0

    error, _ = fails(Loop(env=Scalar))
    assert isinstance(error.__cause__, ObservationError)


@pytest.mark.slow
def test_an_environment_that_hangs_is_named_and_stopped(scripted, caplog):
    class Hangs(scripted):
        count = 0

        def step(self, action):
            self.count += 1
            while self.count > 250:
                time.sleep(0.001)
            return super().step(action)

    error, run = fails(Loop(env=Hangs, hang_s=0.3))
    cause = error.__cause__
    assert isinstance(cause, EnvironmentHangError)
    assert (cause.reactor, cause.env, cause.seconds) == ("loop.rollout", 0, 0.3)
    assert "loop.rollout" in str(error)
    assert error.tag == run.tag
    assert run.metrics["episode_return"]
    assert "did not return within 0.3 s" in caplog.text
    assert "time.sleep" in caplog.text  # where it is


@pytest.mark.slow
def test_an_environment_that_returns_late_is_an_error_as_well(scripted):
    class Late(scripted):
        def step(self, action):
            time.sleep(0.5)  # one call into C: nothing can be delivered before it is over
            return super().step(action)

    error, _ = fails(Loop(env=Late, hang_s=0.1))
    assert isinstance(error.__cause__, EnvironmentHangError)
    assert isinstance(error, ReactorError)
