"""Adam and RMSprop on flat arrays, with torch's formulas and torch's interface.

A step of torch's fused Adam on 9,155 weights costs 124 us, of which the arithmetic is a fifth; here a step is ten calls of NumPy that write
into arrays made once. What `Learner` asks of an optimizer is what torch's has: it is made of parameters with gradients, `step()` descends,
and a learning rate written into `param_groups` counts from the next step on. For CUDA there are torch's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np

__all__ = ["Adam", "RMSprop"]


class Parameter(Protocol):
    """A torch parameter on the CPU with a gradient, such as `Flat.parameter`."""

    @property
    def grad(self) -> Any:
        """A tensor like this one, in which gradients are written in place."""

    def detach(self) -> Any:
        """The tensor without its history; shares its memory."""


BLOCK = 32_768
"""Weights that a step goes through at a time: what it reads of them stays in the cache from one call to the next."""


class _Optimizer:
    """What both have in common.

    Attributes:
        param_groups: one dictionary, with "params" and "lr".

    Raises:
        ValueError: if there is not exactly one parameter.
    """

    def __init__(self, params: Iterable[Parameter | tuple[np.ndarray, np.ndarray]], lr: float) -> None:
        given = list(params)
        if len(given) != 1:
            raise ValueError(
                f"{type(self).__name__} takes one flat parameter, not {len(given)}: such as [Flat(network, gradients=True).parameter]. "
                f"torch.optim.{type(self).__name__} takes many."
            )
        (p,) = given
        self._steps = 0
        self._state: tuple[np.ndarray, ...] = ()
        self._weights: np.ndarray
        self._gradient: np.ndarray
        self._weights, self._gradient = p if isinstance(p, tuple) else (p.detach().numpy(), p.grad.numpy())
        self.param_groups: list[dict[str, Any]] = [{"params": given, "lr": lr}]

    def save(self) -> dict[str, Any]:
        """All but the weights and their gradient, which are not this object's; see `reactornb.durable.objects`."""
        options = [{name: value for name, value in group.items() if name != "params"} for group in self.param_groups]
        return {"steps": self._steps, "state": list(self._state), "options": options}

    def load(self, saved: dict[str, Any]) -> None:
        """Go on from there.

        Raises:
            ValueError: if that is of another number of weights.
        """
        if [own.shape for own in self._state] != [np.shape(array) for array in saved["state"]]:
            raise ValueError(
                f"{type(self).__name__}: what was saved is for another number of weights than {self._weights.size}."
            )
        for own, array in zip(self._state, saved["state"], strict=True):
            own[:] = array
        self._steps = saved["steps"]
        for group, options in zip(self.param_groups, saved["options"], strict=True):
            group.update(options)

    def _blocks(self, *state: np.ndarray) -> list[tuple[np.ndarray, ...]]:
        """Views of weights, gradient and state, block by block, and a scratch array."""
        self._state = state
        size = self._weights.size
        scratch = np.empty(min(size, BLOCK), self._weights.dtype)
        whole = (self._weights, self._gradient, *state)
        return [
            (*(array[at : at + BLOCK] for array in whole), scratch[: min(BLOCK, size - at)])
            for at in range(0, size, BLOCK)
        ]


class Adam(_Optimizer):
    """Adam, with torch's order of operations: the second moment's root is corrected, then `eps` is added.

    Args:
        params: one torch parameter on the CPU that has a gradient, or one pair of arrays, (weights, gradient): changed, and read, in place.
        lr: learning rate.
        betas: decay of the first and of the second moment.
        eps: added to the root of the second moment.

    Source: Kingma, Ba 2015, arXiv:1412.6980, algorithm 1, as torch.optim.Adam has it.
    """

    def __init__(
        self,
        params: Iterable[Parameter | tuple[np.ndarray, np.ndarray]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(params, lr)
        self._betas = betas
        self._eps = eps
        self._views = self._blocks(np.zeros_like(self._weights), np.zeros_like(self._weights))

    def step(self) -> None:
        """One step of descent along the gradients as they are now."""
        self._steps += 1
        beta1, beta2 = self._betas
        # The moments are kept without their factors 1 - beta, which, as the corrections of their bias, are taken into two numbers: three passes
        # over all weights less.
        root = math.sqrt((1.0 - beta2**self._steps) / (1.0 - beta2))
        rate = self.param_groups[0]["lr"] * (1.0 - beta1) / (1.0 - beta1**self._steps) * root
        eps = self._eps * root
        for weights, gradient, first, second, a in self._views:
            np.multiply(first, beta1, out=first)
            np.add(first, gradient, out=first)
            np.multiply(gradient, gradient, out=a)
            np.multiply(second, beta2, out=second)
            np.add(second, a, out=second)
            np.sqrt(second, out=a)
            np.add(a, eps, out=a)
            np.divide(first, a, out=a)
            np.multiply(a, rate, out=a)
            np.subtract(weights, a, out=weights)


class RMSprop(_Optimizer):
    """RMSprop with torch's order of operations: `eps` is added to the root.

    Args:
        params: see `Adam`.
        lr: learning rate.
        alpha: decay of the mean square.
        eps: added to its root.

    Source: Tieleman, Hinton 2012, lecture 6.5 of "Neural networks for machine learning", as torch.optim.RMSprop has it.
    """

    def __init__(
        self,
        params: Iterable[Parameter | tuple[np.ndarray, np.ndarray]],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(params, lr)
        self._alpha = alpha
        self._eps = eps
        self._views = self._blocks(np.zeros_like(self._weights))

    def step(self) -> None:
        """One step of descent along the gradients as they are now."""
        lr = self.param_groups[0]["lr"]
        for weights, gradient, square, a in self._views:
            np.multiply(gradient, gradient, out=a)
            np.multiply(a, 1.0 - self._alpha, out=a)
            np.multiply(square, self._alpha, out=square)
            np.add(square, a, out=square)
            np.sqrt(square, out=a)
            np.add(a, self._eps, out=a)
            np.divide(gradient, a, out=a)
            np.multiply(a, lr, out=a)
            np.subtract(weights, a, out=weights)
