"""Displays programs as graphs and runs as panels, through IPython's formatters, so that the runtime does not know about displays."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from IPython.display import display

from reactornb.errors import ReactorError, UnknownNameError
from reactornb.graph import Graph
from reactornb.notebook.output import Output
from reactornb.notebook.pump import Pump, WaitingCell
from reactornb.runtime import Program, Run, live_runs
from reactornb.runtime.placing import HostTable
from reactornb.runtime.profile import Profile
from reactornb.runtime.timeline import Timeline
from reactornb.tags import Tag
from reactornb.viz.graph_view import GraphView
from reactornb.viz.hosts_table import hosts_html
from reactornb.viz.profile_table import profile_html
from reactornb.viz.run_view import RunsView
from reactornb.viz.timeline_view import TimelineView

if TYPE_CHECKING:
    from reactornb.durable.stored import StoredRun
    from reactornb.sweeps.running import Sweep
    from reactornb.viz.control import Control
    from reactornb.viz.films_panel import FilmsPanel
    from reactornb.viz.graph_panel import GraphPanel
    from reactornb.viz.run_panel import RunPanel
    from reactornb.viz.sweep_panel import SweepPanel
    from reactornb.viz.timeline_panel import TimelinePanel

    Panel = FilmsPanel | GraphPanel | RunPanel | SweepPanel | TimelinePanel

__all__ = ["Displays"]

_STORED = ("reactornb.durable.stored", "StoredRun")
_SWEEP = ("reactornb.sweeps.running", "Sweep")
_ON_THE_WAY = {"resume": "resuming …", "rewind": "going there …", "branch": "branching …"}
_WIDGET = "application/vnd.jupyter.widget-view+json"


class Displays:
    """Shows programs as graphs and runs as live panels; in a terminal both as text.

    Used by the thread that runs cells only.
    """

    kept = 20  # panels of ended runs that can still be zoomed, unfolded and started again

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        kernel = getattr(shell, "kernel", None)
        self.pump = Pump(kernel.io_loop) if kernel is not None and hasattr(kernel, "io_loop") else None
        self.output = (
            Output(sys.stdout, sys.stderr, self.pump.after, shell.display_pub) if self.pump is not None else None
        )
        # One panel for a run, or for a set of runs: each display of it is a view of the same widget model.
        self._panels: dict[tuple[Any, ...], RunPanel] = {}
        self._open: list[Panel] = []
        self._looks: dict[str, list[Callable[[], None]]] = {}  # per panel, updates the picture of each display
        self._controls: list[Control] = []
        # Called by the button "Start again": starts a run like the given one. The session sets it.
        self.restart: Callable[[Run], Run] | None = None
        # Called for a kept run that is to go on, or from a point of its curve, on a thread of its own; see `KeptRuns.travel`.
        self.travel: Callable[[Run | StoredRun, str, tuple[int, int] | None, str], Run] | None = None
        self.arrived: Callable[[Run], None] | None = None  # called with what `travel` returned, on the loop's thread
        self._waiting: WaitingCell | None = None  # from `install` on, where there is a pump

    def install(self) -> None:
        """Register with the shell's formatters."""
        formatter = self.shell.display_formatter
        if self.pump is not None:
            formatter.ipython_display_formatter.for_type(
                Program, lambda program: self.show_graph(GraphView(program.graph))
            )
            formatter.ipython_display_formatter.for_type(Graph, lambda graph: self.show_graph(GraphView(graph)))
            formatter.ipython_display_formatter.for_type(GraphView, self.show_graph)
        else:
            formatter.mimebundle_formatter.for_type(Program, lambda program, **_: _outline(program.graph))
            formatter.mimebundle_formatter.for_type(Graph, lambda graph, **_: _outline(graph))
            formatter.mimebundle_formatter.for_type(GraphView, lambda view, **_: {"text/plain": repr(view)})
        formatter.ipython_display_formatter.for_type(Run, self.show_runs)
        formatter.ipython_display_formatter.for_type_by_name(*_STORED, self.show_runs)  # which brings files with it
        formatter.ipython_display_formatter.for_type_by_name(*_SWEEP, self.show_sweep)  # likewise
        formatter.ipython_display_formatter.for_type(Timeline, self.show_timeline)
        formatter.formatters["text/html"].for_type(Profile, profile_html)
        formatter.formatters["text/html"].for_type(HostTable, hosts_html)
        self.shell.events.register("pre_run_cell", self._before_cell)
        self.shell.events.register("post_run_cell", self._after_cell)
        if self.pump is not None and self.output is not None:
            self._waiting = WaitingCell(self.pump, self._waits, self.output.settle)
            self._waiting.install()
            self.output.install()

    def uninstall(self) -> None:
        """Undo `install`, and close the panels."""
        formatter = self.shell.display_formatter
        for table in (Profile, HostTable):
            formatter.formatters["text/html"].pop(table, None)
        for kind in (Program, Graph, GraphView, Run, Timeline):
            formatter.mimebundle_formatter.pop(kind, None)
            formatter.ipython_display_formatter.pop(kind, None)
        formatter.ipython_display_formatter.pop(".".join(_STORED), None)
        formatter.ipython_display_formatter.pop(".".join(_SWEEP), None)
        self.shell.events.unregister("pre_run_cell", self._before_cell)
        self.shell.events.unregister("post_run_cell", self._after_cell)
        if self._waiting is not None:
            self._waiting.uninstall()
        if self.output is not None:
            self.output.uninstall()
        if self.pump is not None:
            self.pump.close()
        for panel in self._open:
            _close(panel)
        for control in self._controls:
            control.close()

    def show_control(self, run: Run, path: str, **options: Any) -> bool:
        """Show a slider or a box for a parameter below the running cell; returns false where widgets cannot be shown.

        Args:
            run, path, options: see `reactornb.viz.control.Control`.
        """
        if self.pump is None:
            return False
        try:
            from reactornb.viz.control import Control
        except ImportError:  # the notebook extra is not installed
            return False
        control = Control(run, path, **options)
        view = {"version_major": 2, "version_minor": 0, "model_id": control.model_id}
        display({"text/plain": f"{path} = {control.present()}", _WIDGET: view}, raw=True)  # type: ignore[no-untyped-call]
        self._controls = [c for c in self._controls if c.is_open]
        self._controls.append(control)
        self.pump.add(control, _nothing)
        return True

    def follow(self, run: Run) -> None:
        """Connect the controls of a program's previous run to its new run."""
        for control in self._controls:
            if self.pump is not None and control.is_open and control.run.program.name == run.program.name:
                with contextlib.suppress(UnknownNameError):  # another program of the same name
                    run.parameters(control.path)
                    control.follow(run)
                    self.pump.add(control, _nothing)

    def show_graph(self, view: GraphView) -> None:
        """Show the panel of a graph below the cell that is running."""
        assert self.pump is not None
        try:
            from reactornb.viz.graph_panel import GraphPanel
        except ImportError:  # the notebook extra is not installed: a picture will do
            display(view._repr_mimebundle_(), raw=True)  # type: ignore[no-untyped-call]
            return
        panel = GraphPanel(view.graph, **view.options, later=self.pump.call, seen=self._follow)
        panel.on_picture = self._show(panel)

    def _follow(self, panel: GraphPanel) -> None:
        """Color a visible graph by the newest live run of its program; on the loop's thread."""
        assert self.pump is not None
        runs = [run for run in live_runs() if panel.is_open and panel.is_seen and panel.fits(run)]
        if runs:
            if panel.run is not runs[-1]:
                panel.follow(runs[-1])
            self.pump.add(panel, lambda: None)

    def _follow_new(self) -> None:
        for panel in self._open:
            if hasattr(panel, "fits") and panel.is_seen:
                self._follow(panel)

    def _show(self, panel: Panel) -> Callable[[], None]:
        """Show a widget, and below it a hidden picture, which appears if the notebook is opened without its kernel.

        Returns:
            A function that updates the picture.
        """
        view = {"version_major": 2, "version_minor": 1, "model_id": panel.model_id}
        display({"text/plain": "", _WIDGET: view}, raw=True)  # type: ignore[no-untyped-call]
        shown = display(panel.static(), raw=True, display_id=True)  # type: ignore[no-untyped-call]

        def look() -> None:
            if shown is not None:
                shown.update(panel.static(), raw=True)

        if panel not in self._open:
            self._open.append(panel)
            self._close_old()
        return look

    def _close_old(self) -> None:
        """Close the oldest panels of ended runs: this frees their comms and runs, and their pictures appear instead."""
        for panel in [p for p in self._open if not getattr(p, "run_is_alive", False)][: -self.kept]:
            _close(panel)
            self._open.remove(panel)
            self._looks.pop(panel.twin, None)
            self._panels = {key: p for key, p in self._panels.items() if p is not panel}

    def show_runs(
        self,
        *runs: Run | StoredRun,
        metrics: Iterable[str] | None = None,
        axis: str | None = None,
        groups: Mapping[str, Sequence[Run | StoredRun]] | None = None,
    ) -> None:
        """Show the panel of a run, or one panel of several, below the cell that is running.

        Args:
            runs: the runs.
            metrics: which ones; all unless given.
            axis: the x axis; see `reactornb.viz.axes`.
            groups: the runs by the names of their groups, instead of `runs`.
        """
        if groups is not None:
            runs = tuple(run for own in groups.values() for run in own)
        panel = self._panel(runs, metrics, axis, groups) if self.pump is not None else None
        if panel is None:
            view = RunsView(runs if groups is None else groups, metrics, axis)
            view.refresh()
            view.check()
            print(view.text())  # noqa: T201 - what a terminal shows
            return
        panel.refresh()
        panel.view.check()
        self._looks.setdefault(panel.twin, []).append(self._show(panel))
        self._move(panel)

    def show_timeline(self, timeline: Timeline, last_ns: int | None = None) -> None:
        """Show the panel of a timeline below the cell that is running; in a terminal its words.

        Args:
            timeline: of a run, alive or over.
            last_ns: how much of it is shown, in ns of physical time up to its end.
        """
        if self.pump is not None:
            try:
                from reactornb.viz.timeline_panel import TimelinePanel
            except ImportError:  # the notebook extra is not installed: text will do
                pass
            else:
                # One panel for a run: a copy of its spans for each showing would add up.
                known = [
                    p for p in self._open if isinstance(p, TimelinePanel) and p.timeline.is_of(timeline) and p.is_open
                ]
                panel = known[0] if known else TimelinePanel(timeline, last_ns, self.pump.call)
                if known:
                    panel.show_end(last_ns)
                self._looks.setdefault(panel.twin, []).append(self._show(panel))
                self._move(panel)
                return
        view = TimelineView(timeline)
        print(view.text(view.window(last_ns)))  # noqa: T201 - what a terminal shows

    def show_films(self, run: Run, films: Callable[[], Sequence[Any]]) -> bool:
        """Show what a run has filmed below the cell that is running; returns false where widgets cannot be shown.

        Args:
            run: whose films they are.
            films: gives those that there are, the newest last.
        """
        if self.pump is None:
            return False
        try:
            from reactornb.viz.films_panel import FilmsPanel
        except ImportError:  # the notebook extra is not installed
            return False
        panel = FilmsPanel(run, films, self.pump.call)
        look = self._show(panel)

        def look_if_new() -> None:
            if panel.is_new:
                look()

        if panel.run_is_alive:
            self.pump.add(panel, look_if_new)
        return True

    def show_sweep(self, sweep: Sweep, metrics: Iterable[str] | None = None) -> None:
        """Show the panel of a sweep below the cell that is running; in a terminal its words."""
        if self.pump is not None:
            try:
                from reactornb.viz.sweep_panel import SweepPanel
            except ImportError:  # the notebook extra is not installed: text will do
                pass
            else:
                known = [p for p in self._open if isinstance(p, SweepPanel) and p.sweep is sweep and p.is_open]
                panel = known[0] if known and metrics is None else SweepPanel(sweep, metrics, self.pump.call)
                self._looks.setdefault(panel.twin, []).append(self._show(panel))
                self._move(panel)
                return
        print(sweep)  # noqa: T201 - what a terminal shows

    def _move(self, panel: RunPanel | TimelinePanel | SweepPanel) -> None:
        assert self.pump is not None

        def last_looks() -> None:
            for look in self._looks[panel.twin]:
                look()

        if panel.run_is_alive:
            self.pump.add(panel, last_looks)

    def _panel(
        self,
        runs: tuple[Run | StoredRun, ...],
        metrics: Iterable[str] | None,
        axis: str | None,
        groups: Mapping[str, Sequence[Run | StoredRun]] | None,
    ) -> RunPanel | None:
        try:
            from reactornb.viz.run_panel import RunPanel
        except ImportError:  # the notebook extra is not installed: text will do
            return None
        wanted = None if metrics is None else tuple(metrics)
        named = () if groups is None else tuple((name, len(own)) for name, own in groups.items())
        key = (*map(id, runs), wanted, axis, named)
        panel = self._panels.get(key)
        if panel is None or not panel.is_open or [view.run for view in panel.view.views] != list(runs):
            panel = self._panels[key] = RunPanel(
                runs if groups is None else groups, wanted, self._restart_later, self._travel_later, axis
            )
        if self.output is not None:
            for run in runs:
                if isinstance(run, Run):
                    self.output.shown(run)
        return panel

    def begin(self, start: Callable[[], Run]) -> Run:
        """Call what starts a run, which may be shown later in the same cell: keep what it prints until then."""
        if self.output is None:
            return start()
        self.output.keep_new(True)
        try:
            run = start()
            self.output.undecided(run)
        finally:
            self.output.keep_new(False)
        if self.pump is not None and threading.get_ident() == self.pump.thread:
            self._follow_new()  # at once: the cell may wait for the run, and the loop with it
        return run

    def _restart_later(self, panel: RunPanel, place: int) -> None:
        """Start a run again, on the loop's thread: the button's message may arrive on the thread of a subshell."""

        def start() -> None:
            run = panel.view.views[place].run
            if self.restart is not None and isinstance(run, Run) and not run.is_alive:
                again = self.restart(run)
                panel.add(again, group=panel.view.groups()[place])
                if self.output is not None:
                    self.output.shown(again)
                self._move(panel)
                self._follow_new()

        assert self.pump is not None
        self.pump.call(start)

    def _travel_later(self, panel: RunPanel, place: int, do: str, at: tuple[int, int] | None, change: str) -> None:
        """Let a kept run go on: on a thread of its own, since a replay may take its time, and the kernel is to answer meanwhile."""
        assert self.pump is not None
        pump = self.pump
        run = panel.view.views[place].run

        def go() -> None:
            assert self.travel is not None
            try:
                there = self.travel(run, do, at, change)
            except Exception as error:  # noqa: BLE001 - said beside the run, whatever it is: nobody waits for this thread
                words = str(error) if isinstance(error, ReactorError) else f"{type(error).__name__}: {error}"
                pump.call(lambda: panel.tell(place, words))
            else:
                pump.call(lambda: self._arrived(panel, place, there, "" if at is None else _origin(at, change)))

        pump.call(lambda: panel.tell(place, _ON_THE_WAY[do]))
        threading.Thread(target=go, name=f"reactornb-{do}", daemon=True).start()

    def _arrived(self, panel: RunPanel, place: int, run: Run, origin: str) -> None:
        if origin:
            panel.tell(place, "")
            panel.add(run, origin, panel.view.groups()[place])
        else:
            panel.goes_on(place, run)
        if self.output is not None:
            self.output.shown(run)
        if self.arrived is not None:
            self.arrived(run)
        self._move(panel)
        self._follow_new()

    def _before_cell(self, *_: Any) -> None:
        if self.output is not None:
            self.output.executing(True)

    def _waits(self, waits: bool) -> None:
        assert self.output is not None
        self.output.executing(not waits)
        if waits:
            self.output.let_go()

    def _after_cell(self, *_: Any) -> None:
        # A run that ended during the cell gets its last picture as this cell's output: front ends that execute a
        # notebook cell by cell (nbclient) ignore later messages.
        if self.pump is not None:
            self.pump.finish_ended()
            self.pump.call(self._follow_new)
        if self.output is not None:
            self.output.executing(False)
            self.output.let_go()
            self.output.settle()


def _close(panel: Panel) -> None:
    panel.layout.close()  # a widget of its own, which ipywidgets makes for each
    panel.close()


def _origin(tag: tuple[int, int], change: str) -> str:
    """From where a run went on, and with what change."""
    return f"from {Tag(*tag)}{f' with {change}' if change else ''}"


def _nothing() -> None:
    """Update nothing: a control has no picture, and the notebook keeps its text."""


def _outline(graph: Graph) -> dict[str, str]:
    return {"text/plain": repr(GraphView(graph))}
