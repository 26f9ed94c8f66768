"""The live panel of runs in a notebook: an anywidget over `RunsView`. Its page side is `run_panel.js`, drawn with uPlot.

All code is in this package: nothing is loaded from the net. Only the thread of the kernel's loop sets traits (see `notebook`),
never a worker, nor the thread on which a button's message arrives, which may belong to a subshell.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from typing import Any
from uuid import uuid4

import anywidget
import traitlets

from reactornb.errors import RunError
from reactornb.runtime import Run
from reactornb.viz.assets import asset
from reactornb.viz.curves import AXES, COLORS, number
from reactornb.viz.run_view import RunsView

__all__ = ["RunPanel"]

_HEADERS = 3000  # bytes of a message without curves


class RunPanel(anywidget.AnyWidget):
    """State, progress, rates, buttons and curves of one run, or of several overlaid.

    Args:
        runs: a run, or several.
        metrics: which metrics are drawn; all unless given.
        restart: called by the button "Start again" with the panel and the number of the run, on the thread on which the page's
            message arrives; None: no such button. The new run is shown beside the old one; see `add`.

    Attributes:
        runs: per run the data of `RunView.status`, with color, label, group (see `RunsView.groups`), and the code that gets the run.
        beat: time of the kernel's last message, in seconds since 1970: the page uses it to notice that the kernel is gone.
        curves: per run and metric its name, the run's number, color, last value as text, and its number of points.
        points: for each curve in the same order x as float64, then mean, least and greatest as float32, little-endian, padded
            to 8 bytes.
        axis: the title of the x axes.
        printed: the last lines that the runs printed; `lines` is how many there were.
        twin: identifies the hidden picture below the panel.
        sent_bytes: the approximate size of the messages that the last `refresh` sent.
    """

    # uPlot and our charts define variables of the one module; the panel uses them.
    _esm = asset("vendor/uplot/uPlot.iife.min.js", "page.js", "curves.js", "run_panel.js")
    _css = asset("vendor/uplot/uPlot.min.css", "run_panel.css")

    runs: traitlets.List[Any] = traitlets.List().tag(sync=True)
    beat = traitlets.Float(0.0).tag(sync=True)
    curves: traitlets.List[Any] = traitlets.List().tag(sync=True)
    points = traitlets.Bytes().tag(sync=True)
    axis = traitlets.Unicode("").tag(sync=True)
    printed = traitlets.Unicode("").tag(sync=True)
    lines = traitlets.Int(0).tag(sync=True)
    twin = traitlets.Unicode("").tag(sync=True)

    def __init__(
        self,
        runs: Run | Iterable[Run],
        metrics: Iterable[str] | None = None,
        restart: Callable[[RunPanel, int], None] | None = None,
        **options: Any,
    ) -> None:
        self.view = RunsView([runs] if isinstance(runs, Run) else runs, metrics)
        self.view.refresh()
        self._restart = restart
        self._over = False
        self.sent_bytes = 0
        self._known_groups: list[str] = []
        self._again: set[int] = set()  # numbers of runs that were started by the button
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
            twin=uuid4().hex,
            **options,
        )
        self.on_msg(self._on_message)

    def _runs(self) -> list[dict[str, Any]]:
        views, groups, last = self.view.views, self._groups(), len(self.view.views) - 1
        return [
            {
                **view.status(),
                "label": f"run {view.run.number}, seed {view.run.seed}{f', {group}' if group else ''}",
                "group": group,
                "color": self._color(place, groups),
                "alive": view.run.is_alive,
                "restarts": self._restart is not None and not (place < last and self._again),
                "again": f"in Python: run = %reactor run {view.run.name}" if view.run.number in self._again else "",
            }
            for place, (view, group) in enumerate(zip(views, groups, strict=True))
        ]

    def _groups(self) -> list[str]:
        if len(self._known_groups) != len(self.view.views):  # a program's parameters do not change
            self._known_groups = self.view.groups()
        return self._known_groups

    @staticmethod
    def _color(place: int, groups: list[str]) -> str:
        """A run's color: one for each run, or one for each group if runs repeat an experiment."""
        names = list(dict.fromkeys(groups))
        grouped = 1 < len(names) < len(groups)
        return COLORS[(names.index(groups[place]) if grouped else place) % len(COLORS)]

    def _curves(self) -> dict[str, Any]:
        view = self.view
        axis = view.axis()
        several = len(view.views) > 1
        groups = self._groups()
        curves: list[dict[str, Any]] = []
        parts: list[bytes] = []
        for run, metrics in enumerate(view.curves):
            for place, (name, series) in enumerate(metrics.items()):
                x, *values = series.points(axis)
                parts.append(x.astype("<f8").tobytes())
                parts += [v.astype("<f4").tobytes() for v in values]
                if len(x) % 2:
                    parts.append(b"\0\0\0\0")
                said = f"{number(series.last)}, {series.count:,} values, {number(series.least)} to {number(series.greatest)}"
                curves.append(
                    {
                        "name": name,
                        "run": run,
                        "color": self._color(run, groups) if several else COLORS[place % len(COLORS)],
                        "last": number(series.last),
                        "words": said,
                        "points": len(x),
                        "per_bucket": series.per_bucket,
                    }
                )
        return {"curves": curves, "points": b"".join(parts), "axis": AXES[axis]}

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

    def add(self, run: Run) -> None:
        """Show a run that was started again beside the ones before, on the loop's thread."""
        self.view.add(run)
        self._again.add(run.number)
        self._over = False

    def _on_message(self, _widget: Any, message: Any, _buffers: Any) -> None:
        """Handle a pressed button, on any thread: commands only set flags that a run reads."""
        if not isinstance(message, dict) or message.get("run") not in range(len(self.view.views)):
            return
        place = message["run"]
        run = self.view.views[place].run
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

    def static(self) -> dict[str, str]:
        """The panel's static fallback: MIME type to content."""
        svg = self.view.svg()
        html = f'<div data-rnb-of="{self.twin}">{svg}</div>{_unless_gone(self.twin)}'
        return {"text/plain": self.view.text(), "image/svg+xml": svg, "text/html": html}

    @property
    def run_is_alive(self) -> bool:
        """True until the last tag of all runs is done."""
        return self.view.is_alive

    @property
    def is_open(self) -> bool:
        """False once the widget was closed."""
        return self.comm is not None


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


def _unless_gone(twin: str) -> str:
    """Style that hides JupyterLab's "Error displaying widget: model not found" above a picture.

    A notebook that is opened without its kernel has both: the error, in a node that is marked as a widget but contains none, and
    the picture, whose heading includes its time.
    """
    child = ".jp-OutputArea-child"
    error = f"{child}:has(> .jupyter-widgets):not(:has(.rnb-run))"  # one `:has` within another is no CSS
    return f'<style>{error}:has(+ {child} [data-rnb-of="{twin}"]) {{ display: none }}</style>'
