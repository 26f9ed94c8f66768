"""What a display shows of a sweep: its state, its trials as rows, their curves. As text, as HTML that stands on its own, as data for a panel.

One thread calls `refresh`, which reads what the running trials have logged since; a trial that is over is read for the last time and then let go. The live
panel is `sweep_panel.py`.
"""

from __future__ import annotations

import colorsys
import html
import math
import time
from collections.abc import Iterable
from typing import Any
from uuid import uuid4

from reactornb.runtime import Run
from reactornb.runtime.outlook import clock
from reactornb.sweeps.progress import DONE, Progress, counts_in
from reactornb.sweeps.running import Sweep
from reactornb.sweeps.table import Rows, Table
from reactornb.sweeps.trial import Trial
from reactornb.viz.assets import asset
from reactornb.viz.axes import axes_of, in_order, resolved, shown
from reactornb.viz.curves_picture import curves_svg
from reactornb.viz.labels import COLORS, number
from reactornb.viz.series import LogReader, Series

__all__ = ["SweepView", "TrialView", "sweep_html", "table_html"]

_BUCKETS = 240  # of a curve: there are many
_MOST = 200  # curves that are drawn, and rows of a table that stands on its own
_PICTURES = 12  # curves in a picture


class TrialView:
    """The curves of one trial.

    Args:
        trial: the trial.

    Attributes:
        trial: as given.
        series: its metrics by name, in buckets.
    """

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.series: dict[str, Series] = {}
        self._reader: LogReader | None = None
        self._run: Run | None = None
        self._done = False

    def refresh(self) -> bool:
        """Read what was logged since the last call; returns whether there was anything."""
        trial = self.trial
        if self._done or trial.state == "waiting":
            return False
        over, run = trial.is_over, trial.run  # in this order: what is over has no run any more
        if run is not None and self._reader is None:
            self._reader, self._run = LogReader(run, _BUCKETS), run
            self.series = self._reader.series
        if self._reader is not None:
            changed = self._reader.read()
        else:
            changed = over and self._read_all()
        if over:  # its logs were complete when they were read
            self._done, self._reader, self._run = True, None, None
        return changed

    def stands(self, metric: str) -> float | None:
        """Where the curve of a metric stands, without its noise; None where there is none."""
        series = self.series.get(metric)
        if series is None or not series.count:
            return None
        value = float(series.trend("sample")[1][-1])
        return value if math.isfinite(value) else None

    def _read_all(self) -> bool:
        for name, metric in self.trial.metrics.items():
            self.series[name] = Series(_BUCKETS)
            self.series[name].extend_by(metric)
        return bool(self.series)


class SweepView:
    """What a panel shows of a sweep.

    Args:
        sweep: the sweep.
        metrics: whose curves are drawn; the first of those that are there unless given.

    Attributes:
        sweep: as given.
        views: one for each trial, in their order.
        chosen: the metrics that are drawn; None: the first one.
        axis: the x axis that was chosen; None: environment steps where there are any.
    """

    def __init__(self, sweep: Sweep, metrics: Iterable[str] | None = None) -> None:
        self.sweep = sweep
        self.views: list[TrialView] = []
        self.chosen = None if metrics is None else list(metrics)
        self.axis: str | None = None
        self._progress = Progress(sweep)

    def refresh(self) -> bool:
        """Read what is new; returns whether a curve has changed."""
        self.views += [TrialView(trial) for trial in self.sweep.trials[len(self.views) :]]
        changed = [view.refresh() for view in self.views]
        return any(changed)

    # -- curves -------------------------------------------------------------------------------------------------------

    @property
    def names(self) -> list[str]:
        """The metrics that there are, in the order in which they are offered."""
        return shown(in_order(name for view in self.views for name in view.series))

    @property
    def metrics(self) -> list[str]:
        """Those that are drawn."""
        return self.names[:1] if self.chosen is None else [name for name in self.chosen if name in self.names]

    def drawn(self) -> list[TrialView]:
        """The trials that are drawn: all, or of very many those that run and the best."""
        begun = [view for view in self.views if view.series]
        if len(begun) <= _MOST:
            return begun
        sign = 1.0 if self.sweep.maximize else -1.0
        begun.sort(
            key=lambda v: (v.trial.is_alive, v.trial.score is not None, sign * (v.trial.score or 0.0)), reverse=True
        )
        return sorted(begun[:_MOST], key=lambda v: v.trial.number)

    @property
    def axes(self) -> list[str]:
        """The x axes that can be chosen, the default first."""
        return axes_of(self._series())

    @property
    def x(self) -> str:
        """What curves are drawn over."""
        return resolved(self.axis, self._series())

    def _series(self) -> list[Series]:
        metrics = self.metrics
        return [view.series[name] for view in self.views for name in metrics if name in view.series]

    def colors(self) -> dict[str, str]:
        """A color for each configuration."""
        groups = list(dict.fromkeys(view.trial.group for view in self.views))
        if len(groups) <= len(COLORS):
            return dict(zip(groups, COLORS, strict=False))
        return {group: _hue(place / len(groups)) for place, group in enumerate(groups)}

    # -- words --------------------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Everything but rows and curves, in types that JSON can represent."""
        sweep = self.sweep
        trials = sweep.trials
        counts = counts_in(trials)
        done = sum(self._progress.share(trial) for trial in trials)
        left = self._progress.left_s() if sweep.is_alive else None
        best = sweep.best
        over = sum(count for state, count in counts.items() if state in DONE)
        facts = [f"{over} of {sweep.total} trials"]
        facts += [
            f"{counts[state]} {state}" for state in ("running", "failed", "pruned", "stopped") if counts.get(state)
        ]
        facts += [clock(sweep.seconds), *([f"about {clock(left)} left"] if left is not None and left >= 1 else [])]
        return {
            "title": sweep.name,
            "state": sweep.state,
            "facts": facts,
            "share": min(done / sweep.total, 1.0) if sweep.total else 1.0,
            "best": "" if best is None or best.score is None else f"best {number(best.score)}: {_about(best)}",
            "warnings": sweep.warnings,
            "alive": sweep.is_alive,
        }

    def rows(self) -> dict[str, Any]:
        """The table of trials: heads, and of each row its words, what it is sorted by, its state, color, share and title. A last column has where
        the curve that is drawn stands.
        """
        table, colors = self.sweep.table, self.colors()
        trials = self.sweep.trials[: len(table.rows)]
        metric = next(iter(self.metrics), "")
        stands = [view.stands(metric) for view in self.views]
        stands += [None] * (len(trials) - len(stands))
        last = (metric,) if metric else ()
        rows = [
            {
                "words": (*words, *("" if at is None else number(at) for _ in last)), "values": (*values, *(at for _ in last)), "state": state, "title": title, "group": trial.group,
                "color": colors.get(trial.group, COLORS[0]), "share": round(self._progress.share(trial), 2),
            }
            for trial, words, values, state, title, at in zip(
                trials, table.rows, table.values, table.states, table.titles, stands, strict=False
            )
        ]  # fmt: skip
        return {"heads": (*table.heads, *last), "rows": rows}

    def heading(self) -> str:
        """One line."""
        status = self.status()
        return " · ".join(filter(None, [f"{status['title']}: {status['state']}", *status["facts"], status["best"]]))

    def text(self) -> str:
        """The panel in words."""
        return repr(self.sweep)

    def svg(self) -> str:
        """Its curves as a picture, those of the best trials where there are many."""
        sign = 1.0 if self.sweep.maximize else -1.0
        drawn = sorted(self.drawn(), key=lambda v: (v.trial.score is None, -sign * (v.trial.score or 0.0)))[:_PICTURES]
        metrics = self.metrics
        curves = [{name: view.series[name] for name in metrics if name in view.series} for view in drawn]
        captions = [_about(view.trial) for view in drawn]
        return curves_svg(curves, "\n".join(captions), columns=1, axis=self.axis) if any(curves) else ""

    def html(self) -> str:
        """The panel as a page that stands on its own."""
        as_of = f"as of {time.strftime('%Y-%m-%d %H:%M:%S')}: " if self.sweep.is_alive else ""
        return f"<div>{html.escape(as_of + self.heading())}</div>{self.svg()}{table_html(self.sweep.summary)}{_folded(self.sweep.table)}"


def _about(trial: Trial) -> str:
    return ", ".join(filter(None, (trial.group, f"seed {trial.seed}")))


def _hue(share: float) -> str:
    """A color that can be read on white and on black, as the page's other colors are written."""
    parts = colorsys.hls_to_rgb(share, 0.46, 0.62)
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts)


# -- tables ---------------------------------------------------------------------------------------------------------------


def table_html(table: Rows) -> str:
    """A table that is sorted by a click on a column's head; without scripts it is still a table."""
    heads = "".join(f'<th scope="col"{_metric(head)}>{html.escape(head)}</th>' for head in table.heads)
    rows = []
    for words, values, state, title in zip(table.rows[:_MOST], table.values, table.states, table.titles, strict=False):
        cells = "".join(
            f'<td data-v="{html.escape("" if value is None else str(value))}">{_cell(head, word, state)}</td>'
            for head, word, value in zip(table.heads, words, values, strict=True)
        )
        rows.append(f'<tr title="{html.escape(title)}">{cells}</tr>')
    more = f"<caption>the first {_MOST} of {len(table.rows)}</caption>" if len(table.rows) > _MOST else ""
    name = f"rnb-{uuid4().hex[:12]}"
    return (
        f"<style>{asset('runs_table.css')}</style>"
        f'<div class="rnb-runs" id="{name}"><table>{more}<thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
        f"<script>{asset('runs_table.js')}rnbRunsTable(document.getElementById({name!r}));</script>"
    )


def _metric(head: str) -> str:
    """A column of which the greatest come first."""
    return ' class="rnb-metric"' if head in ("score", "least", "greatest") else ""


def _cell(head: str, word: str, state: str) -> str:
    words = html.escape(word)
    return f'<span class="rnb-state rnb-{html.escape(state)}">{words}</span>' if head == "state" and state else words


def _folded(table: Table) -> str:
    return f"<details><summary>{len(table.rows)} trials</summary>{table_html(table)}</details>"


def sweep_html(sweep: Sweep) -> str:
    """A sweep as a page shows it where there are no panels."""
    view = SweepView(sweep)
    view.refresh()
    return view.html()
