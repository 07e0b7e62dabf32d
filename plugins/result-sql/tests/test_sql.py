from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy

from bootsteps.errors import KernelError, SettingError
from bootsteps_result_sql import SqlBackend, backend
from bootsteps_tasks import App, Backend
from bootsteps_tasks.backend import meta

Open = Callable[..., SqlBackend]


def rows(engine: sqlalchemy.Engine, columns: str = "*", table: str = "celery_taskmeta") -> list[Any]:
    with engine.connect() as con:
        return [tuple(row) for row in con.execute(sqlalchemy.text(f"select {columns} from {table} order by id"))]


def test_what_is_stored_comes_back(opened: Open) -> None:
    results = opened()
    assert isinstance(results, Backend)
    stored = [
        meta("a", "SUCCESS", {"n": [1, Decimal("1.5"), datetime(2020, 1, 1, tzinfo=UTC), b"\xff"]}),
        meta("b", "FAILURE", ValueError("bad", 42), "Traceback", [[["c", None], None]]),
        meta("s", "STARTED", {"pid": 1, "hostname": "w1@host"}),
    ]
    results.store(stored)
    assert results.get_many(["a", "b", "s", "none"]) == {found["task_id"]: found for found in stored}
    assert results.get("none") is None
    assert results.get_many([]) == {}


def test_more_ids_than_one_statement_names(opened: Open) -> None:
    results = opened()
    ids = [f"t{number}" for number in range(2 * backend.CHUNK + 1)]
    results.store([meta(task_id, "SUCCESS", 1) for task_id in ids])
    assert set(results.get_many(ids)) == set(results.wait(ids, 0)) == set(ids)


def test_a_success_is_final_and_everything_else_is_replaced(opened: Open, engine: sqlalchemy.Engine) -> None:
    results = opened()
    for state in ("STARTED", "RETRY", "REVOKED", "FAILURE", "SUCCESS"):
        results.store([meta("a", state, state)])
        assert rows(engine, "status") == [(state,)]
    results.store([meta("a", "FAILURE", "later"), meta("a", "SUCCESS", "again")])
    assert rows(engine, "status, result") == [("SUCCESS", b'"SUCCESS"')]
    results.store([meta("b", "FAILURE", 1), meta("b", "SUCCESS", 2), meta("b", "FAILURE", 3)])
    assert (results.get("b") or {})["result"] == 2


def test_the_same_without_a_statement_for_it(opened: Open, engine: sqlalchemy.Engine, monkeypatch: Any) -> None:
    from bootsteps_result_sql.tables import Tables

    monkeypatch.setattr(Tables, "upsert", Tables._replace)
    results = opened()
    for state in ("STARTED", "FAILURE", "SUCCESS", "FAILURE"):
        results.store([meta("a", state, state), meta("other", "SUCCESS", 1)])
    assert rows(engine, "task_id, status") == [("a", "SUCCESS"), ("other", "SUCCESS")]


def test_a_batch_is_stored_as_a_whole_or_not_at_all(opened: Open) -> None:
    results = opened()
    results.store([meta("before", "SUCCESS", 1)])
    with pytest.raises(KernelError, match="refuses"):
        results.store([meta("a", "SUCCESS", 1), {**meta("b", "SUCCESS", 1), "traceback": object()}])
    assert set(results.get_many(["before", "a", "b"])) == {"before"}


def test_a_result_that_cannot_be_serialized_spoils_no_other(opened: Open) -> None:
    results = opened()
    results.store([meta("odd", "SUCCESS", object()), meta("good", "SUCCESS", 1)])
    odd = results.get("odd") or {}
    assert (odd["status"], odd["result"]["exc_type"]) == ("FAILURE", "EncodeError")
    assert (results.get("good") or {})["status"] == "SUCCESS"


def test_extended_results_keep_what_else_is_known(opened: Open) -> None:
    results = opened(result_extended=True)
    further: dict[str, Any] = {"name": "proj.add", "args": [1, 2], "kwargs": {}}
    further |= {"worker": "w@h", "retries": 1, "queue": "celery"}
    results.store([meta("a", "SUCCESS", 3, **further, stamped_headers=["tenant"], tenant="acme")])
    found = results.get("a") or {}
    assert {key: found[key] for key in further} == further
    assert (found["stamped_headers"], found["tenant"]) == (["tenant"], "acme")


def test_who_waits_gets_what_another_stores_and_what_is_there_already(opened: Open) -> None:
    results, other = opened(), opened()
    got: list[Any] = []
    waiting = threading.Thread(target=lambda: got.append(results.wait(["a", "b"], 30)))
    waiting.start()
    other.store([meta("a", "STARTED")])
    other.store([meta("b", "SUCCESS", 2)])
    waiting.join(30)
    assert [set(found) for found in got] == [{"b"}]
    assert set(results.wait(["b"])) == {"b"}


def test_waiting_ends_in_time_and_at_once_for_nothing(opened: Open) -> None:
    results = opened()
    began = time.monotonic()
    assert results.wait(["none"], 0.2) == {}
    assert 0.2 <= time.monotonic() - began < 5
    assert results.wait([]) == {}


def test_what_is_forgotten_is_gone(opened: Open) -> None:
    results = opened()
    results.store([meta("a", "SUCCESS", 1)])
    results.forget("a")
    results.forget("a")
    assert results.get("a") is None


def test_groups_are_saved_replaced_and_deleted(opened: Open, engine: sqlalchemy.Engine) -> None:
    results = opened()
    found = [["g", None], [[["a", None], None], [["b", None], None]]]
    for _ in range(2):
        results.save_group("g", found)
    assert results.restore_group("g") == found
    assert len(rows(engine, table="celery_tasksetmeta")) == 1
    results.delete_group("g")
    assert results.restore_group("g") is None


def test_old_results_are_deleted(opened: Open, engine: sqlalchemy.Engine) -> None:
    results = opened(result_expires=60)
    results.store([meta("old", "SUCCESS", 1), meta("new", "SUCCESS", 1)])
    results.save_group("g", [["g", None], []])
    long_ago = datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=61)
    with engine.begin() as con:
        statement = sqlalchemy.text("update celery_taskmeta set date_done = :date where task_id = 'old'")
        con.execute(statement.bindparams(sqlalchemy.bindparam("date", long_ago, sqlalchemy.DateTime)))
    assert results.cleanup() == 1
    assert set(results.get_many(["old", "new"])) == {"new"}
    assert opened(result_expires=0).cleanup() == 0


def test_tables_may_have_other_names(opened: Open, engine: sqlalchemy.Engine) -> None:
    options = {"table_names": {"task": "my_tasks", "group": "my_groups"}}
    results = opened(result_backend_transport_options=options)
    results.store([meta("a", "SUCCESS", 1)])
    assert rows(engine, "task_id", "my_tasks") == [("a",)]


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_connection_that_the_server_ends_is_made_anew(opened: Open, engine: sqlalchemy.Engine) -> None:
    results = opened()
    results.store([meta("a", "SUCCESS", 1)])
    with engine.begin() as con:
        others = "pid <> pg_backend_pid() and client_port > 0"
        ended = f"select pg_terminate_backend(pid) from pg_stat_activity where {others}"
        assert con.execute(sqlalchemy.text(ended)).fetchall()
    assert set(results.get_many(["a"])) == {"a"}


def test_a_forked_child_makes_connections_of_its_own(opened: Open) -> None:
    results = opened()
    results.store([meta("a", "SUCCESS", 1)])
    child = multiprocessing.get_context("fork").Process(target=results.store, args=([meta("b", "SUCCESS", 2)],))
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert set(results.get_many(["a", "b"])) == {"a", "b"}


def test_children_of_several_processes_store_the_same_tasks_without_a_deadlock(opened: Open) -> None:
    results = opened()
    results.store([meta("t0", "STARTED")])
    context = multiprocessing.get_context("fork")
    metas = [meta(f"t{number}", "FAILURE", 1) for number in range(50)]
    orders = (metas, metas[::-1])
    children = [context.Process(target=_store, args=(results, order)) for order in orders]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0]
    assert len(results.get_many([f"t{number}" for number in range(50)])) == 50


def _store(results: SqlBackend, metas: Any) -> None:
    for _ in range(20):
        results.store(metas)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("db", "names no database"),
        ("db+", "names no database"),
        ("db+nosuch://u:secret@h/x", "cannot be read"),
        ("db+oracle://u:secret@h/x", "needs a driver that is not installed"),
    ],
)
def test_a_wrong_url_is_refused_without_its_password(url: str, reason: str) -> None:
    with pytest.raises(SettingError, match=reason) as caught:
        SqlBackend(App("proj"), url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("options", [{"engine_options": 1}, {"table_names": {"tasks": "x"}}, {"table_schemas": "x"}])
def test_wrong_options_are_refused(options: Any) -> None:
    with pytest.raises(SettingError, match=next(iter(options))):
        SqlBackend(App("proj", result_backend_transport_options=options), "db+sqlite://")


def test_a_database_that_is_not_there_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psycopg", reason="pip install 'psycopg[binary]'")
    monkeypatch.setattr(backend, "DEADLINE_S", 0.2)
    results = SqlBackend(App("proj"), "db+postgresql+psycopg://u:secret@127.0.0.1:1/x")
    with pytest.raises(KernelError, match="cannot be used") as caught:
        results.get("a")
    assert "secret" not in str(caught.value)


def test_an_application_finds_it_by_its_scheme(url: str, engine: sqlalchemy.Engine) -> None:
    app = App("proj", broker="memory://", backend=url)
    assert isinstance(app.backend, SqlBackend)
    app.backend.store([meta("a", "SUCCESS", 5)])
    assert app.AsyncResult("a").get(timeout=0) == 5
    app.close()
