"""A file that a user asked for is whole or not there, and what went wrong is one line."""

import errno
import io
import json
import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from reactornb import Program, Reactor, Timer, files, ms, reaction
from reactornb.__main__ import main
from reactornb.errors import ReactorError
from reactornb.files import FileError
from reactornb.viz import curves, dot
from reactornb.viz.timeline_file import save_timeline


class Ticks(Reactor):
    tick = Timer(0, ms(1))

    @reaction(tick)
    def on_tick(self):
        self.log(seen=1.0)


@pytest.fixture(scope="module")
def run():
    run = Program(Ticks).start(workers=1, until=ms(5), fast=True, profile=True)
    run.result()
    return run


WRITERS = {
    "graph.svg": lambda run, path: dot.save(run.program.graph, path),
    "graph.dot": lambda run, path: dot.save(run.program.graph, path),
    "graph.txt": lambda run, path: dot.save(run.program.graph, path),
    "timeline.json": lambda run, path: run.timeline().save(path),
    "timeline.svg": lambda run, path: save_timeline(run.timeline(), path),
    "timeline.png": lambda run, path: save_timeline(run.timeline(), path),
    "curves.png": lambda run, path: curves.plot(run).save(path),
    "curves.svg": lambda run, path: curves.plot(run).save(path),
    "numbers.json": lambda run, path: files.write(path, json.dumps({"n": list(range(5000))})),
}


def save(name, run, path):
    if name.endswith((".svg", ".png")) and name.startswith("graph") and not dot.is_installed():
        pytest.skip("no Graphviz")
    if name.startswith("curves") or name == "timeline.png":
        pytest.importorskip("matplotlib")
    return WRITERS[name](run, path)


class Full(io.FileIO):
    """A disk with room for a few bytes."""

    def write(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fill_the_disk(patch):
    def fdopen(number, mode="r", *args, **options):
        raw = io.BufferedWriter(Full(number, "wb"))
        return raw if "b" in mode else io.TextIOWrapper(raw, encoding="utf-8")

    patch.setattr("reactornb.files.os.fdopen", fdopen)


@pytest.mark.parametrize("name", WRITERS)
def test_on_a_full_disk_the_old_file_stays_and_nothing_else_is_left(name, run, tmp_path):
    path = tmp_path / name
    path.write_text("before", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        fill_the_disk(patch)
        with pytest.raises(FileError, match=rf"cannot write .*{name}: No space left on device") as caught:
            save(name, run, path)
    assert "\n" not in str(caught.value)
    assert caught.value.errno == errno.ENOSPC
    assert isinstance(caught.value, (ReactorError, OSError))
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert path.read_text(encoding="utf-8") == "before"
    save(name, run, path)
    assert path.stat().st_size > len("before")
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", WRITERS)
def test_the_folder_is_made_or_said_to_be_none(name, run, tmp_path):
    made = tmp_path / "not" / "yet" / name
    save(name, run, made)
    assert made.stat().st_size
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(FileError, match="cannot write"):
        save(name, run, tmp_path / "file" / name)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, ValueError])
def test_an_interrupted_write_leaves_what_was_there(error, tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"before")

    def interrupted():
        with files.whole(path) as file:
            file.write(b"x" * 100_000)
            raise error

    with pytest.raises(error):
        interrupted()
    assert [p.name for p in tmp_path.iterdir()] == ["f"]
    assert path.read_bytes() == b"before"


def test_permissions_and_links_stay_what_they_were(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("before", encoding="utf-8")
    real.chmod(0o640)
    link.symlink_to(real)
    files.write(link, "after")
    assert link.is_symlink()
    assert real.read_text(encoding="utf-8") == "after"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    mask = os.umask(0o027)
    try:
        assert stat.S_IMODE(files.write(tmp_path / "new", "x").stat().st_mode) == 0o640
    finally:
        os.umask(mask)


def test_a_device_or_a_pipe_is_written_to_and_not_replaced(tmp_path):
    files.write("/dev/null", "x")
    assert not Path("/dev/null").is_file()
    with pytest.raises(FileError, match="No space left"):
        files.write("/dev/full", "x")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        files.write(pipe, "through")
        assert os.read(reader, 100) == b"through"
    finally:
        os.close(reader)


def test_a_name_that_is_as_long_as_a_name_may_be_can_be_written(tmp_path):
    path = tmp_path / ("n" * 251 + ".txt")
    assert files.write(path, "x").read_text(encoding="utf-8") == "x"


def test_a_folder_and_a_protected_file_are_refused(tmp_path):
    with pytest.raises(FileError, match="is a folder"):
        files.write(tmp_path, "x")
    if os.geteuid():
        path = tmp_path / "kept"
        path.write_text("before", encoding="utf-8")
        path.chmod(0o444)
        with pytest.raises(FileError, match="may not be changed"):
            files.write(path, "x")


def test_curves_in_a_format_that_there_is_not_are_refused(run, tmp_path):
    pytest.importorskip("matplotlib")
    with pytest.raises(ReactorError, match=r"curves\.txt: curves are saved as"):
        curves.plot(run).save(tmp_path / "curves.txt")
    assert not list(tmp_path.iterdir())


PROGRAM = """
from reactornb import Reactor, Timer, ms, reaction

class Main(Reactor):
    tick = Timer(0, ms(1))

    @reaction(tick)
    def on_tick(self):
        print("ran", flush=True)
"""


def test_a_timeline_that_cannot_be_written_is_said_before_the_run(tmp_path, capfd):
    program = tmp_path / "f.py"
    program.write_text(PROGRAM, encoding="utf-8")
    (tmp_path / "file").write_text("x", encoding="utf-8")
    command = ["run", str(program), "--fast", "--until", "2ms", "--timeline", str(tmp_path / "file" / "t.json")]
    assert main(command) == 1
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "cannot write" in said.err


def test_a_graph_that_cannot_be_written_is_one_line(tmp_path, capfd):
    program = tmp_path / "f.py"
    program.write_text(PROGRAM, encoding="utf-8")
    assert main(["graph", str(program), "-o", str(tmp_path / "f.py" / "g.txt")]) == 1
    said = capfd.readouterr()
    assert said.err.count("\n") == 1
    assert "cannot write" in said.err


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of files")
def test_a_disk_that_is_full_after_the_run_costs_the_file_and_nothing_else(tmp_path):
    program = tmp_path / "f.py"
    program.write_text(PROGRAM, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "reactornb", "run", str(program), "--fast", "--until", "900ms", "--fingerprint", "--timeline", "t.json"],
        capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )  # fmt: skip
    assert done.returncode == 1
    assert "main finished at tag (900 ms, 0)" in done.stderr
    assert "cannot write t.json: File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert "fingerprint " in done.stdout
    assert [p.name for p in tmp_path.iterdir() if p.suffix != ".pyc" and p.is_file()] == ["f.py"]
