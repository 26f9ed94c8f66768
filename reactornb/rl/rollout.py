"""The reactors that play: `Rollout` collects trajectories, `Evaluator` measures how good the weights are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from reactornb.model import Fixed, Input, Output, Reactor, reaction, shutdown, startup
from reactornb.rl.checks import name_of
from reactornb.rl.config import at_least, check_parameters, number, optional, whole
from reactornb.rl.envs import Envs, EnvSpec, check_finite, make_envs
from reactornb.rl.names import RENAMED
from reactornb.rl.policies import EpsilonGreedyPolicy, Policy, RandomPolicy, by_trajectory, own_draws
from reactornb.rl.storage import Trajectory
from reactornb.rl.watchdog import Watch

__all__ = ["Evaluator", "Rollout"]

MakePolicy = Callable[[EnvSpec], Policy]


class Rollout(Reactor):
    """Plays `n_steps` steps in each of its environments with the newest weights, whenever weights arrive.

    Episodes go on from one trajectory to the next. Logs `episode_return` and `episode_length` of every episode that ends.

    Parameters:
        env: a Gymnasium id, or a function that makes a `gymnasium.Env` or a `gymnasium.vector.VectorEnv`.
        policy: makes the policy from the environments' spaces, at startup; one per rollout, never shared.
        n_envs: environments that are stepped together, so that one call of the network serves them all; a vector environment's
            own number counts.
        n_steps: steps of each environment per trajectory.
        autoreset: "next_step" (Gymnasium's default: the step after an episode's end only resets; it is marked as not
            `valid`) or "same_step". A vector environment brings its own mode, "disabled" included.
        hang_s: seconds that one call of an environment may take before the run fails; 0: for ever.
        epsilon: of an `EpsilonGreedyPolicy`, the probability of a random action instead of the one that its schedule says; None:
            the schedule's.

    Raises (in its reactions, so the run says at which tag):
        UnknownEnvironmentError, SpaceError, ContractError, EnvironmentHangError.
    """

    weights = Input[np.ndarray](doc="float32 [P], the policy's parameters")
    trajectory = Output[Trajectory]()

    _renamed = RENAMED

    env: Fixed[Any] = "CartPole-v1"
    policy: Fixed[MakePolicy] = RandomPolicy
    n_envs: Fixed[int] = 1
    n_steps: Fixed[int] = 128
    autoreset: Fixed[str] = "next_step"
    hang_s: Fixed[float] = 120.0
    epsilon: float | None = None

    def check_parameter(self, name: str, value: Any) -> None:
        """Refuse a value that would end the run, or change nothing."""
        if name == "epsilon" and value is not None:
            actor = getattr(self, "actor", None)
            if actor is not None and not isinstance(actor, EpsilonGreedyPolicy):
                raise ValueError(f"its policy, {type(actor).__name__}, has no epsilon.")
            if not 0 <= value <= 1:
                raise ValueError("a probability is in [0, 1].")

    @reaction(startup)
    def on_startup(self) -> None:
        """Make the environments and begin an episode in each."""
        check_parameters(
            self.full_name,
            n_envs=(self.n_envs, whole(1)),
            n_steps=(self.n_steps, whole(1)),
            hang_s=(self.hang_s, at_least(0)),
            epsilon=(self.epsilon, optional(number(0, 1))),
        )
        self.watch = Watch(self.full_name, _words(self.env), self.hang_s)
        with self.watch.at(self.tag):
            self.envs: Envs = make_envs(self.env, self.n_envs, autoreset=self.autoreset, watch=self.watch)
            spec, n = self.envs.spec, self.envs.n
            with own_draws(self.seed):
                self.actor = self.policy(spec)
            self.explore()
            self.now = np.empty((n, *spec.observation_shape), spec.observation_dtype)
            # Below 2**31, which is all that some emulators take.
            self.envs.reset(int(self.rng.integers(2**31 - n)), self.now)
        self.returns = np.zeros(n)
        self.lengths = np.zeros(n, np.int64)

    @reaction("epsilon")
    def on_epsilon(self) -> None:
        """Called after `%reactor set rollouts.epsilon`: the policy has its own copy."""
        self.explore()

    @reaction(weights)
    def on_weights(self, weights: Any, trajectory: Any) -> None:
        """Play."""
        self.actor.load(weights.value)
        with self.watch.at(self.tag):
            played = self.play()
        trajectory.set(played.freeze())

    @reaction(shutdown)
    def on_shutdown(self) -> None:
        """Close the environments."""
        envs = self.__dict__.get("envs")
        if envs is not None:
            envs.close()

    def explore(self) -> None:
        """Tell the policy about `epsilon`."""
        if isinstance(self.actor, EpsilonGreedyPolicy):
            self.actor.fixed = self.epsilon

    def play(self) -> Trajectory:
        """One trajectory; its arrays are the only thing made for it."""
        envs, policy = self.envs, by_trajectory(self.actor)
        played = Trajectory.empty(envs.spec, self.n_steps, envs.n)
        observations, actions = played.observations, played.actions
        observations[0] = self.now
        policy.begin(self.n_steps, envs.n, self.rng)
        choose, step = policy.choose, envs.step
        for t in range(self.n_steps):
            choose(t, observations[t], actions[t])
            step(t, played)
        log_probs = policy.log_probs(actions)
        if log_probs is not None:
            played.log_probs[:] = log_probs
        check_finite(envs.spec, observations, played.rewards)
        self.now = observations[self.n_steps].copy()  # a view would keep the whole trajectory alive
        self.count(played)
        return played

    def count(self, played: Trajectory) -> None:
        """Log the episodes that ended in a trajectory."""
        totals = self.returns + played.rewards.cumsum(axis=0, dtype=np.float64)
        lengths = self.lengths + played.valid.cumsum(axis=0)
        ends = t, i = np.nonzero(played.ended)
        if len(t):
            returns, steps = np.zeros(len(self.returns)), np.zeros(len(self.lengths), np.int64)  # until the last end
            for column, total, length in zip(i.tolist(), totals[ends].tolist(), lengths[ends].tolist(), strict=True):
                self.log(episode_return=total - returns[column], episode_length=length - steps[column])
                returns[column], steps[column] = total, length
            self.returns, self.lengths = totals[-1] - returns, lengths[-1] - steps
        else:
            self.returns, self.lengths = totals[-1], lengths[-1]


class Evaluator(Reactor):
    """Plays whole episodes without chance, in environments of its own, and logs `eval_return` of each and their `eval_mean`.

    Parameters:
        env, policy, n_envs, autoreset, hang_s: as for `Rollout`.
        episodes: how many for one evaluation, `episodes // n_envs` in each environment, so that short episodes do not
            count more often than long ones.
        every: evaluate each so many weights; 0: only the final ones.
    """

    weights = Input[np.ndarray](doc="float32 [P]")
    final = Input[np.ndarray](doc="the last weights: evaluated in any case")

    _renamed = RENAMED

    env: Fixed[Any] = "CartPole-v1"
    policy: Fixed[MakePolicy] = RandomPolicy
    n_envs: Fixed[int] = 4
    episodes: int = 20
    every: int = 0
    autoreset: Fixed[str] = "next_step"
    hang_s: Fixed[float] = 120.0

    @reaction(startup)
    def on_startup(self) -> None:
        """Make the environments."""
        check_parameters(
            self.full_name,
            n_envs=(self.n_envs, whole(1)),
            episodes=(self.episodes, whole(1)),
            every=(self.every, whole(0)),
            hang_s=(self.hang_s, at_least(0)),
        )
        self.watch = Watch(self.full_name, _words(self.env), self.hang_s)
        with self.watch.at(self.tag):
            self.envs: Envs = make_envs(self.env, self.n_envs, autoreset=self.autoreset, watch=self.watch)
        with own_draws(self.seed):
            self.actor = self.policy(self.envs.spec)
        self.seen = 0

    @reaction(weights)
    def on_weights(self, weights: Any) -> None:
        """Evaluate each `every` weights."""
        self.seen += 1
        if self.every and self.seen % self.every == 0:
            self.evaluate(weights.value)

    @reaction(final)
    def on_final(self, final: Any) -> None:
        """Evaluate the last weights."""
        self.evaluate(final.value)

    @reaction(shutdown)
    def on_shutdown(self) -> None:
        """Close the environments."""
        envs = self.__dict__.get("envs")
        if envs is not None:
            envs.close()

    def evaluate(self, weights: np.ndarray) -> float:
        """Play the episodes and log their returns.

        Returns:
            Their mean.
        """
        self.actor.load(weights)
        envs, spec = self.envs, self.envs.spec
        n = envs.n
        quota = np.full(n, self.episodes // n)
        quota[: self.episodes % n] += 1
        done, totals = np.zeros(n, np.int64), np.zeros(n)
        returns: list[float] = []
        row = Trajectory.empty(spec, 1, n)
        with self.watch.at(self.tag):
            envs.reset(int(self.rng.integers(2**31 - n)), row.observations[0])
            while (done < quota).any():
                row.rewards[:] = 0.0
                row.terminated[:] = row.truncated[:] = False
                row.valid[:] = True
                row.finals.clear()
                row.actions[0] = self.actor.greedy(row.observations[0])
                envs.step(0, row)
                totals += row.rewards[0]
                check_finite(spec, row.observations, row.rewards)
                for i in np.flatnonzero(row.ended[0]):
                    if done[i] < quota[i]:
                        returns.append(float(totals[i]))
                    done[i] += 1
                    totals[i] = 0.0
                row.observations[0] = row.observations[1]
        for value in returns:
            self.log(eval_return=value)
        mean = float(np.mean(returns))
        self.log(eval_mean=mean)
        return mean


def _words(env: Any) -> str:
    return f"the environment {env!r}" if isinstance(env, str) else f"the environment of {name_of(env)}"
