"""What a level leaves behind in which a reaction raised: the same for any number of workers.

The failure that counts is that of the reaction with the lowest number. Reactions of the level with lower numbers are all run,
those with higher ones count as not run: none begins once a failure is known. One that had begun by then (another worker's, or
one handed out earlier because it is costly) cannot be taken back; what it logged, what `Run.printed` has of it, and its place in the trace, is removed,
and its reactor's state cannot be looked at (`Run.instance`). What is printed on a terminal or shown below a cell stays there; it is not
held back until the level has succeeded, since a crash or a hang would then keep it.

This module knows nothing of threads: `workers.py` and `scheduler.py` call it where a call has raised.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["after", "finish", "lowest", "members", "not_counted"]

Failure = tuple[Any, BaseException]
"""A reaction, and what it raised."""


def members(item: Any) -> Sequence[Any]:
    """The reactions of what is handed out as one: a group, or a reaction."""
    reactions: Sequence[Any] | None = getattr(item, "reactions", None)
    return (item,) if reactions is None else reactions


def lowest(failures: Iterable[Failure]) -> Failure:
    """The failure that counts."""
    return min(failures, key=_number)


def finish(reactions: Iterable[Any], failures: list[Failure]) -> list[Any]:
    """Call what has not begun when something has failed, as far as it counts.

    Args:
        reactions: not begun.
        failures: so far, at least one; those of these reactions are added. Other workers may add to it meanwhile.

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
