"""From the reactors of a program to reactor classes: finds the class that a name stands for, and makes it where it is first needed."""

from __future__ import annotations

from reactornb import model
from reactornb.errors import AssemblyError, Source, UnknownNameError, suggestion
from reactornb.lf import syntax as ast
from reactornb.lf.classes import ClassBuilder
from reactornb.lf.declared import flat
from reactornb.lf.scope import Scope, TargetCode
from reactornb.model import Reactor

__all__ = ["Builder"]


class Builder:
    """Makes the reactor classes of one program.

    Args:
        target: the program's code, which all of its files share.
    """

    def __init__(self, target: TargetCode) -> None:
        self.target = target
        self._in_progress: list[
            tuple[str, str]
        ] = []  # (file, name) of the classes that are being made, outermost first

    def find(self, scope: Scope, name: str, source: Source) -> type[Reactor]:
        """The class that a name stands for in a file.

        Raises:
            UnknownNameError: if it stands for none.
            AssemblyError: if a reactor contains or extends itself.
        """
        if name in scope.imported:
            other, there = scope.imported[name]
            return self.find(other, there, source)
        if name in scope.classes:
            return scope.classes[name]
        declared = scope.declared.get(name)
        if declared is None:
            python_class = scope.outside.get(name)
            if isinstance(python_class, type) and issubclass(python_class, Reactor):
                return python_class
            known = [*scope.declared, *scope.imported]
            raise UnknownNameError(
                f"{source}: no reactor {name!r}. {suggestion(name, known)}", unknown=name, source=source
            )
        if declared.kind is not None:
            raise AssemblyError(
                f"{source}: {name} is a {declared.kind} reactor, which no other one contains or extends."
            )
        if (scope.file, name) in self._in_progress:
            raise AssemblyError(f"{source}: reactor {name} contains or extends itself.")
        self._in_progress.append((scope.file, name))
        try:
            with model.declarations.outside_modes():
                scope.classes[name] = self.reactor(scope, declared, name)
        finally:
            self._in_progress.pop()
        return scope.classes[name]

    def reactor(self, scope: Scope, declared: ast.Reactor, name: str) -> type[Reactor]:
        """Make the class of one reactor."""
        where = scope.source(declared)
        if declared.host is not None or any(isinstance(m, ast.Instance) and m.host for m in flat(declared.body)):
            self.target.warn(f"{where}: `at …` has no meaning in one process; everything runs here.")
        if declared.realtime:
            self.target.warn(f"{where}: `realtime` has no meaning here.")
        self.target.attributes(scope, declared.attributes)
        # Lingua Franca takes inherited contents from the first superclass first. Contents are collected from the end of Python's lookup
        # order, so the bases are given in reverse.
        extended = [self.find(scope, b.text, scope.source(b)) for b in reversed(declared.extends)]
        # Leave out a base that another base extends already.
        bases = tuple(dict.fromkeys(b for b in extended if not any(b in o.__mro__[1:] for o in extended)))
        return ClassBuilder(self.target, self.find, scope, declared, name, bases or (Reactor,)).make()
