"""Learning curves that stand still: a Matplotlib figure for papers and files, a small SVG where no widget can run.

The live curves are in `run_view.py`; both read a run through `series.LogReader`.
"""

from __future__ import annotations

import html
import io
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reactornb.errors import ReactorError
from reactornb.runtime import Result, Run
from reactornb.viz.series import LogReader, Series, axis_of, moving_mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["AXES", "Plot", "curves_svg", "number", "plot", "series_of"]

AXES = {"time": "logical time, s", "microstep": "microstep", "sample": "values logged"}
# Okabe and Ito's palette, told apart by everyone; black and yellow are left out, being lost on one of the two themes.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")


def number(value: float) -> str:
    """A value as a legend shows it: `153.2`, `1,234,567`, `2.5e-05`."""
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.4g}"


def series_of(run: Run | Result, metrics: Iterable[str] | None = None, capacity: int = 2000) -> dict[str, Series]:
    """The metrics of a run, alive or over, in buckets.

    Raises:
        ReactorError: for a metric that was not logged.
    """
    if isinstance(run, Run):
        reader = LogReader(run, capacity)
        reader.read()
        found = reader.series
    else:
        found = {}
        for name, rows in run.metrics.items():
            found[name] = Series(capacity)
            found[name].extend([t.time_ns for t, _ in rows], [t.microstep for t, _ in rows], [v for _, v in rows])
    if metrics is None:  # "steps" are counts, shown as a rate
        return {name: series for name, series in found.items() if name != "steps"}
    wanted = list(metrics)
    for name in wanted:
        if name not in found:
            known = ", ".join(found) or "none so far"
            raise ReactorError(f"no metric {name!r} was logged; there are: {known}.")
    return {name: found[name] for name in wanted}


class Plot:
    """A Matplotlib figure that displays itself, without touching pyplot's state.

    Attributes:
        figure: the `matplotlib.figure.Figure`.
    """

    def __init__(self, figure: Figure, words: str) -> None:
        self.figure = figure
        self._words = words

    def save(self, path: str | Path, **options: Any) -> Path:
        """Write to a file; its ending names the format (.png, .svg, .pdf). `options` go to Matplotlib's `savefig`."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.figure.savefig(path, **{"dpi": 144, **options})
        return path

    def _repr_png_(self) -> bytes:
        out = io.BytesIO()
        self.figure.savefig(out, format="png", dpi=110)
        return out.getvalue()

    def __repr__(self) -> str:
        return self._words


def plot(run: Run | Result, metrics: Iterable[str] | None = None, *, title: str = "", columns: int = 2) -> Plot:
    """The learning curves of a run as a Matplotlib figure, one axes per metric: values, their spread, and a moving mean.

    Args:
        run: a run, alive or over, or its result.
        metrics: which ones, in this order; all of them unless given.
        title: above the figure.
        columns: axes side by side.

    Raises:
        ReactorError: if nothing was logged, or for a metric that was not.
    """
    found = series_of(run, metrics)
    if not found:
        raise ReactorError("there is nothing to plot: no reaction has called self.log(name=value) yet.")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(columns, len(found))
    rows = -(-len(found) // columns)
    figure = Figure(figsize=(4.6 * columns + 0.4, 2.9 * rows + (0.4 if title else 0)), layout="constrained")
    FigureCanvasAgg(figure)
    axis = axis_of(found.values())
    for place, (name, series) in enumerate(found.items()):
        axes = figure.add_subplot(rows, columns, place + 1)
        color = COLORS[place % len(COLORS)]
        x, mean, least, greatest = series.points(axis)
        smooth, width = moving_mean(mean)
        if series.per_bucket > 1:
            axes.fill_between(x, least, greatest, color=color, alpha=0.15, linewidth=0)
        if width > 1:
            axes.plot(x, mean, color=color, alpha=0.35, linewidth=0.8)
        label = f"mean of {width * series.per_bucket:,}" if width > 1 else None
        axes.plot(x, smooth, color=color, linewidth=1.6, label=label, marker="o" if len(x) < 3 else None, markersize=3)
        axes.set_title(name, fontsize=10, loc="left")
        axes.set_xlabel(AXES[axis], fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        if label:
            axes.legend(fontsize=7, frameon=False)
    if title:
        figure.suptitle(title, fontsize=11)
    return Plot(figure, words(found))


def words(found: Mapping[str, Series]) -> str:
    """The curves in words, one line each."""
    width = max((len(name) for name in found), default=0)
    lines = [
        f"{name:<{width}}  {number(s.last)}  ({s.count:,} values, {number(s.least)} to {number(s.greatest)})"
        for name, s in found.items()
    ]
    return "\n".join(lines) or "nothing logged yet"


_W, _H, _LEFT, _TOP, _BOTTOM = 330, 170, 46, 26, 22
_MUTED = "#7c8796"  # readable on white and on black


def curves_svg(found: Mapping[str, Series], heading: str = "", columns: int = 2) -> str:
    """The curves as one SVG picture for saved notebooks: no Matplotlib, a few kilobytes, legible on light and dark."""
    axis = axis_of(found.values())
    columns = max(1, min(columns, len(found)))
    top = 24 if heading else 0
    height = top + _H * -(-len(found) // columns)
    out = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{_W * columns}" height="{max(height, 28)}" '
            f'viewBox="0 0 {_W * columns} {max(height, 28)}" font-family="Helvetica,Arial,sans-serif" font-size="11" fill="{_MUTED}">'
        ),
        f"<title>{html.escape(heading)}</title><desc>{html.escape(words(found))}</desc>",
    ]
    if heading:
        out.append(f'<text x="4" y="15" font-size="12">{html.escape(heading)}</text>')
    for place, (name, series) in enumerate(found.items()):
        x, y = _W * (place % columns), top + _H * (place // columns)
        out.append(f'<g transform="translate({x},{y})">')
        out += _chart(name, series, axis, COLORS[place % len(COLORS)])
        out.append("</g>")
    out.append("</svg>")
    return "\n".join(out)


def _chart(name: str, series: Series, axis: str, color: str) -> list[str]:
    x, mean, _least, _greatest = series.points(axis)
    smooth, _ = moving_mean(mean)
    left, right = float(x[0]), float(x[-1])
    low, high = series.least, series.greatest
    if not (math.isfinite(low) and math.isfinite(high)):
        low, high = 0.0, 1.0
    wide, tall = _W - _LEFT - 14, _H - _TOP - _BOTTOM
    per_x, per_y = wide / ((right - left) or 1.0), tall / ((high - low) or 1.0)

    def path(values: Any) -> str:
        points = [
            f"{_LEFT + (a - left) * per_x:.1f},{_TOP + (high - v) * per_y:.1f}"
            for a, v in zip(x.tolist(), values.tolist(), strict=True)
            if math.isfinite(v)
        ]
        return " ".join(points)

    out = [
        f'<text x="{_LEFT}" y="16" font-weight="bold">{html.escape(name)}</text>',
        f'<text x="{_W - 14}" y="16" text-anchor="end">{number(series.last)}</text>',
        f'<path d="M{_LEFT},{_TOP}v{tall}h{wide}" fill="none" stroke="{_MUTED}" stroke-width="0.7"/>',
    ]
    out += [
        f'<text x="{_LEFT - 5}" y="{at}" text-anchor="end" font-size="9">{number(v)}</text>'
        for at, v in ((_TOP + 7, high), (_TOP + tall, low))
    ]
    out += [
        f'<text x="{at}" y="{_H - 9}" text-anchor="{anchor}" font-size="9">{number(v)}{unit}</text>'
        for at, anchor, v, unit in (
            (_LEFT, "start", left, ""),
            (_W - 14, "end", right, {"time": " s", "microstep": "", "sample": ""}[axis]),
        )
    ]
    if smooth is not mean:
        out.append(
            f'<polyline points="{path(mean)}" fill="none" stroke="{color}" stroke-opacity="0.35" stroke-width="0.8"/>'
        )
    out.append(f'<polyline points="{path(smooth)}" fill="none" stroke="{color}" stroke-width="1.6"/>')
    return out
