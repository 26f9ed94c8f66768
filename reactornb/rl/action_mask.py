"""Which actions are possible at the moment, as a part of an observation; NumPy only.

An environment says so in a part "action_mask" of its Dict observation, as PettingZoo's do; `masked` puts it there for one that says so elsewhere. So a mask goes
wherever its observation goes: through trajectories, replay buffers, minibatches and files. Networks do not see it; it takes their outputs' place where it is 0.

Source: Huang and Ontañón 2022, arXiv:2006.14171, "A closer look at invalid action masking in policy gradient algorithms".
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from reactornb.rl.checks import who
from reactornb.rl.errors import ContractError

__all__ = ["FORBIDDEN", "NAME", "ActionMask", "MaskedForward", "nothing_possible"]

NAME = "action_mask"
"""Of the part of an observation."""

FORBIDDEN = np.float32(-1e30)
"""In place of a logit or a value: finite, so that probability 0 times its logarithm is 0, and so low that its exponential, 0, is exact."""


@dataclass(frozen=True, slots=True)
class ActionMask:
    """Where the mask lies in an encoded observation, [..., numbers].

    Attributes:
        begin: the first of its numbers; 1 where an action is possible, else 0.
        choices: how many numbers each choice has, one choice after the other: (n,) for a Discrete.
    """

    begin: int
    choices: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many numbers it has: as many as a policy's network has outputs."""
        return sum(self.choices)

    def of(self, rows: Any) -> Any:
        """The mask alone, [..., size], a view; of an array or a tensor."""
        return rows[..., self.begin : self.begin + self.size]

    def outside(self, width: int) -> list[slice]:
        """Where the rest of an observation of `width` numbers lies."""
        parts = (slice(0, self.begin), slice(self.begin + self.size, width))
        return [part for part in parts if part.start < part.stop]

    def rest(self, rows: np.ndarray) -> np.ndarray:
        """The observations [..., numbers - size] without it; a view where it lies at an end."""
        parts = [rows[..., part] for part in self.outside(rows.shape[-1])]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)

    def forbid(self, outputs: np.ndarray, rows: np.ndarray) -> None:
        """Put `FORBIDDEN` in place of the outputs [N, size] of what is not possible."""
        np.copyto(outputs, FORBIDDEN, where=self.of(rows) == 0)

    def empty(self, rows: np.ndarray) -> np.ndarray:
        """Where a choice has no possible action, bool [N]."""
        possible = self.of(rows) != 0
        ends = np.cumsum((0, *self.choices)).tolist()
        empty: np.ndarray = np.logical_or.reduce([~possible[..., a:b].any(axis=-1) for a, b in pairwise(ends)])
        return empty

    def open(self, rows: np.ndarray) -> None:
        """Let everything be possible where nothing is: in the last observation of an episode, after which nobody acts."""
        empty = self.empty(rows)
        if empty.any():
            rows[empty, self.begin : self.begin + self.size] = 1

    def settle(self, rows: np.ndarray, over: np.ndarray, name: str) -> None:
        """Refuse an observation in which nothing is possible, unless its episode is over; there everything is, from here on.

        Args:
            rows: [N, numbers], what the environments have just given.
            over: bool [N].
            name: of the environments, for messages.

        Raises:
            ContractError: with the environment and the choice.
        """
        empty = self.empty(rows)
        if not empty.any():
            return
        wrong = np.flatnonzero(empty & ~over)
        if len(wrong):
            raise nothing_possible(name, int(wrong[0]))
        self.open(rows)


def nothing_possible(name: str, env: int) -> ContractError:
    """For a mask that lets nothing be done."""
    return ContractError(
        f"{who(name, env)}: its action mask lets no action be taken, and its episode is not over. End the episode (terminated=True), or let an action "
        f"that does nothing be possible.",
        env=env,
        call="step",
    )


class MaskedForward:
    """A network that does not see the mask, with `FORBIDDEN` in place of its outputs for what is not possible.

    Args:
        forward: observations without their masks to float32 [N, size], an array that may be written into; also has `load`.
        mask: where it lies.
    """

    def __init__(self, forward: Any, mask: ActionMask) -> None:
        self.forward, self.mask = forward, mask

    def load(self, weights: np.ndarray) -> None:
        """See `Policy`."""
        self.forward.load(weights)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """[N, numbers] -> float32 [N, size]."""
        outputs: np.ndarray = self.forward(self.mask.rest(rows))
        self.mask.forbid(outputs, rows)
        return outputs
