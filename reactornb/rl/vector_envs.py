"""A `gymnasium.vector.VectorEnv` as rollouts step it: every autoreset mode alike, the observations checked and written once.

This module knows nothing of reactors; `vector` is the vector environment that a program of reactors is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from reactornb.rl import guards
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.env_stepping import settle, to_env, wrong_shape
from reactornb.rl.errors import ContractError
from reactornb.rl.shared import is_kept
from reactornb.rl.storage import Trajectory, own

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv

    from reactornb.rl.watchdog import Watch

__all__ = ["Vectored"]


class Vectored:
    """A vector environment of any autoreset mode.

    In a kept run it must be one that a checkpoint can bring back; see `recorded`.
    """

    transient = ("_look", "_mode", "_to_record", "_watch", "n", "spec")

    def __init__(
        self,
        env: VectorEnv[Any, Any, Any],
        spec: EnvSpec,
        watch: Watch,
        look: Callable[[], guards.FirstEpisode] | None = None,
    ) -> None:
        from gymnasium.vector import AutoresetMode, SyncVectorEnv

        self.env = env
        self._look = None if look is None else look()
        self.n = env.num_envs
        self.spec = spec
        self._watch = watch
        self._ended = np.zeros(self.n, bool)
        self._steps = 0
        self._to_record = is_kept()
        if self._to_record:
            from reactornb.rl.recorded import need_readable

            need_readable(env)
        # Gymnasium 1.x: an environment that says nothing resets at the next step.
        mode = env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self._mode: str = getattr(AutoresetMode(mode), "name", "NEXT_STEP")
        inner: Any = env.unwrapped
        if self._mode == "SAME_STEP" and getattr(type(inner), "step", None) is SyncVectorEnv.step:
            # Gymnasium's own keeps a reference to the last observation over the reset, which may write into the same array.
            add = inner._add_info
            inner._add_info = lambda infos, info, i: add(infos, own(info) if "final_obs" in info else info, i)

    def reset(self, seed: int, out: np.ndarray) -> None:
        """See `Envs`."""
        self._watch.beat()
        if self._look is not None:
            self._look.begins(seed)
        returned: Any = self.env.reset(seed=seed)
        if self._look is not None:
            self._look.came(ended=False)
        if not (isinstance(returned, tuple) and len(returned) == 2):
            raise ContractError(
                f"{self.spec.name}: reset of a vector environment returns (observations, infos); it returned a {type(returned).__name__}. "
                f"End it with: return observations, {{}}.",
                call="reset",
            )
        out[:] = self._checked(returned[0])
        self._ended[:] = False
        if self.spec.mask is not None:
            self.spec.mask.settle(out, np.zeros(self.n, bool), self.spec.name)
        if self._to_record:
            from reactornb.rl.recorded import need_readable

            self._to_record = False
            need_readable(self.env, seed)

    def step(self, t: int, trajectory: Trajectory) -> None:
        """See `Envs`."""
        self._watch.beat()
        actions = to_env(self.spec, trajectory.actions[t], True)
        look = self._look
        if look is not None:
            look.steps(actions)
        returned: Any = self.env.step(actions)
        if not self._steps:
            self._check_first(returned)
        seen, rewards, terminated, truncated, infos = returned
        seen = self._checked(seen)
        trajectory.rewards[t] = rewards
        trajectory.terminated[t] = terminated
        trajectory.truncated[t] = truncated
        ended = trajectory.terminated[t] | trajectory.truncated[t]
        if look is not None:
            look.came(ended=bool(ended.any()))
            if look.is_over:
                self._look = None
        if self._mode == "NEXT_STEP":
            if self._ended.any():
                trajectory.valid[t] = ~self._ended
                trajectory.rewards[t, self._ended] = 0.0
                ended &= ~self._ended
                trajectory.terminated[t] &= ended
                trajectory.truncated[t] &= ended
            self._ended = ended
        elif ended.any():
            encode = None if self._mode == "DISABLED" else self.spec.encode
            finals = seen if self._mode == "DISABLED" else infos["final_obs"]
            for i in np.flatnonzero(ended):
                final = finals[i] if encode is None else encode(finals[i])
                trajectory.finals.append((t, int(i), np.array(final, trajectory.observations.dtype)))
            if self._mode == "DISABLED":
                seen, _ = self.env.reset(options={"reset_mask": ended})
                seen = self._checked(seen)
        trajectory.observations[t + 1] = seen
        if self.spec.mask is not None:
            settle(self.spec, t, trajectory, self._mode == "NEXT_STEP")
        self._steps += self.n

    def _check_first(self, returned: Any) -> None:
        says = "step of a vector environment returns (observations, rewards, terminated, truncated, infos), arrays of length"
        came = f"{type(returned).__name__}s"
        if isinstance(returned, tuple):
            came = ", ".join(
                f"{type(r).__name__}{list(np.shape(r)) if isinstance(r, np.ndarray) else ''}" for r in returned
            )
            if len(returned) == 5 and all(np.shape(r) == (self.n,) for r in returned[1:4]):
                return
        raise ContractError(f"{self.spec.name}: {says} {self.n} but for the infos; it returned ({came}).", call="step")

    def _checked(self, seen: Any) -> np.ndarray:
        if self.spec.encode is not None:
            from gymnasium.vector.utils import iterate

            one_by_one = iterate(self.env.observation_space, seen)
            seen = np.stack([self.spec.encode(one) for one in one_by_one])
        if np.shape(seen) != (self.n, *self.spec.observation_shape):
            raise wrong_shape(self.spec, -1, self._steps, np.shape(seen)[1:])
        return seen  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close them all."""
        self.env.close()
