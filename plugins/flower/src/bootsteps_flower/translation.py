# mypy: disable-error-code="misc"
# Celery has no types.
"""An application of ours as one of Celery's, for a program that knows no other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celery import Celery

    from bootsteps_tasks import App

__all__ = ["as_celery"]

#: What a client and a monitor must have in common with the workers, where it is set.
SHARED = (
    *("accept_content", "broker_transport_options", "control_exchange", "event_exchange", "event_queue_exclusive"),
    *("event_queue_durable", "event_queue_expires", "event_queue_prefix", "event_queue_ttl", "event_serializer"),
    *("result_expires", "task_default_queue", "task_serializer", "timezone"),
)


def as_celery(ours: App) -> Celery:
    """Return a Celery application with the broker, the results and the names of the tasks of one of ours.

    It sends and asks; its tasks run in workers only. Its connections are made by ours, with our transports.
    """
    from celery import Celery

    class Translated(Celery):
        def connection_for_read(self, url: str | None = None, **kwargs: Any) -> Any:
            return ours.connection()

        connection_for_write = connection = connection_for_read

    theirs = Translated(ours.main or "proj", set_as_current=False)
    theirs.conf.update({name: ours.conf[name] for name in SHARED if _is_set(ours, name)})
    if ours.conf.get("result_backend"):
        theirs.conf.result_backend = ours.conf["result_backend"]
    for name in ours.tasks:
        if not name.startswith("celery."):  # these are its own
            theirs.task(_elsewhere, name=name)
    return theirs


def _is_set(ours: App, name: str) -> bool:
    return ours.conf.get(name, None) is not None


def _elsewhere(*args: Any, **kwargs: Any) -> None:
    raise RuntimeError("a task of this application runs in its workers only")
