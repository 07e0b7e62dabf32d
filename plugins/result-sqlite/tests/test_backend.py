from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bootsteps.errors import KernelError, SettingError
from bootsteps_result_sqlite import SqliteBackend
from bootsteps_tasks import App, AsyncResult, Backend
from bootsteps_tasks.backend import meta

Open = Callable[..., SqliteBackend]


def rows(path: Path, columns: str = "*") -> list[Any]:
    with sqlite3.connect(path) as con:
        found = con.execute(f"select {columns} from celery_taskmeta order by id").fetchall()
    con.close()
    return found


def test_what_is_stored_comes_back(opened: Open) -> None:
    backend = opened()
    assert isinstance(backend, Backend)
    stored = [
        meta("a", "SUCCESS", {"n": [1, Decimal("1.5"), datetime(2020, 1, 1, tzinfo=UTC), b"\xff"]}),
        meta("b", "FAILURE", ValueError("bad", 42), "Traceback", [[["c", None], None]]),
        meta("s", "STARTED", {"pid": 1, "hostname": "w1@host"}),
    ]
    backend.store(stored)
    assert backend.get_many(["a", "b", "s", "none"]) == {found["task_id"]: found for found in stored}
    assert backend.get("none") is None
    assert backend.get_many([]) == {}


def test_it_is_the_default_backend_of_an_application(tmp_path: Path) -> None:
    app = App("proj", broker="memory://")
    backend = app.backend
    assert isinstance(backend, SqliteBackend)
    assert backend.path == tmp_path / "state/bootsteps/proj/results.db"
    backend.store([meta("a", "SUCCESS", 5)])
    assert AsyncResult("a", app).get(timeout=0) == 5
    app.close()


def test_a_success_is_final_and_everything_else_is_replaced(opened: Open) -> None:
    backend = opened()
    for state in ("STARTED", "RETRY", "REVOKED", "FAILURE", "SUCCESS"):
        backend.store([meta("a", state, state)])
        assert rows(backend.path, "status") == [(state,)]
    backend.store([meta("a", "FAILURE", "later"), meta("a", "SUCCESS", "again")])
    found = backend.get("a")
    assert found is not None
    assert (found["status"], found["result"]) == ("SUCCESS", "SUCCESS")
    assert len(rows(backend.path)) == 1


def test_a_batch_is_stored_as_a_whole_or_not_at_all(opened: Open) -> None:
    backend = opened()
    backend.store([meta("before", "SUCCESS", 1)])
    with pytest.raises(sqlite3.Error):
        backend.store([meta("a", "SUCCESS", 1), {**meta("b", "SUCCESS", 1), "traceback": object()}])
    assert set(backend.get_many(["before", "a", "b"])) == {"before"}


def test_a_result_that_cannot_be_serialized_spoils_no_other(opened: Open) -> None:
    backend = opened()
    backend.store([meta("odd", "SUCCESS", object()), meta("good", "SUCCESS", 1)])
    odd, good = backend.get("odd"), backend.get("good")
    assert odd is not None
    assert odd["status"] == "FAILURE"
    assert odd["result"]["exc_type"] == "EncodeError"
    assert good is not None
    assert good["status"] == "SUCCESS"


def test_dates_are_naive_utc_and_come_back_aware(opened: Open) -> None:
    backend = opened()
    moment = "2026-11-21T04:02:17+03:00"
    backend.store([{**meta("a", "SUCCESS", 1), "date_done": moment}])
    assert rows(backend.path, "date_done") == [("2026-11-21 01:02:17.000000",)]
    found = backend.get("a")
    assert found is not None
    assert datetime.fromisoformat(found["date_done"]) == datetime.fromisoformat(moment)


def test_no_children_are_null_as_celery_writes_them(opened: Open) -> None:
    backend = opened()
    backend.store([meta("a", "SUCCESS", 1), meta("b", "SUCCESS", 1, children=[[["c", None], None]])])
    assert rows(backend.path, "children") == [(None,), (b'[[["c", null], null]]',)]


def test_a_locked_file_is_tried_again_until_it_is_free(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    from bootsteps_result_sqlite import connection

    monkeypatch.setattr(connection, "BUSY_S", 0.0)
    backend = opened()
    backend.store([meta("before", "SUCCESS", 1)])
    refused = threading.Event()
    is_busy = connection._is_busy

    def noting(exc: sqlite3.Error) -> bool:
        refused.set()
        return is_busy(exc)

    monkeypatch.setattr(connection, "_is_busy", noting)
    other = sqlite3.connect(backend.path, isolation_level=None)
    other.execute("begin immediate")
    storing = threading.Thread(target=backend.store, args=([meta("a", "SUCCESS", 1)],))
    storing.start()
    assert refused.wait(30)
    assert backend.get("before") is not None  # readers are not kept waiting
    other.execute("commit")
    storing.join(30)
    assert backend.get("a") is not None
    other.execute("begin immediate")
    monkeypatch.setattr(connection, "DEADLINE_S", 0.0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        backend.store([meta("b", "SUCCESS", 1)])
    other.close()


def test_extended_results_have_their_columns_also_in_an_old_file(opened: Open) -> None:
    plain = opened()
    plain.store([meta("plain", "SUCCESS", 1)])
    with sqlite3.connect(plain.path) as con:
        con.execute("alter table celery_taskmeta drop column stamps")
        con.execute("alter table celery_taskmeta drop column worker")
    con.close()
    plain.close()
    backend = opened(result_extended=True)
    extra: dict[str, Any] = {
        "name": "add",
        "args": [1],
        "kwargs": {"y": 2},
        "worker": "w1@host",
        "retries": 1,
        "queue": "celery",
    }
    backend.store([meta("a", "SUCCESS", 1, **extra, stamped_headers=["tenant"], tenant="acme")])
    found = backend.get("a")
    assert found is not None
    assert extra.items() <= found.items()
    assert (found["stamped_headers"], found["tenant"]) == (["tenant"], "acme")
    assert backend.get("plain") is not None
    opened().store([meta("later", "SUCCESS", 1)])


def test_another_serializer_is_kept_to(opened: Open) -> None:
    backend = opened(result_serializer="pickle")
    backend.store([meta("a", "SUCCESS", {1, 2})])
    assert rows(backend.path, "substr(result, 1, 1)") == [(b"\x80",)]
    found = backend.get("a")
    assert found is not None
    assert found["result"] == {1, 2}


def test_a_pickle_is_not_opened_unless_the_operator_allows_it(opened: Open) -> None:
    from kombu.exceptions import ContentDisallowed

    opened(result_serializer="pickle").store([meta("old", "SUCCESS", 7)])
    with pytest.raises(ContentDisallowed):
        opened().get("old")
    found = opened(result_accept_content=("json", "pickle")).get("old")
    assert found is not None
    assert found["result"] == 7


def test_files_and_folder_are_the_users_alone(opened: Open) -> None:
    backend = opened()
    mask = os.umask(0)
    try:
        backend.store([meta("a", "SUCCESS", 1)])
    finally:
        os.umask(mask)
    assert stat.S_IMODE(backend.path.parent.stat().st_mode) == 0o700
    files = list(backend.path.parent.iterdir())
    assert len(files) == 3  # with WAL and shared memory
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///", "sqlite://host/x.db", "sqlite:///:memory:", "sqlite:////x/"]
)
def test_a_url_without_a_file_is_refused(url: str) -> None:
    with pytest.raises(SettingError, match="names no file") as caught:
        SqliteBackend(App("proj"), url)
    assert "sqlite:////var/lib/app/results.db" in caught.value.fix


def test_a_file_that_cannot_be_made_or_is_none_of_ours_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder, not a database")
    for path, reason in ((tmp_path / "file" / "r.db", "cannot be created"), (tmp_path / "file", "cannot be used")):
        with pytest.raises(KernelError, match=reason):
            SqliteBackend(App("proj"), f"sqlite:///{path}").get("a")


def test_forget_deletes(opened: Open) -> None:
    backend = opened()
    backend.store([meta("a", "SUCCESS", 1), meta("b", "SUCCESS", 1)])
    backend.forget("a")
    backend.forget("never")
    assert set(backend.get_many(["a", "b"])) == {"b"}


def test_expired_results_are_deleted_and_younger_ones_stay(opened: Open) -> None:
    backend = opened(result_expires=60)
    old = (datetime.now(UTC) - timedelta(seconds=61)).isoformat()
    backend.store([{**meta("old", "SUCCESS", 1), "date_done": old}, meta("new", "SUCCESS", 1), meta("run", "STARTED")])
    assert opened(result_expires=0).cleanup() == 0
    assert backend.cleanup() == 1
    assert set(backend.get_many(["old", "new", "run"])) == {"new", "run"}


def test_store_cleans_up_once_a_minute(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    from bootsteps_result_sqlite import cleaning as module

    now = time.monotonic()
    monkeypatch.setattr(module, "monotonic", lambda: now)
    backend = opened(result_expires=60)
    old = (datetime.now(UTC) - timedelta(seconds=61)).isoformat()

    def kept() -> bool:
        backend.store([{**meta("old", "SUCCESS", 1), "date_done": old}])
        return backend.get("old") is not None

    assert kept()
    now += 61
    assert not kept()
    assert kept()
    now += 61
    assert not kept()


def test_wait_returns_what_is_ready_at_once(opened: Open) -> None:
    backend = opened()
    backend.store([meta("a", "SUCCESS", 1), meta("b", "STARTED"), meta("c", "REVOKED", KeyError())])
    assert set(backend.wait(["a", "b", "c", "d"], timeout=0)) == {"a", "c"}
    assert backend.wait(["b", "d"], timeout=0) == {}
    assert backend.wait([str(n) for n in range(50_000)], timeout=0) == {}


@pytest.mark.parametrize("own", [True, False])
def test_wait_wakes_up_when_a_result_is_stored(opened: Open, own: bool) -> None:
    """By another thread through the same backend, and through one of its own as another process would."""
    backend = opened()
    backend.store([meta("other", "SUCCESS", 0)])
    storing = backend if own else opened()
    looked = threading.Event()
    read = backend._read

    def reading(*args: Any, **kwargs: Any) -> Any:
        found = read(*args, **kwargs)
        looked.set()
        return found

    backend._read = reading  # type: ignore[method-assign]
    got: dict[str, Any] = {}
    waiting = threading.Thread(target=lambda: got.update(backend.wait(["a"], timeout=30)))
    waiting.start()
    assert looked.wait(30)
    storing.store([meta("a", "SUCCESS", 5)])
    waiting.join(30)
    assert got["a"]["result"] == 5


def test_wait_without_news_does_not_read_the_rows_again(opened: Open) -> None:
    backend = opened()
    backend.store([meta("other", "SUCCESS", 0)])
    reads = 0
    read = backend._read

    def reading(*args: Any, **kwargs: Any) -> Any:
        nonlocal reads
        reads += 1
        return read(*args, **kwargs)

    backend._read = reading  # type: ignore[method-assign]
    assert backend.wait(["a"], timeout=0.1) == {}
    assert reads == 1


def test_many_threads_may_store_and_read(opened: Open) -> None:
    backend = opened()
    failed: list[BaseException] = []

    def work(thread: int) -> None:
        try:
            for n in range(20):
                backend.store([meta(f"{thread}-{n}", "SUCCESS", n)])
                assert backend.get(f"{thread}-{n}") is not None
        except BaseException as exc:
            failed.append(exc)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    assert len(rows(backend.path)) == 160
