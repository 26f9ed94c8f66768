"""`OwnGenerator`: what a thread draws from torch without a generator comes from one of its own, never from torch's global one."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

__all__ = ["OwnGenerator"]

_IN_PLACE = frozenset(
    [
        "uniform_",
        "normal_",
        "random_",
        "bernoulli_",
        "exponential_",
        "geometric_",
        "cauchy_",
        "log_normal_",
        "trunc_normal_",
        "orthogonal_",
        "sparse_",
        "kaiming_uniform_",
        "kaiming_normal_",
        "xavier_uniform_",
        "xavier_normal_",
    ]
)
_MAKING = frozenset(
    [
        "rand",
        "randn",
        "randint",
        "randperm",
        "normal",
        "bernoulli",
        "multinomial",
        "poisson",
        "rand_like",
        "randn_like",
        "randint_like",
    ]
)


class OwnGenerator(TorchFunctionMode):
    """While entered, what this thread draws without a generator comes from one that is seeded here, instead of torch's global one.

    A network of torch's own layers is initialised from the global generator, whose state depends on what ran before, and, with several
    threads, on which came first. The mode is this thread's alone and leaves the global generator as it is. Dropout has no such argument and
    is not covered.

    Args:
        seed: below 2**63.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed
        self._generators: dict[torch.device, torch.Generator] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called for every function of torch."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if (name in _IN_PLACE or name in _MAKING) and kwargs.get("generator") is None:
            try:
                return func(*args, **{**kwargs, "generator": self._own(args, kwargs)})
            except TypeError:  # torch before 2.14 has functions that take none
                if not name.endswith("_like"):
                    raise
        return func(*args, **kwargs)

    def _own(self, args: Any, kwargs: Any) -> torch.Generator:
        tensor = next((a for a in (*args, *kwargs.values()) if isinstance(a, torch.Tensor)), None)
        if tensor is not None:
            device = tensor.device
        else:
            device = torch.device(kwargs.get("device") or torch.get_default_device())
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self._seed)
        return self._generators[device]
