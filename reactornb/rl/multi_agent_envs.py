"""Several copies of a parallel environment as a rollout steps them: rows of each group are filled, whoever is there acts, episodes follow each other at once.

It does for teams what `single_envs.Singles` does for ordinary environments, and knows nothing of reactors.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import Any

import numpy as np

from reactornb.rl.checks import who
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.env_stepping import to_env
from reactornb.rl.errors import ContractError, ObservationError
from reactornb.rl.multi_agent_groups import Group, Team
from reactornb.rl.multi_agent_storage import TeamTrajectory
from reactornb.rl.parallel_envs import (
    RecordedParallel,
    broken,
    check_agents,
    finite_reward,
    make_parallel,
    unpacked_reset,
    unpacked_step,
)
from reactornb.rl.recorded import can_be_read
from reactornb.rl.shared import claim, is_kept, need_distinct
from reactornb.rl.watchdog import Watch

__all__ = ["TeamEnvs", "check_team_finite"]

_WORDS = ("observations", "rewards", "terminations", "truncations")


class TeamEnvs:
    """K copies of a parallel environment, stepped one after the other on the calling thread.

    An agent is there while it is in the environment's `agents` and has neither terminated nor been truncated in this episode; one that is gone sees zeros, and
    its rewards count for nothing. The episode is over when nobody is there any more, whether the environment empties its `agents` or only says that all have
    ended (in a key `__all__`, too). One that leaves without a word has terminated. In a kept run a copy is one that a checkpoint can bring back; see `recorded`.

    Args:
        env: as for `make_parallel`.
        n: K.
        team: who is in which group.
        watch: told before each call.

    Raises:
        UnknownEnvironmentError: if they cannot be made.
        SharedEnvironmentError: if two are one object, or another reactor of the run uses one.
    """

    transient = ("_own", "_places", "_watch", "n", "team")

    def __init__(self, env: Any, n: int, team: Team, watch: Watch) -> None:
        self.envs: list[Any] = [make_parallel(env) for _ in range(n)]
        need_distinct(self.envs, f"{team.name}: environments ")
        claim(self.envs, watch.reactor, team.name)
        self.n = n
        self.team = team
        self._watch = watch
        self.present = np.zeros((n, len(team.agents)), bool)
        self._over = np.zeros((n, len(team.agents)), bool)  # who has ended in this episode
        self._steps = 0
        self._to_record = is_kept()
        # Where each agent's rows are: its group, and its place in that.
        self._places = [(0, 0)] * len(team.agents)
        self._own: list[EnvSpec] = [team.groups[0].own] * len(team.agents)
        for g, group in enumerate(team.groups):
            for j, i in enumerate(group.members):
                self._places[i] = g, j
                self._own[i] = group.own

    def reset(self, seed: int, rows: Sequence[np.ndarray]) -> None:
        """Begin an episode everywhere.

        Args:
            seed: 0 <= seed < 2**31 - n; copy k gets seed + k.
            rows: for each group [N, *shape of a row], filled.
        """
        for k in range(self.n):
            self._watch.beat(k)
            self._begin(k, rows, seed + k)
            if self._to_record and not can_be_read(self.envs[k]):
                self.envs[k] = RecordedParallel(self.envs[k])
                self.envs[k].begun(seed + k)
        self._to_record = False

    def step(self, t: int, team: TeamTrajectory) -> None:
        """Take the actions of step t, fill its rows (of observations: t + 1).

        Raises:
            ObservationError: for an observation of the wrong shape.
            ContractError: for an answer that is none.
        """
        watch, names, spaces = self._watch, self.team.agents, self.team.groups
        actions = [to_env(group.own, played.actions[t]) for group, played in zip(spaces, team.groups, strict=True)]
        rows = [played.observations[t + 1] for played in team.groups]
        name = self.team.name
        for k, env in enumerate(self.envs):
            watch.env, watch.since = k, monotonic()
            acting = np.flatnonzero(self.present[k]).tolist()
            chosen = {}
            for i in acting:
                g, j = self._places[i]
                chosen[names[i]] = actions[g][k * len(spaces[g].agents) + j]
            told = seen, rewards, terminations, truncations = unpacked_step(name, env.step(chosen))
            for word, said in zip(_WORDS, told, strict=True):
                check_agents(name, names, word, said)
            left = set(env.agents)
            all_terminated, all_truncated = bool(terminations.get("__all__")), bool(truncations.get("__all__"))
            total = 0.0
            cut: list[int] = []  # who was truncated
            for i in acting:
                agent, (g, j) = names[i], self._places[i]
                played, row = team.groups[g], k * len(spaces[g].agents) + j
                reward = finite_reward(name, agent, rewards.get(agent, 0.0), self._steps)
                terminated = all_terminated or bool(terminations.get(agent))
                truncated = all_truncated or bool(truncations.get(agent))
                if not (terminated or truncated or agent in left):
                    terminated = True
                played.valid[t, row] = True
                played.rewards[t, row] = reward
                played.terminated[t, row] = terminated
                played.truncated[t, row] = truncated
                total += reward
                if terminated or truncated:
                    self._over[k, i] = True
                    if not terminated:
                        cut.append(i)
            team.rewards[t, k] = total
            staying = np.array([agent in left for agent in names]) & ~self._over[k]
            if cut:
                self._finals(k, t, cut, seen, team)
            if staying.any() and not (all_terminated or all_truncated):
                self.present[k] = staying
                self._fill(k, self._encoded(seen, staying), rows)
            else:
                team.ended[t, k] = True
                self._begin(k, rows, None)
        self._steps += 1

    def close(self) -> None:
        """Close them all, in order."""
        for env in self.envs:
            env.close()

    def _begin(self, k: int, rows: Sequence[np.ndarray], seed: int | None) -> None:
        """Begin an episode of one copy."""
        env, name = self.envs[k], self.team.name
        seen = unpacked_reset(name, env.reset() if seed is None else env.reset(seed=seed))
        check_agents(name, self.team.agents, "observations", seen, "reset")
        there = set(env.agents)
        if not there:
            raise broken(name, "reset", "after reset its `agents` is empty: nobody can act. Set self.agents in reset.")
        self.present[k] = [agent in there for agent in self.team.agents]
        self._over[k] = False
        self._fill(k, self._encoded(seen, self.present[k]), rows)

    def _encoded(self, seen: dict[Any, Any], there: np.ndarray) -> list[np.ndarray | None]:
        """The observation of each agent as an array; None for one that is not there.

        Raises:
            ContractError: for one that is there and has none.
            ObservationError: for one of another shape than its space's.
        """
        found: list[np.ndarray | None] = []
        for i, (agent, own) in enumerate(zip(self.team.agents, self._own, strict=True)):
            if not there[i]:
                found.append(None)
                continue
            if agent not in seen:
                raise broken(
                    self.team.name,
                    "step",
                    f"{agent} is in its `agents` after {self._steps} steps and has no observation. Return one for each agent that is there.",
                )
            value = np.asarray(seen[agent] if own.encode is None else own.encode(seen[agent]))
            if value.shape != own.observation_shape:
                raise ObservationError(
                    f"{self.team.name}: {agent} observed an array {value.shape} after {self._steps} steps; its space says {own.observation_shape}. Mend the "
                    f"environment, or its observation_space.",
                    env=i,
                    step=self._steps,
                    shape=value.shape,
                    expected=own.observation_shape,
                )
            found.append(value)
        return found

    def _state(self, k: int, parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
        """What value functions see of the whole environment, in a row."""
        if not self.team.state:
            return None
        spec = self.team.state_spec
        assert spec is not None
        if self.team.state == "joined":
            return np.concatenate(
                [
                    np.zeros(int(np.prod(own.observation_shape)), np.float32) if part is None else np.ravel(part)
                    for part, own in zip(parts, self._own, strict=True)
                ],
                dtype=np.float32,
                casting="same_kind",
            )
        state = self.envs[k].state()
        state = np.asarray(state if spec.encode is None else spec.encode(state))
        if state.shape != spec.observation_shape:
            raise ContractError(
                f"{self.team.name}: its state is an array {state.shape} after {self._steps} steps; it was {spec.observation_shape} before.",
                env=k,
                call="state",
            )
        return np.ravel(state)

    def _fill(self, k: int, parts: Sequence[np.ndarray | None], rows: Sequence[np.ndarray]) -> None:
        """One copy's rows of all groups."""
        state = self._state(k, parts)
        for i, part in enumerate(parts):
            g, j = self._places[i]
            group = self.team.groups[g]
            _write(group, j, part, state, rows[g][k * len(group.agents) + j, ...])

    def _finals(self, k: int, t: int, cut: Sequence[int], seen: dict[Any, Any], team: TeamTrajectory) -> None:
        """What those have seen last whose episode was cut at step t: its value counts."""
        has = np.array([agent in seen for agent in self.team.agents])
        parts = self._encoded(seen, has & (self.present[k] | ~self._over[k]))
        state = self._state(k, parts)
        for i in cut:
            g, j = self._places[i]
            group, played = self.team.groups[g], team.groups[g]
            row = k * len(group.agents) + j
            last = played.observations[t, row].copy()  # of one that is told nothing any more: what it saw before
            if parts[i] is not None:
                _write(group, j, parts[i], state, last[...])
            played.finals.append((t, row, last))


def _write(group: Group, j: int, part: np.ndarray | None, state: np.ndarray | None, row: np.ndarray) -> None:
    """A row of the group's agent j; see `multi_agent_groups`."""
    if group.is_plain:
        row[...] = 0 if part is None else part
        return
    width = int(np.prod(group.own.observation_shape))
    row[:width] = 0.0 if part is None else np.ravel(part)
    several = len(group.agents) > 1
    ids = len(group.agents) if several else 0
    row[width : width + ids] = 0.0
    if several:
        row[width + j] = 1.0
    if state is not None:
        row[width + ids :] = state


def check_team_finite(team: Team, played: TeamTrajectory) -> None:
    """Refuse what no update can use, and say whose it is.

    Raises:
        ContractError: for the first observation that holds a NaN or an infinite number.
    """
    for group, trajectory in zip(team.groups, played.groups, strict=True):
        seen = trajectory.observations
        if seen.dtype == np.uint8 or np.isfinite(seen).all():
            continue
        t, row, *at = (int(index) for index in np.argwhere(~np.isfinite(seen))[0])
        k, j = divmod(row, len(group.agents))
        place = tuple(at)
        part = "its observation" if not at or at[0] < int(np.prod(group.own.observation_shape)) else "the state"
        raise ContractError(
            f"{who(team.name, k)}: {part} for {group.agents[j]} holds {seen[t, row][place]} at step {t} of this trajectory. Look for a division by 0 in "
            f"the environment; write a large number for what is unbounded.",
            env=k,
            call="step",
        )
