"""From tokens back to a value: a loop with a stack, which makes what `read_objects` and `read_arrays` say and calls nothing that data name."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from reactornb.errors import MalformedDataError
from reactornb.runtime.codec.classes import NONE_DECLARED, Classes
from reactornb.runtime.codec.layout import Buffer, Encoded
from reactornb.runtime.codec.making import Making, Many, Open, Unfinished
from reactornb.runtime.codec.parts import NUMBERED
from reactornb.runtime.codec.read_arrays import ARRAYS
from reactornb.runtime.codec.read_objects import OBJECTS

__all__ = ["decode"]

_READERS: dict[str, Callable[[Making, list[Any]], Any]] = {**OBJECTS, **ARRAYS}
_FEW = 8


def decode(
    data: Encoded | Buffer, classes: Classes | None = None, *, copy: bool = True, device: str | None = None
) -> Any:
    """The value that was encoded.

    Args:
        data: what `encode` gave, or its bytes in one piece.
        classes: which classes and functions the data may name; None: Python's and NumPy's own only.
        copy: arrays have memory of their own and may be changed; False: larger ones are read-only views of `data`.
        device: where tensors are put, such as "cpu"; None: on a device of the kind they were on.

    Raises:
        MalformedDataError: for anything that `encode` does not write, and for names that `classes` does not have.
    """
    encoded = data if isinstance(data, Encoded) else Encoded.from_bytes(data)
    try:
        tokens = _from_json(encoded.tree.decode())
    except (ValueError, RecursionError) as error:
        raise MalformedDataError(f"the text of an encoded value is no JSON ({error}).") from error
    if type(tokens) is not list or not tokens:
        raise MalformedDataError("the text of an encoded value is no list of tokens.")
    making = Making(
        NONE_DECLARED if classes is None else classes, encoded.buffers, len(encoded.tree), copy=copy, device=device
    )
    try:
        return _read(tokens, making)
    except MalformedDataError:
        raise
    except Exception as error:
        raise MalformedDataError(
            f"token {making.at} of an encoded value, {str(tokens[making.at])[:80]}, does not fit: {type(error).__name__}: {str(error)[:200]}"
        ) from error


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


_from_json = json.JSONDecoder(parse_constant=_no_constant).decode


def _read(tokens: list[Any], making: Making) -> Any:
    stack: list[Open] = []
    at, total = 0, len(tokens)
    while at < total:
        token = tokens[at]
        making.at = at
        at += 1
        if type(token) is list:
            tag = token[0]
            if type(tag) is not str:
                raise ValueError("a token has no tag")
            number = -1
            if tag in NUMBERED:
                number = len(making.made)
                making.made.append(Unfinished)
            value = _READERS[tag](making, token)
            if type(value) is Open:
                need = value.need
                if need > making.nbytes:  # each takes at least one
                    raise ValueError(f"it has {need:,} parts, and the data {making.nbytes:,} bytes")
                value.number = number
                if number >= 0:
                    making.made[number] = value.early
                if need >= _FEW:
                    chunk = tokens[at : at + need]
                    if len(chunk) == need and {list, dict}.isdisjoint(map(type, chunk)):
                        value.parts = chunk
                        at += need
                        need = 0
                if need:
                    stack.append(value)
                    continue
                value = _close(value, making)
            elif type(value) is Many:
                opened = stack[-1]
                opened.parts += value.values
                if len(opened.parts) < opened.need:
                    continue
                value = _close(stack.pop(), making)
            elif number >= 0:
                making.made[number] = value
        elif type(token) is dict:
            raise ValueError("a JSON object is no token")
        else:
            value = token
        while stack:
            top = stack[-1]
            top.parts.append(value)
            if len(top.parts) < top.need:
                break
            value = _close(stack.pop(), making)
        else:
            if at != total:
                raise ValueError(f"behind the value stand {total - at:,} more tokens")
            return value
    raise ValueError("the value is not complete")


def _close(opened: Open, making: Making) -> Any:
    if len(opened.parts) != opened.need:
        raise ValueError(f"it has {opened.need:,} parts, and {len(opened.parts):,} are given")
    value = opened.build(opened.parts)
    if opened.number >= 0:
        making.made[opened.number] = value
    return value
