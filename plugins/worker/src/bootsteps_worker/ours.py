"""The handlers that are ours."""

from __future__ import annotations

import logging

__all__ = ["Ours"]


class Ours(logging.Handler):
    """Marks the handler that `set_up` added: a child replaces that one and no other."""
