"""`EnvDraws`: random numbers for the actions of a trajectory, for each environment from a generator of its own.

A policy draws for all steps and environments of a rollout at once. If one generator gave them all, what an environment is told to do would depend on how many
others its rollout has; so it depends on the environment's index among those of all rollouts. This module knows nothing of reactors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = ["EnvDraws", "env_generators"]


def env_generators(seed: int, first: int, n: int) -> list[np.random.Generator]:
    """Generators for environments `first` to `first + n - 1`; environment i's depends on `seed` and i alone."""
    return [np.random.default_rng([seed, first + i]) for i in range(n)]


class EnvDraws(np.random.Generator):
    """A generator that draws arrays [T, N, …] column by column from the generators of N environments.

    These methods do so: `random`, `standard_normal`, `standard_exponential`, `uniform`, `integers`, where `size` is such a shape. Everything else,
    arrays of other shapes included, comes from the rollout's generator.

    Args:
        rest: the rollout's.
        columns: one for each environment.
    """

    def __init__(self, rest: np.random.Generator, columns: Sequence[np.random.Generator]) -> None:
        super().__init__(rest.bit_generator)
        self._columns = columns

    def _is_by_column(self, size: Any) -> bool:
        return isinstance(size, tuple) and len(size) >= 2 and size[1] == len(self._columns)

    def _drawn(self, size: tuple[int, ...], draw: Callable[[np.random.Generator, tuple[int, ...]], Any]) -> np.ndarray:
        if len(self._columns) == 1:
            return draw(self._columns[0], size)  # type: ignore[no-any-return]
        column = (size[0], *size[2:])
        return np.stack([draw(generator, column) for generator in self._columns], axis=1)

    def random(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> Any:
        """See `numpy.random.Generator`."""
        if out is None and self._is_by_column(size):
            return self._drawn(size, lambda g, shape: g.random(shape, dtype))
        return super().random(size, dtype, out)

    def standard_normal(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> Any:
        """See `numpy.random.Generator`."""
        if out is None and self._is_by_column(size):
            return self._drawn(size, lambda g, shape: g.standard_normal(shape, dtype))
        return super().standard_normal(size, dtype, out)

    def standard_exponential(
        self, size: Any = None, dtype: Any = np.float64, method: Any = "zig", out: Any = None
    ) -> Any:
        """See `numpy.random.Generator`."""
        if out is None and self._is_by_column(size):
            return self._drawn(size, lambda g, shape: g.standard_exponential(shape, dtype, method))
        return super().standard_exponential(size, dtype, method, out)

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> Any:
        """See `numpy.random.Generator`."""
        if self._is_by_column(size):
            return self._drawn(size, lambda g, shape: g.uniform(low, high, shape))
        return super().uniform(low, high, size)

    def integers(
        self, low: Any, high: Any = None, size: Any = None, dtype: Any = np.int64, endpoint: bool = False
    ) -> Any:
        """See `numpy.random.Generator`."""
        if self._is_by_column(size):
            return self._drawn(size, lambda g, shape: g.integers(low, high, shape, dtype, endpoint))
        return super().integers(low, high, size, dtype, endpoint)
