"""What a display shows of a run (state, tag, progress, rates, workers and curves), as text, as a picture, and as data for a panel.

`RunView` only reads the run: one thread calls `refresh`, without a lock that a worker could wait for. The live panel (`run_panel.py`)
sends the data to the page; a terminal prints `text()`; a saved notebook keeps `svg()`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from reactornb.errors import ReactionError, ReactorError
from reactornb.runtime import Run
from reactornb.runtime.busy import Busy
from reactornb.tags import forever, format_ns
from reactornb.viz.curves import curves_svg, number, told_apart, words
from reactornb.viz.series import LogReader, Series, axis_of

__all__ = ["RunView", "RunsView", "describe_failure"]

_WINDOW = 2.0  # seconds over which rates are taken
_BUSY_S = 2.0  # a reaction that takes longer is named
_HUNG_S = 10.0  # after this time in one reaction, or after a request to end, the panel offers to abandon the run
_LAG_S = 1.0  # a larger lag is worth a warning


class RunView:
    """What a panel shows of one run.

    Args:
        run: the run.

    Attributes:
        run: as given.
        reader: its metrics so far, in buckets.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.reader = LogReader(run)
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
    def series(self) -> dict[str, Series]:
        """The metrics by name."""
        return self.reader.series

    @property
    def curves(self) -> dict[str, Series]:
        """The metrics that are drawn: all but "steps", which is shown as a rate."""
        return {name: series for name, series in self.series.items() if name != "steps"}

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
        until_ns = run.options.until_ns
        tag = run.tag
        return {
            "title": f"run {run.number} of {run.program.name}",
            "state": run.state,
            "doing": self.doing(),
            "abandonable": self.is_hung,
            "warnings": self.warnings(),
            "empty": self._empty(),
            "tag": f"{format_ns(tag.time_ns)}, microstep {tag.microstep:,}",
            "seconds": round(run.seconds, 2),
            "progress": min(tag.time_ns / until_ns, 1.0) if until_ns else None,
            "rates": [f"{number(float(round(v)))} {name}/s" for name, v in self.rates().items()],
            "workers": run.workers,
            "placement": run.placement.describe(),
            "pace": self._pace(),
            "queues": self._queues(),
            "missed": self._missed(),
            "use": [round(u, 2) for u in self._use] if run.is_alive else [],
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

    def heading(self) -> str:
        """One line: what, state, where, how fast."""
        s = self.status()
        workers = f"{s['workers']} worker{'s' if s['workers'] > 1 else ''}"
        parts = [f"{s['title']}: {s['state']}", f"tag {s['tag']}", f"{s['seconds']:.1f} s", *s["rates"], workers]
        parts += [s[name] for name in ("pace", "missed", "doing") if s[name]]
        if s["progress"] is not None and self.run.is_alive:
            parts.insert(1, f"{s['progress']:.0%}")
        return " · ".join(parts)

    def text(self) -> str:
        """The panel in words."""
        lines = [self.heading(), *(f"warning: {words}" for words in self.warnings())]
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
        runs: the runs.
        metrics: names of those that are shown; all unless given.

    Attributes:
        views: one for each run.
    """

    def __init__(
        self,
        runs: Iterable[Run],
        metrics: Iterable[str] | None = None,
    ) -> None:
        self.views = [RunView(run) for run in runs]
        self._metrics = None if metrics is None else list(metrics)

    def add(self, run: Run) -> None:
        """Show another run beside them."""
        self.views.append(RunView(run))

    def groups(self) -> list[str]:
        """For each run the parameters, besides the seed, that differ from the other runs, such as "learning_rate=0.01"; "" if none do.

        Runs of one group repeat the same experiment: a mean is taken within a group only.
        """
        return told_apart([view.run for view in self.views])

    @property
    def curves(self) -> list[dict[str, Series]]:
        """Per run, the metrics that are drawn."""
        wanted = self._metrics
        if wanted is None:
            return [view.curves for view in self.views]
        return [{name: view.series[name] for name in wanted if name in view.series} for view in self.views]

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
        for run in (view.run for view in self.views):
            who = f"run {run.number}: " if len(self.views) > 1 else ""
            lines += [f"{who}{line}" for line in run.printed.tail(last, chars // share)]
        return sum(view.run.printed.count for view in self.views), "\n".join(lines)

    @property
    def printed_version(self) -> int:
        """Grows whenever a run prints."""
        return sum(view.run.printed.version for view in self.views)

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
        return curves_svg(self.curves, "\n".join(view.caption() for view in self.views))

    def axis(self) -> str:
        """What the curves have on their x axes; see `series.axis_of`."""
        return axis_of(series for run in self.curves for series in run.values())


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
