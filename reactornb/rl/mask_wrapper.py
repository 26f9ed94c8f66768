"""`masked`: environments that say which actions are possible, so that every algorithm heeds it.

    Program(PPO(env=masked("Taxi-v4"))).run(seed=1)

Whatever makes the environment may say it as `info["action_mask"]` of each reset and step (Gymnasium, PettingZoo), or by a method `action_masks()`, as
MaskablePPO of sb3-contrib asks for; of several choices at once, such as a MultiDiscrete, for each of the first choice's values, then of the second's, or as one array a
choice. An environment whose observations are a Dict with a part "action_mask" already needs nothing. See `action_mask` for what comes of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from reactornb.rl.action_mask import NAME, nothing_possible
from reactornb.rl.checks import name_of, takes_mode
from reactornb.rl.envs import is_atari, make_env
from reactornb.rl.errors import ContractError, SpaceError
from reactornb.rl.policy_spaces import space_from_gymnasium

__all__ = ["ActionMasks", "masked", "with_mask"]


def masked(env: str | Callable[[], Any]) -> Callable[..., gymnasium.Env[Any, Any]]:
    """A function that makes an environment with its action masks beside its observations; for `env=`.

    Args:
        env: a Gymnasium id, or a function that makes a `gymnasium.Env`, with Discrete, MultiDiscrete or MultiBinary actions.

    Raises (where it is made):
        SpaceError: for other actions; for a vector environment: give it masked ones, `SyncVectorEnv([masked(make)] * 4)`.
        ContractError: while it is played, if there is no mask, or none for these actions, or one that lets nothing be done.
    """
    return _Maker(env)


class _Maker:
    """What `masked` returns."""

    def __init__(self, env: Any) -> None:
        self.env = env

    @property
    def __name__(self) -> str:
        """For messages."""
        return f"masked({self.env!r})" if isinstance(self.env, str) else f"masked({name_of(self.env)})"

    def __call__(self, render_mode: str | None = None) -> Any:
        """Make one."""
        if render_mode is not None and isinstance(self.env, str) and not is_atari(self.env):
            made = gymnasium.make(self.env, render_mode=render_mode, disable_env_checker=True)
        elif render_mode is not None and takes_mode(self.env):
            made = self.env(render_mode=render_mode)
        else:
            made = make_env(self.env)
        return with_mask(made, name_of(self.env))


def with_mask(env: Any, name: str) -> Any:
    """An environment whose observations have a part "action_mask": itself if they have, else in `ActionMasks`."""
    if isinstance(env, gymnasium.vector.VectorEnv):
        if isinstance(env.single_observation_space, spaces.Dict) and NAME in env.single_observation_space.spaces:
            return env
        raise SpaceError(
            f"{name} makes a vector environment, in which masked cannot look: make one of masked environments, SyncVectorEnv([masked(make)] * 4) or "
            f"ReactorVectorEnv([masked(make)] * 4).",
            space=env.observation_space,
        )
    if isinstance(env.observation_space, spaces.Dict) and NAME in env.observation_space.spaces:
        return env
    return ActionMasks(env, name)


class ActionMasks(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Observations {"action_mask": int8 [A], "observation": what the environment below gives}.

    Args:
        env: says which actions are possible, in `info["action_mask"]` or by `action_masks()`; where it does both, the info counts.
        name: for messages.

    Raises:
        SpaceError: for actions that are no whole numbers.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], name: str = "") -> None:
        super().__init__(env)
        self._name = name or type(env.unwrapped).__name__
        try:
            self._choices = space_from_gymnasium(env.action_space).choices
        except ValueError:
            self._choices = ()
        if not self._choices:
            raise SpaceError(
                f"{self._name} has the actions {env.action_space}; a mask is for Discrete, MultiDiscrete and MultiBinary ones.",
                space=env.action_space,
            )
        self._size = sum(self._choices)
        self._asks = env.has_wrapper_attr("action_masks")
        self.observation_space = spaces.Dict(
            {NAME: spaces.MultiBinary(self._size), "observation": env.observation_space}
        )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """See `gymnasium.Env`."""
        observation, info = self.env.reset(seed=seed, options=options)
        return {NAME: self._mask(info, "reset"), "observation": observation}, info

    def step(self, action: Any) -> Any:
        """See `gymnasium.Env`."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        # Nobody acts after an episode's end, and many environments have no mask there.
        over = terminated or (truncated and NAME not in info and not self._asks)
        mask = np.ones(self._size, np.int8) if over else self._mask(info, "step", bool(truncated))
        return {NAME: mask, "observation": observation}, reward, terminated, truncated, info

    def _mask(self, info: Any, call: str, over: bool = False) -> np.ndarray:
        if NAME in info:
            said, where = info[NAME], f'info["{NAME}"]'
        elif self._asks:
            said, where = self.env.get_wrapper_attr("action_masks")(), "action_masks()"
        else:
            raise self._broken(
                call,
                f'the info of its {call} has no "{NAME}", and it has no method action_masks(): let it say which actions are possible in one of these ways, or leave masked out.',
            )
        if isinstance(said, (list, tuple)) and said and np.ndim(said[0]):
            parts = [np.asarray(part) for part in said]
            fits = tuple(part.shape for part in parts) == tuple((n,) for n in self._choices)
        else:
            parts = np.split(np.ravel(said), np.cumsum(self._choices)[:-1])
            fits = np.size(said) == self._size
        if not fits or not all(part.dtype.kind in "biu" and ((part == 0) | (part == 1)).all() for part in parts):
            wanted = " + ".join(map(str, self._choices))
            raise self._broken(
                call,
                f"its {where} is {said!r:.80}; it is {wanted} numbers (of {self.env.action_space}), each 1 where an action is possible and else 0.",
            )
        if not over and not all(part.any() for part in parts):
            raise nothing_possible(self._name, -1)
        return np.concatenate(parts).astype(np.int8)

    def _broken(self, call: str, what: str) -> ContractError:
        return ContractError(f"{self._name}: {what}", env=-1, call=call)
