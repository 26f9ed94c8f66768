"""The graph in Lingua Franca's notation: as DOT text, and through Graphviz's `dot` as SVG and PNG; as plain text without it.

Reactors are boxes, reactions chevrons with their order, ports small triangles, actions triangles with L or P, timers clocks,
watchdogs rings, startup a circle and shutdown a diamond. Connections are solid with their delays on them; what a reaction depends on and
affects is dashed. A bank is one box with its width. The same graph gives the same text, byte for byte.
"""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from collections.abc import Collection
from pathlib import Path

from reactornb import files
from reactornb.errors import ReactorError
from reactornb.graph import Graph
from reactornb.viz.fold import Box, Line, Picture, Symbol, fold

__all__ = ["DrawingError", "dot", "is_installed", "label", "layout", "png", "save", "svg", "text", "write"]

_FONT = "Helvetica,Arial,sans-serif"
_INK, _FAINT, _LINE = "#1f2937", "#6b7280", "#334155"
# Containers and what they contain alternate, so that nesting shows without many lines.
_FILLS = ("#f8fafc", "#eaeff5")
_SECONDS = 60.0


class DrawingError(ReactorError, RuntimeError):
    """A picture cannot be made here; the message says what to install or to ask for instead."""


def dot(graph: Graph, *, levels: bool = False, depth: int | None = None, expanded: Collection[str] = ()) -> str:
    """The graph as DOT text.

    Args:
        graph: the graph.
        levels: write each reaction's level beside it.
        depth: levels of the hierarchy below the root; chosen by size unless given.
        expanded: keys of banks, such as `main.rollouts`, drawn member by member.
    """
    return write(fold(graph, depth=depth, expanded=expanded), levels=levels)


def write(picture: Picture, *, levels: bool = False) -> str:
    """A picture as DOT text.

    In the SVG made of it a reaction has the class `r0`, a box with something inside that is not drawn `b0`, a line `l0`, each
    numbered in the picture's order, so that a page can color them.
    """
    return _Writer(picture, levels).text()


def svg(graph: Graph, *, levels: bool = False, depth: int | None = None, expanded: Collection[str] = ()) -> str:
    """The graph as an SVG element, with tooltips and a text alternative; arguments as for `dot`.

    Raises:
        DrawingError: if Graphviz is not installed or fails.
    """
    return layout(dot(graph, levels=levels, depth=depth, expanded=expanded), label(graph))


def layout(source: str, described: str) -> str:
    """DOT text as an SVG element; `described` is its text alternative.

    Raises:
        DrawingError: if Graphviz is not installed or fails.
    """
    drawn = _graphviz(source, "svg").decode()
    # Without prologue and comments (they hold Graphviz's version) it can stand in a page, and is the same everywhere.
    drawn = re.sub(r"<!--.*?-->\s*", "", drawn[drawn.index("<svg") :], flags=re.DOTALL)
    return drawn.replace("<svg", f'<svg role="img" aria-label="{html.escape(described)}"', 1)


def label(graph: Graph) -> str:
    """A text alternative for the picture."""
    return f"Action-port graph of {graph.reactors[0].name}: {graph}"


def is_installed() -> bool:
    """True if Graphviz's `dot` is there."""
    return shutil.which("dot") is not None


def png(graph: Graph, *, levels: bool = False, depth: int | None = None, dpi: int = 144) -> bytes:
    """The graph as a PNG file's bytes; arguments as for `dot`.

    Raises:
        DrawingError: if Graphviz is not installed or fails.
    """
    return _graphviz(dot(graph, levels=levels, depth=depth), "png", f"-Gdpi={dpi}", "-Gbgcolor=white")


def save(graph: Graph, path: str | Path, *, levels: bool = False, depth: int | None = None) -> Path:
    """Write the graph to a file; the ending says as what: .svg, .png, .dot or .txt.

    Raises:
        DrawingError: for another ending, or if Graphviz is needed and not installed.
        FileError: if it cannot be written; then it is not there, or as it was.
    """
    path = Path(path)
    match path.suffix:
        case ".svg":
            content = svg(graph, levels=levels, depth=depth).encode()
        case ".png":
            content = png(graph, levels=levels, depth=depth)
        case ".dot" | ".gv":
            content = dot(graph, levels=levels, depth=depth).encode()
        case ".txt":
            content = text(graph, depth=depth).encode()
        case _:
            raise DrawingError(f"{path.name}: a graph is saved as .svg, .png, .dot or .txt.")
    return files.write(path, content)


def _graphviz(source: str, form: str, *options: str) -> bytes:
    program = shutil.which("dot")
    if program is None:
        raise DrawingError(
            "the graph is drawn by Graphviz's `dot`, which is not installed: apt-get install graphviz (or conda install graphviz)."
        )
    try:
        done = subprocess.run(  # noqa: S603 - our own text, on its standard input
            [program, f"-T{form}", *options], input=source.encode(), capture_output=True, check=False, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise DrawingError(
            f"`dot` took more than {_SECONDS:.0f} s; draw fewer levels of the hierarchy: depth=1."
        ) from None
    if done.returncode:
        raise DrawingError(f"`dot` failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


class _Writer:
    def __init__(self, picture: Picture, levels: bool) -> None:
        self.picture = picture
        self.levels = levels
        self.out: list[str] = []
        self.children: dict[str, list[Box]] = {}
        self.inside: dict[str, list[Symbol]] = {}
        for box in picture.boxes.values():
            self.children.setdefault(box.mode or box.parent, []).append(box)
        for symbol in picture.symbols.values():
            if symbol.kind != "mode":
                self.inside.setdefault(symbol.mode or symbol.box, []).append(symbol)
        self.clusters = 0
        self.cluster_of: dict[str, str] = {}
        reactions = [s.key for s in picture.symbols.values() if s.kind == "reaction"]
        self.place = {key: place for place, key in enumerate([*picture.boxes])}
        self.place_of_reaction = {key: place for place, key in enumerate(reactions)}

    def text(self) -> str:
        self.out = [
            "digraph reactors {",
            (
                f'graph [rankdir=LR, compound=true, bgcolor=transparent, fontname="{_FONT}", fontsize=11, fontcolor="{_INK}", '
                f'nodesep=0.14, ranksep=0.42, pad=0.12, tooltip=" ", forcelabels=true];'
            ),
            f'node [fontname="{_FONT}", fontsize=10, fontcolor="{_INK}", color="{_LINE}", margin="0.05,0.02", height=0.2];',
            f'edge [fontname="{_FONT}", fontsize=9, fontcolor="{_INK}", color="{_LINE}", arrowsize=0.55, penwidth=0.9];',
        ]
        for box in self.children.get("", []):
            self._box(box, 0)
        self.back = _feedback(self.picture)
        self.turns: set[str] = set()
        for place, line in enumerate(self.picture.lines):
            self._line(line, place)
        self._in_order()
        self.out.append("}")
        return "\n".join(self.out) + "\n"

    def _box(self, box: Box, depth: int) -> None:
        title = f"<b>{html.escape(box.label)}</b>"
        if box.label.partition("[")[0].replace("_", "").lower() != box.cls.__name__.lower():
            title += f" : {html.escape(box.cls.__name__)}"
        if box.count > 1:
            title += f"  <b>×{box.count}</b>"
        if box.enclave:
            title += f'  <font color="{_FAINT}"><i>enclave</i></font>'
        if box.hidden:
            title += f'  <font color="{_FAINT}">+ {box.hidden} inside</font>'
        bank = ", penwidth=2" if box.count > 1 else ""
        # For clicks in a page: the bank to unfold, or the member whose bank is to be folded.
        classes = ["members" if box.count > 1 else "member"] if box.unfolds else []
        classes += [f"b{self.place[box.key]}"] if box.hidden else []
        unfolds = f", id={_quote(box.key)}" if box.unfolds else ""
        if classes:
            unfolds += f', class="{" ".join(classes)}"'
        self.cluster_of[box.key] = f"cluster_{self.clusters}"
        self._open(
            f'label=<{title}>{unfolds}, style="rounded,filled", fillcolor="{_FILLS[depth % 2]}"{bank}', box.tooltip
        )
        if box.key not in self.children and box.key not in self.inside:
            self.out.append(
                f"{_quote(box.key)} [shape=point, style=invis, width=0.5];"
            )  # a cluster without a node is not drawn
        self._content(box.key, depth)
        for symbol in self.picture.symbols.values():
            if symbol.kind == "mode" and symbol.box == box.key:
                initial = ", penwidth=1.8" if symbol.detail else ""
                self._open(
                    f'label="", style="rounded,filled,dashed", fillcolor="{_FILLS[(depth + 1) % 2]}"{initial}',
                    symbol.tooltip,
                )
                shape = f'shape=box, style="rounded,filled", fillcolor="{_FILLS[depth % 2]}"{initial}'
                self._node(symbol.key, f"{shape}, label={_quote(symbol.label)}", symbol.tooltip)
                self._content(symbol.key, depth + 1)
                self.out.append("}")
        self.out.append("}")

    def _content(self, key: str, depth: int) -> None:
        for symbol in self.inside.get(key, []):
            self._symbol(symbol)
        for box in self.children.get(key, []):
            self._box(box, depth + 1)

    def _open(self, attributes: str, tooltip: str) -> None:
        self.out.append(f"subgraph cluster_{self.clusters} {{")
        self.out.append(f'graph [{attributes}, color="{_FAINT}", labeljust=l, margin=9, tooltip={_quote(tooltip)}];')
        self.clusters += 1

    def _symbol(self, s: Symbol) -> None:
        words = f"{s.label}{s.detail}"
        match s.kind:
            case "input":
                look = f"shape=plain, label={_quote('▸ ' + words)}"
            case "output":
                look = f"shape=plain, label={_quote(words + ' ▸')}"
            case "reaction":
                level = f"  L{s.level}" if self.levels and s.level >= 0 else ""
                deadline = f"  ≤ {s.deadline}" if s.deadline else ""
                words = f"{s.number}  {s.label}{deadline}{level}"
                look = f"class=r{self.place_of_reaction[s.key]}, "
                look += f'shape=cds, style=filled, fillcolor="#475569", fontcolor=white, height=0.3, margin="0.1,0.04", label={_quote(words)}'
            case "timer":
                look = _glyph("◷", f"{s.label} {s.detail}")
            case "logical action" | "physical action":
                look = _glyph("△", f"{'P' if s.kind[0] == 'p' else 'L'} {s.label} {s.detail}".strip())
            case "watchdog":
                look = _glyph("◎", f"{s.label} {s.detail}")
            case "shutdown":
                look = 'shape=diamond, style=filled, fillcolor=white, label="", width=0.2, height=0.2, fixedsize=true'
            case _:  # startup is a circle; reset one with an R
                letter = "R" if s.kind == "reset" else ""
                look = f'shape=circle, style=filled, fillcolor=white, label="{letter}", fontsize=8, width=0.17, height=0.17, fixedsize=true'
        self._node(s.key, look, s.tooltip)

    def _node(self, key: str, look: str, tooltip: str) -> None:
        self.out.append(f"{_quote(key)} [{look}, tooltip={_quote(tooltip)}];")

    def _line(self, line: Line, place: int) -> None:
        symbols = self.picture.symbols
        many = line.count > 1
        tooltip = f"{line.tail} → {line.head}" + (f", {line.count} channels" if many else "")
        look = ["style=dashed", f'color="{_FAINT}"', "penwidth=0.8"]
        if line.kind == "connection":
            look = ["arrowhead=none", f"penwidth={1.7 if many else 1.0}"]  # it ends in the port's triangle
            label = f" after {line.label} " if line.label else ""
            if line.physical:  # Lingua Franca's `~>`
                look.append("style=dotted")
                label = f" ~{label}"
                tooltip += ", physical"
            if label:
                look.append(f"label={_quote(label)}")
            if line.label:
                tooltip += f", after {line.label}"
        elif line.kind == "use":  # read, but it triggers nothing
            look.append("arrowhead=odot")
            tooltip += ", read without triggering"
        # A line back to an input of the container, or along a loop, must not influence the ranks.
        if symbols[line.tail].kind == "mode" or symbols[line.head].kind == "mode":
            look.append("constraint=false")
        look += [f"tooltip={_quote(tooltip)}", f"class=l{place}"]
        if place in self.back:
            self._around(line, look, self.back[place])
        else:
            self.out.append(f"{_quote(line.tail)}:e -> {_quote(line.head)}:w [{', '.join(look)}];")

    def _around(self, line: Line, look: list[str], around: str) -> None:
        """Draw a line that leads back to the left around the boxes: through two points outside both, so that Graphviz ranks each part left to right.

        Drawn straight from port to port it would cross both boxes and their text.
        """
        right, left = f"{line.tail} turns", f"{line.head} is turned to"
        plain = ", ".join(x for x in look if not x.startswith("label="))
        for key, part in (
            (right, f"{_quote(line.tail)}:e -> {_quote(right)}:w [{plain}];"),
            (left, f"{_quote(left)}:e -> {_quote(line.head)}:w [{plain}];"),
        ):
            if key not in self.turns:  # drawn once for all lines from or to this port
                self.turns.add(key)
                point = f'{_quote(key)} [shape=point, width=0.01, height=0.01, color="{_LINE}", tooltip=" "];'
                self.out += [self._in_box(around, point), part]
        self.out.append(f"{_quote(left)}:w -> {_quote(right)}:e [{', '.join(look)}];")

    def _in_box(self, key: str, words: str) -> str:
        """A statement within the cluster of a box."""
        return f"subgraph {self.cluster_of[key]} {{ {words} }}"

    def _in_order(self) -> None:
        """Members of an unfolded bank from top to bottom.

        Graphviz takes no order of boxes, and crosses as few lines as it can: each member hangs on a line from an unseen point,
        and the points, which are in no box of their own, are in order.
        """
        banks: dict[str, list[tuple[Box, list[str]]]] = {}
        for box in self.picture.boxes.values():
            base, bracket, _ = box.key.rpartition("[")
            nodes = [s.key for s in self.inside.get(box.key, [])]
            if bracket and box.parent and nodes:
                banks.setdefault(base, []).append((box, nodes))
        for base, members in banks.items():
            if len(members) < 2:
                continue
            points = [f"{base} place {i}" for i in range(len(members))][::-1]
            chain = " -> ".join(map(_quote, points))
            invisible = f"node [shape=point, style=invis, width=0.01, height=0.01]; edge [style=invis]; {{ rank=same; {chain}; }}"
            self.out.append(self._in_box(members[0][0].parent, invisible))
            for point, (_, node) in zip(points[::-1], members, strict=True):
                self.out += [f"{_quote(point)} -> {_quote(n)} [style=invis, weight=4];" for n in node]


def _feedback(picture: Picture) -> dict[int, str]:
    """Connections drawn from right to left: index of the line, and key of the box around both of its ends.

    Connections without a delay are placed first. A connection leads back if the connections placed before it already lead from its
    head to its tail.
    """

    def path(key: str) -> list[str]:
        boxes = [picture.symbols[key].box]
        while picture.boxes[boxes[-1]].parent:
            boxes.append(picture.boxes[boxes[-1]].parent)
        return boxes[::-1]

    back: dict[int, str] = {}
    successors: dict[str, set[str]] = {}
    lines = [(place, line) for place, line in enumerate(picture.lines) if line.kind == "connection"]
    for place, line in sorted(lines, key=lambda item: bool(item[1].label)):
        tail, head = path(line.tail), path(line.head)
        depth = 0
        while depth < min(len(tail), len(head)) and tail[depth] == head[depth]:
            depth += 1
        if depth == len(tail) == len(head) and depth > 1:  # a reactor's output to its own input
            back[place] = tail[-2]
        elif 0 < depth < min(len(tail), len(head)):
            a, b = tail[depth], head[depth]
            if _reaches(successors, b, a):
                back[place] = tail[depth - 1]
            else:
                successors.setdefault(a, set()).add(b)
    return back


def _reaches(successors: dict[str, set[str]], start: str, end: str) -> bool:
    seen, stack = {start}, [start]
    while stack:
        here = stack.pop()
        if here == end:
            return True
        new = successors.get(here, set()) - seen
        seen |= new
        stack += new
    return False


def _glyph(glyph: str, words: str) -> str:
    table = '<table border="0" cellborder="0" cellspacing="0" cellpadding="0">'
    rows = f'<tr><td><font point-size="15">{glyph}</font></td></tr><tr><td><font point-size="9">{html.escape(words)}</font></td></tr>'
    return f"shape=plain, label=<{table}{rows}</table>>"


def _quote(words: str) -> str:
    """A DOT string that shows these words.

    In labels and tooltips a backslash and N stand for the node's name, in tooltips whatever one does about it; an unseen
    word joiner between the two keeps them apart. Two entities are one backslash after what Graphviz does to text.
    """
    shown = re.sub(r"\\(?=[NGETHLlnr])", "\\\\\u2060", words)
    shown = html.escape(shown, quote=False).replace("\\", "&#92;&#92;").replace('"', "&quot;")
    return '"' + shown.replace("\n", "\\n").replace("\0", "") + '"'


def text(graph: Graph, *, depth: int | None = None) -> str:
    """The graph as an indented outline, for a terminal and for those who do not see the picture."""
    picture = fold(graph, depth=depth)
    lines = [str(graph)]
    indent: dict[str, int] = {"": -1}
    for box in _outline(picture):
        level = indent[box.key] = indent[box.parent] + 1
        pad = "  " * level
        count = f" ×{box.count}" if box.count > 1 else ""
        hidden = f" (+ {box.hidden} inside)" if box.hidden else ""
        lines.append(f"{pad}{box.label}{count}: {box.cls.__name__}{hidden}")
        for s in picture.symbols.values():
            if s.box == box.key and s.kind == "reaction":
                triggers = [
                    picture.symbols[x.tail].key for x in picture.lines if x.head == s.key and x.kind == "trigger"
                ]
                effects = [x.head for x in picture.lines if x.tail == s.key]
                short = [_relative(k, box.key) for k in triggers]
                arrow = f" -> {', '.join(_relative(k, box.key) for k in effects)}" if effects else ""
                lines.append(f"{pad}  {s.number} {s.label}({', '.join(short)}){arrow}  level {s.level}")
    connections = [x for x in picture.lines if x.kind == "connection"]
    if connections:
        lines.append("connections")
        root = next(iter(picture.boxes))
        for x in connections:
            after = f" after {x.label}" if x.label else ""
            many = f"  ×{x.count}" if x.count > 1 else ""
            arrow = "~>" if x.physical else "->"
            lines.append(f"  {_relative(x.tail, root)} {arrow} {_relative(x.head, root)}{after}{many}")
    return "\n".join(lines) + "\n"


def _outline(picture: Picture) -> list[Box]:
    """Boxes in the order of an outline: each followed by what it contains."""
    children: dict[str, list[Box]] = {}
    for box in picture.boxes.values():
        children.setdefault(box.parent, []).append(box)
    outline: list[Box] = []
    stack = list(reversed(children.get("", [])))
    while stack:
        box = stack.pop()
        outline.append(box)
        stack += reversed(children.get(box.key, []))
    return outline


def _relative(key: str, box: str) -> str:
    return key.removeprefix(box + ".")
