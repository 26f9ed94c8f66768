"""The bodies of the paper's experiments 5 and 6: the same plain Python, called by our reactions and by a peer's actors.

The data are laid out as in the published programs (a transition is a tuple of two float32 tensors [1, 3], two numbers and a truth value), which
is what an actor's messages are made of; what a message of five arrays would save is measured too. Random numbers come from generators of one's own, and nothing is printed.

Imported by reactornb's benchmarks as a module of the package, and by a peer's script as its neighbour. Gymnasium, NumPy and torch only.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import nn

__all__ = [
    "ArrayMemory",
    "Arrays",
    "BlackjackPlayer",
    "Chooser",
    "Memory",
    "QLearner",
    "Transition",
    "Weights",
    "network",
]

Transition = tuple[torch.Tensor, int, float, torch.Tensor, bool]
"""State float32 [1, 3], action, reward, next state, whether the game is over."""

Arrays = tuple[np.ndarray[Any, Any], ...]
"""The same of T transitions, as arrays: float32 [T, 3], int64 [T], float32 [T], float32 [T, 3], float32 [T]."""

Weights = dict[str, torch.Tensor]
"""A network's state dictionary."""


def network(inputs: int, hidden: int, outputs: int, seed: int) -> nn.Sequential:
    """Two linear layers and a ReLU between them, initialised as torch does it, from a generator of one's own."""
    first, second = nn.Linear(inputs, hidden), nn.Linear(hidden, outputs)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in (first, second):
            bound = 1 / math.sqrt(layer.in_features)
            layer.weight.uniform_(-bound, bound, generator=generator)
            layer.bias.uniform_(-bound, bound, generator=generator)
    return nn.Sequential(first, nn.ReLU(), second)


# -- experiment 5: parallel Q-learning on Blackjack --------------------------------------------------------------------------


class BlackjackPlayer:
    """Plays Blackjack: with probability epsilon any action, else the one of the highest value.

    Args:
        seed: of the environment and of the exploration.
        steps: per call of `play`.
        epsilon: probability of a random action.
    """

    def __init__(self, seed: int, steps: int = 100, epsilon: float = 0.1) -> None:
        torch.set_num_threads(1)
        self.env = gymnasium.make("Blackjack-v1")
        self.state, _ = self.env.reset(seed=seed)
        self.rng = np.random.default_rng(seed)
        self.steps, self.epsilon = steps, epsilon
        self.net = network(3, 32, 2, seed)

    def play(self, weights: Weights) -> list[Transition]:
        """Take `steps` steps with these weights."""
        self.net.load_state_dict(weights)
        played: list[Transition] = []
        for _ in range(self.steps):
            state = torch.from_numpy(np.array(self.state)).float().unsqueeze(0)
            if self.rng.uniform(0, 1) < self.epsilon:
                action = int(self.rng.integers(0, 2))
            else:
                with torch.no_grad():
                    action = int(self.net(state).max(1)[1].item())
            found, reward, over, _, _ = self.env.step(action)
            next_state = torch.from_numpy(np.array(found)).float().unsqueeze(0)
            played.append((state, action, float(reward), next_state, over))
            self.state = self.env.reset()[0] if over else found
        return played

    def play_arrays(self, weights: Weights) -> Arrays:
        """`play`, packed into arrays."""
        states, actions, rewards, next_states, over = zip(*self.play(weights), strict=True)
        numbers = (np.array(actions), np.array(rewards, np.float32), np.array(over, np.float32))
        return torch.cat(states).numpy(), numbers[0], numbers[1], torch.cat(next_states).numpy(), numbers[2]


class Memory:
    """Keeps the newest 20,000 transitions.

    Args:
        seed: of the draws.
        batch: how many are drawn.
        as_published: the first `batch` are taken, oldest first, and nothing is drawn.
    """

    def __init__(self, seed: int, batch: int, as_published: bool = False) -> None:
        self.kept: deque[Transition] = deque(maxlen=20_000)
        self.rng = np.random.default_rng(seed)
        self.batch, self.as_published = batch, as_published

    def exchange(self, *played: list[Transition]) -> list[Transition]:
        """Store what was played and hand out a batch, drawn without repetition; all there is while that is less."""
        for transitions in played:
            self.kept.extend(transitions)
        kept = list(self.kept)
        if self.as_published or len(kept) <= self.batch:
            return kept[: self.batch]
        return [kept[i] for i in self.rng.choice(len(kept), self.batch, replace=False).tolist()]


class ArrayMemory:
    """`Memory` for arrays; parameters are the same."""

    def __init__(self, seed: int, batch: int, as_published: bool = False) -> None:
        self.kept: list[np.ndarray[Any, Any]] = []
        self.rng = np.random.default_rng(seed)
        self.batch, self.as_published = batch, as_published

    def exchange(self, *played: Arrays) -> Arrays:
        """See `Memory`."""
        new = [np.concatenate(parts) for parts in zip(*played, strict=True)]
        pairs = zip(self.kept, new, strict=True)
        self.kept = [np.concatenate(pair)[-20_000:] for pair in pairs] if self.kept else new
        count = len(self.kept[1])
        if self.as_published or count <= self.batch:
            return tuple(part[: self.batch] for part in self.kept)
        drawn = self.rng.choice(count, self.batch, replace=False)
        return tuple(part[drawn] for part in self.kept)


class QLearner:
    """One step of Adam per batch on the squared error of Q-learning; the target network is copied every tenth time.

    Args:
        seed: of the first weights.
    """

    def __init__(self, seed: int) -> None:
        torch.set_num_threads(1)
        self.net, self.target = network(3, 32, 2, seed), network(3, 32, 2, seed)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=0.01)
        self.updates = 0

    def weights(self) -> Weights:
        """A copy of the newest weights."""
        return {name: tensor.clone() for name, tensor in self.net.state_dict().items()}

    def update(self, batch: list[Transition], gamma: float = 0.99) -> float:
        """Learn from a batch.

        Returns:
            The loss.
        """
        states, actions, rewards, next_states, over = zip(*batch, strict=True)
        numbers = (torch.tensor(actions), torch.tensor(rewards), torch.tensor(over, dtype=torch.float32))
        return self._step(torch.cat(states), numbers[0], numbers[1], torch.cat(next_states), numbers[2], gamma)

    def update_arrays(self, batch: Arrays, gamma: float = 0.99) -> float:
        """`update` for arrays; those that came through an object store are read-only, hence the copies."""
        states, actions, rewards, next_states, over = (torch.tensor(part) for part in batch)
        return self._step(states, actions, rewards, next_states, over, gamma)

    def _step(
        self,
        states: torch.Tensor,
        actions: torch.Tensor,
        rewards: torch.Tensor,
        next_states: torch.Tensor,
        over: torch.Tensor,
        gamma: float,
    ) -> float:
        estimate = self.net(states).gather(1, actions.unsqueeze(-1)).squeeze(-1)
        with torch.no_grad():
            goal = rewards + gamma * self.target(next_states).max(1)[0] * (1 - over)
        loss = nn.functional.mse_loss(estimate, goal)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        if self.updates % 10 == 0:
            self.target.load_state_dict(self.net.state_dict())
        self.updates += 1
        return float(loss.item())


# -- experiment 6: multi-agent inference -------------------------------------------------------------------------------------


class Chooser:
    """One agent's policy: joint observation → 64 → actions, a softmax, and the most probable one.

    Args:
        inputs: size of the joint observation.
        actions: how many there are.
        seed: of the weights.
    """

    def __init__(self, inputs: int, actions: int, seed: int) -> None:
        torch.set_num_threads(1)
        self.net = network(inputs, 64, actions, seed)

    def choose(self, joint: np.ndarray[Any, Any]) -> int:
        """The action for a joint observation, float32 [inputs]."""
        state = torch.from_numpy(np.array(joint)).float().unsqueeze(0)
        with torch.no_grad():
            chances = torch.softmax(self.net(state), dim=-1)
        return int(torch.argmax(chances, dim=-1).item())
