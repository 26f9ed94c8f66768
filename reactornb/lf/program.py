"""Loading Lingua Franca programs: files, imports, target properties, and the program that results."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from reactornb.errors import AssemblyError, DeclarationError, LFSyntaxError, Source, UnknownNameError, suggestion
from reactornb.lf import syntax as ast
from reactornb.lf.build import Builder
from reactornb.lf.code import remember_source, run_block
from reactornb.lf.names import LFNames, package_root
from reactornb.lf.parse import parse, read
from reactornb.lf.scope import Scope, TargetCode
from reactornb.model import Reactor
from reactornb.model.spec import REQUIRED
from reactornb.runtime import Program
from reactornb.tags import Duration

__all__ = ["LFProgram", "load", "loads"]

# Target properties that have an effect here; others cause a warning.
_MEANT = {"timeout", "fast", "keepalive", "workers", "single-threaded", "threading", "files", "tracing", "logging"}
_PYTHON = ("Python", "Py")
# Lingua Franca's other targets, and the languages of their bodies.
_LANGUAGES = {
    "C": "C",
    "CCpp": "C++",
    "Cpp": "C++",
    "Rust": "Rust",
    "TypeScript": "TypeScript",
    "TS": "TypeScript",
    "uC": "C",
}
# Properties about generating, compiling or drawing code, which can be ignored silently.
_HARMLESS = {
    "build", "build-type", "cmake", "cmake-include", "cmake-args", "compiler", "compiler-flags", "compile-definitions", "flags",
    "no-compile", "no-runtime-validation", "external-runtime-path", "runtime-version", "single-file-project", "python-version",
    "export-dependency-graph", "verify", "hierarchical-bin", "platform", "scheduler",
}  # fmt: skip
# Types of the properties that become run options, and the words for them.
_VALUES: dict[str, tuple[type, str]] = {
    "timeout": (int, "a time of at least 0, such as 10 sec"),
    "fast": (bool, "true or false"),
    "keepalive": (bool, "true or false"),
    "workers": (int, "a whole number of at least 0"),
    "single-threaded": (bool, "true or false"),
}


@dataclass
class LFProgram:
    """A Lingua Franca program as Python has it.

    Attributes:
        file: its path, or the name of the cell.
        reactors: the reactor classes of the file by name, the main reactor excepted.
        main: the class of the main (or federated) reactor, or None in a library.
        main_is_named: false if the text gives the main reactor no name, and it is called after the file.
        options: run options that its target declaration gives, as keywords of `Program.start`.
        namespace: the globals of its target code.
    """

    file: str
    reactors: dict[str, type[Reactor]]
    main: type[Reactor] | None
    main_is_named: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    namespace: dict[str, Any] = field(default_factory=dict, repr=False)

    def program(self, **parameters: Any) -> Program:
        """The assembled program.

        Args:
            parameters: parameters of the main reactor.

        Raises:
            AssemblyError: if there is no main reactor, or the reactors do not form a legal graph.
            DeclarationError: if a parameter without a default is missing.
        """
        if self.main is None:
            raise AssemblyError(
                f"{self.file} has no main reactor: it is a library. Write `main reactor {{ … }}` to run it."
            )
        for name, default in self.main._spec.parameters.items():
            if default is REQUIRED and name not in parameters:
                where = self.main._definition
                raise DeclarationError(
                    f"{where}: {self.main.__name__} needs its parameter {name!r}: it has no default."
                )
        with _bounded(self.file):
            return Program(self.main(**parameters))


def load(path: str | os.PathLike[str], *, outside: Mapping[str, Any] | None = None) -> LFProgram:
    """Read a program from a file.

    Args:
        path: the `.lf` file.
        outside: Python reactor classes that it may instantiate, by name.

    Raises:
        LFSyntaxError: if it, or a file that it imports, is no Lingua Franca.
        UnknownNameError: if a name stands for nothing.
        OSError: if the file cannot be read.
    """
    file = Path(path).resolve()
    return loads(read(file), file=str(file), outside=outside)


def loads(
    text: str, *, file: str, outside: Mapping[str, Any] | None = None, folder: str | os.PathLike[str] | None = None
) -> LFProgram:
    """Read a program from text.

    Args:
        text: the program.
        file: its name in errors and tracebacks; it need not exist.
        outside: Python reactor classes that it may instantiate, by name.
        folder: where the files that it names are; that of `file` unless given.

    Raises:
        LFSyntaxError, UnknownNameError: as `load`.
    """
    program = parse(text, file=file)
    if not Path(file).exists():
        remember_source(file, text)
    path = Path(file) if folder is None else Path(folder).resolve() / Path(file).name
    names = LFNames(path)
    loader = _Loader(names.globals(), outside or {})
    scope = loader.scope(file, program, path)
    builder, code = Builder(loader.target_code), loader.target_code
    main: type[Reactor] | None = None
    reactors: dict[str, type[Reactor]] = {}
    for declared in program.reactors:
        if declared.kind is None:
            assert declared.name is not None
            with _bounded(file):
                reactors[declared.name] = builder.find(scope, declared.name, scope.source(declared))
            continue
        if main is not None:
            raise AssemblyError(f"{scope.source(declared)}: a second main reactor; a program has one.")
        if declared.kind == "federated":
            code.warn(f"{scope.source(declared)}: the federation runs as one ordinary program, in one process.")
        with _bounded(file):
            main = builder.reactor(scope, declared, declared.name or _identifier(path.stem))
    options = _options(code, scope, program.target)
    named = any(r.kind is not None and r.name is not None for r in program.reactors)
    return LFProgram(file, reactors, main, named, options, loader.namespace)


@contextmanager
def _bounded(file: str) -> Iterator[None]:
    """Turn a RecursionError into an error that says what nests too deeply."""
    try:
        yield
    except RecursionError:
        raise AssemblyError(f"{file}, line 1: reactors contain or extend each other too deeply.") from None


class _Loader:
    def __init__(self, namespace: dict[str, Any], outside: Mapping[str, Any]) -> None:
        self.namespace = namespace
        self.target_code = TargetCode(namespace)
        self._outside = outside
        self._scopes: dict[str, Scope] = {}

    def scope(self, file: str, program: ast.Program, path: Path) -> Scope:
        """The names of one file, its imports (relative to `path`) followed and its preambles run."""
        _refuse_other_language(self.target_code, file, program)
        scope = self._scopes[file] = Scope(file, program, self._outside)
        _search(path.parent)
        if program.target is not None:
            for entry in _property(program.target, "files", []):
                _search((path.parent / str(entry)).parent)
        for item in program.imports:
            for name in item.names:
                target = _resolve(path, item, name.name, scope)
                other = self._scopes.get(str(target)) or self._read(target, scope.source(item))
                if name.name not in other.declared and name.name not in other.imported:
                    known = [*other.declared, *other.imported]
                    raise UnknownNameError(
                        f"{scope.source(item)}: {target} has no reactor {name.name!r}. {suggestion(name.name, known)}",
                        unknown=name.name,
                        source=scope.source(item),
                    )
                scope.imported[name.alias] = (other, name.name)
        for preamble in program.preambles:
            run_block(preamble.code, file, self.namespace)
        return scope

    def _read(self, path: Path, where: Source) -> Scope:
        try:
            text = read(path)
        except OSError as error:
            raise UnknownNameError(f"{where}: cannot import {path}: {error}", unknown=str(path), source=where) from None
        return self.scope(str(path), parse(text, file=str(path)), path)


def _refuse_other_language(target_code: TargetCode, file: str, program: ast.Program) -> None:
    """Refuse bodies in another language than Python: `printf("hi");` would pass for a call.

    A program without target code can be drawn and assembled whatever its target.
    """
    target = program.target
    if target is None or target.name in _PYTHON:
        return
    where = Source(file, target.line)
    language = _LANGUAGES.get(target.name)
    code = min(_code_in((program.preambles, program.reactors)), key=lambda c: (c.line, c.column), default=None)
    if code is None:
        target_code.warn(
            f"{where}: target {target.name}; nothing in this file is target code, so it can be assembled all the same."
        )
        return
    if language is None:
        there = f"there is no target {target.name!r}. {suggestion(target.name, [*_PYTHON, *_LANGUAGES])}"
        raise LFSyntaxError(there, file=file, line=target.line, column=target.column)
    raise LFSyntaxError(
        f"this body is {language}, since the target in line {target.line} is {target.name}; only Python bodies run here",
        file=file,
        line=code.line,
        column=code.column,
        hint="Write the bodies in Python, and target Python",
    )


def _code_in(part: Any) -> Iterator[ast.Code]:
    """All target code in a part of a program that is not empty."""
    if isinstance(part, ast.Code):
        if part.text.strip():
            yield part
    elif isinstance(part, tuple):
        for item in part:
            yield from _code_in(item)
    elif is_dataclass(part):
        for each in fields(part):
            yield from _code_in(getattr(part, each.name))


def _resolve(file: Path, item: ast.Import, name: str, scope: Scope) -> Path:
    """The file that an import names; packages are searched for as the handbook says ("Importing Packages")."""
    if not item.package:
        return (file.parent / item.path).resolve()
    package, _, rest = item.path.partition("/")
    inner = rest if rest.endswith(".lf") else f"{rest}/{name}.lf" if rest else f"{name}.lf"
    root = package_root(file.resolve())
    places = [root / "build" / "lfc_include", root / "lf-packages"]
    if os.environ.get("LF_PACKAGES"):
        places.append(Path(os.environ["LF_PACKAGES"]))
    for place in places:
        file_there = place / package / "src" / "lib" / inner
        if file_there.exists():
            return file_there.resolve()
    tried = ", ".join(str(p / package) for p in places)
    raise UnknownNameError(
        f"{scope.source(item)}: no package <{item.path}> with src/lib/{inner}; tried {tried}.",
        unknown=item.path,
        source=scope.source(item),
    )


def _search(folder: Path) -> None:
    """Let target code import the modules that lie beside the program."""
    if folder.is_dir() and str(folder.resolve()) not in sys.path:
        sys.path.append(str(folder.resolve()))


def _property(target: ast.Target, name: str, default: Any) -> Any:
    for item in target.properties:
        if item.name == name:
            value = _plain(item.value)
            return [value] if isinstance(default, list) and not isinstance(value, list) else value
    return default


def _plain(value: ast.PropertyValue) -> Any:
    if isinstance(value, ast.Literal):
        return value.value
    if isinstance(value, ast.Time):
        return value.value_ns
    if isinstance(value, ast.PropertyList):
        return [_plain(v) for v in value.items]
    return {item.name: _plain(item.value) for item in value.items}


def _options(target_code: TargetCode, scope: Scope, target: ast.Target | None) -> dict[str, Any]:
    """Run options from the target declaration."""
    if target is None:
        return {}
    options: dict[str, Any] = {}
    for item in target.properties:
        value: Any = _plain(item.value)
        kind, words = _VALUES.get(item.name, (object, ""))
        negative = isinstance(value, int) and value < 0
        if words and (type(value) is not kind or negative):
            problem = f"target property {item.name} takes {words}, not {value!r}"
            raise LFSyntaxError(problem, file=scope.file, line=item.line, column=item.column)
        if item.name == "timeout":
            options["until"] = Duration(value)
        elif item.name in ("fast", "keepalive"):
            options[item.name] = value
        elif item.name == "workers" and value:
            options["workers"] = value
        elif (item.name == "single-threaded" and value) or (item.name == "threading" and value is False):
            options["workers"] = 1
        elif item.name not in _MEANT and item.name not in _HARMLESS:
            target_code.warn(f"{scope.source(item)}: target property {item.name!r} has no meaning here.")
    return options


def _identifier(stem: str) -> str:
    name = "".join(c if c.isalnum() or c == "_" else "_" for c in stem)
    return name if name[:1].isalpha() or name[:1] == "_" else f"_{name}"
