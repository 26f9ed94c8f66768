"""Where the pictures of an environment come from: its own `render`, else what is drawn here from its state, else what the policy sees of it.

Nothing ever opens a window: environments are made to draw into arrays.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from reactornb.rl import drawing, drawing_bodies, drawing_grids
from reactornb.rl.checks import name_of

__all__ = ["Pictures", "action_names"]

# Gymnasium says what its actions mean in its documentation only.
_NAMES: dict[str, tuple[str, ...]] = {
    "CartPoleEnv": ("left", "right"),
    "MountainCarEnv": ("left", "nothing", "right"),
    "AcrobotEnv": ("−1", "0", "+1"),
    "FrozenLakeEnv": ("left", "down", "right", "up"),
    "CliffWalkingEnv": ("up", "right", "down", "left"),
    "TaxiEnv": ("south", "north", "east", "west", "pick up", "drop off"),
    "BlackjackEnv": ("stick", "hit"),
    "LunarLander": ("nothing", "left engine", "main engine", "right engine"),
}


class Pictures:
    """The pictures of one environment, taken one after the other.

    Args:
        env: the environment; of a vector environment the first one is seen.
        given: what it was made of, for messages.
        why: why it could not be made to draw, "" if it could.
    """

    def __init__(self, env: Any, given: Any, why: str = "") -> None:
        self._env, self._given, self._why = env, given, why
        self._first = _first(env)
        self._draws = getattr(env, "render_mode", None) == "rgb_array" and has_opengl(self._first)
        self._several = hasattr(env, "num_envs")

    def take(self, observation: Any) -> np.ndarray:
        """The picture of now, uint8 [height, width, 3].

        Args:
            observation: what the policy sees now; of a vector environment all of them.

        Raises:
            ValueError: if there is none.
        """
        frame = self._own()
        if frame is None:
            for draw in (drawing.picture_of, drawing_grids.picture_of, drawing_bodies.picture_of):
                frame = draw(self._first)
                if frame is not None:
                    return frame
            frame = _seen(observation, self._several)
        if not isinstance(frame, np.ndarray) or frame.shape[2:] != (3,) or frame.dtype != np.uint8:
            why = f" ({self._why})" if self._why else ""
            raise ValueError(
                f"{name_of(self._given)} draws no pictures: its render() gave {type(frame).__name__}, not an array uint8 [height, width, 3]{why}. Make it "
                f'with render_mode="rgb_array".'
            )
        return frame.copy()

    def _own(self) -> Any:
        """What its `render` gives; None where it cannot draw, such as without pygame or OpenGL: then that is not tried again."""
        if not self._draws:
            return None
        try:
            frame = self._env.render()
        except Exception as error:  # noqa: BLE001 - libraries for drawing fail in their own ways, and what is drawn here may do
            self._draws = False
            self._why = f"{type(error).__name__}: {error}"
            return None
        return frame[0] if isinstance(frame, (tuple, list)) and frame else frame


def has_opengl(env: Any) -> bool:
    """Whether an environment may be asked for its picture: one of MuJoCo's only where there is OpenGL.

    Where there is none, MuJoCo's search for it warns of each try, and with some versions the second environment that searches ends the process.
    """
    if not type(env).__module__.startswith("gymnasium.envs.mujoco"):
        return True
    return any(os.environ.get(name) for name in ("MUJOCO_GL", "DISPLAY"))


def action_names(env: Any) -> tuple[str, ...]:
    """What an environment's discrete actions are called, from 0 on; () where that is not known."""
    inner = _first(env)
    meanings = getattr(inner, "get_action_meanings", None)
    if callable(meanings):
        return tuple(str(word).lower().replace("_", " ") for word in meanings())
    known = type(inner).__module__.startswith("gymnasium.envs.")
    return _NAMES.get(type(inner).__name__, ()) if known else ()


def _first(env: Any) -> Any:
    """The innermost environment; of several in one, the first."""
    inner = getattr(env, "unwrapped", env)
    several = getattr(inner, "envs", None)
    first = several[0] if isinstance(several, (list, tuple)) and several else inner
    return getattr(first, "unwrapped", first)


def _seen(observation: Any, several: bool) -> Any:
    """An observation as a picture: of frames in a stack the last one, gray as colours; None if it is no picture."""
    array = np.asarray(observation) if isinstance(observation, np.ndarray) else None
    if array is None or array.dtype != np.uint8:
        return None
    array = array[0] if several else array
    if array.ndim == 4:
        array = array[-1]
    if array.ndim == 3 and array.shape[2] not in (1, 3):
        array = np.moveaxis(array, 0, 2) if array.shape[0] == 3 else array[-1]
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or min(array.shape[:2]) < 16 or array.shape[2] not in (1, 3):
        return None
    return np.broadcast_to(array, (*array.shape[:2], 3))
