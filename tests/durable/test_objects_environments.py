"""Environments of Gymnasium in the middle of an episode, wrapped, restored into fresh ones: the same steps follow."""

import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium")

from gymnasium.wrappers import (  # noqa: E402
    NormalizeObservation,
    NormalizeReward,
    RecordEpisodeStatistics,
    TimeLimit,
)
from standing_reactors import carried_one  # noqa: E402

from reactornb import Reactor  # noqa: E402


class Playing(Reactor):
    """Plays an environment by chance; `make` of a subclass makes it."""

    def begin(self):
        self.env = self.make()
        self.env.reset(seed=3)
        self.env.action_space.seed(4)

    def play(self, count):
        played = []
        for _ in range(count):
            seen, reward, terminated, truncated, info = self.env.step(self.env.action_space.sample())
            episode = info.get("episode", {})  # its time is the clock's
            played.append((repr(seen), reward, terminated, truncated, episode.get("r"), episode.get("l")))
            if terminated or truncated:
                played.append(repr(self.env.reset()))
        return played


@pytest.mark.slow
def test_a_wrapped_cart_pole_goes_on_for_500_steps():
    class Main(Playing):
        def make(self):
            inner = gymnasium.make("CartPole-v1").unwrapped
            return NormalizeReward(NormalizeObservation(RecordEpisodeStatistics(TimeLimit(inner, 100))))

    one, other = carried_one(Main, lambda one: one.play(137))
    assert one.play(500) == other.play(500)


@pytest.mark.parametrize(
    "name",
    ["Acrobot-v1", "Pendulum-v1", "MountainCar-v0", "FrozenLake-v1", "Blackjack-v1", "CliffWalking-v1", "Taxi-v4"],
)
def test_an_environment_of_gymnasium_goes_on(name):
    class Main(Playing):
        def make(self):
            return gymnasium.make(name)

    one, other = carried_one(Main, lambda one: one.play(37))
    assert one.play(100) == other.play(100)


def test_several_in_a_sync_vector_environment_go_on():
    class Main(Playing):
        def make(self):
            return gymnasium.make_vec("CartPole-v1", num_envs=3, vectorization_mode="sync")

        def play(self, count):
            played = []
            for _ in range(count):
                seen, rewards, terminated, truncated, _ = self.env.step(self.env.action_space.sample())
                played.append((seen.tobytes(), rewards.tobytes(), terminated.tobytes(), truncated.tobytes()))
            return played

    one, other = carried_one(Main, lambda one: one.play(37))
    assert one.play(100) == other.play(100)


def test_an_environment_that_saves_itself_is_asked():
    class Hidden(gymnasium.Env):
        action_space = observation_space = gymnasium.spaces.Discrete(2)

        def __init__(self):
            self.stream = (i for i in range(1000))  # which nobody can save
            self.at = 0

        def step(self, action):
            self.at = next(self.stream)
            return 0, float(self.at), False, False, {}

        def save_state(self):
            return {"at": self.at, "random": self.np_random}

        def load_state(self, state):
            self.at = state["at"]
            self.stream = iter(range(self.at + 1, 1000))
            self.np_random = state["random"]

    class Main(Playing):
        def make(self):
            return Hidden()

    one, other = carried_one(Main, lambda one: one.play(37))
    assert one.play(100) == other.play(100)
    assert one.env.np_random.random() == other.env.np_random.random()


@pytest.mark.slow
def test_an_emulator_with_sticky_actions_goes_on():
    pytest.importorskip("ale_py")

    class Main(Playing):
        def make(self):
            import ale_py

            gymnasium.register_envs(ale_py)
            return gymnasium.make("ALE/Pong-v5", obs_type="ram")

        def play(self, count):
            played = []
            for _ in range(count):
                seen, reward, *ended, _ = self.env.step(self.env.action_space.sample())
                played.append((seen.tobytes(), reward, ended))
            return played

    one, other = carried_one(Main, lambda one: one.play(60))
    assert np.all([a == b for a, b in zip(one.play(200), other.play(200), strict=True)])
