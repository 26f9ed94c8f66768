"""Reinforcement learning on reactors: the ready reactors, and one file per algorithm.

    from reactornb import Program
    from reactornb.rl import PPO

    result = Program(PPO(env="CartPole-v1")).run(seed=1)

The reactors, and what travels between them:

    Learner.weights -> Rollout.weights        float32 [P], one flat read-only array        (after=ms(0): the next round)
    Rollout.trajectory -> Learner.batches     a Trajectory per rollout                      (on-policy algorithms)
    Rollout.trajectory -> ReplayBuffer.trajectories -> .batches -> Learner.batches          (off-policy algorithms)
    Learner.feedback -> ReplayBuffer.priorities                                             (after=ms(0))
    Learner.final -> Evaluator.final          the weights after the last round

Nothing is imported before it is used; torch only with what needs it (not with `Rollout`, `ReplayBuffer`, `Evaluator`).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reactornb.rl.a2c import A2C, A2CConfig
    from reactornb.rl.a3c import A3C, A3CConfig
    from reactornb.rl.appo import APPO, APPOConfig
    from reactornb.rl.atari import MACHADO_2018, MNIH_2015, make_atari, make_frames
    from reactornb.rl.dqn import DQN, DQNConfig
    from reactornb.rl.envs import EnvSpec, spec_of
    from reactornb.rl.experiment5 import Experiment5
    from reactornb.rl.gradients import Algorithm
    from reactornb.rl.impala import IMPALA, IMPALAConfig
    from reactornb.rl.learner import Learner
    from reactornb.rl.marl import MultiAgent
    from reactornb.rl.policies import CategoricalPolicy, EpsilonGreedyPolicy, GaussianPolicy, Policy, RandomPolicy
    from reactornb.rl.ppo import PPO, PPOConfig
    from reactornb.rl.qlearning import QLearning, QLearningConfig
    from reactornb.rl.replay import ReplayBuffer
    from reactornb.rl.rollout import Evaluator, Rollout
    from reactornb.rl.storage import Batch, Trajectory
    from reactornb.rl.traffic_junction import TrafficJunction
    from reactornb.rl.vector import ReactorVectorEnv

__all__ = [
    "A2C",
    "A3C",
    "APPO",
    "DQN",
    "IMPALA",
    "MACHADO_2018",
    "MNIH_2015",
    "PPO",
    "A2CConfig",
    "A3CConfig",
    "APPOConfig",
    "Algorithm",
    "Batch",
    "CategoricalPolicy",
    "DQNConfig",
    "EnvSpec",
    "EpsilonGreedyPolicy",
    "Evaluator",
    "Experiment5",
    "GaussianPolicy",
    "IMPALAConfig",
    "Learner",
    "MultiAgent",
    "PPOConfig",
    "Policy",
    "QLearning",
    "QLearningConfig",
    "RandomPolicy",
    "ReactorVectorEnv",
    "ReplayBuffer",
    "Rollout",
    "TrafficJunction",
    "Trajectory",
    "make_atari",
    "make_frames",
    "spec_of",
]

_LAZY = {
    "PPOConfig": "ppo",
    "PPO": "ppo",
    "APPOConfig": "appo",
    "APPO": "appo",
    "IMPALAConfig": "impala",
    "IMPALA": "impala",
    "DQNConfig": "dqn",
    "DQN": "dqn",
    "A3CConfig": "a3c",
    "A3C": "a3c",
    "A2CConfig": "a2c",
    "A2C": "a2c",
    "MACHADO_2018": "atari",
    "MNIH_2015": "atari",
    "Algorithm": "gradients",
    "Batch": "storage",
    "CategoricalPolicy": "policies",
    "EnvSpec": "envs",
    "EpsilonGreedyPolicy": "policies",
    "Evaluator": "rollout",
    "Experiment5": "experiment5",
    "GaussianPolicy": "policies",
    "Learner": "learner",
    "MultiAgent": "marl",
    "Policy": "policies",
    "QLearning": "qlearning",
    "QLearningConfig": "qlearning",
    "RandomPolicy": "policies",
    "ReactorVectorEnv": "vector",
    "ReplayBuffer": "replay",
    "Rollout": "rollout",
    "TrafficJunction": "traffic_junction",
    "Trajectory": "storage",
    "make_atari": "atari",
    "make_frames": "atari",
    "spec_of": "envs",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"reactornb.rl.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
