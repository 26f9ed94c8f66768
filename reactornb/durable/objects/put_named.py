"""What is found in the program by its name, and what only startup can make, back from nodes; see `putting`."""

from __future__ import annotations

import enum
import functools
import logging
import re
import types
from collections.abc import Sequence
from typing import Any

import numpy

from reactornb.durable.objects.known import full_name
from reactornb.durable.objects.putting import MISSING, Fill, Make, Match, Putter, fits_type, pending
from reactornb.durable.objects.take_threads import words_of
from reactornb.durable.objects.take_types import BUILTIN_METHODS_OF
from reactornb.durable.objects.tree import Node, Unfit

__all__ = ["FILLS", "MAKES", "MATCHES"]

_BUILTIN = {full_name(cls): cls for cls in (object, int, float, complex, bool, str, bytes, list, tuple, dict, set)}


def _make_class(putter: Putter, node: Node, _: Any) -> Any:
    found = _BUILTIN.get(node[1]) or putter.known.named(node[1])
    if not isinstance(found, type):
        raise Unfit(node, f"is the class {node[1]!s:.100}, which the program does not have")
    return found


def _make_function(putter: Putter, node: Node, _: Any) -> Any:
    found = putter.known.named(node[1])
    if not isinstance(found, (types.FunctionType, types.BuiltinFunctionType)):
        raise Unfit(node, f"is the function {node[1]!s:.100}, which the program does not have")
    return found


def _make_ufunc(_: Putter, node: Node, __: Any) -> Any:
    found = vars(numpy).get(node[1])
    if not isinstance(found, numpy.ufunc):
        raise Unfit(node, "is damaged (no function of NumPy's)")
    return found


def _make_module(putter: Putter, node: Node, _: Any) -> Any:
    found = putter.known.named(node[1])
    if not isinstance(found, types.ModuleType):
        raise Unfit(node, f"is the {node[1]!s:.100}, which the program does not have")
    return found


def _make_sentinel(putter: Putter, node: Node, _: Any) -> Any:
    found = putter.known.named(node[1])
    if type(found) is not object:
        raise Unfit(node, f"is the {node[1]!s:.100}, which the program does not have")
    return found


def _make_anchor(putter: Putter, node: Node, _: Any) -> Any:
    found = putter.anchor(node[1])
    if found is MISSING:
        raise Unfit(node, f"is the {node[1]!s:.100}, which the program does not have")
    return found


def _make_parameter(putter: Putter, node: Node, _: Any) -> Any:
    return putter.parameter(node)


def _fits_kept(_: Putter, node: Node, live: Any) -> Sequence[Any] | None:
    name = getattr(live, "name", "")
    words = {
        f"function {full_name(live)}",
        f"class {full_name(live)}",
        f"method {full_name(getattr(live, '__func__', live))}",
        f"parameter {full_name(type(live))}",
        f"{full_name(type(live))} {name if type(name) is str else ''}".rstrip(),
        f"method {full_name(type(getattr(live, '__self__', None)))}.{getattr(live, '__name__', '')}",
    }
    if isinstance(live, types.ModuleType):
        words.add(f"module {live.__name__}")
    if isinstance(live, numpy.ndarray):
        words.add(f"mapped file {getattr(live, 'filename', '')} {live.dtype} {list(live.shape)}")
    return () if node[1] in words else None


def _make_kept(putter: Putter, node: Node, live: Any) -> Any:
    found = putter.kept(node) if live is MISSING else live
    if found is MISSING:
        words = node[1] if type(node[1]) is str else node[1][0]
        raise Unfit(node, f"is the {words!s:.100}, which startup of this program does not make there")
    return found


def _fits_thread(_: Putter, node: Node, live: Any) -> Sequence[Any] | None:
    return () if node[1] == words_of(live) else None


def _make_thread(_: Putter, node: Node, live: Any) -> Any:
    if live is MISSING:
        raise Unfit(node, f"is a {node[1]!s:.100}, which startup of this program does not make there")
    return live


def _fits_closure(_: Putter, node: Node, live: Any) -> Sequence[Any] | None:
    words, count, names = node[1]
    if type(live) is not types.FunctionType or words != f"function {full_name(live)}":
        return None
    cells = dict(zip(live.__code__.co_freevars, live.__closure__ or (), strict=True))
    return [cells.get(name, MISSING) if at < count else vars(live).get(name, MISSING) for at, name in enumerate(names)]


def _fill_closure(_: Putter, node: Node, made: Any, parts: list[Any]) -> Any:
    _words, count, names = node[1]
    cells = dict(zip(made.__code__.co_freevars, made.__closure__ or (), strict=True))
    for at, (name, part) in enumerate(zip(names, parts, strict=True)):
        if at >= count:
            vars(made)[name] = part
        elif cells.get(name) is not part:
            cells[name].cell_contents = part.cell_contents
    return made


def _fits_cell(_: Putter, __: Node, live: Any) -> Sequence[Any] | None:
    if type(live) is not types.CellType:
        return None
    try:
        return [live.cell_contents]
    except ValueError:
        return [MISSING]


def _make_cell(_: Putter, __: Node, live: Any) -> Any:
    return types.CellType() if live is MISSING else live


def _fill_cell(_: Putter, __: Node, made: Any, parts: list[Any]) -> Any:
    (made.cell_contents,) = parts
    return made


def _fits_method(_: Putter, node: Node, live: Any) -> Sequence[Any] | None:
    kinds = (types.MethodType, types.BuiltinMethodType)
    return [live.__self__] if type(live) in kinds and live.__name__ == node[1] else None


def _fill_method(putter: Putter, node: Node, _: Any, parts: list[Any]) -> Any:
    live, owner = putter.live.get(id(node), MISSING), parts[0]
    if live is not MISSING and live.__self__ is owner:
        return live
    for base in type(owner).__mro__:
        function = base.__dict__.get(node[1])
        if function is not None:
            if node[0] == "method" and type(function) is types.FunctionType:
                return types.MethodType(function, owner)
            if node[0] != "method" and type(owner) in BUILTIN_METHODS_OF and type(function) in _IN_C:
                return function.__get__(owner)
            break
    raise Unfit(node, f"is a method {node[1]!s:.60} of a {type(owner).__name__}, which has none")


_IN_C = (types.MethodDescriptorType, type(numpy.random.Generator.random))


def _fits_partial(_: Putter, node: Node, live: Any) -> Sequence[Any] | None:
    if type(live) is not functools.partial or tuple(live.keywords) != tuple(node[1]):
        return None
    parts = [live.func, *live.args, *live.keywords.values()]
    return parts if len(parts) == len(node[2]) else None


def _fill_partial(putter: Putter, node: Node, _: Any, parts: list[Any]) -> Any:
    live = putter.live.get(id(node), MISSING)
    if live is not MISSING:
        own = [live.func, *live.args, *live.keywords.values()]
        if all(
            a is b or (type(a) is type(b) and a == b and type(b) in (int, float, str, bool))
            for a, b in zip(own, parts, strict=True)
        ):
            return live
    positional = len(parts) - len(node[1])
    return functools.partial(parts[0], *parts[1:positional], **dict(zip(node[1], parts[positional:], strict=True)))


def _make_enum(putter: Putter, node: Node, _: Any) -> Any:
    name, member = node[1]
    cls = putter.known.named(name)
    if not (isinstance(cls, type) and issubclass(cls, enum.Enum)):
        raise Unfit(node, f"is of {name!s:.100}, which is no enum of the program")
    if node[0] == "flag":
        if type(member) is not int or not issubclass(cls, enum.Flag):
            raise Unfit(node, "is damaged (no flag)")
        return cls._value2member_map_.get(member) or cls(member)
    if member not in cls.__members__:
        raise Unfit(node, f"is {cls.__name__}.{member!s:.60}, which the program does not have")
    return cls.__members__[member]


def _make_logger(_: Putter, node: Node, __: Any) -> Any:
    return logging.getLogger(str(node[1]))


def _make_pattern(_: Putter, node: Node, live: Any) -> Any:
    pattern, flags = node[1]
    if live is not MISSING and (live.pattern, live.flags) == (pattern, flags):
        return live
    return re.compile(pattern, flags)


def _make_nothing(_: Putter, __: Node, ___: Any) -> Any:
    return None


MATCHES: dict[str, Match] = {
    "kept": _fits_kept,
    "of threads": _fits_thread,
    "closure": _fits_closure,
    "cell": _fits_cell,
    "method": _fits_method,
    "builtin method": _fits_method,
    "partial": _fits_partial,
    "pattern": fits_type(re.Pattern),
}

MAKES: dict[str, Make] = {
    **dict.fromkeys(("method", "builtin method", "partial"), pending),
    "class": _make_class,
    "function": _make_function,
    "ufunc": _make_ufunc,
    "module": _make_module,
    "anchor": _make_anchor,
    "sentinel": _make_sentinel,
    "parameter": _make_parameter,
    "kept": _make_kept,
    "of threads": _make_thread,
    "closure": _make_kept,
    "cell": _make_cell,
    "enum": _make_enum,
    "flag": _make_enum,
    "logger": _make_logger,
    "pattern": _make_pattern,
    "nothing": _make_nothing,
}

FILLS: dict[str, Fill] = {
    "closure": _fill_closure,
    "cell": _fill_cell,
    "method": _fill_method,
    "builtin method": _fill_method,
    "partial": _fill_partial,
}
