"""What is recorded of a reactor class, and what reactors and banks have in common. `collect` fills a `ClassSpec`, `Reactor` is built on both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from reactornb.errors import Source
from reactornb.model.declarations import Action, Mode, Port, Reaction, State, Timer, Watchdog

__all__ = ["REQUIRED", "ClassSpec", "ReactorBase", "Template", "is_built_in", "written_bases"]


@dataclass(frozen=True)
class ClassSpec:
    """What a reactor class declares, inherited declarations first.

    Attributes:
        parameters: name to default; `REQUIRED` where there is none.
        fixed: those annotated as `Fixed`.
        shared: those annotated as `Shared`.
        names: what the class's own body binds.
        attributes: other class attributes: name to value and whether it is annotated (as `ClassVar`).
        own_connections: connections between the class's own ports.
    """

    ports: Mapping[str, Port[Any]] = field(default_factory=dict)
    timers: Mapping[str, Timer] = field(default_factory=dict)
    actions: Mapping[str, Action] = field(default_factory=dict)
    watchdogs: Mapping[str, Watchdog] = field(default_factory=dict)
    modes: Mapping[str, Mode] = field(default_factory=dict)
    states: Mapping[str, State[Any]] = field(default_factory=dict)
    children: Mapping[str, Any] = field(default_factory=dict)
    reactions: tuple[Reaction, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    fixed: frozenset[str] = frozenset()
    shared: frozenset[str] = frozenset()
    attributes: Mapping[str, tuple[Any, bool]] = field(default_factory=dict)
    own_connections: tuple[Any, ...] = ()
    touchable: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()


class _Required:
    def __repr__(self) -> str:
        return "<required>"


REQUIRED = _Required()


class Template:
    """What a reactor can contain, as a program makes it: a reactor, or a bank of them. Assembly makes the instances."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.__dict__["_named"] = name

    def _label(self) -> str:
        return self.__dict__.get("_named") or type(self).__name__


class ReactorBase(Template):
    """The part of `Reactor` that the modules below it know: what is recorded of its class."""

    _spec: ClassVar[ClassSpec] = ClassSpec()
    _definition: ClassVar[Source] = Source(__file__, 1)
    _renamed: ClassVar[Mapping[str, str]] = {}  # what parameters were called before -> what they are called
    _translated: ClassVar[bool] = False  # made from another language by a front end, which has checked it by its rules
    _running = False
    bank_index = 0
    bank_width = 1

    def compose(self) -> None:
        """Make children and connections that depend on parameters; called once per instance, at assembly.

        `self.worker = Worker(...)` or `self.workers = Bank(Worker, self.n)` adds a child of that name; `connect` joins
        their ports.
        """


def is_built_in(base: type) -> bool:
    """Whether a base of a reactor class is `object`, `Reactor`, or one of the classes that `Reactor` is built on."""
    return base is object or base is ReactorBase or (issubclass(base, Template) and "_definition" not in vars(base))


def written_bases(cls: type) -> list[type[ReactorBase]]:
    """The reactor classes that a program wrote among a class and its bases, the most basic first."""
    return [base for base in reversed(cls.__mro__) if issubclass(base, ReactorBase) and not is_built_in(base)]
