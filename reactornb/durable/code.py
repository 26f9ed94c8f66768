"""What the code of a program's reactors is: a digest per function, to find what was changed since a checkpoint, and the texts for the store.

Digests are of compiled code, without line numbers and documentation: a comment or a moved cell changes nothing. Covered are the functions of
the reactors' classes and bases, and the functions and classes of the same modules that these name, directly or by way of others.
"""

from __future__ import annotations

import linecache
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from reactornb.graph import Graph
from reactornb.model import Reactor
from reactornb.runtime.fingerprint import module_name

__all__ = [
    "changed_code",
    "classes_of",
    "digests",
    "functions_of",
    "graph_digest",
    "names_in",
    "set_cell_reader",
    "texts",
]

_PACKAGE = "reactornb"
_DOCUMENTED = 0x4000000  # CO_HAS_DOCSTRING: the first constant is the documentation
_CONTAINERS = (staticmethod, classmethod, property)
# Written by `set_cell_reader` on the thread that loads a notebook's session; read by whoever starts a kept run.
_read_cell: Callable[[str], str | None] | None = None


def set_cell_reader(read: Callable[[str], str | None] | None) -> None:
    """Let a notebook give the text of a cell, as it was typed, by the file name of its code (None if that is no cell); None takes it back."""
    global _read_cell  # noqa: PLW0603 - one hook a process, documented above
    _read_cell = read


def classes_of(graph: Graph) -> list[type]:
    """The reactors' classes and their bases, but for those of the model; by name."""
    found = {base for node in graph.reactors for base in node.cls.__mro__}
    theirs = [
        cls
        for cls in found
        if cls.__module__.partition(".")[0] not in ("builtins", "typing", "abc") and not _is_ours(cls)
    ]
    return sorted(theirs, key=lambda cls: (cls.__module__, cls.__qualname__))


def _is_ours(cls: type) -> bool:
    return cls is Reactor or cls.__module__.startswith(f"{_PACKAGE}.model")


def digests(graph: Graph) -> dict[str, str]:
    """By full name, the digest of each function of the program's code."""
    made: dict[str, str] = {}
    for name, function in functions_of(classes_of(graph)):
        made[name] = blake2b(_code_bytes(function.__code__), digest_size=12).hexdigest()
    return dict(sorted(made.items()))


def functions_of(classes: Iterable[type]) -> Iterator[tuple[str, types.FunctionType]]:
    """Of classes and of what they name in their own modules: full names, and functions."""
    waiting: list[Any] = list(classes)
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, type):
            own = [f for value in list(vars(one).values()) for f in _in_value(value)]
            owner = f"{module_name(one.__module__)}.{one.__qualname__}"
            waiting += [base for base in one.__bases__ if base.__module__ == one.__module__]
        else:
            own, owner = [one], ""
        for function in own:
            name = (
                f"{owner}.{function.__name__}"
                if owner
                else f"{module_name(function.__module__)}.{function.__qualname__}"
            )
            yield name, function
            names = function.__globals__
            for word in names_in(function.__code__):
                there = names.get(word)
                if isinstance(there, (types.FunctionType, type)) and there.__module__ == function.__module__:
                    waiting.append(there)


def _in_value(value: Any) -> Iterator[types.FunctionType]:
    """The functions that an attribute of a class is made of: itself, a reaction's body and handler, a property's parts."""
    if isinstance(value, types.FunctionType):
        yield value
        return
    if isinstance(value, _CONTAINERS):
        parts = [getattr(value, name, None) for name in ("__func__", "fget", "fset", "fdel")]
    elif type(value).__module__.startswith(_PACKAGE):
        parts = [getattr(value, name, None) for name in ("fn", "handler", "factory")]
    else:
        return
    for part in parts:
        if isinstance(part, types.FunctionType):
            yield part


def names_in(code: types.CodeType) -> Iterator[str]:
    """The names that a function uses, and those in it."""
    yield from code.co_names
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from names_in(const)


def _code_bytes(code: types.CodeType) -> bytes:
    consts = code.co_consts[1:] if code.co_flags & _DOCUMENTED else code.co_consts
    head = (
        code.co_names,
        code.co_varnames,
        code.co_freevars,
        code.co_cellvars,
        code.co_argcount,
        code.co_kwonlyargcount,
        code.co_posonlyargcount,
    )
    return b"\0".join(
        [code.co_code, repr(head).encode(), code.co_exceptiontable, *(_const_bytes(const) for const in consts)]
    )


def _const_bytes(const: Any) -> bytes:
    if isinstance(const, types.CodeType):
        return _code_bytes(const)
    if isinstance(const, tuple):
        return b"(" + b",".join(map(_const_bytes, const)) + b")"
    if isinstance(const, frozenset):  # in no fixed order
        return b"{" + b",".join(sorted(map(_const_bytes, const))) + b"}"
    return f"{type(const).__name__}:{const!r}".encode("utf-8", "surrogatepass")


def changed_code(before: Mapping[str, Any], now: Mapping[str, str]) -> list[str]:
    """The names of functions whose code is another one, that are gone, or that are new."""
    return sorted(name for name in {*before, *now} if before.get(name) != now.get(name))


def graph_digest(graph: Graph) -> str:
    """A digest of the reactors, ports, timers, actions, reactions and connections: what the numbers in a checkpoint refer to."""
    taken = blake2b(digest_size=16)

    def add(*facts: Any) -> None:
        taken.update(repr(facts).encode("utf-8", "surrogatepass"))
        taken.update(b"\n")

    for node in graph.reactors:
        add("reactor", node.name, node.cls.__qualname__, node.bank_width, node.mode, node.enclave)
    for port in graph.ports:
        add("port", port.name, port.kind)
    for timer in graph.timers:
        add("timer", timer.name, timer.mode)
    for action in graph.actions:
        add("action", action.name, action.physical, action.mode)
    for dog in graph.watchdogs:
        add("watchdog", dog.name, dog.mode)
    for mode in graph.modes:
        add("mode", mode.name)
    for r in graph.reactions:
        add("reaction", r.name, r.level, r.mode)
    for edge in graph.edges:
        add("edge", edge.source, edge.destination, edge.after is None, edge.physical, edge.mode)
    return taken.hexdigest()


def texts(graph: Graph) -> dict[str, str]:
    """The files and cells that declare the program's own reactors: their texts, by a name for a file each. Those of this package are left out."""
    files: dict[str, str] = {}  # with the first class that each declares: what a cell is called
    for cls in classes_of(graph):
        if cls.__module__.partition(".")[0] == _PACKAGE:
            continue
        for value in list(vars(cls).values()):
            for function in _in_value(value):
                files.setdefault(function.__code__.co_filename, cls.__name__)
        module = sys.modules.get(cls.__module__)
        if (file := getattr(module, "__file__", None)) is not None:
            files.setdefault(str(file), cls.__name__)
    made: dict[str, str] = {}
    for file, first in files.items():
        cell = None if _read_cell is None else _read_cell(file)
        if cell is not None:
            made[_file_name(first, made)] = cell
        elif lines := linecache.getlines(file):
            made[_file_name(file, made)] = "".join(lines)
    return made


def _file_name(file: str, taken: Mapping[str, str]) -> str:
    """A name that every system takes for a copy of that file or cell."""
    path = Path(file)
    stem = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in path.stem).strip("_-") or "cell"
    suffix = path.suffix if path.suffix in (".py", ".ipynb", ".lf") else ".py"
    name, number = f"{stem[:60]}{suffix}", 2
    while name in taken:
        name, number = f"{stem[:60]}-{number}{suffix}", number + 1
    return name
