"""The command `pool_restart`: new children, none in the midst of a task."""

from __future__ import annotations

import os

import pytest

from workers import TASKS, running_worker, until

celery = pytest.importorskip("celery")

APP = (
    TASKS
    + """
    import proj_told
    app.conf.update(control_exchange=NAME, task_default_queue=NAME, worker_pool_restarts=ALLOWED)

    @app.task
    def told():
        return proj_told.TEXT, os.getpid()

    @app.task
    def place():
        from billiard.process import current_process
        return current_process().index
"""
)


def app_of(name, allowed):
    return APP.replace("NAME", repr(name)).replace("ALLOWED", str(allowed))


@pytest.fixture
def name(tmp_path):
    return f"restart-{os.getpid()}-{tmp_path.name}"


@pytest.fixture
def asking(redis_url, name, client):
    client.conf.update(broker_url=redis_url, task_default_queue=name)
    made = celery.Celery("client", broker=redis_url, control_exchange=name, broker_pool_limit=None)
    yield made
    made.close()


def ask(asking, **arguments):
    (reply,) = asking.control.broadcast("pool_restart", arguments, reply=True, timeout=10, limit=1)
    (answer,) = reply.values()
    return answer


def write(folder, text):
    (folder / "proj_told.py").write_text(f"TEXT = {text!r}  # {'x' * len(text)}\n")


@pytest.mark.parametrize("how", ["fork", "spawn", "forkserver"])
def test_children_are_replaced_after_their_task_in_their_places_and_with_the_new_code(
    tmp_path, client, asking, name, redis_url, how
):
    write(tmp_path, "old")
    app = app_of(name, allowed=True)
    with running_worker(tmp_path, "-c", "2", "--pool-start-method", how, app=app, broker=redis_url) as worker:
        worker.until_logged("the mailbox is open")
        text, pid = client.send_task("proj.told").get(timeout=30)
        assert text == "old"
        nap = client.send_task("proj.nap", [2.0, str(tmp_path / "nap")])
        until((tmp_path / "nap").exists)
        write(tmp_path, "brand new")
        assert ask(asking, modules=["proj_told"], reload=True) == {"ok": "reload started"}
        until(lambda: client.send_task("proj.told").get(timeout=30)[0] == "brand new")
        assert nap.get(timeout=30) == 2.0
        assert client.send_task("proj.told").get(timeout=30)[1] != pid
        places = {client.send_task("proj.place").get(timeout=30) for _ in range(20)}
        assert places <= {0, 1}
        assert worker.stop() == 0
        assert "lost" not in worker.log


def test_a_pool_without_children_gets_the_new_code_too(tmp_path, client, asking, name, redis_url):
    write(tmp_path, "old")
    app = app_of(name, allowed=True)
    with running_worker(tmp_path, "-P", "threads", "-c", "1", app=app, broker=redis_url) as worker:
        worker.until_logged("the mailbox is open")
        assert client.send_task("proj.told").get(timeout=30)[0] == "old"
        write(tmp_path, "brand new")
        assert ask(asking, modules=["proj_told"], reload=True) == {"ok": "reload started"}
        assert client.send_task("proj.told").get(timeout=30)[0] == "brand new"


def test_it_is_refused_unless_allowed_and_for_modules_that_are_not_there(tmp_path, asking, name, redis_url):
    write(tmp_path, "old")
    with running_worker(tmp_path, "-c", "1", app=app_of(name, allowed=False), broker=redis_url) as worker:
        worker.until_logged("the mailbox is open")
        assert ask(asking) == {"error": "ValueError('Pool restarts not enabled')"}
    with running_worker(tmp_path, "-c", "1", app=app_of(name, allowed=True), broker=redis_url) as worker:
        worker.until_logged("the mailbox is open")
        children = worker.children()
        assert "no_such_module" in ask(asking, modules=["no_such_module"])["error"]
        assert worker.children() == children
        assert ask(asking) == {"ok": "reload started"}
        until(lambda: len(worker.children()) == 1 and worker.children() != children)
