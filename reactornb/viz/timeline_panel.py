"""The timeline in a notebook: an anywidget over `TimelineView`. Its page side is `timeline_panel.js`, drawn on a canvas.

The page gets windows, not all spans: one binary buffer with as much detail as its pixels can show. It requests another window when the
user zooms or scrolls. While the run is alive and the panel follows it, `refresh` sends the newest window. Only the thread of the kernel's
loop sets traits; a message from the page may arrive on another thread and is passed on.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import traitlets

from reactornb.files import FileError
from reactornb.runtime.timeline import Lane, Timeline
from reactornb.tags import Tag
from reactornb.viz.assets import asset
from reactornb.viz.panel import Panel
from reactornb.viz.spans import Drawn
from reactornb.viz.timeline_view import COLORS, Frame, TimelineView

__all__ = ["TimelinePanel"]

_HEADERS = 2000  # bytes of a message without spans
_FOLLOWED_NS = 10_000_000_000  # ns of a live run that are shown at first
_SHORTEST_NS = 1000
_MOST_BINS = 24_000  # of all lanes together


class TimelinePanel(Panel):
    """Who ran what, when, on which worker and core, with tags and levels; zoomed by the page.

    Args:
        timeline: of a run, alive or over.
        last_ns: how many ns of physical time are shown at first; ten seconds of a living run, all of another, unless given.
        later: calls a function on the thread of the kernel's loop.

    Attributes:
        heading, words: the picture's text alternative, short and long.
        kinds: classes of reactions with their colors and their shares of the time.
        labels: per lane its label and, for the pointer, the same with more words.
        state: whether the run lives, whether the window follows it, and where it ends, in ns.
        frame: describes `spans`: `from`, `to` and `bins` of the data, `window` to be shown; per lane the number of spans and of
            crowded pixels, and the time since which spans are kept; tags; name, kind and level of the reactions in it.
        spans: the data; per lane the tag's time as float64, begin (relative to `from`) and length in ns as float32, reaction and
            microstep as int32; then for crowded pixels number, reaction and count as int32, and the busy share as float32.
        said: the result of the last command, as text.
    """

    _esm = asset("page.js", "timeline_picture.js", "timeline_panel.js")
    _css = asset("timeline_panel.css")

    heading = traitlets.Unicode("").tag(sync=True)
    words = traitlets.Unicode("").tag(sync=True)
    kinds: traitlets.List[Any] = traitlets.List().tag(sync=True)
    labels: traitlets.List[Any] = traitlets.List().tag(sync=True)
    state: traitlets.Dict[str, Any] = traitlets.Dict().tag(sync=True)
    frame: traitlets.Dict[str, Any] = traitlets.Dict().tag(sync=True)
    spans = traitlets.Bytes().tag(sync=True)
    said = traitlets.Unicode("").tag(sync=True)

    def __init__(
        self,
        timeline: Timeline,
        last_ns: int | None = None,
        later: Callable[[Callable[[], None]], None] = lambda fn: fn(),
        **options: Any,
    ) -> None:
        self.timeline = timeline
        self.view = TimelineView(timeline)
        self._later = later
        self._over = False
        self._width = 900
        self._asked = ""  # number of the page's request that the frame answers
        self._look_at_end(last_ns)
        labels = [[lane.where.label, lane.where.words] for lane in timeline.lanes]
        super().__init__(labels=labels, **self._all(), **options)
        self.on_msg(self._on_message)

    def _look_at_end(self, last_ns: int | None) -> None:
        alive = self.timeline.is_alive
        self._follows = alive
        # ns shown while the panel follows the run; None for everything.
        self._length: int | None = last_ns or (_FOLLOWED_NS if alive else None)
        self._window = self._newest()

    def show_end(self, last_ns: int | None = None) -> None:
        """Go to the initial window, on the loop's thread; `last_ns` as in the constructor."""
        self.timeline.refresh()
        self._look_at_end(last_ns)
        self._asked = ""
        self._set(self._all())

    def _newest(self) -> tuple[int, int]:
        end = self.timeline.now_ns
        begin = self.timeline.begin_ns if self._length is None else end - self._length
        return max(begin, 0), max(end, begin + _SHORTEST_NS, _SHORTEST_NS)

    def _all(self) -> dict[str, Any]:
        return {**self._status(), **self._picture()}

    def _status(self) -> dict[str, Any]:
        view = self.view
        return {
            "heading": view.heading(),
            "words": view.text(self._window),
            "kinds": [
                [name, COLORS[i % len(COLORS)], round(share, 4)] for i, (name, share) in enumerate(view.shares())
            ],
            "state": {"alive": self.run_is_alive, "follows": self._follows, "end": self.timeline.now_ns},
        }

    def _picture(self) -> dict[str, Any]:
        begin, end = self._window
        bins = max(min(self._width, _MOST_BINS // len(self.timeline.lanes)), 200)
        if (
            not self._follows
        ):  # half a window more on each side, so that the page can scroll before the next answer arrives
            beside = (end - begin) // 2
            begin, end, bins = max(begin - beside, 0), end + beside, 2 * bins
        frame = self.view.frame(begin, end, bins, bins // 8)
        parts: list[bytes] = []
        lanes: list[list[int]] = []
        seen: set[int] = set()
        for lane, drawn in zip(self.timeline.lanes, frame.lanes, strict=True):
            if drawn is None:
                lanes.append([0, 0, 0])
                continue
            lanes.append([len(drawn.single), len(drawn.bins), int(lane.begin[0]) if lane.dropped else 0])
            parts += _packed(lane, drawn, frame)
            seen.update(lane.reaction[drawn.single].tolist(), lane.reaction[drawn.shown].tolist())
        reactions = self.timeline.graph.reactions
        described = {
            "from": begin,
            "to": end,
            "bins": bins,
            "window": list(self._window),
            "asked": self._asked,
            "lanes": lanes,
            "tags": None if frame.tags is None else [[where, str(Tag(t, m))] for where, t, m in frame.tags],
            "names": {str(i): [reactions[i].name, self.view.kind_of[i], reactions[i].level] for i in seen},
        }
        return {"frame": described, "spans": b"".join(parts)}

    def refresh(self) -> bool:
        """Send changes to the page; returns false once the run is over and everything has been sent."""
        if self._over:
            return False
        alive = (
            self.run_is_alive
        )  # read before the timeline: if the run ends in between, one more refresh gets the rest
        known = self.timeline.end_ns
        changed = self.timeline.refresh()
        if not alive:
            self._follows = False
        elif self._follows:
            self._window = self._newest()
        self.sent_bytes = _HEADERS
        if self._follows or not alive or (changed and self._window[1] > known):
            self._set(self._all())
            self.sent_bytes += len(self.spans)
        else:
            self._set(self._status())
        self._over = not alive
        return alive

    def _set(self, values: dict[str, Any]) -> None:
        with self.hold_sync():
            for name, value in values.items():
                setattr(self, name, value)

    def _on_message(self, _widget: Any, message: Any, _buffers: Any) -> None:
        if isinstance(message, dict):
            self._later(lambda: self._answer(message))

    def _answer(self, message: dict[str, Any]) -> None:
        """Handle a message of the page; on the loop's thread."""
        match message:
            case {"do": "look", "from": int() | float() as begin, "to": int() | float() as end}:
                self._look(int(begin), int(end), message)
            case {"do": "svg"}:
                self.send({"save": f"{self._name()}.svg"}, buffers=[self.view.svg(self._window).encode()])
            case {"do": "trace"}:
                # Beside the notebook, since it may be too large for a message; on a thread, since it may take seconds.
                path = Path(f"{self._name()}.json")
                self.said = f"saving {path} …"
                threading.Thread(
                    target=self._save, args=(self.timeline.anew, path), name="timeline-save", daemon=True
                ).start()

    def _look(self, begin: int, end: int, message: dict[str, Any]) -> None:
        width = message.get("width")
        self._width = min(max(width, 200), 4000) if isinstance(width, int) else self._width
        self._follows = bool(message.get("follow")) and self.run_is_alive
        self._asked = str(message.get("asked", ""))
        if message.get("all"):
            self._length = None
            self._window = self._newest()
        elif not message.get("resize"):
            self._length = max(end - begin, _SHORTEST_NS)
            self._window = self._newest() if self._follows else (max(begin, 0), max(begin, 0) + self._length)
        self._set(self._all())

    def _save(self, anew: Callable[[], Timeline], path: Path) -> None:
        try:
            said = f"saved {anew().save(path).resolve()}; open it at ui.perfetto.dev or in chrome://tracing"
        except FileError as error:
            said = str(error)
        self._later(lambda: setattr(self, "said", said))

    def _name(self) -> str:
        """`main-3-timeline` for run 3 of main."""
        number, _, program = self.timeline.title.removeprefix("run ").partition(" of ")
        return re.sub(r"[^\w.-]+", "_", f"{program or 'run'}-{number}-timeline")

    def static(self) -> dict[str, str]:
        """The panel's static fallback: MIME type to content."""
        svg = self.view.svg(self._window)
        html = self.below(svg)
        return {"text/plain": self.view.text(self._window), "image/svg+xml": svg, "text/html": html}

    @property
    def run_is_alive(self) -> bool:
        """True until the last tag of the run is done."""
        return self.timeline.is_alive


def _packed(lane: Lane, drawn: Drawn, frame: Frame) -> list[bytes]:
    single = drawn.single
    begin = lane.begin[single]
    columns: list[tuple[Any, str]] = [
        (lane.time_ns[single], "<f8"),
        (begin - frame.begin_ns, "<f4"),
        (lane.end[single] - begin, "<f4"),
        (lane.reaction[single], "<i4"),
        (lane.microstep[single], "<i4"),
        (drawn.bins, "<i4"),
        (lane.reaction[drawn.shown], "<i4"),
        (drawn.counts, "<i4"),
        (drawn.busy, "<f4"),
    ]
    return [numpy.asarray(values).astype(kind).tobytes() for values, kind in columns]
