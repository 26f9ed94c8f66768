"""The container of a saved policy: named arrays and one JSON text, in the format of safetensors.

    8 bytes         N, the length of the header, little-endian
    N bytes         JSON: {"__metadata__": {"reactornb.policy": "<the JSON text>", …}, name: {"dtype", "shape", "data_offsets"}, …}
    the rest        the arrays, one after the other

Anything that reads safetensors opens such a file. It is written and read here, without the package of that name, since policies are to be used with
NumPy alone and a reader for files of strangers had better be strict: no byte of a file is left unexplained, no array overlaps another, sizes are
held against the file before anything is made of them, and a hash covers names, shapes, text and numbers. Nothing here knows what a policy is.

Source: https://github.com/huggingface/safetensors, "Format".
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any

import numpy as np

__all__ = ["ContainerError", "json_value", "pack", "unpack", "whole_numbers"]

TEXT, HASH = "reactornb.policy", "blake2b"
"""The two entries of the header's metadata."""

DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}

MOST_HEADER = 4 * 2**20
"""Bytes of a header; those of a policy take a few thousand, unless a space has bounds for each of very many numbers."""

MOST_DIMENSIONS = 8


class ContainerError(ValueError):
    """What is wrong with a file, in words that continue "it is no policy: …"."""


def pack(tensors: Mapping[str, np.ndarray], text: str) -> bytes:
    """Put arrays, float32 or float64, and a text into one file's bytes. The same arguments give the same bytes."""
    # The widest first: then each array begins at a multiple of its own width, as the format asks.
    names = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    entries: dict[str, Any] = {}
    parts: list[bytes] = []
    at = 0
    for name in names:
        array = tensors[name]
        part = array.astype(array.dtype.newbyteorder("<"), order="C").tobytes()
        kind = _NAMES[array.dtype.newbyteorder("<")]
        entries[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [at, at + len(part)]}
        parts.append(part)
        at += len(part)
    data = b"".join(parts)
    metadata = {TEXT: text, HASH: _hash(text, entries, data)}
    header = json.dumps({"__metadata__": metadata, **entries}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data


def unpack(content: bytes) -> tuple[dict[str, np.ndarray], str]:
    """The arrays, read-only, and the text of a file's bytes.

    Raises:
        ContainerError: for bytes that `pack` does not write.
    """
    if len(content) < 8:
        raise ContainerError(f"it has {len(content)} bytes")
    size = int.from_bytes(content[:8], "little")
    if size > min(len(content) - 8, MOST_HEADER):
        raise ContainerError(f"its header would take {size} bytes of {len(content)}")
    header = json_value(content[8 : 8 + size], "its header")
    data = memoryview(content)[8 + size :]
    if not isinstance(header, dict):
        raise ContainerError("its header is no JSON object")
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or not isinstance(metadata.get(TEXT), str):
        raise ContainerError("its header does not say that it is one")
    tensors = _arrays(header, data)
    if metadata.get(HASH) != _hash(metadata[TEXT], header, data):
        raise ContainerError("its hash is not that of its content")
    return tensors, metadata[TEXT]


def _arrays(entries: Mapping[str, Any], data: memoryview) -> dict[str, np.ndarray]:
    """The arrays of a header's entries, which cover the data without a gap."""
    found: dict[str, np.ndarray] = {}
    spans: list[tuple[int, int]] = []
    for name, entry in entries.items():
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise ContainerError(f"what it says of the array {name!r:.60} is incomplete")
        dtype = DTYPES.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
        if dtype is None:
            raise ContainerError(f"the array {name!r:.60} is of type {entry['dtype']!r:.60}")
        shape, offsets = entry["shape"], entry["data_offsets"]
        if not whole_numbers(shape, 1, MOST_DIMENSIONS) or not whole_numbers(offsets, 0, 2) or len(offsets) != 2:
            raise ContainerError(f"the shape or the place of the array {name!r:.60} are no whole numbers")
        begin, end = offsets
        if not begin <= end <= len(data) or end - begin != math.prod(shape) * dtype.itemsize:
            raise ContainerError(f"the array {name!r:.60} has {shape} numbers in bytes {begin} to {end} of {len(data)}")
        array = np.frombuffer(data[begin:end], dtype).reshape(shape)
        if not np.isfinite(array).all():
            raise ContainerError(f"the array {name!r:.60} has numbers that are not finite")
        # A copy in the machine's own order, and aligned: then all else is as fast as with weights that never were in a file.
        array = array.astype(dtype.newbyteorder("="))
        array.flags.writeable = False
        found[name] = array
        spans.append((begin, end))
    at = 0
    for begin, end in sorted(spans):
        if begin != at:
            raise ContainerError(f"bytes {min(at, begin)} to {max(at, begin)} of its data are of no array, or of two")
        at = end
    if at != len(data):
        raise ContainerError(f"{len(data) - at} bytes at its end are of no array")
    return found


def whole_numbers(value: Any, least: int = 0, most: int = 2**16) -> bool:
    """Whether it is a list of at most `most` whole numbers, each at least `least` and such as an array's size can be."""
    return isinstance(value, list) and len(value) <= most and all(type(k) is int and least <= k < 2**48 for k in value)


def _hash(text: str, entries: Mapping[str, Any], data: bytes | memoryview) -> str:
    """Of all that the file says, 64 digits."""
    digest = blake2b(digest_size=32)
    for part in (text.encode(errors="surrogatepass"), json.dumps(dict(entries), sort_keys=True).encode(), data):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def json_value(content: bytes | str, what: str) -> Any:
    """The value of a JSON text.

    Args:
        content: the text, UTF-8.
        what: what it is, for messages.

    Raises:
        ContainerError: if it is none, names an entry twice, nests hundreds deep, or has a number that is not finite.
    """
    refuse: Callable[[str], Any] = _refuse
    try:
        text = content if isinstance(content, str) else content.decode()
        return json.loads(text, object_pairs_hook=_once, parse_constant=refuse)
    except ContainerError:
        raise
    except (ValueError, RecursionError) as error:  # also a number of thousands of digits
        raise ContainerError(f"{what} is no JSON ({error!s:.80})") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ContainerError("its JSON names an entry twice")
    return found


def _refuse(constant: str) -> Any:
    raise ContainerError(f"its JSON has the number {constant}")
