"""Tabular Q-learning, synchronised and parallel: a bank of rollouts plays with the newest table, one learner updates it.

    learner ──weights, one microstep later──▶ rollouts[n] ──trajectories──▶ learner

For environments whose observations and actions are finite: Blackjack, FrozenLake, Taxi, CliffWalking.

    result = Program(QLearning).run(seed=1)     # Blackjack, then 100,000 games with the table it learned
    result.metrics["eval_mean"]                            # one per evaluator

Sources: Watkins and Dayan 1992, "Q-learning"; Sutton and Barto 2018, section 6.5, and example 5.1 for Blackjack; step sizes that
fall with the visits of a state and action: Even-Dar and Mansour 2003, "Learning Rates for Q-learning".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from reactornb.model import Bank, Input, Output, Reactor, connect, per_member, reaction, startup
from reactornb.rl.config import Config, check, config_of, flag, horizons, number, per_rollout, whole
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.envs import spec_of
from reactornb.rl.errors import SpaceError
from reactornb.rl.policies import EpsilonGreedyPolicy, LinearSchedule
from reactornb.rl.rollout import Evaluator, Rollout
from reactornb.rl.storage import Trajectory
from reactornb.rl.toy_text import blackjack
from reactornb.rl.training import Training, env_of

__all__ = ["BriefRollout", "QLearning", "QLearningConfig", "Table", "TableLearner", "strides_of"]


@dataclass(frozen=True, slots=True)
class QLearningConfig(Config):
    """Hyper-parameters.

    Attributes:
        total_timesteps: environment steps of a whole run.
        n_rollouts: how many play side by side.
        n_envs: environments of each.
        n_steps: steps of each environment per round; a tuple has one number for each rollout, such as (128, 32): fewer for those whose
            environments are slower, so that the others need not wait.
        gamma: discount per step; an undiscounted game has 1.
        exploration_initial_eps: probability of a random action in the first step.
        exploration_final_eps: and in the last one.
        omega: the step size is visits**-omega, this one counted; in (1/2, 1], where 1 averages all targets alike.
        eval_episodes: greedy episodes after the last round; 0: none.
        isolate: play each environment in a process of its own; see `isolation`.
    """

    total_timesteps: int = 1_280_000
    n_rollouts: int = 8
    n_envs: int = 8
    n_steps: int | tuple[int, ...] = 250
    gamma: float = 1.0
    exploration_initial_eps: float = 1.0
    exploration_final_eps: float = 0.2
    omega: float = 0.8
    eval_episodes: int = 100_000
    isolate: bool = False

    def __post_init__(self) -> None:
        check(
            self, total_timesteps=whole(1), n_rollouts=whole(1), n_envs=whole(1), n_steps=horizons, gamma=number(0, 1),
            exploration_initial_eps=number(0, 1), exploration_final_eps=number(0, 1), omega=number(0.5, 1, above=True),
            eval_episodes=whole(0), isolate=flag,
        )  # fmt: skip
        per_rollout(self)

    @property
    def rounds(self) -> int:
        """How often the table is sent out and what was played comes back."""
        return max(1, self.total_timesteps // (self.n_envs * sum(per_rollout(self))))


def strides_of(env: Any) -> tuple[np.ndarray, int]:
    """How an encoded observation becomes the number of a state: their product.

    Args:
        env: as for `Rollout`.

    Returns:
        float32 [*observation_shape], and the number of states.

    Raises:
        UnknownEnvironmentError: if it cannot be made.
        SpaceError: unless observations are Discrete, MultiDiscrete, or a Tuple of Discretes, counted from 0.
    """
    spec_of(env)  # raises for an environment that cannot be made
    example = env() if callable(env) else gymnasium.make(env)
    try:
        space = example.observation_space
    finally:
        example.close()
    if isinstance(space, spaces.Discrete) and space.start == 0:
        return np.arange(space.n, dtype=np.float32), int(space.n)  # a rollout sees it one-hot
    sizes: list[int] = []
    if isinstance(space, spaces.MultiDiscrete) and not space.start.any():
        sizes = space.nvec.ravel().tolist()
    elif isinstance(space, spaces.Tuple) and all(isinstance(s, spaces.Discrete) and s.start == 0 for s in space):
        sizes = [int(s.n) for s in space]
    if not sizes:
        raise SpaceError(
            f"a table needs finitely many observations, counted from 0; those of {env!r} are {space}. Use DQN, or a "
            f"gymnasium.ObservationWrapper that makes them Discrete.",
            space=space,
        )
    return np.cumprod([1, *sizes[:0:-1]])[::-1].astype(np.float32), int(np.prod(sizes))


class Table:
    """Action values looked up: what a network is to DQN.

    Args:
        strides: float32 [*observation_shape], from `strides_of`.
        n_actions: A.
    """

    def __init__(self, strides: np.ndarray, n_actions: int) -> None:
        self._strides = strides
        self._values = np.zeros((0, n_actions), np.float32)

    def load(self, weights: np.ndarray) -> None:
        """Take over a copy of float32 [states × A]."""
        self._values = weights.reshape(-1, self._values.shape[1]).copy()

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        """float32 [N, ...] -> float32 [N, A]."""
        values: np.ndarray = self._values[(observations @ self._strides).astype(np.intp)]
        return values


def _policy(config: QLearningConfig, strides: np.ndarray, n_steps: int, spec: EnvSpec) -> EpsilonGreedyPolicy:
    actions = spec.need_discrete("Q-learning")
    schedule = LinearSchedule(
        config.exploration_initial_eps, config.exploration_final_eps, config.rounds * n_steps * config.n_envs
    )
    return EpsilonGreedyPolicy(Table(strides, actions), actions, schedule)


class BriefRollout(Rollout):
    """A `Rollout` that logs one `mean_return` per trajectory: reward per episode that ended in it.

    Where episodes last two steps, a line for each of them would cost more than playing it.
    """

    def count(self, played: Trajectory) -> None:
        """See the class."""
        episodes = int(np.count_nonzero(played.ended))
        if episodes:
            self.log(mean_return=float(played.rewards.sum()) / episodes)


class TableLearner(Reactor):
    """Applies every transition once, in the order of rollouts, environments' steps and environments; logs `td_error`, their mean size.

    After `rounds` rounds it sends the table as `final` and ends the run.
    """

    trajectories = Input[Trajectory](width="n")
    weights = Output[np.ndarray](doc="float32 [states × actions], the table")
    final = Output[np.ndarray](doc="the last one")

    n: int
    strides: np.ndarray
    states: int
    actions: int
    rounds: int
    gamma: float
    omega: float

    @reaction(startup)
    def on_startup(self, weights: Any) -> None:
        """Everything is worth 0."""
        # Lists: a table is read and written number by number.
        self.table = [[0.0] * self.actions for _ in range(self.states)]
        self.visits = [[0] * self.actions for _ in range(self.states)]
        self.round = 0
        weights.set(self.flat())

    @reaction(trajectories)
    def on_trajectories(self, trajectories: Any, weights: Any, final: Any) -> None:
        """Update, and send the table out."""
        errors = steps = 0.0
        for played in trajectories.values:
            error, count = self.update(played)
            errors, steps = errors + error, steps + count
        self.log(td_error=errors / max(steps, 1))
        self.round += 1
        if self.round < self.rounds:
            weights.set(self.flat())
        else:
            final.set(self.flat())
            self.request_stop()

    def flat(self) -> np.ndarray:
        """The table as float32 [states × actions]."""
        return np.array(self.table, np.float32).ravel()

    def update(self, played: Trajectory) -> tuple[float, int]:
        """Q(s, a) += visits**-omega (r + gamma max Q(s', ·) − Q(s, a)).

        Returns:
            The sum of the errors' sizes, and the number of transitions.
        """
        states = (played.observations @ self.strides).astype(np.intp).tolist()
        rows = zip(
            states,
            states[1:],
            *(a.tolist() for a in (played.actions, played.rewards, played.terminated, played.valid)),
            strict=False,
        )
        table, visits, gamma, power = self.table, self.visits, self.gamma, -self.omega
        errors, count = 0.0, 0
        for row in rows:
            for s, s_next, a, r, ended, valid in zip(*row, strict=True):
                if valid:
                    visits[s][a] += 1
                    goal = r if ended else r + gamma * max(table[s_next])
                    error = goal - table[s][a]
                    table[s][a] += visits[s][a] ** power * error
                    errors += abs(error)
                    count += 1
        return errors, count


class QLearning(Training, config_type=QLearningConfig):
    """Tabular Q-learning: learns a table of action values, in parallel, for environments with finitely many observations and actions.

        result = Program(QLearning(env="FrozenLake-v1")).run(seed=1)

    Parameters:
        env: a Gymnasium id, or a function that makes the environment; Blackjack by default. Observations Discrete, MultiDiscrete or a Tuple
            of Discretes, counted from 0; actions Discrete.
        config: hyper-parameters, a `QLearningConfig` (`QLearningConfig?` lists all with their defaults). None, the default:
            `QLearningConfig.for_env(env)`, what is known to work for that id.
        gamma, omega, …: each field of `QLearningConfig` by its name, instead of what `config` says: `QLearning(gamma=0.9)`. `QLearning(…).settings` shows
            what comes of both.

    Logs `mean_return`, `td_error`, and at the end `eval_return` and `eval_mean`.

    Raises:
        UnknownEnvironmentError: at assembly, for an environment that cannot be made.
        SpaceError: at assembly, for observations or actions that are not finite.
        ConfigError: at assembly, for another configuration.

    Sources: Watkins and Dayan 1992, "Q-learning"; Sutton and Barto 2018, section 6.5.
    """

    env: Any = blackjack
    config: QLearningConfig | None = None

    def compose(self) -> None:
        """Learner -> rollouts -> learner, and evaluators at the end."""
        config = config_of(self, QLearningConfig)
        env = env_of(self, config)
        strides, states = strides_of(env)
        horizon = per_rollout(config)
        policy = [partial(_policy, config, strides, n_steps) for n_steps in horizon]
        self.learner = TableLearner(
            n=config.n_rollouts,
            strides=strides,
            states=states,
            actions=spec_of(env).need_discrete("Q-learning"),
            rounds=config.rounds,
            gamma=config.gamma,
            omega=config.omega,
        )
        common = {"env": env, "policy": per_member(lambda i: policy[i])}
        self.rollouts = Bank(
            BriefRollout, config.n_rollouts, n_envs=config.n_envs, n_steps=per_member(lambda i: horizon[i]), **common
        )
        connect(self.learner.weights, self.rollouts.weights, after=0, broadcast=True)
        connect(self.rollouts.trajectory, self.learner.trajectories)
        if config.eval_episodes:
            share = -(-config.eval_episodes // config.n_rollouts)
            self.evaluators = Bank(Evaluator, config.n_rollouts, n_envs=16, episodes=share, **common)
            connect(self.learner.final, self.evaluators.final, broadcast=True)
