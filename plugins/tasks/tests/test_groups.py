"""Results of groups, and of what came of a task."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bootsteps_tasks import (
    App,
    AsyncResult,
    Context,
    GroupResult,
    ResultSet,
    allow_join_result,
    errors,
    executing,
    result_from_tuple,
)
from bootsteps_tasks.backend import meta

STORE = """
class Store:
    "Results in a dict, which become ready one after the other as they are waited for."
    no_chords = ""
    def __init__(self, app, url):
        self.metas, self.later, self.groups = {}, [], {}
    def store(self, metas):
        self.metas.update((meta["task_id"], dict(meta)) for meta in metas)
    def get(self, task_id):
        return self.metas.get(task_id)
    def get_many(self, ids):
        return {id: self.metas[id] for id in ids if id in self.metas}
    def wait(self, ids, timeout=None):
        while True:
            found = {id: self.metas[id] for id in ids if id in self.metas}
            if found or not self.later:
                return found
            self.store([self.later.pop(0)])
    def forget(self, task_id):
        self.metas.pop(task_id, None)
    def save_group(self, group_id, found):
        self.groups[group_id] = found
    def restore_group(self, group_id):
        return self.groups.get(group_id)
    def delete_group(self, group_id):
        self.groups.pop(group_id, None)
    def close(self): pass
"""


@pytest.fixture
def app(install: Any) -> Iterator[App]:
    install("kernel.backends", "dict = fake_dict:Store", STORE)
    yield App("proj", broker="memory://", backend="dict://")
    sys.modules.pop("fake_dict", None)


@pytest.fixture
def later(app: App) -> Callable[..., None]:
    """Results that come when somebody waits."""
    backend: Any = app.backend

    def put(*pairs: tuple[str, Any]) -> None:
        for task_id, value in pairs:
            backend.later.append(meta(task_id, "FAILURE" if isinstance(value, Exception) else "SUCCESS", value))

    return put


def made(app: App, *ids: str) -> GroupResult:
    return app.GroupResult("g", [app.AsyncResult(task_id) for task_id in ids])


def test_join_waits_for_all_and_keeps_the_order_and_the_shape(app, later):
    later(("c", 3), ("a", 1), ("b", 2))
    seen: list[Any] = []
    found = GroupResult("g", [app.AsyncResult("a"), made(app, "b", "c")], app)
    assert (found.ready(), found.waiting(), found.completed_count()) == (False, True, 0)
    assert found.get(callback=lambda task_id, value: seen.append((task_id, value))) == [1, [2, 3]]
    assert seen == [("c", 3), ("a", 1), ("b", 2)]
    assert (found.ready(), found.successful(), found.failed(), found.completed_count()) == (True, True, False, 3)
    assert [task_id for task_id, _ in found.iter_native()] == ["a", "b", "c"]


def test_join_raises_the_first_failure_that_it_learns_of(app, later):
    later(("b", ValueError("bad")))
    with pytest.raises(ValueError, match="bad"):
        made(app, "a", "b").join(timeout=5)
    later(("a", 1))
    [first, second] = made(app, "a", "b").join(propagate=False)
    assert (first, type(second)) == (1, ValueError)
    assert made(app, "a", "b").failed()
    with pytest.raises(errors.TimeoutError):
        made(app, "a", "never").get(timeout=0)


def test_a_group_is_kept_and_restored(app):
    found = GroupResult("g", [app.AsyncResult("a"), made(app, "b")], app, app.AsyncResult("p"))
    assert found.as_tuple() == [["g", [["p", None], None]], [[["a", None], None], [["g", None], [[["b", None], None]]]]]
    found.save()
    again = GroupResult.restore("g", app=app)
    assert again == found
    assert (again.parent.id, again.as_list()) == ("p", ["g", "p", "a", "b"])
    found.delete()
    assert GroupResult.restore("g", app=app) is None


def test_a_set_can_be_changed(app):
    found = ResultSet([app.AsyncResult("a")], app)
    found.add(app.AsyncResult("a"))
    found.update([app.AsyncResult("b"), app.AsyncResult("a")])
    assert [result.id for result in found] == ["a", "b"]
    found.remove("a")
    with pytest.raises(KeyError):
        found.remove("a")
    found.discard(app.AsyncResult("zzz"))
    assert (len(found), found[0].id, bool(ResultSet([]))) == (1, "b", False)
    found.clear()
    assert not found


def test_a_failure_before_it_ends_the_wait(app, later):
    result: Any = result_from_tuple([["c", [["b", [["a", None], None]], None]], None], app)
    later(("a", 1), ("b", ValueError("early")))
    with pytest.raises(ValueError, match="early"):
        result.get(timeout=5)
    later(("c", 3))
    assert result.get(timeout=5, follow_parents=False) == 3


def test_all_that_came_of_a_task_can_be_collected(app):
    group = [["g", None], [[["x", None], None], [["y", None], None]]]
    app.backend.store([meta("a", "SUCCESS", 1, None, [[["b", None], None], group]), meta("b", "SUCCESS", 2)])
    app.backend.store([meta("x", "SUCCESS", 3), meta("y", "SUCCESS", 4)])
    result = app.AsyncResult("a")
    assert [value for _, value in result.collect()] == [1, 2, [3, 4], 3, 4]
    graph = {str(getattr(key, "id", key)): [child.id for child in found] for key, found in result.graph.items()}
    assert graph == {"a": ["b", "g"], "b": [], "g": ["x", "y"], "x": [], "y": []}
    with pytest.raises(errors.IncompleteStream):
        list(app.AsyncResult("unknown").iterdeps())


def test_callbacks_are_called_when_the_end_is_known(app, later):
    seen: list[str] = []
    good, bad = app.AsyncResult("a"), app.AsyncResult("b")
    good.then(lambda result: seen.append(f"good {result.get()}"))
    bad.then(lambda result: seen.append("never"), on_error=lambda result: seen.append(f"bad {result.state}"))
    later(("a", 1), ("b", ValueError("bad")))
    app.GroupResult("g", [good, bad]).get(propagate=False)
    good.then(lambda result: seen.append("again"))
    assert seen == ["good 1", "bad FAILURE", "again"]


def test_a_task_must_not_wait_for_another_unless_it_insists(app, later):
    later(("a", 1), ("b", 2), ("c", 3))
    with executing(Context(id="me", called_directly=False)):
        for result in (app.AsyncResult("a"), made(app, "a", "b")):
            with pytest.raises(RuntimeError, match="may wait for ever"):
                result.get(timeout=1)
        assert app.AsyncResult("a").get(timeout=1, disable_sync_subtasks=False) == 1
        with allow_join_result():
            assert made(app, "b", "c").get(timeout=1) == [2, 3]


def test_results_are_written_as_tuples_and_lists(app):
    result: AsyncResult[Any] = AsyncResult("b", app, app.AsyncResult("a"))
    assert (result.as_tuple(), result.as_list()) == ([["b", [["a", None], None]], None], ["b", "a"])
    assert result_from_tuple(result.as_tuple(), app).parent.id == "a"
    assert result_from_tuple(result) is result
