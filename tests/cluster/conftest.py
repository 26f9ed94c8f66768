"""The tests here share modules, and draw the random programs of `tests/reference`; pytest's importlib mode leaves the path alone."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "reference")]
