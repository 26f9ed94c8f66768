"""The live panel of a run in a notebook: an anywidget over `RunView`. Its page side is `run_panel.js`, drawn with uPlot.

Everything is in this package: nothing is loaded from the net. The widget is only ever touched by the thread of the kernel's
loop (see `notebook`), never by a worker.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from reactornb.runtime import Run
from reactornb.viz.curves import AXES, COLORS, number
from reactornb.viz.run_view import RunView

__all__ = ["RunPanel"]

_HERE = Path(__file__).parent


@cache
def _asset(*names: str) -> str:
    return "\n".join((_HERE / name).read_text(encoding="utf-8") for name in names)


class RunPanel(anywidget.AnyWidget):
    """State, progress, rates and curves of a run.

    Args:
        run: the run.

    Attributes:
        status: see `RunView.status`.
        curves: per metric its name, color, last value as text, and its number of points.
        points: for each metric in turn x as float64, then mean, least and greatest as float32, little-endian, padded to
            8 bytes.
        axis: the title of the x axes.
    """

    # uPlot defines one variable of the module; our part uses it.
    _esm = _asset("vendor/uplot/uPlot.iife.min.js", "run_panel.js")
    _css = _asset("vendor/uplot/uPlot.min.css", "run_panel.css")

    status = traitlets.Dict().tag(sync=True)
    curves: traitlets.List[Any] = traitlets.List().tag(sync=True)
    points = traitlets.Bytes().tag(sync=True)
    axis = traitlets.Unicode("").tag(sync=True)

    def __init__(self, run: Run, **options: Any) -> None:
        self.view = RunView(run)
        self.view.refresh()
        self._over = False
        super().__init__(**self._state(), **options)

    def _state(self) -> dict[str, Any]:
        view = self.view
        axis = view.axis()
        curves: list[dict[str, Any]] = []
        parts: list[bytes] = []
        for place, (name, series) in enumerate(view.curves.items()):
            x, *values = series.points(axis)
            parts.append(x.astype("<f8").tobytes())
            parts += [v.astype("<f4").tobytes() for v in values]
            if len(x) % 2:
                parts.append(b"\0\0\0\0")
            said = (
                f"{number(series.last)}, {series.count:,} values, {number(series.least)} to {number(series.greatest)}"
            )
            curves.append(
                {
                    "name": name,
                    "color": COLORS[place % len(COLORS)],
                    "last": number(series.last),
                    "words": said,
                    "points": len(x),
                    "per_bucket": series.per_bucket,
                }
            )
        return {"status": view.status(), "curves": curves, "points": b"".join(parts), "axis": AXES[axis]}

    def refresh(self) -> bool:
        """Send what is new to the page; false once the run is over and all of it has been sent."""
        if self._over:
            return False
        alive = self.view.run.is_alive  # before reading: what comes after the last look is read by one more
        changed = self.view.refresh()
        with self.hold_sync():
            if changed or not alive:
                for name, value in self._state().items():
                    setattr(self, name, value)
            else:
                self.status = self.view.status()
        self._over = not alive
        return alive

    @property
    def run_is_alive(self) -> bool:
        """True until the run's last tag is done."""
        return self.view.run.is_alive

    @property
    def is_open(self) -> bool:
        """False once the widget was closed."""
        return self.comm is not None
