"""Every program of the tutorials, cut anywhere, goes on in another process as if nothing had been."""

import json
import os
import re
import subprocess
import sys
from importlib import util
from pathlib import Path

import pytest

for package in ("torch", "gymnasium"):
    pytest.importorskip(package)

sys.path.insert(0, str(Path(__file__).parent))

from tutorial_programs import ATARI, NOTEBOOKS, OUTSIDE, PROGRAMS, WORKERS  # noqa: E402

from reactornb.rl import atari  # noqa: E402

SCRIPT = Path(__file__).with_name("tutorial_programs.py")

pytestmark = [pytest.mark.timeout(180), pytest.mark.thread_unsafe(reason="starts processes")]

# Which `make test` runs; the others are for `make test-all`.
OFTEN = ("00_quickstart", "01_reactors", "03_qlearning", "09")


def tutorials(of):
    for tutorial in of:
        why = atari.missing() if tutorial in ATARI else None
        if tutorial.startswith("07") and util.find_spec("pettingzoo") is None:
            why = "no PettingZoo here"
        marks = [pytest.mark.slow if tutorial.startswith(OFTEN) else pytest.mark.soak]
        yield pytest.param(tutorial, marks=[*marks, pytest.mark.skipif(why is not None, reason=str(why))])


def told(what, tutorial, folder):
    """What the script prints."""
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "0",
        "PYTHON_GIL": "0",
        "REACTORNB_RUNS": str(folder / "runs"),
    }
    ran = subprocess.run(
        [sys.executable, str(SCRIPT), what, tutorial, str(folder)], env=environment, capture_output=True, text=True, check=False, timeout=170
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-4000:]
    return json.loads(ran.stdout)


@pytest.mark.parametrize("tutorial", list(tutorials(PROGRAMS)))
def test_a_tutorials_programs_go_on_in_another_process_from_any_tag_with_any_number_of_workers(tutorial, tmp_path):
    kept, resumed = told("keep", tutorial, tmp_path), told("resume", tutorial, tmp_path)
    assert kept
    assert {place.partition("/")[0] for place in kept} == set(PROGRAMS[tutorial])
    assert len(resumed) == len(kept) * len(WORKERS)
    for place, found in resumed.items():
        cut, _, workers = place.rpartition("/")
        whole = kept[cut]
        words = f"{cut}, cut at {whole['tag']}, {workers} workers"
        assert isinstance(found, dict), f"{words}: {found}"
        assert found["resumed"] == found.get("whole", whole["whole"]), words


@pytest.mark.parametrize("tutorial", list(tutorials(OUTSIDE)))
def test_a_tutorials_program_whose_process_is_killed_repeats_what_came_from_outside(tutorial, tmp_path):
    kept, resumed = told("crash", tutorial, tmp_path), told("resume", tutorial, tmp_path)
    assert len(resumed) == len(kept) * len(WORKERS)
    for place, found in resumed.items():
        assert isinstance(found, dict), f"{place}: {found}"
        assert found["resumed"] == kept[place.rpartition("/")[0]]["whole"], place


def test_every_tutorial_that_starts_a_program_is_here():
    for path in NOTEBOOKS.glob("*.ipynb"):
        text = path.read_text(encoding="utf-8")
        if re.search(r"%reactor start|\.run\(|\.start\(", text):
            assert path.stem in PROGRAMS, f"{path.name}: its programs are not in tutorial_programs.py"
