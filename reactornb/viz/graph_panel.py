"""The graph in a notebook: banks unfold on a click, and while a run of it is alive colors show where time and values go.

Its page side is `graph_panel.js`.

Where Graphviz's `dot` is installed the kernel lays the picture out; where it is not the page does, with the Graphviz in
WebAssembly that is bundled (`vendor/vizjs`), which it is sent once, when it asks for it. Traits are only set by the thread of
the kernel's loop; a message of the page may come on another and is handed over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

import traitlets

from reactornb.graph import Graph
from reactornb.runtime import Run
from reactornb.viz import dot
from reactornb.viz.assets import asset
from reactornb.viz.fold import fold
from reactornb.viz.graph_view import in_page
from reactornb.viz.heat import Heat
from reactornb.viz.panel import Panel

__all__ = ["GraphPanel"]


class GraphPanel(Panel):
    """A graph to look at and to unfold.

    Args:
        graph: the graph.
        levels: write each reaction's level beside it.
        depth: levels of the hierarchy below the root; chosen by size unless given.
        expanded: keys of banks, such as `main.rollouts`, drawn member by member; a click folds them.
        later: calls a function on the thread of the kernel's loop.
        seen: called, on that thread, once a page shows the panel.

    Attributes:
        run: the run that is followed, or None; `following` says so in words.
        heat: what `Heat.of` says of the run; empty where none is followed.
        dot: what is drawn, as DOT text; `svg` is the picture, empty where the page is to lay it out.
        levels, depth: as given; -1 is a depth chosen by size.
        label, words: the picture's text alternative, short and as an outline.
        error: why there is no picture.
        picture: the last picture, drawn by the page or here; not sent to the page.
        on_picture: called when the page has drawn one, on the loop's thread.
    """

    _esm = asset("page.js", "graph_colors.js", "graph_panel.js")
    _css = asset("graph_panel.css")

    dot = traitlets.Unicode("").tag(sync=True)
    svg = traitlets.Unicode("").tag(sync=True)
    levels = traitlets.Bool(False).tag(sync=True)
    depth = traitlets.Int(-1).tag(sync=True)
    label = traitlets.Unicode("").tag(sync=True)
    words = traitlets.Unicode("").tag(sync=True)
    error = traitlets.Unicode("").tag(sync=True)
    heat: traitlets.Dict[str, Any] = traitlets.Dict().tag(sync=True)
    following = traitlets.Unicode("").tag(sync=True)

    seconds = 0.5  # between two samples of a run

    def __init__(
        self,
        graph: Graph,
        *,
        levels: bool = False,
        depth: int | None = None,
        expanded: Collection[str] = (),
        later: Callable[[Callable[[], None]], None] = lambda fn: fn(),
        seen: Callable[[GraphPanel], None] = lambda _: None,
        **options: Any,
    ) -> None:
        self.graph = graph
        self.run: Run | None = None
        self._heat: Heat | None = None
        self._on_seen = seen
        # Views that report to be visible. The run is sampled only while there is one.
        self._seen: set[str] = set()
        self._looked_at = 0.0
        self.picture = ""
        self.on_picture: Callable[[], None] = lambda: None
        self._later = later
        self._expanded = set(expanded)
        state = self._drawn(levels, depth)
        self.picture = state["svg"]
        super().__init__(label=dot.label(graph), **state, **options)
        self.on_msg(self._on_message)

    def _drawn(self, levels: bool, depth: int | None) -> dict[str, Any]:
        self._folded = fold(self.graph, depth=depth, expanded=self._expanded)
        source = dot.write(self._folded, levels=levels)
        svg, error = "", ""
        if dot.is_installed():
            try:
                svg = dot.layout(source, dot.label(self.graph))
            except dot.DrawingError as problem:
                error = str(problem)
        return {
            "dot": source,
            "svg": svg,
            "error": error,
            "levels": levels,
            "depth": -1 if depth is None else depth,
            "words": dot.text(self.graph, depth=depth),
        }

    def _on_message(self, _widget: Any, message: Any, _buffers: Any) -> None:
        if isinstance(message, dict):
            self._later(lambda: self._answer(message))

    def _answer(self, message: dict[str, Any]) -> None:
        """Handle a message of the page; on the loop's thread."""
        match message.get("do"):
            case "library":
                self.send({"library": True}, buffers=[asset("vendor/vizjs/viz.js").encode()])
            case "unfold":
                self._expanded ^= {str(message.get("key"))}
                self._draw(self.levels, self.depth)
            case "look":
                depth = message.get("depth")
                self._draw(bool(message.get("levels")), depth if isinstance(depth, int) else -1)
            case "seen":
                (self._seen.add if message.get("seen") else self._seen.discard)(str(message.get("view")))
                if self._seen:
                    self._on_seen(self)
            case "drawn" if message.get("dot") == self.dot:
                self.picture = str(message.get("svg"))
                self.on_picture()

    def _draw(self, levels: bool, depth: int) -> None:
        state = self._drawn(levels, None if depth < 0 else depth)
        with self.hold_sync():
            for name, value in state.items():
                setattr(self, name, value)
            self._show_heat()
        if self.svg:
            self.picture = self.svg
            self.on_picture()

    # -- a run ------------------------------------------------------------------------------------------------------

    def fits(self, run: Run) -> bool:
        """Whether the run executes this graph, or an equal one assembled from the same classes."""
        other = run.program.graph
        return other is self.graph or _shape(other) == _shape(self.graph)

    def follow(self, run: Run) -> None:
        """Color the picture by the load of this run, whose graph `fits`; on the loop's thread."""
        self.run = run
        self._heat = Heat(run)
        self._looked_at = 0.0
        self.following = _followed(run)

    @property
    def is_seen(self) -> bool:
        """Whether a page shows the panel at present."""
        return bool(self._seen)

    def refresh(self) -> bool:
        """Send the run's load to the page; false once the run is over or no view is visible."""
        self.sent_bytes = 0
        run = self.run
        if run is None or self._heat is None or not self._seen:
            return False
        if not run.is_alive:
            self.following = _followed(run)
            return False
        now = time.perf_counter()
        if now - self._looked_at >= self.seconds:
            self._looked_at = now
            self.following = _followed(run)
            if self._heat.look():
                self._show_heat()
        return True

    def _show_heat(self) -> None:
        if self._heat is not None:
            self.heat = self._heat.of(self._folded)
            self.sent_bytes += 24 * sum(map(len, self.heat.values()))

    @property
    def run_is_alive(self) -> bool:
        """Whether the run that is followed is alive, and the panel moves."""
        return self.run is not None and self.run.is_alive

    def static(self) -> dict[str, str]:
        """The panel's static fallback: MIME type to content."""
        data = {"text/plain": self.words.rstrip()}
        if self.picture:
            data["image/svg+xml"] = self.picture
            data["text/html"] = in_page(self.picture, f' data-rnb-of="{self.twin}"')
        return data


def _shape(graph: Graph) -> list[Any]:
    """Equal for graphs whose numbers mean the same."""
    reactors = [(node.name, node.cls) for node in graph.reactors]
    return [reactors, [node.name for node in graph.ports], [node.name for node in graph.reactions]]


def _followed(run: Run) -> str:
    return f"run {run.number} of {run.program.name}: {run.state}"
