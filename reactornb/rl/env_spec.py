"""What an algorithm knows of an environment: shapes, dtypes and the kind of its actions. Rollouts, storage and networks are built from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from reactornb.rl.errors import SpaceError

__all__ = ["EnvSpec"]


@dataclass(frozen=True, slots=True)
class EnvSpec:
    """What an algorithm has to know of an environment.

    Attributes:
        name: for messages.
        observation_shape: shape of one encoded observation.
        observation_dtype: as stored: uint8 for a Box of uint8, float32 for everything else.
        n_actions: number of discrete actions; None for a Box.
        action_shape: shape of one action; () for a discrete one.
        action_low: float32 [*action_shape]; None for discrete actions.
        action_high: likewise.
        encode: turns an observation of the environment into an array of that shape; None where it is one already.
        action_start: the first discrete action.
        scaling: (offset, span), float32 each, () or of an observation's numbers in a row: a network sees (x - offset) / span, which is in [0, 1]
            for integers with bounds; None where all numbers are taken as they are.
    """

    name: str
    observation_shape: tuple[int, ...]
    observation_dtype: np.dtype[Any]
    n_actions: int | None
    action_shape: tuple[int, ...]
    action_low: np.ndarray | None
    action_high: np.ndarray | None
    encode: Callable[[Any], np.ndarray] | None
    action_start: int = 0
    scaling: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def action_dtype(self) -> np.dtype[Any]:
        """int64 for discrete actions, float32 for a Box."""
        return np.dtype(np.int64 if self.n_actions is not None else np.float32)

    def need_discrete(self, who: str) -> int:
        """The number of actions.

        Raises:
            SpaceError: if the actions are not discrete.
        """
        if self.n_actions is None:
            raise SpaceError(
                f"{who} chooses among a finite number of actions; those of {self.name} are a Box of shape {self.action_shape}. "
                f"Use PPO, which is continuous there, or discretise the actions with a gymnasium.ActionWrapper.",
                space=self.action_shape,
            )
        return self.n_actions
