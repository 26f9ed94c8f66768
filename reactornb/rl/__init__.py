"""Reinforcement learning on reactors: the ready reactors, and one file per algorithm.

    from reactornb import Program
    from reactornb.rl import PPO

    result = Program(PPO(env="CartPole-v1")).run(seed=1)

What it has learnt, as a file:

    save_policy(run, "p.safetensors")
    action = load_policy("p.safetensors")(observation)

The reactors, and what travels between them:

    Learner.weights -> Rollout.weights        float32 [P], one flat read-only array        (after=ms(0): the next round)
    Rollout.trajectory -> Learner.batches     a Trajectory per rollout                      (on-policy algorithms)
    Rollout.trajectory -> ReplayBuffer.trajectories -> .batches -> Learner.batches          (off-policy algorithms)
    DatasetSampler.batches -> Learner.batches  recorded episodes; see `offline`             (behaviour cloning, IQL)
    Learner.feedback -> ReplayBuffer.priorities                                             (after=ms(0))
    Learner.final -> Evaluator.final          the weights after the last round
    Learner.weights -> Evaluator.weights      with eval_every                               (after=ms(0))
    Monitor.progress -> Listener.progress     each round, for callbacks; see `steering`

Nothing is imported before it is used; torch only with what needs it (not with `Rollout`, `ReplayBuffer`, `Evaluator`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reactornb.lazy import importer

if TYPE_CHECKING:
    from reactornb.rl.a2c import A2C, A2CConfig
    from reactornb.rl.a3c import A3C, A3CConfig
    from reactornb.rl.appo import APPO, APPOConfig
    from reactornb.rl.atari import MACHADO_2018, MNIH_2015, make_atari, make_frames
    from reactornb.rl.bc import BCConfig, BehaviorCloning
    from reactornb.rl.bounded import NoisyPolicy, SquashedGaussianPolicy
    from reactornb.rl.camera import Camera, videos
    from reactornb.rl.datasets import OfflineDataset
    from reactornb.rl.ddpg import DDPG, DDPGConfig
    from reactornb.rl.dqn import DQN, DQNConfig
    from reactornb.rl.env_spec import EnvSpec
    from reactornb.rl.envs import spec_of
    from reactornb.rl.episodes import Gallery, Watched
    from reactornb.rl.experiment5 import Experiment5
    from reactornb.rl.gradients import Algorithm
    from reactornb.rl.impala import IMPALA, IMPALAConfig
    from reactornb.rl.iql import IQL, IQLConfig
    from reactornb.rl.isolation import isolated
    from reactornb.rl.learner import Learner
    from reactornb.rl.marl import MultiAgent
    from reactornb.rl.mask_wrapper import masked
    from reactornb.rl.minari_files import read_dataset, record
    from reactornb.rl.multi_agent import MultiAgentPPO, MultiAgentPPOConfig
    from reactornb.rl.multi_agent_evaluation import evaluate_agents
    from reactornb.rl.normalization import Normalizer, normalizer_of
    from reactornb.rl.offline import DatasetSampler
    from reactornb.rl.policies import (
        CategoricalPolicy,
        EpsilonGreedyPolicy,
        GaussianPolicy,
        MultiCategoricalPolicy,
        Policy,
        RandomPolicy,
    )
    from reactornb.rl.ppo import PPO, PPOConfig
    from reactornb.rl.qlearning import QLearning, QLearningConfig
    from reactornb.rl.recorded import by_replay
    from reactornb.rl.recurrent_ppo import RecurrentPPO, RecurrentPPOConfig
    from reactornb.rl.replay import ReplayBuffer
    from reactornb.rl.rollout import Evaluator, Rollout
    from reactornb.rl.sac import SAC, SACConfig
    from reactornb.rl.saved_policy import SavedPolicy, load_policy
    from reactornb.rl.saving_policies import save_policy
    from reactornb.rl.showing import watch
    from reactornb.rl.simple_spread import SimpleSpread
    from reactornb.rl.steering import STOP, Listener, Progress, listener
    from reactornb.rl.storage import Batch, Trajectory
    from reactornb.rl.td3 import TD3, TD3Config
    from reactornb.rl.traffic_junction import TrafficJunction
    from reactornb.rl.trained import best_policy, evaluate
    from reactornb.rl.vector import ReactorVectorEnv

__all__ = [
    "A2C",
    "A3C",
    "APPO",
    "DDPG",
    "DQN",
    "IMPALA",
    "IQL",
    "MACHADO_2018",
    "MNIH_2015",
    "PPO",
    "SAC",
    "STOP",
    "TD3",
    "A2CConfig",
    "A3CConfig",
    "APPOConfig",
    "Algorithm",
    "BCConfig",
    "Batch",
    "BehaviorCloning",
    "Camera",
    "CategoricalPolicy",
    "DDPGConfig",
    "DQNConfig",
    "DatasetSampler",
    "EnvSpec",
    "EpsilonGreedyPolicy",
    "Evaluator",
    "Experiment5",
    "Gallery",
    "GaussianPolicy",
    "IMPALAConfig",
    "IQLConfig",
    "Learner",
    "Listener",
    "MultiAgent",
    "MultiAgentPPO",
    "MultiAgentPPOConfig",
    "MultiCategoricalPolicy",
    "NoisyPolicy",
    "Normalizer",
    "OfflineDataset",
    "PPOConfig",
    "Policy",
    "Progress",
    "QLearning",
    "QLearningConfig",
    "RandomPolicy",
    "ReactorVectorEnv",
    "RecurrentPPO",
    "RecurrentPPOConfig",
    "ReplayBuffer",
    "Rollout",
    "SACConfig",
    "SavedPolicy",
    "SimpleSpread",
    "SquashedGaussianPolicy",
    "TD3Config",
    "TrafficJunction",
    "Trajectory",
    "Watched",
    "best_policy",
    "by_replay",
    "evaluate",
    "evaluate_agents",
    "isolated",
    "listener",
    "load_policy",
    "make_atari",
    "make_frames",
    "masked",
    "normalizer_of",
    "read_dataset",
    "record",
    "save_policy",
    "spec_of",
    "videos",
    "watch",
]

_LAZY = {
    "BCConfig": "bc",
    "BehaviorCloning": "bc",
    "DatasetSampler": "offline",
    "IQL": "iql",
    "IQLConfig": "iql",
    "OfflineDataset": "datasets",
    "read_dataset": "minari_files",
    "record": "minari_files",
    "best_policy": "trained",
    "evaluate": "trained",
    "evaluate_agents": "multi_agent_evaluation",
    "Progress": "steering",
    "listener": "steering",
    "Listener": "steering",
    "STOP": "steering",
    "PPOConfig": "ppo",
    "PPO": "ppo",
    "APPOConfig": "appo",
    "APPO": "appo",
    "IMPALAConfig": "impala",
    "IMPALA": "impala",
    "DDPGConfig": "ddpg",
    "DDPG": "ddpg",
    "SACConfig": "sac",
    "SAC": "sac",
    "TD3Config": "td3",
    "TD3": "td3",
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
    "Camera": "camera",
    "CategoricalPolicy": "policies",
    "EnvSpec": "envs",
    "EpsilonGreedyPolicy": "policies",
    "Evaluator": "rollout",
    "Experiment5": "experiment5",
    "Gallery": "episodes",
    "GaussianPolicy": "policies",
    "Learner": "learner",
    "MultiAgent": "marl",
    "MultiAgentPPO": "multi_agent",
    "MultiAgentPPOConfig": "multi_agent",
    "MultiCategoricalPolicy": "policies",
    "NoisyPolicy": "bounded",
    "Normalizer": "normalization",
    "Policy": "policies",
    "QLearning": "qlearning",
    "QLearningConfig": "qlearning",
    "RandomPolicy": "policies",
    "ReactorVectorEnv": "vector",
    "RecurrentPPO": "recurrent_ppo",
    "RecurrentPPOConfig": "recurrent_ppo",
    "ReplayBuffer": "replay",
    "Rollout": "rollout",
    "SavedPolicy": "saved_policy",
    "SimpleSpread": "simple_spread",
    "SquashedGaussianPolicy": "bounded",
    "TrafficJunction": "traffic_junction",
    "Trajectory": "storage",
    "Watched": "episodes",
    "load_policy": "saved_policy",
    "by_replay": "recorded",
    "isolated": "isolation",
    "make_atari": "atari",
    "make_frames": "atari",
    "masked": "mask_wrapper",
    "normalizer_of": "normalization",
    "save_policy": "saving_policies",
    "spec_of": "envs",
    "videos": "camera",
    "watch": "showing",
}

__getattr__ = importer(__name__, _LAZY)


def __dir__() -> list[str]:
    return __all__
