"""Where a message goes: task_routes, queues of the settings, the publish retry policy."""

from __future__ import annotations

import re
from typing import Any

import pytest

from bootsteps.errors import SettingError
from bootsteps_tasks import App
from bootsteps_tasks.publisher import pauses
from bootsteps_tasks.rates import per_second


def sent(app: App, name: str = "feed.tasks.import_feed", **options: Any) -> Any:
    return app.publish(name, (), {}, options)


def app_with(**settings: Any) -> App:
    return App("proj", broker="memory://", backend="disabled://", **settings)


def only_reports(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **kw: Any) -> Any:
    return {"queue": "reports", "priority": 7} if name.startswith("report.") else None


class Routes:
    """The way of routers before Celery 4."""

    def route_for_task(self, task: str, args: Any = None, kwargs: Any = None) -> Any:
        return "old" if task == "old.task" else None


ROUTES = [
    {"feed.tasks.import_feed": {"queue": "feeds"}, "web.*": "web", re.compile(r"(video|image)\.tasks\..*"): "media"},
    only_reports,
    Routes,
]


@pytest.mark.parametrize(
    ("name", "queue"),
    [
        ("feed.tasks.import_feed", "feeds"),
        ("web.tasks.a.b", "web"),
        ("image.tasks.resize", "media"),
        ("report.monthly", "reports"),
        ("old.task", "old"),
        ("other", "celery"),
    ],
)
def test_names_globs_patterns_and_functions_route(name: str, queue: str) -> None:
    assert sent(app_with(task_routes=ROUTES), name).route.routing_key == queue


def test_the_call_goes_before_the_route_and_the_tasks_own_queue_too() -> None:
    app = app_with(task_routes={"*": {"queue": "routed", "priority": 3, "exchange_type": "direct"}})
    assert sent(app).message.priority == 3
    assert sent(app, priority=9).message.priority == 9
    assert sent(app, queue="mine").route.routing_key == "mine"
    own = app.task(name="own", queue="own")(lambda: None)
    assert app.publish(own, (), {}, {}).route.routing_key == "own"


def test_a_mapping_and_a_path_are_routes_too() -> None:
    assert sent(app_with(task_routes=f"{__name__}.only_reports"), "report.x").route.routing_key == "reports"
    assert sent(app_with(task_routes=([("a.*", "a")],)), "a.b").route.routing_key == "a"


@pytest.mark.parametrize("routes", ["nowhere.routes", 5, [5]])
def test_what_is_no_route_is_refused(routes: Any) -> None:
    with pytest.raises(SettingError, match="task_routes"):
        sent(app_with(task_routes=routes))


def test_a_route_with_an_unknown_option_is_refused() -> None:
    with pytest.raises(TypeError, match="no option 'queu'"):
        sent(app_with(task_routes={"*": {"queu": "x"}}))


def test_the_default_queue_is_as_the_settings_say() -> None:
    app = app_with(
        task_default_queue="q",
        task_default_exchange="e",
        task_default_exchange_type="topic",
        task_default_routing_key="a.b",
        task_default_queue_type="quorum",
        task_default_delivery_mode="transient",
        task_queue_max_priority=10,
    )
    found = sent(app)
    assert (found.route.exchange, found.route.routing_key) == ("e", "a.b")
    assert found.message.properties["delivery_mode"] == 1
    (queue,) = app.queues()
    assert (queue.exchange.type, queue.exchange.delivery_mode) == ("topic", 1)
    assert queue.queue_arguments == {"x-queue-type": "quorum", "x-max-priority": 10}


def test_missing_queues_are_made_as_the_settings_say() -> None:
    app = app_with(task_create_missing_queue_type="quorum", task_create_missing_queue_exchange_type="topic")
    (queue,) = app.queues(["new"])
    assert (queue.exchange.type, queue.queue_arguments) == ("topic", {"x-queue-type": "quorum"})


def test_configured_queues_get_the_highest_priority_unless_they_say_it() -> None:
    queues = {"a": {}, "b": {"queue_arguments": {"x-max-priority": 3}}}
    app = app_with(task_queues=queues, task_queue_max_priority=9)
    assert [queue.queue_arguments["x-max-priority"] for queue in app.queues()] == [9, 3]


def test_a_task_may_show_another_name() -> None:
    app = app_with()

    class Named(type(app.task(name="x")(lambda: None)).__mro__[1]):  # type: ignore[misc]
        def shadow_name(self, args: Any, kwargs: Any, options: Any) -> str:
            return f"import of {args[0]}"

    task = app.task(name="import", base=Named)(lambda url: None)
    assert app.publish(task, ("a.xml",), {}, {}).message.headers["shadow"] == "import of a.xml"
    assert app.publish(task, ("a.xml",), {}, {"shadow": "mine"}).message.headers["shadow"] == "mine"


def test_the_retry_policy_is_celerys() -> None:
    assert list(pauses({})) == [0.0, 0.2, 0.4]
    policy = {"max_retries": 5, "interval_start": 1, "interval_step": 2, "interval_max": 4}
    assert list(pauses(policy)) == [1, 3, 4, 4, 4]
    assert len(pauses({"max_retries": None})) == 1_000_000


def test_how_often_is_the_settings_the_calls_or_not_at_all() -> None:
    app = app_with(task_publish_retry_policy={"max_retries": 1})
    assert list(sent(app).pauses) == [0.0]
    assert len(sent(app, retry_policy={"max_retries": 2}).pauses) == 2
    assert len(sent(app, retry=False).pauses) == 0
    assert len(sent(app_with(task_publish_retry=False)).pauses) == 0
    assert len(sent(app_with(task_publish_retry=False), retry=True).pauses) == 3


@pytest.mark.parametrize(
    ("rate", "found"), [("10/s", 10), ("30/m", 0.5), ("36/h", 0.01), (5, 5), ("5", 5), (0, None), (None, None)]
)
def test_rates_are_read(rate: Any, found: float | None) -> None:
    assert per_second(rate) == pytest.approx(found)


@pytest.mark.parametrize("rate", ["x", "1/d", -1, True, "inf/s"])
def test_what_is_no_rate_is_refused(rate: Any) -> None:
    with pytest.raises(ValueError, match="a rate is"):
        per_second(rate)
    with pytest.raises(SettingError):
        _ = app_with(task_default_rate_limit=rate).conf["task_default_rate_limit"]
