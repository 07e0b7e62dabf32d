"""What Celery tells by signals, a real worker, its children and a producer tell by hooks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bootsteps_tasks import App
from workers import running_worker, until

TASKS = """
    import json, os
    from bootsteps_tasks import App
    app = App("proj")

    HOOKS = '''
        on_after_configure import_modules on_after_finalize celeryd_init worker_init after_setup_logger
        after_setup_task_logger celeryd_after_setup worker_before_create_process worker_process_init worker_ready
        worker_shutting_down worker_process_shutdown worker_shutdown task_received task_prerun task_postrun
        task_success task_retry task_failure before_task_publish after_task_publish
    '''.split()

    def tell(hook):
        @app.hooks.connect(hook)
        def hear(**facts):
            told = {name: value for name, value in facts.items() if isinstance(value, (str, int, type(None)))}
            with open("heard.jsonl", "a") as file:
                file.write(json.dumps([hook, os.getpid(), told]) + chr(10))

    for hook in HOOKS:
        tell(hook)

    @app.task
    def add(x, y):
        return x + y

    @app.task(bind=True, max_retries=1)
    def retried(self):
        raise self.retry(exc=KeyError("x"), countdown=0)

    @app.task
    def publishes():
        add.delay(1, 1)
"""


def heard(folder: Path) -> list[tuple[str, int, dict[str, Any]]]:
    file = folder / "heard.jsonl"
    return [tuple(json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []


def test_a_worker_tells_its_life_in_order(tmp_path: Path, client: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with running_worker(tmp_path, "-c", "1", "-n", "w@h", app=TASKS) as worker:
        assert client.send_task("proj.add", (1, 2)).get(timeout=30) == 3
        with pytest.raises(KeyError):
            client.send_task("proj.retried").get(timeout=30)
        client.send_task("proj.publishes").get(timeout=30)
        until(lambda: [name for name, *_ in heard(tmp_path)].count("task_success") == 3, "three successes")
        worker.stop()
    told = heard(tmp_path)
    parent = next(pid for name, pid, _ in told if name == "worker_ready")
    of_parent = [name for name, pid, _ in told if pid == parent and name != "task_received"]
    assert of_parent == [
        *("celeryd_init", "after_setup_logger", "after_setup_task_logger"),
        *("on_after_configure", "import_modules", "on_after_finalize", "worker_init", "celeryd_after_setup"),
        *("worker_before_create_process", "worker_ready", "worker_shutting_down", "worker_shutdown"),
    ]
    of_child = [(name, facts) for name, pid, facts in told if pid != parent]
    names = [name for name, _ in of_child]
    assert names[0] == "worker_process_init"
    assert names[-1] == "worker_process_shutdown"
    assert names[1:4] == ["task_prerun", "task_success", "task_postrun"]
    retry = names.index("task_retry")
    around = names[retry - 3 : retry + 2]
    assert around == ["task_prerun", "before_task_publish", "after_task_publish", "task_retry", "task_postrun"]
    assert "task_failure" in names
    facts = dict(of_child)
    assert facts["worker_process_init"]["hostname"] == "w@h"
    assert facts["after_task_publish"]["name"] == "proj.add"
    assert facts["task_success"].keys() >= {"id"}
    assert [name for name, _, _ in told].count("task_received") == 5


CHANGES = """
    from bootsteps_tasks import App
    app = App("proj")

    @app.hooks.connect("celeryd_init", sender="w@h")
    def configure(hostname, app):
        app.conf.override({"task_default_queue": "changed"})

    @app.hooks.connect("celeryd_init", sender="other@h")
    def never(app):
        app.conf.override({"task_default_queue": "wrong"})

    @app.hooks.connect("setup_logging")
    def quiet(loglevel, logfile):
        import logging
        logging.basicConfig(level=loglevel, format="MINE %(message)s")

    @app.task
    def add(x, y):
        return x + y
"""


def test_settings_and_logging_may_be_changed_by_who_hears_of_it(tmp_path: Path, client: App) -> None:
    with running_worker(tmp_path, "-c", "1", "-n", "w@h", app=CHANGES) as worker:
        assert client.send_task("proj.add", (1, 2), queue="changed").get(timeout=30) == 3
        assert "MINE consuming from changed" in worker.log
        assert "INFO/MainProcess]" not in worker.log


def test_a_producers_listeners_may_add_headers(tmp_path: Path, client: App) -> None:
    heard: list[tuple[str, str, str]] = []

    @client.hooks.connect("before_task_publish", sender="proj.add")
    def add(name: str, headers: dict[str, Any], properties: dict[str, Any], routing_key: str) -> None:
        headers["tenant"] = "acme"
        heard.append(("before", name, routing_key))

    @client.hooks.connect("after_task_publish")
    def after(name: str, headers: dict[str, Any]) -> None:
        heard.append(("after", name, headers.get("tenant", "")))

    client.send_task("proj.add", (1, 2))
    client.send_many([("proj.add", (1, 2), {}, {}), ("proj.other", (), {}, {})])
    with client.connection() as connection:
        messages = [connection.default_channel.basic_get("celery") for _ in range(3)]
    assert [message.headers.get("tenant") for message in messages] == ["acme", "acme", None]
    assert heard == [
        ("before", "proj.add", "celery"),
        ("after", "proj.add", "acme"),
        ("before", "proj.add", "celery"),
        ("after", "proj.add", "acme"),
        ("after", "proj.other", ""),
    ]


POOLS = """
    import json
    from bootsteps_tasks import App
    app = App("proj")

    def note(hook, fact):
        print("told:", json.dumps([hook, fact]), flush=True)

    for hook in ("pool_started", "pool_stopping", "pool_stopped"):
        app.hooks.connect(hook)(lambda pool, hook=hook: note(hook, pool.concurrency))

    @app.hooks.connect("job_submitted")
    def submitted(job):
        note("job_submitted", job.kind)

    @app.task
    def add(x, y):
        return x + y
"""


@pytest.mark.parametrize("pool", ["prefork", "threads", "eventlet"])
def test_every_pool_tells_its_life_and_its_jobs(tmp_path: Path, client: App, pool: str) -> None:
    pytest.importorskip(f"bootsteps_worker_pool_{pool}")
    with running_worker(tmp_path, "-P", pool, "-c", "2", app=POOLS) as worker:
        for number in range(2):
            assert client.send_task("proj.add", (number, 2)).get(timeout=30) == number + 2
        assert worker.stop() == 0
        told = [json.loads(line.partition("told: ")[2]) for line in worker.log.splitlines() if "told: " in line]
    jobs = [["job_submitted", "proj.add"]] * 2
    assert told == [["pool_started", 2], *jobs, ["pool_stopping", 2], ["pool_stopped", 2]]
