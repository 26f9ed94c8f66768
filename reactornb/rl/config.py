"""Hyper-parameters: what each may be, held against it when a configuration is made, and what is known to work for which environment.

A configuration calls `check(self, name=rule, …)` in its `__post_init__`, with a rule for every field; reactors check their own parameters
with `check_parameters` when they start. All that is wrong is said at once, with the place where the configuration was made.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from reactornb.errors import Source
from reactornb.rl.checks import nearest_id
from reactornb.rl.errors import ConfigError, UnknownEnvironmentError

__all__ = ["Rule", "at_least", "check", "check_parameters", "config_of", "device", "flag", "number", "optional", "preset", "whole", "widths"]  # fmt: skip


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
            found = float(value)
        except ValueError:
            return ""
        return f"write {int(found) if found.is_integer() else found!r} without quotes"
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
    assert set(fields) == set(rules), f"a rule for each field: {set(fields) ^ set(rules)}"
    _refuse(type(config).__name__, {name: (getattr(config, name), rules[name]) for name in fields}, _caller())


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


def broken(config: Any, message: str, *fields: str) -> ConfigError:
    """For fields that do not fit each other."""
    return ConfigError(f"{_caller()}: {type(config).__name__}: {message}", fields=fields)


# -- what is known to work ------------------------------------------------------------------------------------------------


def preset[C](cls: type[C], env_id: Any, known: dict[str, C]) -> C:
    """The configuration known to work for an environment, else the defaults.

    Args:
        cls: of configurations.
        env_id: a Gymnasium id; without a version, the newest is meant. Or a function that makes an environment: the defaults.
        known: by id.

    Raises:
        UnknownEnvironmentError: for an id that is not registered, with the nearest one that is; for anything else.
    """
    from gymnasium import Env
    from gymnasium.vector import VectorEnv

    if isinstance(env_id, str):
        return known.get(_registered(env_id)) or cls()
    if callable(env_id) and not isinstance(env_id, (Env, VectorEnv)):
        return cls()
    raise UnknownEnvironmentError(
        f"{_caller()}: {cls.__name__}.for_env takes a Gymnasium id or a function that makes an environment, not {env_id!r} (a "
        f"{type(env_id).__name__}).",
        env_id=env_id,
    )


def _registered(env_id: str) -> str:
    """The id that Gymnasium would make of this one."""
    import gymnasium

    from reactornb.rl.envs import is_atari

    if env_id in gymnasium.registry or ":" in env_id or is_atari(env_id):  # "module:id" is registered by the import
        return env_id
    versions = [
        spec for spec in gymnasium.registry.values()
        if env_id == (f"{spec.namespace}/{spec.name}" if spec.namespace else spec.name)
    ]  # fmt: skip
    if not versions:
        raise UnknownEnvironmentError(
            f"{_caller()}: there is no environment {env_id!r}. {nearest_id(env_id)}", env_id=env_id
        )
    return max(versions, key=lambda spec: -1 if spec.version is None else spec.version).id


def config_of[C](reactor: Any, cls: type[C]) -> C:
    """A program's configuration: its parameter `config`, or what is known to work for its `env_id`.

    Raises:
        ConfigError: if `config` is something else.
    """
    config = reactor.config
    if config is None:
        known: Callable[[Any], C] = getattr(cls, "for_env", lambda _: cls())
        return known(reactor.env_id)
    if isinstance(config, cls):
        return config
    hint = f"{cls.__name__}(**{config!r})" if isinstance(config, dict) else f"{cls.__name__}(…)"
    raise ConfigError(
        f"the config of {type(reactor).__name__} is {config!r:.80}; it must be a {cls.__name__}: config={hint}.",
        fields=("config",),
    )
