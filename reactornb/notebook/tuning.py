"""The parameters of a run in words, and by path: for `%reactor set`, and for its completion."""

from __future__ import annotations

import re
from typing import Any

from reactornb.errors import UnknownNameError
from reactornb.graph import Graph, find_parameter
from reactornb.model import choices_of, kind_of
from reactornb.runtime import Run
from reactornb.runtime.tuning import refusal

__all__ = ["brief", "choices", "list_parameters", "paths"]


def paths(graph: Graph, typed: str = "") -> list[str]:
    """The parameters that a run of the graph can change, banks folded, or their members where one is typed."""
    folded = "[" not in typed
    listed: dict[str, None] = {}
    for node in graph.reactors:
        place = node.name.partition(".")[2]
        if folded:
            place = re.sub(r"\[\d+\]", "", place)
        for name in node.cls._spec.parameters:
            if refusal(node, name) is None:
                listed[f"{place}.{name}" if place else name] = None
    return list(listed)


def choices(graph: Graph, path: str) -> list[str]:
    """What could be typed as the value of a parameter of few values."""
    try:
        nodes, name = find_parameter(graph, path)
    except UnknownNameError:
        return []
    kind = kind_of(nodes[0].cls, name)
    if kind is bool:
        return ["True", "False"]
    return [str(getattr(c, "name", c)) for c in choices_of(kind) or ()]


def list_parameters(run: Run) -> str:
    """What can be changed, with its present value; a line for each parameter, a bank's members together."""
    lines = []
    for path in paths(run.program.graph):
        values = list(run.parameters(path).values())
        same = all(v is values[0] or repr(v) == repr(values[0]) for v in values)
        words = brief(values[0]) if same else "differs"
        lines.append(f"{path} = {words}" + (f"  ({len(values)} reactors)" if len(values) > 1 else ""))
    return "\n".join(lines) or "Nothing in this program can be changed while it runs."


def brief(value: Any) -> str:
    """A value, cut to what fits a line."""
    text = f"{value:.6g}" if isinstance(value, float) else " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:59]}…"
