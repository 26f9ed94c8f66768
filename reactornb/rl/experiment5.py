"""The paper's experiment 5: deep Q-learning on Blackjack, with 16 rollouts, a replay buffer and a learner.

    learner ──weights, one microstep later──▶ rollouts[16] ──trajectories──▶ replay ──batch──▶ learner

    Program(Experiment5(batch_size=500, rounds=500)).run(seed=1)

A round is 100 steps of each rollout, one batch, one step of Adam (learning rate 0.01) on the squared error, discount 0.99; rollouts
explore with probability 0.1; the target network is copied every tenth round; the network is 3 → 32 → 2; the buffer keeps
20,000 transitions. The batch is drawn at random by the buffer's own generator (in the published program it is the first
transitions, over and over; `reactornb bench qlearning --as-published` does that too, on both sides).

Source: Kwok, Lohstroh, Lee 2023, arXiv:2312.04704, section 5.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from reactornb.model import Bank, Reactor, connect
from reactornb.rl.dqn import DQNAlgorithm, DQNConfig
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.envs import spec_of
from reactornb.rl.learner import Learner
from reactornb.rl.names import RENAMED
from reactornb.rl.optimizers import Adam
from reactornb.rl.policies import Mlp
from reactornb.rl.qlearning import BriefRollout
from reactornb.rl.replay import ReplayBuffer
from reactornb.rl.toy_text import blackjack

__all__ = ["Experiment5", "KnownStates"]

SIZES = (3, 32, 2)
STATES = (32, 11, 2)  # player's sum, dealer's card, usable ace


class KnownStates:
    """Epsilon-greedy on a network that has only 704 inputs to answer for: asked once per round, for all of them.

    One environment at a time; see `reactornb.rl.policies.Policy`.
    """

    def __init__(self, epsilon: float, spec: EnvSpec) -> None:  # noqa: ARG002 - as every policy is made
        self._epsilon = epsilon
        self._net = Mlp(SIZES, "relu")
        self._every = np.array(list(np.ndindex(*STATES)), np.float32)
        self._best = np.zeros(STATES, np.int64)

    def load(self, weights: np.ndarray) -> None:
        """Take over weights, and look up what they make of every state."""
        self._net.load(weights)
        self._best = self._net(self._every).argmax(axis=1).reshape(STATES)

    def act(self, observations: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, None]:
        """See `Policy`."""
        if rng.random() < self._epsilon:
            return rng.integers(2, size=1), None
        return self.greedy(observations), None

    def greedy(self, observations: np.ndarray) -> np.ndarray:
        """See `Policy`."""
        total, card, ace = observations[0].tolist()
        return self._best[int(total), int(card), int(ace), None]


class Experiment5(Reactor):
    """The program; see the module.

    Parameters:
        batch_size: K, transitions per update.
        rounds: after so many the run ends.
        n_rollouts: how many play.
        n_steps: steps of each per round.
        epsilon: of their exploration.
    """

    needs_physical_time = False
    _renamed = RENAMED

    batch_size: int = 500
    rounds: int = 500
    n_rollouts: int = 16
    n_steps: int = 100
    epsilon: float = 0.1

    def compose(self) -> None:
        """The loop of the module's picture."""
        spec = spec_of(blackjack)
        self.learner = Learner(
            algorithm=partial(
                DQNAlgorithm, spec, DQNConfig(hidden=SIZES[1:2])
            ),  # the squared error, as it is there by default
            optimizer_class=Adam,
            learning_rate=0.01,
            target_every=10,
            rounds=self.rounds,
        )
        # Same-step autoreset: all of the 100 steps are transitions, as in the paper's program.
        self.players = Bank(
            BriefRollout,
            self.n_rollouts,
            env=blackjack,
            policy=partial(KnownStates, self.epsilon),
            n_steps=self.n_steps,
            autoreset="same_step",
        )
        self.replay = ReplayBuffer(
            writers=self.n_rollouts, buffer_size=20_000, batch_size=self.batch_size, gradient_steps=1, gamma=0.99
        )
        connect(self.learner.weights, self.players.weights, after=0, broadcast=True)
        connect(self.players.trajectory, self.replay.trajectories)
        connect(self.replay.batches, self.learner.batches)
