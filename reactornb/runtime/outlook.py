"""How far a run is and how long it takes yet, for who shows it: by environment steps where its program says how many it takes, by the time that it may
take, and by logical time.

A program says so by `total_timesteps` and `max_seconds`, of its `settings`, its `config`, or itself. Used by one thread, which only reads the run.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple, Protocol

from reactornb.tags import Tag, format_ns

__all__ = ["Ahead", "Outlook", "Pace", "clock"]

_WINDOW_S = 60.0
_APART_S = 1.0


class Ahead(NamedTuple):
    """How far a run is.

    Attributes:
        share: of what it does until it ends, in [0, 1]; of several limits the one that it is nearest to.
        left_s: physical seconds until then; None if that cannot be said yet.
        words: of each limit: `steps 1,000 of 4,000 (25 %, 12 s left)`.
    """

    share: float
    left_s: float | None
    words: list[str]


class Pace:
    """How fast something gets done, over the last minute."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque()

    def left_s(self, seconds: float, done: float, total: float) -> float | None:
        """How many seconds it takes until `total` is done, if it goes on as in the last minute; None as long as that cannot be said.

        Args:
            seconds: since the run began.
            done: how much is.
            total: how much there is to do.
        """
        seen = self._seen
        if not seen or seconds - seen[-1][0] >= _APART_S:
            seen.append((seconds, done))
        while len(seen) > 2 and seen[1][0] < seconds - _WINDOW_S:
            seen.popleft()
        if done >= total:
            return 0.0
        then, had = seen[0]
        if seconds - then >= _APART_S and done > had:
            return (total - done) * (seconds - then) / (done - had)
        return seconds * (total - done) / done if done > total / 100 else None


class Watched(Protocol):
    """A run as `Outlook` uses it."""

    @property
    def is_alive(self) -> bool: ...
    @property
    def seconds(self) -> float: ...
    @property
    def tag(self) -> Tag: ...
    @property
    def options(self) -> Any: ...
    @property
    def program(self) -> Any: ...


class Outlook:
    """How far one run is.

    Args:
        run: the run.

    Attributes:
        total_steps: environment steps that it takes in all; None if its program does not say.
        max_s: physical seconds after which it ends; None likewise.
    """

    def __init__(self, run: Watched) -> None:
        self._run = run
        root = run.program.root
        self.total_steps = _limit(root, "total_timesteps")
        self.max_s = _limit(root, "max_seconds")
        self._steps, self._time = Pace(), Pace()

    def look(self, steps: float) -> Ahead | None:
        """How far it is; None for a run without an end.

        Args:
            steps: environment steps so far.
        """
        run = self._run
        seconds, time_ns, until_ns = run.seconds, run.tag.time_ns, run.options.until_ns
        limits: list[tuple[float, float | None, str, str]] = []  # share, seconds left, done, of what
        if until_ns:
            left = self._time.left_s(seconds, time_ns, until_ns)
            limits.append((time_ns / until_ns, left, format_ns(time_ns), format_ns(until_ns)))
        if self.total_steps and steps:
            left = self._steps.left_s(seconds, steps, self.total_steps)
            limits.append((steps / self.total_steps, left, f"steps {steps:,.0f}", f"{self.total_steps:,.0f}"))
        if self.max_s:
            limits.append((seconds / self.max_s, max(self.max_s - seconds, 0.0), clock(seconds), clock(self.max_s)))
        if not limits:
            return None
        share = min(max(share for share, *_ in limits), 1.0)
        lefts = [left for _, left, *_ in limits if left is not None] if run.is_alive else []
        return Ahead(share, min(lefts, default=None), [_words(*limit, alive=run.is_alive) for limit in limits])


def _words(share: float, left_s: float | None, done: str, total: str, *, alive: bool) -> str:
    left = f", {clock(left_s)} left" if left_s is not None and alive and share < 1 else ""
    return f"{done} of {total} ({100 * min(share, 1.0):.0f} %{left})"


def _limit(root: Any, name: str) -> float | None:
    """A limit of a program, a positive number; None if it has none."""
    for owner in (getattr(root, "settings", None), getattr(root, "config", None), root):
        value = getattr(owner, name, None)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
            return value
    return None


def clock(seconds: float) -> str:
    """`12 s`, `4:10 min`, `2:04:10`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02} min"
