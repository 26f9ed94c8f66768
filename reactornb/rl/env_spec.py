"""What an algorithm knows of an environment: shapes, dtypes and the kind of its actions. Rollouts, storage and networks are built from it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reactornb.rl.action_mask import ActionMask
from reactornb.rl.errors import SpaceError

__all__ = ["SMALLEST_FRAME", "EnvSpec", "frames_in"]

SMALLEST_FRAME = 36
"""Pixels of a side: below, nothing is left after three convolutions, and a perceptron takes the numbers."""


def frames_in(shape: tuple[int, ...]) -> tuple[int, int, int, tuple[int, ...]] | None:
    """Whether uint8 of this shape are frames for convolutions, and how they lie.

    Frames are at least 36 pixels high and wide: (H, W) in grey; (C, H, W) or (H, W, C), where the smaller of both ends is the channels; a stack of
    them in colour, (S, H, W, C) or (S, C, H, W), with C at most 4.

    Returns:
        Channels, height, width, and the order of the axes that puts channels first; None for anything else.
    """
    if len(shape) not in (2, 3, 4):
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
        choices: of actions that are several numbers, each from 0 to one below its entry here, as of a MultiDiscrete: how many each may be; else ().
        decode: turns stored actions [N, *action_shape] into what the environment takes: `decode(actions, batched)`, a sequence of N actions, or what
            a vector environment takes. None for a Discrete and for a Box of float32.
        frames: of an observation that is several in a row, such as a Dict with a picture: (where it begins, its shape) of each part that is frames.
        numbers: bool [*observation_shape]; False for numbers that only name one of several, such as those of a one-hot, and for frames: what running
            statistics leave as it is. None: all are numbers that mean how much.
        mask: where an observation says which actions are possible; None: all are.
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
    choices: tuple[int, ...] = ()
    decode: Callable[[np.ndarray, bool], Any] | None = None
    frames: tuple[tuple[int, tuple[int, ...]], ...] = ()
    numbers: np.ndarray | None = None
    mask: ActionMask | None = None

    @property
    def unmasked(self) -> EnvSpec:
        """What a network sees of an observation: all but the mask. The spec itself where there is none."""
        mask = self.mask
        if mask is None:
            return self
        (width,) = self.observation_shape
        end = mask.begin + mask.size
        scaling = self.scaling
        if scaling is not None:
            offset, span = (a if a.ndim == 0 else mask.rest(a) for a in scaling)
            scaling = offset, span
        frames = tuple((begin - mask.size * (begin >= end), shape) for begin, shape in self.frames)
        numbers = None if self.numbers is None else mask.rest(self.numbers)
        return replace(
            self, observation_shape=(width - mask.size,), scaling=scaling, frames=frames, numbers=numbers, mask=None
        )

    @property
    def action_dtype(self) -> np.dtype[Any]:
        """As stored: int64 for discrete actions, float32 for a Box."""
        return np.dtype(np.float32 if self.is_box else np.int64)

    @property
    def is_box(self) -> bool:
        """Whether actions are continuous."""
        return self.n_actions is None and not self.choices

    @property
    def outputs(self) -> int:
        """How many numbers a policy's network gives: a logit for each discrete action or choice, a mean for each number of a Box."""
        if self.n_actions is not None:
            return self.n_actions
        return sum(self.choices) if self.choices else math.prod(self.action_shape)

    def need_discrete(self, who: str) -> int:
        """The number of actions.

        Raises:
            SpaceError: if the actions are not discrete.
        """
        if self.n_actions is None:
            if self.choices:
                raise SpaceError(
                    f"{who} chooses one of a finite number of actions; those of {self.name} are {len(self.choices)} choices at once, among "
                    f"{self.choices}. Use PPO, A2C, IMPALA, APPO or A3C, which take them; or number all combinations in a gymnasium.ActionWrapper: its "
                    f"action_space Discrete({math.prod(self.choices)}), and action(self, n) returning np.array(np.unravel_index(n, {self.choices})).",
                    space=self.choices,
                )
            raise SpaceError(
                f"{who} chooses among a finite number of actions; those of {self.name} are a Box of shape {self.action_shape}. "
                f"Use PPO, which is continuous there, or discretise the actions: gymnasium.wrappers.DiscretizeAction(env, bins=…), where the Box is bounded.",
                space=self.action_shape,
            )
        return self.n_actions

    def need_box(self, who: str) -> tuple[np.ndarray, np.ndarray]:
        """The bounds of continuous actions, float32 [*action_shape] each.

        Raises:
            SpaceError: if the actions are not continuous.
        """
        if self.action_low is None or self.action_high is None:
            kind = (
                f"Discrete({self.n_actions})"
                if self.n_actions is not None
                else f"{len(self.choices)} choices at once, among {self.choices}"
            )
            raise SpaceError(
                f"{who} chooses numbers from a Box; the actions of {self.name} are {kind}. Use PPO{' or DQN' if self.n_actions is not None else ''}, which takes "
                f"them; or give the environment a Box with a gymnasium.ActionWrapper.",
                space=self.choices or self.n_actions,
            )
        return self.action_low, self.action_high
