"""The fixtures in a test run of their own, and `start_worker` without pytest."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from bootsteps import BootError, KernelError
from bootsteps_pytest import start_worker
from bootsteps_tasks import App

pytest_plugins = ("pytester",)

CONFTEST = """
import pytest
pytest_plugins = ("bootsteps_pytest",)
"""


@pytest.fixture
def app(tmp_path: Path) -> App:
    return App("mine", broker=f"sqlite:///{tmp_path}/b.db", backend=f"sqlite:///{tmp_path}/r.db")


def test_a_test_has_an_application_and_a_worker_of_its_own(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile("""
        import threading
        import pytest

        def test_a_task_that_is_made_while_the_worker_runs(celery_app, celery_worker):
            @celery_app.task
            def add(x, y):
                return x + y, threading.current_thread().name

            total, thread = add.delay(2, 3).get(timeout=10)
            assert (total, thread) == (5, f"worker {celery_worker.hostname}")
            assert celery_app.send_task("celery.ping").get(timeout=10) == "pong"

        @pytest.mark.celery(task_default_queue="other")
        def test_the_marker_sets_settings(celery_app, celery_worker):
            assert celery_app.conf.task_default_queue == "other"
            assert [queue.name for queue in celery_worker.consumer.task_consumer.queues] == ["other"]

        def test_no_other_test_does(celery_app):
            assert celery_app.conf.task_default_queue == "celery"

        def test_one_worker_for_all(celery_session_app, celery_session_worker):
            assert celery_session_app.send_task("celery.ping").get(timeout=10) == "pong"

        def test_the_same_again(celery_session_app, celery_session_worker):
            assert celery_session_app.send_task("celery.ping").get(timeout=10) == "pong"
    """)
    pytester.runpytest_subprocess("-q", "--strict-markers").assert_outcomes(passed=5)


def test_a_suite_overrides_what_both_are_made_of(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        CONFTEST
        + """
@pytest.fixture(scope="session")
def celery_config():
    return {"task_default_queue": "configured"}

@pytest.fixture(scope="session")
def celery_parameters():
    return {"main": "named"}

@pytest.fixture(scope="session")
def celery_includes():
    return ["their_tasks"]

@pytest.fixture(scope="session")
def celery_worker_parameters():
    return {"hostname": "w@h", "worker_prefetch_multiplier": 7}

@pytest.fixture(scope="session")
def celery_class_tasks():
    from bootsteps_tasks import Task
    class Twice(Task):
        name = "twice"
        def run(self, x):
            return 2 * x
    return [Twice()]
"""
    )
    tasks = "from bootsteps_tasks import shared_task\n@shared_task(name='shared')\ndef shared():\n    return 7\n"
    pytester.makepyfile(their_tasks=tasks)
    pytester.makepyfile("""
        def test_all(celery_app, celery_worker):
            assert (celery_app.main, celery_app.conf.task_default_queue) == ("named", "configured")
            assert celery_worker.hostname == "w@h"
            assert celery_app.conf.worker_prefetch_multiplier == 7
            assert celery_app.send_task("twice", [4]).get(timeout=10) == 8
            assert celery_app.send_task("shared").get(timeout=10) == 7
    """)
    pytester.runpytest_subprocess("-q").assert_outcomes(passed=1)


def test_the_environment_names_places_and_can_do_without_workers(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile("""
        import os

        def test_places(celery_app):
            assert celery_app.conf.broker_url == os.environ["TEST_BROKER"]
            assert celery_app.conf.result_backend == os.environ["TEST_BACKEND"]

        def test_with_a_worker(celery_worker):
            raise AssertionError
    """)
    monkeypatch.setenv("TEST_BROKER", f"sqlite:///{tmp_path}/there.db")
    monkeypatch.setenv("TEST_BACKEND", "disabled")
    monkeypatch.setenv("NO_WORKER", "1")
    pytester.runpytest_subprocess("-q").assert_outcomes(passed=1, skipped=1)


def test_a_worker_ends_with_its_block_and_leaves_the_application_as_it_was(app: App) -> None:
    app.conf.worker_prefetch_multiplier = 3
    before = threading.active_count()
    with start_worker(app, worker_prefetch_multiplier=2) as worker:
        assert app.conf.worker_prefetch_multiplier == 2
        name = f"worker {worker.hostname}"
        assert name in {thread.name for thread in threading.enumerate()}
    assert name not in {thread.name for thread in threading.enumerate()}
    assert threading.active_count() <= before + 1  # a client's own
    assert (app.conf.worker_prefetch_multiplier, app.conf.source("worker_pool")) == (3, "default")
    app.close()


def test_a_worker_that_cannot_start_says_why(app: App) -> None:
    with pytest.raises(BootError, match="no installed plugin offers that pool"), start_worker(app, pool="none-such"):
        raise AssertionError
    app.close()


def test_a_task_that_does_not_end_is_told(app: App) -> None:
    go = threading.Event()
    runs = threading.Event()

    @app.task
    def wait() -> None:
        runs.set()
        go.wait(60)

    block = start_worker(app, shutdown_timeout=0.1)
    worker = block.__enter__()
    wait.delay()
    assert runs.wait(10)
    with pytest.raises(KernelError, match=r"has not ended after 0\.1 s"):
        block.__exit__(None, None, None)
    go.set()
    [thread] = [thread for thread in threading.enumerate() if thread.name == f"worker {worker.hostname}"]
    thread.join(20)
    assert not thread.is_alive()
    app.close()


def test_a_broker_of_kombus_in_memory_does_too(tmp_path: Path) -> None:
    app = App("mine", broker="memory://", backend=f"sqlite:///{tmp_path}/r.db")
    with start_worker(app):
        assert app.send_task("celery.ping").get(timeout=10) == "pong"
    app.close()
