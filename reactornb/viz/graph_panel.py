"""The graph in a notebook: banks unfold on a click. Its page side is `graph_panel.js`.

Where Graphviz's `dot` is installed the kernel lays the picture out; where it is not the page does, with the Graphviz in
WebAssembly that is bundled (`vendor/vizjs`), which it is sent once, when it asks for it. Traits are only set by the thread of
the kernel's loop; a message of the page may come on another and is handed over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import anywidget
import traitlets

from reactornb.graph import Graph
from reactornb.viz import dot
from reactornb.viz.assets import asset
from reactornb.viz.graph_view import in_page

__all__ = ["GraphPanel"]


class GraphPanel(anywidget.AnyWidget):
    """A graph to look at and to unfold.

    Args:
        graph: the graph.
        levels: write each reaction's level beside it.
        depth: levels of the hierarchy below the root; chosen by size unless given.
        later: calls a function on the thread of the kernel's loop.

    Attributes:
        dot: what is drawn, as DOT text; `svg` is the picture, empty where the page is to lay it out.
        levels, depth: as given; -1 is a depth chosen by size.
        label, words: the picture's text alternative, short and as an outline.
        error: why there is no picture.
        twin: names the picture that stands below it.
        picture: the last picture, whoever drew it; not sent to the page.
        on_picture: called when the page has drawn one, on the loop's thread.
    """

    _esm = asset("page.js", "graph_panel.js")
    _css = asset("graph_panel.css")

    dot = traitlets.Unicode("").tag(sync=True)
    svg = traitlets.Unicode("").tag(sync=True)
    levels = traitlets.Bool(False).tag(sync=True)
    depth = traitlets.Int(-1).tag(sync=True)
    label = traitlets.Unicode("").tag(sync=True)
    words = traitlets.Unicode("").tag(sync=True)
    error = traitlets.Unicode("").tag(sync=True)
    twin = traitlets.Unicode("").tag(sync=True)

    def __init__(
        self,
        graph: Graph,
        *,
        levels: bool = False,
        depth: int | None = None,
        later: Callable[[Callable[[], None]], None] = lambda fn: fn(),
        **options: Any,
    ) -> None:
        self.graph = graph
        self.picture = ""
        self.on_picture: Callable[[], None] = lambda: None
        self._later = later
        self._expanded: set[str] = set()
        state = self._drawn(levels, depth)
        self.picture = state["svg"]
        super().__init__(label=dot.label(graph), twin=uuid4().hex, **state, **options)
        self.on_msg(self._on_message)

    def _drawn(self, levels: bool, depth: int | None) -> dict[str, Any]:
        options: dict[str, Any] = {"levels": levels, "depth": depth, "expanded": self._expanded}
        svg, error = "", ""
        if dot.is_installed():
            try:
                svg = dot.svg(self.graph, **options)
            except dot.DrawingError as problem:
                error = str(problem)
        return {
            "dot": dot.dot(self.graph, **options),
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
        """What the page asks for, on the loop's thread."""
        match message.get("do"):
            case "library":
                self.send({"library": True}, buffers=[asset("vendor/vizjs/viz.js").encode()])
            case "unfold":
                self._expanded ^= {str(message.get("key"))}
                self._draw(self.levels, self.depth)
            case "look":
                depth = message.get("depth")
                self._draw(bool(message.get("levels")), depth if isinstance(depth, int) else -1)
            case "drawn" if message.get("dot") == self.dot:
                self.picture = str(message.get("svg"))
                self.on_picture()

    def _draw(self, levels: bool, depth: int) -> None:
        state = self._drawn(levels, None if depth < 0 else depth)
        with self.hold_sync():
            for name, value in state.items():
                setattr(self, name, value)
        if self.svg:
            self.picture = self.svg
            self.on_picture()

    def static(self) -> dict[str, str]:
        """What stands for the panel where no widget can: MIME type to content."""
        data = {"text/plain": self.words.rstrip()}
        if self.picture:
            data["image/svg+xml"] = self.picture
            data["text/html"] = in_page(self.picture, f' data-rnb-of="{self.twin}"')
        return data

    @property
    def is_open(self) -> bool:
        """False once the widget was closed."""
        return self.comm is not None
