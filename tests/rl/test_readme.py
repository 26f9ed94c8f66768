"""What the README shows of kept runs and of policies is executed as it stands there, but for fewer steps; its first example: tests/test_cli.py."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("gymnasium")

README = Path(__file__).parents[2] / "README.md"
SHRUNK = {
    "total_timesteps=100_000": "total_timesteps=40_000",
    "total_timesteps=50_000": "total_timesteps=3_200",
    "episodes=100": "episodes=2",
}

pytestmark = [pytest.mark.slow, pytest.mark.thread_unsafe(reason="starts processes")]


def example(heading):
    """The first Python below a heading of the README, with less to do."""
    text = README.read_text(encoding="utf-8").partition(f"{heading}\n")[2]
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    for long, short in SHRUNK.items():
        code = code.replace(long, short)
    return code


def execute(code, folder):
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHON_GIL": "0", "XDG_CACHE_HOME": str(folder / "cache")}
    environment.pop("REACTORNB_RUNS", None)
    (folder / "example.py").write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=170
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_run_is_kept_goes_on_goes_back_and_branches(tmp_path):
    said = execute(example("## Runs that last"), tmp_path)
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["cart", "gentle"]
    assert "cart at" in said  # the parent of the branch, in the comparison
    assert re.search(r"changes +0 +1", said)


def test_a_policy_is_saved_and_loaded(tmp_path):
    pytest.importorskip("onnx")
    execute(example("### Keep what it learnt"), tmp_path)
    assert (tmp_path / "cartpole.safetensors").stat().st_size > 1000
    assert (tmp_path / "cartpole.onnx").exists()


def test_what_was_learnt_is_watched(tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    execute(example("### Watch it play"), tmp_path)
    names = sorted(path.name for path in tmp_path.glob("*.mp4"))
    assert names[-1] == "episode.mp4"
    assert len(names) == 3, "after 20,000 steps and at the end"


def test_several_agents_are_trained(tmp_path):
    pytest.importorskip("pettingzoo")
    execute(example("### Several agents"), tmp_path)
    assert (tmp_path / "spread.safetensors").stat().st_size > 1000
