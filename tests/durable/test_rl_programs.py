"""Every program of `reactornb.rl`, cut anywhere, goes on in another process as if nothing had been."""

import json
import os
import shutil
import subprocess
import sys
from importlib import util
from pathlib import Path

import numpy as np
import pytest

for package in ("torch", "gymnasium"):
    pytest.importorskip(package)

sys.path.insert(0, str(Path(__file__).parent))

from keeping_runs import kept_until, outcome  # noqa: E402
from rl_programs import ATARI, MUJOCO, PARALLEL, PROGRAMS, program  # noqa: E402

from reactornb import ms  # noqa: E402
from reactornb.durable import storage  # noqa: E402
from reactornb.rl import atari  # noqa: E402
from reactornb.tags import Tag  # noqa: E402

pytestmark = pytest.mark.thread_unsafe(reason="changes the environment")

WORKERS = (1, 2, 8)

# One of each kind, which `make test` runs; the others are for `make test-all`.
OF_EACH_KIND = (
    "ppo", "ppo, overlap, two rounds ahead, two shards", "ppo, wrappers with statistics", "ppo, normalised, two shards, overlap", "ppo, several choices",
    "ppo, hidden state", "ppo, isolated, generators of the process", "a3c", "appo", "dqn, all of it, two shards, overlap", "q-learning", "ppo, steered, a network of one's own", "a3c, steered",
    "ppo, films itself", "ppo, an hour at most", "sac, two shards, overlap, 3 steps", "td3", "ppo, action masks", "recurrent ppo, two shards, overlap, normalised, steered", "behaviour cloning, without an environment", "iql, steered, normalised, two shards",
    "a team, each agent its own, normalised, two shards, overlap", "a team in groups, steered", *MUJOCO, next(iter(ATARI)),
)  # fmt: skip


def names():
    """All of them, with what they need."""
    lacks = {
        **dict.fromkeys(PARALLEL, "" if util.find_spec("pettingzoo") else "no PettingZoo here"),
        **dict.fromkeys(MUJOCO, "" if util.find_spec("mujoco") else "no MuJoCo here"),
        **dict.fromkeys(ATARI, str(atari.missing() or "")),
    }
    for name in (*PROGRAMS, *PARALLEL, *MUJOCO, *ATARI):
        marks = [pytest.mark.slow if name in OF_EACH_KIND else pytest.mark.soak]
        if "isolated" in name:  # thirty processes that import torch
            marks.append(pytest.mark.timeout(600))
        if lacks.get(name):
            marks.append(pytest.mark.skip(reason=lacks[name]))
        yield pytest.param(name, marks=marks)


def cut_tags(name, options):
    """Three of a run's tags but the last, drawn from a seed; and what the run does if nobody interrupts it."""
    run = program(name).start(workers=2, trace=True, **options)
    tags = sorted({tuple(tag) for tag, _ in run.result(120).trace.executions})
    drawn = np.random.default_rng([len(tags), len(name)]).choice(len(tags) - 1, size=3, replace=False)
    return sorted(tags[int(i)] for i in drawn), outcome(run)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", list(names()))
def test_a_program_goes_on_in_another_process_from_any_tag_with_any_number_of_workers(name, tmp_path, monkeypatch):
    monkeypatch.setenv("REACTORNB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(storage, "_fsync", lambda *_: None)  # no test here takes the power away
    options = {"seed": 1, "fingerprint": True, **({"until": ms(12)} if name in ATARI else {})}
    tags, whole = cut_tags(name, options)
    copies = tmp_path / "copies"
    for number, tag in enumerate(tags):
        run = kept_until(program(name), Tag(*tag), f"run{number}", workers=2, **options)
        run.stop()
        for workers in WORKERS:
            shutil.copytree(run.kept, copies / f"{number}" / f"{workers}")
    here = Path(__file__)
    ran = subprocess.run(
        [sys.executable, here.with_name("rl_programs.py"), "resume", name, copies],
        env={**os.environ, "PYTHONHASHSEED": "0"}, capture_output=True, text=True, check=False, timeout=170,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-4000:]
    resumed = json.loads(ran.stdout)
    assert len(resumed) == 3 * len(WORKERS)
    for place, found in resumed.items():
        tag = tags[int(place.partition("/")[0])]
        assert found == whole, f"cut at {Tag(*tag)}, {place.partition('/')[2]} workers"
