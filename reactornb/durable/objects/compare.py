"""Whether two trees say the same: by values, types, and what is one object with what."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy

from reactornb.durable.objects.tree import Node, Tree, is_leaf, label, rows, said_of_array, same_head

__all__ = ["differences"]

_UNORDERED = ("set", "frozenset")
_WINDOWS = ("array", "view", "tensor")


def differences(first: Tree, second: Tree, most: int = 10) -> list[str]:
    """Where two captures differ: `main.learner: self.ring.rewards`; empty if all that counts is the same.

    Compared are values by their bits, types, and what is one object with what; not addresses, nor the order of a set.
    """
    comparing = _Comparing(most)
    left, right = ({row[0]: row for row in rows(tree)} for tree in (first, second))
    for name in [*left, *(name for name in right if name not in left)]:
        if name not in left or name not in right:
            comparing.found.append(name)
            continue
        mine, other = (dict(zip(names, parts, strict=True)) for _, _, names, parts in (left[name], right[name]))
        for one in sorted(mine.keys() ^ other.keys()):
            comparing.found.append(f"{name}: {_start(name)}{one}")
        for one in mine.keys() & other.keys():
            comparing.todo.append((mine[one], other[one], (f"{name}: {_start(name)}{one}", None, 0)))
    comparing.run()
    return sorted(comparing.found)[:most]


def _start(reactor: str) -> str:
    return "self." if reactor else ""


# How one gets to two nodes: the way to what they are parts of, that node of the first tree, and their place in it. Words are made of it when a
# difference is found; a deep structure has as many ways as nodes, each a little longer.
_Trail = tuple[Any, Node | None, int]


def _words(trail: _Trail) -> str:
    labels: list[str] = []
    before, node, at = trail
    while node is not None:
        labels.append(label(node, at))
        before, node, at = before
    return str(before) + "".join(labels[::-1])


class _Comparing:
    def __init__(self, most: int) -> None:
        self.found: list[str] = []
        self.todo: deque[tuple[Any, Any, _Trail]] = deque()
        self._most = most
        self._there: dict[int, int] = {}  # id of a node of the first -> id of its counterpart
        self._back: dict[int, int] = {}
        self._groups: dict[
            int, tuple[int, int]
        ] = {}  # id of a carrier -> id of its counterpart, and how far apart offsets are
        self._groups_back: dict[int, int] = {}

    def run(self) -> None:
        while self.todo and len(self.found) < self._most:
            one, other, path = self.todo.popleft()
            if type(one) is not list or type(other) is not list:
                if type(one) is list or type(other) is list or not same_head(one, other):
                    self.found.append(_words(path))
                continue
            known = self._there.get(id(one))
            if known is not None or id(other) in self._back:
                if known != id(other):
                    self.found.append(_words(path))
                continue
            self._there[id(one)], self._back[id(other)] = id(other), id(one)
            if not self._same(one, other, path):
                self.found.append(_words(path))

    def _same(self, one: Node, other: Node, path: _Trail) -> bool:
        if one[0] in _WINDOWS and other[0] in _WINDOWS:
            return self._same_window(one, other, path)
        if one[0] != other[0]:
            return _same_class(one, other) or _same_class(other, one)
        if one[0] == "object":
            return self._same_object(one, other, path)
        if one[0] in _UNORDERED:
            return _same_members(one, other)
        if not same_head(one[1], other[1]) or len(one[2]) != len(other[2]):
            return False
        for at, (left, right) in enumerate(zip(one[2], other[2], strict=True)):
            if type(left) is list or type(right) is list or not same_head(left, right):
                self.todo.append((left, right, (path, one, at)))
        return True

    def _same_object(self, one: Node, other: Node, path: _Trail) -> bool:
        mine, others = (dict(zip(node[1][1], node[2], strict=True)) for node in (one, other))
        if one[1][0] != other[1][0] or mine.keys() != others.keys():
            return False
        self.todo.extend((mine[name], others[name], (path, one, list(mine).index(name))) for name in mine)
        return True

    def _same_window(self, one: Node, other: Node, path: _Trail) -> bool:
        (mine, place, content, parts), (others, other_place, other_content, other_parts) = map(_window, (one, other))
        if not same_head(mine, others) or len(parts) != len(other_parts):
            return False
        if place is not None and other_place is not None:
            (carrier, offset), (other_carrier, other_offset) = place, other_place
            apart = self._groups.setdefault(carrier, (other_carrier, offset - other_offset))
            if apart != (other_carrier, offset - other_offset):
                return False
            if self._groups_back.setdefault(other_carrier, carrier) != carrier:
                return False
        self.todo.extend((a, b, (path, one, at)) for at, (a, b) in enumerate(zip(parts, other_parts, strict=True)))
        if content is None or other_content is None:
            return content is other_content
        return bool(numpy.array_equal(content, other_content))


def _same_class(one: Node, other: Node) -> bool:
    """A class that has a name only since startup made an object of it."""
    return bool(one[0] == "kept" and other[0] == "class" and one[1] == f"class {other[1]}")


def _same_members(one: Node, other: Node) -> bool:
    """Members that are leaves; objects are compared wherever else they are."""
    if len(one[2]) != len(other[2]):
        return False
    mine, others = ({(type(part), part) for part in node[2] if is_leaf(part)} for node in (one, other))
    return mine == others


def _window(node: Node) -> tuple[tuple[Any, ...], tuple[int, int] | None, Any, list[Any]]:
    """What is said of a window; its place in memory; its bytes; its other parts."""
    parts = list(node[2])
    said: tuple[Any, ...]
    if node[0] == "array":
        data, order, writeable, name, names = said_of_array(node)
        if data.dtype.kind == "T":
            return ("strings", data, writeable), None, None, parts
        lying = data if order == "C" else data.T
        said = (lying.dtype, lying.shape, _strides(lying), writeable, name, names)
        return said, (id(node), 0), _bytes(data, lying.shape, _strides(lying), 0, lying.dtype.itemsize), parts
    carrier = parts.pop(0)
    block = carrier[1] if carrier[0] == "block" else said_of_array(carrier)[0]
    if node[0] == "view":
        dtype, shape, strides, offset, writeable, name, names = node[1]
        said = (
            dtype,
            shape,
            tuple(s if n > 1 else 0 for n, s in zip(shape, strides, strict=True)),
            writeable,
            name,
            names,
        )
    else:
        kind, dtype, shape, strides, offset, device, requires_grad, names = node[1]
        strides = tuple(s * dtype.itemsize for s in strides)
        said = (kind, dtype, shape, strides, device, requires_grad, names)
    return said, (id(carrier), offset), _bytes(block, shape, strides, offset, dtype.itemsize), parts


def _strides(array: Any) -> tuple[int, ...]:
    return tuple(int(s) if n > 1 else 0 for n, s in zip(array.shape, array.strides, strict=True))


def _bytes(block: Any, shape: tuple[int, ...], strides: tuple[int, ...], offset: int, itemsize: int) -> Any:
    if 0 in shape or not itemsize:
        return None
    raw = numpy.ascontiguousarray(block).reshape(-1).view(numpy.uint8)
    return numpy.ndarray((*shape, itemsize), numpy.uint8, raw, offset, (*strides, 1))
