"""Programs and runs display themselves: registered with IPython's formatters, so that the runtime knows nothing of it."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from IPython.display import display

from reactornb.graph import Graph
from reactornb.notebook.pump import Pump
from reactornb.runtime import Program, Run
from reactornb.viz.graph_view import GraphView
from reactornb.viz.run_view import RunView

if TYPE_CHECKING:
    from reactornb.viz.run_panel import RunPanel

__all__ = ["Displays"]


class Displays:
    """Shows programs as graphs and runs as live panels; in a terminal both as text.

    Used by the thread that runs cells only.
    """

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        kernel = getattr(shell, "kernel", None)
        self.pump = Pump(kernel.io_loop) if kernel is not None and hasattr(kernel, "io_loop") else None
        # One panel a run, however often it is shown: each showing is a view of the same model.
        self._panels: weakref.WeakKeyDictionary[Run, RunPanel] = weakref.WeakKeyDictionary()

    def install(self) -> None:
        """Register with the shell's formatters."""
        formatter = self.shell.display_formatter
        formatter.mimebundle_formatter.for_type(Program, self._program)
        formatter.mimebundle_formatter.for_type(Graph, self._graph)
        formatter.ipython_display_formatter.for_type(Run, self.show_run)
        self.shell.events.register("post_run_cell", self._after_cell)

    def uninstall(self) -> None:
        """Take all of it back, and close the panels."""
        formatter = self.shell.display_formatter
        formatter.mimebundle_formatter.pop(Program, None)
        formatter.mimebundle_formatter.pop(Graph, None)
        formatter.ipython_display_formatter.pop(Run, None)
        self.shell.events.unregister("post_run_cell", self._after_cell)
        if self.pump is not None:
            self.pump.close()
        for panel in list(self._panels.values()):
            panel.close()

    def _program(self, program: Program, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return self._graph(program.graph, include, exclude)

    def _graph(self, graph: Graph, include: Any = None, exclude: Any = None) -> dict[str, str]:
        view = GraphView(graph)
        if self.pump is None:
            return {"text/plain": repr(view)}
        return view._repr_mimebundle_(include, exclude)

    def show_run(self, run: Run) -> None:
        """Show the panel of a run below the cell that is running."""
        panel = self._panel(run) if self.pump is not None else None
        if panel is None:
            view = RunView(run)
            view.refresh()
            print(view.text())  # noqa: T201 - what a terminal shows
            return
        panel.refresh()
        shown = display(_bundle(panel), raw=True, display_id=True)  # type: ignore[no-untyped-call]
        if not run.is_alive:
            return

        def last_look() -> None:
            # The picture that stays in the saved notebook is the one of the end.
            if shown is not None:
                shown.update(_bundle(panel), raw=True)

        assert self.pump is not None
        self.pump.add(panel, last_look)

    def _panel(self, run: Run) -> RunPanel | None:
        try:
            from reactornb.viz.run_panel import RunPanel
        except ImportError:  # the notebook extra is not installed: text will do
            return None
        panel = self._panels.get(run)
        if panel is None or not panel.is_open:
            panel = self._panels[run] = RunPanel(run)
        return panel

    def _after_cell(self, *_: Any) -> None:
        # A run that ended during the cell gets its last picture as output of that cell's time: front ends that execute a
        # notebook to the end (nbclient) listen no longer.
        if self.pump is not None:
            self.pump.finish_ended()


def _bundle(panel: RunPanel) -> dict[str, Any]:
    return {
        "text/plain": panel.view.text(),
        "image/svg+xml": panel.view.svg(),
        "application/vnd.jupyter.widget-view+json": {
            "version_major": 2,
            "version_minor": 1,
            "model_id": panel.model_id,
        },
    }
