"""Datasets for measurements of offline algorithms: behaviours are trained, and what they do is recorded in Minari's format and read again."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from reactornb import Program

__all__ = ["Behaviour", "recorded"]

SEED = 100
"""Of behaviours and of their episodes: none of those that are measured."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Who plays the episodes of a dataset.

    Attributes:
        episodes: how many.
        algorithm: what trains it, a class of reactornb.rl; None: any action, evenly.
        changes: hyper-parameters other than those of `for_env`.
        draws: whether it acts as in training, with its noise, instead of its best.
    """

    episodes: int
    algorithm: str | None = None
    changes: tuple[tuple[str, Any], ...] = ()
    draws: bool = False


@cache
def recorded(env: str, behaviours: Sequence[Behaviour]) -> tuple[Any, list[float]]:
    """A dataset of some behaviours' episodes.

    Args:
        env: a Gymnasium id.
        behaviours: a tuple of them; those of one algorithm that differ in `total_timesteps` alone are trainings of their own.

    Returns:
        An `OfflineDataset`, and the mean return of each behaviour in it.
    """
    from reactornb.rl import read_dataset, record

    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for i, behaviour in enumerate(behaviours):
            policy = _trained(env, behaviour)
            draws = np.random.default_rng(SEED + i) if behaviour.draws else None
            path = Path(folder) / f"behaviour-{i}"
            paths.append(
                record(
                    policy, env, behaviour.episodes, path, seed=SEED + 1_000 * i, rng=draws, author="reactornb bench"
                )
            )
        means = [float(read_dataset(path).returns.mean()) for path in paths]
        return read_dataset(*paths), means


def _trained(env: str, behaviour: Behaviour) -> Any:
    """The best policy that a training has led to; None for any action."""
    if behaviour.algorithm is None:
        return None
    from reactornb import rl

    config = getattr(rl, f"{behaviour.algorithm}Config").for_env(env)
    program = Program(
        getattr(rl, behaviour.algorithm)(env=env, config=replace(config, **dict(behaviour.changes), keep_best=True))
    )
    program.run(seed=SEED)
    return rl.best_policy(program)
