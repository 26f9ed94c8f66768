r"""Frames over a stream socket: how bytes get from one process to another, in whole pieces and without copies.

    bytes  0..3    b"\x93RNW"                                       all numbers are little-endian and unsigned
           4..5    version, 1
           6..7    kind of the message, see `messages`
           8..15   length of the frame, this header included
          16..19   number of parts
          20..23   0
          24..     length of each part, 8 bytes each
                   each part, beginning at a multiple of 64; zeros between

The first part holds the message's fields; the others are values as `reactornb.runtime.codec` writes them. Whoever sends gives the memory of
arrays to the system as it is (`sendmsg`); whoever receives takes one piece of memory for the frame (`recv_into`), and values are views of it.

Every number is checked against the limits before memory is taken for what it promises. A frame that does not fit is a `WireError` and the end
of the link: what follows in the stream cannot be found any more.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy

from reactornb.cluster.errors import WireError
from reactornb.runtime.codec.layout import Buffer

__all__ = [
    "BEFORE_PROOF",
    "HEADER_BYTES",
    "NORMAL",
    "Frame",
    "Limits",
    "frame_in",
    "parts_of",
    "receive_frame",
    "send_all",
]

_MAGIC, _VERSION = b"\x93RNW", 1
_header = struct.Struct("<4sHHQII")
HEADER_BYTES = _header.size
_ALIGNMENT = 64
_MOST_PIECES = 512  # of one `sendmsg`; systems take 1024
_DONT_WAIT = getattr(socket, "MSG_DONTWAIT", 0)
_JOINED = 2048  # shorter pieces are cheaper to copy than to list

_ZEROS = bytes(_ALIGNMENT)


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that is accepted.

    Attributes:
        frame: bytes of a whole frame.
        fields: bytes of a frame's first part, which is parsed before anything is known of it.
        parts: how many parts.
    """

    frame: int
    fields: int
    parts: int


BEFORE_PROOF = Limits(frame=16 << 10, fields=16 << 10, parts=1)
"""Of a peer that has not shown that it knows the secret."""

NORMAL = Limits(frame=16 << 30, fields=256 << 20, parts=1 << 20)
"""Of the program's own hub and hosts."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame that was received.

    Attributes:
        kind: of the message.
        fields: the first part.
        values: the other parts; views of the frame's memory, read-only. Arrays of uint8, see `Buffer`: what is decoded of them is freed by any thread.
        nbytes: of the whole frame.
    """

    kind: int
    fields: bytes
    values: tuple[Buffer, ...]
    nbytes: int


def parts_of(kind: int, fields: bytes, values: Sequence[tuple[int, Sequence[Buffer]]] = ()) -> list[Buffer]:
    """The pieces of a frame in order, for `send_all`; no long one is copied.

    Args:
        kind: of the message.
        fields: the first part.
        values: the other parts: of each, how many bytes, and its pieces.
    """
    lengths = [len(fields), *(length for length, _ in values)]
    end = HEADER_BYTES + 8 * len(lengths)
    total = end
    for length in lengths:
        total = _aligned(total) + length
    head = bytearray(_header.pack(_MAGIC, _VERSION, kind, total, len(lengths), 0))
    head += struct.pack(f"<{len(lengths)}Q", *lengths)
    head += _ZEROS[: _aligned(end) - end]
    head += fields
    end = len(head)
    pieces: list[Buffer] = []
    for length, given in values:
        head += _ZEROS[: _aligned(end) - end]
        for piece in given:
            if len(piece) <= _JOINED:
                head += bytes(piece)
            else:
                if head:
                    pieces.append(head)
                    head = bytearray()
                pieces.append(piece)
        end = _aligned(end) + length
    if head:
        pieces.append(head)
    return pieces


def send_all(sock: socket.socket, pieces: Sequence[Buffer], is_full: Callable[[], None] | None = None) -> int:
    """Give a frame to the system; waits where the other side does not read.

    Args:
        sock: a blocking socket; one thread at a time.
        pieces: as `parts_of` gives them.
        is_full: called when the system takes no more at present, to wait until it does; None: `sendmsg` waits.

    Returns:
        How many bytes.

    Raises:
        OSError: if the connection is gone. Part of the frame may be on its way.
    """
    total, at = 0, 0
    waiting = list(pieces)
    flags = 0 if is_full is None else _DONT_WAIT
    while at < len(waiting):
        try:
            sent = sock.sendmsg(waiting[at : at + _MOST_PIECES], (), flags)
        except BlockingIOError:
            assert is_full is not None
            is_full()
            continue
        total += sent
        while at < len(waiting) and sent >= (left := len(waiting[at])):
            sent -= left
            at += 1
        if sent:
            waiting[at] = memoryview(waiting[at])[sent:]
    return total


class Source(Protocol):
    """What a frame is received from, such as a socket."""

    def recv_into(self, buffer: Any, /) -> int:
        """As a socket's: how many bytes; 0: it is over."""
        ...


def receive_frame(sock: Source, limits: Limits, progress: Callable[[], None] | None = None) -> Frame | None:
    """The next frame; None at the end of the stream, between two frames.

    Args:
        sock: one thread at a time.
        limits: the most that is accepted.
        progress: called whenever bytes arrived.

    Raises:
        WireError: for anything that is no frame within the limits.
        EOFError: if the stream ends within a frame.
        OSError: if the connection is gone; TimeoutError if the socket has a timeout.
    """
    head = bytearray(HEADER_BYTES + 8)  # with the length of the first part: there always is one
    if not _fill(sock, memoryview(head), progress, may_end=True):
        return None
    kind, total, count = _checked_header(head, limits)
    start = HEADER_BYTES + 8 * count
    # The memory begins where the header would, at a multiple of 64, so that each value's arrays do, too. It is not touched before bytes come.
    try:
        raw: Any = numpy.empty(total + _ALIGNMENT, numpy.uint8)
    except MemoryError:
        raise WireError("frame.length", f"says {total:,} bytes, for which there is no memory here") from None
    shift = -raw.ctypes.data % _ALIGNMENT
    memory = memoryview(raw)[shift : shift + total]
    memory[: len(head)] = head
    came = len(head)
    if start > came:  # what comes with the lengths is taken, too; the rest only after they were checked
        came += _fill(sock, memory[came:], progress, least=start - came)
    places = _places(memory[HEADER_BYTES:start], count, total, limits)
    _fill(sock, memory[came:], progress)
    memory.release()
    whole = raw[shift : shift + total]
    whole.setflags(write=False)
    return _taken(kind, total, start, places, whole)


def frame_in(data: Buffer, limits: Limits) -> Frame:
    """The frame that is exactly these bytes, where they come by another way than a socket.

    Raises:
        WireError: as `receive_frame`.
    """
    view: Any = numpy.frombuffer(data, numpy.uint8)
    view.setflags(write=False)
    if view.nbytes < HEADER_BYTES + 8:
        raise WireError("frame.length", f"is {view.nbytes} bytes, fewer than a header has")
    kind, total, count = _checked_header(view, limits)
    if total != view.nbytes:
        raise WireError("frame.length", f"says {total:,} bytes, and {view.nbytes:,} are there")
    start = HEADER_BYTES + 8 * count
    places = _places(view[HEADER_BYTES:start], count, total, limits)
    return _taken(kind, total, start, places, view)


def _checked_header(head: Buffer, limits: Limits) -> tuple[int, int, int]:
    """Kind, length and number of parts."""
    magic, version, kind, total, count, zero = _header.unpack_from(head)
    if magic != _MAGIC or zero:
        raise WireError("frame.magic", f"is {magic!r} where a frame begins with {_MAGIC!r}")
    if version != _VERSION:
        raise WireError("frame.version", f"is {version}, and this reactornb speaks version {_VERSION}")
    if not 1 <= count <= limits.parts:
        raise WireError("frame.parts", f"says {count:,}, where 1 to {limits.parts:,} are accepted")
    start = HEADER_BYTES + 8 * count
    if not start <= total <= limits.frame:
        raise WireError("frame.length", f"says {total:,} bytes, where {start:,} to {limits.frame:,} are accepted")
    return kind, total, count


def _places(sizes: Buffer, count: int, total: int, limits: Limits) -> list[tuple[int, int]]:
    """Where each part begins and ends."""
    lengths = struct.unpack(f"<{count}Q", sizes)
    if lengths[0] > limits.fields:
        raise WireError("frame.fields", f"has {lengths[0]:,} bytes, where at most {limits.fields:,} are accepted")
    places, end = [], HEADER_BYTES + 8 * count
    for length in lengths:
        begin = _aligned(end)
        end = begin + length
        if end > total:
            raise WireError("frame.lengths", f"add up to more than the {total:,} bytes of the frame")
        places.append((begin, end))
    if end != total:
        raise WireError("frame.lengths", f"leave {total - end:,} of the {total:,} bytes of the frame over")
    return places


def _taken(kind: int, total: int, start: int, places: list[tuple[int, int]], view: Any) -> Frame:
    end = start
    for begin, after in places:
        if view[end:begin].tobytes() != _ZEROS[: begin - end]:  # less than 64 bytes: a third of the time of `any()`
            raise WireError("frame.padding", "is not zero")
        end = after
    first, *others = places
    return Frame(kind, bytes(view[first[0] : first[1]]), tuple(view[begin:after] for begin, after in others), total)


def _fill(
    sock: Source,
    view: memoryview,
    progress: Callable[[], None] | None,
    *,
    least: int | None = None,
    may_end: bool = False,
) -> int:
    """Receive as many bytes, or at least `least` of them; returns how many, 0 only if the stream ended before the first, and may."""
    at, size = 0, view.nbytes
    least = size if least is None else least
    while at < least:
        got = sock.recv_into(view[at:] if at else view)
        if not got:
            if may_end and not at:
                return 0
            raise EOFError("the stream ended within a frame")
        at += got
        if progress is not None:
            progress()
    return at


def _aligned(end: int) -> int:
    return -(-end // _ALIGNMENT) * _ALIGNMENT
