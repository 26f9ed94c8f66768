"""The form in which state is kept: nodes that refer to each other, made of plain data only.

A node is a list `[tag, head, parts]`: what kind of thing, what belongs to it alone, and the values that it refers to. A part is a leaf, which
stands for itself (a number, text, a date, a tuple of such), or a node. Nodes are lists so that two that are one stay one when the tree is
encoded, and so that a node can be told from a leaf: nothing else in `parts` is a list.
"""

from __future__ import annotations

import datetime
import decimal
import fractions
import pathlib
import struct
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy

__all__ = [
    "FORMAT",
    "LEAVES",
    "Node",
    "Path",
    "Tree",
    "Unfit",
    "are_leaves",
    "is_leaf",
    "label",
    "path_to",
    "paths",
    "rows",
    "said_of_array",
    "same_array",
    "same_head",
    "walk",
]

FORMAT = 1
Node = list[Any]
Tree = dict[str, Any]

LEAVES: frozenset[type] = frozenset(
    {type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented)}
)
"""What stands for itself; tested first, since most values are of these."""

_FIXED: frozenset[type] = frozenset(
    {
        range, decimal.Decimal, fractions.Fraction, datetime.timedelta, datetime.date, datetime.timezone, uuid.UUID,
        pathlib.PurePosixPath, pathlib.PureWindowsPath, pathlib.PosixPath, pathlib.WindowsPath,
    }
)  # fmt: skip
_MOMENTS = (datetime.datetime, datetime.time)
_NOT_FIXED_SCALARS = (numpy.void, numpy.object_)


def are_leaves(cls: type) -> bool | None:
    """Whether all values of a type are leaves, or none of them; None if it depends on the value."""
    if cls in LEAVES or cls in _FIXED:
        return True
    if issubclass(cls, numpy.generic):
        return not issubclass(cls, _NOT_FIXED_SCALARS) and cls.__module__ == "numpy"
    if cls in (tuple, slice, *_MOMENTS) or issubclass(cls, numpy.dtype):
        return None
    return cls.__module__ == "torch" and cls in _of_torch()


def is_leaf(value: Any) -> bool:
    """Whether a value cannot change and stands for itself: all that is said about it is its type and what it is equal to."""
    cls = type(value)
    if cls is tuple:
        return LEAVES.issuperset(map(type, value)) or all(map(is_leaf, value))
    known = are_leaves(cls)
    if known is not None:
        return known
    if cls is slice:
        return is_leaf(value.start) and is_leaf(value.stop) and is_leaf(value.step)
    if cls in _MOMENTS:
        return value.tzinfo is None or type(value.tzinfo) is datetime.timezone
    return not value.hasobject and value.kind != "T" and not value.metadata


def _of_torch() -> tuple[type, ...]:
    torch: Any = sys.modules.get("torch")
    return () if torch is None else (torch.dtype, torch.device, torch.Size)


# -- where a part lies ----------------------------------------------------------------------------------------------------

_Label = Callable[[Any, Sequence[Any], int], str]


def _of_names(names: Sequence[str], at: int) -> str:
    return f".{names[at]}" if at < len(names) else f"[{at}]"


def _of_dict(_: Any, parts: Sequence[Any], at: int) -> str:
    key = parts[at - at % 2]
    words = f"key {at // 2}" if type(key) is list else f"{key!r:.40}"
    return f"[{words}]" if at % 2 else f".keys()[{at // 2}]"


_LABELS: dict[str, _Label] = {
    "dict": _of_dict,
    "OrderedDict": _of_dict,
    "defaultdict": lambda _, parts, at: ".default_factory" if not at else _of_dict(None, parts[1:], at - 1),
    "object": lambda head, _, at: _of_names(head[1], at),
    "extended": lambda head, _, at: _of_names(head[2], at - head[3]) if at >= head[3] else f"[{at}]",
    "array": lambda head, _, at: _of_names(head[4] if type(head) is tuple else (), at),
    "view": lambda head, _, at: _of_names(("base", *head[6]), at),
    "tensor": lambda head, _, at: _of_names(("untyped_storage()", "grad", *head[7]), at),
    "rng": lambda _head, _parts, _at: ".bit_generator",
    "bits": lambda _head, _parts, _at: ".seed_seq",
    "method": lambda _head, _parts, _at: ".__self__",
    "partial": lambda _, __, at: ".func" if not at else f".args[{at - 1}]",
    "closure": lambda head, _, at: _of_names(head[2], at),
    "cell": lambda _head, _parts, _at: "",
    "proxy": lambda _head, _parts, _at: "",
    "weakref": lambda _head, _parts, _at: "()",
    "saved": lambda head, _, __: f".{head[1]}()",
    "adapted": lambda _head, _parts, _at: " as data",
    "iterator": lambda _head, _parts, _at: " over",
}  # fmt: skip


def said_of_array(node: Node) -> tuple[Any, Any, bool, str | None, tuple[str, ...]]:
    """What an "array" node says: its elements, in C order; the order in which they lie ("F": transposed); whether they may be changed; the name
    of its class, if it is not NumPy's own, and those of its attributes. The head of a usual array is the elements alone: there may be many.
    """
    head = node[1]
    return head if type(head) is tuple else (head, "C", True, None, ())


def label(node: Node, at: int) -> str:
    """How one gets from a node to one of its parts, as in Python."""
    words = _LABELS.get(node[0])
    return words(node[1], node[2], at) if words is not None else f"[{at}]"


class Unfit(Exception):  # noqa: N818 - caught where the path to it is known
    """A node that does not fit the program, or is damaged.

    Attributes:
        node: which.
    """

    def __init__(self, node: Node, words: str) -> None:
        super().__init__(words)
        self.node = node


def walk(trees: Sequence[Tree]) -> Iterator[Node]:
    """Every node, each once, in an order that the trees give."""
    seen: set[int] = set()
    todo = [part for tree in trees for *_, parts in rows(tree) for part in parts if type(part) is list][::-1]
    while todo:
        node = todo.pop()
        if id(node) not in seen:
            seen.add(id(node))
            yield node
            todo += [part for part in node[2] if type(part) is list][::-1]


def rows(tree: Tree) -> list[Any]:
    """Where one may start: (full name of the reactor, its class, names of its attributes, their parts); and the values, of a reactor without a name."""
    values = tree.get("values", ())
    return [*tree["reactors"], ("", "", tuple(f"value[{at}]" for at in range(len(values))), values)]


class Path(NamedTuple):
    """How one gets to a node, the shortest way there is.

    Attributes:
        reactor: full name of the reactor; "" if it is reached from none.
        words: something like `self.envs[0].lock`, or `value[3].lock`.
        holder: the nearest object on the way of which it, or what contains it, is an attribute; None: the reactor is.
        attribute: the name of that attribute.
    """

    reactor: str
    words: str
    holder: Node | None
    attribute: str


def path_to(tree: Tree, wanted: Node) -> Path:
    """How one gets to a node."""
    return next((path for path, node in paths(tree) if node is wanted), Path("", "", None, ""))


def paths(tree: Tree) -> Iterator[tuple[Path, Node]]:
    """Every node by its shortest path, the short ones first."""
    seen: set[int] = set()
    level: list[tuple[Path, Node]] = []
    for name, _, names, parts in rows(tree):
        for one, part in zip(names, parts, strict=False):
            if type(part) is list:
                level.append((Path(name, f"self.{one}" if name else one, None, one), part))
    while level:
        below = []
        for path, node in level:
            if id(node) in seen:
                continue
            seen.add(id(node))
            yield path, node
            for at, part in enumerate(node[2]):
                if type(part) is list:
                    words = label(node, at)
                    is_attribute = node[0] in ("object", "extended") and words.startswith(".")
                    holder, attribute = (node, words[1:]) if is_attribute else (path.holder, path.attribute)
                    below.append((Path(path.reactor, path.words + words, holder, attribute), part))
        level = below


# -- equality by bits -----------------------------------------------------------------------------------------------------


def same_head(one: Any, other: Any) -> bool:
    """Whether two leaves or heads are the same: by type and bits, so that 1, True and 1.0 differ, 0.0 and -0.0, and a NaN is itself."""
    cls = type(one)
    if cls is not type(other):
        return False
    if cls is float:
        return struct.pack("d", one) == struct.pack("d", other)
    if cls is complex:
        return struct.pack("dd", one.real, one.imag) == struct.pack("dd", other.real, other.imag)
    if cls in (tuple, list):
        return len(one) == len(other) and all(map(same_head, one, other))
    if cls is dict:
        return same_head(list(one.items()), list(other.items()))
    if isinstance(one, (numpy.ndarray, numpy.generic)):
        return same_array(numpy.asarray(one), numpy.asarray(other))
    if cls is decimal.Decimal:
        return str(one) == str(other)
    return bool(one == other)


def same_array(one: Any, other: Any) -> bool:
    """Whether two arrays have the same elements, bit for bit."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    if one.dtype.kind == "T":
        return bool(one.tolist() == other.tolist())
    if not one.nbytes:
        return True
    left, right = (numpy.ascontiguousarray(a).reshape(-1).view(numpy.uint8) for a in (one, other))
    return bool(numpy.array_equal(left, right))
