"""Networks in torch: action values, a policy with its value function, and a module's parameters as one flat tensor.

They are made of `layers`, and so from a generator of one's own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from reactornb.rl.action_mask import FORBIDDEN, ActionMask
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.layers import FRAME_FEATURES, Features, is_image, linear, mlp, nature_cnn

__all__ = ["ActorCritic", "Flat", "QNetwork", "judged", "masked_out", "parted"]


class QNetwork(nn.Module):
    """Action values; duelling: a state's value and each action's advantage, on shared features.

    Args:
        spec: the environment's spaces, with discrete actions.
        hidden: widths of the hidden layers; images get `nature_cnn` instead.
        duelling: Wang et al. 2016, arXiv:1511.06581, equation 9.
        generator: see `linear`.
        body: features of observations instead, [B, *observation_shape] to float32 [B, body.width].
    """

    def __init__(
        self,
        spec: EnvSpec,
        hidden: Sequence[int],
        duelling: bool,
        generator: torch.Generator | None,
        body: Any = None,
    ) -> None:
        super().__init__()
        n_actions = spec.need_discrete("DQN")
        self.mask, spec = spec.mask, spec.unmasked
        if body is not None:
            self.body: nn.Module = body
            width = body.width
        elif is_image(spec):
            self.body = nature_cnn(spec, generator)
            width = FRAME_FEATURES
        else:
            features = Features(spec, generator) if spec.frames else None
            sizes = (math.prod(spec.observation_shape) if features is None else features.width, *hidden)
            width = sizes[-1]
            layers = mlp(sizes, "relu", generator, scaling=spec.scaling if features is None else None)
            if features is not None:
                layers.insert(0, features)
            self.body = layers.append(nn.ReLU()) if hidden else layers
        self.advantage = linear(width, n_actions, generator)
        self.value = linear(width, 1, generator) if duelling else None

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """[B, *observation_shape] -> float32 [B, A]; `FORBIDDEN` for what is not possible."""
        observations, allowed = parted(observations, self.mask)
        features = self.body(observations)
        values: torch.Tensor = self.advantage(features)
        if self.value is not None:
            values = self.value(features) + values - values.mean(dim=1, keepdim=True)
        return masked_out(values, allowed)


def parted(observations: torch.Tensor, mask: ActionMask | None) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Observations without their masks, and these, bool [..., A]; None where there are none."""
    if mask is None:
        return observations, None
    seen = [observations[..., part] for part in mask.outside(observations.shape[-1])]
    return seen[0] if len(seen) == 1 else torch.cat(seen, dim=-1), mask.of(observations) != 0


def masked_out(outputs: torch.Tensor, allowed: torch.Tensor | None) -> torch.Tensor:
    """Outputs for what is possible alone."""
    return outputs if allowed is None else outputs.masked_fill(~allowed, float(FORBIDDEN))


class ActorCritic(nn.Module):
    """A policy and a value function: two perceptrons, two heads on `nature_cnn`, or two perceptrons on `Features`.

    Parameters lie in the order log-deviations (continuous actions only), features (images only), actor, critic. Of several choices the policy's outputs
    are the logits of each, one after the other. Where observations bring masks, it does not see them, and logits of what is not possible are `FORBIDDEN`.

    Args:
        spec: the environment's spaces.
        hidden: widths of the hidden layers.
        generator: see `linear`; orthogonal initialisation, gains sqrt(2), 0.01 for the policy and 1 for the value, as in
            Huang et al. 2022, "The 37 implementation details of proximal policy optimization", details 2 and C1.
        log_std_init: the first log-deviation of continuous actions.
        body: features of observations for both instead, [B, *observation_shape] to float32 [B, body.width].
    """

    def __init__(
        self,
        spec: EnvSpec,
        hidden: Sequence[int],
        generator: torch.Generator | None,
        log_std_init: float = 0.0,
        body: Any = None,
    ) -> None:
        super().__init__()
        root2 = math.sqrt(2)
        self.mask, spec = spec.mask, spec.unmasked
        outputs = spec.outputs
        self.discrete = not spec.is_box
        self.choices = spec.choices
        self.features: nn.Module = nn.Identity()
        inputs, scaling = math.prod(spec.observation_shape), spec.scaling
        if body is not None or is_image(spec):
            self.features = nature_cnn(spec, generator, root2) if body is None else body
            width = FRAME_FEATURES if body is None else body.width
            self.actor: nn.Module = linear(width, outputs, generator, 0.01)
        else:
            if spec.frames:
                self.features = features = Features(spec, generator, root2)
                inputs, scaling = features.width, None
            self.actor = mlp((inputs, *hidden, outputs), "tanh", generator, gain=root2, last_gain=0.01, scaling=scaling)
        self.log_std = None if self.discrete else nn.Parameter(torch.full((outputs,), log_std_init))
        self.critic: nn.Module = (
            linear(width, 1, generator, 1.0)
            if body is not None or is_image(spec)
            else mlp((inputs, *hidden, 1), "tanh", generator, gain=root2, last_gain=1.0, scaling=scaling)
        )

    def logits(self, observations: torch.Tensor) -> torch.Tensor:
        """The policy alone: logits, or means."""
        observations, allowed = parted(observations, self.mask)
        return masked_out(self.actor(self.features(observations)), allowed)

    def value(self, observations: torch.Tensor) -> torch.Tensor:
        """The value alone, float32 [B]."""
        observations, _ = parted(observations, self.mask)
        values: torch.Tensor = self.critic(self.features(observations)).squeeze(-1)
        return values

    def evaluate(
        self, observations: torch.Tensor, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Log-probabilities of actions, the policy's entropies, and values, each float32 [B]."""
        observations, allowed = parted(observations, self.mask)
        features = self.features(observations)
        outputs = masked_out(self.actor(features), allowed)
        return *judged(outputs, actions, self.choices, self.log_std), self.critic(features).squeeze(-1)


def judged(
    outputs: torch.Tensor, actions: torch.Tensor, choices: tuple[int, ...], log_std: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """What a policy's outputs say of actions.

    Args:
        outputs: float32 [B, outputs]: logits (of several choices one after the other), or means.
        actions: int64 [B] or [B, choices], or float32 [B, *action_shape].
        choices: of several choices, how many logits each has; else ().
        log_std: of means, float32 [outputs]; else None.

    Returns:
        Their log-probabilities, and the policy's entropies, float32 [B] each.
    """
    if choices:
        return _several(outputs, actions, choices)
    if log_std is None:
        log_probs = outputs - outputs.logsumexp(dim=1, keepdim=True)
        chosen = log_probs.gather(1, actions[:, None]).squeeze(1)
        return chosen, -(log_probs.exp() * log_probs).sum(1)
    distance = (actions.reshape(len(actions), -1) - outputs) * torch.exp(-log_std)
    constant = log_std + 0.5 * math.log(2 * math.pi)
    chosen = (-0.5 * distance * distance - constant).sum(1)
    return chosen, (0.5 + constant).sum().expand_as(chosen)


def _several(
    logits: torch.Tensor, actions: torch.Tensor, choices: tuple[int, ...]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities of several choices at once, each from a softmax of its own, and their entropies; float32 [B] each."""
    chosen = entropies = logits.new_zeros(len(logits))
    for i, own in enumerate(torch.split(logits, list(choices), dim=1)):
        log_probs = own - own.logsumexp(dim=1, keepdim=True)
        chosen = chosen + log_probs.gather(1, actions[:, i : i + 1]).squeeze(1)
        entropies = entropies - (log_probs.exp() * log_probs).sum(1)
    return chosen, entropies


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
