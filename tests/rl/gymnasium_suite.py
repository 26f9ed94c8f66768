"""Gymnasium's own tests of vector environments, with `ReactorVectorEnv` in the place of `SyncVectorEnv`.

    git clone --branch v1.4.0 … Gymnasium           # the version that is installed
    .venv/bin/python tests/rl/gymnasium_suite.py Gymnasium [--workers 2] [--async] [-- -k reset]

With --async it also takes `AsyncVectorEnv`'s place, where what is left are the tests of processes: `reset_async` and `step_wait`
with their time limits, spaces that shared memory cannot hold, and the warnings of a process that ends. Rendering needs pygame and one
environment Box2D, neither of which has a wheel for free-threaded Python. Needs scipy, dill and array_api_extra.
"""

import argparse
import os
import sys
from pathlib import Path

import gymnasium.vector
import pytest

from reactornb.rl.vector import ReactorVectorEnv


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="a working copy of Gymnasium's repository")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--async", action="store_true", dest="asynchronous", help="stand in for AsyncVectorEnv too")
    parser.add_argument("options", nargs="*", help="of pytest, after --")
    chosen = parser.parse_args()

    class Ours(ReactorVectorEnv):
        def __init__(self, *args, shared_memory=True, context=None, daemon=True, **options):
            """Drops what is AsyncVectorEnv's only: nothing here crosses a process."""
            super().__init__(*args, workers=chosen.workers, **options)

    gymnasium.vector.SyncVectorEnv = Ours  # before the tests import it by name
    tests = ["tests/vector"]
    if chosen.asynchronous:
        gymnasium.vector.AsyncVectorEnv = Ours
    else:
        tests.append("--ignore=tests/vector/test_async_vector_env.py")
    os.chdir(chosen.checkout)
    sys.path.insert(0, ".")
    return pytest.main([*tests, "-q", "-p", "no:cacheprovider", "-W", "ignore", *chosen.options])


if __name__ == "__main__":
    sys.exit(main())
