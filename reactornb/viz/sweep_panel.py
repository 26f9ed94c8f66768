"""The live panel of a sweep in a notebook: an anywidget over `SweepView`. Its page side is `sweep_panel.js`, whose curves are the run panel's.

Only the thread of the kernel's loop sets traits (see `notebook`), never a slot, nor the thread on which a button's message arrives.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from typing import Any

import traitlets

from reactornb.sweeps.running import Sweep
from reactornb.viz.assets import asset
from reactornb.viz.axes import AXES
from reactornb.viz.labels import number
from reactornb.viz.panel import Panel
from reactornb.viz.sweep_view import SweepView

__all__ = ["SweepPanel"]

_POINTS = 120  # of a curve on the page
_HEADERS = 2000  # bytes of a message without rows and curves


class SweepPanel(Panel):
    """State, progress, overlaid curves and the sorted table of a sweep.

    Args:
        sweep: the sweep.
        metrics: whose curves are drawn; the first of those that are there unless given.
        later: calls a function on the loop's thread; what a button asks for is done there.

    Attributes:
        status: see `SweepView.status`.
        table: see `SweepView.rows`.
        curves: per curve its metric, the trial's number, color, label, group, last value as text, whether it is over, and its number of points.
        points: for each curve in the same order x as float64, then the values as float32, little-endian, padded to 8 bytes.
        choice: the metrics and the axes that there are, and which are chosen.
        beat: as of `RunPanel`.
    """

    _esm = asset("vendor/uplot/uPlot.iife.min.js", "page.js", "curves.js", "sweep_panel.js")
    _css = asset("vendor/uplot/uPlot.min.css", "run_panel.css", "sweep_panel.css")

    status: traitlets.Dict[str, Any] = traitlets.Dict().tag(sync=True)
    table: traitlets.Dict[str, Any] = traitlets.Dict().tag(sync=True)
    curves: traitlets.List[Any] = traitlets.List().tag(sync=True)
    points = traitlets.Bytes().tag(sync=True)
    choice: traitlets.Dict[str, Any] = traitlets.Dict().tag(sync=True)
    beat = traitlets.Float(0.0).tag(sync=True)

    def __init__(
        self,
        sweep: Sweep,
        metrics: Iterable[str] | None = None,
        later: Callable[[Callable[[], None]], None] | None = None,
        **options: Any,
    ) -> None:
        self.view = SweepView(sweep, metrics)
        self.view.refresh()
        self._later = later
        self._over = False
        super().__init__(
            status=self.view.status(), table=self.view.rows(), beat=time.time(), **self._curves(), **options
        )  # fmt: skip
        self.on_msg(self._on_message)

    @property
    def sweep(self) -> Sweep:
        """What it shows."""
        return self.view.sweep

    def _curves(self) -> dict[str, Any]:
        view = self.view
        axis, colors, metrics = view.x, view.colors(), view.metrics
        curves: list[dict[str, Any]] = []
        parts: list[bytes] = []
        for own in view.drawn():
            trial = own.trial
            for name in metrics:
                series = own.series.get(name)
                if series is None:
                    continue
                x, trend, _ = series.trend(axis)
                by = -(-len(x) // _POINTS)
                if by > 1:  # the last point stays
                    x, trend = x[(len(x) - 1) % by :: by], trend[(len(x) - 1) % by :: by]
                parts += [x.astype("<f8").tobytes(), trend.astype("<f4").tobytes(), b"\0\0\0\0" * (len(x) % 2)]
                curves.append(
                    {
                        "name": name, "trial": trial.number, "color": colors[trial.group], "group": trial.group,
                        "label": ", ".join(filter(None, (trial.group, f"seed {trial.seed}"))), "last": number(series.last),
                        "ended": trial.is_over, "points": len(x),
                    }
                )  # fmt: skip
        choice = {
            "metrics": view.names, "metric": metrics[0] if metrics else "", "axes": [[name, AXES.get(name, "tag")] for name in view.axes],
            "axis": view.axis or (view.axes[0] if view.axes else ""), "title": AXES[axis],
        }  # fmt: skip
        return {"curves": curves, "points": b"".join(parts), "choice": choice}

    def refresh(self) -> bool:
        """Send changes to the page; returns false once the sweep is over and everything has been sent."""
        if self._over:
            return False
        alive = self.run_is_alive  # read first: what changes after this is sent by one more refresh
        changed = self.view.refresh()
        self.sent_bytes = _HEADERS
        with self.hold_sync():
            self.beat = time.time()
            self.status = self.view.status()
            table = self.view.rows()
            if table != self.table:
                self.table = table
                self.sent_bytes += len(json.dumps(table))
            if changed or not alive:
                self._send_curves()
        self._over = not alive
        return alive

    def _send_curves(self) -> None:
        for name, value in self._curves().items():
            setattr(self, name, value)
        self.sent_bytes += len(self.points) + 150 * len(self.curves)

    def _on_message(self, _widget: Any, message: Any, _buffers: Any) -> None:
        """Handle a pressed button or a choice, on any thread."""
        if not isinstance(message, dict):
            return
        match message.get("do"):
            case "stop":
                self.sweep.request_stop()
            case "metric" if message.get("name") in self.view.names:
                self._choose(lambda: setattr(self.view, "chosen", [message["name"]]))
            case "axis" if message.get("name") in self.view.axes:
                self._choose(lambda: setattr(self.view, "axis", message["name"]))

    def _choose(self, choose: Callable[[], None]) -> None:
        def chosen() -> None:
            choose()
            with self.hold_sync():
                self._send_curves()

        (self._later or _now)(chosen)

    def static(self) -> dict[str, str]:
        """The panel's static fallback: MIME type to content."""
        return {"text/plain": self.view.text(), "text/html": self.below(self.view.html()) + self.unless_gone()}

    @property
    def run_is_alive(self) -> bool:
        """True until the sweep is over."""
        return self.sweep.is_alive


def _now(call: Callable[[], None]) -> None:
    call()
