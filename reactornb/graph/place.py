"""A reactor while its program is being assembled: what the names in its declarations stand for."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

from reactornb.errors import AssemblyError, Source, UnknownNameError, suggestion
from reactornb.graph.nodes import ReactorNode
from reactornb.model import BankMember, Connection, Declaration, Port, PortPath, PortRef, Reactor
from reactornb.model.collect import is_own
from reactornb.tags import as_duration, forever, no_duration

__all__ = ["Place"]


class Place:
    """One reactor of the program: indices of what it declares, and the places of what it contains.

    Args:
        node: the reactor's node.
        template: the copy of the template that `compose` is called on.
        outer: index of the innermost mode around the reactor, or -1.
        decided: parameters that the graph depends on, each with what it decides; filled while the reactor is assembled.

    Attributes:
        ports: name -> indices of its channels.
        timers, actions, watchdogs, modes: name -> index.
        parameters: likewise, of those that trigger reactions.
        children: label -> places of the contained reactor, or of the members of the contained bank.
        banks: labels of contained banks.
        owners: id of a template -> the places made of it in this reactor.
    """

    def __init__(self, node: ReactorNode, template: Reactor, outer: int, decided: dict[str, str]) -> None:
        self.node = node
        self.index = node.index
        self.name = node.name
        self.cls = node.cls
        self.decided = decided
        self.outer = outer
        self._template = template
        self.ports: dict[str, list[int]] = {}
        self.timers: dict[str, int] = {}
        self.actions: dict[str, int] = {}
        self.watchdogs: dict[str, int] = {}
        self.parameters: dict[str, int] = {}
        self.modes: dict[str, int] = {}
        self.children: dict[str, list[Place]] = {}
        self.banks: set[str] = set()
        self.owners: dict[int, list[Place]] = {}

    def note(self, what: str) -> None:
        """Record that the parameters read since the last call decide `what`."""
        for name in sorted(self._template.__dict__.pop("_looked_at", ())):
            self.decided.setdefault(name, what)

    def mode_of(self, item: Declaration | Connection) -> int:
        """The innermost mode of something declared here: its own, or the one its reactor lives in."""
        return self.modes[item.mode.name] if item.mode is not None else self.outer

    def duration(self, value: Any, what: str, source: Source) -> int:
        """A duration in ns: a `Duration`, a `timedelta`, the name of a parameter, or a function of the reactor.

        Raises:
            AssemblyError: if it is a bare number, negative, or beyond `forever`.
            UnknownNameError: if it is the name of no parameter.
        """
        given = self._given(value, what, source)
        found = as_duration(given)
        if found is None:
            raise AssemblyError(f"{source}: {what} of {self.name}: {no_duration(given)}.")
        return self._number(int(found), what, source)

    def number(self, value: Any, what: str, source: Source) -> int:
        """A width: a number, the name of a parameter, or a function of the reactor.

        Raises:
            AssemblyError: if it is no whole number from 0 to `forever`.
            UnknownNameError: if it is the name of no parameter.
        """
        return self._number(self._given(value, what, source), what, source)

    def _given(self, value: Any, what: str, source: Source) -> Any:
        parameters = self.node.parameters
        if isinstance(value, str):
            if value not in parameters:
                raise UnknownNameError(
                    f"{source}: {what} of {self.name} is the parameter {value!r}, which {self.cls.__name__} does not "
                    f"declare. {suggestion(value, parameters)}",
                    unknown=value,
                    source=source,
                )
            self.decided[value] = what
            value = parameters[value]
        elif callable(value):
            value = value(self._template)
            self.note(what)
        return value

    def _number(self, value: Any, what: str, source: Source) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise AssemblyError(f"{source}: {what} of {self.name} must be a whole number, not {value!r}.")
        value = value.__index__()
        if value > forever:
            raise AssemblyError(f"{source}: {what} of {self.name} is {value}; the longest is forever, 2**63 - 1 ns.")
        if value < 0:
            raise AssemblyError(f"{source}: {what} of {self.name} is {value}; it cannot be negative.")
        return int(value)

    # -- ports ------------------------------------------------------------------------------------------------------

    def channels(self, end: Any, source: Source) -> tuple[list[int], bool]:
        """The channels of a port as it stands in a connection or reaction, and whether it is a contained reactor's.

        Args:
            end: a port, a reference or path to one, or the name of an own port.
            source: where it stands, for errors.

        Raises:
            UnknownNameError: if there is no such port.
            AssemblyError: if it belongs to a reactor that is not contained here.
        """
        if isinstance(end, PortPath):
            return self._of_path(end, source), True
        if isinstance(end, str):
            if end not in self.ports:
                raise self._no_port(end, source)
            return self.ports[end], False
        if isinstance(end, Port):
            if end.name not in self.ports or not is_own(self.cls, end):
                raise UnknownNameError(
                    f"{source}: {self.cls.__name__} has no port {end.name!r}. {suggestion(end.name, self.ports)}",
                    unknown=end.name,
                    source=source,
                )
            return self.ports[end.name], False
        return self._of_reference(end, source)

    def _of_reference(self, end: PortRef, source: Source) -> tuple[list[int], bool]:
        owner = end.owner
        member: int | None = None
        if isinstance(owner, BankMember):
            member = owner.position
            owner = owner.bank
        places = self.owners.get(id(owner))
        if places is None:
            raise AssemblyError(
                f"{source}: {end} belongs to a reactor that is no child of {self.name}; give it a name in the class body or in "
                f"compose first (self.{owner._label().lower()} = …)."
            )
        if member is not None:
            places = places[member : member + 1]
        contained = places[0] is not self if places else True
        return _in_order([p.ports[end.port.name] for p in places], end.interleaved_), contained

    def _of_path(self, path: PortPath, source: Source) -> list[int]:
        places = self.children.get(path.element)  # a child in a list is called `workers[0]`, as a member of a bank is
        if places is None and path.member is not None:
            places = self.children.get(path.child, [])[path.member : path.member + 1] or None
        if places is None:
            raise self._no_port(path.element, source)
        for place in places:
            if path.port not in place.ports:
                raise UnknownNameError(
                    f"{source}: {place.name} has no port {path.port!r}. {suggestion(path.port, place.ports)}",
                    unknown=path.port,
                    source=source,
                )
        return _in_order([place.ports[path.port] for place in places], path.interleaved)

    def _no_port(self, name: str, source: Source) -> UnknownNameError:
        known = [*self.ports, *self.children]
        return UnknownNameError(
            f"{source}: {self.name} has no port or child {name!r}. {suggestion(name, known)}",
            unknown=name,
            source=source,
        )

    def child_and_port(self, end: PortPath | PortRef) -> tuple[str, str]:
        """The label of a contained reactor or bank and the name of its port, as a reaction's signature and body call them."""
        if isinstance(end, PortPath):
            return end.child, end.port
        owner = end.owner.bank if isinstance(end.owner, BankMember) else end.owner
        places = self.owners[id(owner)]
        return next(label for label, of_label in self.children.items() if of_label is places), end.port.name


def _in_order(columns: list[list[int]], interleaved: bool) -> list[int]:
    """The channels of several ports one port after the other, or interleaved: the first channels of all, then the second ones."""
    if interleaved:
        return [channel for row in zip_longest(*columns) for channel in row if channel is not None]
    return [channel for column in columns for channel in column]
