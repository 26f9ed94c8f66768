"""One environment object that stands in two places: found when they are filled, for two threads would step it at once.

    env = gymnasium.make("CartPole-v1")
    ReactorVectorEnv([lambda: env] * 4)          # four names of one environment

What counts is the innermost object: one environment in two wrappers is one environment.

# _claims   id of an environment -> (it, the run that uses it, where); read and written under _lock by whatever thread makes environments.
#           An entry counts only while both are alive, so that an id that is used again is another environment
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterable, Sequence
from typing import Any

from reactornb.rl.errors import SharedEnvironmentError
from reactornb.runtime.workers import current_scheduler

__all__ = ["claim", "innermost", "is_kept", "need_distinct"]

_lock = threading.Lock()
_claims: dict[int, tuple[weakref.ref[Any], weakref.ref[Any], str]] = {}

_FIX = "Give each a new one: a function that makes the environment, `lambda: gymnasium.make(…)`, not one that returns what was made before."


def is_kept() -> bool:
    """Whether the run for which this thread works is kept, so that its environments must be able to say where they are."""
    scheduler = current_scheduler()
    return scheduler is not None and scheduler.is_kept


def innermost(env: Any) -> Any:
    """The environment within all wrappers, those that are no `gymnasium.Wrapper` included."""
    seen: set[int] = set()
    while id(env) not in seen:
        seen.add(id(env))
        held = getattr(env, "__dict__", {})
        inside = held.get("env")
        if inside is None or not hasattr(inside, "step"):
            inside = getattr(env, "unwrapped", env)
        env = inside
    return env


def need_distinct(envs: Sequence[Any], what: str) -> None:
    """Make sure that no two of them are one.

    Args:
        envs: what was made, in order.
        what: of which these are the entries, such as "env_fns".

    Raises:
        SharedEnvironmentError: with the entries that are the same object.
    """
    entries: dict[int, list[int]] = {}
    for i, env in enumerate(envs):
        entries.setdefault(id(innermost(env)), []).append(i)
    same = [group for group in entries.values() if len(group) > 1]
    if same:
        words = "; ".join(f"{what}[{', '.join(map(str, group))}]" for group in same)
        raise SharedEnvironmentError(
            f"one environment object stands in several places: {words} {'is' if len(same) == 1 else 'are each'} one "
            f"{type(innermost(envs[same[0][0]])).__name__}. Its steps would be mixed up, by two threads at once. {_FIX}",
            places=tuple(f"{what}[{i}]" for group in same for i in group),
        )


def claim(envs: Iterable[Any], owner: str, name: str) -> None:
    """Note that these are used by one reactor of the run for which this thread works; outside of a run, nothing.

    Args:
        envs: environments; of a vector environment its own, too.
        owner: the reactor's full name; it may make environments again.
        name: of the environment, for the message.

    Raises:
        SharedEnvironmentError: if another reactor of the run uses one of them.
    """
    scheduler = current_scheduler()
    if scheduler is None:
        return
    run = scheduler.recorder  # one for all enclaves of a run
    for env in (inner for outer in envs for inner in (outer, *getattr(outer, "envs", ()))):
        inside = innermost(env)
        try:
            entry = weakref.ref(inside), weakref.ref(run), owner
        except TypeError:  # of a class with __slots__ and no place for it
            continue
        with _lock:
            for key in [key for key, (one, of, _) in _claims.items() if one() is None or of() is None]:
                del _claims[key]
            this, of_run, other = _claims.setdefault(id(inside), entry)
            if this() is not inside or of_run() is not run:
                _claims[id(inside)] = entry
                continue
        if other != owner:
            raise SharedEnvironmentError(
                f"{other} and {owner} use one environment object, a {type(inside).__name__} ({name}), so its steps would be mixed up, by "
                f"two threads at once. {_FIX}",
                places=(other, owner),
            )


def _free_child() -> None:
    """In a forked child another thread may have held the lock."""
    global _lock  # noqa: PLW0603 - there is one thread
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_child)
