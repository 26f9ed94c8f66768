"""Hyper-parameters changed while a program learns: they reach the optimizer and the policies, and the run can be repeated."""

import time
from dataclasses import replace
from itertools import pairwise

import pytest

pytest.importorskip("torch")
pytest.importorskip("gymnasium")

import numpy as np
import torch

from reactornb import Input, Output, Program, Reactor, Shared, Tag, connect, reaction
from reactornb.errors import ParameterError
from reactornb.rl import A3C, DQN, PPO, A3CConfig, DQNConfig, Learner, PPOConfig
from reactornb.rl.layers import linear

# The first optimizer of a process imports most of torch, which takes a busy machine a minute.
pytestmark = pytest.mark.timeout(300)


class Fit:
    """One weight matrix; the mean of what arrives is its target."""

    target = None

    def __init__(self, generator, device):
        self.network = linear(2, 3, generator)

    def minibatches(self, received, rng, progress):
        yield from received

    def loss(self, minibatch):
        return ((self.network.weight - torch.tensor(minibatch)) ** 2).sum(), {}

    def feedback(self):
        """Nothing goes back."""


def test_the_learning_rate_reaches_the_optimizer_before_the_round_of_its_tag():
    class Feed(Reactor):
        weights = Input()
        batch = Output()
        keep: Shared[list]

        @reaction(weights)
        def on_weights(self, weights, batch):
            self.keep.append(weights.value)
            batch.set(1.0)

    class Around(Reactor):
        keep: Shared[list]

        def compose(self):
            self.learner = Learner(algorithm=Fit, learning_rate=0.1, optimizer_class=torch.optim.SGD, rounds=5)
            self.feed = Feed(keep=self.keep)
            connect(self.learner.weights, self.feed.weights, after=0)
            connect(self.feed.batch, self.learner.batches)

    keep = []
    Program(Around(keep=keep)).run(fast=True, replay=[(Tag(0, 3), "learner.learning_rate", 0.1, 0.25)])
    moved = [float(np.mean((after[:6] - before[:6]) / (1 - before[:6]))) for before, after in pairwise(keep)]
    # SGD on a squared distance: the matrix goes 2 lr of the way.
    assert moved == pytest.approx([0.2, 0.2, 0.5, 0.5], abs=1e-4)


def config():
    return replace(
        DQNConfig(),
        total_timesteps=400,
        n_rollouts=2,
        n_steps=10,
        learning_starts=20,
        batch_size=8,
        buffer_size=200,
        hidden=(8,),
        eval_episodes=0,
    )


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 8])
def test_a_tuned_dqn_is_repeated_bit_for_bit(workers):
    changes = [
        (Tag(0, 5), "learner.learning_rate", None, 1e-2),
        (Tag(0, 7), "rollouts.epsilon", None, 0.0),
        (Tag(0, 9), "rollouts[1].epsilon", 0.0, 1.0),
    ]
    program = Program(DQN(env="CartPole-v1", config=config()))
    first = program.run(seed=1, fast=True, workers=1, fingerprint=True, replay=changes)
    recorded = program.last_run.changes
    assert [c.path.partition(".")[2] for c in recorded] == [
        "learner.learning_rate", "rollouts[0].epsilon", "rollouts[1].epsilon", "rollouts[1].epsilon",
    ]  # fmt: skip
    again = program.run(seed=1, fast=True, workers=workers, fingerprint=True, replay=recorded)
    assert again.fingerprint == first.fingerprint
    assert program.last_run.instance("rollouts[0]").actor.epsilon == 0.0
    assert program.last_run.instance("rollouts[1]").actor.epsilon == 1.0
    assert program.last_run.instance("learner").optimizer.param_groups[0]["lr"] == 1e-2
    assert program.run(seed=1, fast=True, workers=workers, fingerprint=True).fingerprint != first.fingerprint


@pytest.mark.slow
def test_a_tuned_a3c_takes_its_rate():
    made = replace(
        A3CConfig(), total_timesteps=200, n_actors=2, n_steps=10, hidden=(8,), eval_episodes=0, anneal_lr=False
    )
    program = Program(A3C(env="CartPole-v1", config=made))
    program.run(seed=1, fast=True, workers=1, replay=[(Tag(1_500_000), "shared.learning_rate", None, 1e-5)])
    assert program.last_run.instance("shared").optimizer.param_groups[0]["lr"] == 1e-5


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("learner.learning_rate", -1.0, "a learning rate is finite and at least 0"),
        ("learner.learning_rate", float("nan"), "a learning rate is finite"),
        ("learner.tau", 1.5, r"tau is in \[0, 1\]"),
        ("learner.writers", 3, "decides the width of port 'batches'"),
        ("learner.device", "cuda", "only looked at when the program starts"),
        ("rollouts.env", "Acrobot-v1", "only looked at when the program starts"),
        ("rollouts.epsilon", 0.1, "its policy, CategoricalPolicy, has no epsilon"),
        ("config", None, "decides what the reactor is composed of"),
    ],
)
def test_what_would_end_the_run_or_do_nothing_is_refused(path, value, words):
    run = Program(PPO(env="CartPole-v1", config=replace(PPOConfig(), hidden=(8,)))).start(workers=1, fast=True)
    try:
        # The first tag only: the environments and the network are made.
        run.pause().step(1)
        while not run._engine.tags_done and run.is_alive:
            time.sleep(0.001)
        with pytest.raises(ParameterError, match=words):
            run.set(path, value)
    finally:
        run.stop()
