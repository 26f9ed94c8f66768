"""Environments that one call of a worker steps, one after the other: the parts of a `ReactorVectorEnv`.

This module knows of environments and arrays, and nothing of threads: the vector environment decides which worker calls which part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import Env
from gymnasium.vector import AutoresetMode

from reactornb.rl.checks import check_action, check_reset, check_step, diagnosis
from reactornb.rl.errors import ContractError
from reactornb.rl.storage import own

__all__ = ["Asked", "Part", "env_name"]


class Asked:
    """What the environments are asked for, and where they are to write observations.

    # Written by the calling thread before the parts are handed out, read by the workers that step them

    Attributes:
        actions: of a step: a sequence of N.
        seeds, chosen, options: of a reset: a seed and whether to reset, for each environment, and Gymnasium's options.
        observations: [N, *shape] of the space's dtype; None where its batch is no single array.
    """

    __slots__ = ("actions", "chosen", "observations", "options", "seeds")

    actions: Sequence[Any]
    seeds: Sequence[int | None]
    chosen: Sequence[bool]
    options: dict[str, Any] | None
    observations: np.ndarray | None


class Part:
    """A few of the environments, stepped one after the other.

    # seen, infos, ended, total, failure
    #                        written by `reset` and `step`, on whatever worker makes the call; read by the calling thread once
    #                        all calls are made
    # observations and results
    #                        each part writes its own rows; no two rows share an element

    Args:
        envs: its environments.
        first: the number of the first one.
        asked: what all are asked for.
        results: where to write rewards (float64 [N]), terminated and truncated (bool [N]).
        mode: of resetting.
        shape: of an observation; as `dtype` without meaning where observations are no arrays.
        dtype: of an observation.
    """

    transient = ("_numbered", "asked", "dtype", "envs", "failure", "first", "infos", "mode", "rows", "shape")

    def __init__(
        self,
        envs: list[Env[Any, Any]],
        first: int,
        asked: Asked,
        results: tuple[np.ndarray, np.ndarray, np.ndarray],
        mode: AutoresetMode,
        shape: tuple[int, ...] | None,
        dtype: Any,
    ) -> None:
        self.envs, self.first, self.asked = envs, first, asked
        self.mode, self.shape, self.dtype = mode, shape, dtype
        rows = slice(first, first + len(envs))
        # Views are this part's own, so workers do not count references to one object.
        self.rows = tuple(array[rows] for array in results)
        self.seen: list[Any] = [None] * len(envs)
        self.over = [False] * len(envs)
        self.infos: list[tuple[int, dict[str, Any]]] = []
        self.failure: tuple[int, str, BaseException] | None = None
        self.known = [False, False]  # whether a reset and a step of each have been held against their space
        self._numbered = [(k, first + k, env) for k, env in enumerate(envs)]
        self.ended = True  # whether a flag of the last step may be set
        self.total = 0.0  # of the last step's rewards, which is not finite if one of them is not

    def replace(self, i: int, env: Env[Any, Any]) -> None:
        """Put another environment in the place of number i, if that is one of these."""
        k = i - self.first
        if 0 <= k < len(self.envs):
            self.envs[k] = env
            self._numbered[k] = (k, i, env)

    def reset(self) -> None:
        """Reset those that are chosen."""
        ask = self.asked
        self.infos = []
        i = self.first
        returned: Any = 0
        try:
            for k, env in enumerate(self.envs):
                i = self.first + k
                if ask.chosen[i]:
                    returned = 0  # nothing yet
                    returned = env.reset(seed=ask.seeds[i], options=ask.options)
                    if not self.known[0]:
                        check_reset(returned, env.observation_space, env_name(env), i)
                    self.seen[k], info = returned
                    self.over[k] = False
                    if info:
                        self.infos.append((i, info))
                if ask.observations is not None:
                    self._write(ask.observations[i], self.seen[k])
            self.known[0] = True
        except BaseException as error:  # noqa: BLE001 - raised again by the calling thread, whatever it is
            self.failure = (i, "reset", self._explained(error, returned, "reset", i))

    def step(self) -> None:
        """Take one action each, or reset where that is due."""
        actions, observations = self.asked.actions, self.asked.observations
        rewards, terminated, truncated = self.rows
        seen, over, mode, i = self.seen, self.over, self.mode, self.first
        shape, dtype, ndarray = self.shape, self.dtype, np.ndarray
        self.infos = infos = []
        known = self.known[1]
        total: Any = 0.0
        returned: Any
        what = "step"
        try:
            # Few episodes end in a step: the flags are cleared all at once, and only those that are set are written.
            if self.ended:
                terminated[:] = truncated[:] = self.ended = False
            for k, i, env in self._numbered:
                returned = 0  # nothing yet
                if over[k] and mode is AutoresetMode.NEXT_STEP:
                    what = "reset"
                    returned = env.reset()
                    seen[k], info = returned
                    rewards[k], over[k] = 0.0, False
                    what = "step"
                else:
                    if not known:
                        check_action(actions[i], env.action_space, env_name(env), i)
                    returned = env.step(actions[i])
                    if not known:
                        check_step(returned, env.observation_space, env_name(env), i)
                    seen[k], reward, ended, cut, info = returned
                    rewards[k] = reward
                    total += reward
                    if ended or cut:
                        terminated[k], truncated[k] = ended, cut
                        over[k] = self.ended = True
                        if mode is AutoresetMode.SAME_STEP:
                            # Copies: the reset may write into the same objects.
                            infos.append((i, {"final_obs": own(seen[k]), "final_info": own(info)}))
                            returned, what = 0, "reset"
                            returned = env.reset()
                            seen[k], info = returned
                            over[k] = False
                            what = "step"
                if info:
                    infos.append((i, info))
                if observations is not None:
                    row = seen[k]
                    if type(row) is ndarray and row.dtype is dtype and row.shape == shape:
                        observations[i] = row
                    else:
                        self._write(observations[i], row)
            self.known[1], self.total = True, total
        except BaseException as error:  # noqa: BLE001 - raised again by the calling thread, whatever it is
            self.failure = (i, what, self._explained(error, returned, what, i))

    def _explained(self, error: BaseException, returned: Any, what: str, i: int) -> BaseException:
        """The error, or a `ContractError` where the values that the environment returned are the cause."""
        if not isinstance(error, Exception) or isinstance(error, ContractError):
            return error
        env = self.envs[i - self.first]
        return diagnosis(error, returned, what, env.observation_space, env_name(env), i) or error

    def _write(self, row: np.ndarray, seen: Any) -> None:
        """Copy an observation to its row, minding what `numpy.stack` minds: an assignment would broadcast, and cast at will."""
        if getattr(seen, "shape", None) != self.shape:
            if np.shape(seen) != self.shape:
                raise ContractError(
                    f"it returned an observation of shape {np.shape(seen)}; its observation space says {self.shape}."
                )
            seen = np.asarray(seen)
        np.copyto(row, seen, casting="same_kind")


def env_name(env: Env[Any, Any]) -> str:
    """Its id, or the name of its class."""
    return env.spec.id if env.spec is not None else type(env.unwrapped).__name__
