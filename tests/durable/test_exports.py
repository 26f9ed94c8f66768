"""Runs for other programs: what is written is what was logged."""

import csv
import json
import math
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from kept_runs import BEGAN, append, keep

from reactornb import Program, Reactor, Timer, ms, reaction
from reactornb.durable import exports
from reactornb.durable.metric_rows import pack
from reactornb.durable.runs import Runs
from reactornb.durable.tensorboard import EventFile, crc32c
from reactornb.errors import MissingPackageError, ReactorError
from reactornb.runtime.logs import Log
from reactornb.testing import FakeClock

EVIL = 'a|b,"c"\n1'


pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    keep(root, "pong", seed=1, lr=0.01)
    path = keep(root, "other", seed=2, state="failed", ended=False)
    log = Log()
    for value in (math.nan, math.inf, 1e300, -0.0, 5e-324):
        log.add((7, 3), {EVIL: value})
    append(path, ("metrics", (7, 3), pack(1, log.columns())), ("ended", (7, 3), {"state": "failed"}))
    return Runs(root)


class Learns(Reactor):
    tick = Timer(0, ms(1))

    @reaction(tick)
    def on_tick(self):
        self.log(loss=7.0)


# -- tables -----------------------------------------------------------------------------------------------------------------


def values_of(runs):
    """Each value that was logged, by run and metric, with its tag and steps."""
    return {
        (run.id, name): [
            (t, m, w, s, struct.pack("d", v))
            for t, m, w, s, v in zip(
                metric.time_ns, metric.microstep, metric.wall_s, metric.steps, metric.values, strict=True
            )
        ]
        for run in runs
        for name, metric in run.metrics.items()
    }


def gathered(rows):
    """The same of a table's rows."""
    found = {}
    for run, metric, time_ns, microstep, wall_s, steps, value in rows:
        row = int(time_ns), int(microstep), float(wall_s), int(steps), struct.pack("d", float(value))
        found.setdefault((run, metric), []).append(row)
    return found


def test_a_csv_file_has_every_value_bit_for_bit(runs, tmp_path):
    path = runs.export("csv", tmp_path / "below" / "runs.csv")
    with path.open(newline="", encoding="utf-8") as file:
        heads, *rows = csv.reader(file)
    assert tuple(heads) == exports.COLUMNS
    assert gathered(rows) == values_of(runs)
    assert len(rows) == 2 * (3 * 40 + 4) + 5


def test_a_parquet_file_has_every_value_and_the_facts_of_each_run(runs, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(runs.export("parquet", tmp_path / "runs.parquet"))
    assert gathered(zip(*(table[name].to_pylist() for name in exports.COLUMNS), strict=True)) == values_of(runs)
    facts = json.loads(table.schema.metadata[b"reactornb"])
    assert facts["pong"]["parameters"]["main.lr"] == "0.01"
    assert facts["other"]["state"] == "failed"


def test_data_frames_have_a_row_for_each_value_and_one_for_each_run(runs):
    pytest.importorskip("pandas")
    assert gathered(exports.frame(runs).itertuples(index=False)) == values_of(runs)
    table = runs.to_frame().set_index("run")
    assert table.loc["pong", "main.lr"] == 0.01
    assert table.loc["other", "last.episode_return"] == 39.0


def test_no_runs_are_an_empty_table(runs, tmp_path):
    path = runs[:0].export("csv", tmp_path / "none.csv")
    assert path.read_text() == "run,metric,time_ns,microstep,wall_s,steps,value\n"
    assert {name: len(column) for name, column in exports._columns([]).items()} == dict.fromkeys(exports.COLUMNS, 0)


# -- TensorBoard ------------------------------------------------------------------------------------------------------------


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
        if byte < 0x80:
            return value, at


def fields(data):
    """The fields of a protobuf message: number to values."""
    found, at = {}, 0
    while at < len(data):
        key, at = varint(data, at)
        match key & 7:
            case 0:
                value, at = varint(data, at)
            case 1:
                (value,), at = struct.unpack_from("<d", data, at), at + 8
            case 5:
                (value,), at = struct.unpack_from("<f", data, at), at + 4
            case 2:
                length, at = varint(data, at)
                value, at = data[at : at + length], at + length
        found.setdefault(key >> 3, []).append(value)
    return found


def events_in(path):
    """The events of a file, each checksum checked."""
    data, at, events = path.read_bytes(), 0, []

    def check(part, said):
        crc = crc32c(part)
        assert said == (((crc >> 15) | (crc << 17) & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF

    while at < len(data):
        length, crc = struct.unpack_from("<QI", data, at)
        check(data[at : at + 8], crc)
        body = data[at + 12 : at + 12 + length]
        assert len(body) == length
        check(body, struct.unpack_from("<I", data, at + 12 + length)[0])
        events.append(fields(body))
        at += length + 16
    return events


def test_checksums_are_those_of_the_standard():
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"") == 0


def curves_in(events):
    """Scalars by name: wall time, step, value."""
    found = {}
    for event in events[1:]:
        for value in (fields(v) for summary in event[5] for v in fields(summary)[1]):
            if 2 in value:
                found.setdefault(value[1][0].decode(), []).append((event[1][0], event.get(2, [0])[0], value[2][0]))
    return found


def test_event_files_of_tensorboard_have_every_value_at_its_step_and_time(runs, tmp_path):
    folder = runs.export("tensorboard", tmp_path / "tb")
    assert sorted(path.name for path in folder.iterdir()) == ["other", "pong"]
    (path,) = (folder / "pong").iterdir()
    assert ".tfevents." in path.name  # which is how TensorBoard knows them
    events = events_in(path)
    assert events[0][3] == [b"brain.Event:2"]
    run = runs["pong"]
    curves = curves_in(events)
    assert curves.keys() == run.metrics.keys()
    for name, metric in run.metrics.items():
        wall = (BEGAN + 60 + metric.wall_s).tolist()
        assert curves[name] == list(
            zip(wall, metric.steps.tolist(), metric.values.astype(numpy.float32).tolist(), strict=True)
        )


def test_event_files_have_the_parameters_for_their_page_and_as_text(runs, tmp_path):
    (path,) = (runs.export("tensorboard", tmp_path) / "pong").iterdir()
    plugins, texts = {}, {}
    for event in events_in(path)[1:]:
        for value in (fields(v) for summary in event[5] for v in fields(summary)[1]):
            if 9 in value:
                plugin = fields(fields(value[9][0])[1][0])
                if plugin[1] == [b"hparams"]:
                    plugins[value[1][0].decode()] = fields(plugin[2][0])
                else:
                    texts[value[1][0].decode()] = fields(value[8][0])[8][0].decode()
    start = fields(plugins["_hparams_/session_start_info"][3][0])
    listed = {fields(entry)[1][0].decode(): fields(fields(entry)[2][0]) for entry in start[1]}
    assert listed["main.lr"] == {2: [0.01]}
    assert listed["main.env"] == {3: [b"CartPole-v1"]}
    assert start[4] == [b"pong"]
    assert fields(plugins["_hparams_/session_end_info"][4][0]) == {1: [1], 2: [BEGAN + 60 + 12.5]}
    assert "| main.lr | 0.01 |" in texts["run"]


def test_values_beyond_float32_and_odd_names_are_written_as_far_as_tensorboard_can_have_them(runs, tmp_path):
    (path,) = (runs.export("tensorboard", tmp_path, every=True) / "other").iterdir()
    values = [value for _, _, value in curves_in(events_in(path))[EVIL]]
    assert math.isnan(values[0])
    assert values[1:] == [math.inf, math.inf, 0.0, 0.0]
    assert math.copysign(1, values[3]) == -1


def test_what_has_one_number_of_steps_is_one_point_of_a_tracker_and_each_value_of_a_table(tmp_path):
    class Plays(Reactor):
        tick = Timer(0, ms(1))

        @reaction(tick)
        def on_tick(self):
            for value in (1.0, math.nan, 4.0):
                self.log(episode_return=value + self.time_ns // ms(1))
            self.log(steps=32)

    run = Program(Plays).start(workers=1, clock=FakeClock(), until=ms(1))
    run.wait()
    found = {}
    for every in (False, True):
        exports.export([run], "tensorboard", tmp_path / str(every), every=every)
        (path,) = (tmp_path / str(every) / run.name.replace("#", "-")).iterdir()
        found[every] = [(step, value) for _, step, value in curves_in(events_in(path))["episode_return"]]
    assert found[False] == [(32, 2.5), (64, 3.5)]
    assert [step for step, _ in found[True]] == [32] * 3 + [64] * 3
    assert [row.get("episode_return") for row in exports._by_tag(run.metrics, every=False)] == [2.5, 3.5]
    assert len(list(exports._by_tag(run.metrics, every=True))) == 6
    exports.export([run], "csv", tmp_path / "all.csv")
    assert (tmp_path / "all.csv").read_text().count("episode_return") == 6


def test_exported_again_a_runs_curves_are_there_once(runs, tmp_path):
    first = sorted(path.relative_to(tmp_path) for path in runs.export("tensorboard", tmp_path).rglob("*"))
    (tmp_path / "pong" / "events.out.tfevents.1.somebody").write_bytes(b"theirs")
    runs.export("tensorboard", tmp_path)
    again = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if "somebody" not in path.name)
    assert [path for path in again if path.parts[0] != "cache"] == first
    assert (tmp_path / "pong" / "events.out.tfevents.1.somebody").read_bytes() == b"theirs"


def test_steps_are_counted_where_none_were_logged():
    run = Program(Learns).run(workers=1, clock=FakeClock(), until=ms(3))
    assert exports._curve(run.metrics["loss"], every=False)[0] == [0, 1, 2, 3]


def test_a_live_run_is_exported_as_it_is_now(tmp_path):
    run = Program(Learns).start(workers=1, clock=FakeClock(), until=ms(3))
    run.wait()
    exports.export([run], "tensorboard", tmp_path)
    (path,) = (tmp_path / run.name.replace("#", "-")).iterdir()
    assert [(step, value) for _, step, value in curves_in(events_in(path))["loss"]] == [(n, 7.0) for n in range(4)]
    assert all(abs(wall - time.time()) < 3600 for wall, _, _ in curves_in(events_in(path))["loss"])
    exports.export([run], "csv", tmp_path / "a.csv")
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 5


def test_long_curves_are_written_in_parts(tmp_path):
    path = tmp_path / "events"
    values = numpy.random.default_rng(0).normal(size=5000)
    with path.open("wb") as file:
        EventFile(file, 0.0).scalars("x", range(-3, 4997), [0.0] * 5000, values.tolist())
    curve = curves_in(events_in(path))["x"]
    assert [value for _, _, value in curve] == values.astype(numpy.float32).tolist()
    assert [step - (1 << 64 if step >> 63 else 0) for _, step, _ in curve] == list(range(-3, 4997))


@pytest.mark.slow
def test_tensorboard_itself_reads_the_files(runs, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    runs.export("tensorboard", tmp_path)
    read = accumulator.EventAccumulator(str(tmp_path / "pong"))
    read.Reload()
    assert read.Tags()["tensors"] or read.Tags()["scalars"]
    assert [(event.step, event.value) for event in read.Scalars("loss")][:2] == [(64, 1.0), (128, 0.5)]


# -- trackers ---------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_mlflow_has_the_runs_with_parameters_and_every_value(runs, tmp_path):
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    runs.export("mlflow", tmp_path / "ml")
    client = MlflowClient(f"sqlite:///{tmp_path / 'ml' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("reactornb")
    found = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert {name: run.info.status for name, run in found.items()} == {"pong": "FINISHED", "other": "FAILED"}
    assert found["pong"].data.params["main.lr"] == "0.01"
    assert found["pong"].data.params["main.rollouts_0_.epsilon"] == "0.1"
    history = client.get_metric_history(found["pong"].info.run_id, "loss")
    metric = runs["pong"].metrics["loss"]
    assert sorted((one.step, one.value) for one in history) == sorted(
        zip(metric.steps.tolist(), metric.values.tolist(), strict=True)
    )


@pytest.mark.slow
def test_wandb_has_the_runs_offline_without_asking_anybody(runs, tmp_path):
    pytest.importorskip("wandb")
    script = (
        "import sys; from reactornb.durable.runs import Runs\n"
        f"Runs({str(runs.root)!r}).where(id='pong').export('wandb', {str(tmp_path / 'wb')!r})\n"
        "assert not getattr(sys, '_is_gil_enabled', lambda: False)()"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, cwd=tmp_path)
    (file,) = (tmp_path / "wb" / "wandb").glob("offline-run-*/run-*.wandb")
    assert file.read_bytes().count(b"episode_return") >= 40


@pytest.mark.parametrize(("kind", "package"), [("parquet", "pyarrow"), ("mlflow", "mlflow"), ("wandb", "wandb")])
def test_a_missing_package_is_named_with_what_to_do(runs, tmp_path, monkeypatch, kind, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=f"pip install {package}"):
        runs.export(kind, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_pandas_a_data_frame_says_so(runs, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingPackageError, match="pip install pandas"):
        runs.to_frame()
    with pytest.raises(MissingPackageError, match="pip install pandas"):
        exports.frame(runs)


def test_a_kind_that_there_is_not_is_refused_with_what_was_meant(runs, tmp_path):
    with pytest.raises(ReactorError, match="Did you mean 'tensorboard'"):
        runs.export("tensorbord", tmp_path)


def test_the_kinds_that_the_command_offers_are_those_that_there_are():
    from reactornb.cli import runs as command

    assert tuple(exports.KINDS) == command._KINDS
