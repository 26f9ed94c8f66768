"""A timeline as a file: a Chrome trace, a drawing, or a Matplotlib figure for papers."""

from __future__ import annotations

from pathlib import Path

from reactornb import files
from reactornb.errors import ReactorError
from reactornb.runtime.timeline import Timeline
from reactornb.tags import format_ns
from reactornb.viz.curves import Plot
from reactornb.viz.timeline_view import COLORS, TimelineView

__all__ = ["figure", "save_timeline"]

_BINS = 1600


def save_timeline(timeline: Timeline, path: str | Path, last_ns: int | None = None) -> Path:
    """Write a timeline to a file; the ending says as what: .json is the Chrome trace format, .svg and .png are pictures.

    Args:
        timeline: the timeline.
        path: the file.
        last_ns: of a picture, how many ns of physical time it shows, up to the end; all of it unless given.

    Raises:
        ReactorError: for another ending.
        FileError: if it cannot be written; then it is not there, or as it was.
    """
    path = Path(path)
    view = TimelineView(timeline)
    match path.suffix:
        case ".json":
            return timeline.save(path)
        case ".svg":
            return files.write(path, view.svg(view.window(last_ns)))
        case ".png" | ".pdf":
            return figure(view, view.window(last_ns)).save(path)
        case _:
            raise ReactorError(
                f"{path.name}: a timeline is saved as .json (Chrome trace format, for Perfetto), .svg, .png or .pdf."
            )


def figure(view: TimelineView, window: tuple[int, int]) -> Plot:
    """Draw it.

    Args:
        view: of the timeline.
        window: in ns since the run began.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import PolyCollection
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    begin, end = window
    frame = view.frame(begin, end, _BINS, 40)
    lanes = view.timeline.lanes
    picture = Figure(figsize=(10, 1.5 + 0.42 * len(lanes)), layout="constrained")
    FigureCanvasAgg(picture)
    axes = picture.add_subplot()
    boxes, colors = [], []
    wide = (end - begin) / _BINS
    for number, (lane, drawn) in enumerate(zip(lanes, frame.lanes, strict=True)):
        if drawn is None:
            continue
        rows = [
            (left, max(right, left + wide), index, 1.0)
            for left, right, index in zip(
                lane.begin[drawn.single].tolist(),
                lane.end[drawn.single].tolist(),
                lane.reaction[drawn.single].tolist(),
                strict=True,
            )
        ]
        rows += [
            (begin + place * wide, begin + (place + 1) * wide, index, 0.25 + 0.75 * busy)
            for place, busy, index in zip(
                drawn.bins.tolist(), drawn.busy.tolist(), lane.reaction[drawn.shown].tolist(), strict=True
            )
        ]
        low, high = number + 0.12, number + 0.88
        for left, right, index, strength in rows:
            a, b = left / 1e9, right / 1e9
            boxes.append([(a, low), (b, low), (b, high), (a, high)])
            colors.append((COLORS[view.kind_of[index] % len(COLORS)], strength))
    axes.add_collection(PolyCollection(boxes, facecolors=colors, linewidths=0))
    axes.set_xlim(begin / 1e9, end / 1e9)
    axes.set_ylim(len(lanes), 0)
    axes.set_yticks([number + 0.5 for number in range(len(lanes))], [lane.where.label for lane in lanes])
    axes.tick_params(labelsize=8, length=2)
    axes.set_xlabel("physical time since the start, s", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    for where, time_ns, microstep in frame.tags or ():
        if where >= begin:
            axes.axvline(where / 1e9, color="0.4", linewidth=0.6, linestyle=":")
            if len(frame.tags or ()) <= 12:
                axes.text(where / 1e9, -0.06, f"({format_ns(time_ns)}, {microstep})", fontsize=7, color="0.35")
    title = view.heading()
    axes.set_title(title, fontsize=10, loc="left", pad=16)
    patches = [
        Patch(color=COLORS[kind % len(COLORS)], label=f"{name} {share:.0%}")
        for kind, (name, share) in enumerate(view.shares())
    ]
    picture.legend(handles=patches, loc="outside lower left", fontsize=7, frameon=False, ncols=4)
    return Plot(picture, view.text(window))
