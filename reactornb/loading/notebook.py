"""Selects the statements of a notebook that declare its program; the others, which run it, are not executed.

Always executed: `%%reactor` and `%%lf` cells, imports, functions, classes, plain constants, and assignments of a `Program(…)`. If one of these
needs a name (a constant that is computed, an array, a configuration, `functools.partial(…)`), the assignments that make it are executed too,
in the notebook's order, unless they run a program, await something or use a magic. Everything else is left out, and `select` says what and
why. A cell tagged `program` is executed whole.

This module reads and decides; `program` executes. What a `%%reactor` or `%%lf` cell means is defined in `cell_magics`. Nothing here
knows IPython, or more of reactors than how they are written.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reactornb.errors import DeclarationError, ProgramFileError, Source
from reactornb.loading.cell_magics import (
    CellMagic,
    ReactorCell,
    compile_class,
    find_magic,
    parse_line,
    reactor_line_mistake,
)
from reactornb.loading.statement_names import bound_names, executed_parts, used_names

__all__ = ["Cell", "NotebookError", "Step", "Use", "read_cells", "select", "steps_of", "uses_of"]

_WHOLE, _RAISES = "program", "raises-exception"
# Methods of `Program`, `Run`, threads and models that run a program or train.
_RUNS = {"run", "start", "result", "wait", "join", "learn", "fit", "train", "sleep"}
_MAGIC = "__magic__"
# Cell magics whose cell is Python that leaves names behind.
_PYTHON = {"capture", "time", "prun"}
_DECLARING = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.TypeAlias)


class NotebookError(ProgramFileError):
    """A file is not a notebook."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A code cell.

    Attributes:
        number: among the code cells, from 1.
        where: file and cell, for messages and tracebacks.
        text: as written.
        tags: of its metadata.
    """

    number: int
    where: str
    text: str
    tags: frozenset[str]


@dataclass(slots=True)
class Step:
    """A statement of a notebook, or a whole cell that declares reactors, and when it is executed.

    Attributes:
        where: file and cell.
        line: in the cell, from 1.
        tree: the statements; None for Lingua Franca text.
        reactor: the `%%reactor` cell, which is executed instead of `tree`; None for anything else.
        lf: Lingua Franca text, at its lines in the cell.
        lf_main: what to call a main reactor of that text that has no name.
        kind: whether it is executed: "always", "if needed" or "never".
        why: the reason for "never", in words.
        root: it declares reactors, or is a program: the names that its bodies use are needed, too.
        program: it assigns what `Program(…)` returns.
        may_raise: its cell is tagged `raises-exception`.
        binds: the names that it makes or changes.
        now: the names that executing it needs.
        later: the names that calling the functions in it needs.
    """

    where: str
    line: int
    tree: ast.Module | None = None
    reactor: ReactorCell | None = None
    lf: str = ""
    lf_main: str = "Main"
    kind: str = "always"
    why: str = ""
    root: bool = False
    program: bool = False
    may_raise: bool = False
    binds: set[str] = field(default_factory=set)
    now: set[str] = field(default_factory=set)
    later: set[str] = field(default_factory=set)

    @property
    def place(self) -> str:
        """Cell and line."""
        return f"{self.where.rpartition(', ')[2]}, line {self.line}"


@dataclass(frozen=True, slots=True)
class Use:
    """A program that a magic starts or draws: `%reactor start PPO learning_rate=1e-3`.

    Attributes:
        where: file, cell and line.
        name: of the program.
        parameters: as written, by name.
    """

    where: str
    name: str
    parameters: dict[str, str]


def read_cells(path: Path, text: str) -> list[Cell]:
    """The code cells of a notebook.

    Raises:
        NotebookError: if the text is no notebook of format 4; in one line.
    """
    try:
        book = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotebookError(f"{path}: is not a notebook: {str(error) or 'nested too deeply'}.") from None
    if isinstance(book, dict) and "worksheets" in book:
        raise NotebookError(
            f"{path}: is a notebook of format {book.get('nbformat', 3)}; open and save it in Jupyter, which writes format 4."
        )
    cells = book.get("cells") if isinstance(book, dict) else None
    if not isinstance(cells, list):
        raise NotebookError(f"{path}: is not a notebook of format 4: it has no list of cells.")
    cells_read: list[Cell] = []
    for index, cell in enumerate(cells, 1):
        if not isinstance(cell, dict):
            raise NotebookError(
                f"{path}: is not a notebook of format 4: its cell {index} (of all kinds) is {_kind(cell)}, not an object."
            )
        if cell.get("cell_type") != "code":
            continue
        source = cell.get("source")
        if isinstance(source, list) and all(isinstance(line, str) for line in source):
            source = "".join(source)
        if not isinstance(source, str):
            raise NotebookError(
                f"{path}: is not a notebook of format 4: code cell {len(cells_read) + 1} has {_kind(source)} for its source, not text."
            )
        metadata = cell.get("metadata")
        tags = metadata.get("tags") if isinstance(metadata, dict) else None
        named = frozenset(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else frozenset()
        cells_read.append(
            Cell(len(cells_read) + 1, f"{path}, cell {len(cells_read) + 1}", source.replace("\r\n", "\n"), named)
        )
    return cells_read


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "a truth value", type(None): "nothing"}
    return names.get(type(value), "a number")


# -- cells as steps -------------------------------------------------------------------------------------------------------


def steps_of(cells: Iterable[Cell]) -> list[Step]:
    """The steps of the cells, in order; nothing is executed.

    Raises:
        SyntaxError: if a cell is no Python.
        DeclarationError: if the line of a `%%reactor` or `%%lf` cell is wrong, or the body of a `%%reactor` cell is no Python.
    """
    steps: list[Step] = []
    reactors = {"Reactor"}
    for cell in cells:
        may_raise = _RAISES in cell.tags
        try:
            new = list(_of_text(cell, cell.text, 0, reactors))
        except (SyntaxError, DeclarationError):
            if not may_raise:
                raise
            continue
        for step in new:
            step.may_raise = may_raise
        steps += new
    runners = _runners(steps)
    for step in steps:
        if step.kind != "never" and step.tree is not None and not step.why:
            called = {
                n.func.id for n in executed_parts(step.tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
            }
            if called & runners.keys() and (step.kind == "if needed" or step.program):
                name = min(called & runners.keys())
                step.kind, step.why = "never", f"{name} {runners[name]}"
    return steps


def _of_text(cell: Cell, text: str, above: int, reactors: set[str]) -> Iterator[Step]:
    """The steps of a cell, or of what stands below a magic such as `%%time`.

    Args:
        cell: the cell.
        text: what is left of it.
        above: how many lines stand above that.
        reactors: names of the reactor classes so far; those of the cell are added.
    """
    magic = find_magic(text, above)
    if magic is None:
        yield from _of_statements(cell, text, above, reactors)
    elif magic.name == "reactor":
        yield from _of_reactor(cell, magic, reactors)
    elif magic.name == "lf":
        given = parse_line(magic, cell.where)
        if given is not None:
            yield Step(cell.where, magic.line, lf="\n" * magic.line + magic.body, lf_main=given["name"])
    elif magic.name in _PYTHON:
        yield from _of_text(cell, magic.body, magic.line, reactors)


def _of_reactor(cell: Cell, magic: CellMagic, reactors: set[str]) -> Iterator[Step]:
    given = parse_line(magic, cell.where)
    if given is None:
        return
    mistake = reactor_line_mistake(given["name"], "Reactor", {})
    if mistake is not None:
        raise DeclarationError(f"{Source(cell.where, magic.line)}: %%reactor: {mistake}")
    reactor = ReactorCell(given["name"], given["base"], magic.body, cell.where, magic.line)
    _, tree = compile_class(reactor)
    reactors.add(reactor.name)
    step = _step(cell.where, *tree.body, root=True)
    step.line, step.reactor = magic.line, reactor
    yield step


def _of_statements(cell: Cell, text: str, above: int, reactors: set[str]) -> Iterator[Step]:
    tree = parse("\n" * above + text.removeprefix("\ufeff"), cell.where)
    if _WHOLE in cell.tags:
        yield _step(cell.where, *tree.body, root=True)
        return
    for statement in tree.body:
        yield _classified(cell.where, statement, reactors)


def _classified(where: str, statement: ast.stmt, reactors: set[str]) -> Step:
    step = _step(where, statement)
    if _declares(statement):
        if isinstance(statement, ast.ClassDef):
            step.root = any(isinstance(base, ast.Name) and base.id in reactors for base in statement.bases)
            if step.root:
                reactors.add(statement.name)
        elif isinstance(statement, ast.ImportFrom) and (statement.module or "").split(".")[0] == "reactornb":
            reactors.update(alias.asname or alias.name for alias in statement.names)
        return step
    step.kind, step.why = "if needed", _forbidden(statement)
    if not isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.If)):
        kind = type(statement).__name__.removeprefix("Async").lower()
        step.why = step.why or f"it is {'an expression' if kind == 'expr' else f'a {kind} statement'}"
    if step.why:
        step.kind = "never"
    elif isinstance(statement, ast.Assign) and any(_makes_program(n) for n in executed_parts(statement)):
        step.kind, step.root, step.program = "always", True, True
    return step


def _makes_program(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and "Program" in (getattr(node.func, "id", ""), getattr(node.func, "attr", ""))


def _step(where: str, *statements: ast.stmt, root: bool = False) -> Step:
    tree = ast.Module(list(statements), [])
    step = Step(where, statements[0].lineno if statements else 1, tree, root=root)
    step.binds = bound_names(tree)
    step.now, step.later = used_names(tree)
    return step


def parse(text: str, where: str) -> ast.Module:
    """The cell's statements; magics and shell commands are calls of a name that is never there, in their lines.

    Raises:
        SyntaxError: if it is no Python.
        DeclarationError: if `%%reactor` or `%%lf` stands below other lines, where Jupyter knows no such magic.
    """
    try:
        return ast.parse(text, where)
    except SyntaxError:
        for number, line in enumerate(text.split("\n"), start=1):
            if re.match(r"\s*%%(reactor|lf)\b", line):
                raise DeclarationError(
                    f"{Source(where, number)}: {line.strip()} stands below other lines: a cell magic is the first line of its cell."
                ) from None
        plain = _without_magics(text)
        if plain == text:
            raise
        return ast.parse(plain, where)


def _without_magics(text: str) -> str:
    lines = []
    for line in text.split("\n"):
        word = line.lstrip()
        indent = line[: len(line) - len(word)]
        name, sign, rest = word.partition(" = ")
        if word.startswith(("%", "!", "?")) or word.rstrip().endswith("?"):
            lines.append(f"{indent}{_MAGIC}({word!r})")
        elif sign and rest.lstrip().startswith(("%", "!")):
            lines.append(f"{indent}{name} = {_MAGIC}({rest!r})")
        else:
            lines.append(line)
    return "\n".join(lines)


def uses_of(cells: Iterable[Cell]) -> list[Use]:
    """The programs that `%reactor start` and `%reactor graph` name."""
    uses: dict[tuple[str, tuple[str, ...]], Use] = {}
    for cell in cells:
        if _RAISES in cell.tags:
            continue
        for number, line in enumerate(cell.text.split("\n"), 1):
            _, magic, rest = line.partition("%reactor ")
            command, *words = _words(rest) or [""]
            if not magic or command not in ("start", "graph") or line.lstrip().startswith("%%"):
                continue
            names = [word for word in words if word.isidentifier()]
            pairs = [word.partition("=") for word in words if "=" in word and word.partition("=")[0].isidentifier()]
            if names and words[0] == names[0]:
                key = (names[0], tuple(sorted(name + value for name, _, value in pairs)))
                use = Use(f"{cell.where}, line {number}", names[0], {name: value for name, _, value in pairs})
                uses.setdefault(key, use)
    return list(uses.values())


def _words(line: str) -> list[str]:
    """The words of a magic's line, quoted as in a shell."""
    try:
        return shlex.split(line)
    except ValueError:  # Jupyter refuses the line
        return []


# -- which steps are executed ---------------------------------------------------------------------------------------------


def select(steps: list[Step], uses: Iterable[Use]) -> tuple[list[Step], dict[str, Step]]:
    """The steps to execute, in order; and by name the steps that make or change a needed name and are left out."""
    makers: dict[str, list[Step]] = {}
    for step in steps:
        for name in step.binds:
            makers.setdefault(name, []).append(step)
    chosen = {id(step) for step in steps if step.kind == "always"}
    # A name that is called needs the names in the bodies of its functions as well.
    needed: set[str] = set()
    called: set[str] = set()
    todo = [(name, False) for step in steps if id(step) in chosen for name in step.now]
    todo += [(name, True) for step in steps if step.root and id(step) in chosen for name in step.now | step.later]
    todo += [(name, True) for use in uses for name in (use.name, *use.parameters.values())]
    while todo:
        name, is_called = todo.pop()
        if name in called or (name in needed and not is_called):
            continue
        (called if is_called else needed).add(name)
        needed.add(name)
        for step in makers.get(name, ()):
            if step.kind == "if needed":
                chosen.add(id(step))
                todo += [(used, True) for used in step.now | step.later]
            elif is_called and step.kind == "always":
                todo += [(used, True) for used in step.now | step.later]
    left: dict[str, Step] = {}
    for step in steps:
        if step.kind == "never":
            for name in step.binds & needed:
                left.setdefault(name, step)
    return [step for step in steps if id(step) in chosen], left


def _declares(statement: ast.stmt) -> bool:
    if isinstance(statement, (ast.Assign, ast.AnnAssign)):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        if not all(isinstance(n, (ast.Name, ast.Tuple, ast.List, ast.Starred)) for t in targets for n in _targets(t)):
            return False
        return statement.value is None or _is_literal(statement.value)
    if isinstance(statement, (ast.If, ast.Try, ast.With)):  # imports of what may not be there
        inner = [n for n in ast.iter_child_nodes(statement) if isinstance(n, ast.stmt)]
        inner += [n for handler in getattr(statement, "handlers", ()) for n in handler.body]
        return not _forbidden(statement) and all(_declares(n) or isinstance(n, ast.Pass) for n in inner)
    return isinstance(statement, _DECLARING)


def _targets(target: ast.expr) -> Iterator[ast.expr]:
    yield target
    for element in getattr(target, "elts", ()):
        yield from _targets(element)


def _is_literal(value: ast.expr) -> bool:
    try:
        ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def _forbidden(statement: ast.stmt) -> str:
    """Why a statement is not executed even if a name that it makes is needed; "" if it may be executed."""
    for node in executed_parts(statement):
        if isinstance(node, (ast.Await, ast.AsyncFor, ast.AsyncWith)):
            return "it awaits"
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute) and node.func.attr in _RUNS:
                return f"it calls .{node.func.attr}(…)"
            if isinstance(node.func, ast.Name) and node.func.id == _MAGIC:
                return "it is a magic"
    return ""


def _runners(steps: list[Step]) -> dict[str, str]:
    """The functions of the notebook that run a program, also by calling each other, and why."""
    bodies = {
        n.name: n
        for step in steps
        if step.tree is not None
        for n in step.tree.body
        if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    reasons: dict[str, str] = {}
    for name, body in bodies.items():
        for node in ast.walk(body):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _RUNS:
                reasons[name] = f"calls .{node.func.attr}(…)"
    while more := {
        name: f"calls {n.func.id}, which {reasons[n.func.id]}"
        for name, body in bodies.items()
        if name not in reasons
        for n in ast.walk(body)
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id in reasons
    }:
        reasons.update(more)
    return reasons
