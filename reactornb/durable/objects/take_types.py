"""How each kind of object becomes a node: what is its own, and what it refers to."""

from __future__ import annotations

import array
import collections
import enum
import functools
import itertools
import logging
import random  # noqa: TID251 - its state is kept, nothing is drawn
import re
import sys
import threading
import types
import weakref
from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy

from reactornb.durable.objects.adapters import FORGOTTEN, adapter_of
from reactornb.durable.objects.known import declared_way, full_name
from reactornb.durable.objects.refusals import Refused, reason_for
from reactornb.durable.objects.take_arrays import (
    BIT_GENERATORS,
    write_array,
    write_bits,
    write_random,
    write_rng,
    write_seeds,
    write_tensor,
    write_torch_rng,
)
from reactornb.durable.objects.take_objects import (
    content_base,
    own_way,
    write_adapted,
    write_declared,
    write_extended,
    write_object,
    write_saved,
)
from reactornb.durable.objects.take_threads import THREADS
from reactornb.durable.objects.tree import Node, is_leaf
from reactornb.model import Reactor
from reactornb.model.ownership import GUARDS, Guarded

__all__ = ["BUILTIN_METHODS_OF", "find_writer", "refuse"]

Taker = Any  # a `take.Taking`
Write = Callable[[Taker, Node, Any], None]

_RANDOM = numpy.random
BUILTIN_METHODS_OF: frozenset[type] = frozenset(
    {
        list,
        dict,
        set,
        bytearray,
        collections.deque,
        collections.OrderedDict,
        collections.defaultdict,
        str,
        _RANDOM.Generator,
    }
)
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, numpy.ufunc)


def refuse(_: Taker, __: Node, value: Any) -> None:
    """The writer of what cannot be saved."""
    reason, _fix = reason_for(value)
    raise Refused(
        value, reason
    )  # -- containers -----------------------------------------------------------------------------------------------------------


def _listed(tag: str) -> Write:
    def write(taker: Taker, node: Node, value: Any) -> None:
        node[0], node[2] = tag, taker.refer_all(value)

    return write


def _mapped(tag: str) -> Write:
    def write(taker: Taker, node: Node, value: Any) -> None:
        node[0], node[2] = tag, taker.refer_all(chain.from_iterable(value.items()))

    return write


def _default_dict(taker: Taker, node: Node, value: Any) -> None:
    node[0] = "defaultdict"
    node[2] = [taker.refer(value.default_factory), *taker.refer_all(chain.from_iterable(value.items()))]


def _deque(taker: Taker, node: Node, value: Any) -> None:
    node[0], node[1], node[2] = "deque", value.maxlen, taker.refer_all(value)


def _guarded(taker: Taker, node: Node, value: Any) -> None:
    plain = value.plain
    items = chain.from_iterable(value.items()) if plain is dict else value
    node[0], node[1] = "guarded", (plain.__name__, getattr(value, "_refusal", ""))
    node[2] = taker.refer_all(items)


def _bytearray(_: Taker, node: Node, value: Any) -> None:
    node[0], node[1] = "bytearray", bytes(value)


def _machine_array(_: Taker, node: Node, value: Any) -> None:
    node[0], node[1] = "array.array", (value.typecode, value.tobytes())


def _namespace(taker: Taker, node: Node, value: Any) -> None:
    state = vars(value)
    node[0], node[1], node[2] = "namespace", tuple(state), taker.refer_all(state.values())


def _proxy(taker: Taker, node: Node, value: Any) -> None:
    import gc

    node[0], node[2] = "proxy", [taker.refer(gc.get_referents(value)[0])]


def _weakref(taker: Taker, node: Node, value: Any) -> None:
    if value.__callback__ is not None:
        raise Refused(value, "which calls something when its object goes", "Keep the object itself")
    node[0], node[2] = "weakref", [taker.refer(value())]


def _slice(taker: Taker, node: Node, value: Any) -> None:
    node[0], node[2] = "slice", taker.refer_all((value.start, value.stop, value.step))


# -- iterators that say how far they are ----------------------------------------------------------------------------------


def _iterator(taker: Taker, node: Node, value: Any) -> None:
    _, over, *index = value.__reduce__()
    if len(over) != 1:
        raise Refused(value, "which does not say how far it is", "Keep what it goes through and an index instead")
    node[0], node[1] = "iterator", (type(value).__name__, index[0] if index else None)
    node[2] = taker.refer_all(over)


def _count(_: Taker, node: Node, value: Any) -> None:
    found = re.fullmatch(r"count\((-?\d+)(?:, (-?\d+))?\)", repr(value))
    if found is None:
        raise Refused(value, "which does not say how far it is", "Keep a number instead")
    node[0], node[1] = "count", (int(found[1]), int(found[2] or 1))


# -- what is named --------------------------------------------------------------------------------------------------------


def _class(taker: Taker, node: Node, value: Any) -> None:
    if taker.known.has(value) or value in (object, int, float, complex, bool, str, bytes, list, tuple, dict, set):
        node[0], node[1] = "class", full_name(value)
    else:
        taker.keep(node, value, f"class {full_name(value)}")


def _function(taker: Taker, node: Node, value: Any) -> None:
    name: str = getattr(value, "__name__", "")
    if type(value) is types.BuiltinFunctionType and not isinstance(value.__self__, (types.ModuleType, type(None))):
        _builtin_method(taker, node, value)
    elif type(value) is numpy.ufunc and getattr(numpy, name, None) is value:
        node[0], node[1] = "ufunc", name
    elif taker.known.has(value):
        node[0], node[1] = "function", full_name(value)
    elif type(value) is types.FunctionType and not value.__module__.startswith("reactornb."):
        _closure(taker, node, value)
    else:
        taker.keep(node, value, f"function {full_name(value)}")


def _closure(taker: Taker, node: Node, value: Any) -> None:
    """A function that startup makes, with what its variables hold."""
    words = f"function {full_name(value)}"
    taker.note(value, words)
    cells = [cell for cell in value.__closure__ or () if _is_filled(cell)]
    names = [
        name for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True) if _is_filled(cell)
    ]
    state = {name: part for name, part in vars(value).items() if not name.startswith("__")}
    node[0], node[1] = "closure", (words, len(cells), (*names, *state))
    node[2] = [*map(taker.refer, cells), *(taker.refer(part) for part in state.values())]


def _is_filled(cell: Any) -> bool:
    try:
        content = cell.cell_contents
    except ValueError:
        return False
    # What is no data stays what startup put there.
    return is_leaf(content) or find_writer(type(content)) is not refuse


def _cell(taker: Taker, node: Node, value: Any) -> None:
    node[0], node[2] = "cell", [taker.refer(value.cell_contents)]


def _method(taker: Taker, node: Node, value: Any) -> None:
    function, owner = value.__func__, value.__self__
    name = getattr(function, "__name__", "")
    if isinstance(owner, type) or getattr(type(owner), name, None) is not function:
        taker.keep(node, value, f"method {full_name(function)}")
    else:
        node[0], node[1], node[2] = "method", name, [taker.refer(owner)]


def _builtin_method(taker: Taker, node: Node, value: Any) -> None:
    owner = value.__self__
    if type(owner) not in BUILTIN_METHODS_OF:
        taker.keep(node, value, f"method {full_name(type(owner))}.{value.__name__}")
    else:
        node[0], node[1], node[2] = "builtin method", value.__name__, [taker.refer(owner)]


def _partial(taker: Taker, node: Node, value: Any) -> None:
    node[0], node[1] = "partial", tuple(value.keywords)
    node[2] = [taker.refer(part) for part in (value.func, *value.args, *value.keywords.values())]


def _module(taker: Taker, node: Node, value: Any) -> None:
    words = f"module {value.__name__}"
    if taker.known.named(words) is value:
        node[0], node[1] = "module", words
    else:
        taker.keep(node, value, words)


def _bare(taker: Taker, node: Node, value: Any) -> None:
    """An `object()`, which is equal to nothing but itself."""
    words = taker.known.sentinel(value)
    if words is not None:
        node[0], node[1] = "sentinel", words
    else:
        node[0], node[1] = "object", (taker.name_of(object), ())


def _enum(taker: Taker, node: Node, value: Any) -> None:
    taker.note_class(value)
    if isinstance(value, enum.Flag):
        node[0], node[1] = "flag", (taker.name_of(type(value)), value.value)
    else:
        node[0], node[1] = "enum", (taker.name_of(type(value)), value.name)


def _logger(_: Taker, node: Node, value: Any) -> None:
    node[0], node[1] = "logger", value.name


def _pattern(_: Taker, node: Node, value: Any) -> None:
    node[0], node[1] = "pattern", (value.pattern, value.flags)


def _by_words(taker: Taker, node: Node, value: Any) -> None:
    """What startup makes and has a name: handles of ports, and the runtime's own objects."""
    name = getattr(value, "name", "")
    taker.keep(node, value, f"{full_name(type(value))} {name if type(name) is str else ''}".rstrip())


def _reactor(_: Taker, __: Node, value: Any) -> None:
    raise Refused(
        value, "a reactor that is not one of this run", "Reactors talk through ports; keep what it sent instead"
    )


def _forgotten(_: Taker, node: Node, __: Any) -> None:
    node[0] = "nothing"


# -- which of them --------------------------------------------------------------------------------------------------------

_WRITERS: dict[type, Write] = {
    list: _listed("list"),
    tuple: _listed("tuple"),
    set: _listed("set"),
    frozenset: _listed("frozenset"),
    dict: _mapped("dict"),
    collections.OrderedDict: _mapped("OrderedDict"),
    collections.defaultdict: _default_dict,
    collections.deque: _deque,
    bytearray: _bytearray,
    array.array: _machine_array,
    types.SimpleNamespace: _namespace,
    types.MappingProxyType: _proxy,
    weakref.ref: _weakref,
    slice: _slice,
    itertools.count: _count,
    numpy.ndarray: write_array,
    _RANDOM.Generator: write_rng,
    _RANDOM.RandomState: write_rng,
    _RANDOM.SeedSequence: write_seeds,
    random.Random: write_random,
    types.FunctionType: _function,
    types.BuiltinFunctionType: _function,
    numpy.ufunc: _function,
    types.CellType: _cell,
    types.MethodType: _method,
    functools.partial: _partial,
    types.ModuleType: _module,
    object: _bare,
    re.Pattern: _pattern,
    logging.Logger: _logger,
    **dict.fromkeys((type(iter([])), type(iter(())), type(iter(range(0))), type(iter("")), type(iter("é"))), _iterator),
    **dict.fromkeys(BIT_GENERATORS.values(), write_bits),
    **THREADS,
}  # fmt: skip

_KEPT = (
    types.MethodDescriptorType, types.WrapperDescriptorType, types.MethodWrapperType, types.GetSetDescriptorType,
    types.GenericAlias, types.UnionType, functools._lru_cache_wrapper, property, staticmethod, classmethod,
)  # fmt: skip
_RUNTIME = ("reactornb.runtime.", "reactornb.model.")


def find_writer(cls: type) -> Write:
    """How objects of a class are written; `refuse` if they cannot be."""
    if declared_way(cls) is not None:
        return write_declared
    written = _WRITERS.get(cls)
    if written is not None:
        return written
    name = f"{cls.__module__}.{cls.__qualname__}"
    if name in FORGOTTEN:
        return _forgotten
    if adapter_of(cls) is not None:
        return write_adapted
    if issubclass(cls, numpy.ndarray):
        return write_array
    if issubclass(cls, _RANDOM.BitGenerator):
        return write_bits
    if issubclass(cls, type):
        return _class
    if issubclass(cls, enum.Enum):
        return _enum
    if issubclass(cls, Guarded) and cls in GUARDS.values():
        return _guarded
    if issubclass(cls, Reactor):
        return _reactor
    torch: Any = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "Tensor"):
        if issubclass(cls, torch.Tensor):
            return write_tensor
        if cls is torch.Generator:
            return write_torch_rng
    if cls.__module__.startswith(_RUNTIME) or cls in _KEPT:
        return _by_words
    if own_way(cls) is not None:
        return write_saved
    base = content_base(cls)
    return (
        refuse
        if base is None or issubclass(cls, threading.Thread)
        else write_object
        if base is object
        else write_extended
    )
