"""Programs in files: from a `.py` file or a notebook to the reactor that is to run.

- `cell_magics` defines what `%%reactor` and `%%lf` cells mean, for notebooks too.
- `notebook` reads a notebook and decides which of its statements declare something.
- `program` executes them, or a `.py` file; `loaded` finds the outermost reactor in what they declare.

This package knows nothing of IPython.
"""

from __future__ import annotations

from reactornb.errors import ProgramFileError
from reactornb.loading.loaded import Loaded, outermost
from reactornb.loading.program import guard_exit, load, load_notebook, load_python, make, quickstart

__all__ = [
    "Loaded",
    "ProgramFileError",
    "guard_exit",
    "load",
    "load_notebook",
    "load_python",
    "make",
    "outermost",
    "quickstart",
]
