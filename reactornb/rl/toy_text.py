"""Gymnasium's toy-text environments, with their draws made cheaper: the same environment, the same numbers.

`BlackjackEnv` draws each card with `Generator.choice(list)`, which makes an array of the list first: nine tenths of a step's time, and on
several threads a list that all of them count references to.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

__all__ = ["CheapChoice", "blackjack"]

BLOCK = 256


def blackjack() -> gymnasium.Env[Any, Any]:
    """Blackjack-v1 as Sutton and Barto describe it (example 5.1), its cards drawn by `CheapChoice`."""
    return CheapChoice(gymnasium.make("Blackjack-v1", disable_env_checker=True).unwrapped)


class CheapChoice(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Lets an environment draw from lists by index: what `Generator.choice` chooses, without making an array of them."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """As the environment's; a seed gives it a new generator, hence a new `_ByIndex` around it."""
        returned = self.env.reset(seed=seed, options=options)
        inner: Any = self.env.unwrapped
        if not isinstance(inner.np_random, _ByIndex):
            inner._np_random = _ByIndex(inner.np_random)
        return returned


class _ByIndex:
    """A generator whose `choice` from a list, with equal probabilities, takes the index from a block of raw numbers drawn at once.

    The index is the one NumPy's own `choice` would take: Lemire 2019, "Fast Random Integer Generation in an Interval", on
    the generator's 32-bit numbers in their order. Whoever wants anything else finds the generator where it would be without the
    block.
    """

    def __init__(self, generator: np.random.Generator) -> None:
        self._generator = generator
        self._raw: list[int] = []
        self._next = 0
        self._before: Any = None  # the generator's state before the block

    def choice(self, a: Any, *more: Any, **named: Any) -> Any:
        if more or named or type(a) is not list or len(a) < 2:
            return self._at_rest().choice(a, *more, **named)
        n = len(a)
        while True:
            if self._next == len(self._raw):
                self._draw()
            scaled = self._raw[self._next] * n
            self._next += 1
            low = scaled & 0xFFFFFFFF
            if low >= n or low >= 0x100000000 % n:
                return a[scaled >> 32]

    def _draw(self) -> None:
        self._before = self._generator.bit_generator.state
        self._raw = self._generator.integers(0x100000000, size=BLOCK, dtype=np.uint32).tolist()
        self._next = 0

    def _at_rest(self) -> np.random.Generator:
        """The generator, as if what is left of the block had not been drawn."""
        if self._next < len(self._raw):
            self._generator.bit_generator.state = self._before
            self._generator.integers(0x100000000, size=self._next, dtype=np.uint32)
        self._raw, self._next = [], 0
        return self._generator

    def save(self) -> dict[str, Any]:
        """Where the generator is; see `reactornb.durable.objects`."""
        return dict(self._at_rest().bit_generator.state)

    def load(self, saved: dict[str, Any]) -> None:
        """Let the generator go on from there; of an object that startup did not make, a new one."""
        self._raw, self._next, self._before = [], 0, None
        if "_generator" not in vars(self):
            self._generator = np.random.Generator(np.random.PCG64())
        self._generator.bit_generator.state = saved

    def __getattr__(self, name: str) -> Any:
        return getattr(self._at_rest(), name)
