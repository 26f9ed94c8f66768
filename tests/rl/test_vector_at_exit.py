"""A script that does not close its `ReactorVectorEnv`: its environments are closed once each, and nothing is said."""

import os
import subprocess
import sys

import pytest

MADE = """
import gymnasium, sys
from reactornb.rl import ReactorVectorEnv

class Own(gymnasium.Env):
    observation_space = action_space = gymnasium.spaces.Discrete(2)
    def __init__(self, n): self.n = n
    def reset(self, *, seed=None, options=None): return 0, {}
    def step(self, action): return 0, 0.0, False, False, {}
    def close(self):
        print("closed", self.n, flush=True)
        if self.n in BAD: raise OSError("no")

BAD = ()
def made(first=0, workers=2):
    envs = ReactorVectorEnv([lambda n=n: Own(n) for n in range(first, first + 2)], workers=workers)
    envs.reset(seed=1)
    envs.step([0, 1])
    return envs
"""


def ended(body):
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-c", MADE + body], capture_output=True, text=True, timeout=50, check=False, env=env
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "closed", "status"),
    [
        ("envs = made()", [0, 1], 0),
        ("envs = made(workers=1); more = made(2)", [0, 1, 2, 3], 0),
        ("envs = made(); envs.close()", [0, 1], 0),
        ("envs = made(); envs.me = envs; del envs", [0, 1], 0),
        ("envs = made(); sys.exit(3)", [0, 1], 3),
    ],
)
def test_environments_left_open_are_closed_once_each_at_the_scripts_end(body, closed, status):
    done = ended(body)
    assert (done.stderr, done.returncode) == ("", status)
    assert done.stdout.split("\n") == [*(f"closed {n}" for n in closed), ""]


@pytest.mark.slow
def test_one_that_cannot_be_closed_at_the_end_is_named_and_the_others_are_closed():
    done = ended("BAD = (0,); envs = made(); more = made(2)")
    assert done.stdout.split() == ["closed", "0", "closed", "1", "closed", "2", "closed", "3"]
    assert len(done.stderr.splitlines()) == 1
    assert "at exit: OSError: no (raised by environment 0 in its close)" in done.stderr
