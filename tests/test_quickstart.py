"""The quick start: its notebook, its program's determinism. In processes of their own: torch's triton turns the GIL on."""

import json
import os
import subprocess
import sys
from importlib import util

import pytest

from reactornb import ReactorError
from reactornb.loading import quickstart

NOTEBOOK = quickstart()
needs_rl = pytest.mark.skipif(
    util.find_spec("torch") is None or util.find_spec("gymnasium") is None, reason="needs torch and gymnasium"
)


def reactornb(*words):
    """Standard output of a command."""
    env = {**os.environ, "PYTHONWARNINGS": "default"}
    done = subprocess.run(
        [sys.executable, "-m", "reactornb", *map(str, words)], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_notebook_is_committed_without_outputs():
    book = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert book["metadata"]["kernelspec"]["name"] == "reactornb"
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


@needs_rl
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_same_fingerprint_for_1_2_and_8_workers_and_another_for_another_seed(tmp_path):
    reactornb("bench", "demo", "--pairs", 0, "--short", 3, "--json", tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())["fingerprints"]
    assert len({found["1"], found["2"], found["8"], found["again"]}) == 1
    assert found["other seed"] != found["1"]
    # And what the benchmark runs is what the command line runs.
    said = reactornb("run", NOTEBOOK, "rounds=3", "--seed", 1, "--fingerprint", "-q")
    assert said == f"fingerprint {found['1']}\n"


@needs_rl
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_without_its_delay_the_loop_is_an_error_that_names_the_fix(tmp_path):
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert text.count(", after=ms(2))") == 1
    broken = tmp_path / "broken.ipynb"
    broken.write_text(text.replace(", after=ms(2))", ")"), encoding="utf-8")
    env = {k: v for k, v in os.environ.items() if k != "PYTHON_GIL"}
    done = subprocess.run(
        [sys.executable, "-m", "reactornb", "graph", broken], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "learner.on_batches" in done.stderr
    assert "after=ms(0)" in done.stderr


def test_a_notebook_elsewhere_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.setattr("reactornb.__file__", str(tmp_path / "reactornb" / "__init__.py"))
    with pytest.raises(ReactorError, match="--notebook"):
        quickstart()
