"""NumPy's dtypes as JSON, and back: only those of which an array's memory is plain data, or Python objects that are written one by one."""

from __future__ import annotations

import functools
import re
from typing import Any

import numpy

__all__ = ["STRINGS", "check_elements", "describe", "read_dtype", "read_shape", "shape_size"]

# A dtype by its string: kind, bytes, unit of time.
_NAME = re.compile(r"[<>|][biufcmMSUVO]\d{0,9}(\[\d{0,9}[A-Za-z]{1,2}(/\d{1,9})?\])?")
STRINGS = numpy.dtypes.StringDType
_DEEPEST = 32
_MOST_DIMENSIONS = 64
_MOST_WITHOUT_BYTES = 1 << 31


def describe(dtype: Any) -> Any:
    """A dtype as JSON: a string, or a list for fields and for arrays within an element.

    Raises:
        TypeError: for a dtype of another library, of which its string says nothing.
    """
    if dtype.names is not None:
        fields = []
        for name in dtype.names:
            part, offset, *title = dtype.fields[name]
            fields.append([name, offset, describe(part), *title])
        if any(len(field) == 4 and type(field[3]) is not str for field in fields):
            raise TypeError("a field's title is not a string")
        return ["record" if dtype.type is numpy.record else "fields", dtype.itemsize, dtype.isalignedstruct, fields]
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return ["array", list(shape), describe(base)]
    return _name(dtype)


@functools.lru_cache(1024)  # of equal dtypes without fields
def _name(dtype: Any) -> str:
    text: str = dtype.str
    if dtype.kind == "T" or not _NAME.fullmatch(text) or numpy.dtype(text) != dtype:
        raise TypeError(f"the dtype {dtype!r} has no name that says all of it")
    return text


def read_dtype(described: Any, depth: int = 0) -> Any:
    """The dtype that `describe` described.

    Raises:
        Exception: of any kind, for anything else.
    """
    if type(described) is str:
        return _named(described)
    if depth > _DEEPEST:
        raise ValueError("a dtype within a dtype, too deep")
    if described[0] == "array":
        _, shape, base = described
        return numpy.dtype((read_dtype(base, depth + 1), read_shape(shape)))
    tag, itemsize, aligned, fields = described
    if tag not in ("fields", "record") or type(itemsize) is not int or type(aligned) is not bool:
        raise ValueError("no dtype")
    names = [_string(field[0]) for field in fields]
    formats = [read_dtype(field[2], depth + 1) for field in fields]
    if any(part.hasobject for part in formats):  # NumPy lays it out, so that no offset can make a pointer of data
        made = numpy.dtype(list(zip(names, formats, strict=True)), align=aligned)
    else:
        offsets = [_whole(field[1]) for field in fields]
        layout = {"names": names, "formats": formats, "offsets": offsets, "itemsize": _whole(itemsize)}
        if any(len(field) > 3 for field in fields):
            layout["titles"] = [_string(field[3]) if len(field) > 3 else None for field in fields]
        made = numpy.dtype(layout, align=aligned)  # type: ignore[call-overload]
    return numpy.dtype((numpy.record, made)) if tag == "record" else made


@functools.lru_cache(1024)
def _named(name: str) -> Any:
    if not _NAME.fullmatch(name):
        raise ValueError(f"no dtype: {name!r:.60}")
    return numpy.dtype(name)


def read_shape(shape: Any) -> tuple[int, ...]:
    """A shape, checked.

    Raises:
        Exception: of any kind, if it is none.
    """
    if type(shape) is not list or len(shape) > _MOST_DIMENSIONS:
        raise ValueError("no shape")
    return tuple(_whole(n) for n in shape)


def shape_size(shape: tuple[int, ...]) -> int:
    """How many elements."""
    size = 1
    for n in shape:
        size *= n
    return size


def check_elements(array: Any) -> None:
    """Refuse what NumPy takes for granted of its own memory: booleans are 0 or 1, letters are in Unicode.

    Raises:
        ValueError: for anything else.
    """
    dtype = array.dtype
    if dtype.names is not None:
        for name in dtype.names:
            check_elements(array[name])
    elif array.size == 0:
        return
    elif dtype.kind == "b" and array.view(numpy.uint8).max() > 1:
        raise ValueError("a boolean that is neither 0 nor 1")
    elif dtype.kind == "U" and dtype.itemsize:
        letters = numpy.ascontiguousarray(array).reshape(-1).view(f"{dtype.str[0]}u4")
        if letters.max() > 0x10FFFF:
            raise ValueError("a letter that is not in Unicode")
    elif dtype.itemsize == 0 and array.size > _MOST_WITHOUT_BYTES:
        raise ValueError("more elements without any bytes than anybody has")


def _string(value: Any) -> str:
    if type(value) is not str:
        raise ValueError("no name")
    return value


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError("no length")
    return value
