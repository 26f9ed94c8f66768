"""Several runs at once: each has a name, and a name that means more than one is refused with the list."""

import re

import pytest

pytest.importorskip("IPython")

from IPython.core.error import UsageError
from shells import loaded_shell

from reactornb.notebook import current_session
from reactornb.runtime import live_runs

TICKS = """%%reactor Ticks
tick = Timer(0, ms(5))
lr: float = 0.5

@reaction(tick)
def on_tick(self):
    self.log(lr=self.lr)
"""
THREE = "from reactornb import Program\na, b, c = [Program(Ticks).start(workers=1, seed=s) for s in (1, 2, 3)]"


@pytest.fixture
def cells():
    with loaded_shell() as cells:
        cells.ok(TICKS)
        yield cells


@pytest.mark.parametrize("command", ["stop", "pause", "stop ticks", "pause Ticks", "step 2 ticks", "run ticks"])
def test_a_name_that_several_runs_share_is_refused_with_all_of_them(cells, command):
    cells(THREE)
    said = cells(f"%reactor {command}")
    assert isinstance(cells.error, UsageError)
    for name in "abc":
        run = cells.names[name]
        assert f"ticks#{run.number}, seed {run.seed}, variable {name}" in said
        assert run.state == "running", "none was stopped or paused in silence"
    assert f"say which: %reactor {command.split()[0]} ticks#{cells.names['a'].number}" in said


@pytest.mark.parametrize("how", ["ticks#{}", "{}", "Ticks#{}"])
def test_a_run_is_meant_by_its_number_and_the_others_go_on(cells, how):
    cells(THREE)
    number = cells.names["b"].number
    cells(f"%reactor stop {how.format(number)}")
    assert cells.error is None
    assert [cells.names[n].state for n in "abc"] == ["running", "stopped", "running"]
    cells("%reactor stop b")
    assert isinstance(cells.error, UsageError)
    said = cells("%reactor stop ticks")
    assert "ticks has several runs" in said
    assert f"ticks#{number}" not in said


def test_a_number_that_no_run_has_is_refused_with_those_that_there_are(cells):
    cells(THREE)
    for name in ("999999", "ticks#999999", f"other#{cells.names['a'].number}"):
        said = cells(f"%reactor stop {name}")
        assert isinstance(cells.error, UsageError)
        assert cells.names["c"].name in said
    assert all(cells.names[n].is_alive for n in "abc")


def test_all_means_all_of_them_or_all_of_a_name(cells):
    cells(THREE)
    cells(TICKS.replace("Ticks", "Others"))
    cells("o = %reactor start Others -w 1")
    assert cells("%reactor pause --all").count("paused") == 4
    cells("%reactor resume --all ticks")
    assert [cells.names[n].state for n in "abco"] == ["running"] * 3 + ["paused"]
    assert cells("%reactor stop Ticks --all").count("stopped") == 3
    assert cells.names["o"].is_alive
    cells("%reactor stop --all")
    assert live_runs() == []
    said = cells("%reactor stop --all")
    assert isinstance(cells.error, UsageError)
    assert "nothing is running" in said


def test_one_that_is_left_is_meant_by_the_name_again(cells):
    cells(THREE)
    cells("%reactor stop 1; 0")
    cells(f"%reactor stop {cells.names['a'].number}")
    cells(f"%reactor stop {cells.names['c'].number}")
    cells("%reactor stop ticks")
    assert cells.error is None
    assert cells.names["b"].state == "stopped"


def test_a_run_that_no_variable_holds_is_reached_by_its_name_and_the_list_names_it(cells):
    cells("first = %reactor start Ticks -w 1 --seed 7")
    cells("%reactor stop")
    again = current_session().start_again(cells.names["first"])
    assert f"ticks#{again.number}, seed 7" in cells("%reactor list")
    cells(f"second = %reactor run {again.name}")
    assert cells.names["second"] is again
    assert re.search(rf"ticks#{again.number}, seed 7, variable second", cells("%reactor list"))


@pytest.mark.parametrize("word", ["first", "made", "ticks#{}"])
def test_the_changes_of_a_run_are_made_again_by_the_magic(cells, word):
    cells("first = %reactor start Ticks -w 1 --until 200ms")
    cells("first.set('lr', 0.25); first.result(); made = first.changes")
    assert len(cells.names["made"]) == 1
    cells(f"%reactor start Ticks -w 1 --until 200ms --fast --replay {word.format(cells.names['first'].number)}")
    assert cells.error is None
    second = current_session().last_run
    assert second.wait(20)
    assert second.changes == cells.names["made"]
    cells("%reactor start Ticks --replay nothing")
    assert isinstance(cells.error, UsageError)
