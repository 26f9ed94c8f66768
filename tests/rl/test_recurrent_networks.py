"""Networks that remember: their gradients are autograd's, and a sequence seen at once is one seen step by step."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from reactornb.rl.action_mask import FORBIDDEN, ActionMask
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.networks import Flat
from reactornb.rl.recurrent_networks import Lstm, RecurrentActorCritic, RecurrentForward, _Unrolled, unrolled

FLOAT = np.dtype(np.float32)
SPECS = {
    "discrete": EnvSpec("test", (4,), FLOAT, 3, (), None, None, None),
    "box": EnvSpec("test", (4,), FLOAT, None, (2,), -np.ones(2, np.float32), np.ones(2, np.float32), None),
    "several": EnvSpec("test", (4,), FLOAT, None, (2,), None, None, None, choices=(3, 2)),
    "frames": EnvSpec("test", (1, 36, 36), np.dtype(np.uint8), 3, (), None, None, None),
    "masked": EnvSpec("test", (7,), FLOAT, 3, (), None, None, None, mask=ActionMask(4, (3,))),
}


def begins_of(steps, rows, seed=0, chance=0.2):
    return torch.from_numpy(np.random.default_rng(seed).random((steps, rows)) < chance)


def test_what_is_written_out_is_what_autograd_says_to_the_last_weight():
    generator = torch.Generator().manual_seed(1)
    steps, rows, size = 9, 5, 6

    def numbers(*shape):
        return torch.randn(*shape, generator=generator)

    lstm = Lstm(3, size, 2, generator)
    state = numbers(2, rows, size), numbers(2, rows, size)
    begins, weights = begins_of(steps, rows), numbers(steps, 2, rows, size)
    shown = numbers(steps, 2, rows, 4 * size) * 2
    gradients = []
    for by_hand in (True, False):
        free = shown.clone().requires_grad_()
        recurrent = lstm.weight_hh.detach().clone().requires_grad_()
        if by_hand:
            outputs, cells = _Unrolled.apply(free, recurrent, *state, begins)
        else:
            outputs, cells = unrolled(free, recurrent, state, begins)
        (outputs * weights).sum().backward()
        gradients.append((outputs.detach(), cells.detach(), free.grad, recurrent.grad))
    assert all(one.abs().max() > 0.05 for one in gradients[0])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def network_of(spec, shared=False, seed=0):
    network = RecurrentActorCritic(spec, 6, (5,), shared, torch.Generator().manual_seed(seed), -0.5)
    flat = Flat(network)
    flat.load(flat.publish() + np.random.default_rng(seed).normal(0, 0.2, len(flat.publish())).astype(np.float32))
    return network, flat.publish()


def observations_of(spec, *shape, seed=3):
    rng = np.random.default_rng(seed)
    if spec.observation_dtype == np.uint8:
        return rng.integers(256, size=(*shape, *spec.observation_shape), dtype=np.uint8)
    seen = rng.normal(size=(*shape, *spec.observation_shape)).astype(np.float32)
    if spec.mask is not None:
        spec.mask.of(seen)[:] = rng.random((*shape, 3)) < 0.5
        spec.mask.of(seen)[..., 1] = 1
    return seen


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("kind", SPECS)
def test_a_sequence_judged_at_once_is_one_that_was_played_step_by_step(kind, shared):
    spec = SPECS[kind]
    network, weights = network_of(spec, shared)
    steps, rows = 6, 3
    seen, begins = observations_of(spec, steps, rows), begins_of(steps, rows, chance=0.3)
    begins[0] = False
    forward = RecurrentForward(lambda: network_of(spec, shared, seed=1)[0])
    forward.load(weights)
    played = []
    for t in range(steps):
        forward.forget(begins[t].numpy())
        played.append(forward(seen[t]).copy())
    if kind == "box":
        actions = np.random.default_rng(0).normal(size=(steps, rows, 2)).astype(np.float32)
    else:
        count = 2 if kind == "several" else 1
        actions = np.full((steps, rows, count), 1)[..., : None if count > 1 else 1]
        actions = actions if count > 1 else actions[..., 0]
    memory = torch.zeros(rows, network.memory_size)
    with torch.no_grad():
        log_probs, entropies, values = network.evaluate(*map(torch.from_numpy, (seen, actions)), memory, begins)
    outputs = torch.from_numpy(np.stack(played))
    if kind == "box":
        normal = torch.distributions.Normal(outputs, network.log_std.exp())
        expected, entropy = normal.log_prob(torch.from_numpy(actions)).sum(-1), normal.entropy().sum(-1)
    else:
        if kind == "masked":
            assert (outputs[torch.from_numpy(seen[..., 4:]) == 0] == float(FORBIDDEN)).all()
        parts = [
            torch.distributions.Categorical(logits=part)
            for part in torch.split(outputs, list(spec.choices or (3,)), -1)
        ]
        taken = torch.from_numpy(actions).reshape(steps, rows, -1)
        expected = sum(part.log_prob(taken[..., i]) for i, part in enumerate(parts))
        entropy = -sum(torch.special.xlogy(part.probs, part.probs).sum(-1) for part in parts)
    torch.testing.assert_close(log_probs, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(entropies, entropy, rtol=1e-4, atol=1e-5)
    assert values.shape == (steps, rows)
    assert values.std() > 0.001


def test_memories_are_rows_and_an_episode_that_begins_has_none():
    spec = SPECS["discrete"]
    network, _ = network_of(spec)
    seen = torch.from_numpy(observations_of(spec, 4, 3))
    nothing = torch.zeros(3, network.memory_size)
    outputs, cells = network.unroll(seen, nothing, torch.zeros(4, 3, dtype=torch.bool))
    memory = network.rows_of((outputs[1], cells[1]))
    again = network.state_of(memory)
    assert torch.equal(again[0], outputs[1])
    assert torch.equal(again[1], cells[1])
    rest, _ = network.unroll(seen[2:], memory, torch.zeros(2, 3, dtype=torch.bool))
    torch.testing.assert_close(rest, outputs[2:])
    begins = torch.zeros(2, 3, dtype=torch.bool)
    begins[0, 1] = True
    fresh, _ = network.unroll(seen[2:], memory, begins)
    alone, _ = network.unroll(seen[2:], nothing, torch.zeros(2, 3, dtype=torch.bool))
    torch.testing.assert_close(fresh[:, :, 1], alone[:, :, 1])
    torch.testing.assert_close(fresh[:, :, 0], rest[:, :, 0])
    assert not torch.allclose(alone[:, :, 0], rest[:, :, 0], atol=1e-3)


def test_matrices_are_orthogonal_and_biases_0():
    lstm = Lstm(5, 4, 2, torch.Generator().manual_seed(0))
    for matrix in (lstm.weight_ih, lstm.weight_hh):
        for group in matrix.detach():
            torch.testing.assert_close(group.T @ group, torch.eye(group.shape[1]), rtol=0, atol=1e-5)
    assert not lstm.bias.any()
    assert not torch.equal(lstm.weight_hh[0], lstm.weight_hh[1])


def test_a_memory_begins_anew_for_another_number_of_rows():
    spec = replace(SPECS["discrete"], name="test")
    forward = RecurrentForward(lambda: network_of(spec)[0])
    one = forward(observations_of(spec, 1)).copy()
    forward(observations_of(spec, 2))
    assert np.array_equal(forward(observations_of(spec, 1)), one)
    assert not np.array_equal(forward(observations_of(spec, 1)), one)
