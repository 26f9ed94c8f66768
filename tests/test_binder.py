"""What repo2docker reads in `binder/`, and the check that walks its steps: the part that needs no network."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def check():
    spec = importlib.util.spec_from_file_location("reactornb_binder_check", REPO / "binder" / "check.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def copy(tmp_path):
    """The folders that are judged, to be damaged."""
    for name in ("binder", "notebooks"):
        shutil.copytree(REPO / name, tmp_path / name)
    return tmp_path


def test_repo2docker_finds_here_what_is_meant(check):
    assert check.problems() == []


def test_what_would_break_a_build_is_named(check, copy):
    (copy / "binder" / "start").chmod(0o644)
    with (copy / "binder" / "apt.txt").open("a") as packages:
        packages.write("chromium\n")
    (copy / "binder" / "runtime.txt").write_text("python-3.14\n")
    notebook = copy / "notebooks" / "00_quickstart.ipynb"
    notebook.write_text(notebook.read_text().replace('"name": "reactornb"', '"name": "python3"'))
    found = "\n".join(check.problems(copy))
    for words in (
        "binder/start is no executable bash script",
        "Ubuntu, on which repo2docker builds, has no package chromium",
        "runtime.txt makes repo2docker pass over environment.yml",
        "00_quickstart.ipynb asks for the kernel 'python3'",
    ):
        assert words in found


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_start_finds_the_kernels_widgets_and_becomes_the_server():
    env = {k: v for k, v in os.environ.items() if k != "PYTHON_GIL"} | {"JUPYTER_PATH": "/elsewhere"}
    words = [REPO / "binder" / "start", "printenv", "JUPYTER_PATH", "PYTHON_GIL"]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    # PYTHON_GIL belongs into the kernel: an ordinary CPython, as the server's is, does not start with it.
    assert done.stdout == f"{REPO}/.venv/share/jupyter:/elsewhere\n"


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="cgroups and /proc are Linux's")
@pytest.mark.parametrize("way", ["cgroup", "looking"])
def test_a_program_above_the_memory_limit_is_ended_and_one_below_is_not(check, way, monkeypatch):
    if way == "looking":
        monkeypatch.setattr(check, "Cgroup", check.Watch)
    take = "import time; held = b'x' * {} ; time.sleep(20 if {} else 0)"
    with check.Box(200 << 20) as box:
        if way == "cgroup" and isinstance(box.limits, check.Watch):
            pytest.skip("no cgroup can be made here")
        for size, dies in ((20 << 20, False), (400 << 20, True)):
            words = [sys.executable, "-c", take.format(size, dies)]
            child = box.start(words, dict(os.environ), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            assert (child.wait(30) != 0) is dies
            assert (box.limits.killed() > 0) is dies


def test_the_badges_open_each_tutorial_where_it_is(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("reactornb_badges", REPO / "binder" / "badges.py")
    badges = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(badges)
    shutil.copytree(REPO / "notebooks", tmp_path / "notebooks")
    (tmp_path / "README.md").write_text(f"above\n{badges.BEGIN}\nold\n{badges.END}\nbelow\n")
    monkeypatch.setattr(badges, "HERE", tmp_path)
    monkeypatch.setattr(sys, "argv", ["badges.py", "somebody/reactornb"])
    assert badges.main() == 0
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("above\n")
    assert text.endswith("\nbelow\n")
    assert "old" not in text
    assert "/v2/gh/somebody/reactornb/HEAD?urlpath=lab%2Ftree%2Fnotebooks%2F00_quickstart.ipynb" in text
    assert text.count("badge_logo") == len(list((REPO / "notebooks").glob("*.ipynb")))
    monkeypatch.setattr(sys, "argv", ["badges.py", "somebody/reactornb", "--check"])
    assert badges.main() == 0
