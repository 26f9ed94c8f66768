"""Imports torch and Gymnasium in the background, each on its own thread, so that a notebook's first run starts sooner.

Each thread also makes what it imported immortal, which only it may do (see `reactornb.runtime.immortal`); the run's start then need not.
Only packages that are installed, and only in a kernel. A cell or reaction that imports the same package meanwhile waits for the import
system's lock on that package, which takes less time than importing it from the beginning. Errors are left to that import to raise.

They begin at `%load_ext reactornb`, not when the kernel starts: IPython iterates over `sys.modules` then, and one kernel in twenty died of
"dictionary changed size during iteration". `REACTORNB_PRELOAD=0` in the environment turns them off.
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
    """Start the imports.

    Args:
        shell: IPython's shell; without a kernel nothing is imported.

    Returns:
        The threads, one for each package, which end by themselves.
    """
    if getattr(shell, "kernel", None) is None or os.environ.get("REACTORNB_PRELOAD") == "0":
        return []
    wanted = [name for name in PACKAGES if name not in sys.modules and util.find_spec(name) is not None]
    # At the kernel's own priority: a cell that waits for torch would otherwise wait for a low-priority thread.
    # Not a daemon: a daemon thread inside a library's initialisation when the interpreter exits crashes the process.
    threads = [threading.Thread(target=_import, args=(name,), name=f"reactornb-preload-{name}") for name in wanted]
    for thread in threads:
        thread.start()
    return threads


class _Brake:
    """Stops the thread's import at its next module once the main thread has ended, so that a kernel exits without delay.

    A finder, which the import system asks for every module; this one finds none. For other threads it does nothing.
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
    except Exception:  # noqa: BLE001 - the cell that imports it gets the error
        return
    finally:
        sys.meta_path.remove(brake)
