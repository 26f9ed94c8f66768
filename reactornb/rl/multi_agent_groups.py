"""Who shares a policy with whom, and what one row of a group's trajectories holds; read off a parallel environment before anything runs.

A group is a set of agents with one policy and one value function. A row is one agent at one step. Where the value function sees more than the agent does, a row has
all of it, flat and in this order:

    own observation | one-hot number of the agent in its group | state of the environment
    ^---------------- what the policy sees (with `agent_ids` up to here) -^
                     ^-------------------------- what the value function sees ----------------------^

Nothing here knows of reactors or torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
from gymnasium import spaces

from reactornb.errors import suggestion
from reactornb.rl.env_spec import EnvSpec, frames_in
from reactornb.rl.errors import ConfigError, ContractError, SpaceError
from reactornb.rl.parallel_envs import make_parallel, parallel_name
from reactornb.rl.spaces import spec_from

__all__ = ["Group", "Team", "team_of"]


@dataclass(frozen=True, slots=True)
class Group:
    """Agents with one policy and one value function.

    Attributes:
        name: of the group: as it was given, "agents" of all together, or the agent's of one alone.
        agents: who is in it, in PettingZoo's order.
        members: their places among the environment's `possible_agents`.
        own: spaces of one agent, as the environment has them.
        spec: spaces of a row, which the learner learns from.
        actor: spaces of what the policy sees of a row, its first numbers; `own` but where agents see their number.
        critic: the first number of a row that the value function sees; 0: it sees what the policy sees.
    """

    name: str
    agents: tuple[str, ...]
    members: tuple[int, ...]
    own: EnvSpec
    spec: EnvSpec
    actor: EnvSpec
    critic: int

    @property
    def width(self) -> int:
        """How many numbers of a row the policy sees."""
        return math.prod(self.actor.observation_shape)

    @property
    def is_plain(self) -> bool:
        """Whether a row is an agent's own observation and nothing else."""
        return self.spec is self.own


@dataclass(frozen=True, slots=True)
class Team:
    """The agents of an environment, in groups.

    Attributes:
        name: the environment's, for messages.
        agents: its `possible_agents`.
        groups: each agent is in one of them.
        state: the state that value functions see: "" (none), "state" (the environment's own), or "joined" (all agents' observations, one after
            the other).
        state_spec: its spaces; None: there is none.
    """

    name: str
    agents: tuple[str, ...]
    groups: tuple[Group, ...]
    state: str
    state_spec: EnvSpec | None

    @property
    def policies(self) -> tuple[str, ...]:
        """Names of the policies that differ: of groups, and where agents of a group see their number, of each of them."""
        names: list[str] = []
        for group in self.groups:
            names += [group.name] if group.actor is group.own else group.agents
        return tuple(names)


def team_of(env: Any, share: bool | Mapping[str, Sequence[str]], critic: str, agent_ids: bool) -> Team:
    """Make the environment once, put its agents into groups, and close it.

    Args:
        env: as for `make_parallel`.
        share: all agents in one group, each in one of its own, or groups by name.
        critic: "central" or "own".
        agent_ids: whether policies see which agent of the group they act for.

    Raises:
        UnknownEnvironmentError: if it cannot be made.
        ConfigError: if groups leave an agent out, name one twice, or one that there is none of.
        SpaceError: if agents of a group have different spaces, or spaces of a kind that no algorithm here works with.
    """
    example = make_parallel(env)
    name = parallel_name(env)
    try:
        agents = tuple(example.possible_agents)
        if not agents:
            raise ContractError(f"{name}: its possible_agents are empty: nobody can act.", call="possible_agents")
        parts = _parts(agents, share)
        own = {agent: _spec(example, agent, name) for agent in agents}
        state, state_spec = _state(example, name, own, critic)
        groups = []
        for label, members in parts.items():
            first = _alike(example, name, label, members, agents)
            groups.append(_group(label, members, agents, own[first], state_spec, critic == "central", agent_ids))
        return Team(name, agents, tuple(groups), state, state_spec)
    finally:
        example.close()


def _spec(env: Any, agent: str, name: str) -> EnvSpec:
    one = SimpleNamespace(observation_space=env.observation_space(agent), action_space=env.action_space(agent))
    return spec_from(one, f"{name}, {agent}")


def _parts(agents: tuple[str, ...], share: bool | Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The agents of each group, in PettingZoo's order."""
    if share is True:
        return {"agents" if len(agents) > 1 else str(agents[0]): agents}
    if share is False:
        return {str(agent): (agent,) for agent in agents}
    found = [agent for members in share.values() for agent in members]
    unknown = [agent for agent in found if agent not in agents]
    twice = sorted({str(agent) for agent in found if found.count(agent) > 1})
    missing = [str(agent) for agent in agents if agent not in found]
    words = []
    if unknown:
        words.append(f"there is no agent {unknown[0]!r}. {suggestion(str(unknown[0]), list(map(str, agents)))}")
    if twice:
        words.append(f"{', '.join(twice)} {'are' if len(twice) > 1 else 'is'} in several groups")
    if missing:
        words.append(f"{', '.join(missing)} {'are' if len(missing) > 1 else 'is'} in no group")
    if words or not all(share.values()):
        raise ConfigError(
            f"share={dict(share)!r:.200}: {'; '.join(words) or 'a group has no agents'}. Each of {', '.join(map(str, agents))} is in one group; an agent by "
            f"itself is a group, too.",
            fields=("share",),
        )
    return {label: tuple(agent for agent in agents if agent in members) for label, members in share.items()}


def _alike(env: Any, name: str, label: str, members: tuple[str, ...], agents: tuple[str, ...]) -> str:
    """The first agent of a group, whose spaces are all others'.

    Raises:
        SpaceError: naming two agents whose spaces differ.
    """
    first = members[0]
    for other in members[1:]:
        for kind in ("observation", "action"):
            mine, its = getattr(env, f"{kind}_space")(first), getattr(env, f"{kind}_space")(other)
            if mine != its:
                same: dict[str, list[str]] = {}
                for agent in agents:
                    key = f"{env.observation_space(agent)} {env.action_space(agent)}"
                    same.setdefault(key, []).append(agent)
                raise SpaceError(
                    f"{name}: agents of one group have one policy, and the {kind}s of {first} are {mine}, those of {other} {its} (group {label!r}). Write "
                    f"share=False, or groups of those that are alike: share={ {group[0]: group for group in same.values()} }; or make them alike with "
                    f"a wrapper that pads.",
                    space=its,
                )
    return first


def _group(
    label: str,
    members: tuple[str, ...],
    agents: tuple[str, ...],
    own: EnvSpec,
    state: EnvSpec | None,
    central: bool,
    agent_ids: bool,
) -> Group:
    places = tuple(agents.index(agent) for agent in members)
    several = len(members) > 1
    if not central and not (agent_ids and several):
        return Group(label, members, places, own, own, own, 0)
    asked = "critic='central'" if central else "agent_ids=True"
    instead = "critic='own' and agent_ids=False"
    if own.frames or (own.observation_dtype == np.uint8 and frames_in(own.observation_shape)):
        raise SpaceError(
            f"{own.name}: with {asked} what networks see is one row of numbers; an observation {own.observation_shape} of frames goes through convolutions. "
            f"Write {instead}.",
            space=own.observation_shape,
        )
    if own.mask is not None and agent_ids and several:
        raise SpaceError(
            f"{own.name}: observations with an action_mask and agent_ids=True do not go together. Leave agent_ids out.",
            space=own.observation_shape,
        )
    ids = len(members) if several else 0
    parts = [_flat(own)]
    if ids:
        parts.append((np.zeros(ids, np.float32), np.ones(ids, np.float32), np.zeros(ids, bool)))
    width = math.prod(own.observation_shape)
    critic = width if central else 0
    seen = width + (ids if agent_ids else 0)
    if central and state is not None:
        parts.append(_flat(state))
    offset, span, numbers = (np.concatenate(column) for column in zip(*parts, strict=True))
    spec = _row(own, offset, span, numbers)
    actor = own if seen == width else _row(own, offset[:seen], span[:seen], numbers[:seen])
    return Group(label, members, places, own, spec, actor, critic)


def _flat(spec: EnvSpec) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Offset, span and whether they mean how much, of each number of an observation in a row."""
    count = math.prod(spec.observation_shape)
    offset, span = np.zeros(count, np.float32), np.ones(count, np.float32)
    if spec.scaling is not None:
        offset[:], span[:] = (np.ravel(a) for a in spec.scaling)
    elif spec.observation_dtype == np.uint8:
        span[:] = 255.0
    return offset, span, np.ones(count, bool) if spec.numbers is None else spec.numbers.ravel()


def _row(own: EnvSpec, offset: np.ndarray, span: np.ndarray, numbers: np.ndarray) -> EnvSpec:
    scaled = bool(offset.any() or (span != 1).any())
    return replace(
        own,
        observation_shape=(len(offset),),
        observation_dtype=np.dtype(np.float32),
        encode=None,
        scaling=(offset, span) if scaled else None,
        frames=(),
        numbers=None if numbers.all() else numbers,
    )


def _state(env: Any, name: str, own: dict[str, EnvSpec], critic: str) -> tuple[str, EnvSpec | None]:
    """The state that value functions see."""
    if critic != "central":
        return "", None
    env.reset(seed=0)
    try:
        state = env.state()
    except NotImplementedError:
        state = None
    if state is not None:
        space = getattr(env, "state_space", None)
        if not isinstance(space, spaces.Space):
            array = np.asarray(state)
            if array.dtype == np.uint8:
                space = spaces.Box(0, 255, array.shape, np.uint8)
            else:
                space = spaces.Box(-np.inf, np.inf, array.shape, np.float32)
        spec = spec_from(
            SimpleNamespace(observation_space=space, action_space=spaces.Discrete(1)), f"the state of {name}"
        )
        if np.shape(state) == spec.observation_shape or spec.encode is not None:
            return "state", spec
        raise ContractError(
            f"{name}: its state is an array {np.shape(state)}, and its state_space says {space}. Mend one of them, or write critic='own'.",
            call="state",
        )
    parts = [_flat(spec) for spec in own.values()]
    offset, span, numbers = (np.concatenate(column) for column in zip(*parts, strict=True))
    first = replace(next(iter(own.values())), mask=None)
    return "joined", _row(first, offset, span, numbers)
