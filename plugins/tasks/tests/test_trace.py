"""What happens around a task: handlers, hooks, retries, states; here in eager mode, which runs the same code."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from bootsteps import KernelError
from bootsteps_tasks import App, Context, Run, Task
from bootsteps_tasks.errors import Ignore, MaxRetriesExceededError, Reject
from bootsteps_tasks.retrying import pause_before


class Notes(Task[..., Any]):
    """Writes down which handler was called with what."""

    def __init__(self) -> None:
        self.notes: list[tuple[Any, ...]] = []

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        self.notes.append(("before_start", task_id, args, kwargs))

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        self.notes.append(("on_success", retval))

    def on_retry(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        self.notes.append(("on_retry", repr(exc), "Traceback" in str(einfo)))

    def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        self.notes.append(("on_failure", repr(exc), einfo.exception is exc))

    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        self.notes.append(("after_return", status, einfo is not None))


@pytest.fixture
def heard(app: App) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []

    def note(hook: str) -> None:
        @app.hooks.connect(hook)
        def hear(task: Task[..., Any], **facts: Any) -> None:
            found.append((hook, task.name, facts.get("state")))

    for hook in ("task_prerun", "task_postrun", "task_success", "task_retry", "task_failure", "task_internal_error"):
        note(hook)
    return found


def test_handlers_and_hooks_of_a_success_are_called_in_order(app: App, heard: list[Any]) -> None:
    @app.task(name="twice", base=Notes)
    def twice(x: int) -> int:
        return 2 * x

    result = twice.apply((4,))
    assert (result.get(), result.state, result.ready()) == (8, "SUCCESS", True)
    names = [note[0] for note in twice.notes]  # type: ignore[attr-defined]
    assert names == ["before_start", "on_success", "after_return"]
    assert twice.notes[0] == ("before_start", result.id, (4,), {})  # type: ignore[attr-defined]
    assert heard == [
        ("task_prerun", "twice", None),
        ("task_success", "twice", None),
        ("task_postrun", "twice", "SUCCESS"),
    ]


def test_handlers_and_hooks_of_a_failure_after_a_retry(app: App, heard: list[Any]) -> None:
    @app.task(name="shaky", base=Notes, bind=True, max_retries=1)
    def shaky(self: Any) -> None:
        raise self.retry(exc=KeyError("x"), countdown=60)

    result = shaky.apply()
    assert (result.state, repr(result.result)) == ("FAILURE", "KeyError('x')")
    assert "KeyError" in (result.traceback or "")
    assert shaky.notes[1:3] == [  # type: ignore[attr-defined]
        ("on_retry", "KeyError('x')", True),
        ("after_return", "RETRY", True),
    ]
    assert shaky.notes[4:] == [("on_failure", "KeyError('x')", True), ("after_return", "FAILURE", True)]  # type: ignore[attr-defined]
    assert [hook for hook, *_ in heard] == [
        *("task_prerun", "task_retry", "task_postrun"),
        *("task_prerun", "task_failure", "task_postrun"),
    ]


def test_a_handler_that_fails_changes_nothing_of_the_run(app: App, heard: list[Any], caplog: Any) -> None:
    class Broken(Task[..., Any]):
        def on_success(self, *args: Any) -> None:
            raise ZeroDivisionError("in the handler")

    task = app.task(name="fine", base=Broken)(lambda: 1)
    assert task.apply().get() == 1
    assert "a handler of task fine" in caplog.text
    assert ("task_internal_error", "fine", None) in heard


def test_before_start_that_fails_fails_the_run(app: App) -> None:
    class Broken(Task[..., Any]):
        def before_start(self, *args: Any) -> None:
            raise ZeroDivisionError

    assert app.task(name="never", base=Broken)(lambda: 1).apply().state == "FAILURE"


@pytest.mark.parametrize(("error", "state"), [(Ignore(), "IGNORED"), (Reject("no"), "FAILURE")])
def test_ignore_and_reject_call_neither_success_nor_failure_handlers(app: App, error: Any, state: str) -> None:
    def leave() -> None:
        raise error

    task: Any = app.task(name="leaves", base=Notes)(leave)
    assert task.apply().state == state
    assert [note[0] for note in task.notes] == ["before_start"]


def test_a_task_is_retried_for_the_exceptions_that_it_names_and_no_other(app: App) -> None:
    runs: list[int] = []

    @app.task(name="flaky", bind=True, autoretry_for=(OSError,), dont_autoretry_for=(PermissionError,), max_retries=5)
    def flaky(self: Any, error: type[Exception] | None) -> int:
        runs.append(self.request.retries)
        if error is not None and self.request.retries < 2:
            raise error("no")
        return len(runs)

    assert flaky.apply((ConnectionError,)).get() == 3
    assert runs == [0, 1, 2]
    assert isinstance(flaky.apply((PermissionError,)).result, PermissionError)
    assert isinstance(flaky.apply((ValueError,)).result, ValueError)
    assert len(runs) == 5


def test_retry_kwargs_bound_the_attempts_and_the_last_error_is_the_result(app: App) -> None:
    runs: list[int] = []

    @app.task(name="doomed", autoretry_for=OSError, retry_kwargs={"max_retries": 2})
    def doomed() -> None:
        runs.append(1)
        raise OSError("down")

    assert repr(doomed.apply().result) == "OSError('down')"
    assert len(runs) == 3
    with pytest.raises(OSError, match="down"):
        doomed.apply(throw=True)


def test_pauses_double_up_to_the_longest_and_are_random_in_part(app: App) -> None:
    exact = app.task(name="exact", retry_backoff=2, retry_backoff_max=30, retry_jitter=False)(id)
    assert [pause_before(exact, n) for n in range(6)] == [2, 4, 8, 16, 30, 30]
    assert pause_before(exact, 100_000) == 30
    random = app.task(name="random", retry_backoff=True)(id)
    found = [pause_before(random, 4) for _ in range(200)]
    assert 0 <= min(found) < 8 < max(found) <= 16


def test_retry_without_an_error_ends_in_its_own(app: App) -> None:
    @app.task(name="again", bind=True, max_retries=1)
    def again(self: Any) -> None:
        self.retry()

    assert isinstance(again.apply().result, MaxRetriesExceededError)


def test_an_expected_error_has_no_traceback_in_the_log_but_in_the_result(app: App) -> None:
    task = app.task(name="may", throws=KeyError)(lambda: None)
    run = Run(app, task, Context(id="1", task="may"))
    with run.context:
        run.begin()
        ending = run.failed(KeyError("x"))
    assert (ending.state, ending.traceback) == ("FAILURE", "")
    assert ending.meta is not None
    assert "KeyError" in ending.meta["traceback"]


def test_a_result_that_cannot_be_serialized_is_a_failure_for_everybody(app: App) -> None:
    result = app.task(name="odd", base=Notes)(lambda: object()).apply()
    assert result.state == "FAILURE"
    assert "EncodeError" in type(result.result).__name__
    assert app.task(name="quiet", ignore_result=True)(lambda: object()).apply().state == "SUCCESS"


def test_a_listener_may_want_one_task_only_and_a_wrong_hook_is_refused(app: App) -> None:
    heard: list[str] = []
    app.task(name="one")(lambda: 1)
    app.task(name="two")(lambda: 2)

    @app.hooks.connect("task_success", sender="two", name="mine")
    def hear(task: Task[..., Any], result: int, request_id: str = "") -> None:
        heard.append(f"{task.name} {result}{request_id}")

    for name in ("one", "two"):
        app.tasks[name].apply()
    assert heard == ["two 2"]
    app.hooks.connect("task_success", name="mine")(lambda task: heard.append("replaced"))
    app.tasks["one"].apply()
    assert heard == ["two 2", "replaced"]
    with pytest.raises(KernelError, match="did you mean 'task_success'"):
        app.hooks.connect("task_succes")
    with pytest.raises(KernelError, match="which hook task_success does not tell"):
        app.hooks.connect("task_success")(lambda nothing: None)
    assert app.hooks.disconnect("task_success", hear) is False


def test_a_listener_that_fails_is_named_and_the_run_goes_on(app: App, caplog: pytest.LogCaptureFixture) -> None:
    @app.hooks.connect("task_prerun")
    def broken(**facts: Any) -> None:
        raise ZeroDivisionError

    with caplog.at_level(logging.ERROR):
        assert app.task(name="fine")(lambda: 1).apply().get() == 1
    assert "broken of task_prerun failed" in caplog.text


def test_always_eager_runs_what_is_known_and_publishes_the_rest(app: App) -> None:
    app.conf.override({"task_always_eager": True, "task_eager_propagates": True})
    add = app.task(name="add")(lambda x, y: x + y)
    assert add.delay(1, 2).get() == 3
    assert app.send_task("add", (1, 2)).get() == 3
    assert [result.get() for result in app.send_many([(add, (n, 1), {}, {}) for n in range(2)])] == [1, 2]
    with pytest.raises(TypeError):
        add.delay("x", 2)
    app.send_task("elsewhere.add", (1, 2))
    with app.connection() as connection:
        assert connection.default_channel.basic_get("celery").headers["task"] == "elsewhere.add"


def test_a_coroutine_task_runs_eagerly_too(app: App) -> None:
    import asyncio

    async def slow(x: int) -> int:
        await asyncio.sleep(0)
        return x + 1

    task = app.task(slow)
    assert task.apply((1,)).get() == 2

    async def inside() -> Any:
        return task.apply((1,)).result

    assert "running event loop" in str(asyncio.run(inside()))


def test_the_request_of_an_eager_run_says_so(app: App) -> None:
    @app.task(name="who", bind=True)
    def who(self: Any) -> list[Any]:
        return [self.request.id, self.request.is_eager, self.request.called_directly, self.request.root_id]

    assert who.apply(task_id="me").get() == ["me", True, False, "me"]
    assert who()[1:3] == [False, True]
