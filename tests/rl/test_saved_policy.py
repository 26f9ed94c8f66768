"""`save_policy` and `load_policy`: a loaded policy acts as the one that was trained, of every program that has one, in any process."""

import functools
import json
import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("gymnasium")

import gymnasium
from cut_keeper import Copies, kept
from gymnasium import spaces
from policies_made import FRAMES, MIXED, TWO, blueprints, content, frames, meaning_damaged, policy
from stepping import settle

import reactornb
from reactornb import Bank, Output, Program, Reactor, Tag, connect, load_policy, ms, reaction, save_policy, startup
from reactornb.rl import A2C, A3C, APPO, DDPG, DQN, IMPALA, PPO, SAC, TD3, QLearning, Rollout
from reactornb.rl.errors import DamagedPolicyError, ObservationError, PolicyNotSavableError, SpaceError
from reactornb.rl.policies import CategoricalPolicy, TorchForward
from reactornb.rl.policy_blueprint import Blueprint
from reactornb.rl.saved_policy import policy_from

MANY = 10_000


class Shown(gymnasium.Env):
    """Observations drawn from a space, whatever is done; episodes of ten steps; nothing to be gained, so that first policies last."""

    def __init__(self, seen, acted):
        self.observation_space, self.action_space = seen, acted

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.t += 1
        return self.observation_space.sample(), 0.0, self.t % 10 == 0, False, {}


def shown(seen, acted):
    """A function that makes one; spaces of its own, which have generators."""
    return lambda: Shown(seen(), acted())


ONE = functools.partial(spaces.Box, -1.0, 1.0, (1,), np.float32)
PAIR = functools.partial(spaces.Discrete, 2)
DICT = lambda: spaces.Dict(  # noqa: E731 - one of a row
    {
        "a": spaces.Box(-1, 1, (2,), np.float32),
        "b": spaces.Discrete(3, start=2),
        "c": spaces.MultiDiscrete([2, 3]),
        "d": spaces.MultiBinary(2),
    }
)
PICTURE = lambda: spaces.Dict(  # noqa: E731 - one of a row
    {
        "a": spaces.Box(-1, 1, (2,), np.float32),
        "b": spaces.Box(0, 255, (36, 40, 3), np.uint8),
        "c": spaces.Box(-5, 5, (1,), np.float32),
    }
)
WHOLE = functools.partial(spaces.Box, -7, 20, (2, 2), np.int16)
FRAME = functools.partial(spaces.Box, 0, 255, (36, 36), np.uint8)

SHORT = {"total_timesteps": 256, "n_envs": 2, "n_steps": 32, "eval_episodes": 2}
REPLAYED = {"total_timesteps": 400, "learning_starts": 100, "eval_episodes": 2, "hidden": (16,)}
PROGRAMS = {
    "ppo": lambda: PPO(env="CartPole-v1", **SHORT),
    "ppo_continuous": lambda: PPO(env="Pendulum-v1", **SHORT),
    "ppo_box_of_two_rows": lambda: PPO(env=shown(ONE, lambda: spaces.Box(-0.5, 0.25, (2, 3), np.float64)), **SHORT),
    "ppo_whole_actions": lambda: PPO(env=shown(ONE, lambda: spaces.Box(-3, 5, (2,), np.int16)), **SHORT),
    "ppo_multidiscrete_actions": lambda: PPO(env=shown(ONE, lambda: spaces.MultiDiscrete([[2, 3], [4, 2]], start=[[1, 0], [0, -5]])), **SHORT),
    "a2c_multibinary_actions": lambda: A2C(env=shown(ONE, lambda: spaces.MultiBinary(3)), **SHORT),
    "ppo_picture_and_numbers": lambda: PPO(env=shown(PICTURE, PAIR), **{**SHORT, "total_timesteps": 128, "batch_size": 64, "n_epochs": 1, "hidden": (8,)}),
    "dqn_picture_and_numbers": lambda: DQN(env=shown(PICTURE, PAIR), duelling=True, **{**REPLAYED, "batch_size": 8}),
    "ppo_normalised": lambda: PPO(env="Pendulum-v1", normalize_observations=True, normalize_rewards=True, **SHORT),
    "ppo_normalised_dict": lambda: PPO(env=shown(DICT, PAIR), normalize_observations=True, **SHORT),
    "ppo_normalised_beside_a_picture": lambda: PPO(
        env=shown(PICTURE, PAIR), normalize_observations=True, **{**SHORT, "total_timesteps": 128, "batch_size": 64, "n_epochs": 1, "hidden": ()}
    ),
    "a3c_normalised": lambda: A3C(env="Pendulum-v1", n_actors=2, normalize_observations=True, **SHORT),
    "dqn_normalised": lambda: DQN(env=shown(WHOLE, PAIR), normalize_observations=True, **REPLAYED),
    "ppo_discrete_observations": lambda: PPO(env=shown(lambda: spaces.Discrete(5, start=3), PAIR), **SHORT),
    "ppo_dict_observations": lambda: PPO(env=shown(DICT, lambda: spaces.Discrete(3, start=4)), **SHORT),
    "ppo_whole_numbers": lambda: PPO(env=shown(WHOLE, PAIR), **SHORT),
    "ppo_multidiscrete_observations": lambda: PPO(env=shown(lambda: spaces.MultiDiscrete([3, 4]), PAIR), **SHORT),
    "ppo_overlapped": lambda: PPO(env="CartPole-v1", overlap=True, **SHORT),
    "ppo_unevaluated": lambda: PPO(env="CartPole-v1", **{**SHORT, "eval_episodes": 0}),
    "ppo_linear": lambda: PPO(env="CartPole-v1", hidden=(), **SHORT),
    "a2c": lambda: A2C(env="CartPole-v1", **SHORT),
    "a3c": lambda: A3C(env="CartPole-v1", n_actors=3, **SHORT),
    "a3c_continuous": lambda: A3C(env="Pendulum-v1", n_actors=2, **{**SHORT, "eval_episodes": 0}),
    "impala": lambda: IMPALA(env="CartPole-v1", **SHORT),
    "appo": lambda: APPO(env="CartPole-v1", **SHORT),
    "dqn": lambda: DQN(env="CartPole-v1", **REPLAYED),
    "dqn_duelling": lambda: DQN(env="CartPole-v1", duelling=True, prioritised=True, **REPLAYED),
    "dqn_whole_numbers": lambda: DQN(env=shown(WHOLE, lambda: spaces.Discrete(3, start=-1)), **REPLAYED),
    "sac": lambda: SAC(env="Pendulum-v1", **REPLAYED),
    "sac_box_of_two_rows": lambda: SAC(env=shown(WHOLE, lambda: spaces.Box(-0.5, 0.25, (2, 3), np.float64)), **REPLAYED),
    "td3": lambda: TD3(env="Pendulum-v1", **REPLAYED),
    "ddpg_dict_observations": lambda: DDPG(env=shown(DICT, lambda: spaces.Box(-3, 5, (2,), np.float32)), **REPLAYED),
    "q_learning": lambda: QLearning(env="FrozenLake-v1", total_timesteps=4000, n_steps=50, eval_episodes=4),
    "q_learning_tuple": lambda: QLearning(total_timesteps=8000, n_steps=50, eval_episodes=4),
    "ppo_frames": lambda: PPO(env=shown(FRAME, PAIR), **{**SHORT, "total_timesteps": 128, "batch_size": 64, "n_epochs": 1}),
    "dqn_frames": lambda: DQN(env=shown(FRAME, PAIR), **{**REPLAYED, "batch_size": 8}),
    "dqn_frames_duelling": lambda: DQN(env=shown(FRAME, PAIR), duelling=True, **{**REPLAYED, "batch_size": 8}),
}  # fmt: skip


def weights_of(run):
    """What the learner of a run that is over has now, asked of itself."""
    names = [node.name.partition(".")[2] for node in run.program.graph.reactors]
    learner = run.instance("shared" if "shared" in names else "learner")
    return learner.flat() if callable(learner.flat) else learner.published()


def trained(run):
    """The policy of a rollout, made anew, with the last weights; and the environments' `EnvSpec`."""
    names = [node.name.partition(".")[2] for node in run.program.graph.reactors]
    player = run.instance("actors[0].learner" if "actors[0].learner" in names else "rollouts[0]")
    made = player.policy(player.envs.spec)
    made.load(weights_of(run))
    return made, player.envs.spec


def observations(run, spec, count):
    """So many observations as the environment gives them, stacked as a vector environment does, and encoded one by one."""
    env = run.program.root.env
    env = gymnasium.make(env) if isinstance(env, str) else env()
    space = env.observation_space
    space.seed(5)
    if (
        isinstance(space, spaces.Box) and space.dtype != np.uint8 and space.shape[0] > 2
    ):  # samples of no bounds are far apart
        seen = list(np.random.default_rng(0).standard_normal((count, *space.shape)).astype(np.float32))
    else:
        seen = [space.sample() for _ in range(count)]
    env.close()
    encoded = np.stack([o if spec.encode is None else spec.encode(o) for o in seen]).astype(spec.observation_dtype)
    if isinstance(space, spaces.Dict):
        together = {name: np.stack([o[name] for o in seen]) for name in space}
    elif isinstance(space, spaces.Tuple):
        together = tuple(np.array(column) for column in zip(*seen, strict=True))
    else:
        together = np.stack(seen)
    return seen, together, encoded


def acted(env):
    """The space of an environment's actions."""
    made = gymnasium.make(env) if isinstance(env, str) else env()
    made.close()
    return made.action_space


def as_taken(spec, actions):
    """Actions as an environment takes them."""
    if spec.decode is not None:
        return spec.decode(actions, True)
    return (
        np.clip(actions, spec.action_low, spec.action_high) if spec.n_actions is None else actions + spec.action_start
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_loaded_policy_gives_the_actions_of_the_trained_one_on_ten_thousand_observations(name, tmp_path):
    program = Program(PROGRAMS[name]())
    program.run(seed=1, workers=2)
    save_policy(program, tmp_path / "p.safetensors")
    loaded = load_policy(tmp_path / "p.safetensors")
    made, spec = trained(program.last_run)
    many = 500 if "picture" in name else MANY
    seen, together, encoded = observations(program.last_run, spec, many)
    whole = as_taken(spec, made.greedy(encoded))
    found = loaded(together)
    assert found.dtype == acted(program.root.env).dtype
    assert np.array_equal(found, whole)
    assert len(np.unique(loaded.scores(together), axis=0)) > 1, "all alike: this test shows nothing"
    # The same draws of the same generator; how often at random is what it was at the end.
    if hasattr(made, "epsilon"):
        made.fixed = loaded.blueprint.choice["epsilon"]
        assert 0 < made.fixed < 1
    if hasattr(made, "warm_up"):
        assert made.warm_up > 0
        made.warm_up = 0
    drawn, _ = made.act(encoded, np.random.default_rng(3))
    assert len(np.unique(drawn, axis=0)) > 1
    assert np.array_equal(loaded.sample(together, np.random.default_rng(3)), as_taken(spec, drawn))
    # One by one.
    for i in range(20):
        action = loaded(seen[i])
        assert isinstance(action, int) if spec.n_actions is not None else action.shape == acted(program.root.env).shape
        assert np.array_equal(action, as_taken(spec, made.greedy(encoded[i : i + 1]))[0])
    # It can be played.
    returns = loaded.evaluate(program.root.env, 2, seed=3)
    assert returns.shape == (2,)
    assert np.isfinite(returns).all()
    again = save_policy(program, tmp_path / "again.safetensors")
    assert again.read_bytes() == (tmp_path / "p.safetensors").read_bytes()


# -- runs that go on -------------------------------------------------------------------------------------------------------


class Numbered(Reactor):
    """A learner whose weights say which they are."""

    weights = Output[np.ndarray]()
    trajectory = reactornb.Input(width=1)
    rounds: int = 10**9

    def sent(self):
        self.count += 1
        return np.full(10, self.count, np.float32)

    @reaction(startup)
    def on_startup(self, weights):
        self.count = 0
        weights.set(self.sent())

    @reaction(trajectory)
    def on_trajectory(self, trajectory, weights):
        weights.set(self.sent())


def linear(spec):
    from reactornb.rl.policies import Mlp

    return CategoricalPolicy(Mlp((4, 2), "tanh", scaling=spec.scaling))


class Taught(Reactor):
    """A program of one's own around a `Rollout`."""

    needs_physical_time = False
    policy = linear
    teacher_class = Numbered

    def compose(self):
        self.teacher = type(self).teacher_class()
        self.players = Bank(Rollout, 1, env="CartPole-v1", policy=type(self).policy, n_steps=4)
        connect(self.teacher.weights, self.players.weights, after=ms(0))
        connect(self.players.trajectory, self.teacher.trajectory)


def paused(root):
    """A run of which some tags are done."""
    run = Program(root).start(seed=1).pause()
    return settle(run.step(2))


@pytest.mark.slow
def test_of_a_run_that_goes_on_the_newest_published_weights_are_taken(tmp_path):
    run = paused(Taught())
    found = []

    def saved():
        tensors = load_policy(save_policy(run, tmp_path / "p")).blueprint.tensors
        (number,) = {
            *tensors["layers.0.weight"].ravel().tolist(),
            *tensors["layers.0.bias"].tolist(),
        }  # of one publication
        found.append(number)
        return number

    try:
        for _ in range(3):
            settle(run.step(2))
            assert saved() == run.instance("teacher").count
        run.resume()
        for _ in range(30):  # while it plays, on other threads
            saved()
    finally:
        run.stop()
    assert found == sorted(found)
    assert saved() == run.instance("teacher").count
    assert load_policy(tmp_path / "p").about["run"]["state"] == "stopped"


@pytest.mark.slow
def test_of_a_run_that_goes_on_from_a_cut_the_weights_of_the_cut_are_taken(tmp_path):
    def saved(run, keeper):
        assert keeper.held.wait(20.0)
        tensors = load_policy(save_policy(run, tmp_path / "p")).blueprint.tensors
        return tensors["layers.0.bias"].tolist()

    first, again = Copies(tags=[Tag(0, 6)]), Copies(tags=[Tag(0, 6)])
    with kept(first):
        run = Program(Taught()).start(seed=1)
    before = saved(run, first)
    first.engine.request_cut()
    first.wait(1)
    run.stop()
    with kept(again, first.cuts[0]):
        run = Program(Taught()).start(seed=1)
    assert saved(run, again) == before
    assert before[0] > 2
    run.stop()


# -- what the file says ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_file_says_where_the_policy_comes_from(tmp_path):
    program = Program(PROGRAMS["ppo"]())
    result = program.run(seed=7, fingerprint=True)
    about = load_policy(save_policy(program, tmp_path / "p")).about
    assert about["program"]["class"] == "PPO"
    assert about["program"]["hyper_parameters"]["n_steps"] == 32
    assert about["program"]["hyper_parameters"]["hidden"] == [64, 64]
    assert about["run"]["seed"] == 7
    assert about["run"]["fingerprint"] == result.fingerprint
    assert about["run"]["tag"] == [result.tag.time_ns, result.tag.microstep]
    assert about["run"]["steps"] == result.metrics["steps"].values.sum()
    assert about["env"] == about["env_id"] == "CartPole-v1"
    assert about["versions"]["numpy"] == np.__version__
    assert about["metrics"]["eval_mean"]["last"] == result.metrics["eval_mean"][-1]
    assert load_policy(tmp_path / "p").observation_space == gymnasium.make("CartPole-v1").observation_space
    about["env"] = "another"
    assert load_policy(tmp_path / "p").about["env"] == "CartPole-v1"
    # Nothing in it is of this machine or this moment, but the versions: another process writes the same.
    assert os.fspath(tmp_path).encode() not in (tmp_path / "p").read_bytes()


@pytest.mark.slow
def test_of_a_vector_environment_the_single_spaces_count_and_no_folder_of_this_machine_is_told(tmp_path):
    program = Program(PPO(env=lambda: gymnasium.make_vec("CartPole-v1", 3), **SHORT))
    program.run(seed=1)
    loaded = load_policy(save_policy(program, tmp_path / "p"))
    assert loaded.observation_space == gymnasium.make("CartPole-v1").observation_space
    assert loaded.about["env"].startswith("<lambda> (test_saved_policy.py, line ")
    assert loaded.evaluate(program.root.env, 5).shape == (5,)


# -- what cannot be saved --------------------------------------------------------------------------------------------------


class Idle(Reactor):
    """Nobody plays."""

    @reaction(startup)
    def on_startup(self):
        self.request_stop()


class Alone(Reactor):
    """Somebody plays, and nobody teaches."""

    player = Rollout()

    @reaction(startup)
    def on_startup(self):
        self.request_stop()


def torch_linear(spec):
    from torch import nn

    return CategoricalPolicy(TorchForward(lambda: nn.Sequential(nn.Flatten(), nn.Linear(4, 2))))


@pytest.mark.slow
def test_what_cannot_be_saved_says_why_and_what_to_do(tmp_path):
    def refused(what, words, **more):
        with pytest.raises(PolicyNotSavableError, match=words) as caught:
            save_policy(what, tmp_path / "p", **more)
        assert not (tmp_path / "p").exists()
        return caught.value

    idle = Program(Idle())
    refused(idle, "has not been started")
    refused(idle.run(), r"not Result: a result has metrics and no weights. Keep the program: program = Program")
    assert refused(idle, "no Rollout, no Evaluator").program == "idle"
    alone = Program(Alone())
    alone.run()
    assert refused(alone, "nobody sends weights to alone.player").reactor == "alone.player"

    class Own(Taught):
        policy = torch_linear

    class Random(Taught):
        from reactornb.rl.policies import RandomPolicy as policy  # noqa: N813 - a parameter's name

    for cls, words in (
        (Own, "a network of its own, Sequential, which a file cannot describe"),
        (Random, "plays with a RandomPolicy"),
    ):
        run = paused(cls())
        try:
            assert refused(run, words).reactor.endswith("players[0]")
        finally:
            run.stop()


class Two(Reactor):
    """Two learners."""

    needs_physical_time = False

    def compose(self):
        self.left, self.right = Taught(), Taught()


@pytest.mark.slow
def test_of_two_learners_one_has_to_be_named(tmp_path):
    run = paused(Two())
    try:
        with pytest.raises(
            PolicyNotSavableError, match=r"2 learners: say whose .* two.left.players\[0\], two.right.players\[0\]"
        ):
            save_policy(run, tmp_path / "p")
        save_policy(run, tmp_path / "p", reactor="left.players[0]")
        with pytest.raises(PolicyNotSavableError, match=r"left\.teacher is no reactor that plays"):
            save_policy(run, tmp_path / "q", reactor="left.teacher")
    finally:
        run.stop()
    assert load_policy(tmp_path / "p").blueprint.network["sizes"] == [4, 2]


# -- statistics of observations --------------------------------------------------------------------------------------------


class Normalized(Taught):
    """A `Rollout` behind `NormalizeObservation`."""

    n: int = 1
    outside: bool = False

    def compose(self):
        def make():
            env = gymnasium.wrappers.NormalizeObservation(gymnasium.make("CartPole-v1"), epsilon=1e-4)
            return gymnasium.wrappers.TransformObservation(env, np.negative, None) if self.outside else env

        self.teacher = Numbered()
        self.players = Bank(Rollout, 1, env=make, policy=linear, n_envs=self.n, n_steps=40)
        connect(self.teacher.weights, self.players.weights, after=ms(0))
        connect(self.players.trajectory, self.teacher.trajectory)


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 3])
def test_statistics_of_observations_are_saved_and_applied_as_the_wrapper_does(n, tmp_path):
    run = paused(Normalized(n=n))
    run.stop()
    loaded = load_policy(save_policy(run, tmp_path / "p"))
    wrappers = run.instance("players[0]").envs.envs
    raw = np.random.default_rng(0).standard_normal((MANY, 4)).astype(np.float32)
    rows, _ = loaded.blueprint.rows(raw)
    if n == 1:
        wrappers[0].update_running_mean = False
        assert np.array_equal(rows, np.stack([wrappers[0].observation(o) for o in raw]))
    count = np.array([w.obs_rms.count for w in wrappers])[:, None]
    mean = (count * [w.obs_rms.mean for w in wrappers]).sum(0) / count.sum()
    squares = [w.obs_rms.var + w.obs_rms.mean**2 for w in wrappers]
    assert np.allclose(loaded.blueprint.tensors["mean"], mean, atol=1e-5)
    assert np.allclose(loaded.blueprint.tensors["var"], (count * squares).sum(0) / count.sum() - mean**2, rtol=1e-4)
    assert loaded.blueprint.epsilon == 1e-4
    assert loaded.observation_space == gymnasium.make("CartPole-v1").observation_space
    assert loaded.evaluate("CartPole-v1", 2).shape == (2,)
    with pytest.raises(SpaceError, match="Give it the environment without NormalizeObservation"):
        loaded.evaluate(lambda: gymnasium.wrappers.NormalizeObservation(gymnasium.make("CartPole-v1")), 2)


@pytest.mark.slow
def test_statistics_that_another_wrapper_hides_are_refused(tmp_path):
    run = paused(Normalized(outside=True))
    run.stop()
    with pytest.raises(
        PolicyNotSavableError, match="TransformObservation changes what NormalizeObservation has normalised"
    ):
        save_policy(run, tmp_path / "p")


# -- a policy by itself ----------------------------------------------------------------------------------------------------

ALONE = """
    import sys
    class Refuse:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in ("torch", "gymnasium", "IPython", "matplotlib", "onnx", "safetensors"):
                raise ImportError(f"{name} is not to be imported")
    sys.meta_path.insert(0, Refuse())
    import json
    import numpy as np
    from reactornb import load_policy
    names = json.loads(sys.argv[1])
    load_policy(f"{names[0]}.safetensors")(np.zeros(3))
    assert "reactornb.runtime" not in sys.modules
    for name in names:
        policy = load_policy(f"{name}.safetensors")
        known = np.load(f"{name}.npz")
        rows = known["rows"]
        found = policy.blueprint.scores(policy.blueprint.rows_of(rows)).argmax(1)
        assert len(rows) == 10_000 and np.array_equal(found, known["best"]), name
        if policy.blueprint.observation.kind == "Box":
            assert np.array_equal(policy(rows), known["actions"]), name
            assert np.array_equal(policy.sample(rows, np.random.default_rng(1)), known["sampled"]), name
    assert not {"torch", "gymnasium"} & set(sys.modules)
    print("alike")
"""


@pytest.mark.slow
def test_a_process_without_torch_and_gymnasium_gives_the_same_actions(tmp_path):
    for name, blueprint in blueprints().items():
        (tmp_path / f"{name}.safetensors").write_bytes(content(blueprint))
        here, rng = policy(blueprint), np.random.default_rng(2)
        rows = rng.standard_normal((MANY, *blueprint.observation.encoded_shape)).astype(np.float32)
        if name == "table":
            rows = np.stack([rng.integers(4, size=MANY), rng.integers(3, size=MANY)], axis=1).astype(np.float32)
        known = {"rows": rows, "best": blueprint.scores(blueprint.rows_of(rows)).argmax(1)}
        if blueprint.observation.kind == "Box":
            known |= {"actions": here(rows), "sampled": here.sample(rows, np.random.default_rng(1))}
        np.savez(tmp_path / f"{name}.npz", **known)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(ALONE), json.dumps(list(blueprints()))],
        cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "alike\n"


def test_threads_that_share_a_policy_do_not_disturb_each_other():
    shared = policy(blueprints()["categorical"])
    rng = np.random.default_rng(0)
    batches = [rng.standard_normal((size, 3)).astype(np.float32) for size in (1, 7, 64, 200)]
    alone = [shared(b).tolist() for b in batches]
    begin, wrong = threading.Barrier(4), []

    def use(k):
        begin.wait()
        wrong.extend(i for i in range(200) if shared(batches[(i + k) % 4]).tolist() != alone[(i + k) % 4])

    threads = [threading.Thread(target=use, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_an_observation_of_another_space_is_refused():
    made = blueprints()
    for name, wrong in {
        "categorical": [np.zeros(4), np.zeros((2, 2, 3)), "abc", None, [np.nan, 0, 0], [np.inf, 0, 0]],
        "table": [(1, 2, 3), (4, 0), 7, ([1], [1, 2])],
        "mixed": [{}, {"seen": np.zeros(3)}, np.zeros(3)],
    }.items():
        for observation in wrong:
            with pytest.raises(ObservationError):
                policy(made[name])(observation)


def test_dicts_and_tuples_are_flattened_as_gymnasium_does():
    space = MIXED.to_gymnasium()
    space.seed(3)
    for _ in range(50):
        seen = space.sample()
        rows, several = MIXED.encode(seen)
        assert not several
        assert np.array_equal(rows[0], spaces.flatten(space, seen).astype(np.float32))


def test_frames_that_somebody_has_scaled_are_refused_and_not_rounded_to_black():
    rows, several = FRAMES.encode(np.full((40, 36, 3), 255, np.int64))
    assert (rows.dtype, several) == (np.uint8, False)
    for wrong in (np.full((40, 36, 3), 0.5), np.full((40, 36, 3), 256), np.full((40, 36, 3), -1)):
        with pytest.raises(ObservationError):
            FRAMES.encode(wrong)


@pytest.mark.slow
def test_weights_that_have_diverged_are_not_saved(tmp_path):
    class Diverged(Numbered):
        def sent(self):
            return np.full(10, np.nan, np.float32)

    class Teaching(Taught):
        teacher_class = Diverged

    run = Program(Teaching()).start(seed=1).pause()
    settle(run.step(1))
    run.stop()
    with pytest.raises(PolicyNotSavableError, match="its weights are not finite numbers"):
        save_policy(run, tmp_path / "p")


def test_how_often_it_acts_at_random_can_be_said():
    made = blueprints()
    greedy, drawing = policy(made["scaled"]), policy(made["categorical"])
    rows = np.random.default_rng(0).integers(-5, 11, (2000, 2, 2))
    same = {
        e: (greedy.sample(rows, np.random.default_rng(1), epsilon=e) == greedy(rows)).mean() for e in (0.0, 0.5, 1.0)
    }
    assert same[0.0] == 1
    assert 0.7 < same[0.5] < 0.8
    assert 0.45 < same[1.0] < 0.55
    assert np.array_equal(
        greedy.sample(rows, np.random.default_rng(1)), greedy.sample(rows, np.random.default_rng(1), 0.25)
    )
    with pytest.raises(TypeError, match=r"\(categorical\): it has no epsilon"):
        drawing.sample(np.zeros(3), np.random.default_rng(0), epsilon=0.1)


def test_it_is_for_its_environment_only():
    with pytest.raises(SpaceError, match="CartPole-v1 has observations"):
        policy(blueprints()["categorical"]).evaluate("CartPole-v1", 1)


@pytest.mark.slow
def test_files_with_frames_that_mean_other_networks_are_refused():
    rng = np.random.default_rng(0)
    network, tensors = frames(rng, "duelling", 2)
    made = Blueprint(FRAMES, TWO, network, {"kind": "epsilon_greedy", "epsilon": 0.1}, tensors)
    assert policy(made)(np.zeros((40, 36, 3), np.uint8)) in (3, 4)
    for _ in range(100):
        with pytest.raises(DamagedPolicyError):
            policy_from(meaning_damaged(rng, made))
