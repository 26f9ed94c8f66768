"""What a result may depend on besides program and seed: kept with each run."""

from __future__ import annotations

import os
import platform
import sys
import sysconfig

__all__ = ["environment"]


def environment() -> dict[str, str]:
    """What a result may depend on besides program and seed: versions, the machine's kind, the seed of hashes ("random": another each time)."""
    given = None if sys.flags.ignore_environment else os.environ.get("PYTHONHASHSEED")
    facts = {
        "python": f"{platform.python_version()}{'t' if sysconfig.get_config_var('Py_GIL_DISABLED') else ''}",
        "machine": f"{sys.platform} {platform.machine()}",
        "gil": "on" if getattr(sys, "_is_gil_enabled", lambda: True)() else "off",
        "hash_seed": given or "random" if sys.flags.hash_randomization else "0",
    }
    for name in ("reactornb", "numpy", "torch", "gymnasium"):
        module = sys.modules.get(name)
        version = getattr(module, "__dict__", {}).get("__version__")
        if version is not None:
            facts[name] = str(version)
    return facts
