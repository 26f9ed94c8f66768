"""What `%%reactor` and `%%lf` cells mean: the only definition, for Jupyter, `reactornb run`, `reactornb check` and the benchmarks.

A `%%reactor` cell is the body of a class. Its text is turned into the statement `class Name(Base):` line by line, so that line 7 of the
cell is line 7 of what is compiled: tracebacks, `inspect`, breakpoints and our own messages point at what the user sees. Imports of the
body move above the class, and names of `reactornb` are in scope.

This module knows nothing of IPython: its callers pass the namespace, the file name under which a cell is compiled, and the `__future__`
features.
"""

from __future__ import annotations
import __future__

import argparse
import ast
import builtins
import difflib
import io
import keyword
import linecache
import re
import shlex
import textwrap
import tokenize
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType
from typing import Any, NoReturn

import reactornb
from reactornb.errors import DeclarationError, LFSyntaxError, Source, suggestion
from reactornb.model import Bank, Declaration, Reactor

__all__ = [
    "FUTURE_FLAGS",
    "CellMagic",
    "ReactorCell",
    "ReactorCells",
    "Replacement",
    "add_lf_options",
    "add_reactor_options",
    "compile_class",
    "declare_lf",
    "find_magic",
    "parse_line",
    "reactor_classes",
    "reactor_line_mistake",
    "source_of_class",
]

FUTURE_FLAGS = 0
"""The compiler flags of all `from __future__ import …` features."""
for _name in __future__.all_feature_names:
    FUTURE_FLAGS |= getattr(__future__, _name).compiler_flag


# -- the line of the magic ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CellMagic:
    """A cell that begins with `%%`.

    Attributes:
        name: of the magic, such as "reactor".
        words: what follows on its line.
        body: the lines below.
        line: the line of the magic in the cell, from 1.
    """

    name: str
    words: str
    body: str
    line: int


def find_magic(text: str, above: int = 0) -> CellMagic | None:
    """The cell magic of a cell, found as IPython finds it: below blank lines, and without the cell's own indentation.

    Args:
        text: the cell.
        above: how many lines of the cell stand above the text.

    Returns:
        The magic; None for an ordinary cell.
    """
    lines = text.removeprefix("\ufeff").split("\n")
    blank = next((number for number, line in enumerate(lines) if line.strip()), len(lines))
    lines = lines[blank:]
    if lines and (indent := re.match(r"[ \t]+", lines[0])) is not None:
        lines = [line.removeprefix(indent[0]) for line in lines]
    if not lines or not re.match(r"%%\w", lines[0]):
        return None
    name, _, words = lines[0][2:].rstrip().partition(" ")
    return CellMagic(name, words, "\n".join(lines[1:]), above + blank + 1)


def add_reactor_options(parser: argparse.ArgumentParser) -> None:
    """What may stand on the line of `%%reactor`."""
    parser.add_argument("name", nargs="?", default="", metavar="Name", help="of the class")
    parser.add_argument("base", nargs="?", default="Reactor", metavar="Base", help="the class it derives from")
    parser.add_argument("--doc", action="store_true", help="show what was declared, as %%reactor inspect does")


def add_lf_options(parser: argparse.ArgumentParser) -> None:
    """What may stand on the line of `%%lf`."""
    parser.add_argument(
        "name", nargs="?", default="Main", metavar="Name", help="of a main reactor that has none of its own"
    )


class _LineParser(argparse.ArgumentParser):
    """Parses the line of a magic without printing or exiting."""

    def error(self, message: str) -> NoReturn:
        raise DeclarationError(message)


def parse_line(magic: CellMagic, where: str) -> dict[str, Any] | None:
    """The options on a magic's line, by name; the magics themselves parse with IPython's errors.

    Args:
        magic: `%%reactor` or `%%lf`.
        where: file and cell, for messages.

    Returns:
        `name`, and of `%%reactor` also `base` and `doc`; None where the line only asks for help.

    Raises:
        DeclarationError: for words or options that the magic does not have.
    """
    parser = _LineParser(prog=f"%%{magic.name}", add_help=False, allow_abbrev=False)
    (add_reactor_options if magic.name == "reactor" else add_lf_options)(parser)
    try:
        words = shlex.split(magic.words)
        if "-h" in words or "--help" in words:
            return None
        return vars(parser.parse_intermixed_args(words))
    except (DeclarationError, ValueError) as error:
        raise DeclarationError(f"{Source(where, magic.line)}: %%{magic.name} {magic.words}: {error}.") from None


def reactor_line_mistake(name: str, base: str, names: dict[str, Any]) -> str | None:
    """What is wrong with the names on the line of `%%reactor`, in words; None if nothing is.

    Args:
        name: of the class.
        base: of the class it derives from.
        names: the namespace in which the class is declared.
    """
    if not name:
        return "a class needs a name: %%reactor Rollout"
    if not name.isidentifier() or keyword.iskeyword(name):
        proper = "".join(c for c in name if c.isalnum() or c == "_").lstrip("0123456789").capitalize() or "Rollout"
        return (
            f"{name!r} is not a valid class name; a name is made of letters, digits and _, and does not begin with a digit: "
            f"%%reactor {proper}"
        )
    if base != "Reactor" or "Reactor" in names:
        value = names.get(base)
        if not (isinstance(value, type) and issubclass(value, Reactor)):
            return f"the base {base!r} is not a reactor class. {suggestion(base, reactor_classes(names))}"
    return None


def reactor_classes(names: dict[str, Any]) -> dict[str, type[Reactor]]:
    """The reactor classes of a namespace, by name."""
    return {
        name: value
        for name, value in names.items()
        if isinstance(value, type) and issubclass(value, Reactor) and value is not Reactor and not name.startswith("_")
    }


# -- from the body to a class ---------------------------------------------------------------------------------------------


@dataclass(slots=True)
class ReactorCell:
    """A `%%reactor` cell: enough to declare its class, and to declare it again when a class that it uses is replaced.

    Attributes:
        name: of the class.
        base: name of the class it derives from.
        body: the class's body, as typed.
        file: the name under which the cell is compiled.
        line: the line of the magic in the cell, from 1.
        flags: the `__future__` features that are on, of `FUTURE_FLAGS`.
        cls: the class; `Reactor` until it is declared.
    """

    name: str
    base: str
    body: str
    file: str
    line: int = 1
    flags: int = 0
    cls: type[Reactor] = Reactor

    @property
    def text(self) -> str:
        """The class statement: `class` on the line of the magic, and the first line of the body on the next."""
        lines = self.body.splitlines()
        if not any(text.strip() and not text.lstrip().startswith("#") for text in lines):
            lines.append("pass")
        unmovable = _lines_inside_strings(self.body)
        shifted = [
            text if number in unmovable or not text.strip() else "    " + text
            for number, text in enumerate(lines, start=1)
        ]
        return "\n" * (self.line - 1) + f"class {self.name}({self.base}):\n" + "\n".join(shifted) + "\n"


def _lines_inside_strings(body: str) -> set[int]:
    """Numbers of the lines that begin inside a string, where an indent would change the string."""
    inside: set[int] = set()
    starts: list[int] = []  # rows at which f-strings or t-strings began
    try:
        for token in tokenize.generate_tokens(io.StringIO(body).readline):
            kind = tokenize.tok_name[token.type]
            if kind == "STRING":
                inside.update(range(token.start[0] + 1, token.end[0] + 1))
            elif kind in ("FSTRING_START", "TSTRING_START"):
                starts.append(token.start[0])
            elif kind in ("FSTRING_END", "TSTRING_END"):
                inside.update(range(starts.pop() + 1, token.end[0] + 1))
    except (tokenize.TokenError, SyntaxError):
        pass  # the compiler reports it better
    return inside


def compile_class(cell: ReactorCell) -> tuple[CodeType, ast.Module]:
    """Compile a `%%reactor` cell: the code to execute, and the statements it was compiled from.

    Raises:
        DeclarationError: if the body is not Python; names the cell and the line, and shows the place.
    """
    try:
        tree = _imports_first(ast.parse(cell.text, cell.file))
        return compile(tree, cell.file, "exec", flags=cell.flags & FUTURE_FLAGS, dont_inherit=True), tree
    except SyntaxError as error:
        raise _not_python(error, cell.file, cell.line) from None


def _imports_first(tree: ast.Module) -> ast.Module:
    """Move the body's imports above the class: an `import math` at the top of a cell is meant for the reactions."""
    (statement,) = tree.body
    assert isinstance(statement, ast.ClassDef)
    imports = [node for node in statement.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    if imports:
        rest = [node for node in statement.body if node not in imports]
        statement.body = rest or [ast.copy_location(ast.Pass(), imports[-1])]
        tree.body = [*imports, statement]
    return tree


def _not_python(error: SyntaxError, file: str, line: int) -> DeclarationError:
    """A syntax error of a cell in our own form: cell and line, the line itself, and the place in it.

    Args:
        error: of Python's compiler, or of the Lingua Franca parser.
        file: the name under which the cell was compiled.
        line: of the magic, for an error that has no line.
    """
    shown = (error.text or "").rstrip("\n")
    caret = "" if error.offset is None else "\n    " + " " * (error.offset - 1) + "^"
    hint = ""
    if shown.lstrip().startswith(("%", "!")):
        hint = " Magics and shell commands go into a cell of their own: the body of %%reactor is the body of a class."
    return DeclarationError(f"{Source(file, error.lineno or line)}: {error.msg}.{hint}\n    {shown}{caret}")


def _use_package_names(tree: ast.AST, names: dict[str, Any]) -> None:
    """Define the names of this package that a cell uses and that have no value yet, as `from reactornb import …` would.

    Only those: a notebook's namespace stays its user's.
    """
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    for name in sorted(used & set(reactornb.__all__)):
        if name not in names and not hasattr(builtins, name):
            names[name] = getattr(reactornb, name)


# -- the classes of one namespace -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Replacement:
    """What became of the classes that use a class which was declared again.

    Attributes:
        replaced: the old classes, that one and those of `renewed`.
        renewed: names of the classes that were declared again with it.
        misfits: names of the classes that failed to be, and why; they keep the old class.
    """

    replaced: set[type]
    renewed: list[str] = field(default_factory=list)
    misfits: list[tuple[str, Exception]] = field(default_factory=list)


class ReactorCells:
    """The `%%reactor` cells of one namespace.

    Args:
        names: the namespace: a notebook's, or a module's.

    Attributes:
        cells: by the name of their class, in the order of their first declaration.
    """

    def __init__(self, names: dict[str, Any]) -> None:
        self._names = names
        self.cells: dict[str, ReactorCell] = {}

    def declare(self, cell: ReactorCell) -> type[Reactor]:
        """Execute a cell: its class is a name of the namespace then.

        Raises:
            ReactorError: for what is wrong in its declarations.
            Exception: whatever its statements raise; a NameError has a note about the likely cause.
        """
        __tracebackhide__ = True
        cls = self._execute(cell)
        self.cells[cell.name] = cell
        return cls

    def _execute(self, cell: ReactorCell) -> type[Reactor]:
        __tracebackhide__ = True
        code, tree = compile_class(cell)
        names = self._names
        _use_package_names(tree, names)
        try:
            exec(code, names)  # noqa: S102 - running what the user typed is what a cell is for
        except NameError as error:
            # The body of a class does not see what its base declares: so it is in Python, and easily forgotten in a cell.
            if error.name and isinstance(getattr(names.get(cell.base), error.name, None), Declaration):
                error.add_note(f"{error.name} is declared by {cell.base}: write {cell.base}.{error.name}")
            else:
                _add_suggestion(error, names)
            raise
        cls: type[Reactor] = names[cell.name]
        cell.cls = cls
        return cls

    def renew(self, name: str, old: type[Reactor]) -> Replacement:
        """Execute the cells again whose classes contain or extend a class that was replaced.

        Args:
            name: of the class that was declared again.
            old: the class that had this name before.
        """
        replacement = Replacement({old})
        for cell in list(self.cells.values()):
            before = cell.cls
            if cell.name == name or not _uses(before, replacement.replaced):
                continue
            try:
                self._execute(cell)
            except Exception as error:  # noqa: BLE001 - the new class stands; the other cell has its own mistake now
                replacement.misfits.append((cell.name, error))
                continue
            replacement.replaced.add(before)
            replacement.renewed.append(cell.name)
        return replacement


def _uses(cls: type[Reactor], classes: set[type]) -> bool:
    """Whether a class extends or contains one of these."""
    held = {c.__dict__["cls"] if isinstance(c, Bank) else type(c) for c in cls._spec.children.values()}
    return any(classes & set(c.__mro__) for c in (cls, *held))


def _add_suggestion(error: NameError, names: dict[str, Any]) -> None:
    """Python's own suggestion knows what the cell has, not what it could have from this package."""
    innermost = error.__traceback__
    while innermost is not None and innermost.tb_next is not None:
        innermost = innermost.tb_next
    body = innermost.tb_frame.f_locals if innermost is not None else {}
    known = {n for n in (*reactornb.__all__, *body, *names) if not n.startswith("_")}
    near = difflib.get_close_matches(error.name or "", sorted(known), n=1)
    if near:
        error.add_note(f"Did you mean {near[0]!r}?")


def source_of_class(cls: type[Reactor]) -> str | None:
    """The text of a reactor class that a cell declares; None if its cell is no longer known."""
    definition = cls._definition
    text = "".join(linecache.getlines(definition.file))
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == cls.__name__:
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if first <= definition.line <= (node.end_lineno or first):
                lines = text.splitlines(keepends=True)[first - 1 : node.end_lineno]
                return textwrap.dedent("".join(lines))
    return None


# -- Lingua Franca --------------------------------------------------------------------------------------------------------


def declare_lf(
    text: str, names: dict[str, Any], *, main: str, file: str, line: int = 1, folder: Path, quiet: bool = False
) -> tuple[dict[str, type[Reactor]], dict[str, Any], type[Reactor] | None]:
    """Declare the reactors of a `%%lf` cell in a namespace.

    They may instantiate each other, and the reactor classes of the namespace.

    Args:
        text: the program, its lines where they are in the cell.
        names: the namespace.
        main: what to call a main reactor that has no name.
        file: the name under which the cell is compiled.
        line: the line of the magic in the cell, from 1.
        folder: where imported files are looked for.
        quiet: no warnings about what has no meaning here.

    Returns:
        The classes by name, the options of the target declaration, and which class is the main reactor.

    Raises:
        DeclarationError: if it is no Lingua Franca; other ReactorErrors for what is wrong in the declarations.
    """
    from reactornb import lf

    __tracebackhide__ = True
    with warnings.catch_warnings():
        if quiet:
            warnings.simplefilter("ignore")
        try:
            program = lf.loads(text, file=file, outside=reactor_classes(names), folder=folder)
        except LFSyntaxError as error:
            # IPython has its own form for a SyntaxError, which knows no cells.
            raise _not_python(error, error.filename or file, line) from None
    declared = dict(program.reactors)
    if program.main is not None:
        name = program.main.__name__ if program.main_is_named else main
        program.main.__name__ = program.main.__qualname__ = name
        declared[name] = program.main
    for cls in declared.values():
        cls.__module__ = names.get("__name__", cls.__module__)
    names.update(declared)
    return declared, program.options, program.main
