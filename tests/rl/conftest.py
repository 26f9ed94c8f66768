"""What the tests of reactornb.rl share: environments whose every step is known beforehand."""

from importlib import util

import pytest

if util.find_spec("torch") is None or util.find_spec("gymnasium") is None:
    # The others in this folder say themselves what they need.
    collect_ignore = [
        f"test_{name}.py"
        for name in (
            "bench_learning",
            "bench_train",
            "config",
            "continuous",
            "continuous_gradients",
            "dense",
            "envs",
            "gradients_written_out",
            "losses",
            "names",
            "observations",
            "optimizers",
            "policies",
            "reactors",
            "storage",
            "trajectory_policies",
        )
    ]
else:
    import gymnasium
    import numpy as np

    class Scripted(gymnasium.Env):
        """Observation [episode, step]; reward 100 * episode + step; episodes of given lengths, every other one truncated."""

        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        action_space = gymnasium.spaces.Discrete(2)

        def __init__(self, lengths=(3, 2, 4)):
            self.lengths = lengths
            self.episode = -1
            self.step_of = 0

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.episode += 1
            self.step_of = 0
            return self.seen(), {}

        def seen(self):
            return np.array([self.episode, self.step_of], np.float32)

        def step(self, action):
            self.step_of += 1
            ended = self.step_of >= self.lengths[self.episode % len(self.lengths)]
            odd = self.episode % 2 == 1
            return self.seen(), 100.0 * self.episode + self.step_of, ended and not odd, ended and odd, {}

    class Matching(gymnasium.Env):
        """One step: the observation shows one of three actions, which is worth 1. Learnt within seconds, or not at all."""

        observation_space = gymnasium.spaces.Box(0, 1, (3,), np.float32)
        action_space = gymnasium.spaces.Discrete(3)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.shown = int(self.np_random.integers(3))
            return np.eye(3, dtype=np.float32)[self.shown], {}

        def step(self, action):
            return np.zeros(3, np.float32), float(action == self.shown), True, False, {}

    @pytest.fixture
    def scripted():
        return Scripted

    @pytest.fixture
    def matching():
        return Matching
