"""An IPython extension that kernel.json of the kernel `reactornb` loads: torch and Gymnasium are imported from the kernel's start on.

A kernel starts when a notebook is opened; its user runs the first cell seconds later. The imports run on threads, so the kernel is
ready as soon as without them. The magics still come with `%load_ext reactornb`. `REACTORNB_PRELOAD=0` turns the imports off.
"""

from __future__ import annotations

import os
import threading
from typing import Any

__all__ = ["load_ipython_extension"]


def load_ipython_extension(shell: Any) -> threading.Thread | None:
    """Begin to import what the first run will need.

    Args:
        shell: IPython's.

    Returns:
        The thread that starts the imports; None if they are turned off.
    """
    if os.environ.get("REACTORNB_PRELOAD") == "0":
        return None
    thread = threading.Thread(target=_preload, args=(shell,), name="reactornb-kernel-start")
    thread.start()
    return thread


def _preload(shell: Any) -> None:
    from reactornb.notebook import preload  # on this thread: it takes half a second

    preload.start(shell)
