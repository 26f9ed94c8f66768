"""The panels of one page share it: what one of them styles is its own."""

import re
from pathlib import Path

import pytest

import reactornb.viz

VIZ = Path(reactornb.viz.__file__).parent

# A panel: the styles that it brings with it, and the files that make its elements.
PANELS = {
    "graph": (("graph_panel.css",), ("graph_panel.js", "graph_colors.js", "graph_panel.py", "graph_view.py")),
    "run": (("run_panel.css",), ("run_panel.js", "curves.js", "point_menu.js", "run_panel.py")),
    "sweep": (("run_panel.css", "sweep_panel.css"), ("sweep_panel.js", "curves.js", "sweep_panel.py")),
    "timeline": (("timeline_panel.css",), ("timeline_panel.js", "timeline_picture.js", "timeline_panel.py")),
    "player": (("player.css",), ("player.js", "player.py", "films_panel.js", "films_panel.py")),
    "runs": (("runs_table.css",), ("runs_table.js", "runs_view.py", "sweep_view.py")),
}


def classes(text):
    return set(re.findall(r"\brnb-[a-z]+(?:-[a-z]+)*", text))


def selectors(css):
    css = re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)
    while (shorter := re.sub(r":is\(([^()]*)\)", lambda found: f" {found[1].replace(',', ' ')}", css)) != css:
        css = shorter
    for head in re.findall(r"([^{}]+)\{[^{}]*\}", css):
        yield from head.split(",")


def reaching(styles, made):
    """Selectors of a file that fit an element of a panel that makes these classes."""
    found = [selector.strip() for selector in selectors(styles)]
    return [selector for selector in found if classes(selector) and classes(selector) <= made]


def test_every_style_and_every_class_is_of_a_panel_here():
    named = {name for styles, _ in PANELS.values() for name in styles}
    assert named == {path.name for path in VIZ.glob("*.css")}
    assert reaching(".rnb-a .rnb-b, .rnb-b { x: 1 } .rnb-b:is(.rnb-c, svg) { }", {"rnb-b"}) == [".rnb-b"]


@pytest.mark.parametrize("panel", PANELS)
def test_no_other_panel_on_the_page_styles_this_one(panel):
    own, files = PANELS[panel]
    made = classes("".join((VIZ / name).read_text(encoding="utf-8") for name in files))
    foreign = {
        path.name: reaching(path.read_text(encoding="utf-8"), made)
        for path in VIZ.glob("*.css")
        if path.name not in own
    }
    assert {name: found for name, found in foreign.items() if found} == {}
