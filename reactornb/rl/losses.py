"""Returns, advantages and losses: what the algorithms minimise, as plain functions of arrays and tensors.

Advantages are computed in NumPy, over whole trajectories; losses in torch, over minibatches. Rows that are not `valid` (where an
environment only began its next episode) carry no advantage and are left out of minibatches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reactornb.errors import ReactorError
from reactornb.rl.names import renamed_arguments

if TYPE_CHECKING:
    import torch

__all__ = [
    "ShapeError",
    "clipped_ppo",
    "clipped_value",
    "gae",
    "n_step_returns",
    "td_errors",
    "weighted_huber",
    "weighted_squares",
]


class ShapeError(ReactorError, ValueError):
    """Arrays that belong together differ in their shapes."""


def _same(**arrays: np.ndarray) -> None:
    shapes = {name: a.shape for name, a in arrays.items()}
    if len(set(shapes.values())) != 1:
        raise ShapeError(f"these should have one shape, [T, N]: {shapes}.")


@renamed_arguments(lam="gae_lambda")
def gae(
    rewards: np.ndarray,
    values: np.ndarray,
    next_values: np.ndarray,
    terminated: np.ndarray,
    ended: np.ndarray,
    *,
    gamma: float,
    gae_lambda: float,
) -> np.ndarray:
    """Generalised advantage estimates.

    Args:
        rewards: float32 [T, N], reward per step.
        values: float32 [T, N], value of the observation that the step began with.
        next_values: float32 [T, N], value of the one it led to: where the episode was truncated, of its last.
        terminated: bool [T, N]; nothing follows, so `next_values` do not count.
        ended: bool [T, N], terminated or truncated; the trace is cut. Also true for steps that only reset.
        gamma: discount per step, in [0, 1].
        gae_lambda: trace decay, in [0, 1].

    Returns:
        float32 [T, N], not normalised; advantages plus values are the targets of the value function.

    Raises:
        ShapeError: if the shapes differ.

    Source: Schulman et al. 2016, arXiv:1506.02438, section 3; truncation: Pardo et al. 2018, arXiv:1712.00378.
    """
    _same(rewards=rewards, values=values, next_values=next_values, terminated=terminated, ended=ended)
    delta = rewards + np.float32(gamma) * np.where(terminated, np.float32(0), next_values) - values
    decay = np.where(ended, np.float32(0), np.float32(gamma * gae_lambda))
    advantages: np.ndarray = np.empty_like(delta)
    trace = np.zeros(delta.shape[1:], np.float32)
    for t in range(len(delta) - 1, -1, -1):
        trace = delta[t] + decay[t] * trace
        advantages[t] = trace
    return advantages


def n_step_returns(
    rewards: np.ndarray, next_values: np.ndarray, terminated: np.ndarray, ended: np.ndarray, *, gamma: float
) -> np.ndarray:
    """Discounted returns up to the trajectory's end, bootstrapped there and where an episode was truncated.

    Args:
        rewards: float32 [T, N].
        next_values: float32 [T, N], value of the observation that each step led to.
        terminated: bool [T, N].
        ended: bool [T, N], terminated or truncated.
        gamma: discount per step, in [0, 1].

    Returns:
        float32 [T, N].

    Raises:
        ShapeError: if the shapes differ.

    Source: Mnih et al. 2016, arXiv:1602.01783, algorithm S3.
    """
    _same(rewards=rewards, next_values=next_values, terminated=terminated, ended=ended)
    following = np.where(terminated, np.float32(0), next_values)
    returns = np.empty_like(rewards)
    after = following[-1]
    for t in range(len(rewards) - 1, -1, -1):
        after = rewards[t] + np.float32(gamma) * np.where(ended[t], following[t], after)
        returns[t] = after
    return returns


def td_errors(
    values: torch.Tensor,
    actions: torch.Tensor,
    rewards: torch.Tensor,
    discounts: torch.Tensor,
    next_values: torch.Tensor,
    next_online: torch.Tensor | None = None,
) -> torch.Tensor:
    """Errors of one-step (or n-step) Q-learning: estimate minus goal.

    Args:
        values: float32 [B, A], of the network that learns.
        actions: int64 [B].
        rewards: float32 [B].
        discounts: float32 [B], gamma**n, 0 after a termination.
        next_values: float32 [B, A], of the target network at the next observation.
        next_online: float32 [B, A], of the network that learns, there; with it the next action is chosen by the one and judged by
            the other (double Q-learning).

    Returns:
        float32 [B]; gradients flow through `values` only if the others carry none.

    Source: Mnih et al. 2015; double: van Hasselt et al. 2016, arXiv:1509.06461, equation 4.
    """
    best = (next_values if next_online is None else next_online).argmax(dim=1, keepdim=True)
    goal = rewards + discounts * next_values.gather(1, best).squeeze(1)
    return values.gather(1, actions[:, None]).squeeze(1) - goal


def weighted_huber(errors: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Mean of the importance-weighted Huber losses (delta 1): a gradient clipped to [-1, 1], as in Mnih et al. 2015.

    Args:
        errors: float32 [B].
        weights: float32 [B].
    """
    size = errors.abs()
    return (weights * (0.5 * size.clamp(max=1.0) ** 2 + (size - 1.0).clamp(min=0.0))).mean()


def weighted_squares(errors: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Mean of the importance-weighted squared errors.

    Args:
        errors: float32 [B].
        weights: float32 [B].
    """
    return (weights * errors * errors).mean()


def clipped_ppo(
    log_probs: torch.Tensor, old_log_probs: torch.Tensor, advantages: torch.Tensor, clip: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The clipped surrogate, to be minimised, and an estimate of the KL divergence from the policy that played.

    Args:
        log_probs: float32 [B], under the policy that learns.
        old_log_probs: float32 [B], under the policy that played.
        advantages: float32 [B].
        clip: how far the ratio may go from 1.

    Source: Schulman et al. 2017, arXiv:1707.06347, equation 7; the estimate is k3 of Schulman 2020, "Approximating KL divergence".
    """
    log_ratio = log_probs - old_log_probs
    ratio = log_ratio.exp()
    loss = -(advantages * ratio).minimum(advantages * ratio.clamp(1.0 - clip, 1.0 + clip)).mean()
    return loss, ((ratio - 1.0) - log_ratio).detach().mean()


def clipped_value(values: torch.Tensor, old_values: torch.Tensor, returns: torch.Tensor, clip: float) -> torch.Tensor:
    """Half the mean squared error of values that may move by `clip` only, as OpenAI's baselines have it.

    Source: Huang et al. 2022, "The 37 implementation details of proximal policy optimization", detail 9.
    """
    moved = old_values + (values - old_values).clamp(-clip, clip)
    return 0.5 * ((values - returns) ** 2).maximum((moved - returns) ** 2).mean()
