"""What a loaded file declares, and which of its reactors is the program: the outermost one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reactornb.errors import ProgramFileError, ReactorError, suggestion
from reactornb.graph import assemble
from reactornb.model import Reactor
from reactornb.model.spec import REQUIRED

if TYPE_CHECKING:
    from reactornb.runtime import Program

__all__ = ["MODULE", "Loaded", "is_program", "outermost"]

MODULE = "reactornb_program"
"""The module in which a file's classes live. Not the file's own name, which may be that of a real module."""

_CONVENTIONS = ("program", "main")


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a file declares.

    Attributes:
        path: the file.
        names: its global names.
        assigned: of a notebook, the `Program`s that it assigns to names, by name, in cells that are not tagged `program`.
        started: of a notebook, what else it starts or draws: name, and parameters.
        problems: by name, why a program that it makes is none.
        notes: in words, the names that are needed and were left out.
        caught: of a notebook, the names in a `try` or in a cell tagged `raises-exception`, whose errors are expected.
    """

    path: Path
    names: dict[str, Any]
    assigned: dict[str, Program] = field(default_factory=dict)
    started: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    problems: dict[str, ReactorError] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    caught: frozenset[str] = frozenset()

    def root(self, name: str | None = None, *, parameters: bool = False) -> Any:
        """The outermost reactor; see `outermost`.

        Args:
            name: of the reactor or program that was asked for.
            parameters: whether it gets parameters, which a finished `Program` cannot take.
        """
        if name is None and not parameters and len(self.assigned) == 1:
            (only,) = self.assigned.values()
            if not _complete(_classes(self.names)):
                return only
        if name is None and not _classes(self.names):
            others = list(dict.fromkeys([*([] if parameters else self.assigned), *(name for name, _ in self.started)]))
            if len(others) == 1:
                return self.names[others[0]]
            if others:
                raise ProgramFileError(
                    f"{self.path}: declares no reactor, and several programs are made in it: {', '.join(others)}. Say which with --main NAME."
                )
        names = {key: value for key, value in self.names.items() if key not in self.assigned or key == name}
        return outermost(names, name, where=str(self.path))

    def programs(self) -> Iterator[tuple[str, Any, dict[str, Any]]]:
        """All that could be the program, for `reactornb check`: name; class, reactor or program; parameters.

        A class of which the file makes programs itself, with parameters, is not listed with its defaults.
        """
        classes = _classes(self.names)
        for name, cls in _complete(self.outer(classes)).items():
            yield name, cls, {}
        for name in _CONVENTIONS:
            if name not in self.assigned and is_program(self.names.get(name)) and name not in classes:
                yield name, self.names[name], {}
        for name, program in self.assigned.items():
            yield name, program, {}
        for name, parameters in self.started:
            if parameters or name not in classes:
                yield name, self.names[name], parameters

    def outer(self, classes: dict[str, type[Reactor]] | None = None) -> dict[str, type[Reactor]]:
        """Its classes that no other one contains or extends, and of which it makes no program itself."""
        classes = _classes(self.names) if classes is None else classes
        inside, _, _ = _contained(classes)
        programmed: set[type] = {node.cls for program in self.assigned.values() for node in program.graph.reactors}
        programmed.update(self.names[name] for name, parameters in self.started if parameters)
        return {name: cls for name, cls in classes.items() if cls not in inside | programmed}


def _complete(classes: dict[str, type[Reactor]]) -> dict[str, type[Reactor]]:
    """Those that need no parameters."""
    return {name: cls for name, cls in classes.items() if REQUIRED not in cls._spec.parameters.values()}


def is_program(value: Any) -> bool:
    """Whether a value is a reactor class, a reactor, or a `Program`."""
    from reactornb.runtime import Program

    return isinstance(value, (Program, Reactor)) or (isinstance(value, type) and issubclass(value, Reactor))


def outermost(names: dict[str, Any], name: str | None = None, *, where: str = "this file") -> Any:
    """Which of the declared names is the program.

    The one asked for; else a global called `program` or `main`; else the reactor class that no other one contains or
    extends, `Main` where there are several.

    Args:
        names: global names, of which classes of other modules do not count.
        name: the one asked for.
        where: the file, for messages.

    Returns:
        A reactor class, a reactor, or a `Program`.

    Raises:
        ProgramFileError: if there is none, or more than one.
        ReactorError: if the only one does not form a legal graph.
    """
    from reactornb.runtime import Program

    if name is not None:
        value = names.get(name)
        if isinstance(value, (Program, Reactor)) or (isinstance(value, type) and issubclass(value, Reactor)):
            return value
        raise ProgramFileError(f"{where}: there is no reactor or program {name!r}. {suggestion(name, _classes(names))}")
    for convention in _CONVENTIONS:
        if isinstance(names.get(convention), (Program, Reactor)):
            return names[convention]
    classes = _classes(names)
    if not classes:
        raise ProgramFileError(
            f"{where}: declares no reactor. Declare one (class Main(Reactor): … or %%reactor Main), or make a global "
            f"program = Program(…); what has no reactors runs with python itself."
        )
    inside, filled, failures = _contained(classes)
    outer = {n: cls for n, cls in classes.items() if cls not in inside}
    if len(outer) > 1:
        outer = {n: cls for n, cls in outer.items() if cls in filled} or outer
    if len(outer) == 1:
        return next(iter(outer.values()))
    if "Main" in outer:
        return outer["Main"]
    if failures:
        raise failures[0]
    raise ProgramFileError(
        f"{where}: several reactors could be the program: {', '.join(sorted(outer))}. Say which with --main NAME, or call it Main."
    )


def _classes(names: dict[str, Any]) -> dict[str, type[Reactor]]:
    return {
        name: value
        for name, value in names.items()
        if isinstance(value, type) and issubclass(value, Reactor) and value.__module__ == MODULE
    }


def _contained(classes: dict[str, type[Reactor]]) -> tuple[set[type], set[type], list[ReactorError]]:
    """Classes that another one contains or extends, classes that contain something, and why graphs were not legal."""
    inside: set[type] = set()
    filled: set[type] = set()
    failures: list[ReactorError] = []
    for cls in classes.values():
        inside.update(cls.__mro__[1:])
        if REQUIRED in cls._spec.parameters.values():
            continue
        if not cls._spec.children and cls.compose is Reactor.compose:
            continue
        filled.add(cls)
        try:
            inside.update(node.cls for node in assemble(cls()).reactors[1:])
        except ReactorError as error:
            failures.append(error)
    return inside, filled, failures
