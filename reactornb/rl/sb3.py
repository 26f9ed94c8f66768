"""A Gymnasium vector environment for Stable-Baselines3, whose algorithms take its own `VecEnv` and no other.

    envs = ReactorVectorEnv([make] * 16, autoreset_mode="SameStep")
    PPO("MlpPolicy", GymnasiumVecEnv(envs)).learn(100_000)

Needs stable-baselines3, which nothing else here does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.wrappers.vector import DictInfoToList
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.vec_env import VecEnv

from reactornb.rl.storage import own

__all__ = ["GymnasiumVecEnv"]


class _OwnInfos:
    """Keeps the infos as the environments return them.

    Gymnasium's vector environments put the infos of all environments into arrays, whose dtype is that of the first value: costs 0 and
    0.75 become 0 and 0. `_add_info` is where they hand each environment's own dict over.

    Args:
        envs: a vector environment that has that method, innermost.
    """

    def __init__(self, envs: Any, wrapped: bool) -> None:
        self.infos: list[dict[str, Any]] = []
        self._merge = envs._add_info
        self._wrapped = wrapped
        self._merging = False
        envs._add_info = self

    def begin(self, n: int) -> None:
        """Forget those of the call before."""
        self.infos = [{} for _ in range(n)]

    def __call__(self, infos: dict[str, Any], info: dict[str, Any], i: int) -> dict[str, Any]:
        """In `_add_info`'s place; wrappers of vector environments look into its arrays, so they get them."""
        if self._merging:  # for a dict within a dict it calls itself
            return self._merge(infos, info, i)  # type: ignore[no-any-return]
        self.infos[i].update(own(info))
        if not self._wrapped:
            return infos
        self._merging = True
        try:
            return self._merge(infos, info, i)  # type: ignore[no-any-return]
        finally:
            self._merging = False


class GymnasiumVecEnv(VecEnv):  # type: ignore[misc]  # stable-baselines3 is not installed where types are checked
    """Stable-Baselines3's interface to a vector environment that resets in the step that ends an episode.

    Args:
        envs: such a vector environment; with `envs.envs`, the methods that name single environments work too.

    Raises:
        ValueError: for another autoreset mode than SAME_STEP, which is the one that Stable-Baselines3 knows.
    """

    def __init__(self, envs: VectorEnv[Any, Any, Any]) -> None:
        mode = envs.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.SAME_STEP:
            raise ValueError(
                f"Stable-Baselines3 expects the observation after a reset in the step that ends an episode; {envs} has {mode}. Make it "
                f'with autoreset_mode="SameStep".'
            )
        self.envs = envs
        inner: Any = envs.unwrapped
        self._own = _OwnInfos(inner, inner is not envs) if hasattr(inner, "_add_info") else None
        self._listed = DictInfoToList(envs)
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)

    def reset(self) -> Any:
        """Begin an episode everywhere, with the seeds that `seed` left."""
        options = next((options for options in self._options if options), None)
        self._begin()
        seen, infos = self._listed.reset(seed=list(self._seeds), options=options)  # type: ignore[arg-type]
        self.reset_infos = self._infos(infos)
        self._reset_seeds()
        self._reset_options()
        return seen

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Observations, rewards float32 [N], dones bool [N], an info per environment."""
        self._begin()
        seen, rewards, terminated, truncated, infos = self._listed.step(self._actions)
        dones = terminated | truncated
        listed: list[dict[str, Any]] = []
        for i, info in enumerate(self._infos(infos)):
            said = info
            if dones[i]:
                self.reset_infos[i] = {k: v for k, v in info.items() if k not in ("final_obs", "final_info")}
                said = {**info.get("final_info", {}), "terminal_observation": info["final_obs"]}
            said["TimeLimit.truncated"] = bool(truncated[i] and not terminated[i])
            listed.append(said)
        return seen, np.asarray(rewards, np.float32), dones, listed

    def _begin(self) -> None:
        if self._own is not None:
            self._own.begin(self.num_envs)

    def _infos(self, listed: Any) -> list[dict[str, Any]]:
        """Each environment's own info, and what wrappers of the vector environment have added."""
        if self._own is None:
            return [dict(info) for info in listed]
        return [{**info, **said} for info, said in zip(listed, self._own.infos, strict=True)]

    def close(self) -> None:
        """Close the environments."""
        self.envs.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """The frames of all environments; None each unless they render to arrays."""
        frames: Any = self.envs.render() if self.render_mode == "rgb_array" else None
        return [None] * self.num_envs if frames is None else list(frames)

    def _chosen(self, indices: Any) -> list[Any]:
        every: list[Any] = self.envs.envs  # type: ignore[attr-defined]
        return [every[i] for i in self._get_indices(indices)]

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of the environments, wrappers included."""
        return [env.get_wrapper_attr(attr_name) for env in self._chosen(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute, where a wrapper or the environment has it."""
        for env in self._chosen(indices):
            env.set_wrapper_attr(attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Call a method of the environments, wrappers included."""
        return [env.get_wrapper_attr(method_name)(*args, **kwargs) for env in self._chosen(indices)]

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Whether each is wrapped by that class."""
        return [is_wrapped(env, wrapper_class) for env in self._chosen(indices)]
