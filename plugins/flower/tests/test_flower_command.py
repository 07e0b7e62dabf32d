from __future__ import annotations

import pytest
from click.testing import CliRunner

from bootsteps.cli import Session, root
from bootsteps_flower import as_celery
from bootsteps_tasks import App


def made() -> App:
    app = App("shop", broker="memory://flower", control_exchange="shop.pidbox", task_default_queue="orders")
    app.conf.event_exchange = "shop.ev"

    @app.task(name="shop.confirm")
    def confirm(order: int) -> int:
        return order

    return app


def test_celerys_application_meets_the_workers_where_ours_does() -> None:
    theirs = as_celery(made())
    assert (theirs.conf.control_exchange, theirs.conf.event_exchange) == ("shop.pidbox", "shop.ev")
    assert theirs.conf.task_default_queue == "orders"
    for connection in (theirs.connection(), theirs.connection_for_read(), theirs.connection_for_write()):
        assert (connection.transport_cls, connection.hostname) == ("memory", "flower")


def test_it_knows_the_tasks_by_name_and_runs_none() -> None:
    theirs = as_celery(made())
    assert "shop.confirm" in theirs.tasks
    with pytest.raises(RuntimeError, match="in its workers only"):
        theirs.tasks["shop.confirm"](1)


def test_an_application_without_tasks_is_refused() -> None:
    result = CliRunner().invoke(root, ["flower", "--port=0"], obj=Session())
    assert "is no application with tasks" in str(result.exception)
