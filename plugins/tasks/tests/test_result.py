from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from bootsteps_tasks import App, AsyncResult, errors
from bootsteps_tasks.backend import encode_result, exception_from_meta, exception_to_meta, meta

STORE = """
class Store:
    "Results in a dict."
    def __init__(self, app, url):
        self.metas, self.asked = {}, []
    def store(self, metas):
        self.metas.update((meta["task_id"], dict(meta)) for meta in metas)
    def get(self, task_id):
        self.asked.append(task_id)
        return self.metas.get(task_id)
    def get_many(self, ids):
        return {id: self.metas[id] for id in ids if id in self.metas}
    def wait(self, ids, timeout=None):
        ready = [id for id in ids if self.metas.get(id, {}).get("status") in ("SUCCESS", "FAILURE", "REVOKED")]
        return {id: self.metas[id] for id in ready[:2]}
    def forget(self, task_id):
        self.metas.pop(task_id, None)
    def close(self): pass
"""


@pytest.fixture
def stored(install: Any) -> Iterator[App]:
    install("kernel.backends", "dict = fake_dict:Store", STORE)
    yield App("proj", broker="memory://", backend="dict://")
    sys.modules.pop("fake_dict", None)


class Odd(Exception):
    def __init__(self, one: object, two: object) -> None:
        super().__init__(f"{one} and {two}")


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_an_exception_travels_as_type_message_and_module() -> None:
    found = exception_to_meta(ValueError("bad", 42))
    assert found == {"exc_type": "ValueError", "exc_message": ["bad", 42], "exc_module": "builtins"}
    back = exception_from_meta(found)
    assert (type(back), back.args) == (ValueError, ("bad", 42))


def test_arguments_that_json_cannot_hold_travel_as_their_repr() -> None:
    message = exception_to_meta(ValueError(Decimal("1.5"), {1, 2}, Unprintable()))["exc_message"]
    assert message[:2] == [Decimal("1.5"), "{1, 2}"]
    assert "its repr raised" in message[2]


@pytest.mark.parametrize(
    ("exc", "module"),
    [
        (errors.NotRegistered("proj.x"), "celery.exceptions"),
        (errors.TaskRevokedError("expired"), "celery.exceptions"),
        (errors.Reject("no reason", False), "celery.exceptions"),
        (errors.MaxRetriesExceededError("x"), "celery.exceptions"),
        (errors.WorkerLostError("signal 9"), "billiard.exceptions"),
        (errors.TimeLimitExceeded(5), "billiard.exceptions"),
        (errors.SoftTimeLimitExceeded(), "billiard.exceptions"),
    ],
)
def test_our_exceptions_have_celerys_names_on_the_wire(exc: Exception, module: str) -> None:
    found = exception_to_meta(exc)
    assert (found["exc_type"], found["exc_module"]) == (type(exc).__name__, module)
    back = exception_from_meta(found)
    assert (type(back), back.args) == (type(exc), exc.args)


def test_a_class_of_the_users_below_ours_keeps_its_own_module() -> None:
    class Mine(errors.Ignore): ...

    assert exception_to_meta(Mine())["exc_module"] == __name__


def test_an_unknown_class_becomes_one_of_that_name() -> None:
    back = exception_from_meta({"exc_type": "Shop.Closed", "exc_message": ["x"], "exc_module": "no.such.module"})
    assert isinstance(back, errors.TaskError)
    assert (type(back).__name__, type(back).__module__, back.args) == ("Closed", "no.such.module", ("x",))
    assert "no.such.module" not in sys.modules
    again = exception_from_meta({"exc_type": "Shop.Closed", "exc_message": [], "exc_module": "no.such.module"})
    assert type(again) is type(back)


def test_a_constructor_that_wants_other_arguments_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    import types

    module = types.ModuleType("odd_module")
    module.Odd = Odd  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "odd_module", module)
    back = exception_from_meta({"exc_type": "Odd", "exc_message": ["1 and 2"], "exc_module": "odd_module"})
    assert (type(back).__name__, str(back)) == ("Odd", "1 and 2")


@pytest.mark.parametrize(("name", "module"), [("system", "os"), ("SystemExit", "builtins"), ("eval", "builtins")])
def test_a_message_cannot_call_what_is_no_exception(name: str, module: str) -> None:
    back = exception_from_meta({"exc_type": name, "exc_message": ["echo"], "exc_module": module})
    assert isinstance(back, errors.TaskError)


@pytest.mark.parametrize("odd", ["text", None, 5, {"exc_message": ["x"]}, {"exc_type": 5}])
def test_what_describes_no_exception_still_gives_one(odd: Any) -> None:
    assert exception_from_meta(odd).args == (odd,)


def test_a_meta_object_has_the_fields_of_the_wire() -> None:
    found = meta("t1", "SUCCESS", 4, children=[[["c", None], None]], group_id="g")
    date = found.pop("date_done")
    assert found == {
        "status": "SUCCESS",
        "result": 4,
        "traceback": None,
        "children": [[["c", None], None]],
        "task_id": "t1",
        "group_id": "g",
    }
    assert abs((datetime.now(UTC) - datetime.fromisoformat(date)).total_seconds()) < 60
    assert meta("t1", "STARTED", {"pid": 1})["date_done"] is None
    assert meta("t1", "SUCCESS", 1, conf=App("p", timezone="Asia/Tokyo").conf)["date_done"].endswith("+09:00")


def test_a_result_that_cannot_be_encoded_becomes_a_failure() -> None:
    found, payload = encode_result(meta("t1", "SUCCESS", object()), "json")
    assert found["status"] == "FAILURE"
    assert b"EncodeError" in payload
    assert "cannot be serialized as json" in str(exception_from_meta(found["result"]))


def test_a_result_of_which_nothing_is_known_is_pending(stored: App) -> None:
    result = stored.AsyncResult("x")
    assert (result.state, result.result, result.traceback, result.date_done, result.children) == (
        *("PENDING", None, None, None),
        [],
    )
    assert not result.ready()
    with pytest.raises(TimeoutError, match="task x is not ready after 0 s"):
        result.get(timeout=0)


def test_a_success_is_returned_and_asked_for_once(stored: App) -> None:
    stored.backend.store([meta("x", "SUCCESS", [1], children=[[["c", None], None]])])
    result = stored.AsyncResult("x")
    assert result.get(timeout=0) == [1]
    assert (result.state, result.status, result.result) == ("SUCCESS", "SUCCESS", [1])
    assert (result.ready(), result.successful(), result.failed()) == (True, True, False)
    assert result.date_done is not None
    assert result.date_done.tzinfo is not None
    assert result.children == [AsyncResult("c", stored)]
    assert stored.backend.asked == []  # type: ignore[attr-defined]
    result.forget()
    assert result.state == "PENDING"


def test_a_failure_is_raised_with_the_workers_traceback(stored: App) -> None:
    stored.backend.store([meta("x", "FAILURE", KeyError("k"), "Traceback: in f")])
    result = stored.AsyncResult("x")
    with pytest.raises(KeyError) as caught:
        result.get(timeout=0)
    assert caught.value.__notes__ == ["In the worker:\nTraceback: in f"]
    assert isinstance(result.get(timeout=0, propagate=False), KeyError)
    assert result.failed()
    assert result.traceback == "Traceback: in f"


def test_a_revoked_task_raises_what_callers_of_celery_catch(stored: App) -> None:
    stored.backend.store([meta("x", "REVOKED", errors.TaskRevokedError("expired"))])
    with pytest.raises(errors.TaskRevokedError, match="expired"):
        stored.AsyncResult("x").get(timeout=0)


def test_many_results_come_once_each_as_they_are_ready(stored: App) -> None:
    stored.backend.store([meta(str(n), "SUCCESS", n) for n in range(5)])
    found = list(stored.results_of([*map(str, range(5)), "0"], timeout=0))
    assert sorted(result.result for result in found) == list(range(5))
    waiting = stored.results_of(["1", "never"], timeout=0)
    assert next(waiting).id == "1"
    with pytest.raises(TimeoutError, match="1 tasks are not ready"):
        next(waiting)
