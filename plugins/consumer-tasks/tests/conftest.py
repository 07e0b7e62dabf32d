"""Messages as a transport hands them over, with a memory of how they were settled."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest

from bootsteps import Hooks, Outcome
from bootsteps.testing import FakePool, FakeTimer
from bootsteps_consumer_tasks.guard import Guard
from bootsteps_consumer_tasks.handover import HandOver
from bootsteps_consumer_tasks.ledger import Ledger
from bootsteps_consumer_tasks.limits import NO_LIMITS, Limits
from bootsteps_consumer_tasks.outcome import Report
from bootsteps_consumer_tasks.poster import Poster
from bootsteps_consumer_tasks.prefetch import Prefetch
from bootsteps_consumer_tasks.rates import Buckets
from bootsteps_consumer_tasks.revoked import Revoked
from bootsteps_consumer_tasks.settlement import Settlement
from bootsteps_consumer_tasks.starts import Starts
from bootsteps_consumer_tasks.strategy import Intake
from bootsteps_consumer_tasks.taskcontrol import TaskControl
from bootsteps_tasks import App
from bootsteps_tasks.encoding import encode_task

SUCCESS = Report("SUCCESS", "3").pack()


class FakeMessage:
    """The part of a kombu message that the worker uses."""

    def __init__(self, body: Any, content_type: str, content_encoding: str, headers: Any, **info: Any) -> None:
        self.body = body
        self.content_type = content_type
        self.content_encoding = content_encoding
        self.headers = headers
        self.properties: dict[str, Any] = {"correlation_id": "c", "reply_to": ""}
        self.delivery_info = {"exchange": "", "routing_key": "celery", **info}
        self.delivery_tag = "tag"
        self.channel = None
        self.errors: list[Any] = []
        self.settled: list[str] = []

    def ack(self) -> None:
        self.settled.append("ack")

    def reject(self) -> None:
        self.settled.append("reject")

    def requeue(self) -> None:
        self.settled.append("requeue")


class UndecodedMessage(FakeMessage):
    """The same as a transport hands it over that decodes nothing."""

    def __init__(self, message: FakeMessage) -> None:
        super().__init__(message.body, message.content_type, message.content_encoding, message.headers)
        self.properties = {**message.properties, "delivery_mode": 2}
        text = b64encode(message.body).decode()
        self.undecoded = text, json.dumps(message.headers), json.dumps(self.properties)


class MemoryPoster(Poster):
    """Remembers what is published again, and where."""

    def __init__(self) -> None:
        super().__init__(lambda: None)
        self.posted: list[tuple[str, dict[str, Any]]] = []
        self.parked: list[tuple[str, dict[str, Any]]] = []
        self.refused = False
        self.refuses: dict[int, str] = {}

    def repost(self, message: Any, queue: str, note: Any) -> None:
        if self.refused:
            raise PermissionError("ACCESS_REFUSED")
        self.posted.append((queue, dict(note)))

    def repost_many(self, copies: Any) -> Any:
        for place, copy in enumerate(copies):
            if place not in self.refuses:
                self.repost(*copy)
        return self.refuses

    def park(self, message: Any, queue: str, note: Any) -> None:
        if self.refused:
            raise PermissionError("ACCESS_REFUSED")
        self.parked.append((queue, dict(note)))

    def close(self) -> None:
        pass


class MemoryBackend:
    """Keeps what is stored."""

    def __init__(self) -> None:
        self.stored: list[dict[str, Any]] = []
        self.batches: list[int] = []
        self.fails = False

    def store(self, metas: Any) -> None:
        if self.fails:
            raise OSError("no space left")
        self.batches.append(len(metas))
        self.stored += metas

    def close(self) -> None:
        pass


class MemoryApp(App):
    """An application whose results stay here."""

    def __init__(self, main: str, **settings: Any) -> None:
        super().__init__(main, **settings)
        self.results = MemoryBackend()

    @property
    def backend(self) -> Any:
        return self.results


@pytest.fixture
def app() -> MemoryApp:
    app = MemoryApp("proj")

    @app.task(name="add")
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(name="early", acks_late=False)
    def early() -> None: ...

    return app


class Bench:
    """Everything between the transport and the pool."""

    def __init__(self, app: Any, limits: Limits = NO_LIMITS, concurrency: int = 1) -> None:
        self.own = limits
        self.able = frozenset({"hard_limit", "soft_limit"})
        self.app = app
        self.pool = FakePool(concurrency=concurrency)
        self.timer = FakeTimer()
        self.hooks = Hooks()
        self.ledger = Ledger(self.pool.running)
        self.poster = MemoryPoster()
        self.guard = Guard(self.poster, self.ledger, self.hooks, "w@h", lost_limit=2, redelivered_limit=3)
        self.revoked = Revoked()
        self.buckets = Buckets(app.tasks)
        self.starts = Starts(self.hooks, self.pool.running, self.timer)
        self.settlement = Settlement(app, self.ledger, self.hooks, self.guard, self.pool.submit, "w@h", self.starts)
        self.control = TaskControl(app, self.ledger, self.revoked, self.buckets, self.pool, self.timer)
        self.pool.connect(self.settlement.on_outcomes)
        self.limits: list[int] = []
        self.qos = Prefetch(lambda prefetch_count: self.limits.append(prefetch_count), 4)
        self.connect()

    def connect(self) -> None:
        self.intake = Intake(
            self.app, "w@h", self.ledger, self.settlement, self.timer, self.hooks, self.guard, self.revoked,
            self.buckets, self.own, unknown_delays=(1.0, 2.0), capabilities=self.able,
        )  # fmt: skip
        self.hand_over = HandOver(
            self.ledger, self.pool, self.qos, self.settlement, self.revoked, self.buckets, self.timer,
            self.intake.flush,
        )  # fmt: skip

    def take(self, *messages: Any) -> None:
        for message in messages:
            self.intake.on_message(message)
        self.hand_over()

    def finish(self, index: int = 0, **outcome: Any) -> None:
        self.pool.finish(Outcome(self.pool.jobs[index].seq, **({"payload": SUCCESS} | outcome)))


@pytest.fixture
def bench(app: Any) -> Bench:
    return Bench(app)


@pytest.fixture
def make_bench(app: Any) -> Callable[..., Bench]:
    """Return a function that makes a bench for the application as it is then."""

    def make(**options: Any) -> Bench:
        return Bench(app, **options)

    return make


@pytest.fixture
def undecoded() -> Callable[[FakeMessage], UndecodedMessage]:
    """Return what makes a message one that its transport did not decode."""
    return UndecodedMessage


@pytest.fixture
def message() -> Callable[..., FakeMessage]:
    """Return a function that makes a message: id, task, args; options of `encode_task`; delivery info as `info`."""

    def make(
        task_id: str = "id-1", name: str = "add", args: Any = (1, 2), info: Any = None, **options: Any
    ) -> FakeMessage:
        made = encode_task(task_id, name, args, **options)
        return FakeMessage(made.body, made.content_type, made.content_encoding, made.headers, **(info or {}))

    return make
