from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import redis

from bootsteps.errors import KernelError, SettingError
from bootsteps_result_redis import RedisBackend
from bootsteps_tasks import App, AsyncResult, Backend
from bootsteps_tasks.backend import meta

Open = Callable[..., RedisBackend]


SENT = ("eval", "evalsha", "mget", "subscribe", "unsubscribe", "del", "multi")


def commands(server: redis.Redis, names: Sequence[str] = SENT) -> int:
    """Return how many of these commands clients sent to the server."""
    stats: Any = server.info("commandstats")
    sent = {name.removeprefix("cmdstat_"): found["calls"] for name, found in stats.items()}
    return sum(sent.get(name, 0) for name in names)


def test_what_is_stored_comes_back(opened: Open) -> None:
    backend = opened()
    assert isinstance(backend, Backend)
    stored = [
        meta("a", "SUCCESS", {"n": [1, Decimal("1.5"), datetime(2020, 1, 1, tzinfo=UTC), b"\xff", "ü"]}),
        meta("b", "FAILURE", ValueError("bad", 42), "Traceback", [[["c", None], None]], group_id="g"),
        meta("s", "STARTED", {"pid": 1, "hostname": "w1@host"}),
    ]
    backend.store(stored)
    assert backend.get_many(["a", "b", "s", "none"]) == {found["task_id"]: found for found in stored}
    assert backend.get("none") is None
    assert backend.get_many([]) == {}
    backend.store([])


def test_an_application_finds_it_by_its_url(url: str, server: redis.Redis) -> None:
    for other in ("rediss://host/0", "redis+socket:///x.sock"):
        assert isinstance(App("proj", broker="memory://", backend=other).backend, RedisBackend)
    app = App("proj", broker="memory://", backend=url)
    assert isinstance(app.backend, RedisBackend)
    app.backend.store([meta("a", "SUCCESS", 5)])
    assert AsyncResult("a", app).get(timeout=5) == 5
    app.close()


def test_a_value_is_the_json_text_that_celery_writes(opened: Open, server: redis.Redis) -> None:
    stored = meta("a", "SUCCESS", 5)
    opened().store([stored])
    value: Any = server.get("celery-task-meta-a")
    assert json.loads(value) == stored
    assert 86_000_000 < server.pttl("celery-task-meta-a") <= 86_400_000
    assert server.keys("*") == [b"celery-task-meta-a"]


def test_results_expire_when_they_shall(opened: Open, server: redis.Redis) -> None:
    opened(result_expires=0).store([meta("kept", "SUCCESS", 1)])
    assert server.ttl("celery-task-meta-kept") == -1
    backend = opened(result_expires=0.05)
    backend.store([meta("gone", "SUCCESS", 1)])
    assert 0 <= server.pttl("celery-task-meta-gone") <= 50 or backend.get("gone") is None
    until = time.monotonic() + 10
    while backend.get("gone") is not None:
        assert time.monotonic() < until
    assert backend.get("kept") is not None


def test_every_state_is_published_on_the_channel_named_as_the_key(opened: Open, server: redis.Redis) -> None:
    listener = server.pubsub(ignore_subscribe_messages=True)
    listener.subscribe("celery-task-meta-a")
    while not listener.subscribed or listener.get_message(timeout=0.2) is not None:
        pass
    backend = opened()
    got = []
    for state in ("STARTED", "PROGRESS", "SUCCESS"):
        backend.store([meta("a", state, 1)])
        value = server.get("celery-task-meta-a")
        message = listener.get_message(timeout=10)
        assert message is not None
        assert (message["channel"], message["data"]) == (b"celery-task-meta-a", value)
        got.append(json.loads(message["data"])["status"])
    assert got == ["STARTED", "PROGRESS", "SUCCESS"]
    listener.close()


def test_a_success_is_final_and_everything_else_is_replaced(opened: Open, server: redis.Redis) -> None:
    backend = opened()
    for state in ("STARTED", "RETRY", "REVOKED", "FAILURE", "SUCCESS"):
        backend.store([meta("a", state, state)])
        found = backend.get("a")
        assert found is not None
        assert found["status"] == state
    backend.store([meta("a", "FAILURE", "later"), meta("b", "FAILURE", "b"), meta("a", "SUCCESS", "again")])
    found = backend.get_many(["a", "b"])
    assert (found["a"]["status"], found["a"]["result"], found["b"]["result"]) == ("SUCCESS", "SUCCESS", "b")
    backend.store([meta("c", "SUCCESS", 1), meta("c", "FAILURE", 2), meta("d", "STARTED"), meta("d", "RETRY", 3)])
    found = backend.get_many(["c", "d"])
    assert (found["c"]["result"], found["d"]["status"]) == (1, "RETRY")


def test_the_first_that_is_stored_of_a_task_is_published_with_it(opened: Open, server: redis.Redis) -> None:
    listener = server.pubsub(ignore_subscribe_messages=True)
    listener.subscribe("celery-task-meta-a")
    while not listener.subscribed or listener.get_message(timeout=0.2) is not None:
        pass
    before = commands(server, ("multi",)), commands(server, ("eval", "evalsha"))
    opened().store([meta("a", "SUCCESS", 1, first=True)])
    assert (commands(server, ("multi",)), commands(server, ("eval", "evalsha"))) == (before[0] + 1, before[1])
    message = listener.get_message(timeout=10)
    assert message is not None
    assert message["data"] == server.get("celery-task-meta-a")
    assert "first" not in json.loads(message["data"])
    assert 86_000_000 < server.pttl("celery-task-meta-a") <= 86_400_000
    opened(result_expires=0).store([meta("kept", "SUCCESS", 1, first=True)])
    assert server.ttl("celery-task-meta-kept") == -1
    listener.close()


def test_the_first_is_stored_though_its_connection_was_closed(opened: Open, server: redis.Redis) -> None:
    backend = opened()
    backend.store([meta("a", "SUCCESS", 1, first=True)])
    server.client_kill_filter(_type="normal", skipme=True)
    backend.store([meta("b", "SUCCESS", 2, first=True)])
    assert {found["result"] for found in backend.get_many(["a", "b"]).values()} == {1, 2}


@pytest.mark.parametrize("stands", ["SUCCESS", "FAILURE", "PROGRESS"])
def test_what_stands_there_is_looked_at_all_the_same(opened: Open, stands: str) -> None:
    """An id may be given twice, and somebody else may store a state."""
    backend = opened()
    backend.store([meta("a", stands, "before")])
    backend.store([meta("a", "FAILURE", "after", first=True)])
    found = backend.get("a")
    assert found is not None
    assert (found["status"], found["result"]) == (
        ("SUCCESS", "before") if stands == "SUCCESS" else ("FAILURE", "after")
    )


def test_another_that_writes_at_the_same_time_is_not_overwritten(opened: Open) -> None:
    """Between our look and our write somebody stores a SUCCESS: the script sees it and writes nothing."""
    backend, other = opened(), opened()
    backend.store([meta("a", "STARTED"), meta("b", "STARTED")])
    run, calls = backend._run_script, 0

    def racing(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            other.store([meta("a", "SUCCESS", "theirs")])
        return run(*args)

    backend._run_script = racing  # type: ignore[method-assign, assignment]
    backend.store([meta("a", "FAILURE", "ours"), meta("b", "SUCCESS", "ours")])
    found = backend.get_many(["a", "b"])
    assert (found["a"]["result"], found["b"]["result"], calls) == ("theirs", "ours", 3)


def test_a_batch_takes_one_round_trip_or_two(opened: Open, server: redis.Redis) -> None:
    backend = opened()
    backend.store([meta("first", "SUCCESS", 1)])  # the server knows the script now

    def trips(work: Callable[[], object]) -> int:
        before = commands(server)
        work()
        return commands(server) - before

    assert trips(lambda: backend.store([meta(str(n), "SUCCESS", n) for n in range(100)])) == 1
    assert trips(lambda: backend.store([meta(f"s{n}", "STARTED", n) for n in range(100)])) == 1
    assert trips(lambda: backend.store([meta(f"s{n}", "SUCCESS", n) for n in range(150)])) == 2
    assert trips(lambda: backend.get_many(f"s{n}" for n in range(150))) == 1


def test_a_batch_is_stored_as_a_whole_or_not_at_all(opened: Open, server: redis.Redis) -> None:
    backend = opened()
    with pytest.raises(Exception, match=r"not JSON serializable|not serializable"):
        backend.store([meta("a", "SUCCESS", 1), {**meta("b", "SUCCESS", 1), "traceback": object()}])
    server.lpush("celery-task-meta-list", "no string")
    with pytest.raises(KernelError, match="WRONGTYPE"):
        backend.store([meta("a", "SUCCESS", 1), meta("list", "SUCCESS", 1)])
    assert backend.get("a") is None


def test_a_result_that_cannot_be_serialized_spoils_no_other(opened: Open) -> None:
    backend = opened(result_extended=True)
    odd = meta("args", "SUCCESS", 1, args=[object()], kwargs={"x": object()}, name="add")
    backend.store([meta("odd", "SUCCESS", object()), meta("good", "SUCCESS", 1), odd])
    found = backend.get_many(["odd", "good", "args"])
    assert (found["odd"]["status"], found["odd"]["result"]["exc_type"]) == ("FAILURE", "EncodeError")
    assert (found["good"]["status"], found["args"]["status"]) == ("SUCCESS", "SUCCESS")
    assert "object object" in found["args"]["args"]


def test_another_serializer_is_kept_to_and_a_pickle_is_opened_only_where_allowed(opened: Open) -> None:
    from kombu.exceptions import ContentDisallowed, DecodeError

    backend = opened(result_serializer="pickle")
    backend.store([meta("a", "STARTED")])
    backend.store([meta("a", "SUCCESS", {1, 2})])
    backend.store([meta("a", "FAILURE", 3)])
    found = backend.get("a")
    assert found is not None
    assert found["result"] == {1, 2}
    with pytest.raises((ContentDisallowed, DecodeError, UnicodeDecodeError)):
        opened().get("a")


def test_a_compressed_result_is_read(opened: Open, server: redis.Redis) -> None:
    import zlib

    text = json.dumps(meta("a", "SUCCESS", "long " * 100)).encode()
    server.set("celery-task-meta-a", b"\x00celery-compressed\x00application/x-gzip\x00" + zlib.compress(text))
    found = opened().get("a")
    assert found is not None
    assert found["result"] == "long " * 100


@pytest.mark.parametrize(("prefix", "key"), [("x", "x_celery-task-meta-a"), ("x:", "x:celery-task-meta-a")])
def test_keys_may_have_a_prefix(prefix: str, key: str, opened: Open, server: redis.Redis) -> None:
    backend = opened(result_backend_transport_options={"global_keyprefix": prefix})
    backend.store([meta("a", "SUCCESS", 1)])
    assert server.keys("*") == [key.encode()]
    assert set(backend.wait(["a"], 5)) == {"a"}
    assert opened().get("a") is None


def test_forget_deletes(opened: Open) -> None:
    backend = opened()
    backend.store([meta("a", "SUCCESS", 1), meta("b", "SUCCESS", 1)])
    backend.forget("a")
    backend.forget("never")
    assert set(backend.get_many(["a", "b"])) == {"b"}


def test_a_closed_backend_reopens(opened: Open) -> None:
    backend = opened()
    backend.store([meta("a", "SUCCESS", 1)])
    backend.close()
    backend.close()
    assert set(backend.wait(["a"], 5)) == {"a"}


@pytest.mark.parametrize(
    "url",
    ["redis://:secret@host:port/0", "redis://:secret@host/zero", "redis://:secret@host:99999999/0",
     "redis://:secret@h?db=x", "redis+socket://:secret@/x?virtual_host=x"],
)  # fmt: skip
def test_a_url_that_cannot_be_read_is_told_without_its_password(url: str) -> None:
    with pytest.raises(SettingError, match="cannot be read") as caught:
        RedisBackend(App("proj"), url)
    assert "secret" not in str(caught.value)
    assert "redis://user:password@host:6379/0" in caught.value.fix


def test_a_url_says_how_to_connect() -> None:
    from bootsteps_result_redis.connection import TIMEOUTS, address_of

    found = address_of("redis://u:p%40q@host:7000/3?socket_connect_timeout=2", TIMEOUTS)
    assert found is not None
    assert (found.username, found.password, found.host, found.port, found.db) == ("u", "p@q", "host", 7000, 3)
    assert (found.timeout, found.connect_timeout) == (10.0, 2.0)
    found = address_of("redis+socket:///run/redis.sock?virtual_host=2&socket_timeout=1", TIMEOUTS)
    assert found is not None
    assert (found.path, found.db, found.timeout) == ("/run/redis.sock", 2, 1.0)
    bare = address_of("redis://", TIMEOUTS)
    assert bare is not None
    assert (bare.host, bare.port, bare.path, bare.db, bare.password) == ("localhost", 6379, None, 0, None)


def test_what_only_redis_py_can_is_left_to_it() -> None:
    from redis.connection import SSLConnection

    from bootsteps_result_redis.borrowing import parameters_of
    from bootsteps_result_redis.connection import TIMEOUTS, address_of

    for url in ("rediss://host/0", "redis://host/0?health_check_interval=5", "sentinel://host"):
        assert address_of(url, TIMEOUTS) is None
    found = parameters_of("rediss://u:p%40q@host:7000/3?ssl_cert_reqs=CERT_NONE&ssl_ca_certs=/ca.pem", TIMEOUTS)
    assert found["connection_class"] is SSLConnection
    assert (found["username"], found["password"], found["host"], found["port"]) == ("u", "p@q", "host", 7000)
    assert (found["db"], found["ssl_cert_reqs"], found["ssl_ca_certs"]) == (3, "none", "/ca.pem")
    assert (found["socket_timeout"], found["socket_connect_timeout"]) == (10.0, 4.0)


def test_redis_py_is_not_imported_where_it_is_not_needed(url: str) -> None:
    code = f"""
import sys
from bootsteps_result_redis import RedisBackend
from bootsteps_tasks import App
from bootsteps_tasks.backend import meta
backend = RedisBackend(App("proj"), {url!r})
backend.store([meta("a", "SUCCESS", 1)])
assert set(backend.wait(["a"], 30)) == {{"a"}}
assert backend.wait(["never"], 0.01) == {{}}
backend.begin_chord("g", 2)
backend.forget("a")
print("redis" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, timeout=60)
    assert done.stdout == "False\n", done.stderr


def test_a_server_that_is_not_there_is_told(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    from bootsteps_result_redis import backend as module

    monkeypatch.setattr(module, "DEADLINE_S", 0.2)
    backend = opened("redis://:secret@127.0.0.1:1/0")
    for call in (lambda: backend.get("a"), lambda: backend.store([meta("a", "SUCCESS")]), lambda: backend.wait(["a"])):
        with pytest.raises(KernelError, match=r"cannot be used: .*refused") as caught:
            call()
        assert "redis://:**@127.0.0.1:1/0" in str(caught.value)
        assert "secret" not in str(caught.value)


def test_a_wrong_password_is_told_at_once(opened: Open, server: redis.Redis, url: str) -> None:
    server.acl_setuser("limited", enabled=True, passwords=["+right"], keys=["*"], commands=["+@connection", "+mget"])
    try:
        with pytest.raises(KernelError, match=r"refuses: .*(WRONGPASS|invalid)") as caught:
            opened(url.replace("redis://", "redis://limited:secret@")).wait(["a"], 60)
        assert "limited:**@" in str(caught.value)
        allowed = opened(url.replace("redis://", "redis://limited:right@"))
        assert allowed.get("a") is None
        with pytest.raises(KernelError, match=r"refuses: .*no permission"):
            allowed.store([meta("a", "SUCCESS")])
    finally:
        server.acl_deluser("limited")


def test_many_threads_may_store_and_read(opened: Open) -> None:
    backend = opened()
    failed: list[BaseException] = []

    def work(thread: int) -> None:
        try:
            for n in range(50):
                backend.store([meta(f"{thread}-{n}", "SUCCESS", n), meta("shared", "STARTED", thread)])
                assert backend.wait([f"{thread}-{n}"], 30)[f"{thread}-{n}"]["result"] == n
        except BaseException as exc:
            failed.append(exc)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
