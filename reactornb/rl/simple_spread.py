"""SimpleSpread: agents that must cover all landmarks without bumping into each other; the cooperative navigation of the multi-agent particle environments.

Written from the descriptions in
    Lowe et al. 2017, "Multi-Agent Actor-Critic for Mixed Cooperative-Competitive Environments", arXiv:1706.02275, section 4.1
    MPE2's page on simple_spread_v3, with whose numbers it agrees: the same seed and actions give the same observations and rewards

without what that needs to draw (pygame, which has no wheel for free-threaded Python), and in a seventh of its time. A PettingZoo parallel environment; it knows nothing of
reactors.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from gymnasium.utils import seeding
from pettingzoo import ParallelEnv

from reactornb.errors import ReactorError

__all__ = ["SimpleSpread", "SimpleSpreadError", "parallel_env"]

DT = 0.1  # of a step
DAMPING = 0.25  # of velocities, each step
SENSITIVITY = 5.0  # of actions
RADIUS = 0.15  # of an agent
CONTACT_FORCE, CONTACT_MARGIN = (
    100.0,
    1e-3,
)  # how agents repel each other: a soft maximum of how deep they are in each other and 0
PUSHES = ((0.0, 0.0), (-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0))  # of the actions: none, left, right, down, up


class SimpleSpreadError(ReactorError, ValueError):
    """A number of agents or steps, a ratio or an action that does not exist."""


class SimpleSpread(ParallelEnv):  # type: ignore[misc]  # PettingZoo has no types of its own
    """N agents and N landmarks in a plane. All are rewarded with minus the sum of the distances from each landmark to its nearest agent; each loses 1 for every other
    agent that it touches. An episode is truncated after `max_cycles` steps.

    An agent sees 6 N numbers: its velocity and position, where the landmarks and the other agents are, seen from it, and what the others say, which is nothing: zeros.

    Args:
        N: how many agents and landmarks.
        local_ratio: weight of an agent's own penalty; that of the common reward is 1 - local_ratio.
        max_cycles: length of an episode.

    Raises:
        SimpleSpreadError: for numbers that make no sense.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": [], "name": "simple_spread_v3", "is_parallelizable": True}

    def __init__(self, N: int = 3, local_ratio: float = 0.5, max_cycles: int = 25) -> None:  # noqa: N803 - as MPE2 has it
        if N < 1 or max_cycles < 1 or not 0 <= local_ratio <= 1:
            raise SimpleSpreadError(
                f"SimpleSpread needs at least 1 agent and 1 step, and a local_ratio in [0, 1], not {N}, {max_cycles} and {local_ratio}."
            )
        self.n = N
        self.local_ratio = local_ratio
        self.max_cycles = max_cycles
        self.render_mode = None
        self.possible_agents = [f"agent_{i}" for i in range(N)]
        self.agents: list[str] = []
        # One object per agent: PettingZoo asks for the same space each time.
        self.observation_spaces = {a: spaces.Box(-np.inf, np.inf, (6 * N,), np.float32) for a in self.possible_agents}
        self.action_spaces = {a: spaces.Discrete(5) for a in self.possible_agents}
        self.state_space = spaces.Box(-np.inf, np.inf, (6 * N * N,), np.float32)
        self.np_random: np.random.Generator | None = None
        self._seen = np.zeros((N, 6 * N), np.float32)

    def observation_space(self, agent: str) -> spaces.Box:
        """Box, float32 [6 N]."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Discrete:
        """Discrete(5): nothing, left, right, down, up."""
        return self.action_spaces[agent]

    def state(self) -> np.ndarray:
        """All agents' observations, one after the other: float32 [6 N N]."""
        return self._seen.reshape(-1).copy()

    def reset(
        self,
        seed: int | None = None,
        options: dict[str, Any] | None = None,  # noqa: ARG002 - there are none
    ) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:
        """Place everything anew, within [-1, 1].

        Args:
            seed: of the environment's own generator; without it the one there is goes on.
            options: none so far.
        """
        if seed is not None or self.np_random is None:
            self.np_random, _ = seeding.np_random(seed)
        places = self.np_random.uniform(-1, 1, (2 * self.n, 2)).tolist()
        self._places, self._marks = places[: self.n], places[self.n :]
        self._speeds = [[0.0, 0.0] for _ in range(self.n)]
        self.agents = self.possible_agents[:]
        self._now = 0
        return self._observe(), {agent: {} for agent in self.agents}

    def step(
        self, actions: dict[str, int]
    ) -> tuple[dict[str, np.ndarray], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """Push, move, judge.

        Args:
            actions: of each agent, from 0 to 4.

        Returns:
            Observations, rewards, terminations (none), truncations, infos; each a dictionary with an entry per agent.

        Raises:
            SimpleSpreadError: for an action that is none, or before `reset`.
        """
        agents = self.agents
        if not agents:
            raise SimpleSpreadError("SimpleSpread: the episode is over, or has not begun: call reset() first.")
        forces = []
        for agent in agents:
            action = actions[agent]
            if not 0 <= action < len(PUSHES):
                raise SimpleSpreadError(f"SimpleSpread: {agent}'s action is {action!r}; it is from 0 to 4.")
            forces.append([SENSITIVITY * push for push in PUSHES[action]])
        self._repel(forces)
        for place, speed, force in zip(self._places, self._speeds, forces, strict=True):
            for axis in (0, 1):
                place[axis] += speed[axis] * DT
                speed[axis] = speed[axis] * (1 - DAMPING) + force[axis] * DT
        touched = [0] * self.n
        for i in range(self.n):
            for j in range(i + 1, self.n):
                if math.dist(self._places[i], self._places[j]) < 2 * RADIUS:
                    touched[i] += 1
                    touched[j] += 1
        common = -sum(min(math.dist(place, mark) for place in self._places) for mark in self._marks)
        ratio = self.local_ratio
        rewards = {a: common * (1 - ratio) - t * ratio for a, t in zip(agents, touched, strict=True)}
        self._now += 1
        over = self._now >= self.max_cycles
        infos: dict[str, dict[str, Any]] = {agent: {} for agent in agents}
        if over:
            self.agents = []
        return self._observe(), rewards, dict.fromkeys(agents, False), dict.fromkeys(agents, over), infos

    def _repel(self, forces: list[list[float]]) -> None:
        """Add what agents that touch do to each other."""
        for i in range(self.n):
            for j in range(i + 1, self.n):
                (x, y), (u, v) = self._places[i], self._places[j]
                distance = math.hypot(x - u, y - v)
                deep = (2 * RADIUS - distance) / CONTACT_MARGIN
                if deep < -40 or not distance:  # below the last bit of any other force
                    continue
                soft = max(deep, 0.0) + math.log1p(math.exp(-abs(deep)))
                push = CONTACT_FORCE * soft * CONTACT_MARGIN / distance
                for axis, apart in enumerate((x - u, y - v)):
                    forces[i][axis] += push * apart
                    forces[j][axis] -= push * apart

    def _observe(self) -> dict[str, np.ndarray]:
        """Every agent's observation: a row of one new array."""
        rows = []
        silence = [0.0] * (2 * (self.n - 1))
        for i, ((x, y), (speed_x, speed_y)) in enumerate(zip(self._places, self._speeds, strict=True)):
            row = [speed_x, speed_y, x, y]
            for u, v in self._marks:
                row += (u - x, v - y)
            for j, (u, v) in enumerate(self._places):
                if j != i:
                    row += (u - x, v - y)
            rows.append(row + silence)
        self._seen = np.array(rows, np.float32)
        return dict(zip(self.possible_agents, self._seen, strict=True))

    def render(self) -> None:
        """It draws nothing."""

    def close(self) -> None:
        """Nothing is held."""


def parallel_env(**options: Any) -> SimpleSpread:
    """As modules of PettingZoo and MPE2 call it, so that this one's name is an id: `MultiAgentPPO(env="reactornb.rl.simple_spread")`."""
    return SimpleSpread(**options)
