"""Spaces as data, without Gymnasium: described in JSON; what an environment shows as a network's rows; what a network chose as an environment takes it.

The rules are those of `spaces.py`: a Box stays as it is; a MultiDiscrete, a MultiBinary or a Tuple of Discretes becomes its numbers; anything else
what `gymnasium.spaces.flatten` makes of it. A space that is none of these is described by the shape of its encoding, and takes encoded observations
only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from reactornb.rl.env_spec import frames_in
from reactornb.rl.errors import ObservationError
from reactornb.rl.policy_file import ContainerError, whole_numbers

__all__ = ["Space", "space_from_gymnasium", "space_from_json"]

KINDS = ("Box", "Discrete", "MultiDiscrete", "MultiBinary", "Tuple", "Dict", "Encoded")

DTYPES = frozenset(
    ["bool", *(f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64)), "float16", "float32", "float64"]
)

MOST_NUMBERS, MOST_DEPTH = 2**24, 8
"""In one observation; of spaces in spaces."""


@dataclass(frozen=True)
class Space:
    """A space.

    Attributes:
        kind: one of `KINDS`.
        shape: of a value; () for a Discrete, a Tuple and a Dict.
        dtype: of a value's numbers.
        low: of a Box, its lowest numbers, one for all or one for each; of a Discrete or MultiDiscrete, where they start.
        high: of a Box, its highest numbers; of a Discrete or MultiDiscrete, how many values there are.
        parts: of a Tuple or a Dict, its spaces.
        names: of a Dict, its keys.
    """

    kind: str
    shape: tuple[int, ...] = ()
    dtype: str = "int64"
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    parts: tuple[Space, ...] = ()
    names: tuple[str, ...] = ()

    @cached_property
    def as_numbers(self) -> bool:
        """Whether an observation's numbers are taken as they are, not flattened."""
        return self.kind in ("Box", "MultiDiscrete", "MultiBinary", "Encoded") or self.is_plain_tuple

    @cached_property
    def is_plain_tuple(self) -> bool:
        """A Tuple of Discretes."""
        return self.kind == "Tuple" and all(part.kind == "Discrete" for part in self.parts)

    @cached_property
    def encoded_shape(self) -> tuple[int, ...]:
        """Of one encoded observation."""
        if self.is_plain_tuple:
            return (len(self.parts),)
        return self.shape if self.as_numbers else (self.size,)

    @cached_property
    def encoded_dtype(self) -> np.dtype[Any]:
        """Of an encoded observation."""
        return np.dtype(np.uint8 if self.kind in ("Box", "Encoded") and self.dtype == "uint8" else np.float32)

    @cached_property
    def size(self) -> int:
        """How many numbers one flattened value has."""
        if self.kind == "Discrete":
            return int(self.high[0])
        if self.kind == "MultiDiscrete":
            return int(sum(self.high))
        if self.parts or self.kind in ("Tuple", "Dict"):
            return sum(part.size for part in self.parts)
        return math.prod(self.shape)

    @cached_property
    def numbers_of_one(self) -> int:
        """How many numbers one value is made of, before anything is flattened."""
        return sum(part.numbers_of_one for part in self.parts) if self.parts else math.prod(self.shape)

    @cached_property
    def choices(self) -> tuple[int, ...]:
        """Of actions that are whole numbers, how many values each of them has, one after the other; () where a part is something else."""
        if self.kind in ("Discrete", "MultiDiscrete"):
            return tuple(int(k) for k in self.high)
        if self.kind == "MultiBinary":
            return (2,) * math.prod(self.shape)
        if self.kind not in ("Tuple", "Dict") or not all(part.choices for part in self.parts):
            return ()
        return tuple(k for part in self.parts for k in part.choices)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Where each of the `choices` starts."""
        if self.kind in ("Discrete", "MultiDiscrete"):
            return tuple(int(k) for k in self.low)
        return (
            (0,) * len(self.choices)
            if self.kind == "MultiBinary"
            else tuple(k for part in self.parts for k in part.starts)
        )

    @cached_property
    def frames(self) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """Of several spaces in one, the parts that are frames for convolutions: (where each begins in the flattened numbers, its shape)."""
        if self.kind not in ("Tuple", "Dict") or self.is_plain_tuple:
            return ()
        found: list[tuple[int, tuple[int, ...]]] = []
        at = 0
        for part in self.parts:
            if part.kind == "Box" and part.dtype == "uint8" and frames_in(part.shape) is not None:
                found.append((at, part.shape))
            found += [(at + begin, shape) for begin, shape in part.frames]
            at += part.size
        return tuple(found)

    @cached_property
    def numbers(self) -> np.ndarray | None:
        """Of an encoded observation, bool [*encoded_shape]: which numbers mean how much, and not which one, as those of a one-hot and a pixel's; None: all."""
        if self.kind in ("Box", "Encoded", "MultiDiscrete") or self.is_plain_tuple:
            return None
        if self.kind == "MultiBinary":
            return np.zeros(self.shape, bool)
        return self._flat_numbers()

    def _flat_numbers(self) -> np.ndarray:
        if self.kind in ("Tuple", "Dict"):
            return np.concatenate([np.zeros(0, bool), *(part._flat_numbers() for part in self.parts)])
        is_frames = self.dtype == "uint8" and frames_in(self.shape) is not None
        return np.full(self.size, self.kind == "Box" and not is_frames)

    def bound(self, which: str) -> np.ndarray:
        """`low` or `high` of a Box, one number for each of a value's."""
        with np.errstate(over="ignore"):  # a bound beyond its type is infinite
            numbers = np.array(getattr(self, which), self.dtype)
        return np.broadcast_to(numbers[0] if len(numbers) == 1 else numbers.reshape(self.shape), self.shape)

    # -- observations ------------------------------------------------------------------------------------------------

    def encode(self, observation: Any, plain: bool = False) -> tuple[np.ndarray, bool]:
        """An observation, or several, as rows for a network.

        Args:
            observation: as the environment gives it; or several together, as a vector environment gives them.
            plain: leave the numbers of a Box in their own type.

        Returns:
            [N, *encoded_shape], and whether they are several.

        Raises:
            ObservationError: if it is none of this space.
        """
        if not self.as_numbers:
            return self._flat(observation)
        if self.is_plain_tuple and isinstance(observation, tuple):
            columns = [np.asarray(part) for part in observation]
            if len({c.shape for c in columns}) > 1 or len(columns) != len(self.parts):
                raise self._wrong(observation)
            observation = np.stack(columns, axis=-1)
        array = np.asarray(observation)
        if array.dtype.kind not in "biuf":
            raise self._wrong(observation)
        several = array.ndim == len(self.encoded_shape) + 1
        rows = array if several else array[None]
        if rows.shape[1:] != self.encoded_shape:
            raise self._wrong(observation)
        if plain or rows.dtype == self.encoded_dtype:
            return rows, several
        if self.encoded_dtype == np.uint8 and not (rows.dtype.kind in "biu" and ((rows >= 0) & (rows < 256)).all()):
            raise self._wrong(observation)  # such as frames whose numbers somebody has divided by 255
        return rows.astype(self.encoded_dtype), several

    def _flat(self, value: Any) -> tuple[np.ndarray, bool]:
        """Flattened values, float32 [N, size], and whether they are several."""
        if self.kind == "Dict":
            if not isinstance(value, dict) or set(value) != set(self.names):
                raise self._wrong(value)
            return self._joined([value[name] for name in self.names], value)
        if self.kind == "Tuple":
            if not isinstance(value, (tuple, list)) or len(value) != len(self.parts):
                raise self._wrong(value)
            return self._joined(value, value)
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            raise self._wrong(value)
        several = array.ndim == len(self.shape) + 1
        rows = array if several else array[None]
        if rows.shape[1:] != self.shape:
            raise self._wrong(value)
        rows = rows.reshape(len(rows), -1)
        if self.kind in ("Discrete", "MultiDiscrete"):
            return self._one_hot(rows, value), several
        return rows.astype(self.dtype, copy=False).astype(np.float32, copy=False), several

    def _joined(self, values: Sequence[Any], whole: Any) -> tuple[np.ndarray, bool]:
        if not self.parts:
            raise self._wrong(whole)
        found = [part._flat(value) for part, value in zip(self.parts, values, strict=True)]
        if len({(len(rows), several) for rows, several in found}) > 1:
            raise self._wrong(whole)
        return np.concatenate([rows for rows, _ in found], axis=1), found[0][1]

    def _one_hot(self, rows: np.ndarray, value: Any) -> np.ndarray:
        counts = np.array(self.high, np.int64)
        chosen = rows - np.array(self.low, rows.dtype if rows.dtype.kind == "f" else np.int64)
        if not ((chosen >= 0) & (chosen < counts) & (chosen == np.floor(chosen))).all():
            raise self._wrong(value)
        begins = np.cumsum([0, *self.high[:-1]]).astype(np.int64)
        out = np.zeros((len(rows), self.size), np.float32)
        np.put_along_axis(out, chosen.astype(np.int64) + begins, 1.0, axis=1)
        return out

    def _wrong(self, observation: Any) -> ObservationError:
        shape = observation.shape if isinstance(observation, np.ndarray) else ()
        came = (
            f"an array of {observation.dtype} {list(shape)}"
            if isinstance(observation, np.ndarray)
            else repr(observation)
        )
        return ObservationError(
            f"{came:.120} is no observation of {self}, nor several of them in one array.",
            env=-1, step=0, shape=shape, expected=self.encoded_shape,
        )  # fmt: skip

    # -- actions -----------------------------------------------------------------------------------------------------

    def decode(self, actions: np.ndarray, batched: bool) -> Any:
        """What a network chose, as an environment takes it.

        Args:
            actions: of a Box numbers of any size, [N, *shape]: they are cut to its bounds, rounded where it has whole numbers, and of its type. Of
                `choices` int64 [N, choices], each from 0 on.
            batched: as a vector environment takes N actions; else a sequence of them.
        """
        if self.kind == "Box":
            fitted = self._fitted(actions)
            # An array's elements are scalars, which a Box of shape () would take with a warning only.
            return fitted if self.shape or batched else [np.array(a) for a in fitted]
        columns, _ = self._columns(actions, 0)
        return columns if batched else [self._row(columns, i) for i in range(len(actions))]

    @cached_property
    def limits(self) -> tuple[np.ndarray, np.ndarray]:
        """The bounds of a Box, float64; of 64-bit integers the nearest that are within."""
        low, high = (self.bound(which).astype(np.float64) for which in ("low", "high"))
        if np.dtype(self.dtype).kind in "iu":
            most = np.iinfo(self.dtype).max
            if float(most) > most:
                high = np.minimum(high, np.nextafter(float(most), 0.0))
        return low, high

    def _fitted(self, actions: np.ndarray) -> np.ndarray:
        low, high = self.limits
        fitted = np.maximum(actions, low)
        np.minimum(fitted, high, out=fitted)
        if np.dtype(self.dtype).kind != "f":
            np.rint(fitted, out=fitted)
        whole: np.ndarray = fitted.astype(self.dtype)
        return whole

    def _columns(self, actions: np.ndarray, at: int) -> tuple[Any, int]:
        """The actions of N environments, as a vector environment takes them, and which column comes next."""
        if self.kind == "Discrete":
            return actions[:, at] + int(self.low[0]), at + 1
        if self.kind in ("Tuple", "Dict"):
            parts = []
            for part in self.parts:
                column, at = part._columns(actions, at)
                parts.append(column)
            return (dict(zip(self.names, parts, strict=True)) if self.kind == "Dict" else tuple(parts)), at
        count = len(self.choices)
        taken = actions[:, at : at + count].reshape(len(actions), *self.shape)
        if self.low:
            taken = taken + np.array(self.low, np.int64).reshape(self.shape)
        return taken.astype(self.dtype), at + count

    def _row(self, columns: Any, i: int) -> Any:
        """That of environment i."""
        if self.kind == "Dict":
            return {name: part._row(columns[name], i) for name, part in zip(self.names, self.parts, strict=True)}
        if self.kind == "Tuple":
            return tuple(part._row(column, i) for part, column in zip(self.parts, columns, strict=True))
        return int(columns[i]) if self.kind == "Discrete" else columns[i]

    # -- descriptions ------------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """The description."""
        described: dict[str, Any] = {"kind": self.kind}
        if self.kind in ("Tuple", "Dict"):
            described["parts"] = [part.to_json() for part in self.parts]
            if self.kind == "Dict":
                described["names"] = list(self.names)
            return described
        described |= {"shape": list(self.shape), "dtype": self.dtype}
        for name in ("low", "high"):
            numbers = getattr(self, name)
            if numbers:
                described[name] = [k if math.isfinite(k) else str(k) for k in numbers]
        return described

    def to_gymnasium(self) -> Any:
        """The space of Gymnasium; needs it installed. Of an encoding a Box without bounds."""
        from gymnasium import spaces

        if self.kind == "Box":
            return spaces.Box(self.bound("low"), self.bound("high"), self.shape, np.dtype(self.dtype))
        if self.kind == "Discrete":
            return spaces.Discrete(int(self.high[0]), start=int(self.low[0]))
        if self.kind == "MultiDiscrete":
            counts, starts = (np.array(a, np.int64).reshape(self.shape) for a in (self.high, self.low))
            return spaces.MultiDiscrete(counts, np.dtype(self.dtype), start=starts)
        if self.kind == "MultiBinary":
            return spaces.MultiBinary(self.shape)
        if self.kind == "Tuple":
            return spaces.Tuple([part.to_gymnasium() for part in self.parts])
        if self.kind == "Dict":
            return spaces.Dict([(n, part.to_gymnasium()) for n, part in zip(self.names, self.parts, strict=True)])
        return spaces.Box(-np.inf, np.inf, self.shape, np.float32)

    def __str__(self) -> str:
        if self.kind == "Dict":
            return f"Dict({', '.join(f'{n}: {part}' for n, part in zip(self.names, self.parts, strict=True))})"
        if self.kind == "Tuple":
            return f"Tuple({', '.join(map(str, self.parts))})"
        if self.kind == "Discrete":
            return f"Discrete({int(self.high[0])}{f', start={int(self.low[0])}' if self.low[0] else ''})"
        return f"{self.kind}({', '.join(map(str, self.shape))}, {self.dtype})"


def space_from_gymnasium(space: Any, encoded: tuple[tuple[int, ...], np.dtype[Any]] | None = None) -> Space:
    """The description of a space.

    Args:
        space: of Gymnasium.
        encoded: shape and dtype of its encoding, for a space of another kind.

    Raises:
        ValueError: for a space of another kind, where its encoding is not known.
    """
    try:
        return _described(space)
    except ValueError:
        if encoded is None:
            raise
        shape, dtype = encoded
        return Space("Encoded", shape, dtype.name)


def _described(space: Any) -> Space:
    from gymnasium import spaces

    kind = type(space)  # a subclass may flatten otherwise
    if kind is spaces.Box and space.dtype.name in DTYPES:
        return Space("Box", space.shape, space.dtype.name, _bounds(space.low), _bounds(space.high))
    if kind is spaces.Discrete:
        return Space("Discrete", (), "int64", (int(space.start),), (int(space.n),))
    if kind is spaces.MultiDiscrete and space.dtype.name in DTYPES:
        starts, counts = (tuple(a.ravel().tolist()) for a in (space.start, space.nvec))
        return Space("MultiDiscrete", tuple(space.shape), space.dtype.name, starts, counts)
    if kind is spaces.MultiBinary:
        return Space("MultiBinary", tuple(space.shape), "int8")
    if kind is spaces.Tuple:
        return Space("Tuple", parts=tuple(map(_described, space.spaces)))
    if kind is spaces.Dict and all(isinstance(name, str) for name in space.spaces):
        return Space("Dict", parts=tuple(map(_described, space.spaces.values())), names=tuple(space.spaces))
    raise ValueError(f"{space} is of no kind that a file can describe")


def _bounds(array: np.ndarray) -> tuple[float, ...]:
    numbers = array.ravel().tolist()
    return tuple(numbers[:1] if len(set(numbers)) == 1 else numbers)


def space_from_json(described: Any, depth: int = 0) -> Space:
    """The space that a description means.

    Raises:
        ContainerError: if it is none.
    """
    if not isinstance(described, dict) or described.get("kind") not in KINDS or depth > MOST_DEPTH:
        raise ContainerError("a space in it is of no known kind")
    kind = described["kind"]
    if kind in ("Tuple", "Dict"):
        parts, names = described.get("parts"), described.get("names", [])
        if not isinstance(parts, list) or not 0 < len(parts) <= 2**12:
            raise ContainerError(f"a {kind} in it has no parts")
        if kind == "Dict" and not (
            isinstance(names, list)
            and len(set(map(str, names))) == len(parts)
            and all(isinstance(n, str) for n in names)
        ):
            raise ContainerError("a Dict in it has no names")
        space = Space(kind, parts=tuple(space_from_json(p, depth + 1) for p in parts), names=tuple(names))
    else:
        space = _leaf(kind, described)
    if not 0 < space.size <= MOST_NUMBERS:
        raise ContainerError(f"a {kind} in it has {space.size} numbers")
    return space


def _leaf(kind: str, described: dict[str, Any]) -> Space:
    shape, dtype = described.get("shape"), described.get("dtype")
    if not whole_numbers(shape, 1, 16) or not isinstance(dtype, str) or dtype not in DTYPES:
        raise ContainerError(f"a {kind} in it has no shape or no type")
    assert isinstance(shape, list)
    count = math.prod(shape)
    low, high = (_numbers(described.get(name, [])) for name in ("low", "high"))
    if kind == "Box":
        if not 0 < count <= MOST_NUMBERS or not all(len(bound) in (1, count) for bound in (low, high)):
            raise ContainerError("a Box in it lacks bounds")
        if not all(_fits(bound, dtype) for bound in (low, high)):
            raise ContainerError("bounds of a Box in it are not of its type")
    elif kind in ("Discrete", "MultiDiscrete"):
        if (kind == "Discrete") is bool(shape) or len(low) != count or len(high) != count:
            raise ContainerError(f"a {kind} in it has no sizes")
        if not all(type(k) is int and abs(k) < 2**48 for k in (*low, *high)) or min(high) < 1:
            raise ContainerError(f"a {kind} in it has sizes that are no whole numbers")
    return Space(kind, tuple(shape), dtype, low, high)


def _fits(numbers: tuple[float, ...], dtype: str) -> bool:
    """Whether an array of that type can hold them."""
    if dtype.startswith("float"):
        return True
    least, most = (0, 1) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return all(type(k) in (int, bool) and least <= k <= most for k in numbers)


def _numbers(value: Any) -> tuple[float, ...]:
    if not isinstance(value, list) or len(value) > MOST_NUMBERS:
        raise ContainerError("bounds in it are no list")
    found = tuple(math.inf if k == "inf" else -math.inf if k == "-inf" else k for k in value)
    if not all(type(k) in (int, bool) or (type(k) is float and not math.isnan(k)) for k in found):
        raise ContainerError("bounds in it are no numbers")
    return found
