"""The trials of a sweep as rows: a table of trials, a table of configurations, a `pandas.DataFrame`. `viz.sweep_view` shows them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from reactornb.errors import MissingPackageError
from reactornb.sweeps.trial import Trial, worded

__all__ = ["Configuration", "Summary", "Table", "to_frame"]

_MOST = 200  # rows that are printed
_VIEW = "reactornb.viz.sweep_view"  # above this package: named, and loaded when somebody looks


@dataclass(frozen=True, slots=True)
class Configuration:
    """Trials that differ in their seeds only.

    Attributes:
        swept: what tells it from the others.
        trials: all of them.
        scores: of those that came to their end.
    """

    swept: dict[str, Any]
    trials: tuple[Trial, ...]
    scores: tuple[float, ...]

    @property
    def mean(self) -> float | None:
        """The mean of the scores; None without any."""
        return math.fsum(self.scores) / len(self.scores) if self.scores else None

    @property
    def deviation(self) -> float | None:
        """Their standard deviation, as of a sample; None for fewer than two."""
        mean = self.mean
        if mean is None or len(self.scores) < 2:
            return None
        return math.sqrt(math.fsum((score - mean) ** 2 for score in self.scores) / (len(self.scores) - 1))

    @property
    def parameters(self) -> dict[str, Any]:
        """All parameters that its trials are made with."""
        return self.trials[0].given


@dataclass(frozen=True, slots=True)
class Rows:
    """A table of words, with the values by which its columns are sorted; it displays itself.

    Attributes:
        heads: of the columns.
        rows: of each row the words.
        values: of each row a number or a text for each column; None where there is nothing.
        states: of each row, what colors it; "" for none.
        titles: of each row, what is said when the mouse is over it.
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    values: tuple[tuple[Any, ...], ...]
    states: tuple[str, ...]
    titles: tuple[str, ...]

    def __repr__(self) -> str:
        """As lines of columns; what is empty in all rows is left out."""
        columns = [column for column in zip(self.heads, *self.rows, strict=True) if not self.rows or any(column[1:])]
        widths = [max(map(len, column)) for column in columns]
        lines = [
            "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in zip(*columns, strict=True)
        ]
        more = [f"and {len(self.rows) - _MOST} more"] if len(self.rows) > _MOST else []
        return "\n".join([*lines[: _MOST + 1], *more])

    def _repr_html_(self) -> str:
        return str(import_module(_VIEW).table_html(self))


class Table(Rows):
    """The trials of a sweep."""

    __slots__ = ()

    @classmethod
    def of(cls, trials: Sequence[Trial]) -> Table:
        """A row for each."""
        swept = swept_names(trials)
        with_seed = len({trial.seed for trial in trials}) > 1
        kept = any(trial.kept for trial in trials)
        with_fingerprint = any(trial.fingerprint for trial in trials)
        heads = ["trial", *swept, *(["seed"] if with_seed else []), "state", "score", "seconds"]
        heads += [*(["kept as"] if kept else []), *(["fingerprint"] if with_fingerprint else [])]
        rows, values = [], []
        for trial in trials:
            run = trial.run
            seconds = trial.seconds if run is None else run.seconds
            row: list[tuple[str, Any]] = [(str(trial.number), trial.number)]
            row += [
                (worded(trial.swept[n]), sortable(trial.swept[n])) if n in trial.swept else ("", None) for n in swept
            ]
            row += [(str(trial.seed), trial.seed)] if with_seed else []
            row += [(trial.state, trial.state), ("" if trial.score is None else f"{trial.score:.4g}", trial.score)]
            if run is not None:  # whole ones, so that a table that is looked at ten times a second changes once
                seconds = float(int(seconds))
            row += [(f"{seconds:.{0 if run is not None else 1}f}" if seconds else "", seconds or None)]
            row += [(trial.kept, trial.kept or None)] if kept else []
            row += [((trial.fingerprint or "")[:12], trial.fingerprint)] if with_fingerprint else []
            rows.append(tuple(words for words, _ in row))
            values.append(tuple(value for _, value in row))
        states = tuple(trial.state for trial in trials)
        titles = tuple("\n".join(filter(None, (trial.code, trial.failure, trial.note))) for trial in trials)
        return cls(tuple(heads), tuple(rows), tuple(values), states, titles)


class Summary(Rows):
    """The configurations of a sweep, the best first.

    Attributes:
        configurations: one for each row.
    """

    __slots__ = ("configurations",)
    configurations: tuple[Configuration, ...]

    @classmethod
    def of(cls, trials: Sequence[Trial], *, maximize: bool = True) -> Summary:
        """A row for each configuration."""
        swept = swept_names(trials)
        groups: dict[str, list[Trial]] = {}
        for trial in trials:
            groups.setdefault(trial.group, []).append(trial)
        made = [
            Configuration(
                own[0].swept, tuple(own), tuple(t.score for t in own if t.score is not None and t.state == "finished")
            )
            for own in groups.values()
        ]
        sign = -1.0 if maximize else 1.0
        made.sort(key=lambda c: (c.mean is None, sign * (c.mean or 0.0)))
        heads = (*swept, "score", "±", "least", "greatest", "trials")
        rows, values = [], []
        for c in made:
            numbers = (c.mean, c.deviation, min(c.scores, default=None), max(c.scores, default=None))
            done = f"{len(c.scores)}" if len(c.scores) == len(c.trials) else f"{len(c.scores)} of {len(c.trials)}"
            words = [worded(c.swept[n]) if n in c.swept else "" for n in swept]
            rows.append((*words, *("" if v is None else f"{v:.4g}" for v in numbers), done))
            values.append((*(sortable(c.swept.get(n)) for n in swept), *numbers, len(c.scores)))
        table = cls(heads, tuple(rows), tuple(values), ("",) * len(made), tuple(c.trials[0].code for c in made))
        object.__setattr__(table, "configurations", tuple(made))
        return table


def swept_names(trials: Sequence[Trial]) -> list[str]:
    """What the trials differ in, in the order in which it was given."""
    return list(dict.fromkeys(name for trial in trials for name in trial.swept))


def sortable(value: Any) -> Any:
    """A number as it is, anything else as its words."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    return None if value is None else worded(value)


def to_frame(trials: Sequence[Trial]) -> Any:
    """See `Sweep.to_frame`."""
    try:
        pandas: Any = import_module("pandas")
    except ModuleNotFoundError as error:
        raise MissingPackageError("to_frame() of a sweep needs pandas: pip install pandas.") from error
    rows = [
        {
            "trial": trial.number, "program": trial.program, **trial.parameters, "seed": trial.seed, "state": trial.state,
            "score": trial.score, "seconds": trial.seconds, "fingerprint": trial.fingerprint, "kept": trial.kept or None,
            "failure": trial.failure or None,
        }
        for trial in trials
    ]  # fmt: skip
    return pandas.DataFrame(rows)
