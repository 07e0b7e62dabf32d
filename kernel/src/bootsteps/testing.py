"""For authors of plugins: fakes of the standard services, a step's lifetime without a worker, and the step's contract.

    with lifetime(StuckWatch, {TIMER: FakeTimer()}, stuck_after=10.0) as worker:
        assert worker.get(WATCH).overdue() == []

Time is the fakes' own: `FakeTimer.advance(30.0)` makes 30 seconds pass at once.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bootsteps.app import App
from bootsteps.blueprint import Blueprint
from bootsteps.discovery import Catalogue
from bootsteps.errors import BootError
from bootsteps.hooks import hookimpl
from bootsteps.resolve import compose
from bootsteps.services import (
    HUB,
    POOL,
    REQUESTS,
    TIMER,
    Job,
    Outcome,
    RunningJob,
    RunningRequest,
    ServiceKey,
)
from bootsteps.step import Step
from bootsteps.view import Parent, View

__all__ = ["FakeHub", "FakePool", "FakeRequests", "FakeTimer", "check_step", "lifetime", "make_blueprint"]


@dataclass
class FakeEntry:
    """A scheduled call."""

    call: Callable[[], Any]
    every: float | None = None
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeTimer:
    """A timer whose clock stands still until `advance`."""

    def __init__(self) -> None:
        #: Monotonic seconds.
        self.now = 0.0
        self._numbers = itertools.count()
        self._queue: list[tuple[float, int, int, FakeEntry]] = []

    @property
    def pending(self) -> int:
        """How many calls are scheduled and not cancelled."""
        return sum(not entry.cancelled for *_, entry in self._queue)

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass and call what becomes due, in order."""
        end = self.now + seconds
        while self._queue and self._queue[0][0] <= end:
            self.now, priority, _, entry = heapq.heappop(self._queue)
            if not entry.cancelled:
                if entry.every is not None:
                    self._push(self.now + entry.every, priority, entry)
                entry.call()
        self.now = end

    def call_after(
        self, secs: float, fun: Callable[..., Any], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None,
        priority: int = 0,
    ) -> FakeEntry:  # fmt: skip
        return self._push(self.now + secs, priority, FakeEntry(lambda: fun(*args, **(kwargs or {}))))

    def call_repeatedly(
        self, secs: float, fun: Callable[..., Any], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None,
        priority: int = 0,
    ) -> FakeEntry:  # fmt: skip
        return self._push(self.now + secs, priority, FakeEntry(lambda: fun(*args, **(kwargs or {})), secs))

    def call_at(
        self, eta: float | datetime, fun: Callable[..., Any], args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None, priority: int = 0,
    ) -> FakeEntry:  # fmt: skip
        if isinstance(eta, datetime):
            aware = eta if eta.tzinfo else eta.replace(tzinfo=UTC)
            eta = self.now + (aware - datetime.now(UTC)).total_seconds()
        return self._push(eta, priority, FakeEntry(lambda: fun(*args, **(kwargs or {}))))

    def _push(self, when: float, priority: int, entry: FakeEntry) -> FakeEntry:
        heapq.heappush(self._queue, (when, priority, next(self._numbers), entry))
        return entry


class FakeHub:
    """A loop that is turned by hand. `ready(fd)` calls what was registered for a descriptor."""

    def __init__(self) -> None:
        self.on_tick: set[Callable[[], Any]] = set()
        self.callbacks: dict[Any, Callable[[], Any]] = {}
        self._soon: list[Callable[[], Any]] = []

    def add(self, fd: Any, callback: Callable[..., Any], flags: int, args: Sequence[Any] = ()) -> None:
        self.callbacks[fd] = lambda: callback(*args)

    def add_reader(self, fds: Any, callback: Callable[..., Any], *args: Any) -> None:
        self.add(fds, callback, 1, args)

    def add_writer(self, fds: Any, callback: Callable[..., Any], *args: Any) -> None:
        self.add(fds, callback, 4, args)

    def remove(self, fd: Any) -> None:
        self.callbacks.pop(fd, None)

    def ready(self, fd: Any) -> None:
        """Call what waits for this descriptor."""
        self.callbacks[fd]()

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> None:
        self._soon.append(lambda: callback(*args))

    def run_once(self) -> None:
        soon, self._soon = self._soon, []
        for call in (*soon, *self.on_tick):
            call()


@dataclass
class FakePool:
    """A pool that keeps its jobs until the test finishes them."""

    concurrency: int = 1
    capabilities: frozenset[str] = frozenset()
    jobs: list[Job] = field(default_factory=list)
    #: How often it was asked to replace its children.
    restarts: int = 0

    def connect(self, on_outcomes: Callable[[Sequence[Outcome]], None]) -> None:
        self._report = on_outcomes

    def free(self) -> int:
        return max(0, self.concurrency - len(self.jobs))

    def submit(self, jobs: Sequence[Job]) -> None:
        self.jobs.extend(jobs)

    def finish(self, *outcomes: Outcome) -> None:
        """Report outcomes as a child would."""
        done = {outcome.seq for outcome in outcomes}
        self.jobs = [job for job in self.jobs if job.seq not in done]
        self._report(outcomes)

    def running(self) -> Sequence[RunningJob]:
        return [RunningJob(job.seq, 1, 0.0) for job in self.jobs[: self.concurrency]]

    def terminate_job(self, seq: int, signum: int) -> bool:
        return False

    def grow(self, n: int = 1) -> None:
        self.concurrency += n

    def shrink(self, n: int = 1) -> None:
        self.concurrency -= n

    def restart(self) -> None:
        self.restarts += 1

    def info(self) -> Mapping[str, Any]:
        return {"max-concurrency": self.concurrency}


class FakeRequests:
    """A ledger that says what the test wants: `running` holds (name, seconds since the start)."""

    def __init__(self, running: Sequence[tuple[str, float]] = ()) -> None:
        self._running = running

    def running(self) -> Sequence[RunningRequest]:
        now, unix = time.monotonic(), time.time()
        return [RunningRequest(f"id-{name}", name, now - age, unix - age, 1) for name, age in self._running]

    def outstanding(self) -> int:
        return len(self._running)

    def processed(self) -> int:
        return len(self._running)


@contextmanager
def lifetime(
    cls: type[Step],
    services: Mapping[ServiceKey[Any], Any] | None = None,
    /,
    *,
    app: Callable[..., App] = App,
    **settings: Any,
) -> Iterator[View]:
    """Make, start and at the end stop one step among these services; yields the step's view of its parent.

    `settings` are the application's, of this class. The view has the step itself as `worker.blueprint[name]`.
    """
    blueprint = make_blueprint([cls], services, app(**settings))
    blueprint.apply()
    blueprint.start()
    try:
        yield _view(blueprint, cls)
    finally:
        blueprint.stop()


def make_blueprint(
    steps: Sequence[type[Step]], services: Mapping[ServiceKey[Any], Any] | None = None, app: App | None = None,
    parent: Parent | None = None,
) -> Blueprint:  # fmt: skip
    """Return a blueprint of just these step classes and steps that lend `services`; nothing installed joins it."""
    app = app or (parent.app if parent else App())
    app.steps["test"].update(steps)
    app.steps["test"].update(_lender(key, value) for key, value in (services or {}).items())
    plan = compose(app, Catalogue(()), "test")
    return Blueprint(plan, parent or Parent(app, hostname="test@localhost"))


def _lender(key: ServiceKey[Any], value: Any) -> type[Step]:
    """Return a step that lends a fake, named as the guides name it: TIMER comes from `Timer`."""

    class Fake(Step):
        name = key.name.capitalize()
        provides = (key,)
        capabilities = getattr(value, "capabilities", frozenset())

        def start(self, parent: View) -> None:
            parent.lend(key, value)

        def create(self, parent: View) -> None:
            self.start(parent)

    return Fake


def _view(blueprint: Blueprint, cls: type[Step]) -> View:
    name = next(candidate.name for candidate in blueprint.plan.order if candidate.cls is cls)
    return blueprint.view(name)


FAKES: dict[ServiceKey[Any], Callable[[], Any]] = {
    TIMER: FakeTimer,
    HUB: FakeHub,
    POOL: FakePool,
    REQUESTS: FakeRequests,
}


def check_step(
    cls: type[Step],
    services: Mapping[ServiceKey[Any], Any] | None = None,
    /,
    *,
    app: Callable[..., App] = App,
    **settings: Any,
) -> None:
    """Check the contract of a step; AssertionError tells which part it breaks.

    It must start and stop repeatedly, close twice, terminate, release everything also after half a start, withdraw what
    it lent, leave nothing on timer and hub, and lend all that it declares. Standard services are faked unless given.
    `settings` are those of the application, which is of class `app`.
    """
    lent = {key: make() for key, make in FAKES.items() if key not in cls.provides} | dict(services or {})
    blueprint = make_blueprint([cls], lent, app(**settings))
    blueprint.apply()
    name = next(candidate.name for candidate in blueprint.plan.order if candidate.cls is cls)
    failures = _Failures()
    blueprint.parent.hooks.register(failures, "check_step")
    for _ in range(2):
        blueprint.start()
        missing = [key.name for key in cls.provides if not _is_lent(blueprint, key)]
        assert not missing, f"{name} declares that it provides {missing} and does not lend it"
        blueprint.close()
        blueprint.close()
        blueprint.stop()
        _check_nothing_left(blueprint, cls, lent)
    blueprint.start()
    blueprint.stop(terminate=True)
    _check_nothing_left(blueprint, cls, lent)
    assert not failures.seen, f"{name} failed to {', '.join(failures.seen)}"
    _check_half_a_start(cls, lent, app(**settings))


class _Failures:
    def __init__(self) -> None:
        self.seen: list[str] = []

    @hookimpl
    def step_failed(self, action: str, error: BaseException) -> None:
        self.seen.append(f"{action} ({error!r})")


def _is_lent(blueprint: Blueprint, key: ServiceKey[Any]) -> bool:
    try:
        blueprint.parent.get(key)
    except LookupError:
        return False
    return True


def _check_nothing_left(blueprint: Blueprint, cls: type[Step], lent: Mapping[ServiceKey[Any], Any]) -> None:
    kept = [key.name for key in cls.provides if _is_lent(blueprint, key)]
    assert not kept, f"{cls.__name__} still lends {kept} after its stop"
    timer, hub = lent.get(TIMER), lent.get(HUB)
    if isinstance(timer, FakeTimer):
        assert not timer.pending, f"{cls.__name__} left {timer.pending} calls on the timer"
    if isinstance(hub, FakeHub):
        assert not hub.callbacks, f"{cls.__name__} left descriptors on the hub: {sorted(map(str, hub.callbacks))}"
        assert not hub.on_tick, f"{cls.__name__} left {len(hub.on_tick)} callbacks in hub.on_tick"


def _check_half_a_start(cls: type[Step], lent: Mapping[ServiceKey[Any], Any], app: App) -> None:
    """Break every start after the step's own, so that the boot is undone."""

    class Breaks(Step):
        after = (cls,)
        last = True

        def start(self, parent: View) -> None:
            raise BootError([])

    blueprint = make_blueprint([cls, Breaks], lent, app)
    blueprint.apply()
    try:
        blueprint.start()
    except BootError:
        _check_nothing_left(blueprint, cls, lent)
    else:
        raise AssertionError("the boot should have been undone")
