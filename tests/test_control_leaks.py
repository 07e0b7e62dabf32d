"""Asking leaves nothing behind: not in Redis, not in RabbitMQ, and not when whoever asks is killed half-way."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from services import ServerMissing, rabbitmqctl
from workers import running_worker, until

pytest.importorskip("bootsteps_control_client")

#: Ten thousand for the figures; fewer by default.
CALLS = int(os.environ.get("KERNEL_TEST_CALLS", "200"))
#: Longer than a client's queue is kept without a sign of it, and then a turn of whoever sweeps.
GONE_S = 90.0

#: Asks again and again. Every tenth call is made by a process that is killed somewhere on its way.
ASKER = """
    import os, random, signal, sys, threading, time
    from bootsteps_tasks import App
    url, calls, node = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    app = App("asker", broker=url)
    import bootsteps_control_client.call  # in the children, too, before their time begins

    def killed():
        end = time.monotonic() + random.uniform(0.005, 0.06)
        def kill():
            time.sleep(max(0, end - time.monotonic()))
            os.kill(os.getpid(), signal.SIGKILL)
        threading.Thread(target=kill, daemon=True).start()
        while True:
            app.control.inspect(timeout=5).stats()

    answered = 0
    longest = 0.0
    for number in range(calls):
        if number % 10 == 9:
            pid = os.fork()
            if not pid:
                killed()
            os.waitpid(pid, 0)
        else:
            # RabbitMQ does not tell how many will answer: who asks everybody waits a while for one more.
            to = None if number % 100 == 0 else [node]
            began = time.monotonic()
            answered += app.control.inspect(to, timeout=10).ping() is not None
            if to:
                longest = max(longest, time.monotonic() - began)
    app.close()
    print(answered, longest)
"""


def redis_keys(url: str) -> Callable[[], set[str]]:
    redis = pytest.importorskip("redis")
    admin = redis.Redis.from_url(url, decode_responses=True)
    passing = "_bootsteps.sweep"  # there while somebody sweeps
    return lambda: set(admin.scan_iter(count=10_000)) - {passing}


def rabbitmq_queues(url: str) -> Callable[[], set[str]]:
    def queues() -> set[str]:
        try:
            names = rabbitmqctl(url, "list_queues", "--no-table-headers", "name").split()
        except ServerMissing as exc:
            pytest.skip(str(exc))
        return {name for name in names if "pidbox" in name}

    return queues


@pytest.mark.timeout(300 + CALLS / 2)
@pytest.mark.parametrize("broker", ["redis", "amqp"])
def test_calls_leave_nothing_behind_also_when_one_in_ten_is_killed(
    tmp_path: Path, request: pytest.FixtureRequest, broker: str
) -> None:
    url = request.getfixturevalue(f"{broker}_url")
    if broker == "redis":
        url = f"{url.rpartition('/')[0]}/11"
    count = (redis_keys if broker == "redis" else rabbitmq_queues)(url)
    asker = tmp_path / "asker.py"
    asker.write_text(textwrap.dedent(ASKER))

    node = f"leaks-{os.getpid()}@h"

    def ask(calls: int) -> tuple[int, float]:
        words = [sys.executable, str(asker), url, str(calls), node]
        said = subprocess.run(words, capture_output=True, text=True, timeout=300 + CALLS / 2, check=True).stdout.split()
        return int(said[0]), float(said[1])

    with running_worker(tmp_path, "-P", "solo", "-n", node, broker=url) as worker:
        worker.until_logged("the mailbox is open")
        assert ask(9)[0] == 9
        before = count()
        answered, longest = ask(CALLS)
        assert answered == CALLS - CALLS // 10
        assert longest < 9  # none waited for an answer that it had already
        until(lambda: count() <= before, f"nothing but {sorted(before)}", GONE_S)
        assert worker.stop() == 0
