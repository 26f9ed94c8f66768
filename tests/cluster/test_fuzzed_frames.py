"""`fuzz_frames`, at a length for the suite."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def _fuzz(seed, count, limit_s):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1])])}
    done = subprocess.run(
        [sys.executable, str(HERE / "fuzz_frames.py"), str(seed), str(count)],
        capture_output=True, text=True, env=environment, timeout=limit_s, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    refused, made, ended = map(int, done.stdout.split())
    assert refused + made + ended == count
    assert refused > count // 2
    assert made > count // 20
    assert ended > count // 50


@pytest.mark.slow
def test_damaged_frames_are_refused_or_read_and_execute_nothing():
    _fuzz(1, 2000, 100)


@pytest.mark.soak
@pytest.mark.timeout(1500)
def test_a_quarter_of_a_million_damaged_frames_are_refused_or_read_and_execute_nothing():
    for seed in range(2, 7):
        _fuzz(seed, 50_000, 900)
