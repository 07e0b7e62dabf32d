"""The measurements, in the order of the tables."""

from comparing.measures import boot, enqueue, eta, fairness, latency, memory, startup, throughput
from comparing.measures.base import Figure, Figures, Measure, Scale

__all__ = ["DEFAULT", "MEASURES", "Figure", "Figures", "Measure", "Scale"]

MEASURES: dict[str, Measure] = {
    measure.name: measure
    for module in (throughput, latency, enqueue, startup, memory, eta, fairness, boot)
    for measure in module.MEASURES
}
#: What a short run measures.
DEFAULT = ("throughput", "stored", "latency", "enqueue", "startup")
