"""What others know of the autoreloader, without importing it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootsteps import ServiceKey

if TYPE_CHECKING:
    from bootsteps_worker_autoreloader.reloader import Autoreloader

__all__ = ["AUTORELOADER"]

AUTORELOADER: ServiceKey[Autoreloader] = ServiceKey("autoreloader")
