"""What a program and a run look like: the graph as DOT, SVG, PNG and text, curves live and static, the panel of a run, its timeline.

Nothing here is imported by the runtime; widgets and Matplotlib load where they are used.
"""

from reactornb.viz.curves import plot
from reactornb.viz.graph_view import GraphView
from reactornb.viz.timeline_file import save_timeline

__all__ = ["GraphView", "plot", "save_timeline"]
