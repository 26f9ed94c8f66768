"""Proximal policy optimization for several agents, in PettingZoo parallel environments: independent, with shared parameters, and with a centralised critic.

    Program(MultiAgentPPO(env="mpe2.simple_spread_v3")).run(seed=1)

Rollouts play copies of the environment with the newest weights; all agents of a group, in all copies, are one call of its policy, and one row each of its
trajectory. The learner updates every group's actor-critic as PPO does; see `multi_agent_learning`.

Sources: de Witt et al. 2020, arXiv:2011.09533 (IPPO); Yu et al. 2022, arXiv:2103.01955 (MAPPO); parameter sharing: Gupta, Egorov, Kochenderfer 2017, "Cooperative
Multi-agent Control Using Deep Reinforcement Learning", doi:10.1007/978-3-319-71682-4_5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import torch

from reactornb.model import Bank, connect, enclave, per_member
from reactornb.rl.config import Rule, broken, check, config_of, flag, per_rollout
from reactornb.rl.layers import check_supported
from reactornb.rl.learner import ActorCriticLearner, adam
from reactornb.rl.multi_agent_groups import Team, team_of
from reactornb.rl.multi_agent_learning import EachClipped, GroupPPO, TeamNormalizer, blocks_of, make_algorithm
from reactornb.rl.multi_agent_playing import KeepingTeamEvaluator, TeamEvaluator, TeamRollout
from reactornb.rl.multi_agent_policies import TeamPolicy
from reactornb.rl.normalization import normalizer_of
from reactornb.rl.ppo import PPO_RULES, PPOConfig
from reactornb.rl.shards import shards_of
from reactornb.rl.training import Training, may_be_placed, rounds_ahead, steer, steered_by, weights_after

__all__ = ["MultiAgentPPO", "MultiAgentPPOConfig"]


def _are_groups(value: Any) -> bool:
    return isinstance(value, bool) or (
        isinstance(value, Mapping)
        and bool(value)
        and all(
            isinstance(name, str) and isinstance(who, Sequence) and not isinstance(who, str)
            for name, who in value.items()
        )
    )


@dataclass(frozen=True, slots=True)
class MultiAgentPPOConfig(PPOConfig):
    """Hyper-parameters: those of `PPOConfig`, and who shares what.

    A step is one of an environment, in which every agent acts; `batch_size` counts rows, one for each agent that acted.

    Attributes:
        share: True: all agents have one policy and one value function. False: each has its own. Or groups by name, such as {"wolves": ["wolf_0", "wolf_1"],
            "sheep": ["sheep_0"]}: each agent is in one, and all of a group have the same spaces.
        critic: "central": value functions see the state of the environment (its `state()`, or all agents' observations, one after the other), and of which agent of
            the group the value is asked: MAPPO. "own": what the agent sees: IPPO. Policies see their agent's observation in any case.
        agent_ids: policies that are shared see which agent of the group they act for, as a one-hot behind the observation. A saved policy is then one
            agent's, and has it in its weights.
    """

    share: Any = True
    critic: str = "central"
    agent_ids: bool = False

    def __post_init__(self) -> None:
        check(
            self,
            **PPO_RULES,
            share=Rule(
                'True, False, or a dict of groups, such as {"wolves": ["wolf_0", "wolf_1"], "sheep": ["sheep_0"]}',
                _are_groups,
            ),
            critic=Rule('"central" or "own"', lambda v: isinstance(v, str) and v in ("central", "own")),
            agent_ids=flag,
        )
        per_rollout(self)
        if self.video_every:
            raise broken(
                self, "video_every films one agent's environment, not several agents'. Leave it out.", "video_every"
            )
        if self.isolate:
            raise broken(
                self,
                "isolate is for Gymnasium's environments; those of several agents are played in this process. Leave it out.",
                "isolate",
            )

    @classmethod
    def for_env(cls, env: Any) -> Self:
        """What is known to work for an environment, else the defaults.

        Args:
            env: as for `make_parallel`.
        """
        return cls.presets.get(env) or cls() if isinstance(env, str) else cls()


# Seed 1: mean return of the last 100 episodes -44 after 400,000 steps, which 2 x 64 units, 5 epochs and minibatches of 600 had not reached after 600,000; -26.5, and
# -23.9 of 20 greedy ones, at the end of 4,000,000. The published -29.3 (see `bench/learning.py`) is after 20,000,000.
_SPREAD = MultiAgentPPOConfig(
    total_timesteps=4_000_000, n_rollouts=2, n_envs=16, n_steps=25, n_epochs=8, batch_size=1200, learning_rate=1e-3, gamma=0.98, ent_coef=0.005,
    max_grad_norm=1.0, vf_coef=0.5, clip_vloss=False, normalize_rewards=True, hidden=(128, 128),
)  # fmt: skip

# MPE2's environment, and ours, which agrees with it.
MultiAgentPPOConfig.presets = {"mpe2.simple_spread_v3": _SPREAD, "reactornb.rl.simple_spread": _SPREAD}


class MultiAgentPPO(Training, config_type=MultiAgentPPOConfig):
    """Proximal policy optimization for several agents: learns policies and value functions from what its rollouts play with the newest weights.

        result = Program(MultiAgentPPO(env="mpe2.simple_spread_v3")).run(seed=1)             # MAPPO
        Program(MultiAgentPPO(env=make, share=False, critic="own"))                          # independent PPO

    Parameters:
        env: an id of PettingZoo's registry; the name of a module with a function `parallel_env`, such as "mpe2.simple_spread_v3"; or a function that makes a
            `pettingzoo.ParallelEnv`, such as `lambda: TrafficJunction(cars=4)`. Agents may leave early and join late.
        config: hyper-parameters, a `MultiAgentPPOConfig`. None, the default: `MultiAgentPPOConfig.for_env(env)`.
        share, critic, learning_rate, …: each field of `MultiAgentPPOConfig` by its name, instead of what `config` says.

    Logs `episode_return`, the sum of all agents' rewards; `return/NAME` of each agent; `episode_length`; `loss`, `policy_loss`, `value_loss`, `entropy`, `kl`, of several
    groups `policy_loss/GROUP` and so on; with each evaluation `eval_return`, `eval_return/NAME` and `eval_mean`.

    Raises:
        UnknownEnvironmentError: at assembly, for an environment that cannot be made, or is no parallel environment.
        SpaceError: at assembly, for observations or actions that it does not take, or that differ within a group.
        ConfigError: at assembly, for another configuration, or groups that are none.

    Sources: see the module.
    """

    env: Any
    config: MultiAgentPPOConfig | None = None

    def compose(self) -> None:
        """Learner -> rollouts -> learner, and an evaluation."""
        c = config_of(self, MultiAgentPPOConfig)
        team = team_of(self.env, c.share, c.critic, c.agent_ids)
        _check_team(team, c)
        blocks = tuple(blocks_of(GroupPPO(group, c, None, torch.device("cpu")).network for group in team.groups))
        normalizer = None
        if c.normalize_observations or c.normalize_rewards:
            each = [normalizer_of(c, group.spec) for group in team.groups]
            normalizer = TeamNormalizer(tuple(one for one in each if one is not None), blocks)
        policy = TeamPolicy(team, c.hidden, c.network, blocks, normalizer)
        groups = team.groups
        if normalizer is not None:  # networks see what is normalised
            groups = tuple(_normalised(group, one.spec) for group, one in zip(groups, normalizer.each, strict=True))
        horizon = per_rollout(c)
        several = len(groups) > 1
        step = adam(c.device, eps=c.adam_eps)
        learner = ActorCriticLearner(
            algorithm=partial(make_algorithm, groups, c),
            writers=c.n_rollouts,
            optimizer_class=partial(EachClipped, optimizer_class=step, blocks=blocks, max_norm=c.max_grad_norm)
            if several
            else step,
            learning_rate=c.learning_rate,
            anneal_lr=c.anneal_lr,
            max_grad_norm=None if several else c.max_grad_norm,
            rounds=c.rounds,
            staleness=rounds_ahead(c),
            device=c.device,
            shards=max(shards_of(c, group.spec, c.batch_size, networks=2) for group in groups),
            normalizer=normalizer,
            gamma=c.gamma,
            gae_lambda=c.gae_lambda,
            ent_coef=c.ent_coef,
            vf_coef=c.vf_coef,
            clip_range=c.clip_range,
            placeable=c.placeable,
            **steered_by(c),
        )
        self.learner = enclave(learner) if c.overlap else learner
        rollouts = Bank(
            TeamRollout,
            c.n_rollouts,
            env=self.env,
            policy=policy,
            n_envs=c.n_envs,
            n_steps=per_member(lambda i: horizon[i]),
            normalizer=normalizer,
        )
        self.rollouts = may_be_placed(c, rollouts)
        after = weights_after(c)
        connect(self.learner.weights, self.rollouts.weights, after=after)
        connect(self.rollouts.trajectory, self.learner.batches)
        steer(
            self, c, self.learner, self.learner.weights, self.rollouts.trajectory, c.n_rollouts, policy=policy, after=after,
            later=after if c.overlap else None, judges=(TeamEvaluator, KeepingTeamEvaluator), eval_every=c.eval_every,
            steps_per_round=c.n_envs * sum(horizon), untrained=1 + rounds_ahead(c),
        )  # fmt: skip


def _normalised(group: Any, spec: Any) -> Any:
    """A group whose networks see what is normalised: what was scaled by the bounds of its space no longer is."""
    if group.is_plain:
        return replace(group, own=spec, spec=spec, actor=spec)
    width = math.prod(group.actor.observation_shape)
    scaling = None if spec.scaling is None else (spec.scaling[0][:width], spec.scaling[1][:width])
    return replace(group, spec=spec, actor=replace(group.actor, scaling=scaling))


def _check_team(team: Team, config: MultiAgentPPOConfig) -> None:
    """Refuse what networks cannot take.

    Raises:
        SpaceError: for observations of a kind that no network here takes.
        ConfigError: for a network of the user's own, where what it would see is not an agent's observation.
    """
    for group in team.groups:
        check_supported(group.spec)
        if config.network is not None and not group.is_plain:
            raise broken(
                config,
                f"network= is made for an agent's observation; with critic={config.critic!r} and agent_ids={config.agent_ids} networks of group {group.name!r} see more. "
                f"Write critic='own', and leave agent_ids out.",
                "network",
                "critic",
            )
