"""What an algorithm has to know of an environment, read off its spaces: shape and dtype of observations, how they are encoded and scaled, actions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from reactornb.rl.action_mask import NAME, ActionMask
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.errors import SpaceError
from reactornb.rl.policy_spaces import DTYPES, Space, space_from_gymnasium

if TYPE_CHECKING:
    from gymnasium import spaces as gym_spaces

__all__ = ["spec_from"]


def spec_from(env: Any, name: str) -> EnvSpec:
    """Look at the spaces of an environment.

    Args:
        env: a `gymnasium.Env` or a `gymnasium.vector.VectorEnv`.
        name: what messages call it.

    Raises:
        SpaceError: if they are of a kind that no algorithm here works with.
    """
    from gymnasium import spaces

    observed, acted = (_space(env, kind, name) for kind in ("observation", "action"))
    shape, dtype, encode = _encoding(observed, name)
    seen = {"scaling": _scaling(observed, dtype), **_parts(observed), **_masked(observed, acted, name)}
    if isinstance(acted, spaces.Discrete):
        return EnvSpec(name, shape, dtype, int(acted.n), (), None, None, encode, int(acted.start), **seen)
    if isinstance(acted, spaces.Box) and acted.dtype.name in DTYPES:
        low, high = acted.low.astype(np.float32), acted.high.astype(np.float32)
        decode = None if acted.dtype == np.float32 else space_from_gymnasium(acted).decode
        return EnvSpec(name, shape, dtype, None, acted.shape, low, high, encode, 0, decode=decode, **seen)
    described = _described(acted)
    if described is None or not described.choices:
        raise SpaceError(f"the actions of {name} are {acted}; {_WHICH_ACTIONS} {_hint(acted)}", space=acted)
    choices = described.choices
    return EnvSpec(
        name, shape, dtype, None, (len(choices),), None, None, encode, choices=choices, decode=described.decode, **seen
    )


_WHICH_ACTIONS = "the algorithms here take Box, Discrete, MultiDiscrete and MultiBinary spaces, and a Tuple or a Dict of the latter three."


def _hint(space: Any) -> str:
    """What helps with actions that no algorithm takes."""
    from gymnasium import spaces

    inside = list(space.spaces.values()) if isinstance(space, spaces.Dict) else list(getattr(space, "spaces", ()))
    if any(isinstance(part, spaces.Box) for part in inside):
        return (
            "Numbers of a Box and whole numbers in one are not chosen together: make the Box Discrete with a gymnasium.ActionWrapper, as "
            "gymnasium.wrappers.DiscretizeAction does it for a Box alone; or one Box of all, from which its action(self, a) rounds the whole numbers."
        )
    return "Wrap the environment in a gymnasium.ActionWrapper whose action_space is one of them, and whose action(self, a) returns what the environment takes."


def _described(space: Any) -> Space | None:
    """The space as data; None for a kind that this package does not know."""
    try:
        return space_from_gymnasium(space)
    except ValueError:
        return None


def _parts(space: Any) -> dict[str, Any]:
    """Fields of `EnvSpec`: which parts of an observation are frames, and which of its numbers mean how much."""
    described = _described(space)
    return {} if described is None else {"frames": described.frames, "numbers": described.numbers}


def _masked(observed: Any, acted: Any, name: str) -> dict[str, Any]:
    """The field `mask` of `EnvSpec`, and the `numbers` that a mask is none of, for a Dict observation with a part of that name.

    Raises:
        SpaceError: if that part is no mask for these actions.
    """
    described, actions = _described(observed), _described(acted)
    if described is None or described.kind != "Dict" or NAME not in described.names or actions is None:
        return {}
    if not actions.choices:
        return {}
    place = described.names.index(NAME)
    part = described.parts[place]
    size = sum(actions.choices)
    bits = part.kind == "MultiBinary" or (
        part.kind == "Box" and part.dtype in ("bool", "int8", "uint8", "int32", "int64")
    )
    if not bits or part.size != size:
        raise SpaceError(
            f'{name}: the part "{NAME}" of its observations is {part}; for the actions {acted} it has {size} numbers, 1 where an action is possible and else 0 (of '
            f"several choices one after the other): spaces.MultiBinary({size}).",
            space=observed,
        )
    mask = ActionMask(sum(other.size for other in described.parts[:place]), actions.choices)
    if described.size == size:
        raise SpaceError(
            f"{name}: its observations are action masks and nothing else: there is nothing to choose by.",
            space=observed,
        )
    numbers = described.numbers
    assert numbers is not None  # a Dict's
    numbers = numbers.copy()
    mask.of(numbers)[:] = False
    return {"mask": mask, "numbers": numbers}


def _space(env: Any, kind: str, name: str) -> Any:
    import gymnasium

    space = getattr(env, f"single_{kind}_space", None) or getattr(env, f"{kind}_space", None)
    if isinstance(space, gymnasium.Space):
        return space
    raise SpaceError(
        f"{name} has no {kind}_space (it is {space!r}): set self.{kind}_space in its __init__, such as "
        f"gymnasium.spaces.{'Box(-1, 1, (4,))' if kind == 'observation' else 'Discrete(2)'}.",
        space=space,
    )


def _encoding(
    space: gym_spaces.Space[Any], name: str
) -> tuple[tuple[int, ...], np.dtype[Any], Callable[[Any], np.ndarray] | None]:
    """Shape and dtype of an encoded observation, and how to get there.

    A Box stays as it is; a MultiDiscrete, a MultiBinary or a Tuple of Discretes becomes its numbers; anything else what
    `gymnasium.spaces.flatten` makes of it (a Discrete: one-hot).
    """
    from gymnasium import spaces

    if isinstance(space, spaces.Box):
        return space.shape, np.dtype(np.uint8 if space.dtype == np.uint8 else np.float32), None
    if isinstance(space, (spaces.MultiDiscrete, spaces.MultiBinary)):
        return tuple(space.shape), np.dtype(np.float32), None
    if isinstance(space, spaces.Tuple) and all(isinstance(s, spaces.Discrete) for s in space.spaces):
        return (len(space.spaces),), np.dtype(np.float32), np.asarray
    try:
        flattenable = space.is_np_flattenable
    except NotImplementedError:  # a space of one's own
        flattenable = False
    if not flattenable:
        inside = space.spaces if isinstance(space, spaces.Dict) else {}
        kept = [key for key, part in inside.items() if part.is_np_flattenable]
        hint = f" gymnasium.wrappers.FilterObservation(env, {kept}) leaves out what cannot." if kept else ""
        raise SpaceError(
            f"the observations of {name} are {space}, which cannot be made one array. Wrap the environment in a "
            f"gymnasium.ObservationWrapper whose observation_space is a Box.{hint}",
            space=space,
        )
    flat = spaces.flatten_space(space)
    return flat.shape or (0,), np.dtype(np.float32), lambda seen: np.asarray(spaces.flatten(space, seen))


def _scaling(space: gym_spaces.Space[Any], dtype: np.dtype[Any]) -> tuple[np.ndarray, np.ndarray] | None:
    """Offset and span of the numbers of an encoded observation; see `EnvSpec`."""
    from gymnasium import spaces

    if isinstance(space, (spaces.MultiDiscrete, spaces.MultiBinary)) or not space.is_np_flattenable:
        return None
    if isinstance(space, spaces.Tuple) and all(isinstance(s, spaces.Discrete) for s in space.spaces):
        return None
    offset, span = _spans(space)
    if (offset == offset[:1]).all() and (span == span[:1]).all() and len(span):
        offset, span = offset[0].reshape(()), span[0].reshape(())
    plain = not offset.any() and (span == 1).all() and dtype != np.uint8
    return None if plain else (offset, span)


def _spans(space: gym_spaces.Space[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Offset and span, float32 [n], of each number of a flattened observation: of bounded integers their bounds, else 0 and 1."""
    from gymnasium import spaces

    if isinstance(space, (spaces.Tuple, spaces.Dict)):
        parts = [_spans(s) for s in (space.spaces.values() if isinstance(space, spaces.Dict) else space.spaces)]
        empty = [np.zeros(0, np.float32)]
        return np.concatenate(empty + [a for a, _ in parts]), np.concatenate(empty + [b for _, b in parts])
    n = spaces.flatdim(space)
    offset, span = np.zeros(n, np.float32), np.ones(n, np.float32)
    if isinstance(space, spaces.Box) and np.dtype(space.dtype).kind in "biu":
        low, high = (bound.ravel().astype(np.float64) for bound in (space.low, space.high))
        # Bounds that are those of a wide dtype say nothing of the numbers.
        bounded = np.full(n, True)
        if space.dtype.kind != "b" and space.dtype.itemsize >= 4:
            limits = np.iinfo(space.dtype)
            bounded = (low > float(limits.min) if limits.min < 0 else bounded) & (high < float(limits.max))
        offset[bounded] = low[bounded]
        span[bounded] = np.maximum(high - low, 1)[bounded]
    return offset, span
