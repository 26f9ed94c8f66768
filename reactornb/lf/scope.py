"""The meaning of names and expressions in a Lingua Franca program.

All files of a program share one namespace of target code, as they do in Lingua Franca's own Python target.
"""

from __future__ import annotations

import keyword
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from reactornb.errors import AssemblyError, LFSyntaxError, ReactorError, Source, UnknownNameError, suggestion
from reactornb.lf import syntax as ast
from reactornb.lf.code import compile_expression
from reactornb.model import Reactor

__all__ = ["Scope", "TargetCode", "Thunk"]

Thunk = Callable[[Any, int], Any]
"""The value of an expression, given the reactor it stands in and the index of the bank member it is for."""

# Attributes that only tell a diagram how to draw.
_DRAWING = {"label", "icon", "side", "layout", "color", "sparse", "property", "hidden"}


class Scope:
    """The meaning of the names in one file.

    Attributes:
        file: its path or the name of the cell.
        declared: reactor classes of the file, by name, as syntax.
        imported: name here -> (scope of the other file, name there).
        outside: Python reactor classes that the text may instantiate.
        classes: the reactor classes made so far, by name.
    """

    def __init__(self, file: str, program: ast.Program, outside: Mapping[str, Any]) -> None:
        self.file = file
        self.program = program
        self.declared: dict[str, ast.Reactor] = {}
        for r in program.reactors:
            if r.name is None:
                continue
            if r.name in self.declared or keyword.iskeyword(r.name):
                problem = "is declared twice" if r.name in self.declared else "is a keyword of Python"
                raise LFSyntaxError(f"reactor {r.name} {problem}", file=file, line=r.line, column=r.column)
            self.declared[r.name] = r
        self.imported: dict[str, tuple[Scope, str]] = {}
        self.outside = outside
        self.classes: dict[str, type[Reactor]] = {}

    def source(self, node: ast.Node) -> Source:
        """Where a node stands."""
        return Source(self.file, node.line)


class TargetCode:
    """What all files of one program share: the globals of their code, and which warnings were given.

    Args:
        namespace: the globals of the program's code.
    """

    def __init__(self, namespace: dict[str, Any]) -> None:
        self.namespace = namespace
        self._warned: set[str] = set()

    def warn(self, text: str) -> None:
        """Warn, once for each text."""
        if text not in self._warned:
            self._warned.add(text)
            warnings.warn(text, stacklevel=2)

    def attributes(self, scope: Scope, attributes: tuple[ast.Attribute, ...]) -> None:
        """Warn about attributes that have no effect here."""
        for attribute in attributes:
            if attribute.name not in (*_DRAWING, "enclave"):
                self.warn(f"{scope.source(attribute)}: @{attribute.name} has no meaning here.")

    def thunk(self, scope: Scope, expression: ast.Expression | None) -> Thunk:
        """A function that computes an expression. Target code in it is compiled at once, so that syntax errors are reported here."""
        if expression is None:
            return lambda _self, _i: None
        if isinstance(expression, ast.Literal):
            value = expression.value
            return lambda _self, _i: value
        if isinstance(expression, ast.Time):
            ns = expression.value_ns
            return lambda _self, _i: ns
        if isinstance(expression, ast.ListExpr):
            items = [self.thunk(scope, item) for item in expression.items]
            if expression.bracket == "(":
                if len(items) == 1:
                    return items[0]
                return lambda self, i: tuple(item(self, i) for item in items)
            return lambda self, i: [item(self, i) for item in items]
        if isinstance(expression, ast.Code):
            code, namespace = compile_expression(expression, scope.file), self.namespace
            where = scope.source(expression)

            def work_out(self: Any, i: int) -> Any:
                try:
                    return eval(code, namespace, {**_visible(self, code.co_names), "self": self, "bank_index": i})  # noqa: S307 - the user's program
                except ReactorError:
                    raise
                except (Exception, SystemExit) as error:  # checking a program must not end the process
                    raise AssemblyError(f"{where}: this expression raises {type(error).__name__}: {error}") from error

            return work_out
        return self._parameter(scope, expression)

    def _parameter(self, scope: Scope, reference: ast.ParamRef) -> Thunk:
        name, where, namespace = reference.name, scope.source(reference), self.namespace
        nothing = name == "None"  # Lingua Franca takes it for a parameter and refuses it; it can only mean Python's

        def look_up(self: Any, index: int) -> Any:
            values = _visible(self, (name,))
            if name in values:
                return values[name]
            if name == "bank_index":
                return getattr(self, "bank_index", index)
            if nothing:
                return None
            if name in namespace:
                return namespace[name]
            raise UnknownNameError(
                f"{where}: no parameter {name!r}. {suggestion(name, values)}", unknown=name, source=where
            )

        return look_up


def _visible(self: Any, used: Iterable[str]) -> dict[str, Any]:
    """A reactor's parameters and states by name; those used are read as attributes, which assembly records."""
    attributes = {k: v for k, v in self.__dict__.items() if not k.startswith("_")}
    return attributes | {name: getattr(self, name) for name in used if name in attributes}
