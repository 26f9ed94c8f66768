"""The contract of environments that rollouts step together, and what every implementation shares: actions on the way in, results on the way out.

What a rollout needs of environments is small (`Envs`): fill the next row of preallocated arrays. `single_envs` does it for ordinary Gymnasium
environments, `vector_envs` for a `gymnasium.vector.VectorEnv`; `envs` makes either. This module knows nothing of reactors.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from reactornb.rl import checks
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.errors import ContractError, ObservationError
from reactornb.rl.storage import Trajectory

__all__ = ["Envs", "check_finite", "settle", "to_env", "wrong_shape"]


class Envs(Protocol):
    """N environments that are stepped together.

    Attributes:
        n: how many.
        spec: their spaces.
    """

    n: int
    spec: EnvSpec

    def reset(self, seed: int, out: np.ndarray) -> None:
        """Begin an episode everywhere.

        Args:
            seed: 0 <= seed < 2**31 - n; environment i gets seed + i.
            out: [N, *observation_shape], filled.
        """

    def step(self, t: int, trajectory: Trajectory) -> None:
        """Take `trajectory.actions[t]`, fill its rows t (of observations: t + 1), append to its `finals`.

        Raises:
            ObservationError: for an observation of the wrong shape.
        """

    def close(self) -> None:
        """Close them all."""


def to_env(spec: EnvSpec, actions: np.ndarray, batched: bool = False) -> Any:
    """Actions as the environments take them: Python ints, rows clipped into their Box, or what `decode` makes of them.

    Args:
        spec: of the environments.
        actions: int64 [N] or [N, choices], or float32 [N, *action_shape].
        batched: whether a vector environment takes them all at once, as one array.
    """
    if spec.n_actions is None:
        if spec.decode is not None:
            return spec.decode(actions, batched)
        low: Any = spec.action_low
        high: Any = spec.action_high
        clipped = np.maximum(actions, low)  # np.clip takes three times as long for a few numbers
        np.minimum(clipped, high, out=clipped)
        # An array's elements are scalars, which a Box of shape () would take with a warning only.
        return clipped if spec.action_shape or batched else [np.array(a) for a in clipped]
    if spec.action_start:
        actions = actions + spec.action_start
    return actions if batched else actions.tolist()


def settle(spec: EnvSpec, t: int, trajectory: Trajectory, next_step: bool) -> None:
    """See `ActionMask.settle`, for what step t led to.

    Args:
        spec: of the environments, with a mask.
        t: the step.
        trajectory: in which it has been written.
        next_step: whether an episode's last observation stands where those of others go on; else it is one of the `finals`.
    """
    assert spec.mask is not None
    over = trajectory.terminated[t] | trajectory.truncated[t]
    spec.mask.settle(trajectory.observations[t + 1], over if next_step else np.zeros_like(over), spec.name)
    for step, _, final in reversed(trajectory.finals):
        if step != t:
            break
        spec.mask.open(final[None])


def check_finite(spec: EnvSpec, observations: np.ndarray, rewards: np.ndarray | None) -> None:
    """Refuse what no update can use, and say whose it is.

    Args:
        spec: of the environments.
        observations: [T, N, *observation_shape].
        rewards: float32 [T, N], or None.

    Raises:
        ContractError: for the first observation or reward that holds a NaN or an infinite number.
    """
    for what, array in (("observation", observations), ("reward", rewards)):
        if array is None or checks.all_finite(array):
            continue
        t, i, *at = (int(k) for k in np.argwhere(~np.isfinite(array))[0])
        element = f"element {at} of the {what}" if at else f"the {what}"
        raise ContractError(
            f"{checks.who(spec.name, i)}: {element} is {array[t, i][tuple(at)]} at step {t} of this trajectory. Look for a division by 0 in the "
            f"environment; write a large number for what is unbounded.",
            env=i,
            call="step",
        )


def wrong_shape(spec: EnvSpec, env: int, step: int, shape: tuple[int, ...]) -> ObservationError:
    """The error for an observation that is not of its space's shape.

    Args:
        spec: of the environments.
        env: which of them; -1: of a vector environment.
        step: how many steps had been taken.
        shape: what came.
    """
    which = "" if env < 0 else f", environment {env},"
    return ObservationError(
        f"{spec.name}{which} returned an observation of shape {shape} after {step} steps; its space says "
        f"{spec.observation_shape}. Mend the environment, or its observation_space.",
        env=env,
        step=step,
        shape=shape,
        expected=spec.observation_shape,
    )
