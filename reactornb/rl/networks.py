"""Networks in torch: layers initialised from a generator of one's own, and a module's parameters as one flat tensor.

torch's own initialisation draws from the global generator, so that what a learner begins with would depend on which thread came first;
every layer here is made without it and then filled from the generator that is given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from reactornb.rl.envs import EnvSpec
from reactornb.rl.errors import SpaceError

__all__ = [
    "ActorCritic",
    "Flat",
    "OwnGenerator",
    "Prepared",
    "QNetwork",
    "check_supported",
    "conv2d",
    "frames_of",
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


_IN_PLACE = frozenset(
    [
        "uniform_",
        "normal_",
        "random_",
        "bernoulli_",
        "exponential_",
        "geometric_",
        "cauchy_",
        "log_normal_",
        "trunc_normal_",
        "orthogonal_",
        "sparse_",
        "kaiming_uniform_",
        "kaiming_normal_",
        "xavier_uniform_",
        "xavier_normal_",
    ]
)
_MAKING = frozenset(
    [
        "rand",
        "randn",
        "randint",
        "randperm",
        "normal",
        "bernoulli",
        "multinomial",
        "poisson",
        "rand_like",
        "randn_like",
        "randint_like",
    ]
)


class OwnGenerator(TorchFunctionMode):
    """While entered, what this thread draws without a generator comes from one that is seeded here, instead of torch's global one.

    A network of torch's own layers is initialised from the global generator, whose state depends on what ran before, and, with several
    threads, on which came first. The mode is this thread's alone and leaves the global generator as it is. Dropout has no such argument and
    is not covered.

    Args:
        seed: below 2**63.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed
        self._generators: dict[torch.device, torch.Generator] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called for every function of torch."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if (name in _IN_PLACE or name in _MAKING) and kwargs.get("generator") is None:
            try:
                return func(*args, **{**kwargs, "generator": self._own(args, kwargs)})
            except TypeError:  # torch before 2.14 has functions that take none
                if not name.endswith("_like"):
                    raise
        return func(*args, **kwargs)

    def _own(self, args: Any, kwargs: Any) -> torch.Generator:
        tensor = next((a for a in (*args, *kwargs.values()) if isinstance(a, torch.Tensor)), None)
        if tensor is not None:
            device = tensor.device
        else:
            device = torch.device(kwargs.get("device") or torch.get_default_device())
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self._seed)
        return self._generators[device]


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


SMALLEST_FRAME = 36
"""Pixels of a side: below, nothing is left after three convolutions, and a perceptron takes the numbers."""

MOST_FEATURES = 2**16
"""Of the last convolution: 512 units on them are 34 million weights."""


def frames_of(spec: EnvSpec) -> tuple[int, int, int, tuple[int, ...]] | None:
    """Whether observations are frames for `nature_cnn`, and how they lie.

    Frames are uint8, at least 36 pixels high and wide: (H, W) in grey; (C, H, W) or (H, W, C), where the smaller of both ends is the
    channels; a stack of them in colour, (S, H, W, C) or (S, C, H, W), with C at most 4.

    Returns:
        Channels, height, width, and the order of the observation's axes that puts channels first; None for anything else.
    """
    shape = spec.observation_shape
    if spec.observation_dtype != np.uint8 or len(shape) not in (2, 3, 4):
        return None
    order: tuple[int, ...] = tuple(range(len(shape)))
    if len(shape) == 3 and shape[2] < shape[0]:
        order = (2, 0, 1)
    elif len(shape) == 4 and shape[3] <= 4:
        order = (0, 3, 1, 2)
    elif len(shape) == 4 and shape[1] > 4:
        return None
    *channels, height, width = (shape[k] for k in order)
    return (math.prod(channels), height, width, order) if min(height, width) >= SMALLEST_FRAME else None


def check_supported(spec: EnvSpec) -> None:
    """Refuse observations that no network here takes, before anything runs.

    Raises:
        SpaceError: if there are no numbers in an observation, or frames are so large that their network does not fit.
    """
    frames = frames_of(spec)
    if not math.prod(spec.observation_shape):
        raise SpaceError(
            f"{spec.name}: an observation of shape {spec.observation_shape} holds no numbers; there is nothing to choose by.",
            space=spec.observation_shape,
        )
    if frames is not None and _features(frames) > MOST_FEATURES:
        raise SpaceError(
            f"{spec.name}: frames of {frames[1]} x {frames[2]} pixels are too large for the convolutional network of Mnih et al. 2015, made for "
            f"84 x 84. Make them smaller with gymnasium.wrappers.TransformObservation or a gymnasium.ObservationWrapper, such as frame[::4, ::4]; "
            f"make_atari gives Atari's in the published size.",
            space=spec.observation_shape,
        )


def _features(frames: tuple[int, int, int, tuple[int, ...]]) -> int:
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
    channels = frames[0]
    return nn.Sequential(
        Prepared(spec.scaling or _BYTES, frames),
        conv2d(channels, 32, 8, 4, generator, gain),
        nn.ReLU(),
        conv2d(32, 64, 4, 2, generator, gain),
        nn.ReLU(),
        conv2d(64, 64, 3, 1, generator, gain),
        nn.ReLU(),
        nn.Flatten(),
        linear(_features(frames), 512, generator, gain),
        nn.ReLU(),
    )


def is_image(spec: EnvSpec) -> bool:
    """Whether observations are frames for `nature_cnn`."""
    return frames_of(spec) is not None


class QNetwork(nn.Module):
    """Action values; duelling: a state's value and each action's advantage, on shared features.

    Args:
        spec: the environment's spaces, with discrete actions.
        hidden: widths of the hidden layers; images get `nature_cnn` instead.
        duelling: Wang et al. 2016, arXiv:1511.06581, equation 9.
        generator: see `linear`.
    """

    def __init__(self, spec: EnvSpec, hidden: Sequence[int], duelling: bool, generator: torch.Generator | None) -> None:
        super().__init__()
        n_actions = spec.need_discrete("DQN")
        if is_image(spec):
            self.body: nn.Module = nature_cnn(spec, generator)
            width = 512
        else:
            sizes = (math.prod(spec.observation_shape), *hidden)
            width = sizes[-1]
            layers = mlp(sizes, "relu", generator, scaling=spec.scaling)
            self.body = layers.append(nn.ReLU()) if hidden else layers
        self.advantage = linear(width, n_actions, generator)
        self.value = linear(width, 1, generator) if duelling else None

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """[B, *observation_shape] -> float32 [B, A]."""
        features = self.body(observations)
        advantages: torch.Tensor = self.advantage(features)
        if self.value is None:
            return advantages
        value: torch.Tensor = self.value(features)
        return value + advantages - advantages.mean(dim=1, keepdim=True)


class ActorCritic(nn.Module):
    """A policy and a value function: two perceptrons, or two heads on `nature_cnn`.

    Parameters lie in the order log-deviations (continuous actions only), features (images only), actor, critic.

    Args:
        spec: the environment's spaces.
        hidden: widths of the hidden layers.
        generator: see `linear`; orthogonal initialisation, gains sqrt(2), 0.01 for the policy and 1 for the value, as in
            Huang et al. 2022, "The 37 implementation details of proximal policy optimization", details 2 and C1.
        log_std_init: the first log-deviation of continuous actions.
    """

    def __init__(
        self,
        spec: EnvSpec,
        hidden: Sequence[int],
        generator: torch.Generator | None,
        log_std_init: float = 0.0,
    ) -> None:
        super().__init__()
        root2 = math.sqrt(2)
        outputs = spec.n_actions if spec.n_actions is not None else math.prod(spec.action_shape)
        self.discrete = spec.n_actions is not None
        self.features: nn.Module = nn.Identity()
        if is_image(spec):
            self.features = nature_cnn(spec, generator, root2)
            self.actor: nn.Module = linear(512, outputs, generator, 0.01)
        else:
            inputs = math.prod(spec.observation_shape)
            self.actor = mlp(
                (inputs, *hidden, outputs), "tanh", generator, gain=root2, last_gain=0.01, scaling=spec.scaling
            )
        self.log_std = None if self.discrete else nn.Parameter(torch.full((outputs,), log_std_init))
        self.critic: nn.Module = (
            linear(512, 1, generator, 1.0)
            if is_image(spec)
            else mlp((inputs, *hidden, 1), "tanh", generator, gain=root2, last_gain=1.0, scaling=spec.scaling)
        )

    def logits(self, observations: torch.Tensor) -> torch.Tensor:
        """The policy alone: logits, or means."""
        outputs: torch.Tensor = self.actor(self.features(observations))
        return outputs

    def value(self, observations: torch.Tensor) -> torch.Tensor:
        """The value alone, float32 [B]."""
        values: torch.Tensor = self.critic(self.features(observations)).squeeze(-1)
        return values

    def evaluate(
        self, observations: torch.Tensor, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Log-probabilities of actions, the policy's entropies, and values, each float32 [B]."""
        features = self.features(observations)
        outputs = self.actor(features)
        value = self.critic(features).squeeze(-1)
        if self.log_std is None:
            log_probs = outputs - outputs.logsumexp(dim=1, keepdim=True)
            chosen = log_probs.gather(1, actions[:, None]).squeeze(1)
            return chosen, -(log_probs.exp() * log_probs).sum(1), value
        log_std = self.log_std
        distance = (actions.reshape(len(actions), -1) - outputs) * torch.exp(-log_std)
        constant = log_std + 0.5 * math.log(2 * math.pi)
        chosen = (-0.5 * distance * distance - constant).sum(1)
        return chosen, (0.5 + constant).sum().expand_as(chosen), value


class Flat:
    """A module's parameters as views of one float32 tensor, and their gradients as views of another.

    Publishing weights is then one copy, a target network another, and an optimizer steps over one tensor.

    Attributes:
        parameter: float32 [P]; its `grad` is the flat gradient.
    """

    def __init__(self, module: nn.Module, *, gradients: bool = False) -> None:
        own = list(module.parameters())
        size = sum(p.numel() for p in own)
        device = own[0].device
        flat = torch.empty(size, device=device)
        grad = torch.zeros(size, device=device) if gradients else None
        at = 0
        for p in own:
            here = slice(at, at + p.numel())
            flat[here] = p.detach().reshape(-1)
            p.data = flat[here].view_as(p)
            p.requires_grad_(gradients)
            if grad is not None:
                p.grad = grad[here].view_as(p)
            at = here.stop
        self.parameter = nn.Parameter(flat, requires_grad=gradients)
        self.parameter.grad = grad

    def load(self, weights: np.ndarray) -> None:
        """Copy float32 [P] in.

        Raises:
            ValueError: if the number of weights is another.
        """
        own = self.parameter.data
        if weights.shape != (own.numel(),):
            raise ValueError(
                f"a network of {own.numel()} weights was sent {weights.shape}: they are of another network."
            )
        if own.device.type == "cpu":
            own.numpy()[:] = weights
        else:
            own.copy_(torch.tensor(weights))

    def publish(self) -> np.ndarray:
        """A copy, float32 [P], read-only."""
        weights: np.ndarray = self.parameter.data.cpu().numpy().copy()
        weights.flags.writeable = False
        return weights
