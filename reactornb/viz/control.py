"""A slider, a box or a list for one parameter of a run: a change in the page calls `Run.set`, and the widget shows changes in the run.

Only the thread of the kernel's loop updates widgets: the notebook's pump calls `refresh`, and a message from the page
only posts a change to the run.
"""

from __future__ import annotations

import ast
import math
from typing import Any

import ipywidgets

from reactornb.errors import ReactorError
from reactornb.graph import find_parameter
from reactornb.model import choices_of, fits, kind_of
from reactornb.runtime import Run

__all__ = ["Control", "bounds"]

_SLIDERS = (ipywidgets.IntSlider, ipywidgets.FloatSlider, ipywidgets.FloatLogSlider)
_NOTHING: Any = object()
_ABOUT_BYTES = 400  # of what one refresh sends


class Control:
    """A widget for a parameter.

    Args:
        run: whose parameter it is.
        path: see `Run.set`.
        low, high: a slider's ends; guessed from the present value unless given.
        log: use a logarithmic slider; by default for small positive numbers.
        step: the slider's step; for a logarithmic one, of its exponent.

    Raises:
        UnknownNameError, ParameterError: as `Run.set`, for an unknown path or a parameter that cannot be changed.
        ValueError: for invalid ends.

    Attributes:
        box: the widget and a line of text about it.
        sent_bytes: the approximate size of the messages that the last `refresh` sent.
    """

    def __init__(
        self,
        run: Run,
        path: str,
        *,
        low: float | None = None,
        high: float | None = None,
        log: bool | None = None,
        step: float | None = None,
    ) -> None:
        nodes, name = find_parameter(run.program.graph, path)
        self.path = path
        self._kind = kind_of(nodes[0].cls, name)
        self.follow(run)
        value = self._seen = self._value()
        run.check(path, value)
        self.widget = self._made(value, low, high, log, step)
        self._shown = self.widget.value
        self._said = ipywidgets.Label()
        self.box = ipywidgets.HBox([self.widget, self._said])
        self.sent_bytes = 0
        self._say()
        self.widget.observe(self._moved, "value")

    def follow(self, run: Run) -> None:
        """Control this run from now on."""
        self.run = run
        self._asked: str | None = None
        self._target: Any = _NOTHING  # the value that was asked for, until the run has it

    def _value(self) -> Any:
        """The parameter's present value; for a bank, that of its first member."""
        return next(iter(self.run.parameters(self.path).values()))

    def _made(self, value: Any, low: float | None, high: float | None, log: bool | None, step: float | None) -> Any:
        common: dict[str, Any] = {
            "description": self.path,
            "style": {"description_width": "initial"},
            "layout": {"width": "460px", "max_width": "100%"},
        }
        choices = choices_of(self._kind)
        if choices is not None:
            return ipywidgets.Dropdown(options=[(_name(c), c) for c in choices], value=value, **common)
        if isinstance(value, bool):
            return ipywidgets.Checkbox(value=value, indent=False, **common)
        number = value if isinstance(value, (int, float)) else None
        whole = isinstance(number, int) and not fits(0.5, self._kind)
        if number is None and not (value is None and fits(0.5, self._kind)):
            return ipywidgets.Text(value=_text(value), continuous_update=False, **common)
        low, high, log = bounds(number, low, high, log, whole=whole)
        common |= {"continuous_update": False}
        start = min(max(low if number is None else number, low), high)
        if log:
            return ipywidgets.FloatLogSlider(
                value=start,
                base=10,
                min=math.log10(low),
                max=math.log10(high),
                step=step or 0.05,
                readout_format=".3g",
                **common,
            )
        if whole:
            return ipywidgets.IntSlider(value=int(start), min=int(low), max=int(high), step=int(step or 1), **common)
        step = step or 10.0 ** math.floor(math.log10((high - low) / 99))
        return ipywidgets.FloatSlider(
            value=start,
            min=low,
            max=high,
            step=step,
            readout_format=f".{max(0, -math.floor(math.log10(step)))}f",
            **common,
        )

    def _moved(self, change: Any) -> None:
        """The user moved the widget. Called on any thread: it only posts a change to the run."""
        value = change["new"]
        if value == self._shown:  # `refresh` put it there
            return
        if self._stays(value):
            self._seen = _NOTHING  # `refresh` puts the widget back where it was
            return
        self._shown = value
        if isinstance(self.widget, ipywidgets.Text) and not fits(value, self._kind):
            try:
                value = ast.literal_eval(value)
            except (SyntaxError, ValueError):
                self._asked = f"not a value: {value}"
                return
        try:
            self.run.set(self.path, value)
        except ReactorError as error:
            self._asked = str(error)
        else:
            self._asked = None
            self._target = value

    def _stays(self, value: Any) -> bool:
        """Whether a slider has not moved: a click sends the value on the slider's grid that is nearest to the parameter's."""
        before = self._value() if self._target is _NOTHING else self._target
        at, stood = self._step_of(value), self._step_of(before)
        if at is None or stood is None:
            return bool(value == before)
        return abs(at - round(at)) < 1e-6 and round(at) == round(stood)

    def _step_of(self, value: Any) -> float | None:
        """A value's distance from a slider's least value, in steps; None for other widgets and for values that are no numbers."""
        widget = self.widget
        if not isinstance(widget, _SLIDERS) or isinstance(value, bool) or not isinstance(value, (int, float)):
            return None
        if isinstance(widget, ipywidgets.FloatLogSlider):
            value = math.log(value, widget.base) if value > 0 else widget.min
        return float((min(max(value, widget.min), widget.max) - widget.min) / widget.step)

    def refresh(self) -> bool:
        """Show the run's present value; returns false once the run is over."""
        alive = self.run.is_alive
        value = self._value()
        if value == self._target:
            self._target = _NOTHING
        self.sent_bytes = 0
        if value != self._seen:
            self._seen = value
            self._show(value)
        if self.widget.disabled == alive:
            self.widget.disabled = not alive
        self._say()
        return alive

    def _show(self, value: Any) -> None:
        text = isinstance(self.widget, ipywidgets.Text)
        if value is None and not text:
            return
        self._shown = _text(value) if text else value
        self.widget.value = self._shown
        self._shown = self.widget.value  # a slider keeps within its ends

    def _say(self) -> None:
        words = self.words()
        if words != self._said.value:
            self._said.value = words
            self.sent_bytes += _ABOUT_BYTES

    def words(self) -> str:
        """The text beside the widget: a value it cannot show, a refusal, or that the run is over."""
        values = list(self.run.parameters(self.path).values())
        same = all(v == values[0] for v in values)
        said = f"is {_text(values[0])}" if same else "differs between the members"
        if not self.run.is_alive:
            return f"{said}: run {self.run.number} is over"
        if self._asked is not None:
            return f"{said}; {self._asked}"
        if same and self.widget_value(values[0]) == self.widget.value:
            return ""
        return f"{said} until the run goes on" if self.run.state == "paused" else said

    def present(self) -> str:
        """The present value, as text."""
        return _text(self._seen)

    def widget_value(self, value: Any) -> Any:
        """A value in the form that the widget takes."""
        return _text(value) if isinstance(self.widget, ipywidgets.Text) else value

    @property
    def run_is_alive(self) -> bool:
        """True until the last tag of the run is done."""
        return self.run.is_alive

    @property
    def is_open(self) -> bool:
        """False once the widget was closed."""
        return self.box.comm is not None

    def close(self) -> None:
        """Close the widget and the widgets inside it."""
        for widget in (self.widget, self._said, self.box):
            widget.layout.close()
            widget.close()

    @property
    def model_id(self) -> str:
        """Of the widget that is shown."""
        return str(self.box.model_id)


def bounds(
    value: float | None, low: float | None, high: float | None, log: bool | None, *, whole: bool
) -> tuple[float, float, bool]:
    """A slider's ends, and whether it is logarithmic.

    The default range of a learning rate such as 2.5e-4 is two orders of magnitude around it, that of a probability is [0, 1], that of
    other numbers ends at four times the value (integers: ten times).

    Raises:
        ValueError: if the least value is not below the greatest, or not positive on a logarithmic slider.
    """
    size = abs(value) if value else (10.0 if whole else 1.0)
    if log is None:
        small = value is not None and not whole and 0 < value < 0.01
        wide = low is not None and high is not None and not whole and low > 0 and high / low >= 1000
        log = wide or (small and (low is None or low > 0) and (high is None or high <= 1))
    if log:
        decade = 10.0 ** math.floor(math.log10(size))
        low = decade / 100 if low is None else low
        high = max(decade * 100, low * 100) if high is None else high
        if low <= 0:
            raise ValueError(f"a slider by orders of magnitude begins above 0, not at {low:g}")
    else:
        most = size * 10 if whole else (1.0 if size <= 1 else size * 4)
        low = (0.0 if (value or 0) >= 0 else -most) if low is None else low
        high = max(most, low + 1) if high is None else high
    if not low < high:
        raise ValueError(f"a slider's least value, {low:g}, is below its greatest, {high:g}")
    return low, high, log


def _name(choice: Any) -> str:
    return str(getattr(choice, "name", choice))


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else value if isinstance(value, str) else repr(value)
