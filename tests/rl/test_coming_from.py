"""docs/coming_from.md: each of its programs runs, for fewer steps; its table of names is true; what it says of peers runs in their environments, where there are some."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("gymnasium")
pytest.importorskip("optuna")

from reactornb.bench.peers import cache_folder
from reactornb.rl import DQNConfig, PPOConfig, SACConfig, TD3Config
from reactornb.rl.names import RENAMED

PAGE = (Path(__file__).parents[2] / "docs" / "coming_from.md").read_text(encoding="utf-8")
# What they ask for, and what they get here.
SHRUNK = {
    r"(\d)00_000": r"\g<1>_000", "50_000": "1_000", "20_000": "500", "10_000": "500", "episodes=(20|100)": "episodes=2", "trials=50": "trials=2",
    r"range\((390|25)\)": "range(1)",
}  # fmt: skip


def programs(kind):
    """{heading: code}: what is of that kind below one heading, from top to bottom."""
    found = {}
    heading = ""
    for line, fence, code in re.findall(
        r"^(#{2,3} [^\n]*)$|^```python (\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL
    ):
        if line.startswith("## "):
            chapter = line[3:]
        elif line:
            heading = f"{chapter}: {line[4:]}"
        elif fence == kind:
            found[heading] = found.get(heading, "") + code
    return found


def shrunk(code):
    for long, short in SHRUNK.items():
        code = re.sub(long, short, code)
    return code


OURS, SB3, RLLIB = (programs(kind) for kind in ("ours", "sb3", "rllib"))


# Runs them one after the other, each in a folder of its own; argument: the folder of these folders.
RUNS_ALL = """
import os, sys, traceback
from pathlib import Path

for folder in sorted(Path(sys.argv[1]).iterdir()):
    os.chdir(folder)
    try:
        names = {"__name__": "__main__"}
        exec(compile(Path("example.py").read_text(), folder / "example.py", "exec"), names)
        outcome = type(names.get("result")).__name__
    except BaseException:
        outcome = traceback.format_exc()
    Path("outcome").write_text(outcome)
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Where each of our programs has run: all of them in one process, which imports torch once."""
    folder = tmp_path_factory.mktemp("coming_from")
    made = {name: folder / f"{number:02}" for number, name in enumerate(OURS)}
    for name, own in made.items():
        own.mkdir()
        (own / "example.py").write_text(shrunk(OURS[name]), encoding="utf-8")
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHON_GIL": "0"}
    environment.pop("REACTORNB_RUNS", None)
    done = subprocess.run(
        [sys.executable, "-c", RUNS_ALL, folder], env=environment, capture_output=True, text=True, check=False, timeout=900
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return made


@pytest.mark.slow
@pytest.mark.timeout(960)
@pytest.mark.xdist_group("coming_from")
@pytest.mark.thread_unsafe(reason="starts processes")
@pytest.mark.parametrize("name", OURS)
def test_ours_runs(name, folders):
    if "MultiAgent" in OURS[name]:
        pytest.importorskip("pettingzoo")
    outcome = (folders[name] / "outcome").read_text()
    assert outcome == ("Result" if "\nresult = " in OURS[name] else "NoneType"), outcome
    for file in re.findall(r'save_policy\(\w+, "(.+?)"\)', OURS[name]):
        assert (folders[name] / file).stat().st_size > 1000


def test_each_of_the_three_has_the_same_training():
    assert {name.partition(":")[0] for name in OURS if name.endswith(": The same training")} == {
        "Stable-Baselines3", "CleanRL", "RLlib",
    }  # fmt: skip
    assert len(OURS) > 12


# -- names -----------------------------------------------------------------------------------------------------------------

FIELDS = {name for config in (PPOConfig, DQNConfig, SACConfig, TD3Config) for name in config.names()}
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.partition("## Names")[2].partition("¹ A rollout")[0].splitlines()
    if line.startswith("| ") and "---" not in line
][1:]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_name_of_the_table_is_one_and_cleanrls_is_answered_with_it(row):
    ours = [name.split("=")[0] for name in re.findall(r"`([a-z_]+)`", row[4])]
    assert set(ours) <= FIELDS
    assert ours or row[0] == "seed"
    for flag in re.findall(r"`--([a-z-]+)`", row[2]):
        name = flag.replace("-", "_")
        if name in RENAMED:
            assert RENAMED[name].partition(" ")[0] in ours
        else:
            assert name in FIELDS or name in ("num_minibatches", "cuda", "seed")
    for name in re.findall(r"`([a-z_]+)`", row[1]):
        assert name in ours or name in ("clip_range_vf", "seed")


# -- peers -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [*SB3.values(), *RLLIB.values()], ids=[*SB3, *RLLIB])
def test_a_peers_program_is_python(code):
    compile(code, "peer.py", "exec")


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.thread_unsafe(reason="starts processes")
@pytest.mark.parametrize(("peer", "name"), [*(("sb3", name) for name in SB3), *(("rllib", name) for name in RLLIB)])
def test_a_peers_program_runs_in_its_environment(peer, name, tmp_path):
    found = sorted(cache_folder().glob(f"peers/{peer}-3*"))
    if not any((folder / "complete").exists() for folder in found):
        pytest.skip(f"no environment of {peer}: reactornb bench train --peers {peer} makes it")
    code = {"sb3": SB3, "rllib": RLLIB}[peer][name]
    (tmp_path / "peer.py").write_text(shrunk(code), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    folder = next(folder for folder in found if (folder / "complete").exists())
    done = subprocess.run(
        [folder / "bin" / "python", "peer.py"], cwd=tmp_path, env=environment | {"RAY_USAGE_STATS_ENABLED": "0"}, capture_output=True, text=True,
        check=False, timeout=580,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
