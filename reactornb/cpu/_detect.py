"""`topology()`: which reader to ask, in which order."""

import os
import sys
from pathlib import Path
from typing import Literal

from reactornb.cpu._kinds import Seen, assemble
from reactornb.cpu._records import Topology
from reactornb.cpu._sysctl import read_sysctl
from reactornb.cpu._sysfs import read_sysfs
from reactornb.cpu._windows import read_cpu_sets

_HERE = Path("/")


def topology(root: Path = _HERE, *, reader: Literal["auto", "hwloc", "system"] = "auto") -> Topology:
    """The CPUs of this machine, or of a recorded one.

    Args:
        root: "/" for this machine. Else a folder that holds a recorded machine: Linux files below `sys/`, or `sysctl.txt`
            (the output of macOS's `sysctl hw`), or `cpu-sets.bin` (Windows's GetSystemCpuSetInformation).
        reader: "auto" asks hwloc on Linux, then the system's own files; "hwloc" or "system" ask only one. Recorded machines
            are always read with the system's reader.

    Returns:
        The topology. If a reader finds none, the next one is tried; the last one only counts CPUs, so there is always
        a result (`Topology.source` names its reader).
    """
    if root != _HERE:
        machine = _recorded(root)
    elif sys.platform == "darwin":
        machine = read_sysctl()
    elif sys.platform == "win32":
        machine = read_cpu_sets()
    else:
        machine = None
        if reader in {"auto", "hwloc"}:
            from reactornb.cpu._hwloc import read_hwloc

            machine = read_hwloc()
        if machine is None and reader in {"auto", "system"}:
            machine = read_sysfs(root)
    return machine or _counted()


def _recorded(root: Path) -> Topology | None:
    if (root / "sysctl.txt").exists():
        return read_sysctl((root / "sysctl.txt").read_text(encoding="utf-8"))
    if (root / "cpu-sets.bin").exists():
        return read_cpu_sets((root / "cpu-sets.bin").read_bytes())
    return read_sysfs(root)


def _counted() -> Topology:
    """A topology made of the number of CPUs alone: all cores are alike."""
    ids = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return assemble([Seen(id=cpu, core=cpu) for cpu in ids], "count")
