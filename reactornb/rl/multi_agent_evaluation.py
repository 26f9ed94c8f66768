"""`evaluate_agents`: whole episodes of a parallel environment, played by whatever policies there are, without the program they come from.

    returns = evaluate_agents({"wolves": load_policy("wolves.safetensors"), "sheep_0": runs_away}, make, episodes=100)
    returns["wolf_0"].mean(), sum(returns.values()).mean()

Nothing here knows of reactors or torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pettingzoo import ParallelEnv

from reactornb.rl.checks import name_of
from reactornb.rl.config import check_parameters, whole
from reactornb.rl.errors import ConfigError, SpaceError
from reactornb.rl.parallel_envs import (
    broken,
    check_agents,
    finite_reward,
    make_parallel,
    parallel_name,
    unpacked_reset,
    unpacked_step,
)
from reactornb.rl.saved_policy import SavedPolicy, load_policy

__all__ = ["evaluate_agents"]

Choose = Callable[[Any], Any]
"""From an agent's observation to its action, as the environment has them."""


def evaluate_agents(
    policies: Any,
    env: Any,
    episodes: int = 10,
    seed: int = 0,
    *,
    groups: Mapping[str, Sequence[str]] | None = None,
    rng: np.random.Generator | None = None,
) -> dict[str, np.ndarray]:
    """Play whole episodes.

    Args:
        policies: a `SavedPolicy`, the file of one, or a function from an observation to an action, for all agents; or a dict of these by agent or group.
        env: as for `MultiAgentPPO`; or a parallel environment, which stays open.
        episodes: how many.
        seed: of the first reset; the others go on from it.
        groups: the agents of each group that `policies` names, as in `MultiAgentPPO(share=…)`.
        rng: sample the actions with it; None: the best ones.

    Returns:
        For each of the environment's `possible_agents` its return in each episode, float64 [episodes]; the team's is their sum.

    Raises:
        ConfigError: if an agent has no policy, or a policy no agent.
        SpaceError: if an agent's spaces are not its policy's.
        ContractError: if the environment answers with something that is none.
    """
    check_parameters("evaluate_agents", episodes=(episodes, whole(1)))
    given = isinstance(env, ParallelEnv)
    played = env if given else make_parallel(env)
    name = type(env).__name__ if given else parallel_name(env)
    try:
        agents = list(played.possible_agents)
        chosen = _choices(policies, agents, groups or {}, rng)
        for agent, (policy, _) in chosen.items():
            _check(policy, agent, played, name)
        returns = {agent: np.zeros(episodes) for agent in agents}
        for episode in range(episodes):
            _play(played, name, {agent: choose for agent, (_, choose) in chosen.items()}, returns, episode, seed)
        return returns
    finally:
        if not given:
            played.close()


def _play(
    env: Any, name: str, choose: dict[Any, Choose], returns: dict[Any, np.ndarray], episode: int, seed: int
) -> None:
    """One episode; who is there is as for `TeamEnvs`."""
    seen = unpacked_reset(name, env.reset(seed=seed) if episode == 0 else env.reset())
    check_agents(name, list(choose), "observations", seen, "reset")
    over: set[Any] = set()
    steps = 0
    while True:
        acting = [agent for agent in choose if agent in env.agents and agent not in over]
        if not acting or "__all__" in over:
            if not steps:
                raise broken(
                    name, "reset", "after reset its `agents` is empty: nobody can act. Set self.agents in reset."
                )
            return
        seen, rewards, terminations, truncations = unpacked_step(
            name, env.step({agent: choose[agent](seen[agent]) for agent in acting})
        )
        steps += 1
        for agent in acting:
            returns[agent][episode] += finite_reward(name, agent, rewards.get(agent, 0.0), steps)
        over |= {agent for said in (terminations, truncations) for agent, ended in said.items() if ended}


def _choices(
    policies: Any, agents: list[Any], groups: Mapping[str, Sequence[str]], rng: np.random.Generator | None
) -> dict[Any, tuple[Any, Choose]]:
    """For each agent its policy, and what chooses."""
    named = policies if isinstance(policies, Mapping) else dict.fromkeys(agents, policies)
    labels = {agent: label for label, members in groups.items() for agent in members}
    unused = [label for label in named if label not in agents and label not in labels.values()]
    missing = [str(agent) for agent in agents if agent not in named and labels.get(agent) not in named]
    if unused or missing:
        raise ConfigError(
            f"policies name {', '.join(map(str, named))}; "
            + (
                f"{', '.join(missing)} {'have' if len(missing) > 1 else 'has'} none"
                if missing
                else f"there is no agent {unused[0]!r}"
            )
            + f". The agents are {', '.join(map(str, agents))}; for a policy of several, groups={{name: [agents]}} says of whom.",
            fields=("policies",),
        )
    found: dict[Any, tuple[Any, Choose]] = {}
    loaded: dict[str, SavedPolicy] = {}
    for agent in agents:
        policy = named[agent] if agent in named else named[labels[agent]]
        if isinstance(policy, (str, Path)):
            policy = loaded.setdefault(str(policy), load_policy(policy))
        if not callable(policy):
            raise TypeError(
                f"{agent}: a policy is a SavedPolicy, its file, or a function from an observation to an action, not {policy!r:.80}."
            )
        if rng is not None and not hasattr(policy, "sample"):
            raise ConfigError(
                f"{name_of(policy)} draws no actions, it has no `sample`: leave rng out.", fields=("rng",)
            )
        found[agent] = policy, policy if rng is None else _sampled(policy, rng)
    return found


def _sampled(policy: Any, rng: np.random.Generator) -> Choose:
    return lambda observation: policy.sample(observation, rng)


def _check(policy: Any, agent: Any, env: Any, name: str) -> None:
    """Refuse an agent that the policy was not made for."""
    if not isinstance(policy, SavedPolicy):
        return
    observed, acted = env.observation_space(agent), env.action_space(agent)
    if (policy.observation_space.shape, policy.action_space) != (observed.shape, acted):
        raise SpaceError(
            f"{name}: {agent} has observations {observed} and actions {acted}; its policy is one from {policy.blueprint.observation} to "
            f"{policy.blueprint.action}.",
            space=observed,
        )
