"""How arrays, tensors and random generators enter a fingerprint; see `fingerprint.py`.

torch is never imported here: a program that sends tensors has imported it.
"""

from __future__ import annotations

import functools
import struct
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import numpy

__all__ = ["Node", "kind", "plain"]

Array = numpy.ndarray[Any, Any]

_LIMIT = 512  # as in `fingerprint.py`: bytes
_count = struct.Struct("<Q").pack
# What numpy itself keeps on its subclasses.
_OWN = {
    "_fill_value", "_hardmask", "_sharedmask", "_isfield", "_baseclass", "_optinfo", "_basedict", "_mask", "_mmap", "offset",
    "mode", "filename",
}  # fmt: skip


class Node:
    """A value whose parts have yet to be walked.

    Attributes:
        value: the value.
        head: the bytes in front of its parts.
        children: the parts that are left.
        labels: of each part, where it has a name.
        unordered: parts are added up.
        parts: the bytes of those walked.
        numbers: of a value that contains itself, the position of first visit of each part, by id.
        closed: it refers to nothing around it.
    """

    __slots__ = ("children", "closed", "head", "labels", "numbers", "parts", "unordered", "value")

    def __init__(
        self,
        value: Any,
        head: bytes,
        children: Iterator[Any],
        labels: list[str] | None = None,
        *,
        unordered: bool = False,
    ) -> None:
        self.value = value
        self.head = head
        self.children = children
        self.labels = labels
        self.unordered = unordered
        self.parts: list[bytes] = []
        self.numbers: dict[int, int] = {}
        self.closed = True


def _dtype(dtype: Any) -> bytes:
    """A dtype's name, with its fields but without their memory offsets."""
    if dtype.names is not None:
        fields = b"".join(_count(len(name.encode())) + name.encode() + _dtype(dtype[name]) for name in dtype.names)
        record = b"R" if dtype.type is numpy.record else b"V"
        return b"{" + record + _count(len(dtype.names)) + fields
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return b"[" + _shape(shape) + _dtype(base)
    return _simple_dtype(dtype)


@functools.lru_cache(1024)
def _simple_dtype(dtype: Any) -> bytes:
    """Of a dtype without fields: one with fields equals, for the cache, the dtype of records with these fields."""
    name: bytes = dtype.str.encode()
    if (
        dtype.kind not in "?biufcmMSUO"
    ):  # bfloat16 and its kind have names, no letters; strings without a width have options
        own = f"{dtype.type.__name__} {dtype!r}" if dtype.kind != "T" else "T"
        name += own.encode()
    return b"(" + _count(len(name)) + name


def _shape(shape: tuple[int, ...]) -> bytes:
    return struct.pack(f"<B{len(shape)}Q", len(shape), *shape)


@functools.lru_cache(4096)
def _head(tag: bytes, dtype: Any, shape: tuple[int, ...]) -> tuple[bytes, str]:
    """The bytes before the elements, and how the elements are written: "" (their memory), "fields", "objects", or "padded"."""
    how = (
        "fields"
        if dtype.names is not None
        else "objects"
        if dtype.kind in "OT"
        else "padded"
        if _is_padded(dtype)
        else ""
    )
    return tag + _dtype(dtype) + _shape(shape), how


def _is_padded(dtype: Any) -> bool:
    """The 80 bits of x86's long double, in 16 bytes."""
    return dtype.kind in "fc" and dtype.type in (numpy.longdouble, numpy.clongdouble) and numpy.finfo(dtype).nmant == 63


def plain(tag: bytes, array: Array) -> Any:
    """An array of numpy's own class: bytes if its elements are plain memory, else a node."""
    dtype = array.dtype
    head, how = (_head if dtype.names is None else _head.__wrapped__)(tag, dtype, array.shape)  # see `_simple_dtype`
    if how == "fields":
        return Node(array, head, iter([array[field] for field in dtype.names]), list(dtype.names))
    if how == "objects":
        options = [getattr(dtype, "na_object", None), getattr(dtype, "coerce", None)] if dtype.kind == "T" else []
        return Node(array, head, iter([*options, *array.reshape(-1).tolist()]))
    if how == "padded":
        array = numpy.ascontiguousarray(array).reshape(-1).view(numpy.uint8).reshape(-1, 16)[:, :10]
    if len(head) + array.nbytes <= _LIMIT:
        return head + array.tobytes()
    taken = sha256(head)
    if array.nbytes:
        taken.update(numpy.ascontiguousarray(array).reshape(-1).view(numpy.uint8).data)
    return b"#" + taken.digest()


def _array(_: Any, value: Any) -> Any:
    return plain(b"A", value)


def _scalar(_: Any, value: Any) -> Any:
    return plain(b"G", numpy.asarray(value))


def _subclass(
    type_name: Callable[[type], bytes], attributes: Callable[[Any], dict[str, Any]], names: Callable[[Any], bytes]
) -> Callable[[Any, Any], Any]:
    def walk(_: Any, value: Any) -> Node:
        extras = {n: v for n, v in attributes(value).items() if n not in _OWN}
        content = _masked(value) if isinstance(value, numpy.ma.MaskedArray) else [value.view(numpy.ndarray)]
        head = b"X" + type_name(type(value)) + names(extras)
        return Node(value, head, iter([*content, *extras.values()]), [*map(str, range(len(content))), *extras])

    return walk


def _masked(value: Any) -> list[Any]:
    """The mask, the data with masked elements set to zero, and the fill value."""
    data = numpy.ma.getdata(value).view(numpy.ndarray)
    if data.dtype.names is not None:
        return [value[field] for field in data.dtype.names]
    mask = numpy.ma.getmaskarray(value)
    if mask.any():
        data = data.copy()
        data[mask] = numpy.zeros(1, data.dtype)[0]
    filled = value._fill_value
    return [mask, data, numpy.asarray(numpy.ma.default_fill_value(value) if filled is None else filled)]


def _generator(_: Any, value: Any) -> Node:
    """Numpy's random generators: their kind, their state, and the state from which the next generators are spawned."""
    bits = getattr(value, "bit_generator", None) or getattr(value, "_bit_generator", value)
    seeds = getattr(bits, "seed_seq", None)
    spawning = [getattr(seeds, name, None) for name in ("entropy", "spawn_key", "pool_size", "n_children_spawned")]
    state = value.get_state(legacy=False) if isinstance(value, numpy.random.RandomState) else bits.state  # with `gauss`
    return Node(value, b"r" + _text(type(value).__name__) + _text(type(bits).__name__), iter([state, spawning]))


def _seeds(_: Any, value: Any) -> Node:
    parts = [value.entropy, value.spawn_key, value.pool_size, value.n_children_spawned]
    return Node(value, b"r" + _text("SeedSequence"), iter(parts))


def _text(text: str) -> bytes:
    return _count(len(text.encode())) + text.encode()


# -- torch ----------------------------------------------------------------------------------------------------------------


def _tensor(
    type_name: Callable[[type], bytes], attributes: Callable[[Any], dict[str, Any]], names: Callable[[Any], bytes]
) -> Callable[[Any, Any], Any]:
    def walk(_: Any, value: Any) -> Node:
        torch: Any = sys.modules["torch"]
        extras = attributes(value) if value.__dict__ else {}
        if value.is_leaf and value.grad is not None:
            extras["grad"] = value.grad
        tensor = value.detach()
        head = b"Z" + type_name(type(value)) + _text(f"{value.dtype} {value.device.type} {value.layout}")
        head += bytes([value.requires_grad]) + names(extras)
        return Node(value, head, iter([*_elements(torch, tensor), *extras.values()]))

    return walk


def _elements(torch: Any, tensor: Any) -> list[Any]:
    """A tensor's elements, as values that can be walked."""
    if tensor.is_nested:
        return [tuple(tensor.unbind())]
    shape = tuple(tensor.shape)
    if tensor.device.type == "meta":
        return [shape]
    if tensor.layout is torch.sparse_coo:
        tensor = tensor.coalesce()
        return [shape, tensor.indices(), tensor.values()]
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return [shape, tensor.crow_indices(), tensor.col_indices(), tensor.values()]
    if tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        return [shape, tensor.ccol_indices(), tensor.row_indices(), tensor.values()]
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    if tensor.is_quantized:
        scheme = str(tensor.qscheme())
        if "per_channel" in scheme:
            rule: list[Any] = [
                tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points(), tensor.q_per_channel_axis()
            ]  # fmt: skip
        else:
            rule = [tensor.q_scale(), tensor.q_zero_point()]
        return [shape, scheme, *rule, tensor.int_repr()]
    tensor = tensor.resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
    if tensor.numel() == 0:
        return [shape]
    if tensor.stride(0) != 1:  # a single element counts as contiguous whatever its stride
        tensor = tensor.clone(memory_format=torch.contiguous_format)
    return [shape, tensor.view(torch.uint8).numpy()]


def _torch_generator(_: Any, value: Any) -> Node:
    return Node(value, b"r" + _text("torch") + _text(value.device.type), iter([value.get_state()]))


def kind(
    cls: type,
    type_name: Callable[[type], bytes],
    attributes: Callable[[Any], dict[str, Any]],
    names: Callable[[Any], bytes],
) -> Callable[[Any, Any], Any] | None:
    """How values of a class are walked, if it is one of numpy's or torch's.

    Args:
        cls: the class.
        type_name, attributes, names: how `fingerprint.py` writes a class, finds what stands on an object, and writes names.
    """
    if cls is numpy.ndarray:
        return _array
    if issubclass(cls, numpy.ndarray):
        return _subclass(type_name, attributes, names)
    if issubclass(cls, numpy.generic):
        return _scalar
    if issubclass(cls, (numpy.random.Generator, numpy.random.RandomState, numpy.random.BitGenerator)):
        return _generator
    if cls is numpy.random.SeedSequence:
        return _seeds
    torch: Any = sys.modules.get("torch")
    if issubclass(cls, getattr(torch, "Tensor", ())):
        return _tensor(type_name, attributes, names)
    if issubclass(cls, getattr(torch, "Generator", ())):
        return _torch_generator
    return None
