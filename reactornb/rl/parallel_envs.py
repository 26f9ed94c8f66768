"""PettingZoo parallel environments: how they are made from an id or a function, what their calls must return, and how a kept run brings them back.

    make_parallel("mpe2.simple_spread_v3")              # a module with a function parallel_env
    make_parallel("sisl/pursuit-v5")                    # an id of PettingZoo's registry
    make_parallel(lambda: TrafficJunction(cars=4))

Nothing here knows of reactors or torch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np
from pettingzoo import ParallelEnv
from pettingzoo.utils import BaseParallelWrapper

from reactornb.errors import suggestion
from reactornb.rl.checks import name_of
from reactornb.rl.errors import ContractError, UnknownEnvironmentError
from reactornb.rl.recorded import Tape, Taped
from reactornb.rl.storage import own

__all__ = [
    "RecordedParallel",
    "broken",
    "check_agents",
    "finite_reward",
    "make_parallel",
    "parallel_name",
    "unpacked_reset",
    "unpacked_step",
]


class RecordedParallel(Taped, BaseParallelWrapper):  # type: ignore[misc]  # PettingZoo has no types of its own
    """Records what a parallel environment is asked since its last reset; see `recorded`."""

    def __init__(self, env: ParallelEnv[Any, Any, Any]) -> None:
        BaseParallelWrapper.__init__(self, env)
        self.tape = Tape()

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """See `pettingzoo.ParallelEnv`."""
        self._begins(seed, options)
        returned: Any = (
            self.env.reset() if seed is None and options is None else self.env.reset(seed=seed, options=options)
        )
        if isinstance(returned, tuple) and returned:
            self.tape.seen = own(returned[0])
        return returned

    def step(self, actions: dict[Any, Any]) -> Any:
        """See `pettingzoo.ParallelEnv`."""
        self.tape.add(actions)
        returned: Any = self.env.step(actions)
        if isinstance(returned, tuple) and returned:
            self.tape.seen = returned[0]
        return returned


# -- making --------------------------------------------------------------------------------------------------------------


def make_parallel(env: str | Callable[[], Any]) -> ParallelEnv[Any, Any, Any]:
    """Make a parallel environment.

    Args:
        env: an id of PettingZoo's registry; the name of a module that has a function `parallel_env`, as those of PettingZoo and MPE2 have; or a function
            that makes one.

    Raises:
        UnknownEnvironmentError: if it cannot be made, or what is made is no parallel environment.
    """
    if isinstance(env, str):
        return _made(_registered(env) or _of_module(env), env)
    if isinstance(env, ParallelEnv) or not callable(env):
        raise UnknownEnvironmentError(
            f"env is a function that makes a parallel environment, such as `lambda: {type(env).__name__}(…)`, not {env!r}: "
            f"the program makes one when it is assembled and one when it starts.",
            env=env,
        )
    return _made(env, env)


def _made(make: Callable[[], Any], env: Any) -> ParallelEnv[Any, Any, Any]:
    made = make()
    if not isinstance(made, ParallelEnv):
        raise UnknownEnvironmentError(
            f"{name_of(env)} made {'None (does it lack its return?)' if made is None else f'a {type(made).__name__}'}, which is no pettingzoo.ParallelEnv; pettingzoo.utils.aec_to_parallel turns an "
            f"AEC environment into one.",
            env=env,
        )
    return made


def parallel_name(env: Any) -> str:
    """What messages call an environment, or the function that makes it."""
    return env if isinstance(env, str) else name_of(env)


def _registered(name: str) -> Callable[[], Any] | None:
    """What makes the environment of an id in PettingZoo's registry, which 1.27 has; None: it has no such id."""
    import pettingzoo

    registry = getattr(pettingzoo, "parallel_registry", {})
    return (lambda: pettingzoo.make("parallel", name)) if name in registry else None


# MPE2 names pygame-ce among what it needs, which has no wheel for free-threaded Python; see `drawing_left_out`.
_HINTS = {"mpe2": " (pip install --no-deps mpe2)"}


def _of_module(name: str) -> Callable[[], Any]:
    """The function `parallel_env` of a module."""
    package = name.partition(".")[0]
    try:
        known = "." in name and find_spec(package) is not None
    except (ImportError, ValueError):
        known = False
    why = (
        f"there is no package {package!r}{_HINTS.get(package, '')}"
        if "." in name
        else "it is no id of PettingZoo's registry"
    )
    if known:
        try:
            with drawing_left_out(package):
                make = getattr(import_module(name), "parallel_env", None)
        except ImportError as error:
            why = str(error)
        else:
            if callable(make):
                return make  # type: ignore[no-any-return]
            why = f"the module {name} has no function parallel_env"
    import pettingzoo

    ids = [*getattr(pettingzoo, "parallel_registry", {})]
    raise UnknownEnvironmentError(
        f"cannot make the parallel environment {name!r}: {why}. It is an id ({suggestion(name, ids) or 'pettingzoo.parallel_registry'}), a module with a "
        f"function parallel_env, such as 'mpe2.simple_spread_v3', or a function that makes a pettingzoo.ParallelEnv.",
        env=name,
    )


@contextmanager
def drawing_left_out(package: str) -> Iterator[None]:
    """While MPE2 is imported: something in the place of pygame where that is missing, as for free-threaded Python, which has no wheel of it.

    MPE2's particles need it to draw only, but make a surface and a font in any case. `sys.modules` is as before afterwards; drawing raises.
    """
    hidden = package == "mpe2" and find_spec("pygame") is None
    names = ("pygame", "pygame.freetype")
    if hidden:
        pygame, freetype = (ModuleType(name, "In the place of pygame, which is not installed.") for name in names)
        freetype.init = lambda: None  # type: ignore[attr-defined]
        freetype.Font = Undrawn  # type: ignore[attr-defined]
        pygame.Surface = Undrawn  # type: ignore[attr-defined]
        pygame.quit = lambda: None  # type: ignore[attr-defined]
        pygame.freetype = freetype  # type: ignore[attr-defined]
        sys.modules |= dict(zip(names, (pygame, freetype), strict=True))
    try:
        yield
    finally:
        if hidden:
            for name in names:
                sys.modules.pop(name, None)


class Undrawn:
    """A surface or a font that nobody draws with."""

    def __init__(self, *given: Any) -> None:
        self.given = given

    def get_size(self) -> Any:
        """Of a surface."""
        return self.given[0]

    def fill(self, *_: Any) -> None:
        """The first thing that drawing asks for.

        Raises:
            ImportError: always.
        """
        raise ImportError("MPE2 draws with pygame, which is not installed. Make the environment without render_mode.")


# -- what its calls return ------------------------------------------------------------------------------------------------


def broken(name: str, call: str, what: str) -> ContractError:
    """What is wrong with a call's answer, with the environment's name."""
    return ContractError(f"{name}: {what}", call=call)


def unpacked_reset(name: str, returned: Any) -> dict[Any, Any]:
    """The observations of a reset.

    Raises:
        ContractError: if it returned something else than (observations, infos).
    """
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise broken(
            name,
            "reset",
            f"reset of a parallel environment returns (observations, infos), a dict each; it returned a {type(returned).__name__}. "
            f"End it with: return observations, {{agent: {{}} for agent in self.agents}}.",
        )
    return returned[0]  # type: ignore[no-any-return]


def unpacked_step(name: str, returned: Any) -> tuple[Any, Any, Any, Any]:
    """Observations, rewards, terminations and truncations of a step.

    Raises:
        ContractError: if it returned something else than these and infos.
    """
    if not isinstance(returned, tuple) or len(returned) != 5:
        raise broken(
            name,
            "step",
            f"step of a parallel environment returns (observations, rewards, terminations, truncations, infos); it returned "
            f"{f'{len(returned)} values' if isinstance(returned, tuple) else f'a {type(returned).__name__}'}.",
        )
    return returned[:4]


def check_agents(name: str, agents: Iterable[Any], word: str, said: Any, call: str = "step") -> None:
    """The keys of what an environment says are agents, or words such as `__all__`, which are passed over.

    Raises:
        ContractError: for another key, or no dict at all.
    """
    if not isinstance(said, dict):
        raise broken(name, call, f"{word} are a dict with an entry for each agent, not a {type(said).__name__}.")
    for agent in said:
        if agent not in agents and not (isinstance(agent, str) and agent.startswith("__")):
            raise broken(
                name,
                call,
                f"{word} are for {agent!r}, who is not among its possible_agents: {', '.join(map(str, agents))}.",
            )


def finite_reward(name: str, agent: Any, value: Any, steps: int) -> float:
    """One agent's reward.

    Raises:
        ContractError: if it is no finite number.
    """
    try:
        reward = float(value)
    except (TypeError, ValueError):
        reward = np.nan
    if not np.isfinite(reward):
        raise broken(
            name, "step", f"the reward of {agent} after {steps} steps is {value!r}; it is to be a finite number."
        )
    return reward
