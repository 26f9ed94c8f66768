"""Loads program files: executes the declarations of a `.py` file or a notebook.

A file's *declarations* are executed, not what it does with them: a `.py` file like an imported module (not what stands under `if __name__
== "__main__":`), of a notebook the steps that `notebook` selects. So one file serves a person who runs its cells, `reactornb run` with
another number of workers, and the benchmarks.
"""

from __future__ import annotations

import ast
import linecache
import sys
import traceback
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import reactornb
from reactornb.errors import DeclarationError, FileExitedError, ProgramFileError, ReactorError, Source
from reactornb.loading.cell_magics import (
    FUTURE_FLAGS,
    ReactorCell,
    ReactorCells,
    declare_lf,
    reactor_classes,
    reactor_line_mistake,
)
from reactornb.loading.loaded import MODULE, Loaded, is_program
from reactornb.loading.notebook import Step, read_cells, select, steps_of, uses_of
from reactornb.model import Reactor, from_text
from reactornb.options import parameter_value

__all__ = ["guard_exit", "load", "load_notebook", "load_python", "make", "quickstart"]


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
    path = Path(reactornb.__file__).resolve().parent.parent / "notebooks" / "00_quickstart.ipynb"
    if not path.is_file():
        raise ProgramFileError(
            f"there is no {path}: the notebooks come with the repository, not with the package; say --notebook FILE."
        )
    return path


def load_python(path: Path) -> Loaded:
    """Execute a `.py` file as a module is imported, its folder first on the path."""
    text = _read(path)
    names = _namespace(path)
    with guard_exit(path):
        code = compile(text, str(path), "exec", dont_inherit=True)
        exec(code, names)  # noqa: S102 - running the user's file is what it is for
    return Loaded(path, names)


def load_notebook(path: Path) -> Loaded:
    """Execute what a notebook declares: see `notebook`."""
    return _NotebookLoader(path).load()


class _NotebookLoader:
    """Executes the steps of one notebook.

    Args:
        path: the notebook.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._cells = read_cells(path, _read(path))
        self._names = _namespace(path)
        self._reactor_cells = ReactorCells(self._names)
        self._flags = (
            0  # the __future__ features that cells have switched on: they hold in all cells below, as in IPython
        )
        steps = steps_of(self._cells)
        self._uses = uses_of(self._cells)
        self._chosen, self._left = select(steps, self._uses)
        self._loaded = Loaded(path, self._names, caught=frozenset(_caught(steps)))

    def load(self) -> Loaded:
        """What the notebook declares.

        Raises:
            Exception: whatever its statements raise.
        """
        names, loaded = self._names, self._loaded
        for cell in self._cells:
            _show_in_tracebacks(cell.where, cell.text)
        for step in self._chosen:
            with guard_exit(self._path):
                self._take(step)
        loaded.notes.extend(
            f"{step.place}: {name} is not made here, though something needs it: {step.why}. A cell tagged program is executed whole."
            for name, step in self._left.items()
            if name not in names
        )
        for use in self._uses:
            if use.name not in loaded.assigned and is_program(names.get(use.name)):
                parameters = {name: parameter_value(text, names) for name, text in use.parameters.items()}
                loaded.started.append((use.name, parameters))
        return loaded

    def _take(self, step: Step) -> None:
        """Execute a step; leave it out if it needs a name that was left out, unless it declares reactors."""
        names, left = self._names, self._left
        try:
            self._execute(step)
        except ReactorError as error:
            if not (step.program or step.may_raise):
                raise
            for name in step.binds:
                self._loaded.problems[name] = error
                left[name] = step
        except NameError as error:
            missing = left.get(error.name or "")
            if missing is None and step.kind == "always" and not step.may_raise:
                raise
            why = f"it needs {error.name}" + (
                f", which {missing.place} makes, and {missing.why}" if missing is not None else ""
            )
            if step.root and not step.program and not step.may_raise:
                raise ProgramFileError(
                    f"{step.where}, line {_line(error, step)}: {error.name} is not there: {missing.place if missing else 'a cell'} makes it and is not "
                    f"executed, since {missing.why if missing else why}. Tag that cell program, and it is executed whole."
                ) from None
            step.why = why
            for name in step.binds:
                left[name] = step
        except Exception as error:
            if not step.may_raise:
                raise
            step.why = f"it raises {type(error).__name__}"
            for name in step.binds:
                left[name] = step
        if step.program:
            from reactornb.runtime import Program

            programs = {name: names[name] for name in sorted(step.binds) if isinstance(names.get(name), Program)}
            self._loaded.assigned.update(programs)

    def _execute(self, step: Step) -> None:
        if step.reactor is not None:
            self._declare(step.reactor)
        elif step.tree is not None:
            code = compile(step.tree, step.where, "exec", flags=self._flags, dont_inherit=True)
            self._flags |= code.co_flags & FUTURE_FLAGS
            exec(code, self._names)  # noqa: S102 - running the user's file is what it is for
        else:
            before = reactor_classes(self._names)
            declared, _, _ = declare_lf(
                step.lf,
                self._names,
                main=step.lf_main,
                file=step.where,
                line=step.line,
                folder=self._path.resolve().parent,
                quiet=True,  # the warnings are for the user of the notebook
            )
            for name in declared.keys() & before.keys():
                self._renew(name, before[name])

    def _declare(self, cell: ReactorCell) -> None:
        mistake = reactor_line_mistake(cell.name, cell.base, self._names)
        if mistake is not None:
            raise DeclarationError(f"{Source(cell.file, cell.line)}: %%reactor: {mistake}")
        cell.flags = self._flags
        _show_in_tracebacks(cell.file, cell.text)
        old = reactor_classes(self._names).get(cell.name)
        self._reactor_cells.declare(cell)
        if old is not None:
            self._renew(cell.name, old)

    def _renew(self, name: str, old: type[Reactor]) -> None:
        for other, error in self._reactor_cells.renew(name, old).misfits:
            self._loaded.notes.append(f"{other} uses {name} and no longer fits it: {error}")


def _show_in_tracebacks(file: str, text: str) -> None:
    """Let tracebacks and `inspect` show the lines of a cell."""
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)


def _line(error: BaseException, step: Step) -> int:
    """The deepest line of the step's cell in a traceback."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == step.where]
    return lines[-1] or step.line if lines else step.line


def _caught(steps: list[Step]) -> Iterator[str]:
    for step in steps:
        for node in ast.walk(step.tree) if step.tree is not None else ():
            if isinstance(node, ast.Try) or step.may_raise:
                yield from (n.id for n in ast.walk(node) if isinstance(n, ast.Name))
        if step.may_raise:
            yield from step.binds


def _namespace(path: Path) -> dict[str, Any]:
    # Dataclasses, pickle and typing look classes up by the name of their module.
    module = sys.modules[MODULE] = types.ModuleType(MODULE)
    module.__file__ = str(path)
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return vars(module)


def _read(path: Path) -> str:
    try:
        if path.is_dir():
            raise ProgramFileError(f"{path}: is a folder; name a file in it.")
        if path.exists() and not path.is_file():
            raise ProgramFileError(f"{path}: is no file.")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ProgramFileError(f"{path}: there is no such file.") from None
    except UnicodeDecodeError as error:
        raise ProgramFileError(f"{path}: is not text in UTF-8 ({error}).") from None
    except OSError as error:
        raise ProgramFileError(f"{path}: cannot be read ({error.strerror or error}).") from None
    except ProgramFileError:
        raise
    except ValueError as error:  # a name that no system takes
        raise ProgramFileError(f"{str(path)!r}: cannot be read ({error}).") from None


@contextmanager
def guard_exit(path: Path) -> Iterator[None]:
    """Turns `sys.exit` in a file that is loaded into an error.

    Raises:
        FileExitedError: if the file calls it.
    """
    try:
        yield
    except SystemExit as error:
        frames = [
            f for f in traceback.extract_tb(error.__traceback__) if f.filename not in (__file__, reactornb.__file__)
        ]
        mine = [f for f in frames if str(path) in f.filename or f.filename == str(path.resolve())]
        at = f", line {mine[-1].lineno}" if mine else ""
        where = mine[-1].filename if mine else str(path)
        code = error.code
        said = "" if code is None else repr(code)
        raise FileExitedError(
            f"{where}{at}: sys.exit({said}) ended the file while it was loaded, so none of its reactors has run. What only a script is to do "
            f'stands under if __name__ == "__main__":.',
            status=0 if code is None else code if isinstance(code, int) else 1,
        ) from None


def make(root: type[Reactor], parameters: dict[str, Any]) -> Reactor:
    """An instance of a class. An error in the parameters names the line of the class, since the command line has no line."""
    where = root._definition
    parameters = from_text(root, parameters)
    code = compile("\n" * (where.line - 1) + "root(**parameters)", where.file, "eval", dont_inherit=True)
    instance: Reactor = eval(code, {"__name__": MODULE, "root": root, "parameters": parameters})  # noqa: S307 - one call
    return instance
