"""What the learner asks of an algorithm, and the gradient of its loss for one minibatch, in one flat array.

Nothing here knows of reactors: `learner.py` steps with these gradients, `a3c.py` sends them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from reactornb.rl.networks import Flat

__all__ = ["Algorithm", "InOrder", "LossGradient", "MakeAlgorithm", "Means", "Metrics", "in_order"]

Metrics = Mapping[str, Any]
"""Name of a metric -> its mean over the rows of a minibatch: a float, or a tensor of no dimension."""


class Algorithm(Protocol):
    """What the learner is told: a network, how to cut minibatches, and their loss.

    A minibatch of B rows that may be cut by rows has a length, B, and `minibatch[a:b]`, which gives the minibatch of those rows. Losses
    and metrics are means over rows; whatever depends on the whole minibatch, such as normalised advantages, `minibatches` computes. One that
    has a method `gathered` is replaced by what that returns, where its gradient is computed, hence with shards on several cores at once.

    Attributes:
        network: its parameters, in order, are the published weights.
        target: a second network that follows the first, or None.

    Optional:
        analytic: bool; whether `gradient` answers. Without it, False: the gradient is autograd's, of `loss`.

        gradient(minibatch, weights, out, target=None): the gradient of `loss`, without torch.

            Args: minibatch; weights, float32 [P], perhaps read-only, not changed during the call; out, float32 [P], overwritten; target,
            float32 [P], the target network's weights, where the algorithm has a target.

            Returns: metrics as Python floats, means over the minibatch's rows, "loss" among them.

            It reads neither `network` nor `target`, and uses buffers of this object's own: several threads may call it at once, each on an
            object of its own (made by the same `MakeAlgorithm`), with the same weights.

        joined(feedbacks): where several objects computed a round's gradients: what goes back for the list of what `feedback` returned on
            each after each piece (None left out), in the order of updates, and within an update of pieces. Without it, nothing does.
    """

    @property
    def network(self) -> nn.Module:
        """An attribute will do."""

    @property
    def target(self) -> nn.Module | None:
        """Likewise."""

    def minibatches(self, received: list[Any], rng: np.random.Generator, progress: float) -> Iterable[Any]:
        """Cut what arrived at one tag into minibatches, one update each.

        With shards a run may be kept between two of a round's updates. A list can be kept then, and an iterator that is an object of a class
        with `__next__`, such as `minibatches.Epochs`; a generator cannot, since its place is hidden in a frame of the interpreter.

        Args:
            received: the values of the input's channels, in order.
            rng: the learner's own generator.
            progress: 0 at the first round, towards 1 at the last.
        """

    def loss(self, minibatch: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor | float]]:
        """A scalar to be minimised, and metrics that are logged, averaged over the round."""

    def feedback(self) -> Any:
        """What goes back on the learner's `feedback` output for the minibatches since the last call, or None."""


MakeAlgorithm = Callable[[torch.Generator, torch.device], Algorithm]


class InOrder:
    """Iterates over a sequence. Its place is a number that a checkpoint can hold, which a list's own iterator keeps to itself."""

    def __init__(self, items: Sequence[Any]) -> None:
        self._items = items
        self._at = 0

    def __iter__(self) -> InOrder:
        return self

    def __next__(self) -> Any:
        at = self._at
        if at == len(self._items):
            self._items, self._at = (), 0  # frees them
            raise StopIteration
        self._at = at + 1
        return self._items[at]


def in_order(minibatches: Iterable[Any]) -> Iterator[Any]:
    """An iterator over what an algorithm's `minibatches` returned, one that a checkpoint can hold if that is a list or a tuple."""
    return InOrder(minibatches) if isinstance(minibatches, (list, tuple)) else iter(minibatches)


class LossGradient:
    """The gradient of an algorithm's loss, for one minibatch after the other, in one flat array.

    Args:
        algorithm: its network's parameters are those of `flat`.
        flat: made with gradients.
        target: the parameters of the algorithm's target network, if it has one.

    Attributes:
        analytic: the algorithm writes gradients itself; else autograd does, on the thread that calls `compute`, as it does on the CPU.
    """

    transient = ("_algorithm", "_gradient", "_out", "_target", "_weights")

    def __init__(self, algorithm: Algorithm, flat: Flat, target: Flat | None = None) -> None:
        gradient = flat.parameter.grad
        assert gradient is not None
        self._algorithm: Any = algorithm
        self._gradient = gradient
        on_cpu = gradient.device.type == "cpu"
        self.analytic = self._in_numpy = on_cpu and bool(getattr(algorithm, "analytic", False))
        if on_cpu:
            # Views of the same memory: they see what the optimizer does.
            self._weights, self._out = flat.parameter.data.numpy(), gradient.numpy()
            self._target = {} if target is None else {"target": target.parameter.data.numpy()}

    def compute(self, minibatch: Any) -> Metrics:
        """Replace the flat gradient by that of one minibatch.

        Returns:
            The algorithm's metrics, and "loss", a float, among them.
        """
        if hasattr(minibatch, "gathered"):
            minibatch = minibatch.gathered()
        if self.analytic:
            metrics: Metrics = self._algorithm.gradient(minibatch, self._weights, self._out, **self._target)
            return metrics
        loss, others = self._algorithm.loss(minibatch)
        self._gradient.zero_()
        loss.backward()
        return {"loss": loss.item(), **others}

    def load(self, weights: np.ndarray) -> None:
        """Take over weights, float32 [P]. On the CPU only, as all below but `norm` and `scale`."""
        self._weights[:] = weights

    def weights(self) -> np.ndarray:
        """A copy of them, float32 [P], read-only."""
        weights = self._weights.copy()
        weights.flags.writeable = False
        return weights

    def times(self, share: float) -> np.ndarray:
        """A copy of the flat gradient, multiplied; float32 [P]."""
        product: np.ndarray = self._out * np.float32(share)
        return product

    def add(self, gradients: Sequence[np.ndarray]) -> None:
        """Replace the flat gradient by the sum of these, float32 [P] each, added in this order."""
        first, *others = gradients
        if others:
            np.add(first, others[0], out=self._out)
        else:
            self._out[:] = first
        for gradient in others[1:]:
            self._out += gradient
        self._in_numpy = True

    def norm(self) -> float:
        """Of the flat gradient."""
        # NumPy takes 2 µs for 9,000 weights, torch 15; with autograd the numbers are those of torch, as they have always been.
        return math.sqrt(np.dot(self._out, self._out)) if self._in_numpy else float(self._gradient.norm())

    def scale(self, factor: float) -> None:
        """Multiply the flat gradient."""
        if self._in_numpy:
            self._out *= np.float32(factor)
        else:
            self._gradient.mul_(factor)


class Means:
    """Means of metrics over a round's updates.

    A tensor on the CPU is read at once: `item` takes 0.24 µs, `detach`, to keep it, 0.54. Reading one from another device would wait for
    all that was asked of the device before, so these are kept, and read together at the round's end.
    """

    def __init__(self) -> None:
        self._values: dict[str, list[Any]] = {}

    def add(self, metrics: Metrics) -> None:
        """Of one update."""
        for name, metric in metrics.items():
            if isinstance(metric, torch.Tensor):
                value = metric.item() if metric.device.type == "cpu" else metric.detach()
            else:
                value = metric
            self._values.setdefault(name, []).append(value)

    def take(self) -> dict[str, float]:
        """What was added since the last time, averaged; empty if nothing was."""
        values, self._values = self._values, {}
        return {name: sum(_floats(metrics)) / len(metrics) for name, metrics in values.items()}


def _floats(values: list[Any]) -> list[float]:
    """Of metrics of one name: of one device, if they are tensors."""
    read: list[float] = torch.stack(values).tolist() if isinstance(values[0], torch.Tensor) else values
    return read
