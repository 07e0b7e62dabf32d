"""Real workers grow with their work, and shrink without it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from workers import TASKS, running_worker, until

pytest.importorskip("bootsteps_autoscaler")

APP = (
    TASKS
    + """
    app.conf.worker_autoscale_keepalive = 1.0
    from bootsteps import POOL, TIMER, StartStopStep

    class Sizes(StartStopStep):
        requires = (POOL, TIMER)

        def start(self, worker):
            self.entry = worker.timer.call_repeatedly(0.05, self.look, (worker,))

        def look(self, worker):
            size = worker.pool.concurrency
            Path("size.new").write_text(str(size))
            os.rename("size.new", "size")

        def stop(self, worker):
            self.entry.cancel()

    app.steps["worker"].add(Sizes)
"""
)


def size(folder: Path) -> int:
    path = folder / "size"
    return int(path.read_text()) if path.exists() else 0


def test_children_come_with_the_work_and_go_without_it_and_a_busy_one_stays(tmp_path, client):
    with running_worker(tmp_path, "--autoscale=4,1", app=APP) as worker:
        assert len(worker.children()) == 1
        long = client.send_task("proj.nap", [8, str(tmp_path / "long")])
        until((tmp_path / "long").exists)
        busy = int((tmp_path / "long").read_text())
        short = [client.send_task("proj.nap", [0.5]) for _ in range(12)]
        until(lambda: len(worker.children()) == 4, "growing")
        assert [result.get(timeout=30) for result in short] == [0.5] * 12
        until(lambda: worker.children() == [busy], "shrinking")
        assert long.get(timeout=30) == 8
        assert worker.stop() == 0
        assert "lost" not in worker.log
        assert "was killed" not in worker.log


@pytest.mark.parametrize("pool", ["threads", "asyncio", "gevent", "eventlet"])
def test_other_pools_are_scaled_too(tmp_path, client, pool):
    pytest.importorskip(f"bootsteps_worker_pool_{pool}")
    with running_worker(tmp_path, "-P", pool, "--autoscale=6,2", app=APP) as worker:
        until(lambda: size(tmp_path) == 2)
        naps = [client.send_task("proj.nap", [1.0]) for _ in range(6)]
        until(lambda: size(tmp_path) == 6, "growing")
        assert [result.get(timeout=30) for result in naps] == [1.0] * 6
        until(lambda: size(tmp_path) == 2, "shrinking")
        assert worker.stop() == 0


def test_a_pool_that_cannot_is_refused_at_boot(tmp_path):
    (tmp_path / "proj.py").write_text("from bootsteps_tasks import App\napp = App('proj')\n")
    command = [sys.executable, "-m", "bootsteps", "-A", "proj", "worker", "-P", "solo", "--autoscale", "10,3"]
    environment = dict(os.environ, XDG_STATE_HOME=str(tmp_path / "state"))
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 2
    assert "worker_autoscale = 10,3 needs 'grow', which pool 'solo' cannot do" in ended.stderr
    assert "choose another pool" in ended.stderr


@pytest.fixture
def remote(redis_url, tmp_path):
    """An application's text for a broker of its own, and what asks its worker."""
    celery = pytest.importorskip("celery")
    name = f"autoscale-{os.getpid()}-{tmp_path.name}"
    asking = celery.Celery("client", broker=redis_url, control_exchange=name, broker_pool_limit=None)

    def ask(command, **arguments):
        (reply,) = asking.control.broadcast(command, arguments, reply=True, timeout=10, limit=1)
        (answer,) = reply.values()
        return answer

    yield APP + PREFETCH + f"\n    app.conf.update(control_exchange={name!r}, task_default_queue={name!r})\n", ask
    asking.close()


PREFETCH = """
    from bootsteps import inspect_command

    @inspect_command()
    def prefetch(state):
        return state.consumer.qos.value
"""


def test_the_command_changes_the_range_and_the_prefetch_limit_follows(tmp_path, remote, redis_url):
    app, ask = remote
    with running_worker(tmp_path, "--autoscale=4,2", app=app, broker=redis_url) as worker:
        worker.until_logged("the mailbox is open")
        assert ask("prefetch") == 8
        assert ask("autoscale", max=5, min=3) == {"ok": "autoscale now max=5 min=3"}
        until(lambda: len(worker.children()) == 3)
        until(lambda: ask("prefetch") == 12)
        assert "cannot have at most 1" in ask("autoscale", max=1)["error"]
        assert ask("autoscale") == {"ok": "autoscale now max=5 min=3"}
        assert worker.stop() == 0


def test_without_autoscale_the_command_answers_as_celerys(tmp_path, remote, redis_url):
    app, ask = remote
    with running_worker(tmp_path, "-c", "1", app=app, broker=redis_url) as worker:
        worker.until_logged("the mailbox is open")
        assert ask("autoscale", max=5, min=3) == {"error": "ValueError('Autoscale not enabled')"}
