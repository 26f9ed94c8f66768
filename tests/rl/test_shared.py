"""One environment object in two places is an error that names the places."""

import gc

import pytest

np = pytest.importorskip("numpy")
gymnasium = pytest.importorskip("gymnasium")

from gymnasium import spaces  # noqa: E402

from reactornb import Bank, Program, Reactor, Timer, ms, reaction, startup  # noqa: E402
from reactornb.errors import ReactionError  # noqa: E402
from reactornb.rl.envs import make_envs, spec_of  # noqa: E402
from reactornb.rl.errors import SharedEnvironmentError  # noqa: E402
from reactornb.rl.shared import _claims, innermost  # noqa: E402
from reactornb.rl.storage import Trajectory  # noqa: E402
from reactornb.rl.vector import ReactorVectorEnv  # noqa: E402
from reactornb.rl.watchdog import Watch  # noqa: E402


class Counting(gymnasium.Env):
    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self):
        self.closed = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action):
        return np.zeros(2, np.float32), 1.0, False, False, {}

    def close(self):
        self.closed += 1


class Around(gymnasium.Env):
    """A wrapper that is no gymnasium.Wrapper."""

    observation_space, action_space = Counting.observation_space, Counting.action_space

    def __init__(self, env):
        self.env = env

    def reset(self, **options):
        return self.env.reset(**options)

    def step(self, action):
        return self.env.step(action)

    def close(self):
        self.env.close()


def limited(env):
    return gymnasium.wrappers.TimeLimit(env, 10)


@pytest.mark.parametrize("wrap", [lambda env: env, limited, Around, lambda env: limited(Around(limited(env)))])
def test_a_vector_environment_says_which_of_its_functions_return_one_environment(wrap):
    shared = Counting()
    fns = [Counting, lambda: wrap(shared), Counting, lambda: wrap(shared)]
    with pytest.raises(
        SharedEnvironmentError, match=r"env_fns\[1, 3\] is one Counting.*a function that makes"
    ) as caught:
        ReactorVectorEnv(fns)
    assert caught.value.places == ("env_fns[1]", "env_fns[3]")
    assert shared.closed == 1


def test_the_usual_mistake_names_all_entries():
    env = gymnasium.make("CartPole-v1")
    with pytest.raises(SharedEnvironmentError, match=r"env_fns\[0, 1, 2, 3\] is one CartPoleEnv"):
        ReactorVectorEnv([lambda: env] * 4)


def test_environments_of_their_own_are_let_be():
    envs = ReactorVectorEnv([lambda: limited(Counting())] * 3, workers=1)
    envs.reset(seed=1)
    envs.close()


class Player(Reactor):
    make: object
    n_envs: int = 1

    @reaction(startup)
    def on_startup(self):
        self.envs = make_envs(self.make, self.n_envs, watch=Watch(self.full_name, "it", 0))


class Judge(Player):
    pass


def test_two_functions_of_one_rollout_that_return_one_environment_are_an_error():
    shared = Counting()
    with pytest.raises(ReactionError, match=r"environments \[0, 1\] is one Counting") as caught:
        Program(Player(make=lambda: limited(shared), n_envs=2)).run()
    assert isinstance(caught.value.__cause__, SharedEnvironmentError)


@pytest.mark.parametrize("workers", [1, 2])
def test_members_of_a_bank_and_other_reactors_are_named(workers):
    shared = Counting()

    class Both(Reactor):
        players = Bank(Player, 2, make=Counting)
        player = Player(make=lambda: limited(shared))
        judge = Judge(make=lambda: shared)

    with pytest.raises(
        ReactionError, match=r"both\.(player|judge) and both\.(player|judge) use one environment"
    ) as caught:
        Program(Both).run(workers=workers)
    assert sorted(caught.value.__cause__.places) == ["both.judge", "both.player"]

    class Banked(Reactor):
        players = Bank(Player, 3, make=lambda: shared)

    with pytest.raises(ReactionError, match=r"banked\.players\[\d\] and banked\.players\[\d\]"):
        Program(Banked).run(workers=workers)


def test_a_vector_environment_around_one_that_another_reactor_uses_is_found():
    shared = Counting()

    class Both(Reactor):
        player = Player(make=lambda: shared)
        judge = Judge(make=lambda: gymnasium.vector.SyncVectorEnv([lambda: limited(shared)]))

    with pytest.raises(ReactionError, match="use one environment object"):
        Program(Both).run(workers=1)


def test_one_environment_in_one_run_after_the_other_is_no_mistake():
    shared = Counting()
    for _ in range(2):
        Program(Player(make=lambda: shared)).run()

    class Again(Player):
        t = Timer(ms(1), ms(1))

        @reaction(t)
        def on_t(self):
            self.envs = make_envs(self.make, 1, watch=Watch(self.full_name, "it", 0))

    Program(Again(make=lambda: shared)).run(until=ms(3), fast=True)
    assert innermost(limited(shared)) is shared


def test_what_is_gone_is_forgotten():
    Program(Player(make=Counting)).run()
    gc.collect()
    Program(Player(make=Counting)).run()
    assert sum(owner == "player" for _, _, owner in _claims.values()) == 1


def test_as_many_environments_or_steps_as_would_only_fill_memory_are_refused():
    spec = spec_of(Counting)
    with pytest.raises(ValueError, match=r"n_envs is a whole number from 1 to 100,000, not 10000000"):
        make_envs(Counting, 10**7, watch=Watch("test", "it", 0))
    with pytest.raises(ValueError, match=r"n_steps of 10,000,000 in 100 environments.*100,000,000"):
        Trajectory.empty(spec, 10**7, 100)
    assert Trajectory.empty(spec, 10, 100).rewards.shape == (10, 100)
