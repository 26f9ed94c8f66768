"""The commonest mistakes in environments of one's own: the error says which environment, which call, what came, and how to mend it.

The same mistakes are given to a rollout, an evaluator and a vector environment: one checker words them all.
"""

from functools import partial

import pytest

np = pytest.importorskip("numpy")
gymnasium = pytest.importorskip("gymnasium")

from gymnasium import spaces  # noqa: E402
from gymnasium.vector import SyncVectorEnv  # noqa: E402

from reactornb.rl.checks import nearest_id  # noqa: E402
from reactornb.rl.envs import make_envs, spec_of  # noqa: E402
from reactornb.rl.errors import ContractError, SpaceError, UnknownEnvironmentError  # noqa: E402
from reactornb.rl.storage import Trajectory  # noqa: E402
from reactornb.rl.vector import ReactorVectorEnv  # noqa: E402
from reactornb.rl.watchdog import Watch  # noqa: E402


class Right(gymnasium.Env):
    """An environment that is as it should be; each mistake below overrides one part of it."""

    observation_space = spaces.Box(-10, 10, (4,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self):
        self.count = 0

    def seen(self):
        return np.full(4, 0.5, np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.seen(), {}

    def step(self, action):
        self.count += 1
        return self.seen(), self.reward(), self.count % 5 == 0, False, {}

    def reward(self):
        return 1.0


def mistake(**parts):
    """A class with those methods or attributes of `Right` replaced."""
    return type("Wrong", (Right,), parts)


def rollout(env, steps=8):
    """What a rollout does with two environments."""
    envs = make_envs(env, 2, watch=Watch("test", "it", 0))
    played = Trajectory.empty(envs.spec, steps, 2)
    envs.reset(1, played.observations[0])
    for t in range(steps):
        played.actions[t] = 0
        envs.step(t, played)


def vectored(env, steps=8):
    """What a vector environment does with them."""
    envs = ReactorVectorEnv([env, env], workers=2)
    envs.reset(seed=1)
    for _ in range(steps):
        envs.step([0, 0])


MISTAKES = {
    "a list": ({"seen": lambda self: [0.1] * 4}, "reset returned an observation that is a list of shape (4,), not an array", "np.asarray"),
    "a nested list": ({"seen": lambda self: [[1, 2], [3]]}, "a list of unequal rows, not an array", "np.asarray"),
    "a tuple": ({"seen": lambda self: (0.1,) * 4}, "is a tuple of shape (4,), not an array", "np.asarray"),
    "None": ({"seen": lambda self: None}, "an observation that is None", "float32 of shape (4,)"),
    "another shape": ({"seen": lambda self: np.zeros((2, 2), np.float32)}, "of shape (2, 2); its space says (4,)", "Mend"),
    "a NaN": ({"seen": lambda self: np.array([0, 0, np.nan, 0], np.float32)}, "element [2] = nan", "division by 0"),
    "an infinity": ({"seen": lambda self: np.array([0, -np.inf, 0, 0])}, "element [1] = -inf", "division by 0"),
    "out of bounds": ({"seen": lambda self: np.full(4, 11, np.float32)}, "element [0] = 11.0, outside the bounds of its space, -10.0 to 10.0", "Mend"),
    "complex numbers": ({"seen": lambda self: np.zeros(4, complex)}, "of dtype complex128", "dtype=np.float32"),
    "floats for bytes": ({"observation_space": spaces.Box(0, 255, (4,), np.uint8)}, "of dtype float32; its space says uint8", "or declare the space with dtype=float32"),
    "strings": ({"seen": lambda self: np.array(list("abcd"))}, "of dtype <U1", "dtype=np.float32"),
    "reset: the observation alone": ({"reset": lambda self, seed=None, options=None: self.seen()}, "reset returns (observation, info); it returned an array float32 of shape (4,), the observation alone", "return observation, {}"),
    "reset: nothing": ({"reset": lambda self, seed=None, options=None: None}, "reset returns (observation, info); it returned None", "return observation, {}"),
    "reset: an info that is none": ({"reset": lambda self, seed=None, options=None: (self.seen(), None)}, "the info of reset is a dict; it returned None", "Return {}"),
    "step: four values": ({"step": lambda self, action: (self.seen(), 1.0, False, {})}, "it returned a tuple of 4: (ndarray, float, bool, dict)", "Gym before 0.26"),
    "step: nothing": ({"step": lambda self, action: None}, "it returned None", "return observation, reward, terminated"),
    "step: an order of its own": ({"step": lambda self, action: (self.seen(), 1.0, {}, False, False)}, "terminated is True or False; it returned {}", "in this order"),
    "step: an info that is none": ({"step": lambda self, action: (self.seen(), 1.0, False, False, [])}, "the info of step is a dict; it returned []", "Return {}"),
    "a reward in an array": ({"reward": lambda self: np.array([1.0])}, "a reward is one number, such as 1.0; it returned an array float64 of shape (1,)", "float(reward[0])"),
    "no reward": ({"reward": lambda self: None}, "a reward is one number, such as 1.0; it returned None", "float(reward)"),
    "a reward of words": ({"reward": lambda self: "1"}, "it returned '1' (a str)", "float(reward)"),
    "a reward that is NaN": ({"reward": lambda self: float("nan")}, "a reward is a finite number; it returned nan", "division by 0"),
}  # fmt: skip


@pytest.mark.parametrize("plays", [rollout, vectored])
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_at_once_is_named_with_what_came_and_the_fix(name, plays):
    parts, words, fix = MISTAKES[name]
    with pytest.raises(ContractError) as caught:
        plays(mistake(**parts))
    assert words in str(caught.value)
    assert fix in str(caught.value)
    assert "Wrong" in str(caught.value)
    assert "environment 0" in str(caught.value)
    assert caught.value.env == 0


class Listed(Right):
    def seen(self):
        return [0.0] * 4

    def step(self, action):
        return super().step(action)


def test_the_message_names_the_class_s_file_and_line():
    with pytest.raises(ContractError, match=r"Listed \(.*test_checks\.py, line \d+\), environment 0: its reset"):
        rollout(Listed)


LATER = {
    "step: four values": {"step": lambda self, action: Right.step(self, action)[: 5 if self.count < 4 else 4]},
    "reset: the observation alone": {
        "reset": lambda self, seed=None, options=None: self.seen() if self.count else (self.seen(), {})
    },
    "a reward in an array": {"reward": lambda self: 1.0 if self.count < 3 else np.array([1.0, 2.0])},
}


@pytest.mark.parametrize("plays", [rollout, vectored])
@pytest.mark.parametrize("name", LATER)
def test_a_mistake_after_many_right_steps_is_worded_the_same(name, plays):
    with pytest.raises(ContractError, match=r"reset returns|step returns|a reward is one number") as caught:
        plays(mistake(**LATER[name]))
    assert caught.value.env == 0
    assert caught.value.call == ("reset" if name.startswith("reset") else "step")


class Poisoned(Right):
    """From the third step on its observation, or its reward, is no finite number."""

    def __init__(self, seen=0.0, reward=0.0):
        super().__init__()
        self.poison = seen, reward

    def seen(self):
        return super().seen() + (np.float32(self.poison[0]) if self.count >= 3 else np.float32(0))

    def reward(self):
        return 1.0 + (self.poison[1] if self.count >= 3 else 0.0)


@pytest.mark.parametrize(
    ("poison", "words"),
    [
        ({"seen": np.nan}, r"element \[0\] of its observation is nan"),
        ({"seen": np.inf}, r"element \[0\] of its observation is inf"),
        ({"reward": np.nan}, "its reward is nan"),
        ({"reward": -np.inf}, "its reward is -inf"),
    ],
)
def test_a_number_that_turns_infinite_later_names_its_environment_in_a_vector_environment(poison, words):
    made = [Right, partial(Poisoned, **poison), Right]
    envs = ReactorVectorEnv(made, workers=2)
    envs.reset(seed=1)
    envs.step([0, 0, 0])
    envs.step([0, 0, 0])
    with pytest.raises(ContractError, match=f"Poisoned, environment 1: {words}") as caught:
        envs.step([0, 0, 0])
    assert caught.value.env == 1
    assert envs.closed
    passed = ReactorVectorEnv(made, workers=1, finite=False)
    passed.reset(seed=1)
    seen = [passed.step([0, 0, 0]) for _ in range(3)][-1]
    assert not (np.isfinite(seen[0]).all() and np.isfinite(seen[1]).all())
    passed.close()


def test_what_an_environment_raises_keeps_its_type_and_says_whose_it_is_and_that_its_action_was_none():
    class Raises(Right):
        def step(self, action):
            if self.count == 2:
                raise KeyError("door")
            return super().step(action)

    with pytest.raises(KeyError, match="door") as caught:
        rollout(Raises)
    assert "Raises" in caught.value.__notes__[0]
    assert "environment 0 in its step" in caught.value.__notes__[0]
    envs = ReactorVectorEnv([Raises, Raises], workers=1)
    envs.reset(seed=1)
    envs.step([0, 1])
    envs.step([0, 1])
    with pytest.raises(KeyError) as caught:
        envs.step([7, 1])
    assert "its action was 7 (a int), which is not in its action space Discrete(2)" in caught.value.__notes__[0]


@pytest.mark.parametrize("action", [2, -1, 0.5])
def test_a_first_action_outside_its_space_is_refused_before_the_environment_sees_it(action):
    envs = ReactorVectorEnv([Right, Right], workers=1)
    envs.reset(seed=1)
    with pytest.raises(ContractError, match=r"environment 1: the action .* is not in its action space, Discrete\(2\)"):
        envs.step([0, action])


class Key(Right):
    observation_space = spaces.Dict(a=spaces.Discrete(3), b=spaces.Box(0, 1, (2,), np.float32))
    shown = None

    def seen(self):
        return self.shown


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        ({"a": 1}, "without 'b'; its space says a dict of 'a', 'b'"),
        ({"a": 1, "b": np.zeros(2, np.float32), "c": 0}, "with 'c'"),
        ({"a": 3, "b": np.zeros(2, np.float32)}, r"\['a'\] that is 3 \(a int\); its space says a whole number from 0 to 2"),
        ({"a": 1, "b": np.array([0, 2], np.float32)}, r"\['b'\] with element \[1\] = 2.0, outside the bounds"),
        (np.zeros(3, np.float32), "is an array float32 of shape"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("plays", [rollout, vectored])
def test_parts_of_a_dict_are_named_by_their_key(shown, words, plays):
    with pytest.raises(ContractError, match=words):
        plays(type("Wrong", (Key,), {"shown": shown}))


@pytest.mark.parametrize(
    ("space", "shown", "words"),
    [
        (spaces.Discrete(4, start=2), 6, "a whole number from 2 to 5"),
        (spaces.Discrete(4), np.float32(1.0), "a whole number from 0 to 3"),
        (spaces.MultiDiscrete([2, 3]), np.array([1, 3]), r"element \[1\] = 3, outside the bounds of its space, 0 to 2"),
        (spaces.MultiBinary(2), np.array([0, 2]), "0 or 1"),
        (spaces.Tuple([spaces.Discrete(2)] * 2), (0, 1, 1), "its space says a tuple of 2"),
        (spaces.Box(0, 9, (2,), np.int8), np.array([0, 10], np.int8), "outside the bounds of its space, 0 to 9"),
    ],
)
def test_values_outside_spaces_of_other_kinds_are_named(space, shown, words):
    with pytest.raises(ContractError, match=words):
        rollout(mistake(observation_space=space, seen=lambda self: shown))


class Own(spaces.Space):
    """A space of one's own that says nothing of itself."""

    def __init__(self):
        super().__init__((2,), np.float32)


def test_a_space_of_one_s_own_is_refused_by_name_when_the_program_is_assembled():
    with pytest.raises(SpaceError, match=r"the observations of Wrong.* are .*Own.*ObservationWrapper"):
        spec_of(mistake(observation_space=Own()))
    with pytest.raises(SpaceError, match=r"the actions of Wrong.* are .*Own"):
        spec_of(mistake(action_space=Own()))
    with pytest.raises(SpaceError, match="has no observation_space"):
        spec_of(mistake(observation_space=None))


def test_an_instance_is_refused_with_the_id_or_function_to_give_instead():
    env = gymnasium.make("CartPole-v1")
    for use in (spec_of, lambda e: ReactorVectorEnv([e, e])):
        with pytest.raises(
            UnknownEnvironmentError, match=r'CartPole-v1 is an environment, not a way to make one.*"CartPole-v1"'
        ):
            use(env)
        with pytest.raises(UnknownEnvironmentError, match=r"lambda: Right\(…\)"):
            use(Right())
    with pytest.raises(UnknownEnvironmentError, match="is an environment, not a way"):
        spec_of(SyncVectorEnv([Right]))


def needs(size, *, colour):
    return Right()


def test_functions_that_cannot_be_called_or_return_no_environment_are_named_with_cell_and_line():
    def forgets():
        Right()

    with pytest.raises(
        UnknownEnvironmentError, match=r"forgets \(.*test_checks.py, line \d+\) made None: does it lack its return"
    ):
        spec_of(forgets)
    with pytest.raises(UnknownEnvironmentError, match=r"environment 1 made None"):
        ReactorVectorEnv([Right, forgets])
    with pytest.raises(
        UnknownEnvironmentError, match=r"needs size, colour.*functools.partial\(needs, size=…, colour=…\)"
    ):
        spec_of(needs)
    assert spec_of(partial(needs, 3, colour="red")).observation_shape == (4,)
    with pytest.raises(UnknownEnvironmentError, match="returned the class Right, not an environment: return"):
        spec_of(lambda: Right)
    for wrong in (None, 5, ["CartPole-v1"]):
        with pytest.raises(
            UnknownEnvironmentError, match="given as a Gymnasium id or a function that makes it, not as"
        ):
            spec_of(wrong)
    with pytest.raises(UnknownEnvironmentError, match=r'Give a function: lambda: gymnasium.make\("CartPole-v1"\)'):
        ReactorVectorEnv(["CartPole-v1"] * 2)


def test_an_unknown_id_is_answered_with_the_nearest_one():
    assert "CartPole-v1" in nearest_id("Cartpole-v1")
    with pytest.raises(UnknownEnvironmentError, match='Did you mean "Acrobot-v1"'):
        spec_of("Acrobat-v1")
    with pytest.raises(UnknownEnvironmentError, match="pprint_registry"):
        spec_of("NothingOfThatKind-v0")
