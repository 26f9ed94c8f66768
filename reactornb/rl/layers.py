"""Layers in torch, initialised from a generator of one's own: perceptrons, convolutions, and observations as they take them.

torch's own initialisation draws from the global generator, so that what a learner begins with would depend on which thread came first;
every layer here is made without it and then filled from the generator that is given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from reactornb.rl.env_spec import SMALLEST_FRAME, EnvSpec, frames_in
from reactornb.rl.errors import SpaceError

__all__ = [
    "FRAME_FEATURES",
    "Features",
    "Prepared",
    "check_supported",
    "conv2d",
    "features_of",
    "frames_of",
    "has_frames",
    "is_image",
    "linear",
    "mlp",
    "nature_cnn",
]

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}


class Linear(nn.Linear):
    """torch's, left as it is allocated. (`nn.utils.skip_init` does that by way of a meta tensor, which imports sympy: two seconds.)"""

    def reset_parameters(self) -> None:
        """Nothing: see `_fill`."""


class Conv2d(nn.Conv2d):
    """torch's, left as it is allocated; see `Linear`."""

    def reset_parameters(self) -> None:
        """Nothing: see `_fill`."""


def linear(n: int, m: int, generator: torch.Generator | None, gain: float | None = None) -> nn.Linear:
    """A linear layer; orthogonal with `gain` and zero biases, or as torch does it (uniform within 1/sqrt(n)) if that is None.

    Without a generator it is left empty, for weights that are loaded.
    """
    layer = Linear(n, m)
    _fill(layer.weight, layer.bias, n, generator, gain)
    return layer


def conv2d(n: int, m: int, size: int, stride: int, generator: torch.Generator | None, gain: float | None) -> nn.Conv2d:
    """A convolution; see `linear`."""
    layer = Conv2d(n, m, size, stride)
    assert layer.bias is not None
    _fill(layer.weight, layer.bias, n * size * size, generator, gain)
    return layer


def _fill(
    weight: torch.Tensor, bias: torch.Tensor, fan_in: int, generator: torch.Generator | None, gain: float | None
) -> None:
    if generator is None:
        return
    with torch.no_grad():
        if gain is None:
            bound = 1 / math.sqrt(fan_in)
            weight.uniform_(-bound, bound, generator=generator)
            bias.uniform_(-bound, bound, generator=generator)
        else:
            nn.init.orthogonal_(weight, gain, generator=generator)
            bias.zero_()


class Prepared(nn.Module):
    """Observations as a network takes them: float32, integers scaled into [0, 1] by their space's bounds, in the shape that it needs.

    It has no parameters, so what lies where in the flat weights does not depend on it.

    Args:
        scaling: (offset, span), as in `EnvSpec`; None: numbers as they are.
        frames: channels, height, width and the order of the observation's axes that gives them, from `frames_of`; None: one row each.
    """

    offset: torch.Tensor
    span: torch.Tensor

    def __init__(
        self, scaling: tuple[np.ndarray, np.ndarray] | None, frames: tuple[int, int, int, tuple[int, ...]] | None = None
    ) -> None:
        super().__init__()
        self.frames = frames
        self.scaled = scaling is not None
        offset, span = scaling if scaling is not None else (np.zeros(()), np.ones(()))
        self.shifted = bool(np.any(offset))
        self.register_buffer("offset", torch.tensor(offset, dtype=torch.float32), persistent=False)
        self.register_buffer("span", torch.tensor(span, dtype=torch.float32), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, *observation_shape] -> float32 [B, inputs], or [B, C, H, W]."""
        frames = self.frames
        if frames is None:
            x = x.reshape(len(x), -1)
        if self.scaled or x.dtype != torch.float32:
            x = x.float()
        if self.scaled:
            if self.shifted:
                x = x - self.offset
            x = x / self.span
        if frames is not None:
            channels, height, width, order = frames
            if order != tuple(range(len(order))):
                x = x.permute(0, *(k + 1 for k in order))
            x = x.reshape(len(x), channels, height, width)
        return x


def mlp(
    sizes: Sequence[int],
    activation: str,
    generator: torch.Generator | None,
    *,
    gain: float | None = None,
    last_gain: float | None = None,
    scaling: tuple[np.ndarray, np.ndarray] | None = None,
) -> nn.Sequential:
    """A multi-layer perceptron: linear layers with `activation` ("relu" or "tanh") between them.

    Args:
        sizes: inputs, hidden layers, outputs.
        activation: between layers.
        generator: see `linear`.
        gain: of the hidden layers.
        last_gain: of the last layer.
        scaling: of its inputs; see `Prepared`.
    """
    layers: list[nn.Module] = [Prepared(scaling)]
    for i, (n, m) in enumerate(pairwise(sizes)):
        last = i == len(sizes) - 2
        layers.append(linear(n, m, generator, last_gain if last else gain))
        if not last:
            layers.append(_ACTIVATIONS[activation]())
    return nn.Sequential(*layers)


MOST_FEATURES = 2**16
"""Of the last convolution: 512 units on them are 34 million weights."""

FRAME_FEATURES = 512
"""What the convolutions make of frames, as in Mnih et al. 2015."""


def frames_of(spec: EnvSpec) -> tuple[int, int, int, tuple[int, ...]] | None:
    """Whether observations are frames for `nature_cnn`, and how they lie; see `frames_in`."""
    return frames_in(spec.observation_shape) if spec.observation_dtype == np.uint8 else None


def check_supported(spec: EnvSpec) -> None:
    """Refuse observations that no network here takes, before anything runs.

    Raises:
        SpaceError: if there are no numbers in an observation, or frames are so large that their network does not fit.
    """
    if not math.prod(spec.observation_shape):
        raise SpaceError(
            f"{spec.name}: an observation of shape {spec.observation_shape} holds no numbers; there is nothing to choose by.",
            space=spec.observation_shape,
        )
    for frames in (frames_of(spec), *(frames_in(shape) for _, shape in spec.frames)):
        if frames is not None and features_of(frames) > MOST_FEATURES:
            raise SpaceError(
                f"{spec.name}: frames of {frames[1]} x {frames[2]} pixels are too large for the convolutional network of Mnih et al. 2015, made for "
                f"84 x 84. Make them smaller with gymnasium.wrappers.TransformObservation or a gymnasium.ObservationWrapper, such as frame[::4, ::4]; "
                f"make_atari gives Atari's in the published size.",
                space=spec.observation_shape,
            )


def features_of(frames: tuple[int, int, int, tuple[int, ...]]) -> int:
    """How many numbers the last convolution leaves."""
    sides = []
    for side in frames[1:3]:
        for size, stride in ((8, 4), (4, 2), (3, 1)):
            side = (side - size) // stride + 1  # noqa: PLW2901 - layer after layer
        sides.append(side)
    return 64 * sides[0] * sides[1]


_BYTES = np.zeros((), np.float32), np.full((), 255, np.float32)


def nature_cnn(spec: EnvSpec, generator: torch.Generator | None, gain: float | None = None) -> nn.Sequential:
    """The convolutions of Mnih et al. 2015 and their 512 features, for stacked frames: uint8 [4, 84, 84] there, and here whatever
    `frames_of` knows as frames.

    Raises:
        SpaceError: for other observations.
    """
    frames = frames_of(spec)
    if frames is None:
        raise SpaceError(
            f"{spec.name}: the convolutional network takes frames, uint8 of at least {SMALLEST_FRAME} x {SMALLEST_FRAME} pixels, not "
            f"{spec.observation_dtype} {spec.observation_shape}.",
            space=spec.observation_shape,
        )
    check_supported(spec)
    return nn.Sequential(Prepared(spec.scaling or _BYTES, frames), *_convolutions(frames, generator, gain))


def _convolutions(
    frames: tuple[int, int, int, tuple[int, ...]], generator: torch.Generator | None, gain: float | None
) -> list[nn.Module]:
    """From [B, C, H, W] to float32 [B, 512]."""
    return [
        conv2d(frames[0], 32, 8, 4, generator, gain),
        nn.ReLU(),
        conv2d(32, 64, 4, 2, generator, gain),
        nn.ReLU(),
        conv2d(64, 64, 3, 1, generator, gain),
        nn.ReLU(),
        nn.Flatten(),
        linear(features_of(frames), FRAME_FEATURES, generator, gain),
        nn.ReLU(),
    ]


class Features(nn.Module):
    """Of an observation that is several in one, such as a Dict with a picture: each part that is frames through convolutions of its own, then
    all other numbers as they are.

    Args:
        spec: the environment's spaces, with `frames`.
        generator: see `linear`.
        gain: of the convolutions.

    Attributes:
        width: how many features.
    """

    def __init__(self, spec: EnvSpec, generator: torch.Generator | None, gain: float | None = None) -> None:
        super().__init__()
        check_supported(spec)
        self.prepared = Prepared(spec.scaling)
        self.parts = nn.ModuleList()
        self._frames: list[tuple[int, int, tuple[int, ...]]] = []
        for begin, shape in spec.frames:
            frames = frames_in(shape)
            assert frames is not None
            self._frames.append((begin, begin + math.prod(shape), shape))
            self.parts.append(nn.Sequential(Prepared(None, frames), *_convolutions(frames, generator, gain)))
        # Between the frames.
        ends = [0, *(end for _, end, _ in self._frames)]
        begins = [*(begin for begin, _, _ in self._frames), math.prod(spec.observation_shape)]
        self._others = [(a, b) for a, b in zip(ends, begins, strict=True) if a < b]
        self.width = FRAME_FEATURES * len(self.parts) + sum(b - a for a, b in self._others)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """[B, *observation_shape] -> float32 [B, width]."""
        x = self.prepared(observations)
        found = [
            part(x[:, a:b].reshape(-1, *shape)) for part, (a, b, shape) in zip(self.parts, self._frames, strict=True)
        ]
        return torch.cat([*found, *(x[:, a:b] for a, b in self._others)], dim=1)


def is_image(spec: EnvSpec) -> bool:
    """Whether observations are frames for `nature_cnn`, and nothing else."""
    return frames_of(spec) is not None


def has_frames(spec: EnvSpec) -> bool:
    """Whether observations are frames, or have some among their parts: their network is one of torch's."""
    return is_image(spec) or bool(spec.frames)
