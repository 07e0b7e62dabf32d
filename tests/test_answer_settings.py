"""Settings of queues that are no task's: answers of `rpc://`."""

from __future__ import annotations

from uuid import uuid4

import pytest
from kombu import Queue

from bootsteps_tasks import App
from bootsteps_tasks.backend import meta
from workers import until


@pytest.mark.parametrize(("persistent", "mode"), [(False, 1), (True, 2)])
def test_answers_are_persistent_if_that_is_wanted(amqp_url, persistent, mode):
    worker = App("worker", broker=amqp_url, backend="rpc://", result_persistent=persistent)
    name = f"answers-{uuid4()}"
    with worker.connection() as connection:
        queue = Queue(name, durable=True)(connection.channel())
        queue.declare()
        worker.backend.store([meta("a", "SUCCESS", 1, reply_to=name, correlation_id="a")])
        until(lambda: queue.queue_declare(passive=True).message_count, "the answer")
        message = queue.get(no_ack=True)
        queue.delete()
    assert message.properties["delivery_mode"] == mode
    worker.close()
