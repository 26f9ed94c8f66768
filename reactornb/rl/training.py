"""`Training`: the base of the programs here, whose parameters are an environment, a configuration, and each hyper-parameter by its name.

    PPO(env="CartPole-v1", learning_rate=1e-3)
    %reactor start PPO env=CartPole-v1 learning_rate=1e-3

A program's class names its configuration, whose fields become parameters: what they are and what they may be is said there only.
"""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any, ClassVar

from reactornb.model import Bank, Reactor, connect, enclave
from reactornb.rl.camera import Camera, films_of
from reactornb.rl.config import PRESET, Config, TrainingConfig, config_of
from reactornb.rl.envs import env_source
from reactornb.rl.names import RENAMED
from reactornb.rl.rollout import Evaluator
from reactornb.rl.steering import Monitor, made_listener
from reactornb.rl.trained import KeepingEvaluator
from reactornb.tags import ms

__all__ = ["Training", "env_of", "may_be_placed", "rounds_ahead", "steer", "steered_by", "weights_after"]


def env_of(program: Any, config: Any) -> Any:
    """What makes the environments of a program: its `env`, with `isolate` in processes of their own."""
    return env_source(program.env, config.isolate)


def may_be_placed(config: Any, rollouts: Bank) -> Bank:
    """The rollouts of a program: with `placeable`, each an enclave."""
    return enclave(rollouts, each=True) if config.placeable else rollouts


def rounds_ahead(config: Any) -> int:
    """Rounds that rollouts may be ahead of the learner: a configuration's `staleness`, and at least 1 with `overlap`."""
    return max(int(config.staleness), int(config.overlap))


def weights_after(config: Any) -> int:
    """The delay in ns from a learner's weights to the rollouts: the next microstep, or a millisecond a round; see `Learner`."""
    ahead = rounds_ahead(config)
    return ms(1 + ahead) if ahead else ms(0)


def steered_by(config: TrainingConfig) -> dict[str, Any]:
    """The parameters of a `Steered` learner that a configuration decides."""
    return {
        "listens_to": len(config.callbacks),
        "reports": bool(config.callbacks),
        "max_seconds": config.max_seconds,
    }


def steer(
    program: Any, config: Any, learner: Any, due: Any, trajectories: Any, writers: int, *,
    policy: Any, after: int, later: int | None = None, filmed: Any = None, judges: tuple[type[Evaluator], type[Evaluator]] = (Evaluator, KeepingEvaluator),
    **when: Any,
) -> None:  # fmt: skip
    """What stands around a learner: evaluation, a camera, what stops it early, callbacks; only what the configuration asks for.

    Args:
        program: the reactor that is composed; its `env` is played.
        config: a `TrainingConfig`.
        learner: a child of the program, a `Steered` that was made with `steered_by`.
        due: the port with the weights that may be evaluated.
        trajectories: the port, or ports, with what the rollouts play; None: nothing is played, `steps_per_round` of `when` counts.
        writers: how many those are.
        policy: makes a policy from an `EnvSpec`, as for `Rollout`.
        after: the delay from `due` to the evaluator.
        later: the delay of what the learner tells; None: none. A connection without delay from an enclave would let nothing outside it be ahead.
        filmed: the port with the weights that are filmed, one for each film; None: `due`, of which some are.
        judges: classes of the evaluator, without and with `keep_best`.
        when: which of the weights on `due` are evaluated; parameters of `Evaluator`.
    """
    stops = config.stop_at_return is not None
    if config.eval_episodes:
        program.evaluator = judges[config.keep_best](
            env=env_of(program, config), policy=policy, episodes=config.eval_episodes, stop_at_return=config.stop_at_return,
            keep_best=config.keep_best, **(when if config.eval_every else {}),
        )  # fmt: skip
        connect(learner.final, program.evaluator.final, after=later)
    if config.eval_every:
        connect(due, program.evaluator.weights, after=after)
        if stops:
            connect(program.evaluator.halt, learner.halt)
    if config.video_every:
        program.camera = Camera(env=program.env, policy=policy, **films_of(config.video_every, when))
        connect(due if filmed is None else filmed, program.camera.weights, after=after)
        connect(learner.final, program.camera.final, after=later)
    counts = stops and not config.eval_every
    if not (counts or config.callbacks):
        return
    program.monitor = Monitor(
        writers=writers,
        steps_per_round=0 if writers else when["steps_per_round"],
        total_timesteps=config.total_timesteps,
        stop_at_return=config.stop_at_return if counts else None,
    )
    if trajectories is not None:
        connect(trajectories, program.monitor.trajectories)
    if counts:
        connect(program.monitor.halt, learner.halt)
    if config.callbacks:
        connect(learner.learnt, program.monitor.learnt, after=later)
        if config.eval_every:
            connect(program.evaluator.mean, program.monitor.evaluated)
        program.listeners = [made_listener(callback) for callback in config.callbacks]
        for heard in program.listeners:
            connect(program.monitor.progress, heard.progress)
        connect([heard.order for heard in program.listeners], learner.orders, after=ms(0))


class Training(Reactor):
    """A program that trains; `class PPO(Training, config_type=PPOConfig)`, with parameters `env` and `config` in its body.

    Runs without waiting for physical time unless asked: its delays give an order.
    """

    needs_physical_time = False
    _renamed = RENAMED
    config_type: ClassVar[type[Config]]

    def __init_subclass__(cls, *, config_type: type[Config] | None = None, **options: Any) -> None:
        if config_type is not None:
            cls.config_type = config_type
            cls._renamed = config_type.renamed
            by_name = {field.name: field for field in fields(config_type)}  # type: ignore[arg-type]  # subclasses are dataclasses
            hyper = {name: by_name[name] for name in config_type.names()}
            cls.__annotations__ = {**inspect.get_annotations(cls), **{name: str(f.type) for name, f in hyper.items()}}
            for name in hyper:
                setattr(cls, name, PRESET)
        super().__init_subclass__(**options)

    @property
    def settings(self) -> Config:
        """The hyper-parameters that it trains with."""
        return config_of(self, self.config_type)
