"""`Known`: what saved state may name; and what a program has declared about its classes."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from reactornb.durable.objects.attributes import Layouts
from reactornb.runtime.fingerprint import module_name

__all__ = ["Known", "Way", "declared_way", "full_name", "savable", "transient", "transients"]


_NONE: frozenset[str] = frozenset()


class Way(NamedTuple):
    """How objects of a class are saved otherwise than by their attributes.

    Attributes:
        save: gives what stands for an object.
        load: puts it back into an object that startup made, or an empty one.
    """

    save: Callable[[Any], Any]
    load: Callable[[Any, Any], Any]


# Written by `savable` and `transient`, usually while a program's cells are executed; read by captures of any thread. One item, one assignment.
_savable: dict[str, Any] = {}
_ways: dict[Any, Way] = {}
_transient: dict[type, frozenset[str]] = {}


def savable(cls: Any, save: Callable[[Any], Any] | None = None, load: Callable[[Any, Any], Any] | None = None) -> Any:
    """Declare that objects of a class may be made from saved data; also as a decorator.

    Needed for a class of another package of which objects are made after startup; those that a program's own modules contain are known.

    Args:
        cls: a class, or a function that saved state may name.
        save: `save(object)` gives plain data, where attributes are not all there is to it.
        load: `load(object, data)` puts them back into an object that startup made, or that is empty (`object.__new__`).

    Returns:
        `cls`.

    Raises:
        TypeError: for what is neither a class nor a function, or for `save` without `load`.
    """
    if not isinstance(cls, (type, types.FunctionType, types.BuiltinFunctionType)):
        raise TypeError(f"savable takes a class or a function, not {cls!r:.80}.")
    if (save is None) != (load is None):
        raise TypeError(f"savable({cls.__name__}): give both save= and load=, or neither.")
    _savable[full_name(cls)] = cls
    if save is not None and load is not None:
        _ways[cls] = Way(save, load)
    return cls


def transient(cls: type, *names: str) -> None:
    """Attributes of a class that are not saved: startup makes them anew. For a class of one's own write `transient = ("name", ...)` into it."""
    _transient[cls] = _transient.get(cls, frozenset()) | frozenset(names)


def transients(cls: type) -> frozenset[str]:
    """The attributes of a class's objects that are not saved."""
    if not _transient and not hasattr(cls, "transient"):
        return _NONE
    names: set[str] = set()
    for base in cls.__mro__:
        own: Any = base.__dict__.get("transient")
        if type(own) in (tuple, frozenset) and all(type(name) is str for name in own):
            names.update(own)
        names |= _transient.get(base, frozenset())
    return frozenset(names)


def declared_way(cls: type) -> Way | None:
    """How objects of a class, or of one that it is derived from, are saved, if `savable` was told."""
    for base in cls.__mro__:
        way = _ways.get(base)
        if way is not None:
            return way
    return None


def full_name(one: Any) -> str:
    """What data call a class or a function: its module and its name; the same whether the module is imported or run."""
    return f"{module_name(getattr(one, '__module__', None))}:{getattr(one, '__qualname__', '?')}"


# Of these packages every class may be named that the program has imported: their objects are their attributes.
_OPEN = ("torch.nn", "torch.optim", "gymnasium", "reactornb.rl", "collections", "numpy")


class Known:
    """The classes, functions and modules that saved state may name: a program's own, and those of which its startup makes objects.

    One belongs to a program, in each process; captures read it (any thread), `restore` and `rehearse` add to it what startup made (one
    thread, before the run's first tag or while none of its captures runs).

    Args:
        reactors: the classes of the program's reactors.

    Attributes:
        layouts: where the attributes of classes lie.
        kept: words for functions and other things that are not data and that startup makes.
    """

    def __init__(self, reactors: Iterable[type]) -> None:
        self._names: dict[str, Any] = {}
        self._sentinels: dict[int, str] = {}
        self._live: set[type] = set()
        self.layouts = Layouts()
        self.kept: set[str] = set()
        modules: dict[str, None] = {}
        for cls in reactors:
            for base in cls.__mro__:
                modules.setdefault(base.__module__)
                self._add(base)
        for name in modules:
            module = sys.modules.get(name)
            if module is None or name in ("builtins", "reactornb.model.reactor"):
                continue
            for attribute, value in list(vars(module).items()):
                if isinstance(value, type):
                    self._add(value)
                elif type(value) is object:
                    self._sentinels[id(value)] = f"object {attribute} of {module_name(name)}"
                    self._names.setdefault(self._sentinels[id(value)], value)
                elif isinstance(value, types.ModuleType):
                    self._names.setdefault(f"module {value.__name__}", value)
                elif isinstance(value, types.FunctionType) and value.__module__ == name:
                    self._names.setdefault(full_name(value), value)

    def _add(self, cls: type) -> None:
        todo = [cls]
        while todo:
            one = todo.pop()
            if self._names.setdefault(full_name(one), one) is one:
                todo += [
                    inner
                    for inner in list(one.__dict__.values())
                    if isinstance(inner, type) and inner.__qualname__.startswith(f"{one.__qualname__}.")
                ]

    def classes(self) -> list[type]:
        """The program's own classes."""
        return list(dict.fromkeys(one for one in self._names.values() if isinstance(one, type)))

    def saw(self, cls: type) -> None:
        """Startup makes objects of this class."""
        self._live.add(cls)
        self._names[full_name(cls)] = cls

    def named(self, name: Any) -> Any:
        """The class, function or module of that name; None if there is none that saved state may name."""
        if type(name) is not str:
            return None
        found = self._names.get(name, _savable.get(name))
        return found if found is not None else _of_open(name)

    def sentinel(self, value: object) -> str | None:
        """The name of a bare `object()` that one of the program's modules holds."""
        return self._sentinels.get(id(value))

    def has(self, one: Any) -> bool:
        """Whether a class or function is found by its name."""
        return self.named(full_name(one)) is one

    def can_make(self, cls: type) -> bool:
        """Whether objects of a class may be made from data: it is known, and nothing is called when they go."""
        return self.has(cls) and not hasattr(cls, "__del__")

    def is_live(self, cls: type) -> bool:
        """Whether startup makes objects of this class."""
        return cls in self._live


def _of_open(name: str) -> Any:
    module, _, qualified = name.partition(":")
    if not f"{module}.".startswith(tuple(f"{package}." for package in _OPEN)):
        return None
    one: Any = sys.modules.get(module)
    if one is None:
        return None
    for part in qualified.split("."):
        one = vars(one).get(part) if isinstance(one, (type, types.ModuleType)) else None
    return one if isinstance(one, type) and full_name(one) == name else None
