"""The bodies of experiments 5 and 6, the programs that call them, and their benchmarks, small.

Their optimizer imports triton, which would turn this process's GIL on: what trains runs in a process of its own.
"""

import json
import os
import subprocess
import sys
from importlib import util
from itertools import pairwise

import pytest

if any(util.find_spec(name) is None for name in ("torch", "gymnasium", "pettingzoo")):
    pytest.skip("needs torch, Gymnasium and PettingZoo", allow_module_level=True)

import numpy as np
import torch

from reactornb.bench.peers.experiments import ArrayMemory, BlackjackPlayer, Chooser, Memory, network

SMALL = ("--rollouts", "2", "--steps", "10", "--rounds", "1")
FREE = {"PYTHON_GIL": "0"} if not getattr(sys, "_is_gil_enabled", lambda: True)() else {}

TRAIN = """
import json
from reactornb import Program
from reactornb.bench.peers.experiments import BlackjackPlayer, Memory, QLearner
from reactornb.bench.qlearning import SameBodies

def flat(learner):
    return [x for tensor in learner.weights().values() for x in tensor.flatten().tolist()]

found = []
for workers in (1, 2, 8):
    run = Program(SameBodies, rollouts=3, steps=20, batch=40, rounds=4).start(workers=workers, fast=True, fingerprint=True)
    fingerprint = run.result().fingerprint
    learner = run.instance("learner")
    found.append([fingerprint, learner.loss, flat(learner.learner)])

learner, memory = QLearner(1), Memory(5, 40)
players = [BlackjackPlayer(2 + i, 20) for i in range(3)]
for _ in range(4):
    weights = learner.weights()
    loss = learner.update(memory.exchange(*(p.play(weights) for p in players)))
print(json.dumps([found, loss, flat(learner)]))
"""


def in_a_process_of_its_own(*words):
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, timeout=150, env=os.environ | FREE, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_same_bodies_learn_the_same_in_reactors_and_in_a_loop():
    runs, loss, weights = json.loads(in_a_process_of_its_own("-c", TRAIN))
    assert runs[0] == runs[1] == runs[2]
    assert runs[0][1:] == [loss, weights]
    assert len(weights) == 32 * 4 + 2 * 33


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "figures"),
    [
        (
            ("qlearning", *SMALL, "--batch", "20,30"),
            {"K = 20, ours, 2 workers", "K = 30, same bodies, 1 worker"},
        ),
        pytest.param(
            ("qlearning", *SMALL, "--as-published"), {"K = 500, plain loop, same bodies"}, marks=pytest.mark.soak
        ),
        pytest.param(("qlearning", *SMALL, "--arrays"), {"K = 500, same bodies, 2 workers"}, marks=pytest.mark.soak),
        pytest.param(
            ("marl", "--rounds", "3", "--cars", "2,4"),
            {"2 agents, NumPy, 2 workers", "4 agents, same bodies, 1 worker"},
            marks=pytest.mark.soak,
        ),
    ],
)
def test_the_benchmarks_run(words, figures, tmp_path):
    file = tmp_path / "found.json"
    said = in_a_process_of_its_own("-m", "reactornb", "bench", *words, "--repeats", "1", "--json", str(file))
    found = json.loads(file.read_text())
    assert figures <= set(found["figures"])
    assert all(value > 0 for figure in found["figures"].values() for value in figure["values"])
    assert "CPython" in said


@pytest.mark.slow
def test_benchmarks_are_listed_without_torch_and_say_that_they_need_it():
    code = (
        "import sys; sys.modules['torch'] = None; from reactornb.__main__ import main\n"
        "assert main(['bench']) == 0 and main(['bench', 'marl']) == 2"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    assert "reactornb bench marl" in done.stdout
    assert "the benchmark marl needs torch: pip install reactornb[rl]" in done.stderr


def test_a_player_hands_out_what_it_saw_step_by_step():
    player = BlackjackPlayer(seed=3, steps=50, epsilon=0.5)
    played = player.play(network(3, 32, 2, 9).state_dict())
    assert len(played) == 50
    for (state, action, reward, following, over), (state_after, *_) in pairwise(played):
        assert state.shape == following.shape == (1, 3)
        assert state.dtype == torch.float32
        assert action in (0, 1)
        assert over or (reward == 0.0 and torch.equal(following, state_after))
    assert {0, 1} == {action for _, action, *_ in played}
    again = BlackjackPlayer(seed=3, steps=50, epsilon=0.5).play(network(3, 32, 2, 9).state_dict())
    assert [step[1:3] for step in again] == [step[1:3] for step in played]


def test_a_memory_keeps_the_newest_and_draws_without_repetition():
    def marked(first, count):
        return [(torch.zeros(1, 3), i, 0.0, torch.zeros(1, 3), False) for i in range(first, first + count)]

    memory = Memory(seed=0, batch=100)
    assert [t[1] for t in memory.exchange(marked(0, 30), marked(30, 30))] == list(range(60))  # all there is
    drawn = [t[1] for t in memory.exchange(marked(60, 20_000))]
    assert len(set(drawn)) == 100
    assert min(drawn) >= 60
    assert drawn != sorted(drawn)
    first = Memory(seed=0, batch=100, as_published=True)
    assert [t[1] for t in first.exchange(marked(0, 500))] == list(range(100))
    assert [t[1] for t in first.exchange(marked(500, 500))] == list(range(100))


def test_arrays_hold_the_same_transitions():
    weights = network(3, 32, 2, 9).state_dict()
    listed = BlackjackPlayer(seed=3, steps=50).play(weights)
    packed = BlackjackPlayer(seed=3, steps=50).play_arrays(weights)
    assert [len(part) for part in packed] == [50] * 5
    for i, part in enumerate(packed):
        assert part.tolist() == [t[i].tolist()[0] if i in (0, 3) else t[i] for t in listed]
    memory, other = ArrayMemory(seed=0, batch=30), Memory(seed=0, batch=30)
    for _ in range(3):
        batch, expected = memory.exchange(packed, packed), other.exchange(listed, listed)
        assert batch[0].tolist() == [t[0].tolist()[0] for t in expected]


def test_a_chooser_takes_the_most_probable_action():
    chooser = Chooser(5, 3, seed=1)
    joint = np.random.default_rng(0).standard_normal(5).astype(np.float32)
    with torch.no_grad():
        assert chooser.choose(joint) == int(chooser.net(torch.from_numpy(joint)).argmax())
