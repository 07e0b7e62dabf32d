"""Services: what a step lends to those that start after it.

A service is known by its key. The protocols here are those that plugins of different authors must agree on; they
mention nothing but the standard library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from bootsteps.settings import Setting

if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    "HUB",
    "POOL",
    "REQUESTS",
    "RUNNER",
    "TIMER",
    "WORKER_CONCURRENCY",
    "WORKER_MAX_MEMORY_PER_CHILD",
    "WORKER_MAX_TASKS_PER_CHILD",
    "WORKER_POOL",
    "AsyncRunner",
    "Hub",
    "InterruptibleRunner",
    "Job",
    "Outcome",
    "Pool",
    "RequestLog",
    "Runner",
    "RunningJob",
    "RunningRequest",
    "ServiceKey",
    "Timer",
    "TimerEntry",
    "WatchfulPool",
]

T = TypeVar("T")


class ServiceKey(Generic[T]):
    """The name and the type of a service. Keys of one name are equal.

    Several installed steps may offer one service if its key has a setting that chooses (`chosen_by`): its value is
    compared with each step's `choice`. When unset, `default` wins if installed, else the only one installed. Every
    step that lends such a service declares that setting without a word.
    """

    __slots__ = ("chosen_by", "default", "name")

    def __init__(self, name: str, *, chosen_by: Setting[Any] | None = None, default: str | None = None) -> None:
        self.name = name
        self.chosen_by = chosen_by
        self.default = default

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ServiceKey) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"ServiceKey({self.name!r})"


class TimerEntry(Protocol):
    """A call that was scheduled."""

    def cancel(self) -> None:
        """Never call it (again)."""


class Timer(Protocol):
    """Schedules calls in the loop thread. Lower `priority` numbers run first among calls due at one moment."""

    def call_after(
        self,
        secs: float,
        fun: Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        priority: int = 0,
    ) -> TimerEntry:
        """Call once, `secs` seconds from now."""

    def call_repeatedly(
        self,
        secs: float,
        fun: Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        priority: int = 0,
    ) -> TimerEntry:
        """Call every `secs` seconds, first after `secs`, until cancelled."""

    def call_at(
        self,
        eta: float | datetime,
        fun: Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        priority: int = 0,
    ) -> TimerEntry:
        """Call once at `eta`: monotonic seconds, or a datetime (naive means UTC)."""


class Hub(Protocol):
    """The event loop. One thread turns it; everything but `call_soon` belongs to that thread."""

    #: Called with nothing at the end of each turn.
    on_tick: set[Callable[[], Any]]

    def add(self, fd: Any, callback: Callable[..., Any], flags: int, args: Sequence[Any] = ()) -> None:
        """Call back when `fd` is ready for `flags` (kombu's READ 1, WRITE 4, ERR 24)."""

    def add_reader(self, fds: Any, callback: Callable[..., Any], *args: Any) -> None:
        """Call back whenever the descriptor is readable. Adding again replaces."""

    def add_writer(self, fds: Any, callback: Callable[..., Any], *args: Any) -> None:
        """Call back whenever the descriptor is writable. Adding again replaces."""

    def remove(self, fd: Any) -> None:
        """Forget the descriptor."""

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> Any:
        """Call in the loop thread at its next turn. Safe from any thread; wakes a sleeping loop."""

    def run_once(self) -> None:
        """Turn the loop once: due timers, then what is readable or writable."""


@dataclass(slots=True, unsafe_hash=True)  # not frozen: that takes three times as long to make
class Job:
    """One unit of work for the pool. The pool never looks into `payload`."""

    #: Given by who submits; unique in the life of the worker.
    seq: int
    #: Handed to the runner as it is.
    payload: bytes
    #: Run times are averaged by this (the task's name).
    kind: str = ""
    #: Seconds until the run is ended by force; None = no limit.
    time_limit_s: float | None = None
    #: Seconds until the run gets an exception that it can catch; None = no limit.
    soft_time_limit_s: float | None = None


@dataclass(slots=True, unsafe_hash=True)  # not frozen: that takes three times as long to make
class Outcome:
    """What became of one job."""

    seq: int
    #: What the runner returned; empty when the job was lost.
    payload: bytes = b""
    #: Why there is no payload (`child 4711 was killed by signal 9`); None when the runner returned.
    lost: str | None = None
    runtime_s: float = 0.0
    #: The process that ran it; 0 when it never started.
    pid: int = 0
    #: The hard limit in seconds at which the pool ended it (`lost` is set too); None when it was none.
    timed_out: float | None = None


class RunningJob(NamedTuple):
    """A job that a pool child is executing now."""

    seq: int
    pid: int
    #: Monotonic seconds.
    started: float


class Runner(Protocol):
    """What a pool child does with a job. Made in the child by the factory that `RUNNER` lends."""

    def start(self) -> None:
        """Get ready, once per child and after a fork."""

    def run(self, payload: bytes) -> bytes:
        """Execute one job and return what the parent needs to settle it. Does not raise for a failing task."""

    def flush(self) -> None:
        """Make all that was run since the last flush durable. Called before its outcomes are reported."""

    def stop(self) -> None:
        """Release what `start` took."""


class InterruptibleRunner(Runner, Protocol):
    """A runner that says how its jobs learn of their soft limit. In any other one a pool raises TimeoutError."""

    def interrupt(self, limit_s: float) -> None:
        """Raise what the job may catch; return if the job is not running (any more).

        Called once, at the job's soft limit, in the midst of `run` and in its thread.
        """


class AsyncRunner(Protocol):
    """A runner of which many jobs may run at one time, in one event loop of a pool child."""

    def start(self) -> None:
        """Get ready, once per child; the loop is not running yet."""

    async def run_async(self, payload: bytes) -> bytes:
        """Execute one job, as `Runner.run` does. Cancelling it interrupts the job; nothing is kept of it then."""

    def overdue(self, payload: bytes, limit_s: float) -> BaseException:
        """Return what this job, which waits at an `await`, may catch there at its soft limit."""

    def flush(self) -> None:
        """See `Runner.flush`. Called in another thread than the loop's, where jobs go on; one call at a time."""

    def stop(self) -> None:
        """Release what `start` took."""


class Pool(Protocol):
    """Runs jobs. Loop thread only."""

    #: What it can do, e.g. `terminate`, `grow`, `hard_limit`, `soft_limit`.
    capabilities: frozenset[str]

    @property
    def concurrency(self) -> int:
        """How many jobs run at one time."""

    def connect(self, on_outcomes: Callable[[Sequence[Outcome]], None]) -> None:
        """Hand every batch of outcomes to this function, in the loop thread. Connecting again replaces it."""

    def free(self) -> int:
        """How many jobs it would take now without putting one behind a long one."""

    def submit(self, jobs: Sequence[Job]) -> None:
        """Take a batch, `free()` long at most to be fair. A job whose child dies before its start moves to another."""

    def running(self) -> Sequence[RunningJob]:
        """A snapshot of what is being executed."""

    def terminate_job(self, seq: int, signum: int) -> bool:
        """End a running job by signal; False when it does not run here or the pool cannot."""

    def grow(self, n: int = 1) -> None:
        """Add `n` to the concurrency; before the pool has started, it will start with so many more.

        Raises `LackingCapability` without the capability `grow`.
        """

    def shrink(self, n: int = 1) -> None:
        """Take `n` away, idle ones first; busy ones finish their job.

        Raises `LackingCapability` without the capability `shrink`.
        """

    def restart(self) -> None:
        """Replace every child, after the job that it runs. Nothing without the capability `restart`."""

    def info(self) -> Mapping[str, Any]:
        """Facts for `inspect stats`, as JSON can hold them."""


class WatchfulPool(Pool, Protocol):
    """A pool that knows when it makes no progress."""

    def complaints(self) -> Sequence[str]:
        """Say what is wrong now: no child is ready, a job runs beyond its hard limit. What stays so is no progress."""


@dataclass(slots=True, unsafe_hash=True)  # not frozen: that takes three times as long to make
class RunningRequest:
    """A task that is being executed."""

    id: str
    name: str
    #: Monotonic seconds.
    started: float
    #: Unix time in seconds, as Celery's `time_start`.
    time_start: float
    pid: int


class RequestLog(Protocol):
    """A snapshot of the one ledger of requests."""

    def running(self) -> Sequence[RunningRequest]:
        """The requests that are being executed, in the order in which they started."""

    def outstanding(self) -> int:
        """How many requests run or could run now: all but those that wait for their ETA or their rate limit."""

    def processed(self) -> int:
        """How many tasks were handed to the pool since the worker's start."""


TIMER = ServiceKey[Timer]("timer")
HUB = ServiceKey[Hub]("hub")
WORKER_POOL = Setting[str | None]("worker_pool", str, None, flags=("-P", "--pool"), help="which pool runs the tasks")


def _tasks_at_one_time(value: Any) -> int | None:
    """Return the number; 0 and `auto` leave it to the pool, as Celery's."""
    if isinstance(value, bool):
        raise ValueError("a number is wanted, or auto")
    try:
        return int(value) or None
    except ValueError:
        if str(value).strip().lower() == "auto":
            return None
        raise ValueError("a number is wanted, or auto") from None


#: Read by every pool, so it stands here.
WORKER_CONCURRENCY = Setting[int | None](
    "worker_concurrency",
    _tasks_at_one_time,
    None,
    flags=("-c", "--concurrency"),
    help="how many tasks run at one time; 0, auto, and the default: cores",
)
#: These too: a pool that cannot do it demands that somebody can, and so is refused.
WORKER_MAX_TASKS_PER_CHILD = Setting[int | None](
    "worker_max_tasks_per_child",
    int,
    None,
    flags=("--max-tasks-per-child",),
    help="replace a pool child after so many tasks",
)
WORKER_MAX_MEMORY_PER_CHILD = Setting[int | None](
    "worker_max_memory_per_child",
    int,
    None,
    unit="KiB",
    flags=("--max-memory-per-child",),
    help="replace a pool child that uses more than so many KiB of memory, after its task",
)
POOL = ServiceKey[Pool]("pool", chosen_by=WORKER_POOL, default="prefork")
#: Makes the runner of a pool child; must be picklable for children that are not forked.
RUNNER = ServiceKey[Callable[[], Runner]]("runner")
REQUESTS = ServiceKey[RequestLog]("requests")
