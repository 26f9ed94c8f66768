"""Values in a few words, part by part, so that two of them can be set side by side: `parts_of`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from reactornb.runtime.fingerprint import digest

__all__ = ["Parts", "parts_of"]

Parts = Mapping[str, tuple[str, str]]
"""By path within the value (".rewards", "[3]", "" of the value itself): its words, and a hash, which tells apart what reads the same."""

_DEPTH, _MOST, _LONGEST, _NUMBERS = 3, 64, 80, 4


def parts_of(value: Any) -> Parts:
    """The parts of a value: fields of dataclasses, items of dicts, lists and tuples that are not long, down to three levels; each in words.

    Nothing of the value is kept.
    """
    return dict(_parts(value, "", 0))


def _parts(value: Any, path: str, depth: int) -> Iterator[tuple[str, tuple[str, str]]]:
    inner: list[tuple[str, Any]] | None = None
    if depth < _DEPTH:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            inner = [(f".{f.name}", getattr(value, f.name, None)) for f in dataclasses.fields(value)]
        elif isinstance(value, tuple) and hasattr(value, "_fields"):
            inner = [(f".{name}", part) for name, part in zip(value._fields, value, strict=True)]
        elif isinstance(value, dict):
            inner = [(f"[{key!r}]", part) for key, part in value.items()]
        elif isinstance(value, (list, tuple)) and not all(isinstance(part, (int, float, str)) for part in value):
            inner = [(f"[{i}]", part) for i, part in enumerate(value)]
    if not inner or len(inner) > _MOST:
        yield path, (_words(value), digest(value, strict=False)[:16])
        return
    for name, part in inner:
        yield from _parts(part, path + name, depth + 1)


def _words(value: Any) -> str:
    torch: Any = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        dense = value.detach().cpu()
        return f"tensor of {_array(dense.float().numpy() if dense.is_floating_point() else dense.numpy(), str(dense.dtype)[6:])}"
    if isinstance(value, np.ndarray):
        return _array(value, str(value.dtype))
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _array(array: np.ndarray, dtype: str) -> str:
    shape = f"{dtype}[{', '.join(map(str, array.shape))}]"
    if array.dtype.kind not in "biuf" or not array.size:
        return shape
    flat = array.reshape(-1)
    numbers = ", ".join(str(x) for x in flat[:_NUMBERS])  # with as many digits as tell it from its neighbours
    more = ", …" if flat.size > _NUMBERS else ""
    if not more:
        return f"{shape} {numbers}"
    with np.errstate(all="ignore"):
        return f"{shape} {numbers}{more} (from {flat.min():g} to {flat.max():g}, mean {flat.mean(dtype=np.float64)})"
