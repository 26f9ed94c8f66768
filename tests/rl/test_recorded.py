"""Environments that hide their state are brought back by their own steps."""

import pytest

np = pytest.importorskip("numpy")
gymnasium = pytest.importorskip("gymnasium")

from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv  # noqa: E402
from gymnasium.wrappers import NormalizeObservation, TimeLimit  # noqa: E402

from reactornb.rl import recorded  # noqa: E402
from reactornb.rl.errors import EnvironmentStateError  # noqa: E402
from reactornb.rl.recorded import BLOCK, Recorded, RecordedGames, Tape, by_replay, same  # noqa: E402
from reactornb.rl.toy_text import blackjack  # noqa: E402
from reactornb.rl.vector import ReactorVectorEnv  # noqa: E402


class Hidden(gymnasium.Env):
    """A walk whose place nobody can read, as that of a physics engine."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gymnasium.spaces.Discrete(3)
    wanders = 0.0  # what is hidden from generator and actions, too

    def __init__(self):
        place = [0.0]
        self.lock = memoryview(bytearray(8))  # cannot be saved
        self.at = lambda: place[0]
        self.move = lambda by: place.__setitem__(0, place[0] + by)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.move(self.np_random.random() - self.at() + type(self).wanders)
        return self.seen(), {}

    def seen(self):
        return np.array([self.at(), self.np_random.random()])

    def step(self, action):
        self.move((int(action) - 1) * self.np_random.random())
        return self.seen(), self.at(), abs(self.at()) > 2, False, {}


def walk(env, rng, steps):
    seen = []
    for _ in range(steps):
        observation, reward, terminated, truncated, _ = env.step(int(rng.integers(3)))
        seen.append((observation.tobytes(), float(reward)))
        if terminated or truncated:
            seen.append(env.reset()[0].tobytes())
    return seen


@pytest.mark.parametrize("steps", [0, 1, 7, 60])
def test_an_environment_is_where_it_was_after_its_steps_are_taken_again(steps):
    env, rng = Recorded(Hidden()), np.random.default_rng(0)
    env.reset(seed=5)
    walk(env, rng, steps)
    saved = env.save()
    other = Recorded(Hidden())
    other.reset(seed=77)
    walk(other, np.random.default_rng(3), 9)
    other.load(saved)
    again = np.random.default_rng(0)
    again.bit_generator.state = rng.bit_generator.state
    assert walk(other, again, 50) == walk(env, rng, 50)


def test_an_environment_that_was_never_reset_gets_the_generator_of_the_other():
    env, rng = Recorded(Hidden()), np.random.default_rng(0)
    env.reset(seed=5)
    walk(env, rng, 3)
    env.reset()
    walk(env, rng, 3)
    other = Recorded(Hidden())
    other.load(env.save())
    assert walk(other, np.random.default_rng(1), 50) == walk(env, np.random.default_rng(1), 50)
    untouched = Recorded(Hidden())
    untouched.load(Recorded(Hidden()).save())
    assert untouched.tape.resets == []


def test_only_the_steps_since_the_last_reset_are_kept():
    env = Recorded(Hidden())
    env.reset(seed=1)
    for _ in range(5):
        env.step(1)
    env.reset()
    env.step(2)
    assert len(env.tape) == 1
    assert env.tape.resets == [(0, None, None)]


def test_an_environment_that_depends_on_more_is_refused(monkeypatch):
    env = Recorded(Hidden())
    env.reset(seed=1)
    env.step(2)
    saved = env.save()
    monkeypatch.setattr(Hidden, "wanders", 0.5)
    other = Recorded(Hidden())
    with pytest.raises(EnvironmentStateError, match=r"Hidden: .*another observation.*save_state"):
        other.load(saved)


def test_the_recorder_goes_beneath_all_wrappers(monkeypatch):
    monkeypatch.setattr(recorded, "_why_not", lambda _: ValueError("it has a lock"))
    inner = Hidden()
    env = NormalizeObservation(TimeLimit(inner, 10))
    assert recorded.recorded(env, 3) is env
    assert isinstance(env.env.env, Recorded)
    assert env.unwrapped is inner
    assert recorded.recorded(env, 3).env.env.env is inner  # not twice
    assert isinstance(recorded.recorded(Hidden(), 3), Recorded)


def test_a_vector_environment_is_asked_all_again():
    def make():
        return SyncVectorEnv([Hidden] * 2, autoreset_mode=AutoresetMode.NEXT_STEP)

    def go(envs, rng, steps):
        return [tuple(x.tobytes() for x in envs.step(rng.integers(3, size=2))[:4]) for _ in range(steps)]

    envs, rng = by_replay(make)(), np.random.default_rng(1)
    assert isinstance(envs, RecordedGames)
    envs.reset(seed=1)
    envs.reset(seed=4)
    go(envs, rng, 30)
    envs.reset(options={"reset_mask": np.array([True, False])})
    go(envs, rng, 30)
    saved = envs.save()
    other = by_replay(make)()
    other.reset(seed=9)
    other.load(saved)
    again = np.random.default_rng(0)
    again.bit_generator.state = rng.bit_generator.state
    assert go(other, again, 40) == go(envs, rng, 40)


def test_environments_in_other_processes_are_refused_with_what_to_do_instead():
    apart = object.__new__(AsyncVectorEnv)
    with pytest.raises(
        EnvironmentStateError, match=r"AsyncVectorEnv: .*other processes.*ReactorVectorEnv.*by_replay"
    ) as caught:
        recorded.need_readable(apart)
    assert caught.value.env == "AsyncVectorEnv"
    recorded.need_readable(RecordedGames(SyncVectorEnv([Hidden])))


@pytest.mark.parametrize(
    "make", [lambda: SyncVectorEnv([Hidden] * 3), lambda: ReactorVectorEnv([Hidden] * 3, workers=1)]
)
def test_a_vector_environments_own_ones_are_recorded_where_they_must_be(make):
    envs = make()
    envs.reset(seed=2)
    recorded.need_readable(envs, 2)
    assert all(type(env) is Recorded for env in envs.envs)
    rng = np.random.default_rng(0)
    for _ in range(5):
        envs.step(rng.integers(3, size=3))
    other = Recorded(Hidden())
    other.load(envs.envs[1].save())
    assert walk(other, np.random.default_rng(1), 9) == walk(envs.envs[1], np.random.default_rng(1), 9)
    envs.close()


@pytest.mark.parametrize(
    "make",
    [
        lambda i: i % 3,
        lambda i: -i,
        lambda i: 2**70,
        lambda i: np.array([i % 5, 2]),
        lambda i: np.array([0.5 * i], np.float32),
        lambda i: np.zeros(i % 3),
        lambda i: {"a": i},
    ],
)
@pytest.mark.parametrize("count", [0, 3, BLOCK, 2 * BLOCK + 5])
def test_actions_of_any_kind_come_back_as_they_were(make, count):
    tape = Tape()
    tape.begin(1, None)
    for i in range(count):
        tape.add(make(i))
    other = Tape()
    other.load(tape.save())
    actions = list(other.actions())
    assert len(actions) == len(other) == count
    for i, action in enumerate(actions):
        assert type(action) is type(make(i))
        assert same(action, make(i))
        assert getattr(action, "dtype", None) == getattr(make(i), "dtype", None)


def test_a_long_tape_of_games_takes_a_byte_for_an_action():
    tape = Tape()
    tape.begin(1, None)
    for _ in range(BLOCK):
        tape.add(np.array([3, 17, 0], np.int32))
    (block,) = tape.save()["blocks"]
    assert block[2].nbytes == 3 * BLOCK


def test_a_generator_that_draws_ahead_is_saved_where_it_is_for_everybody_else():
    def cards(env, steps):
        seen = []
        for _ in range(steps):
            observation, reward, ended, *_ = env.step(1)
            seen.append((observation, reward))
            if ended:
                seen.append(env.reset()[0])
        return seen

    one, two, untouched = blackjack(), blackjack(), blackjack()
    for env, seed in ((one, 5), (two, 6), (untouched, 5)):
        env.reset(seed=seed)
        cards(env, 7)
    two.unwrapped.np_random.load(one.unwrapped.np_random.save())
    for name in ("player", "dealer"):
        setattr(two.unwrapped, name, list(getattr(one.unwrapped, name)))
    assert cards(two, 400) == cards(one, 400) == cards(untouched, 400)


def test_an_environment_of_many_agents_is_brought_back_by_its_steps():
    pytest.importorskip("pettingzoo")
    from reactornb.rl.parallel_envs import RecordedParallel
    from reactornb.rl.traffic_junction import TrafficJunction

    def drive(env, rng, steps):
        seen = []
        for _ in range(steps):
            if not env.agents:
                env.reset()
            observations, rewards, *_ = env.step({agent: int(rng.integers(2)) for agent in env.agents})
            seen.append(([o.tobytes() for o in observations.values()], rewards))
        return seen

    one, other = RecordedParallel(TrafficJunction("easy")), RecordedParallel(TrafficJunction("easy"))
    for env, seed in ((one, 3), (other, 8)):
        env.reset(seed=seed)
        drive(env, np.random.default_rng(seed), 33)
    assert one.possible_agents == one.unwrapped.possible_agents
    other.load(one.save())
    assert drive(other, np.random.default_rng(1), 50) == drive(one, np.random.default_rng(1), 50)
