"""What `place=` means: which declared enclaves go to which host. The graph stays as it is: only enclaves can be placed.

A name is that which the container has for an enclave, `rollouts` for `self.rollouts = enclave(…)`; members of `enclave(Bank(…), each=True)` are dealt
out in blocks of neighbours, a whole enclave goes to one host; "*" is every such bank, or every enclave where there is none. What several names give to the same hosts is dealt out together.
"""

from __future__ import annotations

import re
from typing import Any

from reactornb.cluster.errors import NotAnEnclaveError, RemotePhysicalError
from reactornb.cluster.hosts import hosts_of
from reactornb.cluster.hub import HostEngine, Hub, ShareSpec
from reactornb.errors import RunOptionError, Source, suggestion
from reactornb.graph import Graph
from reactornb.options import RunOptions

__all__ = ["place"]


def place(program: Any, options: RunOptions) -> Hub:
    """See `runtime.placing.place`.

    Raises:
        RunOptionError: for an option that a placed run cannot have, or what cannot be hosts.
        NotAnEnclaveError: for a name that is no enclave of the program.
        RemotePhysicalError: if what is placed depends on the clock.
        AssemblyError: if two hosts would wait for each other without a delay.
    """
    _refuse(options)
    shares = _dealt(program.graph, options.place)
    _refuse_physical(program.graph, {enclave for share in shares for enclave in share.enclaves})
    return Hub(program, options, shares)


def _refuse(options: RunOptions) -> None:
    for name in ("trace", "fingerprint_log", "check_values", "record_outside", "keep"):
        if getattr(options, name):
            raise RunOptionError(
                f"{name} and place cannot be combined yet: hosts do not send what it needs. Run without place: the result is the same."
            )


def _dealt(graph: Graph, placed: Any) -> list[ShareSpec]:
    by_engine: dict[int, tuple[HostEngine, list[int]]] = {}
    taken: dict[int, str] = {}
    for name, where in placed.items():
        engine: HostEngine = hosts_of(where)
        members = _members(graph, name)
        for member in members:
            if member in taken:
                raise RunOptionError(f"place: {name} and {taken[member]} name the same enclave.")
            taken[member] = name
        by_engine.setdefault(id(engine), (engine, []))[1].extend(members)
    shares: list[ShareSpec] = []
    for engine, members in by_engine.values():
        count = min(len(members), engine.count)
        for at in range(count):
            block = members[at * len(members) // count : (at + 1) * len(members) // count]
            shares.append(ShareSpec(tuple(sorted(block)), engine, at))
    return shares


def _members(graph: Graph, name: Any) -> list[int]:
    """The enclaves of a name, in the order of the graph."""
    root = graph.reactors[0].name
    known: dict[str, list[int]] = {}
    banks: list[int] = []
    for enclave, tops in enumerate(graph.enclaves[1:], 1):
        full = graph.reactors[tops[0]].name.removeprefix(f"{root}.")
        bank = re.sub(r"\[\d+\]$", "", full)
        if bank != full and len(tops) == 1:
            banks.append(enclave)
        for key in {full, bank}:
            known.setdefault(key, []).append(enclave)
    if known:
        known["*"] = banks or list(range(1, len(graph.enclaves)))
    found = known.get(name) if isinstance(name, str) else None
    if found is None:
        names = tuple(sorted({re.sub(r"\[\d+\]$", "", one) for one in known if one != "*"}))
        listed = f"its enclaves are {', '.join(names)}" if names else "it declares no enclave"
        raise NotAnEnclaveError(
            f"place: {name!r} is no enclave of {root}: {listed}. {suggestion(str(name), names)} Write self.{name} = enclave(…), with each=True for a "
            f"bank whose members may be dealt out.",
            name=str(name),
            known=names,
        )
    return found


def _refuse_physical(graph: Graph, enclaves: set[int]) -> None:
    """Refuse what depends on physical time, in what is to be placed.

    Raises:
        RemotePhysicalError: if there is any.
    """

    def is_placed(reactor: int) -> bool:
        return graph.reactors[reactor].enclave in enclaves

    what: list[tuple[str, Source]] = []
    what += [
        (f"physical action {a.name}", graph.reactors[a.reactor].source)
        for a in graph.actions
        if a.physical and is_placed(a.reactor)
    ]
    what += [(f"watchdog {w.name}", graph.reactors[w.reactor].source) for w in graph.watchdogs if is_placed(w.reactor)]
    what += [
        (f"the deadline of {r.name}", r.source)
        for r in graph.reactions
        if r.deadline is not None and is_placed(r.reactor)
    ]
    what += [
        (f"physical connection from {graph.ports[e.source].name}", e.made_at)
        for e in graph.edges
        if e.physical and (is_placed(graph.ports[e.source].reactor) or is_placed(graph.ports[e.destination].reactor))
    ]
    if what:
        names = tuple(name for name, _ in what)
        more = f", and {len(names) - 3} more" if len(names) > 3 else ""
        raise RemotePhysicalError(
            f"{what[0][1]}: {', '.join(names[:3])}{more} depends on physical time, and a host's clock is another one. Only the hub waits for "
            f"physical time: keep it in a reactor that is not placed, and send what it finds.",
            what=names,
            source=what[0][1],
        )
