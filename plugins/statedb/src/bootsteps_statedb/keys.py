"""The service of the step `StateDB`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootsteps import ServiceKey

if TYPE_CHECKING:
    from bootsteps_statedb.store import StateDB

__all__ = ["STATEDB"]

#: `worker.statedb`.
STATEDB: ServiceKey[StateDB] = ServiceKey("statedb")
