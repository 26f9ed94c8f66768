"""The names that statements need and make, names without executing them.

A name is needed *now* if executing the statement looks it up, and *later* if only calling a function in it does.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

__all__ = ["bound_names", "executed_parts", "used_names"]

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def executed_parts(node: ast.AST) -> Iterator[ast.AST]:
    """What runs when the statement does: bodies of functions are left out, their defaults and decorators not."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _FUNCTIONS):
            for part in _header(child):
                yield from executed_parts(part)
        else:
            yield from executed_parts(child)


def _header(function: Any) -> list[ast.AST]:
    arguments = function.args
    return [*getattr(function, "decorator_list", ()), *arguments.defaults, *filter(None, arguments.kw_defaults)]


def used_names(tree: ast.AST) -> tuple[set[str], set[str]]:
    """Names that are looked up when a statement runs, and those that are when functions in it are called."""
    now: set[str] = set()
    later: set[str] = set()
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, _FUNCTIONS):
            for part in _header(child):
                first, second = used_names(ast.Expression(part) if isinstance(part, ast.expr) else part)
                now |= first
                later |= second
            later |= _free(child)
            continue
        if isinstance(child, ast.Name) and isinstance(child.ctx, (ast.Load, ast.Del)):
            now.add(child.id)
        first, second = used_names(child)
        if isinstance(child, ast.ClassDef):
            first -= bound_names(ast.Module(child.body, []))
        now |= first
        later |= second
    return now, later


def _free(function: ast.AST) -> set[str]:
    """The global names that a function uses, and those in it."""
    arguments: Any = function.args  # type: ignore[attr-defined]
    everything = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    content: Any = function.body  # type: ignore[attr-defined]
    inside = ast.Module(content if isinstance(content, list) else [ast.Expr(content)], [])
    now, later = used_names(inside)
    declared = {name for n in executed_parts(inside) if isinstance(n, ast.Global) for name in n.names}
    local = bound_names(inside, changed=False) | {a.arg for a in everything if a is not None}
    return (now | later) - (local - declared)


def bound_names(tree: ast.Module, *, changed: bool = True) -> set[str]:
    """The names that statements make, and if asked for those whose parts they change."""
    names: set[str] = set()
    for node in _scope(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            names.add(node.name)
        elif changed and isinstance(node, (ast.Subscript, ast.Attribute)) and isinstance(node.ctx, ast.Store):
            base: ast.expr = node
            while isinstance(base, (ast.Subscript, ast.Attribute)):
                base = base.value
            if isinstance(base, ast.Name):
                names.add(base.id)
    return names


def _scope(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (*_FUNCTIONS, ast.ClassDef)):
            yield child
        else:
            yield from _scope(child)
