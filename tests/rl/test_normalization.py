"""Normalised observations and rewards: one set of statistics for all environments, the learner's, which goes wherever its weights go."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("gymnasium")

import gymnasium
import torch
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers import NormalizeObservation, NormalizeReward, TimeLimit

from reactornb import Output, Program, Reactor, connect, load_policy, reaction, save_policy, startup
from reactornb.errors import ReactionError
from reactornb.rl import (
    A2C,
    A3C,
    APPO,
    DDPG,
    DQN,
    IMPALA,
    PPO,
    SAC,
    TD3,
    Evaluator,
    ReactorVectorEnv,
    best_policy,
    spec_of,
)
from reactornb.rl.errors import ConfigError
from reactornb.rl.normalization import LearnerStatistics, Measured, Normalizer, normalizer_of, refuse_running_statistics
from reactornb.rl.ppo import PPOConfig
from reactornb.rl.statistics import Moments, NormalForward, Statistics, normal
from reactornb.rl.storage import Trajectory

BOTH = {"normalize_observations": True, "normalize_rewards": True}
SHORT = {"n_envs": 2, "hidden": (8,), "eval_episodes": 2, **BOTH}
REPLAYED = {**SHORT, "total_timesteps": 300, "learning_starts": 40, "batch_size": 8}
PROGRAMS = {
    "ppo": lambda env, **more: PPO(env=env, **{**SHORT, "total_timesteps": 320, "n_steps": 16, "batch_size": 16, "n_epochs": 2, **more}),
    "ppo, shards": lambda env, **more: PPO(env=env, shards=2, **{**SHORT, "total_timesteps": 320, "n_steps": 16, "batch_size": 16, "n_epochs": 2, **more}),
    "a2c": lambda env, **more: A2C(env=env, **{**SHORT, "total_timesteps": 200, **more}),
    "impala": lambda env, **more: IMPALA(env=env, **{**SHORT, "total_timesteps": 200, "n_steps": 5, **more}),
    "appo": lambda env, **more: APPO(env=env, **{**SHORT, "total_timesteps": 320, "n_steps": 16, "batch_size": 16, **more}),
    "a3c": lambda env, **more: A3C(env=env, **{**SHORT, "total_timesteps": 200, "n_actors": 3, "n_steps": 5, **more}),
    "dqn": lambda env, **more: DQN(env=env, **{**REPLAYED, "n_steps": 3, "prioritised": True, **more}),
    "sac": lambda env, **more: SAC(env=boxed(env), **{**REPLAYED, **more}),
    "td3": lambda env, **more: TD3(env=boxed(env), **{**REPLAYED, **more}),
    "ddpg": lambda env, **more: DDPG(env=boxed(env), **{**REPLAYED, "n_rollouts": 2, **more}),
}  # fmt: skip


class Wide(gymnasium.Env):
    """Numbers far from 0, and of very different sizes; rewards in the hundreds."""

    observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float32)
    action_space = spaces.Discrete(2)
    mean, size = np.array([1000.0, -5.0, 0.0]), np.array([50.0, 0.01, 1.0])

    def seen(self):
        return (self.mean + self.size * self.np_random.standard_normal(3)).astype(np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return self.seen(), {}

    def step(self, action):
        self.count += 1
        return self.seen(), 300.0 * self.np_random.random(), self.count % 9 == 0, self.count % 7 == 0, {}


def boxed(env):
    """The same with continuous actions, or another one that has them."""
    return (
        type(env.__name__, (env,), {"action_space": spaces.Box(-1, 1, (2,), np.float32)})
        if env is Wide
        else "Pendulum-v1"
    )


# -- the arithmetic --------------------------------------------------------------------------------------------------------


def test_moments_of_parts_are_those_of_the_whole():
    rows = 100 + np.random.default_rng(0).standard_normal((1000, 3)).astype(np.float32)
    merged = Moments.of(rows[:1])
    for begin, end in ((1, 1), (1, 400), (400, 1000)):
        merged = merged.with_(Moments.of(rows[begin:end]))
    assert merged.count == 1000
    assert np.allclose(merged.mean, rows.astype(float).mean(0), atol=1e-12)
    assert np.allclose(merged.variance, rows.astype(float).var(0), rtol=1e-10)
    nothing = Moments(0, np.zeros(3), np.zeros(3))
    assert np.array_equal(nothing.with_(merged).mean, merged.mean)
    assert nothing.variance.tolist() == [1, 1, 1]


def test_normalised_numbers_have_mean_0_and_deviation_1_and_are_cut():
    statistics = Statistics((3,), np.array([True, True, False]), np.zeros(3), np.array([1.0, 1.0, 4.0]), False)
    rows = np.random.default_rng(0).normal([1000, -5, 8], [50, 0.01, 2], (5000, 3)).astype(np.float32)
    statistics.merge_observations([Moments.of(rows[:2000, :2]), None, Moments.of(rows[2000:, :2])])
    seen = statistics.observations(rows)
    assert seen.dtype == np.float32
    assert np.allclose(seen[:, :2].mean(0), 0, atol=1e-3)
    assert np.allclose(seen[:, :2].std(0), 1, atol=1e-3)
    assert np.allclose(seen[:, 2], rows[:, 2] / 4)  # as its space scales it, and for ever
    assert statistics.observations(np.float32([[1e6, 0, -1e6]])).tolist() == [[10, 10, -10]]


def test_rewards_are_divided_by_the_deviation_of_discounted_returns_and_keep_their_sign():
    spec = spec_of("CartPole-v1")
    normalizer = Normalizer(spec, None, np.zeros(4, np.float32), np.ones(4, np.float32), True, 0.5)
    played = Trajectory.empty(spec, 4, 1)
    played.observations[:] = 0
    played.rewards[:, 0] = [8, 4, 0, 2]
    played.terminated[1, 0] = True
    played.valid[2, 0] = False
    discounted = np.array([16.0])
    measured = normalizer.measured(played, discounted)
    assert measured.seen is None
    assert np.allclose([measured.returns.mean, measured.returns.variance], [np.mean([16, 12, 2]), np.var([16, 12, 2])])
    assert discounted.tolist() == [2.0]  # the end of an episode begins again
    learner = LearnerStatistics(normalizer)
    (learnt,) = learner.take([measured.freeze()])
    assert np.allclose(learnt.rewards[:, 0], np.array([8, 4, 0, 2]) / np.std([16, 12, 2]))
    assert learnt.observations is measured.observations
    assert learner.beside(np.zeros(3, np.float32)).shape == (3,)


def test_a_round_is_learnt_from_with_the_statistics_that_it_was_played_with():
    spec = spec_of(Wide)
    learner = LearnerStatistics(normalizer_of(PPOConfig(normalize_observations=True), spec))
    played = Trajectory.empty(spec, 5, 2)
    played.observations[:] = np.random.default_rng(0).normal(7, 2, played.observations.shape)
    played.finals.append((1, 0, np.full(3, 9, np.float32)))
    measured = learner_input = normalizer_of(PPOConfig(normalize_observations=True), spec).measured(played, np.zeros(2))
    assert isinstance(measured, Measured)
    (before,) = learner.take([learner_input])
    assert np.array_equal(before.observations, np.minimum(played.observations, 10))  # nothing had been seen
    learner.end_round()
    (after,) = learner.take([learner_input])
    own, mean, deviation = np.split(learner.beside(np.arange(2, dtype=np.float32)), [2, 5])
    rows = played.observations[:5].reshape(-1, 3).astype(float)
    assert own.tolist() == [0, 1]
    assert np.allclose(mean, rows.mean(0), rtol=1e-5)
    assert np.allclose(deviation, rows.std(0), rtol=1e-5)
    assert np.allclose(after.observations, (played.observations - mean) / deviation, atol=1e-5)
    assert np.allclose(after.finals[0][2], (9 - mean) / deviation, atol=1e-5)
    assert np.array_equal(after.rewards, played.rewards)


def test_a_policy_reads_the_statistics_at_the_end_of_its_weights_and_refuses_too_few():
    class Itself:
        def load(self, weights):
            self.weights = weights.copy()

        def __call__(self, x):
            return x

    forward = NormalForward(Itself(), (2,), 10.0)
    forward.load(np.float32([7, 8, 9, 1, 2, 4, 0.5]))
    assert forward.forward.weights.tolist() == [7, 8, 9]
    for rows in (1, 3):
        x = np.tile(np.float32([9, 3]), (rows, 1))
        assert forward(x).tolist() == [[2, 2]] * rows
        assert np.array_equal(forward(x), normal(x, np.float32([1, 2]), np.float32([4, 0.5]), np.float32(10)))
    with pytest.raises(ValueError, match="4 weights hold no network and statistics of 2 numbers"):
        forward.load(np.zeros(4, np.float32))


# -- programs --------------------------------------------------------------------------------------------------------------


def ended(name, env, workers=2, seed=1, **more):
    run = Program(PROGRAMS[name](env, **more)).start(workers=workers, seed=seed, fingerprint=True)
    return run, run.result()


def final_of(run):
    names = [node.name.partition(".")[2] for node in run.program.graph.reactors]
    return run.instance("shared" if "shared" in names else "learner").published()


@pytest.mark.slow
@pytest.mark.parametrize("env", [Wide, "CartPole-v1"], ids=["wide", "cartpole"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_same_weights_statistics_and_fingerprint_on_1_2_and_8_workers(name, env):
    first, *others = [ended(name, env, workers) for workers in (1, 2, 8)]
    for run, result in others:
        assert result.fingerprint == first[1].fingerprint
        assert final_of(run).tobytes() == final_of(first[0]).tobytes()
        assert result.metrics == first[1].metrics
    assert ended(name, env, seed=2)[1].fingerprint != first[1].fingerprint


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_statistics_are_those_of_what_all_rollouts_saw(name):
    run, _ = ended(name, Wide)
    *_, mean, deviation = np.split(final_of(run), [-6, -3])
    assert np.allclose(mean, Wide.mean, atol=5 * Wide.size)
    assert np.allclose(deviation, Wide.size, rtol=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_returns_are_logged_as_the_environment_gave_them(name):
    _, result = ended(name, Wide)
    assert np.mean(list(result.metrics["episode_return"])) > 300
    assert np.mean(list(result.metrics["eval_return"])) > 300


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_evaluation_and_a_loaded_policy_use_the_learner_s_statistics(name, tmp_path):
    """A policy that is right only behind the right statistics: the sign of a number far from 0, about its own mean."""
    run, _ = ended(name, Wide)
    loaded = load_policy(save_policy(run, tmp_path / "p"))
    evaluator = run.instance("evaluator").actor
    rows = (Wide.mean + Wide.size * np.random.default_rng(0).standard_normal((500, 3))).astype(np.float32)
    assert np.array_equal(loaded(rows), evaluator.greedy(rows))
    tensors = loaded.blueprint.tensors
    *_, mean, deviation = np.split(final_of(run), [-6, -3])
    assert np.array_equal(tensors["offset"], mean)
    assert np.array_equal(tensors["span"], deviation)
    assert loaded.blueprint.network["clip"] == 10.0
    assert np.abs(loaded.blueprint.rows(rows)[0]).max() < 10
    assert loaded.evaluate(run.program.root.env, 2).shape == (2,)


@pytest.mark.slow
@pytest.mark.parametrize(
    "together",
    [SyncVectorEnv, lambda made: ReactorVectorEnv(made, workers=1, autoreset_mode="SameStep")],
    ids=["next step", "same step"],
)
def test_vector_environments_are_normalised_too(together):
    run, result = ended("ppo", lambda: together([Wide] * 2))
    assert np.allclose(final_of(run)[-6:-3], Wide.mean, atol=5 * Wide.size)
    assert np.isfinite(list(result.metrics["loss"])).all()


@pytest.mark.slow
@pytest.mark.parametrize("one", [{"normalize_observations": False}, {"normalize_rewards": False}], ids=str)
@pytest.mark.parametrize("name", ["ppo", "a3c", "dqn"])
def test_either_is_normalised_without_the_other(name, one):
    run, result = ended(name, Wide, **one)
    own = Program(PROGRAMS[name](Wide, normalize_observations=False, normalize_rewards=False)).start(workers=1, seed=1)
    own.result()
    more = 0 if "normalize_observations" in one else 6
    assert len(final_of(run)) == len(final_of(own)) + more
    assert result.metrics["eval_mean"]


class Tilted(gymnasium.Env):
    """One step: the right action is said by a number in its last digits. Learnt within seconds where it is normalised, and not at all elsewhere."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.wanted = int(self.np_random.integers(2))
        return np.array([3000.0 + self.wanted, 0.01 * self.np_random.random()], np.float32), {}

    def step(self, action):
        reward = 1000.0 * (action == self.wanted)
        return self.reset()[0], reward, True, False, {}


@pytest.mark.slow
def test_normalisation_makes_learnable_what_is_not_without():
    settings = {
        "env": Tilted,
        "total_timesteps": 6000,
        "n_steps": 50,
        "batch_size": 50,
        "learning_rate": 5e-3,
        "eval_episodes": 40,
    }
    normalised = Program(PPO(**settings, **BOTH)).run(seed=3, workers=2)
    plain = Program(PPO(**settings)).run(seed=3, workers=2)
    assert normalised.metrics["eval_mean"][-1] == 1000.0
    assert plain.metrics["eval_mean"][-1] < 900.0


def own(spec):
    assert spec.observation_dtype == np.float32
    return torch.nn.Sequential(torch.nn.Linear(3, 6), torch.nn.Tanh())


@pytest.mark.slow
def test_a_network_of_one_s_own_sees_normalised_observations_too(tmp_path):
    run, _ = ended("ppo", Wide, network=own, keep_best=True, eval_every=100)
    loaded = load_policy(save_policy(run, tmp_path / "p"), network=own)
    rows = (Wide.mean + Wide.size * np.random.default_rng(0).standard_normal((500, 3))).astype(np.float32)
    assert np.array_equal(loaded(rows), run.instance("evaluator").actor.greedy(rows))
    assert np.abs(loaded.blueprint.rows(rows)[0]).max() < 10
    best = best_policy(run)
    assert best.blueprint.network["clip"] == 10.0
    assert np.allclose(best.blueprint.tensors["offset"], Wide.mean, atol=5 * Wide.size)


# -- what cannot be normalised ---------------------------------------------------------------------------------------------


class Shows(gymnasium.Env):
    action_space = spaces.Discrete(2)

    def __init__(self, space):
        self.observation_space = space

    def reset(self, *, seed=None, options=None):
        return self.observation_space.sample(), {}


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (spaces.Box(0, 255, (84, 84), np.uint8), "are frames, whose pixels are divided by 255 already"),
        (spaces.Discrete(5), "only name one of several"),
        (spaces.MultiBinary(5), "only name one of several, or bits"),
        (spaces.Dict(a=spaces.Discrete(2), b=spaces.Box(0, 255, (36, 36), np.uint8)), "only name one of several"),
    ],
)
def test_what_has_no_numbers_to_normalise_is_refused_when_the_program_is_assembled(space, words):
    with pytest.raises(ConfigError, match=words) as caught:
        Program(PPO(env=lambda: Shows(space), normalize_observations=True))
    assert caught.value.fields == ("normalize_observations",)
    Program(PPO(env=lambda: Shows(space), normalize_rewards=True))


def test_of_a_dict_only_numbers_that_say_how_much_are_normalised():
    space = spaces.Dict(
        a=spaces.Box(-1, 1, (2,)),
        b=spaces.Discrete(3),
        c=spaces.Box(0, 255, (36, 36), np.uint8),
        d=spaces.Box(0, 9, (2,), np.int16),
    )
    normalizer = normalizer_of(PPOConfig(normalize_observations=True), spec_of(lambda: Shows(space)))
    assert np.flatnonzero(normalizer.moves).tolist() == [0, 1, 5 + 36 * 36, 6 + 36 * 36]
    assert set(normalizer.deviation[5 : 5 + 36 * 36].tolist()) == {255.0}
    assert normalizer.deviation[[2, 3, 4]].tolist() == [1, 1, 1]
    assert normalizer.deviation[-2:].tolist() == [9, 9]  # until something has been seen


# -- Gymnasium's wrappers --------------------------------------------------------------------------------------------------


def wrapped(*wrappers):
    env = gymnasium.make("CartPole-v1")
    for wrapper in wrappers:
        env = wrapper(env)
    return env


VECTOR = gymnasium.wrappers.vector
WRAPPED = {
    "observations": (lambda: wrapped(NormalizeObservation), "NormalizeObservation", "normalize_observations=True"),
    "rewards": (lambda: wrapped(NormalizeReward), "NormalizeReward", "normalize_rewards=True"),
    "below another": (lambda: wrapped(NormalizeObservation, lambda e: TimeLimit(e, 9)), "NormalizeObservation", "normalize_observations=True"),
    "in a vector environment": (lambda: SyncVectorEnv([lambda: wrapped(NormalizeReward)] * 2), "NormalizeReward", "normalize_rewards=True"),
    "in ours": (lambda: ReactorVectorEnv([lambda: wrapped(NormalizeReward)] * 2, workers=1), "NormalizeReward", "normalize_rewards=True"),
    "around a vector environment": (
        lambda: VECTOR.NormalizeObservation(SyncVectorEnv([wrapped] * 2)), "NormalizeObservation", "normalize_observations=True"
    ),
}  # fmt: skip


@pytest.mark.parametrize("algorithm", [PPO, A2C, A3C, IMPALA, APPO, DQN])
@pytest.mark.parametrize("which", WRAPPED)
def test_a_wrapper_with_statistics_of_its_own_is_refused_by_name_with_what_to_write_instead(which, algorithm):
    make, name, fix = WRAPPED[which]
    with pytest.raises(ConfigError, match=f"Gymnasium's {name}.*train with {fix}") as caught:
        Program(algorithm(env=make))
    assert caught.value.fields == ("env",)


def test_an_evaluator_of_a_program_of_one_s_own_refuses_it_too():
    class Sends(Reactor):
        weights = Output[np.ndarray]()

        @reaction(startup)
        def on_startup(self, weights):
            weights.set(np.zeros(0, np.float32))

    class Judged(Reactor):
        def compose(self):
            self.sends = Sends()
            self.evaluator = Evaluator(env=lambda: wrapped(NormalizeObservation))
            connect(self.sends.weights, self.evaluator.final)

    with pytest.raises(ReactionError, match="Gymnasium's NormalizeObservation"):
        Program(Judged()).run(seed=1)


def test_a_wrapper_whose_statistics_are_fixed_is_taken():
    def fixed():
        env = wrapped(NormalizeObservation, NormalizeReward)
        env.update_running_mean = env.env.update_running_mean = False
        return env

    refuse_running_statistics(env := fixed(), "it")
    env.close()
    Program(PPO(env=fixed))
    refuse_running_statistics(env := wrapped(lambda e: TimeLimit(e, 9)), "it")
    env.close()
