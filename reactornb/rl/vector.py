"""`ReactorVectorEnv`: Gymnasium environments stepped together on the scheduler's threads, in one process.

    envs = ReactorVectorEnv([lambda: gymnasium.make("CartPole-v1") for _ in range(16)], workers=2)

It stands wherever a `SyncVectorEnv` or an `AsyncVectorEnv` does, with the same results as either, whatever the number of workers.
Nothing is pickled and no process is started, so an environment may be made by a lambda, hold a lock, or share what it likes.

Inside it is a reactor program of two levels, driven by the thread that calls: `Caller` hands on what it was asked for to a bank of
`Environments`, each of which owns a few of them. The calling thread is worker 0, so with one worker no thread is made at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
from gymnasium import Env, Space, spaces
from gymnasium.error import ClosedEnvironmentError
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import concatenate, iterate

from reactornb import cpu
from reactornb.model import Bank, Input, Output, PhysicalAction, Reactor, connect, per_member, reaction, startup
from reactornb.runtime import Program

__all__ = ["ReactorVectorEnv"]

# What part of its environments a worker gets at once, and then: each hand-out costs about 10 µs, a third of a step of
# CartPole, for what is called is cold by then; the second is small so that whoever is done early takes them over from a straggler.
SHARES = (0.75, 0.25)


class Step(NamedTuple):
    """One action for each environment, and where to write observations.

    Attributes:
        actions: a sequence of N.
        observations: [N, *shape] of the space's dtype; None where its batch is no single array.
    """

    actions: Sequence[Any]
    observations: np.ndarray | None


@dataclass(slots=True)
class Reset:
    """A seed and whether to reset, for each environment, and where to write observations, as in `Step`."""

    seeds: Sequence[int | None]
    chosen: Sequence[bool]
    options: dict[str, Any] | None
    observations: np.ndarray | None


class Caller(Reactor):
    """Hands on what the vector environment is asked for; `ask_step` and `ask_reset` are called from outside."""

    asked_step = PhysicalAction()
    asked_reset = PhysicalAction()
    step = Output[Step]()
    reset = Output[Reset]()

    @reaction(startup)
    def on_startup(self, asked_step: Any, asked_reset: Any) -> None:
        """Let the calling thread have the actions."""
        self.ask_step, self.ask_reset = asked_step.schedule, asked_reset.schedule

    @reaction(asked_step)
    def on_asked_step(self, asked_step: Any, step: Any) -> None:
        """To everyone."""
        step.set(asked_step.value)

    @reaction(asked_reset)
    def on_asked_reset(self, asked_reset: Any, reset: Any) -> None:
        """To everyone."""
        reset.set(asked_reset.value)


class Environments(Reactor):
    """A few of the environments, stepped one after the other.

    # seen, infos, failure   written by on_reset and on_step, on whatever worker runs them; read by the calling thread once
    #                        `advance` has returned, hence after the level was closed
    # observations and results
    #                        each member writes its own rows; no two rows share an element

    Args:
        envs: its environments.
        first: the number of the first one.
        results: where to write rewards (float64 [N]), terminated and truncated (bool [N]).
        mode: of resetting.
        shape: of an observation; as `dtype` without meaning where observations are no arrays.
        dtype: of an observation.
    """

    reset = Input[Reset]()
    step = Input[Step]()
    envs: list[Env[Any, Any]]
    first: int
    results: tuple[np.ndarray, np.ndarray, np.ndarray]
    mode: AutoresetMode
    shape: tuple[int, ...]
    dtype: Any

    @reaction(startup)
    def on_startup(self) -> None:
        """Nothing is known of them yet."""
        rows = slice(self.first, self.first + len(self.envs))
        # Views are this member's own, so workers do not count references to one object.
        self.rows = tuple(array[rows] for array in self.results)
        self.seen: list[Any] = [None] * len(self.envs)
        self.over = [False] * len(self.envs)
        self.infos: list[tuple[int, dict[str, Any]]] = []
        self.failure: tuple[int, str, BaseException] | None = None

    @reaction(reset)
    def on_reset(self, reset: Any) -> None:
        """Reset those that are chosen."""
        ask: Reset = reset.value
        self.infos = []
        i = self.first
        try:
            for k, env in enumerate(self.envs):
                i = self.first + k
                if ask.chosen[i]:
                    self.seen[k], info = env.reset(seed=ask.seeds[i], options=ask.options)
                    self.over[k] = False
                    if info:
                        self.infos.append((i, info))
                if ask.observations is not None:
                    self._write(ask.observations[i], self.seen[k])
        except BaseException as error:  # noqa: BLE001 - raised again by the calling thread, whatever it is
            self.failure = (i, "reset", error)

    @reaction(step)
    def on_step(self, step: Any) -> None:
        """Take one action each, or reset where that is due."""
        actions, observations = step.value
        rewards, terminated, truncated = self.rows
        seen, over, mode, i = self.seen, self.over, self.mode, self.first
        shape, dtype, ndarray = self.shape, self.dtype, np.ndarray
        self.infos = infos = []
        what = "step"
        try:
            for k, env in enumerate(self.envs):
                i = self.first + k
                if over[k] and mode is AutoresetMode.NEXT_STEP:
                    what = "reset"
                    seen[k], info = env.reset()
                    rewards[k], terminated[k], truncated[k], over[k] = 0.0, False, False, False
                    what = "step"
                else:
                    seen[k], rewards[k], ended, cut, info = env.step(actions[i])
                    terminated[k], truncated[k] = ended, cut
                    if ended or cut:
                        over[k] = True
                        if mode is AutoresetMode.SAME_STEP:
                            infos.append((i, {"final_obs": seen[k], "final_info": info}))
                            what = "reset"
                            seen[k], info = env.reset()
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
        except BaseException as error:  # noqa: BLE001 - raised again by the calling thread, whatever it is
            self.failure = (i, what, error)

    def _write(self, row: np.ndarray, seen: Any) -> None:
        """Copy an observation to its row, minding what `numpy.stack` minds: an assignment would broadcast, and cast at will."""
        if getattr(seen, "shape", None) != self.shape:
            if np.shape(seen) != self.shape:
                raise ValueError(
                    f"it returned an observation of shape {np.shape(seen)}; its observation space says {self.shape}."
                )
            seen = np.asarray(seen)
        np.copyto(row, seen, casting="same_kind")


class Vector(Reactor):
    """The whole program."""

    envs: list[Env[Any, Any]]
    edges: Sequence[int]
    results: tuple[np.ndarray, np.ndarray, np.ndarray]
    mode: AutoresetMode
    shape: tuple[int, ...]
    dtype: Any

    def compose(self) -> None:
        """One caller, and the environments in parts that end at the edges."""
        edges = self.edges
        self.caller = Caller()
        self.environments = Bank(
            Environments,
            len(edges) - 1,
            envs=per_member(lambda k: self.envs[edges[k] : edges[k + 1]]),
            first=per_member(lambda k: edges[k]),
            results=self.results,
            mode=self.mode,
            shape=self.shape,
            dtype=self.dtype,
        )
        connect(self.caller.step, self.environments.step, broadcast=True)
        connect(self.caller.reset, self.environments.reset, broadcast=True)


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
        shared_memory: of `AsyncVectorEnv`; nothing here crosses a process, so it has no meaning.
        context: likewise.
        daemon: likewise.

    Attributes:
        envs: the environments. Not to be touched during `reset` and `step`.
        workers: how many threads step them.

    Raises:
        RuntimeError: if the environments' spaces do not fit together.
        ClosedEnvironmentError: from `reset` and `step`, once it is closed.
    """

    def __init__(
        self,
        env_fns: Sequence[Callable[[], Env[Any, Any]]],
        copy: bool = True,
        observation_mode: str | tuple[Space[Any], Space[Any]] = "same",
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        *,
        workers: int | None = None,
        chunks: int | None = None,
        shared_memory: bool = True,  # noqa: ARG002 - for those who come from AsyncVectorEnv
        context: str | None = None,  # noqa: ARG002
        daemon: bool = True,  # noqa: ARG002
    ) -> None:
        made: list[Env[Any, Any]] = []
        try:
            for fn in env_fns:
                made.append(fn())  # noqa: PERF401 - those made so far are closed if one cannot be
            super().__init__([lambda env=env: env for env in made], copy, observation_mode, autoreset_mode)  # type: ignore[misc]
        except BaseException as error:
            if len(made) < len(env_fns):
                error.add_note(f"raised by env_fns[{len(made)}], which was to make environment {len(made)}")
            _close(made)
            raise
        self.env_fns = env_fns
        space, batch = self.single_observation_space, self._observations
        # What is one array is written by the environments' own threads; anything else is put together by the calling one.
        is_array = isinstance(space, (spaces.Box, spaces.MultiBinary, spaces.MultiDiscrete)) and bool(space.shape)
        self._in_rows = is_array and isinstance(batch, np.ndarray)
        # An array of actions is taken apart where its elements are used: an object is cheapest to the thread that made it.
        self._indexed = isinstance(self.action_space, (spaces.MultiDiscrete, spaces.Box))
        self._by_hand = self.autoreset_mode is AutoresetMode.DISABLED
        self.workers = min(cpu.default_workers() if workers is None else workers, self.num_envs)
        edges = _edges(self.num_envs, self.workers, chunks)
        shape, dtype = (space.shape, space.dtype) if self._in_rows else ((), None)
        results = self._rewards, self._terminations, self._truncations
        program = Program(
            Vector(envs=self.envs, edges=edges, results=results, mode=self.autoreset_mode, shape=shape, dtype=dtype)
        )
        self._run = program.start(workers=self.workers, driven=True)
        self._run.advance()
        caller: Any = self._run.instance("caller")
        self._ask_step, self._ask_reset = caller.ask_step, caller.ask_reset
        self._parts: list[Any] = [self._run.instance(f"environments[{k}]") for k in range(len(edges) - 1)]

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
        self._ask_reset(0, Reset(seeds, chosen.tolist(), options, observations))
        self._run.advance()
        return self._gather(observations)

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
            # As in Gymnasium's: whoever asked for it must see to it.
            assert not self._autoreset_envs.any(), f"{np.flatnonzero(self._autoreset_envs)} must be reset first"
        observations = self._rows()
        self._ask_step(0, Step(actions, observations))
        self._run.advance()
        seen, infos = self._gather(observations)
        np.logical_or(self._terminations, self._truncations, out=self._autoreset_envs)
        return seen, self._rewards.copy(), self._terminations.copy(), self._truncations.copy(), infos

    def _rows(self) -> np.ndarray | None:
        """Where the environments are to write their observations."""
        if not self._in_rows:
            return None
        return cast("np.ndarray", np.empty_like(self._observations) if self.copy else self._observations)

    def _gather(self, observations: np.ndarray | None) -> tuple[Any, dict[str, Any]]:
        """Observations and infos in order; what an environment raised."""
        infos: dict[str, Any] = {}
        for part in self._parts:
            if part.failure is not None:
                self._fail()
            for i, info in part.infos:
                infos = self._add_info(infos, info, i)
        if observations is not None:
            return observations, infos
        every = [seen for part in self._parts for seen in part.seen]
        self._observations = concatenate(self.single_observation_space, every, self._observations)
        return deepcopy(self._observations) if self.copy else self._observations, infos

    def _fail(self) -> None:
        """Raise what the first environment that failed has raised."""
        i, what, error = next(part.failure for part in self._parts if part.failure is not None)
        for part in self._parts:
            part.failure = None
        if not isinstance(error, Exception):  # Ctrl-C in the environment that the calling thread was stepping
            raise error
        env = self.envs[i]
        name = env.spec.id if env.spec is not None else type(env.unwrapped).__name__
        error.add_note(f"raised by environment {i} ({name}) in its {what}; all {self.num_envs} environments are closed")
        try:
            self.close()
        except Exception as another:  # noqa: BLE001 - what went wrong first says more
            error.add_note(f"closing them raised {another!r}")
        raise error

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
            self._run.stop()

    def __del__(self) -> None:
        if not self.closed and hasattr(self, "_parts"):
            self.close()


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


def _close(envs: Sequence[Env[Any, Any]]) -> None:
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
