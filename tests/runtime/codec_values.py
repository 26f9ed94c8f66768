"""The values of `fingerprint_values`, and the classes that a program with such values would declare."""

import copyreg
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import fingerprint_values as values

from reactornb.runtime.codec import Classes

__all__ = ["Touchy", "declared", "touched"]

touched = []


class Touchy:
    """Notes whatever of it is called while it is made from data."""

    def __init__(self):
        touched.append("__init__")

    def __setattr__(self, name, value):
        touched.append("__setattr__")

    @property
    def size(self):
        return 1

    @size.setter
    def size(self, value):
        touched.append("size")


class Reducing(Touchy):
    """Its attributes are not all there is, as it says."""

    def __reduce__(self):
        return (copyreg.__newobj__, (Reducing,), None)

    def __setstate__(self, state):
        touched.append("__setstate__")


def declared():
    """What data may name."""
    classes = Classes(
        [
            values.Color, values.Bits, values.Level, values.Point, values.Spot, values.Slotted, values.Plain, values.Pair, values.Twin, values.Table,
            values.Row, values.Crowd, values.Word, values.Meters, values.build, values.describe, len, np.sin, Touchy, Reducing,
        ]
    )  # fmt: skip
    classes.add(values.Renamed, name="renamed")
    classes.add(values.Kept, save=lambda kept: (kept.x, kept.y), load=lambda saved: values.Kept(*saved))
    return classes
