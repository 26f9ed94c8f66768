r"""How an encoded value lies in a file or travels: a header, the lengths of the buffers, a JSON text, the buffers.

    bytes  0..3    b"\x93RNB"
           4..5    version, 1                                      all numbers are little-endian and unsigned
           6..7    0
           8..15   length of all that follows and of this header
          16..23   length of the JSON text
          24..27   number of buffers
          28..31   0
          32..     length of each buffer, 8 bytes each
                   the JSON text (UTF-8)
                   each buffer, beginning at a multiple of 64; zeros between

Every length is checked against the bytes that there are before anything is allocated. There is no checksum: whoever keeps the bytes
(a journal, a manifest) has one over all of them, and TCP has its own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy

from reactornb.errors import MalformedDataError

__all__ = ["HEADER_BYTES", "Encoded", "total_bytes"]

_MAGIC, _VERSION = b"\x93RNB", 1
_header = struct.Struct("<4sHHQQII")
HEADER_BYTES = _header.size
ALIGNMENT = 64

Buffer = bytes | bytearray | memoryview | numpy.ndarray[Any, Any]
"""Bytes in a row. Where threads share them they are `bytes` or an array of uint8: free-threaded CPython 3.14 miscounts the views of one memoryview where
threads make and free them at one time, and releases it while it is used.
"""


@dataclass(frozen=True, slots=True)
class Encoded:
    """An encoded value.

    Attributes:
        tree: JSON text, UTF-8.
        buffers: memory of arrays and long byte strings. After `encode` it is the value's own memory: whoever
            goes on changing the value writes the bytes first. Of `from_bytes` they are arrays: what is decoded of them is freed by any thread.
    """

    tree: bytes
    buffers: tuple[Any, ...]

    @property
    def nbytes(self) -> int:
        """How many bytes `parts` has in all."""
        end = HEADER_BYTES + 8 * len(self.buffers) + len(self.tree)
        for buffer in self.buffers:
            end = _aligned(end) + buffer.nbytes
        return end

    def parts(self) -> Iterator[Buffer]:
        """The bytes in order, for `writelines` or `sendmsg`; buffers are not copied."""
        lengths = [buffer.nbytes for buffer in self.buffers]
        head = _header.pack(_MAGIC, _VERSION, 0, self.nbytes, len(self.tree), len(lengths), 0)
        head += struct.pack(f"<{len(lengths)}Q", *lengths) + self.tree
        end = len(head)
        yield head
        for buffer in self.buffers:
            yield bytes(_aligned(end) - end)
            yield buffer
            end = _aligned(end) + buffer.nbytes

    def to_bytes(self) -> bytes:
        """All in one piece."""
        return b"".join(self.parts())

    @classmethod
    def from_bytes(cls, data: Buffer) -> Encoded:
        """Find the parts; the buffers are views of `data`.

        Raises:
            MalformedDataError: if it is not exactly one encoded value.
        """
        view: Any = numpy.frombuffer(data, numpy.uint8)
        total = total_bytes(view)
        if total != view.nbytes:
            raise MalformedDataError(
                f"the encoded value has {total:,} bytes by its header, and {view.nbytes:,} are there."
            )
        _, _, _, _, length, count, zero = _header.unpack_from(view)
        end = HEADER_BYTES + 8 * count
        if zero or end + length > total:
            raise MalformedDataError("the header of an encoded value promises more than there is.")
        lengths = struct.unpack_from(f"<{count}Q", view, HEADER_BYTES)
        tree, end = bytes(view[end : end + length]), end + length
        buffers = []
        for size in lengths:
            start = _aligned(end)
            if start + size > total:
                raise MalformedDataError("a buffer of an encoded value reaches past its end.")
            if view[end:start].any():
                raise MalformedDataError("between the buffers of an encoded value stands something.")
            buffers.append(view[start : start + size])
            end = start + size
        if end != total:
            raise MalformedDataError(f"behind an encoded value stand {total - end:,} more bytes.")
        return cls(tree, tuple(buffers))


def total_bytes(header: Buffer, most: int | None = None) -> int:
    """How many bytes an encoded value has, by its first `HEADER_BYTES`: before memory is made ready for the rest.

    Args:
        header: at least the first `HEADER_BYTES` bytes.
        most: the most that is accepted.

    Raises:
        MalformedDataError: if it is no header, of a version unknown here, or of more than `most`.
    """
    if len(header) < HEADER_BYTES:
        raise MalformedDataError(f"an encoded value has a header of {HEADER_BYTES} bytes, and {len(header)} are there.")
    magic, version, zero, total, *_ = _header.unpack_from(header)
    if magic != _MAGIC or zero:
        raise MalformedDataError(f"an encoded value begins with {_MAGIC!r}, this with {bytes(header[:8])!r}.")
    if version != _VERSION:
        raise MalformedDataError(f"the encoding has version {version}; this reactornb reads version {_VERSION}.")
    if most is not None and total > most:
        raise MalformedDataError(f"the encoded value has {total:,} bytes, more than the {most:,} accepted here.")
    return int(total)


def _aligned(end: int) -> int:
    return -(-end // ALIGNMENT) * ALIGNMENT


def as_bytes_view(memory: Any) -> memoryview:
    """A flat view of contiguous memory."""
    return memoryview(memory).cast("B")
