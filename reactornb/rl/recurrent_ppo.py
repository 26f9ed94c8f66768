"""Recurrent PPO: proximal policy optimization whose policy and value function remember the episode, for environments that do not show all that counts.

    Program(RecurrentPPO(env="reactornb.rl.no_velocity:CartPoleNoVel-v1")).run(seed=1)

Rollouts keep a memory for each environment, which begins anew with each episode. The learner goes along: it keeps what the networks remember where the last round
ended, has the newest networks remember from there on, and learns from whole sequences, a minibatch being all steps of some environments.

Source: Schulman et al. 2017, arXiv:1707.06347; memories and minibatches as in CleanRL's ppo_atari_lstm.py (detail 5 of "Details for LSTM" in Huang et al. 2022, "The 37 implementation
details of proximal policy optimization"); names as in RecurrentPPO of sb3-contrib.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from reactornb.rl.config import (
    TrainingConfig,
    at_least,
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
from reactornb.rl.learner import adam
from reactornb.rl.losses import clipped_ppo, clipped_value, gae, normalized
from reactornb.rl.minibatches import Pieces, tensors
from reactornb.rl.policies import Policy
from reactornb.rl.ppo import ActorCriticAlgorithm, choosing, compose_actor_critic
from reactornb.rl.recurrent_networks import RecurrentActorCritic, RecurrentForward
from reactornb.rl.storage import Trajectory
from reactornb.rl.training import Training

__all__ = ["RecurrentPPO", "RecurrentPPOConfig"]


@dataclass(frozen=True, slots=True)
class RecurrentPPOConfig(TrainingConfig):
    """Hyper-parameters; the defaults are CleanRL's ppo_atari_lstm.py, with an LSTM each for policy and value function, as in sb3-contrib.

    Attributes:
        total_timesteps: environment steps of a whole run.
        n_rollouts: reactors that play.
        n_envs: environments of each: `n_rollouts * n_envs` in all.
        n_steps: steps of each environment per round: the gradient goes back through so many at most; a tuple has one number for each rollout.
        n_epochs: how often a round's steps are used.
        batch_size: steps of an update, rounded to all steps of a whole number of environments.
        learning_rate: Adam's learning rate; `anneal_lr` lets it fall to 0.
        adam_eps: Adam's epsilon.
        gamma: discount.
        gae_lambda: trace decay of the advantages.
        clip_range: how far the probability ratio may go from 1; `anneal_clip_range` lets it fall to 0.
        clip_vloss: clip the value function's steps likewise.
        ent_coef: weight of the policy's entropy.
        vf_coef: weight of the value function's loss, which is half its mean squared error.
        normalize_advantage: per minibatch.
        max_grad_norm: the gradient is cut to this.
        lstm_hidden_size: how many numbers an LSTM gives.
        shared_lstm: one LSTM for policy and value function, which both teach, as in CleanRL.
        hidden: widths of the hidden layers after the LSTM. Images get the convolutions of Mnih et al. 2015 before it.
        log_std_init: of continuous actions, at the beginning.
        staleness: rounds that rollouts may be ahead of the learner; see `Learner`.
        overlap: learn from a round while the next ones are played; `staleness` is at least 1 then. The result depends on the staleness alone.
        device: of the learner.
        shards: reactors that compute the gradient of one minibatch at the same time, each for some of its environments.
        network: what comes between observations and the LSTM; see `TrainingConfig`, which has eval_every, …, too.
    """

    total_timesteps: int = 500_000
    n_rollouts: int = 2
    n_envs: int = 4
    n_steps: int | tuple[int, ...] = 128
    n_epochs: int = 4
    batch_size: int = 256
    learning_rate: float = 2.5e-4
    anneal_lr: bool = True
    adam_eps: float = 1e-5
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip_range: float = 0.2
    anneal_clip_range: bool = False
    clip_vloss: bool = True
    ent_coef: float = 0.01
    vf_coef: float = 0.5
    normalize_advantage: bool = True
    max_grad_norm: float | None = 0.5
    lstm_hidden_size: int = 128
    shared_lstm: bool = False
    hidden: tuple[int, ...] = (64,)
    log_std_init: float = 0.0
    staleness: int = 0
    overlap: bool = False
    device: str = "cpu"
    shards: int = 1

    def __post_init__(self) -> None:
        check(
            self, total_timesteps=whole(1), n_rollouts=whole(1), n_envs=whole(1), n_steps=horizons, n_epochs=whole(1),
            batch_size=whole(1), learning_rate=at_least(0), anneal_lr=flag, adam_eps=number(0, above=True), gamma=number(0, 1),
            gae_lambda=number(0, 1), clip_range=number(0, above=True), anneal_clip_range=flag, clip_vloss=flag, ent_coef=at_least(0),
            vf_coef=at_least(0), normalize_advantage=flag, max_grad_norm=optional(number(0, above=True)), lstm_hidden_size=whole(1),
            shared_lstm=flag, hidden=widths, log_std_init=number(), staleness=whole(0), overlap=flag, device=device, shards=whole(1),
        )  # fmt: skip
        per_rollout(self)

    @property
    def rounds(self) -> int:
        """Rounds of a whole run."""
        return max(1, self.total_timesteps // (self.n_envs * sum(per_rollout(self))))


RecurrentPPOConfig.presets = {
    # Our own, around the Zoo's learning rate and epochs (hyperparams/ppo_lstm.yml). With its other settings the value function's loss, of returns up to 50, is most of a
    # gradient that is cut to 0.5, and five seeds ended between 252 and 490 after 200,000 steps; with rewards normalised all five end at 500.
    "reactornb.rl.no_velocity:CartPoleNoVel-v1": RecurrentPPOConfig(
        total_timesteps=400_000, n_envs=16, n_steps=32, n_epochs=10, batch_size=512, learning_rate=1e-3, anneal_clip_range=True,
        gae_lambda=0.9, ent_coef=0.005, normalize_rewards=True, lstm_hidden_size=64,
    ),
}  # fmt: skip


@dataclass(slots=True)
class Sequences:
    """What E environments did in T steps; arrays, or tensors on the learner's device.

    Attributes:
        clip: `clip_range` in this round.
        observations: [E, T, *observation_shape].
        actions: int64 [E, T] or [E, T, choices], or float32 [E, T, *action_shape].
        log_probs: float32 [E, T], under the policy that played.
        advantages: float32 [E, T]; of a minibatch normalised already.
        values: float32 [E, T], when the round began.
        returns: float32 [E, T].
        valid: bool [E, T], which steps were taken; of fewer than T those at the end were not.
        begins: bool [E, T], where an episode begins.
        memory: float32 [E, numbers], what the networks remember before the first step.
    """

    clip: float
    observations: Any
    actions: Any
    log_probs: Any
    advantages: Any
    values: Any
    returns: Any
    valid: Any
    begins: Any
    memory: Any

    def arrays(self) -> tuple[Any, ...]:
        """All but `clip`, in their order."""
        return (
            self.observations, self.actions, self.log_probs, self.advantages, self.values, self.returns, self.valid, self.begins, self.memory,
        )  # fmt: skip


@dataclass(slots=True)
class ChosenSequences:
    """A minibatch that is put together where its gradient is computed.

    Attributes:
        whole: all sequences of the round; arrays.
        rows: int64 [B], which environments.
        advantages: float32 [B, T], theirs, normalised already.
        steps_each: how many steps an environment of the whole minibatch took, on average.
        device: where tensors are wanted.
    """

    whole: Sequences
    rows: np.ndarray
    advantages: np.ndarray
    steps_each: float
    device: torch.device

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice) -> ChosenSequences:
        """Those of consecutive environments."""
        return ChosenSequences(self.whole, self.rows[part], self.advantages[part], self.steps_each, self.device)

    def gathered(self) -> tuple[Sequences, float]:
        """The sequences as tensors; and what a mean over their steps counts, as one row of a minibatch of environments: 1, unless it is a piece that took more steps or
        fewer than others. See `Algorithm`.
        """
        whole = self.whole
        own = [self.advantages if array is whole.advantages else array.take(self.rows, 0) for array in whole.arrays()]
        share = float(np.count_nonzero(own[6])) / (len(self.rows) * self.steps_each)
        return Sequences(whole.clip, *tensors(self.device, *own)), share


class SequenceEpochs:
    """A round's minibatches: `n_epochs` times all environments; see `minibatches.Pieces`.

    Args:
        whole: all sequences of the round.
        rng: draws the orders.
        config: says how many epochs, and how large a minibatch is.
        device: of `ChosenSequences`.
    """

    def __init__(self, whole: Sequences, rng: np.random.Generator, config: Any, device: torch.device) -> None:
        self._whole, self._device = whole, device
        self._normalizes = config.normalize_advantage
        envs = np.flatnonzero(whole.valid.any(axis=1))
        parts = min(max(1, round(np.count_nonzero(whole.valid) / config.batch_size)), len(envs))
        self._pieces = Pieces([envs], parts, config.n_epochs if len(envs) else 0, rng)

    def __iter__(self) -> SequenceEpochs:
        return self

    def __next__(self) -> ChosenSequences:
        (rows,) = next(self._pieces)
        advantages, valid = self._whole.advantages.take(rows, 0), self._whole.valid.take(rows, 0)
        if self._normalizes:
            advantages[valid] = normalized(advantages[valid])
        steps_each = float(np.count_nonzero(valid)) / len(rows)
        return ChosenSequences(self._whole, rows, advantages, steps_each, self._device)


class RecurrentPPOAlgorithm(ActorCriticAlgorithm):
    """Recurrent PPO's minibatches and loss; see `Algorithm`.

    Attributes:
        memories: by channel, float32 [N, numbers]: what the networks remembered of the N environments before the observation that the next round begins with.
    """

    config: RecurrentPPOConfig
    network: RecurrentActorCritic

    def __init__(
        self, spec: EnvSpec, config: RecurrentPPOConfig, generator: torch.Generator | None, device: torch.device
    ) -> None:
        self.config = config
        self.device = device
        self.network = self._own = made(config, spec, generator)
        self._written = None
        self.memories: dict[int, np.ndarray] = {}

    def minibatches(self, received: list[Trajectory], rng: np.random.Generator, progress: float) -> SequenceEpochs:
        """Advantages first, then `n_epochs` times all environments in a new order."""
        config = self.config
        clip = config.clip_range * (1.0 - progress if config.anneal_clip_range else 1.0)
        most = max(map(len, received))
        columns = [self.sequences(channel, played, most) for channel, played in enumerate(received)]
        joined = [np.concatenate(arrays) for arrays in zip(*columns, strict=True)]
        return SequenceEpochs(Sequences(clip, *joined), rng, config, self.device)

    def sequences(self, channel: int, played: Trajectory, most: int) -> list[np.ndarray]:
        """A trajectory as the arrays of `Sequences`, of `most` steps; and remember it.

        Steps behind its own are not valid, and nothing before them depends on them.
        """
        config = self.config
        steps, n = played.rewards.shape
        memory = self.memories.get(channel)
        if memory is None:
            memory = np.zeros((n, self.network.memory_size), np.float32)
        begun = np.stack([played.begun(t) for t in range(steps)])
        begins = np.concatenate(
            [np.zeros((1, n), bool), begun[:-1]]
        )  # a memory at the beginning is that of a new episode, where one begins
        values, next_values, self.memories[channel] = self.judge(played, memory, begins, begun)
        advantages = gae(
            played.rewards, values, next_values, played.terminated, played.ended | ~played.valid, gamma=config.gamma, gae_lambda=config.gae_lambda,
        )  # fmt: skip
        arrays = (
            played.observations[:-1], played.actions, played.log_probs, advantages, values, advantages + values, played.valid, begins,
        )  # fmt: skip

        def by_env(array: np.ndarray) -> np.ndarray:
            longer = np.zeros((most, *array.shape[1:]), array.dtype)
            longer[:steps] = array
            return np.ascontiguousarray(longer.swapaxes(0, 1))

        return [*map(by_env, arrays), memory]

    def judge(
        self, played: Trajectory, memory: np.ndarray, begins: np.ndarray, begun: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values of what was seen, with the weights of the moment.

        Args:
            played: T steps of N environments.
            memory: float32 [N, numbers], before them.
            begins: bool [T, N], where an observation is the first of an episode.
            begun: bool [T, N], where the observation that a step led to is.

        Returns:
            Values, and those of the observations that the steps led to, float32 [T, N] each; and the memory for the next trajectory.
        """
        network = self.network
        seen, rows, first = tensors(self.device, np.array(played.observations), memory, begins)
        with torch.no_grad():
            outputs, cells = network.unroll(seen[:-1], rows, first)
            after = network.rows_of((outputs[-1], cells[-1])).cpu().numpy()
            after[begun[-1]] = 0.0

            def value(observations: torch.Tensor, memories: torch.Tensor) -> np.ndarray:
                none = torch.zeros((1, len(observations)), dtype=torch.bool, device=self.device)
                found: np.ndarray = (
                    network.values(network.unroll(observations[None], memories, none)[0][0]).cpu().numpy()
                )
                return found

            values = network.values(outputs).cpu().numpy()
            next_values = np.concatenate([values[1:], value(seen[-1], torch.from_numpy(after).to(self.device))[None]])
            if played.finals:
                t, i, finals = zip(*played.finals, strict=True)
                # What is remembered at an episode's end, before it is forgotten.
                states = [(outputs[at, :, env], cells[at, :, env]) for at, env in zip(t, i, strict=True)]
                remembered = network.rows_of(
                    (torch.stack([h for h, _ in states], 1), torch.stack([c for _, c in states], 1))
                )
                ends = torch.from_numpy(np.stack(finals)).to(self.device)
                next_values[np.array(t), np.array(i)] = value(ends, remembered)
        return values, next_values, after

    def loss(self, minibatch: tuple[Sequences, float]) -> tuple[torch.Tensor, dict[str, torch.Tensor | float]]:
        """Surrogate, value loss and entropy bonus, means over the steps that were taken."""
        config = self.config
        m, share = minibatch

        def by_step(array: torch.Tensor) -> torch.Tensor:
            return array.transpose(0, 1)

        found = self.network.evaluate(by_step(m.observations), by_step(m.actions), m.memory, by_step(m.begins))
        log_probs, entropies, values = (by_step(one)[m.valid] for one in found)
        policy_loss, kl = clipped_ppo(log_probs, m.log_probs[m.valid], m.advantages[m.valid], m.clip)
        returns = m.returns[m.valid]
        if config.clip_vloss:
            value_loss = clipped_value(values, m.values[m.valid], returns, m.clip)
        else:
            value_loss = 0.5 * ((values - returns) ** 2).mean()
        entropy = entropies.mean()
        loss = policy_loss + config.vf_coef * value_loss - config.ent_coef * entropy
        metrics = {"policy_loss": policy_loss, "value_loss": value_loss, "entropy": entropy, "kl": kl}
        return share * loss, {name: share * metric for name, metric in metrics.items()}


def made(config: RecurrentPPOConfig, spec: EnvSpec, generator: torch.Generator | None) -> RecurrentActorCritic:
    """The network of a configuration."""
    return RecurrentActorCritic(
        spec, config.lstm_hidden_size, config.hidden, config.shared_lstm, generator, config.log_std_init, config.network
    )


def recurrent_policy(config: RecurrentPPOConfig, spec: EnvSpec) -> Policy:
    """The policy of a `RecurrentActorCritic` for a rollout, which has a memory."""
    forward = RecurrentForward(partial(made, config, spec, None))
    policy = choosing(forward, spec)
    policy.memory = forward
    return policy  # type: ignore[no-any-return]


class RecurrentPPO(Training, config_type=RecurrentPPOConfig):
    """Recurrent proximal policy optimization: PPO with an LSTM, for environments whose observations do not show all that counts.

        result = Program(RecurrentPPO(env=MyEnv, total_timesteps=100_000)).run(seed=1)

    A saved policy remembers from call to call: `policy.reset()` begins a new episode.

    Parameters:
        env: a Gymnasium id ("CartPole-v1" by default), or a function that makes an environment or a vector environment; what `PPO` takes.
        config: hyper-parameters, a `RecurrentPPOConfig` (`RecurrentPPOConfig?` lists all with their defaults). None, the default:
            `RecurrentPPOConfig.for_env(env)`, what is known to work for that id.
        learning_rate, gamma, …: each field of `RecurrentPPOConfig` by its name, instead of what `config` says.

    Logs `episode_return`, `episode_length`, `loss`, `policy_loss`, `value_loss`, `entropy`, `kl`, and with each evaluation `eval_return` and `eval_mean`.

    Raises:
        UnknownEnvironmentError: at assembly, for an environment that cannot be made.
        SpaceError: at assembly, for observations or actions that it does not take.
        ConfigError: at assembly, for another configuration.

    Source: Schulman et al. 2017, arXiv:1707.06347; the module names more.
    """

    env: Any = "CartPole-v1"
    config: RecurrentPPOConfig | None = None

    def compose(self) -> None:
        """See `compose_actor_critic`."""
        c = config_of(self, RecurrentPPOConfig)
        compose_actor_critic(
            self, c, RecurrentPPOAlgorithm, adam(c.device, eps=c.adam_eps), partial(recurrent_policy, c)
        )
