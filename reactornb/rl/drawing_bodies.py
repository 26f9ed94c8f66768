"""Pictures of MuJoCo's bodies without OpenGL: capsules, spheres and boxes from the simulation's state, as lines and discs.

MuJoCo itself draws on a graphics card or with Mesa's OSMesa or EGL, which many machines without a screen lack. Here a policy on HalfCheetah can be
watched all the same: from the side, nearer bodies over farther ones. It reads `model` and `data` as MuJoCo's Python bindings have them, and
imports nothing of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from reactornb.rl.drawing import GRAY, INK, Canvas, Point

__all__ = ["picture_of"]

# Of mjtGeom, in mjmodel.h.
PLANE, SPHERE, CAPSULE, CYLINDER, BOX = 0, 2, 3, 5, 6

SIZE = (240, 360)
FROM_ABOVE = {
    "SwimmerEnv": 4.0,
    "ReacherEnv": 0.7,
}  # what moves in the horizontal plane, and the height of the picture in metres
LARGEST = 3.2


def picture_of(env: Any) -> np.ndarray | None:
    """The present picture of an environment of Gymnasium's `MujocoEnv` kind, uint8 [240, 360, 3]; None for any other one."""
    inner = env.unwrapped
    model: Any = getattr(inner, "model", None)
    data: Any = getattr(inner, "data", None)
    if not hasattr(model, "geom_rbound") or not hasattr(data, "geom_xmat"):
        return None
    kinds, sizes = np.asarray(model.geom_type), np.asarray(model.geom_size)
    at, axes = np.array(data.geom_xpos), np.array(data.geom_xmat).reshape(-1, 3, 3)
    colours = np.asarray(model.geom_rgba)
    solid = np.flatnonzero((kinds != PLANE) & (colours[:, 3] > 0))
    if not len(solid):
        return None
    height = FROM_ABOVE.get(type(inner).__name__)
    if height is None:
        canvas = _from_the_side(
            at[solid, 0].mean(), np.asarray(model.geom_rbound)[solid].sum(), bool((kinds == PLANE).any())
        )
        order = solid[np.argsort(-at[solid, 1], kind="stable")]
    else:
        canvas = Canvas((float(at[solid, 0].mean()) if (kinds == PLANE).any() else 0.0, 0.0), height, SIZE)
        order = solid[np.argsort(at[solid, 2], kind="stable")]
    for i in order:
        ends, width = _shape(int(kinds[i]), sizes[i], at[i], axes[i], float(model.geom_rbound[i]))
        a, b = (_seen(end, height is not None) for end in ends)
        red, green, blue = (round(255 * float(k)) for k in colours[i, :3])
        canvas.line(a, b, width + canvas.pixel, INK)
        canvas.line(a, b, max(width - canvas.pixel, canvas.pixel), (red, green, blue))
    return canvas.pixels


def _from_the_side(x: float, length: float, has_ground: bool) -> Canvas:
    """A canvas whose middle goes along with the bodies, over ground with a mark at each half metre.

    Args:
        x: the bodies' middle.
        length: all of them laid end to end, so that the scale is the same in every picture.
        has_ground: whether there is any.
    """
    height = min(LARGEST, 1.7 * length)
    canvas = Canvas((x if has_ground else 0.0, 0.36 * height), height, SIZE)
    if has_ground:
        canvas.below(np.zeros_like, (232, 234, 238))
        reach = height * SIZE[1] / SIZE[0] / 2
        for mark in np.arange(np.ceil(2 * (x - reach)), np.floor(2 * (x + reach)) + 1) / 2:
            canvas.line((float(mark), -0.05 * height), (float(mark), -0.01 * height), 0.008 * height, GRAY)
    return canvas


def _shape(
    kind: int, size: np.ndarray, at: np.ndarray, axes: np.ndarray, reach: float
) -> tuple[tuple[np.ndarray, np.ndarray], float]:
    """A body as a line with a width: its ends, [3] each."""
    if kind in (CAPSULE, CYLINDER):
        along = axes[:, 2] * size[1]
        return (at - along, at + along), 2 * float(size[0])
    if kind == BOX:
        longest = int(np.argmax(size))
        across = float(np.sort(size)[1])
        along = axes[:, longest] * max(float(size[longest]) - across, 0.0)
        return (at - along, at + along), 2 * across
    return (at, at), 2 * (float(size[0]) if kind == SPHERE else reach)


def _seen(point: np.ndarray, from_above: bool) -> Point:
    """Where a point is in the picture: from the side, with what is farther away a little higher and to the right."""
    x, y, z = (float(k) for k in point)
    return (x, y) if from_above else (x + 0.3 * y, z + 0.2 * y)
