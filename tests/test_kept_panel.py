"""The run panel and the tree of branches, of kept runs: what the page's messages do, and what the kernel answers."""

from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

pytest.importorskip("anywidget")

from reactornb import Program, Reactor, Runs, Timer, ms, reaction, resume
from reactornb.durable import storage
from reactornb.durable.stored import StoredRun
from reactornb.durable.tree import Tree
from reactornb.notebook.kept_runs import KeptRuns
from reactornb.viz.run_panel import RunPanel
from reactornb.viz.runs_tree import tree_html, tree_svg, tree_text
from reactornb.viz.series import Series

pytestmark = pytest.mark.thread_unsafe(reason="changes the environment")


class Climb(Reactor):
    """Logs how high it is."""

    rate: float = 1.0
    tick = Timer(0, ms(1))
    needs_physical_time = False

    @reaction(tick)
    def on_tick(self):
        self.high = getattr(self, "high", 0.0) + self.rate
        self.log(high=self.high)


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("REACTORNB_RUNS", str(tmp_path))
    monkeypatch.setattr(storage, "_fsync", lambda *_: None)
    return tmp_path


class Asked(list):
    """What a panel asks for."""

    def __call__(self, panel, place, do, at, change):
        self.append((place, do, at, change))


def ended(**options):
    run = Program(Climb).start(until=ms(20), fast=True, workers=1, **options)
    assert run.wait(20)
    return run


def stopped(name="r"):
    run = Program(Climb).start(fast=True, workers=1, keep=name, until=ms(10_000))
    return run.pause().stop()


def panel_of(*shown):
    asked = Asked()
    panel = RunPanel(shown, travel=asked)
    return panel, asked, lambda **message: panel._on_message(None, message, [])


def test_a_stopped_kept_run_offers_to_go_on_and_a_finished_one_does_not():
    panel, asked, press = panel_of(stopped("a"), ended(keep="b"), ended())
    said = [(run["state"], run["kept"], run["resumable"]) for run in panel.runs]
    assert said == [("stopped", "a", True), ("finished", "b", False), ("finished", "", False)]
    for place in range(3):
        press(do="resume", run=place)
    assert asked == [(0, "resume", None, "")]
    panel.close()


def test_a_stored_run_is_shown_as_it_ended_and_offers_the_same():
    run = stopped()
    panel, asked, press = panel_of(StoredRun(run.kept))
    assert (panel.runs[0]["state"], panel.runs[0]["resumable"]) == ("stopped", True)
    press(do="resume", run=0)
    assert asked == [(0, "resume", None, "")]
    panel.close()


def test_the_line_of_a_run_goes_on_where_the_run_does():
    run = stopped()
    panel, *_ = panel_of(run)
    panel.tell(0, "resuming …")
    assert panel.runs[0]["told"] == "resuming …"
    going = resume("r", until=ms(20), program=Climb)
    assert going.wait(20)
    panel.goes_on(0, going)
    panel.refresh()
    (line,) = panel.runs
    assert (line["title"], line["state"], line["told"]) == (f"run {going.number} of climb", "finished", "")
    panel.close()


def test_a_point_of_a_curve_is_a_tag_to_go_back_to():
    panel, asked, press = panel_of(ended(keep="a"), ended())
    press(do="rewind", run=0, metric="high", x=0.0052)
    press(do="branch", run=0, metric="high", x=0.02, set=" rate=2.0 ")
    press(do="rewind", run=1, metric="high", x=0.0)  # is not kept
    press(do="rewind", run=0, metric="nothing", x=0.0)
    press(do="rewind", run=0, metric="high", x=float("nan"))
    press(do="rewind", run=0, metric="high", x="0")
    assert asked == [(0, "rewind", (5_000_000, 0), ""), (0, "branch", (20_000_000, 0), "rate=2.0")]
    panel.close()


def test_without_a_session_a_panel_offers_none_of_it():
    panel = RunPanel(stopped())
    assert (panel.runs[0]["kept"], panel.runs[0]["resumable"]) == ("", False)
    panel._on_message(None, {"do": "resume", "run": 0}, [])
    panel.close()


@pytest.mark.parametrize(
    ("axis", "x", "tag"),
    [("time", 2.4, (2, 3)), ("microstep", 3.1, (9, 3)), ("sample", 5.6, (3, 3)), ("time", 99, (9, 3))],
)
def test_the_tag_of_a_point_is_the_last_of_what_it_stands_for(axis, x, tag):
    series = Series(capacity=600)
    series.extend([0, 10**9, 2 * 10**9, 2 * 10**9, 2 * 10**9, 3 * 10**9, 9 * 10**9], [0, 0, 1, 2, 3, 3, 3], range(7))
    assert series.tag_near(x, axis) == (tag[0] * 10**9, tag[1])
    assert Series().tag_near(x, axis) is None


def test_the_session_goes_back_and_branches_with_a_change_as_it_was_typed():
    session = KeptRuns()
    session.shell = SimpleNamespace(user_ns={"fast": 5.0})
    run = ended(keep="r")
    there = session.travel(run, "rewind", (5_000_000, 0))
    assert (there.state, list(there.metrics["high"].values)[-1]) == ("paused", 6.0)
    there.stop()
    branch = session.travel(run, "branch", (5_000_000, 0), "rate = fast").result(20)
    assert list(branch.metrics["high"].values)[4:8] == [5.0, 6.0, 11.0, 16.0]
    with pytest.raises(Exception, match="path=value"):
        session.travel(run, "branch", (5_000_000, 0), "rate")


def branched():
    ended(keep="r")
    for name, at, rate in (("b", 15, 3.0), ("a", 5, 2.0)):
        assert resume("r", at=ms(at), set={"rate": rate}, keep=name, program=Climb).wait(20)
    assert resume("a", at=ms(18), keep="aa", program=Climb).wait(20)


def test_no_mean_is_taken_over_a_run_and_its_branch():
    branched()
    stored = [StoredRun(Runs()[name].path) for name in ("r", "a")]
    panel, *_ = panel_of(*stored)
    assert [run["group"] for run in panel.runs] == ["", "branch of r at 5 ms"]
    there = resume("r", at=ms(5), program=Climb)
    assert there.wait(20)
    panel.add(there, "from (5 ms, 0)")
    panel.refresh()
    assert [run["group"] for run in panel.runs] == ["", "branch of r at 5 ms", "from (5 ms, 0)"]
    panel.close()


def test_branches_are_a_tree_by_where_they_began():
    branched()
    ended(keep="alone")
    tree = Runs().tree("aa")
    assert [(b.run.id, b.depth, b.parent) for b in tree.branches] == [
        ("r", 0, None),
        ("a", 1, 0),
        ("aa", 2, 1),
        ("b", 1, 0),
    ]
    assert {run.id for run in Runs().tree().runs} == {"r", "a", "aa", "b", "alone"}
    lines = tree_text(tree).splitlines()
    assert lines[0] == "r · finished · high 21"
    assert lines[1] == "   └─ a from 5 ms · finished · rate = 2 · high 36"
    picture = ElementTree.fromstring(tree_svg(tree))
    assert len([e for e in picture.iter() if e.tag.endswith("circle")]) == 4
    assert tree_html(tree).count("<polyline") >= 4


def test_a_tree_whose_runs_descend_from_themselves_or_from_nothing_ends():
    class Forged:
        problem, tag, state, summaries, change_count, began = "", (0, 0), "finished", {}, 0, None

        def __init__(self, name, parent):
            from reactornb.durable.stored import Parent
            from reactornb.tags import Tag

            self.id, self.parent, self.tag = name, Parent(parent, Tag(0, 0)), Tag(0, 0)

    runs = [Forged("a", "b"), Forged("b", "a"), Forged("c", "<gone>")]
    tree = Tree(runs)
    assert {run.id for run in tree.runs} == {"a", "b", "c"}
    assert {run.id for run in Tree(runs, runs[0]).runs} == {"a", "b"}
    assert "c of <gone>, which is not here, from (0, 0)" in tree_text(tree)
    ElementTree.fromstring(tree_svg(tree))
