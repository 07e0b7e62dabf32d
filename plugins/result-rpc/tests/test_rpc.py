from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from bootsteps.errors import KernelError
from bootsteps_result_rpc import RpcBackend, inbox
from bootsteps_tasks import App, Backend
from bootsteps_tasks.backend import meta

Make = Callable[..., App]


def answer(asker: App, task_id: str, state: str = "SUCCESS", result: Any = 1) -> Any:
    """A meta object as a worker makes it for a task that this application asked for."""
    return meta(task_id, state, result, reply_to=asker.backend.reply_to, correlation_id=task_id)  # type: ignore[attr-defined]


def cut(app: App, url: str) -> None:
    """End the connection of the queue of answers, as the network or the broker would."""
    if url.startswith("redis"):
        redis = pytest.importorskip("redis")
        redis.Redis.from_url(url).client_kill_filter(_type="normal", skipme=True)
    else:
        held: Any = app.backend
        held._inbox.get()._line.transport.sock.shutdown(socket.SHUT_RDWR)


def test_an_answer_comes_to_who_asked_and_to_nobody_else(made: Make) -> None:
    asker, worker, other = made(), made(), made()
    assert isinstance(asker.backend, Backend)
    worker.backend.store(
        [answer(asker, "a", result={"n": [1, "ü"]}), answer(asker, "b", "FAILURE", ValueError("x", 1))]
    )
    assert asker.AsyncResult("a").get(timeout=20) == {"n": [1, "ü"]}
    with pytest.raises(ValueError, match=r"\('x', 1\)"):
        asker.AsyncResult("b").get(timeout=20)
    assert other.backend.wait(["a"], 0.1) == {}
    assert asker.backend.get("none") is None


def test_a_task_that_wants_no_answer_gets_none(made: Make) -> None:
    asker, worker = made(), made()
    worker.backend.store([meta("quiet", "SUCCESS", 1), answer(asker, "loud")])
    assert set(asker.backend.wait(["quiet", "loud"], 20)) == {"loud"}


def test_states_on_the_way_are_seen_and_a_final_one_stays(made: Make) -> None:
    asker, worker = made(), made()
    result = asker.AsyncResult("a")
    for state, value in (("STARTED", {"pid": 1}), ("PROGRESS", {"done": 1}), ("SUCCESS", 2), ("FAILURE", 3)):
        worker.backend.store([answer(asker, "a", state, value)])
    assert asker.backend.wait(["a"], 20)["a"]["result"] == 2
    worker.backend.store([answer(asker, "b", "PROGRESS", {"done": 5})])
    ends = time.monotonic() + 20
    while asker.AsyncResult("b").state != "PROGRESS":
        assert time.monotonic() < ends
    assert asker.AsyncResult("b").result == {"done": 5}
    assert (result.state, result.result) == ("SUCCESS", 2)
    asker.backend.forget("a")
    assert asker.backend.get("a") is None


def test_who_waits_is_woken_and_several_threads_share_the_queue(made: Make) -> None:
    asker, worker = made(), made()
    asker.backend.reply_to  # type: ignore[attr-defined]  # noqa: B018  (opens the queue)
    got: dict[str, Any] = {}

    def wait(task_id: str) -> None:
        got[task_id] = asker.AsyncResult(task_id).get(timeout=20)

    threads = [threading.Thread(target=wait, args=(f"t{number}",)) for number in range(5)]
    for thread in threads:
        thread.start()
    for number in reversed(range(5)):
        worker.backend.store([answer(asker, f"t{number}", result=number)])
    for thread in threads:
        thread.join(20)
    assert got == {f"t{number}": number for number in range(5)}


def test_waiting_ends_in_time_and_at_once_for_nothing(made: Make) -> None:
    asker = made()
    began = time.monotonic()
    assert asker.backend.wait(["none"], 0.3) == {}
    assert 0.3 <= time.monotonic() - began < 5
    assert asker.backend.wait([]) == {}


def test_an_answer_is_not_lost_with_the_connection(made: Make, url: str) -> None:
    asker, worker = made(), made()
    task = answer(asker, "a")
    cut(asker, url)
    worker.backend.store([task])
    assert asker.AsyncResult("a").get(timeout=20) == 1


def test_the_queue_goes_with_its_process(made: Make) -> None:
    asker = made()
    name = asker.backend.reply_to  # type: ignore[attr-defined]
    asker.close()
    with made().connection() as connection:
        channel = connection.default_channel
        with pytest.raises(channel.connection.client.channel_errors):
            channel.queue_declare(name, passive=True)


def test_publishing_names_the_queue_for_the_answer(made: Make) -> None:
    asker = made()
    add = asker.task(name="add")(lambda: 1)
    for task, options in ((add, {}), (add, {"ignore_result": True})):
        task.apply_async(queue=f"q-{asker.backend.reply_to}", **options)  # type: ignore[attr-defined, arg-type]
    with asker.connection() as connection:
        queue = f"q-{asker.backend.reply_to}"  # type: ignore[attr-defined]
        found = [connection.default_channel.basic_get(queue, no_ack=True).properties.get("reply_to") for _ in range(2)]
        connection.default_channel.queue_delete(queue)
    assert found[0] == asker.backend.reply_to  # type: ignore[attr-defined]
    assert not found[1]


def test_a_result_that_cannot_be_serialized_is_answered_as_a_failure(made: Make) -> None:
    asker, worker = made(), made()
    worker.backend.store([answer(asker, "odd", result=object())])
    found = asker.backend.wait(["odd"], 20)["odd"]
    assert (found["status"], found["result"]["exc_type"]) == ("FAILURE", "EncodeError")


def test_only_accepted_content_is_read(made: Make) -> None:
    asker, worker = made(), made(result_serializer="pickle")
    worker.backend.store([answer(asker, "evil", result={1, 2})])
    with pytest.raises(Exception, match=r"pickle|x-python-serialize"):
        asker.backend.wait(["evil"], 20)
    trusting = made(result_accept_content=("json", "pickle"))
    worker.backend.store([answer(trusting, "fine", result={1, 2})])
    assert trusting.AsyncResult("fine").get(timeout=20) == {1, 2}


def test_groups_cannot_be_saved(made: Make) -> None:
    backend = made().backend
    with pytest.raises(KernelError, match="cannot save a group"):
        backend.save_group("g", [])
    assert backend.restore_group("g") is None


def test_a_broker_that_is_not_there_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "DEADLINE_S", 0.5)
    app = App("proj", broker="amqp://me:secret@127.0.0.1:1//", backend="rpc://")
    with pytest.raises(KernelError, match="cannot be read") as caught:
        app.AsyncResult("a").get(timeout=5)
    assert "secret" not in str(caught.value)
    assert isinstance(app.backend, RpcBackend)
