"""Deep Q-learning, with double, duelling and prioritised variants.

    Program(DQN(env="CartPole-v1", double=False)).run(seed=1)

Rollouts play epsilon-greedily; the replay buffer stores what they saw and draws minibatches; the learner takes steps on them.

Source: Mnih et al. 2015, doi:10.1038/nature14236; double: van Hasselt et al. 2016, arXiv:1509.06461; duelling: Wang et al. 2016,
arXiv:1511.06581; prioritised: Schaul et al. 2016, arXiv:1511.05952; CleanRL's dqn.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch

from reactornb.rl.action_mask import MaskedForward
from reactornb.rl.analytic import QPass, written_out
from reactornb.rl.bodies import q_network
from reactornb.rl.config import (
    TrainingConfig,
    at_least,
    broken,
    check,
    config_of,
    device,
    flag,
    horizons,
    number,
    optional,
    per_rollout,
    whole,
    widths,
)
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.envs import spec_of
from reactornb.rl.layers import check_supported, has_frames
from reactornb.rl.learner import adam
from reactornb.rl.losses import (
    td_errors,
    td_goals,
    weighted_huber,
    weighted_huber_gradient,
    weighted_squares,
    weighted_squares_gradient,
)
from reactornb.rl.names import RENAMED
from reactornb.rl.normalization import normalizer_of
from reactornb.rl.off_policy import wire
from reactornb.rl.policies import EpsilonGreedyPolicy, LinearSchedule, Mlp, Policy, TorchForward
from reactornb.rl.shards import shards_of
from reactornb.rl.storage import Batch
from reactornb.rl.training import Training, env_of

__all__ = ["DQN", "DQNConfig"]


@dataclass(frozen=True, slots=True)
class DQNConfig(TrainingConfig):
    """Hyper-parameters; the defaults are CleanRL's dqn.py, with two environments that play at the same time.

    Attributes:
        total_timesteps: environment steps of a whole run.
        n_rollouts: reactors that play.
        n_envs: environments of each.
        train_freq: steps of each environment per round, which ends with the updates; a tuple has one number for each rollout, such as
            (10, 5): fewer for those whose environments are slower, so that the others need not wait.
        gradient_steps: updates per round.
        batch_size: transitions of an update.
        buffer_size: transitions that the replay buffer keeps.
        learning_starts: transitions before the first update.
        target_update_interval: environment steps after which the target network is replaced; at least one update.
        tau: how much of the network the target takes over then.
        learning_rate: Adam's learning rate; `anneal_lr` lets it fall to 0.
        gamma: discount.
        exploration_initial_eps: probability of a random action at the beginning.
        exploration_final_eps: and at the end; it falls linearly in the first `exploration_fraction` of the steps.
        exploration_fraction: see `exploration_final_eps`.
        n_steps: steps of a return before it is bootstrapped.
        double, duelling, prioritised: the variants.
        alpha, beta: of the priorities; see `ReplayBuffer`.
        huber: Huber's loss, as in Mnih et al. 2015, instead of squared errors. Its gradient is bounded, so that the rare transitions
            at which episodes terminate may not hold back values that run away.
        max_grad_norm: the gradient is cut to this; None, CleanRL's: it is not.
        hidden: widths of the hidden layers; images get the network of Mnih et al. 2015.
        staleness: rounds that rollouts may be ahead of the learner: 1 means that round n + 1 is played with the weights that round
            n was played with already, not with those learnt from it; see `Learner`.
        overlap: learn from a round while the next ones are played: the learner is an enclave, and `staleness` at least 1. The result
            depends on the staleness alone.
        device: of the learner.
        shards: reactors that compute the gradient of one minibatch at the same time; None: as many as `default_shards` says for this network
            and minibatch, on any machine. Results of different numbers differ by rounding, those of one are the same for any number of workers.
        network, eval_every, …: what all algorithms have; see `TrainingConfig`.
    """

    renamed: ClassVar = {**RENAMED, "horizon": "train_freq"}

    total_timesteps: int = 500_000
    n_rollouts: int = 2
    n_envs: int = 1
    train_freq: int | tuple[int, ...] = 5
    gradient_steps: int = 1
    batch_size: int = 128
    buffer_size: int = 10_000
    learning_starts: int = 10_000
    target_update_interval: int = 500
    tau: float = 1.0
    learning_rate: float = 2.5e-4
    anneal_lr: bool = False
    gamma: float = 0.99
    exploration_initial_eps: float = 1.0
    exploration_final_eps: float = 0.05
    exploration_fraction: float = 0.5
    n_steps: int = 1
    double: bool = False
    duelling: bool = False
    prioritised: bool = False
    alpha: float = 0.6
    beta: float = 0.4
    huber: bool = False
    max_grad_norm: float | None = None
    hidden: tuple[int, ...] = (120, 84)
    staleness: int = 0
    overlap: bool = False
    device: str = "cpu"
    shards: int | None = None

    def __post_init__(self) -> None:
        check(
            self, total_timesteps=whole(1), n_rollouts=whole(1), n_envs=whole(1), train_freq=horizons, gradient_steps=whole(1),
            batch_size=whole(1), buffer_size=whole(2), learning_starts=whole(0), target_update_interval=whole(1),
            tau=number(0, 1, above=True), learning_rate=at_least(0), anneal_lr=flag, gamma=number(0, 1), exploration_initial_eps=number(0, 1),
            exploration_final_eps=number(0, 1), exploration_fraction=number(0, 1), n_steps=whole(1), double=flag, duelling=flag, prioritised=flag,
            alpha=at_least(0), beta=number(0, 1), huber=flag, max_grad_norm=optional(number(0, above=True)), hidden=widths,
            staleness=whole(0), overlap=flag, device=device, shards=optional(whole(1)),
        )  # fmt: skip
        per_rollout(self, "train_freq")
        if self.learning_starts > self.total_timesteps:
            raise broken(
                self,
                f"learning_starts={self.learning_starts} is more than total_timesteps={self.total_timesteps}: there would be no update. "
                f"Lower it, such as learning_starts={max(1, self.total_timesteps // 10)}.",
                "learning_starts",
                "total_timesteps",
            )

    @property
    def steps_per_round(self) -> int:
        """Environment steps of a round."""
        return self.n_envs * sum(per_rollout(self, "train_freq"))

    @property
    def rounds(self) -> int:
        """Rounds of a whole run."""
        return max(1, self.total_timesteps // self.steps_per_round)

    @property
    def target_every(self) -> int:
        """Updates after which the target network is replaced."""
        return max(1, round(self.target_update_interval * self.gradient_steps / self.steps_per_round))


DQNConfig.presets = {
    # Our own: with the settings of the RL Baselines3 Zoo, and with target networks replaced every 50 updates, values ran away in some
    # runs. With these together (a target that follows slowly, double Q-learning, a falling learning rate, Huber's loss) they did not
    # for seeds 1 to 3; which of them it takes was not tried one by one.
    "CartPole-v1": DQNConfig(
        total_timesteps=140_000, n_envs=4, train_freq=10, gradient_steps=16, batch_size=128, buffer_size=50_000, learning_starts=1_000,
        target_update_interval=1, tau=0.01, max_grad_norm=10.0, learning_rate=5e-4, anneal_lr=True, exploration_fraction=0.3, n_steps=3, double=True,
        huber=True,
    ),
}  # fmt: skip


class DQNAlgorithm:
    """Q-learning's minibatches and loss; see `Algorithm`.

    `gradient` is used for perceptrons on the CPU; whoever overrides `loss` alone gets autograd's.
    """

    transient = ("config",)

    def __init__(self, spec: EnvSpec, config: DQNConfig, generator: torch.Generator, device: torch.device) -> None:
        self.config = config
        self.device = device
        self.network = self._own = q_network(spec, config.hidden, config.duelling, generator, config.network)
        self.target = q_network(spec, config.hidden, config.duelling, None, config.network)
        self._in_numpy = device.type == "cpu" and config.network is None and not has_frames(spec)
        if self._in_numpy:
            # Two, since each reads weights of its own from update to update.
            self._learns, self._judges = (QPass(spec, config.hidden, config.duelling) for _ in range(2))
        self._mask = spec.mask
        self._columns = np.arange(0)
        self._priorities: list[tuple[np.ndarray, Any]] = []

    @property
    def analytic(self) -> bool:
        """See `Algorithm`; False also where a subclass has put another network in the place of this one."""
        return self._in_numpy and self.network is self._own and written_out(type(self))

    def minibatches(self, received: list[list[Batch]], rng: np.random.Generator, progress: float) -> list[Batch]:  # noqa: ARG002 - as every `Algorithm` has it
        """Those that the replay buffer drew."""
        return received[0]

    def loss(self, minibatch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor | float]]:
        """Of the temporal-difference errors."""
        b = minibatch
        arrays = (b.observations, b.actions, b.rewards, b.next_observations, b.discounts, b.weights)
        observations, actions, rewards, next_observations, discounts, weights = (
            # Copies: what was sent is read-only, which torch's tensors cannot be.
            torch.tensor(a, device=self.device)
            for a in arrays
        )
        with torch.no_grad():
            next_values = self.target(next_observations)
            next_online = self.network(next_observations) if self.config.double else None
        values = self.network(observations)
        errors = td_errors(values, actions, rewards, discounts, next_values, next_online)
        if self.config.prioritised:
            self._priorities.append((b.indices, errors.detach().abs()))
        loss = weighted_huber if self.config.huber else weighted_squares
        known = values.detach()
        if self._mask is not None:
            known = known[self._mask.of(observations) != 0]
        return loss(errors, weights), {"value": known.mean()}

    def gradient(self, minibatch: Batch, weights: np.ndarray, out: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """That of `loss`, written out."""
        config, b, net = self.config, minibatch, self._learns
        rows = len(b.rewards)
        if len(self._columns) != rows:
            self._columns = np.arange(rows)
        with np.errstate(over="ignore", invalid="ignore"):  # the learner looks for what is not finite, and says so
            next_values = self._judges.forward(target, b.next_observations)
            next_online = net.forward(weights, b.next_observations) if config.double else None
            mask = self._mask
            if mask is not None:  # nobody will do there what is not possible
                for judged in (next_values, next_online):
                    if judged is not None:
                        mask.forbid(judged.T, b.next_observations)
            goals = td_goals(b.rewards, b.discounts, next_values, next_online)
            values = net.forward(weights, b.observations)
            errors = values[b.actions, self._columns] - goals
            if config.prioritised:
                self._priorities.append((b.indices, np.abs(errors)))
            loss, d_errors = (weighted_huber_gradient if config.huber else weighted_squares_gradient)(errors, b.weights)
            known = values if mask is None else values.T[mask.of(b.observations) != 0]
            mean = float(np.add.reduce(known, axis=None)) / known.size
            values[:] = 0.0
            values[b.actions, self._columns] = d_errors
            net.backward(out, values)
        return {"loss": loss, "value": mean}

    def feedback(self) -> tuple[np.ndarray, np.ndarray] | None:
        """(indices, absolute errors) of what was drawn since the last call, if it is drawn by priority."""
        priorities, self._priorities = self._priorities, []
        if not priorities:
            return None
        indices, errors = zip(*priorities, strict=True)
        return np.concatenate(indices), np.concatenate(
            [e.cpu().numpy() if isinstance(e, torch.Tensor) else e for e in errors]
        )

    def joined(self, feedbacks: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
        """That of several objects, each of which took gradients of pieces."""
        indices, errors = zip(*feedbacks, strict=True)
        return np.concatenate(indices), np.concatenate(errors)


def value_policy(
    hidden: tuple[int, ...], duelling: bool, epsilon: LinearSchedule, spec: EnvSpec, network: Any = None
) -> Policy:
    """The epsilon-greedy policy of a `QNetwork`: NumPy, or torch for images and for a network of the user's own.

    In NumPy a duelling network's advantages do: value and mean are the same for all actions.
    """
    n_actions = spec.need_discrete("DQN")
    forward: Any
    if network is not None or has_frames(spec):
        forward = TorchForward(partial(q_network, spec, hidden, duelling, None, network))
    else:
        seen = spec.unmasked
        forward = Mlp((int(np.prod(seen.observation_shape)), *hidden, n_actions), "relu", scaling=seen.scaling)
        if spec.mask is not None:
            forward = MaskedForward(forward, spec.mask)
    return EpsilonGreedyPolicy(forward, n_actions, epsilon, spec.mask)


class DQN(Training, config_type=DQNConfig):
    """Deep Q-learning: learns action values from a replay buffer; double, duelling and prioritised variants.

        result = Program(DQN(env="CartPole-v1", total_timesteps=50_000, double=True)).run(seed=1)

    Parameters:
        env: a Gymnasium id ("CartPole-v1" by default), or a function that makes an environment or a vector environment, such as
            `lambda: MyEnv(size=8)`; each rollout makes its own. Observations of any kind that becomes one array (frames, also in a Dict or Tuple, go
            through the network of Mnih et al. 2015); actions Discrete.
        config: hyper-parameters, a `DQNConfig` (`DQNConfig?` lists all with their defaults). None, the default:
            `DQNConfig.for_env(env)`, what is known to work for that id.
        learning_rate, gamma, …: each field of `DQNConfig` by its name, instead of what `config` says: `DQN(learning_rate=1e-3)`. `DQN(…).settings` shows
            what comes of both.

    Logs `episode_return`, `episode_length`, `loss`, `value`, and with each evaluation `eval_return` and `eval_mean`.

    Raises:
        UnknownEnvironmentError: at assembly, for an environment that cannot be made.
        SpaceError: at assembly, for observations or actions that it does not take.
        ConfigError: at assembly, for another configuration.

    Source: Mnih et al. 2015, doi:10.1038/nature14236; the module names those of the variants.
    """

    env: Any = "CartPole-v1"
    config: DQNConfig | None = None

    def compose(self) -> None:
        """Learner -> rollouts -> replay buffer -> learner, and an evaluation at the end."""
        c = config_of(self, DQNConfig)
        spec = spec_of(env_of(self, c))
        spec.need_discrete("DQN")
        check_supported(spec)
        horizon = per_rollout(c, "train_freq")
        # Each rollout counts its own steps.
        falling = [c.exploration_fraction * c.total_timesteps * n_steps / sum(horizon) for n_steps in horizon]
        normalizer = normalizer_of(c, spec)
        policy: list[Any] = [
            partial(
                value_policy,
                c.hidden,
                c.duelling,
                LinearSchedule(c.exploration_initial_eps, c.exploration_final_eps, steps),
                network=c.network,
            )
            for steps in falling
        ]
        if normalizer is not None:
            spec, policy = normalizer.spec, [normalizer.policy(make) for make in policy]
        wire(
            self,
            c,
            policy=policy,
            normalizer=normalizer,
            learner={
                "algorithm": partial(DQNAlgorithm, spec, c),
                "optimizer_class": adam(c.device),
                "target_every": c.target_every,
                "shards": shards_of(c, spec, c.batch_size, networks=1),
            },
            replay={
                "gradient_steps": c.gradient_steps,
                "prioritised": c.prioritised,
                "alpha": c.alpha,
                "beta": c.beta,
            },
        )
