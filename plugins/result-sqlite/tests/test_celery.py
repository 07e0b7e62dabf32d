"""A real Celery client on the same file, both ways."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bootsteps_result_sqlite import SqliteBackend
from bootsteps_tasks import errors
from bootsteps_tasks.backend import exception_from_meta, meta

Open = Callable[..., SqliteBackend]

pytest.importorskip("sqlalchemy", reason="pip install sqlalchemy")
celery = pytest.importorskip("celery", reason="pip install 'celery>=5.7,<5.8'")
if not celery.__version__.startswith("5.7"):
    pytest.skip(f"Celery {celery.__version__}; pip install 'celery>=5.7,<5.8'", allow_module_level=True)


def client(path: Path, **settings: Any) -> Any:
    path.parent.mkdir(exist_ok=True)
    app = celery.Celery("proj", broker="memory://", backend=f"db+sqlite:///{path}")
    app.conf.update(settings)
    return app


def columns(path: Path, table: str) -> Any:
    with sqlite3.connect(path) as con:
        found = [row[1:4] for row in con.execute(f"pragma table_info({table})")]
        made = con.execute("select sql from sqlite_master where name = ?", (table,)).fetchone()[0]
        indices = {row[1:3] for row in con.execute(f"pragma index_list({table})")}
    con.close()
    return found, "AUTOINCREMENT" in made, indices


@pytest.mark.parametrize("extended", [False, True])
def test_the_tables_are_those_of_celery(opened: Open, tmp_path: Path, extended: bool) -> None:
    ours = opened(result_extended=extended)
    ours.store([meta("a", "SUCCESS", 1)])
    theirs = tmp_path / "celery.db"
    client(theirs, result_extended=extended).backend.store_result("a", 1, "SUCCESS")
    for table in ("celery_taskmeta", "celery_tasksetmeta"):
        assert columns(ours.path, table) == columns(theirs, table)


def test_celery_reads_what_we_stored(opened: Open) -> None:
    backend = opened()
    children = [[["c", None], None]]
    backend.store(
        [
            meta("ok", "SUCCESS", {"n": [1, "ü"]}, children=children),
            meta("bad", "FAILURE", ValueError("bad", 42), "Traceback (most recent call last):"),
            meta("revoked", "REVOKED", errors.TaskRevokedError("expired")),
            meta("lost", "FAILURE", errors.WorkerLostError("signal 9")),
            meta("run", "STARTED", {"pid": 1}),
        ]
    )
    app = client(backend.path)
    ok = app.AsyncResult("ok")
    assert (ok.get(timeout=30), ok.state, [child.id for child in ok.children]) == ({"n": [1, "ü"]}, "SUCCESS", ["c"])
    assert ok.date_done is not None
    bad = app.AsyncResult("bad")
    with pytest.raises(ValueError) as caught:
        bad.get(timeout=30)
    assert caught.value.args == ("bad", 42)
    assert bad.traceback.startswith("Traceback")
    with pytest.raises(celery.exceptions.TaskRevokedError, match="expired"):
        app.AsyncResult("revoked").get(timeout=30)
    from billiard.exceptions import WorkerLostError

    with pytest.raises(WorkerLostError, match="signal 9"):
        app.AsyncResult("lost").get(timeout=30)
    assert app.AsyncResult("run").state == "STARTED"


def test_we_read_what_celery_stored(opened: Open) -> None:
    backend = opened()
    app = client(backend.path)
    app.backend.store_result("ok", {"n": [1, "ü"]}, "SUCCESS")
    app.backend.store_result("bad", KeyError("k"), "FAILURE", traceback="Traceback x")
    found = backend.wait(["ok", "bad"], timeout=0)
    assert (found["ok"]["status"], found["ok"]["result"], found["ok"]["children"]) == ("SUCCESS", {"n": [1, "ü"]}, [])
    assert found["ok"]["date_done"].endswith("+00:00")
    exc = exception_from_meta(found["bad"]["result"])
    assert (type(exc), exc.args, found["bad"]["traceback"]) == (KeyError, ("k",), "Traceback x")


def test_a_success_of_either_side_is_final_for_the_other(opened: Open) -> None:
    backend = opened()
    app = client(backend.path)
    app.backend.store_result("theirs", 1, "SUCCESS")
    backend.store([meta("theirs", "FAILURE", ValueError()), meta("ours", "SUCCESS", 2)])
    app.backend.store_result("ours", ValueError(), "FAILURE")
    assert {key: found["result"] for key, found in backend.get_many(["ours", "theirs"]).items()} == {
        "ours": 2,
        "theirs": 1,
    }


def test_celery_cleans_up_what_we_stored_and_we_what_it_stored(opened: Open) -> None:
    backend = opened(result_expires=60)
    old = "2020-01-01T00:00:00+00:00"
    backend.store([{**meta("old", "SUCCESS", 1), "date_done": old}, meta("new", "SUCCESS", 1)])
    client(backend.path, result_expires=60).backend.cleanup()
    assert set(backend.get_many(["old", "new"])) == {"new"}
