"""The reactors that play: `Rollout` collects trajectories, `Evaluator` measures how good the weights are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from reactornb.model import Fixed, Input, Output, Reactor, reaction, shutdown, startup
from reactornb.rl.checks import name_of
from reactornb.rl.config import at_least, check_parameters, flag, number, optional, whole
from reactornb.rl.draws import EnvDraws, env_generators
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.env_stepping import Envs, check_finite
from reactornb.rl.envs import make_envs
from reactornb.rl.names import RENAMED
from reactornb.rl.normalization import Normalizer, refuse_running_statistics
from reactornb.rl.policies import (
    EpsilonGreedyPolicy,
    Policy,
    RandomPolicy,
    StepByStep,
    by_trajectory,
    memory_of,
    own_draws,
)
from reactornb.rl.storage import Trajectory, episode_sums
from reactornb.rl.watchdog import Watch

__all__ = ["Evaluator", "Rollout"]

MakePolicy = Callable[[EnvSpec], Policy]


class Rollout(Reactor):
    """Plays `n_steps` steps in each of its environments with the newest weights, whenever weights arrive.

    Episodes go on from one trajectory to the next. Logs `episode_return` and `episode_length` of every episode that ends.

    Environments are numbered through all rollouts of a bank, and an environment's seed follows from the run's seed, the bank's name and that number; likewise
    the random numbers that a `TrajectoryPolicy` draws for its actions. So four rollouts of two environments play the episodes that two rollouts of four do,
    as far as their policies are the same: a network's outputs may differ in the last bit between batches of two and of four observations, and a policy
    with `act` alone draws from the rollout's own generator.

    Parameters:
        env: a Gymnasium id, or a function that makes a `gymnasium.Env` or a `gymnasium.vector.VectorEnv`. In a kept run environments are saved by
            their `save_state`, by their attributes, or by their steps since the last reset; see `recorded`.
        policy: makes the policy from the environments' spaces, at startup; one per rollout, never shared.
        n_envs: environments that are stepped together, so that one call of the network serves them all; a vector environment's
            own number counts.
        n_steps: steps of each environment per trajectory.
        autoreset: "next_step" (Gymnasium's default: the step after an episode's end only resets; it is marked as not
            `valid`) or "same_step". A vector environment brings its own mode, "disabled" included.
        hang_s: seconds that one call of an environment may take before the run fails; 0: for ever.
        normalizer: what the learner normalises; trajectories bring the moments of that. None: nothing.
        isolate: make each environment in a process of its own; see `isolation`.
        first_env: number of its first environment; None: those of a bank's members follow each other, all members having as many. Say it where they have
            not, with `per_member`.
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
    normalizer: Fixed[Normalizer | None] = None
    isolate: Fixed[bool] = False
    first_env: Fixed[int | None] = None
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
            isolate=(self.isolate, flag),
            first_env=(self.first_env, optional(whole(0))),
            epsilon=(self.epsilon, optional(number(0, 1))),
        )
        self.watch = Watch(self.full_name, _words(self.env), self.hang_s)
        with self.watch.at(self.tag):
            self.envs: Envs = make_envs(
                self.env, self.n_envs, autoreset=self.autoreset, isolate=self.isolate, watch=self.watch
            )
            spec, n = self.envs.spec, self.envs.n
            with own_draws(self.seed):
                self.actor = self.policy(spec)
            self.explore()
            self.now = np.empty((n, *spec.observation_shape), spec.observation_dtype)
            first = self.bank_index * n if self.first_env is None else self.first_env
            # Below 2**31, which is all that some emulators take.
            self.envs.reset((self.bank_seed + first) % 2**30, self.now)
        self.env_generators = env_generators(self.bank_seed, first, n)
        self.returns = np.zeros(n)
        self.lengths = np.zeros(n, np.int64)
        if self.normalizer is not None:
            self.discounted = np.zeros(n)

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
        draws = self.rng if isinstance(policy, StepByStep) else EnvDraws(self.rng, self.env_generators)
        policy.begin(self.n_steps, envs.n, draws)
        choose, step, memory = policy.choose, envs.step, memory_of(self.actor)
        for t in range(self.n_steps):
            choose(t, observations[t], actions[t])
            step(t, played)
            if memory is not None:
                memory.forget(played.begun(t))
        log_probs = policy.log_probs(actions)
        if log_probs is not None:
            played.log_probs[:] = log_probs
        check_finite(envs.spec, observations, played.rewards)
        self.now = observations[self.n_steps].copy()  # a view would keep the whole trajectory alive
        self.count(played)
        return played if self.normalizer is None else self.normalizer.measured(played, self.discounted)

    def count(self, played: Trajectory) -> None:
        """Log the episodes that ended in a trajectory."""
        returns, self.returns = episode_sums(played.rewards, played.ended, self.returns)
        lengths, self.lengths = episode_sums(played.valid, played.ended, self.lengths)
        for value, length in zip(returns, lengths, strict=True):
            self.log(episode_return=value, episode_length=length)


class Evaluator(Reactor):
    """Plays whole episodes without chance, in environments of its own, and logs `eval_return` of each and their `eval_mean`.

    Its environments and what it draws are its own, so a training goes the same way with it and without. It plays while the rollouts play the next round.

    Parameters:
        env, policy, n_envs, autoreset, hang_s, isolate: as for `Rollout`.
        episodes: how many for one evaluation, `episodes // n_envs` in each environment, so that short episodes do not
            count more often than long ones.
        every: evaluate each so many weights; 0: only the final ones.
        eval_every: evaluate the weights of the round that reaches each so many environment steps, instead of `every`; 0: not so.
        steps_per_round: environment steps of a round, after each of which weights come.
        untrained: weights that come before those of the first round; see `Learner`, staleness.
        stop_at_return: `halt` as soon as an evaluation's mean is at least this; None: never.
        keep_best: keep the weights of the best evaluation.

    Attributes:
        best: the weights with the highest mean so far, float32 [P], the earlier of equals; None: none yet, or none are kept.
        best_mean: that mean.
    """

    weights = Input[np.ndarray](doc="float32 [P]")
    final = Input[np.ndarray](doc="the last weights: evaluated in any case")
    mean = Output[float](doc="mean return of each evaluation but the final one")
    halt = Output[Any](doc="the return to stop at is reached")

    _renamed = RENAMED

    env: Fixed[Any] = "CartPole-v1"
    policy: Fixed[MakePolicy] = RandomPolicy
    n_envs: Fixed[int] = 4
    episodes: int = 20
    every: int = 0
    eval_every: int = 0
    steps_per_round: Fixed[int] = 1
    untrained: Fixed[int] = 1
    stop_at_return: float | None = None
    keep_best: Fixed[bool] = False
    autoreset: Fixed[str] = "next_step"
    hang_s: Fixed[float] = 120.0
    isolate: Fixed[bool] = False

    def check_parameter(self, name: str, value: Any) -> None:
        """Refuse a value that would end the run."""
        least = {"every": 0, "eval_every": 0, "episodes": 1}.get(name)
        if least is not None and value < least:
            raise ValueError(f"it is at least {least}.")

    @reaction(startup)
    def on_startup(self) -> None:
        """Make the environments."""
        check_parameters(
            self.full_name,
            n_envs=(self.n_envs, whole(1)),
            episodes=(self.episodes, whole(1)),
            every=(self.every, whole(0)),
            eval_every=(self.eval_every, whole(0)),
            steps_per_round=(self.steps_per_round, whole(1)),
            untrained=(self.untrained, whole(0)),
            stop_at_return=(self.stop_at_return, optional(number())),
            keep_best=(self.keep_best, flag),
            hang_s=(self.hang_s, at_least(0)),
            isolate=(self.isolate, flag),
        )
        self.watch = Watch(self.full_name, _words(self.env), self.hang_s)
        with self.watch.at(self.tag):
            self.envs: Envs = make_envs(
                self.env, self.n_envs, autoreset=self.autoreset, isolate=self.isolate, watch=self.watch
            )
            first = getattr(self.envs, "env", None) or self.envs.envs[0]  # type: ignore[attr-defined]  # of `Vectored`, of `Singles`
            refuse_running_statistics(first, self.envs.spec.name)
        with own_draws(self.seed):
            self.actor = self.policy(self.envs.spec)
        self.seen = 0
        self.judged: np.ndarray | None = None  # the weights of the last evaluation
        self.best: np.ndarray | None = None
        self.best_mean = -np.inf

    @reaction(weights)
    def on_weights(self, weights: Any, mean: Any, halt: Any) -> None:
        """Evaluate those that are due."""
        self.seen += 1
        if self.is_due():
            reached = self.judge(weights.value)
            mean.set(reached)
            if self.stop_at_return is not None and reached >= self.stop_at_return:
                halt.set(reached)

    @reaction(final)
    def on_final(self, final: Any) -> None:
        """Evaluate the last weights, unless they were the last to be evaluated."""
        if self.judged is None or not np.array_equal(self.judged, final.value):
            self.judge(final.value)

    def is_due(self) -> bool:
        """Whether the weights that have come now are to be evaluated."""
        if self.eval_every:
            steps = (self.seen - self.untrained) * self.steps_per_round
            return steps > 0 and steps // self.eval_every > (steps - self.steps_per_round) // self.eval_every
        return bool(self.every) and self.seen % self.every == 0

    def judge(self, weights: np.ndarray) -> float:
        """Evaluate, and keep what is best."""
        mean = self.evaluate(weights)
        self.judged = weights
        if self.keep_best and mean > self.best_mean:
            self.best, self.best_mean = weights, mean
        return mean

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
        memory = memory_of(self.actor)
        if memory is not None:
            memory.forget()
        with self.watch.at(self.tag):
            envs.reset(int(self.rng.integers(2**31 - n)), row.observations[0])
            while (done < quota).any():
                row.rewards[:] = 0.0
                row.terminated[:] = row.truncated[:] = False
                row.valid[:] = True
                row.finals.clear()
                row.actions[0] = self.actor.greedy(row.observations[0])
                envs.step(0, row)
                if memory is not None:
                    memory.forget(row.begun(0))
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
