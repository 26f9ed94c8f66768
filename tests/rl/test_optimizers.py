"""Optimizers on flat arrays take torch's steps."""

import numpy as np
import pytest
import torch

from reactornb.rl import optimizers
from reactornb.rl.learner import without_triton


def gradients(count, size=50):
    rng = np.random.default_rng(3)
    # Of very different sizes, some of them 0, as those of a network's dead units are.
    scale = 10.0 ** rng.uniform(-6, 2, size) * (rng.random(size) < 0.9)
    return [(rng.standard_normal(size) * scale).astype(np.float32) for _ in range(count)]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Adam", {}),
        ("Adam", {"eps": 1e-5, "betas": (0.8, 0.99)}),
        ("RMSprop", {}),
        ("RMSprop", {"alpha": 0.9, "eps": 1e-5}),
    ],
)
@pytest.mark.parametrize("block", [32_768, 16], ids=["one block", "blocks"])
def test_every_step_is_torchs_also_after_the_learning_rate_changed(name, options, block, monkeypatch):
    monkeypatch.setattr(optimizers, "BLOCK", block)
    start = np.random.default_rng(0).standard_normal(50).astype(np.float32)
    weights, gradient = start.copy(), np.zeros(50, np.float32)
    ours = getattr(optimizers, name)([(weights, gradient)], lr=1e-2, **options)
    parameter = torch.nn.Parameter(torch.from_numpy(start.copy()))
    with without_triton():
        theirs = getattr(torch.optim, name)([parameter], lr=1e-2, **options)
    for i, now in enumerate(gradients(60)):
        if i == 30:
            ours.param_groups[0]["lr"] = theirs.param_groups[0]["lr"] = 1e-3
        gradient[:] = now
        parameter.grad = torch.from_numpy(now.copy())
        ours.step()
        theirs.step()
        assert np.allclose(weights, parameter.detach().numpy(), rtol=1e-5, atol=1e-6)
    assert np.abs(weights - start).max() > 0.1


def test_a_torch_parameter_is_changed_in_place():
    parameter = torch.nn.Parameter(torch.ones(4))
    parameter.grad = torch.zeros(4)
    optimizer = optimizers.Adam([parameter], lr=0.5)
    parameter.grad[1] = 3.0
    optimizer.step()
    assert parameter.tolist() == pytest.approx([1.0, 0.5, 1.0, 1.0])


def test_one_flat_parameter_is_taken():
    with pytest.raises(ValueError, match=r"Adam takes one flat parameter, not 2.*torch\.optim\.Adam takes many"):
        optimizers.Adam([torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))], lr=0.1)
