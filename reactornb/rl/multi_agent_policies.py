"""The policies of a team: one for each group, each asked once a step for all of its agents; and the policy of one agent alone, for a file.

Nothing here knows of reactors.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from reactornb.errors import suggestion
from reactornb.rl.errors import PolicyNotSavableError
from reactornb.rl.multi_agent_groups import Group, Team
from reactornb.rl.multi_agent_learning import TeamNormalizer
from reactornb.rl.parallel_envs import make_parallel
from reactornb.rl.policies import Mlp, by_trajectory
from reactornb.rl.ppo import actor_policy
from reactornb.rl.statistics import NormalForward, parts

__all__ = ["OneAgent", "TeamActors", "TeamPolicy", "one_agent"]


@dataclass(frozen=True, slots=True)
class TeamPolicy:
    """Makes the policies of a team; a rollout's `policy`.

    Attributes:
        team: who is in which group.
        hidden, network: of the configuration.
        blocks: where each group's weights begin and end, without statistics.
        normalizer: what is normalised; None: nothing.
    """

    team: Team
    hidden: tuple[int, ...]
    network: Any
    blocks: tuple[tuple[int, int], ...]
    normalizer: TeamNormalizer | None

    def __call__(self, _: Any = None) -> TeamActors:
        """Make them."""
        made = []
        for g, group in enumerate(self.team.groups):
            make: Any = partial(actor_policy, self.hidden, network=self.network)
            if self.normalizer is not None:
                seen = _of_actor(group, self.normalizer.each[g])
                make, spec = seen.policy(make), seen.spec
            else:
                spec = group.actor
            made.append(make(spec))
        return TeamActors(self, made)

    def weights_of(self, group: int, weights: np.ndarray) -> np.ndarray:
        """What one group's policy loads of published weights."""
        at = 0
        for g, (begin, end) in enumerate(self.blocks):
            normal = None if self.normalizer is None else self.normalizer.each[g]
            statistics = 0 if normal is None or normal.moves is None else 2 * normal.moves.size
            size = end - begin + statistics
            if g == group:
                own = weights[at : at + size]
                if not statistics or self.team.groups[g].is_plain:
                    return own
                assert normal is not None
                width = self.team.groups[g].width
                alone, mean, deviation = parts(own, normal.spec.observation_shape)
                return np.concatenate([alone, mean[:width], deviation[:width]])
            at += size
        raise IndexError(group)


def _of_actor(group: Group, normalizer: Any) -> Any:
    """What is normalised of the numbers that a policy sees."""
    if group.is_plain:
        return normalizer
    shape, width = group.actor.observation_shape, group.width

    def front(array: np.ndarray) -> np.ndarray:
        return array[:width].reshape(shape)

    seen = normalizer.spec
    spec = replace(
        group.actor, observation_dtype=seen.observation_dtype, scaling=_front_scaling(seen.scaling, width), encode=group.actor.encode if seen.encode else None
    )  # fmt: skip
    moves = None if normalizer.moves is None else front(normalizer.moves)
    return replace(
        normalizer, spec=spec, moves=moves, mean=front(normalizer.mean), deviation=front(normalizer.deviation)
    )


def _front_scaling(scaling: tuple[np.ndarray, np.ndarray] | None, width: int) -> tuple[np.ndarray, np.ndarray] | None:
    return None if scaling is None else (scaling[0][:width], scaling[1][:width])


class TeamActors:
    """What a rollout of a team plays with.

    Attributes:
        made_by: their maker, which knows the team.
        policies: of each group.
    """

    transient = ("made_by",)

    def __init__(self, made_by: TeamPolicy, policies: list[Any]) -> None:
        self.made_by = made_by
        self.policies = policies

    def load(self, weights: np.ndarray) -> None:
        """Take over published weights, float32 [P]."""
        for g, policy in enumerate(self.policies):
            policy.load(self.made_by.weights_of(g, weights))

    def begin(self, n_steps: int, copies: int, rng: np.random.Generator) -> None:
        """Begin a trajectory of so many copies of the environment; see `TrajectoryPolicy`."""
        for policy, group in zip(self.policies, self.made_by.team.groups, strict=True):
            by_trajectory(policy).begin(n_steps, copies * len(group.agents), rng)

    def choose(self, t: int, rows: Sequence[np.ndarray], out: Sequence[np.ndarray]) -> None:
        """The actions of step t, of each group, for its rows."""
        for policy, group, seen, actions in zip(self.policies, self.made_by.team.groups, rows, out, strict=True):
            policy.choose(t, _for_actor(group, seen), actions)

    def log_probs(self, actions: Sequence[np.ndarray]) -> list[np.ndarray]:
        """After the last step, of all that was chosen; see `TrajectoryPolicy`."""
        return [policy.log_probs(chosen) for policy, chosen in zip(self.policies, actions, strict=True)]

    def greedy(self, rows: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The best actions that they know, of each group."""
        return [
            policy.greedy(_for_actor(group, seen))
            for policy, group, seen in zip(self.policies, self.made_by.team.groups, rows, strict=True)
        ]


def _for_actor(group: Group, rows: np.ndarray) -> np.ndarray:
    """What a policy sees of rows [N, …]."""
    if group.is_plain:
        return rows
    seen = rows[:, : group.width]
    shape = group.actor.observation_shape
    return seen if len(shape) == 1 else seen.reshape(len(seen), *shape)


# -- one agent alone ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OneAgent:
    """One agent's policy as `saving_policies.blueprint_of` reads it off a rollout.

    Attributes:
        full_name: of the rollout, with the agent's name.
        env: of the rollout.
        envs: with the agent's spaces.
        actor: its policy.
    """

    full_name: str
    env: Any
    envs: Any
    actor: Any


def one_agent(player: Any, agent: str | None, weights: np.ndarray) -> tuple[OneAgent, np.ndarray]:
    """The policy of one agent.

    Args:
        player: a `TeamRollout` or `TeamEvaluator` that has begun.
        agent: its name, or its group's; None: where all agents choose alike.
        weights: as they were published.

    Returns:
        What plays, and its weights.

    Raises:
        PolicyNotSavableError: if there is no such agent, or none was named where it matters.
    """
    actors: TeamActors = player.actor
    team = actors.made_by.team
    g, j = _place(team, agent, player.full_name)
    group = team.groups[g]
    own = actors.made_by.weights_of(g, weights)
    actor = actors.policies[g]
    if group.actor is not group.own:
        actor, own = _for_one(actor, group, j, own)
    name = group.agents[j]
    example = make_parallel(player.env)
    try:
        env = SimpleNamespace(
            observation_space=example.observation_space(name), action_space=example.action_space(name), spec=None
        )
    finally:
        example.close()
    envs = SimpleNamespace(envs=[env], spec=group.own)
    return OneAgent(f"{player.full_name}, {name}", player.env, envs, actor), own


def _place(team: Team, agent: str | None, player: str) -> tuple[int, int]:
    """An agent's group, and its place in that."""
    names = team.policies
    if agent is None:
        if len(names) == 1:
            return 0, 0
        raise PolicyNotSavableError(
            f"{player} has {len(names)} policies: say whose is meant, agent= one of {', '.join(map(str, names))}.",
            reactor=player,
        )
    for g, group in enumerate(team.groups):
        if agent in group.agents:
            return g, group.agents.index(agent)
        if agent == group.name and agent in names:
            return g, 0
    raise PolicyNotSavableError(
        f"there is no agent {agent!r}. {suggestion(str(agent), [*names, *map(str, team.agents)])}", reactor=player
    )


def _for_one(actor: Any, group: Group, j: int, weights: np.ndarray) -> tuple[Any, np.ndarray]:
    """A policy that sees its agent's number, as one that does not: that number's column goes into the first layer's bias."""
    forward = actor._forward
    normal = forward if type(forward) is NormalForward else None
    net: Mlp = forward if normal is None else normal.forward
    statistics: list[np.ndarray] = []
    width = int(np.prod(group.own.observation_shape))
    if normal is not None:
        weights, mean, deviation = parts(weights, group.actor.observation_shape)
        statistics = [mean[:width], deviation[:width]]
    inputs, first = net.sizes[:2]
    at, end = net.offset, net.offset + inputs * first
    matrix = weights[at:end].reshape(first, inputs)
    bias = weights[end : end + first] + matrix[:, width + j]
    scaling = _front_scaling(net._scaling, width)  # type: ignore[arg-type]  # a pair
    alone = Mlp((width, *net.sizes[1:]), "relu" if net._relu else "tanh", offset=at, scaling=scaling)
    forward = alone if normal is None else NormalForward(alone, group.own.observation_shape, float(normal.clip))
    other = copy.copy(actor)
    other._forward = forward
    own = [weights[:at], matrix[:, :width].ravel(), bias, weights[end + first : at + net.size], *statistics]
    return other, np.concatenate(own).astype(np.float32)
