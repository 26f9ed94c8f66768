"""The index of runs: it says what stands in the folders, whatever happened to it or to them."""

import json
import sqlite3
import sys
import threading
import time
from pathlib import Path

import numpy
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from kept_runs import append, keep, rows

from reactornb.durable.history import History
from reactornb.durable.index import Index, index_file
from reactornb.durable.metric_rows import pack
from reactornb.durable.runs import Runs
from reactornb.durable.stored import read_row
from reactornb.durable.summary import MetricSummary
from reactornb.tags import ms

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "runs"
    for number in (1, 2, 3):
        keep(root, f"run-{number}", seed=number)
    return root


class Counted:
    """`read_row`, and which runs it read from the start, which from where the last look ended."""

    def __init__(self):
        self.whole, self.continued = [], []

    def __call__(self, path, before=None):
        (self.whole if before is None else self.continued).append(path.name)
        return read_row(path, before)


def texts(rows):
    """All that the rows say; sums up to the order in which they were added up."""
    said = {row.id: json.loads(row.text) for row in rows}
    for _, summary, *_ in said.values():
        for metric in summary["metrics"].values():
            metric[4] = round(metric[4], 9)
    return said


def test_only_what_changed_is_read_again(root):
    read = Counted()
    index = Index(root, read, index_file(root))
    first = texts(index.rows())
    assert sorted(read.whole) == ["run-1", "run-2", "run-3"]
    assert texts(index.rows()) == first
    assert len(read.whole) == 3
    append(root / "run-2", ("metrics", (ms(49), 0), pack(0, rows(40, 50).columns())))
    now = texts(index.rows())
    assert (len(read.whole), read.continued) == (3, ["run-2"])
    assert now == texts(Index(root, read_row, None).rows())
    assert now != first


def test_runs_that_are_gone_or_new_are_gone_and_new_in_the_index(root):
    index = Index(root, read_row, index_file(root))
    index.rows()
    (root / "run-2").rename(root / "moved")
    keep(root, "run-4", seed=4)
    assert sorted(row.id for row in index.rows()) == ["moved", "run-1", "run-3", "run-4"]
    with sqlite3.connect(index_file(root)) as table:
        names = sorted(name for (name,) in table.execute("SELECT id FROM runs"))
    table.close()
    assert names == ["moved", "run-1", "run-3", "run-4"]


def test_a_folder_of_the_same_name_with_other_files_is_read_from_the_start(root):
    read = Counted()
    index = Index(root, read, index_file(root))
    index.rows()
    (root / "run-1").rename(root.parent / "away")
    keep(root, "run-1", seed=77, steps=80)
    assert {row.id: row.facts.about["seed"] for row in index.rows()}["run-1"] == 77
    assert read.whole[3:] == ["run-1"]


def test_a_resumed_run_is_read_from_the_start_and_summed_up_as_if_it_had_never_stopped(root):
    index = Index(root, read_row, index_file(root))
    index.rows()
    append(root / "run-3", ("resumed", (ms(19), 0), {}), ("metrics", (ms(39), 0), pack(0, rows(20, 40).columns())))
    resumed = {row.id: row.facts.summary for row in index.rows()}["run-3"]
    assert (resumed.resumed, resumed.end) == (1, None)
    assert resumed.metrics["loss"].count == 40
    assert (
        resumed.metrics["loss"].spark
        == {row.id: row.facts.summary for row in index.rows()}["run-2"].metrics["loss"].spark
    )


@pytest.mark.parametrize("damage", ["no database", "half", "one byte", "another table", "a folder"])
def test_a_damaged_index_is_made_anew_and_never_believed(root, damage):
    file = index_file(root)
    index = Index(root, read_row, file)
    expected = texts(index.rows())
    data = bytearray(file.read_bytes())
    file.unlink()
    match damage:
        case "no database":
            file.write_bytes(b"nonsense " * 1000)
        case "half":
            file.write_bytes(data[: len(data) // 2])
        case "one byte":
            at = data.index(b"CartPole")
            data[at] = ord("K")
            file.write_bytes(data)
        case "another table":
            with sqlite3.connect(file) as table:
                table.execute("CREATE TABLE runs (other TEXT)")
            table.close()
        case "a folder":
            file.mkdir()
    assert texts(index.rows()) == expected
    assert texts(index.rows()) == expected


def test_where_the_index_cannot_be_written_runs_are_read_without_it(root, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert sorted(run.id for run in Runs(root)) == ["run-1", "run-2", "run-3"]


def test_an_index_that_another_process_writes_is_read_and_left_alone(root, monkeypatch):
    monkeypatch.setattr("reactornb.durable.index._PATIENCE_S", 0.0)
    file = index_file(root)
    Index(root, read_row, file).rows()
    append(root / "run-1", ("ended", (ms(39), 0), {"state": "stopped"}))
    other = sqlite3.connect(file, isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        states = {row.id: row.facts.summary.end["state"] for row in Index(root, read_row, file).rows()}
    finally:
        other.close()
    assert states == {"run-1": "stopped", "run-2": "finished", "run-3": "finished"}


def test_threads_may_ask_at_once(root):
    found, barrier = [], threading.Barrier(4)

    def ask():
        barrier.wait()
        found.append(texts(Index(root, read_row, index_file(root)).rows()))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [texts(Index(root, read_row, None).rows())] * 4


def test_the_journal_is_no_write_ahead_log(root):
    Index(root, read_row, index_file(root)).rows()
    table = sqlite3.connect(index_file(root))
    assert table.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    table.close()


def test_each_folder_of_runs_has_its_index_in_the_users_cache(tmp_path):
    assert index_file(tmp_path / "a") != index_file(tmp_path / "b")
    assert index_file(tmp_path / "a").parent == tmp_path / "cache" / "reactornb" / "runs"
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert index_file(tmp_path / "link") == index_file(tmp_path / "a")


def test_a_summary_that_was_continued_says_what_one_of_the_whole_journal_says(tmp_path):
    path = keep(tmp_path, "pong", steps=30, batches=3, ended=False)
    row = read_row(path)
    for start in range(30, 400, 37):
        append(path, ("metrics", (ms(start + 36), 0), pack(0, rows(start, start + 37).columns())))
        append(path, ("change", (ms(start + 36), 0), {"path": "main.lr", "old": 1.0, "new": 2.0}))
        row = read_row(path, row)
    whole = read_row(path)
    assert json.loads(row.text)[0] == json.loads(whole.text)[0]
    one, other = row.facts.summary, whole.facts.summary
    assert (one.position, one.tag, one.changes, one.end) == (other.position, other.tag, other.changes, other.end)
    assert one.changes == 10
    assert one.wall_s == other.wall_s
    for name, metric in other.metrics.items():
        continued = one.metrics[name]
        assert (continued.count, continued.last, continued.least, continued.greatest) == (
            metric.count,
            metric.last,
            metric.least,
            metric.greatest,
        )
        assert continued.mean == pytest.approx(metric.mean)


@pytest.mark.parametrize("batch", [1, 3, 50, 5000])
def test_a_sparkline_has_at_most_64_points_whose_means_are_those_of_the_values(batch):
    values = numpy.random.default_rng(1).normal(size=4321) + numpy.linspace(0, 9, 4321)
    made = MetricSummary()
    for start in range(0, len(values), batch):
        made.extend(values[start : start + batch])
    assert 32 <= len(made.spark) <= 64
    per = len(values) // (len(made.spark) - 1)
    per = 1 << (per.bit_length() - 1)
    expected = [values[i : i + per].mean() for i in range(0, len(values), per)]
    assert made.spark == pytest.approx(expected) or len(made.spark) != len(expected)
    assert (made.count, made.last, made.least, made.greatest) == (4321, values[-1], values.min(), values.max())
    assert made.mean == pytest.approx(values.mean())
    again = MetricSummary.of_json(json.loads(json.dumps(made.to_json())))
    assert (again.spark, again.count, again.mean) == (made.spark, made.count, made.mean)


def test_values_that_are_no_numbers_leave_least_and_greatest_alone():
    made = MetricSummary()
    made.extend(numpy.array([numpy.nan, 2.0, 1.0]))
    made.extend(numpy.array([numpy.nan]))
    assert (made.least, made.greatest, made.count) == (1.0, 2.0, 4)
    assert numpy.isnan(made.last)


def test_a_history_that_grew_says_what_one_of_the_whole_journal_says(tmp_path):
    path = keep(tmp_path, "pong", steps=30, batches=3)
    from reactornb.durable.folder import RunFolder

    records = list(RunFolder.open(path).journal.records())
    grown = History()
    for record in records:
        assert grown.add([record])
    assert not grown.add([])
    whole = History(records)
    assert grown.metrics == whole.metrics
    assert (grown.end, grown.tag, grown.position) == (whole.end, whole.tag, whole.position)
    assert grown.rows_of(0).keys() == {"steps", "episode_return", "loss", "eval_return"}
    assert grown.rows_of(1) == {}


@pytest.mark.slow
def test_a_thousand_runs_are_listed_again_in_a_tenth_of_the_time_that_reading_them_takes(tmp_path):
    root = tmp_path / "runs"
    first = keep(root, "run-0", steps=1000, batches=20)
    files = {p.relative_to(first): p.read_bytes() for p in first.rglob("*") if p.is_file()}
    for number in range(1, 1000):
        for name in ("cells", "segments", "checkpoints"):
            (root / f"run-{number}" / name).mkdir(parents=True)
        for name, data in files.items():
            (root / f"run-{number}" / name).write_bytes(data)
    began = time.process_time()
    assert len(Runs(root)) == 1000
    reading = time.process_time() - began
    again = []
    for _ in range(3):
        began = time.process_time()
        assert len(Runs(root)) == 1000
        again.append(time.process_time() - began)
    assert min(again) < reading / 10
    assert index_file(root).stat().st_size < 10e6
