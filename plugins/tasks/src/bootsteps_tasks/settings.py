"""The settings of an application with tasks, under Celery's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bootsteps import Setting

__all__ = ["SETTINGS"]


def _queues(value: Any) -> Any:
    """A list of names, of kombu queues, or of both; or a mapping from names to options as in Celery."""
    if isinstance(value, str):
        value = [name.strip() for name in value.split(",") if name.strip()]
    if isinstance(value, Mapping):
        if not all(isinstance(options, Mapping) or hasattr(options, "exchange") for options in value.values()):
            raise ValueError("each queue needs a mapping of options")
        return dict(value)
    found = list(value)
    if not all(isinstance(queue, str) or hasattr(queue, "routing_key") for queue in found):
        raise ValueError("it is a list of names or of kombu.Queue")
    return found


def _priority(value: Any) -> int:
    number = int(value)
    if isinstance(value, bool) or not 0 <= number <= 255:
        raise ValueError("a priority is a number from 0 to 9 (255 on RabbitMQ)")
    return number


def _seconds(value: Any) -> float:
    """A number of seconds, or a timedelta."""
    number = float(value.total_seconds() if hasattr(value, "total_seconds") else value)
    if isinstance(value, bool) or not number >= 0:
        raise ValueError("it cannot be negative")
    return number


def _off(setting: str, type_: Any, default: Any, help: str, unit: str = "") -> Setting[Any]:
    """A setting that is not on the command line."""
    return Setting(setting, type_, default, unit=unit, help=help, flags=())


SETTINGS: tuple[Setting[Any], ...] = (
    Setting(
        "broker_url",
        str,
        None,
        flags=("-b", "--broker"),
        secret=True,
        help="where messages go, e.g. redis://host/0; default: the embedded SQLite broker",
    ),
    Setting(
        "result_backend",
        str,
        None,
        flags=("--result-backend",),
        secret=True,
        help="where results go, e.g. sqlite:////path/results.db; 'disabled' for nowhere; default: embedded SQLite",
    ),
    _off("broker_transport_options", dict, {}, "options of the transport, as in kombu"),
    _off("result_backend_transport_options", dict, {}, "options of the result backend, e.g. global_keyprefix"),
    _off("broker_connection_timeout", _seconds, 4.0, "how long to wait for the broker's answer", "s"),
    _off("task_default_queue", str, "celery", "the queue of tasks that name none"),
    _off("task_default_exchange", str, None, "the default queue's exchange; default: the queue's name"),
    _off("task_default_routing_key", str, None, "the default queue's routing key; default: the queue's name"),
    _off("task_default_priority", _priority, None, "the priority of messages that name none"),
    _off("task_queues", _queues, None, "queues to consume from; default: the default queue"),
    _off("task_create_missing_queues", bool, True, "make queues that are named and not configured"),
    _off("task_protocol", int, 2, "the version of the message protocol; only 2 is written"),
    _off("task_serializer", str, "json", "how arguments are serialized"),
    _off("task_compression", str, None, "how messages are compressed, e.g. gzip"),
    _off("result_serializer", str, "json", "how results are serialized"),
    _off("accept_content", tuple, ("json",), "content types that are decoded"),
    _off("result_accept_content", tuple, None, "content types of results that are decoded; default: accept_content"),
    _off("task_ignore_result", bool, False, "store no results unless the task says otherwise"),
    _off("task_store_errors_even_if_ignored", bool, False, "store failures of tasks whose results are ignored"),
    _off("task_acks_late", bool, True, "acknowledge after the run (at least once), not before (at most once)"),
    _off("task_track_started", bool, False, "store STARTED when a task starts"),
    _off("result_expires", _seconds, 86400.0, "how long results are kept; 0 for ever", "s"),
    _off("result_extended", bool, False, "store name, arguments, worker, retries and queue beside the result"),
    _off("imports", tuple, (), "modules to import, in which tasks stand"),
    _off("include", tuple, (), "further modules to import"),
    _off("timezone", str, None, "name of the time zone of ETAs and dates, e.g. Europe/Berlin; default: UTC"),
    _off("enable_utc", bool, True, "without timezone: UTC if on, this machine's zone if off"),
)
