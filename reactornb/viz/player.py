"""Episodes as a player in a page: pictures with a bar to go to any step, the return so far and the action; several episodes run side by side.

What it makes is HTML with our own script and nothing from the net. It goes on playing in a saved notebook, and where scripts do not run there is the
browser's own player. It knows of an episode what `Episode` says, and neither environments nor policies.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable, Sequence
from typing import Any, Protocol
from uuid import uuid4

import numpy as np

from reactornb.viz.assets import asset

__all__ = ["Episode", "player_cells", "player_data", "player_html"]

MOST_BYTES = 24_000_000  # of single pictures in a page


class Episode(Protocol):
    """What is shown of an episode.

    Attributes:
        size: of a frame, (height, width).
        count: of the frames, one more than rewards.
        rewards: of each step.
        rate: frames of a second.
        label: whose it is.
    """

    size: tuple[int, int]
    count: int
    rewards: Sequence[float]
    rate: float
    label: str

    @property
    def mp4(self) -> bytes | None:
        """It as MP4, None where there is no encoder."""
        ...

    def still(self, place: int) -> bytes:
        """One of its frames as PNG."""
        ...

    def action_words(self) -> list[str]:
        """Its actions in words."""
        ...


def player_html(episodes: Iterable[Episode]) -> str:
    """A player of one episode, or of several side by side."""
    shown = list(episodes)
    name = f"rnb-{uuid4().hex[:12]}"
    data = json.dumps(player_data(shown), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return (
        f"<style>{asset('player.css')}</style>"
        f'<div class="rnb-player" id="{name}">{player_cells(shown)}</div>'
        f"<script>{asset('player.js')}rnbPlayer(document.getElementById({name!r}), {data});</script>"
    )


def player_cells(episodes: Iterable[Episode]) -> str:
    """The pictures alone, for a page that has the script."""
    shown = list(episodes)
    wide = 300 if len(shown) > 1 else 480
    return f'<div class="rnb-cells">{"".join(_cell(episode, wide) for episode in shown)}</div>'


def player_data(episodes: Iterable[Episode]) -> list[dict[str, Any]]:
    """What the page's script is told of episodes: all but the pictures."""
    return [
        {
            "rate": float(episode.rate),
            "label": episode.label,
            "rewards": [_plain(reward) for reward in episode.rewards],
            "actions": episode.action_words(),
            "frames": episode.count,
        }
        for episode in episodes
    ]


def _plain(value: float) -> float:
    return round(float(value), 6) if np.isfinite(value) else 0.0


def _cell(episode: Episode, wide: int) -> str:
    """One episode's pictures, so many pixels wide; half as much again where they are more than twice as wide as high."""
    words = html.escape(
        f"{episode.label + ': ' if episode.label else ''}{len(episode.rewards)} steps, return {sum(episode.rewards):g}"
    )
    height, width = episode.size
    wide = wide * 3 // 2 if width > 2 * height else wide
    look = f'width="{width}" height="{height}" style="width:{wide}px"'
    video = episode.mp4
    if video is not None:
        source = f"data:video/mp4;base64,{base64.b64encode(video).decode()}"
        picture = f'<video src="{source}" muted playsinline controls preload="auto" {look} title="{words}"></video>'
    else:
        pictures = json.dumps(_stills(episode), separators=(",", ":"))
        picture = f'<img alt="{words}" {look}><script type="application/json">{pictures}</script>'
    return f'<figure class="rnb-cell"><div class="rnb-picture">{picture}</div><figcaption>{words}</figcaption></figure>'


def _stills(episode: Episode) -> dict[str, Any]:
    """Single pictures, where there is no encoder; where all would be too much for a page, every second or third one stands for its neighbours."""
    count = episode.count
    every = 1 + len(episode.still(0)) * count // MOST_BYTES
    return {
        "every": every,
        "stills": [base64.b64encode(episode.still(place)).decode() for place in range(0, count, every)],
    }
