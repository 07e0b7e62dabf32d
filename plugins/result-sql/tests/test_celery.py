"""A real Celery client on the same database, both ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy

from bootsteps_result_sql import SqlBackend
from bootsteps_tasks import errors
from bootsteps_tasks.backend import exception_from_meta, meta

Open = Callable[..., SqlBackend]

celery = pytest.importorskip("celery", reason="pip install 'celery>=5.7,<5.8'")
if not celery.__version__.startswith("5.7"):
    pytest.skip(f"Celery {celery.__version__}; pip install 'celery>=5.7,<5.8'", allow_module_level=True)


def client(url: str, **settings: Any) -> Any:
    app = celery.Celery("proj", broker="memory://", backend=url)
    app.conf.update(settings)
    return app


def described(engine: sqlalchemy.Engine) -> Any:
    look = sqlalchemy.inspect(engine)
    tables = ("celery_taskmeta", "celery_tasksetmeta")
    columns = {
        table: [(column["name"], str(column["type"]), column["default"]) for column in look.get_columns(table)]
        for table in tables
    }
    indices = {table: sorted((i["name"], i["unique"]) for i in look.get_indexes(table)) for table in tables}
    sequences = look.get_sequence_names() if engine.dialect.name == "postgresql" else []
    return columns, indices, sorted(sequences)


def test_the_tables_are_those_of_celery(opened: Open, url: str, engine: sqlalchemy.Engine) -> None:
    opened().store([meta("a", "SUCCESS", 1)])
    ours = described(engine)
    metadata = sqlalchemy.MetaData()
    metadata.reflect(engine)
    metadata.drop_all(engine)
    if engine.dialect.name == "postgresql":
        with engine.begin() as con:
            con.execute(sqlalchemy.text("drop sequence if exists task_id_sequence, taskset_id_sequence"))
    client(url, result_extended=True).backend.store_result("a", 1, "SUCCESS")
    assert described(engine) == ours


def test_celery_reads_what_we_stored(opened: Open, url: str) -> None:
    opened().store(
        [
            meta("ok", "SUCCESS", {"n": [1, "ü"]}, children=[[["c", None], None]]),
            meta("bad", "FAILURE", ValueError("bad", 42), "Traceback (most recent call last):"),
            meta("revoked", "REVOKED", errors.TaskRevokedError("expired")),
            meta("run", "STARTED", {"pid": 1}),
        ]
    )
    app = client(url)
    ok = app.AsyncResult("ok")
    assert (ok.get(timeout=30), [child.id for child in ok.children]) == ({"n": [1, "ü"]}, ["c"])
    bad = app.AsyncResult("bad")
    with pytest.raises(ValueError) as caught:
        bad.get(timeout=30)
    assert (caught.value.args, bad.traceback) == (("bad", 42), "Traceback (most recent call last):")
    with pytest.raises(celery.exceptions.TaskRevokedError, match="expired"):
        app.AsyncResult("revoked").get(timeout=30)
    assert app.AsyncResult("run").state == "STARTED"


def test_we_read_what_celery_stored_in_tables_of_its_own(opened: Open, url: str) -> None:
    app = client(url)
    app.backend.store_result("ok", {"n": 1}, "SUCCESS")
    app.backend.store_result("bad", ValueError("bad", 42), "FAILURE", traceback="Traceback")
    results = opened()
    ok, bad = results.get("ok") or {}, results.get("bad") or {}
    assert (ok["status"], ok["result"], ok["children"]) == ("SUCCESS", {"n": 1}, [])
    error = exception_from_meta(bad["result"])
    assert (type(error), error.args, bad["traceback"]) == (ValueError, ("bad", 42), "Traceback")
    results.store([meta("later", "SUCCESS", 1), meta("ok", "FAILURE", 1)])
    assert (results.get("ok") or {})["status"] == "SUCCESS"


def test_a_success_of_ours_is_final_for_celery(opened: Open, url: str) -> None:
    opened().store([meta("a", "SUCCESS", 1)])
    app = client(url)
    app.backend.store_result("a", ValueError(), "FAILURE")
    assert app.AsyncResult("a").get(timeout=30) == 1


def test_groups_are_read_both_ways(opened: Open, url: str) -> None:
    app, results = client(url), opened()
    theirs = celery.result.GroupResult("g1", [celery.result.AsyncResult("a", app=app)], app=app)
    theirs.save()
    assert results.restore_group("g1") == [["g1", None], [[["a", None], None]]]
    results.save_group("g2", [["g2", None], [[["b", None], None]]])
    ours = celery.result.GroupResult.restore("g2", app=app)
    assert [child.id for child in ours.children] == ["b"]
