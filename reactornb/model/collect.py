"""What a reactor class declares, gathered from its body and its bases, with every name in a reaction checked."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from types import FunctionType, MappingProxyType
from typing import Any

from reactornb.errors import DeclarationError, UnknownNameError, suggestion
from reactornb.model.callers import check_function
from reactornb.model.declarations import (
    Action,
    Builtin,
    Declaration,
    Mode,
    Output,
    Port,
    PortRef,
    Reaction,
    State,
    Timer,
    Watchdog,
)
from reactornb.model.mistakes import check_body, check_called, check_signature
from reactornb.model.port_path import PortPath
from reactornb.model.spec import REQUIRED, ClassSpec, ReactorBase, Template, is_built_in, written_bases

__all__ = ["collect", "is_own"]


def collect(cls: type[ReactorBase]) -> ClassSpec:
    """Gather the declarations of a class and its bases, and check every name that a reaction uses."""
    check_called(cls)
    groups: dict[type, dict[str, Any]] = {k: {} for k in (Port, Timer, Action, Watchdog, Mode, State)}
    children: dict[str, Any] = {}
    reactions: dict[str, Reaction] = {}
    parameters: dict[str, Any] = {}
    fixed: set[str] = set()
    shared: set[str] = set()
    connections: list[Any] = []
    for base in written_bases(cls):
        namespace = vars(base)
        for name, text in _annotated(base).items():
            if name not in ("_spec", "_definition"):
                (fixed.add if _FIXED.search(text) else fixed.discard)(name)
                (shared.add if _SHARED.search(text) else shared.discard)(name)
                parameters[name] = namespace.get(name, parameters.get(name, REQUIRED))
        for name, value in namespace.items():
            if name in parameters and not isinstance(value, Declaration):
                parameters[name] = value
            elif isinstance(value, Template):
                children[name] = value
            elif isinstance(value, Reaction):
                if value.attribute == name:
                    reactions[name] = value
            elif isinstance(value, Declaration):
                next(group for kind, group in groups.items() if isinstance(value, kind))[name] = value
    declared = cls.__dict__.get("__declared__", ())
    if declared:
        del cls.__declared__  # type: ignore[attr-defined]
    cls.__connected__ = tuple(item for item in declared if not isinstance(item, Declaration))  # type: ignore[attr-defined]
    for base in reversed(cls.__mro__):
        connections += base.__dict__.get("__connected__", ())
    initial = [m for m in groups[Mode].values() if m.initial]
    if groups[Mode] and len(initial) != 1:
        raise DeclarationError(
            f"{cls._definition}: {cls.__name__} has {len(initial)} initial modes among {', '.join(groups[Mode])}; it needs "
            f"exactly one: Mode(initial=True)."
        )
    touchable = {n for kind in (Port, Timer, Action, Watchdog, Mode) for n in groups[kind]} | set(children)
    spec = ClassSpec(
        ports=MappingProxyType(groups[Port]),
        timers=MappingProxyType(groups[Timer]),
        actions=MappingProxyType(groups[Action]),
        watchdogs=MappingProxyType(groups[Watchdog]),
        modes=MappingProxyType(groups[Mode]),
        states=MappingProxyType(groups[State]),
        children=MappingProxyType(children),
        reactions=tuple(reactions.values()),
        parameters=MappingProxyType(parameters),
        fixed=frozenset(fixed),
        shared=frozenset(shared),
        attributes=MappingProxyType(_attributes(cls, parameters)),
        own_connections=tuple(connections),
        touchable=frozenset(touchable),
        names=frozenset(vars(cls)),
    )
    composed = cls.compose is not ReactorBase.compose
    cls._spec = spec
    if isinstance(cls.compose, FunctionType) and composed:
        check_function(cls.compose, "compose")
    for item in spec.reactions:
        check_signature(cls, item)
        _check_reaction(cls, spec, item, composed)
    check_body(cls, [item for item in declared if isinstance(item, Declaration)])
    for connection in spec.own_connections:
        _check_own(cls, connection)
    return spec


def _check_own(cls: type[ReactorBase], connection: Any) -> None:
    """The ends of a connection between the class's own ports are its own."""
    for end in (*connection.sources, *connection.destinations):
        if isinstance(end, Port) and not is_own(cls, end):
            raise DeclarationError(
                f"{connection.source}: connect was given {end.name!r}, a port of a class and not of one of its instances: {cls.__name__} does not declare it. "
                f"Make children, a = A(), b = B(), and connect(a.{end.name}, …)."
            )


def is_own(cls: type[ReactorBase], port: Port[Any]) -> bool:
    """Whether a class or one of its bases declares that very port."""
    if any(vars(base).get(port.name) is port for base in cls.__mro__):
        return True
    return any(
        value is port for base in cls.__mro__ for value in vars(base).copy().values()
    )  # it was bound to a second name


_FIXED = re.compile(r"^(?:\w+\.)*Fixed(?:\[|$)")
_SHARED = re.compile(r"^(?:\w+\.)*(?:Fixed\[)?(?:\w+\.)*Shared(?:\[|$|\])")


def _attributes(cls: type[ReactorBase], parameters: Mapping[str, Any]) -> dict[str, tuple[Any, bool]]:
    """Class attributes that are no parameters, declarations, functions or descriptors: name to value, and whether it is annotated."""
    attributes: dict[str, tuple[Any, bool]] = {}
    for base in reversed(cls.__mro__):
        if is_built_in(base):
            continue
        annotated = _annotations(base)
        for name, value in vars(base).copy().items():
            if name.startswith(("__", "_abc_")) or name in _OWN or name in parameters:
                continue
            if isinstance(value, (Declaration, Template)) or hasattr(type(value), "__get__"):
                attributes.pop(name, None)
            else:
                attributes[name] = (value, name in annotated)
    return attributes


_OWN = frozenset({"_spec", "_definition", "_composing", "_renamed", "_translated", "needs_physical_time"})


def _annotated(cls: type) -> dict[str, str]:
    """Parameters annotated in the class's own body."""
    return {name: text for name, text in _annotations(cls).items() if "ClassVar" not in text}


def _annotations(cls: type) -> dict[str, str]:
    """Names annotated in the class's own body, as text, without evaluating what need not be defined yet."""
    if sys.version_info >= (3, 14):
        import annotationlib

        annotations = annotationlib.get_annotations(cls, format=annotationlib.Format.STRING)
    else:
        annotations = {k: v if isinstance(v, str) else repr(v) for k, v in vars(cls).get("__annotations__", {}).items()}
    return annotations


def _check_reaction(cls: type[ReactorBase], spec: ClassSpec, item: Reaction, composed: bool) -> None:
    def unknown(name: str, where: str, more: Iterable[str] = ()) -> UnknownNameError:
        return UnknownNameError(
            f"{item.source}: reaction {cls.__name__}.{item.name} names {name!r} {where}, which {cls.__name__} does not declare. "
            f"{suggestion(name, {*spec.touchable, *more}, cls._renamed)}",
            unknown=name,
            source=item.source,
        )

    for name in item.parameters:
        # Children made in `compose` are not known before assembly, which checks them again.
        if name not in spec.touchable and not composed:
            raise unknown(str(name), "in its signature")
    for trigger in (*item.triggers, *item.uses, *item.effects):
        if isinstance(trigger, (str, PortPath)):
            name = trigger.child if isinstance(trigger, PortPath) else trigger
            if name not in spec.parameters and name not in spec.touchable and not composed:
                raise unknown(str(trigger), "as a trigger", ("startup", "shutdown", "reset", *spec.parameters))
        elif isinstance(trigger, Declaration):
            if isinstance(trigger, (Output, State, Mode, Reaction)):
                raise DeclarationError(
                    f"{item.source}: {trigger.kind} {trigger.name!r} cannot trigger reaction {item.name}."
                )
            if not trigger.name:
                raise unknown(repr(trigger), "as a trigger")
        elif not isinstance(trigger, (Builtin, PortRef)):
            raise DeclarationError(
                f"{item.source}: {trigger!r} cannot trigger reaction {item.name}; triggers are inputs, actions, timers, "
                f"startup, shutdown, reset, and ports of contained reactors."
            )
