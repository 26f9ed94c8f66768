"""Small trainings with every algorithm of `reactornb.rl` that has a network, for the tests of what stands around a learner."""

from reactornb import Program
from reactornb.rl import (
    A2C,
    A3C,
    APPO,
    DDPG,
    DQN,
    IMPALA,
    PPO,
    SAC,
    TD3,
    A2CConfig,
    A3CConfig,
    APPOConfig,
    DDPGConfig,
    DQNConfig,
    IMPALAConfig,
    PPOConfig,
    SACConfig,
    TD3Config,
)

__all__ = ["ALL", "made", "ppo", "run_of", "weights"]

_PPO = {
    "total_timesteps": 400,
    "n_rollouts": 2,
    "n_envs": 2,
    "n_steps": 10,
    "batch_size": 20,
    "n_epochs": 1,
    "hidden": (8,),
    "eval_episodes": 2,
}
_DQN = {
    "total_timesteps": 300, "n_rollouts": 2, "train_freq": 5, "gradient_steps": 2, "batch_size": 16, "buffer_size": 60, "learning_starts": 20,
    "learning_rate": 0.05, "exploration_initial_eps": 0.1, "hidden": (8,), "eval_episodes": 2,
}  # fmt: skip
_CONTINUOUS = {
    "total_timesteps": 300, "n_rollouts": 2, "train_freq": 5, "gradient_steps": 2, "batch_size": 16, "buffer_size": 100, "learning_starts": 20,
    "hidden": (8,), "eval_episodes": 2,
}  # fmt: skip
_SHORT = {"total_timesteps": 200, "n_envs": 2, "n_steps": 5, "hidden": (8,), "eval_episodes": 2}
ALL = {
    "ppo": (PPO, PPOConfig, _PPO),
    "ppo, two shards": (PPO, PPOConfig, {**_PPO, "shards": 2}),
    "ppo, overlap": (PPO, PPOConfig, {**_PPO, "overlap": True, "staleness": 2}),
    "a2c": (A2C, A2CConfig, _SHORT),
    "impala": (IMPALA, IMPALAConfig, _SHORT),
    "appo": (APPO, APPOConfig, {**_SHORT, "n_steps": 10, "batch_size": 20}),
    "dqn": (DQN, DQNConfig, _DQN),
    "a3c": (A3C, A3CConfig, {"total_timesteps": 300, "n_actors": 3, "n_steps": 10, "hidden": (8,), "eval_episodes": 2}),
    "sac": (SAC, SACConfig, _CONTINUOUS),
    "td3": (TD3, TD3Config, _CONTINUOUS),
    "ddpg": (DDPG, DDPGConfig, _CONTINUOUS),
}  # fmt: skip


def made(name, **more):
    cls, config, settings = ALL[name]
    env = "Pendulum-v1" if settings is _CONTINUOUS else "CartPole-v1"
    return Program(cls(env=env, config=config(**{**settings, **more})))


def run_of(program, workers=1, **options):
    run = program.start(workers=workers, seed=1, **options)
    run.result()
    return run


def ppo(workers=1, options=None, **more):
    return run_of(made("ppo", **more), workers, **(options or {}))


def weights(run):
    learner = "shared" if run.program.name == "a3c" else "learner"
    return run.instance(learner).flat.publish()
