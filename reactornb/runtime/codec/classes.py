"""`Classes`: the classes and functions that encoded data may name. Data chooses among them and can reach nothing else."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy

from reactornb.runtime.fingerprint import module_name

__all__ = ["NONE_DECLARED", "Classes", "Converter"]

_PLAIN: tuple[type, ...] = (
    object, type(None), bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, range, slice, type,
    *set(numpy.sctypeDict.values()), numpy.ndarray,
)  # fmt: skip


class Converter(NamedTuple):
    """How values of a class are saved by a way of their own.

    Attributes:
        save: gives what `load` makes the value of again.
        load: called while data are decoded, with what `save` gave; it is the program's, not the data's.
    """

    save: Callable[[Any], Any]
    load: Callable[[Any], Any]


class Classes:
    """Classes and functions that may occur in encoded values: dataclasses, NamedTuples, enums, plain classes, functions.

    A value of a declared class is made without `__init__`, `__post_init__` or `__setstate__`: its attributes are put back. If it is a key
    or a member of a set, its `__hash__` and `__eq__` are called; `__del__`, if it has one, also where the data turn out to be damaged.

    Args:
        declared: the classes and functions. Python's and NumPy's plain types are there already.

    Raises:
        ValueError: if two of them have the same name.
        TypeError: for what is neither a class nor a function.
    """

    def __init__(self, declared: Iterable[Any] = ()) -> None:
        self._by_name: dict[str, Any] = {}
        self._names: dict[Any, str] = {}
        self._converters: dict[type, Converter] = {}
        for one in (*_PLAIN, *declared):
            self.add(one)

    def add(
        self,
        one: Any,
        save: Callable[[Any], Any] | None = None,
        load: Callable[[Any], Any] | None = None,
        *,
        name: str | None = None,
    ) -> None:
        """Declare one more.

        Args:
            one: a class or a function.
            save, load: for a class whose attributes are not all there is to a value; see `Converter`.
            name: what data call it; None: its module and its name.

        Raises:
            ValueError: if another one has its name.
            TypeError: if it is neither a class nor a function.
        """
        name = _name_of(one) if name is None else name
        if self._by_name.setdefault(name, one) is not one:
            raise ValueError(
                f"two different classes or functions are called {name}; data could not say which is meant."
            )
        self._names[one] = name
        if save is not None and load is not None:
            self._converters[one] = Converter(save, load)

    def name(self, one: Any) -> str | None:
        """The name under which a class or function is declared; None if it is not."""
        return self._names.get(one)

    def named(self, name: Any) -> Any:
        """What is declared under a name; None if nothing is."""
        return self._by_name.get(name) if type(name) is str else None

    def converter(self, cls: Any) -> Converter | None:
        """How a class saves its values, if in a way of its own."""
        return self._converters.get(cls)


def _name_of(one: Any) -> str:
    functions = (types.FunctionType, types.BuiltinFunctionType, numpy.ufunc)
    if not isinstance(one, (type, *functions)):
        raise TypeError(f"{one!r} is neither a class nor a function.")
    return f"{module_name(getattr(one, '__module__', None))}:{one.__qualname__}"


NONE_DECLARED = Classes()
"""Python's and NumPy's own only; nobody adds to it."""
