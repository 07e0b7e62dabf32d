"""A real Celery client on the same server, both ways."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from bootsteps_result_redis import RedisBackend
from bootsteps_tasks import errors
from bootsteps_tasks.backend import exception_from_meta, meta

Open = Callable[..., RedisBackend]

celery = pytest.importorskip("celery", reason="pip install 'celery>=5.7,<5.8'")
if not celery.__version__.startswith("5.7"):
    pytest.skip(f"Celery {celery.__version__}; pip install 'celery>=5.7,<5.8'", allow_module_level=True)


@pytest.fixture
def client(url: str, server: redis.Redis) -> Iterator[Callable[..., Any]]:
    made = []

    def client(**settings: Any) -> Any:
        app = celery.Celery("proj", broker="memory://", backend=url)
        app.conf.update(settings)
        made.append(app)
        return app

    yield client
    for app in made:
        app.backend.result_consumer.stop()
        app.close()


def test_celery_reads_what_we_stored(opened: Open, client: Any) -> None:
    opened().store(
        [
            meta("ok", "SUCCESS", {"n": [1, "ü"]}, children=[[["c", None], None]]),
            meta("bad", "FAILURE", ValueError("bad", 42), "Traceback (most recent call last):"),
            meta("revoked", "REVOKED", errors.TaskRevokedError("expired")),
            meta("run", "STARTED", {"pid": 1}),
        ]
    )
    app = client()
    ok = app.AsyncResult("ok")
    assert (ok.get(timeout=30), ok.state, [child.id for child in ok.children]) == ({"n": [1, "ü"]}, "SUCCESS", ["c"])
    assert ok.date_done is not None
    bad = app.AsyncResult("bad")
    with pytest.raises(ValueError) as caught:
        bad.get(timeout=30)
    assert (caught.value.args, bad.traceback) == (("bad", 42), "Traceback (most recent call last):")
    with pytest.raises(celery.exceptions.TaskRevokedError, match="expired"):
        app.AsyncResult("revoked").get(timeout=30)
    assert app.AsyncResult("run").state == "STARTED"


def test_a_waiting_celery_client_is_woken_by_our_message(opened: Open, client: Any, server: redis.Redis) -> None:
    app, backend = client(), opened()
    got: list[Any] = []
    waiting = threading.Thread(target=lambda: got.append(app.AsyncResult("a").get(timeout=30)))
    waiting.start()
    ends = time.monotonic() + 30
    while not server.pubsub_numsub("celery-task-meta-a")[0][1]:
        assert time.monotonic() < ends
        time.sleep(0.005)
    backend.store([meta("a", "STARTED", {"pid": 1})])
    backend.store([meta("a", "SUCCESS", 5)])
    # Celery looks once when it begins; without the message it would wait for ever.
    waiting.join(40)
    assert got == [5]


def test_we_read_and_are_woken_by_what_celery_stored(opened: Open, client: Any, server: redis.Redis) -> None:
    app, backend = client(), opened()
    app.backend.store_result("ok", {"n": [1, "ü"]}, "SUCCESS")
    app.backend.store_result("bad", KeyError("k"), "FAILURE", traceback="Traceback x")
    found = backend.wait(["ok", "bad"], timeout=0)
    assert (found["ok"]["status"], found["ok"]["result"], found["ok"]["children"]) == ("SUCCESS", {"n": [1, "ü"]}, [])
    exc = exception_from_meta(found["bad"]["result"])
    assert (type(exc), exc.args, found["bad"]["traceback"]) == (KeyError, ("k",), "Traceback x")
    assert backend.wait(["later"], 0.05) == {}
    app.backend.store_result("later", 7, "SUCCESS")
    assert backend.wait(["later"], 30)["later"]["result"] == 7


def test_the_values_are_the_same(opened: Open, client: Any, server: redis.Redis) -> None:
    """Apart from the date and the children (null outside a task), byte for byte; also the time to live."""
    app, backend = client(result_expires=100), opened(result_expires=100)
    app.backend.store_result("a", [1, None], "SUCCESS")
    backend.store([meta("b", "SUCCESS", [1, None])])
    theirs, ours = (server.get(f"celery-task-meta-{name}") for name in "ab")
    date = json.loads(ours)["date_done"]  # type: ignore[arg-type]
    expected = {**json.loads(theirs), "date_done": date, "children": [], "task_id": "b"}  # type: ignore[arg-type]
    assert ours == json.dumps(expected).encode()
    for name in "ab":
        assert 95_000 < server.pttl(f"celery-task-meta-{name}") <= 100_000


def test_a_success_of_either_side_is_final_for_the_other(opened: Open, client: Any) -> None:
    app, backend = client(), opened()
    app.backend.store_result("theirs", 1, "SUCCESS")
    backend.store([meta("theirs", "FAILURE", ValueError()), meta("ours", "SUCCESS", 2)])
    app.backend.store_result("ours", ValueError(), "FAILURE")
    found = backend.get_many(["ours", "theirs"])
    assert (found["ours"]["result"], found["theirs"]["result"]) == (2, 1)


@pytest.mark.parametrize("prefix", ["x", "x:"])
def test_the_prefix_is_celerys(prefix: str, opened: Open, client: Any) -> None:
    options = {"global_keyprefix": prefix}
    app, backend = client(result_backend_transport_options=options), opened(result_backend_transport_options=options)
    backend.store([meta("ours", "SUCCESS", 1)])
    app.backend.store_result("theirs", 2, "SUCCESS")
    assert app.AsyncResult("ours").get(timeout=30) == 1
    assert backend.wait(["theirs"], 30)["theirs"]["result"] == 2


def test_what_celery_compressed_is_read(opened: Open, client: Any, server: redis.Redis) -> None:
    app = client(result_compression="gzip")
    app.backend.store_result("a", "long " * 1000, "SUCCESS")
    value: Any = server.get("celery-task-meta-a")
    assert value.startswith(b"\x00celery-compressed\x00"), "else this shows nothing"
    assert opened().wait(["a"], 30)["a"]["result"] == "long " * 1000


def test_pickled_results_are_read_by_both(opened: Open, client: Any) -> None:
    settings = {"result_serializer": "pickle", "accept_content": ["json", "pickle"]}
    app, backend = client(**settings), opened(**settings)
    backend.store([meta("ours", "SUCCESS", {1, "ü"})])
    app.backend.store_result("theirs", {2, "ü"}, "SUCCESS")
    assert app.AsyncResult("ours").get(timeout=30) == {1, "ü"}
    assert backend.wait(["theirs"], 30)["theirs"]["result"] == {2, "ü"}
