"""What the modules say that put nodes of some kind back: three functions a kind.

`MATCHES[tag](putter, node, live)` gives the live object's own parts, as they lie in the node, or None if it does not fit.
`MAKES[tag](putter, node, live)` gives the object, empty, or `PENDING` if it can be made only of its parts.
`FILLS[tag](putter, node, made, parts)` puts the parts in, and returns the object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reactornb.durable.objects.attributes import drop, put
from reactornb.durable.objects.known import transients
from reactornb.durable.objects.tree import Node

__all__ = ["MISSING", "PENDING", "Fill", "Make", "Match", "Putter", "fits_type", "pending", "set_attributes"]

Putter = Any  # a `put.Putting`
Match = Callable[[Putter, Node, Any], Sequence[Any] | None]
Make = Callable[[Putter, Node, Any], Any]
Fill = Callable[[Putter, Node, Any, list[Any]], Any]

MISSING = object()
"""Stands for what there is not."""
PENDING = object()
"""It is made when its parts are there."""


def set_attributes(value: Any, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Give an object exactly these attributes, beside those that are transient."""
    left_out = transients(type(value))
    for name in before.keys() - after.keys() - left_out:
        drop(value, name)
    for name, part in after.items():
        if type(name) is not str or name in ("__dict__", "__class__", "__weakref__"):
            raise ValueError(f"{name!r:.40} is no attribute of a value's own")
        if before.get(name, MISSING) is not part:
            put(value, name, part)


def pending(_: Putter, __: Node, ___: Any) -> Any:
    """Of what can be made only of its parts."""
    return PENDING


def fits_type(kind: type) -> Match:
    """Of what any object of a type stands for."""

    def fits(_: Putter, __: Node, live: Any) -> Sequence[Any] | None:
        return () if type(live) is kind else None

    return fits
