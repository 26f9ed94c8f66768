"""The page: figures, ratios, machine, versions and commands, in one file that needs no other; and the same as Markdown.

It is written from the results alone, with no figure of its own.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from reactornb import files
from reactornb.bench.paper import figures
from reactornb.bench.paper.experiments import PARTS
from reactornb.bench.paper.published import SOURCE
from reactornb.bench.paper.results import Chart, Result, Row
from reactornb.errors import ReactorError

__all__ = ["BEGIN", "END", "MarkdownError", "write_markdown", "write_page"]

BEGIN, END = "<!-- reactornb paper: begin -->", "<!-- reactornb paper: end -->"

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.4rem; border-top: 1px solid #ddd; padding-top: 1rem }
img { max-width: 100% } code { background: #f4f4f4; padding: 0 .2em; overflow-wrap: anywhere }
table { border-collapse: collapse; font-size: 13.5px } th, td { text-align: left; padding: .2rem .7rem .2rem 0; border-bottom: 1px solid #eee }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums } .missed { color: #b00020; font-weight: 600 } .met { color: #1b7a2f }
.note { color: #666; font-size: 13.5px } summary { cursor: pointer; color: #444 }
"""


class MarkdownError(ReactorError, ValueError):
    """A Markdown file has no place for what was measured."""


def write_page(
    folder: Path, charts: Sequence[Chart], rows: Sequence[Row], results: Mapping[int, Result], absent: Sequence[str]
) -> Path:
    """Write `index.html`; the charts' SVG files are in the folder already.

    Args:
        folder: where to.
        charts: the figures.
        rows: the table of ratios.
        results: what was measured, by experiment.
        absent: what was not, and why, a sentence each.

    Returns:
        The page.
    """
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>The paper's experiments</title><style>{STYLE}</style>",
        "<h1>The paper's experiments, measured here</h1>",
        f"<p>{html.escape(SOURCE)}. Six loops of a server and its clients, as reactors in pure Python, beside limits written by hand and other systems.",
        "All variants of an experiment take turns in one run; a ratio is the median of the ratios of figures from the same turn, with the lowest and the highest.",
        "Hatched bars on grey are the paper's own figures: another machine, other versions, so compare their ratio, not their height.</p>",
        *(f"<p class=missed>{html.escape(words)}</p>" for words in absent),
        "<h2>Ratios</h2>",
        _ratios(rows),
    ]
    for part in PARTS:
        drawn = [chart for chart in charts if chart.number == part.number]
        if not drawn:
            continue
        parts += [f"<h2>{part.number}. {html.escape(part.title)}</h2>", f"<p>{html.escape(part.about)}</p>"]
        parts += [_image(folder, chart) for chart in drawn]
        parts += [_figures(chart) for chart in drawn]
        if part.number in results:
            parts.append(_made(results[part.number]))
    parts += ["<h2>Machine and versions</h2>", _table(("", ""), _facts(results))]
    return files.write(folder / "index.html", "\n".join(parts) + "\n")


def _image(folder: Path, chart: Chart) -> str:
    text = base64.b64encode((folder / f"{figures.stem(chart)}.svg").read_bytes()).decode("ascii")
    return f'<img alt="{html.escape(chart.title)}" src="data:image/svg+xml;base64,{text}">'


def _ratios(rows: Sequence[Row]) -> str:
    lines = []
    for row in rows:
        verdict = (
            ""
            if row.met is None
            else f"<span class={'met' if row.met else 'missed'}>{'met' if row.met else 'missed'}</span>"
        )
        lines.append(
            (
                str(row.number), html.escape(row.what), f"{row.median:.3g}", f"{row.lowest:.3g} to {row.highest:.3g}",
                html.escape(row.bar), verdict, "" if row.paper is None else f"{row.paper:.3g}",
            )
        )  # fmt: skip
    return _table(("", "what", "median", "spread", "bar", "", "paper: LF over Ray"), lines, numeric=(2, 3, 6))


def _figures(chart: Chart) -> str:
    lines = [
        (html.escape(group), html.escape(series.name), *(f"{value:,.4g}" for value in series.points[group]))
        for group in chart.groups
        for series in chart.series
        if group in series.points
    ]
    table = _table((chart.across or "what", "system", "median", "lowest", "highest"), lines, numeric=(2, 3, 4))
    name = figures.stem(chart)
    files_of_it = ", ".join(f"<a href='{name}.{ending}'>{ending.upper()}</a>" for ending in ("svg", "png", "json"))
    return f"<details><summary>{html.escape(chart.title)} in figures, {html.escape(chart.up)}</summary>{table}</details><p class=note>{files_of_it}</p>"


def _made(result: Result) -> str:
    how = result.data["paper"]
    file = next(part.stem for part in PARTS if part.number == result.number)
    notes = "".join(f"<br>{html.escape(note)}" for note in result.data["notes"])
    return (
        f"<p class=note><code>{html.escape(how['command'])}</code>, {html.escape(how['began'])}, {how['seconds']:.0f} s; "
        f"<a href='{file}.json'>all that was measured</a>, <a href='{file}.txt'>as text</a>{notes}</p>"
    )


def _facts(results: Mapping[int, Result]) -> list[tuple[str, str]]:
    """What machine and what versions, of the newest part."""
    if not results:
        return []
    newest = max(results.values(), key=lambda result: str(result.data["paper"]["began"]))
    machine = newest.data["machine"]
    facts = [
        (
            "interpreter",
            f"CPython {machine['python']} ({machine['build']} build), GIL {'on' if machine['gil'] else 'off'}",
        ),
        (
            "machine",
            f"{machine['system']}, {machine['processor']}, {machine['usable_cores']} of {machine['cores']} cores",
        ),
        ("measured", newest.data["paper"]["began"]),
    ]
    versions: dict[str, str] = {}
    for result in results.values():
        versions.update(result.data["paper"]["versions"])
    facts += list(versions.items())
    loads = [result.data["machine"].get("load_average") for result in results.values()]
    known = [load for load in loads if load is not None]
    if known:
        facts.append(("load of other programs before a part", f"{min(known):.1f} to {max(known):.1f}"))
    return facts


def _table(head: Sequence[str], lines: Iterable[Sequence[str]], numeric: Sequence[int] = ()) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        marked = "".join(f"<{tag}{' class=n' if i in numeric else ''}>{cell}</{tag}>" for i, cell in enumerate(cells))
        return f"<tr>{marked}</tr>"

    body = "".join(row(line, "td") for line in lines)
    return f"<table>{row(head, 'th') if any(head) else ''}{body}</table>"


# -- Markdown -------------------------------------------------------------------------------------------------------------


def write_markdown(path: Path, rows: Sequence[Row], charts: Sequence[Chart], results: Mapping[int, Result]) -> Path:
    """Replace what stands between BEGIN and END in a Markdown file; a file that is not there is made.

    Raises:
        MarkdownError: if the file has no such place.
    """
    text = _markdown(rows, charts, results)
    before, after = "# Measurements\n\n", "\n"
    if path.exists():
        old = path.read_text(encoding="utf-8")
        before, begin, rest = old.partition(BEGIN)
        _, end, after = rest.partition(END)
        if not begin or not end:
            raise MarkdownError(f"{path}: there is no place for it. Put two lines where it belongs: {BEGIN} and {END}.")
    return files.write(path, f"{before}{BEGIN}\n\n{text}\n{END}{after}")


def _markdown(rows: Sequence[Row], charts: Sequence[Chart], results: Mapping[int, Result]) -> str:
    facts = "; ".join(f"{name} {value}" for name, value in _facts(results))
    lines = [
        f"Written by `reactornb paper --markdown` from its JSON. {facts}.",
        "",
        "| | what | median | spread | bar | paper: LF over Ray |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        bar = f"{row.bar}: {'met' if row.met else '**missed**'}" if row.bar else ""
        paper = "" if row.paper is None else f"{row.paper:.3g}"
        lines.append(
            f"| {row.number} | {row.what} | {row.median:.3g} | {row.lowest:.3g} to {row.highest:.3g} | {bar} | {paper} |"
        )
    for chart in charts:
        lines += [
            "",
            f"**{chart.number}. {chart.title}**, {chart.up}",
            "",
            f"| {chart.across or ' '} | " + " | ".join(s.name for s in chart.series) + " |",
        ]
        lines.append("|---" * (len(chart.series) + 1) + "|")
        for group in chart.groups:
            cells = [_cell(series.points.get(group)) for series in chart.series]
            lines.append(f"| {group} | " + " | ".join(cells) + " |")
    lines += ["", "Commands:", "", "```"]
    lines += [str(result.data["paper"]["command"]) for _, result in sorted(results.items())]
    notes = list(dict.fromkeys(note for result in results.values() for note in result.data["notes"]))
    lines += ["```", *([""] if notes else []), *(f"- {note}" for note in notes)]
    return "\n".join(lines) + "\n"


def _cell(point: tuple[float, float, float] | None) -> str:
    if point is None:
        return ""
    return " ".join((f"{point[0]:,.4g}", f"({point[1]:,.4g} to {point[2]:,.4g})"))
