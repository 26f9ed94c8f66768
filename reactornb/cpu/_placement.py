"""Which worker gets which CPU: a pure decision from topology and limits, carried out by `_pinning`."""

import functools
import operator
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from reactornb.cpu._detect import topology as read_topology
from reactornb.cpu._limits import Limits, usable_cpus
from reactornb.cpu._limits import limits as read_limits
from reactornb.cpu._pinning import (
    Pin,
    free_current_thread,
    nice_current_thread,
    pin_current_thread,
    pinned_cpus,
    pinned_elsewhere,
)
from reactornb.cpu._records import KINDS, LETTERS, Cpu, Topology, format_ids
from reactornb.errors import PlacementError

Policy = Literal["performance", "spread", "none"]
_POLICIES = ("performance", "spread", "none")


@dataclass(frozen=True, slots=True)
class Placement:
    """Where each worker runs.

    Attributes:
        cpus: for each worker its CPU, or None if it is not pinned.
        allowed: ids of the CPUs that unpinned workers may use.
        topology: the machine that was placed on.
        reason: why workers are unpinned although pinning was requested, with what to do; "" otherwise.
        shared: whether others use these CPUs too: a quota grants less than all of them, or other processes' workers leave too few.
        listed: whether the CPUs were given one by one: then a worker is pinned to its own whoever else is.
        nice: levels of niceness by which workers' threads run at lower priority than others (Linux; elsewhere it does nothing).
    """

    cpus: tuple[Cpu | None, ...]
    allowed: frozenset[int]
    topology: Topology
    reason: str = ""
    shared: bool = False
    listed: bool = False
    nice: int = 0

    @property
    def is_roomy(self) -> bool:
        """Whether each worker has a CPU at all times, so that a waiting worker may keep its CPU busy."""
        return not self.shared and len(self.cpus) <= len(self.allowed)

    @property
    def is_crowded(self) -> bool:
        """Whether there are more workers than CPUs: one that waits busily would keep another from running."""
        return len(self.cpus) > len(self.allowed)

    def pin(self, worker: int) -> Pin:
        """Pin the calling thread to this worker's CPU; call it first in the worker's thread.

        Args:
            worker: number of the worker, from 0.

        Returns:
            A `Pin` to release at the thread's end. Never raises for lack of permission.
        """
        if self.nice:
            nice_current_thread(self.nice)
        cpu = self.cpus[worker]
        if cpu is None:
            return free_current_thread(self.allowed)
        pin = pin_current_thread(cpu)
        pin.allowed = self.allowed
        pin.gives_way = not self.listed
        return pin

    def describe_each(self) -> list[str]:
        """Per worker " on P3", or "" where it is not pinned."""
        return ["" if cpu is None else f" on {LETTERS[cpu.kind]}{cpu.index}" for cpu in self.cpus]

    def describe(self) -> str:
        """Text such as "12 workers: P0-P7, E0-E3" or "2 workers: unpinned".

        P, E and LP are performance, efficiency and low-power cores; cores whose second thread is used as well come again
        with "(SMT)". On machines with several NUMA nodes the nodes follow.
        """
        placed = [cpu for cpu in self.cpus if cpu is not None]
        used: set[int] = set()
        first: dict[str, list[int]] = {}
        again: dict[str, list[int]] = {}
        for cpu in placed:
            (again if cpu.core in used else first).setdefault(cpu.kind, []).append(cpu.index)
            used.add(cpu.core)
        parts = []
        for kind in KINDS:
            if kind in first:
                parts.append(format_ids(first[kind], LETTERS[kind]))
            if kind in again:
                parts.append(f"{format_ids(again[kind], LETTERS[kind])} (SMT)")
        unplaced = len(self.cpus) - len(placed)
        if unplaced:
            parts.append(f"{unplaced} unpinned" if placed else "unpinned")
        text = f"{len(self.cpus)} worker{'' if len(self.cpus) == 1 else 's'}: {', '.join(parts)}"
        if placed and len(self.topology.nodes) > 1:
            nodes = {cpu.node for cpu in placed}
            text += f", on node{'' if len(nodes) == 1 else 's'} {format_ids(nodes)}"
        return text


@functools.cache
def _machine() -> Topology:
    """This machine's CPUs, read once: it takes some ms, and only its limits change while a process lives."""
    return read_topology()


def place(
    n_workers: int,
    placement: Policy | Sequence[int] = "performance",
    *,
    topology: Topology | None = None,
    limits: Limits | None = None,
    taken: Collection[int] | None = None,
) -> Placement:
    """Choose a CPU for each worker.

    "performance" fills the performance cores, one worker on each; then their SMT siblings; then the efficiency cores and
    the low-power ones. Within each of these steps, one NUMA node is filled before the next, beginning with one that has
    room for all. "spread" takes the same steps, but sockets and nodes in turn, for memory bandwidth. "none" pins nobody.

    More workers than CPUs: the rest stay unpinned and the system moves them to whichever CPU is idle; two workers are never
    pinned to one CPU, since one would wait for the other while a third CPU may be free.

    A cgroup quota below the number of usable CPUs means that the machine is shared with others by time, not by CPU. Then
    "performance" and "spread" pin nobody: each container would choose the same first cores, and a pinned worker cannot
    leave a core that a neighbour keeps busy.

    Args:
        n_workers: how many, at least 1.
        placement: a policy, or the ids of the CPUs to use, one for each worker in order (further ids are left unused, so one
            list serves runs of different width).
        topology: the machine; None reads this one, and looks which of its CPUs other processes use.
        limits: the process's limits; None reads this process's.
        taken: ids of CPUs to avoid while others are free; None means those that runs of this process, and of this user's other processes, use now.

    Returns:
        The placement, a plan only; `Placement.pin` carries it out in each worker's thread.

    Raises:
        PlacementError: unknown policy; fewer than 1 worker; or a list with an id twice, too few ids, something that is no
            integer, or a CPU that does not exist or lies outside the affinity mask.
    """
    if isinstance(n_workers, bool) or n_workers < 1:
        raise PlacementError(f"workers={n_workers!r} is not a number of workers; use 1 or more", workers=n_workers)
    is_here = topology is None
    topology = topology or _machine()
    limits = limits or read_limits()
    allowed = frozenset(usable_cpus(topology, limits))
    nobody: tuple[Cpu | None, ...] = (None,) * n_workers
    shared = limits.quota is not None and limits.quota < len(allowed)
    if not isinstance(placement, str):
        listed = _explicit(n_workers, placement, topology, allowed)
        return Placement(listed, allowed, topology, shared=shared, listed=True)
    if placement not in _POLICIES:
        names = ", ".join(f'"{name}"' for name in _POLICIES)
        raise PlacementError(
            f"placement={placement!r} is unknown; use {names}, or a list of CPU ids such as {sorted(allowed)[:2]}",
            placement=placement,
        )
    if placement == "none":
        return Placement(nobody, allowed, topology, shared=shared)
    if limits.quota is not None and shared:
        return Placement(
            nobody,
            allowed,
            topology,
            f"a cgroup quota grants {limits.quota:g} of {len(allowed)} CPUs ({limits.quota_from}), so the cores are shared "
            f"with other groups; to pin all the same, list the CPUs: placement={sorted(allowed)[:n_workers]}",
            shared,
        )
    elsewhere = pinned_elsewhere() if is_here and taken is None else frozenset()
    if taken is None:
        taken = pinned_cpus() | elsewhere
    order = _order(topology, allowed, n_workers, taken, spread=placement == "spread")
    cpus = (*order[:n_workers], *nobody[len(order) :])
    reason = "" if len(order) >= n_workers else f"more workers ({n_workers}) than free CPUs ({len(order)})"
    return Placement(cpus, allowed, topology, reason, shared=bool(elsewhere) and n_workers > len(allowed - elsewhere))


def _order(
    topology: Topology, allowed: frozenset[int], wanted: int, taken: Collection[int], *, spread: bool
) -> list[Cpu]:
    """The free CPUs, best first."""
    threads: dict[int, list[Cpu]] = {}
    for cpu in topology.cpus:
        if cpu.id in allowed:
            threads.setdefault(cpu.core, []).append(cpu)
    steps: dict[tuple[int, int], list[Cpu]] = {}
    for core in threads.values():
        # The rank counts the threads that may be used: a mask with only a core's second thread still has the whole core.
        # A thread that another run holds counts first, so that its sibling is known to be the second of that core.
        core.sort(key=lambda cpu: (cpu.id not in taken, cpu.id))
        for rank, cpu in enumerate(core):
            if cpu.id not in taken:
                steps.setdefault((KINDS.index(cpu.kind), rank), []).append(cpu)
    order: list[Cpu] = []
    nodes: list[tuple[int, int]] = []
    for step in sorted(steps):
        cpus = sorted(steps[step], key=lambda cpu: (cpu.index, cpu.id))
        if not nodes:  # decided by the best cores, and kept for the later steps
            nodes = _nodes_in_turn(topology.cpus) if spread else _roomiest_first(cpus, wanted)
        nodes += [node for node in _nodes_in_turn(cpus) if node not in nodes]
        by_node = [[cpu for cpu in cpus if (cpu.package, cpu.node) == node] for node in nodes]
        order += _one_of_each(by_node) if spread else [cpu for group in by_node for cpu in group]
    return order


def _roomiest_first(cpus: Sequence[Cpu], wanted: int) -> list[tuple[int, int]]:
    """Nodes that hold all workers first (lowest number first), then those that hold most."""
    room: dict[tuple[int, int], int] = {}
    for cpu in cpus:
        node = (cpu.package, cpu.node)
        room[node] = room.get(node, 0) + 1
    return sorted(room, key=lambda node: (-min(room[node], wanted), node))


def _nodes_in_turn(cpus: Iterable[Cpu]) -> list[tuple[int, int]]:
    """Nodes so that neighbours in the list are in different sockets where possible: 0 and 1, 2 and 3 become 0, 2, 1, 3."""
    packages: dict[int, list[tuple[int, int]]] = {}
    for node in sorted({(cpu.package, cpu.node) for cpu in cpus}):
        packages.setdefault(node[0], []).append(node)
    return _one_of_each(list(packages.values()))


def _one_of_each[T](groups: Sequence[Sequence[T]]) -> list[T]:
    """The first of each group, then the second of each that has one, and so on."""
    longest = max((len(group) for group in groups), default=0)
    return [group[turn] for turn in range(longest) for group in groups if turn < len(group)]


def _explicit(
    n_workers: int, listed: Sequence[int], topology: Topology, allowed: frozenset[int]
) -> tuple[Cpu | None, ...]:
    online = {cpu.id: cpu for cpu in topology.cpus}
    try:
        ids = [operator.index(number) for number in listed if not isinstance(number, bool)]
    except TypeError:
        ids = []
    if len(ids) != len(listed):
        raise PlacementError(f"placement={listed!r} must list CPU ids, which are whole numbers", placement=listed)
    twice = sorted({number for number in ids if ids.count(number) > 1})
    if twice:
        raise PlacementError(
            f"placement names CPU {format_ids(twice)} more than once; two workers on one CPU take turns, so give each its own",
            placement=listed,
            cpus=twice,
        )
    absent = sorted(number for number in ids if number not in online)
    if absent:
        raise PlacementError(
            f"placement names CPU {format_ids(absent)}, but this machine has {format_ids(online)} online",
            placement=listed,
            cpus=absent,
            allowed=sorted(allowed),
        )
    outside = sorted(number for number in ids if number not in allowed)
    if outside:
        raise PlacementError(
            f"placement names CPU {format_ids(outside)}, which this process may not use: its affinity mask is "
            f"{format_ids(allowed)}. Choose among those, or widen the mask (taskset, the container's cpuset) and restart",
            placement=listed,
            cpus=outside,
            allowed=sorted(allowed),
        )
    if len(ids) < n_workers:
        raise PlacementError(
            f"placement lists {len(ids)} CPU{'' if len(ids) == 1 else 's'} for {n_workers} workers; list one for each, or "
            f"ask for workers={max(1, len(ids))}",
            placement=listed,
            workers=n_workers,
        )
    return tuple(online[number] for number in ids[:n_workers])
