"""Paths to parameters, as a user types them: `learner.learning_rate`, `rollouts.epsilon`, `rollouts[3].epsilon`, `teams[*].players[0].speed`."""

from __future__ import annotations

import re
from collections.abc import Iterable

from reactornb.errors import UnknownNameError, suggestion
from reactornb.graph.nodes import Graph, ReactorNode

__all__ = ["find_parameter"]

_STEP = re.compile(r"^(\w+)(?:\[(\d+|\*)\])?$")


def find_parameter(graph: Graph, path: str) -> tuple[tuple[ReactorNode, ...], str]:
    """The reactors whose parameter a path names, and the parameter's name.

    Args:
        graph: the program.
        path: names of contained reactors and at last a parameter, with dots between them. A bank's name, or the name with
            `[*]`, means all of its members. The root's name at the front may be left out.

    Raises:
        UnknownNameError: for a step that leads nowhere.
    """
    *steps, name = path.strip().split(".")
    nodes = [graph.reactors[0]]
    if steps and steps[0] == graph.reactors[0].label:
        del steps[0]
    for step in steps:
        nodes = _below(graph, nodes, step, path)
    for node in nodes:
        known = node.cls._spec.parameters
        if name not in known:
            raise UnknownNameError(
                f"{path}: {node.name} ({node.cls.__name__}) has no parameter {name!r}. {suggestion(name, known, node.cls._renamed)}",
                unknown=name,
            )
    return tuple(nodes), name


def _contained(graph: Graph, above: Iterable[ReactorNode]) -> dict[str, list[ReactorNode]]:
    """The reactors directly inside these ones, by name without index."""
    parents = {node.index for node in above}
    by_label: dict[str, list[ReactorNode]] = {}
    for node in graph.reactors:
        if node.parent in parents:
            by_label.setdefault(node.group, []).append(node)
    return by_label


def _below(graph: Graph, above: list[ReactorNode], step: str, path: str) -> list[ReactorNode]:
    contained = _contained(graph, above)
    match = _STEP.match(step)
    label, number = (match[1], match[2]) if match else (step, None)
    members = contained.get(label, [])
    if not members:
        raise UnknownNameError(
            f"{path}: {above[0].name} contains no reactor {label!r}. {suggestion(label, contained)}", unknown=label
        )
    if number in (None, "*"):
        return members
    chosen = [node for node in members if node.label == f"{label}[{number}]"]
    if not chosen:
        width = len(members) // len(above)
        said = (
            f"it has {width} members, 0 to {width - 1}"
            if members[0].label != members[0].group
            else "it is a single reactor"
        )
        raise UnknownNameError(f"{path}: there is no {label}[{number}]: {said}.", unknown=step)
    return chosen
