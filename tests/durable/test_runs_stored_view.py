"""Stored runs in the panel of runs, by themselves and beside live ones."""

import re
import sys
from pathlib import Path

import numpy
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from kept_runs import append, keep, rows, unsynced

from reactornb import Program, Reactor, Timer, ms, reaction
from reactornb.durable.folder import RunFolder
from reactornb.durable.metric_rows import pack
from reactornb.durable.stored import StoredRun
from reactornb.testing import FakeClock
from reactornb.viz.run_view import RunsView, RunView
from reactornb.viz.stored_view import StoredView


class Learns(Reactor):
    tick = Timer(0, ms(1))
    lr: float = 0.001

    @reaction(tick)
    def on_tick(self):
        self.log(loss=self.lr)


def live():
    run = Program(Learns).start(workers=1, clock=FakeClock(), until=ms(9))
    run.wait()
    return run


def test_a_stored_run_says_how_it_ended(tmp_path):
    view = StoredView(StoredRun(keep(tmp_path, "pong", state="failed")))
    assert view.refresh()
    assert not view.refresh()
    assert (
        view.text()
        .splitlines()[0]
        .startswith("run pong of ppo: failed · tag 39 ms, microstep 0 · 12.5 s · 205 steps/s")
    )
    assert "boom" in view.text()
    assert view.curves.keys() == {"episode_return", "loss", "eval_return"}
    assert view.status()["fingerprint"] == f"{1:064x}"


def test_it_has_all_that_a_panel_shows_of_a_live_run(tmp_path):
    stored = StoredView(StoredRun(keep(tmp_path, "pong")))
    shown = RunView(live())
    stored.refresh()
    shown.refresh()
    assert stored.status().keys() == shown.status().keys()
    for name, value in shown.status().items():
        if value is not None and name != "seed":
            assert isinstance(stored.status()[name], (type(value), type(None))), name


def test_curves_are_those_of_a_live_run_that_logged_the_same(tmp_path):
    view = StoredView(StoredRun(keep(tmp_path, "pong", steps=1000, batches=8)))
    view.refresh()
    x, mean, *_ = view.curves["loss"].points("time")
    assert numpy.allclose(x[:3], [0.001, 0.003, 0.005])
    assert mean[0] == pytest.approx((1 + 1 / 2) / 2)


def test_one_that_another_process_writes_is_followed_and_forgets_what_a_resume_made_void(tmp_path):
    path = keep(tmp_path, "pong", steps=20, batches=2, ended=False)
    with unsynced(), RunFolder.open(path, writable=True) as folder:
        view = StoredView(StoredRun(path))
        assert view.refresh()
        assert re.fullmatch(r"running in process \d+ on .*", view.status()["state"])
        assert not view.refresh()
        folder.journal.append("metrics", (ms(29), 0), pack(0, rows(20, 30).columns()))
        assert view.refresh()
        assert view.curves["loss"].count == 30
        folder.journal.append("resumed", (ms(9), 0), {})
        folder.journal.append("metrics", (ms(19), 0), pack(0, rows(10, 20, 3.0).columns()))
        assert view.refresh()
        assert view.curves["episode_return"].count == 20
        assert view.curves["episode_return"].last == 57.0
    assert view.status()["state"] == "interrupted"


def test_what_is_damaged_is_said_and_the_others_are_shown(tmp_path):
    path = keep(tmp_path, "bad")
    (path / "run.json").write_text("{}")
    view = RunsView([StoredRun(path), StoredRun(keep(tmp_path, "good"))])
    view.refresh()
    assert "bad: damaged" in view.text()
    assert "warning: " in view.text()
    assert view.curves[1]["loss"].count == 40


def test_stored_and_live_runs_are_overlaid_and_told_apart_by_what_differs(tmp_path):
    run = live()
    view = RunsView([StoredRun(keep(tmp_path, "pong")), run])
    view.refresh()
    assert [curves.keys() for curves in view.curves] == [{"episode_return", "loss", "eval_return"}, {"loss"}]
    assert not view.is_alive
    assert view.printed() == (0, "")
    assert view.printed_version == 0
    assert [group.partition(",")[0] for group in view.groups()] == ["ppo", run.program.name]
    assert view.svg().count("<polyline") + view.svg().count("<circle") >= 4


def test_the_panel_offers_no_buttons_for_a_stored_run_and_does_nothing_if_pressed(tmp_path):
    pytest.importorskip("anywidget")
    from reactornb.viz.run_panel import RunPanel

    path = keep(tmp_path, "pong", ended=False)
    append(path, ("note", (ms(39), 0), {"text": "the disk is nearly full"}))
    started = []
    panel = RunPanel([StoredRun(path), live()], restart=lambda panel, place: started.append(place))
    stored, running = panel.runs
    assert (stored["state"], stored["restarts"], running["restarts"]) == ("interrupted", False, True)
    assert stored["label"].startswith("pong, seed 1")
    assert stored["warnings"] == ["the disk is nearly full"]
    assert stored["color"] != running["color"]
    for do in ("pause", "stop", "start"):
        panel._on_message(panel, {"do": do, "run": 0}, [])
    assert started == []
    assert panel.refresh() is False
    assert {curve["name"] for curve in panel.curves if curve["run"] == 0} == {"episode_return", "loss", "eval_return"}
    assert "pong" in panel.static()["text/html"]
    panel.close()


def test_a_panel_of_one_stored_run_needs_no_list(tmp_path):
    pytest.importorskip("anywidget")
    from reactornb.viz.run_panel import RunPanel

    panel = RunPanel(StoredRun(keep(tmp_path, "pong")), metrics=["loss"])
    assert [curve["name"] for curve in panel.curves] == ["loss"]
    panel.close()
