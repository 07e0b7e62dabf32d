from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import pytest

from bootsteps.errors import SettingError, UnknownName
from bootsteps_tasks import App, Context, executing, parse_headers
from bootsteps_tasks.errors import MaxRetriesExceededError, Reject, Retry
from bootsteps_tasks.sender import MOST_ROUTES, Sender


@pytest.fixture(autouse=True)
def tasks(app: App) -> None:
    @app.task(name="proj.add")
    def add(x: int, y: int = 0) -> int:
        return x + y


def received(app: App, queue: str = "celery") -> list[Any]:
    """Take all messages out of a queue."""
    with app.connection() as connection:
        bound = app.queues([queue])[0].bind(connection.default_channel)
        bound.declare()
        return list(iter(lambda: bound.get(no_ack=True), None))


def test_delay_publishes_what_a_worker_can_read(app: App) -> None:
    result = app.tasks["proj.add"].delay(2, y=3)
    (message,) = received(app)
    assert message.payload[:2] == [[2], {"y": 3}]
    assert parse_headers(message.headers, message.properties).id == result.id
    assert message.properties["delivery_mode"] == 2
    assert message.delivery_info == {"exchange": "", "routing_key": "celery"}


def test_options_of_the_call_go_before_those_of_the_task(app: App) -> None:
    task = app.task(name="t", queue="slow", priority=3, time_limit=9, ignore_result=True)(lambda: None)
    task.delay()
    task.apply_async(priority=7, time_limit=None, headers={"my": "hdr"}, task_id="own")
    first, second = received(app, "slow")
    assert (first.properties["priority"], first.headers["timelimit"]) == (3, [9, None])
    assert first.headers["ignore_result"] is True
    assert (second.properties["priority"], second.headers["timelimit"]) == (7, [None, None])
    assert (second.headers["my"], second.headers["id"]) == ("hdr", "own")


def test_a_name_that_is_not_registered_leaves_results_to_the_worker(app: App) -> None:
    app.send_task("other.mul", [2], {"y": 3}, queue="q")
    (message,) = received(app, "q")
    assert (message.headers["task"], message.headers["ignore_result"]) == ("other.mul", None)


def test_the_settings_choose_priority_serializer_compression_and_zone(app: App) -> None:
    app.conf.update(task_default_priority=4, task_serializer="pickle", task_compression="gzip", timezone="Asia/Tokyo")
    app.send_task("n", countdown=5)
    (message,) = received(app)
    assert message.properties["priority"] == 4
    assert message.content_type == "application/x-python-serialize"
    assert message.headers["compression"] == "application/x-gzip"
    assert message.headers["eta"].endswith("+09:00")


def test_a_setting_that_is_changed_counts_for_the_next_message(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    app.send_task("n")
    app.conf.task_default_priority = 5
    app.send_task("n")
    app.conf.task_routes = {"n": {"priority": 6}}
    app.send_task("n")
    del app.conf["task_routes"]
    app.conf.override({"task_default_priority": 7})
    app.send_task("n")
    assert [message.properties["priority"] for message in received(app)] == [0, 5, 6, 7]
    monkeypatch.setenv("KERNEL_TASK_DEFAULT_QUEUE", "other")
    app.send_task("n")
    assert len(received(app, "other")) == 1
    monkeypatch.delenv("KERNEL_TASK_DEFAULT_QUEUE")
    app.send_task("n")
    assert len(received(app)) == 1
    app.conf.task_create_missing_queues = False
    with pytest.raises(UnknownName, match="no queue is called 'mine'"):
        app.send_task("n", queue="mine")
    app.conf.task_queues = ["mine"]
    app.send_task("n", queue="mine")
    assert len(received(app, "mine")) == 1


def test_settings_are_read_again_only_when_one_has_changed(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Sender] = []

    def make(app: App) -> Sender:
        made.append(Sender(app))
        return made[-1]

    monkeypatch.setattr("bootsteps_tasks.app.Sender", make)
    for _ in range(3):
        app.send_task("n")
        app.send_many([("n", (), {}, {})])
    assert len(made) == 1
    app.conf.task_default_priority = 5
    app.send_task("n")
    assert len(made) == 2


def test_a_wrong_setting_is_told_each_time_until_it_is_right(app: App) -> None:
    app.send_task("n")
    app.conf.timezone = "Mars/Olympus"
    for _ in range(2):
        with pytest.raises(SettingError, match="no time zone"):
            app.send_task("n")
    app.conf.timezone = "Asia/Tokyo"
    app.send_task("n")
    assert len(received(app)) == 2


def test_threads_publish_by_the_settings_that_were_set_before(app: App) -> None:
    """Each sets one and publishes; a message may know of a later change, and must know of its thread's own."""
    wrong: list[Any] = []
    lock = Lock()

    def work() -> None:
        for _ in range(50):
            with lock:
                last[0] += 1
                number = last[0]
                app.conf.task_default_queue = f"q{number}"
            sent = app._current_sender().make("n", (), {}, {})
            if int(sent.route.routing_key[1:]) < number:
                wrong.append((sent.route.routing_key, number))

    last = [0]
    threads = [Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_queue_object_is_looked_at_each_time_and_made_up_names_are_not_kept(app: App) -> None:
    from kombu import Exchange, Queue

    queue = Queue("q", Exchange("q"), routing_key="q")
    sender = Sender(app)
    assert sender.make("n", (), {}, {"queue": queue}).route[:2] == ("", "q")
    queue.exchange = Exchange("press", "topic")
    assert sender.make("n", (), {}, {"queue": queue}).route[:2] == ("press", "q")
    assert sender.make("n", (), {}, {"queue": "q"}).route[:2] == ("", "q")
    for number in range(3 * MOST_ROUTES):
        assert sender.make("n", (), {}, {"exchange": "x", "routing_key": f"k{number}"}).route[:2] == ("x", f"k{number}")
    assert len(sender._routes) <= MOST_ROUTES


CALLED: list[Any] = [
    lambda: None, lambda x: None, lambda x, y=1: None, lambda *args: None, lambda x, *args: None, lambda **kwargs: None,
    lambda x, /, y: None, lambda *, k: None, lambda x, *, k=1: None, lambda x=1, *args, k: None,
]  # fmt: skip


@pytest.mark.parametrize("function", CALLED)
@pytest.mark.parametrize("args", [(), (1,), (1, 2), (1, 2, 3)])
@pytest.mark.parametrize("kwargs", [{}, {"x": 1}, {"k": 1}])
def test_arguments_are_those_that_python_would_take(app: App, function: Any, args: Any, kwargs: Any) -> None:
    task = app.task(name="t")(function)
    try:
        function(*args, **kwargs)
    except TypeError:
        with pytest.raises(TypeError, match=r"^t\(\) "):
            task.check_arguments(args, kwargs)
    else:
        task.check_arguments(args, kwargs)


def test_wrong_arguments_are_refused_before_they_are_sent(app: App) -> None:
    with pytest.raises(TypeError, match=r"proj.add\(\) missing a required argument: 'x'"):
        app.tasks["proj.add"].delay()
    with pytest.raises(TypeError, match="no option 'countdwn'; did you mean 'countdown'"):
        app.send_task("proj.add", [1], countdwn=5)  # type: ignore[call-overload]
    with pytest.raises(SettingError, match="no time zone: 'Mars/Olympus'"):
        App("proj", broker="memory://", timezone="Mars/Olympus").send_task("n")
    assert received(app) == []
    app.task(name="loose", typing=False)(lambda x: None).apply_async(())
    assert len(received(app)) == 1


def test_an_expiry_in_the_past_is_sent_with_a_warning(app: App, caplog: pytest.LogCaptureFixture) -> None:
    app.send_task("n", expires=-1)
    assert "is already over when it is sent" in caplog.text
    assert received(app)[0].properties["expiration"] == "0"


def test_topic_exchanges_and_explicit_ones_are_respected(app: App) -> None:
    from kombu import Exchange, Queue

    app.conf.task_queues = [Queue("news", Exchange("press", "topic"), routing_key="news.#")]
    app.send_task("a", queue="news", routing_key="news.local")
    app.send_task("b", queue="news")
    app.send_task("c", exchange="press", routing_key="news.world")
    infos = {message.headers["task"]: message.delivery_info for message in received(app, "news")}
    assert infos["a"] == {"exchange": "press", "routing_key": "news.local"}
    assert infos["b"] == {"exchange": "press", "routing_key": "news.#"}
    assert infos["c"] == {"exchange": "press", "routing_key": "news.world"}


def test_many_are_published_in_order_with_their_options(app: App) -> None:
    add = app.tasks["proj.add"]
    calls: Iterator[tuple[Any, tuple[int], dict[str, Any], dict[str, Any]]]
    calls = ((add if n % 2 else "proj.add", (n,), {}, {"task_id": str(n)}) for n in range(1201))
    results = app.send_many(calls)
    messages = received(app)
    assert [result.id for result in results] == [message.headers["id"] for message in messages]
    assert [message.payload[0][0] for message in messages] == list(range(1201))


def test_many_that_are_no_calls_are_told_of(app: App) -> None:
    add: Any = app.tasks["proj.add"]
    wrong: Any
    for wrong in (add.s(1), ("proj.add", (1,)), add):
        with pytest.raises(TypeError, match=r"a call is \(task or its name, args, kwargs, options\)"):
            app.send_many([wrong])
    assert received(app) == []


FLAKY = """
from kombu.transport import memory
class Channel(memory.Channel):
    def basic_publish(self, *args, **kwargs):
        if Transport.fail:
            Transport.fail -= 1
            raise ConnectionResetError("gone")
        return super().basic_publish(*args, **kwargs)
    def queue_declare(self, *args, **kwargs):
        Transport.declared.append(kwargs.get("queue"))
        return super().queue_declare(*args, **kwargs)
class Transport(memory.Transport):
    Channel = Channel
    fail = 0
    declared = []
    recoverable_connection_errors = connection_errors = (ConnectionError,)
class Bulk(Channel):
    batches = []
    def publish_many(self, messages):
        if Transport.fail:
            Transport.fail -= 1
            raise ConnectionResetError("gone")
        found = list(messages)
        Bulk.batches.append(len(found))
        for message, exchange, routing_key in found:
            self.basic_publish(message, exchange, routing_key)
class BulkTransport(Transport):
    Channel = Bulk
"""


@pytest.fixture
def flaky(install: Any, app: App) -> Any:
    """The memory transport with a fault to inject (`fail` counts down) and a log of declarations."""
    import sys

    install("kernel.transports", "flaky = fake_flaky:Transport", FLAKY)
    app.conf.broker_url = "flaky://"
    app.connection()
    module = sys.modules.pop("fake_flaky")
    module.Transport.declared = []
    return module


def test_a_queue_is_declared_before_the_first_message_of_each_connection(app: App, flaky: Any) -> None:
    for _ in range(3):
        app.send_task("n")
    assert flaky.Transport.declared == ["celery"]
    flaky.Transport.fail = 1
    app.send_task("n")
    assert flaky.Transport.declared == ["celery", "celery"]


def test_publishing_is_tried_four_times(app: App, flaky: Any) -> None:
    from kombu.exceptions import OperationalError

    flaky.Transport.fail = 3
    app.send_task("n")
    assert len(received(app)) == 1
    flaky.Transport.fail = 4
    with pytest.raises(OperationalError, match="the broker cannot be reached: gone"):
        app.send_task("n")
    assert received(app) == []
    app.send_task("n")
    assert len(received(app)) == 1


def test_a_transport_with_a_bulk_way_gets_batches(app: App, install: Any) -> None:
    import sys

    install("kernel.transports", "bulk = fake_bulk:BulkTransport", FLAKY)
    app.conf.broker_url = "bulk://"
    app.connection()
    module = sys.modules.pop("fake_bulk")
    module.Transport.fail = 2
    app.send_many(("n", (n,), {}, {}) for n in range(4100))
    assert module.Bulk.batches == [2000, 2000, 100]
    assert len(received(app)) == 4100


def test_a_forked_child_publishes_over_a_connection_of_its_own(tmp_path: Path, app: App) -> None:
    pytest.importorskip("bootsteps_transport_sqlite", reason="pip install bootsteps-transport-sqlite")
    app.conf.broker_url = f"sqlite:///{tmp_path}/broker.db"
    app.send_task("parent")
    mine = app._publisher.get()
    child = os.fork()
    if child == 0:
        try:
            app.send_task("child")
            os._exit(0 if app._publisher.get() is not mine else 3)
        except BaseException:
            os._exit(4)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    app.send_task("parent")
    assert app._publisher.get() is mine
    assert [message.headers["task"] for message in received(app)] == ["parent", "child", "parent"]


def running(name: str = "proj.add", **values: Any) -> Context:
    return Context(id="t1", task=name, args=(1,), called_directly=False, **values)


def test_a_task_published_by_a_task_belongs_to_its_workflow(app: App) -> None:
    with executing(running(root_id="r")) as request:
        result = app.send_task("child")
        app.send_task("other", root_id="x", parent_id="y")
    app.send_task("outside")
    child, other, outside = (message.headers for message in received(app))
    assert (child["root_id"], child["parent_id"]) == ("r", "t1")
    assert (other["root_id"], other["parent_id"]) == ("x", "y")
    assert (outside["root_id"], outside["parent_id"]) == (outside["id"], None)
    assert request.children[0] == [[result.id, None], None]


def test_request_tells_of_the_message_inside_and_of_nothing_outside(app: App) -> None:
    add = app.tasks["proj.add"]
    headers = parse_headers({"task": "proj.add", "id": "t1", "timelimit": [5, 1]}, {"reply_to": "q"})
    info = {"exchange": "", "routing_key": "slow"}
    with executing(Context.of(headers, [1], {"y": 2}, info, "w1@host", {"my": "hdr"}, {"chain": []})):
        request = add.request
        assert (request.id, request.args, request.kwargs, request.hostname) == ("t1", [1], {"y": 2}, "w1@host")
        assert (request.delivery_info, request.timelimit, request.reply_to) == (info, (5, 1), "q")
        assert (request.headers, request.chain, request.called_directly) == ({"my": "hdr"}, [], False)
        assert app.task(name="helper")(lambda: None).request.called_directly
    assert add.request.called_directly
    assert add.request.id is None


def test_retry_publishes_the_message_again(app: App) -> None:
    add = app.tasks["proj.add"]
    expected: dict[str, Any] = {
        "delivery_info": {"exchange": "", "routing_key": "slow"},
        "root_id": "r",
        "group": "g",
        "group_index": 0,
    }
    with executing(running(retries=1, timelimit=(5, None), **expected)) as request:
        with pytest.raises(Retry, match=r"Retry in 7s: KeyError\('x'\)"):
            add.retry(exc=KeyError("x"), countdown=7)
        assert request.children == []
    (message,) = received(app, "slow")
    headers = message.headers
    assert (headers["id"], headers["parent_id"], headers["root_id"], headers["retries"]) == ("t1", "t1", "r", 2)
    assert (headers["group"], headers["group_index"], headers["timelimit"]) == ("g", 0, [5, None])
    assert message.payload[:2] == [[1], {}]
    assert headers["eta"] is not None


def test_retry_ends_with_the_cause_when_the_attempts_are_used_up(app: App) -> None:
    add = app.tasks["proj.add"]
    with executing(running(retries=3)):
        with pytest.raises(KeyError):
            add.retry(exc=KeyError("x"))
        with pytest.raises(MaxRetriesExceededError, match="was tried 4 times"):
            add.retry()
    with pytest.raises(RuntimeError, match="called as a function"):
        add.retry()
    assert received(app) == []


def test_retry_for_ever_when_max_retries_is_none_and_after_the_tasks_own_delay(app: App) -> None:
    plain, stubborn = app.tasks["proj.add"], app.task(name="own", max_retries=None, default_retry_delay=30.0)(id)
    assert (plain.max_retries, plain.default_retry_delay) == (3, 180.0)
    for task, name, wait in ((plain, "proj.add", 180), (stubborn, "own", 30)):
        with executing(running(name, retries=2 if task is plain else 5000)), pytest.raises(Retry, match=f"{wait}"):
            task.retry()
        (message,) = received(app)
        eta = datetime.fromisoformat(message.headers["eta"])
        assert wait - 20 < (eta - datetime.now(UTC)).total_seconds() <= wait


def test_retry_that_cannot_be_published_rejects_the_message(app: App, flaky: Any) -> None:
    flaky.Transport.fail = 4
    with executing(running()), pytest.raises(Reject) as caught:
        app.tasks["proj.add"].retry()
    assert caught.value.requeue is False


def test_the_old_hook_of_a_sent_task_tells_its_arguments(app: App) -> None:
    told: list[dict[str, Any]] = []
    app.hooks.connect("task_sent")(lambda **facts: told.append(facts))
    app.send_task("proj.add", (1,), {"y": 3}, task_id="one")
    app.send_many([("proj.add", (4, 5), {}, {"task_id": "two", "countdown": 60})])
    assert told[0] == {"name": "proj.add", "id": "one", "args": "(1,)", "kwargs": "{'y': 3}", "eta": None}
    assert (told[1]["id"], told[1]["args"]) == ("two", "(4, 5)")
    assert "T" in told[1]["eta"]
