"""Curves as one small SVG picture, where widgets cannot run: saved notebooks, comparisons, trees. No Matplotlib, a few kilobytes."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from reactornb.viz.axes import in_order, resolved
from reactornb.viz.labels import COLORS, number, words
from reactornb.viz.series import Series, is_line

__all__ = ["curves_svg"]

_UNITS = {"steps": " steps", "wall": " s", "episodes": " episodes", "time": " s", "microstep": "", "sample": ""}
_W, _H, _LEFT, _TOP, _BOTTOM = 330, 170, 46, 26, 22
_MUTED = "#7c8796"  # readable on white and on black


def curves_svg(
    metrics: Mapping[str, Series] | Sequence[Mapping[str, Series]],
    heading: str = "",
    columns: int = 2,
    axis: str | None = None,
) -> str:
    """The curves as one SVG picture for saved notebooks: no Matplotlib, a few kilobytes, legible on light and dark.

    Args:
        metrics: the metrics of a run, or of each of several runs, which are then overlaid in one color each.
        heading: lines above the curves.
        columns: charts side by side.
        axis: the x axis, see `axes.resolved`.
    """
    several = [metrics] if isinstance(metrics, Mapping) else list(metrics)
    names = in_order(name for run in several for name in run)
    axis = resolved(axis, (series for run in several for series in run.values()))
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


def _beside(value: float) -> str:
    """A value beside an axis, where there is room for eight characters."""
    words = number(value)
    return words if len(words) <= 8 else f"{value:.1e}"


def _chart(name: str, curves: Sequence[tuple[Series, str]], axis: str) -> list[str]:
    shown = [(series.points(axis), color) for series, color in curves]
    drawn = [(_thinned(points[0], points[1]), color) for points, color in shown]
    trends = [series.trend(axis) for series, _ in curves]
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
        f'<text x="{_LEFT - 5}" y="{at}" text-anchor="end" font-size="9">{_beside(v)}</text>'
        for at, v in ((_TOP + 7, high), (_TOP + tall, low))
    ]
    out += [
        f'<text x="{at}" y="{_H - 9}" text-anchor="{anchor}" font-size="9">{number(v)}{unit}</text>'
        for at, anchor, v, unit in ((_LEFT, "start", left, ""), (_W - 14, "end", right, _UNITS[axis]))
    ]
    for ((x, mean), color), ((_, _, least, greatest), _), (all_x, trend, width) in zip(
        drawn, shown, trends, strict=True
    ):
        line = f'fill="none" stroke="{color}"'
        if not is_line(x):
            places = (point.split(",") for point in path(x, mean).split())
            out += [f'<circle cx="{across}" cy="{down}" r="2" fill="{color}"/>' for across, down in places]
            if bool((greatest > least).any()):  # the spread of several values at one tag
                ends = zip(path(x, least).split(), path(x, greatest).split(), strict=True)
                out += [f'<path d="M{a}L{b}" {line} stroke-opacity="0.5"/>' for a, b in ends]
            continue
        if width > 1 and len(drawn) == 1:
            out.append(f'<polyline points="{path(x, mean)}" {line} stroke-opacity="0.35" stroke-width="0.8"/>')
        out.append(
            f'<polyline points="{path(*_thinned(all_x, trend))}" {line} stroke-width="{1.6 if len(drawn) == 1 else 1.2}"/>'
        )
    return out
