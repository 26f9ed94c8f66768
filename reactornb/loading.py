"""Programs in files: from a `.py` file or a notebook to the reactor that is to run.

What a file *declares* is loaded, not what it does: a `.py` file is executed like an imported module (its `if __name__ ==
"__main__":` stays out), of a notebook the `%%reactor` cells, imports, functions, classes and plain constants. So one file serves
a person who runs its cells, `reactornb run` with other workers, and the benchmarks. This module knows nothing of IPython.
"""

from __future__ import annotations

import ast
import json
import linecache
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import reactornb
from reactornb.errors import DeclarationError, ReactorError, suggestion
from reactornb.graph import assemble
from reactornb.model import Reactor
from reactornb.model.spec import REQUIRED

__all__ = ["Loaded", "ProgramFileError", "load", "load_notebook", "load_python", "outermost", "quickstart"]

# The module in which a file's classes live. Not the file's own name, which may be that of a real module.
_MODULE = "reactornb_program"
_TAG = "program"
_CONVENTIONS = ("program", "main")


class ProgramFileError(ReactorError, ValueError):
    """A file holds no program that could be run."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a file declares.

    Attributes:
        path: the file.
        names: its global names.
    """

    path: Path
    names: dict[str, Any]

    def root(self, name: str | None = None) -> Any:
        """The outermost reactor; see `outermost`."""
        return outermost(self.names, name, where=str(self.path))


def load(path: str | Path) -> Loaded:
    """Load a program file by its ending.

    Raises:
        ProgramFileError: if it cannot be read, or is of another kind.
        Exception: whatever the file itself raises.
    """
    path = Path(path)
    loaders = {".py": load_python, ".ipynb": load_notebook}
    loader = loaders.get(path.suffix)
    if loader is None:
        raise ProgramFileError(
            f"{path}: cannot run a {path.suffix or 'nameless kind of'} file; known: {', '.join(loaders)}."
        )
    return loader(path)


def quickstart() -> Path:
    """The quick-start notebook of a clone of the repository.

    Raises:
        ProgramFileError: where the package is installed without it.
    """
    path = Path(__file__).resolve().parent.parent / "notebooks" / "00_quickstart.ipynb"
    if not path.is_file():
        raise ProgramFileError(
            f"there is no {path}: the notebooks come with the repository, not with the package; say --notebook FILE."
        )
    return path


def load_python(path: Path) -> Loaded:
    """Execute a `.py` file as a module is imported, its folder first on the path."""
    names = _namespace(path)
    text = _read(path)
    _execute(ast.parse(text, str(path)), str(path), names)
    return Loaded(path, names)


def load_notebook(path: Path) -> Loaded:
    """Execute what a notebook declares: see the module's docstring. A cell tagged `program` is executed whole."""
    names = _namespace(path)
    names.update({name: getattr(reactornb, name) for name in reactornb.__all__})  # as %%reactor has them in scope
    for number, text, tagged in _cells(path):
        where = f"{path}, cell {number}"
        linecache.cache[where] = (len(text), None, text.splitlines(keepends=True), where)
        magic, _, body = text.partition("\n")
        if magic.startswith("%%reactor"):
            tree = _class(magic, body, where)
        elif text.startswith("%%"):
            continue
        else:
            tree = ast.parse(_without_magics(text), where)
            if not tagged:
                tree.body = [statement for statement in tree.body if _declares(statement)]
        _execute(tree, where, names)
    return Loaded(path, names)


def _namespace(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ProgramFileError(f"{path}: there is no such file.")
    # Dataclasses, pickle and typing look classes up by the name of their module.
    module = sys.modules[_MODULE] = types.ModuleType(_MODULE)
    module.__file__ = str(path)
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return vars(module)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ProgramFileError(f"{path}: is not text in UTF-8 ({error}).") from None
    except OSError as error:
        raise ProgramFileError(f"{path}: cannot be read ({error.strerror or error}).") from None


def _execute(tree: ast.Module, where: str, names: dict[str, Any]) -> None:
    exec(compile(tree, where, "exec", dont_inherit=True), names)  # noqa: S102 - running the user's file is what it is for


def _cells(path: Path) -> Iterator[tuple[int, str, bool]]:
    """(number among the code cells, text, tagged `program`) of the code cells."""
    try:
        cells = json.loads(_read(path))["cells"]
    except (ValueError, KeyError, TypeError) as error:
        raise ProgramFileError(f"{path}: is not a notebook of format 4 ({error}).") from None
    number = 0
    for cell in cells:
        if cell.get("cell_type") == "code":
            number += 1
            source = cell.get("source", "")
            text = source if isinstance(source, str) else "".join(source)
            yield number, text, _TAG in cell.get("metadata", {}).get("tags", ())


def _class(magic: str, body: str, where: str) -> ast.Module:
    """`%%reactor Name Base` and a class body as a class statement; lines stay where they are in the cell."""
    words = magic.split()[1:]
    if not words or len(words) > 2 or not words[0].isidentifier():
        raise DeclarationError(f"{where}, line 1: {magic!r} should be %%reactor Name, or %%reactor Name Base.")
    tree = ast.parse("\n" + body, where)
    name, base = words[0], words[1] if len(words) == 2 else "Reactor"
    made = ast.parse(f"class {name}({base}): pass", where)
    made.body[0].body = tree.body or made.body[0].body  # type: ignore[attr-defined]
    return made


def _without_magics(text: str) -> str:
    """The cell without its line magics and shell commands; the lines stay in place."""
    lines = []
    for line in text.splitlines():
        word = line.lstrip()
        is_magic = word.startswith(("%", "!", "?")) or " = %" in word or " = !" in word or word.rstrip().endswith("?")
        lines.append(line[: len(line) - len(word)] + "pass" if is_magic else line)
    return "\n".join(lines)


def _declares(statement: ast.stmt) -> bool:
    if isinstance(statement, (ast.Assign, ast.AnnAssign)):
        if statement.value is None:
            return True
        try:
            ast.literal_eval(statement.value)
        except (ValueError, TypeError, SyntaxError, MemoryError):
            return False
        return True
    kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return isinstance(statement, (*kinds, ast.TypeAlias))


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
        found = names.get(name)
        if isinstance(found, (Program, Reactor)) or (isinstance(found, type) and issubclass(found, Reactor)):
            return found
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
        if isinstance(value, type) and issubclass(value, Reactor) and value.__module__ == _MODULE
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
