"""Canvas: tasks combined into chains, groups and chords before any of them runs."""

from bootsteps_tasks.canvas.kinds import chain, chord, group
from bootsteps_tasks.canvas.pieces import chunks, xmap, xstarmap
from bootsteps_tasks.canvas.signature import Signature, signature
from bootsteps_tasks.canvas.stamping import StampingVisitor

__all__ = ["Signature", "StampingVisitor", "chain", "chord", "chunks", "group", "signature", "xmap", "xstarmap"]
