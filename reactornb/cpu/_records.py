"""What the rest of the package knows about the machine: `Cpu` and `Topology`, plain frozen records.

Must not know where the facts come from (the readers' task) nor how they are used (the task of placement and pinning).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["performance", "efficiency", "low-power"]

#: Strongest first. A machine whose cores are all alike has only "performance" cores.
KINDS: tuple[Kind, ...] = ("performance", "efficiency", "low-power")

#: How cores are named in text, such as "P0-P7, E0-E3".
LETTERS: dict[Kind, str] = {"performance": "P", "efficiency": "E", "low-power": "LP"}


@dataclass(frozen=True, slots=True)
class Cpu:
    """One logical CPU: a hardware thread that the system can run something on.

    Attributes:
        id: the number the system gives it, as in `taskset` or `os.sched_getaffinity`.
        core: number of its physical core, counted from 0 over the whole machine.
        package: number of its socket.
        node: number of its NUMA node.
        kind: kind of its core.
        index: place of its core among those of its kind, node by node; with the kind it makes `label`.
        smt_rank: 0 for the first thread of its core, 1 for the second, and so on.
        max_khz: highest frequency in kHz, where the system tells.
        capacity: the kernel's measure of a CPU's strength, 1024 for the strongest, where the system tells.
        native_id: the handle that pinning needs where it is not `id` (Windows: the CPU set's id).
    """

    id: int
    core: int
    package: int
    node: int
    kind: Kind
    index: int
    smt_rank: int
    max_khz: int | None = None
    capacity: int | None = None
    native_id: int | None = None

    @property
    def label(self) -> str:
        """The core's name in text, such as "P3" or "LP0"; threads of one core share it."""
        return f"{LETTERS[self.kind]}{self.index}"


@dataclass(frozen=True, slots=True)
class Topology:
    """The CPUs that are online, in the order of their ids, and the reader they came from.

    Attributes:
        cpus: every online CPU.
        source: "hwloc", "sysfs", "sysctl", "windows", or "count" where the system tells no more than a number.
    """

    cpus: tuple[Cpu, ...]
    source: str

    @property
    def ids(self) -> frozenset[int]:
        """The ids of all online CPUs."""
        return frozenset(cpu.id for cpu in self.cpus)

    @property
    def nodes(self) -> tuple[int, ...]:
        """The NUMA nodes that have CPUs, ascending."""
        return tuple(sorted({cpu.node for cpu in self.cpus}))

    @property
    def packages(self) -> tuple[int, ...]:
        """The sockets that have CPUs, ascending."""
        return tuple(sorted({cpu.package for cpu in self.cpus}))

    def cpu(self, cpu_id: int) -> Cpu:
        """The CPU with this id.

        Raises:
            KeyError: if no online CPU has it.
        """
        for cpu in self.cpus:
            if cpu.id == cpu_id:
                return cpu
        raise KeyError(cpu_id)

    def by_kind(self) -> dict[Kind, tuple[Cpu, ...]]:
        """The CPUs of each kind that the machine has, strongest kind first."""
        groups = {kind: tuple(cpu for cpu in self.cpus if cpu.kind == kind) for kind in KINDS}
        return {kind: cpus for kind, cpus in groups.items() if cpus}

    def describe(self) -> str:
        """Text such as "8 performance cores (16 threads), 16 efficiency cores"."""
        groups = self.by_kind()
        parts = []
        for kind, cpus in groups.items():
            cores = len({cpu.core for cpu in cpus})
            name = f"{kind} core" if len(groups) > 1 else "core"
            threads = f" ({len(cpus)} threads)" if len(cpus) > cores else ""
            parts.append(f"{cores} {name}{'' if cores == 1 else 's'}{threads}")
        if len(self.nodes) > 1:
            # Not without nodes: older Arm kernels call every cluster of a small board a package.
            parts += [f"{len(self.packages)} sockets"] * (len(self.packages) > 1) + [f"{len(self.nodes)} NUMA nodes"]
        return ", ".join(parts)


def format_ids(ids: Iterable[int], prefix: str = "") -> str:
    """Numbers as the kernel writes them: `format_ids([0, 1, 2, 5])` is "0-2,5"; with prefix "P", "P0-P2, P5"."""
    runs: list[list[int]] = []
    for number in sorted(set(ids)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    texts = (f"{prefix}{a}" if a == b else f"{prefix}{a}-{prefix}{b}" for a, b in runs)
    return (", " if prefix else ",").join(texts)


def parse_ids(text: str) -> frozenset[int]:
    """The inverse of `format_ids`: "0-2,5" is {0, 1, 2, 5}; empty text is the empty set.

    Raises:
        ValueError: if the text is no such list.
    """
    ids: set[int] = set()
    for part in text.replace("\n", ",").split(","):
        first, dash, last = part.strip().partition("-")
        if first:
            ids.update(range(int(first), int(last if dash else first) + 1))
    return frozenset(ids)
