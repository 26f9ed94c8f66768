"""`assemble(root)`: from declarations to a frozen, checked `Graph`, the action-port graph.

Pure data and small algorithms: `nodes` has the data, `assembly` fills it (with `place`, `reactions`, `connections`, `writers`, `checks`),
`levels` orders the reactions, `enclaves` computes how far enclaves may be apart, `grouping` takes some of them together, `paths` resolves a
user's path to a parameter. Nothing here runs a program.
"""

from reactornb.graph.assembly import assemble
from reactornb.graph.enclaves import add, homes
from reactornb.graph.grouping import grouped
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
    "grouped",
    "homes",
]
