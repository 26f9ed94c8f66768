"""The paper's experiment 5 over our own reactors: its sizes, its arithmetic, and the same weights on any number of workers."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("gymnasium")

import torch

from reactornb import Program
from reactornb.rl.envs import spec_of
from reactornb.rl.experiment5 import STATES, Experiment5, KnownStates
from reactornb.rl.networks import Flat, QNetwork
from reactornb.rl.toy_text import blackjack

WORKERS = (1, 2, 8)


@pytest.mark.slow
def test_it_has_the_papers_sizes():
    program = Program(Experiment5, batch_size=500, rounds=3)
    run = program.start(workers=2, seed=1, fast=True, trace=True)
    trace = run.result().trace
    played = [value for _, value in trace.values("experiment5.players[15].trajectory")]
    assert len(played) == 3
    assert all(len(t) == 100 and t.valid.all() for t in played)  # 100 steps, none of which only resets
    batches = [value for _, value in trace.values("experiment5.replay.batches")]
    assert [[len(b.rewards) for b in drawn] for drawn in batches] == [[500]] * 3
    assert run.instance("replay").ring.written == 3 * 16 * 100
    learner = run.instance("learner")
    assert [tuple(p.shape) for p in learner.algo.network.parameters()] == [(32, 3), (32,), (2, 32), (2,)]
    assert learner.optimizer.param_groups[0]["lr"] == 0.01


@pytest.mark.slow
def test_the_target_network_is_copied_every_tenth_round():
    def targets(rounds):
        run = Program(Experiment5, rounds=rounds).start(workers=1, seed=1, fast=True)
        run.result()
        learner = run.instance("learner")
        return learner.target.publish(), learner.flat.publish()

    first, after_nine = targets(9)
    assert not np.array_equal(first, after_nine)
    copied, newest = targets(10)
    assert np.array_equal(copied, newest)
    assert not np.array_equal(first, copied)


@pytest.mark.slow
def test_any_number_of_workers_learns_the_same_weights():
    def outcome(workers, seed):
        run = Program(Experiment5, rounds=4).start(workers=workers, seed=seed, fast=True, fingerprint=True)
        return run.result().fingerprint, run.instance("learner").flat.publish().tobytes()

    found = {outcome(workers, 1) for workers in WORKERS}
    assert len(found) == 1
    assert outcome(2, 2) not in found


def test_known_states_chooses_what_the_network_would():
    spec = spec_of(blackjack)
    network = QNetwork(spec, (32,), False, torch.Generator().manual_seed(3))
    policy = KnownStates(0.0, spec)
    policy.load(Flat(network).publish())
    every = np.array(list(np.ndindex(*STATES)), np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(every)).argmax(1).tolist()
    rng = np.random.default_rng(0)
    assert [int(policy.act(seen[None], rng)[0][0]) for seen in every] == expected
    assert 0 < sum(expected) < len(expected)


def test_known_states_explores_as_often_as_it_should():
    policy = KnownStates(0.5, spec_of(blackjack))
    policy.load(np.zeros(32 * 4 + 2 * 33, np.float32))  # all values are equal: it would stick
    rng = np.random.default_rng(0)
    hits = sum(int(policy.act(np.array([[12, 5, 0]], np.float32), rng)[0][0]) for _ in range(4000))
    assert 900 < hits < 1100  # a half of a half: 1000, 3.6 standard deviations either way
