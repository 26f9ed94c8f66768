"""Reactors as users write them go on exactly in another process, or are refused in their first tags: never something in between."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

for package in ("torch", "gymnasium", "pettingzoo"):
    pytest.importorskip(package)

sys.path.insert(0, str(Path(__file__).parent))

from own_reactors import EXACT, REFUSED, WORKERS  # noqa: E402

SCRIPT = Path(__file__).with_name("own_reactors.py")

pytestmark = [pytest.mark.slow, pytest.mark.soak, pytest.mark.thread_unsafe(reason="starts processes")]


def told(what, folder):
    """What the script prints."""
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHON_GIL": "0", "REACTORNB_RUNS": str(folder / "runs")}
    ran = subprocess.run(
        [sys.executable, str(SCRIPT), what, str(folder)], env=environment, capture_output=True, text=True, check=False, timeout=170
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-4000:]
    return json.loads(ran.stdout)


@pytest.mark.timeout(360)
def test_own_reactors_go_on_exactly_or_are_refused(tmp_path):
    kept, resumed = told("keep", tmp_path), told("resume", tmp_path)
    for cls in REFUSED:
        words = kept[cls.__name__]
        assert isinstance(words, str), f"{cls.__name__} was not refused"
        assert words.startswith("NotSavableError"), words
        assert "line" in words or "own_reactors.py" in words, words
    for cls in EXACT:
        found = {place: one for place, one in resumed.items() if place.startswith(f"{cls.__name__}/")}
        assert len(found) == 3 * len(WORKERS), kept[cls.__name__]
        for place, one in found.items():
            assert one == kept[cls.__name__], place
