"""Ports as text refers to them: in connections, in reactions, and by their widths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reactornb.errors import AssemblyError, Source, UnknownNameError, suggestion
from reactornb.lf import syntax as ast
from reactornb.lf.scope import Scope, TargetCode
from reactornb.limits import MOST_CHANNELS
from reactornb.model import Bank, PortPath, PortRef, Reactor

__all__ = ["path_of", "port_ref", "width_of"]


def width_of(target: TargetCode, scope: Scope, width: ast.Width) -> Callable[[Any], int]:
    """A width as the model takes it: a function of the reactor."""
    where = scope.source(width)
    if not width.terms:
        raise AssemblyError(f"{where}: a width left open ([]) is not supported; give the number.")
    terms = [_term(target, scope, term) for term in width.terms]

    def total(self: Any) -> int:
        width = 0
        for term in terms:
            value = term(self)
            # A wider port is a slip, such as a time where a number is meant; refuse it before it fills the memory.
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_CHANNELS:
                raise AssemblyError(f"{where}: a width is a whole number from 0 to {MOST_CHANNELS:,}, not {value!r}.")
            width += value
        return width

    return total


def _term(target: TargetCode, scope: Scope, term: ast.WidthTerm) -> Callable[[Any], Any]:
    if not isinstance(term, ast.WidthOf):
        thunk = target.thunk(scope, term)
        return lambda self: thunk(self, self.bank_index)
    ref, where = term.port, scope.source(term)

    def width(self: Any) -> int:
        end = port_ref(self, ref, where)
        given = end.port.width
        if not isinstance(end.owner, Bank):
            return _channels(given, end.owner)
        return sum(_channels(given, end.owner.template(i)) for i in range(len(end.owner)))

    return width


def _channels(width: Any, member: Reactor) -> int:
    if width is None:
        return 1
    if isinstance(width, str):
        return int(getattr(member, width))
    return int(width(member) if callable(width) else width)


def port_ref(self: Reactor, ref: ast.VarRef, where: Source) -> PortRef:
    """A port of the reactor that is being composed, or of one that it contains.

    Raises:
        UnknownNameError: if there is none.
    """
    owner: Any = self
    if ref.container is not None:
        owner = self.__dict__.get(ref.container)
        if owner is None:
            children = self.__dict__["_children"]
            raise UnknownNameError(
                f"{where}: {type(self).__name__} contains no {ref.container!r}. {suggestion(ref.container, children)}",
                unknown=ref.container,
                source=where,
            )
        if not isinstance(owner, (Reactor, Bank)):
            raise UnknownNameError(
                f"{where}: {ref.container} is no contained reactor, so it has no port {ref.variable!r}.",
                unknown=ref.container,
                source=where,
            )
    cls = owner.__dict__["cls"] if isinstance(owner, Bank) else type(owner)
    port = cls._spec.ports.get(ref.variable)
    if port is None:
        raise UnknownNameError(
            f"{where}: {cls.__name__} has no port {ref.variable!r}. {suggestion(ref.variable, cls._spec.ports)}",
            unknown=ref.variable,
            source=where,
        )
    return PortRef(owner, port, ref.interleaved)


def path_of(ref: ast.VarRef) -> PortPath | str:
    """A port as reactions name it."""
    if ref.container:
        return PortPath(ref.container, ref.variable, interleaved=ref.interleaved)
    return ref.variable
