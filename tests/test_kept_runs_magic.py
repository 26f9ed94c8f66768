"""`%reactor keep | checkpoint | resume | rewind | runs` on a real shell."""

import pytest

pytest.importorskip("IPython")

from IPython.core.completer import provisionalcompleter
from shells import loaded_shell

from reactornb.durable import storage
from reactornb.durable.folder import RunFolder
from reactornb.notebook import current_session
from reactornb.notebook.kept_runs import place_of
from reactornb.runtime import live_runs

pytestmark = pytest.mark.thread_unsafe(reason="one shell a process, and changes the environment")

CELL = """%%reactor Walk
rate: float = 1.0
call = PhysicalAction()
tick = Timer(0, ms(1))

@reaction(tick)
def on_tick(self):
    self.at = getattr(self, "at", 0.0) + self.rate * self.rng.normal()
    self.log(at=self.at)
"""


@pytest.fixture
def cells(tmp_path, monkeypatch):
    monkeypatch.setenv("REACTORNB_RUNS", str(tmp_path))
    monkeypatch.setattr(storage, "_fsync", lambda *_: None)
    with loaded_shell() as loaded:
        loaded.ok(CELL)
        yield loaded


def whole(cells):
    cells.ok("whole = Program(Walk).run(seed=3, until=ms(40), fast=True, fingerprint=True)")
    return cells.names["whole"]


def stopped(cells):
    """A kept run that was stopped on its way."""
    cells.ok("from reactornb import Program, ms")
    cells.ok("run = %reactor start Walk --seed 3 --fast --fingerprint --until 40ms --keep walk --workers 1")
    run = cells.names["run"]
    run.pause()
    run.stop()
    return run


def test_a_stopped_run_goes_on_by_its_name_as_if_it_had_not_been_stopped(cells):
    run = stopped(cells)
    assert (run.state, run.kept.name) == ("stopped", "walk")
    cells.ok("again = %reactor resume walk")
    again = cells.names["again"]
    assert again.result(20).fingerprint == whole(cells).fingerprint
    assert list(again.metrics["at"].values) == list(cells.names["whole"].metrics["at"].values)


def test_the_last_run_is_meant_if_none_is_named(cells):
    stopped(cells)
    cells.ok("again = %reactor resume")
    assert cells.names["again"].result(20).fingerprint == whole(cells).fingerprint


def test_a_paused_run_goes_on_as_ever(cells):
    cells.ok("run = %reactor start Walk --keep walk")
    cells.ok("%reactor pause")
    assert "running" in cells.ok("%reactor resume")
    assert live_runs() == [cells.names["run"]]


def test_keep_on_gives_each_run_a_name_and_off_none(cells):
    assert "only where a name is given" in cells.ok("%reactor keep")
    assert "and a number" in cells.ok("%reactor keep on")
    for name in ("walk-1", "walk-2"):
        cells.ok("run = %reactor start Walk --fast --until 3ms")
        assert cells.names["run"].wait(20)
        assert cells.names["run"].kept.name == name
    cells.ok("%reactor keep off")
    cells.ok("run = %reactor start Walk --fast --until 3ms")
    assert cells.names["run"].kept is None


def test_the_table_of_runs_chooses_and_sorts(cells):
    for name, rate in (("slow", 0.1), ("fast", 9.0)):
        cells.ok(f"run = %reactor start Walk rate={rate} --fast --until 3ms --keep {name}")
        assert cells.names["run"].wait(20)
    cells.ok("runs = %reactor runs 'rate < 1'")
    assert [run.id for run in cells.names["runs"]] == ["slow"]
    cells.ok("runs = %reactor runs --sort rate --reverse")
    assert [run.id for run in cells.names["runs"]] == ["fast", "slow"]
    assert "%reactor runs:" in cells("%reactor runs 'nothing < 1'")


def test_a_run_is_put_back_to_a_tag_and_a_branch_of_it_has_another_rate(cells):
    stopped(cells)
    cells.ok("run = %reactor resume")
    values = list(cells.names["run"].result(20).metrics["at"].values)
    cells.ok("there = %reactor rewind 10ms walk")
    there = cells.names["there"]
    assert (there.state, there.tag.time_ns) == ("paused", 10_000_000)
    assert list(there.metrics["at"].values) == values[:11]
    there.stop()
    cells.ok("branch = %reactor resume walk --at 10ms --set rate=0.0 --keep still")
    branch = cells.names["branch"].result(20)
    assert list(branch.metrics["at"].values) == values[:11] + [values[10]] * 30
    cells.ok("runs = %reactor runs")
    assert [(run.id, run.parent and run.parent.run) for run in cells.names["runs"]] == [
        ("still", "walk"),
        ("walk", None),
    ]


def test_branches_are_shown_as_a_tree(cells):
    stopped(cells)
    cells.ok("run = %reactor resume walk --at 5ms --set rate=0.0 --keep still")
    assert cells.names["run"].wait(20)
    cells.ok("tree = %reactor runs --tree still")
    lines = repr(cells.names["tree"]).splitlines()
    assert lines[0].startswith("walk · stopped")
    assert lines[1].startswith("   └─ still from 5 ms · finished · rate = 0 · at ")
    assert "%reactor runs:" in cells("%reactor runs --tree nobody")


def test_a_checkpoint_with_a_label_is_a_place_to_go_back_to(cells):
    cells.ok("run = %reactor start Walk --keep walk")
    while not cells.names["run"].metrics.get("at"):
        assert not cells.names["run"].wait(0.01)
    cells.ok("%reactor pause")
    said = cells.ok("%reactor checkpoint 'before lr'")
    assert said.startswith("checkpoint 'before lr' of walk at tag (")
    cells.ok("%reactor stop")
    cells.ok("there = %reactor rewind 'before lr' walk")
    there = cells.names["there"]
    assert there.state == "paused"
    assert str(there.tag) in said
    there.stop()


def test_what_is_not_kept_is_said_in_one_line(cells):
    cells.ok("run = %reactor start Walk")
    assert "is not kept, so there is nowhere to put one; start it with --keep NAME" in cells("%reactor checkpoint")
    assert "is not kept, so there is nothing to go back to" in cells("%reactor rewind 1s")
    assert "--at needs a kept run" in cells("%reactor resume --at 1s")
    assert "--set rate: it takes PATH=VALUE" in cells("%reactor resume walk --set rate")
    assert "on or off, not 'maybe'" in cells("%reactor keep maybe")
    assert "%reactor rewind:" in cells("%reactor rewind")


def test_a_kept_run_is_started_again_under_another_name(cells):
    run = stopped(cells)
    again = current_session().start_again(run)
    assert again.kept.name == "walk-2"
    assert again.result(20).fingerprint == whole(cells).fingerprint


def test_the_folder_has_the_cells_as_they_were_typed(cells):
    run = stopped(cells)
    with RunFolder.open(run.kept) as folder:
        assert folder.cells == {"Walk.py": CELL}


def test_curves_show_stored_runs_beside_live_ones(cells):
    stopped(cells)
    cells.ok("run = %reactor start Walk --fast --until 3ms --keep other")
    assert cells.names["run"].wait(20)
    said = cells.ok("%reactor curves walk other run")
    assert "run walk of walk: stopped" in said
    assert "run other of walk: finished" in said


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("1.5s", 1_500_000_000),
        ("1.5s,3", (1_500_000_000, 3)),
        ("(20 ms, 1)", (20_000_000, 1)),
        ("4.2 s, microstep 1,012", (4_200_000_000, 1012)),
        ("0,5", (0, 5)),
        ("90000000000.2", (90_000_000_000, 2)),
        ("before lr", "before lr"),
    ],
)
def test_a_place_is_typed_as_it_is_shown(text, place):
    assert place_of(text) == place


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("%reactor keep o", "on"),
        ("%reactor resume wa", "walk"),
        ("%reactor rewind 1s wa", "walk"),
        ("%reactor curves wa", "walk"),
        ("%reactor resume walk --s", "--set"),
        ("%reactor chec", "checkpoint"),
    ],
)
def test_tab_completes_commands_options_and_kept_names(cells, line, word):
    if word == "walk":
        stopped(cells)
    with provisionalcompleter():
        found = [c.text for c in cells.shell.Completer.completions(line, len(line))]
    assert word in found
