"""Perceptrons in NumPy: outputs and gradients are those of torch, and of finite differences in float64."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from reactornb.rl.dense import Dense
from reactornb.rl.layers import mlp
from reactornb.rl.networks import Flat

SCALING = np.array([1.0, 0.0, -2.0, 3.0], np.float32), np.array([2.0, 1.0, 4.0, 0.5], np.float32)


def rows(count, inputs=4, dtype=np.float32):
    return np.random.default_rng(count).standard_normal((count, inputs)).astype(dtype)


def weights_of(dense, dtype=np.float32):
    return np.random.default_rng(1).uniform(-0.6, 0.6, dense.offset + dense.size).astype(dtype)


def twin(sizes, activation, flat, scaling=None):
    """torch's network with these weights, and its flat gradient."""
    net = mlp(sizes, activation, None, scaling=scaling)
    held = Flat(net, gradients=True)
    held.load(flat)
    return net, held


@pytest.mark.parametrize("scaling", [None, SCALING])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("hidden", [(), (7,), (8, 5), (6, 9, 3)])
def test_two_perceptrons_together_have_the_outputs_and_gradients_of_torchs_two(hidden, activation, scaling):
    dense = Dense(4, hidden, ((3,), (1,)), activation, offset=2, scaling=scaling)
    weights = weights_of(dense)
    gradient = np.full_like(weights, 7.0)
    dense.bind(weights)
    dense.write_to(gradient)
    for count in (11, 5, 11):  # buffers are used again for fewer rows, and for as many
        x = rows(count)
        actor, actor_flat = twin((4, *hidden, 3), activation, weights[2 : -_size((4, *hidden, 1))], scaling)
        critic, critic_flat = twin((4, *hidden, 1), activation, weights[-_size((4, *hidden, 1)) :], scaling)
        expected = [net(torch.from_numpy(x)) for net in (actor, critic)]
        outputs = dense.forward(x)
        for ours, theirs in zip(outputs, expected, strict=True):
            assert np.allclose(ours.T, theirs.detach().numpy(), atol=2e-6)
        d = [np.random.default_rng(2).standard_normal(out.shape).astype(np.float32) for out in outputs]
        sum((out.T * torch.from_numpy(one)).sum() for out, one in zip(expected, d, strict=True)).backward()
        dense.backward(d)
        found = np.concatenate([held.parameter.grad.numpy() for held in (actor_flat, critic_flat)])
        assert np.allclose(gradient[2:], found, rtol=1e-4, atol=2e-5)
        assert gradient[:2].tolist() == [7.0, 7.0]  # what lies before the offset belongs to others


def _size(sizes):
    return sum(n * m + m for n, m in pairwise(sizes))


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("hidden", [(), (7,), (8, 5)])
def test_the_derivative_with_respect_to_some_inputs_is_autograds_and_leaves_the_gradient_alone(
    hidden, count, activation
):
    dense = Dense(4, hidden, ((1,),) * count, activation)
    weights = weights_of(dense)
    gradient = np.full_like(weights, 7.0)
    dense.bind(weights)
    dense.write_to(gradient)
    for many in (11, 5, 11):
        x = torch.from_numpy(rows(many)).requires_grad_()
        nets = [twin((4, *hidden, 1), activation, flat)[0] for flat in np.split(weights, count)]
        outputs = dense.forward(x.detach().numpy())
        d = [np.random.default_rng(i).standard_normal(out.shape).astype(np.float32) for i, out in enumerate(outputs)]
        sum((net(x).T * torch.from_numpy(one)).sum() for net, one in zip(nets, d, strict=True)).backward()
        for first in (0, 1, 3):
            found = dense.backward_to_inputs(d, first)
            assert np.allclose(found, x.grad.numpy()[:, first:].T, rtol=1e-4, atol=2e-6)
        counts = [np.arange(i, many, count) for i in range(count)]  # each perceptron counts for rows of its own
        found = dense.backward_to_inputs(d, 1, counts)
        for i, own in enumerate(counts):
            alone = [one if k == i else 0 * one for k, one in enumerate(d)]
            assert np.allclose(found[:, own], dense.backward_to_inputs(alone, 1)[:, own], atol=1e-6)
    assert (gradient == 7.0).all()


@pytest.mark.parametrize("heads", [((3,),), ((3, 1),), ((2,), (1,)), ((2, 1), (2, 1), (3,))])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_gradient_is_that_of_finite_differences_in_float64(activation, heads):
    dense = Dense(3, (6, 5), heads, activation, dtype=np.float64)
    weights = weights_of(dense, np.float64)
    gradient = np.zeros_like(weights)
    dense.bind(weights)
    dense.write_to(gradient)
    x = rows(9, 3, np.float64)
    goals = [np.random.default_rng(i).standard_normal(out.shape) for i, out in enumerate(dense.forward(x))]

    def loss():
        return sum(float(((out - goal) ** 2).sum()) for out, goal in zip(dense.forward(x), goals, strict=True))

    dense.backward([2.0 * (out - goal) for out, goal in zip(dense.forward(x), goals, strict=True)])
    found = gradient.copy()
    step = 1e-6
    for i in range(len(weights)):
        kept = weights[i]
        weights[i] = kept + step
        above = loss()
        weights[i] = kept - step
        below = loss()
        weights[i] = kept
        assert found[i] == pytest.approx((above - below) / (2 * step), rel=1e-5, abs=1e-6)


def test_frames_and_whole_numbers_become_rows_of_scaled_float32():
    low, span = np.zeros((2, 2), np.float32), np.full((2, 2), 255, np.float32)
    dense = Dense(4, (5,), ((2,),), "relu", scaling=(low, span))
    dense.bind(weights_of(dense))
    frames = np.random.default_rng(0).integers(256, size=(6, 2, 2), dtype=np.uint8)
    as_numbers = Dense(4, (5,), ((2,),), "relu")
    as_numbers.bind(weights_of(dense))
    expected = as_numbers.forward((frames.reshape(6, 4) / np.float32(255)).astype(np.float32))[0]
    assert np.allclose(dense.forward(frames)[0], expected, atol=1e-6)
    whole = as_numbers.forward(frames)[0].copy()
    assert np.array_equal(whole, as_numbers.forward(frames.reshape(6, 4).astype(np.float32))[0])


def test_other_weights_are_read_after_they_were_bound_and_changed_ones_at_once():
    dense = Dense(2, (3,), ((1,),), "tanh")
    x = rows(4, 2)
    first = weights_of(dense)
    dense.bind(first)
    before = dense.forward(x)[0].copy()
    second = first + np.float32(0.5)
    second.flags.writeable = False
    dense.bind(second)
    other = dense.forward(x)[0].copy()
    assert not np.allclose(before, other)
    first += np.float32(0.5)
    dense.bind(first)
    assert np.array_equal(dense.forward(x)[0], other)


def test_weights_of_another_network_are_refused():
    dense = Dense(2, (3,), ((1,),), "tanh")
    with pytest.raises(ValueError, match=r"float32 weights \[13\].*not float32 \[12\]"):
        dense.bind(np.zeros(12, np.float32))
    with pytest.raises(ValueError, match="not float64"):
        dense.bind(np.zeros(13))
    with pytest.raises(ValueError, match="activation='gelu'"):
        Dense(2, (3,), ((1,),), "gelu")
    with pytest.raises(ValueError, match="equal distances"):
        Dense(2, (3,), ((1,), (2,), (1,)), "tanh")
