"""Values on their way: encoded once for all that they are sent to, decoded when somebody asks for them.

The bytes are those of `reactornb.runtime.codec`, which chooses among the classes that the receiver declares: nothing is unpickled, imported or called
that they name.
"""

from __future__ import annotations

import math
from typing import Any

import numpy

from reactornb.cluster.errors import WireError
from reactornb.cluster.frames import Buffer
from reactornb.errors import MalformedDataError
from reactornb.runtime.codec import Classes, Encoded, decode, encode

__all__ = ["Packed", "checked", "pack"]


class Packed:
    """An encoded value: made once by `pack` for all that it is sent to, or a part of a received frame.

    # `_pieces` and `nbytes` are written before anybody else sees the object; many threads may send it at once.
    """

    __slots__ = ("_encoded", "_pieces", "nbytes")

    def __init__(self, pieces: tuple[Buffer, ...], nbytes: int, encoded: Encoded | None = None) -> None:
        self._pieces = pieces
        self._encoded = encoded
        self.nbytes = nbytes

    @property
    def pieces(self) -> tuple[Buffer, ...]:
        """Its bytes in order. Arrays are the memory of the value itself: nobody may change it while this is held."""
        return self._pieces

    def value(self, classes: Classes | None = None, *, copy: bool = False, device: str | None = None) -> Any:
        """The value.

        Args:
            classes: which classes and functions it may name.
            copy: arrays have memory of their own; False: longer ones are read-only views of the frame, one for all who ask.
            device: where tensors are put; None: on a device of the kind they were on.

        Raises:
            MalformedDataError: if the bytes are none that `encode` gives with these classes.
        """
        encoded = self._encoded
        if encoded is None:
            pieces = self._pieces
            encoded = Encoded.from_bytes(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if not _fast or copy or len(encoded.buffers) != 1:
            return decode(encoded, classes, copy=copy, device=device)
        value = _plain_array(encoded)
        if value is None:
            value = decode(encoded, classes, copy=False, device=device)
            _note_shape(encoded, value)
        return value

    def to_bytes(self) -> bytes:
        """All in one piece, a copy."""
        return b"".join(self._pieces)

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
    encoded = _encoded_array(value) if _fast and type(value) is numpy.ndarray else None
    if encoded is None:
        encoded = encode(value, classes)
    pieces = tuple(encoded.parts())
    return Packed(pieces, sum(len(piece) for piece in pieces), encoded)


def checked(field: str, packed: Packed, classes: Classes | None = None, **options: Any) -> Any:
    """The value of a received part.

    Args:
        field: what it is called in an error, such as `Report.messages[2]`.
        packed: the part.
        classes: which classes and functions it may name.
        **options: as those of `Packed.value`.

    Raises:
        WireError: if the bytes are none that `encode` gives.
    """
    try:
        return packed.value(classes, **options)
    except MalformedDataError as error:
        raise WireError(field, f"holds no value ({str(error)[:200]})") from error


# -- plain arrays -----------------------------------------------------------------------------------------------------------
#
# Most of what travels is one array of numbers. It is written and read without the codec's walk, as the same bytes: a third of
# the processor time (100 KB: 5 instead of 17 µs each way; 8 of 1 KB: 48 and 42 instead of 177 and 126).
#
# _shapes   the JSON text of a plain array -> its dtype and shape; _texts the other way. Filled by any thread with what every thread would put there;
#           a dict's methods are atomic. Neither grows beyond _MOST_SHAPES, whatever comes over a link

_fast = True
_LEAST = 128  # bytes; shorter ones stand in the text
_MOST_SHAPES = 10_000
_LONGEST_TEXT = 300
_shapes: dict[bytes, tuple[Any, tuple[int, ...]]] = {}
_texts: dict[tuple[Any, tuple[int, ...]], bytes] = {}


def _encoded_array(array: Any) -> Encoded | None:
    """What `encode` gives; None for arrays that are not simply numbers in a row."""
    if array.nbytes < _LEAST or array.dtype.kind not in "iuf" or not array.flags.c_contiguous:
        return None
    key = array.dtype, array.shape
    text = _texts.get(key)
    if text is None:
        encoded = encode(array)
        if len(_texts) < _MOST_SHAPES:
            _texts[key] = encoded.tree
        return encoded
    return Encoded(text, (memoryview(array.reshape(-1).view(numpy.uint8)),))


def _plain_array(encoded: Encoded) -> Any:
    """What `decode` gives with copy=False; None unless an array of that text was decoded before."""
    known = _shapes.get(encoded.tree)
    if known is None:
        return None
    dtype, shape = known
    memory = encoded.buffers[0]
    if memory.nbytes != dtype.itemsize * math.prod(shape):
        return None
    array: Any = numpy.ndarray(shape, dtype, buffer=memory)
    array.setflags(write=False)
    return array


def _note_shape(encoded: Encoded, value: Any) -> None:
    """Remember what a text means, if it is that of one array of numbers whose memory is the buffer."""
    if (
        type(value) is numpy.ndarray
        and value.dtype.kind in "iuf"
        and not value.flags.owndata
        and value.nbytes == encoded.buffers[0].nbytes
        and len(encoded.tree) < _LONGEST_TEXT
        and len(_shapes) < _MOST_SHAPES
    ):
        _shapes[encoded.tree] = value.dtype, value.shape
