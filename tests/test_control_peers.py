"""The same question to a Celery worker and to ours, in the same situation: the answers are the same."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pairs import CeleryProcess
from workers import WorkerProcess, until

celery = pytest.importorskip("celery")
tasks = pytest.importorskip("bootsteps_tasks")
pytest.importorskip("bootsteps_control_client")
pytest.importorskip("bootsteps_worker_pool_prefork")

PROJ = """
import time
from {package} import {cls} as App
app = App("proj", broker={broker!r}, backend={backend!r}, task_default_queue={queue!r})
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=4, control_exchange={exchange!r},
                task_routes={{}}, worker_concurrency=1, broker_connection_retry_on_startup=True)
app.conf.result_expires = 3600


@app.task
def add(x, y=0):
    return x + y


@app.task(rate_limit="100/s", max_retries=7)
def limited(x):
    return x


@app.task
def nap(seconds, mark=None):
    if mark:
        open(mark, "w").close()
    time.sleep(seconds)
"""


@dataclass
class Peer:
    """A worker on a broker, and the clients that speak with it."""

    kind: str
    node: str
    queue: str
    folder: Path
    worker: WorkerProcess
    theirs: Any
    ours: Any
    ids: dict[str, str] = field(default_factory=dict)

    def ask(self, command: str, arguments: dict[str, Any], client: str = "theirs") -> Any:
        """Return the node's answer to a client of Celery's, or of ours."""
        app = getattr(self, client)
        answers = app.control.broadcast(
            command, arguments, destination=[self.node], reply=True, timeout=10, limit=1, **{}
        )
        assert len(answers) == 1, (self.kind, command, answers, self.worker.log)
        return answers[0][self.node]

    def busy(self) -> None:
        """Two tasks run (the second came later), one is reserved, two wait for their ETA."""
        send = self.theirs.send_task
        for number in range(2):
            mark = self.folder / f"mark{number}"
            self.ids[f"running{number}"] = send("proj.nap", (600, str(mark)), queue=self.queue, priority=0).id
            until(mark.exists, "the nap's start")
        self.ids["reserved"] = send("proj.add", (1,), {"y": [2, "three"]}, queue=self.queue, priority=0).id
        for number in range(2):
            sent = send("proj.add", (number,), queue=self.queue, countdown=40 + number, priority=0)
            self.ids[f"later{number}"] = sent.id
        self.worker.until_logged("received", times=5)

    def same(self, value: Any) -> Any:
        """Return an answer without what must differ: ids, names, pids, times."""
        if isinstance(value, dict):
            return {self.same(key): self._same_of(key, each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.same(each) for each in value]
        return self._same_text(value) if isinstance(value, str) else value

    def _same_of(self, key: str, value: Any) -> Any:
        if key in ("time_start", "worker_pid", "eta", "clock", "pid", "uptime"):
            return None if value is None else type(value).__name__
        return self.same(value)

    def _same_text(self, text: str) -> str:
        for name, found in {**self.ids, "node": self.node, "folder": str(self.folder), "queue": self.queue}.items():
            text = text.replace(found, f"<{name}>")
        text = re.sub(r"Invalid rate limit string: .*", "Invalid rate limit string", text)
        text = re.sub(r"^tasks \{(.*)\} flagged", lambda found: f"tasks {found[1].replace(chr(39), '')} flagged", text)
        return re.sub(r"^headers .*?( flagged| were| revoked)", r"headers <stamps>\1", text)


@contextmanager
def running(kind: str, folder: Path, broker: str) -> Iterator[Peer]:
    """Start a worker and lend it."""
    folder.mkdir()
    queue = f"peers-{kind}-{os.getpid()}-{time.monotonic_ns()}"
    exchange = f"exchange-{queue}"
    package, cls = ("bootsteps_tasks", "App") if kind == "ours" else ("celery", "Celery")
    backend = f"{'sqlite' if kind == 'ours' else 'db+sqlite'}:///{folder}/results.db"
    text = PROJ.format(package=package, cls=cls, broker=broker, backend=backend, queue=queue, exchange=exchange)
    if kind == "ours":
        text = text.replace("broker_connection_retry_on_startup=True", "")
    (folder / "proj.py").write_text(text)
    node = f"{queue}@here"
    worker = WorkerProcess(folder, "-c", "2", "-n", node) if kind == "ours" else CeleryProcess(folder, node)
    theirs = celery.Celery("client", broker=broker, control_exchange=exchange, broker_pool_limit=None)
    ours = tasks.App("client", broker=broker, control_exchange=exchange)
    try:
        worker.until_logged(" ready.", limit_s=60)
        if kind == "ours":
            worker.until_logged("the mailbox is open")
        yield Peer(kind, node, queue, folder, worker, theirs, ours)
    finally:
        theirs.close()
        ours.close()
        if worker.process.poll() is None:
            worker.kill()


#: Command and arguments; `RUNNING`, `RESERVED` and so on stand for ids. Those at the end change the worker.
#: A row for a command of another plugin comes here, too: its answer must be Celery's.
QUESTIONS: list[tuple[str, dict[str, Any]]] = [
    ("ping", {}),
    ("active", {"safe": None}),
    ("active", {"safe": True}),
    ("dump_active", {}),
    ("reserved", {}),
    ("dump_reserved", {}),
    ("scheduled", {}),
    ("dump_schedule", {}),
    ("registered", {"taskinfoitems": []}),
    ("registered", {"taskinfoitems": ["max_retries", "rate_limit"]}),
    ("registered", {"builtins": True}),
    ("dump_tasks", {}),
    ("active_queues", {}),
    ("query_task", {"ids": ["<running0>", "<reserved>", "<later0>", "nobody"]}),
    ("query_task", {"ids": "<running1>"}),
    ("clock", {}),
    ("objgraph", {"num": 200, "max_depth": 10, "type": "Request"}),
    ("nonesuch", {}),
    ("revoke", {}),
    ("query_task", {}),
    ("active_queues", {"wrong": 1}),
    ("report", {"wrong": 1}),
    ("rate_limit", {"task_name": "proj.nobody", "rate_limit": "1/s"}),
    ("rate_limit", {"task_name": "proj.add", "rate_limit": "zzz"}),
    ("time_limit", {"task_name": "proj.nobody", "soft": 1}),
    ("revoke", {"task_id": "an-id", "terminate": False, "signal": "SIGTERM"}),
    ("revoked", {}),
    ("dump_revoked", {}),
    ("rate_limit", {"task_name": "proj.limited", "rate_limit": "5/m"}),
    ("registered", {"taskinfoitems": []}),
    ("rate_limit", {"task_name": "proj.limited", "rate_limit": 0}),
    ("time_limit", {"task_name": "proj.add", "soft": 3, "hard": 4}),
    ("revoke", {"task_id": "unknown-id", "terminate": True, "signal": "SIGTERM"}),
    ("revoke_by_stamped_headers", {"headers": {"tenant": "acme"}, "terminate": False, "signal": "SIGTERM"}),
    ("revoke_by_stamped_headers", {"headers": ["tenant=acme"], "terminate": True, "signal": "SIGTERM"}),
    ("add_consumer", {"queue": "<queue>-x", "exchange": None, "exchange_type": "direct", "routing_key": None}),
    ("cancel_consumer", {"queue": "<queue>-x"}),
    ("cancel_consumer", {"queue": "nobody-consumes-this"}),
]
#: What ends the situation in which the others are asked.
LAST: list[tuple[str, dict[str, Any]]] = [
    ("pool_grow", {"n": 1}),
    ("terminate", {"signal": "SIGKILL", "task_id": "<running0>"}),
]


@pytest.fixture(scope="module", params=["redis", "amqp"])
def peers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Peer, Peer]]:
    """A Celery worker and ours, equally busy."""
    pytest.importorskip("sqlalchemy")
    folder, broker = tmp_path_factory.mktemp("peers"), request.getfixturevalue(f"{request.param}_url")
    with running("celery", folder / "celery", broker) as theirs, running("ours", folder / "ours", broker) as ours:
        for peer in (theirs, ours):
            peer.busy()
        yield theirs, ours


def filled(peer: Peer, value: Any) -> Any:
    """Put the peer's own names into arguments."""
    if isinstance(value, dict):
        return {key: filled(peer, each) for key, each in value.items()}
    if isinstance(value, list):
        return [filled(peer, each) for each in value]
    if isinstance(value, str):
        for name, found in {**peer.ids, "queue": peer.queue}.items():
            value = value.replace(f"<{name}>", found)
    return value


def ordered(answer: Any) -> Any:
    """Celery keeps requests in sets."""
    return sorted(answer, key=repr) if isinstance(answer, list) else answer


@pytest.mark.parametrize("client", ["theirs", "ours"])
def test_every_command_is_answered_as_by_a_celery_worker(peers: tuple[Peer, Peer], client: str) -> None:
    compare(peers, QUESTIONS, client)


def compare(peers: tuple[Peer, Peer], questions: list[tuple[str, dict[str, Any]]], client: str) -> None:
    faults = []
    for command, arguments in questions:
        answers = [ordered(peer.same(peer.ask(command, filled(peer, arguments), client))) for peer in peers]
        if answers[0] != answers[1]:
            faults.append(f"{command} {arguments}\n  celery {answers[0]}\n  ours   {answers[1]}")
    assert not faults, "\n".join(faults)


#: What a person types to Celery's program: the same for both, after `celery -b URL`.
TYPED = [
    "inspect ping",
    "inspect active",
    "inspect reserved",
    "inspect scheduled",
    "inspect registered",
    "inspect registered max_retries rate_limit",
    "inspect active_queues",
    "inspect query_task <running0> <reserved> <later0> nobody",
    "inspect clock",
    "inspect revoked",
    "inspect objgraph Request 200 10",
    "control revoke an-id",
    "control revoke_by_stamped_headers tenant=acme",
    "control rate_limit proj.limited 9/m",
    "control rate_limit proj.nobody 9/m",
    "control time_limit proj.add 3 4",
    "control add_consumer <queue>-y direct-y direct key-y",
    "control cancel_consumer <queue>-y",
    "control enable_events",
    "control disable_events",
    "control heartbeat",
    "control election an-id topic action",
    "control autoscale 3 1",
    "control terminate SIGTERM nobodys-id",
    "control pool_restart",
    "status",
]


def typed(peer: Peer, broker: str, words: list[str]) -> tuple[int, Any]:
    """Run Celery's program; return its status and what it printed. In this process, unless all is to be run."""
    line = ["-b", broker, words[0], *words[1:], "-d", peer.node, "-t", "10", "--json"]
    if os.environ.get("KERNEL_TEST_PROGRAMS"):
        env = dict(os.environ, PYTHONPATH=str(peer.folder.parent))
        command = [sys.executable, "-m", "celery", "-A", "client", *line]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
        status, printed = done.returncode, done.stdout
    else:
        found = CliRunner().invoke(import_module("celery.bin.celery").celery, ["-A", "client", *line])
        status, printed = found.exit_code, found.stdout
    try:
        return status, ordered_all(peer.same(json.loads(printed)))
    except ValueError:
        return status, peer.same(printed)


def ordered_all(answers: Any) -> Any:
    return {node: ordered(answer) for node, answer in answers.items()} if isinstance(answers, dict) else answers


def test_celerys_program_prints_the_same(peers: tuple[Peer, Peer], monkeypatch: pytest.MonkeyPatch) -> None:
    """`celery -b URL inspect|control COMMAND` for every command; KERNEL_TEST_PROGRAMS=1 starts it each time."""
    faults = []
    for name in ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"):
        monkeypatch.setenv(name, "")  # the program sets the first: so it is forgotten at the end
    for line in TYPED:
        printed = []
        for peer in peers:
            broker = peer.theirs.conf.broker_url
            exchange = peer.theirs.conf.control_exchange
            text = f"from celery import Celery\napp = Celery(broker={broker!r}, control_exchange={exchange!r})\n"
            (peer.folder.parent / "client.py").write_text(text)
            monkeypatch.delitem(sys.modules, "client", raising=False)
            monkeypatch.syspath_prepend(str(peer.folder.parent))
            printed.append(typed(peer, broker, filled(peer, line.split())))
        if printed[0] != printed[1]:
            faults.append(f"{line}\n  celery {printed[0]}\n  ours   {printed[1]}")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("client", ["theirs", "ours"])
def test_all_workers_are_pinged_and_chosen_by_patterns(peers: tuple[Peer, Peer], client: str) -> None:
    for peer in peers:
        control = getattr(peer, client).control
        pong = {peer.node: {"ok": "pong"}}
        assert control.ping(timeout=10, limit=1) == [pong]
        assert control.inspect(timeout=10, limit=1).ping() == pong
        assert control.inspect(timeout=10, limit=1, pattern="peers-*", matcher="glob").ping() == pong
        assert control.inspect(timeout=0.3, pattern="nobody-*", matcher="glob").ping() is None
        assert control.inspect(timeout=0.3, destination=["nobody@here"]).ping() is None
        assert control.broadcast("ping", destination=[peer.node]) is None


def shape(value: Any) -> Any:
    """Types instead of values: whole numbers and others are numbers, lists are what is in them."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shape(each) for each in value[:1]]
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def test_stats_tell_all_that_celery_tells(peers: tuple[Peer, Peer]) -> None:
    theirs, ours = (peer.ask("stats", {}) for peer in peers)
    assert set(ours) - set(theirs) == {"queues", "revoked"}
    assert {key: shape(ours[key]) for key in theirs if key != "total"} == {
        key: shape(value) for key, value in theirs.items() if key != "total"
    }
    assert set(ours["total"]) == set(theirs["total"])
    assert ours["pool"]["processes"] != theirs["pool"]["processes"]


def test_settings_are_told_without_secrets(peers: tuple[Peer, Peer]) -> None:
    theirs, ours = (peer.same(peer.ask("conf", {"with_defaults": False})) for peer in peers)
    for name in ("task_default_queue", "task_acks_late", "worker_prefetch_multiplier", "control_exchange"):
        assert ours[name] == theirs[name]
    everything = peers[1].ask("conf", {"with_defaults": True})
    assert everything["task_serializer"] == "json"
    assert "guest:guest" not in str(everything)
    report = peers[1].ask("report", {})["ok"]
    assert "software -> bootsteps:" in report
    assert "guest:guest" not in report
    assert re.fullmatch(r"\d+\.\dMB", peers[1].ask("memsample", {}))
    assert "- rss (end): " in peers[1].ask("memdump", {"samples": 10})


def test_what_changes_the_pool_is_answered_as_by_a_celery_worker(peers: tuple[Peer, Peer]) -> None:
    compare(peers, LAST, "ours")
