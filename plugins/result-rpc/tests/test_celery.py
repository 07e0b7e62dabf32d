"""A real Celery client gets our answers, and ours get Celery's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bootsteps_tasks import App
from bootsteps_tasks.backend import meta

celery = pytest.importorskip("celery", reason="pip install 'celery>=5.7,<5.8'")
if not celery.__version__.startswith("5.7"):
    pytest.skip(f"Celery {celery.__version__}; pip install 'celery>=5.7,<5.8'", allow_module_level=True)

Make = Callable[..., App]


class Request:
    """What Celery's backend reads of a request."""

    def __init__(self, reply_to: str, task_id: str) -> None:
        self.reply_to, self.correlation_id, self.id = reply_to, task_id, task_id
        self.children: list[Any] = []

    def __getattr__(self, name: str) -> None:
        return None


def test_a_celery_client_gets_our_answers(made: Make, url: str) -> None:
    client = celery.Celery("client", broker=url, backend="rpc://")
    queue = f"asks-{id(client)}"
    results = [client.send_task("add", (number,), queue=queue) for number in range(3)]
    worker = made()
    with worker.connection() as connection:
        answers = []
        for number in range(3):
            message = connection.default_channel.basic_get(queue, no_ack=True)
            where = {key: message.properties[key] for key in ("reply_to", "correlation_id")}
            answers.append(meta(message.headers["id"], "SUCCESS", number, **where))
        connection.default_channel.queue_delete(queue)
    worker.backend.store(answers)
    assert [result.get(timeout=20) for result in results] == [0, 1, 2]
    client.close()


def test_we_get_celerys_answers(made: Make, url: str) -> None:
    asker = made()
    worker = celery.Celery("worker", broker=url, backend="rpc://")
    reply_to = asker.backend.reply_to  # type: ignore[attr-defined]
    worker.backend.store_result("a", {"n": 1}, "SUCCESS", request=Request(reply_to, "a"))
    worker.backend.store_result("b", ValueError("bad", 42), "FAILURE", request=Request(reply_to, "b"))
    assert asker.AsyncResult("a").get(timeout=20) == {"n": 1}
    with pytest.raises(ValueError, match="bad"):
        asker.AsyncResult("b").get(timeout=20)
    worker.close()
