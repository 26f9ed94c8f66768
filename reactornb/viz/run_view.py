"""What a display shows of a run (state, tag, progress, rates, workers and curves), as text, as a picture, and as data for a panel.

`RunView` only reads the run: one thread calls `refresh`, without a lock that a worker could wait for. The live panel (`run_panel.py`)
sends the data to the page; a terminal prints `text()`; a saved notebook keeps `svg()`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reactornb.errors import ReactionError, ReactorError
from reactornb.runtime import Result, Run
from reactornb.runtime.busy import Busy
from reactornb.runtime.outlook import Outlook
from reactornb.tags import forever, format_ns
from reactornb.viz.axes import axes_of, checked_axis, in_order, resolved, shown
from reactornb.viz.curves_picture import curves_svg
from reactornb.viz.labels import Mark, grouped, legends, marks_of, number, told_apart, words
from reactornb.viz.series import COLUMNS, LogReader, Series

if TYPE_CHECKING:
    from reactornb.durable.stored import StoredRun
    from reactornb.viz.labels import AnyRun, SomeRuns
    from reactornb.viz.stored_view import StoredView

__all__ = ["RESUMABLE", "RunView", "RunsView", "describe_failure"]

RESUMABLE = ("stopped", "failed", "abandoned", "interrupted")
"""States of a kept run that can go on."""

_WINDOW = 2.0  # seconds over which rates are taken
_BUSY_S = 2.0  # a reaction that takes longer is named
_HUNG_S = 10.0  # after this time in one reaction, or after a request to end, the panel offers to abandon the run
_MOST_MARKS = 200  # the last changes of a run that are marked
_LAG_S = 1.0  # a larger lag is worth a warning


class RunView:
    """What a panel shows of one run.

    Args:
        run: the run.

    Attributes:
        run: as given.
        reader: its metrics so far, in buckets.
        label: names its curves.
        again: the code that gets the run.
        is_steered: whether buttons have a meaning: of a stored run (`StoredView`) they do not.
        kept: the name under which it is kept on disk; "" if it is not.
        origin: of what run it is a branch; "" unless it is a stored one.
    """

    is_steered = True
    origin = ""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.kept = "" if run.kept is None else run.kept.name
        self.label = f"run {run.number}{f' ({self.kept})' if self.kept else ''}, seed {run.seed}"
        self.again = f"in Python: run = %reactor run {run.name}"
        self.reader = LogReader(run)
        self._outlook = Outlook(run)
        self._history: deque[tuple[float, int, int, float]] = deque()
        self._use: list[float] = []
        self._used_at = 0.0
        self._cpu: list[float] = []
        self._busy: list[Busy] = []
        graph = run.program.graph
        self._starters = [
            graph.reactors[r.reactor].name.partition(".")[2] or graph.reactors[r.reactor].name
            for r in graph.reactions
            if ("startup", -1) in r.triggers
        ]
        self._posted = any(a.physical for a in graph.actions)
        self._deadlines = any(r.deadline is not None and r.deadline < forever for r in graph.reactions)

    @property
    def is_resumable(self) -> bool:
        """Whether the run is over and could go on: it was kept, and did not come to its own end."""
        return bool(self.kept) and self.run.state in RESUMABLE

    @property
    def series(self) -> dict[str, Series]:
        """The metrics by name."""
        return self.reader.series

    @property
    def curves(self) -> dict[str, Series]:
        """The metrics that are drawn; see `axes.shown`."""
        return {name: self.series[name] for name in shown(self.series)}

    def refresh(self) -> bool:
        """Read the values logged since the last call; returns whether there were any."""
        changed = self.reader.read()
        run = self.run
        self._busy = run.busy()
        steps = self.series["steps"].total if "steps" in self.series else -1.0
        now = run.seconds
        history = self._history
        history.append((now, run.reactions, run.tags, steps))
        while len(history) > 2 and history[1][0] < now - _WINDOW:
            history.popleft()
        if time.perf_counter() - self._used_at > 0.5:
            self._measure_workers()
        return changed

    def rates(self) -> dict[str, float]:
        """Per second, over the last two seconds while the run lives and over all of it afterwards.

        "steps" are environment steps, where reactors log how many they took: `self.log(steps=n)`.
        """
        run = self.run
        last = self._history[-1] if self._history else (run.seconds, run.reactions, run.tags, -1.0)
        first = self._history[0] if run.is_alive and len(self._history) > 1 else (0.0, 0, 0, 0.0)
        span = last[0] - first[0] or 1e-9
        per_second = {"reactions": (last[1] - first[1]) / span, "tags": (last[2] - first[2]) / span}
        if last[3] >= 0:
            per_second = {"steps": (last[3] - max(first[3], 0.0)) / span, **per_second}
        return per_second

    def _measure_workers(self) -> None:
        """The share of a core that each worker used since the last call; empty where the system does not measure it."""
        now = time.perf_counter()
        span, self._used_at = now - self._used_at, now
        spent = self.run.worker_seconds
        if self._cpu and any(spent):
            shares = [(new - old) / span for new, old in zip(spent, self._cpu, strict=True)]
            self._use = [min(max(share, 0.0), 1.0) for share in shares]
        self._cpu = spent

    def status(self) -> dict[str, Any]:
        """Everything but the curves, in types that JSON can represent."""
        run = self.run
        tag = run.tag
        ahead = self._outlook.look(self.series["steps"].total if "steps" in self.series else 0.0)
        return {
            "title": f"run {run.number} of {run.program.name}",
            "state": run.state,
            "doing": self.doing(),
            "abandonable": self.is_hung,
            "warnings": self.warnings(),
            "empty": self._empty(),
            "tag": f"{format_ns(tag.time_ns)}, microstep {tag.microstep:,}",
            "seconds": round(run.seconds, 2),
            "progress": None if ahead is None else ahead.share,
            "ahead": "" if ahead is None else " · ".join(ahead.words),
            "rates": [f"{number(float(round(v)))} {name}/s" for name, v in self.rates().items()],
            "workers": run.workers,
            "placement": run.placement.describe(),
            "pace": self._pace(),
            "queues": self._queues(),
            "missed": self._missed(),
            "use": [round(u, 2) for u in self._use] if run.is_alive else [],
            "hosts": self._hosts(),
            "seed": run.seed,
            "fingerprint": run.fingerprint if not run.is_alive and run.failure is None else None,
            "failure": describe_failure(run.failure),
        }

    def doing(self) -> str:
        """What a live run does or waits for, if that is not simply the next reaction."""
        run = self.run
        if not run.is_alive:
            return ""
        waiting = run.waiting_for
        starting = "starting: " if not run.tags else ""
        if waiting.startswith("importing"):
            return starting + waiting
        busy = [b for b in self._busy if b.seconds >= _BUSY_S]
        if busy:
            more = f" and {len(busy) - 1} more" if len(busy) > 1 else ""
            return f"{starting}{busy[0]}{more}"
        if starting and run.state == "running" and self._starters and not waiting:
            return f"starting: startup reactions of {few(list(dict.fromkeys(self._starters)))}, {run.seconds:.1f} s"
        return f"waits for {waiting}" if waiting else ""

    @property
    def is_hung(self) -> bool:
        """Whether the panel offers to abandon the run: a reaction has been busy for long, or since the run was asked to end."""
        longest = self._busy[0].seconds if self._busy else 0.0
        return self.run.is_alive and longest >= (_BUSY_S if self.run.stop_requested else _HUNG_S)

    def warnings(self) -> list[str]:
        """The run's own warnings, and one if it does not keep up with physical time."""
        words = list(self.run.warnings)
        lag = self.run.lag
        if lag is not None and lag > _LAG_S and self._follows_time and not self.doing():
            words.append(
                f"{_seconds(lag)} behind physical time: reactions take longer than the time between tags. fast=True (--fast) does not "
                f"wait for physical time, more workers may keep up."
            )
        return words

    @property
    def _follows_time(self) -> bool:
        """False while logical time stays 0: such a program works in microsteps, so physical time does not matter to it."""
        return self.run.tag.time_ns > 0

    def _empty(self) -> str:
        """The text shown instead of curves."""
        run = self.run
        if not run.is_alive:
            return (
                f"{run.state.capitalize()}: this run logged nothing. A reaction's self.log(name=value) draws a curve."
            )
        if not run.tags:
            return "No curves yet: the run is starting."
        return "No curves yet: nothing was logged so far. A reaction's self.log(name=value) draws a curve."

    def _pace(self) -> str:
        """Logical against physical time: how far behind a run is, or how much faster one that does not wait for it."""
        run = self.run
        logical = run.tag.time_ns / 1e9
        lag = run.lag
        if lag is not None:
            stuck = bool(self._busy) and self._busy[0].seconds >= _BUSY_S
            if run.state == "paused" or stuck or (lag >= 0.002 and not self._follows_time):
                return ""
            return "on time" if lag < 0.002 else f"{_seconds(lag)} behind"
        if not run.options.fast or not logical or not run.seconds:
            return ""
        return f"{number(float(f'{logical / run.seconds:.2g}'))}× real time"

    def _queues(self) -> str:
        """How many tags with events and how many physical events are waiting; "" if none are."""
        run = self.run
        if not run.is_alive:
            return ""
        queue, inbox = run.queue, run.inbox if self._posted else 0
        return " · ".join(f"{name} {count:,}" for name, count in (("queue", queue), ("inbox", inbox)) if count)

    def _missed(self) -> str:
        """Deadlines that were missed, in a program that has any."""
        if not self._deadlines:
            return ""
        missed = self.run.deadlines_missed
        return f"{missed:,} deadline{'' if missed == 1 else 's'} missed"

    def _hosts(self) -> list[list[str]]:
        """The table of hosts with its titles; empty if there are none."""
        hosts = self.run.hosts
        return [[*hosts.TITLES], *map(list, hosts.cells())] if hosts else []

    def heading(self) -> str:
        """One line: what, state, where, how fast."""
        s = self.status()
        workers = f"{s['workers']} worker{'s' if s['workers'] > 1 else ''}"
        if s["hosts"]:
            workers += f" · {len(s['hosts']) - 1} host{'s' if len(s['hosts']) > 2 else ''}"
        parts = [f"{s['title']}: {s['state']}", f"tag {s['tag']}", f"{s['seconds']:.1f} s", *s["rates"], workers]
        parts += [s[name] for name in ("pace", "missed", "doing") if s[name]]
        parts += [f"kept as {self.kept}"] if self.kept else []
        if s["progress"] is not None and self.run.is_alive:
            parts.insert(1, s["ahead"])
        return " · ".join(parts)

    def text(self) -> str:
        """The panel in words."""
        lines = [self.heading(), *(f"warning: {words}" for words in self.warnings())]
        hosts = self.run.hosts
        if hosts:
            lines.append(str(hosts))
        if self.curves:
            lines.append(words(self.curves))
        failure = describe_failure(self.run.failure)
        if failure:
            lines.append(failure)
        printed = self.run.printed
        if printed.count:
            lines += [f"printed ({printed.count:,} lines):", *printed.tail(10)]
        return "\n".join(lines)

    def svg(self) -> str:
        """The panel as a picture."""
        return curves_svg(self.curves, self.caption())

    def caption(self) -> str:
        """The heading of a picture. For a live run it includes the time, since the picture may be viewed later."""
        if not self.run.is_alive:
            return self.heading()
        return f"as of {time.strftime('%Y-%m-%d %H:%M:%S')}: {self.heading()}"


def few(names: list[str], most: int = 3) -> str:
    """The first of some names."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _seconds(value: float) -> str:
    return f"{value * 1e3:.0f} ms" if value < 0.9995 else f"{value:.1f} s"


class RunsView:
    """What a panel shows of one run or of several.

    Args:
        runs: the runs, live ones and stored ones; or such by the names of their groups.
        metrics: names of those that are shown; all unless given.
        axis: the x axis, see `axes.resolved`.

    Attributes:
        views: one for each run.
        chosen: the x axis that was asked for; None: the default.
    """

    def __init__(
        self,
        runs: SomeRuns,
        metrics: Iterable[str] | None = None,
        axis: str | None = None,
    ) -> None:
        chosen, self._named = grouped(runs)
        self.views = [_view_of(run) for run in chosen]
        self.chosen = checked_axis(axis)
        self._metrics = None if metrics is None else list(metrics)
        self._marks: dict[tuple[int, Mark], dict[str, float]] = {}  # by place in `views`

    def add(self, run: Run | StoredRun, group: str = "") -> None:
        """Show another run beside them.

        Args:
            run: the run.
            group: its group, where groups have names.
        """
        self.views.append(_view_of(run))
        if self._named is not None:
            self._named.append(group)

    def replace(self, place: int, run: Run | StoredRun) -> None:
        """Show a run instead of the one that it goes on from."""
        self.views[place] = _view_of(run)

    @property
    def _live(self) -> list[Run]:
        """The runs of this process: what stored ones printed is not kept."""
        return [view.run for view in self.views if isinstance(view.run, Run)]

    def groups(self) -> list[str]:
        """For each run the name of its group; where groups have none the parameters, besides the seed, that differ from the other runs, such as
        "learning_rate=0.01"; "" if none do.

        Runs of one group repeat the same experiment: a mean is taken within a group only.
        """
        return told_apart([view.run for view in self.views]) if self._named is None else list(self._named)

    def legends(self, groups: Sequence[str]) -> list[str]:
        """For each run the shortest label that tells it from the others; see `labels.legends`."""
        return legends([view.run for view in self.views], groups)

    def marks(self) -> list[tuple[int, str, dict[str, float]]]:
        """Where parameters were changed: the run's place, words, and where the run stood before, on each of `series.COLUMNS`."""
        listed = []
        for place, view in enumerate(self.views):
            for mark in marks_of(view.run)[-_MOST_MARKS:]:
                at = self._marks.get((place, mark))
                if at is None:  # worked out once: a later look has merged what was before it
                    at = {
                        axis: max((s.x_before(mark.tag, axis) for s in view.series.values()), default=0.0)
                        for axis in COLUMNS
                    }
                    self._marks[place, mark] = at
                listed.append((place, mark.words, at))
        return listed

    @property
    def curves(self) -> list[dict[str, Series]]:
        """Per run, the metrics that are drawn."""
        wanted = self._metrics
        if wanted is None:
            return [view.curves for view in self.views]  # each in the order of `axes.in_order`
        return [{name: view.series[name] for name in wanted if name in view.series} for view in self.views]

    def names(self) -> list[str]:
        """The metrics that are drawn, in the order in which they stand: as they were asked for, or returns first."""
        there = dict.fromkeys(name for run in self.curves for name in run)
        return in_order(there) if self._metrics is None else [name for name in self._metrics if name in there]

    @property
    def is_alive(self) -> bool:
        """True while one of the runs is alive."""
        return any(view.run.is_alive for view in self.views)

    def refresh(self) -> bool:
        """Read the values that all runs logged since the last call; returns whether there were any."""
        changed = [view.refresh() for view in self.views]
        return any(changed)

    def printed(self, last: int = 200, chars: int = 20_000) -> tuple[int, str]:
        """How many lines the runs have printed, and each run's last lines, after a line that counts the omitted ones."""
        share = max(len(self.views), 1)
        lines = []
        for run in self._live:
            who = f"run {run.number}: " if len(self.views) > 1 else ""
            lines += [f"{who}{line}" for line in run.printed.tail(last, chars // share)]
        return sum(run.printed.count for run in self._live), "\n".join(lines)

    @property
    def printed_version(self) -> int:
        """Grows whenever a run prints."""
        return sum(run.printed.version for run in self._live)

    def check(self) -> None:
        """Check the names of the requested metrics; call it after `refresh`.

        Raises:
            ReactorError: for a metric that no run has logged, if none can log it any more.
        """
        known = dict.fromkeys(name for view in self.views for name in view.series)
        for name in self._metrics or ():
            if name not in known and not self.is_alive:
                raise ReactorError(f"no metric {name!r} was logged; there are: {', '.join(known) or 'none'}.")

    def text(self) -> str:
        """The panel in words."""
        return "\n".join(view.text() for view in self.views)

    def svg(self) -> str:
        """The panel as a picture."""
        return curves_svg(self.curves, "\n".join(view.caption() for view in self.views), axis=self.chosen)

    def axes(self) -> dict[str, str]:
        """The x axes that a user can choose, the default first, and what each is of `axes.AXES`."""
        shown = [series for run in self.curves for series in run.values()]
        names = axes_of(shown)
        if self.chosen is not None:
            names = [self.chosen, *(name for name in names if name != self.chosen)]
        return {name: resolved(name, shown) for name in names}


def _view_of(run: AnyRun) -> RunView | StoredView:
    if isinstance(run, Run):
        return RunView(run)
    if isinstance(run, Result):
        raise ReactorError(f"a panel shows runs, and {run!r:.60} is a result: plot(result) draws its curves.")
    from reactornb.viz.stored_view import StoredView  # which brings the reading of files with it

    return StoredView(run)


def describe_failure(failure: BaseException | None) -> str:
    """The failure of a run as text, with the user's own frames of the traceback; empty for None."""
    if failure is None:
        return ""
    lines = [f"{type(failure).__name__}: {failure}"]
    cause = failure.__cause__ if isinstance(failure, ReactionError) else None
    if cause is not None:
        import traceback

        from reactornb.errors import Source

        for frame in own_frames(traceback.extract_tb(cause.__traceback__)):
            lines.append(f"  {Source(frame.filename, frame.lineno or 0)}, in {frame.name}")
            if frame.line:
                lines.append(f"    {frame.line}")
    return "\n".join(lines)


_PACKAGE = str(Path(__file__).parent.parent)


def own_frames(traceback: Any) -> list[Any]:
    """The frames from the first one outside this package on: the scheduler's frames do not help a user."""
    own = list(traceback)
    while own and own[0].filename.startswith(_PACKAGE):
        own.pop(0)
    return own
