"""Waiting: woken by messages, nothing missed, over broken connections, among many ids and threads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from bootsteps_result_redis import RedisBackend, subscription
from bootsteps_tasks import App
from bootsteps_tasks.backend import meta
from bootsteps_tasks.result import results_of

Open = Callable[..., RedisBackend]


def until(true: Callable[[], object], what: str = "it") -> None:
    ends = time.monotonic() + 30
    while not true():
        assert time.monotonic() < ends, f"{what} did not happen"
        time.sleep(0.005)


class Waiting:
    """A wait in a thread."""

    def __init__(self, backend: RedisBackend, ids: list[str], timeout: float | None = 30) -> None:
        self.found: dict[str, Any] | None = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(backend, ids, timeout))
        self._thread.start()

    def _run(self, *args: Any) -> None:
        try:
            self.found = args[0].wait(*args[1:])
        except BaseException as exc:
            self.error = exc
        self.ended = time.time()

    def end(self) -> dict[str, Any]:
        self._thread.join(40)
        assert self.error is None, self.error
        assert self.found is not None
        return self.found


def listens(server: redis.Redis, *ids: str) -> Callable[[], bool]:
    channels = [f"celery-task-meta-{task_id}" for task_id in ids]
    return lambda: all(count > 0 for _, count in server.pubsub_numsub(*channels))


def calls(server: redis.Redis, command: str) -> int:
    stats: Any = server.info("commandstats")
    return int(stats.get(f"cmdstat_{command}", {"calls": 0})["calls"])


def listeners(server: redis.Redis) -> set[str]:
    """The connections that listen and use our database: others may be of workers that serve other tests."""
    return {client["id"] for client in server.client_list(_type="pubsub") if client["db"] == "9"}


def kill(server: redis.Redis, kind: str) -> None:
    """Cut the connections of this type that use our database, but not our own."""
    own = server.client_id()
    for client in server.client_list(_type=kind):
        if client["db"] == "9" and int(client["id"]) != own:
            server.client_kill_filter(_id=client["id"])


def test_what_is_ready_comes_at_once(opened: Open) -> None:
    backend = opened()
    backend.store([meta("a", "SUCCESS", 1), meta("b", "STARTED"), meta("c", "REVOKED", KeyError())])
    for timeout in (0, 30, None):
        assert set(backend.wait(["a", "b", "c", "d"], timeout)) == {"a", "c"}
    assert backend.wait(["b", "d"], 0) == {}
    assert backend.wait([], None) == {}


def test_nothing_comes_before_the_timeout(opened: Open) -> None:
    backend = opened()
    for _ in range(2):
        began = time.monotonic()
        assert backend.wait(["never"], 0.1) == {}
        assert time.monotonic() - began >= 0.1


STORER = """
import sys, time
from bootsteps_result_redis import RedisBackend
from bootsteps_tasks import App
from bootsteps_tasks.backend import meta
backend = RedisBackend(App("proj"), sys.argv[1])
backend.get("a")
for line in sys.stdin:
    moment = time.time()
    backend.store([meta(line.strip(), "SUCCESS", moment)])
"""


@pytest.fixture
def storer(url: str) -> Iterator[Callable[[str], None]]:
    """Have another process store the result of an id; the result is the moment before."""
    process = subprocess.Popen([sys.executable, "-c", STORER, url], stdin=subprocess.PIPE, text=True)
    pipe = process.stdin
    assert pipe is not None

    def store(task_id: str) -> None:
        pipe.write(f"{task_id}\n")
        pipe.flush()

    yield store
    pipe.close()
    assert process.wait(30) == 0


def test_a_store_in_another_process_wakes_within_50_ms(opened: Open, server: redis.Redis, storer: Any) -> None:
    backend = opened()
    delays = []
    for n in range(7):
        waiting = Waiting(backend, [f"w{n}"])
        until(listens(server, f"w{n}"))
        storer(f"w{n}")
        found = waiting.end()
        delays.append(waiting.ended - found[f"w{n}"]["result"])
    # One of them may fall on a moment in which a busy machine runs somebody else.
    assert sorted(delays)[len(delays) // 2] < 0.05, delays


def test_a_result_between_subscribing_and_looking_is_not_lost(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stored at the worst moments: just before the subscription, and between it and the look."""
    backend, other = opened(), opened()
    watch = subscription.Subscription.watch

    def late(self: Any, channels: set[str]) -> set[str]:
        other.store([meta("before", "SUCCESS", 1)])
        new = watch(self, channels)
        other.store([meta("between", "SUCCESS", 2)])
        return new

    monkeypatch.setattr(subscription.Subscription, "watch", late)
    assert set(backend.wait(["before", "x"], 30)) == {"before"}
    assert set(backend.wait(["between", "y"], 30)) == {"between"}


def test_an_intermediate_state_does_not_end_the_wait(opened: Open, server: redis.Redis) -> None:
    backend = opened()
    waiting = Waiting(backend, ["a"])
    until(listens(server, "a"))
    for state in ("STARTED", "RETRY", "PROGRESS", "FAILURE"):
        opened().store([meta("a", state)])
    assert waiting.end()["a"]["status"] == "FAILURE"


def test_2000_ids_are_subscribed_once_and_all_come(opened: Open, server: redis.Redis, url: str) -> None:
    app = App("proj", broker="memory://", backend=url)
    ids = [f"many{n}" for n in range(2000)]
    before = {name: calls(server, name) for name in ("subscribe", "mget")}
    got: list[Any] = []
    waiting = threading.Thread(target=lambda: got.extend(result.get() for result in results_of(app, ids, 60)))
    waiting.start()
    until(listens(server, *ids))
    storing = opened()
    for start in range(0, 2000, 10):
        storing.store([meta(task_id, "SUCCESS", task_id) for task_id in ids[start : start + 10]])
    waiting.join(60)
    assert sorted(got) == sorted(ids)
    assert {name: calls(server, name) - before[name] for name in before} == {"subscribe": 1, "mget": 1}
    until(lambda: not listens(server, *ids)(), "unsubscribing")
    app.close()


def test_more_ids_than_one_command_holds(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription, "CHUNK", 7)
    backend = opened()
    ids = [str(n) for n in range(50)]
    assert backend.wait(ids, 0.05) == {}
    backend.store([meta(task_id, "SUCCESS", 1) for task_id in ids])
    assert set(backend.get_many(ids)) == set(ids)
    found: set[str] = set()
    while len(found) < 50:
        found |= backend.wait([task_id for task_id in ids if task_id not in found], 30).keys()


def test_a_result_that_was_waited_for_can_be_waited_for_again(opened: Open) -> None:
    backend = opened()
    assert backend.wait(["a", "b"], 0.05) == {}
    backend.store([meta("a", "SUCCESS", 1), meta("b", "SUCCESS", 2)])
    found = set(backend.wait(["a", "b"], 30))
    assert found
    assert set(backend.wait(["a", "b"], 30)) == {"a", "b"} or set(backend.wait(["a"], 30)) == {"a"}
    assert set(backend.wait(["b"], 30)) == {"b"}


def test_who_has_a_result_does_not_wait_for_the_end_of_its_subscription(opened: Open, server: redis.Redis) -> None:
    backend = opened()
    before = calls(server, "unsubscribe")
    many = [str(n) for n in range(subscription.LEFT + 1)]
    for found, told in ((["a"], 0), (many, 2), (["b"], 2)):  # of "a" with the next word, of many at once
        backend.store([meta(task_id, "SUCCESS", 1) for task_id in found])
        assert set(backend.wait(found, 30)) == set(found)
        assert calls(server, "unsubscribe") - before == told
    assert set(backend.wait(["a"], 30)) == {"a"}
    until(lambda: not listens(server, "b")())


def test_what_nobody_waits_for_any_more_is_unsubscribed(opened: Open, server: redis.Redis) -> None:
    backend = opened()
    assert backend.wait(["given-up", "a"], 0.05) == {}
    assert backend.wait(["b"], 0.05) == {}
    until(lambda: not listens(server, "given-up")())
    backend.close()
    until(lambda: not listens(server, "b")())


def test_threads_wait_beside_each_other(opened: Open, server: redis.Redis) -> None:
    backend = opened()
    waits = [Waiting(backend, [f"t{n}", "all"]) for n in range(8)]
    until(listens(server, *(f"t{n}" for n in range(8))))
    for n in range(7):
        backend.store([meta(f"t{n}", "SUCCESS", n)])
        assert set(waits[n].end()) == {f"t{n}"}
    backend.store([meta("all", "SUCCESS", 1)])
    assert set(waits[7].end()) == {"all"}
    connections = backend._connections.peek()
    assert connections is not None
    assert len(connections.subscriptions._idle) <= subscription.KEPT


def test_a_killed_connection_is_made_anew_and_nothing_is_missed(opened: Open, server: redis.Redis) -> None:
    backend, other = opened(), opened()
    for n in range(3):
        ids = [f"k{n}", f"l{n}"]
        waiting = Waiting(backend, ids, None if n else 30)
        until(listens(server, *ids))
        kill(server, "pubsub")
        until(listens(server, *ids), "subscribing again")
        kill(server, "normal")
        other.store([meta(ids[0], "SUCCESS", n)])
        assert set(waiting.end()) == {ids[0]}
    kill(server, "normal")
    assert backend.get("k0") is not None
    # Killed while nobody listens, with a result that nobody heard of.
    assert backend.wait(["idle"], 0.05) == {}
    kill(server, "pubsub")
    other.store([meta("idle", "SUCCESS", 1)])
    assert set(backend.wait(["idle"], 30)) == {"idle"}


def test_a_server_that_stops_answering_is_noticed(
    opened: Open, server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pause of all clients looks like a host that is gone: PING gets no answer, and the connection is made anew."""
    monkeypatch.setattr(subscription, "PING_AFTER_S", 0.05)
    backend = opened(result_backend_transport_options={"socket_timeout": 0.4})
    waiting = Waiting(backend, ["a"])
    until(listens(server, "a"))
    pings = calls(server, "ping")
    until(lambda: calls(server, "ping") > pings + 1, "being asked")
    before = listeners(server)

    def is_gone() -> bool:
        server.client_pause(1500, all=True)  # again, if it was over before anybody asked
        return not before & listeners(server)

    until(is_gone, "a new connection")
    until(listens(server, "a"))
    opened().store([meta("a", "SUCCESS", 1)])
    assert set(waiting.end()) == {"a"}


def test_a_forked_child_has_connections_of_its_own(opened: Open) -> None:
    backend = opened()
    backend.store([meta("parent", "SUCCESS", 1)])
    assert backend.wait(["later", "child"], 0.05) == {}
    child = os.fork()
    if child == 0:
        try:
            assert backend.wait(["parent"], 30)["parent"]["result"] == 1
            backend.store([meta("child", "SUCCESS", 2)])
            backend.close()
            os._exit(0)
        except BaseException:
            os._exit(4)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    # The parent's subscription is whole, and has heard what the child stored.
    assert set(backend.wait(["later", "child"], 30)) == {"child"}
    backend.store([meta("later", "SUCCESS", 3)])
    assert set(backend.wait(["later"], 30)) == {"later"}


def test_the_patience_with_a_broken_connection_begins_when_it_breaks(
    opened: Open, server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bootsteps_result_redis import backend as module

    monkeypatch.setattr(module, "DEADLINE_S", 0.0)  # any wait is longer than that
    waiting = Waiting(opened(), ["a"], None)
    until(listens(server, "a"))
    kill(server, "pubsub")
    until(listens(server, "a"), "subscribing again")
    opened().store([meta("a", "SUCCESS", 1)])
    assert set(waiting.end()) == {"a"}
