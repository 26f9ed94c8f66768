"""V-trace: targets of a value function, and advantages, from steps that an older policy played.

Source: Espeholt et al. 2018, "IMPALA: scalable distributed deep-RL with importance weighted actor-learner architectures",
arXiv:1802.01561, section 4.1, equation 1, and remark 1; lambda: its remark 2.
"""

from __future__ import annotations

import numpy as np

from reactornb.rl.losses import same_shape

__all__ = ["vtrace"]


def vtrace(
    log_ratios: np.ndarray,
    rewards: np.ndarray,
    values: np.ndarray,
    next_values: np.ndarray,
    terminated: np.ndarray,
    ended: np.ndarray,
    *,
    gamma: float,
    rho_bar: float = 1.0,
    c_bar: float = 1.0,
    gae_lambda: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Targets v_s of the value function, and advantages for the policy gradient.

    With rho = min(rho_bar, pi / mu) and c = gae_lambda * min(c_bar, pi / mu), from the last step to the first:

        delta_t = rho_t * (r_t + gamma * V(x_t+1) - V(x_t))
        v_t = V(x_t) + delta_t + gamma * c_t * (v_t+1 - V(x_t+1))
        advantage_t = rho_t * (r_t + gamma * (V(x_t+1) + gae_lambda * (v_t+1 - V(x_t+1))) - V(x_t))

    With gae_lambda = 1 these are the paper's; where both policies are the same, targets are then the n-step returns, and with any
    gae_lambda advantages are `losses.gae`'s.

    Args:
        log_ratios: float32 [T, N], log(pi(a|x) / mu(a|x)): of the policy that learns and of the one that played.
        rewards: float32 [T, N], reward per step.
        values: float32 [T, N], V of the observation that the step began with.
        next_values: float32 [T, N], V of the one it led to: where the episode was truncated, of its last.
        terminated: bool [T, N]; nothing follows, so `next_values` do not count.
        ended: bool [T, N], terminated or truncated; the trace is cut. Also true for steps that only reset.
        gamma: discount per step, in [0, 1].
        rho_bar: limit of the ratio in the temporal differences, above 0: of which policy the values are the fixed point.
        c_bar: limit of the ratio in the trace, at most rho_bar: how fast they get there.
        gae_lambda: trace decay, in [0, 1].

    Returns:
        Targets and advantages, float32 [T, N] each.

    Raises:
        ShapeError: if the shapes differ.
    """
    same_shape(
        log_ratios=log_ratios,
        rewards=rewards,
        values=values,
        next_values=next_values,
        terminated=terminated,
        ended=ended,
    )
    # Limited before exp, which would overflow.
    rho = np.exp(np.minimum(log_ratios, np.float32(np.log(rho_bar))))
    c = np.float32(gae_lambda) * np.exp(np.minimum(log_ratios, np.float32(np.log(c_bar))))
    delta = rewards + np.float32(gamma) * np.where(terminated, np.float32(0), next_values) - values
    discounts = np.where(ended, np.float32(0), np.float32(gamma))
    targets, advantages = np.empty_like(delta), np.empty_like(delta)
    after = np.zeros(delta.shape[1:], np.float32)  # v_t+1 - V(x_t+1)
    for t in range(len(delta) - 1, -1, -1):
        advantages[t] = rho[t] * (delta[t] + np.float32(gae_lambda) * discounts[t] * after)
        after = rho[t] * delta[t] + discounts[t] * c[t] * after
        targets[t] = values[t] + after
    return targets, advantages
