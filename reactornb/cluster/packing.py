r"""Values on their way: encoded once for all that they are sent to, decoded when somebody asks for them.

The bytes are those of `reactornb.runtime.codec`, which chooses among the classes that the receiver declares: nothing is unpickled, imported or called
that they name. Only an array of numbers, which is most of what travels, has a form of its own, without a text to be written and parsed:

    bytes  0..3    b"\x93RNA"
           4..7    its dtype as NumPy's string, such as b"<f4\0"
           8..15   number of dimensions, at most 6           little-endian and unsigned
          16..63   length of each dimension, 8 bytes each; zeros for those that there are not
          64..     the elements in C order
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy

from reactornb.cluster.errors import WireError
from reactornb.errors import MalformedDataError
from reactornb.runtime.codec import Classes, decode, encode
from reactornb.runtime.codec.layout import Buffer

__all__ = ["Packed", "checked", "pack"]


class Packed:
    """An encoded value: made once by `pack` for all that it is sent to, or a part of a received frame.

    Attributes:
        pieces: its bytes in order, bytes and arrays of uint8, see `Buffer`. Arrays are the memory of the value itself: nobody may change it while this
            is held.
        nbytes: how many bytes.

    # Both are written before anybody else sees the object; many threads may send it at once.
    """

    __slots__ = ("nbytes", "pieces")

    def __init__(self, pieces: tuple[Buffer, ...], nbytes: int) -> None:
        self.pieces = pieces
        self.nbytes = nbytes

    def value(self, classes: Classes | None = None, *, copy: bool = False, device: str | None = None) -> Any:
        """The value.

        Args:
            classes: which classes and functions it may name.
            copy: arrays have memory of their own; False: longer ones are read-only views of the frame, one for all who ask.
            device: where tensors are put; None: on a device of the kind they were on.

        Raises:
            MalformedDataError: if the bytes are none that `pack` gives with these classes.
        """
        data = self._data()
        part = data[:_HEAD_BYTES]
        head = part.tobytes() if isinstance(part, numpy.ndarray) else bytes(part)
        known = _known.get(head)
        if known is not None or head.startswith(_MAGIC):
            array = _array_in(data, known or _learnt(head))
            return array.copy() if copy else array
        return decode(data, classes, copy=copy, device=device)

    def behind(self, head: bytes) -> Packed | None:
        """What follows these first bytes; None if it begins with others."""
        data = self._data()
        return Packed((data[len(head) :],), self.nbytes - len(head)) if bytes(data[: len(head)]) == head else None

    def _data(self) -> Buffer:
        return self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)

    def to_bytes(self) -> bytes:
        """All in one piece, a copy."""
        return b"".join(self.pieces)

    def __repr__(self) -> str:
        return f"<Packed {self.nbytes:,} bytes>"


def pack(value: Any, classes: Classes | None = None) -> Packed:
    """Encode a value, once for all hosts.

    Args:
        value: nobody changes it before it was sent for the last time.
        classes: which classes and functions it may contain.

    Raises:
        UnencodableValueError: for a part of it that cannot be encoded.
    """
    if type(value) is numpy.ndarray:
        head = _head_of(value)
        if head is not None:
            return Packed((head, value.reshape(-1).view(numpy.uint8)), _HEAD_BYTES + value.nbytes)
    encoded = encode(value, classes)
    parts = (part if type(part) is bytes else numpy.frombuffer(part, numpy.uint8) for part in encoded.parts())
    return Packed(tuple(parts), encoded.nbytes)


def checked(field: str, packed: Packed, classes: Classes | None = None, **options: Any) -> Any:
    """The value of a received part.

    Args:
        field: what it is called in an error, such as `Report.messages[2]`.
        packed: the part.
        classes: which classes and functions it may name.
        **options: as those of `Packed.value`.

    Raises:
        WireError: if the bytes are none that `pack` gives.
    """
    try:
        return packed.value(classes, **options)
    except MalformedDataError as error:
        raise WireError(field, f"holds no value ({str(error)[:200]})") from error


# -- arrays of numbers --------------------------------------------------------------------------------------------------------
#
# _heads    dtype and shape -> the bytes before the elements; _known the other way, with the length of all. Filled by any thread with what every
#           thread would put there; a dict's methods are atomic. Neither grows beyond _MOST_HEADS, whatever comes over a link

_MAGIC = b"\x93RNA"
_head = struct.Struct("<4s4sQ6Q")
_HEAD_BYTES = _head.size
_MOST_DIMENSIONS = 6
_NAME_BYTES = 4
_MOST_HEADS = 10_000
_heads: dict[tuple[Any, tuple[int, ...]], bytes] = {}
_known: dict[bytes, tuple[Any, tuple[int, ...], int]] = {}


def _head_of(array: Any) -> bytes | None:
    """The bytes before the elements; None for arrays that are not simply numbers in a row."""
    if not array.flags.c_contiguous:
        return None
    key = array.dtype, array.shape
    head = _heads.get(key)
    if head is None:
        dtype, shape = key
        name = dtype.str.encode().ljust(_NAME_BYTES, b"\0")
        if _dtypes.get(name) != dtype or len(shape) > _MOST_DIMENSIONS or not array.size:
            return None
        head = _head.pack(_MAGIC, name, len(shape), *shape, *[0] * (_MOST_DIMENSIONS - len(shape)))
        if len(_heads) < _MOST_HEADS:
            _heads[key] = head
    return head


def _array_in(data: Buffer, known: tuple[Any, tuple[int, ...], int]) -> Any:
    """A read-only view of the elements behind a head of that meaning."""
    dtype, shape, nbytes = known
    if len(data) != nbytes:
        raise MalformedDataError(
            f"an array of shape {shape} and dtype {dtype} does not take {len(data) - _HEAD_BYTES:,} bytes."
        )
    array: Any = numpy.ndarray(shape, dtype, data, _HEAD_BYTES)
    array.setflags(False)  # by position: a third of the time
    return array


def _learnt(head: bytes) -> tuple[Any, tuple[int, ...], int]:
    """What the bytes before the elements mean."""
    if len(head) != _HEAD_BYTES:
        raise MalformedDataError(f"an array begins with {_HEAD_BYTES} bytes, and {len(head)} are there.")
    _, name, dimensions, *lengths = _head.unpack(head)
    shape = tuple(lengths[:dimensions])
    dtype = _dtypes.get(name)
    if dtype is None or dimensions > _MOST_DIMENSIONS or any(lengths[dimensions:]) or not all(shape):
        raise MalformedDataError(f"an array begins with dtype and shape, this with {head[4:24]!r}.")
    known = dtype, shape, _HEAD_BYTES + dtype.itemsize * math.prod(shape)
    if len(_known) < _MOST_HEADS:
        _known[head] = known
    return known


_dtypes: dict[bytes, Any] = {
    name.encode().ljust(_NAME_BYTES, b"\0"): numpy.dtype(name)
    for code in numpy.typecodes["AllInteger"] + "efdFD"
    for name in [numpy.dtype(code).str, numpy.dtype(code).newbyteorder().str]
}
"""Those that there may be."""
