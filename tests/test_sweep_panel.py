"""The panel of a sweep: what it sends to the page, and what the page's messages do."""

import struct
from xml.etree import ElementTree

import pytest

pytest.importorskip("anywidget")

from sweep_programs import Broken, Climb, Never

from reactornb import sweep
from reactornb.viz.sweep_panel import SweepPanel
from reactornb.viz.sweep_view import SweepView, sweep_html

pytestmark = pytest.mark.thread_unsafe(reason="widgets register themselves in the process")


def ended(program=Climb, /, **asked):
    made = sweep(program, **asked)
    assert made.wait(30)
    return made


def curves_of(panel):
    """The curves as the page unpacks them."""
    at, drawn = 0, []
    for curve in panel.curves:
        n = curve["points"]
        x = struct.unpack_from(f"<{n}d", panel.points, at)
        y = struct.unpack_from(f"<{n}f", panel.points, at + 8 * n)
        at += 12 * n + 4 * (n % 2)
        drawn.append((curve["label"], x, y))
    assert at == len(panel.points)
    return drawn


def test_a_panel_has_a_row_and_a_curve_for_each_trial():
    panel = SweepPanel(ended(rate=[1.0, 2.0], rounds=3, seeds=2))
    assert panel.table["heads"] == ("trial", "rate", "seed", "state", "score", "seconds", "episode_return")
    assert [row["words"][-1] for row in panel.table["rows"]] == ["3", "6", "3", "6"], "where the curves stand"
    assert [row["words"][:5] for row in panel.table["rows"]][:2] == [
        ("1", "1", "0", "finished", "2"),
        ("2", "2", "0", "finished", "4"),
    ]
    assert [row["values"][1] for row in panel.table["rows"]] == [1.0, 2.0, 1.0, 2.0]
    drawn = curves_of(panel)
    assert [label for label, _, _ in drawn] == ["rate=1, seed 0", "rate=2, seed 0", "rate=1, seed 1", "rate=2, seed 1"]
    assert drawn[1][1] == (10.0, 20.0, 30.0), "over environment steps"
    assert drawn[1][2] == (2.0, 4.0, 6.0)
    colors = [row["color"] for row in panel.table["rows"]]
    assert colors[0] == colors[2] != colors[1] == colors[3], "a color for each configuration"
    assert panel.status["state"] == "finished"
    assert "4 of 4 trials" in panel.status["facts"]
    assert panel.refresh() is False
    panel.close()


def test_curves_and_rows_move_while_trials_run():
    made = sweep(Never, rate=[1.0, 2.0], at_once=1)
    panel = SweepPanel(made)
    while not panel.curves or panel.curves[0]["points"] < 3:
        assert panel.refresh()
    assert [row["state"] for row in panel.table["rows"]] == ["running", "waiting"]
    made.stop()
    assert panel.refresh() is False
    assert panel.status["state"] == "stopped"
    assert [row["state"] for row in panel.table["rows"]] == ["stopped", "waiting"]
    assert len(curves_of(panel)) == 1
    panel.close()


def test_the_page_chooses_metric_and_axis_and_stops_the_sweep():
    made = sweep(Never, at_once=1)
    panel = SweepPanel(made)
    while not panel.choice["metric"]:
        panel.refresh()
    panel._on_message(panel, {"do": "axis", "name": "wall"}, [])
    assert panel.choice["axis"] == "wall"
    assert panel.choice["title"] == "wall-clock, s"
    panel._on_message(panel, {"do": "metric", "name": "episode_return"}, [])
    assert panel.choice["metric"] == "episode_return"
    for message in ({"do": "metric", "name": "none"}, {"do": "axis"}, {}, "stop", None):
        panel._on_message(panel, message, [])
    assert made.is_alive
    panel._on_message(panel, {"do": "stop"}, [])
    assert made.wait(30)
    panel.refresh()
    panel.close()


def test_many_configurations_have_a_color_each():
    view = SweepView(ended(rate=[float(i) for i in range(9)], rounds=1))
    view.refresh()
    colors = view.colors()
    assert len(set(colors.values())) == 9
    assert all(len(color) == 7 and color[0] == "#" for color in colors.values())


def test_a_saved_notebook_keeps_picture_and_tables():
    panel = SweepPanel(ended(Broken, rate=[1.0, 3.0]))
    kept = panel.static()
    assert "it burst" in kept["text/html"]
    svg = kept["text/html"]
    svg = svg[svg.index("<svg") : svg.index("</svg>") + 6]
    ElementTree.fromstring(svg)
    assert "2 trials (1 finished, 1 failed)" in kept["text/plain"]
    panel.close()


def test_without_panels_a_sweep_is_a_page_of_its_own():
    page = sweep_html(ended(rate=[1.0, 2.0], seeds=2))
    assert page.count("<table>") == 2
    assert "rnbRunsTable" in page
    assert "http" not in page.replace("http://www.w3.org", "")
