"""The program of a kept run, among what this process has: data never cause an import.

Looked at are what the caller gives, the module that the class was in, `__main__`, and the modules that are imported already.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from reactornb.durable.about import parameters_in
from reactornb.durable.code import changed_code, digests, graph_digest
from reactornb.durable.errors import ProgramNotFoundError, SourceChangedError
from reactornb.model import Reactor
from reactornb.runtime import Program

__all__ = ["changes_of", "fresh", "program_of"]

_GRAPH = "its graph"


def program_of(about: Mapping[str, Any], given: Any = None, run: str = "") -> Program:
    """The program that a run was of, idle.

    Args:
        about: what `run.json` says.
        given: a `Program`, or the outermost reactor or its class; None: it is looked for.
        run: the run's name, for messages.

    Raises:
        ProgramNotFoundError: if it is not here, or cannot be made again.
        ReactorError: if it cannot be assembled.
    """
    if isinstance(given, Program):
        return fresh(given)
    if isinstance(given, Reactor):
        return Program(given)
    cls = given if given is not None else _class_of(about, run)
    if not (isinstance(cls, type) and issubclass(cls, Reactor)):
        raise ProgramNotFoundError(f"program= takes a Program, a reactor or its class, not {given!r:.100}.")
    parameters, unknown = parameters_in(about)
    if unknown:
        listed = ", ".join(unknown)
        raise ProgramNotFoundError(
            f"run {run!r}: the value of {listed} could not be written down, so {cls.__name__} cannot be made again from it. Make it, and give it: "
            f"program=Program({cls.__name__}, {unknown[0]}=…)."
        )
    return Program(cls, **parameters)


def fresh(program: Program) -> Program:
    """The same program, idle: another one of it, if it runs."""
    last = program.last_run
    return Program(program.root) if last is not None and last.is_alive else program


def _class_of(about: Mapping[str, Any], run: str) -> type[Reactor]:
    name, module = str(about.get("root")), str(about.get("module"))
    for names in (vars(sys.modules.get(module, object)), vars(sys.modules["__main__"])):
        found = _named(names, name)
        if found is not None:
            return found
    others = list(dict.fromkeys(_elsewhere(name)))
    if len(others) == 1:
        return others[0]
    file = about.get("file")
    where = f" (it was declared in {file})" if isinstance(file, str) else ""
    if others:
        listed = ", ".join(sorted(cls.__module__ for cls in others))
        raise ProgramNotFoundError(
            f"run {run!r} is of {name}, and several modules have one: {listed}. Say which: program=…."
        )
    todo = f"import {module} first" if module not in ("__main__", "reactornb_program") else "declare it first"
    raise ProgramNotFoundError(
        f"run {run!r} is of {name} of module {module}{where}, which is not here: {todo}, or give it: program={name}, or reactornb resume {run} FILE."
    )


def _named(names: Mapping[str, Any], name: str) -> type[Reactor] | None:
    """The reactor class of a qualified name."""
    first, _, rest = name.partition(".")
    found: Any = names.get(first)
    for part in rest.split(".") if rest else ():
        found = vars(found).get(part) if isinstance(found, type) else None
    return found if isinstance(found, type) and issubclass(found, Reactor) else None


def _elsewhere(name: str) -> Iterator[type[Reactor]]:
    for module in list(sys.modules.values()):
        names = getattr(module, "__dict__", None)
        found = _named(names, name) if type(names) is dict else None
        if found is not None and found.__module__ == getattr(module, "__name__", None):
            yield found


def changes_of(about: Mapping[str, Any], program: Program) -> list[str]:
    """The functions of a program that are not what they were when the run began.

    Raises:
        SourceChangedError: if its graph is another one, to which no checkpoint fits.
    """
    if about.get("graph") != graph_digest(program.graph):
        raise SourceChangedError(
            [_GRAPH],
            f"{program.name} has another graph now: reactors, ports, reactions or connections were added, removed or renamed, or a parameter "
            f"decides otherwise. No checkpoint fits it; take the program as it was (the texts are in the run's folder, cells/).",
        )
    code = about.get("code")
    before = code.get("digests") if isinstance(code, Mapping) else None
    if not isinstance(before, Mapping):
        return []
    if code is not None and code.get("python") != sys.version.split()[0]:
        return []  # another compiler: nothing can be said; versions that differ are told
    return changed_code(before, digests(program.graph))
