"""Environments made: one to look at, or the several that a rollout steps, from a Gymnasium id or a function that makes them.

How they are stepped is said in `env_stepping`. This module knows nothing of reactors.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from reactornb.errors import ReactorError
from reactornb.limits import MOST_ENVS
from reactornb.rl import checks, guards, physics
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.env_stepping import Envs
from reactornb.rl.errors import UnknownEnvironmentError
from reactornb.rl.names import renamed_arguments
from reactornb.rl.normalization import refuse_running_statistics
from reactornb.rl.shared import claim, need_distinct
from reactornb.rl.single_envs import Singles
from reactornb.rl.spaces import spec_from
from reactornb.rl.vector_envs import Vectored

if TYPE_CHECKING:
    from reactornb.rl.watchdog import Watch

__all__ = ["env_source", "is_atari", "is_isolated", "make_env", "make_envs", "plain_source", "spec_of"]

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
        ConfigError: if it normalises by running statistics of its own; see `refuse_running_statistics`.
    """
    example = _make(env)
    try:
        refuse_running_statistics(example, checks.name_of(env))
        spec = spec_from(example, checks.name_of(env))
        if not is_isolated(env):
            guards.check_seed(example, env)
        return spec
    finally:
        example.close()


def make_env(env: str | Make, *, isolate: bool = False) -> Any:
    """One environment, or a vector environment, as rollouts make it; see `make_envs`."""
    return _make(env_source(env, isolate))


def env_source(env: Any, isolate: bool) -> Any:
    """What makes environments: `env`, or the same in processes of their own."""
    if not isolate:
        return env
    from reactornb.rl.isolation import isolated

    return isolated(env)


def _make(env: str | Make, index: int = -1) -> Any:
    import gymnasium

    if not isinstance(env, str):
        try:
            made: Any = env
            return made(index) if is_isolated(env) else checks.make_one(env, index)
        except ReactorError:
            raise
        except Exception as error:
            error.add_note(f"raised by {checks.name_of(env)}, which was to make environment {max(index, 0)}")
            raise
    if is_atari(env):
        from reactornb.rl.atari import make_frames

        return make_frames(env)  # one emulator is for one thread at a time
    physics.prepare(env)
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


def is_isolated(env: Any) -> bool:
    """Whether this makes environments in processes of their own; without the module for it, which another thread may be importing."""
    return bool(getattr(type(env), "makes_processes", False))


def plain_source(env: Any) -> Any:
    """What makes the environments in this process."""
    return env.env if is_isolated(env) else env


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


@renamed_arguments(env_id="env")
def make_envs(env: str | Make, n: int, *, autoreset: str = "next_step", isolate: bool = False, watch: Watch) -> Envs:
    """Make N environments, or take a vector environment as it is.

    Args:
        env: a Gymnasium id, or a function that makes a `gymnasium.Env` or a `gymnasium.vector.VectorEnv`.
        n: how many; a vector environment's own number counts.
        autoreset: "next_step" (the step after an episode's last only resets) or "same_step", as Gymnasium 1.x defines them;
            a vector environment brings its own mode.
        isolate: make each in a process of its own; see `isolation`.
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
    env = env_source(env, isolate)
    first = _make(env)
    spec = spec_from(first, checks.name_of(env))
    guards.tell_seed(env)
    look = None if is_isolated(env) else partial(guards.FirstEpisode, env, spec.name, watch)
    if isinstance(first, VectorEnv):
        claim([first], watch.reactor, spec.name)
        return Vectored(first, spec, watch, look)
    envs = [first, *(_make(env, i) for i in range(1, n))]
    need_distinct(envs, f"{spec.name}: environments ")
    claim(envs, watch.reactor, spec.name)
    return Singles(envs, spec, autoreset == "next_step", watch, look)


def _check_count(name: str, number: Any, most: int) -> None:
    if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or not 1 <= number <= most:
        raise ValueError(f"{name} is a whole number from 1 to {most:,}, not {number!r}.")
