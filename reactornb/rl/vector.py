"""`ReactorVectorEnv`: Gymnasium environments stepped together on the scheduler's threads, in one process.

    envs = ReactorVectorEnv([lambda: gymnasium.make("CartPole-v1") for _ in range(16)], workers=2)

It stands wherever a `SyncVectorEnv` or an `AsyncVectorEnv` does, with the same results as either, whatever the number of workers.
Nothing is pickled and no process is started, so an environment may be made by a lambda, hold a lock, or share what it likes.

It needs the scheduler's threads but none of its tags, since all environments are stepped and then the caller goes on: each worker
has a few of the environments, and those that finish early take over from the others. The calling thread is worker 0, so with
one worker no thread is made at all.
"""

from __future__ import annotations

import atexit
import itertools
import sys
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from math import isfinite
from typing import Any, cast
from weakref import WeakValueDictionary

import numpy as np
from gymnasium import Env, Space, spaces
from gymnasium.error import ClosedEnvironmentError
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import concatenate, iterate

from reactornb import cpu
from reactornb.rl.checks import all_finite, make_one, refusal, who
from reactornb.rl.errors import ContractError
from reactornb.rl.shared import innermost, need_distinct
from reactornb.rl.vector_parts import Asked, Part, env_name
from reactornb.runtime.team import Call, Team

__all__ = ["ReactorVectorEnv"]

# Shares of its environments in a worker's first and second part. Handing out a part costs about 10 µs, a third of a step of CartPole,
# because its code and data have left the cache; the second part is small, so that a worker that ends early takes it from a slow one.
SHARES = (0.75, 0.25)


class ReactorVectorEnv(SyncVectorEnv):
    """Environments stepped in parallel on threads: Gymnasium's `SyncVectorEnv` with another `reset` and `step`.

    Everything else is Gymnasium's own: spaces, `call`, `get_attr`, `set_attr`, `render`, seeding, infos, and the errors of
    environments that do not fit together. Those calls run on the calling thread, as no step is under way then.

    An environment that raises ends the vector environment: all environments are closed, in order, and the exception is raised
    from the call, with a note that says which environment it was. Ctrl-C closes nothing.

    Args:
        env_fns: make the environments; called here, in order.
        copy: return observations that are the caller's own; otherwise the next step changes them.
        observation_mode: "same", "different", or (batched space, single space); see `SyncVectorEnv`.
        autoreset_mode: NEXT_STEP, SAME_STEP or DISABLED; see `gymnasium.vector.AutoresetMode`.
        workers: threads, the caller's among them; as many as there are usable cores, but no more than environments, unless given.
        chunks: into how many parts of one size the environments are divided for the workers; unless given each worker has two,
            three quarters of its environments and one quarter, and another one may take over what has not begun.
        finite: refuse observations (those of one array) and rewards that are NaN or infinite, and say whose they are; each
            environment's first reset and first step are held against its spaces in any case.

    Attributes:
        envs: the environments. Not to be touched during `reset` and `step`.
        workers: how many threads step them.

    Raises:
        SharedEnvironmentError: if two of the functions return one environment.
        RuntimeError: if the environments' spaces do not fit together.
        UnknownEnvironmentError: if what an entry of `env_fns` makes is no environment.
        ContractError: from `reset` and `step`, if an environment returns what Gymnasium's interface does not allow.
        ClosedEnvironmentError: from `reset` and `step`, once it is closed.
    """

    # Threads, and what the parts and their environments have as well.
    transient = ("_asked", "_reset_all", "_step_all", "_team", "_zeros", "env_fns", "finite", "workers")

    def __init__(
        self,
        env_fns: Sequence[Callable[[], Env[Any, Any]]],
        copy: bool = True,
        observation_mode: str | tuple[Space[Any], Space[Any]] = "same",
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        *,
        workers: int | None = None,
        chunks: int | None = None,
        finite: bool = True,
    ) -> None:
        envs: list[Env[Any, Any]] = []
        try:
            for fn in env_fns:
                envs.append(make_one(fn, len(envs)))
            need_distinct(envs, "env_fns")
            super().__init__([lambda env=env: env for env in envs], copy, observation_mode, autoreset_mode)  # type: ignore[misc]
        except BaseException as error:
            if len(envs) < len(env_fns):
                error.add_note(f"raised by env_fns[{len(envs)}], which was to make environment {len(envs)}")
            _close({id(innermost(env)): env for env in envs}.values())
            raise
        self.env_fns = env_fns
        space, batch = self.single_observation_space, self._observations
        # What is one array is written by the environments' own threads; anything else is put together by the calling one.
        is_array = isinstance(space, (spaces.Box, spaces.MultiBinary, spaces.MultiDiscrete)) and bool(space.shape)
        self._in_rows = is_array and isinstance(batch, np.ndarray)
        # An array of actions is taken apart where its elements are used: an object is cheapest to the thread that made it.
        self._indexed = isinstance(self.action_space, (spaces.MultiDiscrete, spaces.Box))
        self.finite = finite
        # A sum of products with 0 is NaN or infinite if one of the numbers is: a third of the time of `isfinite` on few numbers.
        few = self._in_rows and self._observations.dtype.kind == "f" and self._observations.size <= 4096
        self._zeros = np.zeros(self._observations.size, self._observations.dtype) if few else None
        self._ended = False  # whether an element of `_autoreset_envs` may be set
        self._by_hand = self.autoreset_mode is AutoresetMode.DISABLED
        self.workers = min(cpu.default_workers() if workers is None else workers, self.num_envs)
        edges = _edges(self.num_envs, self.workers, chunks)
        shape, dtype = (space.shape, space.dtype) if self._in_rows else ((), None)
        results = self._rewards, self._terminations, self._truncations
        self._asked, self._team = Asked(), Team(self.workers, "vector")
        self._parts = [
            Part(self.envs[a:b], a, self._asked, results, self.autoreset_mode, shape, dtype)
            for a, b in itertools.pairwise(edges)
        ]
        self._reset_all = self._team.job([Call(part.reset) for part in self._parts])
        self._step_all = self._team.job([Call(part.step) for part in self._parts])
        _close_at_exit(self)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode in every environment, or in those of `options["reset_mask"]`.

        Args:
            seed: environment i gets seed + i, or the i-th of a sequence; None leaves their generators as they are.
            options: for the environments; `reset_mask`, bool [N], says which.

        Returns:
            Observations and infos.
        """
        self._need_open()
        n = self.num_envs
        seeds: Sequence[int | None]
        seeds = [None] * n if seed is None else [seed + i for i in range(n)] if isinstance(seed, int) else seed
        if len(seeds) != n:
            raise ValueError(
                f"If seeds are passed as a list the length must match num_envs={n} but got length={len(seeds)}."
            )
        chosen = np.ones(n, np.bool_)
        if options is not None and "reset_mask" in options:
            options = dict(options)
            chosen = _checked_mask(options.pop("reset_mask"), n)
        for array in (self._terminations, self._truncations, self._autoreset_envs):
            array[chosen] = False
        observations = self._rows()
        asked = self._asked
        asked.seeds, asked.chosen, asked.options, asked.observations = seeds, chosen.tolist(), options, observations
        self._reset_all()
        seen, infos, _ = self._gather(observations)
        return seen, infos

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Take one action in every environment; see `gymnasium.vector.VectorEnv.step`.

        Raises:
            ValueError: for another number of actions than of environments.
        """
        self._need_open()
        if not (self._indexed and isinstance(actions, np.ndarray)):
            actions = list(iterate(self.action_space, actions))
        if len(actions) != self.num_envs:
            raise ValueError(f"{len(actions)} actions for {self.num_envs} environments.")
        if self._by_hand:
            # As in Gymnasium: with DISABLED the caller resets.
            assert not self._autoreset_envs.any(), f"{np.flatnonzero(self._autoreset_envs)} must be reset first"
        observations = self._rows()
        asked = self._asked
        asked.actions, asked.observations = actions, observations
        self._step_all()
        seen, infos, ended = self._gather(observations)
        if self._ended or ended:
            np.logical_or(self._terminations, self._truncations, out=self._autoreset_envs)
            self._ended = ended
        return seen, self._rewards.copy(), self._terminations.copy(), self._truncations.copy(), infos

    def replace(self, i: int, env: Env[Any, Any]) -> None:
        """Put another environment in the place of one, between two calls."""
        self.envs[i] = env
        for part in self._parts:
            part.replace(i, env)

    def _rows(self) -> np.ndarray | None:
        """Where the environments are to write their observations."""
        if not self._in_rows:
            return None
        return cast("np.ndarray", np.empty_like(self._observations) if self.copy else self._observations)

    def _gather(self, observations: np.ndarray | None) -> tuple[Any, dict[str, Any], bool]:
        """Observations and infos in order, whether an episode has ended; what an environment raised."""
        infos: dict[str, Any] = {}
        ended, total = False, 0.0
        for part in self._parts:
            if part.failure is not None:
                self._fail()
            for i, info in part.infos:
                infos = self._add_info(infos, info, i)
            ended = ended or part.ended
            total += part.total
        if self.finite and not self._all_finite(observations, total):
            self._unfinite(observations)
        if observations is not None:
            return observations, infos, ended
        every = [seen for part in self._parts for seen in part.seen]
        self._observations = concatenate(self.single_observation_space, every, self._observations)
        return deepcopy(self._observations) if self.copy else self._observations, infos, ended

    def _fail(self) -> None:
        """Raise what the first environment that failed has raised."""
        i, what, error = next(part.failure for part in self._parts if part.failure is not None)
        for part in self._parts:
            part.failure = None
        if not isinstance(error, Exception):  # Ctrl-C in the environment that the calling thread was stepping
            raise error
        env = self.envs[i]
        # The call's own actions are whole: what raised is the first failure of one step, and nothing was asked since.
        refused = "" if isinstance(error, ContractError) else refusal(what, env.action_space, self._asked_action(i))
        error.add_note(
            f"raised by environment {i} ({env_name(env)}) in its {what}{refused}; all {self.num_envs} environments are closed"
        )
        try:
            self.close()
        except Exception as another:  # noqa: BLE001 - what went wrong first says more
            error.add_note(f"closing them raised {another!r}")
        raise error

    def _all_finite(self, observations: np.ndarray | None, rewards: float) -> bool:
        """Whether all observations are, and the sum of the rewards."""
        if not isfinite(rewards):
            return False
        try:
            if self._zeros is not None and observations is not None:
                return isfinite(observations.ravel().dot(self._zeros))
        except RuntimeWarning:  # infinity times 0, where warnings are errors
            return False
        return observations is None or all_finite(observations)

    def _unfinite(self, observations: np.ndarray | None) -> None:
        """Raise for the first environment whose observation or reward holds a NaN or an infinite number."""
        for what, array in (("observation", observations), ("reward", self._rewards)):
            wrong = None if array is None or array.dtype.kind != "f" else np.argwhere(~np.isfinite(array))
            if array is not None and wrong is not None and len(wrong):
                i, *at = (int(k) for k in wrong[0])
                element = f"element {at} of its {what}" if at else f"its {what}"
                error = ContractError(
                    f"{who(env_name(self.envs[i]), i)}: {element} is {array[i][tuple(at)]}. Look for a division by 0; ReactorVectorEnv(…, "
                    f"finite=False) lets such numbers pass.",
                    env=i,
                    call="step",
                )
                try:
                    self.close()
                except Exception as another:  # noqa: BLE001 - what went wrong first says more
                    error.add_note(f"closing the environments raised {another!r}")
                raise error

    def _asked_action(self, i: int) -> Any:
        actions = getattr(self._asked, "actions", None)
        return None if actions is None else actions[i]

    def _need_open(self) -> None:
        if self.closed:
            raise ClosedEnvironmentError(f"{self} is closed: no environment is left to reset or step.")

    def close_extras(self, **_: Any) -> None:
        """Close the environments, in order, and end the threads.

        Raises:
            Exception: what the first environment that could not be closed has raised; all others are closed all the same.
        """
        try:
            _close(self.envs)
        finally:
            self.closed = True
            self._team.close()

    def __del__(self) -> None:
        if not self.closed and hasattr(self, "_parts"):
            self.close()


# Number -> vector environment, so that they are closed in the order in which they were made. Any thread adds (one item of a
# dict); read by the thread that ends the interpreter, when no other makes environments.
_alive: WeakValueDictionary[int, ReactorVectorEnv] = WeakValueDictionary()
_numbers = itertools.count()


def _close_at_exit(envs: ReactorVectorEnv) -> None:
    """Close it at the interpreter's end, if nobody has: `__del__` comes too late then, when modules are emptied already."""
    _alive[next(_numbers)] = envs
    # Last registered, first called: before the ends of what the environments need, such as pygame, imported when they were made.
    atexit.unregister(_close_alive)
    atexit.register(_close_alive)


def _close_alive() -> None:
    for envs in list(_alive.values()):
        if not envs.closed:
            try:
                envs.close()
            except Exception as error:  # noqa: BLE001 - the others are to be closed all the same
                notes = "; ".join(getattr(error, "__notes__", ()))
                sys.stderr.write(f"closing {envs} at exit: {type(error).__name__}: {error} ({notes})\n")


def _edges(envs: int, workers: int, chunks: int | None) -> list[int]:
    """Where the parts begin in which environments are stepped, and where the last one ends."""
    if chunks is not None:
        return np.linspace(0, envs, min(chunks, envs) + 1).astype(int).tolist()
    if workers == 1:
        return [0, envs]
    # The large parts of all workers first, then all the smaller ones: dealt out in turn, each worker gets one of each.
    parts = np.concatenate([np.full(workers, share / workers) for share in SHARES])
    edges = np.concatenate([[0], np.rint(np.cumsum(parts) * envs)]).astype(int)
    return np.unique(edges).tolist()  # type: ignore[no-any-return]


def _close(envs: Iterable[Env[Any, Any]]) -> None:
    first: Exception | None = None
    for i, env in enumerate(envs):
        try:
            env.close()
        except Exception as error:  # noqa: BLE001 - the others are to be closed all the same
            error.add_note(f"raised by environment {i} in its close")
            first = first or error
    if first is not None:
        raise first


def _checked_mask(mask: Any, n: int) -> np.ndarray:
    """`options["reset_mask"]`, held against the same rules and in the same words as Gymnasium's own vector environments."""
    if not isinstance(mask, np.ndarray):
        raise TypeError(f"`options['reset_mask']` must be a numpy array, got {type(mask)}")
    if mask.shape != (n,):
        raise ValueError(f"`options['reset_mask']` must have shape `({n},)`, got {mask.shape}")
    if mask.dtype != np.bool_:
        raise TypeError(f"`options['reset_mask']` must have `dtype=np.bool_`, got {mask.dtype}")
    if not mask.any():
        raise ValueError(
            f"`options['reset_mask']` must contain a boolean array with at least one True value, got reset_mask={mask}"
        )
    return mask
