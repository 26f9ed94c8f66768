"""The attributes of an object, by name, without asking for its `__dict__`.

While nobody asks for an object's dictionary CPython keeps none, and reading and writing an attribute is one step instead of a look-up: a
checkpoint that called `vars(reactor)` would make every later reaction slower. So names are guessed, from what the class's code stores, and the guess
is held against what the garbage collector sees of the object; only if something is left over is the dictionary asked for.
"""

from __future__ import annotations

import gc
import types
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["Layouts", "code_of", "drop", "put", "slots_of"]

_INLINE_VALUES = 1 << 2  # Py_TPFLAGS_INLINE_VALUES: attributes may lie in the object itself
_MISSING = object()
_READ: Any = object.__getattribute__
_HARMLESS = (types.FunctionType, types.BuiltinFunctionType, classmethod, staticmethod)


def slots_of(cls: type) -> dict[str, Any]:
    """The members that `__slots__` made, by name."""
    return {
        name: member
        for base in reversed(cls.__mro__)
        for name, member in base.__dict__.items()
        if type(member) is types.MemberDescriptorType
    }


class _Layout:
    """Where the attributes of a class's objects may lie.

    # names, is_sorted, guessed   replaced as a whole by any thread that captures; names only ever grow, so an older one costs another look
    """

    def __init__(self, cls: type) -> None:
        self.cls = cls
        self.slots = slots_of(cls)
        self.has_dict = bool(getattr(cls, "__dictoffset__", 0))
        self.inline = bool(cls.__flags__ & _INLINE_VALUES)
        self.is_sorted = False  # names are in the order in which objects of this class have their attributes
        self.guessed: tuple[str, ...] | None = None  # names that are worth a try; made when the first guess fails
        likely = [name for base in cls.__mro__ for name in base.__dict__.get("__static_attributes__", ())]
        self.names = self.sure((*likely, *getattr(cls, "__dataclass_fields__", ())))

    def sure(self, names: Iterable[str]) -> tuple[tuple[str, Any], ...]:
        """Of these names those that can be read without calling anything of the class's; with what the class itself has."""
        found = []
        for name in dict.fromkeys(names):
            if name in self.slots:
                continue
            of_class = _of_class(self.cls, name)
            kind = type(of_class)
            if of_class is _MISSING or kind in _HARMLESS or not hasattr(kind, "__get__"):
                found.append((name, of_class))
        return tuple(found)

    def guesses(self) -> tuple[str, ...]:
        if self.guessed is None:
            names: dict[str, None] = {}
            for base in self.cls.__mro__:
                for value in list(base.__dict__.values()):
                    for code in code_of(value):
                        names.update(dict.fromkeys(code.co_names))
            self.guessed = tuple(names)
        return self.guessed


def _of_class(cls: type, name: str) -> Any:
    for base in cls.__mro__:
        if name in base.__dict__:
            return base.__dict__[name]
    return _MISSING


def code_of(value: Any) -> list[types.CodeType]:
    """The code of a function, a property or what else a class body holds, and of the functions in it."""
    parts = [
        value,
        *(getattr(value, name, None) for name in ("__func__", "fget", "fset", "fdel", "func", "fn", "handler")),
    ]
    todo = [part.__code__ for part in parts if isinstance(part, types.FunctionType)]
    found = []
    while todo:
        code = todo.pop()
        found.append(code)
        todo += [const for const in code.co_consts if isinstance(const, types.CodeType)]
    return found


class Layouts:
    """What is known of the attributes of classes; any thread."""

    def __init__(self) -> None:
        self._layouts: dict[type, _Layout] = {}

    def of(self, value: Any) -> dict[str, Any]:
        """The attributes of an object: those in slots, then the others."""
        cls = type(value)
        layout = self._layouts.get(cls)
        if layout is None:
            layout = self._layouts[cls] = _Layout(cls)
        found = {}
        for name, member in layout.slots.items():
            try:
                found[name] = member.__get__(value)
            except AttributeError:
                continue
        if not layout.has_dict:
            return found
        if not layout.inline:
            return {**found, **_READ(value, "__dict__")}
        seen = gc.get_referents(value)
        for guessed in (False, True):
            tried = layout.names if not guessed else layout.sure((*(n for n, _ in layout.names), *layout.guesses()))
            named, doubtful = _read(value, tried)
            if len(seen) == len(found) + len(named) + 1 and layout.is_sorted:
                return {**found, **named}  # each of these is one of those that it refers to, and its class is the last
            left = _unexplained(seen, cls, [*found.values(), *named.values()])
            if left and doubtful:
                left = _settle(left, named, doubtful)
            if not left:
                places = {id(one): place for place, one in enumerate(seen)}
                named = dict(sorted(named.items(), key=lambda item: places[id(item[1])]))
                layout.names = layout.sure((*named, *(n for n, _ in layout.names)))
                layout.is_sorted = True
                return {**found, **named}
            for one in left:  # the dictionary, which somebody has asked for
                if type(one) is dict and _is_dictionary(one, named, left):
                    return {**found, **one}
        dictionary = _READ(value, "__dict__")
        layout.names = layout.sure((*(name for name, _ in layout.names), *dictionary))
        return {**found, **dictionary}


def _read(value: Any, names: Iterable[tuple[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The attributes of these names that the object has itself; and those of which it cannot be told, since the class has the very same."""
    found, doubtful = {}, {}
    for name, of_class in names:
        try:
            one = _READ(value, name)
        except AttributeError:
            continue
        if of_class is not _MISSING:
            if one is of_class:
                doubtful[name] = one
                continue
            if type(of_class) in _HARMLESS and _is_its_method(one, of_class):
                continue
        found[name] = one
    return found, doubtful


def _is_its_method(one: Any, of_class: Any) -> bool:
    function = getattr(of_class, "__func__", of_class)
    return one is function or (type(one) is types.MethodType and one.__func__ is function)


def _unexplained(seen: list[Any], cls: type, known: list[Any]) -> list[Any]:
    """What the object refers to beside its class and these."""
    counts: dict[int, int] = {id(cls): 1}
    for one in known:
        counts[id(one)] = counts.get(id(one), 0) + 1
    left = []
    for one in seen:
        count = counts.get(id(one), 0)
        if count:
            counts[id(one)] = count - 1
        else:
            left.append(one)
    return left


def _settle(left: list[Any], named: dict[str, Any], doubtful: dict[str, Any]) -> list[Any]:
    """Give what is left over to the names of which it could not be told, where there is only one way to; returns what is still left."""
    many: dict[int, list[str]] = {}
    for name, one in doubtful.items():
        many.setdefault(id(one), []).append(name)
    counts: dict[int, int] = {}
    for one in left:
        counts[id(one)] = counts.get(id(one), 0) + 1
    for key, names in many.items():
        if counts.get(key) == len(names):
            named.update((name, doubtful[name]) for name in names)
    return [one for one in left if counts[id(one)] != len(many.get(id(one), ()))]


def _is_dictionary(one: dict[Any, Any], named: dict[str, Any], left: list[Any]) -> bool:
    """Whether a dictionary that an object refers to holds its attributes."""
    if not one or not all(type(key) is str for key in one):
        return False
    if any(one.get(name, _MISSING) is not value for name, value in named.items()):
        return False
    others = {id(value) for value in one.values()}
    return all(other is one or id(other) in others for other in left)


def put(value: Any, name: str, part: Any) -> None:
    """Set an attribute: no `__setattr__` of the class's, no property is called."""
    of_class = _of_class(type(value), name)
    kind = type(of_class)
    if kind is types.MemberDescriptorType or not hasattr(kind, "__set__"):
        _set(value, name, part)
    else:
        _READ(value, "__dict__")[name] = part


def drop(value: Any, name: str) -> None:
    """Remove an attribute, likewise."""
    of_class = _of_class(type(value), name)
    kind = type(of_class)
    if kind is types.MemberDescriptorType or not hasattr(kind, "__set__"):
        object.__delattr__(value, name)
    else:
        del _READ(value, "__dict__")[name]


_set: Callable[[Any, str, Any], None] = object.__setattr__
