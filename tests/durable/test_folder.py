"""The folder of a run on a real disk."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from reactornb.durable import folder as folder_module
from reactornb.durable.errors import (
    CheckpointNotWrittenError,
    DamagedRunError,
    NoSuchRunError,
    RunExistsError,
    RunInUseError,
    RunNameError,
)
from reactornb.durable.folder import RunFolder, run_folders, runs_root
from reactornb.durable.pieces import PIECE
from reactornb.errors import ReactorError
from reactornb.runtime.codec import decode, encode

ABOUT = {"seed": 3, "parameters": {"lr": 0.1, "deep": [None, True, "é"]}, "by number": {10: 1, 9: 2}}


@pytest.fixture
def folder(tmp_path):
    with RunFolder.create(tmp_path / "runs", "pong", ABOUT, {"cell-1.py": "x = 1\n"}) as made:
        yield made


def test_a_folder_says_what_it_was_made_for(folder):
    with pytest.raises(RunInUseError):
        RunFolder.open(folder.path, writable=True)
    again = RunFolder.open(folder.path)
    assert again.about == json.loads(json.dumps(ABOUT)) == json.loads((folder.path / "run.json").read_text())["about"]
    assert again.cells == {"cell-1.py": "x = 1\n"}
    assert again.checkpoints() == []
    assert again.incomplete() == []
    assert list(again.journal.records()) == []
    assert again.id == "pong"


def test_nothing_else_is_in_the_folder_of_runs(folder):
    assert [path.name for path in folder.path.parent.iterdir()] == ["pong"]
    (folder.path.parent / ".pong.12ab.tmp").mkdir()
    (folder.path.parent / "no run").mkdir()
    (folder.path.parent / "file").touch()
    assert run_folders(folder.path.parent) == [folder.path]
    assert run_folders(folder.path.parent / "missing") == []


def test_runs_are_kept_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.delenv("REACTORNB_RUNS", raising=False)
    assert runs_root() == Path("runs")
    monkeypatch.setenv("REACTORNB_RUNS", str(tmp_path))
    assert runs_root() == tmp_path


def test_a_name_is_given_once(folder):
    with pytest.raises(RunExistsError, match="exists already"):
        RunFolder.create(folder.path.parent, "pong", {})
    assert [path.name for path in folder.path.parent.iterdir()] == ["pong"]
    (folder.path.parent / "file").touch()
    with pytest.raises(RunExistsError):
        RunFolder.create(folder.path.parent, "file", {})


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "../a", ".a", "a\0b", "a b", "a.tmp", "a.old", "a.", "-a", "x" * 101, "a\n", 3, None]
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path, name):
    with pytest.raises(RunNameError):
        RunFolder.create(tmp_path, name, {})
    with pytest.raises(RunNameError):
        RunFolder.create(tmp_path, "pong", {}, {name: ""})
    assert list(tmp_path.iterdir()) == []


def test_what_json_cannot_say_is_refused_and_leaves_nothing(tmp_path):
    for about in ({"x": object()}, {"x": float("nan")}):
        with pytest.raises((TypeError, ValueError)):
            RunFolder.create(tmp_path, "pong", about)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_not_there_is_told_with_those_that_are(folder):
    with pytest.raises(NoSuchRunError, match="pong"):
        RunFolder.open(folder.path.parent / "pnog")


def test_notes_are_changed_at_any_time_by_anyone(folder):
    other = RunFolder.open(folder.path)
    assert other.notes == {}
    other.set_notes({"labels": ["good"]})
    assert folder.notes == {"labels": ["good"]}
    folder.set_notes({})
    assert other.notes == {}
    (folder.path / "notes.json").write_text("[")
    with pytest.raises(DamagedRunError):
        folder.notes  # noqa: B018 - raises


# -- checkpoints ------------------------------------------------------------------------------------------------------------


def state(value=0):
    return {
        "ring": np.full(3 * PIECE + 5, value, np.uint8),
        "small": np.arange(7),
        "value": value,
        "empty": np.zeros(0),
    }


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


def test_a_checkpoint_comes_back_in_another_process_that_sees_the_folder(folder):
    info = folder.write_checkpoint((2_000_000_000, 3), encode(state(7)), {"fingerprint": "ab"}, "before lr")
    again = RunFolder.open(folder.path)
    assert again.checkpoints() == [info]
    assert (info.tag, info.name, info.extra) == ((2_000_000_000, 3), "before lr", {"fingerprint": "ab"})
    assert info.path == folder.path / "checkpoints" / "2000000000.3"
    assert same(decode(again.read_checkpoint(info)), state(7))


def test_checkpoints_are_in_the_order_of_tags_and_two_of_one_tag_in_that_in_which_they_were_made(folder):
    for tag, value in [((10, 0), 0), ((9, 5), 1), ((10, 0), 2), ((0, -1), 3), ((100, 0), 4)]:
        folder.write_checkpoint(tag, encode(state(value)))
    infos = folder.checkpoints()
    assert [info.tag for info in infos] == [(0, -1), (9, 5), (10, 0), (10, 0), (100, 0)]
    assert [decode(folder.read_checkpoint(info))["value"] for info in infos] == [3, 1, 0, 2, 4]


@pytest.mark.slow
def test_the_newest_and_the_named_ones_stay(folder):
    for i in range(8):
        folder.write_checkpoint((i, 0), encode(state(i)), name="mine" if i == 2 else None)
    folder.prune(3)
    assert [info.tag[0] for info in folder.checkpoints()] == [2, 5, 6, 7]
    for info in folder.checkpoints():
        assert same(decode(folder.read_checkpoint(info)), state(info.tag[0]))
    folder.remove_checkpoint(folder.checkpoints()[0])
    folder.prune(1)
    assert [info.tag[0] for info in folder.checkpoints()] == [7]
    assert len(list((folder.path / "segments").iterdir())) == 1


@pytest.mark.slow
def test_of_a_ring_only_what_changed_is_written_again(folder):
    ring = np.random.default_rng(0).integers(0, 256, 100 * PIECE, dtype=np.uint8)
    first = folder.write_checkpoint((0, 0), encode({"ring": ring}))
    assert first.wrote > ring.nbytes
    ring[5 * PIECE : 6 * PIECE] += 1
    second = folder.write_checkpoint((1, 0), encode({"ring": ring}))
    assert PIECE <= second.wrote < PIECE + 10_000
    third = folder.write_checkpoint((2, 0), encode({"ring": ring, "again": ring.copy()}))
    assert third.wrote < 15_000
    for info in (first, second, third):
        value = decode(folder.read_checkpoint(info))["ring"]
        assert (value == ring).all() == (info is not first)


@pytest.mark.slow
def test_a_checkpoint_of_a_ring_of_100_mb_of_which_a_hundredth_changed_writes_about_that(folder):
    ring = np.random.default_rng(0).integers(0, 256, 100_000_000, dtype=np.uint8)
    folder.write_checkpoint((0, 0), encode({"ring": ring}))
    for i in range(1, 6):
        ring[i * 3_000_000 : i * 3_000_000 + 1_000_000] += 1
        assert folder.write_checkpoint((i, 0), encode({"ring": ring})).wrote < 1_400_000


@pytest.mark.slow
def test_segments_that_are_mostly_out_of_use_are_written_again(folder, monkeypatch):
    monkeypatch.setattr("reactornb.durable.pieces._SMALL", PIECE)
    ring = np.random.default_rng(0).integers(0, 256, 20 * PIECE, dtype=np.uint8)
    for i in range(60):
        ring[i % 19 * PIECE] += 1  # the last piece never changes
        folder.write_checkpoint((i, 0), encode({"ring": ring}))
        folder.prune(1)
        on_disk = sum(path.stat().st_size for path in (folder.path / "segments").iterdir())
        assert on_disk <= 3 * ring.nbytes
        assert (decode(folder.read_checkpoint(folder.checkpoints()[-1]))["ring"] == ring).all()
    assert not (folder.path / "segments" / "00000001.seg").exists()


def test_a_folder_that_is_not_open_for_writing_takes_nothing(folder):
    other = RunFolder.open(folder.path)
    for call in (lambda: other.write_checkpoint((0, 0), encode(1)), lambda: other.journal.append("note", (0, 0), b"")):
        with pytest.raises(ValueError, match="not open for writing"):
            call()


def test_a_process_goes_on_where_another_one_stopped(folder):
    folder.journal.append("input", (1, 0), 1)
    folder.write_checkpoint((1, 0), encode(state(1)))
    folder.close()
    (folder.path / "checkpoints" / "5.0.tmp").mkdir()
    (folder.path / "checkpoints" / "5.0.tmp" / "state.rnb").write_bytes(b"half")
    (folder.path / "segments" / "00000002.seg").write_bytes(b"half")
    assert RunFolder.open(folder.path).incomplete() == ["5.0.tmp"]
    with RunFolder.open(folder.path, writable=True) as again:
        assert again.incomplete() == []
        assert len(list((folder.path / "segments").iterdir())) == 1
        again.journal.append("input", (2, 0), 2)
        info = again.write_checkpoint((2, 0), encode(state(1)))
        assert info.wrote < 3000
    assert [record.value() for record in RunFolder.open(folder.path).journal.records()] == [1, 2]


# -- what is damaged, and what leads out of the folder ----------------------------------------------------------------------------


def read_all(path, info):
    again = RunFolder.open(path)
    assert again.cells
    list(again.journal.records())
    again.checkpoints()
    again.read_checkpoint(info)


def test_a_missing_file_is_named(folder):
    info = folder.write_checkpoint((1, 0), encode(state(1)))
    for name in (
        "checkpoints/1.0/state.rnb",
        "checkpoints/1.0/pieces.bin",
        "segments/00000001.seg",
        "cells/cell-1.py",
        "run.json",
    ):
        path = folder.path / name
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(DamagedRunError) as raised:
            read_all(folder.path, info)
        assert raised.value.path == path
        assert "missing" in str(raised.value)
        path.write_bytes(content)


def test_a_damaged_checkpoint_does_not_hide_the_others(folder):
    for i in range(3):
        folder.write_checkpoint((i, 0), encode(state(i)))
    (folder.path / "checkpoints" / "2.0" / "manifest.json").write_text("{}")
    with pytest.raises(DamagedRunError, match="manifest"):
        folder.checkpoints()
    assert [info.tag[0] for info in folder.checkpoints(skip_damaged=True)] == [0, 1]
    folder.close()
    with pytest.raises(DamagedRunError):  # so that what the damaged one needs is not removed
        RunFolder.open(folder.path, writable=True)
    assert (folder.path / "segments" / "00000003.seg").exists()


@pytest.mark.parametrize("what", ["run.json", "journal.rnj", "cells/cell-1.py", "checkpoints/1.0/manifest.json", "checkpoints/1.0/state.rnb",
                                  "checkpoints/1.0/pieces.bin", "segments/00000001.seg", "cells", "checkpoints", "checkpoints/1.0", "segments"])  # fmt: skip
def test_no_link_in_a_folder_is_followed(folder, tmp_path, what):
    info = folder.write_checkpoint((1, 0), encode(state(1)))
    place, outside = folder.path / what, tmp_path / "outside"
    place.rename(outside)
    place.symlink_to(outside)
    before = sorted(str(path) for path in tmp_path.rglob("*"))

    with pytest.raises(DamagedRunError, match="link"):
        read_all(folder.path, info)
    folder.close()
    with contextlib.suppress(DamagedRunError), RunFolder.open(folder.path, writable=True):
        pass  # a link that is met only later: to sources, to the state
    assert [path for path in sorted(str(path) for path in tmp_path.rglob("*")) if "outside" in path] == [
        path for path in before if "outside" in path
    ]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_damage_and_nothing_waits_for_it(folder, make):
    for name in ("run.json", "journal.rnj"):
        (folder.path / name).unlink()
        make(folder.path / name)
    with pytest.raises(DamagedRunError):
        RunFolder.open(folder.path)
    with pytest.raises(DamagedRunError):
        list(folder.journal.records())


@pytest.mark.parametrize(
    ("written", "who"), [(99, "newer reactornb"), ("?", "newer reactornb"), (1, "older reactornb")]
)
def test_another_format_is_told(folder, written, who):
    from reactornb.durable.sealed import seal

    content = json.loads((folder.path / "run.json").read_text())
    del content["seal"]
    (folder.path / "run.json").write_bytes(seal({**content, "format": written}))
    with pytest.raises(DamagedRunError, match=who):
        RunFolder.open(folder.path)


@pytest.mark.slow
def test_a_disk_without_room_for_a_checkpoint_leaves_the_earlier_ones(folder):
    """The system refuses files above a size: a real write that fails half-way."""
    folder.write_checkpoint((1, 0), encode(state(1)))
    code = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({2 * PIECE}, {2 * PIECE}))
import numpy
from pathlib import Path
from reactornb.durable.folder import RunFolder
from reactornb.durable.errors import CheckpointNotWrittenError
from reactornb.runtime.codec import encode
with RunFolder.open(Path({str(folder.path)!r}), writable=True) as folder:
    try:
        folder.write_checkpoint((2, 0), encode(numpy.arange({PIECE})))
    except CheckpointNotWrittenError as error:
        print(error.errno, error)
    folder.write_checkpoint((3, 0), encode(3))
"""
    folder.close()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "could not be written" in done.stdout
    again = RunFolder.open(folder.path)
    assert again.incomplete() == []
    assert [info.tag[0] for info in again.checkpoints()] == [1, 3]
    assert same(decode(again.read_checkpoint(again.checkpoints()[0])), state(1))
    assert len(list((folder.path / "segments").iterdir())) == 1
    assert issubclass(CheckpointNotWrittenError, ReactorError)


def test_a_folder_whose_path_is_a_link_is_a_folder(folder, tmp_path):
    (tmp_path / "here").symlink_to(folder.path)
    assert RunFolder.open(tmp_path / "here").id == "pong"


def test_one_folder_is_made_by_one_of_many_threads(tmp_path):
    made, refused = [], []
    barrier = threading.Barrier(8)

    def make():
        barrier.wait()
        try:
            made.append(RunFolder.create(tmp_path, "pong", {}))
        except RunExistsError:
            refused.append(1)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(made), len(refused)) == (1, 7)
    made[0].close()
    assert [path.name for path in tmp_path.iterdir()] == ["pong"]
    assert folder_module.RunFolder.open(tmp_path / "pong").about == {}
