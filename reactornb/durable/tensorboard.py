"""Event files of TensorBoard, written without any package: a few fields of two protobuf messages in TFRecord frames.

What is written is what `tf.summary.scalar`, `tf.summary.text` and the hyper-parameters' plugin write (tensorboard/compat/proto: event,
summary, tensor; tensorboard/plugins/hparams/plugin_data.proto). This module knows bytes, not runs.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import cache
from typing import IO, Any

import numpy

__all__ = ["EventFile", "crc32c"]

_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")
_POLYNOMIAL = 0x82F63B78  # Castagnoli's, reflected


@cache
def _table() -> numpy.ndarray[Any, Any]:
    """The checksum of each byte."""
    crc = numpy.arange(256, dtype=numpy.uint32)
    for _ in range(8):
        crc = numpy.where(crc & 1, (crc >> 1) ^ numpy.uint32(_POLYNOMIAL), crc >> 1).astype(numpy.uint32)
    return crc


@cache
def _list() -> list[int]:
    return [int(value) for value in _table()]


def crc32c(data: bytes) -> int:
    """The CRC-32C of bytes."""
    table, crc = _list(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _masked(crc: int) -> int:
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


class EventFile:
    """Writes events to an open binary file, the one that every such file begins with first.

    Args:
        file: where to.
        wall: when it begins, in seconds since 1970.
    """

    def __init__(self, file: IO[bytes], wall: float) -> None:
        self._file = file
        self._write(_double(1, wall) + _bytes(3, b"brain.Event:2"))

    def scalars(self, name: str, steps: Sequence[int], walls: Sequence[float], values: Sequence[float]) -> None:
        """A curve.

        Args:
            name: of the curve.
            steps: of each value.
            walls: of each value its time, in seconds since 1970.
            values: the values.
        """
        head = _bytes(1, name.encode("utf-8", "replace")) + b"\x15"  # the value is a float32
        with numpy.errstate(over="ignore"):  # beyond float32 it is infinite
            singles = numpy.asarray(values, float).astype("<f4").tobytes()
        bodies = [
            _double(1, wall) + _int(2, step) + _bytes(5, _bytes(1, head + singles[4 * place : 4 * place + 4]))
            for place, (step, wall) in enumerate(zip(steps, walls, strict=True))
        ]
        for start in range(0, len(bodies), 4096):
            self._file.write(_framed(bodies[start : start + 4096]))

    def text(self, name: str, words: str, wall: float) -> None:
        """A text, in Markdown."""
        metadata = _bytes(1, _bytes(1, b"text")) + _int(4, 2)  # its class of data: a tensor
        tensor = _int(1, 7) + _bytes(2, _bytes(2, _int(1, 1))) + _bytes(8, words.encode("utf-8", "replace"))
        value = _bytes(1, name.encode("utf-8", "replace")) + _bytes(9, metadata) + _bytes(8, tensor)
        self._write(_double(1, wall) + _bytes(5, _bytes(1, value)))

    def parameters(
        self, values: Mapping[str, Any], name: str, began: float, ended: float | None, *, good: bool
    ) -> None:
        """What the run was started with, for the page of hyper-parameters.

        Args:
            values: numbers, booleans and texts by name.
            name: of the run.
            began, ended: in seconds since 1970; `ended` is None for a run that goes on.
            good: whether it ended well.
        """
        listed = b"".join(
            _bytes(1, _bytes(1, key.encode("utf-8", "replace")) + _bytes(2, _value(v))) for key, v in values.items()
        )
        start = listed + _bytes(4, name.encode("utf-8", "replace")) + _double(5, began)
        self._plugin("_hparams_/session_start_info", _bytes(3, start), began)
        if ended is not None:
            self._plugin("_hparams_/session_end_info", _bytes(4, _int(1, 1 if good else 2) + _double(2, ended)), ended)

    def _plugin(self, tag: str, content: bytes, wall: float) -> None:
        metadata = _bytes(1, _bytes(1, b"hparams") + _bytes(2, content))
        tensor = _int(1, 1) + _bytes(2, _bytes(2, b""))  # float32 of no elements
        value = _bytes(1, tag.encode()) + _bytes(9, metadata) + _bytes(8, tensor)
        self._write(_double(1, wall) + _bytes(5, _bytes(1, value)))

    def _write(self, body: bytes) -> None:
        self._file.write(_framed([body]))


def _framed(bodies: list[bytes]) -> bytes:
    """Records of a TFRecord file: length and data with a checksum each. Checksums of equally long records are worked out together."""
    by_length: dict[int, list[int]] = {}
    for place, body in enumerate(bodies):
        by_length.setdefault(len(body), []).append(place)
    out: list[bytes] = [b""] * len(bodies)
    for length, places in by_length.items():
        head = _LENGTH.pack(length)
        head += _CRC.pack(_masked(crc32c(head)))
        cells = numpy.frombuffer(b"".join(bodies[place] for place in places), numpy.uint8).reshape(len(places), length)
        for place, crc in zip(places, _crcs(cells), strict=True):
            out[place] = head + bodies[place] + _CRC.pack(_masked(crc))
    return b"".join(out)


def _crcs(rows: numpy.ndarray[Any, Any]) -> list[int]:
    """The CRC-32C of each row."""
    table = _table()
    crc = numpy.full(len(rows), 0xFFFFFFFF, numpy.uint32)
    for column in rows.T:
        crc = table[(crc ^ column) & 0xFF] ^ (crc >> 8)
    return [int(value) ^ 0xFFFFFFFF for value in crc]


# -- protobuf: a field is its number and kind as a varint, then the value ---------------------------------------------------


def _varint(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _int(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _double(field: int, value: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _value(value: Any) -> bytes:
    """A `google.protobuf.Value`."""
    if isinstance(value, bool):
        return _int(4, value)
    if isinstance(value, (int, float)):
        return _double(2, float(value))
    return _bytes(3, str(value).encode("utf-8", "replace"))
