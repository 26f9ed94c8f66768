"""Target code of a Lingua Franca program as Python functions whose tracebacks point at the `.lf` line."""

from __future__ import annotations

import ast as python
import inspect
import linecache
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any

from reactornb.errors import LFSyntaxError
from reactornb.lf import syntax as ast
from reactornb.lf.literals import statement_lines

__all__ = ["compile_body", "compile_expression", "remember_source", "run_block"]


def remember_source(file: str, text: str) -> None:
    """Let tracebacks show the lines of a program that is in no file, such as a notebook's cell."""
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)


def _parse(code: ast.Code, file: str) -> python.Module:
    try:
        tree = python.parse(code.text or "pass", file)
    except SyntaxError as error:
        line, words = code.line + (error.lineno or 1) - 1, error.msg
        if isinstance(error, IndentationError) and code.text[:1] in (" ", "\t"):
            # Its first line stands right of a later one, which is the one to be mended.
            line, words = _left_most(code), "unexpected indent; this statement begins left of the first one"
        # The column is that of the dedented text; the line's own text shows the place well enough.
        raise LFSyntaxError(f"Python says: {words}", file=file, line=line, column=code.column) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise LFSyntaxError(
            f"Python cannot parse this: {error}", file=file, line=code.line, column=code.column
        ) from None
    python.increment_lineno(tree, code.line - 1)
    return tree


def _left_most(code: ast.Code) -> int:
    """The line of the first statement that begins where no white space is left."""
    lines = code.text.split("\n")
    begins = sorted(statement_lines(code.text))
    return code.line + next((n for n in begins if n < len(lines) and lines[n][:1].strip()), 0)


def compile_body(
    code: ast.Code,
    file: str,
    name: str,
    parameters: Iterable[str],
    namespace: dict[str, Any],
    *,
    generator: bool = False,
) -> Callable[..., Any]:
    """A function of `self` and these parameters with that body; only a method may be a `generator`.

    Raises:
        LFSyntaxError: if the body is no Python.
    """
    tree = _parse(code, file)
    try:
        header = python.parse(f"def {name}({', '.join(['self', *parameters])}): pass", file)
    except SyntaxError:
        words = ", ".join(parameters)
        raise LFSyntaxError(
            f"Python cannot take these names: {words}", file=file, line=code.line, column=code.column
        ) from None
    python.increment_lineno(header, max(code.line - 1, 0))
    function = header.body[0]
    assert isinstance(function, python.FunctionDef)
    function.body = tree.body or [python.Pass(lineno=code.line, col_offset=0, end_lineno=code.line, end_col_offset=0)]
    functions: dict[str, Any] = {}
    exec(_compile(header, file, "exec", code), namespace, functions)  # noqa: S102 - running the user's program is what we are for
    body: FunctionType = functions[name]
    if body.__code__.co_flags & inspect.CO_GENERATOR and not generator:
        raise LFSyntaxError(
            "a body with yield would never run; schedule an action to go on later",
            file=file,
            line=code.line,
            column=code.column,
        )
    return body


def compile_expression(code: ast.Code, file: str) -> Any:
    """A code object for `eval`.

    Raises:
        LFSyntaxError: if it is not one Python expression.
    """
    text = code.text.strip()
    try:
        tree = python.parse(f"({text}\n)", file, "eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        message = error.msg if isinstance(error, SyntaxError) else str(error)
        raise LFSyntaxError(f"Python says: {message}", file=file, line=code.line, column=code.column) from None
    python.increment_lineno(tree, code.line - 1)
    return _compile(tree, file, "eval", code)


def run_block(code: ast.Code, file: str, namespace: dict[str, Any], local: dict[str, Any] | None = None) -> None:
    """Run a preamble, in a class's namespace if `local` is given.

    Raises:
        LFSyntaxError: if it is no Python; and whatever the code itself raises.
    """
    exec(_compile(_parse(code, file), file, "exec", code), namespace, namespace if local is None else local)  # noqa: S102


def _compile(tree: Any, file: str, mode: str, code: ast.Code) -> Any:
    try:
        return compile(tree, file, mode, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        message = error.msg if isinstance(error, SyntaxError) else str(error)
        line = (error.lineno if isinstance(error, SyntaxError) else None) or code.line
        raise LFSyntaxError(f"Python says: {message}", file=file, line=line, column=code.column) from None
