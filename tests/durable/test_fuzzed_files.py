"""Damaged and forged files of a run: one named error or the right state, nothing executed, nothing read elsewhere."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.slow
def test_files_that_are_damaged_or_forged_give_the_right_state_or_a_named_error():
    """In a process of its own: an audit hook stays for good."""
    root = HERE.parents[1]
    done = subprocess.run(
        [sys.executable, str(HERE / "fuzz_files.py"), "1000000", "400"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert done.returncode == 0, done.stderr
    assert 100 < int(done.stdout.split(": ")[1].split()[0]) < 300
