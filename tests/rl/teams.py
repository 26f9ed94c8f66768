"""Parallel environments whose every step is known beforehand; for the tests of several agents."""

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv


class Shift(ParallelEnv):
    """Three agents: `early` terminates at step 2, `late` comes at step 1, `all` stays; truncated after step 4.

    Observation [episode, step, number]; reward 100 * number + step; state [step, who is there].
    """

    metadata = {"name": "shift"}  # noqa: RUF012 - as PettingZoo has it
    possible_agents = ["early", "late", "all"]  # noqa: RUF012
    state_space = spaces.Box(-9, 9, (2,), np.float32)

    def __init__(self, log=None):
        self.episode = -1
        self.log = [] if log is None else log

    def observation_space(self, agent):
        return spaces.Box(-np.inf, np.inf, (3,), np.float32)

    def action_space(self, agent):
        return spaces.Discrete(3, start=1)

    def state(self):
        return np.array([self.now, len(self.agents)], np.float32)

    def seen(self, agents):
        return {a: np.array([self.episode, self.now, self.possible_agents.index(a)], np.float32) for a in agents}

    def reset(self, seed=None, options=None):
        self.episode += 1
        self.now = 0
        self.agents = ["early", "all"]
        return self.seen(self.agents), {}

    def step(self, actions):
        assert set(actions) == set(self.agents)
        assert all(self.action_space(a).contains(action) for a, action in actions.items())
        self.log.append(dict(actions))
        self.now += 1
        acting = self.agents
        rewards = {a: 100.0 * self.possible_agents.index(a) + self.now for a in acting}
        terminated = {a: a == "early" and self.now == 2 for a in acting}
        truncated = dict.fromkeys(acting, self.now == 4)
        self.agents = [a for a in acting if not (terminated[a] or truncated[a])]
        if self.now == 1:
            self.agents = ["early", "late", "all"]
        return self.seen({*acting, *self.agents}), rewards, terminated, truncated, {}


class Reach(ParallelEnv):
    """Two agents that learn fast: each is paid for the action that its observation names, `wolf` of 2 and `sheep` of 3, for 5 steps."""

    metadata = {"name": "reach"}  # noqa: RUF012
    possible_agents = ["wolf", "sheep"]  # noqa: RUF012

    def __init__(self, alike=False):
        self.counts = {"wolf": 3 if alike else 2, "sheep": 3}

    def observation_space(self, agent):
        return spaces.Box(0, 1, (self.counts[agent],), np.float32)

    def action_space(self, agent):
        return spaces.Discrete(self.counts[agent])

    def seen(self):
        self.wanted = {a: int(self.rng.integers(n)) for a, n in self.counts.items()}
        return {a: np.eye(n, dtype=np.float32)[self.wanted[a]] for a, n in self.counts.items()}

    def reset(self, seed=None, options=None):
        if seed is not None or not hasattr(self, "rng"):
            self.rng = np.random.default_rng(seed)
        self.now = 0
        self.agents = self.possible_agents[:]
        return self.seen(), {}

    def step(self, actions):
        rewards = {a: float(action == self.wanted[a]) for a, action in actions.items()}
        self.now += 1
        over = self.now == 5
        agents, self.agents = self.agents, [] if over else self.agents
        return self.seen(), rewards, dict.fromkeys(agents, over), dict.fromkeys(agents, False), {}


class Pushers(ParallelEnv):
    """Two agents with Box actions and observations of two axes."""

    metadata = {"name": "pushers"}  # noqa: RUF012
    possible_agents = ["left", "right"]  # noqa: RUF012

    def observation_space(self, agent):
        return spaces.Box(-1, 1, (2, 2), np.float32)

    def action_space(self, agent):
        return spaces.Box(-1, 1, (2,), np.float32)

    def seen(self):
        return {a: self.rng.uniform(-1, 1, (2, 2)).astype(np.float32) for a in self.possible_agents}

    def reset(self, seed=None, options=None):
        if seed is not None or not hasattr(self, "rng"):
            self.rng = np.random.default_rng(seed)
        self.now = 0
        self.agents = self.possible_agents[:]
        return self.seen(), {}

    def step(self, actions):
        assert all(self.action_space(a).contains(action) for a, action in actions.items())
        self.now += 1
        rewards = {a: -float(np.square(action).sum()) for a, action in actions.items()}
        over = self.now == 6
        agents, self.agents = self.agents, [] if over else self.agents
        return self.seen(), rewards, dict.fromkeys(agents, False), dict.fromkeys(agents, over), {}


class Allowed(Reach):
    """As `Reach` with two alike, but one action of three is forbidden at each step, as observations say."""

    def __init__(self):
        super().__init__(alike=True)

    def observation_space(self, agent):
        return spaces.Dict(
            {"action_mask": spaces.Box(0, 1, (3,), np.int8), "observation": super().observation_space(agent)}
        )

    def seen(self):
        self.masks = {a: np.ones(3, np.int8) for a in self.possible_agents}
        seen = super().seen()
        for a in seen:
            self.masks[a][(self.wanted[a] + 1 + self.rng.integers(2)) % 3] = 0
        return {a: {"observation": seen[a], "action_mask": self.masks[a]} for a in seen}

    def step(self, actions):
        assert all(self.masks[a][action] for a, action in actions.items())
        return super().step(actions)
