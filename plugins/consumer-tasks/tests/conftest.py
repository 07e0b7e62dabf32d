"""Messages as a transport hands them over, with a memory of how they were settled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bootsteps_tasks import App
from bootsteps_tasks.message import encode_task


class FakeMessage:
    """The part of a kombu message that the worker uses."""

    def __init__(self, body: Any, content_type: str, content_encoding: str, headers: Any, **info: Any) -> None:
        self.body = body
        self.content_type = content_type
        self.content_encoding = content_encoding
        self.headers = headers
        self.properties = {"correlation_id": "c", "reply_to": ""}
        self.delivery_info = {"exchange": "", "routing_key": "celery", **info}
        self.delivery_tag = "tag"
        self.channel = None
        self.settled: list[str] = []

    def ack(self) -> None:
        self.settled.append("ack")

    def reject(self) -> None:
        self.settled.append("reject")

    def requeue(self) -> None:
        self.settled.append("requeue")


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


@pytest.fixture
def message() -> Callable[..., FakeMessage]:
    """Return a function that makes a message: id, task, args; options of `encode_task`; delivery info as `info`."""

    def make(
        task_id: str = "id-1", name: str = "add", args: Any = (1, 2), info: Any = None, **options: Any
    ) -> FakeMessage:
        made = encode_task(task_id, name, args, **options)
        return FakeMessage(made.body, made.content_type, made.content_encoding, made.headers, **(info or {}))

    return make
