"""`Watched`: an episode as it looked, and what was done in it; `Gallery`: several, side by side.

They hold data and write files; a notebook shows them as players, which `reactornb.viz.player` makes, named here and loaded when it is wanted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Self, overload

import numpy as np

from reactornb.files import write
from reactornb.rl import video
from reactornb.rl.frames import Frames, tiled

__all__ = ["Gallery", "Watched"]

_VIEW = "reactornb.viz.player"


class Watched:
    """One episode.

    Args:
        frames, actions, rewards, rate, label, names: see below.

    Attributes:
        size: of a frame, (height, width).
        count: of the frames.
        actions: as they were taken.
        rewards: one for each.
        rate: frames of a second.
        label: whose episode it is, such as "ppo#1, seed 0".
        names: what discrete actions are called, from the first on; () where that is not known.
        trained: for how many environment steps its policy had been trained, of the last weights of an overlapping training at least; None where nobody knows.
    """

    def __init__(
        self,
        frames: Iterable[np.ndarray],
        actions: Sequence[Any],
        rewards: Sequence[float],
        rate: float,
        label: str = "",
        names: Sequence[str] = (),
    ) -> None:
        self._frames: Frames | None = frames if isinstance(frames, Frames) else Frames(frames)
        self.size = self._frames.shape[0], self._frames.shape[1]
        self.count = len(self._frames)
        self.actions = list(actions)
        self.rewards = list(rewards)
        self.rate = rate
        self.label = label
        self.names = tuple(names)
        self.trained: int | None = None
        self._mp4: bytes | None = None  # made once, by whoever asks first; made twice it would be the same

    @property
    def total(self) -> float:
        """The episode's return."""
        return float(sum(self.rewards))

    @property
    def frames(self) -> Frames:
        """Uint8 [height, width, 3] each, packed; the first is that of the reset. Of an episode that is kept as MP4 alone, as they are there."""
        if self._frames is None:
            assert self._mp4 is not None
            return Frames(video.frames_of(self._mp4, self.size))
        return self._frames

    @property
    def mp4(self) -> bytes | None:
        """It as MP4; None where there is no ffmpeg.

        Raises:
            VideoError: if it fails.
        """
        if self._mp4 is None and video.encoder() is not None:
            self._mp4 = video.mp4(self.frames, self.rate)
        return self._mp4

    def packed(self) -> Self:
        """It, kept as MP4 alone where there is ffmpeg: some tens of kilobytes."""
        if self.mp4 is not None:
            self._frames = None
        return self

    @property
    def nbytes(self) -> int:
        """How much memory its pictures take."""
        return len(self._mp4 or b"") + (self._frames.nbytes if self._frames is not None else 0)

    def still(self, place: int) -> bytes:
        """One of its frames as PNG."""
        return video.png(self.frames[place])

    def action_words(self) -> list[str]:
        """Its actions, as a reader sees them: by their names, or rounded."""
        return [_words(action, self.names) for action in self.actions]

    def save(self, path: str | Path) -> Path:
        """Write it; the file's ending says as what: .mp4 (needs ffmpeg), .gif (needs Pillow), .png (moves in browsers, needs nothing).

        Raises:
            MissingPackageError: without what that needs.
            VideoError: for another ending, or if an encoder fails.
            FileError: if it cannot be written.
        """
        if Path(path).suffix.lower() == ".mp4" and self.mp4 is not None:
            return write(path, self.mp4)
        return video.save(self.frames, self.rate, path)

    def _repr_html_(self) -> str:
        return str(import_module(_VIEW).player_html([self]))

    def __repr__(self) -> str:
        return f"<episode{f' of {self.label}' if self.label else ''}: {len(self.rewards)} steps, return {self.total:g}>"


class Gallery(Sequence[Watched]):
    """Several episodes, which are played side by side.

    Args:
        episodes: at least one.
    """

    def __init__(self, episodes: Iterable[Watched]) -> None:
        self._episodes = tuple(episodes)
        if not self._episodes:
            raise ValueError("a gallery has at least one episode.")

    def __len__(self) -> int:
        return len(self._episodes)

    @overload
    def __getitem__(self, place: int) -> Watched: ...

    @overload
    def __getitem__(self, place: slice) -> Gallery: ...

    def __getitem__(self, place: int | slice) -> Watched | Gallery:
        return Gallery(self._episodes[place]) if isinstance(place, slice) else self._episodes[place]

    def __iter__(self) -> Iterator[Watched]:
        return iter(self._episodes)

    @property
    def returns(self) -> np.ndarray:
        """The episodes' returns, float64."""
        return np.array([episode.total for episode in self._episodes])

    def save(self, path: str | Path) -> Path:
        """Write one moving picture of all of them, side by side; see `Watched.save`."""
        if len(self) == 1:
            return self._episodes[0].save(path)
        return video.save(tiled([episode.frames for episode in self._episodes]), self._episodes[0].rate, path)

    def _repr_html_(self) -> str:
        return str(import_module(_VIEW).player_html(self._episodes))

    def __repr__(self) -> str:
        if len(self) == 1:
            return repr(self._episodes[0])
        return f"<{len(self)} episodes: returns {', '.join(f'{total:g}' for total in self.returns[:8])}{', …' if len(self) > 8 else ''}>"


def _words(action: Any, names: Sequence[str]) -> str:
    if isinstance(action, dict):
        return ", ".join(f"{key} {_words(value, ())}" for key, value in action.items())
    if isinstance(action, tuple):
        return f"({', '.join(_words(value, ()) for value in action)})"
    array = np.asarray(action)
    if array.ndim == 0:
        value = array.item()
        if isinstance(value, int) and 0 <= value < len(names):
            return names[value]
        return f"{value:.2f}" if isinstance(value, float) else str(value)
    shown = [f"{value:.2f}" if isinstance(value, float) else str(value) for value in array.ravel()[:8].tolist()]
    return f"[{', '.join(shown)}{', …' if array.size > 8 else ''}]"
