"""The settings of an application with tasks, under Celery's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bootsteps import Setting

__all__ = ["ETA_HORIZON", "SETTINGS"]


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


def _urls(value: Any) -> str:
    """One URL, or several to go through when one does not answer: a list, or with semicolons between them."""
    found = [value] if isinstance(value, str) else list(value)
    if not found or not all(isinstance(url, str) for url in found):
        raise ValueError("it is a URL, or several with ; between them")
    return ";".join(found)


def _failover(value: Any) -> Any:
    if value not in ("round-robin", "shuffle") and not callable(value):
        raise ValueError("it is 'round-robin', 'shuffle', or a function from the addresses to an endless iterator")
    return value


def _tls(value: Any) -> Any:
    """Whether to speak TLS, or how: the options of `ssl.wrap_socket`, as kombu and redis-py name them."""
    if isinstance(value, str):
        value = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "": False}.get(
            value.lower(), value
        )
    if not isinstance(value, bool | dict):
        raise ValueError("it is true, false or a mapping of TLS options")
    return value


def _annotations(value: Any) -> Any:
    found = [value] if isinstance(value, Mapping) else list(value)
    for each in found:
        named = isinstance(each, Mapping) and all(isinstance(options, Mapping) for options in each.values())
        if not named and not hasattr(each, "annotate"):
            raise ValueError("it is {'task.name' or '*': {option: value}}, or a list of those or of objects")
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


def _queue_type(value: Any) -> str:
    if value not in ("classic", "quorum"):
        raise ValueError("a queue is 'classic' or 'quorum'")
    return str(value)


def _delivery_mode(value: Any) -> int:
    found = {"transient": 1, "persistent": 2, 1: 1, 2: 2, "1": 1, "2": 2}.get(value)
    if found is None:
        raise ValueError("it is 'persistent' or 'transient'")
    return found


def _flag(value: Any) -> bool | None:
    if isinstance(value, str):
        value = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}.get(
            value.lower(), value
        )
    if value is not None and not isinstance(value, bool):
        raise ValueError("it is true or false")
    return value


def _rate(value: Any) -> str | float | None:
    from bootsteps_tasks.rates import per_second

    per_second(value)
    return value  # type: ignore[no-any-return]


def _routes(value: Any) -> tuple[Any, ...]:
    from bootsteps_tasks.routes import routers

    return routers(value)


def _off(setting: str, type_: Any, default: Any, help: str, unit: str = "") -> Setting[Any]:
    """A setting that is not on the command line."""
    return Setting(setting, type_, default, unit=unit, help=help, flags=())


#: The worker's step of tasks reads it, too.
ETA_HORIZON = Setting[float](
    "worker_eta_horizon",
    float,
    60.0,
    unit="s",
    flags=(),
    help="tasks whose ETA is farther away than this wait in the broker, where the transport can keep them",
)

SETTINGS: tuple[Setting[Any], ...] = (
    ETA_HORIZON,
    _off(
        "broker_native_delayed_delivery_queue_type",
        _queue_type,
        "quorum",
        "the type of RabbitMQ's queues for tasks that are due later, if they are not there: quorum or classic",
    ),
    Setting(
        "broker_url",
        _urls,
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
    Setting("broker_read_url", _urls, None, flags=(), secret=True, help="where messages come from, if not broker_url"),
    Setting("broker_write_url", _urls, None, flags=(), secret=True, help="where tasks are published, if not there"),
    _off("broker_failover_strategy", _failover, "round-robin", "which of several addresses is next: or shuffle"),
    _off("broker_use_ssl", _tls, False, "speak TLS: true, or a mapping of options, e.g. ca_certs"),
    _off("broker_login_method", str, None, "how to log in to RabbitMQ: PLAIN, AMQPLAIN, EXTERNAL; default: PLAIN"),
    _off("broker_transport_options", dict, {}, "options of the transport, as in kombu"),
    _off("result_backend_transport_options", dict, {}, "options of the result backend, e.g. global_keyprefix"),
    _off("broker_connection_timeout", _seconds, 4.0, "how long to wait for the broker's answer", "s"),
    _off("task_default_queue", str, "celery", "the queue of tasks that name none"),
    _off("task_default_exchange", str, None, "the default queue's exchange; default: the queue's name"),
    _off("task_default_routing_key", str, None, "the default queue's routing key; default: the queue's name"),
    _off("task_default_exchange_type", str, "direct", "the type of the default queue's exchange"),
    _off("task_default_queue_type", _queue_type, "classic", "classic or quorum: the default queue's type on RabbitMQ"),
    _off("task_default_delivery_mode", _delivery_mode, "persistent", "persistent, or transient: lost in a restart"),
    _off("task_default_priority", _priority, None, "the priority of messages that name none"),
    _off("task_queues", _queues, None, "queues to consume from; default: the default queue"),
    _off("task_create_missing_queues", bool, True, "make queues that are named and not configured"),
    _off("task_create_missing_queue_type", _queue_type, "classic", "classic or quorum: the type of those"),
    _off("task_create_missing_queue_exchange_type", str, None, "the type of their exchanges; default: direct"),
    _off("task_queue_max_priority", _priority, None, "x-max-priority of queues that say nothing else (RabbitMQ)"),
    _off("task_inherit_parent_priority", bool, False, "a task published by a task gets its priority"),
    _off("task_routes", _routes, (), "which task goes to which queue: mappings from names or globs, or functions"),
    _off("task_publish_retry", bool, True, "try again when the broker cannot be reached"),
    _off("task_publish_retry_policy", dict, {}, "max_retries; interval_start, interval_step, interval_max in seconds"),
    _off("task_send_sent_event", bool, False, "tell monitors of each message that is published (event task-sent)"),
    _off("task_always_eager", bool, False, "run tasks where they are called instead of publishing them; for tests"),
    _off("task_eager_propagates", bool, False, "in eager mode, raise what the task raises"),
    _off("task_store_eager_result", bool, False, "in eager mode, store results too"),
    _off("task_protocol", int, 2, "the version of the message protocol; only 2 is written"),
    _off("task_serializer", str, "json", "how arguments are serialized"),
    _off("task_compression", str, None, "how messages are compressed, e.g. gzip"),
    _off("result_serializer", str, "json", "how results are serialized"),
    _off("accept_content", tuple, ("json",), "content types that are decoded"),
    _off("result_accept_content", tuple, None, "content types of results that are decoded; default: accept_content"),
    _off("task_ignore_result", bool, False, "store no results unless the task says otherwise"),
    _off("task_store_errors_even_if_ignored", bool, False, "store failures of tasks whose results are ignored"),
    _off("task_acks_late", bool, True, "acknowledge after the run (at least once), not before (at most once)"),
    _off("task_acks_on_failure", bool, True, "acknowledge late tasks that failed; else they are rejected"),
    _off("task_acks_on_timeout", bool, True, "acknowledge late tasks killed at their limit; else they go back"),
    _off("task_acks_on_failure_or_timeout", _flag, None, "both of these, for who comes from an older Celery"),
    _off("task_reject_on_worker_lost", _flag, None, "give late tasks back when their child dies; default: so often"),
    _off("task_retry_on_worker_lost", _flag, None, "publish late tasks again as a retry when their child dies"),
    _off("task_annotations", _annotations, (), "options of tasks by name, or of all by '*', above their own"),
    _off("task_default_rate_limit", _rate, None, "how many of one task start in a worker: 10/s, 10/m, 10/h"),
    _off("task_repr_maxlevels", int, 3, "how deep arguments are shown in logs"),
    _off("task_track_started", bool, False, "store STARTED when a task starts"),
    _off("security_key", str, None, "PEM file of the RSA key that signs messages (serializer auth)"),
    Setting("security_key_password", str, None, flags=(), secret=True, help="the key's password"),
    _off("security_certificate", str, None, "PEM file of its certificate"),
    _off("security_cert_store", str, None, "folder or pattern of the certificates that are believed"),
    _off("security_digest", str, "sha256", "the digest of signatures"),
    _off("result_expires", _seconds, 86400.0, "how long results are kept; 0 for ever", "s"),
    _off("result_persistent", bool, False, "answers of rpc:// survive a restart of the broker"),
    _off("result_extended", bool, False, "store name, arguments, worker, retries and queue beside the result"),
    _off("result_chord_expires", _seconds, None, "how long a chord's count is kept; default: result_expires", "s"),
    _off("result_chord_retry_interval", _seconds, 1.0, "time between two looks of celery.chord_unlock", "s"),
    _off("result_chord_join_timeout", _seconds, 3.0, "how long the end of a chord waits for results to be read", "s"),
    _off("task_allow_error_cb_on_chord_header", bool, False, "errbacks of a chord are errbacks of its header's tasks"),
    _off("control_exchange", str, "celery", "the beginning of the names of the exchanges of remote control"),
    _off("imports", tuple, (), "modules to import, in which tasks stand"),
    _off("include", tuple, (), "further modules to import"),
    Setting("worker_include", tuple, (), flags=("-I", "--include"), help="import these modules too"),
    _off("timezone", str, None, "name of the time zone of ETAs and dates, e.g. Europe/Berlin; default: UTC"),
    _off("enable_utc", bool, True, "without timezone: UTC if on, this machine's zone if off"),
)
