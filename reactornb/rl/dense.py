"""`Dense`: multi-layer perceptrons in NumPy, forward and backward, on the flat weights of their torch twins.

For a network of a few thousand weights a call of torch costs more than its arithmetic (autograd records each one, every result is
allocated anew); here a layer is three calls of NumPy that write into arrays made once. Activations lie feature by feature, [width, B], so that
products read the weights as torch stores them, [out, in], and reductions over a few outputs run along whole rows.
NumPy only; nothing here knows of reactors or torch.

Source: Rumelhart, Hinton, Williams 1986, "Learning representations by back-propagating errors", doi:10.1038/323533a0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

__all__ = ["Dense"]


class Dense:
    """One perceptron or several of the same hidden widths on the same inputs, each with one linear head or more.

    The flat weights hold one perceptron after the other: its hidden layers, then its heads, each as matrix [out, in] and bias [out]. An
    actor and a critic are `heads=((A,), (1,))`; a duelling network is `heads=((A, 1),)`. Perceptrons are computed together: one call of
    tanh is for the layers of all.

    One object serves one thread; its buffers belong to it and grow to the largest batch so far.

    Args:
        inputs: numbers in an observation.
        hidden: widths of the hidden layers.
        heads: for each perceptron the widths of its heads.
        activation: "relu" or "tanh", after each hidden layer.
        offset: where the first perceptron's weights begin in the flat array.
        scaling: (offset, span) of the inputs, as in `EnvSpec`; None: as they are.
        dtype: of weights and buffers; float64 is for checks.

    Attributes:
        count: how many perceptrons.
        sizes: how many weights each perceptron has.
        size: their sum.

    Raises:
        ValueError: for another activation, or for more than two perceptrons that are not of one size.
    """

    # Weights are the caller's, buffers are filled by each pass.
    transient = (
        "_d", "_d_layers", "_d_rows", "_d_tops", "_gradient", "_layers", "_ones", "_outputs", "_prepared", "_rows", "_scaling", "_spare", "_storage", "_tops",
        "_weights", "_x", "_z", "_zeros",
    )  # fmt: skip

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        heads: Sequence[Sequence[int]],
        activation: str,
        *,
        offset: int = 0,
        scaling: tuple[np.ndarray, np.ndarray] | None = None,
        dtype: Any = np.float32,
    ) -> None:
        if activation not in ("relu", "tanh"):
            raise ValueError(f'activation={activation!r} must be "relu" or "tanh".')
        self.offset = offset
        self._inputs = inputs
        self._hidden = tuple(hidden)
        self._heads = tuple(tuple(own) for own in heads)
        self._count = self.count = len(self._heads)
        self._relu = activation == "relu"
        self._scaling = scaling
        self._dtype = np.dtype(dtype)
        top = (inputs, *hidden)[-1]
        trunk = sum(n * m + m for n, m in pairwise((inputs, *hidden)))
        sizes = [trunk + sum(top * m + m for m in own) for own in self._heads]
        if len(set(sizes[:-1])) > 1:
            raise ValueError(f"perceptrons of {sizes} weights do not lie at equal distances.")
        self.sizes = tuple(sizes)
        self.size = sum(sizes)
        self._weights: np.ndarray | None = None
        self._gradient: np.ndarray | None = None
        self._layers: list[tuple[np.ndarray, np.ndarray]] = []
        self._tops: list[tuple[int, np.ndarray, np.ndarray]] = []
        self._d_layers: list[tuple[np.ndarray, np.ndarray]] = []
        self._d_tops: list[tuple[int, np.ndarray, np.ndarray]] = []
        self._rows = self._d_rows = -1
        self._storage: dict[str, np.ndarray] = {}
        self._x = np.empty((0, inputs), self._dtype)

    def bind(self, weights: np.ndarray) -> None:
        """Read these weights from now on, [P], as views.

        Raises:
            ValueError: if they are too few, or of another dtype.
        """
        if weights is not self._weights:
            self._layers, self._tops = self._views(weights)
            self._weights = weights

    def write_to(self, gradient: np.ndarray) -> None:
        """Let `backward` write into this array, [P], as views.

        Raises:
            ValueError: see `bind`.
        """
        if gradient is not self._gradient:
            self._d_layers, self._d_tops = self._views(gradient)
            self._gradient = gradient

    def _views(
        self, flat: np.ndarray
    ) -> tuple[list[tuple[np.ndarray, np.ndarray]], list[tuple[int, np.ndarray, np.ndarray]]]:
        """Matrices and biases of the hidden layers, [count, out, in] and [count, out, 1] (without the first axis for one perceptron), and
        (perceptron, matrix, bias) of the heads.
        """
        if (
            flat.dtype != self._dtype
            or flat.ndim != 1
            or len(flat) < self.offset + self.size
            or not flat.flags.c_contiguous
        ):
            raise ValueError(
                f"these perceptrons need {self._dtype} weights [{self.offset + self.size}] in one piece, not {flat.dtype} {list(flat.shape)}: "
                f"they are of another network."
            )
        item = self._dtype.itemsize
        many = (self._count,) if self._count > 1 else ()
        apart = (self.sizes[0] * item,) if self._count > 1 else ()

        def view(at: int, rows: int, columns: int, stacked: bool) -> np.ndarray:
            shape = (*many, rows, columns) if stacked else (rows, columns)
            strides = (*apart, columns * item, item) if stacked else (columns * item, item)
            return np.ndarray(shape, self._dtype, flat, at * item, strides)

        at = self.offset
        layers = []
        for n, m in pairwise((self._inputs, *self._hidden)):
            layers.append((view(at, m, n, True), view(at + n * m, m, 1, True)))
            at += n * m + m
        top = (self._inputs, *self._hidden)[-1]
        tops = []
        for i, own in enumerate(self._heads):
            begin = at + i * self.sizes[0]
            for m in own:
                tops.append((i, view(begin, m, top, False), view(begin + top * m, m, 1, False)))
                begin += top * m + m
        return layers, tops

    def _buffer(self, name: str, *shape: int) -> np.ndarray:
        """An array of this shape at the beginning of the buffer of that name, which grows if it is too small."""
        size = math.prod(shape)
        if name not in self._storage or self._storage[name].size < size:
            self._storage[name] = np.empty(size, self._dtype)
        return self._storage[name][:size].reshape(shape)

    def _for_rows(self, rows: int) -> None:
        """Buffers of a forward pass for so many observations."""
        many = (self._count,) if self._count > 1 else ()
        self._z = [self._buffer(f"z{i}", *many, m, rows) for i, m in enumerate(self._hidden)]
        self._outputs = [self._buffer(f"output{i}", w.shape[0], rows) for i, (_, w, _) in enumerate(self._tops)]
        self._prepared = self._buffer("prepared", rows, self._inputs)
        # A row: with a scalar in its place np.maximum takes three times as long.
        self._zeros = self._buffer("zeros", rows)
        self._zeros.fill(0.0)
        self._rows = rows

    def _for_d_rows(self, rows: int) -> None:
        """Buffers of a backward pass; the widest layer's serves for all of every second one."""
        many = (self._count,) if self._count > 1 else ()
        self._d = [self._buffer(f"d{i % 2}", *many, m, rows) for i, m in enumerate(self._hidden)]
        self._ones = self._buffer("ones", rows, 1)
        self._ones.fill(1.0)
        self._spare = self._buffer("spare", self._hidden[-1] if self._hidden else 0, rows)
        self._d_rows = rows

    def forward(self, x: np.ndarray) -> list[np.ndarray]:
        """What the heads give.

        Args:
            x: [B, *observation_shape]; not changed until `backward` was called.

        Returns:
            For each head its outputs, [width, B], in buffers that the next call overwrites; the caller may change them.
        """
        rows = len(x)
        if rows != self._rows:
            self._for_rows(rows)
        self._x = x = self._prepare(x)
        below = x.T
        for (w, b), z in zip(self._layers, self._z, strict=True):
            np.matmul(w, below, out=z)
            np.add(z, b, out=z)
            if self._relu:
                np.maximum(z, self._zeros, out=z)
            else:
                np.tanh(z, out=z)
            below = z
        many = self._count > 1 and bool(self._hidden)
        for (i, w, b), out in zip(self._tops, self._outputs, strict=True):
            np.matmul(w, below[i] if many else below, out=out)
            np.add(out, b, out=out)
        return self._outputs

    def _prepare(self, x: np.ndarray) -> np.ndarray:
        """Observations as rows of scaled numbers."""
        if x.ndim != 2:
            x = x.reshape(len(x), -1)
        if self._scaling is not None:
            offset, span = (np.ravel(a) if a.size > 1 else a for a in self._scaling)
            np.subtract(x, offset, out=self._prepared, casting="unsafe")
            self._prepared /= span
            return self._prepared
        if x.dtype != self._dtype:
            self._prepared[:] = x
            return self._prepared
        return x

    def backward(self, d_outputs: Sequence[np.ndarray]) -> None:
        """Write the gradient of these perceptrons' weights; what `forward` kept is used up.

        Args:
            d_outputs: for each head the loss's derivative with respect to its outputs, [width, B].
        """
        rows = len(self._x)
        if rows != self._d_rows:
            self._for_d_rows(rows)
        ones = self._ones
        many = self._count > 1 and bool(self._hidden)
        below = self._z[-1] if self._hidden else self._x.T
        for (i, _, _), (_, dw, db), d_out in zip(self._tops, self._d_tops, d_outputs, strict=True):
            np.matmul(d_out, (below[i] if many else below).T, out=dw)
            np.matmul(d_out, ones, out=db)
        if self._hidden:
            self._below_heads(d_outputs)
        for layer in range(len(self._hidden) - 1, -1, -1):
            d = self._below_activation(layer)
            below = self._z[layer - 1] if layer else self._x.T
            dw, db = self._d_layers[layer]
            np.matmul(d, below.swapaxes(-1, -2), out=dw)
            np.matmul(d, ones, out=db)
            if layer:
                np.matmul(self._layers[layer][0].swapaxes(-1, -2), d, out=self._d[layer - 1])

    def backward_to_inputs(
        self, d_outputs: Sequence[np.ndarray], first: int, rows: Sequence[np.ndarray] | None = None
    ) -> np.ndarray:
        """The derivative with respect to inputs, where the weights are somebody else's; after `forward`, and before `backward`.

        Args:
            d_outputs: for each head the loss's derivative with respect to its outputs, [width, B].
            first: with respect to the inputs from this one on, such as a critic's action behind its observation.
            rows: of each perceptron the observations for which it counts, int64 [k]; None: it counts for all.

        Returns:
            [inputs - first, B], the sum over the perceptrons; of scaled inputs, if they are scaled.
        """
        total = np.zeros((self._inputs - first, len(self._x)), self._dtype)
        many = self._count > 1
        for (i, w, _), d_out in zip(self._tops, d_outputs, strict=True):
            some: Any = slice(None) if rows is None else rows[i]
            d = d_out[:, some]
            above = w
            for layer in range(len(self._hidden) - 1, -1, -1):
                shape = self._hidden[layer], d.shape[1]
                product = np.matmul if len(above) > 1 else np.multiply
                d = product(above.T, d, out=self._buffer(f"to_inputs{layer % 2}", *shape))
                z = self._z[layer][i] if many else self._z[layer]
                if rows is not None:  # "clip": else a copy is made in between
                    z = np.take(z, some, axis=1, out=self._buffer("some", *shape), mode="clip")
                d *= np.greater(z, self._zeros[: shape[1]]) if self._relu else 1 - z * z
                above = self._layers[layer][0][i] if many else self._layers[layer][0]
            total[:, some] += np.matmul(above[:, first:].T, d)
        return total

    def _below_heads(self, d_outputs: Sequence[np.ndarray]) -> None:
        """From the heads' outputs to the last hidden layer's: `_d[-1]`."""
        many = self._count > 1
        d = self._d[-1]
        begun = -1  # the perceptron whose derivative the heads before have begun
        for (i, w, _), d_out in zip(self._tops, d_outputs, strict=True):
            own = d[i] if many else d
            product = np.matmul if len(w) > 1 else np.multiply  # a column times a row: 7 us instead of 25 for 64 x 256
            if i == begun:
                product(w.T, d_out, out=self._spare)
                own += self._spare
            else:
                product(w.T, d_out, out=own)
            begun = i

    def _below_activation(self, layer: int) -> np.ndarray:
        """From a hidden layer's outputs to its sums: the derivative of the activation follows from its value, which is needed no more."""
        d, z = self._d[layer], self._z[layer]
        if self._relu:
            d *= np.greater(z, self._zeros)
        else:
            np.multiply(z, z, out=z)
            np.subtract(1.0, z, out=z)
            d *= z
        return d
