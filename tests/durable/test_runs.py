"""`Runs`: which runs there are, what is known of each, and what changes their folders."""

import sys
from datetime import datetime
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from kept_runs import BEGAN, append, keep, rows, unsynced

from reactornb.durable.errors import DamagedRunError, NoSuchRunError, RunInUseError
from reactornb.durable.folder import RunFolder
from reactornb.durable.metric_rows import pack
from reactornb.durable.runs import NotConfirmedError, Runs
from reactornb.durable.stored import StoredRun
from reactornb.errors import UnknownNameError
from reactornb.runtime.metrics import metrics_of
from reactornb.runtime.tuning import Change
from reactornb.tags import Tag, ms

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Three runs that no test changes."""
    root = tmp_path_factory.mktemp("three")
    keep(root, "first", seed=1, lr=0.01)
    keep(root, "second", seed=2, lr=0.001, scale=2.0, state="failed", commit={"hash": "abc", "dirty": True})
    keep(root, "third", seed=3, lr=0.001, scale=3.0, program="dqn", parent={"run": "first", "tag": [5, 1]})
    return root


# -- what is known of a run ---------------------------------------------------------------------------------------------------


def test_runs_are_a_sequence_the_newest_first(three):
    runs = Runs(three)
    assert [run.id for run in runs] == ["third", "second", "first"]
    assert runs[0].id == "third"
    assert [run.id for run in runs[1:]] == ["second", "first"]
    assert isinstance(runs[1:], Runs)
    assert "first" in runs
    assert runs["first"] in runs
    assert "fourth" not in runs
    with pytest.raises(NoSuchRunError, match="Did you mean 'first'"):
        runs["frist"]


def test_a_run_knows_what_it_was_started_with_and_how_it_ended(three):
    run = Runs(three)["second"]
    assert (run.program, run.root, run.seed, run.state, run.failure) == ("ppo", "PPO", 2, "failed", "boom")
    assert run.parameters["main.learner.lr"] == 0.001
    assert repr(run.parameters["main.network"]) == "a function"
    assert run.versions == {"python": "3.14t", "numpy": "2.5"}
    assert (run.commit, run.graph, run.fingerprint) == ("abc+", "0f" * 32, f"{2:064x}")
    assert run.began == datetime.fromtimestamp(BEGAN + 120).astimezone()
    assert (run.seconds, run.tag) == (12.5, Tag(ms(39), 0))
    assert run.sources == {"cell_1.py": "class PPO:\n    lr = 0.001\n"}
    assert run.parent is None
    assert Runs(three)["third"].parent == ("first", Tag(5, 1))
    assert [branch.id for branch in Runs(three).branches("first")] == ["third"]


def test_its_metrics_are_those_that_were_logged(three):
    run = Runs(three)["second"]
    assert run.metrics == metrics_of([rows(0, 40, 2.0)], 0.0)
    assert run.metrics["loss"].steps.tolist() == [64 * step for step in range(1, 41)]
    summary = run.summaries["episode_return"]
    assert (summary.count, summary.last, summary.least, summary.greatest, summary.mean) == (40, 78.0, 0.0, 78.0, 39.0)


def test_what_a_resume_made_void_is_neither_in_metrics_nor_changes(tmp_path):
    path = keep(tmp_path, "pong", steps=30, batches=3, ended=False)
    append(
        path,
        ("change", (ms(12), 0), {"path": "main.lr", "old": 0.01, "new": 0.1}),
        ("note", (ms(25), 0), {"text": "late"}),
    )
    append(path, ("ended", (ms(29), 0), {"state": "stopped"}))
    before = Runs(tmp_path)["pong"]
    assert (before.state, before.change_count, [note.text for note in before.notes]) == ("stopped", 1, ["late"])
    append(
        path,
        ("resumed", (ms(14), 0), {}),
        ("metrics", (ms(39), 0), pack(0, rows(15, 40, 5.0).columns(), 0.0)),
    )
    run = Runs(tmp_path)["pong"]
    expected = [float(step) for step in range(15)] + [5.0 * step for step in range(15, 40)]
    assert run.metrics["episode_return"].values.tolist() == expected
    assert run.summaries["episode_return"].count == 40
    assert run.changes == [Change(Tag(ms(12), 0), "main.lr", 0.01, 0.1)]
    assert (run.resumed, run.notes, run.state) == ([Tag(ms(14), 0)], [], "interrupted")
    append(path, ("resumed", (ms(3), 0), {}))
    assert (Runs(tmp_path)["pong"].change_count, Runs(tmp_path)["pong"].resumed_count) == (0, 2)


def test_enclaves_that_were_cut_at_their_own_tags_keep_their_own_rows(tmp_path):
    path = keep(tmp_path, "pong", steps=20, batches=1, ended=False)
    append(path, ("metrics", (ms(19), 0), pack(1, rows(0, 20, 10.0).columns(), 0.0)))
    append(path, ("resumed", (ms(9), 0), {"tags": [[int(ms(9)), 0], [int(ms(4)), 0]]}))
    values = Runs(tmp_path)["pong"].metrics["episode_return"].values.tolist()
    assert values == [v for step in range(10) for v in ([step, 10.0 * step] if step < 5 else [step])]


def test_a_run_without_an_end_is_running_while_somebody_writes_it_and_interrupted_afterwards(tmp_path):
    path = keep(tmp_path, "pong", ended=False)
    assert StoredRun(path).state == "interrupted"
    with unsynced(), RunFolder.open(path, writable=True):
        run = Runs(tmp_path)["pong"]
        assert (run.state, run.is_alive) == ("running", True)
    assert run.state == "interrupted"


def test_a_live_run_is_followed_from_where_the_last_look_ended(tmp_path):
    path = keep(tmp_path, "pong", steps=20, batches=2, ended=False)
    run = StoredRun(path)
    assert len(run.metrics["loss"]) == 20
    assert not run.refresh()
    append(path, ("metrics", (ms(29), 0), pack(0, rows(20, 30).columns(), 0.0)))
    assert run.refresh()
    assert run.metrics == metrics_of([rows(0, 30)], 0.0)
    assert run.summaries["loss"].count == 30
    append(path, ("ended", (ms(29), 0), {"state": "finished", "seconds": 1.0}))
    assert run.refresh()
    assert (run.state, run.seconds) == ("finished", 1.0)


def test_what_is_damaged_is_a_row_that_says_so_and_hides_no_other(tmp_path):
    keep(tmp_path, "good")
    bad = keep(tmp_path, "bad")
    (bad / "run.json").write_text("{")
    (tmp_path / "empty").mkdir()
    (tmp_path / "a file").write_text("")
    runs = Runs(tmp_path)
    assert sorted(run.id for run in runs) == ["bad", "good"]
    assert runs["bad"].state == "damaged"
    assert "run.json" in runs["bad"].problem
    assert "damaged" in repr(runs["bad"])
    with pytest.raises(DamagedRunError):
        _ = runs["bad"].metrics
    assert "damaged" in repr(runs)
    (bad / "run.json").write_bytes((tmp_path / "good" / "run.json").read_bytes())
    assert runs.refresh()["bad"].state == "finished"


def test_values_of_undeclared_classes_in_a_change_are_left_out_and_nothing_else_is(tmp_path):
    path = keep(tmp_path, "pong", ended=False)
    append(
        path,
        ("change", (ms(1), 0), b"not a value"),
        ("change", (ms(2), 0), {"path": "main.lr", "old": 1, "new": (2, None)}),
    )
    run = Runs(tmp_path)["pong"]
    assert [change.path for change in run.changes] == ["?", "main.lr"]
    assert run.changes[1].new == (2, None)


def test_a_folder_without_runs_has_none(tmp_path):
    assert len(Runs(tmp_path / "nowhere")) == 0
    assert "There are no runs in" in repr(Runs(tmp_path / "nowhere"))


def test_the_folder_is_that_of_the_environment_unless_given(three, tmp_path, monkeypatch):
    monkeypatch.setenv("REACTORNB_RUNS", str(three))
    assert len(Runs()) == 3
    monkeypatch.delenv("REACTORNB_RUNS")
    monkeypatch.chdir(tmp_path)
    assert len(Runs()) == 0


# -- some of them -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "chosen"),
    [
        ("lr < 0.005", "third second"),
        ("learner.lr == 0.01", "first"),
        ("main.learner.lr == 0.01 or program == 'dqn'", "third first"),
        ("state == 'finished' and not seed == 1", "third"),
        ("episode_return > 100", "third"),
        ("last['episode_return'] > 100 and least['loss'] < 1 and count['loss'] == 40", "third"),
        ("rollouts[1].epsilon > rollouts[0].epsilon", "third second first"),
        ("parent is None", "second first"),
        ("id in ['first', 'third']", "third first"),
        ("1 < seed <= 3", "third second"),
        ("seed % 2 == 1", "third first"),
        ("commit == 'abc+'", "second"),
        ("began >= '2026' and seconds > 12", "third second first"),
        ("env < 3", ""),
        ("commit > 'a' or seed == 1", "second first"),
        ("not commit > 'a'", "third first"),
    ],
)
def test_a_condition_chooses_runs(three, condition, chosen):
    assert " ".join(run.id for run in Runs(three).where(condition)) == chosen


def test_keywords_and_functions_choose_runs_as_well(three):
    runs = Runs(three)
    assert [run.id for run in runs.where(seed=2, program="ppo")] == ["second"]
    assert [run.id for run in runs.where(lambda run: run.seed > 1, state="finished")] == ["third"]
    assert len(runs.where(label="no such word")) == 0


def test_a_name_that_no_run_has_is_refused_with_what_was_meant(three):
    runs = Runs(three)
    with pytest.raises(UnknownNameError, match=r"none of these runs has 'lrr'\. Did you mean 'lr'"):
        runs.where("lrr < 1")
    with pytest.raises(UnknownNameError, match="Did you mean 'least'"):
        runs.where("lest['loss'] < 1")
    with pytest.raises(UnknownNameError, match="Did you mean 'episode_return'"):
        runs.where("last['episode_retrun'] < 1")
    with pytest.raises(UnknownNameError, match="sed"):
        runs.where(sed=1)
    with pytest.raises(UnknownNameError, match="'loess'"):
        runs.sort("loess")


def test_runs_are_sorted_by_facts_parameters_and_metrics_and_what_has_none_comes_last(three):
    runs = Runs(three)
    assert [run.id for run in runs.sort("episode_return", reverse=True)] == ["third", "second", "first"]
    assert [run.id for run in runs.sort("learner.lr")] == ["third", "second", "first"]
    assert [run.id for run in runs.sort("commit")] == ["second", "third", "first"]
    assert [run.id for run in runs.sort("commit", reverse=True)] == ["second", "third", "first"]
    assert [run.id for run in runs.sort(lambda run: -run.seed)] == ["third", "second", "first"]
    assert [run.id for run in runs.sort("last['loss']")] == ["third", "second", "first"]


# -- what changes folders -----------------------------------------------------------------------------------------------------


def test_labels_stay_with_the_folder_and_find_it(tmp_path):
    path = keep(tmp_path, "pong")
    keep(tmp_path, "other")
    RunFolder.open(path).set_notes({"text": "kept"})
    runs = Runs(tmp_path)
    assert runs.tag("pong", "baseline", "paper").labels == ("baseline", "paper")
    assert runs["pong"].labels == ("baseline", "paper")
    assert [run.id for run in Runs(tmp_path).where(label="paper")] == ["pong"]
    assert [run.id for run in Runs(tmp_path).where("'paper' in labels")] == ["pong"]
    assert runs.tag("pong", "paper", "new").labels == ("baseline", "paper", "new")
    assert runs.untag("pong", "paper").labels == ("baseline", "new")
    assert runs.untag(runs["pong"]).labels == ()
    assert RunFolder.open(path).notes == {"text": "kept", "labels": []}
    for word in ("", " a", "a,b", "a\nb", "x" * 101):
        with pytest.raises(ValueError, match="is no label"):
            runs.tag("pong", word)


def test_a_run_is_deleted_once_its_name_was_repeated(tmp_path):
    keep(tmp_path, "pong", seed=1)
    keep(tmp_path, "fork", seed=2, parent={"run": "pong", "tag": [5, 0]})
    runs = Runs(tmp_path)
    with pytest.raises(NotConfirmedError, match=r"delete\('pong', confirm='pong'\)") as caught:
        runs.delete("pong", confirm="fork")
    assert caught.value.run == "pong"
    assert "Its branches stay: fork" in str(caught.value)
    assert (tmp_path / "pong" / "journal.rnj").exists()
    runs.delete("pong", confirm="pong")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "cache") == ["fork"]
    assert [run.id for run in runs] == [run.id for run in Runs(tmp_path)] == ["fork"]


def test_a_run_that_is_being_written_is_not_deleted(tmp_path):
    path = keep(tmp_path, "pong", ended=False)
    with unsynced(), RunFolder.open(path, writable=True):
        with pytest.raises(RunInUseError):
            Runs(tmp_path).delete("pong", confirm="pong")
        assert path.exists()
    Runs(tmp_path).delete("pong", confirm="pong")
    assert not path.exists()


def test_deleting_a_link_to_a_run_leaves_the_run_and_no_name_leads_out_of_the_folder(tmp_path):
    elsewhere = keep(tmp_path / "elsewhere", "pong")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "link").symlink_to(elsewhere)
    runs = Runs(tmp_path / "runs")
    assert [run.id for run in runs] == ["link"]
    runs.delete("link", confirm="link")
    assert not list((tmp_path / "runs").iterdir())
    assert StoredRun(elsewhere).state == "finished"
    for name in ("../elsewhere/pong", str(elsewhere), "."):
        with pytest.raises(NoSuchRunError):
            runs.delete(name, confirm=name)
