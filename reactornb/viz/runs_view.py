"""The table of all runs, and how some of them differ, as HTML that stands on its own and as text.

The HTML has its style and a small script within (`runs_table.js`: sorting and a box for searching): nothing is loaded from the net, and
without scripts it is still a table. It follows the page's theme through Jupyter's variables.
"""

from __future__ import annotations

import html
import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any
from uuid import uuid4

from reactornb.durable.comparison import Comparison, outermost, words_of
from reactornb.durable.runs import Runs
from reactornb.durable.stored import StoredRun
from reactornb.durable.summary import MetricSummary
from reactornb.tags import Tag
from reactornb.viz.assets import asset
from reactornb.viz.curves import series_of
from reactornb.viz.curves_picture import curves_svg
from reactornb.viz.labels import COLORS, number

__all__ = ["comparison_html", "comparison_text", "duration", "run_text", "runs_html", "runs_text", "spark_svg"]

_MOST = 100  # rows on a page
_METRICS = 4  # columns of metrics
_PARAMETERS = 6  # columns of parameters
_WIDE, _TALL, _POINTS = 84, 18, 42  # of a sparkline


def spark_svg(summary: MetricSummary, color: str = COLORS[0]) -> str:
    """A metric's curve as a picture within a line of text; empty for fewer than two numbers."""
    points = [value for value in summary.spark if math.isfinite(value)]
    if len(points) < 2:
        return ""
    by = -(-len(points) // _POINTS)
    points = [sum(points[i : i + by]) / len(points[i : i + by]) for i in range(0, len(points), by)]
    low, high = min(points), max(points)
    across = (_WIDE - 4) / max(len(points) - 1, 1)
    # Halved before they are subtracted: the difference of two floats may be infinite.
    half = high / 2 - low / 2
    down = [(high / 2 - v / 2) / half * (_TALL - 4) if half else (_TALL - 4) / 2 for v in points]
    places = " ".join(f"{2 + i * across:.0f},{2 + y:.1f}" for i, y in enumerate(down))
    said = f"{number(summary.last)}, {summary.count:,} values, {number(summary.least)} to {number(summary.greatest)}"
    return (
        f'<svg role="img" width="{_WIDE}" height="{_TALL}" viewBox="0 0 {_WIDE} {_TALL}"><title>{said}</title>'
        f'<polyline points="{places}" fill="none" stroke="{color}" stroke-width="1.3"/></svg>'
    )


def duration(seconds: float) -> str:
    """`12.5 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, left = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {left} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


# -- the table ------------------------------------------------------------------------------------------------------------


def _metric_names(runs: Sequence[StoredRun]) -> list[str]:
    """The metrics that most of these runs have; returns first, counts of steps never."""
    count = Counter(name for run in runs for name in run.summaries if name != "steps")
    return sorted(count, key=lambda name: (-count[name], "return" not in name and "reward" not in name, name))[
        :_METRICS
    ]


def _parameter_names(runs: Sequence[StoredRun]) -> tuple[list[str], int]:
    """The parameters in which these runs differ, the outermost first, and how many more there are."""
    rows = [{name: words_of(value) for name, value in run.parameters.items()} for run in runs]
    known = dict.fromkeys(name for row in rows for name in row)
    values = {name: [row.get(name, "") for row in rows] for name in known}
    differing = {name: own for name, own in values.items() if len(set(own)) > 1}
    names = sorted(outermost(differing), key=lambda name: (-sum(map(bool, values[name])), name.count("."), name))
    return names[:_PARAMETERS], len(names) - len(names[:_PARAMETERS])


def _clean[**P](make: Callable[P, str]) -> Callable[P, str]:
    """Half characters, which only a forged file has, become question marks: a page or a terminal takes none."""

    @wraps(make)
    def clean(*args: P.args, **options: P.kwargs) -> str:
        return make(*args, **options).encode("utf-8", "replace").decode()

    return clean


@_clean
def runs_html(runs: Runs) -> str:
    """The table: a row for each run, a column for what differs, sparklines of what they logged."""
    shown = list(runs[:_MOST])
    if not shown:
        return f'<div class="rnb-runs-none">{html.escape(_none(runs))}</div>'
    metrics, (parameters, more) = _metric_names(shown), _parameter_names(shown)
    seeds = len({run.seed for run in shown}) > 1
    programs = len({run.program for run in shown}) > 1
    heads = ["run", *(["program"] if programs else []), "state", "began", "duration", *(["seed"] if seeds else [])]
    heads += [name.partition(".")[2] or name for name in parameters]
    cells = [_head(name) for name in heads] + [_head(name, "rnb-metric") for name in metrics]
    rows = [_row(run, metrics, parameters, seeds=seeds, programs=programs) for run in shown]
    notes = []
    if len(runs) > len(shown):
        notes.append(f"the newest {len(shown)} of {len(runs):,} runs; where() chooses, sort() orders")
    if more:
        notes.append(f"{more} more parameters differ")
    caption = f"{len(runs):,} run{'s' if len(runs) > 1 else ''} in {html.escape(str(runs.root))}"
    if not programs and shown[0].program:
        caption += f", program {html.escape(shown[0].program)}"
    if notes:
        caption += f" ({html.escape('; '.join(notes))})"
    name = f"rnb-{uuid4().hex[:12]}"
    return (
        f"<style>{asset('runs_table.css')}</style>"
        f'<div class="rnb-runs" id="{name}"><table><caption>{caption}</caption>'
        f"<thead><tr>{''.join(cells)}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        f"<script>{asset('runs_table.js')}rnbRunsTable(document.getElementById({name!r}));</script>"
    )


def _head(name: str, kind: str = "") -> str:
    of_kind = f' class="{kind}"' if kind else ""
    return f'<th scope="col"{of_kind}>{html.escape(name)}</th>'


def _row(run: StoredRun, metrics: list[str], parameters: list[str], *, seeds: bool, programs: bool) -> str:
    name = html.escape(run.id)
    labels = "".join(f' <span class="rnb-label">{html.escape(word)}</span>' for word in run.labels)
    branch = ""
    if run.parent is not None:
        said = html.escape(f"a branch of {run.parent.run} at {run.parent.place}")
        branch = f' <span class="rnb-branch" title="{said}">↳ {html.escape(run.parent.run)}</span>'
    cells = [f'<th scope="row" data-v="{name}" title="{html.escape(_about(run))}">{name}{branch}{labels}</th>']
    if programs:
        cells.append(_cell(run.program))
    why = html.escape(run.problem or run.failure or "")
    state = run.state
    cells.append(
        f'<td data-v="{html.escape(state)}" title="{why}"><span class="rnb-state rnb-{html.escape(state)}">{html.escape(state)}</span></td>'
    )
    began = "" if run.began is None else f"{run.began:%Y-%m-%d %H:%M}"
    cells.append(_cell(began, run.about.get("began")))
    cells.append(_cell(duration(run.seconds), run.seconds))
    if seeds:
        cells.append(_cell("" if run.seed is None else str(run.seed), run.seed))
    own = run.parameters
    for full in parameters:
        value = own.get(full)
        cells.append(_cell(words_of(value) if full in own else "", value))
    for metric in metrics:
        summary = run.summaries.get(metric)
        if summary is None:
            cells.append("<td></td>")
        else:
            v = summary.last if math.isfinite(summary.last) else ""
            cells.append(
                f'<td class="rnb-metric" data-v="{v}">{spark_svg(summary)}<span>{number(summary.last)}</span></td>'
            )
    return f"<tr>{''.join(cells)}</tr>"


def _cell(words: str, value: Any = None) -> str:
    """A cell; it is sorted by its value if that is a number, else by its words."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300  # nor NaN
    return f'<td data-v="{value if is_number else html.escape(words)}">{html.escape(words)}</td>'


def _about(run: StoredRun) -> str:
    """What a row says when the mouse is over it."""
    lines = [f"tag {run.tag}, {run.checkpoint_count} checkpoints"]
    if run.change_count:
        lines.append(f"{run.change_count} parameters changed")
    if run.resumed_count:
        lines.append(f"resumed {run.resumed_count} times")
    if run.commit:
        lines.append(f"commit {run.commit[:12]}")
    if run.fingerprint:
        lines.append(f"fingerprint {run.fingerprint[:16]}")
    return "\n".join(lines)


def _none(runs: Runs) -> str:
    return f"There are no runs in {runs.root}. program.start(keep=NAME) or %reactor keep on keeps them."


@_clean
def runs_text(runs: Runs) -> str:
    """The table as text."""
    shown = list(runs[:_MOST])
    if not shown:
        return _none(runs)
    metrics, (parameters, _) = _metric_names(shown), _parameter_names(shown)
    heads = ["run", "program", "state", "began", "duration", "seed"]
    heads += [name.partition(".")[2] or name for name in parameters] + metrics
    rows = []
    for run in shown:
        own, summaries = run.parameters, run.summaries
        row = [
            f"{run.id}{''.join(f' [{word}]' for word in run.labels)}", run.program, run.state, "" if run.began is None else f"{run.began:%Y-%m-%d %H:%M}",
            duration(run.seconds), "" if run.seed is None else str(run.seed),
        ]  # fmt: skip
        row += [words_of(own[name]) if name in own else "" for name in parameters]
        row += [number(summaries[name].last) if name in summaries else "" for name in metrics]
        rows.append(row)
    more = [f"and {len(runs) - len(shown):,} more"] if len(runs) > len(shown) else []
    return "\n".join([*_aligned([heads, *rows]), *more])


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of columns; columns that are empty but for their head are left out."""
    columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
    widths = [max(map(len, column)) for column in columns]
    return [
        "  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in zip(*columns, strict=True)
    ]


# -- a comparison ---------------------------------------------------------------------------------------------------------


@_clean
def comparison_html(compared: Comparison) -> str:
    """What differs, in a table with a column for each run, and their curves overlaid in the columns' colors."""
    colors = [COLORS[i % len(COLORS)] for i in range(len(compared.runs))]
    heads = "".join(
        f'<th scope="col"><span class="rnb-dot" style="background:{color}"></span>{html.escape(name)}</th>'
        for name, color in zip(compared.names, colors, strict=True)
    )
    rows = []
    for title, table in _tables(compared):
        rows.append(f'<tr class="rnb-part"><th scope="rowgroup" colspan="{len(compared.runs) + 1}">{title}</th></tr>')
        for name, words in table.items():
            cells = "".join(f"<td>{html.escape(word)}</td>" for word in words)
            rows.append(f'<tr><th scope="row">{html.escape(name)}</th>{cells}</tr>')
    rows.append(f'<tr class="rnb-part"><th scope="rowgroup" colspan="{len(compared.runs) + 1}">last values</th></tr>')
    for name, summaries in _metrics(compared).items():
        cells = "".join(
            "<td></td>"
            if s is None
            else f'<td class="rnb-metric">{spark_svg(s, color)}<span>{number(s.last)}</span></td>'
            for s, color in zip(summaries, colors, strict=True)
        )
        rows.append(f'<tr><th scope="row">{html.escape(name)}</th>{cells}</tr>')
    curves = [series_of(run) for run in compared.runs]
    picture = curves_svg(curves, "\n".join(compared.names)) if any(curves) else ""
    sources = compared.sources
    diff = f"<details><summary>sources</summary><pre>{html.escape(sources)}</pre></details>" if sources else ""
    return (
        f"<style>{asset('runs_table.css')}</style>"
        f'<div class="rnb-runs rnb-compared"><table><caption>{html.escape(_verdict(compared))}</caption>'
        f"<thead><tr><th></th>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>{picture}{diff}</div>"
    )


def _tables(compared: Comparison) -> list[tuple[str, dict[str, list[str]]]]:
    """What differs, by kind; kinds of which nothing does are left out."""
    outer = {name: compared.parameters[name] for name in outermost(compared.parameters)}
    tables = [("run", compared.facts), ("parameters", outer), ("versions", compared.versions)]
    return [(title, table) for title, table in tables if table]


def _metrics(compared: Comparison) -> dict[str, list[MetricSummary | None]]:
    """What is shown of the metrics: all but counts of steps."""
    return {name: summaries for name, summaries in compared.metrics.items() if name != "steps"}


def _verdict(compared: Comparison) -> str:
    match compared.same_fingerprint:
        case True:
            return "one fingerprint: all of them sent the same values at the same tags"
        case False:
            return "different fingerprints"
    return "without a fingerprint of each run it is not known whether they are equal"


@_clean
def comparison_text(compared: Comparison) -> str:
    """The same as text, without pictures."""
    lines = [_verdict(compared)]
    for title, table in _tables(compared):
        lines += ["", *_aligned([[title, *compared.names], *([name, *words] for name, words in table.items())])]
    if _metrics(compared):
        rows = [
            [name, *("" if s is None else number(s.last) for s in summaries)]
            for name, summaries in _metrics(compared).items()
        ]
        lines += ["", *_aligned([["last values", *compared.names], *rows])]
    if compared.sources:
        lines += ["", compared.sources]
    return "\n".join(lines)


@_clean
def run_text(run: StoredRun) -> str:
    """All that is known of one run, as text."""
    facts: list[tuple[str, str]] = [
        ("folder", str(run.path)),
        ("program", run.program),
        ("state", run.state),
        ("problem", run.problem),
        ("failure", run.failure or ""),
        ("seed", "" if run.seed is None else str(run.seed)),
        ("began", "" if run.began is None else f"{run.began:%Y-%m-%d %H:%M:%S}"),
        ("duration", duration(run.seconds)),
        ("tag", str(run.tag)),
        ("fingerprint", run.fingerprint or ""),
        ("parent", "" if run.parent is None else f"{run.parent.run} at {run.parent.place}"),
        ("labels", ", ".join(run.labels)),
        ("commit", run.commit or ""),
        ("graph", run.graph),
        ("versions", ", ".join(f"{name} {version}" for name, version in run.versions.items())),
        ("size", f"{run.nbytes / 1e6:,.1f} MB"),
    ]
    lines = [run.id, *(f"  {name:<12}{words}" for name, words in facts if words)]
    if run.problem:
        return "\n".join(lines)
    lines += _part("parameters", [f"{name} = {words_of(value)}" for name, value in run.parameters.items()])
    lines += _part("changes", [f"{c.tag}: {c.path} {words_of(c.old)} -> {words_of(c.new)}" for c in run.changes])
    lines += _part("resumed at", [str(tag) for tag in run.resumed])
    lines += _part(
        "checkpoints",
        [f"{Tag(*c.tag)}{f'  {c.name}' if c.name else ''}  {c.nbytes / 1e6:,.1f} MB" for c in run.checkpoints],
    )
    lines += _part(
        "metrics",
        [
            f"{name}: {s.count:,} values, last {number(s.last)} ({number(s.least)} to {number(s.greatest)})"
            for name, s in run.summaries.items()
        ],
    )
    lines += _part("told", [f"{note.tag}: {note.text}" for note in run.notes])
    return "\n".join(lines + _part("sources", sorted(run.sources)))


def _part(title: str, rows: list[str]) -> list[str]:
    return [f"  {title}", *(f"    {row}" for row in rows)] if rows else []
