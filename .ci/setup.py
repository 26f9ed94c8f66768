#!/usr/bin/env python3
"""Set the project up: Debian packages, free-threaded CPython 3.14, the environment `.venv`, the Jupyter kernel.

    python3 .ci/setup.py          what `make demo` and `make lab` need
    python3 .ci/setup.py --fast   the same on a CPython compiled with a profile, kept beside the plain one and used from then on
    python3 .ci/setup.py --atari  also ALE, built from source once per machine, which takes four minutes or more
    python3 .ci/setup.py --tests  also what the browser tests need, and ALE
    python3 .ci/setup.py --lean   only what runs the notebooks, and torch's CPU build where uv is there to find it: for an image
    python3 .ci/setup.py --gil    `.venv-gil`: an ordinary CPython 3.12 or 3.13, if there is one, for the suite's second run

It runs on any Python >= 3.9 with the standard library alone, and knows nothing of the package it sets up. Each step looks
whether its work is done already, so a second run takes a second. Nothing is written outside the repository and the cache
folder, apart from the Debian packages named in binder/apt.txt and, for the browser tests, .ci/apt.txt.

Environment:
    REACTORNB_PYTHON      a free-threaded CPython 3.14 to use instead of looking for one
    REACTORNB_GIL_PYTHON  an ordinary CPython 3.12 or 3.13 for --gil
    REACTORNB_CACHE       the cache folder; default $XDG_CACHE_HOME/reactornb or ~/.cache/reactornb
"""

import argparse
import re
import shutil
import signal
import sys

from steps.atari import install_ale
from steps.debian import install_debian_packages
from steps.environment import (
    GIL_VENV,
    GIL_VENV_BYTES,
    GIL_VENV_EXTRAS,
    LEAN_BYTES,
    LEAN_EXTRAS,
    VENV,
    VENV_BYTES,
    VENV_EXTRAS,
    make_venv,
)
from steps.interpreter import BUILD_BYTES, interpreter, ordinary_interpreter
from steps.tools import CACHE, REPO, SetupError, need_disk, say


def options():
    """The command line."""
    parser = argparse.ArgumentParser(description="Set the project up; see the top of this file.")
    parser.add_argument("--tests", action="store_true", help="also what the browser tests need, and ALE")
    parser.add_argument("--atari", action="store_true", help="also ALE, built from source")
    parser.add_argument(
        "--fast", action="store_true", help="on a CPython compiled with a profile, built once per machine"
    )
    parser.add_argument("--lean", action="store_true", help="only what runs the notebooks, as small as can be had")
    parser.add_argument("--gil", action="store_true", help="only .venv-gil, on an ordinary CPython")
    return parser.parse_args()


def check_machine():
    """Refuse what cannot work before anything is done."""
    if sys.platform != "linux":
        raise SetupError(
            "this script knows Linux only; elsewhere: pip install reactornb[all] in a python3.14t environment"
        )
    if re.search(r"\s", str(CACHE)):
        raise SetupError(
            f"CPython cannot be built below a folder with a space in its name, {CACHE}; set REACTORNB_CACHE"
        )


def set_up(chosen):
    """Everything but `--gil`."""
    install_debian_packages("run", "the demo")
    if chosen.tests:
        try:
            install_debian_packages("test", "the browser tests")
        except SetupError as error:
            say(f"without the browser tests: {error}")
    extras, size = (LEAN_EXTRAS, LEAN_BYTES) if chosen.lean else (VENV_EXTRAS, VENV_BYTES)
    if not VENV.exists():  # said now, not after the build
        need_disk(REPO, BUILD_BYTES + size, "set-up")
    make_venv(VENV, interpreter(fast=chosen.fast), extras, size, kernel=True, lean=chosen.lean)
    # `make demo` needs no ALE and would be delayed by minutes, so it is built on request only; once built, it is installed there too.
    install_ale(VENV, build=chosen.tests or chosen.atari)


def set_up_gil():
    """`.venv-gil`, if the machine has an ordinary CPython."""
    python = ordinary_interpreter()
    if python:
        make_venv(GIL_VENV, python, GIL_VENV_EXTRAS, GIL_VENV_BYTES, kernel=False)
    else:
        shutil.rmtree(GIL_VENV, ignore_errors=True)
        say(
            "no ordinary CPython 3.12 or 3.13 here: the suite's run with a GIL is left out (REACTORNB_GIL_PYTHON names one)"
        )


def main():
    """Set up; returns the exit status."""
    chosen = options()
    # On SIGTERM the compiler is ended too: `run` ends its command when an exception passes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        check_machine()
        if chosen.gil:
            set_up_gil()
        else:
            set_up(chosen)
    except SetupError as error:
        print(f"setup: error: {error}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        print("setup: interrupted; run it again to go on", file=sys.stderr, flush=True)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
