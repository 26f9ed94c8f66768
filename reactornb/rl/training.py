"""`Training`: the base of the programs here, whose parameters are an environment, a configuration, and each hyper-parameter by its name.

    PPO(env="CartPole-v1", learning_rate=1e-3)
    %reactor start PPO env=CartPole-v1 learning_rate=1e-3

A program's class names its configuration, whose fields become parameters: what they are and what they may be is said there only.
"""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any, ClassVar

from reactornb.model import Reactor
from reactornb.rl.config import PRESET, Config, config_of
from reactornb.rl.names import RENAMED
from reactornb.tags import ms

__all__ = ["Training", "rounds_ahead", "weights_after"]


def rounds_ahead(config: Any) -> int:
    """Rounds that rollouts may be ahead of the learner: a configuration's `staleness`, and at least 1 with `overlap`."""
    return max(int(config.staleness), int(config.overlap))


def weights_after(config: Any) -> int:
    """The delay in ns from a learner's weights to the rollouts: the next microstep, or a millisecond a round; see `Learner`."""
    ahead = rounds_ahead(config)
    return ms(1 + ahead) if ahead else ms(0)


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
            hyper = {field.name: field for field in fields(config_type)}  # type: ignore[arg-type]  # subclasses are dataclasses
            cls.__annotations__ = {**inspect.get_annotations(cls), **{name: str(f.type) for name, f in hyper.items()}}
            for name in hyper:
                setattr(cls, name, PRESET)
        super().__init_subclass__(**options)

    @property
    def settings(self) -> Config:
        """The hyper-parameters that it trains with."""
        return config_of(self, self.config_type)
