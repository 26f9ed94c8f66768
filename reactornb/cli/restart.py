"""How the interpreter must have been started for results that repeat and bodies that run in parallel.

`make setup` gives these environment variables to the Jupyter kernels of its environment; `settle_interpreter` gives them to commands.
"""

from __future__ import annotations

import os
import sys
import sysconfig

from reactornb.cli.signals import block, unblock

__all__ = ["ENVIRONMENT", "settle_interpreter"]

ENVIRONMENT = {"PYTHON_GIL": "0", "PYTHONHASHSEED": "0"}
"""PYTHON_GIL: an extension that is not marked as safe without the GIL (triton, which torch's first optimizer loads) would turn it on for the
whole process, and workers would take turns from then on. PYTHONHASHSEED: the order of a set of strings is the same in each process."""


def settle_interpreter() -> None:
    """Start this process again as `ENVIRONMENT` says, where nothing is said yet; 20 ms. Before anything else is done.

    What is said is left as it is: PYTHON_GIL=1 or any `-X gil`, a PYTHONHASHSEED, `-E` and `-I`. Signals wait from before the new start
    until this function returns: who handles them does so by then.
    """
    unblock()
    if sys.flags.ignore_environment:
        return
    wanted = ENVIRONMENT.copy()
    if not sysconfig.get_config_var("Py_GIL_DISABLED") or "gil" in sys._xoptions:
        del wanted["PYTHON_GIL"]
    missing = {name: value for name, value in wanted.items() if name not in os.environ}
    if missing:
        os.environ.update(missing)
        sys.stdout.flush()
        block()
        try:
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - ourselves again
        finally:
            unblock()
