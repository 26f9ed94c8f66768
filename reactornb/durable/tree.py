"""`Tree`: runs and the branches that began from them, each after the one that it began from.

It draws nothing: `viz.runs_tree` does, and is loaded for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import NamedTuple

from reactornb.durable.stored import StoredRun

__all__ = ["Branch", "Tree"]

_VIEW = "reactornb.viz.runs_tree"


class Branch(NamedTuple):
    """A run in its place in the tree.

    Attributes:
        run: the run.
        depth: how many runs it descends from; 0 for one that began by itself, or whose parent is not here.
        parent: the place in the tree of the run that it began from; None if that is not here.
    """

    run: StoredRun
    depth: int
    parent: int | None


class Tree:
    """Runs and their branches.

    Args:
        runs: all that may belong to it.
        of: only this run, those that it descends from, and what began from them; all of them unless given.

    Attributes:
        branches: each after the run that it began from, the branches of one run by where they began.
    """

    def __init__(self, runs: Iterable[StoredRun], of: StoredRun | None = None) -> None:
        known = {run.id: run for run in runs}
        children: dict[str, list[StoredRun]] = {}
        for run in known.values():
            children.setdefault(_parent(run, known), []).append(run)
        self.branches: list[Branch] = []
        self._placed: set[str] = set()  # what says of itself that it descends from itself is placed once
        roots = children.get("", []) if of is None else [_root(of, known)]
        for root in sorted(roots, key=lambda run: (str(run.began), run.id)):
            self._place(root, children)
        if of is None:
            for run in known.values():
                self._place(run, children)

    def _place(self, root: StoredRun, children: dict[str, list[StoredRun]]) -> None:
        waiting: list[tuple[StoredRun, int, int | None]] = [(root, 0, None)]
        while waiting:
            run, depth, parent = waiting.pop()
            if run.id in self._placed:
                continue
            self._placed.add(run.id)
            here = len(self.branches)
            self.branches.append(Branch(run, depth, parent))
            own = sorted(children.get(run.id, []), key=_began_at, reverse=True)
            waiting += [(child, depth + 1, here) for child in own]

    @property
    def runs(self) -> list[StoredRun]:
        """The runs, in the tree's order."""
        return [branch.run for branch in self.branches]

    def __repr__(self) -> str:
        return str(import_module(_VIEW).tree_text(self))

    def _repr_html_(self) -> str:
        return str(import_module(_VIEW).tree_html(self))


def _parent(run: StoredRun, known: dict[str, StoredRun]) -> str:
    """The id of a run's parent; "" if it has none here."""
    return run.parent.run if run.parent is not None and run.parent.run in known else ""


def _root(run: StoredRun, known: dict[str, StoredRun]) -> StoredRun:
    seen = {run.id}
    while (parent := _parent(run, known)) and parent not in seen:
        seen.add(parent)
        run = known[parent]
    return run


def _began_at(run: StoredRun) -> tuple[int, int, str]:
    assert run.parent is not None
    return (*run.parent.tag, run.id)
