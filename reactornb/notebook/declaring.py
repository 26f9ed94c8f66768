"""What cells declare: classes by `%%reactor` and `%%lf`, and what becomes of the old ones when a cell runs again."""

from __future__ import annotations

import difflib
import keyword
import sys
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from IPython.core.error import UsageError

import reactornb
from reactornb.errors import LFSyntaxError, suggestion
from reactornb.model import Bank, Declaration, Reactor
from reactornb.notebook.cells import Cell, cell_number, compile_class, not_python, use_package_names
from reactornb.notebook.tracebacks import show_deepest
from reactornb.runtime import live_runs

__all__ = ["Declarations", "Definition"]


@dataclass(slots=True)
class Definition:
    """A `%%reactor` cell: enough to run it again."""

    name: str
    base: str
    body: str
    cell: Cell
    cls: type[Reactor]


class Declarations:
    """The reactor classes of one notebook.

    Args:
        shell: IPython's shell.

    Attributes:
        definitions: the classes declared by `%%reactor`, in the order of their first declaration.
        options: of main reactors declared by `%%lf`: their target properties.
    """

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.definitions: dict[str, Definition] = {}
        self.options: dict[type[Reactor], dict[str, Any]] = {}
        self._used = ""  # the program named last
        self._raw = ""  # the cell that is running, as typed
        shell.events.register("pre_run_cell", self._before_cell)

    def close(self) -> None:
        """Let go of the shell."""
        self.shell.events.unregister("pre_run_cell", self._before_cell)

    def _before_cell(self, info: Any) -> None:
        self._raw = info.raw_cell or ""

    def say(self, words: str) -> None:
        """One line below the cell."""
        print(words)  # noqa: T201 - this is where the notebook's user reads

    def define(self, name: str, body: str, *, base: str = "Reactor", cell: Cell | None = None) -> type[Reactor]:
        """Declare a reactor class from the body of a cell, in the user's namespace.

        The names of `reactornb` are in scope. Declaring a name again replaces the class, and makes the reactors of other
        `%%reactor` cells that contain it anew; a living run keeps the old ones, and this says so.

        Args:
            name: of the class.
            body: the class's body.
            base: the class it derives from: a name in the user's namespace.
            cell: where the body stands.

        Raises:
            UsageError: if `name` is not a class name, or `base` not a reactor class.
            ReactorError: for what is wrong in the declarations.
        """
        __tracebackhide__ = True
        cell = cell or self.here(body)
        self._check_names(name, base, cell)
        old = self.shell.user_ns.get(name)
        made = self._execute(name, base, body, cell)
        self.definitions[name] = Definition(name, base, body, cell, made)
        if isinstance(old, type) and issubclass(old, Reactor):
            self._say_replaced(name, old)
        return made

    def define_lf(self, text: str, *, main: str = "Main", cell: Cell | None = None) -> list[str]:
        """Declare the reactors of a Lingua Franca program, in the user's namespace.

        They may instantiate each other, and reactor classes that are in the namespace already; files that the program imports
        are looked for in the current directory. Its target properties are the defaults of `start`.

        Args:
            text: the program.
            main: what to call a main reactor that has no name.
            cell: where the text stands.

        Returns:
            The names declared.

        Raises:
            DeclarationError: if it is no Lingua Franca; other ReactorErrors for what is wrong in the declarations.
        """
        from reactornb import lf

        __tracebackhide__ = True
        cell = cell or self.here(text)
        # Line 7 of the cell is line 7 of the program.
        placed = "\n" * cell.line + text
        file = self.shell.compile.cache(placed, cell.number, raw_code=cell.raw)
        try:
            made = lf.loads(placed, file=file, outside=self.reactors(), folder=Path.cwd())
        except LFSyntaxError as error:
            # IPython has its own form for a SyntaxError, which knows no cells.
            raise not_python(error, error.filename or file, cell) from None
        declared = dict(made.reactors)
        if made.main is not None:
            name = made.main.__name__ if made.main_is_named else main
            made.main.__name__ = made.main.__qualname__ = name
            declared[name] = made.main
            self.options[made.main] = made.options
            self._used = name
        for name, cls in declared.items():
            old = self.shell.user_ns.get(name)
            self.shell.user_ns[name] = cls
            if isinstance(old, type) and issubclass(old, Reactor):
                self._say_replaced(name, old)
        return list(declared)

    def here(self, body: str) -> Cell:
        """The cell that is running, if `body` is its end; its magic may stand below blank lines."""
        raw, end = self._raw.rstrip("\n"), body.rstrip("\n")
        above = raw[: len(raw) - len(end)] if raw.endswith(end) else ""
        if not above.strip():  # called by a program, not by a cell
            return Cell(self._number(), f"%%reactor\n{body}")
        return Cell(self._number(), self._raw, above.rstrip("\n").count("\n") + 1)

    def _number(self) -> int:
        """The execution count of the cell that is running: its code is on the stack (the shell's counter may be ahead of it)."""
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            number = cell_number(self.shell, frame.f_code.co_filename)
            if number is not None:
                return number
            frame = frame.f_back
        return int(self.shell.execution_count)

    def _check_names(self, name: str, base: str, cell: Cell) -> None:
        if not name:
            raise UsageError(f"%%reactor ({cell}): a class needs a name: %%reactor Rollout")
        if not name.isidentifier() or keyword.iskeyword(name):
            proper = "".join(c for c in name if c.isalnum() or c == "_").lstrip("0123456789").capitalize() or "Rollout"
            raise UsageError(
                f"%%reactor ({cell}): {name!r} is not a valid class name; a name is made of letters, digits and _, and does not "
                f"begin with a digit: %%reactor {proper}"
            )
        names = self.shell.user_ns
        if base != "Reactor" or "Reactor" in names:
            found = names.get(base)
            if not (isinstance(found, type) and issubclass(found, Reactor)):
                raise UsageError(
                    f"%%reactor ({cell}): the base {base!r} is not a reactor class. {suggestion(base, self.reactors())}"
                )

    def _execute(self, name: str, base: str, body: str, cell: Cell) -> type[Reactor]:
        __tracebackhide__ = True
        code, tree = compile_class(self.shell, name, base, body, cell)
        names = self.shell.user_ns
        use_package_names(tree, names)
        try:
            exec(code, names)  # noqa: S102 - running what the user typed is what a cell is for
        except NameError as error:
            # A class's body does not see what its base declares: so it is in Python, and easily forgotten in a cell.
            if error.name and isinstance(getattr(names.get(base), error.name, None), Declaration):
                error.add_note(f"{error.name} is declared by {base}: write {base}.{error.name}")
            else:
                _suggest(error, names)
            show_deepest(self.shell, error)
            raise
        made: type[Reactor] = names[name]
        return made

    def _say_replaced(self, name: str, old: type[Reactor]) -> None:
        """Make anew what contains or extends a replaced class, and say who keeps the old one."""
        replaced: set[type] = {old}
        renewed: list[str] = []
        for definition in list(self.definitions.values()):
            if definition.name == name or not _uses(definition.cls, replaced):
                continue
            before = definition.cls
            try:
                definition.cls = self._execute(definition.name, definition.base, definition.body, definition.cell)
            except Exception as error:  # noqa: BLE001 - the new class stands; the other cell has its own mistake now
                self.say(f"{definition.name} uses {name} and no longer fits it: {error}")
                continue
            replaced.add(before)
            renewed.append(definition.name)
        words = f"{name} replaced" + (f", and {', '.join(renewed)} made anew with it" if renewed else "")
        keeping = [run for run in live_runs() if replaced & {node.cls for node in run.program.graph.reactors}]
        if keeping:
            runs = ", ".join(f"run {run.number} of {run.program.name}" for run in keeping)
            words += (
                f"; {runs} keeps the old one until it is started again"
                if len(keeping) == 1
                else (f"; {runs} keep the old one until they are started again")
            )
        if renewed or keeping:
            self.say(words + ".")

    def reactors(self) -> dict[str, type[Reactor]]:
        """The reactor classes in the user's namespace, by name."""
        return {
            name: value
            for name, value in self.shell.user_ns.items()
            if isinstance(value, type)
            and issubclass(value, Reactor)
            and value is not Reactor
            and not name.startswith("_")
        }


def _suggest(error: NameError, names: dict[str, Any]) -> None:
    """Python's own suggestion knows what the cell has, not what it could have from this package."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    body = at.tb_frame.f_locals if at is not None else {}
    known = {n for n in (*reactornb.__all__, *body, *names) if not n.startswith("_")}
    near = difflib.get_close_matches(error.name or "", sorted(known), n=1)
    if near:
        error.add_note(f"Did you mean {near[0]!r}?")


def _uses(cls: type[Reactor], classes: set[type]) -> bool:
    """Does a class extend or contain one of these?"""
    held = {c.__dict__["cls"] if isinstance(c, Bank) else type(c) for c in cls._spec.children.values()}
    return any(classes & set(c.__mro__) for c in (cls, *held))
