"""Branches as a tree: each run a line along logical time, which leaves its parent's where it began; below it their curves in the same colors."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from reactornb.durable.comparison import words_of
from reactornb.viz.axes import AXES
from reactornb.viz.curves import series_of
from reactornb.viz.curves_picture import curves_svg
from reactornb.viz.labels import COLORS, number

if TYPE_CHECKING:
    from reactornb.durable.stored import StoredRun
    from reactornb.durable.tree import Tree

__all__ = ["tree_html", "tree_svg", "tree_text"]

_MOST = 30  # runs that are drawn
_LANE, _LEFT, _ACROSS, _WIDE = 22, 10, 330, 860
_CHANGES = 3  # changes of parameters that are named


def tree_text(tree: Tree) -> str:
    """The tree as lines of text."""
    lines = []
    for run, depth, parent in tree.branches:
        at = f" from {run.parent.place}" if run.parent is not None else ""
        of = f" of {run.parent.run}, which is not here," if run.parent is not None and parent is None else ""
        lines.append(f"{'   ' * depth}{'└─ ' if depth else ''}{run.id}{of}{at}{_facts(run)}")
    return "\n".join(lines) or "There are no runs here."


def tree_html(tree: Tree) -> str:
    """The tree as a picture, and the curves of its runs overlaid."""
    if not tree.branches:
        return html.escape(tree_text(tree))
    runs = [run for run in tree.runs[:_MOST] if not run.problem]
    curves = [series_of(run) for run in runs]
    picture = curves_svg(curves, "\n".join(run.id for run in runs)) if any(curves) else ""
    return f'<div class="rnb-tree">{tree_svg(tree)}<div>{picture}</div></div>'


def tree_svg(tree: Tree) -> str:
    """The tree: a lane for each run, from where it began to where it is."""
    shown = tree.branches[:_MOST]
    axis = "time" if len({branch.run.tag.time_ns for branch in shown} | _starts(tree)) > 1 else "microstep"
    place = {branch.run.id: lane for lane, branch in enumerate(shown)}
    longest = max((_x(branch.run.tag, axis) for branch in shown), default=0.0) or 1.0

    def across(tag: tuple[int, int]) -> float:
        return _LEFT + min(_x(tag, axis) / longest, 1.0) * _ACROSS

    height = _LANE * len(shown) + 26
    out = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{_WIDE}" height="{height}" viewBox="0 0 {_WIDE} {height}" '
            f'font-family="Helvetica,Arial,sans-serif" font-size="12">'
        ),
        f"<title>{html.escape(tree_text(tree))}</title>",
    ]
    drawn = [branch.run for branch in shown if not branch.run.problem]
    for lane, (run, _, parent) in enumerate(shown):
        color = COLORS[drawn.index(run) % len(COLORS)] if run in drawn else "#7c8796"
        y = _LANE * lane + 14
        start = across(run.parent.tag) if run.parent is not None else float(_LEFT)
        end = max(across(run.tag), start + 4)
        if run.parent is not None and parent is not None and run.parent.run in place:
            above = _LANE * place[run.parent.run] + 14
            out.append(
                f'<path d="M{start:.1f},{above}V{y}" fill="none" stroke="{color}" stroke-width="1.5" stroke-dasharray="2 2"/>'
            )
        out.append(
            f'<path d="M{start:.1f},{y}H{end:.1f}" fill="none" stroke="{color}" stroke-width="3" stroke-linecap="round"/>'
        )
        out.append(f'<circle cx="{start:.1f}" cy="{y}" r="3.5" fill="{color}"/>')
        said = html.escape(_cut(f"{_facts(run)}"))
        out.append(
            f'<text x="{_LEFT + _ACROSS + 14}" y="{y + 4}" fill="{color}"><tspan font-weight="600">{html.escape(run.id)}</tspan>'
            f'<tspan fill="#7c8796">{said}</tspan></text>'
        )
    y = _LANE * len(shown) + 16
    more = f" · and {len(tree.branches) - _MOST} more" if len(tree.branches) > _MOST else ""
    out.append(
        f'<text x="{_LEFT}" y="{y}" font-size="10" fill="#7c8796">0</text><text x="{_LEFT + _ACROSS}" y="{y}" font-size="10" '
        f'fill="#7c8796" text-anchor="end">{number(longest)} {html.escape(AXES[axis])}{more}</text></svg>'
    )
    return "".join(out)


def _starts(tree: Tree) -> set[int]:
    """The times at which branches began."""
    return {branch.run.parent.tag.time_ns for branch in tree.branches if branch.run.parent is not None}


def _x(tag: tuple[int, int], axis: str) -> float:
    return max(tag[0] / 1e9 if axis == "time" else float(tag[1]), 0.0)


def _facts(run: StoredRun) -> str:
    """What tells a run from its neighbours: its state, what was changed in it, and the last values of what it logged."""
    if run.problem:
        return f" · damaged: {run.problem}"
    facts = [run.state]
    first = run.parent.tag if run.parent is not None else None
    if run.change_count:
        changes = [change for change in run.changes if first is None or tuple(change.tag) > tuple(first)]
        named = {f"{change.path.partition('.')[2] or change.path} = {words_of(change.new)}": None for change in changes}
        facts += list(named)[:_CHANGES] + (["…"] if len(named) > _CHANGES else [])
    metrics = [name for name in run.summaries if name != "steps"]
    facts += [f"{name} {number(run.summaries[name].last)}" for name in sorted(metrics, key=_importance)[:1]]
    return "".join(f" · {fact}" for fact in facts)


def _importance(name: str) -> tuple[bool, str]:
    return ("return" not in name and "reward" not in name, name)


def _cut(words: str, most: int = 78) -> str:
    return words if len(words) <= most else f"{words[: most - 1]}…"
