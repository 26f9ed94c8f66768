"""`@reactor`: a plain class becomes a reactor class, for those who would rather not write the base class."""

from __future__ import annotations

from typing import Any

from reactornb.model.reactor import Reactor

_MADE_BY_PYTHON = ("__dict__", "__weakref__")


def reactor(cls: type) -> type[Reactor]:
    """Decorate a plain class whose body declares ports and reactions; the same as deriving it from `Reactor`.

    The result is a new class of the same name, module and bases; what is a reactor already comes back as it is.

    Raises:
        UnknownNameError, DeclarationError: as for a class derived from `Reactor`.
    """
    if issubclass(cls, Reactor):
        return cls
    namespace = {name: value for name, value in vars(cls).copy().items() if name not in _MADE_BY_PYTHON}
    bases = tuple(base for base in cls.__bases__ if base is not object)
    metaclass: Any = type(cls)
    reactor_class: type[Reactor] = metaclass(cls.__name__, (*bases, Reactor), namespace)
    # Methods that say `super()` or `__class__` share one cell, and it still holds the plain class.
    for value in namespace.values():
        function = getattr(value, "fn", getattr(value, "__func__", value))
        for cell in getattr(function, "__closure__", None) or ():
            if cell.cell_contents is cls:
                cell.cell_contents = reactor_class
    return reactor_class
