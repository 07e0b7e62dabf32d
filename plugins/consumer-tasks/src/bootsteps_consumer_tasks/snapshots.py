"""What the ledger says, for those who ask from outside: requests as they stand, their arguments decoded on demand."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bootsteps import RunningRequest
from bootsteps_consumer_tasks.envelope import unpack
from bootsteps_consumer_tasks.ledger import Ledger, Request, State
from bootsteps_tasks.message import TaskHeaders, decode_body

__all__ = ["ACTIVE", "RESERVED", "SCHEDULED", "Known", "Snapshots"]

#: Where a request stands, in Celery's words.
ACTIVE, RESERVED, SCHEDULED = "active", "reserved", "scheduled"


@dataclass(frozen=True, slots=True)
class Known:
    """A request at the moment it was asked for; what its headers say are attributes, too: `id`, `name`, `argsrepr`."""

    headers: TaskHeaders
    #: `active` (is executed), `reserved` (has its turn), or `scheduled` (waits for its ETA).
    where: str
    #: `exchange`, `routing_key`, `priority`, `redelivered`.
    delivery_info: Mapping[str, Any]
    #: The broker has been told to forget the message.
    acknowledged: bool
    #: Unix seconds; None before its start.
    time_start: float | None
    worker_pid: int | None
    _payload: bytes = field(repr=False)
    _accept: Collection[str] = field(repr=False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.headers, name)

    def arguments(self) -> tuple[list[Any], dict[str, Any]]:
        """Decode the body and return `(args, kwargs)`. Raises `InvalidMessage`, also for content that is not accepted.

        This takes the time that nobody has on the way of a task: only for those who asked.
        """
        args, kwargs, _ = decode_body(*unpack(self._payload).content(), self._accept)
        return args, kwargs


class Snapshots:
    """Lists the requests of this worker."""

    def __init__(self, ledger: Ledger, accept: Collection[str]) -> None:
        self._ledger = ledger
        self._accept = frozenset(accept)

    def active(self) -> list[Known]:
        """The requests that are executed, in the order in which they started."""
        return [self._known(request, job) for request, job in self._running().values()]

    def reserved(self) -> list[Known]:
        """What was received and is not executed yet, oldest first; but not what waits for its ETA."""
        running = self._running()
        return [
            self._known(request, None)
            for request in self._ours()
            if request.state is not State.HELD and request.seq not in running
        ]

    def scheduled(self) -> list[Known]:
        """What waits for its ETA, the earliest first."""
        held = [request for request in self._ours() if request.state is State.HELD and request.headers.eta]
        return [self._known(request, None) for request in sorted(held, key=lambda r: (r.headers.eta, r.seq))]

    def find(self, ids: Iterable[str]) -> list[Known]:
        """Return those of these tasks that are here, in the order of the ids."""
        running = self._running()
        found = [request for task_id in ids if (request := self._ledger.find(task_id)) is not None]
        return [
            self._known(request, running[request.seq][1] if request.seq in running else None)
            for request in found
            if _counts(request)
        ]

    def _ours(self) -> Sequence[Request]:
        return [request for request in self._ledger.everything() if _counts(request)]

    def _running(self) -> dict[int, tuple[Request, RunningRequest]]:
        pairs = [(self._ledger.find(job.id), job) for job in self._ledger.running()]
        return {request.seq: (request, job) for request, job in pairs if request is not None}

    def _known(self, request: Request, job: RunningRequest | None) -> Known:
        info, properties = request.delivery.info, request.delivery.message.properties or {}
        told = {
            "exchange": info.get("exchange"),
            "routing_key": info.get("routing_key"),
            "priority": properties.get("priority"),
            "redelivered": info.get("redelivered", False),
        }
        where = ACTIVE if job is not None else SCHEDULED if request.state is State.HELD else RESERVED
        since, pid = (job.time_start, job.pid) if job is not None else (None, None)
        settled = request.delivery.settled
        return Known(request.headers, where, told, settled, since, pid, request.payload, self._accept)


def _counts(request: Request) -> bool:
    """It is a task that will run here: neither unknown, nor already decided on."""
    return request.known and request.then is None and request.state is not State.SETTLED
