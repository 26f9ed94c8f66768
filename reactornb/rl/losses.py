"""Returns, advantages and losses: what the algorithms minimise, as plain functions of arrays and tensors.

Advantages are computed in NumPy, over whole trajectories; losses in torch, over minibatches, for autograd. Each loss has a twin in NumPy, `…_gradient`,
which also returns its derivative: the default networks need no autograd. Rows that are not `valid` (where an
environment only began its next episode) carry no advantage and are left out of minibatches.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from reactornb.errors import ReactorError
from reactornb.rl.names import renamed_arguments

if TYPE_CHECKING:
    import torch

__all__ = [
    "ShapeError",
    "clipped_ppo",
    "clipped_ppo_gradient",
    "clipped_value",
    "clipped_value_gradient",
    "gae",
    "n_step_returns",
    "normalized",
    "same_shape",
    "td_errors",
    "td_goals",
    "weighted_huber",
    "weighted_huber_gradient",
    "weighted_squares",
    "weighted_squares_gradient",
]


class ShapeError(ReactorError, ValueError):
    """Arrays that belong together differ in their shapes."""


def same_shape(**arrays: np.ndarray) -> None:
    """Refuse arrays of different shapes.

    Raises:
        ShapeError: with the shape of each.
    """
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
    same_shape(rewards=rewards, values=values, next_values=next_values, terminated=terminated, ended=ended)
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
    same_shape(rewards=rewards, next_values=next_values, terminated=terminated, ended=ended)
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


def _mean(array: np.ndarray) -> float:
    """Of float32 [B]; a third of the time of `array.mean()`."""
    return float(np.add.reduce(array)) / len(array)


def normalized(advantages: np.ndarray) -> np.ndarray:
    """Advantages less their mean, divided by their deviation (of a sample, as torch's `std`); one alone is left as it is.

    Args:
        advantages: float32 [B].

    Source: Huang et al. 2022, "The 37 implementation details of proximal policy optimization", detail 7.
    """
    if len(advantages) < 2:
        return advantages
    centred = advantages - np.float32(_mean(advantages))
    deviation = math.sqrt(float(np.dot(centred, centred)) / (len(centred) - 1))
    centred /= np.float32(deviation + 1e-8)
    return centred


def clipped_ppo_gradient(
    log_probs: np.ndarray, old_log_probs: np.ndarray, advantages: np.ndarray, clip: float
) -> tuple[float, float, np.ndarray]:
    """`clipped_ppo` on arrays.

    Args:
        log_probs, old_log_probs, advantages: float32 [B].
        clip: how far the ratio may go from 1.

    Returns:
        The loss, the estimate of the KL divergence, and the loss's derivative with respect to `log_probs`, float32 [B].
    """
    log_ratio = log_probs - old_log_probs
    ratio = np.exp(log_ratio)
    free = advantages * ratio
    bound = np.maximum(ratio, 1.0 - clip)
    np.minimum(bound, 1.0 + clip, out=bound)
    bound *= advantages
    kl = _mean(ratio - 1.0 - log_ratio)
    # Where the bound is the smaller one, the ratio has gone far enough. The derivative of a ratio is the ratio.
    derivative = np.where(free <= bound, free, np.float32(0))
    derivative *= np.float32(-1.0 / len(log_probs))
    return -_mean(np.minimum(free, bound, out=free)), kl, derivative


def clipped_value_gradient(
    values: np.ndarray, old_values: np.ndarray | None, returns: np.ndarray, clip: float
) -> tuple[float, np.ndarray]:
    """`clipped_value` on arrays; half the mean squared error if there are no `old_values`.

    Args:
        values, old_values, returns: float32 [B].
        clip: how far values may move.

    Returns:
        The loss, and its derivative with respect to `values`, float32 [B].
    """
    errors = values - returns
    squares = errors * errors
    derivative = errors
    if old_values is not None:
        change = values - old_values
        moved = np.maximum(change, -clip)
        np.minimum(moved, clip, out=moved)
        inside = moved == change
        moved += old_values
        moved -= returns
        moved_squares = moved * moved
        # A value that went too far has no derivative where its clipped error is the larger one.
        derivative = np.where((squares >= moved_squares) | inside, errors, np.float32(0))
        np.maximum(squares, moved_squares, out=squares)
    return 0.5 * _mean(squares), derivative * np.float32(1.0 / len(values))


def td_goals(
    rewards: np.ndarray, discounts: np.ndarray, next_values: np.ndarray, next_online: np.ndarray | None = None
) -> np.ndarray:
    """What action values should become, as in `td_errors`, on arrays.

    Args:
        rewards: float32 [B].
        discounts: float32 [B].
        next_values: float32 [A, B], of the target network at the next observation; an action in a row.
        next_online: float32 [A, B], of the network that learns, there: double Q-learning.

    Returns:
        float32 [B].
    """
    if next_online is None:
        best = np.maximum.reduce(next_values, axis=0)
    else:
        best = next_values[next_online.argmax(axis=0), np.arange(len(rewards))]
    goals: np.ndarray = best * discounts
    goals += rewards
    return goals


def weighted_huber_gradient(errors: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """`weighted_huber` on arrays.

    Args:
        errors: float32 [B].
        weights: float32 [B].

    Returns:
        The loss, and its derivative with respect to `errors`, float32 [B].
    """
    cut = np.maximum(errors, -1.0)
    np.minimum(cut, 1.0, out=cut)
    derivative = cut * weights
    # 0.5 e^2 within [-1, 1] and |e| - 0.5 outside: cut * (e - 0.5 cut).
    loss = float(np.dot(derivative, errors - 0.5 * cut)) / len(errors)
    derivative *= np.float32(1.0 / len(errors))
    return loss, derivative


def weighted_squares_gradient(errors: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """`weighted_squares` on arrays.

    Args:
        errors: float32 [B].
        weights: float32 [B].

    Returns:
        The loss, and its derivative with respect to `errors`, float32 [B].
    """
    derivative = errors * weights
    loss = float(np.dot(derivative, errors)) / len(errors)
    derivative *= np.float32(2.0 / len(errors))
    return loss, derivative
