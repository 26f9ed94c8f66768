"""Episodes made up by the tests of offline algorithms: no environment has played them."""

import numpy as np
from gymnasium import spaces

from reactornb.rl.datasets import OfflineDataset

__all__ = ["made_up", "made_up_episode"]


def made_up_episode(rng, observation_space, action_space, steps, number=0):
    """As Minari has it; every other episode is truncated."""
    ends = np.arange(steps) == steps - 1

    def drawn(space, count):
        if isinstance(space, spaces.Dict):
            return {name: drawn(part, count) for name, part in space.spaces.items()}
        if isinstance(space, spaces.Tuple):
            return tuple(drawn(part, count) for part in space.spaces)
        space.seed(int(rng.integers(2**31)))
        return np.stack([np.asarray(space.sample()) for _ in range(count)])

    return {
        "observations": drawn(observation_space, steps + 1),
        "actions": drawn(action_space, steps),
        "rewards": rng.standard_normal(steps),
        "terminations": ends if number % 2 == 0 else np.zeros(steps, bool),
        "truncations": ends if number % 2 else np.zeros(steps, bool),
    }


def made_up(action_space, observation_space=None, lengths=(30, 41, 7, 22), seed=0, env=None):
    """A dataset, the same for the same arguments in every process."""
    rng = np.random.default_rng(seed)
    observed = spaces.Box(-2, 2, (3,), np.float32) if observation_space is None else observation_space
    episodes = [made_up_episode(rng, observed, action_space, steps, i) for i, steps in enumerate(lengths)]
    return OfflineDataset.from_episodes(observed, action_space, episodes, env=env, source=f"made up, {seed}")
