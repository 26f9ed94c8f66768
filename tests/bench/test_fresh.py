"""`bench gym --fresh`: a program as text and a plain loop, each in a process of its own."""

import argparse
import json
import subprocess
import sys
from importlib import util

import pytest

from reactornb.bench import fresh
from reactornb.bench.measure import Report
from reactornb.errors import ReactorError


def test_a_process_that_fails_is_an_error_with_its_last_words():
    with pytest.raises(ReactorError, match="the loop ended with status 1: out of games"):
        fresh.measured("the loop", ["-S", "-c", "raise SystemExit('out of games')"], {})


def test_programs_that_play_different_games_are_not_compared(monkeypatch):
    def measured(name, words, totals):
        totals.setdefault(name, set()).add("1.0" if name == fresh.LOOP else "2.0")
        return 1.0

    monkeypatch.setattr(fresh, "measured", measured)
    chosen = argparse.Namespace(envs=2, workers=(1,), repeats=1)
    with pytest.raises(ReactorError, match="different games"):
        fresh.compare_fresh(Report("gym", {}), chosen, "CartPole-v1", 8, 2)


@pytest.mark.slow
@pytest.mark.skipif(util.find_spec("gymnasium") is None, reason="Gymnasium is not installed")
def test_text_in_a_fresh_process_plays_what_the_plain_loop_plays(tmp_path):
    file = tmp_path / "found.json"
    words = ["bench", "gym", "--fresh", "--rounds", "40", "--envs", "3", "--repeats", "1", "--json", str(file)]
    done = subprocess.run([sys.executable, "-m", "reactornb", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads(file.read_text())["figures"]
    assert set(figures) == {f"CartPole-v1, fresh: {name}" for name in ("plain loop", "1 worker", "2 workers")}
    assert all(seconds > 0 for figure in figures.values() for seconds in figure["values"])
