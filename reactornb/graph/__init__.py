"""`assemble(root)`: from declarations to a frozen, checked `Graph`, the action-port graph.

Pure data and small algorithms: `nodes` is what a graph consists of, `assembly` flattens and checks, `levels` orders the
reactions, `enclaves` says what may run ahead of what. Nothing here runs one.
"""

from reactornb.graph.assembly import assemble
from reactornb.graph.enclaves import add, homes
from reactornb.graph.nodes import (
    ActionNode,
    Edge,
    Graph,
    ModeNode,
    ParameterNode,
    PortNode,
    ReactionNode,
    ReactorNode,
    TimerNode,
    WatchdogNode,
    describe_edge,
)
from reactornb.graph.paths import find_parameter

__all__ = [
    "ActionNode",
    "Edge",
    "Graph",
    "ModeNode",
    "ParameterNode",
    "PortNode",
    "ReactionNode",
    "ReactorNode",
    "TimerNode",
    "WatchdogNode",
    "add",
    "assemble",
    "describe_edge",
    "find_parameter",
    "homes",
]
