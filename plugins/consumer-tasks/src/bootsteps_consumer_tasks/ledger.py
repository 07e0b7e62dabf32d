"""The one ledger of requests. Everybody else reads snapshots."""

from __future__ import annotations

import itertools
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from bootsteps import Job, RunningJob, RunningRequest
from bootsteps_consumer_tasks.delivery import Delivery, Line
from bootsteps_consumer_tasks.limits import Limits
from bootsteps_tasks.message import TaskHeaders

__all__ = ["REMEMBERED", "Ledger", "Request", "State"]

#: How many tasks to remember: those finished when their message could no longer be acknowledged, and those lost.
REMEMBERED = 10_000


class State(Enum):
    """Where a request stands."""

    HELD = "held"  # waits for its ETA
    RESERVED = "reserved"  # may run as soon as the pool takes it
    ACTIVE = "active"  # the pool has it
    SETTLED = "settled"


@dataclass(slots=True, eq=False)
class Request:
    """A task message that was accepted."""

    seq: int
    headers: TaskHeaders
    #: What the pool child gets: the message, its body as it came.
    payload: bytes
    delivery: Delivery
    acks_late: bool
    limits: Limits
    state: State = State.RESERVED
    #: Undoes what holds it (the ETA's timer entry).
    release: Callable[[], None] | None = field(default=None, repr=False)

    def job(self) -> Job:
        """Return it as the pool takes it."""
        return Job(self.seq, self.payload, self.headers.name, *self.limits)


class Ledger:
    """Knows every request between its receipt and its settlement. Only the loop thread writes."""

    def __init__(self, running_jobs: Callable[[], Sequence[RunningJob]]) -> None:
        self._running_jobs = running_jobs
        self._numbers = itertools.count(1)
        self._requests: dict[int, Request] = {}
        self._waiting: OrderedDict[int, Request] = OrderedDict()
        self._by_id: dict[str, Request] = {}
        self._unacknowledged: OrderedDict[str, None] = OrderedDict()
        self._counts: Counter[State] = Counter()
        #: How many tasks were received, by name.
        self.total: Counter[str] = Counter()

    def number(self) -> int:
        """Return the sequence number for a new request."""
        return next(self._numbers)

    def reserve(self, request: Request) -> None:
        """Put a request in line for the pool."""
        request.release = None
        self._enter(request, State.RESERVED)
        self._waiting[request.seq] = request

    def hold(self, request: Request, release: Callable[[], None]) -> None:
        """Keep a request until `reserve` is called for it; `release()` undoes what will call it."""
        request.release = release
        self._enter(request, State.HELD)

    def _enter(self, request: Request, state: State) -> None:
        if request.seq in self._requests:
            self._counts[request.state] -= 1
        else:
            self._requests[request.seq] = self._by_id[request.headers.id] = request
            self.total[request.headers.name] += 1
        request.state = state
        self._counts[state] += 1

    def take(self, most: int) -> list[Request]:
        """Return the requests that go to the pool now, oldest first."""
        taken: list[Request] = []
        while self._waiting and len(taken) < most:
            _, request = self._waiting.popitem(last=False)
            self._enter(request, State.ACTIVE)
            taken.append(request)
        return taken

    def settle(self, seq: int) -> Request | None:
        """Take a request off the ledger; None if it is not on it (it was given back)."""
        request = self._requests.pop(seq, None)
        if request is not None:
            self._waiting.pop(seq, None)
            if self._by_id.get(request.headers.id) is request:
                del self._by_id[request.headers.id]
            self._counts[request.state] -= 1
            request.state = State.SETTLED
        return request

    def adopt(self, task_id: str, delivery: Delivery) -> bool:
        """Let a redelivered message settle the request that is already running for it; False if none is."""
        request = self._by_id.get(task_id)
        if request is None or request.delivery.settled:
            return False
        request.delivery = delivery
        return True

    def remember(self, task_id: str) -> None:
        """Note a finished task whose message could not be acknowledged and will come again."""
        self._unacknowledged[task_id] = None
        while len(self._unacknowledged) > REMEMBERED:
            self._unacknowledged.popitem(last=False)

    def was_finished(self, task_id: str) -> bool:
        """Tell, once, whether a redelivered task was finished here."""
        return self._unacknowledged.pop(task_id, self) is None

    def unstarted(self) -> list[Request]:
        """Take off the ledger what the pool does not have yet, and return it."""
        found = [request for request in self._requests.values() if request.state is not State.ACTIVE]
        return self._take_off(found)

    def unsettled(self) -> list[Request]:
        """Take everything off the ledger, and return it."""
        return self._take_off(list(self._requests.values()))

    def lose(self, line: Line) -> None:
        """Forget what came by a line that broke and was not handed to the pool: the broker delivers it again."""
        self._take_off([r for r in self._requests.values() if r.state is not State.ACTIVE and r.delivery.on(line)])

    def _take_off(self, requests: Iterable[Request]) -> list[Request]:
        taken = list(requests)
        for request in taken:
            if request.release is not None:
                request.release()
            self.settle(request.seq)
        return taken

    def active(self) -> int:
        """How many requests the pool has."""
        return self.count(State.ACTIVE)

    def count(self, state: State) -> int:
        """How many requests are in this state."""
        return self._counts[state]

    def running(self) -> Sequence[RunningRequest]:
        """The requests that are being executed, in the order in which they started."""
        now, clock = time.time(), time.monotonic()
        jobs = [job for job in self._running_jobs() if job.seq in self._requests]
        found = []
        for job in sorted(jobs, key=lambda job: job.started):
            headers = self._requests[job.seq].headers
            found.append(RunningRequest(headers.id, headers.name, job.started, now - (clock - job.started), job.pid))
        return found

    def __len__(self) -> int:
        return len(self._requests)
