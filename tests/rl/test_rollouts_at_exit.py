"""A script that ends while an algorithm trains: each environment is closed once, and nothing is said."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("torch")
pytest.importorskip("gymnasium")

SCRIPT = """
import os, sys, time
import gymnasium, numpy as np
from reactornb import Program
from reactornb.rl import PPO

class Own(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (3,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    made = []  # appended to by the threads that make environments, in one operation: a counter would lose counts
    closed = []  # likewise, by those that close them
    def __init__(self):
        Own.made.append(self)
    def reset(self, *, seed=None, options=None): return np.zeros(3, np.float32), {}
    def step(self, action): return np.zeros(3, np.float32), 1.0, False, False, {}
    def close(self):
        Own.closed.append(self)
        os.write(1, b"closed\\n")

run = Program(PPO(env=Own)).start(workers=2)
while not run.tags:
    time.sleep(0.01)
import atexit
atexit.register(lambda: print("left open:", len(Own.made) - len(Own.closed), len(set(map(id, Own.made)) - set(map(id, Own.closed)))))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("last", "status"), [("", 0), ("sys.exit(3)", 3)], ids=["its last line", "sys.exit"])
def test_environments_of_rollouts_that_go_on_are_closed_once_each_at_the_scripts_end(last, status):
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT + last], capture_output=True, text=True, timeout=100, check=False, env=env
    )
    assert (done.stderr, done.returncode) == ("", status)
    *closed, left = done.stdout.splitlines()
    assert len(closed) >= 2
    assert left == "left open: 0 0"
