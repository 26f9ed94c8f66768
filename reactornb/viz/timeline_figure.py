"""A window of a timeline as a Matplotlib figure, for papers and .png files."""

from __future__ import annotations

from reactornb.tags import format_ns
from reactornb.viz.curves import Plot
from reactornb.viz.timeline_view import COLORS, TimelineView

__all__ = ["figure"]

_BINS = 1600


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
    made = Figure(figsize=(10, 1.5 + 0.42 * len(lanes)), layout="constrained")
    FigureCanvasAgg(made)
    axes = made.add_subplot()
    boxes, colors = [], []
    wide = (end - begin) / _BINS
    for worker, (lane, drawn) in enumerate(zip(lanes, frame.lanes, strict=True)):
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
        low, high = worker + 0.12, worker + 0.88
        for left, right, index, strength in rows:
            a, b = left / 1e9, right / 1e9
            boxes.append([(a, low), (b, low), (b, high), (a, high)])
            colors.append((COLORS[view.kind_of[index] % len(COLORS)], strength))
    axes.add_collection(PolyCollection(boxes, facecolors=colors, linewidths=0))
    axes.set_xlim(begin / 1e9, end / 1e9)
    axes.set_ylim(len(lanes), 0)
    axes.set_yticks(
        [worker + 0.5 for worker in range(len(lanes))], [f"worker {w}{lane.core}" for w, lane in enumerate(lanes)]
    )
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
    made.legend(handles=patches, loc="outside lower left", fontsize=7, frameon=False, ncols=4)
    return Plot(made, view.text(window))
