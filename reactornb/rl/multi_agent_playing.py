"""The reactors that play with a team: `TeamRollout` collects trajectories, `TeamEvaluator` measures how good the weights are."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from reactornb.model import Output, reaction, shutdown, startup
from reactornb.rl.config import at_least, check_parameters, flag, number, optional, whole
from reactornb.rl.multi_agent_envs import TeamEnvs, check_team_finite
from reactornb.rl.multi_agent_groups import Team
from reactornb.rl.multi_agent_policies import OneAgent, one_agent
from reactornb.rl.multi_agent_storage import TeamTrajectory
from reactornb.rl.normalization import Measured, Normalizer
from reactornb.rl.parallel_envs import parallel_name
from reactornb.rl.policies import own_draws
from reactornb.rl.rollout import Evaluator, Rollout
from reactornb.rl.statistics import Moments
from reactornb.rl.storage import Trajectory
from reactornb.rl.trained import write_best
from reactornb.rl.watchdog import Watch

__all__ = ["KeepingTeamEvaluator", "TeamEvaluator", "TeamRollout"]


class TeamRollout(Rollout):
    """Plays `n_steps` steps in each of its copies of a parallel environment with the newest weights, whenever weights arrive.

    All agents of a group, in all copies, are one call of its policy. Episodes go on from one trajectory to the next, and begin anew as soon as they are over. Of every
    episode that ends it logs `episode_return`, the sum of all agents' rewards, `episode_length`, and `return/NAME` of each agent.

    Parameters:
        env: as for `make_parallel`; saved in a kept run as those of a `Rollout`.
        policy: a `TeamPolicy`.
        normalizer: a `TeamNormalizer`, what the learner normalises; None: nothing.
        n_envs, n_steps, hang_s: as for `Rollout`.

    Raises (in its reactions, so the run says at which tag):
        ContractError, EnvironmentHangError, SharedEnvironmentError, UnknownEnvironmentError.
    """

    trajectory = Output[TeamTrajectory]()

    @reaction(startup)
    def on_startup(self) -> None:
        """Make the environments and begin an episode in each."""
        check_parameters(
            self.full_name,
            n_envs=(self.n_envs, whole(1)),
            n_steps=(self.n_steps, whole(1)),
            hang_s=(self.hang_s, at_least(0)),
        )
        maker: Any = self.policy
        self.team: Team = maker.team
        self.watch = Watch(self.full_name, f"the environment {parallel_name(self.env)}", self.hang_s)
        with self.watch.at(self.tag):
            self.envs: Any = TeamEnvs(self.env, self.n_envs, self.team, self.watch)
            with own_draws(self.seed):
                self.actor: Any = maker()
            self.rows = [
                played.observations[0] for played in TeamTrajectory.empty(self.team.groups, 1, self.n_envs).groups
            ]
            # Below 2**31, which is all that some emulators take.
            self.envs.reset(int(self.rng.integers(2**31 - self.n_envs)), self.rows)
        self.returns = np.zeros((self.n_envs, len(self.team.agents)))
        self.lengths = np.zeros(self.n_envs, np.int64)
        self.discounted: Any = [np.zeros(len(rows)) for rows in self.rows]

    def play(self) -> Any:
        """One trajectory; its arrays are the only thing made for it."""
        team, actor = TeamTrajectory.empty(self.team.groups, self.n_steps, self.n_envs), self.actor
        for played, rows in zip(team.groups, self.rows, strict=True):
            played.observations[0] = rows
        actor.begin(self.n_steps, self.n_envs, self.rng)
        for t in range(self.n_steps):
            actor.choose(
                t, [played.observations[t] for played in team.groups], [played.actions[t] for played in team.groups]
            )
            self.envs.step(t, team)
        for played, log_probs in zip(
            team.groups, actor.log_probs([played.actions for played in team.groups]), strict=True
        ):
            played.log_probs[:] = log_probs
        check_team_finite(self.team, team)
        # Copies: views would keep the whole trajectory alive.
        self.rows = [played.observations[self.n_steps].copy() for played in team.groups]
        self.count(team)
        normalizer: Any = self.normalizer
        if normalizer is not None:
            team.groups = [
                measured(one, played, discounted)
                for one, played, discounted in zip(normalizer.each, team.groups, self.discounted, strict=True)
            ]
        return team

    def count(self, played: Any) -> None:
        """Log the episodes that ended in a trajectory."""
        rewards = of_agents(self.team, played)
        for t in range(len(rewards)):
            self.returns += rewards[t]
            self.lengths += 1
            for k in np.flatnonzero(played.ended[t]).tolist():
                self.log(
                    episode_return=float(self.returns[k].sum()),
                    episode_length=int(self.lengths[k]),
                    **_named("return", self.team, self.returns[k]),
                )
                self.returns[k] = 0.0
                self.lengths[k] = 0

    def one_agent(self, agent: str | None, weights: np.ndarray) -> tuple[OneAgent, np.ndarray]:
        """The policy of one agent, and its weights of those that were published; see `save_policy`."""
        return one_agent(self, agent, weights)


def of_agents(team: Team, played: TeamTrajectory) -> np.ndarray:
    """The rewards of each agent, float64 [T, K, M]; 0 where it did not act."""
    steps, copies = played.rewards.shape
    rewards = np.zeros((steps, copies, len(team.agents)))
    for group, trajectory in zip(team.groups, played.groups, strict=True):
        rewards[:, :, list(group.members)] = trajectory.rewards.reshape(steps, copies, len(group.agents))
    return rewards


def _named(word: str, team: Team, values: np.ndarray) -> dict[str, float]:
    return {f"{word}/{agent}": value for agent, value in zip(team.agents, values.tolist(), strict=True)}


def measured(normalizer: Normalizer, played: Trajectory, discounted: np.ndarray) -> Measured:
    """A group's trajectory with its moments, of steps at which its agents were there; see `Normalizer.measured`."""
    seen = returns = None
    steps = len(played)
    if normalizer.moves is not None:
        rows = played.observations[:steps][played.valid]
        seen = Moments.of(rows.reshape(len(rows), -1)[:, normalizer.moves.ravel()])
    if normalizer.rewards:
        found = np.empty(played.rewards.shape)
        for t, rewards in enumerate(played.rewards):
            discounted *= normalizer.gamma
            discounted += rewards
            found[t] = discounted
            discounted[played.ended[t] | ~played.valid[t]] = 0.0
        returns = Moments.of(found[played.valid])
    known: dict[str, Any] = {field.name: getattr(played, field.name) for field in fields(Trajectory)}
    return Measured(**known, seen=seen, returns=returns)


class TeamEvaluator(Evaluator):
    """Plays whole episodes without chance, in environments of its own; logs `eval_return`, the sum of all agents' rewards, and `eval_return/NAME` of each agent of
    each episode, and their `eval_mean`.

    Parameters:
        env, policy, n_envs, hang_s: as for `TeamRollout`.
        others: see `Evaluator`.
    """

    @reaction(startup)
    def on_startup(self) -> None:
        """Make the environments."""
        check_parameters(
            self.full_name,
            n_envs=(self.n_envs, whole(1)),
            episodes=(self.episodes, whole(1)),
            every=(self.every, whole(0)),
            eval_every=(self.eval_every, whole(0)),
            stop_at_return=(self.stop_at_return, optional(number())),
            keep_best=(self.keep_best, flag),
            hang_s=(self.hang_s, at_least(0)),
        )
        maker: Any = self.policy
        self.team: Team = maker.team
        self.watch = Watch(self.full_name, f"the environment {parallel_name(self.env)}", self.hang_s)
        with self.watch.at(self.tag):
            self.envs: Any = TeamEnvs(self.env, self.n_envs, self.team, self.watch)
        with own_draws(self.seed):
            self.actor: Any = maker()
        self.seen = 0
        self.judged: np.ndarray | None = None  # the weights of the last evaluation
        self.best: np.ndarray | None = None
        self.best_mean = -np.inf

    def evaluate(self, weights: np.ndarray) -> float:
        """See `Evaluator`."""
        self.actor.load(weights)
        envs, n = self.envs, self.n_envs
        quota = np.full(n, self.episodes // n)
        quota[: self.episodes % n] += 1
        done, totals = np.zeros(n, np.int64), np.zeros((n, len(self.team.agents)))
        returns: list[np.ndarray] = []
        row = TeamTrajectory.empty(self.team.groups, 1, n)
        before = [played.observations[0] for played in row.groups]
        with self.watch.at(self.tag):
            envs.reset(int(self.rng.integers(2**31 - n)), before)
            while (done < quota).any():
                row.clear()
                for played, actions in zip(row.groups, self.actor.greedy(before), strict=True):
                    played.actions[0] = actions
                envs.step(0, row)
                totals += of_agents(self.team, row)[0]
                check_team_finite(self.team, row)
                for k in np.flatnonzero(row.ended[0]):
                    if done[k] < quota[k]:
                        returns.append(totals[k].copy())
                    done[k] += 1
                    totals[k] = 0.0
                for played in row.groups:
                    played.observations[0] = played.observations[1]
        for values in returns:
            self.log(eval_return=float(values.sum()), **_named("eval_return", self.team, values))
        mean = float(np.mean([values.sum() for values in returns]))
        self.log(eval_mean=mean)
        return mean

    def one_agent(self, agent: str | None, weights: np.ndarray) -> tuple[OneAgent, np.ndarray]:
        """See `TeamRollout`."""
        return one_agent(self, agent, weights)


class KeepingTeamEvaluator(TeamEvaluator):
    """An evaluator that writes the best policies into the folder of its run, if that is kept, when the run ends or is stopped: `best.safetensors`, or, where agents
    choose differently, `best-NAME.safetensors` for each.
    """

    @reaction(shutdown)
    def on_best(self) -> None:
        """See `KeepingEvaluator`."""
        write_best(self, self.team.policies)
