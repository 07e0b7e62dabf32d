"""`kernel inspect`, `kernel control` and `kernel status`, beside Celery's programs of those names."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from test_control_peers import Peer, running
from workers import running_worker

pytest.importorskip("bootsteps_control_client")

Done = tuple[int, str, str]


def call(folder: Path, *words: str, program: str = "ours", **env: str) -> Done:
    """Run a program; return its exit status, and what it says with the spaces at the ends of lines taken away."""
    start = ["bootsteps", "-A", "proj"] if program == "ours" else ["celery", "-A", "client"]
    done = subprocess.run(
        [sys.executable, "-m", *start, *words], cwd=folder, capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": str(folder), **env},
    )  # fmt: skip
    return done.returncode, re.sub(r"[ \n]+\n", "\n", done.stdout).strip(), done.stderr


@pytest.fixture(scope="module", params=["redis", "amqp"])
def peers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Peer]]:
    """A Celery worker and ours; a client of each kind knows each."""
    pytest.importorskip("sqlalchemy")
    folder, broker = tmp_path_factory.mktemp("programs"), request.getfixturevalue(f"{request.param}_url")
    with running("celery", folder / "celery", broker) as theirs, running("ours", folder / "ours", broker) as ours:
        for peer in (theirs, ours):
            exchange = peer.theirs.conf.control_exchange
            text = f"from celery import Celery\napp = Celery(broker={broker!r}, control_exchange={exchange!r})\n"
            (peer.folder / "client.py").write_text(text)
            clients = peer.folder / "ours"
            clients.mkdir()
            text = "from bootsteps_tasks import App\n"
            text += f"app = App('proj', broker={broker!r}, control_exchange={exchange!r})\n"
            (clients / "proj.py").write_text(text)
        yield [theirs, ours]


def both(peer: Peer, words: Sequence[str]) -> tuple[Done, Done]:
    """Let Celery's program and ours do the same."""
    return call(peer.folder, *words, program="theirs"), call(peer.folder / "ours", *words)


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("inspect", "ping"),
        ("inspect", "ping", "--json"),
        ("inspect", "registered"),
        ("inspect", "registered", "max_retries"),
        ("inspect", "active"),
        ("inspect", "active_queues", "-j"),
        ("inspect", "revoked"),
        ("inspect", "query_task", "nobody"),
        ("control", "rate_limit", "proj.add", "5/m"),
        ("control", "rate_limit", "proj.nobody", "5/m"),
        ("control", "time_limit", "proj.add", "3", "4", "--json"),
        ("control", "cancel_consumer", "nobody"),
    ],
    ids=" ".join,
)
def test_our_program_prints_what_celerys_does(peers: list[Peer], words: tuple[str, ...]) -> None:
    answers = []
    for peer in peers:
        wide = (*words, "-t", "3", "-d", peer.node)
        theirs, ours = both(peer, wide)
        assert ours[:2] == theirs[:2], (theirs, ours)
        assert ours[0] == 0
        answers.append(peer.same(ours[1]))
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("inspect", "ping", "-d", "nobody@here", "-t", "0.3"), 69, "No nodes replied within time constraint"),
        (("status", "-d", "nobody@here", "-t", "0.3"), 69, "No nodes replied within time constraint"),
        (("inspect", "nosuch"), 2, "Command nosuch not recognized"),
        (("inspect", "pool_grow"), 2, "Command pool_grow not recognized"),
        (("control", "pool_grow", "1", "2"), 2, "[N=1]"),
    ],
    ids=str,
)
def test_exit_statuses_are_celerys(peers: list[Peer], words: tuple[str, ...], status: int, said: str) -> None:
    theirs, ours = both(peers[1], words)
    assert (theirs[0], ours[0]) == (status, status)
    assert said in theirs[2]
    assert said in ours[2]


def test_wrong_words_are_answered_with_a_hint(peers: list[Peer], tmp_path: Path) -> None:
    folder = peers[1].folder / "ours"
    assert "did you mean 'active'?" in call(folder, "inspect", "activ")[2]
    assert "kernel control pool_grow" in call(folder, "inspect", "pool_grow")[2]
    status, _, said = call(folder, "control", "pool_grow", "many")
    assert (status, "n cannot be 'many'" in said) == (2, True)
    (tmp_path / "proj.py").write_text("import bootsteps\napp = bootsteps.App('proj')\n")
    assert "is no application with tasks" in call(tmp_path, "status")[2]
    status, _, said = call(folder, "status", "-b", "redis://:geheim@127.0.0.1:1/0")
    assert (status, "the broker cannot be reached" in said, "geheim" in said) == (69, True, False)


def test_shutdown_is_answered_and_done(tmp_path: Path, redis_url: str) -> None:
    url = f"{redis_url.rpartition('/')[0]}/12"
    with running_worker(tmp_path, "-P", "solo", "-n", "w@h", broker=url) as worker:
        worker.until_logged("the mailbox is open")
        status, said, _ = call(tmp_path, "control", "shutdown", KERNEL_BROKER_URL=url)
        assert (status, "warm shutdown" in said) == (0, True)
        assert worker.wait() == 0
    assert "Got shutdown from remote" in worker.log


#: The guide's own commands, with the import line changed.
GUIDE = """
from bootsteps import control_command, inspect_command

@control_command(
    args=[('n', int)],
    signature='[N=1]',
)
def increase_prefetch_count(state, n=1):
    \"\"\"Increase the prefetch limit.\"\"\"
    state.consumer.qos.increment_eventually(n)
    return {'ok': 'prefetch count incremented'}

@inspect_command()
def current_prefetch_count(state):
    return {'prefetch_count': state.consumer.qos.value}
"""
INFO = "Metadata-Version: 2.1\nName: guides-commands\nVersion: 1.0\n"
ENTRIES = """[worker.commands]
increase_prefetch_count = guides_commands:increase_prefetch_count
current_prefetch_count = guides_commands:current_prefetch_count
"""


@pytest.mark.parametrize("where", ["module", "entry points"])
def test_the_guides_commands_work_and_are_listed(tmp_path: Path, redis_url: str, where: str) -> None:
    url = f"{redis_url.rpartition('/')[0]}/13"
    app = "from bootsteps_tasks import App\napp = App('proj')\n"
    if where == "module":
        app += GUIDE
    else:
        info = tmp_path / "site" / "guides_commands-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(INFO)
        (info / "entry_points.txt").write_text(ENTRIES)
        (info.parent / "guides_commands.py").write_text(GUIDE)
    site = tmp_path / "site"  # no plugin is loaded from the current directory
    env = {"KERNEL_BROKER_URL": url, "PYTHONPATH": os.pathsep.join(map(str, [tmp_path, site]))}
    with running_worker(tmp_path, "-P", "solo", "-n", "w@h", broker=url, app=app, path=[site]) as worker:
        worker.until_logged("the mailbox is open")
        assert "increase_prefetch_count [N=1]" in call(tmp_path, "control", "--help", **env)[1]
        assert "Increase the prefetch limit." in call(tmp_path, "control", "--list", **env)[1]
        assert "current_prefetch_count" in call(tmp_path, "inspect", "--help", **env)[1]
        status, said, _ = call(tmp_path, "control", "increase_prefetch_count", "3", **env)
        assert (status, said) == (0, "->  w@h: OK\n        prefetch count incremented")
        worker.until_logged("basic.qos: prefetch_count->7")
        status, said, _ = call(tmp_path, "inspect", "current_prefetch_count", "--json", **env)
        assert json.loads(said) == {"w@h": {"prefetch_count": 7}}


def test_a_program_waits_no_longer_than_for_the_workers(tmp_path: Path, redis_url: str) -> None:
    url = f"{redis_url.rpartition('/')[0]}/14"
    with running_worker(tmp_path, "-P", "solo", "-n", "w@h", broker=url) as worker:
        worker.until_logged("the mailbox is open")
        began = time.monotonic()
        assert call(tmp_path, "status", "-t", "50", KERNEL_BROKER_URL=url)[0] == 0
        assert time.monotonic() - began < 20
