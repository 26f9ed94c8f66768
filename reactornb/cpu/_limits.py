"""What this process may use of the machine: affinity mask, cpuset, and cgroup quota, which may be a fraction of a CPU.

The quota is the smallest one on the way from the process's cgroup up to the root of what it can see, because each level
holds for everything below it. cgroup v1, v2 and the hybrid of both are read; a container that sees only its own part of
the tree is found through the mount's root.
"""

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from reactornb.cpu._detect import topology as read_topology
from reactornb.cpu._pinning import unpinned_affinity
from reactornb.cpu._records import KINDS, Topology, format_ids, parse_ids
from reactornb.cpu._sysfs import read_text
from reactornb.cpu._windows import load_kernel32

_HERE = Path("/")


@dataclass(frozen=True, slots=True)
class Limits:
    """What the system grants this process.

    Attributes:
        affinity: the CPUs it may run on; None where the system has no such mask (macOS).
        cpuset: the CPUs of its cgroup, for information (the affinity mask lies inside them); None without one.
        quota: CPU time it may use per unit of time, in CPUs, such as 1.5; None without a limit.
        quota_from: the file that the quota was read from; "" without one.
    """

    affinity: frozenset[int] | None = None
    cpuset: frozenset[int] | None = None
    quota: float | None = None
    quota_from: str = ""

    def describe(self) -> str:
        """Text such as "affinity 0-7; cgroup quota 1.5 CPUs (/sys/fs/cgroup/cpu.max)"."""
        parts = ["no affinity mask" if self.affinity is None else f"affinity {format_ids(self.affinity)}"]
        if self.cpuset is not None and self.cpuset != self.affinity:
            parts.append(f"cpuset {format_ids(self.cpuset)}")
        parts.append(
            "no cgroup quota"
            if self.quota is None
            else f"cgroup quota {self.quota:g} CPU{'' if self.quota == 1 else 's'} ({self.quota_from})"
        )
        return "; ".join(parts)


def limits(root: Path = _HERE) -> Limits:
    """The limits of this process, or of a recorded one.

    The affinity is the one that the calling thread had before reactornb pinned it, so a run that is started from inside
    another run's worker is not confined to that worker's CPU.

    Args:
        root: "/" for this process, else a folder with the recorded files `proc/self/cgroup`, `proc/self/mountinfo`,
            `proc/self/status` and `sys/fs/cgroup/`.

    Returns:
        The limits; a limit that cannot be read counts as none.
    """
    if root == _HERE:
        affinity = unpinned_affinity() or _windows_affinity()
    else:
        status = read_text(root / "proc/self/status") or ""
        lists = [line.partition(":")[2] for line in status.splitlines() if line.startswith("Cpus_allowed_list:")]
        affinity = parse_ids(lists[0]) if lists else None
    quotas: list[tuple[float, str]] = []
    cpusets: list[frozenset[int]] = []
    for folder in _cgroup_folders(root):
        quota = _quota(folder)
        if quota is not None:
            name = "cpu.max" if (folder / "cpu.max").exists() else "cpu.cfs_quota_us"
            quotas.append((quota, f"/{(folder / name).relative_to(root).as_posix()}"))
        for name in ("cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus"):
            cpus = parse_ids(read_text(folder / name) or "")
            if cpus:
                cpusets.append(cpus)
                break
    quota, quota_from = min(quotas, default=(None, ""), key=lambda pair: pair[0] or math.inf)
    return Limits(affinity, frozenset.intersection(*cpusets) if cpusets else None, quota, quota_from)


def usable_cpus(topology: Topology | None = None, limits: Limits | None = None) -> tuple[int, ...]:
    """The ids of the CPUs that are online and that this process may run on, ascending; never empty.

    Args:
        topology: the machine; None reads this one.
        limits: the process's limits; None reads this process's.
    """
    topology = topology or read_topology()
    limits = limits or _limits_here()
    usable = topology.ids if limits.affinity is None else topology.ids & limits.affinity
    return tuple(sorted(usable or topology.ids))


def default_workers(topology: Topology | None = None, limits: Limits | None = None) -> int:
    """The default number of workers of a run: one for each of the strongest cores that the process may use.

    Efficiency cores are left to the kernel, the browser and the system, since a round waits for its slowest worker; a larger
    number of workers uses them. The same holds for SMT siblings. A quota is rounded up, so 1.5 CPUs give 2 workers. Measured in
    a cgroup of 1.5 CPUs on two busy cores, two workers did 1.2 times the work of one; the price is that the kernel stops
    all threads of the process for the rest of each 100 ms once the quota is used up, so a timer may then be 25 ms late.
    Rounding down would leave up to half of what was granted (nearly half of 1.9) unused. A program with physical deadlines
    should be given one worker fewer.

    Args:
        topology: the machine; None reads this one.
        limits: the process's limits; None reads this process's.

    Returns:
        At least 1.
    """
    topology = topology or read_topology()
    limits = limits or _limits_here()
    usable = set(usable_cpus(topology, limits))
    cores = {kind: {cpu.core for cpu in topology.cpus if cpu.id in usable and cpu.kind == kind} for kind in KINDS}
    workers = next(len(found) for found in cores.values() if found)
    if limits.quota is not None:
        workers = min(workers, math.ceil(limits.quota))
    return max(1, workers)


def default_nice() -> int:
    """The default niceness of workers, relative to this process: 5 levels in a Jupyter kernel, else 0.

    A cell, a panel and an interrupt each need several of the kernel's threads, which would otherwise wait for a core behind busy
    workers. Measured on two busy cores: a trivial cell took 58 to 177 ms and now takes 36 to 40, the slowest of
    twenty 100 ms instead of 300. With a free core it makes no difference.
    """
    kernel = sys.modules.get("ipykernel.kernelapp")
    return 5 if kernel is not None and kernel.IPKernelApp.initialized() else 0


def _limits_here() -> Limits:
    """`limits()`, under a name that no parameter hides."""
    return limits()


def _quota(folder: Path) -> float | None:
    """The quota that one cgroup sets, in CPUs; None if it sets none."""
    text = read_text(folder / "cpu.max")
    if text is not None:  # v2: "150000 100000", or "max 100000"
        granted, _, period = text.partition(" ")
    else:  # v1: -1 means none
        granted = read_text(folder / "cpu.cfs_quota_us") or ""
        period = read_text(folder / "cpu.cfs_period_us") or ""
    if not granted.isdigit() or not period.isdigit() or int(period) == 0:
        return None
    return int(granted) / int(period) or None


def _cgroup_folders(root: Path) -> Iterator[Path]:
    """The folders of this process's cgroups and of all their ancestors that can be seen."""
    groups = (read_text(root / "proc/self/cgroup") or "").splitlines()
    mounts = list(_cgroup_mounts(root))
    for line in groups:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        wanted = set(controllers.split(",")) & {"cpu", "cpuset"}
        if controllers and not wanted:
            continue
        for kind, options, mount_root, folder in mounts:
            if (kind == "cgroup2") if not controllers else (kind == "cgroup" and wanted & options):
                yield from _ancestors(folder, path, mount_root)


def _cgroup_mounts(root: Path) -> Iterator[tuple[str, set[str], str, Path]]:
    """(file system, its options, the part of the tree that is mounted, where) of each cgroup mount."""
    for line in (read_text(root / "proc/self/mountinfo") or "").splitlines():
        before, _, after = line.partition(" - ")
        left, right = before.split(" "), after.split(" ")
        if len(left) >= 5 and right[0] in {"cgroup", "cgroup2"}:
            # The kernel writes a space in a path as \040.
            folder = left[4].encode("ascii", "replace").decode("unicode_escape")
            yield right[0], set(right[-1].split(",")), left[3], root / folder.lstrip("/")


def _ancestors(folder: Path, path: str, mount_root: str) -> Iterator[Path]:
    """From the cgroup `path` up to the mount point `folder`, at which the part `mount_root` of the tree is visible."""
    inside = PurePosixPath(path)
    try:
        inside = inside.relative_to(mount_root)
    except ValueError:  # the process's own group lies outside what is mounted: the mount point is all there is
        inside = PurePosixPath()
    parts = [part for part in inside.parts if part not in {"/", ".."}]
    for depth in range(len(parts), -1, -1):
        yield folder.joinpath(*parts[:depth])


def _windows_affinity() -> frozenset[int] | None:
    """The process's mask on Windows, where it is in one processor group; None elsewhere."""
    kernel32 = load_kernel32() if sys.platform == "win32" else None
    if kernel32 is None:
        return None
    import ctypes  # pragma: no cover - Windows only

    mask, system = ctypes.c_size_t(), ctypes.c_size_t()  # pragma: no cover
    asked = kernel32.GetProcessAffinityMask(  # pragma: no cover
        ctypes.c_void_p(kernel32.GetCurrentProcess()), ctypes.byref(mask), ctypes.byref(system)
    )
    # A mask of 0 means more than one group; then every CPU may be used.
    return frozenset(bit for bit in range(64) if mask.value >> bit & 1) or None if asked else None  # pragma: no cover
