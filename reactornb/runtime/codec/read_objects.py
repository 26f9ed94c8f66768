"""How tokens become values of Python's own types and of declared classes.

Anything that does not fit raises, whatever; `decode` makes one error of it.
"""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import fractions
import pathlib
import random  # noqa: TID251 - its state is put back, nothing is drawn
import struct
import types
import uuid
from collections.abc import Callable
from typing import Any

import numpy

from reactornb.runtime.codec.making import Making, Open, Unfinished, whole
from reactornb.runtime.codec.write_objects import base_of, takes_itself_apart

__all__ = ["OBJECTS"]

Reader = Callable[[Making, list[Any]], Any]


def _dict_items(parts: list[Any]) -> Any:
    return zip(parts[::2], parts[1::2], strict=True)


def _filled(make: Callable[[], Any], fill: Callable[[Any, list[Any]], None]) -> Reader:
    """Of something that can be referred to before its parts are there."""

    def read(_: Making, token: list[Any]) -> Open:
        _tag, count = token
        value = make()

        def build(parts: list[Any]) -> Any:
            fill(value, parts)
            return _all_different(value, count)

        return Open(count, build, value)

    return read


def _mapped(make: Callable[[], Any]) -> Reader:
    def read(_: Making, token: list[Any]) -> Open:
        _tag, count = token
        value = make()

        def build(parts: list[Any]) -> Any:
            dict.update(value, _dict_items(parts))
            return _all_different(value, count)

        return Open(2 * whole(count), build, value)

    return read


def _all_different(value: Any, count: int) -> Any:
    if len(value) != count:
        raise ValueError("two members or keys are equal")
    return value


def _ordered(_: Making, token: list[Any]) -> Open:
    _tag, count = token
    value: Any = collections.OrderedDict()

    def build(parts: list[Any]) -> Any:
        value.update(_dict_items(parts))
        return _all_different(value, count)

    return Open(2 * whole(count), build, value)


def _default_dict(_: Making, token: list[Any]) -> Open:
    _tag, count = token
    value: Any = collections.defaultdict()

    def build(parts: list[Any]) -> Any:
        factory = parts[0]
        if factory is not None and not isinstance(factory, (type, types.FunctionType, types.BuiltinFunctionType)):
            raise ValueError("a default_factory is a class, a function, or None")
        dict.update(value, _dict_items(parts[1:]))
        value.default_factory = factory
        return _all_different(value, count)

    return Open(1 + 2 * whole(count), build, value)


def _proxy(_: Making, token: list[Any]) -> Open:
    _tag, count = token
    return Open(2 * whole(count), lambda parts: types.MappingProxyType(_all_different(dict(_dict_items(parts)), count)))


def _deque(_: Making, token: list[Any]) -> Open:
    _tag, count, longest = token
    value: Any = collections.deque(maxlen=None if longest is None else whole(longest))

    def build(parts: list[Any]) -> Any:
        value.extend(parts)
        return _all_different(value, count)

    return Open(count, build, value)


def _tuple(_: Making, token: list[Any]) -> Open:
    _tag, count = token
    return Open(count, tuple)


def _frozenset(_: Making, token: list[Any]) -> Open:
    _tag, count = token
    return Open(count, lambda parts: _all_different(frozenset(parts), count))


def _bytes(making: Making, token: list[Any]) -> Any:
    tag, where = token
    return (bytes if tag == "bytes" else bytearray)(making.data(where))


def _parts(count: int, make: Callable[..., Any]) -> Reader:
    def read(_: Making, token: list[Any]) -> Open:
        (_tag,) = token
        return Open(count, lambda parts: make(*parts))

    return read


def _plain(make: Callable[..., Any], *kinds: type) -> Reader:
    """Of what the token holds completely."""

    def read(_: Making, token: list[Any]) -> Any:
        _tag, *given = token
        if [type(part) for part in given] != list(kinds):
            raise ValueError("it has other parts than it should")
        return make(*given)

    return read


def _range(*parts: Any) -> range:
    if not all(type(part) is int for part in parts):
        raise ValueError("a range is of integers")
    return range(*parts)


def _fraction(above: Any, below: Any) -> Any:
    if type(above) is not int or type(below) is not int:
        raise ValueError("a fraction is of integers")
    return fractions.Fraction(above, below)


def _moment(make: Any, count: int) -> Reader:
    def read(_: Making, token: list[Any]) -> Open:
        _tag, *numbers, fold = token
        if len(numbers) != count or not all(type(n) is int for n in (*numbers, fold)):
            raise ValueError("no date or time")

        def build(parts: list[Any]) -> Any:
            if parts[0] is not None and type(parts[0]) is not datetime.timezone:
                raise ValueError("no time zone")
            return make(*numbers, tzinfo=parts[0], fold=fold)

        return Open(1, build)

    return read


def _zone(offset: Any, name: Any) -> Any:
    if type(offset) is not datetime.timedelta or (name is not None and type(name) is not str):
        raise ValueError("no time zone")
    return datetime.timezone(offset) if name is None else datetime.timezone(offset, name)


_PATHS = {
    cls.__name__: cls
    for cls in (pathlib.PurePosixPath, pathlib.PureWindowsPath, pathlib.PosixPath, pathlib.WindowsPath)
}


def _random(state: Any) -> Any:
    version, inner, gauss = state
    if version != 3 or type(inner) is not tuple or (gauss is not None and type(gauss) is not float):
        raise ValueError("no state of a random.Random")
    generator = random.Random(0)  # noqa: S311 - what it draws is reproduced
    generator.setstate((version, inner, gauss))
    return generator


# -- what is declared -----------------------------------------------------------------------------------------------------


def _reference(making: Making, token: list[Any]) -> Any:
    _tag, number = token
    value = making.made[whole(number)]
    if value is Unfinished:
        raise ValueError("it refers to what is not complete")
    return value


def _named(kind: Any) -> Reader:
    def read(making: Making, token: list[Any]) -> Any:
        _tag, name = token
        return making.named(name, kind)

    return read


def _enum(making: Making, token: list[Any]) -> Any:
    _tag, name, member = token
    return making.named(name, enum.EnumType).__members__[member]


def _flag(making: Making, token: list[Any]) -> Any:
    _tag, name, members = token
    cls = making.named(name, enum.EnumType)
    if not issubclass(cls, enum.Flag):
        raise TypeError("no flag")
    bits = 0
    for member in members:
        bits |= cls.__members__[member]._value_
    known = cls._value2member_map_.get(bits)
    return known if known is not None else cls(bits)


def _object(making: Making, token: list[Any]) -> Open:
    _tag, name, names = token
    cls = making.named(name, type)
    if base_of(cls) is not object or takes_itself_apart(cls) or making.classes.converter(cls):
        raise ValueError(f"values of {name} are not made from attributes")
    value = object.__new__(cls)
    attributes = _checked_names(names)

    def build(parts: list[Any]) -> Any:
        _set_attributes(value, attributes, parts)
        return value

    return Open(len(attributes), build, value)


def _checked_names(names: Any) -> list[str]:
    if type(names) is not list or not all(type(name) is str for name in names) or len(set(names)) != len(names):
        raise ValueError("no names of attributes")
    return names


def _set_attributes(value: Any, names: list[str], parts: list[Any]) -> None:
    """Put attributes into the slots and the dictionary themselves: no `__setattr__`, no property is called."""
    slots: dict[str, Any] = {}
    for cls in reversed(type(value).__mro__):
        slots.update((n, m) for n, m in cls.__dict__.items() if type(m) is types.MemberDescriptorType)
    for name, part in zip(names, parts, strict=True):
        if name in slots:
            slots[name].__set__(value, part)
        elif name.startswith("__") and name.endswith("__"):
            raise ValueError(f"{name} is no attribute of a value's own")
        else:
            value.__dict__[name] = part


def _named_tuple(making: Making, token: list[Any]) -> Open:
    _tag, name, count, more = token
    cls = making.named(name, type)
    if not (issubclass(cls, tuple) and hasattr(cls, "_fields")) or takes_itself_apart(cls):
        raise ValueError(f"{name} is no NamedTuple")
    if len(cls._fields) != count:
        raise ValueError(f"{name} has {len(cls._fields)} fields, the data {count}")
    attributes = _checked_names(more)

    def build(parts: list[Any]) -> Any:
        value = tuple.__new__(cls, parts[:count])
        _set_attributes(value, attributes, parts[count:])
        return value

    return Open(count + len(attributes), build)


def _saved(making: Making, token: list[Any]) -> Open:
    _tag, name = token
    converter = making.classes.converter(making.named(name, type))
    if converter is None:
        raise ValueError(f"{name} is declared without a way to be loaded")
    return Open(1, lambda parts: converter.load(parts[0]))


def _extended(making: Making, token: list[Any]) -> Open:
    _tag, name, names = token
    cls: Any = making.named(name, type)
    base = base_of(cls)
    if base is None or base in (object, cls) or takes_itself_apart(cls) or making.classes.converter(cls):
        raise ValueError(f"values of {name} are not made from a content and attributes")
    attributes = _checked_names(names)
    early: Any = base.__new__(cls) if base in (list, dict, set) else Unfinished

    def build(parts: list[Any]) -> Any:
        content = parts[0]
        if type(content) is not base:
            raise ValueError(f"the content of {name} is no {base.__name__}")
        value: Any
        if base is numpy.ndarray:
            value = content.view(cls)
        elif early is not Unfinished:
            value = early
            (base.extend if base is list else base.update)(value, content)
        else:
            value = base.__new__(cls, content)
            if base is bytearray:  # which `__new__` leaves empty
                value.extend(content)
        _set_attributes(value, attributes, parts[1:])
        return value

    return Open(1 + len(attributes), build, early)


def _bits(text: str, form: str) -> Any:
    return struct.unpack(form, bytes.fromhex(text))


_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, numpy.ufunc)

OBJECTS: dict[str, Reader] = {
    "^": _reference,
    "int": _plain(lambda text: int(text, 16), str),
    "float": _plain(lambda text: _bits(text, ">d")[0], str),
    "complex": _plain(lambda text: complex(*_bits(text, ">dd")), str),
    "str": _plain(lambda text: bytes.fromhex(text).decode("utf-8", "surrogatepass"), str),
    "...": _plain(lambda: ...),
    "NotImplemented": _plain(lambda: NotImplemented),
    "list": _filled(list, list.extend),
    "tuple": _tuple,
    "set": _filled(set, set.update),
    "frozenset": _frozenset,
    "dict": _mapped(dict),
    "Counter": _mapped(collections.Counter),
    "OrderedDict": _ordered,
    "defaultdict": _default_dict,
    "mappingproxy": _proxy,
    "deque": _deque,
    "bytes": _bytes,
    "bytearray": _bytes,
    "range": _parts(3, _range),
    "slice": _parts(3, slice),
    "Decimal": _plain(decimal.Decimal, str),
    "Fraction": _parts(2, _fraction),
    "timedelta": _plain(datetime.timedelta, int, int, int),
    "date": _plain(datetime.date, int, int, int),
    "time": _moment(datetime.time, 4),
    "datetime": _moment(datetime.datetime, 7),
    "timezone": _parts(2, _zone),
    "UUID": _plain(lambda text: uuid.UUID(hex=text), str),
    "path": _plain(lambda kind, text: _PATHS[kind](text), str, str),
    "random": _parts(1, _random),
    "class": _named(type),
    "function": _named(_FUNCTIONS),
    "enum": _enum,
    "flag": _flag,
    "object": _object,
    "namedtuple": _named_tuple,
    "saved": _saved,
    "extended": _extended,
}
