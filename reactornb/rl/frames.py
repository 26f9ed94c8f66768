"""`Frames`: the pictures of an episode, kept small. An episode of 1,000 steps on CartPole is 180 MB of pixels, and two megabytes here."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np

__all__ = ["Frames", "tiled"]


class Frames(Sequence[np.ndarray]):
    """Pictures of one size, uint8 [height, width, 3]; each is packed when it comes and unpacked when it is looked at.

    Args:
        frames: the first ones.

    Attributes:
        shape: of each; (0, 0, 3) while there is none.
    """

    def __init__(self, frames: Iterable[np.ndarray] = ()) -> None:
        self.shape: tuple[int, ...] = (0, 0, 3)
        self._packed: list[bytes] = []
        for frame in frames:
            self.append(frame)

    def append(self, frame: np.ndarray) -> None:
        """Add one.

        Raises:
            ValueError: if it is of another size than those before.
        """
        if self._packed and frame.shape != self.shape:
            raise ValueError(f"pictures of {self.shape} and of {frame.shape} are no moving picture.")
        self.shape = frame.shape
        self._packed.append(zlib.compress(np.ascontiguousarray(frame), 1))

    def __len__(self) -> int:
        return len(self._packed)

    @overload
    def __getitem__(self, place: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, place: slice) -> list[np.ndarray]: ...

    def __getitem__(self, place: int | slice) -> np.ndarray | list[np.ndarray]:
        if isinstance(place, slice):
            return [self._unpacked(packed) for packed in self._packed[place]]
        return self._unpacked(self._packed[place])

    def _unpacked(self, packed: bytes) -> np.ndarray:
        return np.frombuffer(zlib.decompress(packed), np.uint8).reshape(self.shape)

    def __iter__(self) -> Iterator[np.ndarray]:
        return map(self._unpacked, self._packed)

    @property
    def nbytes(self) -> int:
        """How much memory they take."""
        return sum(map(len, self._packed))

    def __repr__(self) -> str:
        return f"<{len(self)} frames of {self.shape[1]} × {self.shape[0]}>"


GAP = 6  # pixels between the pictures of several episodes


def tiled(episodes: Sequence[Frames]) -> Iterator[np.ndarray]:
    """Several moving pictures side by side, in rows; one that is over stays as it ended."""
    columns = int(np.ceil(np.sqrt(len(episodes))))
    rows = -(-len(episodes) // columns)
    height = max(frames.shape[0] for frames in episodes)
    width = max(frames.shape[1] for frames in episodes)
    for t in range(max(map(len, episodes))):
        sheet = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), 255, np.uint8)
        for place, frames in enumerate(episodes):
            row, column = divmod(place, columns)
            frame = frames[min(t, len(frames) - 1)]
            y = row * (height + GAP) + (height - frame.shape[0]) // 2
            x = column * (width + GAP) + (width - frame.shape[1]) // 2
            sheet[y : y + frame.shape[0], x : x + frame.shape[1]] = frame
        yield sheet
