"""The one place that knows what an environment must return, and how to say what it returned instead.

`Rollout`, `Evaluator`, `ReactorVectorEnv`, the algorithms and `MultiAgent` make environments with `make_one` and hold an
environment's first reset and first step against its spaces with `check_reset` and `check_step`. Later calls are only unpacked; if that
raises, `diagnosis` finds out why. Nothing here knows of reactors or torch.
"""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from reactornb.errors import Source
from reactornb.rl.errors import ContractError, ObservationError, UnknownEnvironmentError

if TYPE_CHECKING:
    from gymnasium import Space

__all__ = [
    "all_finite",
    "check_action",
    "check_observation",
    "check_reset",
    "check_reward",
    "check_step",
    "diagnosis",
    "make_one",
    "name_of",
    "nearest_id",
    "refusal",
    "takes_mode",
    "who",
]

_STEP = "step returns (observation, reward, terminated, truncated, info)"


def name_of(source: Any) -> str:
    """An environment's source in words: its id, or the function with its cell and line."""
    if isinstance(source, str):
        return source
    inner = getattr(source, "func", source)  # functools.partial
    words = [*map(str, getattr(source, "args", ())), *(f"{k}={v}" for k, v in getattr(source, "keywords", {}).items())]
    name = getattr(inner, "__name__", type(inner).__name__)
    if inner is not source:
        name = f"{name}({', '.join(words)})"
    code = getattr(inner, "__code__", None)
    if code is not None:
        return f"{name} ({Source(code.co_filename, code.co_firstlineno)})"
    if isinstance(inner, type):
        step = getattr(inner.__dict__.get("step"), "__code__", None)
        if step is not None:
            return f"{name} ({Source(step.co_filename, getattr(inner, '__firstlineno__', step.co_firstlineno))})"
    return name


def who(name: str, index: int) -> str:
    """The environment in words; an index below 0 means all of a vector environment."""
    return name if index < 0 else f"{name}, environment {index}"


def nearest_id(name: str) -> str:
    """`Did you mean "CartPole-v1"?`, or how to see what there is."""
    import gymnasium

    known = {name.lower(): name for name in gymnasium.registry}
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.7)
    return f'Did you mean "{known[near[0]]}"?' if near else "gymnasium.pprint_registry() lists what there is."


def make_one(source: Any, index: int = -1) -> Any:
    """Call a function that makes an environment.

    Args:
        source: the function, class or `functools.partial`.
        index: number of the environment, for messages.

    Returns:
        A `gymnasium.Env` or a `gymnasium.vector.VectorEnv`.

    Raises:
        UnknownEnvironmentError: if this is no function, needs arguments, or returns something else.
        Exception: whatever the function raises.
    """
    import gymnasium

    name, kinds = who(name_of(source), index), (gymnasium.Env, gymnasium.vector.VectorEnv)
    if isinstance(source, kinds):
        spec = getattr(source, "spec", None)
        shown = spec.id if spec is not None else type(source.unwrapped).__name__
        make = f'"{spec.id}"' if spec is not None else f"lambda: {shown}(…)"
        raise _unusable(
            f"{shown} is an environment, not a way to make one; each reactor and each row of a vector environment needs one of its own. "
            f"Give an id or a function that makes it, such as {make}.",
            source,
        )
    if not callable(source):
        hint = f' Give a function: lambda: gymnasium.make("{source}").' if isinstance(source, str) else ""
        raise _unusable(
            f"an environment is given as a Gymnasium id or a function that makes it, not as {source!r} (a {type(source).__name__}).{hint}",
            source,
        )
    missing = _required(source)
    if missing:
        raise _unusable(
            f"{name} needs {', '.join(missing)}, but is called without arguments. Give them beforehand: "
            f"functools.partial({getattr(source, '__name__', 'make')}, {', '.join(f'{m}=…' for m in missing)}).",
            source,
        )
    env = source()
    if isinstance(env, kinds):
        return env
    if isinstance(env, type) and issubclass(env, kinds):
        raise _unusable(
            f"{name} returned the class {env.__name__}, not an environment: return {env.__name__}().", source
        )
    if hasattr(env, "possible_agents"):
        raise _unusable(
            f"{name} made a {type(env).__name__}, an environment of several agents: MultiAgentPPO(env=…) trains in it, and evaluate_agents plays it.",
            source,
        )
    came = "None: does it lack its return?" if env is None else f"a {type(env).__name__}: {env!r:.60}."
    raise _unusable(
        f"{name} made {came} It must make a gymnasium.Env or a gymnasium.vector.VectorEnv; is its class a subclass of gymnasium.Env?",
        source,
    )


def _unusable(message: str, source: Any) -> UnknownEnvironmentError:
    return UnknownEnvironmentError(message, env=source)


def takes_mode(function: Any) -> bool:
    """Whether a function takes `render_mode`, or any keyword."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # one that is written in C
        return False
    return any(p.name == "render_mode" or p.kind is p.VAR_KEYWORD for p in parameters)


def _required(source: Any) -> list[str]:
    """The arguments that a call without any lacks."""
    try:
        parameters = inspect.signature(source).parameters.values()
    except (TypeError, ValueError):  # a function in C may have no signature
        return []
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in optional]


# -- what reset and step return ---------------------------------------------------------------------------------------------


def check_reset(returned: Any, space: Space[Any], name: str, env: int = -1) -> None:
    """Hold what `reset` returned against Gymnasium's interface.

    Raises:
        ContractError: with the environment, what was expected, what came, and how to mend it.
    """
    if not (isinstance(returned, tuple) and len(returned) == 2):
        only = _fault(space, returned) is None or not isinstance(returned, tuple)
        came = f"{_a(returned)}{', the observation alone' if only and returned is not None else ''}"
        hint = "End it with: return observation, {}."
        raise _broken(name, env, "reset", f"reset returns (observation, info); it returned {came}. {hint}")
    seen, info = returned
    check_observation(seen, space, name, env, "reset")
    _check_info(info, name, env, "reset")


def check_step(returned: Any, space: Space[Any], name: str, env: int = -1) -> None:
    """Hold what `step` returned against Gymnasium's interface.

    Raises:
        ContractError: as for `check_reset`.
    """
    if not (isinstance(returned, tuple) and len(returned) == 5):
        hint = "End it with: return observation, reward, terminated, truncated, info."
        if isinstance(returned, tuple) and len(returned) == 4:
            hint = (
                "Four values, with one done, are the interface of Gym before 0.26: terminated says that the episode ended, truncated that it "
                "was cut, by a time limit for example: return observation, reward, done, False, info."
            )
        raise _broken(name, env, "step", f"{_STEP}; it returned {_a(returned)}. {hint}")
    seen, reward, terminated, truncated, info = returned
    check_observation(seen, space, name, env, "step")
    check_reward(reward, name, env)
    for word, flag in (("terminated", terminated), ("truncated", truncated)):
        if not (isinstance(flag, (bool, np.bool_, np.integer, int)) or (np.shape(flag) == () and _kind(flag) in "biu")):
            raise _broken(
                name, env, "step", f"{word} is True or False; it returned {_a(flag)}. {_STEP}, in this order."
            )
    _check_info(info, name, env, "step")


def check_reward(reward: Any, name: str, env: int) -> None:
    """A reward is one finite number.

    Raises:
        ContractError: if it is not.
    """
    plain = isinstance(reward, (Real, np.bool_)) or (isinstance(reward, np.ndarray) and reward.shape == ())
    if not plain or _kind(reward) not in "biuf":
        hint = " Return float(reward[0])." if np.shape(reward) == (1,) else " Return float(reward)."
        raise _broken(name, env, "step", f"a reward is one number, such as 1.0; it returned {_a(reward)}.{hint}")
    if not math.isfinite(reward):
        raise _broken(
            name, env, "step", f"a reward is a finite number; it returned {float(reward)}. Look for a division by 0."
        )


def check_observation(seen: Any, space: Space[Any], name: str, env: int, call: str) -> None:
    """Hold an observation against its space: type, shape, dtype, finite numbers, bounds.

    Raises:
        ContractError: as for `check_reset`; an `ObservationError` where the space has a shape.
    """
    fault = _fault(space, seen)
    if fault is None:
        return
    what, hint = fault
    message = f"{who(name, env)}: its {call} returned an observation{what}. {hint}"
    if space.shape is None or isinstance(seen, Mapping):
        raise ContractError(message, env=env, call=call)
    try:
        shape = np.shape(seen)
    except ValueError:  # rows of unequal lengths
        shape = (len(seen),)
    raise ObservationError(message, env=env, step=int(call == "step"), shape=shape, expected=tuple(space.shape))


def _check_info(info: Any, name: str, env: int, call: str) -> None:
    if not isinstance(info, dict):
        raise _broken(
            name, env, call, f"the info of {call} is a dict; it returned {_a(info)}. Return {{}} if there is none."
        )


def _broken(name: str, env: int, call: str, what: str) -> ContractError:
    return ContractError(f"{who(name, env)}: {what}", env=env, call=call)


def _kind(value: Any) -> str:
    return str(np.asarray(value).dtype.kind)


def _a(value: Any) -> str:
    """A value in a few words."""
    if value is None:
        return "None"
    if isinstance(value, np.ndarray):
        return f"an array {value.dtype} of shape {value.shape}"
    if isinstance(value, tuple):
        return f"a tuple of {len(value)}: ({', '.join(type(v).__name__ for v in value)})"
    text = repr(value)
    return f"{text if len(text) <= 40 else text[:37] + '…'} (a {type(value).__name__})"


_MEND = "Mend the environment, or its observation_space."


def _fault(space: Space[Any], seen: Any, at: str = "") -> tuple[str, str] | None:
    """What is wrong with an observation, to be put after "returned an observation", and how to mend it; None if it is right."""
    from gymnasium import spaces

    if isinstance(space, spaces.Dict):
        if not isinstance(seen, Mapping):
            return f"{at} {_is(seen)}; its space says a dict of {', '.join(map(repr, space))}", _MEND
        lacks, more = [k for k in space if k not in seen], [k for k in seen if k not in space.spaces]
        if lacks or more:
            words = " and ".join(
                f"{verb} {', '.join(map(repr, keys))}" for verb, keys in (("without", lacks), ("with", more)) if keys
            )
            return f"{at} {words}; its space says a dict of {', '.join(map(repr, space))}", _MEND
        return next((f for k, s in space.items() if (f := _fault(s, seen[k], f"{at}[{k!r}]")) is not None), None)
    if isinstance(space, spaces.Tuple):
        if not isinstance(seen, (tuple, list)) or len(seen) != len(space.spaces):
            return f"{at} {_is(seen)}; its space says a tuple of {len(space.spaces)}", _MEND
        parts = enumerate(zip(space.spaces, seen, strict=True))
        return next((f for i, (s, one) in parts if (f := _fault(s, one, f"{at}[{i}]")) is not None), None)
    if isinstance(space, (spaces.Box, spaces.MultiDiscrete, spaces.MultiBinary)):
        return _array_fault(space, seen, at)
    if isinstance(space, spaces.Discrete):
        whole = isinstance(seen, (int, np.integer)) or (np.shape(seen) == () and _kind(seen) in "iu")
        if whole and not isinstance(seen, bool) and space.start <= seen < space.start + space.n:
            return None
        return (
            f"{at} {_is(seen)}; its space says a whole number from {space.start} to {space.start + space.n - 1}",
            _MEND,
        )
    try:
        fits = bool(space.contains(seen))
    except NotImplementedError:  # a space of one's own need not say
        return None
    return None if fits else (f"{at} {_is(seen)}, which its space, {space}, does not contain", _MEND)


def _is(seen: Any) -> str:
    return f"that is {_a(seen)}"


def _array_fault(space: Any, seen: Any, at: str) -> tuple[str, str] | None:
    dtype, shape = np.dtype(space.dtype), tuple(space.shape)
    says = f"its space says {dtype} of shape {shape}"
    convert = f"Return np.asarray(observation, dtype=np.{dtype}) of shape {shape}."
    number = shape == () and isinstance(seen, (Real, np.generic))
    if not (isinstance(seen, np.ndarray) or number):
        if isinstance(seen, (list, tuple)):
            try:
                came = f"of shape {np.shape(seen)}"
            except ValueError:
                came = "of unequal rows"
            return f"{at} that is a {type(seen).__name__} {came}, not an array; {says}", convert
        return f"{at} {_is(seen)}; {says}", convert
    array = np.asarray(seen)
    if array.shape != shape:
        return f"{at} of shape {array.shape}; its space says {shape}", _MEND
    if not (number or np.can_cast(array.dtype, dtype, "same_kind")):
        return f"{at} of dtype {array.dtype}; {says}", f"{convert[:-1]}, or declare the space with dtype={array.dtype}."
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return (
            f"{at} with {_first(array, ~np.isfinite(array))}, which is not a finite number",
            "Look for a division by 0 or a value that overflows; write a large number for what is unbounded.",
        )
    outside = _outside(space, array)
    if outside is not None and outside.any():
        where = _first(array, outside)
        return f"{at} with {where}, outside the bounds of its space, {_bounds(space, outside)}", _MEND
    return None


def _outside(space: Any, array: np.ndarray) -> np.ndarray | None:
    from gymnasium import spaces

    outside: np.ndarray
    if isinstance(space, spaces.MultiDiscrete):
        outside = (array < space.start) | (array >= space.start + space.nvec)
    elif isinstance(space, spaces.MultiBinary):
        outside = (array != 0) & (array != 1)
    else:
        # Rounding to float32 and back may step over a bound.
        slack = 1e-5 if array.dtype.kind == "f" else 0
        low, high = space.low.astype(np.float64), space.high.astype(np.float64)
        outside = (array < low - slack * np.maximum(1, abs(low))) | (array > high + slack * np.maximum(1, abs(high)))
    return outside


def _bounds(space: Any, outside: np.ndarray) -> str:
    from gymnasium import spaces

    at = tuple(np.argwhere(outside)[0])
    if isinstance(space, spaces.MultiBinary):
        return "0 or 1"
    if isinstance(space, spaces.MultiDiscrete):
        return f"{space.start[at]} to {space.start[at] + space.nvec[at] - 1}"
    return f"{space.low[at]} to {space.high[at]}"


def _first(array: np.ndarray, wrong: np.ndarray) -> str:
    """The first wrong element: `element [2] = nan`."""
    at = tuple(int(i) for i in np.argwhere(wrong)[0])
    return f"element {list(at)} = {array[at]}" if at else f"the value {array[()]}"


def all_finite(array: np.ndarray) -> bool:
    """Whether an array holds finite numbers only: 3 µs for a row of small observations."""
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


# -- after the fact ---------------------------------------------------------------------------------------------------------


def diagnosis(
    error: Exception, returned: Any, call: str, space: Space[Any], name: str, env: int
) -> ContractError | None:
    """Why the use of what an environment returned has raised.

    Args:
        error: what was raised, caught in the function that made the call.
        returned: what the call returned.
        call: "reset" or "step".
        space: the environment's observation space.
        name: the environment's, for messages.
        env: its index.

    Returns:
        What is wrong with the returned values; None if nothing is, or if the environment itself has raised.
    """
    trace = error.__traceback__
    if trace is not None and trace.tb_next is None:
        try:
            (check_reset if call == "reset" else check_step)(returned, space, name, env)
        except ContractError as broken:
            broken.__cause__ = error
            return broken
    return None


def refusal(call: str, actions: Space[Any], action: Any) -> str:
    """Words to be added where a step has raised: that its action is not in the action space; else nothing."""
    if call != "step":
        return ""
    try:
        fits = actions.contains(action) or actions.contains(np.asarray(action, actions.dtype))
    except Exception:  # noqa: BLE001 - some spaces raise for what is no member; that must not hide the environment's error
        fits = False
    return "" if fits else f"; its action was {_a(action)}, which is not in its action space {actions}"


def check_action(action: Any, space: Space[Any], name: str, env: int) -> None:
    """Hold the first actions against their space: whole numbers in range, arrays of the right shape.

    Raises:
        ContractError: with the action, its space, and whose action it was.
    """
    from gymnasium import spaces

    if isinstance(space, spaces.Box):
        wrong = np.shape(action) != space.shape
    elif isinstance(space, (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)):
        array = np.asarray(action)
        wrong = array.dtype.kind not in "biu" or not space.contains(array.astype(space.dtype))
    else:
        return
    if wrong:
        raise _broken(
            name, env, "step", f"the action {_a(action)} is not in its action space, {space}. Mend what chose it."
        )
