"""Pictures of Gymnasium's classic control tasks, drawn from their state with NumPy.

Gymnasium draws them with pygame, which has no wheel for free-threaded Python: there, a policy that has just been trained on CartPole could not be
watched. Shapes are distances to lines and polygons, so that edges are smooth. `drawing_grids` and `drawing_bodies` draw other environments on the same canvas.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = ["Canvas", "Colour", "Point", "picture_of"]

HEIGHT, WIDTH = 200, 300

Point = tuple[float, float]
Colour = tuple[int, int, int]

INK, WOOD, BLUE, RED, GRAY, GREEN = (
    (40, 44, 52),
    (202, 152, 101),
    (70, 110, 180),
    (205, 90, 80),
    (185, 190, 198),
    (90, 160, 100),
)


class Canvas:
    """A white picture in the coordinates of a world, y upwards.

    Args:
        center: the world's point in the middle of the picture.
        height: of the world's part that is seen.
        size: of the picture, rows and columns.
    """

    def __init__(self, center: Point, height: float, size: tuple[int, int] = (HEIGHT, WIDTH)) -> None:
        rows, columns = size
        self._unit = unit = rows / height  # pixels
        self._x = ((np.arange(columns) + 0.5 - columns / 2) / unit + center[0]).astype(np.float32)
        self._y = ((rows / 2 - np.arange(rows) - 0.5) / unit + center[1]).astype(np.float32)[:, None]
        self._pixels = np.full((rows, columns, 3), 255, np.uint8)

    def _near(self, points: Sequence[Point], reach: float) -> tuple[slice, slice, np.ndarray, np.ndarray]:
        """The part of the picture around points: its rows, its columns, and their y and x."""
        xs, ys = zip(*points, strict=True)
        reach += 1 / self._unit
        columns = np.flatnonzero((self._x >= min(xs) - reach) & (self._x <= max(xs) + reach))
        rows = np.flatnonzero((self._y[:, 0] >= min(ys) - reach) & (self._y[:, 0] <= max(ys) + reach))
        down, across = (slice(k[0], k[-1] + 1) if len(k) else slice(0, 0) for k in (rows, columns))
        return down, across, self._y[down], self._x[across]

    def _fill(self, down: slice, across: slice, distance: np.ndarray, colour: Colour) -> None:
        """Colour what is at a distance of less than 0; half of what lies on the edge."""
        cover = np.clip(0.5 - distance * self._unit, 0.0, 1.0)[..., None]
        part = self._pixels[down, across]
        part[:] = np.rint(part + cover * (np.array(colour, np.float32) - part))

    def line(self, a: Point, b: Point, width: float, colour: Colour) -> None:
        """A line with round ends; a disc, where both are one point."""
        down, across, y, x = self._near((a, b), width / 2)
        dx, dy = b[0] - a[0], b[1] - a[1]
        along = np.clip(((x - a[0]) * dx + (y - a[1]) * dy) / max(dx * dx + dy * dy, 1e-12), 0.0, 1.0)
        self._fill(down, across, np.hypot(x - a[0] - along * dx, y - a[1] - along * dy) - width / 2, colour)

    def box(self, center: Point, width: float, height: float, colour: Colour) -> None:
        """A rectangle."""
        down, across, y, x = self._near((center,), max(width, height) / 2)
        self._fill(down, across, np.maximum(abs(x - center[0]) - width / 2, abs(y - center[1]) - height / 2), colour)

    def below(self, height: Callable[[np.ndarray], np.ndarray], colour: Colour) -> None:
        """What lies below a curve."""
        self._fill(slice(None), slice(None), self._y - height(self._x), colour)

    @property
    def pixel(self) -> float:
        """How large a pixel is in the world."""
        return 1 / self._unit

    @property
    def pixels(self) -> np.ndarray:
        """Uint8 [rows, columns, 3]."""
        return self._pixels


def picture_of(env: Any) -> np.ndarray | None:
    """The present picture of one of Gymnasium's classic control tasks, uint8 [200, 300, 3]; None for any other environment."""
    inner = env.unwrapped
    kind, state = type(inner), getattr(inner, "state", None)
    draw = _DRAWN.get(kind.__name__)
    if draw is None or state is None or not kind.__module__.startswith("gymnasium.envs.classic_control"):
        return None
    return draw([float(k) for k in state]).pixels


def _cart_pole(state: Sequence[float]) -> Canvas:
    x, _, angle, _ = state
    canvas = Canvas((0.0, 0.7), 3.3)
    canvas.line((-9.0, 0.0), (9.0, 0.0), 0.02, GRAY)
    for end in (-2.4, 2.4):
        canvas.line((end, -0.12), (end, 0.12), 0.02, RED)
    canvas.box((x, 0.0), 0.5, 0.3, INK)
    axle = (x, 0.08)
    canvas.line(axle, (x + math.sin(angle), 0.08 + math.cos(angle)), 0.1, WOOD)
    canvas.line(axle, axle, 0.09, BLUE)
    return canvas


def _pendulum(state: Sequence[float]) -> Canvas:
    angle = state[0]  # 0: upright
    canvas = Canvas((0.0, 0.0), 2.6)
    canvas.line((0.0, 0.0), (-math.sin(angle), math.cos(angle)), 0.2, RED)
    canvas.line((0.0, 0.0), (0.0, 0.0), 0.1, INK)
    return canvas


def _acrobot(state: Sequence[float]) -> Canvas:
    first, second = state[0], state[0] + state[1]  # 0: hanging
    elbow = (math.sin(first), -math.cos(first))
    hand = (elbow[0] + math.sin(second), elbow[1] - math.cos(second))
    canvas = Canvas((0.0, 0.0), 4.6)
    canvas.line((-9.0, 1.0), (9.0, 1.0), 0.06, GREEN)
    for a, b, colour in (((0.0, 0.0), elbow, BLUE), (elbow, hand, WOOD)):
        canvas.line(a, b, 0.18, colour)
    for joint in ((0.0, 0.0), elbow):
        canvas.line(joint, joint, 0.1, INK)
    return canvas


def _mountain_car(state: Sequence[float]) -> Canvas:
    x = state[0]

    def height(at: Any) -> Any:
        return np.sin(3 * at) * 0.45

    canvas = Canvas((-0.3, 0.1), 1.3)
    canvas.below(height, GRAY)
    canvas.line((0.5, height(0.5)), (0.5, height(0.5) + 0.2), 0.015, GREEN)
    slope = 1.35 * math.cos(3 * x)
    up = np.array((-slope, 1.0)) / math.hypot(slope, 1.0)
    along = np.array((up[1], -up[0]))
    middle = np.array((x, height(x))) + 0.055 * up
    canvas.line(tuple(middle - 0.05 * along), tuple(middle + 0.05 * along), 0.06, INK)
    for side in (-0.045, 0.045):
        wheel = tuple(middle + side * along - 0.03 * up)
        canvas.line(wheel, wheel, 0.045, BLUE)
    return canvas


_DRAWN: dict[str, Callable[[Sequence[float]], Canvas]] = {
    "CartPoleEnv": _cart_pole,
    "PendulumEnv": _pendulum,
    "AcrobotEnv": _acrobot,
    "MountainCarEnv": _mountain_car,
    "Continuous_MountainCarEnv": _mountain_car,
}
