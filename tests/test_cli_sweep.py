"""`reactornb sweep`: a table on standard output, failures on standard error, the exit status."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from reactornb.__main__ import main
from reactornb.durable import storage

PROGRAM = """
from reactornb import *

class Walk(Reactor):
    tick = Timer(0, ms(1))
    rate: float = 1.0
    needs_physical_time = False
    @reaction(tick)
    def on_tick(self):
        self.at = getattr(self, "at", 0.0) + self.rate
        if self.rate == 13.0:
            raise ValueError("unlucky")
        self.log(episode_return=self.at)
        if self.at >= 5 * self.rate and self.rate != 99.0:
            self.request_stop()
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(storage, "_fsync", lambda *_: None)
    monkeypatch.setenv("REACTORNB_RUNS", str(tmp_path / "runs"))
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(PROGRAM))
    return str(path)


def test_a_sweep_prints_the_configurations_the_best_first(file, capsys):
    assert main(["sweep", file, "rate=[1.0,3.0,2.0]", "--seeds", "2"]) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[0].split() == ["rate", "score", "±", "least", "greatest", "trials"]
    assert [line.split()[0] for line in lines[1:]] == ["3", "2", "1"]
    assert "finished, 6 trials (6 finished)" in said.err


def test_a_trial_that_failed_is_told_and_the_status_is_one(file, capsys):
    assert main(["sweep", file, "rate=[1.0,13.0]", "--json"]) == 1
    said = capsys.readouterr()
    assert "trial 2 failed (Program(Walk, rate=13.0).run(seed=0))" in said.err
    assert "unlucky" in said.err
    rows = json.loads(said.out)
    assert [row["state"] for row in rows] == ["finished", "failed"]
    assert rows[0]["code"] == "Program(Walk, rate=1.0).run(seed=0)"


def test_a_kept_sweep_is_not_done_twice(file, capsys, tmp_path):
    for _ in range(2):
        assert main(["sweep", file, "rate=[1.0,2.0]", "--keep", "w", "--csv", str(tmp_path / "w.csv")]) == 0
    assert len(list((tmp_path / "runs").glob("w-*"))) == 2
    assert (tmp_path / "w.csv").read_text().splitlines()[1].startswith("1,Walk,1.0,0,finished,3.0,")
    capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing"], "there is no program 'nothing'"),
        (["FILE", "rat=[1]"], "no parameter 'rat'"),
        (["FILE", "rate=between(0,1)"], "samples=20"),
    ],
)
def test_a_mistake_is_a_line_and_status_two(file, capsys, words, said):
    assert main(["sweep", *(file if word == "FILE" else word for word in words)]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_a_signal_ends_the_runs_in_order_and_the_table_is_there(file, tmp_path):
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [
        sys.executable,
        "-m",
        "reactornb",
        "sweep",
        file,
        "rate=[1.0,99.0,99.5]",
        "--at-once",
        "1",
        "--progress",
        "--json",
    ]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    said = started.stderr.readline()
    while "1 of 3 trials done, 1 running" not in said:
        said = started.stderr.readline()
        assert said, "it ended"
    started.send_signal(signal.SIGINT)
    out, _ = started.communicate(timeout=60)
    assert started.returncode == 128 + signal.SIGINT
    assert [row["state"] for row in json.loads(out)] == ["finished", "stopped", "waiting"]
