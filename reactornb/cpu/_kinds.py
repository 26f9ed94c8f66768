"""From what a reader saw of each CPU to a `Topology`: decide the kinds of core, number cores and threads.

Every reader hands its findings to `assemble`, so the same machine gets the same kinds however it was read.
Must not touch the system.

How kinds are decided, best evidence first:

1. A type that the system states (Intel's separate PMUs for Core and Atom, hwloc's core types, Apple's names). Atoms are
   split once more by strength, because a Meteor Lake's low-power cores are Atoms too.
2. The kernel's `cpu_capacity`, when it differs between CPUs.
3. The highest frequency, when it differs.
4. A bare rank (the efficiency classes of Windows).

Strengths that lie close together are one kind: favoured cores of a uniform processor differ by a few per cent each
(Turbo Boost Max, AMD's preferred cores, two cache sizes on a 7950X3D: 0.91), sometimes as a whole ladder, while real kinds
lie apart (0.78 on a 13900K, 0.73 on an Nvidia GB10, 0.64 on a Ryzen AI 9 HX 370, 0.4 on an RK3588). So a kind ends where
the next strength is below `GAP` times the one before it. `acpi_cppc/highest_perf` is left out on purpose: on AMD it ranks
equal cores between 166 and 236.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from reactornb.cpu._records import KINDS, Cpu, Kind, Topology

GAP = 0.85


@dataclass(slots=True)
class Seen:
    """What a reader saw of one CPU; `core` may be anything that its threads have in common, and only they."""

    id: int
    core: Hashable
    package: int = 0
    node: int = 0
    stated: Kind | None = None
    capacity: int | None = None
    max_khz: int | None = None
    rank: int | None = None
    native_id: int | None = None


def assemble(seen: Sequence[Seen], source: str) -> Topology:
    """Number the cores and threads, and give each core its kind.

    Args:
        seen: one record for each online CPU, in any order, at least one.
        source: the reader's name, for `Topology.source`.

    Returns:
        The topology, its CPUs in the order of their ids.
    """
    threads: dict[Hashable, list[Seen]] = {}
    for one in sorted(seen, key=lambda one: one.id):
        threads.setdefault(one.core, []).append(one)
    # Cores are numbered node by node, so that "P0-P7" is one node's worth even where the system numbers CPUs in turns.
    cores = sorted(threads.values(), key=lambda core: (core[0].package, core[0].node, core[0].id))
    cpus: list[Cpu] = []
    indices = dict.fromkeys(KINDS, 0)
    for number, (core, kind) in enumerate(zip(cores, _kinds(cores), strict=True)):
        for rank, one in enumerate(core):
            cpus.append(
                Cpu(
                    id=one.id,
                    core=number,
                    package=one.package,
                    node=one.node,
                    kind=kind,
                    index=indices[kind],
                    smt_rank=rank,
                    max_khz=one.max_khz,
                    capacity=one.capacity,
                    native_id=one.native_id,
                )
            )
        indices[kind] += 1
    return Topology(tuple(sorted(cpus, key=lambda cpu: cpu.id)), source)


def _kinds(cores: Sequence[Sequence[Seen]]) -> list[Kind]:
    """One kind for each core; a core's threads never differ."""
    stated = [core[0].stated for core in cores]
    if None in stated:
        groups = _groups(cores)
        kinds = [KINDS[min(group, len(KINDS) - 1)] for group in groups]
    else:
        kinds = [kind for kind in stated if kind is not None]
        small = [number for number, kind in enumerate(kinds) if kind == "efficiency"]
        for number, group in zip(small, _groups([cores[number] for number in small]), strict=True):
            if group > 0:
                kinds[number] = "low-power"
    # "Performance" is relative: where all cores are alike, or none is stated to be strong, the best there are get the name.
    present = [kind for kind in KINDS if kind in kinds]
    return [KINDS[0] if len(present) == 1 else kind for kind in kinds]


def _groups(cores: Sequence[Sequence[Seen]]) -> list[int]:
    """For each core the number of its group of strength, 0 for the strongest."""
    for strengths in (
        [_strongest(core, "capacity") for core in cores],
        [_strongest(core, "max_khz") for core in cores],
    ):
        if 0 not in strengths:
            groups = _split(strengths)
            if any(groups):
                return groups
    ranks = [_strongest(core, "rank") for core in cores]
    order = sorted(set(ranks), reverse=True)
    return [order.index(rank) for rank in ranks]


def _strongest(core: Sequence[Seen], what: str) -> int:
    """The largest value that a thread of the core has; 0 if the system tells none."""
    return max(getattr(one, what) or 0 for one in core)


def _split(strengths: Sequence[int]) -> list[int]:
    group: dict[int, int] = {}
    previous = 0
    for strength in sorted(set(strengths), reverse=True):
        step = group[previous] + (strength < GAP * previous) if previous else 0
        group[strength] = step
        previous = strength
    return [group[strength] for strength in strengths]
