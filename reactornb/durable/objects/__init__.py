"""What the reactors of a run hold, as data, and back.

    known = Known(type(one) for one in instances)
    tree = capture(instances, known)            # plain data, independent of the program; `runtime.codec.encode(tree)` needs no `Classes`
    restore([tree], fresh, known)               # into instances on which startup has just been run

`rehearse` does both at once and compares, so that a program that cannot be saved says so at its first tag.
Knows of reactors as instances with attributes; not of runs, tags and files.

`take` walks from the reactors to a `tree` of nodes, each object once (`take_types`: kind by kind; `attributes`: without `vars`; `windows`: the
memory of arrays and tensors). `put` finds for each node the live object that startup made in the same place, makes what is missing
(`put_plain`, `put_named`, `put_arrays`, `put_objects`; `placing`: where arrays lie), and fills all. `known` says what data may name.

What does not come back as it was: the order in which a set goes through its members, where members were removed or their hashes collide,
since Python does not say how they lie (a dict keeps its order: `dict.fromkeys(...)`); whether two equal numbers, strings or tuples of such are one
object; a graph of gradients, locks, files and generators, which are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reactornb.durable.objects.compare import differences
from reactornb.durable.objects.errors import CannotRestoreError, NotSavableError
from reactornb.durable.objects.known import Known, savable, transient
from reactornb.durable.objects.known import transients as transient_names
from reactornb.durable.objects.put import Putting
from reactornb.durable.objects.rehearsal import Trial, put_on_trial, rehearse
from reactornb.durable.objects.take import Taking
from reactornb.durable.objects.tree import Tree
from reactornb.model import Reactor

__all__ = [
    "CannotRestoreError",
    "Known",
    "NotSavableError",
    "Tree",
    "Trial",
    "capture",
    "differences",
    "put_on_trial",
    "rehearse",
    "restore",
    "savable",
    "transient",
    "transient_names",
]


def capture(
    instances: Sequence[Reactor],
    known: Known,
    *,
    values: Sequence[Any] = (),
    anchors: Mapping[str, Any] | None = None,
    strict: bool = True,
) -> Tree:
    """What some reactors hold, independent of them when this returns.

    Nothing of these reactors may run meanwhile; others may. What two of them share is one object again after `restore`.

    Args:
        instances: running instances.
        known: of this program.
        values: what was sent, and may be what these reactors hold, too.
        anchors: what has a name in this process and in the one that restores, such as handles of ports: by name.
        strict: refuse what could be restored only if startup makes it; False: at the first tag, where `rehearse` tries.

    Raises:
        NotSavableError: for something that cannot be saved.
    """
    return Taking(known, anchors, strict=strict).take(instances, values)


def restore(
    trees: Sequence[Tree], instances: Sequence[Reactor], known: Known, *, anchors: Mapping[str, Any] | None = None
) -> list[list[Any]]:
    """Put back what reactors held, into instances on which startup has just been run; in place, so that whatever refers to it still does.

    Executes nothing that data name: no constructor, no import. Called are the program's own `load`, `__hash__` and `__eq__`.

    Args:
        trees: what was captured of all reactors, in one or several parts.
        instances: those of the new run.
        known: of this program.
        anchors: see `capture`.

    Returns:
        Of each tree, the values that were captured with it.

    Raises:
        CannotRestoreError: if data and program do not fit, or the data are damaged. The instances are then not to be used.
    """
    return Putting(trees, instances, known, anchors).put()
