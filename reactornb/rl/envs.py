"""Environments as rollouts step them: several at once, every autoreset mode alike, each observation checked and written once.

What a rollout needs of an environment is small (`Envs`): fill the next row of preallocated arrays. `Singles` does it for ordinary
Gymnasium environments, stepped one after the other by the thread that runs the rollout; `Vectored` for a
`gymnasium.vector.VectorEnv` of any kind. This module knows nothing of reactors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from reactornb.errors import ReactorError
from reactornb.limits import MOST_ENVS
from reactornb.rl import checks
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.errors import ContractError, ObservationError, UnknownEnvironmentError
from reactornb.rl.names import renamed_arguments
from reactornb.rl.shared import claim, need_distinct
from reactornb.rl.spaces import spec_from
from reactornb.rl.storage import Trajectory, own

if TYPE_CHECKING:
    from gymnasium import Env
    from gymnasium.vector import VectorEnv

    from reactornb.rl.watchdog import Watch

__all__ = ["EnvSpec", "Envs", "make_envs", "spec_of"]

Make = Callable[[], Any]
"""Makes a `gymnasium.Env`, or a `gymnasium.vector.VectorEnv`."""

AUTORESET = ("next_step", "same_step")


@renamed_arguments(env_id="env")
def spec_of(env: str | Make) -> EnvSpec:
    """Make the environment once, look at its spaces, and close it.

    Args:
        env: a Gymnasium id, or a function that makes a `gymnasium.Env` or a `gymnasium.vector.VectorEnv`.

    Raises:
        UnknownEnvironmentError: if it cannot be made.
        SpaceError: if its spaces are of a kind that no algorithm here works with.
    """
    example = _make(env)
    try:
        return spec_from(example, checks.name_of(env))
    finally:
        example.close()


def _make(env: str | Make, index: int = -1) -> Any:
    import gymnasium

    if not isinstance(env, str):
        try:
            return checks.make_one(env, index)
        except ReactorError:
            raise
        except Exception as error:
            error.add_note(f"raised by {checks.name_of(env)}, which was to make environment {max(index, 0)}")
            raise
    if is_atari(env):
        from reactornb.rl.atari import make_frames

        return make_frames(env)  # one emulator is for one thread at a time
    try:
        # The checker looks at every step; what it finds, we find ourselves or do not need.
        return gymnasium.make(env, disable_env_checker=True)
    except (gymnasium.error.Error, ModuleNotFoundError) as error:
        raise UnknownEnvironmentError(
            f"cannot make the environment {env!r}: {error} {checks.nearest_id(env)} An environment of your own can be given as "
            f"a function that makes it.",
            env=env,
        ) from error
    except Exception as error:
        error.add_note(f"raised while gymnasium.make({env!r}) made an environment")
        raise


def is_atari(name: str) -> bool:
    """Whether an id is one of ale-py's: in its namespace, or a name of old such as PongNoFrameskip-v4, known once ale-py is imported."""
    if name.startswith("ALE/"):
        return True
    import gymnasium

    if name not in gymnasium.registry and re.search(r"-v[04]$", name) and find_spec("ale_py") is not None:
        import ale_py

        gymnasium.register_envs(ale_py)
    spec = gymnasium.registry.get(name)
    return spec is not None and isinstance(spec.entry_point, str) and spec.entry_point.startswith("ale_py")


class Envs(Protocol):
    """N environments that are stepped together.

    Attributes:
        n: how many.
        spec: their spaces.
    """

    n: int
    spec: EnvSpec

    def reset(self, seed: int, out: np.ndarray) -> None:
        """Begin an episode everywhere.

        Args:
            seed: 0 <= seed < 2**31 - n; environment i gets seed + i.
            out: [N, *observation_shape], filled.
        """

    def step(self, t: int, trajectory: Trajectory) -> None:
        """Take `trajectory.actions[t]`, fill its rows t (of observations: t + 1), append to its `finals`.

        Raises:
            ObservationError: for an observation of the wrong shape.
        """

    def close(self) -> None:
        """Close them all."""


@renamed_arguments(env_id="env")
def make_envs(env: str | Make, n: int, *, autoreset: str = "next_step", watch: Watch) -> Envs:
    """Make N environments, or take a vector environment as it is.

    Args:
        env: a Gymnasium id, or a function that makes a `gymnasium.Env` or a `gymnasium.vector.VectorEnv`.
        n: how many; a vector environment's own number counts.
        autoreset: "next_step" (the step after an episode's last only resets) or "same_step", as Gymnasium 1.x defines them;
            a vector environment brings its own mode.
        watch: told before each call.

    Raises:
        UnknownEnvironmentError: if they cannot be made.
        SpaceError: if their spaces are of a kind that no algorithm here works with.
        SharedEnvironmentError: if two are one object, or another reactor of the run uses one.
    """
    from gymnasium.vector import VectorEnv

    if autoreset not in AUTORESET:
        raise ValueError(f"autoreset is one of {', '.join(AUTORESET)}, not {autoreset!r}.")
    _check_count("n_envs", n, MOST_ENVS)
    first = _make(env)
    spec = spec_from(first, checks.name_of(env))
    if isinstance(first, VectorEnv):
        claim([first], watch.reactor, spec.name)
        return Vectored(first, spec, watch)
    envs = [first, *(_make(env, i) for i in range(1, n))]
    need_distinct(envs, f"{spec.name}: environments ")
    claim(envs, watch.reactor, spec.name)
    return Singles(envs, spec, autoreset == "next_step", watch)


def _check_count(name: str, number: Any, most: int) -> None:
    if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or not 1 <= number <= most:
        raise ValueError(f"{name} is a whole number from 1 to {most:,}, not {number!r}.")


class Singles:
    """Ordinary environments, one after the other on the calling thread."""

    def __init__(self, envs: list[Env[Any, Any]], spec: EnvSpec, next_step: bool, watch: Watch) -> None:
        self.envs = envs
        self.n = len(envs)
        self.spec = spec
        self._next_step = next_step
        self._watch = watch
        self._ended = [False] * self.n  # whose next step only resets
        self._steps = 0
        self._known = False  # whether a step of each has been held against its space
        self._space = envs[0].observation_space

    def reset(self, seed: int, out: np.ndarray) -> None:
        """See `Envs`."""
        for i, env in enumerate(self.envs):
            self._watch.beat(i)
            try:
                returned = env.reset(seed=seed + i)
            except Exception as error:
                error.add_note(f"raised by {checks.who(self.spec.name, i)} in its reset")
                raise
            checks.check_reset(returned, self._space, self.spec.name, i)
            out[i] = self._checked(returned[0], i)
            self._ended[i] = False

    def step(self, t: int, trajectory: Trajectory) -> None:
        """See `Envs`."""
        actions: Iterable[Any] = _to_env(self.spec, trajectory.actions[t])
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
        self._known = True
        self._steps += self.n

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
            raise _wrong_shape(self.spec, i, self._steps, np.shape(seen))
        return seen  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close them all, in order."""
        for env in self.envs:
            env.close()


class Vectored:
    """A vector environment of any autoreset mode."""

    def __init__(self, env: VectorEnv[Any, Any, Any], spec: EnvSpec, watch: Watch) -> None:
        from gymnasium.vector import AutoresetMode, SyncVectorEnv

        self.env = env
        self.n = env.num_envs
        self.spec = spec
        self._watch = watch
        self._ended = np.zeros(self.n, bool)
        self._steps = 0
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
        returned: Any = self.env.reset(seed=seed)
        if not (isinstance(returned, tuple) and len(returned) == 2):
            raise ContractError(
                f"{self.spec.name}: reset of a vector environment returns (observations, infos); it returned a {type(returned).__name__}. "
                f"End it with: return observations, {{}}.",
                call="reset",
            )
        out[:] = self._checked(returned[0])
        self._ended[:] = False

    def step(self, t: int, trajectory: Trajectory) -> None:
        """See `Envs`."""
        self._watch.beat()
        returned: Any = self.env.step(_to_env(self.spec, trajectory.actions[t], True))
        if not self._steps:
            self._check_first(returned)
        seen, rewards, terminated, truncated, infos = returned
        seen = self._checked(seen)
        trajectory.rewards[t] = rewards
        trajectory.terminated[t] = terminated
        trajectory.truncated[t] = truncated
        ended = trajectory.terminated[t] | trajectory.truncated[t]
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
            raise _wrong_shape(self.spec, -1, self._steps, np.shape(seen)[1:])
        return seen  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close them all."""
        self.env.close()


def _to_env(spec: EnvSpec, actions: np.ndarray, batched: bool = False) -> Any:
    """Actions as the environments take them: Python ints, or rows clipped into their Box."""
    if spec.n_actions is None:
        low: Any = spec.action_low
        high: Any = spec.action_high
        clipped = np.maximum(actions, low)  # np.clip takes three times as long for a few numbers
        np.minimum(clipped, high, out=clipped)
        # An array's elements are scalars, which a Box of shape () would take with a warning only.
        return clipped if spec.action_shape or batched else [np.array(a) for a in clipped]
    if spec.action_start:
        actions = actions + spec.action_start
    return actions if batched else actions.tolist()


def check_finite(spec: EnvSpec, observations: np.ndarray, rewards: np.ndarray | None) -> None:
    """Refuse what no update can use, and say whose it is.

    Args:
        spec: of the environments.
        observations: [T, N, *observation_shape].
        rewards: float32 [T, N], or None.

    Raises:
        ContractError: for the first observation or reward that holds a NaN or an infinite number.
    """
    for what, array in (("observation", observations), ("reward", rewards)):
        if array is None or checks.all_finite(array):
            continue
        t, i, *at = (int(k) for k in np.argwhere(~np.isfinite(array))[0])
        element = f"element {at} of the {what}" if at else f"the {what}"
        raise ContractError(
            f"{checks.who(spec.name, i)}: {element} is {array[t, i][tuple(at)]} at step {t} of this trajectory. Look for a division by 0 in the "
            f"environment; write a large number for what is unbounded.",
            env=i,
            call="step",
        )


def _wrong_shape(spec: EnvSpec, env: int, step: int, shape: tuple[int, ...]) -> ObservationError:
    which = "" if env < 0 else f", environment {env},"
    return ObservationError(
        f"{spec.name}{which} returned an observation of shape {shape} after {step} steps; its space says "
        f"{spec.observation_shape}. Mend the environment, or its observation_space.",
        env=env,
        step=step,
        shape=shape,
        expected=spec.observation_shape,
    )
