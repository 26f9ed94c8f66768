"""The gradients that PPO, A2C and DQN write out are those that autograd takes of their losses."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from threading import Barrier

import numpy as np
import pytest
import torch

from reactornb import Program
from reactornb.rl.a2c import A2C, A2CAlgorithm, A2CConfig
from reactornb.rl.action_mask import ActionMask
from reactornb.rl.dqn import DQNAlgorithm, DQNConfig
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.networks import Flat
from reactornb.rl.ppo import PPO, ActorCriticAlgorithm, Minibatch, PPOAlgorithm, PPOConfig
from reactornb.rl.storage import Batch, Trajectory

FLOAT = np.dtype(np.float32)
DISCRETE = EnvSpec("test", (4,), FLOAT, 3, (), None, None, None)
SCALED = replace(DISCRETE, observation_shape=(2, 2), scaling=(np.ones((), np.float32), np.full(4, 3, np.float32)))
BOX = EnvSpec("test", (4,), FLOAT, None, (2,), -np.ones(2, np.float32), np.ones(2, np.float32), None)
SEVERAL = EnvSpec("test", (4,), FLOAT, None, (3,), None, None, None, choices=(3, 2, 4))
MASKED = replace(DISCRETE, observation_shape=(7,), mask=ActionMask(1, (3,)))
SEVERAL_MASKED = replace(SEVERAL, observation_shape=(13,), mask=ActionMask(4, SEVERAL.choices))
SPECS = {"discrete": DISCRETE, "scaled": SCALED, "box": BOX, "several": SEVERAL, "masked": MASKED, "several masked": SEVERAL_MASKED}  # fmt: skip
FRAMES = EnvSpec("test", (4, 36, 36), np.dtype(np.uint8), 3, (), None, None, None)
CPU = torch.device("cpu")


def made(cls, spec, config, seed=1):
    """An algorithm with its flat weights; biases and deviations are not 0, as they are at the start."""
    algorithm = cls(spec, config, torch.Generator().manual_seed(seed), CPU)
    flat = Flat(algorithm.network, gradients=True)
    flat.load(flat.publish() + np.random.default_rng(seed).uniform(-0.2, 0.2, len(flat.publish())).astype(np.float32))
    return algorithm, flat


def same(algorithm, flat, minibatch, tensors, **target):
    """The written gradient and metrics beside autograd's."""
    loss, metrics = algorithm.loss(tensors)
    flat.parameter.grad.zero_()
    loss.backward()
    expected = flat.parameter.grad.numpy().copy()
    out = np.full_like(expected, np.nan)
    weights = flat.publish()
    found = algorithm.gradient(minibatch, weights, out, **target)
    assert np.abs(expected).max() > 1e-3
    assert np.allclose(out, expected, rtol=1e-3, atol=3e-6 * max(1.0, float(np.abs(expected).max())))
    assert set(found) == {"loss", *metrics}
    assert found["loss"] == pytest.approx(loss.item(), rel=1e-4, abs=1e-5)
    for name, metric in metrics.items():
        assert type(found[name]) is float
        assert found[name] == pytest.approx(float(torch.as_tensor(metric).detach()), rel=1e-4, abs=1e-5)


def numbers(rng, *shape, scale=1.0):
    return (scale * rng.standard_normal(shape)).astype(np.float32)


def acted(spec, rng, *shape):
    if spec.choices:
        return rng.integers(np.array(spec.choices), size=(*shape, len(spec.choices)))
    return (
        rng.integers(spec.n_actions, size=shape)
        if spec.n_actions is not None
        else numbers(rng, *shape, *spec.action_shape)
    )


def allowing(spec, observations, actions):
    """Observations whose masks, if they have some, let these actions be possible, and about half of the others."""
    if spec.mask is not None:
        allowed = np.random.default_rng(len(observations)).random((len(observations), spec.mask.size)) < 0.5
        places = actions.reshape(len(actions), -1) + np.cumsum((0, *spec.mask.choices))[:-1]
        np.put_along_axis(allowed, places, True, axis=1)
        spec.mask.of(observations)[:] = allowed
    return observations


def minibatch_of(algorithm, spec, rows, seed):
    """Policies and values that have moved further than they may, in some rows."""
    rng = np.random.default_rng(seed)
    observations, actions = numbers(rng, rows, *spec.observation_shape), acted(spec, rng, rows)
    allowing(spec, observations, actions)
    with torch.no_grad():
        log_probs, _, values = algorithm.network.evaluate(torch.from_numpy(observations), torch.from_numpy(actions))
    return Minibatch(
        observations,
        actions,
        log_probs.numpy() + numbers(rng, rows, scale=0.3),
        numbers(rng, rows),
        values.numpy() + numbers(rng, rows, scale=0.3),
        values.numpy() + numbers(rng, rows),
        0.2,
    )


def as_tensors(m):
    arrays = (m.observations, m.actions, m.log_probs, m.advantages, m.values, m.returns)
    return Minibatch(*map(torch.from_numpy, arrays), m.clip)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("clip_vloss", [True, False])
@pytest.mark.parametrize("ent_coef", [0.0, 0.05])
@pytest.mark.parametrize("hidden", [(), (8,), (16, 8)], ids=str)
def test_ppo(spec, clip_vloss, ent_coef, hidden):
    config = PPOConfig(clip_vloss=clip_vloss, ent_coef=ent_coef, vf_coef=0.7, hidden=hidden, log_std_init=-0.3)
    algorithm, flat = made(PPOAlgorithm, spec, config)
    assert algorithm.analytic
    for rows in (32, 7, 1, 32):
        m = minibatch_of(algorithm, spec, rows, rows)
        same(algorithm, flat, m, as_tensors(m))


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("ent_coef", [0.0, 0.05])
def test_a2c(spec, ent_coef):
    algorithm, flat = made(A2CAlgorithm, spec, A2CConfig(ent_coef=ent_coef, hidden=(16, 8)))
    rng = np.random.default_rng(4)
    for rows in (40, 1):
        arrays = (
            numbers(rng, rows, *spec.observation_shape), acted(spec, rng, rows), numbers(rng, rows), numbers(rng, rows),
        )  # fmt: skip
        allowing(spec, *arrays[:2])
        same(algorithm, flat, arrays, tuple(map(torch.from_numpy, arrays)))


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("duelling", [True, False])
@pytest.mark.parametrize("huber", [True, False])
@pytest.mark.parametrize("spec", [DISCRETE, SCALED, MASKED], ids=["discrete", "scaled", "masked"])
def test_dqn(spec, double, duelling, huber):
    config = DQNConfig(double=double, duelling=duelling, huber=huber, prioritised=True, hidden=(16, 8))
    algorithm, flat = made(DQNAlgorithm, spec, config)
    held = Flat(algorithm.target)
    held.load(flat.publish() + np.random.default_rng(5).uniform(-0.5, 0.5, len(flat.publish())).astype(np.float32))
    target = held.publish()
    rng = np.random.default_rng(6)
    for rows in (32, 5):
        batch = Batch(
            numbers(rng, rows, *spec.observation_shape),
            acted(spec, rng, rows),
            numbers(rng, rows, scale=2.0),
            numbers(rng, rows, *spec.observation_shape),
            np.where(rng.random(rows) < 0.2, 0, 0.99).astype(np.float32),
            rng.uniform(0.2, 1, rows).astype(np.float32),
            rng.integers(100, size=rows),
        )
        allowing(spec, batch.observations, batch.actions)
        allowing(spec, batch.next_observations, batch.actions)
        same(algorithm, flat, batch, batch, target=target)
        # What goes back is one error for each row, by either way.
        indices, errors = algorithm.feedback()
        assert indices.tolist() == 2 * batch.indices.tolist()
        assert np.allclose(errors[:rows], errors[rows:], atol=1e-5)
        assert algorithm.feedback() is None


def test_pieces_of_a_minibatch_add_up_to_it_and_each_object_has_buffers_of_its_own():
    config = PPOConfig(hidden=(16, 8))
    algorithm, flat = made(PPOAlgorithm, DISCRETE, config)
    other = PPOAlgorithm(DISCRETE, config, torch.Generator().manual_seed(9), CPU)
    m = minibatch_of(algorithm, DISCRETE, 33, 3)
    weights = flat.publish()
    whole, first, second = (np.empty_like(weights) for _ in range(3))
    metrics = algorithm.gradient(m, weights, whole)
    parts = algorithm.gradient(m[:17], weights, first), other.gradient(m[17:], weights, second)
    assert np.allclose(first * (17 / 33) + second * (16 / 33), whole, atol=1e-6)
    for name, value in metrics.items():
        assert value == pytest.approx(parts[0][name] * 17 / 33 + parts[1][name] * 16 / 33, abs=1e-6)


@pytest.mark.slow
def test_objects_on_several_threads_give_the_same_bits_from_the_same_read_only_weights():
    config = PPOConfig(hidden=(32, 32))
    algorithm, flat = made(PPOAlgorithm, DISCRETE, config)
    minibatches = [minibatch_of(algorithm, DISCRETE, rows, rows) for rows in (40, 41, 42, 43)]
    weights = flat.publish()  # read-only
    expected = [np.empty_like(weights) for _ in minibatches]
    for m, out in zip(minibatches, expected, strict=True):
        algorithm.gradient(m, weights, out)
    together = Barrier(len(minibatches))

    def compute(m):
        own = PPOAlgorithm(DISCRETE, config, torch.Generator().manual_seed(9), CPU)
        out = np.empty_like(weights)
        together.wait(10)
        for _ in range(50):
            own.gradient(m, weights, out)
        return out

    with ThreadPoolExecutor(len(minibatches)) as pool:
        found = list(pool.map(compute, minibatches))
    for ours, theirs in zip(found, expected, strict=True):
        assert np.array_equal(ours, theirs)


def test_the_same_minibatch_gives_the_same_gradient_bit_for_bit_whatever_came_before():
    algorithm, flat = made(PPOAlgorithm, BOX, PPOConfig(hidden=(16, 8)))
    m, weights = minibatch_of(algorithm, BOX, 20, 3), flat.publish()
    first, second = np.empty_like(weights), np.empty_like(weights)
    algorithm.gradient(m, weights, first)
    algorithm.gradient(minibatch_of(algorithm, BOX, 64, 4), weights + np.float32(1), second)
    algorithm.gradient(m, weights, second)
    assert np.array_equal(first, second)


class OtherLoss(PPOAlgorithm):
    def loss(self, minibatch):
        loss, metrics = super().loss(minibatch)
        return 2 * loss, metrics


class OtherNetwork(A2CAlgorithm):
    def __init__(self, *args):
        super().__init__(*args)
        self.network = type(self.network)(DISCRETE, (5,), torch.Generator().manual_seed(1))


class OtherErrors(DQNAlgorithm):
    def loss(self, minibatch):
        return super().loss(minibatch)


class OwnGradient(OtherErrors):
    def gradient(self, minibatch, weights, out, target):
        return {"loss": 0.0}


def test_whoever_changes_the_loss_or_the_network_gets_autograd():
    generator = torch.Generator().manual_seed(1)
    assert not OtherLoss(DISCRETE, PPOConfig(), generator, CPU).analytic
    assert not OtherNetwork(DISCRETE, A2CConfig(), generator, CPU).analytic
    assert not OtherErrors(DISCRETE, DQNConfig(), generator, CPU).analytic
    assert OwnGradient(DISCRETE, DQNConfig(), generator, CPU).analytic
    for cls, config in ((PPOAlgorithm, PPOConfig()), (A2CAlgorithm, A2CConfig()), (DQNAlgorithm, DQNConfig())):
        assert cls(DISCRETE, config, generator, CPU).analytic
        assert not cls(FRAMES, config, generator, CPU).analytic


def played(spec, rng, n_steps=6, n=3):
    trajectory = Trajectory.empty(spec, n_steps, n)
    trajectory.observations[:] = numbers(rng, *trajectory.observations.shape)
    trajectory.actions[:] = acted(spec, rng, n_steps, n)
    trajectory.rewards[:] = numbers(rng, n_steps, n)
    trajectory.log_probs[:] = -1.0
    trajectory.terminated[2, 1] = trajectory.truncated[4, 0] = True
    trajectory.valid[3, 1] = False
    trajectory.finals.append((4, 0, numbers(rng, *spec.observation_shape)))
    return trajectory.freeze()


class ByAutograd(PPOAlgorithm):
    """The same loss: tensors come, and the values of a round are torch's."""

    written = None


@pytest.mark.parametrize("spec", [DISCRETE, BOX], ids=["discrete", "box"])
def test_a_round_is_cut_into_the_same_minibatches_in_numpy_and_in_torch(spec):
    received = [played(spec, np.random.default_rng(i)) for i in range(2)]
    config = PPOConfig(hidden=(8,), n_epochs=2, batch_size=16, anneal_clip_range=True)
    rounds = []
    for cls in (PPOAlgorithm, ByAutograd):
        algorithm, _ = made(cls, spec, config)
        rounds.append([m.gathered() for m in algorithm.minibatches(received, np.random.default_rng(7), 0.5)])
    assert [len(m) for m in rounds[0]] == [17, 17] * 2
    for ours, theirs in zip(*rounds, strict=True):
        assert ours.clip == theirs.clip == pytest.approx(0.1)
        for name in ("observations", "actions", "log_probs", "advantages", "values", "returns"):
            array, tensor = getattr(ours, name), getattr(theirs, name)
            assert isinstance(array, np.ndarray)
            assert np.allclose(array, tensor.numpy(), atol=1e-5)
        assert abs(ours.advantages.mean()) < 1e-6
        assert ours.advantages.std(ddof=1) == pytest.approx(1, rel=1e-5)


def test_advantages_are_left_as_they_are_without_normalisation():
    received = [played(DISCRETE, np.random.default_rng(1))]
    config = PPOConfig(hidden=(8,), n_epochs=1, batch_size=64, normalize_advantage=False)
    plain, _ = made(PPOAlgorithm, DISCRETE, config)
    (chosen,) = plain.minibatches(received, np.random.default_rng(7), 0.0)
    m = chosen.gathered()
    assert np.allclose(m.advantages, m.returns - m.values, atol=1e-6)


def test_a_network_that_sees_nothing_finite_gives_a_gradient_that_says_so():
    algorithm, flat = made(PPOAlgorithm, DISCRETE, PPOConfig(hidden=(8,)))
    m = minibatch_of(algorithm, DISCRETE, 8, 1)
    m.observations[3] = np.inf
    out = np.empty_like(flat.publish())
    assert np.isnan(algorithm.gradient(m, flat.publish(), out)["loss"])
    assert not np.isfinite(out).all()


@contextmanager
def by_autograd(monkeypatch, yes):
    """Whether the algorithms of PPO and A2C have no network in NumPy. (A program of another name would have other seeds.)"""
    with monkeypatch.context() as patched:
        if yes:
            patched.setattr(ActorCriticAlgorithm, "written", None)
        yield


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "config"),
    [
        (PPO, PPOConfig(n_epochs=5, batch_size=64, n_steps=64, hidden=(16, 16))),
        (A2C, A2CConfig(n_steps=20, hidden=(16, 16))),
    ],
    ids=["ppo", "a2c"],
)
def test_a_round_of_updates_ends_at_the_same_weights_within_rounding(matching, program, config, monkeypatch):
    one_round = replace(config, total_timesteps=config.n_rollouts * config.n_envs * config.n_steps, eval_episodes=0)
    ends = []
    for autograd in (False, True):
        with by_autograd(monkeypatch, autograd):
            run = Program(program(env=matching, config=one_round)).start(seed=3, workers=1)
            run.result()
        learner = run.instance("learner")
        assert learner.gradient.analytic != autograd
        ends.append(learner.flat.publish())
    assert np.allclose(*ends, rtol=1e-3, atol=1e-4)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_ppo_learns_cartpole_as_well_as_by_autograd(monkeypatch):
    config = replace(PPOConfig.for_env("CartPole-v1"), total_timesteps=30_000)
    returns = {False: [], True: []}
    for seed in (1, 2, 3):
        for autograd, found in returns.items():
            with by_autograd(monkeypatch, autograd):
                result = Program(PPO(env="CartPole-v1", config=config)).run(seed=seed)
            found.append(float(result.metrics["eval_mean"].values[-1]))
    assert np.mean(returns[False]) > 300, returns
    assert abs(np.mean(returns[False]) - np.mean(returns[True])) < 150, returns
