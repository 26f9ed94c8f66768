"""Runs that last: their files, their checkpoints, what goes on from them, and the store of all runs.

Importing this package imports none of its modules; `import reactornb` does not import it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reactornb.lazy import importer

if TYPE_CHECKING:
    from reactornb.durable.objects import NotSavableError, savable, transient
    from reactornb.durable.runs import Runs

__all__ = ["NotSavableError", "Runs", "savable", "transient"]

_LAZY = {
    "NotSavableError": "objects",
    "Runs": "runs",
    "savable": "objects",
    "transient": "objects",
}

__getattr__ = importer(__name__, _LAZY)
