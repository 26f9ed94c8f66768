"""What the agents of several copies of a parallel environment played: a `Trajectory` for each group, and the team's rewards.

NumPy only; nothing here knows of reactors or torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reactornb.rl.multi_agent_groups import Group
from reactornb.rl.storage import Trajectory

__all__ = ["TeamTrajectory"]


@dataclass(slots=True)
class TeamTrajectory:
    """T steps of K copies of an environment with M agents.

    Attributes:
        groups: for each group a trajectory of N = K * agents of it: copy by copy, and in each agent by agent. A step is `valid` where the agent was there to act;
            it `terminated` or was `truncated` at its own last step, when others may go on.
        rewards: float64 [T, K], the sum over the agents that acted.
        ended: bool [T, K]; the episode was over for everybody, and the next one began at once.
    """

    groups: list[Trajectory]
    rewards: np.ndarray
    ended: np.ndarray

    @classmethod
    def empty(cls, groups: Sequence[Group], n_steps: int, copies: int) -> TeamTrajectory:
        """Arrays to be filled; nobody there, rewards 0, nothing ended.

        Raises:
            ValueError: for more steps than a trajectory has; see `Trajectory.empty`.
        """
        made = [Trajectory.empty(group.spec, n_steps, copies * len(group.agents)) for group in groups]
        for trajectory in made:
            trajectory.valid[:] = False
        return cls(made, np.zeros((n_steps, copies)), np.zeros((n_steps, copies), bool))

    def clear(self) -> None:
        """Let everything but observations be as `empty` has it."""
        for played in self.groups:
            played.rewards[:] = 0.0
            played.terminated[:] = played.truncated[:] = played.valid[:] = False
            played.finals.clear()
        self.rewards[:] = 0.0
        self.ended[:] = False

    def freeze(self) -> TeamTrajectory:
        """Make the arrays read-only, as values on ports must be."""
        for trajectory in self.groups:
            trajectory.freeze()
        self.rewards.flags.writeable = self.ended.flags.writeable = False
        return self

    @property
    def steps(self) -> int:
        """How many steps the environments took."""
        return self.rewards.size

    def __len__(self) -> int:
        return len(self.rewards)
