"""Children of real workers are replaced when they have done their share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

from workers import running_worker


def test_children_are_replaced_after_so_many_tasks(tmp_path, client):
    with running_worker(tmp_path, "-c", "2", "--max-tasks-per-child", "3") as worker:
        asked = [client.send_task("proj.whoami") for _ in range(30)]
        runs = Counter(result.get(timeout=30)["pid"] for result in asked)
        assert worker.stop() == 0
        assert sum(runs.values()) == 30
        assert max(runs.values()) == 3
        assert worker.log.count("is replaced: it has run 3 jobs") >= 9
        assert "lost" not in worker.log


def test_children_are_replaced_when_they_use_too_much_memory(tmp_path, client):
    with running_worker(tmp_path, "-c", "1", "--max-memory-per-child", "1000") as worker:
        asked = [client.send_task("proj.whoami") for _ in range(4)]
        assert len({result.get(timeout=30)["pid"] for result in asked}) == 4, "1,000 KiB are less than Python needs"
        assert worker.stop() == 0
        assert "KiB of memory, and 1000 are allowed" in worker.log


def test_a_pool_without_children_is_refused_at_boot(tmp_path):
    (tmp_path / "proj.py").write_text("from bootsteps_tasks import App\napp = App('proj')\n")
    options = ("--max-tasks-per-child", "5", "--max-memory-per-child", "100000")
    command = [sys.executable, "-m", "bootsteps", "-A", "proj", "worker", "-P", "solo", *options]
    environment = dict(os.environ, XDG_STATE_HOME=str(tmp_path / "state"), PYTHONPATH=str(tmp_path))
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30)
    assert ended.returncode != 0
    assert "worker_max_tasks_per_child = 5 needs 'max_tasks', which pool 'solo' cannot do" in ended.stderr
    assert "worker_max_memory_per_child = 100000 needs 'max_memory', which pool 'solo' cannot do" in ended.stderr
