"""What a display shows of a run that was kept, with the names of `RunView`: so a panel overlays stored runs and live ones.

A stored run that some process still writes is followed: `refresh` reads what its journal has got since. It offers no buttons: who
shows it does not run it.
"""

from __future__ import annotations

from typing import Any

from reactornb.durable.lock import owner_of
from reactornb.durable.stored import StoredRun
from reactornb.errors import ReactorError
from reactornb.tags import format_ns
from reactornb.viz.axes import shown
from reactornb.viz.curves_picture import curves_svg
from reactornb.viz.labels import number, words
from reactornb.viz.series import Series

__all__ = ["StoredView"]

_RESUMABLE = ("stopped", "failed", "abandoned", "interrupted")  # as run_view's, which imports this module
_WARNINGS = 5  # the last notes that are shown


class StoredView:
    """What a panel shows of a stored run.

    Args:
        run: the run.

    Attributes:
        run: as given.
        series: its metrics in buckets.
        is_hung: never.
        is_steered: whether buttons have a meaning: they do not, but for going on with it.
        kept: its name.
        again: the code that gets the run.
    """

    is_hung = False
    is_steered = False

    def __init__(self, run: StoredRun) -> None:
        self.run = run
        self.series: dict[str, Series] = {}
        self.again = f"in Python: Runs()[{run.id!r}]"
        self.kept = run.id
        self._problem = run.problem
        self._resumed = -1

    @property
    def origin(self) -> str:
        """Of what run it is a branch, and from where on."""
        parent = self.run.parent
        return "" if parent is None else f"branch of {parent.run} at {parent.place}"

    @property
    def is_resumable(self) -> bool:
        """Whether the run is over and could go on."""
        return not self._problem and self.run.state in _RESUMABLE

    @property
    def label(self) -> str:
        """Names its curves."""
        seed = self.run.seed
        return self.run.id if seed is None else f"{self.run.id}, seed {seed}"

    @property
    def curves(self) -> dict[str, Series]:
        """The metrics that are drawn; see `axes.shown`."""
        return {name: self.series[name] for name in shown(self.series)}

    def refresh(self) -> bool:
        """Read what was written since the last call; returns whether there were values."""
        run = self.run
        is_new = self._resumed < 0
        if not (run.is_alive or is_new) or self._problem:
            return False
        if not (run.refresh() or is_new):
            return False
        try:
            metrics = run.metrics
        except ReactorError as error:
            self._problem = str(error)
            return False
        if run.resumed_count != self._resumed:  # what followed that tag is void
            self._resumed, self.series = run.resumed_count, {}
        changed = False
        for name, metric in metrics.items():
            series = self.series.setdefault(name, Series())
            start = series.count
            series.extend_by(metric)
            changed = changed or series.count > start
        return changed

    def rates(self) -> dict[str, float]:
        """Environment steps per second, over all of it."""
        steps, seconds = self.series.get("steps"), self.run.seconds
        return {"steps": steps.total / seconds} if steps is not None and seconds else {}

    def status(self) -> dict[str, Any]:
        """Everything but the curves, in types that JSON can represent: the keys of `RunView.status`."""
        run = self.run
        tag = run.tag
        ahead = self._ahead()
        return {
            "title": f"run {run.id} of {run.program}" if run.program else f"run {run.id}",
            "state": self._state(),
            "doing": "",
            "abandonable": False,
            "warnings": self.warnings(),
            "empty": f"{run.state.capitalize()}: this run logged nothing.",
            "tag": f"{format_ns(tag.time_ns)}, microstep {tag.microstep:,}",
            "seconds": round(run.seconds, 2),
            "progress": None if ahead is None else ahead[0],
            "ahead": "" if ahead is None else ahead[1],
            "rates": [f"{number(float(round(v)))} {name}/s" for name, v in self.rates().items()],
            "workers": run.workers or 0,
            "placement": "" if run.began is None else f"began {run.began:%Y-%m-%d %H:%M}",
            "pace": "",
            "queues": "",
            "missed": "",
            "use": [],
            "hosts": [],
            "seed": "" if run.seed is None else run.seed,
            "fingerprint": run.fingerprint,
            "failure": run.failure or "",
        }

    def _ahead(self) -> tuple[float, str] | None:
        """How far a run is that some process still runs, and words for it, where its parameters say how many steps it takes."""
        steps = self.series.get("steps")
        if not self.run.is_alive or steps is None:
            return None
        for name, total in self.run.parameters.items():
            if name.count(".") == 1 and name.endswith(".total_timesteps") and isinstance(total, int) and total > 0:
                share = min(steps.total / total, 1.0)
                return share, f"steps {steps.total:,.0f} of {total:,} ({100 * share:.0f} %)"
        return None

    def _state(self) -> str:
        """Its state; a run that is alive is told from those that this panel could pause."""
        owner = owner_of(self.run.path) if self.run.state == "running" else None
        return self.run.state if owner is None else f"running in process {owner.pid} on {owner.host}"

    def warnings(self) -> list[str]:
        """What its user was told, and what is damaged."""
        told = [] if self._problem else [note.text for note in self.run.notes[-_WARNINGS:]]
        return [*told, *([self._problem] if self._problem else [])]

    def heading(self) -> str:
        """One line: what, state, where."""
        s = self.status()
        began = [s["placement"]] if s["placement"] else []
        return " · ".join(
            [f"{s['title']}: {s['state']}", f"tag {s['tag']}", f"{s['seconds']:.1f} s", *s["rates"], *began]
        )

    caption = heading

    def text(self) -> str:
        """The panel in words."""
        lines = [self.heading(), *(f"warning: {said}" for said in self.warnings())]
        if self.curves:
            lines.append(words(self.curves))
        if self.run.failure:
            lines.append(self.run.failure)
        return "\n".join(lines)

    def svg(self) -> str:
        """The panel as a picture."""
        return curves_svg(self.curves, self.caption())
