"""Classic control without velocities: an observation does not show which way anything moves, so that only who remembers the last ones can tell.

    RecurrentPPO(env="reactornb.rl.no_velocity:CartPoleNoVel-v1")

Ids are those of the RL Baselines3 Zoo (its MaskVelocityWrapper); here the velocities are left out, where they are 0 there. Importing this module registers them.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

__all__ = ["NoVelocity", "cart_pole", "mountain_car", "pendulum"]


class NoVelocity(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Leaves numbers out of observations.

    Args:
        env: its observations are a Box of one dimension.
        kept: which of their numbers stay.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], kept: tuple[int, ...]) -> None:
        super().__init__(env)
        space = env.observation_space
        assert isinstance(space, gymnasium.spaces.Box)
        self._kept = list(kept)
        self.observation_space = gymnasium.spaces.Box(
            space.low[self._kept], space.high[self._kept], dtype=space.dtype.type
        )

    def observation(self, observation: Any) -> np.ndarray:
        """What stays of it."""
        seen: np.ndarray = np.asarray(observation)[self._kept]
        return seen


def cart_pole(**options: Any) -> NoVelocity:
    """CartPole-v1, of which the cart's position and the pole's angle are seen."""
    return NoVelocity(gymnasium.make("CartPole-v1", **options).unwrapped, (0, 2))


def mountain_car(**options: Any) -> NoVelocity:
    """MountainCar-v0, of which the position is seen."""
    return NoVelocity(gymnasium.make("MountainCar-v0", **options).unwrapped, (0,))


def pendulum(**options: Any) -> NoVelocity:
    """Pendulum-v1, of which the tip's position is seen."""
    return NoVelocity(gymnasium.make("Pendulum-v1", **options).unwrapped, (0, 1))


for _id, _make, _steps in (
    ("CartPoleNoVel-v1", cart_pole, 500),
    ("MountainCarNoVel-v0", mountain_car, 200),
    ("PendulumNoVel-v1", pendulum, 200),
):
    if _id not in gymnasium.registry:
        gymnasium.register(_id, entry_point=_make, max_episode_steps=_steps)
