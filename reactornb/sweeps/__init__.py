"""Sweeps: many runs of one program in one process, each with parameters and a seed of its own, on all cores.

    from reactornb import sweep
    from reactornb.rl import PPO

    runs = sweep(PPO, env="CartPole-v1", learning_rate=[1e-3, 3e-4, 1e-4], seeds=5)
    runs.wait()
    print(runs.summary)

`optimize` searches instead of trying all there is, by Optuna. Nothing here draws or knows notebooks; `viz.sweep_view` and `viz.sweep_panel` show
what is here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reactornb.lazy import importer

if TYPE_CHECKING:
    from reactornb.sweeps.making import sweep
    from reactornb.sweeps.running import Sweep
    from reactornb.sweeps.search import optimize
    from reactornb.sweeps.space import Between, between
    from reactornb.sweeps.trial import Trial

__all__ = ["Between", "Sweep", "Trial", "between", "optimize", "sweep"]

_LAZY = {
    "Between": "space",
    "Sweep": "running",
    "Trial": "trial",
    "between": "space",
    "optimize": "search",
    "sweep": "making",
}

__getattr__ = importer(__name__, _LAZY)
