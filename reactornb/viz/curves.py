"""Static learning curves: a Matplotlib figure for papers and files, and a small SVG where widgets cannot run.

The live curves are in `run_view.py`; both read a run through `series.LogReader`.
"""

from __future__ import annotations

import html
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reactornb import files
from reactornb.errors import ReactorError
from reactornb.runtime import Result, Run
from reactornb.viz.series import LogReader, Series, axis_of, moving_mean, spread

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
    """The metrics of a live or ended run, in buckets.

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
            metrics_of_run[name].extend(metric.time_ns, metric.microstep, metric.values)
    if metrics is None:  # "steps" are counts, shown as a rate
        return {name: series for name, series in metrics_of_run.items() if name != "steps"}
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
    runs: Run | Result | Iterable[Run | Result],
    metrics: Iterable[str] | None = None,
    *,
    title: str = "",
    columns: int = 2,
    mean: bool = True,
    log: bool = False,
) -> Plot:
    """Learning curves as a Matplotlib figure, one axes per metric.

    One run: its values, their spread within each stretch of the axis, and a moving mean. Several: each run's moving mean,
    thin, and their mean, with a band from the least to the greatest run; see `series.spread`. If parameters other than the
    seed differ, there is a mean for each group of runs with the same parameters.

    Args:
        runs: a run or its result, alive or over, or several, such as one for each seed.
        metrics: which ones, in this order; all of them unless given.
        title: above the figure.
        columns: axes side by side.
        mean: if false, several runs are overlaid with a color and a label each, without mean and band.
        log: logarithmic y axes.

    Raises:
        ReactorError: if nothing was logged, or for a metric that was not.
    """
    several = [runs] if isinstance(runs, (Run, Result)) else list(runs)
    wanted = None if metrics is None else list(metrics)
    series_of_runs = [series_of(run, wanted) for run in several]
    names = list(dict.fromkeys(name for series in series_of_runs for name in series))
    if not names:
        raise ReactorError("there is nothing to plot: no reaction has called self.log(name=value) yet.")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(columns, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(4.6 * columns + 0.4, 2.9 * rows + (0.4 if title else 0)), layout="constrained")
    FigureCanvasAgg(figure)
    axis = axis_of(s for series in series_of_runs for s in series.values())
    for place, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, place + 1)
        own = [
            (_label(run), series[name]) for run, series in zip(several, series_of_runs, strict=True) if name in series
        ]
        if len(own) == 1:
            _draw_run(axes, own[0][1], axis, COLORS[place % len(COLORS)])
        elif mean:
            _draw_groups(axes, name, several, series_of_runs, axis, COLORS[place % len(COLORS)])
        else:
            for number_of, (label, series) in enumerate(own):
                x, values, _, _ = series.points(axis)
                axes.plot(x, moving_mean(values)[0], color=COLORS[number_of % len(COLORS)], linewidth=1.3, label=label)
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
        (f"{_label(run)}\n" if len(several) > 1 else "") + words(s)
        for run, s in zip(several, series_of_runs, strict=True)
    ]
    return Plot(figure, "\n".join(described))


def _label(run: Run | Result) -> str:
    return f"run {run.number}, seed {run.seed}" if isinstance(run, Run) else f"{run.workers} workers, {run.tag}"


def _is_line(x: Any) -> bool:
    """False for one or two values, or if all share one tag, as an evaluation logs its episodes: these are drawn as dots."""
    return len(x) >= 3 and bool(x[0] != x[-1])


def _draw_run(axes: Any, series: Series, axis: str, color: str) -> None:
    x, mean, least, greatest = series.points(axis)
    smooth, width = moving_mean(mean)
    dots = {} if _is_line(x) else {"marker": "o", "markersize": 3}
    if dots:
        axes.vlines(x, least, greatest, color=color, alpha=0.35)
    elif bool((greatest > least).any()):
        axes.fill_between(x, least, greatest, color=color, alpha=0.15, linewidth=0)
    if width > 1:
        axes.plot(x, mean, color=color, alpha=0.35, linewidth=0.8, **dots)
    label = f"mean of {width * series.per_bucket:,}" if width > 1 else None
    axes.plot(x, smooth, color=color, linewidth=1.6, label=label, **dots)


def _draw_groups(
    axes: Any,
    name: str,
    runs: Sequence[Run | Result],
    series_of_runs: Sequence[Mapping[str, Series]],
    axis: str,
    color: str,
) -> None:
    """The runs of each group as one mean with its spread."""
    groups: dict[str, list[tuple[Run | Result, Series]]] = {}
    for run, group, series in zip(runs, told_apart(runs), series_of_runs, strict=True):
        if name in series:
            groups.setdefault(group, []).append((run, series[name]))
    for place, (group, own) in enumerate(groups.items()):
        ink = color if len(groups) == 1 else COLORS[place % len(COLORS)]
        ended = [not isinstance(run, Run) or not run.is_alive for run, _ in own]
        _draw_spread(axes, [series for _, series in own], axis, ink, group, ended)


def _draw_spread(
    axes: Any, several: list[Series], axis: str, color: str, group: str = "", ended: list[bool] | None = None
) -> None:
    trends = [(x, moving_mean(values)[0]) for x, values, _, _ in (s.points(axis) for s in several)]
    thin = {"alpha": 0.35, "linewidth": 0.8} if len(trends) > 1 else {"linewidth": 1.6, "label": group or None}
    for x, trend in trends:
        axes.plot(x, trend, color=color, **thin)
    (grid, mean, least, greatest), held = spread(trends, ended=ended)
    if len(grid) and len(trends) > 1:
        about = f", {group}" if group else ""
        axes.fill_between(
            grid, least, greatest, color=color, alpha=0.18, linewidth=0, label=f"least to greatest{about}"
        )
        label = f"mean of {len(several)} runs{about}{' (last values held)' if held else ''}"
        axes.plot(grid, mean, color=color, linewidth=1.8, label=label)


def told_apart(runs: Sequence[Run | Result]) -> list[str]:
    """For each run the parameters, besides the seed, that differ from the other runs, such as "learning_rate=0.01"; "" if none do.

    Programs' names are compared first, then the parameters of the outermost reactors, then those of contained reactors.
    """
    programs = [run.program if isinstance(run, Run) else None for run in runs]
    facts: list[dict[str, str]] = []
    for program in programs:
        values = {} if program is None else {"": program.name}
        for node in () if program is None else program.graph.reactors:
            path = node.name.partition(".")[2]
            for name, value in node.parameters.items():
                if "seed" not in name:
                    values[f"{path}.{name}" if path else name] = _brief(value)
        facts.append(values)
    known = list(dict.fromkeys(name for values in facts for name in values))
    differing = [name for name in known if len({values.get(name, "") for values in facts}) > 1]
    # Differences in contained reactors usually follow from the outer ones, which say enough.
    outer = [name for name in differing if "." not in name]
    return [
        ", ".join(values[n] if not n else f"{n}={values[n]}" for n in (outer or differing[:3]) if n in values)
        for values in facts
    ]


def _brief(value: Any) -> str:
    """A parameter's value in a form that compares equal across programs."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (str, int, bool, type(None))):
        return str(value)
    if callable(value):  # the same lambda in two programs counts as equal
        return getattr(value, "__qualname__", type(value).__name__)
    shown = repr(value)
    return type(value).__name__ if " at 0x" in shown else shown[:60]


def words(series: Mapping[str, Series]) -> str:
    """The curves in words, one line each."""
    width = max((len(name) for name in series), default=0)
    lines = [
        f"{name:<{width}}  {number(s.last)}  ({s.count:,} values, {number(s.least)} to {number(s.greatest)})"
        for name, s in series.items()
    ]
    return "\n".join(lines) or "nothing logged yet"


_W, _H, _LEFT, _TOP, _BOTTOM = 330, 170, 46, 26, 22
_MUTED = "#7c8796"  # readable on white and on black


def curves_svg(
    metrics: Mapping[str, Series] | Sequence[Mapping[str, Series]], heading: str = "", columns: int = 2
) -> str:
    """The curves as one SVG picture for saved notebooks: no Matplotlib, a few kilobytes, legible on light and dark.

    Args:
        metrics: the metrics of a run, or of each of several runs, which are then overlaid in one color each.
        heading: lines above the curves.
        columns: charts side by side.
    """
    several = [metrics] if isinstance(metrics, Mapping) else list(metrics)
    names = list(dict.fromkeys(name for run in several for name in run))
    axis = axis_of(series for run in several for series in run.values())
    columns = max(1, min(columns, len(names)))
    lines, ink_of = _wrapped(heading.splitlines(), most=52 * max(columns, 2))
    top = 8 + 16 * len(lines) if lines else 0
    height = max(top + _H * -(-len(names) // columns), 28)
    width = _W * max(columns, 2 if lines else 1)
    described = "\n".join(words(run) for run in several)
    out = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" font-family="Helvetica,Arial,sans-serif" font-size="11" fill="{_MUTED}">'
        ),
        f"<title>{html.escape(heading)}</title><desc>{html.escape(described)}</desc>",
    ]
    for number_of, line in enumerate(lines):
        ink = f' fill="{COLORS[ink_of[number_of] % len(COLORS)]}"' if len(several) > 1 else ""
        out.append(f'<text x="4" y="{15 + 16 * number_of}" font-size="12"{ink}>{html.escape(line)}</text>')
    for place, name in enumerate(names):
        x, y = _W * (place % columns), top + _H * (place // columns)
        color = COLORS[place % len(COLORS)]
        curves = [
            (run[name], COLORS[i % len(COLORS)] if len(several) > 1 else color)
            for i, run in enumerate(several)
            if name in run
        ]
        out.append(f'<g transform="translate({x},{y})">')
        out += _chart(name, curves, axis)
        out.append("</g>")
    out.append("</svg>")
    return "\n".join(out)


def _wrapped(lines: Sequence[str], most: int) -> tuple[list[str], list[int]]:
    """Wrap lines at their " · " to about `most` characters; returns the new lines, and for each the number of its original."""
    wrapped: list[str] = []
    origins: list[int] = []
    for number_of, line in enumerate(lines):
        short = ""
        for part in line.split(" · "):
            if short and len(short) + len(part) + 3 > most:
                wrapped.append(short)
                origins.append(number_of)
                short = "    " + part
            else:
                short = f"{short} · {part}" if short else part
        wrapped.append(short)
        origins.append(number_of)
    return wrapped, origins


def _thinned(x: Any, values: Any, most: int = _W // 2) -> tuple[Any, Any]:
    """Reduce to at most `most` points: neighbours become their mean, at the x of the last of them."""
    by = -(-len(x) // most)
    if by == 1:
        return x, values
    first = np.arange(0, len(x), by)
    after = np.append(first[1:], len(x))
    return x[after - 1], np.add.reduceat(values, first) / (after - first)


def _chart(name: str, curves: Sequence[tuple[Series, str]], axis: str) -> list[str]:
    shown = [(series.points(axis), color) for series, color in curves]
    drawn = [(_thinned(points[0], points[1]), color) for points, color in shown]
    left, right = min(float(p[0][0]) for p, _ in drawn), max(float(p[0][-1]) for p, _ in drawn)
    bounds = [v for series, _ in curves for v in (series.least, series.greatest) if math.isfinite(v)]
    low, high = (min(bounds), max(bounds)) if bounds else (0.0, 1.0)
    wide, tall = _W - _LEFT - 14, _H - _TOP - _BOTTOM
    per_x, per_y = wide / ((right - left) or 1.0), tall / ((high - low) or 1.0)

    def path(x: Any, values: Any) -> str:
        seen = np.isfinite(values)
        places = np.array((_LEFT + (x[seen] - left) * per_x, _TOP + (high - values[seen]) * per_y)).T
        return " ".join(["%.1f,%.1f"] * len(places)) % tuple(places.ravel().tolist())  # one call for all of them

    last = number(curves[0][0].last) if len(curves) == 1 else ""
    out = [
        f'<text x="{_LEFT}" y="16" font-weight="bold">{html.escape(name)}</text>',
        f'<text x="{_W - 14}" y="16" text-anchor="end">{last}</text>',
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
    for ((x, mean), color), ((_, _, least, greatest), _) in zip(drawn, shown, strict=True):
        smooth, _ = moving_mean(mean)
        line = f'fill="none" stroke="{color}"'
        if not _is_line(x):
            places = (point.split(",") for point in path(x, mean).split())
            out += [f'<circle cx="{across}" cy="{down}" r="2" fill="{color}"/>' for across, down in places]
            if bool((greatest > least).any()):  # the spread of several values at one tag
                ends = zip(path(x, least).split(), path(x, greatest).split(), strict=True)
                out += [f'<path d="M{a}L{b}" {line} stroke-opacity="0.5"/>' for a, b in ends]
            continue
        if smooth is not mean and len(drawn) == 1:
            out.append(f'<polyline points="{path(x, mean)}" {line} stroke-opacity="0.35" stroke-width="0.8"/>')
        out.append(f'<polyline points="{path(x, smooth)}" {line} stroke-width="{1.6 if len(drawn) == 1 else 1.2}"/>')
    return out
