"""The service of the step `Beat`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootsteps import ServiceKey

if TYPE_CHECKING:
    from bootsteps_worker_beat.service import Service

__all__ = ["BEAT"]

#: What sends periodic tasks in this worker: `worker.beat`.
BEAT: ServiceKey[Service] = ServiceKey("beat")
