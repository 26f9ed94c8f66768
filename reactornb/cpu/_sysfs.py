"""Read the topology from Linux's own files under /sys, on this machine or in a recorded folder. No third-party code."""

from pathlib import Path

from reactornb.cpu._kinds import Seen, assemble
from reactornb.cpu._records import Kind, Topology, parse_ids

# A hybrid Intel processor has one PMU for each kind of core; `cpu_lowpower` appears with Arrow Lake H. Before it, low-power
# cores are listed with the Atoms, and the frequencies tell them apart.
_PMUS: tuple[tuple[str, Kind], ...] = (
    ("cpu_core", "performance"),
    ("cpu_atom", "efficiency"),
    ("cpu_lowpower", "low-power"),
)


def read_sysfs(root: Path) -> Topology | None:
    """The topology that the files below `root` describe, or None where there are none."""
    devices = root / "sys/devices"
    system = devices / "system/cpu"
    online = read_text(system / "online")
    if not online:
        return None
    stated: dict[int, Kind] = {}
    for pmu, kind in _PMUS:
        stated.update(dict.fromkeys(parse_ids(read_text(devices / pmu / "cpus") or ""), kind))
    nodes = _nodes(devices / "system/node")
    seen = []
    for cpu in sorted(parse_ids(online)):
        folder = system / f"cpu{cpu}"
        siblings = read_text(folder / "topology/core_cpus_list") or read_text(folder / "topology/thread_siblings_list")
        seen.append(
            Seen(
                id=cpu,
                # Not `core_id`: Arm boards repeat it in each cluster, and other systems in each die.
                core=min(parse_ids(siblings), default=cpu) if siblings else cpu,
                package=max(0, _number(folder / "topology/physical_package_id") or 0),  # -1 means unknown
                node=nodes.get(cpu, 0),
                stated=stated.get(cpu),
                capacity=_number(folder / "cpu_capacity"),
                max_khz=_number(folder / "cpufreq/cpuinfo_max_freq"),
            )
        )
    return assemble(seen, "sysfs") if seen else None


def _nodes(folder: Path) -> dict[int, int]:
    """CPU id to NUMA node; empty where the kernel knows no nodes."""
    nodes: dict[int, int] = {}
    for node in parse_ids(read_text(folder / "online") or ""):
        nodes.update(dict.fromkeys(parse_ids(read_text(folder / f"node{node}/cpulist") or ""), node))
    return nodes


def _number(path: Path) -> int | None:
    text = read_text(path)
    try:
        return int(text) if text else None
    except ValueError:
        return None


def read_text(path: Path) -> str | None:
    """The file's text without white space at its ends, or None if it cannot be read.

    Containers hide parts of /sys, and some files exist yet refuse to be read (an offline CPU's cpufreq says EBUSY).
    """
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None
