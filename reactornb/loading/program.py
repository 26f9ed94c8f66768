"""Programs in files: from a `.py` file or a notebook to the reactor that is to run.

What a file *declares* is loaded, not what it does: a `.py` file is executed like an imported module (its `if __name__ ==
"__main__":` stays out), of a notebook what `cells` selects. So one file serves a person who runs its cells, `reactornb run` with
other workers, and the benchmarks. This module knows nothing of IPython.
"""

from __future__ import annotations

import ast
import linecache
import sys
import traceback
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import reactornb
from reactornb.errors import FileExitedError, ProgramFileError, ReactorError, suggestion
from reactornb.graph import assemble
from reactornb.loading.notebook import Step, read_cells, select, steps_of, uses_of
from reactornb.model import Reactor
from reactornb.model.spec import REQUIRED

if TYPE_CHECKING:
    from reactornb.runtime import Program

__all__ = [
    "Loaded",
    "ProgramFileError",
    "ending",
    "load",
    "load_notebook",
    "load_python",
    "make",
    "outermost",
    "quickstart",
]

# The module in which a file's classes live. Not the file's own name, which may be that of a real module.
_MODULE = "reactornb_program"
_CONVENTIONS = ("program", "main")


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a file declares.

    Attributes:
        path: the file.
        names: its global names.
        made: of a notebook, the programs that it makes, by name, in cells that are not tagged `program`.
        used: of a notebook, what else it starts or draws: name, and parameters.
        problems: by name, why a program that it makes is none.
        notes: what was left out although something needs it, in words.
        caught: of a notebook, names in a `try`, or in a cell tagged `raises-exception`: what is wrong with them is meant.
    """

    path: Path
    names: dict[str, Any]
    made: dict[str, Program] = field(default_factory=dict)
    used: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    problems: dict[str, ReactorError] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    caught: frozenset[str] = frozenset()

    def root(self, name: str | None = None, *, parameters: bool = False) -> Any:
        """The outermost reactor; see `outermost`.

        Args:
            name: the one asked for.
            parameters: it is given parameters, so a program that is made already will not do.
        """
        if name is None and not parameters and len(self.made) == 1:
            (only,) = self.made.values()
            if not _complete(_classes(self.names)):
                return only
        if name is None and not _classes(self.names):
            others = list(dict.fromkeys([*([] if parameters else self.made), *(used for used, _ in self.used)]))
            if len(others) == 1:
                return self.names[others[0]]
            if others:
                raise ProgramFileError(
                    f"{self.path}: declares no reactor, and several programs are made in it: {', '.join(others)}. Say which with --main NAME."
                )
        names = {key: value for key, value in self.names.items() if key not in self.made or key == name}
        return outermost(names, name, where=str(self.path))

    def programs(self) -> Iterator[tuple[str, Any, dict[str, Any]]]:
        """All that could be the program: name; class, reactor or program; parameters. For who checks a file.

        A class of which the file makes programs itself, with parameters, is not taken with its defaults.
        """
        classes = _classes(self.names)
        for name, cls in _complete(self.outer(classes)).items():
            yield name, cls, {}
        for name in _CONVENTIONS:
            if name not in self.made and _is_program(self.names.get(name)) and name not in classes:
                yield name, self.names[name], {}
        for name, program in self.made.items():
            yield name, program, {}
        for name, parameters in self.used:
            if parameters or name not in classes:
                yield name, self.names[name], parameters

    def outer(self, classes: dict[str, type[Reactor]] | None = None) -> dict[str, type[Reactor]]:
        """Its classes that no other one contains or extends, and of which it makes no program itself."""
        classes = _classes(self.names) if classes is None else classes
        inside, _, _ = _contained(classes)
        made: set[type] = {node.cls for program in self.made.values() for node in program.graph.reactors}
        made.update(self.names[name] for name, parameters in self.used if parameters)
        return {name: cls for name, cls in classes.items() if cls not in inside | made}


def _complete(classes: dict[str, type[Reactor]]) -> dict[str, type[Reactor]]:
    """Those that need no parameters."""
    return {name: cls for name, cls in classes.items() if REQUIRED not in cls._spec.parameters.values()}


def _is_program(value: Any) -> bool:
    from reactornb.runtime import Program

    return isinstance(value, (Program, Reactor)) or (isinstance(value, type) and issubclass(value, Reactor))


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
    with ending(path):
        _execute(ast.parse(text, str(path)), str(path), names)
    return Loaded(path, names)


def load_notebook(path: Path) -> Loaded:
    """Execute what a notebook declares: see `cells`."""
    cells = read_cells(path, _read(path))
    names = _namespace(path)
    names.update({name: getattr(reactornb, name) for name in reactornb.__all__})  # as %%reactor has them in scope
    for cell in cells:
        linecache.cache[cell.where] = (len(cell.text), None, cell.text.splitlines(keepends=True), cell.where)
    steps, uses = steps_of(cells), uses_of(cells)
    chosen, left = select(steps, uses)
    found = Loaded(path, names, caught=frozenset(_caught(steps)))
    for step in chosen:
        with ending(path):
            _take(step, found, left)
    found.notes[:] = [
        f"{step.place}: {name} is not made here, though something needs it: {step.why}. A cell tagged program is executed whole."
        for name, step in left.items()
        if name not in names
    ]
    for use in uses:
        if use.name not in found.made and _is_program(names.get(use.name)):
            found.used.append((use.name, {name: _value(text, names) for name, text in use.parameters.items()}))
    return found


def _take(step: Step, found: Loaded, left: dict[str, Step]) -> None:
    """Execute a step of a notebook, or leave it out if it needs what was left out and is no reactor itself."""
    names = found.names
    try:
        if step.tree is None:
            _declare_lf(step, found)
        else:
            _execute(step.tree, step.where, names)
    except ReactorError as error:
        if not (step.program or step.may_raise):
            raise
        for name in step.binds:
            found.problems[name] = error
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

        found.made.update({name: names[name] for name in sorted(step.binds) if isinstance(names.get(name), Program)})


def _declare_lf(step: Step, found: Loaded) -> None:
    """A `%%lf` cell, as a notebook's session takes it: its reactors become global names."""
    import warnings

    from reactornb import lf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what has no meaning here is for who runs the cell
        made = lf.loads(step.text, file=step.where, outside=_reactors(found.names), folder=found.path.resolve().parent)
    declared = dict(made.reactors)
    if made.main is not None:
        name = made.main.__name__ if made.main_is_named else "Main"
        made.main.__name__ = made.main.__qualname__ = name
        declared[name] = made.main
    for cls in declared.values():
        cls.__module__ = _MODULE
    found.names.update(declared)


def _reactors(names: dict[str, Any]) -> dict[str, type[Reactor]]:
    return {
        n: value
        for n, value in names.items()
        if isinstance(value, type) and issubclass(value, Reactor) and value is not Reactor
    }


def _line(error: BaseException, step: Step) -> int:
    """The deepest line of the step's cell in a traceback."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == step.where]
    return lines[-1] or step.line if lines else step.line


def _value(text: str, names: dict[str, Any]) -> Any:
    """A parameter as a magic takes it: a literal, a name, or text."""
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return names.get(text, text)


def _caught(steps: list[Step]) -> Iterator[str]:
    for step in steps:
        for node in ast.walk(step.tree) if step.tree is not None else ():
            if isinstance(node, ast.Try) or step.may_raise:
                yield from (n.id for n in ast.walk(node) if isinstance(n, ast.Name))
        if step.may_raise:
            yield from step.binds


def _namespace(path: Path) -> dict[str, Any]:
    # Dataclasses, pickle and typing look classes up by the name of their module.
    module = sys.modules[_MODULE] = types.ModuleType(_MODULE)
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


def _execute(tree: ast.Module, where: str, names: dict[str, Any]) -> None:
    exec(compile(tree, where, "exec", dont_inherit=True), names)  # noqa: S102 - running the user's file is what it is for


@contextmanager
def ending(path: Path) -> Iterator[None]:
    """While a file is loaded: `sys.exit` ends nothing but the loading.

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
    """An instance; what is wrong with its parameters is said of the line of its class, since the caller has none."""
    where = root._definition
    code = compile("\n" * (where.line - 1) + "root(**parameters)", where.file, "eval", dont_inherit=True)
    made: Reactor = eval(code, {"__name__": _MODULE, "root": root, "parameters": parameters})  # noqa: S307 - one call
    return made


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
