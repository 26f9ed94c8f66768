"""What a run leaves: `Result`, and the exit status of a process that ran a program."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from reactornb.errors import ReactionError
from reactornb.runtime.metrics import Metric
from reactornb.runtime.trace import Trace
from reactornb.tags import Tag

__all__ = ["Plotted", "Result", "exit_code"]

# What draws curves is above the runtime, which imports nothing of it: it is named here, and loaded when somebody asks for a picture. So
# `run.plot()` works in every process without patching `Run`, and a run that nobody plots loads no drawing code.
_CURVES = "reactornb.viz.curves"


class Plotted:
    """A run or its result, with learning curves."""

    __slots__ = ()

    def plot(self, metrics: Iterable[str] | None = None, **options: Any) -> Any:
        """The learning curves as a Matplotlib figure, also while the run goes on.

        Args:
            metrics: which ones, in this order; all of them unless given.
            options: see `reactornb.viz.plot`.

        Raises:
            ReactorError: if nothing was logged, or for a metric that was not.
        """
        return import_module(_CURVES).plot(self, metrics, **options)


@dataclass(frozen=True, slots=True)
class Result(Plotted):
    """How a run ended.

    Attributes:
        tag: the last tag.
        seconds: physical duration.
        reactions: how many reactions ran.
        workers: how many threads.
        fingerprint: hash over tag, port and value, if it was asked for.
        trace: what ran, if it was asked for.
        metrics: see `Run.metrics`.
    """

    tag: Tag
    seconds: float
    reactions: int
    workers: int
    fingerprint: str | None
    trace: Trace | None
    metrics: Mapping[str, Metric]

    def __repr__(self) -> str:
        """In a few lines: the metrics by name and number of values, not each of them."""
        parts = [
            f"tag {self.tag}",
            f"{self.seconds:.1f} s",
            f"{self.reactions:,} reactions",
            f"{self.workers} worker{'s' if self.workers > 1 else ''}",
        ]
        if self.fingerprint is not None:
            parts.append(f"fingerprint {self.fingerprint}")
        if self.trace is not None:
            parts.append("trace kept")
        lines = [f"<result: {', '.join(parts)}"]
        lines += [
            f"   {name}: {len(metric):,} value{'s' if len(metric) > 1 else ''}, the last {metric[-1]:.6g}"
            for name, metric in self.metrics.items()
        ]
        return "\n".join(lines) + ">"


def exit_code(error: BaseException | None) -> int:
    """The exit status of a process that ran a program: what a reaction passed to `sys.exit`, or 1 for a failure."""
    if error is None:
        return 0
    cause = error.__cause__ if isinstance(error, ReactionError) else error
    if isinstance(cause, SystemExit) and (cause.code is None or isinstance(cause.code, int)):
        return cause.code or 0
    return 1
