"""Displays of a timeline: windows of it for a panel, a picture, text, and files.

Reactions of one class have one color, so the members of a bank look alike. `TimelineView` reads a
`Timeline` and knows no widget; the panel is `timeline_panel.py`.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from reactornb.runtime.timeline import Timeline
from reactornb.tags import format_ns
from reactornb.viz.spans import Drawn, decimate, tag_changes

__all__ = ["COLORS", "Frame", "TimelineView"]

# Okabe and Ito's palette, told apart by everyone (black and yellow are lost on one of the two themes), and Tol's "muted" for more.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#882255", "#999933", "#6a5acd", "#44aa99")
_MUTED = "#7c8796"  # readable on white and on black
_W, _LEFT, _TOP, _LANE, _BOTTOM = 900, 104, 42, 26, 22
_LONG = 17  # letters of a label that surely fit into _LEFT
_MOST_TAGS = 60


@dataclass(frozen=True, slots=True)
class Frame:
    """A window of a timeline, with the spans to draw.

    Attributes:
        begin_ns, end_ns: the window, in ns since the run began.
        bins: pixels.
        lanes: per worker its spans, or None if it ran nothing yet.
        tags: (ns since the run began, time and microstep) of each tag's begin; None if there are too many to distinguish.
    """

    begin_ns: int
    end_ns: int
    bins: int
    lanes: list[Drawn | None]
    tags: list[tuple[int, int, int]] | None


class TimelineView:
    """A timeline, prepared for display.

    Args:
        timeline: the timeline.

    Attributes:
        timeline: as given.
        kinds: classes of reactions such as `Rollout.on_weights`, in the graph's order; each has a color.
        kind_of: per reaction the number of its kind.
    """

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        graph = timeline.graph
        names = [f"{graph.reactors[r.reactor].cls.__name__}.{r.name.rpartition('.')[2]}" for r in graph.reactions]
        self.kinds = list(dict.fromkeys(names))
        number = {name: place for place, name in enumerate(self.kinds)}
        self.kind_of = [number[name] for name in names]

    def window(self, last_ns: int | None = None) -> tuple[int, int]:
        """The window of all kept spans, or of the last `last_ns` ns."""
        begin, end = self.timeline.begin_ns, self.timeline.end_ns
        if last_ns is not None:
            begin = max(begin, end - last_ns)
        return begin, max(end, begin + 1000)

    def frame(self, begin_ns: int, end_ns: int, bins: int, tags: int = _MOST_TAGS) -> Frame:
        """A window, reduced to so many pixels and at most so many tags."""
        end_ns = max(end_ns, begin_ns + 1)
        lanes = self.timeline.lanes
        drawn = [decimate(lane, begin_ns, end_ns, bins) if lane.count else None for lane in lanes]
        return Frame(begin_ns, end_ns, bins, drawn, tag_changes(lanes, begin_ns, end_ns, bins, tags))

    def shares(self) -> list[tuple[str, float]]:
        """Each kind with its share of all reactions' time so far, including spans that were dropped."""
        spent = [0] * len(self.kinds)
        for kind, took in zip(self.kind_of, self.timeline.totals(), strict=True):
            spent[kind] += took
        whole = sum(spent) or 1
        return [(name, took / whole) for name, took in zip(self.kinds, spent, strict=True)]

    def heading(self) -> str:
        """One line: the run, how many spans are kept, and how many were dropped."""
        timeline = self.timeline
        kept = sum(lane.count for lane in timeline.lanes)
        missing = f" · {timeline.dropped:,} earlier ones not kept" if timeline.dropped else ""
        return f"timeline of {timeline.title}: {kept:,} reactions in {seconds(timeline.end_ns - timeline.begin_ns)}{missing}"

    def text(self, window: tuple[int, int] | None = None) -> str:
        """The timeline in words: what each worker did, and which reactions took the time."""
        begin, end = window or self.window()
        lines = [self.heading(), f"from {moment(begin, end - begin)} to {moment(end, end - begin)} after the start:"]
        for lane in self.timeline.lanes:
            if not lane.count:
                lines.append(f"  {lane.where.label}: nothing yet")
                continue
            first, after = (int(i) for i in lane.begin.searchsorted((begin, end)))
            count = after - first
            spent = (
                int(lane.busy[after - 1] + lane.end[after - 1] - lane.begin[after - 1] - lane.busy[first])
                if count
                else 0
            )
            share = min(spent / (end - begin), 1.0)
            lines.append(f"  {lane.where.label}: {count:,} reactions, busy {share:.0%} of the time")
        costly = sorted(self.shares(), key=lambda row: -row[1])[:10]
        lines += ["share of all reactions' time:", *(f"  {name}  {share:.1%}" for name, share in costly)]
        return "\n".join(lines)

    def svg(self, window: tuple[int, int] | None = None) -> str:
        """The window as an SVG picture for saved notebooks and files, legible on light and dark.

        Args:
            window: in ns since the run began; all of it unless given.
        """
        begin, end = window or self.window()
        bins = _W - _LEFT - 8
        frame = self.frame(begin, end, bins, bins // 25)
        per_ns = bins / (end - begin)
        bottom = _TOP + _LANE * len(frame.lanes)
        legend, rows = self._legend()
        height = bottom + _BOTTOM + 16 * rows + 4
        out = [
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{_W}" height="{height}" viewBox="0 0 {_W} {height}" '
                f'font-family="Helvetica,Arial,sans-serif" font-size="11" fill="{_MUTED}">'
            ),
            f"<title>{html.escape(self.heading())}</title><desc>{html.escape(self.text((begin, end)))}</desc>",
            f'<text x="4" y="15" font-size="12">{html.escape(self.heading())}</text>',
        ]
        lines, room = [], 0.0
        for where, time_ns, microstep in frame.tags or ():
            x = _LEFT + (where - begin) * per_ns
            if where >= begin:
                lines.append(f"M{x:.1f},{_TOP - 12}V{bottom}")
            words = f"({format_ns(time_ns)}, {microstep})"
            if max(x, _LEFT) >= room and max(x, _LEFT) + 5.4 * len(words) < _W:
                out.append(f'<text x="{max(x, _LEFT) + 2:.1f}" y="{_TOP - 4}" font-size="9">{words}</text>')
                room = max(x, _LEFT) + 5.4 * len(words) + 8
        for number, (lane, drawn) in enumerate(zip(self.timeline.lanes, frame.lanes, strict=True)):
            y = _TOP + _LANE * number
            label = lane.where.label
            narrow = f' textLength="{_LEFT - 8}" lengthAdjust="spacingAndGlyphs"' if len(label) > _LONG else ""
            out.append(f'<text x="4" y="{y + 17}"{narrow}>{html.escape(label)}</text>')
            if drawn is not None:
                out += self._paths(lane, drawn, begin, per_ns, y + 3)
            out.append(f'<path d="M{_LEFT},{y + _LANE - 0.5}h{bins}" stroke="{_MUTED}" stroke-opacity=".35"/>')
        out.append(
            f'<path d="{"".join(lines)}" stroke="{_MUTED}" stroke-width=".7" stroke-dasharray="2 2" fill="none"/>'
        )
        out += [
            f'<text x="{x}" y="{bottom + 14}" text-anchor="{anchor}" font-size="9">{words}</text>'
            for x, anchor, words in (
                (_LEFT, "start", f"{moment(begin, end - begin)} after the start"),
                (_W - 8, "end", moment(end, end - begin)),
            )
        ]
        out.append(f'<g transform="translate(4,{bottom + _BOTTOM})">{legend}</g></svg>')
        return "\n".join(out)

    def _paths(self, lane: Any, drawn: Drawn, begin_ns: int, per_ns: float, y: int) -> Iterable[str]:
        """One path per color and opacity: a few kilobytes, however many spans."""
        paths: dict[tuple[int, int], list[str]] = {}
        reaction, tall = lane.reaction, _LANE - 6
        kinds = [self.kind_of[i] for i in reaction[drawn.single].tolist()]
        for kind, start, stop in zip(
            kinds, lane.begin[drawn.single].tolist(), lane.end[drawn.single].tolist(), strict=True
        ):
            left = max((start - begin_ns) * per_ns, 0.0)
            wide = min(max((stop - begin_ns) * per_ns - left, 0.6), _W - _LEFT - 8 - left)
            paths.setdefault((kind, 4), []).append(f"M{_LEFT + left:.1f},{y}h{wide:.1f}v{tall}h-{wide:.1f}z")
        kinds = [self.kind_of[i] for i in reaction[drawn.shown].tolist()]
        for kind, place, busy in zip(kinds, drawn.bins.tolist(), drawn.busy.tolist(), strict=True):
            paths.setdefault((kind, 1 + round(3 * busy)), []).append(f"M{_LEFT + place},{y}h1v{tall}h-1z")
        return [
            f'<path d="{"".join(parts)}" fill="{COLORS[kind % len(COLORS)]}" fill-opacity="{opacity / 4}"/>'
            for (kind, opacity), parts in paths.items()
        ]

    def _legend(self) -> tuple[str, int]:
        parts, x, row = [], 0.0, 0
        for place, (name, share) in enumerate(self.shares()):
            words = f"{name} {share:.0%}"
            if x and x + 26 + 6 * len(words) > _W:
                x, row = 0.0, row + 1
            color = COLORS[place % len(COLORS)]
            parts.append(f'<rect x="{x:.0f}" y="{16 * row}" width="9" height="9" fill="{color}"/>')
            parts.append(f'<text x="{x + 13:.0f}" y="{16 * row + 9}">{html.escape(words)}</text>')
            x += 26 + 6 * len(words)
        return "".join(parts), row + 1


def seconds(ns: int) -> str:
    """A physical duration as text: `12.3 ms`."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if abs(ns) >= size:
            return f"{ns / size:.4g} {unit}"
    return f"{ns} ns"


def moment(ns: int, length_ns: int) -> str:
    """An instant in seconds, with the decimals that an axis of this length needs."""
    decimals = min(max(11 - len(str(max(length_ns, 1))), 0), 9)
    return f"{ns / 1e9:.{decimals}f} s"
