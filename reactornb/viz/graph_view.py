"""A graph that displays itself: a picture with tooltips in a page, SVG for saved notebooks, an outline in a terminal."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from reactornb.graph import Graph
from reactornb.viz import dot

__all__ = ["GraphView", "in_page"]

# The picture is drawn in dark ink on light boxes; a dark theme turns it over and keeps the hues.
_PAGE = """<style>
.rnb-graph { overflow-x: auto; max-width: 100%; } .rnb-graph svg { max-width: 100%; height: auto; }
[data-jp-theme-light="false"] .rnb-graph svg, .vscode-dark .rnb-graph svg, html[theme="dark"] .rnb-graph svg {
  filter: invert(.9) hue-rotate(180deg); }
</style>"""


def in_page(svg: str, attributes: str = "") -> str:
    """A picture of a graph as HTML that follows the page's theme."""
    return f'{_PAGE}<div class="rnb-graph"{attributes}>{svg}</div>'


class GraphView:
    """The picture of a graph, drawn when it is first shown.

    Args:
        graph: the graph.
        levels: write each reaction's level beside it.
        depth: levels of the hierarchy below the root; chosen by size unless given.
        expanded: keys of banks, such as `main.rollouts`, drawn member by member.

    Attributes:
        graph: as given; `options` the others.
    """

    def __init__(
        self, graph: Graph, *, levels: bool = False, depth: int | None = None, expanded: Collection[str] = ()
    ) -> None:
        self.graph = graph
        self.options: dict[str, Any] = {"levels": levels, "depth": depth, "expanded": expanded}
        self._svg: str | None = None

    @property
    def svg(self) -> str:
        """The picture as an SVG element.

        Raises:
            DrawingError: if Graphviz is not installed or fails.
        """
        if self._svg is None:
            self._svg = dot.svg(self.graph, **self.options)
        return self._svg

    def save(self, path: str | Path) -> Path:
        """Write to a file; the ending says as what: .svg, .png, .dot or .txt."""
        return dot.save(self.graph, path, levels=self.options["levels"], depth=self.options["depth"])

    def __repr__(self) -> str:
        return dot.text(self.graph, depth=self.options["depth"]).rstrip()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:  # noqa: ARG002 - IPython's protocol
        outline = repr(self)
        try:
            svg = self.svg
        except dot.DrawingError as error:
            return {"text/plain": f"{outline}\n({error})"}
        # Standing in the page the picture has tooltips and follows the theme; where HTML is not shown there is the image.
        return {
            "text/plain": outline,
            "image/svg+xml": svg,
            "text/html": in_page(svg),
        }
