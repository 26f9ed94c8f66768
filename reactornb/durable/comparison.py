"""How runs differ: what they were started with, what they are made of, what came of them. Stored runs and live ones alike.

It draws nothing: `viz.runs_view` does, and is loaded for it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple

from reactornb.durable.stored import StoredRun
from reactornb.durable.summary import MetricSummary
from reactornb.errors import ReactorError
from reactornb.runtime import Run

__all__ = ["Comparison", "Described", "described", "outermost", "words_of"]

_VIEW = "reactornb.viz.runs_view"
_CURVES = "reactornb.viz.curves"
_LONGEST = 60  # characters of a value


class Described(NamedTuple):
    """A run, stored or live, in the facts that can be compared.

    Attributes:
        name: its id, or `ppo#3`.
        facts: program, seed and the like, in words; "" where it has none.
        parameters: by full name.
        versions: of Python and packages.
        sources: by cell; None of a live run, whose cells are the notebook's.
        metrics: by name.
        fingerprint: None if it has none so far.
    """

    name: str
    facts: dict[str, str]
    parameters: dict[str, Any]
    versions: dict[str, str]
    sources: dict[str, str] | None
    metrics: dict[str, MetricSummary]
    fingerprint: str | None


def described(run: StoredRun | Run) -> Described:
    """The facts of a run.

    Raises:
        DamagedRunError: if the sources of a stored run are damaged.
    """
    if isinstance(run, Run):
        parameters = {
            f"{node.name}.{name}": v for node in run.program.graph.reactors for name, v in node.parameters.items()
        }
        facts = {
            "program": run.program.name,
            "seed": str(run.seed),
            "state": run.state,
            "changes": str(len(run.changes)),
        }
        summaries = {}
        for name, metric in run.metrics.items():
            summaries[name] = MetricSummary()
            if len(metric):
                summaries[name].extend(metric.values)
        return Described(run.name, facts, parameters, run.environment, None, summaries, run.fingerprint)
    facts = {
        "program": run.program,
        "seed": "" if run.seed is None else str(run.seed),
        "state": run.state,
        "changes": str(run.change_count),
        "commit": run.commit or "",
        "parent": "" if run.parent is None else f"{run.parent.run} at {run.parent.place}",
        "graph": run.graph[:12],
    }
    sources = {} if run.problem else run.sources
    return Described(run.id, facts, run.parameters, run.versions, sources, run.summaries, run.fingerprint)


def words_of(value: Any) -> str:
    """A parameter's value in a form that is short, and equal for equal values of stored and live runs."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (tuple, list)):
        shown = f"[{', '.join(map(words_of, value))}]"
    elif isinstance(value, str):
        shown = str(value)
    elif callable(value):
        shown = getattr(value, "__qualname__", type(value).__name__)
    else:
        shown = repr(value)
        shown = type(value).__name__ if " at 0x" in shown else shown
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…"


def outermost(parameters: Mapping[str, Sequence[str]]) -> list[str]:
    """Names of parameters without those that a contained reactor was only passed on: same last name, same values."""
    shown: list[str] = []
    seen: set[tuple[str, tuple[str, ...]]] = set()
    for name in sorted(parameters, key=lambda name: name.count(".")):
        key = name.rpartition(".")[2], tuple(parameters[name])
        if key not in seen:
            seen.add(key)
            shown.append(name)
    return sorted(shown)


class Comparison:
    """How runs differ.

    Args:
        runs: stored runs and live ones, at least one.

    Raises:
        ReactorError: if there are none.

    Attributes:
        runs: as given.
        names: of each run.
        described: the facts of each.
        facts: program, seed and the like, by name: the words of each run, where they differ.
        parameters: by full name: the words of each run, "" where it has none, where they differ.
        versions: likewise.
    """

    def __init__(self, runs: Iterable[StoredRun | Run]) -> None:
        self.runs = list(runs)
        if not self.runs:
            raise ReactorError("there are no runs to compare.")
        self.described = [described(run) for run in self.runs]
        self.names = [one.name for one in self.described]
        self.facts = _differing([one.facts for one in self.described])
        self.parameters = _differing(
            [{name: words_of(value) for name, value in one.parameters.items()} for one in self.described]
        )
        self.versions = _differing([one.versions for one in self.described])

    @property
    def metrics(self) -> dict[str, list[MetricSummary | None]]:
        """By name, that of each run; None for one that logged none of it."""
        names = dict.fromkeys(name for one in self.described for name in one.metrics)
        return {name: [one.metrics.get(name) for one in self.described] for name in names}

    @property
    def same_fingerprint(self) -> bool | None:
        """Whether all runs sent the same values at the same tags; None if one of them has no fingerprint."""
        prints = {one.fingerprint for one in self.described}
        return None if None in prints else len(prints) == 1

    @property
    def sources(self) -> str:
        """How the sources of each stored run differ from those of the first one, as a unified diff; empty if they do not."""
        stored = [(one.name, one.sources) for one in self.described if one.sources is not None]
        lines: list[str] = []
        for name, own in stored[1:]:
            first_name, first = stored[0]
            for cell in sorted(first.keys() | own.keys()):
                a, b = first.get(cell, ""), own.get(cell, "")
                if a != b:
                    files = f"{first_name}/{cell}", f"{name}/{cell}"
                    lines += difflib.unified_diff(a.splitlines(), b.splitlines(), *files, lineterm="")
        return "\n".join(lines)

    def plot(self, metrics: Iterable[str] | None = None, **options: Any) -> Any:
        """Their curves overlaid, as a Matplotlib figure; see `reactornb.viz.plot`."""
        return import_module(_CURVES).plot(self.runs, metrics, **{"mean": False, **options})

    def __repr__(self) -> str:
        return str(import_module(_VIEW).comparison_text(self))

    def _repr_html_(self) -> str:
        return str(import_module(_VIEW).comparison_html(self))


def _differing(several: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """What is not the same in all of them."""
    names = dict.fromkeys(name for one in several for name in one)
    rows = {name: [one.get(name, "") for one in several] for name in names}
    return {name: values for name, values in rows.items() if len(set(values)) > 1}
