"""Read this machine's topology through hwloc, which asks the processor itself where the system's files say too little.

In a virtual machine, for instance, the files give neither frequencies nor PMUs, but CPUID still tells the kinds of core.
pyhwloc is pure Python over ctypes: importing it leaves the GIL off (a test watches). The import costs 60 ms, hence lazy.
"""

from typing import Any

from reactornb.cpu._kinds import Seen, assemble
from reactornb.cpu._records import Kind, Topology

_TYPES: dict[str, Kind] = {
    "IntelCore": "performance",
    "IntelAtom": "efficiency",
    "IntelLowPower": "low-power",
    "AMDPerformance": "performance",
    "AMDEfficiency": "efficiency",
}

_UNKNOWN = 2**31  # hwloc's "no number" is the largest unsigned int


def read_hwloc() -> Topology | None:
    """This machine's topology as hwloc sees it, or None where hwloc is missing or fails."""
    try:
        import pyhwloc
        from pyhwloc.hwloc.core import TopologyFlags
    except (ImportError, OSError):
        return None
    try:
        loaded = pyhwloc.Topology.from_this_system()
        try:
            # CPUs outside our cgroup belong in the picture: an error about one of them should be able to say what it is.
            loaded.set_flags(TopologyFlags.INCLUDE_DISALLOWED)
            loaded.load()
            return read_loaded(loaded)
        finally:
            loaded.destroy()
    except Exception:  # noqa: BLE001 - a broken hwloc must never stop a run: the system's files are the next reader
        return None


def read_loaded(loaded: Any) -> Topology | None:
    """The same from a `pyhwloc.Topology` that is loaded already, such as one recorded as XML."""
    from pyhwloc.hwobject import ObjType

    facts = _facts_by_cpu(loaded)
    seen = []
    for unit in loaded.iter_cpus():
        core = unit.get_ancestor_obj_by_type(ObjType.CORE)
        package = unit.get_ancestor_obj_by_type(ObjType.PACKAGE)
        nodeset = unit.nodeset
        stated, capacity, max_khz, rank = facts.get(unit.os_index, (None, None, None, None))
        seen.append(
            Seen(
                id=unit.os_index,
                core=("core", core.logical_index) if core is not None else unit.os_index,
                package=package.os_index if package is not None and package.os_index < _UNKNOWN else 0,
                node=nodeset.first() if nodeset is not None and nodeset.any() else 0,
                stated=stated,
                capacity=capacity,
                max_khz=max_khz,
                rank=rank,
            )
        )
    return assemble(seen, "hwloc") if seen else None


def _facts_by_cpu(loaded: Any) -> dict[int, tuple[Kind | None, int | None, int | None, int | None]]:
    """CPU id to (stated kind, capacity, kHz, rank), from hwloc's kinds of CPU."""
    facts: dict[int, tuple[Kind | None, int | None, int | None, int | None]] = {}
    kinds = loaded.get_cpukinds()
    for number in range(kinds.n_kinds()):
        cpuset, efficiency, infos = kinds.get_info(number)
        mhz = infos.get("FrequencyMaxMHz")
        capacity = infos.get("LinuxCapacity")
        # hwloc's own ranking splits kinds at any difference of frequency, so it counts only where it is all there is.
        rank = efficiency if efficiency >= 0 and not infos else None
        fact = (
            _TYPES.get(infos.get("CoreType", "")),
            int(capacity) if capacity else None,
            int(mhz) * 1000 if mhz else None,
            rank,
        )
        facts.update(dict.fromkeys(cpuset, fact))
    return facts
