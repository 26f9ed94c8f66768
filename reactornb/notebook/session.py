"""`Session`: what the magics do, as methods. It knows the reactors declared in cells, the programs made of them, their runs."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from reactornb.errors import ReactorError, RunError, suggestion
from reactornb.graph import Graph
from reactornb.model import Reactor, from_text
from reactornb.notebook.declaring import Declarations
from reactornb.notebook.displays import Displays
from reactornb.notebook.inspection import inspect_name, one_line
from reactornb.notebook.kept_runs import KeptRuns
from reactornb.notebook.profiling import Profiling
from reactornb.notebook.sweeps import Sweeps
from reactornb.notebook.tuning import brief, list_parameters
from reactornb.notebook.verifying import Verifying
from reactornb.notebook.watching import Watching
from reactornb.options import options_of
from reactornb.runtime import Program, Run, RunOptions, known_runs, live_runs
from reactornb.runtime.result import Plotted, Result
from reactornb.viz.curves import Plot, plot
from reactornb.viz.graph_view import GraphView
from reactornb.viz.run_view import RunView

if TYPE_CHECKING:
    from reactornb.durable.stored import StoredRun

__all__ = ["Session"]


class Session(Sweeps, KeptRuns, Watching, Verifying, Profiling, Declarations):
    """The reactors, programs and runs of one notebook.

    Args:
        shell: IPython's shell.

    Attributes:
        programs: by the name they were started under.
        last_run: the run started last.
        displays: what shows graphs and runs.
    """

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self.programs: dict[str, Program] = {}
        self.last_run: Run | None = None
        self.displays = Displays(shell)
        self.displays.restart = self.start_again
        self.displays.travel, self.displays.arrived = self.travel, self.arrived
        # How each run was started, for starting it again.
        self._began: weakref.WeakKeyDictionary[Run, tuple[str, dict[str, Any], dict[str, Any]]] = (
            weakref.WeakKeyDictionary()
        )

    # -- running ----------------------------------------------------------------------------------------------------

    def program(self, name: str = "", /, **parameters: Any) -> Program:
        """The program of that name; assembled again unless it is a `Program` in the user's namespace or is running.

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
            raise UsageError(
                f"%reactor: {name} is made already; parameters go to a class: %reactor start Main learning_rate=0.1"
            )
        if isinstance(value, Program):
            chosen = value
        elif isinstance(value, Reactor):
            chosen = self._live(name) or Program(value)
        elif isinstance(value, type) and issubclass(value, Reactor):
            chosen = self._live(name) or Program(value, **from_text(value, parameters))
        else:
            known = [*self.reactors(), *(n for n, v in self.shell.user_ns.items() if isinstance(v, Program))]
            raise UsageError(f"%reactor: there is no reactor or program {name!r}. {suggestion(name, known)}")
        self.programs[name] = chosen
        self._used = name
        return chosen

    def _live(self, name: str) -> Program | None:
        known = self.programs.get(name)
        return known if known is not None and known.last_run is not None and known.last_run.is_alive else None

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
            options: see `reactornb.runtime.RunOptions`; `replay` may be the name of a run, which is repeated, `place` may name variables with hosts.

        Raises:
            RunError: if it is running already.
        """
        __tracebackhide__ = True
        if options.get("place"):
            options["place"] = {at: self._hosts(at, where) for at, where in options["place"].items()}
        if isinstance(options.get("replay"), str):
            options["replay"] = self._changes(options["replay"])
        program = self.program(name, **parameters or {})
        chosen = options_of(None, {**self.options.get(type(program.root), {}), **options})
        if self.keeps and chosen.keep is None:
            chosen = replace(chosen, keep=self._keep_name(program))
        run = self._begin(program, chosen)
        self._began[run] = (name or self._used, parameters or {}, options)
        self._say_stale(program.graph)
        return run

    def _hosts(self, name: str, where: Any) -> Any:
        """What `--place NAME=WHERE` means: a variable of the user's, or what it says."""
        if where is None:
            raise UsageError(
                f"%reactor start: --place {name}=WHERE: how many subprocesses, the address of a Dask scheduler, or a variable with a client or Hosts"
            )
        return self.shell.user_ns.get(where, where) if isinstance(where, str) else where

    def _changes(self, name: str) -> Any:
        """What `--replay NAME` means: what came to a run from outside, or its changes if it recorded only those; or a variable's list of either."""
        value = self.shell.user_ns.get(name)
        if isinstance(value, (list, tuple)):
            return value
        run = self.run(name, alive=False, command="run")
        return run.outside if run.options.record_outside else run.changes

    def _begin(self, program: Program, options: RunOptions) -> Run:
        self.last_run = self.displays.begin(lambda: program.start(options))
        self.displays.follow(self.last_run)
        return self.last_run

    def start_again(self, run: Run) -> Run:
        """Start the program of a run again, with the same parameters and options; what the panel's button does.

        A program that this session made from a class is assembled again, so that cells that were run again take effect. A kept run's
        name is its own: the new one gets another.
        """
        if run in self._began:
            name, parameters, options = self._began[run]
            kept = {"keep": self._another_name(options["keep"])} if options.get("keep") else {}
            return self.start(name, parameters=parameters, **{**options, **kept})
        return self._begin(run.program, replace(run.options, keep=self._another_name(run.options.keep)))

    def _say_stale(self, graph: Graph) -> None:
        reactors = self.reactors()
        stale = {
            node.cls.__name__ for node in graph.reactors if reactors.get(node.cls.__name__, node.cls) is not node.cls
        }
        for name in sorted(stale):
            self.say(
                f"This program still holds an older {name}: run the cell that makes its container again to use the new one."
            )

    def run(self, name: str = "", *, alive: bool = True, command: str = "stop") -> Run:
        """The run meant by a name, or the only one.

        Args:
            name: `ppo#3`, `3` or `#3`: the run of that number; a class, program, reactor or run in the user's namespace, or the
                program's own name: its living run; the only living run unless given.
            alive: if false, the last run when none lives.
            command: what the user typed, for the message.

        Raises:
            UsageError: if there is none, or more than one.
        """
        if name:
            named = self._named(name, command)
            if named is None or (alive and not named.is_alive):
                state = "has no run yet" if named is None else f"is not running ({named.state})"
                raise UsageError(f"%reactor: {name!r} {state}; start it with %reactor start {name.partition('#')[0]}")
            return named
        living = live_runs()
        if len(living) > 1:
            raise self._ambiguous("several programs run", living, command)
        if living:
            return living[0]
        if self.last_run is not None and not alive:
            return self.last_run
        raise UsageError("%reactor: nothing is running; start a program with %reactor start")

    def _ambiguous(self, what: str, runs: list[Run], command: str) -> UsageError:
        names = ", ".join(map(self.names, runs))
        every = f", or %reactor {command} --all" if command in ("stop", "pause", "resume") else ""
        return UsageError(f"%reactor: {what} ({names}); say which: %reactor {command} {runs[0].name}{every}")

    def names(self, run: Run) -> str:
        """What a run is called: its name, its seed, and the variables that hold it."""
        held = [n for n, v in self.shell.user_ns.items() if v is run and not n.startswith("_")]
        return f"{run.name}, seed {run.seed}{f', variable {held[0]}' if held else ''}"

    def _named(self, name: str, command: str) -> Run | None:
        value = self.shell.user_ns.get(name)
        if isinstance(value, Run):
            return value
        program, mark, number = name.rpartition("#")
        if number.isdigit() and (mark or not program):
            numbered = next((run for run in known_runs() if run.number == int(number)), None)
            if numbered is None or program not in ("", numbered.program.name, type(numbered.program.root).__name__):
                there = ", ".join(run.name for run in live_runs()) or "none"
                raise UsageError(f"%reactor: there is no run {name}; running: {there}")
            return numbered
        if isinstance(value, Program):
            return value.last_run
        own = self.programs.get(name)
        last = own.last_run if own is not None else None
        living = {run.number: run for run in (*live_runs(), *([last] if last is not None and last.is_alive else []))}
        meant = [run for number, run in sorted(living.items()) if run is last or name in _names_of(run)]
        if len(meant) > 1:
            raise self._ambiguous(f"{name} has several runs", meant, command)
        return meant[0] if meant else last

    def _each(self, name: str, every: bool, command: str) -> list[Run]:
        """The run meant by a name, or with `every` all living ones (of that name)."""
        if not every:
            return [self.run(name, command=command)]
        value = self.shell.user_ns.get(name)
        runs = [
            run
            for run in live_runs()
            if not name or value is run or value is run.program or name in (*_names_of(run), run.name)
        ]
        if not runs:
            raise UsageError(f"%reactor: nothing {f'named {name} ' if name else ''}is running")
        return runs

    def stop(self, name: str = "", *, every: bool = False) -> list[Run]:
        """End a run at its next microstep, with its shutdown reactions, or `every` one (of that name); see `Run.stop`. Or a sweep."""
        if self._stop_sweeps(name, every=every):
            return []
        runs = self._each(name, every, "stop")
        for run in runs:
            if len(runs) > 1:  # all of them are asked before one is waited for
                with contextlib.suppress(RunError):
                    run.stop(timeout=0)
        return [run.stop() for run in runs]

    def abandon(self, name: str = "", *, every: bool = False) -> list[Run]:
        """Give up a run that hangs; see `Run.abandon`."""
        return [run.abandon() for run in self._each(name, every, "stop")]

    def pause(self, name: str = "", *, every: bool = False) -> list[Run]:
        """Hold a run before its next tag; see `Run.pause`."""
        return [run.pause() for run in self._each(name, every, "pause")]

    def resume(self, name: str = "", *, every: bool = False) -> list[Run]:
        """Let a paused run go on; see `Run.resume`."""
        return [run.resume() for run in self._each(name, every, "resume")]

    def step(self, tags: int = 1, name: str = "") -> Run:
        """Pause a run, if it is not, and execute that many tags; see `Run.step`."""
        run = self.run(name, command="step")
        if run.state == "running":
            run.pause()
        return run.step(tags)

    def set(self, path: str, value: Any, name: str = "") -> str:
        """Change a parameter of a run; see `Run.set`.

        Args:
            path: such as `learner.learning_rate`, `rollouts.epsilon`, `rollouts[3].epsilon`.
            value: what it becomes.
            name: of the run; see `run`.

        Returns:
            What it was and what it will be, in words.

        Raises:
            UsageError: if that cannot be.
        """
        __tracebackhide__ = True
        run = self.run(name)
        try:
            before = list(run.parameters(path).values())
            changed = run.set(path, value)
        except ReactorError as error:
            raise UsageError(f"%reactor set: {error}") from None
        many = f" of {len(changed)} reactors" if len(changed) > 1 else ""
        was = brief(before[0]) if all(repr(b) == repr(before[0]) for b in before) else "differs"
        when = "when the run goes on" if run.state == "paused" else "from its next tag on"
        return f"{path}{many}: {was} -> {brief(value)} {when}"

    def parameters(self, path: str = "", name: str = "") -> str:
        """The parameters that a run can change, or those of a path, with their present values, in words.

        Raises:
            UsageError: if the path leads nowhere.
        """
        __tracebackhide__ = True
        run = self.run(name, alive=False)
        if not path:
            return list_parameters(run)
        try:
            return "\n".join(f"{full} = {brief(value)}" for full, value in run.parameters(path).items())
        except ReactorError as error:
            raise UsageError(f"%reactor set: {error}") from None

    def control(
        self,
        path: str,
        name: str = "",
        *,
        low: float | None = None,
        high: float | None = None,
        log: bool | None = None,
        step: float | None = None,
    ) -> None:
        """Show a slider (a box, a list) that changes a parameter of a run; see `reactornb.viz.control.Control`.

        Raises:
            UsageError: if the parameter cannot be changed, or where there are no widgets.
        """
        __tracebackhide__ = True
        run = self.run(name)
        try:
            shown = self.displays.show_control(run, path, low=low, high=high, log=log, step=step)
        except (ReactorError, ValueError) as error:
            raise UsageError(f"%reactor set: {error}") from None
        if not shown:
            raise UsageError(f"%reactor set: there are no widgets here; set it with %reactor set {path} VALUE")

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

    def graph(
        self,
        name: str = "",
        *,
        parameters: Mapping[str, Any] | None = None,
        levels: bool = False,
        depth: int | None = None,
    ) -> GraphView:
        """The graph of a program, as something that displays itself; see `GraphView`.

        Args:
            name: see `program`.
            parameters: of the class. With some, the graph is that of a program made for it, also while another one runs.
            levels, depth: see `GraphView`.
        """
        cls = self.reactors().get(name or self._default())
        if parameters and cls is not None:
            return GraphView(Program(cls, **parameters).graph, levels=levels, depth=depth)
        return GraphView(self.program(name, **(parameters or {})).graph, levels=levels, depth=depth)

    def runs(self, *names: str) -> list[Run | StoredRun]:
        """The runs meant by names: of runs, of lists of runs, of programs and classes (their last run), of kept runs; the last run if none.

        Raises:
            UsageError: if a name means no run.
        """
        chosen: list[Run | StoredRun] = []
        for name in names:
            value = self.shell.user_ns.get(name)
            several = list(value.values()) if isinstance(value, dict) else value
            if isinstance(several, Sequence) and several and all(map(_is_run, several)):
                chosen += several
            elif _is_run(value):
                chosen.append(value)
            elif self.is_stored(name) and not self._has_run(name):
                chosen.append(self._stored_run(name))
            else:
                chosen.append(self.run(name, alive=False))
        return chosen or [self.run(alive=False)]

    def groups(self, *names: str) -> dict[str, list[Run | StoredRun]] | None:
        """The runs by the names of their groups, if the one name is that of a dict of lists of runs; else None."""
        value = self.shell.user_ns.get(names[0]) if len(names) == 1 else None
        named = value if isinstance(value, dict) else {}
        if named and all(isinstance(own, Sequence) and own and all(map(_is_run, own)) for own in named.values()):
            return {str(name): list(own) for name, own in named.items()}
        return None

    def curves(self, *names: str, metrics: Iterable[str] | None = None, axis: str | None = None) -> None:
        """Show the panel of runs, their learning curves overlaid.

        Args:
            names: see `runs`; or one of a dict of lists of runs, by the names of their groups.
            metrics: which ones; all unless given.
            axis: the x axis: "steps", "wall", "episodes" or "tag"; environment steps unless nobody logged any.
        """
        groups = self.groups(*names)
        self.displays.show_runs(*([] if groups else self.runs(*names)), metrics=metrics, axis=axis, groups=groups)

    def plot(
        self, *names: str, metrics: Iterable[str] | None = None, axis: str | None = None, iqm: bool = False
    ) -> Plot:
        """The learning curves as a figure; see `curves` and `reactornb.viz.plot`."""
        groups = self.groups(*names)
        return plot(self.runs(*names) if groups is None else groups, metrics, x=axis, iqm=iqm)

    def inspect(self, name: str) -> str:
        """A reactor class, a member of one, or a reactor of a program, in words.

        Args:
            name: `Rollout`, `Rollout.weights`, `main.rollouts[0]`, `rollouts[0]`; a run or a program means its outermost reactor.
                Paths are looked for in the program used last.

        Raises:
            UsageError: if there is no such thing.
        """
        __tracebackhide__ = True
        return inspect_name(name, self.shell.user_ns, self.program_looked_at())

    def program_looked_at(self) -> Program | None:
        """The program used last, or the one of the last run."""
        if self._used in self.programs:
            return self.programs[self._used]
        return self.last_run.program if self.last_run is not None else None

    def list(self) -> str:
        """Reactor classes and runs, one line each."""
        lines = [one_line(name, cls) for name, cls in sorted(self.reactors().items())]
        over = (*(p.last_run for p in self.programs.values()), self.last_run)
        runs = {id(r): r for r in (*live_runs(), *over) if r is not None}
        lines += [f"run {run.number} of {run.program.name}: {run.state} ({self.names(run)})" for run in runs.values()]
        lines += [sweep.heading() for sweep in self.live_sweeps()]
        return "\n".join(lines) or "No reactor is declared yet: begin with %%reactor."


def _is_run(value: Any) -> bool:
    """Whether something is a run, of this process or a stored one."""
    return isinstance(value, Plotted) and not isinstance(value, Result)


def _names_of(run: Run) -> tuple[str, str]:
    """What a run's program is called: by itself, and after its class."""
    return run.program.name, type(run.program.root).__name__
