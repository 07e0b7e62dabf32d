from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bootsteps.errors import DuplicateName, LoadError, SettingError, UnknownName
from bootsteps_tasks import App, Task


def test_a_task_is_still_a_function(app: App) -> None:
    @app.task
    def add(x: int, y: int = 1) -> int:
        """Add."""
        return x + y

    assert add(2) == 3
    assert (add.__doc__, add.__name__) == ("Add.", "add")
    assert app.tasks == {add.name: add}


def test_a_bound_task_gets_itself(app: App) -> None:
    @app.task(bind=True)
    def whoami(self: Task[..., Any], x: int) -> tuple[str, int]:
        return self.name, x

    assert whoami(5) == (whoami.name, 5)


def test_a_task_is_named_after_its_module_and_function(app: App) -> None:
    def add() -> None: ...

    add.__module__ = "pkg.jobs"
    assert app.task(add).name == "pkg.jobs.add"


def test_the_main_module_goes_by_the_name_of_the_application(app: App) -> None:
    def add() -> None: ...

    add.__module__ = "__main__"
    assert app.task(add).name == "proj.add"


@pytest.mark.parametrize("main", ["App(__name__)", "App()"])
def test_a_script_goes_by_the_name_under_which_a_worker_imports_it(tmp_path: Path, main: str) -> None:
    code = f"from bootsteps_tasks import App\napp = {main}\n@app.task\ndef add(): ...\nprint(add.name)\n"
    (tmp_path / "shop.py").write_text(code)
    for command in (["shop.py"], ["-m", "shop"]):
        done = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "shop.add"


def test_two_functions_of_one_task_name_are_an_error_that_names_both(app: App) -> None:
    @app.task(name="add")
    def first() -> None: ...

    with pytest.raises(DuplicateName, match="'add'") as caught:

        @app.task(name="add")
        def second() -> None: ...

    assert "first" in caught.value.whose[0]
    assert "second" in caught.value.whose[1]
    assert app.tasks["add"].run is first.run


def test_an_unknown_option_of_a_task_is_an_error_with_a_near_match(app: App) -> None:
    with pytest.raises(TypeError, match="no option 'prioriti'; did you mean 'priority'"):
        app.task(name="x", prioriti=3)(lambda: None)  # type: ignore[call-overload]


def test_a_task_without_a_choice_follows_the_setting_at_any_time(app: App) -> None:
    @app.task
    def plain() -> None: ...

    @app.task(acks_late=False, ignore_result=True)
    def own() -> None: ...

    assert (plain.acks_late, own.acks_late) == (True, False)
    app.conf.task_acks_late = False
    app.conf.override({"task_ignore_result": True})
    assert (plain.acks_late, plain.ignore_result) == (False, True)
    own.ignore_result = False
    assert own.ignore_result is False


def test_broker_and_backend_are_short_for_settings() -> None:
    app = App("proj", broker="memory://", backend="disabled://", task_default_queue="q")
    assert (app.conf.broker_url, app.conf.result_backend, app.conf.task_default_queue) == (
        "memory://",
        "disabled://",
        "q",
    )
    with pytest.raises(SettingError, match="broker= and broker_url="):
        App("proj", broker="memory://", broker_url="redis://")


def test_the_settings_have_no_faults_by_default_and_name_wrong_ones() -> None:
    assert App("proj").conf.faults() == []
    wrong: dict[str, Any] = {
        "task_queues": 5,
        "task_default_priority": "high",
        "result_expires": -1,
        "task_acks_lat": True,
    }
    assert len(App("proj", **wrong).conf.faults()) == len(wrong)


def test_load_imports_what_the_settings_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jobs_of_load.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    app = App("proj", imports=("jobs_of_load",), include=["jobs_of_load", "json"])
    assert [module.__name__ for module in app.load()] == ["jobs_of_load", "json"]


def test_load_tells_of_a_module_that_cannot_be_imported() -> None:
    with pytest.raises(LoadError, match="'jobs_of_nobody' cannot be imported: ModuleNotFoundError") as caught:
        App("proj", include=["jobs_of_nobody"]).load()
    assert "python -c 'import jobs_of_nobody'" in str(caught.value)


def names(app: App, *only: str) -> list[tuple[str, str, str]]:
    return [(queue.name, queue.exchange.name, queue.routing_key) for queue in app.queues(only)]


def test_a_worker_consumes_from_the_default_queue(app: App) -> None:
    assert names(app) == [("celery", "celery", "celery")]
    app.conf.task_default_queue = "jobs"
    assert names(app) == [("jobs", "jobs", "jobs")]
    app.conf.update(task_default_exchange="ex", task_default_routing_key="key")
    assert names(app) == [("jobs", "ex", "key")]


def test_queues_can_be_names_mappings_and_kombu_queues(app: App) -> None:
    from kombu import Exchange, Queue

    app.conf.task_queues = ["a", Queue("b", Exchange("bx", "topic"), routing_key="b.#"), Queue("c")]
    # As in Celery a queue without an exchange is bound to the default one.
    assert names(app) == [("a", "a", "a"), ("b", "bx", "b.#"), ("c", "celery", "celery")]
    app.conf.task_queues = {"d": {"exchange": "dx", "exchange_type": "topic", "binding_key": "d.*"}, "e": {}}
    assert names(app) == [("d", "dx", "d.*"), ("e", "celery", "e")]


def test_named_queues_are_picked_or_made(app: App) -> None:
    app.conf.task_queues = ["a", "b"]
    assert names(app, "b", "new", "b") == [("b", "b", "b"), ("new", "new", "new")]
    app.conf.task_create_missing_queues = False
    with pytest.raises(UnknownName, match="no queue is called 'bb'") as caught:
        app.queues(["bb"])
    assert "did you mean 'b'?" in str(caught.value)


def test_the_import_is_cheap() -> None:
    code = "import sys, bootsteps_tasks, bootsteps_tasks.cli\nprint([m for m in sys.argv[1:] if m in sys.modules])"
    heavy = ["kombu", "billiard", "networkx", "sqlite3", "amqp"]
    done = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
