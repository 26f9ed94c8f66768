"""Whether this machine rounds as another one did: a hash of what its libraries make of fixed numbers.

NumPy's float32 functions, BLAS and torch choose their code by the instruction set, and with it the last bits. A run that goes on where these
differ is not the run that it would have been, so its folder remembers the hash. What is not tried here may still differ.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import numpy

__all__ = ["canary", "differing"]

_ROWS, _COLUMNS = 48, 80


def canary() -> dict[str, str]:
    """A hash per library, of those that the process has imported."""
    numbers = numpy.random.Generator(numpy.random.PCG64(12345)).standard_normal((_ROWS, _COLUMNS))
    single = numbers.astype(numpy.float32)
    functions: list[Any] = [numpy.exp, numpy.tanh, numpy.sin, numpy.expm1]
    made: list[Any] = [f(x) for x in (single, numbers) for f in functions]
    functions = [numpy.log, numpy.log1p, numpy.sqrt]
    made += [f(abs(x)) for x in (single, numbers) for f in functions]
    made += [single @ single.T, numbers @ numbers.T, single @ single[0], single.sum(0), numbers.sum()]
    hashes = {"numpy": _hash(made)}
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "from_numpy"):
        hashes["torch"] = _hash(_torch_values(torch, single))
    return hashes


def _torch_values(torch: Any, single: Any) -> list[Any]:
    with torch.no_grad():
        x = torch.from_numpy(single.copy())
        made = [torch.exp(x), torch.tanh(x), torch.softmax(x, 1), x @ x.T, torch.nn.functional.linear(x, x), x.sum(0)]
        return [one.numpy() for one in made]


def _hash(arrays: list[Any]) -> str:
    taken = blake2b(digest_size=16)
    for array in arrays:
        taken.update(numpy.ascontiguousarray(array).tobytes())
    return taken.hexdigest()


def differing(before: Mapping[str, Any]) -> list[str]:
    """The libraries that both know and that compute other bits here than where `before` was made."""
    here = canary()
    return [name for name, value in here.items() if name in before and before[name] != value]
