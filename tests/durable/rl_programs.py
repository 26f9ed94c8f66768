"""Small trainings with every algorithm of `reactornb.rl` and every kind of environment, and how they are kept, and resumed in another process:

python rl_programs.py resume NAME FOLDER      # each copy of a kept run in FOLDER, named by its number of workers; writes outcomes as JSON
"""

from __future__ import annotations

import contextlib
import json
import random  # noqa: TID251 - for an environment that draws from it
import sys
from functools import partial
from pathlib import Path

import gymnasium
import numpy as np
import torch
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers import FrameStackObservation, RecordEpisodeStatistics, TimeLimit
from gymnasium.wrappers.utils import RunningMeanStd
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1] / "rl"))
sys.path.insert(0, str(Path(__file__).parents[1]))

from keeping_runs import outcome
from recorded_episodes import made_up
from ticks import Ticks

from reactornb import Bank, Program, Reactor, connect, reaction, startup
from reactornb.rl import (
    A2C,
    A3C,
    APPO,
    DDPG,
    DQN,
    IMPALA,
    IQL,
    PPO,
    SAC,
    TD3,
    A2CConfig,
    A3CConfig,
    APPOConfig,
    BehaviorCloning,
    DDPGConfig,
    DQNConfig,
    Experiment5,
    IMPALAConfig,
    Listener,
    PPOConfig,
    QLearning,
    QLearningConfig,
    ReactorVectorEnv,
    RecurrentPPO,
    RecurrentPPOConfig,
    Rollout,
    SACConfig,
    TD3Config,
    listener,
    make_atari,
    make_frames,
    masked,
)

__all__ = ["ATARI", "MUJOCO", "PARALLEL", "PROGRAMS", "program"]


class Centred(gymnasium.ObservationWrapper):
    """Keeps statistics over all episodes, as `NormalizeObservation` does, which programs that evaluate do not take."""

    def __init__(self, env):
        super().__init__(env)
        self.seen = RunningMeanStd(shape=env.observation_space.shape)

    def observation(self, observation):
        self.seen.update(observation[None])
        return (observation - self.seen.mean).astype(np.float32)


def normalised():
    """Wrappers that keep statistics over all episodes."""
    return Centred(RecordEpisodeStatistics(gymnasium.make("CartPole-v1")))


def together(mode="NextStep"):
    return ReactorVectorEnv([normalised] * 3, workers=2, autoreset_mode=mode)


def in_turn():
    return SyncVectorEnv([normalised] * 2)


PLACES = {}  # of each `Hidden`: what C would keep


class Hidden(gymnasium.Env):
    """A walk whose place its attributes do not tell."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(3)

    def __init__(self):
        self.engine = memoryview(bytearray(8))  # nothing that a checkpoint can hold

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        PLACES[id(self)] = self.np_random.random()
        return self.seen(), {}

    def seen(self):
        return np.array([PLACES[id(self)], self.np_random.random()], np.float32)

    def step(self, action):
        PLACES[id(self)] += (int(action) - 1) * self.np_random.random()
        return self.seen(), PLACES[id(self)], abs(PLACES[id(self)]) > 2, False, {}

    def close(self):
        PLACES.pop(id(self), None)


def hidden():
    return Centred(TimeLimit(Hidden(), 30))


class Careless(gymnasium.Env):
    """Draws from generators of the process, so it has to have one of its own."""

    observation_space = gymnasium.spaces.Box(0, 1, (3,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 20
        return self.seen(), {}

    def seen(self):
        return np.array([random.random(), np.random.random(), self.np_random.random()], np.float32)  # noqa: NPY002 - see above

    def step(self, action):
        self.left -= 1
        return self.seen(), random.random() - action, self.left == 0, False, {}


class Keys(gymnasium.Env):
    """A walk by several choices at once, which a Dict holds."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)

    def __init__(self):
        self.action_space = gymnasium.spaces.Dict(
            turns=gymnasium.spaces.MultiDiscrete([3, 2]),
            go=gymnasium.spaces.MultiBinary(2),
            way=gymnasium.spaces.Discrete(3, start=-1),
        )

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = self.np_random.random(2).astype(np.float32)
        self.left = 50  # a policy may stand still for ever
        return self.at.copy(), {}

    def over(self):
        self.left -= 1
        return self.left == 0

    def step(self, action):
        assert self.action_space.contains(action), action
        self.at += action["way"] * action["turns"] - action["go"] + self.np_random.random(2).astype(np.float32)
        return self.at.copy(), float(-np.abs(self.at).sum()), bool(np.abs(self.at).max() > 9), self.over(), {}


class Locked(Keys):
    """A walk whose way is barred now and then."""

    def __init__(self):
        self.action_space = gymnasium.spaces.Discrete(4)

    def reset(self, *, seed=None, options=None):
        seen, _ = super().reset(seed=seed)
        return seen, self.told()

    def told(self):
        self.mask = np.append(self.np_random.random(3) < 0.5, True)
        return {"action_mask": self.mask.astype(np.int8)}

    def step(self, action):
        assert self.mask[action]
        self.at += self.np_random.random(2).astype(np.float32) * (action - 1)
        return self.at.copy(), float(-np.abs(self.at).sum()), bool(np.abs(self.at).max() > 5), self.over(), self.told()


class Pictured(Keys):
    """The same, seen as a picture and numbers."""

    def __init__(self):
        super().__init__()
        self.observation_space = gymnasium.spaces.Dict(
            at=Keys.observation_space, seen=gymnasium.spaces.Box(0, 255, (36, 36), np.uint8)
        )
        self.action_space = gymnasium.spaces.MultiBinary(2)

    def shown(self):
        seen = np.zeros((36, 36), np.uint8)
        x, y = np.clip(18 + 2 * self.at, 0, 35).astype(int)
        seen[x, y] = 255
        return {"at": self.at.copy(), "seen": seen}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.shown(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.at += action - self.np_random.random(2).astype(np.float32)
        return self.shown(), float(-np.abs(self.at).sum()), bool(np.abs(self.at).max() > 9), self.over(), {}


NORMAL = {"normalize_observations": True, "normalize_rewards": True}


class Playing(Reactor):
    """Rollouts that play at random; what they saw is in the fingerprint."""

    needs_physical_time = False
    env: object = None
    rounds: int = 8

    def compose(self):
        self.ticks = Ticks()
        self.rollouts = Bank(Rollout, 2, env=self.env, n_envs=2, n_steps=9)
        connect(self.ticks.weights, self.rollouts.weights, broadcast=True)


def stacked_frames():
    """Sticky actions of 0.25, a random number of frames for an action, and a stack of observations."""
    return FrameStackObservation(make_frames("Pong", obs_type="ram", frameskip=(2, 5)), 3)


def games():
    return make_atari("Pong", 2, sticky_actions=0.25, noop_max=5, terminal_on_life_loss=True)


class Own(nn.Module):
    """A network of a user's own."""

    def __init__(self, spec):
        super().__init__()
        self.layer = nn.Linear(*spec.observation_shape, 6)

    def forward(self, x):
        return torch.tanh(self.layer(x))


class Counts(Listener):
    """Hears, keeps something, draws, and changes the learner."""

    every: int = 50

    @reaction(startup)
    def on_startup(self):
        self.heard_of = []

    def hear(self, progress):
        self.heard_of.append(progress.round)
        self.log(drawn=self.rng.random(), rounds=len(self.heard_of))
        return {"learning_rate": 1e-3} if len(self.heard_of) == 3 else None


@listener
def steps(self, progress):
    self.log(heard=progress.steps, returns=len(progress.returns), evaluated=progress.evaluation or 0.0)


_STEERED = {"eval_every": 70, "keep_best": True, "stop_at_return": 1e6, "callbacks": (Counts, steps)}


def make_traffic():
    from reactornb.rl import MultiAgent, TrafficJunction

    return MultiAgent(env=partial(TrafficJunction, "easy"), total_timesteps=60)


def team(**more):
    """Agents that leave early and join late, in a training of several."""
    from reactornb.rl import MultiAgentPPO, TrafficJunction

    return MultiAgentPPO(
        env=partial(TrafficJunction, "easy", cars=3, steps=9), total_timesteps=240, n_steps=15, n_envs=2, n_epochs=2, batch_size=50, hidden=(8,),
        eval_episodes=2, **more,
    )  # fmt: skip


_PPO = {"total_timesteps": 480, "n_steps": 20, "n_epochs": 2, "batch_size": 20, "hidden": (8,), "eval_episodes": 2}
_DQN = {
    "total_timesteps": 300, "n_rollouts": 2, "train_freq": 5, "gradient_steps": 2, "batch_size": 16, "buffer_size": 60, "learning_starts": 20,
    "learning_rate": 0.05, "exploration_initial_eps": 0.5, "hidden": (8,), "eval_episodes": 2,
}  # fmt: skip
_ALL = {"prioritised": True, "duelling": True, "double": True, "n_steps": 3}
_SHORT = {"total_timesteps": 200, "n_envs": 2, "hidden": (8,), "eval_episodes": 2}
_CONTINUOUS = {
    "total_timesteps": 300, "learning_starts": 50, "train_freq": 5, "gradient_steps": 2, "batch_size": 16, "buffer_size": 200, "hidden": (8, 8), "eval_episodes": 2,
}  # fmt: skip
CART = gymnasium.spaces.Box(
    -np.array([4.8, np.inf, 0.41887903, np.inf], "f"), np.array([4.8, np.inf, 0.41887903, np.inf], "f")
)
PENDULUM, ARM = (
    gymnasium.spaces.Box(-np.array([1, 1, 8], "f"), np.array([1, 1, 8], "f")),
    gymnasium.spaces.Box(-2, 2, (1,), np.float32),
)
_OFFLINE = {"total_timesteps": 60, "gradient_steps": 5, "batch_size": 16, "hidden": (8, 8), "eval_episodes": 1}
_TABLE = {"total_timesteps": 1600, "n_rollouts": 2, "n_envs": 2, "n_steps": 50, "eval_episodes": 50}


def recurrent(env="CartPole-v1", **more):
    return RecurrentPPO(env=env, config=RecurrentPPOConfig(**{**_PPO, "batch_size": 40, "lstm_hidden_size": 6}, **more))


def ppo(env="CartPole-v1", **more):
    return PPO(env=env, config=PPOConfig(**_PPO, **more))


def ppo_apart(env):
    """With few processes: each takes half a second to start."""
    return PPO(
        env=env, config=PPOConfig(**{**_PPO, "total_timesteps": 160, "eval_episodes": 0}, n_rollouts=1, isolate=True)
    )


PROGRAMS = {
    "ppo": ppo,
    "ppo, two shards": lambda: ppo(shards=2),
    "ppo, overlap": lambda: ppo(overlap=True),
    "ppo, overlap, two rounds ahead, two shards": lambda: ppo(overlap=True, staleness=2, shards=2),
    "ppo, continuous actions": lambda: ppo("Pendulum-v1"),
    "ppo, normalised": lambda: ppo("Pendulum-v1", **NORMAL),
    "ppo, normalised, two shards, overlap": lambda: ppo("Pendulum-v1", **NORMAL, shards=2, overlap=True),
    "a3c, normalised": lambda: A3C(
        env="Pendulum-v1", config=A3CConfig(total_timesteps=300, n_actors=3, n_steps=10, hidden=(8,), eval_episodes=2, **NORMAL)
    ),
    "dqn, normalised": lambda: DQN(env="CartPole-v1", config=DQNConfig(**_DQN, **NORMAL)),
    "ppo, several choices": lambda: ppo(Keys),
    "ppo, action masks": lambda: ppo(masked(Locked), normalize_observations=True),
    "dqn, action masks": lambda: DQN(env=masked(Locked), config=DQNConfig(**_DQN, **_ALL)),
    "recurrent ppo": recurrent,
    "recurrent ppo, two shards, overlap, normalised, steered": lambda: recurrent(**NORMAL, **_STEERED, shards=2, overlap=True),
    "recurrent ppo, action masks, same step": lambda: recurrent(lambda: ReactorVectorEnv([masked(Locked)] * 2, workers=1, autoreset_mode="SameStep")),
    "ppo, a picture and numbers": lambda: PPO(env=Pictured, config=PPOConfig(**{**_PPO, "total_timesteps": 160}, **NORMAL)),
    "ppo, wrappers with statistics": lambda: ppo(normalised),
    "ppo, ReactorVectorEnv": lambda: ppo(together),
    "ppo, ReactorVectorEnv, same step": lambda: ppo(partial(together, "SameStep")),
    "ppo, SyncVectorEnv": lambda: ppo(in_turn),
    "ppo, isolated, generators of the process": lambda: ppo_apart(Careless),
    "ppo, isolated, hidden state": lambda: ppo_apart(hidden),
    "ppo, isolated, ReactorVectorEnv": lambda: ppo_apart(together),
    "ppo, hidden state": lambda: ppo(hidden),
    "ppo, hidden state in a ReactorVectorEnv": lambda: ppo(lambda: ReactorVectorEnv([hidden] * 2, workers=1)),
    "a2c": lambda: A2C(env="CartPole-v1", config=A2CConfig(**_SHORT)),
    "a2c, two shards": lambda: A2C(env="CartPole-v1", config=A2CConfig(**_SHORT, shards=2)),
    "a3c": lambda: A3C(env="CartPole-v1", config=A3CConfig(total_timesteps=300, n_actors=3, n_steps=10, hidden=(8,), eval_episodes=2)),
    "impala": lambda: IMPALA(env="CartPole-v1", config=IMPALAConfig(**_SHORT, n_steps=5)),
    "appo": lambda: APPO(env="CartPole-v1", config=APPOConfig(**_SHORT, n_steps=10, batch_size=20)),
    "dqn": lambda: DQN(env="CartPole-v1", config=DQNConfig(**_DQN)),
    "dqn, prioritised, duelling, double, 3 steps": lambda: DQN(env="CartPole-v1", config=DQNConfig(**_DQN, **_ALL)),
    "dqn, all of it, two shards, overlap": lambda: DQN(
        env="CartPole-v1", config=DQNConfig(**_DQN, **_ALL, shards=2, overlap=True)
    ),
    "ppo, steered, a network of one's own": lambda: ppo(**_STEERED, network=Own),
    "ppo, steered, overlap, two shards": lambda: ppo(**_STEERED, overlap=True, shards=2),
    "ppo, ends by the mean of the last episodes": lambda: ppo(stop_at_return=1e6),
    "ppo, films itself": lambda: ppo(video_every=120),
    "ppo, an hour at most": lambda: ppo(max_seconds=3600.0),
    "a3c, steered": lambda: A3C(
        env="CartPole-v1", config=A3CConfig(total_timesteps=300, n_actors=3, n_steps=10, hidden=(8,), eval_episodes=2, **_STEERED)
    ),
    "dqn, steered, a network of one's own": lambda: DQN(
        env="CartPole-v1", config=DQNConfig(**_DQN, **_STEERED, network=Own)
    ),
    "sac": lambda: SAC(config=SACConfig(**_CONTINUOUS)),
    "sac, two shards, overlap, 3 steps": lambda: SAC(config=SACConfig(**{**_CONTINUOUS, "gradient_steps": -1}, shards=2, overlap=True, n_steps=3, n_rollouts=2)),
    "sac, normalised, films itself": lambda: SAC(config=SACConfig(**_CONTINUOUS, **NORMAL, video_every=100)),
    "td3": lambda: TD3(config=TD3Config(**_CONTINUOUS)),
    "td3, two shards": lambda: TD3(config=TD3Config(**_CONTINUOUS, shards=2, policy_delay=3, n_rollouts=2)),
    "ddpg": lambda: DDPG(config=DDPGConfig(**_CONTINUOUS, n_envs=2)),
    "behaviour cloning": lambda: BehaviorCloning(
        dataset=made_up(gymnasium.spaces.Discrete(2), CART), env="CartPole-v1", **_OFFLINE, normalize_observations=True
    ),
    "behaviour cloning, without an environment": lambda: BehaviorCloning(
        dataset=made_up(gymnasium.spaces.MultiDiscrete([3, 2])), **{**_OFFLINE, "eval_episodes": 0}, network=Own
    ),
    "iql": lambda: IQL(dataset=made_up(ARM, PENDULUM), env="Pendulum-v1", **_OFFLINE),
    "iql, steered, normalised, two shards": lambda: IQL(
        dataset=made_up(ARM, PENDULUM), env="Pendulum-v1", **_OFFLINE, **{**_STEERED, "eval_every": 30}, **NORMAL, shards=2
    ),
    "q-learning": lambda: QLearning(config=QLearningConfig(**_TABLE)),
    "q-learning on a lake": lambda: QLearning(env="FrozenLake-v1", config=QLearningConfig(**_TABLE)),
    "experiment 5": lambda: Experiment5(batch_size=50, rounds=12, n_rollouts=3, n_steps=20),
}  # fmt: skip
PARALLEL = {
    "traffic junction": make_traffic,
    "a team, a centralised critic": team,
    "a team, each agent its own, normalised, two shards, overlap": lambda: team(
        share=False, critic="own", shards=2, overlap=True, **NORMAL
    ),
    "a team in groups, steered": lambda: team(
        share={"two": ["car_0", "car_2"], "one": ["car_1"]}, agent_ids=True, **{**_STEERED, "eval_every": 60}, **NORMAL
    ),
}
MUJOCO = {
    "sac, a robot": lambda: SAC(env="Hopper-v5", config=SACConfig(**{**_CONTINUOUS, "total_timesteps": 200})),
}
ATARI = {"atari, one game each": lambda: Playing(env=stacked_frames), "atari, vector games": lambda: Playing(env=games)}


def program(name):
    return Program({**PROGRAMS, **PARALLEL, **MUJOCO, **ATARI}[name]())


def _resume(name, folder):
    from reactornb import resume

    found = {}
    for path in sorted(Path(folder).glob("*/*")):
        with contextlib.redirect_stdout(sys.stderr):
            found[f"{path.parent.name}/{path.name}"] = outcome(
                resume(path, program=program(name), workers=int(path.name))
            )
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    _resume(*sys.argv[2:])
