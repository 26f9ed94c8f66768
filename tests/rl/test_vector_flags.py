"""Flags of `ReactorVectorEnv`, which are written only where an episode ends, against those of Gymnasium's own."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from reactornb.rl.vector import ReactorVectorEnv


class Ends(gymnasium.Env):
    """Ends, or is cut, at steps of its own; says so with any kind of flag."""

    observation_space = spaces.Box(0, 1000, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, after, flag):
        self.after, self.flag, self.steps = after, flag, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        over = self.steps >= self.after
        cut = self.after % 2 == 0
        ended = self.flag(over and not cut), self.flag(over and cut)
        return np.full(2, self.steps, np.float32), float(self.steps), *ended, {}


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED])
@pytest.mark.parametrize("flag", [bool, np.bool_, int, np.array], ids=["bool", "numpy", "int", "array"])
@pytest.mark.parametrize("workers", [1, 2])
def test_flags_are_those_of_the_sync_vector_env_step_by_step(mode, flag, workers):
    fns = [lambda after=after: Ends(after, flag) for after in (1, 2, 3, 5, 8, 100)]
    ours, theirs = ReactorVectorEnv(fns, autoreset_mode=mode, workers=workers), SyncVectorEnv(fns, autoreset_mode=mode)
    try:
        for envs in (ours, theirs):
            envs.reset(seed=1)
        for turn in range(40):
            got, expected = (envs.step(np.zeros(6, np.int64)) for envs in (ours, theirs))
            for a, b in zip(got[:4], expected[:4], strict=True):
                np.testing.assert_array_equal(a, b)
            over = expected[2] | expected[3]
            if mode is AutoresetMode.DISABLED and over.any():
                for envs in (ours, theirs):
                    envs.reset(options={"reset_mask": over})
            if turn == 20:  # in the middle of episodes, with flags just set
                for envs in (ours, theirs):
                    envs.reset(seed=2)
    finally:
        ours.close()
        theirs.close()
