"""Actions of every kind: what networks choose becomes what the environment takes, or is refused when the program is assembled."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("gymnasium")

import gymnasium
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv

from reactornb import Program
from reactornb.rl import A2C, A3C, APPO, DQN, IMPALA, PPO, QLearning, ReactorVectorEnv, spec_of
from reactornb.rl.errors import SpaceError
from reactornb.rl.policies import RandomPolicy
from reactornb.rl.policy_spaces import space_from_gymnasium
from reactornb.rl.recorded import same

ACTOR_CRITICS = {
    "PPO": lambda env: PPO(env=env, total_timesteps=64, n_envs=2, n_steps=8, batch_size=16, n_epochs=1, hidden=(8,), eval_episodes=2),
    "A2C": lambda env: A2C(env=env, total_timesteps=40, n_envs=2, hidden=(8,), eval_episodes=2),
    "A3C": lambda env: A3C(env=env, total_timesteps=40, n_actors=2, n_steps=5, hidden=(8,), eval_episodes=2),
    "IMPALA": lambda env: IMPALA(env=env, total_timesteps=40, n_envs=2, n_steps=5, hidden=(8,), eval_episodes=2),
    "APPO": lambda env: APPO(env=env, total_timesteps=64, n_envs=2, n_steps=8, batch_size=16, n_epochs=1, hidden=(8,), eval_episodes=2),
}  # fmt: skip

DISCRETES = {
    "one from 5": lambda: spaces.Discrete(3, start=5),
    "MultiDiscrete": lambda: spaces.MultiDiscrete([3, 4]),
    "MultiDiscrete of one": lambda: spaces.MultiDiscrete([3]),
    "MultiDiscrete in rows, from elsewhere": lambda: spaces.MultiDiscrete([[2, 3], [4, 2]], start=[[1, 0], [0, -5]]),
    "MultiDiscrete of int32": lambda: spaces.MultiDiscrete([2, 3], dtype=np.int32),
    "MultiBinary": lambda: spaces.MultiBinary(3),
    "MultiBinary in rows": lambda: spaces.MultiBinary([2, 2]),
    "Tuple": lambda: spaces.Tuple([spaces.Discrete(2, start=-1), spaces.MultiBinary(2)]),
    "Dict": lambda: spaces.Dict(
        a=spaces.Discrete(4), b=spaces.Dict(c=spaces.MultiDiscrete([2, 3]), d=spaces.Discrete(2))
    ),
}
BOXES = {
    "float64": lambda: spaces.Box(-0.1, 0.1, (2,), np.float64),
    "float16": lambda: spaces.Box(-0.1, 0.1, (2,), np.float16),
    "float32 in rows": lambda: spaces.Box(-2, 2, (2, 2)),
    "a number": lambda: spaces.Box(-2, 2, ()),
    "a float64": lambda: spaces.Box(-0.1, 0.1, (), np.float64),
    "without bounds": lambda: spaces.Box(-np.inf, np.inf, (2,)),
    "half bounded": lambda: spaces.Box(np.array([-1, -np.inf], np.float32), np.array([np.inf, 0], np.float32)),
    "int8": lambda: spaces.Box(-3, 5, (2,), np.int8),
    "uint8": lambda: spaces.Box(0, 255, (3,), np.uint8),
    "int32": lambda: spaces.Box(0, 3, (2,), np.int32),
    "int64 without bounds": lambda: spaces.Box(np.iinfo(np.int64).min, np.iinfo(np.int64).max, (2,), np.int64),
    "uint64 without bounds": lambda: spaces.Box(0, np.iinfo(np.uint64).max, (2,), np.uint64),
    "bool": lambda: spaces.Box(0, 1, (2,), bool),
}


class Takes(gymnasium.Env):
    """Takes members of its action space and nothing else; episodes of five steps."""

    def __init__(self, actions):
        self.observation_space = spaces.Box(-1, 1, (3,))
        self.action_space = actions()
        self.taken = []

    def seen(self):
        return self.np_random.uniform(-1, 1, 3).astype(np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return self.seen(), {}

    def step(self, action):
        assert self.action_space.contains(action), f"{action!r} is not in {self.action_space}"
        self.count += 1
        return self.seen(), float(self.np_random.random()), self.count == 5, False, {}


@pytest.mark.parametrize("kind", {**DISCRETES, **BOXES})
def test_what_a_network_may_choose_is_in_the_space_for_one_environment_and_for_several(kind):
    space = {**DISCRETES, **BOXES}[kind]()
    spec = spec_of(lambda: Takes(lambda: space))
    rng = np.random.default_rng(1)
    drawn, _ = RandomPolicy(spec).act(np.zeros((40, 3), np.float32), rng)
    if spec.is_box:
        drawn = np.concatenate(
            [drawn, 1e30 * rng.standard_normal((20, *spec.action_shape)).astype(np.float32), drawn + 0.5]
        )
    assert drawn.shape[1:] == spec.action_shape
    assert drawn.dtype == spec.action_dtype
    described = space_from_gymnasium(space)
    decode = spec.decode or described.decode
    if spec.n_actions is None:
        one_by_one = decode(drawn, False)
        assert all(space.contains(one) for one in one_by_one)
        together = decode(drawn, True)
        batch = gymnasium.vector.utils.batch_space(space, len(drawn))
        assert batch.contains(together)
        for one, row in zip(one_by_one, gymnasium.vector.utils.iterate(batch, together), strict=True):
            assert same(one, row)


@pytest.mark.parametrize("kind", DISCRETES)
def test_every_combination_of_choices_is_another_action(kind):
    space = DISCRETES[kind]()
    described = space_from_gymnasium(space)
    combinations = np.stack(np.meshgrid(*map(np.arange, described.choices), indexing="ij"), -1).reshape(
        -1, len(described.choices)
    )
    if isinstance(space, spaces.Discrete):
        return
    actions = described.decode(combinations, False)
    assert all(space.contains(one) for one in actions)
    assert len({repr(one) for one in actions}) == np.prod(described.choices) == len(actions)


def test_whole_numbers_of_a_box_are_rounded_and_cut_and_others_keep_their_exact_bounds():
    chosen = np.array([[-9.0, -0.6], [0.4, 2.6]], np.float32)
    ints = space_from_gymnasium(spaces.Box(-3, 2, (2,), np.int16)).decode(chosen, True)
    assert ints.dtype == np.int16
    assert ints.tolist() == [[-3, -1], [0, 2]]
    doubles = space_from_gymnasium(spaces.Box(-0.1, 0.1, (2,), np.float64)).decode(chosen, True)
    assert doubles.tolist() == [[-0.1, -0.1], [0.1, 0.1]]  # which no float32 is


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ACTOR_CRITICS)
@pytest.mark.parametrize("kind", {**DISCRETES, **BOXES})
def test_every_actor_critic_trains_with_actions_of_every_kind(kind, algorithm):
    actions = {**DISCRETES, **BOXES}[kind]
    if kind in ("int64 without bounds", "uint64 without bounds") and algorithm != "PPO":
        pytest.skip("one is enough")
    result = Program(ACTOR_CRITICS[algorithm](lambda: Takes(actions))).run(workers=1, seed=1)
    assert len(result.metrics["loss"]) >= 1
    assert len(result.metrics["eval_return"]) == 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*multi-dimensional MultiDiscrete")  # Gymnasium's, whenever it batches one
@pytest.mark.parametrize(
    "kind", ["MultiDiscrete in rows, from elsewhere", "MultiBinary", "Dict", "Tuple", "float64", "int8", "a float64"]
)
@pytest.mark.parametrize(
    "together", [SyncVectorEnv, lambda made: ReactorVectorEnv(made, workers=1)], ids=["Sync", "Reactor"]
)
def test_vector_environments_take_them_too(kind, together):
    actions = {**DISCRETES, **BOXES}[kind]
    result = Program(ACTOR_CRITICS["PPO"](lambda: together([lambda: Takes(actions)] * 2))).run(workers=1, seed=1)
    assert len(result.metrics["loss"]) >= 1


class Lock(gymnasium.Env):
    """Shows a combination of a MultiDiscrete; each number of it that is chosen is worth a third. Learnt within seconds, or not at all."""

    observation_space = spaces.Box(0, 1, (6,))
    action_space = spaces.MultiDiscrete([2, 2, 2], start=[1, 0, 0])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.wanted = self.np_random.integers(2, size=3)
        return np.eye(2, dtype=np.float32)[self.wanted].ravel(), {}

    def step(self, action):
        reward = float((action - self.action_space.start == self.wanted).mean())
        return self.reset()[0], reward, True, False, {}


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", [PPO, A2C])
def test_it_learns_to_choose_several_at_once(algorithm):
    settings = {PPO: {"n_steps": 50, "batch_size": 50}, A2C: {}}[algorithm]
    program = Program(algorithm(env=Lock, total_timesteps=8000, learning_rate=5e-3, eval_episodes=40, **settings))
    metrics = program.run(seed=3, workers=2).metrics
    assert np.mean(list(metrics["episode_return"])[:50]) < 0.7
    assert metrics["eval_mean"][-1] == 1.0


REFUSED = {
    "a Box among choices": (lambda: spaces.Tuple([spaces.Discrete(2), spaces.Box(-1, 1, (2,))]), r"Tuple\(Discrete\(2\), Box.*DiscretizeAction"),
    "a Graph": (lambda: spaces.Graph(spaces.Discrete(2), None), r"Graph.*ActionWrapper"),
    "a Sequence": (lambda: spaces.Sequence(spaces.Discrete(2)), r"Sequence.*ActionWrapper"),
    "a Text": (lambda: spaces.Text(3), r"Text.*ActionWrapper"),
    "one of several": (lambda: spaces.OneOf([spaces.Discrete(2), spaces.Discrete(3)]), r"OneOf.*ActionWrapper"),
}  # fmt: skip


@pytest.mark.parametrize("algorithm", [PPO, A2C, A3C, IMPALA, APPO, DQN])
@pytest.mark.parametrize("kind", REFUSED)
def test_actions_that_no_algorithm_takes_are_refused_with_the_wrapper_that_helps(kind, algorithm):
    actions, words = REFUSED[kind]
    with pytest.raises(SpaceError, match=words):
        Program(algorithm(env=lambda: Takes(actions)))


@pytest.mark.parametrize("kind", [kind for kind in DISCRETES if kind != "one from 5"])
def test_q_learning_of_one_number_refuses_several_and_says_how_to_number_them(kind):
    def counted():
        env = Takes(DISCRETES[kind])
        env.observation_space = spaces.Discrete(4)
        return env

    for algorithm in (DQN, QLearning):
        with pytest.raises(SpaceError, match=r"choices at once, among \(.*Use PPO.*ActionWrapper.*unravel_index"):
            Program(algorithm(env=counted))


def test_a_box_is_refused_by_dqn_with_the_wrapper_that_makes_it_discrete():
    with pytest.raises(SpaceError, match=r"Box of shape \(2, 2\).*gymnasium.wrappers.DiscretizeAction"):
        Program(DQN(env=lambda: Takes(BOXES["float32 in rows"])))
    wrapped = lambda: gymnasium.wrappers.DiscretizeAction(Takes(BOXES["float32 in rows"]), 2)  # noqa: E731 - the message's own fix
    assert spec_of(wrapped).n_actions == 16


@pytest.mark.parametrize("kind", DISCRETES)
def test_what_needs_a_box_says_what_came(kind):
    spec = spec_of(lambda: Takes(DISCRETES[kind]))
    with pytest.raises(SpaceError, match=r"SAC chooses numbers from a Box.*Use PPO"):
        spec.need_box("SAC")
