"""Pong from its screen: the long run. Ten million steps (forty million frames) of PPO.

    reactornb run reactornb/rl/pong.py                          # all of it, hours on two cores
    reactornb run reactornb/rl/pong.py frames=200_000           # its beginning
    reactornb bench learning --algorithms pong --frames 200000  # the same, and its throughput

Preprocessing as in Mnih et al. 2015, through ALE's own vector environment; hyper-parameters of CleanRL's ppo_atari.py. Published for
PPO after ten million steps: 20.989 ± 0.105 (RL Baselines3 Zoo, benchmark.md, PongNoFrameskip-v4); 21 is the most there is.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from reactornb.model import Reactor
from reactornb.rl.atari import MNIH_2015, make_atari
from reactornb.rl.ppo import PPO, PPOConfig

__all__ = ["CONFIG", "Pong", "main"]

FRAME_SKIP = int(MNIH_2015["frame_skip"])

CONFIG = PPOConfig(
    total_timesteps=10_000_000, n_rollouts=2, n_envs=4, n_steps=128, n_epochs=4, batch_size=256, learning_rate=2.5e-4, gamma=0.99,
    gae_lambda=0.95, clip_range=0.1, ent_coef=0.01, vf_coef=0.5, max_grad_norm=0.5, eval_episodes=8,
)  # fmt: skip


class Pong(Reactor):
    """PPO on Pong.

    Parameters:
        frames: of the emulators, four for each step; None: as many as `config` says.
        game: another one, by its name.
        config: hyper-parameters; None: `CONFIG`.
    """

    needs_physical_time = False

    frames: int | None = None
    game: str = "Pong"
    config: Any = None

    def compose(self) -> None:
        """One PPO on a vector environment per rollout."""
        config: PPOConfig = self.config or CONFIG
        if self.frames is not None:
            config = replace(config, total_timesteps=self.frames // FRAME_SKIP)
        self.ppo = PPO(env=partial(make_atari, self.game, config.n_envs, **MNIH_2015), config=config)


main = Pong
