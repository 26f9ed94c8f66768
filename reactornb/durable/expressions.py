"""Conditions on runs, such as `learner.lr < 1e-3 and state == "finished"`: Python's syntax, of which nothing is executed as Python.

The words of an expression are names that the caller looks up, constants, comparisons, `and`, `or`, `not`, `in`, arithmetic and
subscripts (`last["episode_return"]`). Whatever else is refused by its name, so a condition can come from anyone.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

from reactornb.errors import ReactorError

__all__ = ["Condition", "ConditionError", "Unknown", "same"]

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Is: operator.is_, ast.IsNot: operator.is_not, ast.In: lambda a, b: a in b, ast.NotIn: lambda a, b: a not in b,
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}  # fmt: skip
_LONGEST = 2_000  # characters
_DEEPEST = 50  # parts within parts


class ConditionError(ReactorError, ValueError):
    """Words are no condition on runs.

    Attributes:
        words: the condition.
        column: where in it, from 1.
    """

    def __init__(self, message: str, *, words: str, column: int = 1) -> None:
        super().__init__(message)
        self.words = words
        self.column = column


class Unknown(Exception):  # noqa: N818 - no mistake: this run does not have it
    """Raised by a lookup for a name that this run does not have."""


class Condition:
    """A condition that can be asked of any number of runs.

    Args:
        words: the expression.

    Raises:
        ConditionError: if it is none, or has parts that conditions do not.

    Attributes:
        words: the expression.
        names: the dotted names in it, and for subscripts `last["x"]` the pair ("last", "x").
    """

    def __init__(self, words: str) -> None:
        self.words = words
        self.names: list[str | tuple[str, str]] = []
        if len(words) > _LONGEST:
            raise ConditionError(f"a condition has at most {_LONGEST:,} characters, not {len(words):,}.", words=words)
        try:
            tree = ast.parse(words.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            column = getattr(error, "offset", None) or 1
            message = f"{words!r} is no condition: {getattr(error, 'msg', error)}, at character {column}. {_HINT}"
            raise ConditionError(message, words=words, column=column) from None
        self._check(tree, 0)
        self._tree = tree

    def holds(self, lookup: Callable[[str | tuple[str, str]], Any]) -> bool:
        """Whether it is true of a run. A comparison with what the run does not have, or of things that cannot be compared, is false.

        Args:
            lookup: gives the value of one of `names`, or raises `Unknown`.
        """
        try:
            return bool(self._value(self._tree, lookup))
        except Unknown:
            return False

    def _check(self, node: ast.expr, depth: int) -> None:
        if depth > _DEEPEST:
            raise ConditionError(f"a condition is nested at most {_DEEPEST} times.", words=self.words)
        name = _dotted(node)
        if name is not None:
            self.names.append(name)
            return
        match node:
            case ast.Constant(value=value) if isinstance(value, (str, int, float, bool, type(None))):
                return
            case ast.Subscript(value=ast.Name(id=table), slice=ast.Constant(value=str(key))):
                self.names.append((table, key))
                return
            case ast.BoolOp(values=parts) | ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
                pass
            case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.UAdd(), operand=part):
                parts = [part]
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                parts = [left, right]
            case ast.Compare(left=left, comparators=others):
                parts = [left, *others]
            case _:
                column = node.col_offset + 1
                words = ast.get_source_segment(self.words.strip(), node) or self.words
                message = f"{words!r}, at character {column} of {self.words!r}, cannot be part of a condition on runs. {_HINT}"
                raise ConditionError(message, words=self.words, column=column)
        for part in parts:
            self._check(part, depth + 1)

    def _value(self, node: ast.expr, lookup: Callable[[str | tuple[str, str]], Any]) -> Any:
        name = _dotted(node)
        if name is not None:
            return lookup(name)
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Subscript(value=ast.Name(id=table), slice=ast.Constant(value=str(key))):
                return lookup((table, key))
            case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
                return [self._value(part, lookup) for part in parts]
            case ast.BoolOp(op=ast.And(), values=parts):
                return all(self._truth(part, lookup) for part in parts)
            case ast.BoolOp(values=parts):
                return any(self._truth(part, lookup) for part in parts)
            case ast.UnaryOp(op=ast.Not(), operand=part):
                return not self._truth(part, lookup)
            case ast.UnaryOp(op=sign, operand=part):
                value = self._value(part, lookup)
                return _tried(operator.neg if isinstance(sign, ast.USub) else operator.pos, value)
            case ast.BinOp(left=left, op=op, right=right):
                return _tried(_ARITHMETIC[type(op)], self._value(left, lookup), self._value(right, lookup))
            case ast.Compare(left=left, ops=ops, comparators=others):
                before = self._value(left, lookup)
                for compare, part in zip(ops, others, strict=True):
                    value = self._value(part, lookup)
                    if not _tried(_COMPARE[type(compare)], before, value):
                        return False
                    before = value
                return True
        raise AssertionError(node)

    def _truth(self, node: ast.expr, lookup: Callable[[str | tuple[str, str]], Any]) -> bool:
        """Of a part of `and`, `or`, `not`: one that asks for something unknown is false by itself, whatever the others are."""
        try:
            return bool(self._value(node, lookup))
        except Unknown:
            return False


_HINT = (
    'A condition is made of names, numbers, texts, comparisons, and, or, not, in, and last["metric"]: '
    "learner.lr < 1e-3 and state == 'finished'."
)


def _dotted(node: ast.expr) -> str | None:
    """The text of `a.b.c` and of `rollouts[3].epsilon`; None for anything else."""
    after = ""
    while True:
        match node:
            case ast.Name(id=name):
                return name + after
            case ast.Attribute(value=inner, attr=attr):
                node, after = inner, f".{attr}{after}"
            case ast.Subscript(value=inner, slice=ast.Constant(value=int(index))):
                node, after = inner, f"[{index}]{after}"
            case _:
                return None


def _tried(do: Callable[..., Any], *values: Any) -> Any:
    """The result, or `Unknown` where values of these types have none: a run whose parameter is a text is not below any number.

    Texts and lists are not multiplied: a condition must not take all memory.
    """
    numbers = all(isinstance(value, (int, float)) for value in values)
    try:
        if do in (operator.mul, operator.mod) and not numbers:
            raise TypeError
        return do(*values)
    except (TypeError, ValueError, ArithmeticError):
        raise Unknown from None


def same(value: Any, wanted: Any) -> bool:
    """Whether a value is the one that is wanted, as `==` says; false where it cannot say."""
    try:
        return bool(value == wanted)
    except (TypeError, ValueError):
        return False
