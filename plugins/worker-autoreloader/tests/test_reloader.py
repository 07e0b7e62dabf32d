"""What counts as a change, and the step, without a worker."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bootsteps import POOL, TIMER, BootError, KernelError, find_app
from bootsteps.errors import LoadError
from bootsteps.testing import FakePool, FakeTimer, make_blueprint
from bootsteps_tasks import App, shared
from bootsteps_tasks.renewal import modules_of
from bootsteps_worker_autoreloader import AUTORELOADER, Autoreloader
from bootsteps_worker_autoreloader.step import AutoreloaderStep

log = logging.getLogger("test")


@pytest.fixture
def acts(tmp_path: Path) -> tuple[list[str], Autoreloader, Path]:
    path = tmp_path / "watched.py"
    path.write_text("1\n")
    done: list[str] = []
    return done, Autoreloader(lambda: [str(path)], lambda: done.append(path.read_text()), log), path


def rewrite(path: Path) -> None:
    """Write as many bytes at the same instant."""
    before = path.stat()
    path.write_text("2\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))


def replace(path: Path) -> None:
    """As careful editors do it, and a file of the same time and size."""
    before = path.stat()
    fresh = path.with_suffix(".new")
    fresh.write_text("2\n")
    os.utime(fresh, ns=(before.st_atime_ns, before.st_mtime_ns))
    fresh.replace(path)


@pytest.mark.parametrize("change", [rewrite, replace])
def test_a_change_is_seen_once_when_it_is_over(acts, change: Callable[[Path], None]) -> None:
    done, found, path = acts
    found.look()
    change(path)
    found.look()
    assert done == [], "it might still be written"
    for _ in range(3):
        found.look()
    assert done == ["2\n"]


def test_what_cannot_be_renewed_is_told_in_one_line_and_tried_again_after_the_next_change(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, calls = tmp_path / "watched.py", []

    def renew() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise KernelError("it is broken", ("somebody",), "mend it")

    path.write_text("1\n")
    found = Autoreloader(lambda: [str(path)], renew, log)
    for text in ("2\n2\n", "3\n"):
        path.write_text(text)
        for _ in range(4):
            found.look()
    assert len(calls) == 2
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        f"changed: {path}; the old code goes on: it is broken"
    ]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    """A package with an application, a module of tasks and one beside them; no other test's shared tasks join it."""
    monkeypatch.setattr(shared, "_declared", [])
    package = tmp_path / "renewed"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "words.py").write_text("WORD = 'old'\n")
    (package / "main.py").write_text(
        "from bootsteps_tasks import App\napp = App('renewed.main', include=('renewed.tasks',))\n"
        "@app.hooks.connect('task_prerun')\ndef heard(): pass\n"
    )
    (package / "tasks.py").write_text(
        "from bootsteps_tasks import shared_task\nfrom renewed.main import app\nfrom renewed import words\n"
        "@app.task\ndef say(): return words.WORD\n@shared_task\ndef common(): return words.WORD\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    app = find_app("renewed.main:app")
    assert isinstance(app, App)
    app.load()
    yield app
    names = modules_of(app)
    shared.forget(names)
    for name in names:
        sys.modules.pop(name, None)


def test_the_modules_of_an_application_are_those_it_names_and_what_is_beside_them(made: App) -> None:
    assert modules_of(made) == ["renewed", "renewed.main", "renewed.tasks", "renewed.words"]


def test_an_application_has_the_new_tasks_and_listeners_after_a_change(made: App, tmp_path: Path) -> None:
    assert made.tasks["renewed.tasks.say"]() == "old"
    (tmp_path / "renewed" / "words.py").write_text("WORD = 'new'\n")
    tasks = tmp_path / "renewed" / "tasks.py"
    tasks.write_text("# moved\n" + tasks.read_text() + "@app.task(time_limit=3)\ndef more(): pass\n")
    made.renew()
    assert {made.tasks[f"renewed.tasks.{name}"]() for name in ("say", "common")} == {"new"}
    assert made.tasks["renewed.tasks.more"].time_limit == 3
    assert {task.app for task in made.tasks.values()} == {made}
    assert "celery.chain" in made.tasks
    (listener,) = made.hooks.listeners("task_prerun")
    assert listener.function is sys.modules["renewed.main"].heard
    made.renew()
    assert len(made.hooks.listeners("task_prerun")) == 1


@pytest.mark.parametrize("text", ["def say(:\n", "1 / 0\n", "import no_such_module\n", "raise SystemExit(3)\n"])
def test_an_application_that_cannot_be_imported_goes_on_as_it_was(made: App, tmp_path: Path, text: str) -> None:
    before = {name: sys.modules[name] for name in modules_of(made)}
    (tmp_path / "renewed" / "tasks.py").write_text(text)
    with pytest.raises(LoadError, match=r"'renewed.tasks' cannot be imported|cannot be imported anew"):
        made.renew()
    assert {name: sys.modules[name] for name in modules_of(made)} == before
    assert made.tasks["renewed.tasks.say"]() == "old"
    assert made.tasks["renewed.tasks.common"]() == "old"


def test_the_step_watches_renews_and_replaces(made: App, tmp_path: Path) -> None:
    timer, pool = FakeTimer(), FakePool()
    made.conf.worker_autoreload = True
    blueprint = make_blueprint([AutoreloaderStep], {TIMER: timer, POOL: pool}, made)
    blueprint.apply()
    blueprint.start()
    assert str(tmp_path / "renewed" / "words.py") in blueprint.parent.get(AUTORELOADER).files
    timer.advance(5.0)
    assert pool.restarts == 0
    (tmp_path / "renewed" / "words.py").write_text("WORD = 'newer'\n")
    timer.advance(5.0)
    assert (pool.restarts, made.tasks["renewed.tasks.say"]()) == (1, "newer")
    blueprint.stop()
    assert timer.pending == 0
    made.conf.worker_autoreload = False


def test_an_application_that_was_not_imported_is_refused() -> None:
    blueprint = make_blueprint([AutoreloaderStep], {TIMER: FakeTimer(), POOL: FakePool()}, App(worker_autoreload=True))
    with pytest.raises(KernelError, match="--autoreload cannot import") as caught:
        blueprint.apply()
    assert not isinstance(caught.value, BootError)
