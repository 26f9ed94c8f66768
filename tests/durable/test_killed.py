"""Processes that write checkpoints are killed; all that they announced is there and right."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import kill

HERE = Path(__file__).parent


@pytest.mark.slow
def test_twenty_processes_are_killed_and_nothing_that_they_announced_is_lost(tmp_path, monkeypatch):
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join(filter(None, [str(HERE.parents[1]), os.environ.get("PYTHONPATH")]))
    )
    judge = kill.Judge(tmp_path)
    command = [sys.executable, str(HERE / "kill.py"), "--write", str(tmp_path)]
    kill.hunt(lambda: kill.spawn(command), judge, 20)
    assert judge.announced >= 20  # by the lines that were waited for
