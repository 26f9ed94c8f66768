"""Words beside curves: numbers, what tells runs from each other, groups of runs, and marks where a parameter was changed.

It reads runs, live ones and stored ones, and results; it draws nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from reactornb.errors import ReactorError
from reactornb.runtime import Result, Run
from reactornb.runtime.result import Plotted
from reactornb.viz.series import Series

if TYPE_CHECKING:
    from reactornb.durable.stored import StoredRun  # which brings the reading of files with it

    type AnyRun = Run | Result | StoredRun
    type SomeRuns = AnyRun | Iterable[AnyRun] | Mapping[str, AnyRun | Iterable[AnyRun]]

__all__ = ["COLORS", "Mark", "grouped", "label_of", "legends", "marks_of", "number", "told_apart", "words"]

# Okabe and Ito's palette, told apart by everyone; black and yellow are left out, being lost on one of the two themes.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")


def number(value: float) -> str:
    """A value as a legend shows it: `153.2`, `1,234,567`, `2.5e-05`."""
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.4g}"


def words(series: Mapping[str, Series]) -> str:
    """The curves in words, one line each."""
    width = max((len(name) for name in series), default=0)
    lines = [
        f"{name:<{width}}  {number(s.last)}  ({s.count:,} values, {number(s.least)} to {number(s.greatest)})"
        for name, s in series.items()
    ]
    return "\n".join(lines) or "nothing logged yet"


# -- several runs ----------------------------------------------------------------------------------------------------------


def grouped(runs: SomeRuns) -> tuple[list[AnyRun], list[str] | None]:
    """The runs of what may be one run, several, or several in groups by name; and the group of each, None unless they were named.

    Raises:
        ReactorError: if one of them is no run.
    """
    if isinstance(runs, Plotted):
        return [runs], None
    if not isinstance(runs, Mapping):
        return _checked(list(runs)), None
    chosen: list[AnyRun] = []
    names: list[str] = []
    for name, own in runs.items():
        members = _checked([own] if isinstance(own, Plotted) else list(own))
        chosen += members
        names += [str(name)] * len(members)
    return chosen, names


def _checked(runs: list[Any]) -> list[AnyRun]:
    for run in runs:
        if not isinstance(run, Plotted):
            raise ReactorError(
                f"curves are of runs, and of groups of runs by name, such as plot({{'lr 1e-3': runs}}), not of {run!r:.80} (a {type(run).__name__})."
            )
    return runs


def told_apart(runs: Sequence[AnyRun]) -> list[str]:
    """For each run the parameters, besides the seed, that differ from the other runs, such as "learning_rate=0.01"; "" if none do.

    Programs' names are compared first, then the parameters of the outermost reactors, then those of contained reactors.
    """
    facts = [_facts(run) for run in runs]
    known = list(dict.fromkeys(name for values in facts for name in values))
    differing = [name for name in known if len({values.get(name, "") for values in facts}) > 1]
    # Differences in contained reactors usually follow from the outer ones, which say enough.
    outer = [name for name in differing if "." not in name]
    return [
        ", ".join(values[n] if not n else f"{n}={values[n]}" for n in (outer or differing[:3]) if n in values)
        for values in facts
    ]


def legends(runs: Sequence[AnyRun], groups: Sequence[str]) -> list[str]:
    """The shortest label of each run that tells it from the others: its name on disk, its group, the seed where seeds differ; its number where
    that is not enough.
    """
    seeds = [getattr(run, "seed", None) for run in runs]
    several = len(set(seeds)) > 1
    labels = [
        ", ".join(filter(None, (_kept_name(run), group, f"seed {seed}" if several and seed is not None else "")))
        for run, group, seed in zip(runs, groups, seeds, strict=True)
    ]
    return [
        label if label and labels.count(label) == 1 else ", ".join(filter(None, (_numbered(run, place), label)))
        for place, (run, label) in enumerate(zip(runs, labels, strict=True))
    ]


def label_of(run: AnyRun) -> str:
    """A run by itself."""
    if isinstance(run, Result):
        return f"{run.workers} workers, {run.tag}"
    return f"run {run.number}, seed {run.seed}" if isinstance(run, Run) else f"{run.id}, seed {run.seed}"


def _kept_name(run: AnyRun) -> str:
    """The name on disk, which a user chose or sees there; "" if it has none."""
    if isinstance(run, Result):
        return ""
    if isinstance(run, Run):
        return "" if run.kept is None else str(run.kept.name)
    return run.id


def _numbered(run: AnyRun, place: int) -> str:
    return f"run {run.number if isinstance(run, Run) else place + 1}"


def _facts(run: AnyRun) -> dict[str, str]:
    """The program's name as "", and the parameters besides seeds, by their names below the root."""
    if isinstance(run, Result):
        return {}
    if isinstance(run, Run):
        program, graph = run.program.name, run.program.graph
        parameters = {
            f"{node.name}.{name}": value for node in graph.reactors for name, value in node.parameters.items()
        }
    else:
        program, parameters = run.program, run.parameters
    own = {full.partition(".")[2] or full: value for full, value in parameters.items()}
    return {"": program} | {name: _brief(value) for name, value in own.items() if "seed" not in name.rpartition(".")[2]}


def _brief(value: Any) -> str:
    """A parameter's value in a form that compares equal across programs."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (str, int, bool, type(None))):
        return str(value)
    if callable(value):  # the same lambda in two programs counts as equal
        return getattr(value, "__qualname__", type(value).__name__)
    shown = repr(value)
    return type(value).__name__ if " at 0x" in shown else shown[:60]


# -- changes ---------------------------------------------------------------------------------------------------------------


class Mark(NamedTuple):
    """A change of a parameter while a run went on.

    Attributes:
        tag: before whose reactions it took effect.
        words: `learner.learning_rate 0.001 → 0.0001`.
    """

    tag: tuple[int, int]
    words: str


def marks_of(run: AnyRun) -> list[Mark]:
    """The changes of a run's parameters so far, by tag; one for what the members of a bank were all told."""
    if isinstance(run, Result):
        return []
    alike: dict[tuple[tuple[int, int], str, str, str], list[str]] = {}
    for change in run.changes:
        path = change.path.partition(".")[2] or change.path
        key = (
            (change.tag.time_ns, change.tag.microstep),
            path.rpartition(".")[2],
            _brief(change.old),
            _brief(change.new),
        )
        alike.setdefault(key, []).append(path)
    return [
        Mark(tag, f"{paths[0] if len(paths) == 1 else f'{name} of {len(paths)} reactors'} {old} → {new}")
        for (tag, name, old, new), paths in alike.items()
    ]
