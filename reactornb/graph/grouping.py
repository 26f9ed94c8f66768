"""The same graph with some of its enclaves taken together: what runs on one host is one enclave there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from reactornb.graph.enclaves import distances_of
from reactornb.graph.nodes import Graph

__all__ = ["grouped"]


def grouped(graph: Graph, shares: Sequence[Sequence[int]]) -> Graph:
    """Make one enclave of each share. Nothing else changes: numbers, names and levels stay, and so does what a run computes.

    Args:
        graph: of a program.
        shares: the enclaves of each, by number; none is in two, and the root's, 0, is in none.

    Returns:
        A graph whose first enclaves are those that are in no share, in their order; then comes one for each share.

    Raises:
        AssemblyError: if two of the new enclaves wait for each other without a delay between them.
    """
    taken = {enclave for share in shares for enclave in share}
    groups: list[tuple[int, ...]] = [(enclave,) for enclave in range(len(graph.enclaves)) if enclave not in taken]
    groups += [tuple(share) for share in shares]
    number = {enclave: at for at, group in enumerate(groups) for enclave in group}
    merged = replace(
        graph,
        reactors=tuple(replace(node, enclave=number[node.enclave]) for node in graph.reactors),
        enclaves=tuple(tuple(top for enclave in group for top in graph.enclaves[enclave]) for group in groups),
    )
    return replace(merged, distances=distances_of(merged, len(groups)))
