"""Declares the classes of `%%reactor` and `%%lf` cells in the user's namespace, and replaces them when a cell runs again."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from IPython.core.error import UsageError

from reactornb.loading.cell_magics import (
    FUTURE_FLAGS,
    ReactorCell,
    ReactorCells,
    declare_lf,
    reactor_classes,
    reactor_line_mistake,
)
from reactornb.model import Reactor
from reactornb.notebook.tracebacks import show_deepest
from reactornb.runtime import live_runs

__all__ = ["Cell", "Declarations", "cell_number", "cell_reader", "describer"]


@dataclass(frozen=True, slots=True)
class Cell:
    """Where something is declared.

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


class Declarations:
    """The reactor classes of one notebook.

    Args:
        shell: IPython's shell.

    Attributes:
        options: of main reactors declared by `%%lf`: their target properties.
    """

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self._reactor_cells = ReactorCells(shell.user_ns)
        self.options: dict[type[Reactor], dict[str, Any]] = {}
        self._used = ""  # the program named last
        self._raw = ""  # the cell that is running, as typed
        shell.events.register("pre_run_cell", self._before_cell)

    def close(self) -> None:
        """Unregister from the shell."""
        self.shell.events.unregister("pre_run_cell", self._before_cell)

    @property
    def definitions(self) -> dict[str, ReactorCell]:
        """The `%%reactor` cells by the name of their class."""
        return self._reactor_cells.cells

    def _before_cell(self, info: Any) -> None:
        self._raw = info.raw_cell or ""

    def say(self, words: str) -> None:
        """Print a line below the cell."""
        print(words)  # noqa: T201 - this is where the notebook's user reads

    def define(self, name: str, body: str, *, base: str = "Reactor", cell: Cell | None = None) -> type[Reactor]:
        """Declare a reactor class from the body of a cell, in the user's namespace.

        The names of `reactornb` are in scope. Declaring a name again replaces the class, and declares the
        reactors of other `%%reactor` cells that contain it again. A living run keeps the old classes; a line below the cell says so.

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
        names = self.shell.user_ns
        mistake = reactor_line_mistake(name, base, names)
        if mistake is not None:
            raise UsageError(f"%%reactor ({cell}): {mistake}")
        reactor = ReactorCell(name, base, body, "", cell.line, self.shell.compile.flags & FUTURE_FLAGS)
        # The name that IPython gives the code of a cell ties it to the cell's number.
        reactor.file = self.shell.compile.cache(reactor.text, cell.number, raw_code=cell.raw)
        old = names.get(name)
        try:
            cls = self._reactor_cells.declare(reactor)
        except NameError as error:
            show_deepest(self.shell, error)
            raise
        if isinstance(old, type) and issubclass(old, Reactor):
            self._say_replaced(name, old)
        return cls

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
        __tracebackhide__ = True
        cell = cell or self.here(text)
        # Line 7 of the cell is line 7 of the program.
        placed = "\n" * cell.line + text
        file = self.shell.compile.cache(placed, cell.number, raw_code=cell.raw)
        before = self.reactors()
        declared, options, main_class = declare_lf(
            placed, self.shell.user_ns, main=main, file=file, line=cell.line, folder=Path.cwd()
        )
        if main_class is not None:
            self.options[main_class] = options
            self._used = main_class.__name__
        for name in declared:
            if name in before:
                self._say_replaced(name, before[name])
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

    def _say_replaced(self, name: str, old: type[Reactor]) -> None:
        """Declare the classes again that contain or extend a replaced one, and say which runs keep the old one."""
        replacement = self._reactor_cells.renew(name, old)
        for other, error in replacement.misfits:
            self.say(f"{other} uses {name} and no longer fits it: {error}")
        renewed, replaced = replacement.renewed, replacement.replaced
        words = f"{name} replaced" + (f", and {', '.join(renewed)} declared again with it" if renewed else "")
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
        return reactor_classes(self.shell.user_ns)


def cell_number(shell: Any, file: str) -> int | None:
    """The execution count of the cell whose code has this file name, or None."""
    named = shell.compile.format_code_name(file)
    number = re.search(r"\d+", named[1]) if named else None
    return int(number[0]) if number else None


def describer(shell: Any) -> Callable[[str, int], str | None]:
    """What `errors.set_source_describer` wants: "cell 4, line 12" for the code of a cell, None for anything else."""

    def describe(file: str, line: int) -> str | None:
        number = cell_number(shell, file)
        return None if number is None else f"cell {number}, line {line}"

    return describe


def cell_reader(shell: Any) -> Callable[[str], str | None]:
    """What `durable.code.set_cell_reader` wants: the text of the cell whose code has this file name, as it was typed."""

    def read(file: str) -> str | None:
        number = cell_number(shell, file)
        typed = shell.history_manager.input_hist_raw
        return f"{typed[number].rstrip()}\n" if number is not None and 0 < number < len(typed) else None

    return read
