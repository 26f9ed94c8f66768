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
"""PYTHON_GIL: an extension that is not marked as safe without the GIL (triton, which torch's first optimizer loads) would turn the GIL on for
the whole process. PYTHONHASHSEED: the order of a set of strings is the same in each process."""


def settle_interpreter() -> None:
    """Restart this process with the variables of `ENVIRONMENT` that are not set; takes 20 ms. Call it before anything else.

    What the user has set is kept: PYTHON_GIL=1 or any `-X gil`, a PYTHONHASHSEED, `-E` and `-I`. Signals are held back from before the
    restart until this function is called in the new process; the handler must be installed by then.
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
