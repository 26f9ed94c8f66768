"""`Acting`: a rollout's policy that answers an environment directly; `player_of`: one that acts as a run has learnt to act so far, without a file."""

from __future__ import annotations

from typing import Any

import numpy as np

from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.env_stepping import to_env
from reactornb.rl.envs import plain_source
from reactornb.rl.errors import PolicyNotSavableError
from reactornb.rl.policies import Policy, memory_of, own_draws
from reactornb.rl.saved_policy import policy_from_blueprint
from reactornb.rl.saving_policies import blueprint_of, newest, run_of
from reactornb.runtime import Run

__all__ = ["Acting", "player_of"]


def player_of(run: Any, reactor: str | None = None) -> tuple[Run, Any, Any]:
    """Who can play as a run has learnt to play so far: for `watch`.

    Args:
        run, reactor: as for `save_policy`.

    Returns:
        The run; a `SavedPolicy`, or, where a file could not describe the network, a policy of the run's own kind; the environment that is played.

    Raises:
        PolicyNotSavableError, UnknownNameError: likewise.
    """
    run = run_of(run)
    player, weights, rollouts = newest(run, reactor)
    if hasattr(player, "one_agent"):
        raise PolicyNotSavableError(
            f"{run.program.name} trains several agents: its environment cannot be watched here. evaluate_agents plays it with policies that save_policy(…, agent=…) "
            f"has written.",
            program=run.program.name,
            reactor=player.full_name,
        )
    try:
        made = blueprint_of(run, player, weights, rollouts)
    except PolicyNotSavableError:
        with own_draws(player.seed):
            actor = player.policy(player.envs.spec)
        actor.load(weights)
        return run, Acting(player.envs.spec, actor), plain_source(player.env)
    return run, policy_from_blueprint(made), plain_source(player.env)


class Acting:
    """What a rollout plays with, from an environment's observations to its actions. For one thread.

    Args:
        spec: the environment's spaces.
        actor: the policy, which has its weights.
    """

    def __init__(self, spec: EnvSpec, actor: Policy) -> None:
        self._spec, self._actor = spec, actor
        self.memory = memory_of(actor)

    def __call__(self, observation: Any) -> Any:
        """The best action that it knows."""
        rows, several = self._rows(observation)
        return self._answer(self._actor.greedy(rows), several)

    def reset(self, rows: np.ndarray | None = None) -> None:
        """See `SavedPolicy`."""
        if self.memory is not None:
            self.memory.forget(rows)

    def sample(self, observation: Any, rng: np.random.Generator) -> Any:
        """An action as in training."""
        rows, several = self._rows(observation)
        return self._answer(self._actor.act(rows, rng)[0], several)

    def _rows(self, observation: Any) -> tuple[np.ndarray, bool]:
        spec = self._spec
        array = np.asarray(observation if spec.encode is None else spec.encode(observation), spec.observation_dtype)
        several = array.ndim > len(spec.observation_shape)
        return array if several else array[None], several

    def _answer(self, actions: np.ndarray, several: bool) -> Any:
        taken = to_env(self._spec, actions, several)
        return taken if several else next(iter(taken))
