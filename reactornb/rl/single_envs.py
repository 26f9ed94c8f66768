"""Ordinary Gymnasium environments as rollouts step them: one after the other, each observation checked and written once.

They are stepped by the thread that runs the rollout. This module knows nothing of reactors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np

from reactornb.rl import checks, guards
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.env_stepping import check_finite, settle, to_env, wrong_shape
from reactornb.rl.errors import ContractError
from reactornb.rl.shared import is_kept
from reactornb.rl.storage import Trajectory

if TYPE_CHECKING:
    from gymnasium import Env

    from reactornb.rl.watchdog import Watch

__all__ = ["Singles"]


class Singles:
    """Ordinary environments, one after the other on the calling thread.

    In a kept run each is one that a checkpoint can bring back from its first reset on; see `recorded`.
    """

    transient = ("_looks", "_next_step", "_space", "_to_record", "_watch", "n", "spec", "step")

    def __init__(
        self,
        envs: list[Env[Any, Any]],
        spec: EnvSpec,
        next_step: bool,
        watch: Watch,
        look: Callable[[], guards.FirstEpisode] | None = None,
    ) -> None:
        self._looks = [] if look is None else [look() for _ in envs]
        if self._looks:
            self.__dict__["step"] = self._step_looked_at  # until all first episodes are over
        self.envs = envs
        self.n = len(envs)
        self.spec = spec
        self._next_step = next_step
        self._watch = watch
        self._ended = [False] * self.n  # whose next step only resets
        self._steps = 0
        self._known = False  # whether a step of each has been held against its space
        self._space = envs[0].observation_space
        self._to_record = is_kept()
        if self._to_record:
            from reactornb.rl.recorded import recorded

            self.envs = [recorded(env) for env in envs]

    def reset(self, seed: int, out: np.ndarray) -> None:
        """See `Envs`."""
        for i, env in enumerate(self.envs):
            self._watch.beat(i)
            if self._looks:
                self._looks[i].begins(seed + i)
            try:
                returned = env.reset(seed=seed + i)
            except Exception as error:
                error.add_note(f"raised by {checks.who(self.spec.name, i)} in its reset")
                raise
            if self._looks:
                self._looks[i].came(ended=False)
            checks.check_reset(returned, self._space, self.spec.name, i)
            out[i] = self._checked(returned[0], i)
            self._ended[i] = False
        if self.spec.mask is not None:
            self.spec.mask.settle(out, np.zeros(self.n, bool), self.spec.name)
        if self._to_record:  # once more: it may have made in its reset what cannot be read
            from reactornb.rl.recorded import recorded

            self._to_record = False
            self.envs = [recorded(env, seed + i) for i, env in enumerate(self.envs)]

    def step(self, t: int, trajectory: Trajectory) -> None:
        """See `Envs`."""
        actions: Iterable[Any] = to_env(self.spec, trajectory.actions[t])
        row, rewards = trajectory.observations[t + 1], trajectory.rewards[t]
        watch, ended, next_step, now = self._watch, self._ended, self._next_step, monotonic
        encode, shape, known = self.spec.encode, self.spec.observation_shape, self._known
        returned: Any
        what = "step"
        try:
            for i, (env, action) in enumerate(zip(self.envs, actions, strict=True)):
                watch.env = i
                watch.since = (
                    now()
                )  # as watch.beat(i), without the call: this loop is what a rollout spends its time in
                returned = 0  # nothing yet
                if ended[i]:
                    what = "reset"
                    returned = env.reset()
                    seen, _ = returned
                    what = "step"
                    ended[i] = False
                    trajectory.valid[t, i] = False
                else:
                    if not known:
                        checks.check_action(action, env.action_space, self.spec.name, i)
                    returned = env.step(action)
                    if not known:
                        checks.check_step(returned, self._space, self.spec.name, i)
                    seen, reward, terminated, truncated, _ = returned
                    rewards[i] = reward
                    if terminated or truncated:
                        trajectory.terminated[t, i] = terminated
                        trajectory.truncated[t, i] = truncated
                        if next_step:
                            ended[i] = True
                        else:
                            trajectory.finals.append((t, i, np.array(self._checked(seen, i), row.dtype)))
                            returned, what = 0, "reset"
                            returned = env.reset()
                            seen, _ = returned
                            what = "step"
                if encode is not None or getattr(seen, "shape", None) != shape:
                    seen = self._checked(seen, i)
                row[i] = seen
        except ContractError:
            raise
        except Exception as error:
            broken = self._explained(error, returned, what, i, action, trajectory.observations[: t + 1])
            if broken is None:
                raise
            raise broken from error
        if self.spec.mask is not None:
            settle(self.spec, t, trajectory, next_step)
        self._known = True
        self._steps += self.n

    def _step_looked_at(self, t: int, trajectory: Trajectory) -> None:
        """`step` during first episodes: see `guards`."""
        envs: Any = self.envs
        looked: Any = [
            env if look.is_over else guards.Looked(env, look) for env, look in zip(envs, self._looks, strict=False)
        ]
        self.envs = looked or envs  # a trajectory may go on with this method when all are over
        try:
            type(self).step(self, t, trajectory)
        finally:
            self.envs = envs
        if all(look.is_over for look in self._looks):
            self._looks = []
            self.__dict__.pop("step", None)

    def _explained(
        self, error: Exception, returned: Any, what: str, i: int, action: Any, seen: np.ndarray
    ) -> ContractError | None:
        """What to raise instead where environment i, or the use of what it returned, has raised; else the error gets a note."""
        name = self.spec.name
        try:
            check_finite(self.spec, seen, None)
        except ContractError as unfinite:  # what follows from a NaN says less than the NaN
            return unfinite
        broken = checks.diagnosis(error, returned, what, self._space, name, i)
        if broken is None:
            refused = checks.refusal(what, self.envs[i].action_space, action)
            error.add_note(f"raised by {checks.who(name, i)} in its {what}{refused}")
        return broken

    def _checked(self, seen: Any, i: int) -> np.ndarray:
        if self.spec.encode is not None:
            try:
                seen = self.spec.encode(seen)
            except Exception:
                checks.check_observation(seen, self._space, self.spec.name, i, "step")
                raise
        shape = np.shape(seen) if isinstance(seen, (np.generic, int, float)) else getattr(seen, "shape", None)
        if shape != self.spec.observation_shape:
            if not isinstance(seen, np.ndarray):
                checks.check_observation(seen, self._space, self.spec.name, i, "step")
            raise wrong_shape(self.spec, i, self._steps, np.shape(seen))
        return seen  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close them all, in order."""
        for env in self.envs:
            env.close()
