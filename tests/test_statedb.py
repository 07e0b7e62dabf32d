"""A worker's state database, with a real worker that is stopped and killed."""

from __future__ import annotations

import os

import pytest

from bootsteps_statedb.store import StateDB
from bootsteps_tasks import App
from workers import running_worker, until

PROJ = """
    from bootsteps_tasks import App
    app = App("proj")

    @app.task
    def add(x, y):
        return x + y
"""


@pytest.fixture(params=["sqlite", "redis", "amqp"])
def urls(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/broker.db", f"sqlite:///{tmp_path}/results.db"
    return request.getfixturevalue(f"{request.param}_url"), f"sqlite:///{tmp_path}/results.db"


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_revoke_is_honoured_by_the_next_worker(tmp_path, urls, end):
    app = App("proj", broker=urls[0], backend=urls[1], task_default_queue=f"state-{tmp_path.parent.name}-{end}")
    words = ["-c", "1", "-l", "INFO", "-n", f"{app.conf.task_default_queue}@h", "--statedb", "%n.state", "-Q"]
    words.append(app.conf.task_default_queue)
    result = app.AsyncResult("revoked-before")
    with running_worker(tmp_path, *words, app=PROJ, broker=urls[0], backend=urls[1]) as worker:
        app.send_task("proj.add", [1, 1]).get(timeout=30)
        result.revoke()
        worker.until_logged("Tasks flagged as revoked: revoked-before")
        file = tmp_path / f"{app.conf.task_default_queue}.state"
        until(lambda: "revoked-before" in dict(StateDB(file).revoked()), "the note in the file")
        getattr(worker, end)()
    app.send_task("proj.add", [1, 1], task_id="revoked-before")
    with running_worker(tmp_path, *words, app=PROJ, broker=urls[0], backend=urls[1]) as worker:
        worker.until_logged("revoked-before]")
        until(lambda: result.state == "REVOKED", "the result")
        assert worker.stop() == 0
    app.close()


def test_a_revoke_that_was_made_while_no_worker_was_up_is_honoured(tmp_path, urls):
    name = f"missed-{os.getpid()}-{tmp_path.name}"
    # Workers of other tests, which are up, must not hear of it.
    app = App("proj", broker=urls[0], backend=urls[1], task_default_queue=name, control_exchange=name)
    alone = PROJ.replace('App("proj")', f'App("proj", control_exchange="{name}")')
    words = ["-c", "1", "-l", "INFO", "-n", f"{app.conf.task_default_queue}@h", "-Q", app.conf.task_default_queue]
    revoked = [app.send_task("proj.add", [1, n]) for n in range(3)]
    kept = app.send_task("proj.add", [1, 1])
    app.revoke([result.id for result in revoked[:2]])
    revoked[2].revoke()
    with running_worker(tmp_path, *words, app=alone, broker=urls[0], backend=urls[1]) as worker:
        assert kept.get(timeout=30) == 2
        until(lambda: [result.state for result in revoked] == ["REVOKED"] * 3, "the revokes")
        assert "3 tasks were revoked while no worker was up" in worker.log
        assert worker.stop() == 0
    app.close()
