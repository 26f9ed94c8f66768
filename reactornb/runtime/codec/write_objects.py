"""How values of Python's own types, and of declared classes, are written."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import fractions
import pathlib
import random  # noqa: TID251 - its state is kept, nothing is drawn
import types
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy

from reactornb.model.ownership import Guarded
from reactornb.runtime.codec import write_arrays
from reactornb.runtime.codec.classes import Classes
from reactornb.runtime.codec.parts import Part, RefusedPartError, Writing, data_of

__all__ = ["BASES", "WRITERS", "base_of", "find_writer", "takes_itself_apart"]

Writer = Callable[[Writing, Any], Part]

BASES: tuple[type, ...] = (
    str, bytes, bytearray, int, float, complex, list, tuple, dict, set, frozenset, numpy.ndarray,
)  # fmt: skip
"""What a declared class may be derived from, beside `object`."""

_CHANGEABLE = (list, dict, set)
_PATHS = (pathlib.PurePosixPath, pathlib.PureWindowsPath, pathlib.PosixPath, pathlib.WindowsPath)
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, numpy.ufunc)
_OWN_WAYS = ("__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__getnewargs__", "__getnewargs_ex__")


def _pairs(items: Iterable[tuple[Any, Any]]) -> list[Any]:
    return [part for pair in items for part in pair]


def _listed(tag: str, *, is_fixed: bool = False) -> Writer:
    def write(_: Writing, value: Any) -> Part:
        parts = list(value)
        return Part([tag, len(parts)], parts, None, is_fixed)

    return write


def _mapped(tag: str, *, is_fixed: bool = False) -> Writer:
    def write(_: Writing, value: Any) -> Part:
        parts = _pairs(value.items())
        return Part([tag, len(parts) // 2], parts, None, is_fixed)

    return write


def _default_dict(_: Writing, value: Any) -> Part:
    parts = _pairs(value.items())
    labels = ["default_factory", *(f"item {i // 2}" for i in range(len(parts)))]
    return Part(["defaultdict", len(parts) // 2], [value.default_factory, *parts], labels)


def _deque(_: Writing, value: Any) -> Part:
    return Part(["deque", len(value), value.maxlen], list(value))


def _raw(tag: str) -> Writer:
    return lambda writing, value: Part([tag, data_of(writing, memoryview(value))])


def _ints(tag: str, *names: str) -> Writer:
    return lambda _, value: Part([tag], [getattr(value, name) for name in names], list(names))


def _moment(tag: str, *names: str) -> Writer:
    def write(_: Writing, value: Any) -> Part:
        zone = value.tzinfo
        if zone is not None and type(zone) is not datetime.timezone:
            raise RefusedPartError(
                "its time zone is not a datetime.timezone; call astimezone(datetime.UTC) before", value
            )
        return Part([tag, *(getattr(value, name) for name in names), value.fold], [zone], ["tzinfo"])

    return write


def _zone(_: Writing, value: datetime.timezone) -> Part:
    offset, *name = value.__getinitargs__()  # type: ignore[attr-defined]
    return Part(["timezone"], [offset, *name, None][:2])


def _random(_: Writing, value: Any) -> Part:
    return Part(["random"], [value.getstate()], ["getstate()"], True)


def _object_itself(_: Writing, value: Any) -> Part:
    raise RefusedPartError("a bare object() is equal to nothing but itself", value)


WRITERS: dict[type, Writer] = {
    list: _listed("list"),
    tuple: _listed("tuple", is_fixed=True),
    set: _listed("set"),
    frozenset: _listed("frozenset", is_fixed=True),
    dict: _mapped("dict"),
    collections.OrderedDict: _mapped("OrderedDict"),
    collections.Counter: _mapped("Counter"),
    types.MappingProxyType: _mapped("mappingproxy", is_fixed=True),
    collections.defaultdict: _default_dict,
    collections.deque: _deque,
    bytes: _raw("bytes"),
    bytearray: lambda writing, value: Part(["bytearray", data_of(writing, memoryview(bytes(value)))]),
    range: _ints("range", "start", "stop", "step"),
    slice: _ints("slice", "start", "stop", "step"),
    decimal.Decimal: lambda _, value: Part(["Decimal", str(value)]),
    fractions.Fraction: _ints("Fraction", "numerator", "denominator"),
    datetime.timedelta: lambda _, value: Part(["timedelta", value.days, value.seconds, value.microseconds]),
    datetime.date: lambda _, value: Part(["date", value.year, value.month, value.day]),
    datetime.time: _moment("time", "hour", "minute", "second", "microsecond"),
    datetime.datetime: _moment("datetime", "year", "month", "day", "hour", "minute", "second", "microsecond"),
    datetime.timezone: _zone,
    uuid.UUID: lambda _, value: Part(["UUID", value.hex]),
    **dict.fromkeys(_PATHS, lambda _, value: Part(["path", type(value).__name__, str(value)])),
    random.Random: _random,
    object: _object_itself,
}


def find_writer(cls: type, classes: Classes) -> Writer:
    """How values of any other class are written.

    Raises:
        RefusedPartError: by the writer, where its values cannot be.
    """
    if issubclass(cls, Guarded):  # a list, dict or set that was sent
        plain, write = cls.plain, WRITERS[cls.plain]
        return lambda writing, value: write(writing, plain(value))
    if issubclass(cls, type) or cls in _FUNCTIONS:
        return _named
    if classes.converter(cls) is not None:
        return _saved
    if issubclass(cls, enum.Enum):
        return _enum
    return write_arrays.find_writer(cls) or _of_class(cls)


def _of_class(cls: type) -> Writer:
    if takes_itself_apart(cls):
        return _in_its_own_way
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return _named_tuple
    base = base_of(cls)
    return _object if base is object else _made_in_c if base is None else _extended


def base_of(cls: type) -> Any:
    """The type that holds a value's content: one of `BASES`, `object` where its attributes are all, None if another one does."""
    for base in cls.__mro__:
        if base in BASES or base is object:
            return base
        if base in WRITERS or not base.__flags__ & 1 << 9:  # a type made in C, not by a `class` statement
            return None
    return None


def takes_itself_apart(cls: type) -> bool:
    """Whether a class says by itself how its values are copied and pickled, so that its attributes may not be all."""
    base = base_of(cls) or object
    return any(
        getattr(cls, name, None) is not getattr(base, name, None)
        and getattr(getattr(cls, name, None), "__module__", None)
        != "dataclasses"  # of a frozen one with slots: its fields
        and not (name == "__getnewargs__" and hasattr(cls, "_fields"))
        for name in _OWN_WAYS
    )


def _in_its_own_way(_: Writing, value: Any) -> Part:
    raise RefusedPartError(
        f"its class says by itself how it is copied or pickled, so its attributes may not be all. Declare how it is saved: "
        f"classes.add({type(value).__name__}, save=..., load=...)",
        value,
    )


def _made_in_c(_: Writing, value: Any) -> Part:
    raise RefusedPartError(
        f"what it holds is not in its attributes. If it can be made again, declare how: "
        f"classes.add({type(value).__name__}, save=..., load=...)",
        value,
    )


def _name(writing: Writing, named: Any, value: Any) -> str:
    name = writing.classes.name(named)
    if name is None:
        what = "class" if isinstance(named, type) else "function"
        qualified = f"{named.__module__}.{named.__qualname__}"
        raise RefusedPartError(
            f"the {what} {qualified} is not declared. Give it to Classes([{named.__qualname__}, ...])", value
        )
    return name


def _named(writing: Writing, value: Any) -> Part:
    return Part(["class" if isinstance(value, type) else "function", _name(writing, value, value)])


def _enum(writing: Writing, value: Any) -> Part:
    name = _name(writing, type(value), value)
    if isinstance(value, enum.Flag):
        return Part(["flag", name, _flags(value)])
    return Part(["enum", name, value.name])


def _flags(value: Any) -> list[str]:
    """The names of a flag's bits."""
    cls = type(value)
    bits = [name for name, member in cls.__members__.items() if member._value_ and not member._value_ & ~value._value_]
    total = 0
    for name in bits:
        total |= cls.__members__[name]._value_
    if total != value._value_:
        raise RefusedPartError("it has bits that are no members of its class", value)
    return bits


def _saved(writing: Writing, value: Any) -> Part:
    converter = writing.classes.converter(type(value))
    assert converter is not None
    return Part(["saved", _name(writing, type(value), value)], [converter.save(value)], ["save()"], True)


def _named_tuple(writing: Writing, value: Any) -> Part:
    cls = type(value)
    more = getattr(value, "__dict__", {})
    token = ["namedtuple", _name(writing, cls, value), len(cls._fields), list(more)]
    return Part(token, [*tuple.__iter__(value), *more.values()], [*cls._fields, *more], True)


def _object(writing: Writing, value: Any) -> Part:
    value.__reduce_ex__(4)  # object's own: raises where a type made in C keeps something beside the attributes
    state = _state(value)
    return Part(["object", _name(writing, type(value), value), list(state)], list(state.values()), list(state))


def _extended(writing: Writing, value: Any) -> Part:
    base = base_of(type(value))
    assert base is not None
    content = _content(base, value)
    state = _state(value)
    token = ["extended", _name(writing, type(value), value), list(state)]
    return Part(token, [content, *state.values()], ["content", *state], base not in _CHANGEABLE)


def _content(base: Any, value: Any) -> Any:
    """The content without the class; its class's own methods are not asked."""
    if base is numpy.ndarray:
        return value.view(numpy.ndarray)
    if base is dict:
        return {key: dict.__getitem__(value, key) for key in dict.__iter__(value)}
    if base in (list, tuple, set, frozenset, bytearray):
        return base(base.__iter__(value))
    if base is complex:
        return complex(value.real, value.imag)
    if base in (int, float):
        return base.__pos__(value)
    return base.__getitem__(value, slice(None))


def _state(value: Any) -> Mapping[str, Any]:
    """An object's attributes: of its dictionary, then of its slots."""
    state = dict(getattr(value, "__dict__", {}))
    for cls in type(value).__mro__:
        for name, member in cls.__dict__.items():
            if type(member) is types.MemberDescriptorType and hasattr(value, name):
                state[name] = getattr(value, name)
    if not all(type(name) is str for name in state):
        raise RefusedPartError("an attribute has a name that is no string", value)
    return state
