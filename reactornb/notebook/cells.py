"""From the body of a `%%reactor` cell to a class, as if `class Name(Base):` stood where the magic stands.

The cell's text is turned into that class statement line by line, so that line 7 of the cell is line 7 of what is compiled:
tracebacks, `inspect`, breakpoints and our own messages all point at what the user sees.
"""

from __future__ import annotations
import __future__

import ast
import builtins
import io
import re
import tokenize
from dataclasses import dataclass
from typing import Any

import reactornb
from reactornb.errors import DeclarationError, Source

__all__ = ["Cell", "cell_number", "class_text", "compile_class", "describer", "not_python", "use_package_names"]

_FUTURE = 0
for _name in __future__.all_feature_names:
    _FUTURE |= getattr(__future__, _name).compiler_flag


@dataclass(frozen=True, slots=True)
class Cell:
    """Where a class is declared.

    Attributes:
        number: the execution count.
        raw: the whole cell, as it was typed.
        line: the line of the magic in it, from 1.
    """

    number: int
    raw: str
    line: int = 1

    def __str__(self) -> str:
        return f"cell {self.number}, line {self.line}"


def class_text(name: str, base: str, body: str, line: int = 1) -> str:
    """The class statement, with `class` on the given line and the body's first line on the next."""
    lines = body.splitlines()
    if not any(text.strip() and not text.lstrip().startswith("#") for text in lines):
        lines.append("pass")
    inside = _inside_strings(body)
    shifted = [
        text if number in inside or not text.strip() else "    " + text for number, text in enumerate(lines, start=1)
    ]
    return "\n" * (line - 1) + f"class {name}({base}):\n" + "\n".join(shifted) + "\n"


def _inside_strings(body: str) -> set[int]:
    """Numbers of the lines that begin inside a string, which must not be moved."""
    found: set[int] = set()
    begun: list[int] = []  # rows at which f-strings or t-strings began
    try:
        for token in tokenize.generate_tokens(io.StringIO(body).readline):
            kind = tokenize.tok_name[token.type]
            if kind == "STRING":
                found.update(range(token.start[0] + 1, token.end[0] + 1))
            elif kind in ("FSTRING_START", "TSTRING_START"):
                begun.append(token.start[0])
            elif kind in ("FSTRING_END", "TSTRING_END"):
                found.update(range(begun.pop() + 1, token.end[0] + 1))
    except (tokenize.TokenError, SyntaxError):
        pass  # the compiler will say it better
    return found


def compile_class(shell: Any, name: str, base: str, body: str, cell: Cell) -> Any:
    """Compile the cell under the name that IPython gives its code, which ties it to the cell's number.

    Raises:
        DeclarationError: if the body is not Python; names cell and line, and shows the place.
    """
    text = class_text(name, base, body, cell.line)
    file = shell.compile.cache(text, cell.number, raw_code=cell.raw)
    try:
        tree = _imports_first(ast.parse(text, file))
        return compile(tree, file, "exec", flags=shell.compile.flags & _FUTURE, dont_inherit=True), tree
    except SyntaxError as error:
        raise not_python(error, file, cell) from None


def _imports_first(tree: ast.Module) -> ast.Module:
    """Move the body's imports above the class: who writes `import math` at the top of a cell means it for the reactions."""
    (statement,) = tree.body
    assert isinstance(statement, ast.ClassDef)
    imports = [node for node in statement.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    if imports:
        rest = [node for node in statement.body if node not in imports]
        statement.body = rest or [ast.copy_location(ast.Pass(), imports[-1])]
        tree.body = [*imports, statement]
    return tree


def not_python(error: SyntaxError, file: str, cell: Cell) -> DeclarationError:
    """A syntax error of a cell in our own form: cell and line, the line itself, and the place in it."""
    line = error.lineno or cell.line
    shown = (error.text or "").rstrip("\n")
    caret = "" if error.offset is None else "\n    " + " " * (error.offset - 1) + "^"
    where = Source(file, line)
    hint = (
        ""
        if not shown.lstrip().startswith(("%", "!"))
        else (" Magics and shell commands go into a cell of their own: the body of %%reactor is the body of a class.")
    )
    return DeclarationError(f"{where}: {error.msg}.{hint}\n    {shown}{caret}")


def use_package_names(tree: ast.AST, namespace: dict[str, Any]) -> None:
    """Define the names of this package that the cell uses and nobody has defined, as `from reactornb import …` would.

    Only those: a notebook's namespace stays its user's.
    """
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    for name in sorted(used & set(reactornb.__all__)):
        if name not in namespace and not hasattr(builtins, name):
            namespace[name] = getattr(reactornb, name)


def cell_number(shell: Any, file: str) -> int | None:
    """The execution count of the cell whose code has this file name, or None."""
    named = shell.compile.format_code_name(file)
    number = re.search(r"\d+", named[1]) if named else None
    return int(number[0]) if number else None


def describer(shell: Any) -> Any:
    """What `errors.set_source_describer` wants: "cell 4, line 12" for the code of a cell, None for anything else."""

    def describe(file: str, line: int) -> str | None:
        number = cell_number(shell, file)
        return None if number is None else f"cell {number}, line {line}"

    return describe
