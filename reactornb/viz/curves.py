"""Static learning curves: a Matplotlib figure for papers and files.

The live curves are in `run_view.py`; both read a run through `series.LogReader`. Pictures for where widgets cannot run are `curves_picture`'s.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reactornb import files
from reactornb.errors import ReactorError
from reactornb.runtime import Run
from reactornb.viz.axes import AXES, checked_axis, in_order, resolved, shown
from reactornb.viz.labels import (
    COLORS,
    grouped,
    label_of,
    legends,
    marks_of,
    number,
    told_apart,
    words,
)
from reactornb.viz.series import LogReader, Series, is_line, on_one_grid
from reactornb.viz.statistics import bands

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from reactornb.viz.labels import AnyRun, SomeRuns

__all__ = ["AXES", "COLORS", "Plot", "number", "plot", "series_of", "told_apart"]

_RETURNS = ("episode_return", "eval_return")  # whose y axes are the same: training and evaluation are compared


def series_of(run: AnyRun, metrics: Iterable[str] | None = None, capacity: int = 2000) -> dict[str, Series]:
    """The metrics of a live or ended run, in buckets; all that `axes.shown` shows unless given.

    Raises:
        ReactorError: for a metric that was not logged.
    """
    if isinstance(run, Run):
        reader = LogReader(run, capacity)
        reader.read()
        metrics_of_run = reader.series
    else:
        metrics_of_run = {}
        for name, metric in run.metrics.items():
            metrics_of_run[name] = Series(capacity)
            metrics_of_run[name].extend_by(metric)
    if metrics is None:
        return {name: metrics_of_run[name] for name in shown(metrics_of_run)}
    wanted = list(metrics)
    for name in wanted:
        if name not in metrics_of_run:
            known = ", ".join(metrics_of_run) or "none so far"
            raise ReactorError(f"no metric {name!r} was logged; there are: {known}.")
    return {name: metrics_of_run[name] for name in wanted}


class Plot:
    """A Matplotlib figure that displays itself, without touching pyplot's state.

    Attributes:
        figure: the `matplotlib.figure.Figure`.
    """

    def __init__(self, figure: Figure, words: str) -> None:
        self.figure = figure
        self._words = words

    def save(self, path: str | Path, **options: Any) -> Path:
        """Write to a file; its ending names the format (.png, .svg, .pdf). `options` go to Matplotlib's `savefig`.

        Raises:
            ReactorError: for an ending that is no format.
            FileError: if it cannot be written; then an existing file is unchanged.
        """
        path = Path(path)
        options = {"dpi": 144, "format": path.suffix[1:].lower() or "png", **options}
        known = self.figure.canvas.get_supported_filetypes()
        if options["format"] not in known:
            raise ReactorError(f"{path.name}: curves are saved as .png, .svg, .pdf or one of {', '.join(known)}.")
        with files.whole(path) as file:
            self.figure.savefig(file, **options)
        return path

    def _repr_png_(self) -> bytes:
        out = io.BytesIO()
        self.figure.savefig(out, format="png", dpi=110)
        return out.getvalue()

    def __repr__(self) -> str:
        return self._words


def plot(
    runs: SomeRuns,
    metrics: Iterable[str] | None = None,
    *,
    x: str | None = None,
    title: str = "",
    columns: int = 2,
    mean: bool = True,
    iqm: bool = False,
    log: bool = False,
) -> Plot:
    """Learning curves as a Matplotlib figure, one axes per metric, returns first, over environment steps where any were counted.

    One run: its values, their spread within each stretch of the axis, and a trend (of episodes the mean of the last 100, but at most of a
    tenth of all), with a mark where a parameter was changed. Several: each run's trend, thin, and their mean, with a band from the least
    to the greatest run; see `series.spread`. If parameters other than the seed differ, there is a mean for each group of runs with the
    same parameters. Groups can be given names: `plot({"lr 1e-3": runs, "lr 1e-4": others})`.

    Args:
        runs: a run or its result, alive or over, or several, such as one for each seed; or such by the names of their groups.
        metrics: which ones, in this order; all of them unless given.
        x: the x axis: "steps", "wall" (s since the start), "episodes" or "tag"; "steps" unless nobody logged any.
        title: above the figure.
        columns: axes side by side.
        mean: if false, several runs are overlaid with a color and a label each, without mean and band.
        iqm: the interquartile mean of the runs and its 95 % bootstrap interval, instead of the mean and the range.
        log: logarithmic y axes.

    Raises:
        ReactorError: if nothing was logged, for a metric that was not, and for an axis that there is not.
    """
    checked_axis(x)
    several, named = grouped(runs)
    wanted = None if metrics is None else list(metrics)
    series_of_runs = [series_of(run, wanted) for run in several]
    names = list(dict.fromkeys(name for series in series_of_runs for name in series))
    names = in_order(names) if wanted is None else names
    if not names:
        raise ReactorError("there is nothing to plot: no reaction has called self.log(name=value) yet.")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(columns, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(4.6 * columns + 0.4, 2.9 * rows + (0.4 if title else 0)), layout="constrained")
    FigureCanvasAgg(figure)
    axis = resolved(x, (s for series in series_of_runs for s in series.values()))
    groups = told_apart(several) if named is None else named
    labels = legends(several, groups)
    inks = {group: COLORS[place % len(COLORS)] for place, group in enumerate(dict.fromkeys(groups))}
    axes_by_name: dict[str, Any] = {}
    for place, name in enumerate(names):
        beside = axes_by_name.get(_RETURNS[0]) if name in _RETURNS else None
        axes = axes_by_name[name] = figure.add_subplot(rows, columns, place + 1, sharey=beside)
        color = COLORS[place % len(COLORS)]
        own = [at for at, series in enumerate(series_of_runs) if name in series]
        if len(own) == 1:
            at = own[0]
            _draw_run(axes, series_of_runs[at][name], axis, color, labels[at] if len(several) > 1 else "")
            _draw_marks(axes, several[at], series_of_runs[at][name], axis)
        elif mean:
            for group in dict.fromkeys(groups[at] for at in own):
                members = [(several[at], series_of_runs[at][name]) for at in own if groups[at] == group]
                _draw_group(axes, members, axis, inks[group] if len(inks) > 1 else color, group, iqm=iqm)
        else:
            for at in own:
                across, trend, _ = series_of_runs[at][name].trend(axis)
                axes.plot(across, trend, color=COLORS[at % len(COLORS)], linewidth=1.3, label=labels[at])
        axes.set_title(name, fontsize=10, loc="left")
        axes.set_xlabel(AXES[axis], fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        if log:
            axes.set_yscale("log")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=7, frameon=False)
    if title:
        figure.suptitle(title, fontsize=11)
    described = [
        (f"{label_of(run)}{f', {group}' if group else ''}\n" if len(several) > 1 else "") + words(s)
        for run, group, s in zip(several, groups, series_of_runs, strict=True)
    ]
    return Plot(figure, "\n".join(described))


def _draw_run(axes: Any, series: Series, axis: str, color: str, label: str = "") -> None:
    x, mean, least, greatest = series.points(axis)
    across, smooth, window = series.trend(axis)
    dots = {} if is_line(x) else {"marker": "o", "markersize": 3}
    if dots:
        axes.vlines(x, least, greatest, color=color, alpha=0.35)
    elif bool((greatest > least).any()):
        axes.fill_between(x, least, greatest, color=color, alpha=0.15, linewidth=0)
    if window > 1:
        axes.plot(x, mean, color=color, alpha=0.35, linewidth=0.8, **dots)
        of = f"{window:,} episodes" if series.is_of_episodes else f"{window:,}"
        label = f"{label}{', ' if label else ''}mean of {of}"
    axes.plot(across, smooth, color=color, linewidth=1.6, label=label or None, **dots)


def _draw_marks(axes: Any, run: AnyRun, series: Series, axis: str) -> None:
    """A line where a parameter was changed, with its words along it."""
    for mark in marks_of(run):
        x = series.x_before(mark.tag, axis)
        axes.axvline(x, color="#7c8796", linewidth=0.8, linestyle=(0, (4, 3)))
        axes.annotate(
            mark.words,
            (x, 0.98),
            (3, 0),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            rotation=90,
            va="top",
            fontsize=6,
            color="#7c8796",
            annotation_clip=True,
        )


def _draw_group(
    axes: Any, members: Sequence[tuple[AnyRun, Series]], axis: str, color: str, group: str, *, iqm: bool
) -> None:
    """The runs of a group: each thin, and together as one curve with a band."""
    trends = [series.trend(axis)[:2] for _, series in members]
    thin = {"alpha": 0.35, "linewidth": 0.8} if len(trends) > 1 else {"linewidth": 1.6, "label": group or None}
    for x, trend in trends:
        axes.plot(x, trend, color=color, **thin)
    ended = [not getattr(run, "is_alive", False) for run, _ in members]
    (grid, values), held = on_one_grid(trends, ended=ended)
    if not len(grid) or len(trends) == 1:
        return
    about = f", {group}" if group else ""
    if iqm:
        middle, low, high = bands(values)
        names = "95 % interval", "interquartile mean" if len(values) > 3 else "mean"  # which are the same up to three
    else:
        middle, low, high = values.mean(0), values.min(0), values.max(0)
        names = "least to greatest", "mean"
    axes.fill_between(grid, low, high, color=color, alpha=0.18, linewidth=0, label=f"{names[0]}{about}")
    label = f"{names[1]} of {len(members)} runs{about}{' (last values held)' if held else ''}"
    axes.plot(grid, middle, color=color, linewidth=1.8, label=label)
