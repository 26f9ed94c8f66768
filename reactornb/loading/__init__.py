"""Programs in files: from a `.py` file or a notebook to the reactor that is to run.

- `cell_magics` defines what `%%reactor` and `%%lf` cells mean, for notebooks too.
- `notebook` reads a notebook and decides which of its statements declare something.
- `program` executes them, or a `.py` file, and finds the outermost reactor.

This package knows nothing of IPython.
"""

from __future__ import annotations

from reactornb.errors import ProgramFileError
from reactornb.loading.program import (
    Loaded,
    ending,
    load,
    load_notebook,
    load_python,
    make,
    outermost,
    quickstart,
)

__all__ = [
    "Loaded",
    "ProgramFileError",
    "ending",
    "load",
    "load_notebook",
    "load_python",
    "make",
    "outermost",
    "quickstart",
]
