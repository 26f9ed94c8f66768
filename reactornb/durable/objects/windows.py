"""The memory of arrays and tensors, copied once, whoever looks at it: an array and its views, a flat parameter and a module's weights.

While state is captured every array is a window: a range of addresses. When all are known, those that overlap become views of one carrier, an array that
owns its memory where there is one, or else a block of bytes; and an array that overlaps with no other is copied by itself.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy

from reactornb.durable.objects.tree import Node
from reactornb.model.ownership import is_frozen

__all__ = ["Windows", "raw_memory"]


# A node, the array or tensor, the name of its class if that is derived from ndarray, the names of its attributes. A plain tuple: one is made
# for every array.
_Window = tuple[Node, Any, str | None, tuple[str, ...]]


class _Span:
    """Memory as NumPy takes it: bytes from an address on, which stay there as long as their owner does."""

    def __init__(self, low: int, count: int, owner: Any, *, writeable: bool) -> None:
        self.__array_interface__ = {"version": 3, "data": (low, not writeable), "shape": (count,), "typestr": "|u1"}
        self.owner = owner


def raw_memory(array: Any, *, writeable: bool = False) -> tuple[int, Any]:
    """The memory that an array, or a tensor on the CPU, shows: its address, and all of it as bytes, gaps included."""
    low, high = bounds(array)
    return low, numpy.asarray(_Span(low, high - low, array, writeable=writeable))


def bounds(array: Any) -> tuple[int, int]:
    """The first address of what an array or tensor shows, and the one behind it."""
    if isinstance(array, numpy.ndarray):
        low = array.__array_interface__["data"][0]
        if array.flags.c_contiguous:
            return low, low + array.nbytes
        return numpy.lib.array_utils.byte_bounds(array)
    low = array.data_ptr()
    if not array.numel():
        return low, low
    reach = sum((n - 1) * s for n, s in zip(array.shape, array.stride(), strict=True))
    return low, low + (reach + 1) * array.element_size()


class Windows:
    """The arrays and tensors of one capture; all of it belongs to the thread that captures."""

    def __init__(self) -> None:
        self._arrays: list[_Window] = []
        self._tensors: list[_Window] = []
        self._root_of: list[int] = []  # for each array the id of the one that owns its memory
        self._roots: dict[int, int] = {}  # how many arrays each of these has
        self._foreign = False

    def add(self, node: Node, array: Any, name: str | None, names: tuple[str, ...]) -> None:
        """An array of plain elements was met; `node` is filled by `settle`, its `parts` hold the attributes by then."""
        root = array
        if array.base is not None:
            while isinstance(root.base, numpy.ndarray):
                root = root.base
            if root.base is not None and not isinstance(root.base, bytes):
                self._foreign = True
        me = id(root)
        self._arrays.append((node, array, name, names))
        self._root_of.append(me)
        self._roots[me] = self._roots.get(me, 0) + 1

    def add_tensor(self, node: Node, tensor: Any, names: tuple[str, ...]) -> None:
        """A tensor was met; `parts` of its node hold its gradient and its attributes."""
        self._tensors.append((node, tensor, None, names))

    def settle(self) -> None:
        """Copy, and say who shares memory with whom."""
        windows = self._arrays
        if not self._tensors and not self._foreign:
            shared, roots = [], self._roots
            for window, root in zip(windows, self._root_of, strict=True):
                if roots[root] > 1 or not _alone(window):
                    shared.append(window)
            windows = shared
        for device, tensors in _by_device(self._tensors).items():
            _share([*windows, *tensors] if device == "cpu" else tensors, device)
            if device == "cpu":
                windows = []
        if windows:
            _share(windows, "cpu")


def _by_device(tensors: list[_Window]) -> dict[str, list[_Window]]:
    devices: dict[str, list[_Window]] = {}
    for window in tensors:
        devices.setdefault(str(window[1].device), []).append(window)
    return devices


def _share(windows: list[_Window], device: str) -> None:
    spans = sorted(
        ((*bounds(window[1]), place) for place, window in enumerate(windows)), key=lambda s: (s[0], -s[1], s[2])
    )
    group: list[tuple[int, int, _Window]] = []
    end = -1
    for low, high, place in spans:
        if group and (low >= end or low == high):
            _one_group(group, device)
            group, end = [], -1
        group.append((low, high, windows[place]))
        end = max(end, high)
        if low == high:
            _one_group(group, device)
            group, end = [], -1
    if group:
        _one_group(group, device)


def _one_group(group: list[tuple[int, int, _Window]], device: str) -> None:
    """Windows that overlap, by address."""
    if len(group) == 1 and isinstance(group[0][2][1], numpy.ndarray) and _alone(group[0][2]):
        return
    low, high = group[0][0], max(end for _, end, _ in group)
    carrier = next((window for begin, end, window in group if (begin, end) == (low, high) and _carries(window)), None)
    if carrier is not None:
        _alone(carrier, copy=True)
        block = carrier[0]
    else:
        block = ["block", _memory(group, low, high, device), ()]
    for begin, _, window in group:
        if window is not carrier:
            (_view if isinstance(window[1], numpy.ndarray) else _tensor)(window, block, begin - low)


def _carries(window: _Window) -> bool:
    array = window[1]
    return type(array) is numpy.ndarray and array.base is None and array.flags.c_contiguous


def _alone(window: _Window, *, copy: bool = False) -> bool:
    """An array whose elements lie one after the other, copied unless nobody can change it; False if there are gaps between them."""
    node, array, name, names = window
    flags = array.flags
    writeable = bool(flags.writeable)
    if flags.c_contiguous:
        order, lying = "C", array
    elif flags.f_contiguous:
        order, lying = "F", array.T
    else:
        return False
    if copy or writeable or name is not None or not is_frozen(lying):
        lying = lying.copy() if name is None else numpy.array(lying, order="C", subok=False)
    node[0] = "array"
    plain = order == "C" and writeable and name is None
    node[1] = lying if plain else (lying, order, writeable, name, names)
    return True


def _memory(group: list[tuple[int, int, _Window]], low: int, high: int, device: str) -> Any:
    """The bytes between two addresses, of windows that cover them."""
    block = numpy.empty(high - low, numpy.uint8)
    copied: list[tuple[int, int]] = []
    for begin, end, window in sorted(group, key=lambda one: one[0] - one[1]):
        if begin == end or any(a <= begin and end <= b for a, b in copied):
            continue
        raw = raw_memory(window[1])[1] if device == "cpu" else _from_device(window[1], end - begin)
        block[begin - low : end - low] = raw
        copied.append((begin, end))
    block.flags.writeable = False
    return block


def _from_device(tensor: Any, count: int) -> Any:
    torch: Any = sys.modules["torch"]
    begin = tensor.storage_offset() * tensor.element_size()
    flat = torch.empty(0, dtype=torch.uint8, device=tensor.device)
    return flat.set_(tensor.untyped_storage(), begin, (count,), (1,)).cpu().numpy()


def _strides_of(array: Any) -> tuple[int, ...]:
    return tuple(int(s) for s in array.strides)


def _view(window: _Window, block: Node, offset: int) -> None:
    node, array, name, names = window
    first = (
        array.__array_interface__["data"][0] - bounds(array)[0]
    )  # of a negative stride the first element is not the lowest
    node[0] = "view"
    node[1] = (array.dtype, array.shape, _strides_of(array), offset + first, bool(array.flags.writeable), name, names)
    node[2] = [block, *node[2]]


def _tensor(window: _Window, block: Node, offset: int) -> None:
    node, tensor, _, names = window
    node[0] = "tensor"
    node[1] = (
        type(tensor).__name__,
        tensor.dtype,
        tuple(tensor.shape),
        tuple(tensor.stride()),
        offset,
        str(tensor.device),
        bool(tensor.requires_grad),
        names,
    )
    node[2] = [block, *node[2]]
