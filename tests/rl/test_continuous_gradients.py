"""The gradients that SAC, TD3 and DDPG write out are those that autograd takes of their losses."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from reactornb.rl.ddpg import DDPGAlgorithm, DDPGConfig
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.networks import Flat
from reactornb.rl.sac import SACAlgorithm, SACConfig
from reactornb.rl.shards import cut
from reactornb.rl.storage import Batch
from reactornb.rl.td3 import TD3Algorithm, TD3Config

FLOAT = np.dtype(np.float32)
PLAIN = EnvSpec("test", (4,), FLOAT, None, (2,), -np.ones(2, "f"), np.ones(2, "f"), None)
ROWS = replace(
    PLAIN, action_shape=(3, 1), action_low=np.array([[-2], [0], [1]], "f"), action_high=np.array([[2], [4], [1]], "f")
)
SCALED = replace(ROWS, observation_shape=(2, 2), scaling=(np.ones((), "f"), np.full(4, 3, "f")))
SPECS = pytest.mark.parametrize("spec", [PLAIN, ROWS, SCALED], ids=["plain", "rows", "scaled"])
HIDDEN = pytest.mark.parametrize("hidden", [(), (8,), (16, 8)], ids=str)
CPU = torch.device("cpu")


def numbers(rng, *shape, scale=1.0):
    return (scale * rng.standard_normal(shape)).astype(np.float32)


def made(cls, spec, config, seed=1):
    """An algorithm, its flat weights, and a target's that are others."""
    algorithm = cls(spec, config, torch.Generator().manual_seed(seed), CPU)
    flat, target = Flat(algorithm.network, gradients=True), Flat(algorithm.target)
    rng = np.random.default_rng(seed)
    flat.load(flat.publish() + numbers(rng, len(flat.publish()), scale=0.2))
    target.load(flat.publish() + numbers(rng, len(flat.publish()), scale=0.2))
    return algorithm, flat, target.publish()


def batch_of(spec, rows, seed):
    rng = np.random.default_rng(seed)
    actions = rng.uniform(spec.action_low, spec.action_high, (rows, *spec.action_shape)).astype(np.float32)
    discounts = np.where(rng.random(rows) < 0.2, 0, 0.99).astype(np.float32)
    seen, following = numbers(rng, rows, *spec.observation_shape), numbers(rng, rows, *spec.observation_shape)
    return Batch(
        seen, actions, numbers(rng, rows, scale=2.0), following, discounts, np.ones(rows, "f"), np.arange(rows)
    )


def minibatches(algorithm, spec, rows, count=1):
    drawn = [batch_of(spec, rows, rows + i) for i in range(count)]
    return algorithm.minibatches([drawn], np.random.default_rng(rows), 0.0)


def same(algorithm, flat, minibatch, target):
    """The written gradient and metrics beside autograd's."""
    loss, metrics = algorithm.loss(minibatch)
    flat.parameter.grad.zero_()
    loss.backward()
    expected = flat.parameter.grad.numpy().copy()
    out = np.full_like(expected, np.nan)
    found = algorithm.gradient(minibatch, flat.publish(), out, target)
    assert np.abs(expected).max() > 1e-3
    assert np.allclose(out, expected, rtol=1e-3, atol=1e-5 * max(1.0, float(np.abs(expected).max())))
    assert set(found) == {"loss", *metrics}
    assert found["loss"] == pytest.approx(loss.item(), rel=1e-4, abs=1e-4)
    for name, metric in metrics.items():
        assert type(found[name]) is float
        assert found[name] == pytest.approx(float(torch.as_tensor(metric)), rel=1e-4, abs=1e-4)
    return out


@SPECS
@HIDDEN
@pytest.mark.parametrize("ent_coef", ["auto", "auto_0.3", 0.2, 0.0])
def test_sac(spec, hidden, ent_coef):
    config = SACConfig(hidden=hidden, ent_coef=ent_coef, target_entropy=-1.5)
    algorithm, flat, target = made(SACAlgorithm, spec, config)
    assert algorithm.analytic
    for rows in (32, 7, 1, 32):
        (m,) = minibatches(algorithm, spec, rows)
        out = same(algorithm, flat, m, target)
        actor, critics, coefficient = algorithm.network.sizes
        assert len(out) == actor + critics + coefficient
        assert coefficient == (ent_coef in ("auto", "auto_0.3"))
        assert np.abs(out[:actor]).max() > 1e-4


@SPECS
@HIDDEN
@pytest.mark.parametrize(("cls", "config"), [(TD3Algorithm, TD3Config(policy_delay=2)), (DDPGAlgorithm, DDPGConfig(policy_delay=1))])  # fmt: skip
def test_td3_and_ddpg(spec, hidden, cls, config):
    algorithm, flat, target = made(cls, spec, replace(config, hidden=hidden))
    assert algorithm.analytic
    turns = []
    for rows in (32, 5):
        for m in minibatches(algorithm, spec, rows, 3):
            out = same(algorithm, flat, m, target)
            actor, critics, _ = algorithm.network.sizes
            assert len(out) == actor + critics
            turns.append(bool(out[:actor].any()))
    assert turns == ([False, True] * 3 if cls is TD3Algorithm else [True] * 6)


def test_noise_on_what_critics_aim_at_is_cut_and_actions_stay_within_bounds():
    wild = TD3Config(hidden=(8,), target_policy_noise=1e6, target_noise_clip=1e7)
    algorithm, flat, target = made(TD3Algorithm, PLAIN, wild)
    (m,) = minibatches(algorithm, PLAIN, 16)
    found = algorithm.gradient(m, flat.publish(), np.empty_like(target), target)
    edges = [np.sign(m.noise[:, 0]), torch.tensor(m.next_observations)]
    best = algorithm.target.values(edges[1], torch.tensor(edges[0])).amin(0).detach().numpy()
    errors = algorithm.network.values(torch.tensor(m.observations), torch.tensor(m.actions)).detach().numpy() - (
        m.rewards + m.discounts * best
    )
    assert found["qf_loss"] == pytest.approx(float((errors**2).mean(1).sum()), rel=1e-3)
    tame = replace(wild, target_noise_clip=0.0)
    still, none = (made(TD3Algorithm, PLAIN, c)[0] for c in (tame, replace(wild, target_policy_noise=0.0)))
    losses = [a.gradient(m, flat.publish(), np.empty_like(target), target)["qf_loss"] for a in (still, none)]
    assert losses[0] == losses[1] != found["qf_loss"]


@pytest.mark.parametrize(
    ("cls", "config"), [(SACAlgorithm, SACConfig(hidden=(8, 8))), (TD3Algorithm, TD3Config(hidden=(8, 8)))]
)
def test_pieces_of_a_minibatch_add_up_to_it_and_each_object_has_buffers_of_its_own(cls, config):
    algorithm, flat, target = made(cls, ROWS, config)
    other = cls(ROWS, config, torch.Generator().manual_seed(9), CPU)
    weights = flat.publish()
    for m in minibatches(algorithm, ROWS, 33, 2):
        whole = np.empty_like(weights)
        metrics = algorithm.gradient(m, weights, whole, target)
        total, sums = np.zeros_like(weights), dict.fromkeys(metrics, 0.0)
        for own, (piece, share) in zip((algorithm, other), cut(m, 2, "test"), strict=True):
            out = np.empty_like(weights)
            for name, value in own.gradient(piece, weights, out, target).items():
                sums[name] += share * value
            total += np.float32(share) * out
        assert np.allclose(total, whole, atol=1e-5)
        assert sums == pytest.approx(metrics, rel=1e-4, abs=1e-5)


def test_the_same_minibatch_gives_the_same_gradient_bit_for_bit_whatever_came_before():
    algorithm, flat, target = made(SACAlgorithm, ROWS, SACConfig(hidden=(16, 8)))
    (m,), (larger,) = minibatches(algorithm, ROWS, 20), minibatches(algorithm, ROWS, 64)
    weights = flat.publish()
    first, second = np.empty_like(weights), np.empty_like(weights)
    algorithm.gradient(m, weights, first, target)
    algorithm.gradient(larger, weights + np.float32(1), second, target)
    algorithm.gradient(m, weights, second, target)
    assert np.array_equal(first, second)


class OtherLoss(SACAlgorithm):
    def loss(self, minibatch):
        loss, metrics = super().loss(minibatch)
        return 2 * loss, metrics


def test_whoever_changes_the_loss_gets_autograd():
    assert not OtherLoss(PLAIN, SACConfig(), torch.Generator().manual_seed(1), CPU).analytic


def test_a_network_that_sees_nothing_finite_gives_a_gradient_that_says_so():
    algorithm, flat, target = made(SACAlgorithm, PLAIN, SACConfig(hidden=(8,)))
    (m,) = minibatches(algorithm, PLAIN, 8)
    m.observations[3] = np.inf
    out = np.empty_like(flat.publish())
    assert not np.isfinite(algorithm.gradient(m, flat.publish(), out, target)["loss"])
    assert not np.isfinite(out).all()
