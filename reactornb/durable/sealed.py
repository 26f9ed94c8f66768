"""JSON files that say whether they are as they were written: a hash of the rest stands in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from reactornb.durable.errors import DamagedRunError
from reactornb.durable.storage import Storage

__all__ = ["read_sealed", "seal"]

_MOST = 64 << 20  # bytes of such a file


def seal(content: Mapping[str, Any]) -> bytes:
    """A JSON object with its hash, as bytes.

    Raises:
        TypeError, ValueError: for what JSON cannot say: other types, keys that are no text, NaN.
    """
    plain = json.loads(json.dumps(content, allow_nan=False))  # as it will be read: keys as text, in that order
    return json.dumps({**plain, "seal": _hash(plain)}, indent=1).encode() + b"\n"


def _hash(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return blake2b(text.encode(), digest_size=32).hexdigest()


def read_sealed(storage: Storage, at: str) -> dict[str, Any]:
    """What was sealed.

    Raises:
        DamagedRunError: if the file is missing or is not that.
    """
    path = storage.path(at)
    try:
        data = storage.read(at, 0, _MOST)
    except FileNotFoundError:
        raise DamagedRunError(path, "it is missing") from None
    try:
        content = json.loads(data.decode())
        if type(content) is dict and content.pop("seal", None) == _hash(content):
            return content
    except (ValueError, RecursionError) as error:
        raise DamagedRunError(path, f"it is no JSON ({str(error)[:100]})") from error
    raise DamagedRunError(path, "it is not what was written there")
