"""What the names in a condition on runs mean: facts of a run, its parameters, its metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from reactornb.durable.expressions import ConditionError, Unknown
from reactornb.durable.stored import StoredRun
from reactornb.errors import UnknownNameError, suggestion

__all__ = ["FACTS", "TABLES", "check_names", "lookup_in", "parameter", "value_of"]

Name = str | tuple[str, str]

FACTS: dict[str, Callable[[StoredRun], Any]] = {
    "id": lambda run: run.id,
    "program": lambda run: run.program,
    "root": lambda run: run.root,
    "seed": lambda run: run.seed,
    "workers": lambda run: run.workers,
    "state": lambda run: run.state,
    "seconds": lambda run: run.seconds,
    "began": lambda run: None if run.began is None else f"{run.began:%Y-%m-%d %H:%M:%S}",
    "labels": lambda run: list(run.labels),
    "parent": lambda run: None if run.parent is None else run.parent.run,
    "commit": lambda run: run.commit,
    "changes": lambda run: run.change_count,
    "checkpoints": lambda run: run.checkpoint_count,
    "resumed": lambda run: run.resumed_count,
    "fingerprint": lambda run: run.fingerprint,
    "failure": lambda run: run.failure,
}

TABLES: dict[str, Callable[[StoredRun, str], Any]] = {
    "parameters": lambda run, name: run.parameters[name],
    **{
        fact: lambda run, name, fact=fact: getattr(run.summaries[name], fact)  # type: ignore[misc]
        for fact in ("last", "least", "greatest", "mean", "count")
    },
}


def value_of(run: StoredRun, name: Name) -> Any:
    """What a name means in a run.

    Raises:
        Unknown: if the run does not have it.
        ConditionError: if it could be several parameters, whose values differ.
    """
    if not isinstance(name, str):
        table, key = name
        try:
            return TABLES[table](run, key)
        except KeyError:
            raise Unknown from None
    if name in FACTS:
        return FACTS[name](run)
    try:
        return parameter(run, name)
    except Unknown:
        if name in run.summaries:
            return run.summaries[name].last
        raise


def parameter(run: StoredRun, name: str) -> Any:
    """A parameter by its full name, or by the end of it: then the outermost reactor that has it.

    Raises:
        Unknown: if the run does not have it.
        ConditionError: if several reactors at one depth have it, with different values.
    """
    parameters = run.parameters
    if name in parameters:
        return parameters[name]
    found = [full for full in parameters if full.endswith(f".{name}")]
    if not found:
        raise Unknown
    depth = min(full.count(".") for full in found)
    outer = [full for full in found if full.count(".") == depth]
    value = parameters[outer[0]]
    if any(parameters[other] != value for other in outer[1:]):
        shown = ", ".join(f"{full} = {parameters[full]!r}" for full in outer[:4])
        raise ConditionError(f"{name!r} of run {run.id} could be {shown}. Name one of them in full.", words=name)
    return value


def lookup_in(run: StoredRun) -> Callable[[Name], Any]:
    """The meaning of names in a run, as `Condition.holds` asks for it."""
    return lambda name: value_of(run, name)


def check_names(runs: Iterable[StoredRun], names: Iterable[Name]) -> None:
    """Refuse a name that no run has: it is misspelt, and would choose none.

    Raises:
        UnknownNameError: for the first one.
    """
    listed = list(runs)
    for name in names:
        if not listed or (isinstance(name, str) and name in FACTS):
            continue
        if isinstance(name, tuple) and name[0] not in TABLES:
            raise UnknownNameError(
                f"runs have no {name[0]}[{name[1]!r}]. {suggestion(name[0], TABLES)}", unknown=name[0]
            )
        if not any(_has(run, name) for run in listed):
            shown = name if isinstance(name, str) else name[1]
            raise UnknownNameError(
                f"none of these runs has {shown!r}. {suggestion(shown, _known(listed))}", unknown=shown
            )


def _has(run: StoredRun, name: Name) -> bool:
    try:
        value_of(run, name)
    except Unknown:
        return False
    except ConditionError:
        pass  # said once it is asked for
    return True


def _known(runs: list[StoredRun]) -> list[str]:
    known = dict.fromkeys(FACTS)
    for run in runs:
        known.update(dict.fromkeys(full.partition(".")[2] or full for full in run.parameters))
        known.update(dict.fromkeys(run.summaries))
    return list(known)
