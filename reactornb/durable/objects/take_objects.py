"""How objects of the program's own classes become nodes: by their attributes, or as they save themselves; see `take_types`."""

from __future__ import annotations

import types
from itertools import chain
from typing import Any

from reactornb.durable.objects.adapters import adapter_of
from reactornb.durable.objects.attributes import slots_of
from reactornb.durable.objects.known import declared_way, full_name, transients
from reactornb.durable.objects.tree import Node

__all__ = [
    "content_base",
    "own_way",
    "state_of",
    "write_adapted",
    "write_declared",
    "write_extended",
    "write_object",
    "write_saved",
]

Taker = Any  # a `take.Taking`
_BASES = (list, dict, set, frozenset, tuple, str, bytes, bytearray, int, float, complex)


def state_of(taker: Taker, value: Any) -> dict[str, Any]:
    """An object's attributes, without those that its class leaves out."""
    left_out = transients(type(value))
    state: dict[str, Any] = taker.known.layouts.of(value)
    return {name: part for name, part in state.items() if name not in left_out} if left_out else state


def write_object(taker: Taker, node: Node, value: Any) -> None:
    """An object that is its attributes."""
    taker.note_class(value)
    state = state_of(taker, value)
    node[0], node[1], node[2] = "object", (taker.name_of(type(value)), tuple(state)), taker.refer_all(state.values())


def write_extended(taker: Taker, node: Node, value: Any) -> None:
    """An object that is one of Python's containers or numbers, with attributes."""
    taker.note_class(value)
    cls = type(value)
    base: Any = content_base(cls)
    state = state_of(taker, value)
    if base is dict:
        content = list(chain.from_iterable((key, dict.__getitem__(value, key)) for key in dict.__iter__(value)))
    elif base in (list, tuple, set, frozenset):
        content = list(base.__iter__(value))
    else:
        content = [_plain(base, value)]
    node[0], node[1] = "extended", (taker.name_of(cls), base.__name__, tuple(state), len(content))
    node[2] = [*map(taker.refer, content), *map(taker.refer, state.values())]


def _plain(base: Any, value: Any) -> Any:
    if base is complex:
        return complex(value.real, value.imag)
    if base in (int, float):
        return base.__pos__(value)
    return bytes(value) if base is bytearray else base.__getitem__(value, slice(None))


def content_base(cls: type) -> type | None:
    """The type that holds an object's content beside its attributes: one of Python's, `object` where there is nothing beside, None if C keeps it."""
    for base in cls.__mro__:
        if base in _BASES or base is object:
            return base
        if not _is_written(base):
            return None
    return None


def _is_written(cls: type) -> bool:
    """Whether a class was made in Python, so that its objects hold nothing that Python does not see."""
    own = cls.__dict__
    if "__firstlineno__" in own or "__static_attributes__" in own:
        return True
    if not cls.__flags__ & 1 << 9 or cls.__base__ is None:  # Py_TPFLAGS_HEAPTYPE
        return False
    below = cls.__base__
    slots = len(slots_of(cls)) - len(slots_of(below))
    pointers = (
        slots
        + (cls.__dictoffset__ > 0 >= below.__dictoffset__)
        + (cls.__weakrefoffset__ > 0 >= below.__weakrefoffset__)
    )
    return cls.__basicsize__ <= below.__basicsize__ + 8 * pointers


def own_way(cls: type) -> tuple[str, str] | None:
    """The names of the methods by which objects of a class save and load themselves, if they have any."""
    for save, load in (("save", "load"), ("save_state", "load_state")):
        if _takes(cls, save, 1) and _takes(cls, load, 2):
            return save, load
    return None


def _takes(cls: type, name: str, count: int) -> bool:
    """Whether a class has a method that can be called with so many arguments, `self` among them, and must be with no more."""
    for base in cls.__mro__:
        method = base.__dict__.get(name)
        if method is not None:
            if type(method) is not types.FunctionType:
                return False
            code, defaults = method.__code__, method.__defaults__ or ()
            keywords = set(code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount])
            needed = code.co_argcount - len(defaults)
            return needed == count and not keywords - set(method.__kwdefaults__ or ())
    return False


def write_saved(taker: Taker, node: Node, value: Any) -> None:
    """An object that saves itself."""
    taker.note_class(value)
    save, load = own_way(type(value)) or ("", "")
    node[0], node[1] = "saved", (taker.name_of(type(value)), save, load)
    node[2] = [taker.refer(getattr(value, save)())]


def write_declared(taker: Taker, node: Node, value: Any) -> None:
    """An object of a class of which the program has said how it is saved."""
    taker.note_class(value)
    way = declared_way(type(value))
    assert way is not None
    node[0], node[1], node[2] = "adapted", full_name(type(value)), [taker.refer(way.save(value))]


def write_adapted(taker: Taker, node: Node, value: Any) -> None:
    """An object of a library, of which an adapter knows how it is saved."""
    taker.note_class(value)
    way = adapter_of(type(value))
    assert way is not None
    node[0], node[1], node[2] = "adapted", full_name(type(value)), [taker.refer(way.save(value))]
