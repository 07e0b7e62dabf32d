"""Tasks that wait for Django's commit, with a real Django and SQLite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bootsteps_tasks import App
from bootsteps_tasks.django import DjangoTask

django = pytest.importorskip("django", reason="pip install 'bootsteps-tasks[django]'")


@pytest.fixture(scope="module", autouse=True)
def databases(tmp_path_factory: pytest.TempPathFactory) -> None:
    from django.conf import settings

    folder: Path = tmp_path_factory.mktemp("django")
    names = ("default", "other")
    settings.configure(
        DATABASES={name: {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / name)} for name in names}
    )
    django.setup()


@pytest.fixture
def sent() -> list[Any]:
    return []


@pytest.fixture
def task(sent: list[Any]) -> Any:
    app = App("proj", broker="memory://", task_always_eager=True)

    @app.task(base=DjangoTask)
    def note(value: int, twice: bool = False) -> None:
        sent.append((value, twice))

    return note


def test_a_task_is_sent_when_the_transaction_is_committed(task: Any, sent: list[Any]) -> None:
    from django.db import transaction

    with transaction.atomic():
        task.delay_on_commit(1, twice=True)
        task.apply_async_on_commit((2,), countdown=0)
        assert sent == []
    assert sent == [(1, True), (2, False)]


def test_nothing_is_sent_when_it_is_rolled_back(task: Any, sent: list[Any]) -> None:
    from django.db import transaction

    with transaction.atomic():
        task.delay_on_commit(1)
        transaction.set_rollback(True)
    assert sent == []


def test_without_a_transaction_it_is_sent_at_once(task: Any, sent: list[Any]) -> None:
    task.delay_on_commit(3)
    assert sent == [(3, False)]


def test_the_transaction_may_be_another_database_s(task: Any, sent: list[Any]) -> None:
    from django.db import transaction

    with transaction.atomic(using="other"):
        task.apply_async_on_commit((4,), using="other")
        assert sent == []
    assert sent == [(4, False)]
