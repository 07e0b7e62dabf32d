"""Through the kernel's own command line, on real brokers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from bootsteps_queues.copying import fetch
from bootsteps_tasks import App
from workers import until


@dataclass
class Place:
    """A broker, with a queue that nobody else uses."""

    url: str
    folder: Path
    queue: str = field(default_factory=lambda: f"q{uuid4().hex[:8]}")

    def kernel(self, *words: str, url: str | None = None, input: str | None = None) -> subprocess.CompletedProcess[str]:
        env = dict(os.environ, XDG_STATE_HOME=str(self.folder / "state"), KERNEL_BROKER_URL=url or self.url)
        env["KERNEL_TASK_DEFAULT_QUEUE"] = self.queue
        return subprocess.run(
            [sys.executable, "-m", "bootsteps", *words], cwd=self.folder, env=env, text=True, capture_output=True,
            timeout=100, input=input if input is not None else "",
        )  # fmt: skip

    def says(self, *words: str) -> Any:
        """Run a command that shall succeed with --json, and return what it says."""
        done = self.kernel(*words, "--json")
        assert done.returncode == 0, (done.stdout, done.stderr)
        return json.loads(done.stdout)

    @contextmanager
    def app(self, url: str | None = None) -> Iterator[App]:
        app = App("proj", broker=url or self.url, task_default_queue=self.queue)
        try:
            yield app
        finally:
            app.close()

    def send(self, number: int, task: str = "proj.add") -> list[str]:
        with self.app() as app:
            return [app.send_task(task, [n]).id for n in range(number)]

    def waiting(self, queue: str | None = None) -> int:
        return int(self.says("queues", "show", queue or self.queue)["messages"] or 0)


@pytest.fixture(params=["sqlite", "redis", "amqp"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    pytest.importorskip("bootsteps_transport_sqlite")  # also what messages are moved to
    url = f"sqlite:///{tmp_path}/b.db" if request.param == "sqlite" else request.getfixturevalue(f"{request.param}_url")
    pytest.importorskip(f"bootsteps_transport_{request.param}")
    made = Place(url, tmp_path)
    yield made
    made.kernel("queues", "delete", made.queue)


def test_a_queue_is_listed_shown_read_and_deleted(place: Place) -> None:
    ids = place.send(3)
    assert {"queue": place.queue, "messages": 3, "consumers": 0} in place.says("queues", "list")
    assert place.queue in place.kernel("queues", "list").stdout
    shown = place.says("queues", "show", place.queue)
    assert (shown["messages"], shown["bindings"] is None) == (3, place.url.startswith("amqp"))
    if shown["bindings"] is not None:
        assert shown["bindings"] == [{"exchange": place.queue, "routing_key": place.queue}]
    done = place.kernel("queues", "get", place.queue, "-n", "2", "--json")
    assert [json.loads(line)["headers"]["id"] for line in done.stdout.splitlines()] == ids[:2]
    assert "x-delivery-count" not in done.stdout
    until(lambda: place.waiting() == 3, "three messages, which were only looked at")
    assert json.loads(place.kernel("queues", "get", place.queue, "--ack", "--json").stdout)["headers"]["id"] == ids[0]
    done = place.kernel("queues", "delete", place.queue, "--if-empty")
    assert (done.returncode, "kept: 2 messages" in done.stderr) == (1, True)
    assert place.kernel("queues", "delete", place.queue).returncode == 0
    done = place.kernel("queues", "show", place.queue)
    assert (done.returncode, "has no queue" in done.stderr) == (2, True)


def test_a_message_is_published_to_a_queue_that_was_declared(place: Place) -> None:
    other = f"{place.queue}-other"
    done = place.kernel("queues", "publish", other, "{}")
    assert (done.returncode, f"the broker has no queue {other!r}" in done.stderr) == (2, True)
    words = ("--exchange", f"{place.queue}-x", "--type", "topic", "--routing-key", "a.*")
    assert place.kernel("queues", "declare", other, *words).returncode == 0
    try:
        done = place.kernel("queues", "publish", other, "-", "--headers", '{"x": "y"}', input='{"a": 1}')
        assert done.returncode == 0, done.stderr
        got = json.loads(place.kernel("queues", "get", other, "--json").stdout)
        assert (got["body"], got["headers"]["x"], got["content_type"]) == ('{"a": 1}', "y", "application/json")
        if not place.url.startswith("amqp"):
            row = {"queue": other, "exchange": f"{place.queue}-x", "routing_key": "a.*"}
            assert row in place.says("list", "bindings")
        assert place.kernel("queues", "purge", other).stdout == "1\n"
        assert place.kernel("queues", "get", other).returncode == 1
    finally:
        place.kernel("queues", "delete", other)


def test_bindings_are_listed(place: Place) -> None:
    place.send(1)
    row = {"queue": place.queue, "exchange": place.queue, "routing_key": place.queue}
    assert row in place.says("list", "bindings")
    assert "Routing key" in place.kernel("list", "bindings").stdout


def test_purge_asks_and_says_how_many(place: Place) -> None:
    place.send(3)
    done = place.kernel("purge", input="n\n")
    assert (done.returncode, "There is no way back" in done.stderr, place.waiting()) == (1, True, 3)
    assert place.kernel("purge", "-f", "-X", place.queue).stdout == "No messages in 0 queues.\n"
    assert place.kernel("purge", input="y\n").stdout == "Purged 3 messages from 1 queue.\n"
    place.send(1)
    assert place.says("purge", "-f", "-Q", f"{place.queue},{place.queue}-none") == {
        "purged": 1, "queues": {place.queue: 1, f"{place.queue}-none": 0},
    }  # fmt: skip
    assert place.kernel("purge", "-f").stdout == "No messages in 1 queue.\n"


@pytest.fixture
def target(tmp_path: Path, place: Place) -> str:
    return f"sqlite:///{tmp_path}/target.db"


def ids_in(place: Place, url: str, queue: str | None = None) -> list[str]:
    done = place.kernel("queues", "get", queue or place.queue, "-n", "10000", "--json", url=url)
    return [json.loads(line)["headers"]["id"] for line in done.stdout.splitlines()]


def test_messages_are_copied_or_moved_and_renamed(place: Place, target: str) -> None:
    ids = place.send(250)
    other = place.send(2, "proj.other")
    done = place.kernel("migrate", place.url, target, "-t", "0.2", "-T", "proj.add", "-n", "120")
    assert (done.returncode, done.stdout) == (0, "Copied 120 messages.\n"), done.stderr
    until(lambda: ids_in(place, place.url) == ids + other, "the messages at their old places")
    assert ids_in(place, target) == ids[:120]
    words = ("-t", "0.2", "-a", "-Q", f"{place.queue}:renamed", "-T", "proj.add")
    assert place.says("migrate", place.url, target, *words) == {"migrated": 250, "queues": {place.queue: 250}}
    until(lambda: ids_in(place, place.url) == other, "those that nobody wanted")
    assert ids_in(place, target, "renamed") == ids


def test_what_was_moved_is_what_was_sent(place: Place, target: str) -> None:
    with place.app() as app:
        sent = app.send_task("proj.add", [1], {"y": "ü"}, compression="zlib", priority=3, headers={"x": 1})
    assert place.says("migrate", place.url, target, "-a", "-t", "0.2")["migrated"] == 1
    back = place.url  # and back to where it came from, to be read there
    assert place.says("migrate", target, back, "-a", "-t", "0.2")["migrated"] == 1
    with place.app() as app, app.connection() as connection, connection.channel() as channel:
        message = fetch(channel, place.queue)
        assert (message.headers["id"], message.headers["x"], message.properties["priority"]) == (sent.id, 1, 3)
        assert message.payload[:2] == [[1], {"y": "ü"}]
        message.ack()


@pytest.mark.timeout(500)
def test_a_kill_half_way_loses_nothing(place: Place, target: str) -> None:
    ids = set(place.send(3000))
    env = dict(os.environ, KERNEL_TASK_DEFAULT_QUEUE=place.queue)
    mover = subprocess.Popen(
        [sys.executable, "-m", "bootsteps", "migrate", place.url, target, "-a", "--forever"], cwd=place.folder, env=env,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until(lambda: ids_in(place, target), "the first messages", 60)
    finally:
        mover.send_signal(signal.SIGKILL)
        mover.wait()
    there = set(ids_in(place, target))
    assert there

    def all_moved() -> bool:
        assert place.kernel("migrate", place.url, target, "-a", "-t", "1").returncode == 0
        return set(ids_in(place, target)) == ids

    until(all_moved, "the rest, when the lease of the killed one is over", 240)


def test_mistakes_are_told(tmp_path: Path) -> None:
    pytest.importorskip("bootsteps_transport_redis")
    place = Place("redis://:geheim@127.0.0.1:1/0", tmp_path)
    for words in (("purge", "-f"), ("queues", "list"), ("list", "bindings"), ("migrate", place.url, place.url)):
        done = place.kernel(*words)
        assert (done.returncode, "cannot be reached" in done.stderr, "geheim" in done.stderr) == (69, True, False)
    done = place.kernel("queues", "lst")
    assert (done.returncode, "did you mean 'list'?" in done.stderr) == (2, True)
    (tmp_path / "plain.py").write_text("import bootsteps\napp = bootsteps.App('plain')\n")
    done = place.kernel("-A", "plain", "purge")
    assert (done.returncode, "is no application with tasks" in done.stderr) == (2, True)
    done = place.kernel("purge", "--json")
    assert (done.returncode, "--json needs -f" in done.stderr) == (2, True)
    done = place.kernel("queues", "publish", "q", "{}", "--headers", "[1]")
    assert (done.returncode, "--headers is no object" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    "words",
    [("purge",), ("migrate",), ("list", "bindings"), *(("queues", word) for word in (
        "list", "show", "get", "publish", "declare", "purge", "delete"))],
    ids=" ".join,
)  # fmt: skip
def test_the_help_teaches(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = Place("memory://", tmp_path).kernel(*words, "--help")
    assert (done.returncode, len(done.stdout) > 200) == (0, True)
