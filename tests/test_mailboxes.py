"""What the settings of a worker's mailbox do in the broker."""

from __future__ import annotations

import os
import re
import time

import pytest

from services import ServerMissing, rabbitmqctl
from workers import TASKS, running_worker, until

pytest.importorskip("bootsteps_consumer_control")


@pytest.fixture
def name() -> str:
    return f"mailboxes-{os.getpid()}-{time.monotonic_ns()}"


def app_of(name: str, **settings: float) -> str:
    more = "".join(f", {setting}={value}" for setting, value in settings.items())
    return TASKS.replace('App("proj")', f'App("proj", control_exchange={name!r}, task_default_queue={name!r}{more})')


def arguments_of(url: str, queue: str) -> dict[str, int]:
    """What RabbitMQ was told of a queue."""
    try:
        table = rabbitmqctl(url, "list_queues", "name", "arguments")
    except ServerMissing as exc:
        pytest.skip(str(exc))
    [line] = [line for line in table.splitlines() if line.startswith(queue)]
    return {name: int(number) for name, number in re.findall(r'"([\w-]+)",\s*(?:\w+,\s*)?(\d+)', line)}


@pytest.mark.parametrize(
    "limits", [{}, {"control_queue_ttl": 7.5, "control_queue_expires": 60.0}], ids=["usual", "own"]
)
def test_rabbitmq_is_told_how_long_commands_and_mailboxes_live(tmp_path, amqp_url, name, limits):
    with running_worker(tmp_path, "-n", "w@h", "-P", "solo", app=app_of(name, **limits), broker=amqp_url) as worker:
        worker.until_logged("the mailbox is open")
        told = arguments_of(amqp_url, f"w@h.{name}.pidbox")
        wanted = (limits.get("control_queue_ttl", 300.0), limits.get("control_queue_expires", 10.0))
        assert (told["x-message-ttl"], told["x-expires"]) == tuple(1000 * seconds for seconds in wanted)
        assert worker.stop() == 0


#: When kombu forgets what binds to an exchange: its name with a time in milliseconds.
DEADLINES = "_kombu.binding_deadlines"


def test_redis_is_told_when_the_mailbox_of_a_worker_may_be_forgotten(tmp_path, redis_url, name):
    redis = pytest.importorskip("redis")
    server = redis.Redis.from_url(redis_url)
    seconds = []
    for expires in (10.0, 7200.0):
        app = app_of(name, control_queue_expires=expires)
        with running_worker(tmp_path, "-P", "solo", app=app, broker=redis_url) as worker:
            worker.until_logged("the mailbox is open")
            until(lambda: server.zscore(DEADLINES, f"{name}.pidbox"), "the deadline")
            seconds.append(server.zscore(DEADLINES, f"{name}.pidbox") / 1000 - server.time()[0])
            assert worker.stop() == 0
    # kombu keeps it for twice that time, an hour at least.
    assert [round(left / 60) for left in seconds] == [60, 240]
