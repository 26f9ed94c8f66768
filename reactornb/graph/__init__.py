"""`assemble(root)`: from declarations to a frozen, checked `Graph`, the action-port graph.

Pure data and small algorithms: `nodes` is what a graph consists of, `assembly` flattens and checks, `levels` orders the
reactions. Nothing here runs one.
"""

from reactornb.graph.assembly import assemble
from reactornb.graph.nodes import (
    ActionNode,
    Edge,
    Graph,
    ModeNode,
    PortNode,
    ReactionNode,
    ReactorNode,
    TimerNode,
    WatchdogNode,
    describe_edge,
)

__all__ = [
    "ActionNode",
    "Edge",
    "Graph",
    "ModeNode",
    "PortNode",
    "ReactionNode",
    "ReactorNode",
    "TimerNode",
    "WatchdogNode",
    "assemble",
    "describe_edge",
]
