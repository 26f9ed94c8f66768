"""`Session`: what the magics do, as methods. It knows the reactors declared in cells, the programs made of them, their runs."""

from __future__ import annotations

import keyword
import sys
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from IPython.core.error import UsageError

from reactornb.errors import LFSyntaxError, suggestion
from reactornb.graph import Graph
from reactornb.model import Bank, Reactor
from reactornb.notebook.cells import Cell, cell_number, compile_class, not_python, use_package_names
from reactornb.notebook.displays import Displays
from reactornb.runtime import Program, Run, live_runs
from reactornb.viz.graph_view import GraphView
from reactornb.viz.run_view import RunView

__all__ = ["Session"]


@dataclass(slots=True)
class Definition:
    """A `%%reactor` cell: enough to run it again."""

    name: str
    base: str
    body: str
    cell: Cell
    cls: type[Reactor]


class Session:
    """The reactors, programs and runs of one notebook.

    Args:
        shell: IPython's shell.

    Attributes:
        definitions: the classes declared by `%%reactor`, in the order of their first declaration.
        programs: by the name they were started under.
        last_run: the run started last.
    """

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.definitions: dict[str, Definition] = {}
        self.programs: dict[str, Program] = {}
        self.last_run: Run | None = None
        self.displays = Displays(shell)
        self.options: dict[
            type[Reactor], dict[str, Any]
        ] = {}  # of main reactors declared by %%lf: their target properties
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

    # -- declaring --------------------------------------------------------------------------------------------------

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
        exec(code, names)  # noqa: S102 - running what the user typed is what a cell is for
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

    # -- running ----------------------------------------------------------------------------------------------------

    def program(self, name: str = "", /, **parameters: Any) -> Program:
        """The program of that name, made anew unless it is a `Program` in the user's namespace or is running.

        Args:
            name: a reactor class, a reactor, or a program; the one used last, or the last `%%reactor` class that contains
                others, unless given.
            parameters: of the class.

        Raises:
            UsageError: if there is no such thing.
            ReactorError: if it does not form a legal graph.
        """
        name = name or self._default()
        value = self.shell.user_ns.get(name)
        if isinstance(value, Run):
            value = value.program
        if isinstance(value, (Program, Reactor)) and parameters:
            raise UsageError(f"%reactor: {name} is made already; parameters go to a class: %reactor start Main lr=0.1")
        if isinstance(value, Program):
            made = value
        elif isinstance(value, Reactor):
            made = self._live(name) or Program(value)
        elif isinstance(value, type) and issubclass(value, Reactor):
            made = self._live(name) or Program(value, **parameters)
        else:
            known = [*self.reactors(), *(n for n, v in self.shell.user_ns.items() if isinstance(v, Program))]
            raise UsageError(f"%reactor: there is no reactor or program {name!r}. {suggestion(name, known)}")
        self.programs[name] = made
        self._used = name
        return made

    def _live(self, name: str) -> Program | None:
        made = self.programs.get(name)
        return made if made is not None and made.last_run is not None and made.last_run.is_alive else None

    def _default(self) -> str:
        if self._used in self.shell.user_ns:
            return self._used
        composed = [
            d for d in self.definitions.values() if d.cls._spec.children or d.cls.compose is not Reactor.compose
        ]
        declared = composed or list(self.definitions.values())
        if declared:
            return declared[-1].name
        raise UsageError(
            "%reactor: no reactor is declared yet; declare one with %%reactor, or name it: %reactor start Main"
        )

    def start(self, name: str = "", *, parameters: dict[str, Any] | None = None, **options: Any) -> Run:
        """Start a program in the background; the same as `Program(Main, …).start(…)`.

        Args:
            name: see `program`.
            parameters: of the class.
            options: see `Program.start`.

        Raises:
            RunError: if it is running already.
        """
        __tracebackhide__ = True
        made = self.program(name, **parameters or {})
        for option, value in self.options.get(type(made.root), {}).items():
            if options.get(option) in (None, False):
                options[option] = value
        run = made.start(**options)
        self.last_run = run
        self._say_stale(made.graph)
        return run

    def _say_stale(self, graph: Graph) -> None:
        reactors = self.reactors()
        stale = {
            node.cls.__name__ for node in graph.reactors if reactors.get(node.cls.__name__, node.cls) is not node.cls
        }
        for name in sorted(stale):
            self.say(
                f"This program still holds an older {name}: run the cell that makes its container again to use the new one."
            )

    def run(self, name: str = "", *, alive: bool = True) -> Run:
        """The run meant by a name, or the only one.

        Args:
            name: of a class, program, reactor or run in the user's namespace, or the program's own; the only living run
                unless given.
            alive: if false, the last run when none lives.

        Raises:
            UsageError: if there is none, or more than one.
        """
        if name:
            found = self._named(name)
            if found is None or (alive and not found.is_alive):
                state = "has no run yet" if found is None else f"is not running ({found.state})"
                raise UsageError(f"%reactor: {name!r} {state}; start it with %reactor start {name}")
            return found
        living = live_runs()
        if len(living) > 1:
            names = ", ".join(run.program.name for run in living)
            raise UsageError(
                f"%reactor: several programs run ({names}); say which: %reactor stop {living[0].program.name}"
            )
        if living:
            return living[0]
        if self.last_run is not None and not alive:
            return self.last_run
        raise UsageError("%reactor: nothing is running; start a program with %reactor start")

    def _named(self, name: str) -> Run | None:
        value = self.shell.user_ns.get(name)
        if isinstance(value, Run):
            return value
        program = value if isinstance(value, Program) else self.programs.get(name)
        if program is not None:
            return program.last_run
        living = [run for run in live_runs() if run.program.name == name]
        return living[-1] if living else None

    def stop(self, name: str = "") -> Run:
        """End a run at its next microstep, with its shutdown reactions; see `Run.stop`."""
        return self.run(name).stop()

    def pause(self, name: str = "") -> Run:
        """Hold a run before its next tag; see `Run.pause`."""
        return self.run(name).pause()

    def resume(self, name: str = "") -> Run:
        """Let a paused run go on; see `Run.resume`."""
        return self.run(name).resume()

    def step(self, tags: int = 1, name: str = "") -> Run:
        """Pause a run, if it is not, and execute that many tags; see `Run.step`."""
        run = self.run(name)
        if run.state == "running":
            run.pause()
        return run.step(tags)

    # -- looking ----------------------------------------------------------------------------------------------------

    def status(self, name: str = "") -> str:
        """Runs in words: all living ones, or the one named, or the last."""
        if name:
            runs = [self.run(name, alive=False)]
        else:
            runs = live_runs() or ([self.last_run] if self.last_run is not None else [])
        return "\n\n".join(map(self.describe, runs)) or "No run yet; start one with %reactor start."

    def describe(self, run: Run) -> str:
        """A run in words: state, tag, rates and metrics."""
        view = RunView(run)
        view.refresh()
        return view.text()

    def graph(self, name: str = "", *, levels: bool = False, depth: int | None = None) -> GraphView:
        """The graph of a program, as something that displays itself; see `GraphView`."""
        return GraphView(self.program(name).graph, levels=levels, depth=depth)

    def list(self) -> str:
        """Reactor classes and runs, one line each."""
        lines = []
        for name, cls in sorted(self.reactors().items()):
            spec = cls._spec
            parts = [f"{len(spec.ports)} ports", f"{len(spec.reactions)} reactions"]
            if spec.children:
                inside = ", ".join(f"{k}: {_child_words(v)}" for k, v in spec.children.items())
                parts.append(f"contains {inside}")
            lines.append(f"{name}  ({', '.join(parts)})  {cls._definition}")
        runs = {id(r): r for r in (*live_runs(), *(p.last_run for p in self.programs.values()), self.last_run) if r}
        lines += [f"run {run.number} of {run.program.name}: {run.state}" for run in runs.values()]
        return "\n".join(lines) or "No reactor is declared yet: begin with %%reactor."


def _child_words(child: Any) -> str:
    return f"{child.__dict__['cls'].__name__} ×{len(child)}" if isinstance(child, Bank) else type(child).__name__


def _uses(cls: type[Reactor], classes: set[type]) -> bool:
    """Does a class extend or contain one of these?"""
    held = {c.__dict__["cls"] if isinstance(c, Bank) else type(c) for c in cls._spec.children.values()}
    return any(classes & set(c.__mro__) for c in (cls, *held))
