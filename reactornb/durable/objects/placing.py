"""Where arrays and tensors come to lie when state is put back: in the memory of those that startup made, wherever that fits, so that whatever else
looks at it sees the same; in new memory otherwise.

A *group* is one carrier (an array, or a block of bytes) and the views and tensors on it; see `windows`.
"""

from __future__ import annotations

import sys
from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Any

import numpy

from reactornb.durable.objects.tree import Node, Unfit, said_of_array, same_array
from reactornb.durable.objects.windows import bounds, raw_memory
from reactornb.runtime.codec.dtypes import check_elements

__all__ = ["Places"]

Putter = Any  # a `put.Putting`
_WINDOWS = ("array", "view", "tensor")


class _Group:
    """A carrier and who looks at it.

    Attributes:
        saved: the bytes that were saved.
        members: its windows; the carrier among them, if it is an array.
        raw: the memory in which they come to lie, as bytes; None until it is needed.
        begin: where in the saved bytes that memory begins.
        storage: the same as a tensor of bytes.
    """

    def __init__(self, carrier: Node) -> None:
        self.carrier = carrier
        self.members: list[Node] = []
        self.raw: Any = None
        self.begin = 0
        self.storage: Any = None
        data = carrier[1] if carrier[0] == "block" else said_of_array(carrier)[0]
        if type(data) is not numpy.ndarray or (data.dtype.hasobject and data.dtype.kind != "T"):
            raise Unfit(carrier, "is damaged (no memory)")
        self.plain = data.dtype.kind != "T"
        self.saved = (
            numpy.ascontiguousarray(data).reshape(-1).view(numpy.uint8)
            if self.plain and data.size
            else numpy.empty(0, numpy.uint8)
        )


class Places:
    """Of one restoration; all of it belongs to the thread that restores."""

    def __init__(self, putter: Putter) -> None:
        self._putter = putter
        self._groups: dict[int, _Group] = {}
        self._placed: dict[
            str, list[tuple[int, int, int]]
        ] = {}  # by device: first address, the one behind, group; sorted

    def settle(self, nodes: Iterator[Node]) -> None:
        """Decide for each window whether it stays where a live one is, and write into those."""
        for node in nodes:
            if node[0] in _WINDOWS:
                carrier = node if node[0] == "array" else node[2][0]
                if type(carrier) is not list or carrier[0] not in ("array", "block"):
                    raise Unfit(node, "is damaged (a view of no memory)")
                group = self._groups.get(id(carrier))
                if group is None:
                    group = self._groups[id(carrier)] = _Group(carrier)
                group.members.append(node)
        for number, group in enumerate(self._groups.values()):
            if not self._stay(number, group):
                for node in group.members:
                    self._forget(node)

    def _forget(self, node: Node) -> None:
        self._putter.live.pop(id(node), None)

    def _stay(self, number: int, group: _Group) -> bool:
        """Whether a group lies in memory of live windows; writes it there."""
        live = [(node, self._putter.live[id(node)]) for node in group.members if id(node) in self._putter.live]
        if not live:
            return False
        if not group.plain:
            return False
        base: int | None = None
        there: list[tuple[Node, Any, int, int]] = []
        for node, one in live:
            low, high = bounds(one)
            begin, end = _reach(node)
            if (
                high - low != end - begin
                or (base is not None and low - begin != base)
                or not self._may_write(node, one, group)
            ):
                self._forget(node)
                continue
            base = low - begin
            there.append((node, one, begin, end))
        if not there or not self._covers(group, there):
            return False
        assert base is not None
        device = _device(there[0][1])
        taken = self._placed.setdefault(device, [])
        spans = [(base + begin, base + end) for _, _, begin, end in there if begin < end]
        if any(_overlaps(taken, low, high) for low, high in spans):
            return False
        for low, high in spans:
            insort(taken, (low, high, number))
        for node, one, _, _ in there:
            self._write(node, one, group)
        return True

    def _may_write(self, node: Node, one: Any, group: _Group) -> bool:
        if node[0] == "tensor" or one.flags.writeable:
            return True
        return not _is_writeable(node) and same_array(numpy.asarray(one), _window(node, group.saved, 0))

    def _covers(self, group: _Group, there: list[tuple[Node, Any, int, int]]) -> bool:
        """Whether the windows that are to be made find room in those that stay; notes where."""
        staying = {id(node) for node, _, _, _ in there}
        missing = [_reach(node) for node in group.members if id(node) not in staying]
        if not missing:
            return True
        first, last = min(begin for begin, _ in missing), max(end for _, end in missing)
        for node, one, begin, end in there:
            if begin <= first and last <= end and (node[0] == "tensor" or one.flags.writeable):
                if _device(one) != "cpu":
                    return False
                group.raw, group.begin = raw_memory(one, writeable=True)[1], begin
                return True
        return False

    def _write(self, node: Node, one: Any, group: _Group) -> None:
        if node[0] == "tensor":
            torch: Any = sys.modules["torch"]
            with torch.no_grad():
                one.data.copy_(_as_tensor(node, torch.from_numpy(group.saved.copy()).untyped_storage(), 0))
            return
        content = _window(node, group.saved, 0)
        if one.flags.writeable:
            numpy.copyto(one, content)
            if not _is_writeable(node):
                one.flags.writeable = False

    # -- what is made

    def make(self, node: Node, putter: Putter) -> Any:
        """A new array, or view, for a node of which no live one stays."""
        carrier = node if node[0] == "array" else node[2][0]
        group = self._groups[id(carrier)]
        if not group.plain:
            strings = said_of_array(carrier)[0].copy()
            strings.flags.writeable = bool(said_of_array(carrier)[2])
            return strings
        if group.raw is None:
            self._allocate(group)
        made: Any = _window(node, group.raw, group.begin)
        if (
            node[0] == "array"
            and group.begin == 0
            and group.raw.base is not None
            and group.raw.nbytes == group.saved.nbytes
        ):
            made = group.raw.base if group.carrier is node and _fits(node, group.raw.base) else made
        name = said_of_array(node)[3] if node[0] == "array" else node[1][5]
        if name is not None:
            cls = putter.known.named(name)
            if not (isinstance(cls, type) and issubclass(cls, numpy.ndarray)) or hasattr(cls, "__del__"):
                raise Unfit(node, f"is of {name!s:.80}, which is no class of arrays of the program")
            made = made.view(cls)
        if not _is_writeable(node):
            made.flags.writeable = False
        return made

    def _allocate(self, group: _Group) -> None:
        """New memory; where the carrier is an array, that array owns it."""
        if group.carrier[0] == "block":
            group.raw = group.saved.copy()
            return
        data, order, *_ = said_of_array(group.carrier)
        owner = numpy.array(data, order="C", copy=True, subok=False)
        check_elements(owner)
        if order == "F":
            lying = numpy.empty(owner.shape[::-1], owner.dtype, order="F")
            lying[...] = owner.T
            group.raw = lying.T.reshape(-1).view(numpy.uint8) if lying.size else numpy.empty(0, numpy.uint8)
        else:
            group.raw = owner.reshape(-1).view(numpy.uint8) if owner.nbytes else numpy.empty(0, numpy.uint8)

    def make_tensor(self, node: Node) -> Any:
        """A new tensor, likewise."""
        torch: Any = sys.modules.get("torch")
        if torch is None:
            raise Unfit(node, "is a tensor, and the program does not import torch")
        group = self._groups[id(node[2][0])]
        kind, _, _, _, _, device, requires_grad, _ = node[1]
        if group.storage is None:
            if group.raw is None:
                self._allocate(group)
            group.storage = torch.from_numpy(group.raw)
            if device != "cpu":
                group.storage = group.storage.to(device)
        made = _as_tensor(node, group.storage.untyped_storage(), group.begin, device)
        if kind == "Parameter":
            return torch.nn.Parameter(made, requires_grad=bool(requires_grad))
        return made.requires_grad_(bool(requires_grad))


def _fits(node: Node, owner: Any) -> bool:
    data, order, *_ = said_of_array(node)
    shape = data.shape if order == "C" else data.shape[::-1]
    return (
        type(owner) is numpy.ndarray
        and owner.dtype == data.dtype
        and owner.shape == shape
        and (owner.flags.c_contiguous if order == "C" else owner.flags.f_contiguous)
    )


def _device(one: Any) -> str:
    return "cpu" if isinstance(one, numpy.ndarray) else str(one.device)


def _is_writeable(node: Node) -> bool:
    return bool(said_of_array(node)[2] if node[0] == "array" else node[1][4])


def _reach(node: Node) -> tuple[int, int]:
    """The bytes of its carrier that a window shows: the first, and the one behind."""
    if node[0] == "array":
        return 0, int(said_of_array(node)[0].nbytes)
    if node[0] == "view":
        dtype, shape, strides, offset, *_ = node[1]
        itemsize = dtype.itemsize
    else:
        _, dtype, shape, strides, offset, *_ = node[1]
        itemsize = dtype.itemsize
        strides = [s * itemsize for s in strides]
    if 0 in shape:
        return offset, offset
    steps = [(n - 1) * s for n, s in zip(shape, strides, strict=True)]
    return offset + sum(min(0, s) for s in steps), offset + sum(max(0, s) for s in steps) + itemsize


def _window(node: Node, raw: Any, begin: int) -> Any:
    """An array on memory; NumPy checks that it does not reach out of it."""
    if node[0] == "array":
        data, order, *_ = said_of_array(node)
        shape = data.shape if order == "C" else data.shape[::-1]
        dtype, strides, offset = data.dtype, None, -begin
        made = numpy.ndarray(shape, dtype, raw if data.nbytes else None, offset if data.nbytes else 0, strides, order)
    else:
        dtype, shape, strides, offset, *_ = node[1]
        if dtype.hasobject:
            raise Unfit(node, "is damaged (addresses as data)")
        empty = 0 in shape or not dtype.itemsize
        made = numpy.ndarray(
            shape, dtype, None if empty else raw, 0 if empty else offset - begin, None if empty else strides
        )
        check_elements(made)
    return made


def _as_tensor(node: Node, storage: Any, begin: int, device: str = "cpu") -> Any:
    """A tensor on memory; torch checks that it does not reach out of it."""
    torch: Any = sys.modules["torch"]
    _, dtype, shape, stride, offset, *_ = node[1]
    if type(dtype) is not torch.dtype or (offset - begin) % dtype.itemsize or offset < begin:
        raise Unfit(node, "is damaged (a tensor between elements)")
    flat = torch.empty(0, dtype=dtype, device=device)
    return flat.set_(storage, (offset - begin) // dtype.itemsize, tuple(shape), tuple(stride))


def _overlaps(taken: list[tuple[int, int, int]], low: int, high: int) -> bool:
    at = bisect_left(taken, (low, low, -1))
    return (at < len(taken) and taken[at][0] < high) or (at > 0 and taken[at - 1][1] > low)
