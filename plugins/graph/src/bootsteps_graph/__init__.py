"""`kernel graph`: look at the graph that would boot."""

from bootsteps_graph.look import look
from bootsteps_graph.model import BootGraph, Edge, LeftOut, Need, Step

__all__ = ["BootGraph", "Edge", "LeftOut", "Need", "Step", "look"]
