"""The systems that are compared; ours first, the one that ratios refer to second."""

from comparing.systems import celery, dramatiq, huey, ours, taskiq
from comparing.systems.base import System

__all__ = ["BASE", "DEFAULT", "SYSTEMS", "System"]

SYSTEMS: dict[str, System] = {
    system.name: system for module in (ours, celery, dramatiq, taskiq, huey) for system in module.SYSTEMS
}
#: What a short run compares.
DEFAULT = ("ours", "celery", "dramatiq", "taskiq", "huey")
BASE = "celery"
