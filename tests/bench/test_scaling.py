"""`reactornb bench scaling`: its table, and the folder that runs where nothing is installed."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig

import pytest

from reactornb.bench import scaling
from reactornb.bench.pack import LIMIT_BYTES, pack, size_of
from reactornb.errors import ReactorError


def test_more_workers_than_cores_are_left_out_and_said(capsys):
    cores = len(os.sched_getaffinity(0))
    assert scaling.main(["--workers", f"{cores + 1},{2 * cores + 2}"]) == 0
    said = capsys.readouterr().out
    assert f"not measured: {cores + 1}, {2 * cores + 2} workers, since {cores} core" in said


@pytest.mark.slow
def test_each_case_is_measured_with_each_number_of_workers(tmp_path, capsys):
    pytest.importorskip("gymnasium", reason="the environments are Gymnasium's")
    workers = [count for count in (1, 2) if count <= len(os.sched_getaffinity(0))]
    file = tmp_path / "table.json"
    words = ["--case", "micro", "--case", "heavy", "--case", "vector", "--seconds", "0.01", "--repeats", "1"]
    assert scaling.main([*words, "--workers", ",".join(map(str, workers)), "--json", str(file)]) == 0
    figures = json.loads(file.read_text())["figures"]
    names = {1: "1 worker", 2: "2 workers"}
    assert set(figures) == {f"{c}, {names[w]}" for c in ("micro", "heavy", "vector") for w in workers} | {
        f"heavy, {names[w]}, limit" for w in workers
    }
    assert all(figure["median"] > 0 for figure in figures.values())


def test_a_folder_that_holds_something_is_not_written_into(tmp_path):
    (tmp_path / "mine").touch()
    with pytest.raises(ReactorError, match=r"is not empty\. Name a new folder"):
        pack(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.slow
def test_the_packed_folder_measures_with_nothing_else_on_the_machine(tmp_path):
    pytest.importorskip("gymnasium", reason="it is packed")
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        pytest.skip("the folder is for the free-threaded build")
    if not (sys.platform == "linux" and shutil.which("strip") and shutil.which("ldd")):
        pytest.skip("strip and ldd are needed: apt-get install binutils")
    made = tmp_path / "made"
    assert pack(made) == size_of(made) <= LIMIT_BYTES
    moved = made.rename(tmp_path / "elsewhere")
    command = [moved / "measure", "--case", "micro", "--case", "vector", "--case", "train", "--workers", "1", "--seconds", "0.01", "--repeats", "1"]  # fmt: skip
    done = subprocess.run(
        command, env={"PATH": "/usr/bin:/bin"}, cwd="/", capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "vector, 1 worker" in done.stdout
    assert "train is left out: torch is not installed" in done.stdout
    assert "GIL off" in done.stdout
