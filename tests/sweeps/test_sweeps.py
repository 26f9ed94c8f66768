"""Sweeps: which trials there are, how they are performed beside each other, what of a failure, a stop, and a table."""

import gc
import os
import re
import subprocess
import sys
import textwrap
import threading
import weakref
from pathlib import Path

import pytest
from sweep_programs import Broken, Climb, Meeting, Never, meeting

from reactornb import Program
from reactornb.errors import UnknownNameError
from reactornb.runtime import live_runs
from reactornb.sweeps import sweep
from reactornb.sweeps.errors import SweepError, SweepOptionError
from reactornb.sweeps.making import slots_of
from reactornb.sweeps.progress import Progress
from reactornb.sweeps.running import live_sweeps

pytestmark = pytest.mark.thread_unsafe(reason="counts the runs of the process")


def ended(program, /, **asked):
    made = sweep(program, **asked)
    assert made.wait(30)
    return made


def test_there_is_a_trial_for_each_combination_and_seed_all_configurations_first():
    made = ended(Climb, rate=[1.0, 2.0], rounds=[2, 3], seeds=2)
    assert [(t.swept["rate"], t.swept["rounds"], t.seed) for t in made] == [
        (1.0, 2, 0), (1.0, 3, 0), (2.0, 2, 0), (2.0, 3, 0), (1.0, 2, 1), (1.0, 3, 1), (2.0, 2, 1), (2.0, 3, 1),
    ]  # fmt: skip
    assert [t.number for t in made] == list(range(1, 9))
    assert {t.state for t in made} == {"finished"}
    assert made.state == "finished"


@pytest.mark.slow
def test_a_trial_is_reproducible_from_its_row():
    made = ended(Climb, rate=[1.0, 2.0], hidden=(4,), seeds=[3, 7], fingerprint=True)
    assert len({t.fingerprint for t in made}) == 4
    for trial in made:
        alone = Program(trial.cls, **trial.given).run(seed=trial.seed, fingerprint=True, workers=2)
        assert alone.fingerprint == trial.fingerprint
        assert list(alone.metrics["episode_return"]) == list(trial.metrics["episode_return"])
    assert made[0].code == "Program(Climb, rate=1.0, hidden=(4,)).run(seed=3, fingerprint=True)"
    assert eval(made[0].code, {"Program": Program, "Climb": Climb}).fingerprint == made[0].fingerprint


def test_as_many_trials_run_at_once_as_there_are_places_and_the_others_wait():
    meeting.now = meeting.most = 0
    meeting.barrier = threading.Barrier(2)
    made = ended(Meeting, rate=[1.0, 2.0, 3.0], seeds=2, at_once=2)
    assert {t.state for t in made} == {"finished"}, "two were there at once, or the barrier had broken"
    assert meeting.most == 2


def test_several_programs_are_compared():
    made = ended([Climb, Broken], rate=[1.0])
    assert [t.group for t in made] == ["Climb, rate=1", "Broken, rate=1"]
    assert made.table.heads[:3] == ("trial", "program", "rate")


def test_a_trial_that_fails_is_a_row_with_its_error_and_the_others_go_on():
    made = ended(Broken, rate=[1.0, 2.0, 3.0, 4.0])
    assert [t.state for t in made] == ["finished", "failed", "failed", "finished"]
    assert "no such rate" in made[1].failure
    assert "it burst" in made[2].failure
    assert "on_tick" in made[2].traceback
    assert made.result() is made
    assert made.best is made[3]
    assert "trial 3 failed" in repr(made)


def test_a_sweep_of_which_every_trial_failed_raises_when_it_is_asked_for_its_result():
    made = sweep(Broken, rate=[2.0, 3.0])
    with pytest.raises(SweepError, match="every trial failed, 2 in all") as error:
        made.result(30)
    assert len(error.value.failures) == 2


def test_a_parameter_that_there_is_not_is_refused_before_anything_runs():
    with pytest.raises(UnknownNameError, match=r"'rat'.*Did you mean 'rate'"):
        sweep(Climb, rat=[1.0])
    assert not live_sweeps()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"seed": 3}, "seeds=5"),
        ({"profile": True}, "trial.make"),
        ({"seeds": 0}, "at least one seed"),
        ({"at_once": 0}, "at least 1"),
        ({"score": 3}, "name of a metric"),
        ({"keep": ""}, "name under which"),
        ({"rate": 1.0, "parameters": {"rate": 2.0}}, "given twice"),
    ],
)
def test_what_no_sweep_can_be_is_refused(asked, words):
    with pytest.raises(SweepOptionError, match=words):
        sweep(Climb, **asked)


@pytest.mark.parametrize("given", [Climb(), Program(Climb), 3, []])
def test_a_sweep_takes_a_class(given):
    with pytest.raises(SweepOptionError, match="class"):
        sweep(given)


def test_no_two_places_share_a_cpu():
    slots = slots_of({"workers": 1}, 3, 10)
    pinned = [cpu for slot in slots if slot["placement"] != "none" for cpu in slot["placement"]]
    assert len(slots) == 3
    assert len(pinned) == len(set(pinned))
    assert len(slots_of({"workers": 1}, 8, 3)) == 3, "more places than trials are of no use"


def test_a_sweep_that_is_stopped_ends_its_runs_and_begins_no_more():
    made = sweep(Never, rate=[1.0, 2.0, 3.0], at_once=1)
    while not any(t.run is not None for t in made):
        assert not made.wait(0.01)
    made.stop()
    assert [t.state for t in made] == ["stopped", "waiting", "waiting"]
    assert made.state == "stopped"
    assert not made.is_alive
    assert not live_runs()


def test_a_trial_that_is_over_does_not_hold_its_run():
    made = sweep(Never, at_once=1)
    while made[0].run is None:
        assert not made.wait(0.01)
    held = weakref.ref(made[0].run)
    made.stop()
    gc.collect()
    assert made[0].run is None
    assert held() is None
    assert len(made[0].metrics["episode_return"]) > 0, "what it logged is there"


def test_what_is_taken_of_a_run_before_it_is_let_go_stays_with_its_row():
    made = ended(Broken, rate=[1.0, 3.0], take=lambda run: run.instance("sink").last)
    assert made[0].taken == pytest.approx(1.0, abs=0.1)
    assert made[1].taken is None, "it failed"
    noted = ended(Climb, take=lambda run: 1 / 0)[0]
    assert (noted.state, noted.taken) == ("finished", None)
    assert "take raised ZeroDivisionError" in noted.note


def test_the_score_is_the_mean_return_a_metric_or_what_a_function_says():
    assert ended(Climb, rounds=4)[0].score == pytest.approx(2.5)
    assert ended(Climb, rounds=4, score="steps")[0].score == 10
    assert ended(Climb, rounds=4, score=lambda metrics: metrics["episode_return"][-1])[0].score == 4
    assert ended(Climb, rounds=4, score="loss")[0].score is None
    noted = ended(Climb, score=lambda metrics: metrics["loss"].values[-1])[0]
    assert noted.state == "finished"
    assert "its score could not be computed" in noted.note


def test_configurations_are_ranked_by_the_mean_of_their_scores():
    made = ended(Climb, rate=[1.0, 3.0, 2.0], seeds=2)
    summary = made.summary
    assert [c.swept["rate"] for c in summary.configurations] == [3.0, 2.0, 1.0]
    assert [c.mean for c in summary.configurations] == pytest.approx([9.0, 6.0, 3.0])
    assert summary.configurations[0].deviation == pytest.approx(0.0)
    assert made.best.swept == {"rate": 3.0}
    least = ended(Climb, rate=[1.0, 3.0], maximize=False)
    assert least.best.swept == {"rate": 1.0}
    assert [row[0] for row in least.summary.rows] == ["1", "3"]


def test_the_table_has_a_row_for_each_trial():
    table = ended(Climb, rate=[1.0, 2.0], seeds=2).table
    assert table.heads == ("trial", "rate", "seed", "state", "score", "seconds")
    assert [row[:5] for row in table.rows] == [
        ("1", "1", "0", "finished", "3"), ("2", "2", "0", "finished", "6"), ("3", "1", "1", "finished", "3"), ("4", "2", "1", "finished", "6"),
    ]  # fmt: skip
    assert re.search(r"^trial +rate +seed +state +score", repr(table))


def test_progress_says_what_is_done_what_runs_and_what_time_is_left():
    made = sweep(Never, rate=[1.0, 2.0], at_once=1)
    while made[0].run is None:
        assert not made.wait(0.01)
    progress = Progress(made)
    assert "0 of 2 trials done, 1 running" in progress.line()
    made.stop()
    over = ended(Climb, rate=[1.0, 2.0])
    progress = Progress(over)
    assert [progress.share(t) for t in over] == [1.0, 1.0]
    assert progress.left_s() == pytest.approx(0.0)
    assert "2 of 2 trials done, best 6" in progress.line()


def test_a_wait_without_a_terminal_says_how_it_ended_if_it_is_asked_to(capsys):
    made = sweep(Climb, rate=[1.0, 2.0])
    assert made.wait(30, progress=True)
    assert "2 of 2 trials done" in capsys.readouterr().err
    assert made.wait(30)
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_a_sweep_is_plotted_with_a_mean_for_each_configuration():
    pytest.importorskip("matplotlib")
    made = ended(Climb, rate=[1.0, 2.0], seeds=2)
    (axes,) = made.plot(["episode_return"]).figure.axes
    labels = {text.get_text() for text in axes.get_legend().get_texts()}
    assert any("rate=1" in label for label in labels)
    assert any("rate=2" in label for label in labels)


@pytest.mark.slow
def test_a_script_that_is_over_ends_its_sweep_and_exits(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
        from sweep_programs import Never
        from reactornb.sweeps import sweep

        made = sweep(Never, rate=[1.0, 2.0, 3.0], at_once=1)
        while made[0].run is None:
            made.wait(0.01)
        print("the end", flush=True)
        """)
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "the end\n", "")
