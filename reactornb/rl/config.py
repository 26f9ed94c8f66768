"""Hyper-parameters: what each may be, held against it when a configuration is made, and what is known to work for which environment.

A configuration derives from `Config` and calls `check(self, name=rule, …)` in its `__post_init__`, with a rule for every field; reactors check
their own parameters with `check_parameters` when they start. All that is wrong is said at once, with the place where the configuration was made.

Names are those of Stable-Baselines3, and CleanRL's where it has none.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from reactornb.errors import Source, suggestion
from reactornb.rl.checks import nearest_id
from reactornb.rl.errors import ConfigError, UnknownEnvironmentError
from reactornb.rl.names import RENAMED, renamed_arguments

__all__ = ["PRESET", "Config", "Rule", "TrainingConfig", "at_least", "check", "check_parameters", "config_of", "device", "flag", "horizons", "number", "optional", "per_rollout", "whole", "widths"]  # fmt: skip


class Unset(Enum):
    """The default of a program's hyper-parameters: an enumeration, since copies of a member are the member."""

    PRESET = "preset"

    def __repr__(self) -> str:
        return "<preset>"


PRESET = Unset.PRESET
"""Stands for a hyper-parameter that a program was not given: what its `config` says, or what is known to work for its `env`."""


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """What a value may be.

    Attributes:
        words: completes "must be …".
        holds: whether a value is.
        hint: what to write instead of a value, or nothing.
    """

    words: str
    holds: Callable[[Any], bool]
    hint: Callable[[Any], str] = lambda value: ""  # noqa: ARG005 - most have none


def _is_number(value: Any) -> bool:
    return type(value) is not bool and isinstance(value, (int, float, np.integer, np.floating)) and math.isfinite(value)


def _written(value: Any) -> str:
    """The number that a text or a float stands for."""
    if isinstance(value, str):
        try:
            number_meant = float(value)
        except ValueError:
            return ""
        return f"write {int(number_meant) if number_meant.is_integer() else number_meant!r} without quotes"
    return f"write {int(value)}" if isinstance(value, float) and value.is_integer() else ""


def whole(least: int) -> Rule:
    """An int of at least `least`."""
    return Rule(
        f"a whole number of at least {least}",
        lambda v: type(v) is not bool and isinstance(v, (int, np.integer)) and bool(v >= least),
        _written,
    )


def at_least(low: float) -> Rule:
    """A finite number of at least `low`."""
    return Rule(f"a finite number of at least {low:g}", lambda v: _is_number(v) and v >= low, _written)


def number(low: float = -math.inf, high: float = math.inf, *, above: bool = False) -> Rule:
    """A finite number from `low` to `high`; `above`: not `low` itself."""
    words = "a finite number"
    if high < math.inf:
        words = f"a number {'above' if above else 'from'} {low:g}{' and at most' if above else ' to'} {high:g}"
    elif low > -math.inf:
        words = f"a finite number {'above' if above else 'from'} {low:g}"
    return Rule(words, lambda v: _is_number(v) and (low < v if above else low <= v) and v <= high, _written)


def optional(rule: Rule) -> Rule:
    """Or None."""
    return Rule(f"{rule.words}, or None", lambda v: v is None or rule.holds(v), rule.hint)


flag = Rule("True or False", lambda v: isinstance(v, bool))

widths = Rule(
    "a tuple of whole numbers of at least 1, such as (64, 64)",
    lambda v: isinstance(v, Sequence) and not isinstance(v, str) and all(whole(1).holds(w) for w in v),
    lambda v: f"write ({v},)" if whole(1).holds(v) else "",
)

horizons = Rule(
    "a whole number of at least 1, or a tuple of them, one for each rollout",
    lambda v: whole(1).holds(v) or (isinstance(v, tuple) and bool(v) and all(whole(1).holds(k) for k in v)),
    lambda v: f"write {tuple(v)!r}" if isinstance(v, list) else _written(v),
)

device = Rule(
    'the name of a torch device, such as "cpu", "cuda" or "cuda:1"',
    lambda v: isinstance(v, str) and re.fullmatch(r"[a-z]+(:\d+)?", v) is not None,
)


def check(config: Any, **rules: Rule) -> None:
    """Hold every field of a configuration against its rule.

    Raises:
        ConfigError: naming all fields that are wrong, what they must be, and where the configuration was made.
    """
    fields = [f.name for f in dataclasses.fields(config)]
    if isinstance(config, TrainingConfig):
        rules |= _COMMON
    assert set(fields) == set(rules), f"a rule for each field: {set(fields) ^ set(rules)}"
    _refuse(type(config).__name__, {name: (getattr(config, name), rules[name]) for name in fields}, _caller())
    if isinstance(config, TrainingConfig) and not config.eval_episodes:
        asked = [name for name in ("eval_every", "keep_best") if getattr(config, name)]
        if asked:
            raise broken(
                config,
                f"{asked[0]}={getattr(config, asked[0])} and eval_episodes=0: there would be no evaluation. Leave eval_episodes out, or write how many.",
                asked[0],
                "eval_episodes",
            )


def check_parameters(name: str, **values: tuple[Any, Rule]) -> None:
    """Hold parameters of a reactor against their rules, when it starts.

    Raises:
        ConfigError: as `check`, with the reactor's full name.
    """
    _refuse(name, values, None)


def _refuse(name: str, values: dict[str, tuple[Any, Rule]], where: Source | None) -> None:
    wrong = [(k, v, rule) for k, (v, rule) in values.items() if not rule.holds(v)]
    if wrong:
        said = []
        for k, v, rule in wrong:
            hint = rule.hint(v)
            said.append(f"{k}={v!r} must be {rule.words}{f' ({hint})' if hint else ''}")
        place = f"{where}: " if where is not None else ""
        raise ConfigError(f"{place}{name}: {'; '.join(said)}.", fields=tuple(k for k, _, _ in wrong))


def _caller() -> Source:
    """Where the configuration was made; `dataclasses.replace` makes one, too."""
    return Source.caller(past=("dataclasses",))


def per_rollout(config: Any, steps: str = "n_steps", rollouts: str = "n_rollouts") -> tuple[int, ...]:
    """The horizons of a configuration: for each rollout, how many steps each of its environments takes in a round.

    Args:
        config: any that has the fields.
        steps: name of the field that says how many, for all rollouts or for each.
        rollouts: name of the field that says how many rollouts there are.

    Raises:
        ConfigError: if they are not as many as the rollouts.
    """
    horizon: int | tuple[int, ...] = getattr(config, steps)
    count: int = getattr(config, rollouts)
    if not isinstance(horizon, tuple):
        return (horizon,) * count
    if len(horizon) != count:
        raise broken(
            config,
            f"{steps}={horizon} are {len(horizon)} numbers for {rollouts}={count}: write one for each, or one number for all.",
            steps,
            rollouts,
        )
    return horizon


def broken(config: Any, message: str, *fields: str) -> ConfigError:
    """For fields that do not fit each other."""
    return ConfigError(f"{_caller()}: {type(config).__name__}: {message}", fields=fields)


class Config:
    """Base of the configurations, which are frozen dataclasses: answers unknown and old names, and knows what works for which environment.

    Attributes:
        presets: by Gymnasium id.
        renamed: old names and new ones.
    """

    __slots__ = ()
    presets: ClassVar[dict[str, Any]] = {}
    renamed: ClassVar[Mapping[str, str]] = RENAMED

    def __new__(cls, *_: Any, **given: Any) -> Self:
        """Refuse names that are no fields.

        Raises:
            ConfigError: with the new name of an old one, the nearest one, or all there are.
        """
        unknown = [name for name in given if name not in cls.names()]
        if unknown:
            words = " ".join(f"no {name!r}: {cls.answer(name)}" for name in unknown)
            raise ConfigError(f"{_caller()}: {cls.__name__} has {words}", fields=tuple(unknown))
        return super().__new__(cls)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Those of the fields; an algorithm's own before those that all have."""
        fields = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]  # subclasses are dataclasses
        return (*(name for name in fields if name not in _COMMON), *(name for name in fields if name in _COMMON))

    @classmethod
    def answer(cls, name: str) -> str:
        """What to write instead of a name that is no field."""
        return suggestion(name, cls.names(), cls.renamed)

    @classmethod
    @renamed_arguments(env_id="env")
    def for_env(cls, env: Any) -> Self:
        """What is known to work for an environment, else the defaults.

        Args:
            env: a Gymnasium id; without a version, the newest is meant. Or a function that makes an environment: the defaults.

        Raises:
            UnknownEnvironmentError: for an id that is not registered, with the nearest one that is; for anything else.
        """
        from gymnasium import Env
        from gymnasium.vector import VectorEnv

        if isinstance(env, str):
            return cls.presets.get(_registered(env)) or cls()
        if callable(env) and not isinstance(env, (Env, VectorEnv)):
            return cls()
        raise UnknownEnvironmentError(
            f"{_caller()}: {cls.__name__}.for_env takes a Gymnasium id or a function that makes an environment, not {env!r} (a "
            f"{type(env).__name__}).",
            env=env,
        )

    if not TYPE_CHECKING:  # which would believe in any attribute

        def __getattr__(self, name: str) -> Any:
            """Only reached for a name that is no attribute."""
            hint = f" {self.answer(name)}" if name in self.renamed else ""
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}.{hint}", name=name, obj=self)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig(Config):
    """What the configuration of every algorithm with a network has: the network, what it sees, evaluation while training, when to stop, own callbacks.

    Attributes:
        network: a function that makes a `torch.nn.Module` from an `EnvSpec`: [B, *observation_shape], float32, to features [B, F], on which the
            algorithm puts its own last layers. None: the algorithm's own network. See `bodies.Body`.
        normalize_observations: by running statistics of all that the rollouts have seen, which the evaluation and saved policies use, too; numbers are cut to
            [-10, 10]. Frames, bits, and numbers that only name one of several stay as they are.
        normalize_rewards: learn from rewards divided by the running deviation of discounted returns, cut to [-10, 10]. What is logged is what the
            environment gave.
        eval_every: environment steps between two evaluations while training, each at the end of the round that reaches them; 0: none but the
            one at the end.
        eval_episodes: greedy episodes of each evaluation, in environments of its own; 0: none.
        stop_at_return: the training ends as soon as this mean return is reached: of an evaluation where there are some while training, else of
            the last 100 episodes that were played.
        max_seconds: the training ends with the first round that ends later than so many seconds after its beginning. When that is depends on the
            machine; it is recorded, so that a replay and a resumed run end where this one did.
        keep_best: keep the weights with the best evaluation; see `best_policy`.
        video_every: environment steps between two episodes that are filmed while training, likewise; 0: none. The last weights are filmed, too; see `videos`.
        isolate: play each environment in a process of its own: for one that draws from generators of the whole process, or uses a library that threads cannot
            share; see `isolation`.
        placeable: each rollout is an enclave, so that `start(place={"rollouts": …})` has hosts play, and each of the learner's shards ("learner.shard"), where
            there are several; see `reactornb.cluster`. The result is the same with hosts and without, where it costs a little. It is also that without
            `placeable`, but that an update with several shards takes two microsteps, and that A3C's actors have played a little further at its end.
        callbacks: `Listener` classes, or functions made to some by `@listener`, that are told of every round.
    """

    network: Any = None
    normalize_observations: bool = False
    normalize_rewards: bool = False
    eval_every: int = 0
    eval_episodes: int = 20
    stop_at_return: float | None = None
    max_seconds: float | None = None
    keep_best: bool = False
    video_every: int = 0
    isolate: bool = False
    placeable: bool = False
    callbacks: tuple[Any, ...] = ()


# The rules of `TrainingConfig`'s fields, and whose those are.
_COMMON = {
    "network": Rule("a function that makes a torch.nn.Module from an EnvSpec, or None", lambda v: v is None or callable(v)),
    "normalize_observations": flag,
    "normalize_rewards": flag,
    "eval_every": whole(0),
    "eval_episodes": whole(0),
    "stop_at_return": optional(number()),
    "max_seconds": optional(number(0, above=True)),
    "keep_best": flag,
    "video_every": whole(0),
    "isolate": flag,
    "placeable": flag,
    "callbacks": Rule(
        "a tuple of Listener classes, or of functions under @listener",
        lambda v: isinstance(v, (tuple, list)) and all(callable(made) for made in v),
        lambda v: "write them in parentheses, with a comma: (report,)" if callable(v)
        else "write the class, or functools.partial(the class, …), in place of an object that is made" if isinstance(v, (tuple, list)) else "",
    ),
}  # fmt: skip


def _registered(name: str) -> str:
    """The id that Gymnasium would make of this one."""
    import gymnasium

    from reactornb.rl.envs import is_atari

    if name in gymnasium.registry or ":" in name or is_atari(name):  # "module:id" is registered by the import
        return name
    versions = [
        spec for spec in gymnasium.registry.values()
        if name == (f"{spec.namespace}/{spec.name}" if spec.namespace else spec.name)
    ]  # fmt: skip
    if not versions:
        raise UnknownEnvironmentError(f"{_caller()}: there is no environment {name!r}. {nearest_id(name)}", env=name)
    return max(versions, key=lambda spec: -1 if spec.version is None else spec.version).id


def config_of[C: Config](program: Any, cls: type[C], env: Any = PRESET) -> C:
    """A program's configuration: its parameter `config`, or what is known to work for its `env`; with the hyper-parameters that it was given itself.

    Args:
        program: with `config`, `env`, and a parameter for each field.
        cls: of the configuration.
        env: the environment, where it is not the program's parameter; None: there is none, the defaults hold.

    Raises:
        ConfigError: if `config` is something else, or a hyper-parameter has no value that fits.
    """
    config = program.config
    if config is None:
        played = program.env if env is PRESET else env
        config = cls() if played is None and env is None else cls.for_env(played)
    if not isinstance(config, cls):
        hint = f"{cls.__name__}(**{config!r})" if isinstance(config, dict) else f"{cls.__name__}(…)"
        raise ConfigError(
            f"the config of {type(program).__name__} is {config!r:.80}; it must be a {cls.__name__}: config={hint}.",
            fields=("config",),
        )
    given = {name: getattr(program, name) for name in cls.names()}
    return dataclasses.replace(config, **{name: value for name, value in given.items() if value is not PRESET})  # type: ignore[type-var]  # subclasses are dataclasses
