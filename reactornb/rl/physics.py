"""Gymnasium's MuJoCo environments: what is missing is said, and the engine leaves no file behind.

MuJoCo writes each warning to a file MUJOCO_LOG.TXT in the working directory, and with version 4 there is one for each HalfCheetah that Gymnasium makes (its
model has an attribute that is going away). Here warnings become Python's, but for that one, which nobody but Gymnasium can mend.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from reactornb.rl.errors import UnknownEnvironmentError

__all__ = ["prepare"]


def prepare(name: str) -> None:
    """To be called before an environment is made by its id; does nothing for other environments.

    Raises:
        UnknownEnvironmentError: if it is one of MuJoCo's, and MuJoCo is not installed.
    """
    import gymnasium

    spec = gymnasium.registry.get(name)
    if (
        spec is None
        or not isinstance(spec.entry_point, str)
        or not spec.entry_point.startswith("gymnasium.envs.mujoco.")
    ):
        return
    if find_spec("mujoco") is None:
        raise UnknownEnvironmentError(
            f"cannot make the environment {name!r}: it needs MuJoCo, which is not installed: pip install 'reactornb[mujoco]'.",
            env=name,
        )
    mujoco: Any = import_module("mujoco")
    if mujoco.get_mju_user_warning() is None:  # of two threads that see none, both set the same
        mujoco.set_mju_user_warning(_warn)


def _warn(message: str) -> None:
    """Called by the engine."""
    if "settotalmass" not in message:
        warnings.warn(f"MuJoCo: {message}", RuntimeWarning, stacklevel=2)
