"""What an algorithm has to know of an environment, read off its spaces: shape and dtype of observations, how they are encoded and scaled, actions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.errors import SpaceError

if TYPE_CHECKING:
    from gymnasium import Space

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
    scaling = _scaling(observed, dtype)
    if isinstance(acted, spaces.Discrete):
        return EnvSpec(name, shape, dtype, int(acted.n), (), None, None, encode, int(acted.start), scaling)
    if isinstance(acted, spaces.Box) and np.issubdtype(acted.dtype, np.floating):
        low, high = acted.low.astype(np.float32), acted.high.astype(np.float32)
        return EnvSpec(name, shape, dtype, None, acted.shape, low, high, encode, 0, scaling)
    raise SpaceError(
        f"the actions of {name} are {acted}; the algorithms here take Discrete and floating Box spaces. Wrap the environment in a "
        f"gymnasium.ActionWrapper"
        + (
            ": its action_space the Discrete number of all combinations, and action(self, n) "
            "returning np.array(np.unravel_index(n, nvec))."
            if isinstance(acted, (spaces.MultiDiscrete, spaces.MultiBinary))
            else "."
        ),
        space=acted,
    )


def _space(env: Any, kind: str, name: str) -> Any:
    from gymnasium import Space

    space = getattr(env, f"single_{kind}_space", None) or getattr(env, f"{kind}_space", None)
    if isinstance(space, Space):
        return space
    raise SpaceError(
        f"{name} has no {kind}_space (it is {space!r}): set self.{kind}_space in its __init__, such as "
        f"gymnasium.spaces.{'Box(-1, 1, (4,))' if kind == 'observation' else 'Discrete(2)'}.",
        space=space,
    )


def _encoding(
    space: Space[Any], name: str
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
        raise SpaceError(
            f"the observations of {name} are {space}, which cannot be made one array. Wrap the environment in a "
            f"gymnasium.ObservationWrapper whose observation_space is a Box.",
            space=space,
        )
    flat = spaces.flatten_space(space)
    return flat.shape or (0,), np.dtype(np.float32), lambda seen: np.asarray(spaces.flatten(space, seen))


def _scaling(space: Space[Any], dtype: np.dtype[Any]) -> tuple[np.ndarray, np.ndarray] | None:
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


def _spans(space: Space[Any]) -> tuple[np.ndarray, np.ndarray]:
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
