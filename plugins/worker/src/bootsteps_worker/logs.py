"""Logging of the worker's process."""

from __future__ import annotations

import logging
import sys

__all__ = ["LEVELS", "set_up"]

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "FATAL")
FORMAT = "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s"


def set_up(level: str) -> None:
    """Send the root logger's records of this level and above to standard error, in the guide's format."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(FORMAT))
    logging.basicConfig(level=level, handlers=[handler])
    logging.getLogger("amqp").setLevel("INFO")  # frames of every message at DEBUG
