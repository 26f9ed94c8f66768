"""The gradients that behaviour cloning and IQL write out are those that autograd takes of their losses."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from reactornb.rl.bc import BCAlgorithm, BCConfig
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.iql import IQLAlgorithm, IQLConfig
from reactornb.rl.networks import Flat
from reactornb.rl.shards import cut
from reactornb.rl.storage import Batch

FLOAT = np.dtype(np.float32)
BOX = EnvSpec("test", (4,), FLOAT, None, (2,), -np.ones(2, "f"), np.ones(2, "f"), None)
ROWS = replace(
    BOX, action_shape=(3, 1), action_low=np.array([[-2], [0], [1]], "f"), action_high=np.array([[2], [4], [1]], "f")
)
SCALED = replace(ROWS, observation_shape=(2, 2), scaling=(np.ones((), "f"), np.full(4, 3, "f")))
DISCRETE = replace(BOX, n_actions=3, action_shape=(), action_low=None, action_high=None)
CHOICES = replace(DISCRETE, n_actions=None, action_shape=(2,), choices=(3, 4))
HIDDEN = pytest.mark.parametrize("hidden", [(), (8,), (16, 8)], ids=str)
CPU = torch.device("cpu")


def made(cls, spec, config, seed=1):
    """An algorithm, its flat weights, and a target's that are others."""
    algorithm = cls(spec, config, torch.Generator().manual_seed(seed), CPU)
    rng = np.random.default_rng(seed)
    flat = Flat(algorithm.network, gradients=True)
    flat.load(flat.publish() + numbers(rng, len(flat.publish()), scale=0.2))
    if algorithm.target is None:
        return algorithm, flat, {}
    target = Flat(algorithm.target)
    target.load(flat.publish() + numbers(rng, len(flat.publish()), scale=0.2))
    return algorithm, flat, {"target": target.publish()}


def numbers(rng, *shape, scale=1.0):
    return (scale * rng.standard_normal(shape)).astype(np.float32)


def batch_of(spec, rows, seed):
    rng = np.random.default_rng(seed)
    if spec.is_box:
        actions = rng.uniform(spec.action_low, spec.action_high, (rows, *spec.action_shape)).astype(np.float32)
    else:
        actions = rng.integers(spec.choices or spec.n_actions, size=(rows, *spec.action_shape))
    discounts = np.where(rng.random(rows) < 0.2, 0, 0.99).astype(np.float32)
    seen, following = numbers(rng, rows, *spec.observation_shape), numbers(rng, rows, *spec.observation_shape)
    return Batch(
        seen, actions, numbers(rng, rows, scale=2.0), following, discounts, np.ones(rows, "f"), np.arange(rows)
    )


def same(algorithm, flat, batch, target):
    """The written gradient and metrics beside autograd's."""
    (minibatch,) = algorithm.minibatches([[batch]], np.random.default_rng(0), 0.0)
    assert algorithm.analytic
    loss, metrics = algorithm.loss(minibatch)
    flat.parameter.grad.zero_()
    loss.backward()
    expected = flat.parameter.grad.numpy().copy()
    out = np.full_like(expected, np.nan)
    found = algorithm.gradient(minibatch, flat.publish(), out, **target)
    assert np.abs(expected).max() > 1e-3
    assert np.allclose(out, expected, rtol=1e-3, atol=1e-5 * max(1.0, float(np.abs(expected).max())))
    assert set(found) == {"loss", *metrics}
    assert found["loss"] == pytest.approx(loss.item(), rel=1e-4, abs=1e-4)
    for name, metric in metrics.items():
        assert type(found[name]) is float
        assert found[name] == pytest.approx(float(torch.as_tensor(metric)), rel=1e-4, abs=1e-4)
    return out


@pytest.mark.parametrize(
    "spec", [BOX, ROWS, SCALED, DISCRETE, CHOICES], ids=["box", "rows", "scaled", "discrete", "choices"]
)
@HIDDEN
def test_behaviour_cloning(spec, hidden):
    algorithm, flat, target = made(BCAlgorithm, spec, BCConfig(hidden=hidden))
    for rows in (7, 32, 1):
        same(algorithm, flat, batch_of(spec, rows, rows), target)


@pytest.mark.parametrize("spec", [BOX, ROWS, SCALED], ids=["box", "rows", "scaled"])
@HIDDEN
@pytest.mark.parametrize("beta", [0.0, 3.0])
def test_implicit_q_learning(spec, hidden, beta):
    config = IQLConfig(hidden=hidden, expectile=0.8, beta=beta, most_weight=5.0)
    algorithm, flat, target = made(IQLAlgorithm, spec, config)
    for rows in (7, 32, 1):
        same(algorithm, flat, batch_of(spec, rows, rows), target)


def test_a_deviation_at_its_bound_is_not_moved_any_further():
    algorithm, flat, target = made(IQLAlgorithm, BOX, IQLConfig(hidden=(8,)))
    weights = flat.publish().copy()
    weights[-2:] = -6.0, 0.1
    flat.load(weights)
    out = same(algorithm, flat, batch_of(BOX, 16, 1), target)
    assert out[-2] == 0
    assert out[-1] != 0


@pytest.mark.parametrize(
    ("cls", "config", "spec"),
    [(BCAlgorithm, BCConfig(hidden=(8,)), CHOICES), (IQLAlgorithm, IQLConfig(hidden=(8,)), BOX)],
)
def test_pieces_of_a_minibatch_have_its_gradient_together(cls, config, spec):
    algorithm, flat, target = made(cls, spec, config)
    batch = batch_of(spec, 33, 1)
    whole, total = np.empty_like(flat.publish()), np.zeros_like(flat.publish())
    algorithm.gradient(batch, flat.publish(), whole, **target)
    for piece, share in cut(batch, 2, "test"):
        out = np.empty_like(whole)
        algorithm.gradient(piece, flat.publish(), out, **target)
        total += np.float32(share) * out
    assert np.allclose(total, whole, rtol=1e-3, atol=1e-5)
