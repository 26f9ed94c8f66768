"""The live panel of runs in a notebook: an anywidget over `RunsView`. Its page side is `run_panel.js`, drawn with uPlot.

All code is in this package: nothing is loaded from the net. Only the thread of the kernel's loop sets traits (see `notebook`),
never a worker, nor the thread on which a button's message arrives, which may belong to a subshell.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import traitlets

from reactornb.errors import RunError
from reactornb.runtime import Run
from reactornb.runtime.metrics import STEPS
from reactornb.viz.assets import asset
from reactornb.viz.axes import AXES
from reactornb.viz.labels import COLORS
from reactornb.viz.packing import pack
from reactornb.viz.panel import Panel
from reactornb.viz.run_view import RunsView
from reactornb.viz.series import COLUMNS

if TYPE_CHECKING:
    from reactornb.viz.labels import SomeRuns

__all__ = ["RunPanel"]

Travel = Callable[["RunPanel", int, str, "tuple[int, int] | None", str], None]
_HEADERS = 3000  # bytes of a message without curves


class RunPanel(Panel):
    """State, progress, rates, buttons and curves of one run, or of several overlaid.

    Args:
        runs: a run, or several: live ones and stored ones; or such by the names of their groups, as for `plot`.
        metrics: which metrics are drawn; all unless given.
        restart: called by the button "Start again" with the panel and the number of the run, on the thread on which the page's
            message arrives; None: no such button. The new run is shown beside the old one; see `add`.
        axis: the x axis, "steps", "wall", "episodes" or "tag", until the page chooses another one; environment steps unless nobody logged any.
        travel: called likewise where a kept run is to go on ("resume"), or a point of a curve was chosen ("rewind", "branch"): with the
            panel, the run's number, that word, the point's tag, and a change of a parameter as it was typed; None: none of that.

    Attributes:
        runs: per run the data of `RunView.status`, with color, label, legend, group (see `RunsView.groups`), and the code that gets the run.
        beat: time of the kernel's last message, in seconds since 1970: the page uses it to notice that the kernel is gone.
        curves: per run and metric its name, place among the charts, the run's number, color, and what `packing.pack` says of it.
        points: the points of each curve in the same order; see `packing.pack`.
        axes: the x axes that can be chosen, the default first: name and title.
        sent: the axes that `points` has; "tag" is missing where it means the number of the value.
        marks: where parameters were changed: the run's number, words, and x on each axis.
        printed: the last lines that the runs printed; `lines` is how many there were.
    """

    # uPlot and our charts define variables of the one module; the panel uses them.
    _esm = asset("vendor/uplot/uPlot.iife.min.js", "page.js", "curves.js", "point_menu.js", "run_panel.js")
    _css = asset("vendor/uplot/uPlot.min.css", "run_panel.css")

    runs: traitlets.List[Any] = traitlets.List().tag(sync=True)
    beat = traitlets.Float(0.0).tag(sync=True)
    curves: traitlets.List[Any] = traitlets.List().tag(sync=True)
    points = traitlets.Bytes().tag(sync=True)
    axes: traitlets.List[Any] = traitlets.List().tag(sync=True)
    sent: traitlets.List[Any] = traitlets.List().tag(sync=True)
    marks: traitlets.List[Any] = traitlets.List().tag(sync=True)
    printed = traitlets.Unicode("").tag(sync=True)
    lines = traitlets.Int(0).tag(sync=True)

    def __init__(
        self,
        runs: SomeRuns,
        metrics: Iterable[str] | None = None,
        restart: Callable[[RunPanel, int], None] | None = None,
        travel: Travel | None = None,
        axis: str | None = None,
        **options: Any,
    ) -> None:
        self.view = RunsView(runs, metrics, axis)
        self.view.refresh()
        self._restart = restart
        self._travel = travel
        self._told: dict[int, str] = {}  # by place; written on the loop's thread, and read there
        self._over = False
        self._known_groups: list[str] = []
        self._origins: dict[str, str] = {}  # by the name of a run that went on from a point of another one: from where
        self._again: set[str] = set()  # names of runs that were started here
        self._restarted = False  # by "Start again"
        self._flood = Flood()
        version = self.view.printed_version
        lines, text = self.view.printed()
        self._flood.sent(version, lines)
        super().__init__(
            beat=time.time(),
            runs=self._runs(),
            **self._curves(),
            lines=lines,
            printed=text,
            **options,
        )
        self.on_msg(self._on_message)

    def _runs(self) -> list[dict[str, Any]]:
        views, groups, last = self.view.views, self._groups(), len(self.view.views) - 1
        legends = self.view.legends(groups)
        return [
            {
                **view.status(),
                "label": f"{view.label}{f', {group}' if group else ''}",
                "legend": legend,
                "group": group,
                "color": self._color(place, groups),
                "alive": view.run.is_alive,
                "kept": view.kept if self._travel is not None else "",
                "resumable": self._travel is not None and view.is_resumable,
                "told": self._told.get(place, ""),
                "restarts": view.is_steered and self._restart is not None and not (place < last and self._restarted),
                "again": view.again if view.run.name in self._again else "",
            }
            for place, (view, group, legend) in enumerate(zip(views, groups, legends, strict=True))
        ]

    def _groups(self) -> list[str]:
        if len(self._known_groups) != len(self.view.views):  # a program's parameters do not change
            groups = zip(self.view.groups(), self.view.views, strict=True)
            # What went on from a point of another run repeats its beginning: no mean is taken over the two.
            self._known_groups = [
                ", ".join(filter(None, (g, self._origins.get(v.run.name, v.origin)))) for g, v in groups
            ]
        return self._known_groups

    @staticmethod
    def _color(place: int, groups: list[str]) -> str:
        """A run's color: one for each run, or one for each group if runs repeat an experiment."""
        names = list(dict.fromkeys(groups))
        grouped = 1 < len(names) < len(groups)
        return COLORS[(names.index(groups[place]) if grouped else place) % len(COLORS)]

    def _curves(self) -> dict[str, Any]:
        view = self.view
        axes = view.axes()
        sent = {name: axis for name, axis in axes.items() if axis in COLUMNS}
        several = len(view.views) > 1
        groups = self._groups()
        places = {name: place for place, name in enumerate(view.names())}
        curves: list[dict[str, Any]] = []
        parts: list[bytes] = []
        for run, metrics in enumerate(view.curves):
            first_seen = [name for name in view.views[run].series if name != STEPS] + [STEPS]
            for name, series in metrics.items():
                packed, data = pack(series, sent)
                parts.append(data)
                color = self._color(run, groups) if several else COLORS[first_seen.index(name) % len(COLORS)]
                curves.append({"name": name, "place": places[name], "run": run, "color": color, **packed})
        return {
            "curves": curves,
            "points": b"".join(parts),
            "axes": [[name, AXES[axis]] for name, axis in axes.items()],
            "sent": list(sent),
            "marks": [
                {"run": place, "words": words, "at": {name: at[axis] for name, axis in sent.items()}}
                for place, words, at in view.marks()
            ],
        }

    def refresh(self) -> bool:
        """Send changes to the page; returns false once the runs are over and everything has been sent."""
        if self._over:
            return False
        # Read first: values logged between this and the next line are sent by one more refresh.
        alive = self.run_is_alive
        changed = self.view.refresh()
        self.sent_bytes = _HEADERS
        with self.hold_sync():
            self.beat = time.time()
            self.runs = self._runs()
            if changed or not alive:
                for name, value in self._curves().items():
                    setattr(self, name, value)
                self.sent_bytes += len(self.points)
            version = self.view.printed_version
            if self._flood.is_due(version, alive):
                self.lines, self.printed = self.view.printed()
                self._flood.sent(version, self.lines)
                self.sent_bytes += len(self.printed)
        self._over = not alive
        return alive

    def add(self, run: Run, origin: str = "", group: str = "") -> None:
        """Show a run that was started again, or from a point of another one, beside the ones before, on the loop's thread.

        Args:
            run: the run.
            origin: from where it went on; "" for one that began at the beginning.
            group: its group, where groups have names.
        """
        self.view.add(run, group)
        self._again.add(run.name)
        if origin:
            self._origins[run.name] = origin
        else:
            self._restarted = True
        self._over = False

    def goes_on(self, place: int, run: Run) -> None:
        """Show a run instead of the one that it goes on from, on the loop's thread."""
        self.view.replace(place, run)
        self._known_groups = []
        self._again.add(run.name)
        self._told.pop(place, None)
        self._over = False

    def tell(self, place: int, words: str) -> None:
        """Say something beside a run, on the loop's thread; "" takes it back."""
        self._told[place] = words
        if self.comm is not None:
            self.runs = self._runs()

    def _on_message(self, _widget: Any, message: Any, _buffers: Any) -> None:
        """Handle a pressed button, on any thread: commands only set flags that a run reads."""
        if not isinstance(message, dict) or message.get("run") not in range(len(self.view.views)):
            return
        place = message["run"]
        if self._is_travel(place, message):
            return
        run = self.view.views[place].run
        if not isinstance(run, Run):
            return
        match message.get("do"):
            case "pause":
                run.pause()
            case "resume":
                run.resume()
            case "step":
                run.step(1)
            case "stop":
                with contextlib.suppress(RunError):  # it ends when the reaction that is busy returns
                    run.stop(timeout=0)
            case "abandon":
                run.abandon()
            case "start" if self._restart is not None and not run.is_alive:
                self._restart(self, place)

    def _is_travel(self, place: int, message: dict[str, Any]) -> bool:
        """Handle what asks a kept run to go on, from where it ended or from a point of a curve; false for anything else."""
        view, do = self.view.views[place], message.get("do")
        if self._travel is None or do not in ("resume", "rewind", "branch"):
            return False
        if do == "resume":
            if view.is_resumable:
                self._travel(self, place, do, None, "")
            return view.is_resumable
        x, change = message.get("x"), message.get("set")
        series = view.series.get(str(message.get("metric")))
        if view.kept and series is not None and isinstance(x, (int, float)) and math.isfinite(x):
            axes = self.view.axes()
            tag = series.tag_near(x, axes.get(str(message.get("axis")), next(iter(axes.values()))))
            if tag is not None:
                self._travel(self, place, str(do), tag, change.strip() if isinstance(change, str) else "")
        return True

    def static(self) -> dict[str, str]:
        """The panel's static fallback: MIME type to content."""
        svg = self.view.svg()
        html = self.below(svg) + self.unless_gone()
        return {"text/plain": self.view.text(), "image/svg+xml": svg, "text/html": html}

    @property
    def run_is_alive(self) -> bool:
        """True until the last tag of all runs is done."""
        return self.view.is_alive


class Flood:
    """Decides when a panel sends printed lines: at each refresh, but once a second if there are more than a user can read."""

    a_second = 200  # lines

    def __init__(self) -> None:
        self._version = self._lines = 0
        self._at = 0.0
        self._fast = False

    def is_due(self, version: int, alive: bool) -> bool:
        """Whether new lines should be sent now.

        Args:
            version: see `RunsView.printed_version`.
            alive: whether more will come.
        """
        return version != self._version and (not alive or not self._fast or time.monotonic() - self._at >= 1.0)

    def sent(self, version: int, lines: int) -> None:
        """Record which version was sent, and how many lines there were in all."""
        now = time.monotonic()
        self._fast = lines - self._lines > self.a_second * max(now - self._at, 0.1)
        self._version, self._lines, self._at = version, lines, now
