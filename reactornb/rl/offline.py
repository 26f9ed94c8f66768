"""What the offline algorithms have in common: recorded episodes -> minibatches -> learner, and what `steer` puts around it.

    DatasetSampler.batches -> Learner.batches          list[Batch], a round's
    Learner.weights -> DatasetSampler.again            the next round                          (after=ms(0))
    Learner.weights, .final -> Evaluator               greedy episodes, where there is an environment to play in

No step of an environment is learnt from, so what other algorithms count in environment steps (`total_timesteps`, `eval_every`, the metric `steps`) are updates
here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace
from typing import Any, ClassVar

import gymnasium
import numpy as np

from reactornb.model import Fixed, Input, Output, Reactor, connect, reaction, startup
from reactornb.rl.config import (
    Rule,
    TrainingConfig,
    at_least,
    broken,
    check_parameters,
    config_of,
    device,
    flag,
    number,
    optional,
    whole,
    widths,
)
from reactornb.rl.datasets import OfflineDataset
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.envs import spec_of
from reactornb.rl.errors import SpaceError
from reactornb.rl.learner import Learner
from reactornb.rl.minari_files import dataset_of
from reactornb.rl.names import RENAMED
from reactornb.rl.normalization import Normalizer, normalizer_of
from reactornb.rl.rollout import Evaluator
from reactornb.rl.statistics import EPSILON
from reactornb.rl.storage import Batch
from reactornb.rl.training import Training, steer, steered_by
from reactornb.tags import ms

__all__ = ["OFFLINE", "DatasetSampler", "OfflineConfig", "OfflineTraining", "Recorded", "wire"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineConfig(TrainingConfig):
    """Hyper-parameters that the offline algorithms share.

    Attributes:
        total_timesteps: updates of a whole run.
        gradient_steps: updates of a round, whose minibatches are drawn at once.
        batch_size: transitions of an update.
        learning_rate: Adam's learning rate; `anneal_lr` lets it fall to 0.
        max_grad_norm: the gradient is cut to this; None: it is not.
        hidden: widths of the hidden layers.
        device: of the learner.
        shards: reactors that compute the gradient of one minibatch at the same time; None: as many as `default_shards` says for this network
            and minibatch, on any machine. Results of different numbers differ by rounding, those of one are the same for any number of workers.
        network, eval_every, …: what all algorithms have; see `TrainingConfig`. `eval_every` and `video_every` count updates. `normalize_observations` takes mean and
            deviation of the dataset. `stop_at_return` needs `eval_every`: there are no other episodes.
    """

    renamed: ClassVar = {
        **RENAMED,
        "eval_freq": "eval_every (as in Stable-Baselines3)",
        "max_timesteps": "total_timesteps (as in Stable-Baselines3)",
        "n_episodes": "eval_episodes",
    }

    total_timesteps: int = 100_000
    gradient_steps: int = 20
    batch_size: int = 256
    learning_rate: float = 3e-4
    anneal_lr: bool = False
    max_grad_norm: float | None = None
    hidden: tuple[int, ...] = (256, 256)
    device: str = "cpu"
    shards: int | None = None

    @property
    def rounds(self) -> int:
        """Rounds of a whole run."""
        return max(1, self.total_timesteps // self.gradient_steps)

    def check_rounds(self) -> None:
        """Refuse fields that do not fit each other."""
        if self.stop_at_return is not None and not self.eval_every:
            raise broken(
                self,
                f"stop_at_return={self.stop_at_return} and no eval_every: nothing is played but evaluations. Give it eval_every=10_000 or so.",
                "stop_at_return",
                "eval_every",
            )


OFFLINE: dict[str, Rule] = {
    "total_timesteps": whole(1), "gradient_steps": whole(1), "batch_size": whole(1), "learning_rate": at_least(0), "anneal_lr": flag,
    "max_grad_norm": optional(number(0, above=True)), "hidden": widths, "device": device, "shards": optional(whole(1)),
}  # fmt: skip
"""The rules of `OfflineConfig`'s fields."""


# -- reactors -------------------------------------------------------------------------------------------------------------


class DatasetSampler(Reactor):
    """Draws the minibatches of a round from recorded episodes, each step with the same probability, again and again.

    Logs `steps`, the updates that it draws for. A checkpoint holds what it draws next, and of the dataset which one it is.

    Parameters:
        dataset: the episodes; reactors may share one.
        batch_size: transitions of a minibatch.
        gradient_steps: minibatches per round.
        gamma: discount per step.
        reward_scale: rewards are multiplied by it, and then cut to [-reward_clip, reward_clip].
        reward_clip: see `reward_scale`.

    Raises (when a run is resumed):
        DatasetChangedError: if the dataset is another one than before.
    """

    again = Input[Any](doc="what was drawn is learnt from")
    batches = Output[Any](doc="list[Batch], one per update")

    dataset: Fixed[OfflineDataset]
    batch_size: int = 256
    gradient_steps: Fixed[int] = 1
    gamma: float = 0.99
    reward_scale: Fixed[float] = 1.0
    reward_clip: Fixed[float | None] = None

    def check_parameter(self, name: str, value: Any) -> None:
        """Refuse a value that would end the run."""
        if name == "gamma" and not 0 <= value <= 1:
            raise ValueError("a discount is in [0, 1].")
        if name == "batch_size" and value < 1:
            raise ValueError("it is at least 1.")

    @reaction(startup)
    def on_startup(self) -> None:
        """Check the parameters."""
        check_parameters(
            self.full_name,
            batch_size=(self.batch_size, whole(1)),
            gradient_steps=(self.gradient_steps, whole(1)),
            gamma=(self.gamma, number(0, 1)),
            reward_scale=(self.reward_scale, number(0, above=True)),
            reward_clip=(self.reward_clip, optional(number(0, above=True))),
        )

    @reaction(again)
    def on_again(self, batches: Any) -> None:
        """Draw."""
        shape = self.gradient_steps, self.batch_size
        index = self.rng.integers(len(self.dataset), size=shape)
        drawn = {**self.dataset.gather(index, self.gamma), "weights": np.ones(shape, np.float32), "indices": index}
        if self.reward_scale != 1.0:
            drawn["rewards"] *= np.float32(self.reward_scale)
        if self.reward_clip is not None:
            np.clip(drawn["rewards"], -self.reward_clip, self.reward_clip, out=drawn["rewards"])
        batches.set([Batch(**{name: array[u] for name, array in drawn.items()}) for u in range(self.gradient_steps)])
        self.log(steps=self.gradient_steps)


class Keeper(Evaluator):
    """Where there is no environment to play in: holds the newest policy, so that `save_policy` finds it."""

    def judge(self, weights: np.ndarray) -> float:
        """Take them over; nothing is known of how good they are."""
        self.actor.load(weights)
        return -np.inf


class Unplayable(gymnasium.Env[Any, Any]):
    """The spaces of a dataset, which nobody can step."""

    def __init__(self, observation_space: Any, action_space: Any) -> None:
        self.observation_space, self.action_space = observation_space, action_space


# -- programs -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recorded:
    """What a program learns from, found when it is assembled.

    Attributes:
        dataset: the episodes.
        spec: what its networks see and give.
        normalizer: of observations; None: they are not normalised.
        reward_scale: what rewards are multiplied by.
        env: what its policy is judged in; None: nothing.
    """

    dataset: OfflineDataset
    spec: EnvSpec
    normalizer: Normalizer | None
    reward_scale: float
    env: Any

    @property
    def policy_of(self) -> Any:
        """Wraps what makes a policy."""
        return (lambda make: make) if self.normalizer is None else self.normalizer.policy


class OfflineTraining(Training):
    """Base of the programs that learn from recorded episodes.

    Parameters:
        dataset: the folder of a dataset of Minari, its id, an `OfflineDataset`, or a tuple of these: all their episodes.
        env: what the policy is judged in, as for all algorithms; None: what the dataset was recorded in. It is not learnt from.
    """

    dataset: Any
    env: Any = None

    @property
    def settings(self) -> Any:
        """The hyper-parameters that it trains with."""
        env = dataset_of(self.dataset).env if self.env is None else self.env
        return config_of(self, self.config_type, env)

    def recorded(self, c: Any, *, gamma: float) -> Recorded:
        """Look at the dataset, and hold it against the environment.

        Args:
            c: the configuration.
            gamma: the discount, by which rewards are normalised where that is asked for.

        Raises:
            ConfigError: if there is nothing to play in, and episodes are asked for.
            SpaceError: if the environment's spaces are not the dataset's.
        """
        data = dataset_of(self.dataset)
        self.env = env = data.env if self.env is None else self.env
        asked = [name for name in ("eval_episodes", "video_every") if getattr(c, name)]
        if env is None and asked:
            raise broken(
                c,
                f"{asked[0]}={getattr(c, asked[0])}, and {data.source or 'the dataset'} does not say what it was recorded in: there is nothing to play. Give the "
                f'program env="CartPole-v1" or so, or {asked[0]}=0.',
                *asked,
            )
        spec = data.spec
        if env is not None:
            _need_same(spec_of(env), spec)
        normalizer = None
        if c.normalize_observations:
            normalizer = _fixed(
                data,
                normalizer_of(SimpleNamespace(normalize_observations=True, normalize_rewards=False, gamma=gamma), spec),
            )
        scale = 1.0 / data.returns_deviation(gamma) if c.normalize_rewards else 1.0
        return Recorded(data, spec if normalizer is None else normalizer.spec, normalizer, scale, env)


def _fixed(data: OfflineDataset, normalizer: Normalizer | None) -> Normalizer:
    """With the dataset's statistics from the beginning, which nothing changes."""
    assert normalizer is not None
    assert normalizer.moves is not None
    moves, found = normalizer.moves, data.moments(normalizer.moves)
    mean, deviation = normalizer.mean.copy(), normalizer.deviation.copy()
    mean[moves], deviation[moves] = found.mean, np.sqrt(found.variance + EPSILON)
    return replace(normalizer, mean=mean, deviation=deviation)


def _need_same(env: EnvSpec, data: EnvSpec) -> None:
    """Refuse an environment of which the dataset is not.

    Raises:
        SpaceError: with what differs.
    """
    names = (
        "observation_shape",
        "observation_dtype",
        "n_actions",
        "choices",
        "action_shape",
        "action_start",
        "action_low",
        "action_high",
        "scaling",
    )
    for name in names:
        theirs, ours = getattr(env, name), getattr(data, name)
        if name == "scaling":
            same = (theirs is None) == (ours is None) and (theirs is None or all(map(np.array_equal, theirs, ours)))
        else:
            same = np.array_equal(theirs, ours) if isinstance(theirs, np.ndarray) else theirs == ours
        if not same:
            raise SpaceError(
                f"the policy of {data.name} cannot be judged in {env.name}: its {name.replace('_', ' ')} is {theirs}, and {ours} in the dataset. Give the program "
                f"the environment that the episodes were recorded in, with the same wrappers.",
                space=theirs,
            )


def wire(program: Any, c: Any, found: Recorded, *, gamma: float, policy: Any, learner: Mapping[str, Any]) -> None:
    """Make the reactors, as children of a program, and connect them.

    Args:
        program: whose reactors these become.
        c: its configuration.
        found: what it learns from.
        gamma: discount.
        policy: makes a policy from an `EnvSpec`; it is evaluated.
        learner: what the algorithm decides of the learner: `algorithm`, `optimizer_class`, `target_every`, `tau`, `shards`.
    """
    policy = found.policy_of(policy)
    program.learner = Learner(
        **learner,
        learning_rate=c.learning_rate,
        anneal_lr=c.anneal_lr,
        max_grad_norm=c.max_grad_norm,
        rounds=c.rounds,
        device=c.device,
        normalizer=found.normalizer,
        placeable=c.placeable,
        **steered_by(c),
    )
    program.sampler = DatasetSampler(
        dataset=found.dataset,
        batch_size=c.batch_size,
        gradient_steps=c.gradient_steps,
        gamma=gamma,
        reward_scale=found.reward_scale,
        reward_clip=10.0 if c.normalize_rewards else None,
    )
    connect(program.learner.weights, program.sampler.again, after=ms(0))
    connect(program.sampler.batches, program.learner.batches)
    if not c.eval_episodes:
        spaces = found.dataset.observation_space, found.dataset.action_space
        program.evaluator = Keeper(env=partial(Unplayable, *spaces), policy=policy, n_envs=1)
        connect(program.learner.final, program.evaluator.final)
        connect(program.learner.weights, program.evaluator.weights, after=ms(0))
    steer(
        program, c, program.learner, program.learner.weights, None, 0, policy=policy, after=ms(0),
        eval_every=c.eval_every, steps_per_round=c.gradient_steps, untrained=1,
    )  # fmt: skip
