"""The one ledger of requests. Everybody else reads snapshots."""

from __future__ import annotations

import itertools
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from bootsteps import Job, RunningJob, RunningRequest
from bootsteps_consumer_tasks.delivery import Delivery, Line
from bootsteps_consumer_tasks.limits import Limits
from bootsteps_consumer_tasks.request import Watch
from bootsteps_tasks.message import TaskHeaders

__all__ = ["REMEMBERED", "ActiveRequest", "Ledger", "Request", "State"]

#: How many tasks to remember: those finished when their message could no longer be acknowledged, and those lost.
REMEMBERED = 10_000


class State(Enum):
    """Where a request stands."""

    HELD = "held"  # waits for its ETA
    LIMITED = "limited"  # waits for its type's rate limit
    RESERVED = "reserved"  # may run as soon as the pool takes it
    ACTIVE = "active"  # the pool has it
    SETTLED = "settled"

    __hash__ = object.__hash__  # enum's is Python, and this is the key of a count that changes with every step


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
    #: The pool does not run it but concludes it; then this is called with the delivery as it is at that time.
    then: Callable[[Delivery], object] | None = field(default=None, repr=False)
    #: Its task is registered here.
    known: bool = True
    #: The signal that ends it where it runs, once that was asked for.
    signum: int | None = None
    #: Of the few whose task has a class of requests of its own: looks on.
    watch: Watch | None = field(default=None, repr=False)
    #: Undoes what holds it (the ETA's timer entry).
    release: Callable[[], None] | None = field(default=None, repr=False)

    def job(self) -> Job:
        """Return it as the pool takes it."""
        return Job(self.seq, self.payload, self.headers.name, *self.limits)


@dataclass(slots=True, unsafe_hash=True)
class ActiveRequest(RunningRequest):
    """A task that is being executed, with what its message says: `request.argsrepr`, `request.eta`, ...

    Every attribute of `TaskHeaders` is one of it. What is in the body (arguments, signatures) only the child knows.
    """

    headers: TaskHeaders
    delivery_info: Mapping[str, Any]
    #: The broker has been told to forget the message.
    acknowledged: bool

    @property
    def worker_pid(self) -> int:
        """The process that runs it."""
        return self.pid

    def __getattr__(self, name: str) -> Any:
        return getattr(self.headers, name)


class Ledger:
    """Knows every request between its receipt and its settlement. Only the loop thread writes."""

    def __init__(self, running_jobs: Callable[[], Sequence[RunningJob]]) -> None:
        self._running_jobs = running_jobs
        self._numbers = itertools.count(1)
        self._requests: dict[int, Request] = {}
        self._waiting: OrderedDict[int, Request] = OrderedDict()
        self._by_id: dict[str, Request] = {}
        self._unacknowledged: OrderedDict[str, None] = OrderedDict()
        self._unstarted: OrderedDict[str, None] = OrderedDict()
        self._returned: OrderedDict[str, None] = OrderedDict()
        self._recalled: list[Request] = []
        self._counts = dict.fromkeys(State, 0)
        #: How many tasks were received, by name.
        self.total: Counter[str] = Counter()
        self._processed = 0
        #: How many requests ended, in whatever way.
        self.ended = 0
        #: How many went back to the broker for want of room, and have not come again.
        self.given_back = 0

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

    def limit(self, request: Request, release: Callable[[], None]) -> None:
        """Keep a request until `start` is called for it; `release()` undoes what will call it."""
        request.release = release
        self._enter(request, State.LIMITED)

    def start(self, request: Request) -> None:
        """Note that the pool gets a request now."""
        request.release = None
        self._processed += request.known
        self._enter(request, State.ACTIVE)

    def find(self, task_id: str) -> Request | None:
        """Return the latest request of a task."""
        return self._by_id.get(task_id)

    def everything(self) -> list[Request]:
        """All requests, oldest first."""
        return sorted(self._requests.values(), key=lambda request: request.seq)

    def recall(self, request: Request) -> None:
        """Have a request that the pool does not have settled unrun, at the next turn of the loop."""
        self._recalled.append(request)

    def recalled(self) -> list[Request]:
        """Return, once, what was recalled and is still not started."""
        if not self._recalled:
            return []
        found, self._recalled = self._recalled, []
        return [request for request in found if request.state not in (State.ACTIVE, State.SETTLED)]

    def _enter(self, request: Request, state: State) -> None:
        if request.seq in self._requests:
            self._counts[request.state] -= 1
        else:
            self._requests[request.seq] = self._by_id[request.headers.id] = request
            if self.given_back:
                self.given_back -= 1
            self.total[request.headers.name] += request.known
        request.state = state
        self._counts[state] += 1

    def waits(self) -> bool:
        """Tell whether there are requests that may go to the pool now, or when their rate limit lets them."""
        return bool(self._waiting) or self._counts[State.LIMITED] > 0

    def take(self, most: int) -> list[Request]:
        """Return the requests that go to the pool now, oldest first."""
        taken: list[Request] = []
        while self._waiting and len(taken) < most:
            _, request = self._waiting.popitem(last=False)
            self._enter(request, State.ACTIVE)
            taken.append(request)
        self._processed += len(taken)
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
            self.ended += 1
        return request

    def withdraw_waiting(self, most: int) -> list[Request]:
        """Take off the ledger, as if they had not come, the newest of those that wait for the pool; oldest first."""
        newest = list(itertools.islice(reversed(self._waiting), most))
        return self.withdraw([seq for seq in reversed(newest) if self._requests[seq].delivery.up])

    def can_withdraw(self, seq: int) -> bool:
        """Tell whether the message of a request that the pool gives back can be given back to the broker."""
        request = self._requests.get(seq)
        return request is not None and request.delivery.up and request.known and request.then is None

    def withdraw(self, seqs: Iterable[int]) -> list[Request]:
        """Take off the ledger, as if they had not come, requests that nobody has started."""
        found = []
        for seq in seqs:
            request = self._requests[seq]
            if request.state is State.ACTIVE:
                self._processed -= 1
            self.total[request.headers.name] -= request.known
            self.settle(seq)
            self.ended -= 1
            _note(self._returned, request.headers.id)
            found.append(request)
        self.given_back += len(found)
        return found

    def adopt(self, task_id: str, delivery: Delivery) -> bool:
        """Let a redelivered message settle the request that is already running for it; False if none is."""
        request = self._by_id.get(task_id)
        if request is None or request.delivery.settled:
            return False
        request.delivery = delivery
        return True

    def remember(self, task_id: str) -> None:
        """Note a finished task whose message could not be acknowledged and will come again."""
        _note(self._unacknowledged, task_id)

    def was_unstarted(self, task_id: str) -> bool:
        """Tell, once, whether a redelivered task was lost with its connection before it was started here."""
        return self._unstarted.pop(task_id, self) is None

    def excuse(self, task_id: str) -> None:
        """Let `was_unstarted` be true of a redelivered task."""
        _note(self._unstarted, task_id)

    def was_returned(self, task_id: str) -> bool:
        """Tell, once, whether a task was here before and went back to the broker for want of room."""
        return bool(self._returned) and self._returned.pop(task_id, self) is None

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
        lost = [r for r in self._requests.values() if r.state is not State.ACTIVE and r.delivery.on(line)]
        for request in self._take_off(lost):
            _note(self._unstarted, request.headers.id)

    def _take_off(self, requests: Iterable[Request]) -> list[Request]:
        taken = list(requests)
        for request in taken:
            if request.release is not None:
                request.release()
            self.settle(request.seq)
        return taken

    def processed(self) -> int:
        """How many tasks were handed to the pool since the worker's start."""
        return self._processed

    def active(self) -> int:
        """How many requests the pool has."""
        return self.count(State.ACTIVE)

    def held(self) -> int:
        """How many requests the pool has, or would get if it had room."""
        return self._counts[State.ACTIVE] + self._counts[State.RESERVED]

    def outstanding(self) -> int:
        """The same, and those that went back to the broker since there was no room: who sizes the pool asks this."""
        return self.held() + self.given_back

    def count(self, state: State) -> int:
        """How many requests are in this state."""
        return self._counts[state]

    def started(self) -> dict[str, int]:
        """How many tasks were started, by name."""
        running = {job.seq for job in self._running_jobs()}
        waiting = Counter(r.headers.name for r in self.everything() if r.known and r.seq not in running)
        return {name: started for name, number in self.total.items() if (started := number - waiting[name]) > 0}

    def running(self) -> Sequence[RunningRequest]:
        """The requests that are being executed, in the order in which they started."""
        now, clock = time.time(), time.monotonic()
        jobs = [job for job in self._running_jobs() if job.seq in self._requests]
        found: list[RunningRequest] = []
        for job in sorted(jobs, key=lambda job: job.started):
            request = self._requests[job.seq]
            since = now - (clock - job.started)
            told = request.headers, request.delivery.info, request.delivery.settled
            found.append(ActiveRequest(request.headers.id, request.headers.name, job.started, since, job.pid, *told))
        return found

    def __len__(self) -> int:
        return len(self._requests)


def _note(remembered: OrderedDict[str, None], task_id: str) -> None:
    remembered[task_id] = None
    while len(remembered) > REMEMBERED:
        remembered.popitem(last=False)
