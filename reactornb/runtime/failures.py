"""How a level ends in which a reaction raised: in the same state for any number of workers.

The failure that counts is that of the reaction with the lowest number. All reactions of the level with lower numbers are run,
those with higher numbers count as not run, and none of them begins once a failure is known. One that had begun by then (on another worker,
or earlier because it is costly) cannot be undone: its metrics, its lines in `Run.printed` and its entry in the trace are removed,
and the state of its reactor cannot be read (`Run.instance`). What it printed on a terminal or below a cell stays there: output is not
held back until the level has succeeded, because a crash or a hang would then lose it.

This module knows nothing of threads: `batch.py` and `level_runner.py` call it after a call has raised.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["after", "finish", "lowest", "members", "not_counted"]

Failure = tuple[Any, BaseException]
"""A reaction, and the exception it raised."""


def members(item: Any) -> Sequence[Any]:
    """The reactions of an item of a level: of a group, or the reaction itself."""
    reactions: Sequence[Any] | None = getattr(item, "reactions", None)
    return (item,) if reactions is None else reactions


def lowest(failures: Iterable[Failure]) -> Failure:
    """The failure that counts."""
    return min(failures, key=_number)


def finish(reactions: Iterable[Any], failures: list[Failure]) -> list[Any]:
    """After a failure, call those reactions that still have to run: the ones with lower numbers than the failed one.

    Args:
        reactions: that have not begun.
        failures: so far, at least one; failures of these reactions are added. Other workers may append to it meanwhile.

    Returns:
        The reactions that were not called.
    """
    skipped = []
    for reaction in reactions:
        if reaction.index > lowest(failures[:])[0].index:
            skipped.append(reaction)
            continue
        try:
            reaction.call()
        except BaseException as error:  # noqa: BLE001 - a reaction may raise anything
            failures.append((reaction, error))
    return skipped


def after(item: Any, culprit: Any) -> Sequence[Any]:
    """The reactions of an item that it had not begun when one of them raised."""
    reactions = members(item)
    return reactions[reactions.index(culprit) + 1 :]


def not_counted(items: Iterable[Any], failures: Iterable[Failure]) -> list[Any]:
    """The reactions of a level that count as not run, whether they were or not, by number."""
    number = lowest(failures)[0].index
    return sorted((r for item in items for r in members(item) if r.index > number), key=_index)


def _index(reaction: Any) -> int:
    return int(reaction.index)


def _number(failure: Failure) -> int:
    return int(failure[0].index)
