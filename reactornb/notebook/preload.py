"""Imports what a notebook's first run will need while its reader still reads: torch and Gymnasium, each on a thread beside the kernel's.

What a thread imported it also makes immortal, as only it may (see `reactornb.runtime.immortal`): the run's start need not look at it again.
Only where they are installed, and only in a kernel. Whoever imports the same package meanwhile, in a cell or a reaction, waits at the import
system's own lock for that package, and gets it sooner than by starting then. Whatever goes wrong here is left to that import to say.

The kernel `reactornb` begins when it starts (`reactornb.kernel_start`), any other one at `%load_ext reactornb`. `REACTORNB_PRELOAD=0` in the
environment turns it off.
"""

from __future__ import annotations

import os
import sys
import threading
from importlib import import_module, util
from typing import Any

from reactornb.rl.dynamo import defer
from reactornb.runtime.immortal import immortalize

__all__ = ["PACKAGES", "start"]

PACKAGES = ("torch", "gymnasium")


def start(shell: Any) -> list[threading.Thread]:
    """Begin, where there is anything to do.

    Args:
        shell: IPython's; one that belongs to no kernel has no reader whose time could be used.

    Returns:
        The threads, one for each package, which end by themselves.
    """
    if getattr(shell, "kernel", None) is None or os.environ.get("REACTORNB_PRELOAD") == "0":
        return []
    wanted = [name for name in PACKAGES if name not in sys.modules and util.find_spec(name) is not None]
    # At the kernel's own priority: a cell that waits for torch would else wait for a thread that others push aside.
    # No daemon: one that is inside a library's initialisation when the interpreter goes takes the process down with a signal.
    threads = [threading.Thread(target=_import, args=(name,), name=f"reactornb-preload-{name}") for name in wanted]
    for thread in threads:
        thread.start()
    return threads


class _Brake:
    """Ends the thread's import at its next module once the main thread is over, so that a kernel need not wait for the rest.

    A finder is what the import system asks first for every module; this one knows none. For any other thread it does nothing.
    """

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.main = threading.main_thread()

    def find_spec(self, _name: str, _path: Any = None, _target: Any = None) -> None:
        if threading.get_ident() == self.thread and not self.main.is_alive():
            raise SystemExit


def _import(name: str) -> None:
    brake = _Brake()
    sys.meta_path.insert(0, brake)
    try:
        import_module(name)
        if name == "torch":
            defer()
        immortalize()
    except SystemExit:
        return
    except Exception:  # noqa: BLE001 - said by the cell that imports it
        return
    finally:
        sys.meta_path.remove(brake)
