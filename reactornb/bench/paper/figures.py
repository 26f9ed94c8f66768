"""Charts as pictures: what was measured here, and beside it, hatched on grey, what the paper published for its machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reactornb import files
from reactornb.bench.paper.results import Chart, Series

__all__ = ["draw", "save", "stem"]

OURS = ("#c6dbef", "#9ecae1", "#6baed6", "#3182bd", "#08519c")
LIMITS = ("#bdbdbd", "#969696", "#636363", "#252525")
PEERS = {"ray": "#e6550d", "xronos": "#31a354", "Ray": "#e6550d", "Lingua Franca": "#756bb1"}
OTHERS = ("#08519c", "#e6550d", "#31a354", "#756bb1", "#636363", "#e7298a", "#66a61e", "#e6ab02", "#a6761d", "#17becf")


def stem(chart: Chart) -> str:
    """The name of its files, without ending."""
    return f"figure-{chart.number}-{'-'.join(chart.title.lower().split())}"


def save(chart: Chart, folder: Path) -> list[Path]:
    """Write it as SVG and PNG, and its points as JSON.

    Args:
        chart: the figure.
        folder: where to.

    Returns:
        The files.

    Raises:
        FileError: if one cannot be written.
    """
    import json
    from dataclasses import asdict

    import matplotlib as mpl

    figure = draw(chart)
    written = []
    with mpl.rc_context(
        {"svg.hashsalt": stem(chart), "svg.fonttype": "none"}
    ):  # the same file each time; text stays text
        for ending, options in (("svg", {"metadata": {"Date": None}}), ("png", {"dpi": 150})):
            path = folder / f"{stem(chart)}.{ending}"
            with files.whole(path) as file:
                figure.savefig(file, format=ending, **options)
            written.append(path)
    points = files.write(folder / f"{stem(chart)}.json", json.dumps(asdict(chart), indent=2) + "\n")
    return [*written, points]


def draw(chart: Chart) -> Any:
    """The `matplotlib.figure.Figure` of a chart."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context({"font.size": 9}):
        figure = Figure(figsize=(10.5, 4.6) if chart.published else (8.5, 4.6), layout="constrained")
        FigureCanvasAgg(figure)
        if chart.published:
            here, there = figure.subplots(1, 2, width_ratios=(2.3, 1), sharey=chart.lines)
            _published(there, chart)
        else:
            here = figure.subplots()
        (_lines if chart.lines else _bars)(here, chart.groups, chart.series)
        _dress(here, chart, "measured here")
        figure.suptitle(f"{chart.number}. {chart.title}", x=0.01, ha="left", fontsize=12, fontweight="bold")
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # laid out once, not anew for each kind of file
        return figure


def _published(axes: Any, chart: Chart) -> None:
    axes.set_facecolor("#f2f2f2")
    series = [
        Series(name, name, {group: (figure, figure, figure) for group, figure in points.items()})
        for name, points in chart.published.items()
    ]
    groups = list(next(iter(chart.published.values())))
    (_lines if chart.lines else _bars)(axes, groups, series, published=True)
    _dress(axes, chart, "published in the paper: another machine")


def _dress(axes: Any, chart: Chart, title: str) -> None:
    better = "more is better" if chart.more_is_better else "less is better"
    axes.set_title(title, fontsize=9, loc="left", color="#444444")
    axes.set_xlabel(chart.across)
    axes.set_ylabel(f"{chart.up} ({better})")
    axes.grid(axis="y", alpha=0.3, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7.5, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)


def _colors(series: Sequence[Series]) -> list[str]:
    """Blue for ours, from light to dark, grey for limits, a colour of its own for each peer."""
    count = sum(one.kind == "ours" for one in series)
    shades = [OURS[(len(OURS) - 1) * (at + 1) // count] for at in range(count)]
    ours, limits, others = iter(shades), iter(LIMITS), iter(OTHERS * 3)
    chosen = []
    for one in series:
        if one.kind == "ours":
            chosen.append(next(ours))
        elif one.kind == "limit":
            chosen.append(next(limits, LIMITS[-1]))
        else:
            chosen.append(PEERS.get(one.kind) or next(others))
    return chosen


def _lines(axes: Any, groups: Sequence[str], series: Sequence[Series], *, published: bool = False) -> None:
    least = 1e-3  # of what can be drawn on this axis
    for one, color in zip(series, _colors(series), strict=True):
        places = [groups.index(group) for group in one.points]
        middle, low, high = ([max(point[at], least) for point in one.points.values()] for at in range(3))
        style = {"linestyle": "--", "marker": "s"} if published or one.kind == "limit" else {"marker": "o"}
        axes.plot(places, middle, color=color, label=one.name, linewidth=1.6, markersize=4, **style)
        if not published:
            axes.fill_between(places, low, high, color=color, alpha=0.18, linewidth=0)
    axes.set_yscale("log")
    axes.set_xticks(range(len(groups)), groups)


def _bars(axes: Any, groups: Sequence[str], series: Sequence[Series], *, published: bool = False) -> None:
    width = 0.84 / max(len(series), 1)
    for index, (one, color) in enumerate(zip(series, _colors(series), strict=True)):
        places = [groups.index(group) + (index - (len(series) - 1) / 2) * width for group in one.points]
        middle = [point[0] for point in one.points.values()]
        spread = [
            [max(point[0] - point[1], 0.0) for point in one.points.values()],
            [max(point[2] - point[0], 0.0) for point in one.points.values()],
        ]
        bars = axes.bar(
            places, middle, width * 0.94, label=one.name, color="white" if published else color,
            edgecolor=color, hatch="////" if published else None, linewidth=0.8,
            yerr=None if published else spread, error_kw={"elinewidth": 0.7, "ecolor": "#333333"},
        )  # fmt: skip
        many = len(groups) * len(series) > 16
        axes.bar_label(
            bars, [_short(value) for value in middle], fontsize=6 if many else 7, padding=2, rotation=90 if many else 0
        )
    axes.set_xticks(range(len(groups)), groups, rotation=20 if max(map(len, groups), default=0) > 14 else 0)
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.margins(y=0.14)


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
