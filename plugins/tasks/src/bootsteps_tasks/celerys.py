"""Celery's settings that are none of ours: what to do instead of each, so that none is ignored in silence.

`advice_on` is asked when a composition finds a name that no installed part reads. Everything about such names stands
here: those that we do not have, those whose reader is not installed, and the old upper-case ones.
"""

from __future__ import annotations

from collections.abc import Mapping

from bootsteps_tasks.settings import SETTINGS

__all__ = ["advice_on", "new_name"]

_BACKENDS = "choose one of bootsteps-result-redis, -rpc, -sql or -sqlite by result_backend, or write a backend"
_IN_URL = "write it in broker_url: amqp://user:password@host:port/vhost"
_IN_RESULT_URL = "write it in result_backend: redis://user:password@host:port/db"
_REDIS = "write it behind result_backend's URL: redis://host/0?{0}=..."
_MAILBOX = "remove it: the queues of remote control are named after their node, and go some seconds after it"
_NO_POOL = "remove it: a process publishes over one connection, made anew when it breaks"
_SUPERVISED = "remove it: it runs in the foreground, and what starts it (systemd, a container) sees to that"
_TRIES = "remove it: a backend tries again for as long as its README says, and what it cannot store is run again"
_TIMER = "remove it, or install a step of your own that lends the service 'timer' (kernel plugins show Timer)"
_LIVES = "remove it: what runs when the connection breaks runs on, and is acknowledged over the next one"

#: What to do instead, by name; a name that ends in _ stands for all that begin so.
INSTEAD = {
    "azureblockblob_": _BACKENDS,
    "arangodb_": _BACKENDS,
    "cassandra_": _BACKENDS,
    "cosmosdbsql_": _BACKENDS,
    "couchbase_": _BACKENDS,
    "couchdb_": _BACKENDS,
    "dynamodb_": _BACKENDS,
    "elasticsearch_": _BACKENDS,
    "gcs_": _BACKENDS,
    "mongodb_": _BACKENDS,
    "s3_": _BACKENDS,
    "cache_": _BACKENDS,
    "beat_remote_control_max_tick_age": "remove it: a beat that does not tick does not answer either",
    "beat_logfile": "kernel beat --logfile FILE",
    "beat_pidfile": "kernel beat --pidfile FILE",
    "beat_uid": _SUPERVISED,
    "beat_gid": _SUPERVISED,
    "beat_umask": _SUPERVISED,
    "beat_executable": _SUPERVISED,
    "events_": _SUPERVISED,
    "broker_host": _IN_URL,
    "broker_port": _IN_URL,
    "broker_user": _IN_URL,
    "broker_password": _IN_URL,
    "broker_vhost": _IN_URL,
    "broker_transport": "write it as the scheme of broker_url: redis://host/0",
    "broker_channel_error_retry": "remove it: after an error of a channel the connection is always made anew",
    "broker_pool_limit": _NO_POOL,
    "broker_pool_acquire_timeout": _NO_POOL,
    "control_queue_durable": _MAILBOX,
    "control_queue_exclusive": _MAILBOX,
    "database_url": "write it as result_backend, with db+ before it: db+postgresql://user:password@host/name",
    "database_engine_options": "result_backend_transport_options = {'engine_options': {...}}",
    "database_engine_callback": "result_backend_transport_options = {'engine_options': {...}}, or listen to"
    " SQLAlchemy's event 'connect' of the class Engine",
    "database_short_lived_sessions": "remove it: a session lives as long as one use",
    "database_table_schemas": "result_backend_transport_options = {'table_schemas': {'task': ..., 'group': ...}}",
    "database_table_names": "result_backend_transport_options = {'table_names': {'task': ..., 'group': ...}}",
    "database_create_tables_at_setup": "remove it: tables are made when the first result is stored",
    "deprecated_settings": "remove it: it only tells of others, in what a Celery worker answers",
    "override_backends": "offer the backend as an entry point of the group kernel.backends, named after its scheme",
    "redis_db": _IN_RESULT_URL,
    "redis_host": _IN_RESULT_URL,
    "redis_port": _IN_RESULT_URL,
    "redis_username": _IN_RESULT_URL,
    "redis_password": _IN_RESULT_URL,
    "redis_backend_use_ssl": "write result_backend = rediss://host/0?ssl_cert_reqs=required&ssl_ca_certs=/path/ca.pem",
    "redis_backend_health_check_interval": _REDIS.format("health_check_interval"),
    "redis_backend_credential_provider": "write user and password in result_backend",
    "redis_client_name": _REDIS.format("client_name"),
    "redis_max_connections": "remove it: there are as many connections as threads that wait for results, and one more",
    "redis_retry_on_timeout": _TRIES,
    "redis_socket_connect_timeout": _REDIS.format("socket_connect_timeout"),
    "redis_socket_keepalive": _REDIS.format("socket_keepalive"),
    "redis_socket_timeout": _REDIS.format("socket_timeout"),
    "result_backend_always_retry": _TRIES,
    "result_backend_base_sleep_between_retries_ms": _TRIES,
    "result_backend_max_retries": _TRIES,
    "result_backend_max_sleep_between_retries_ms": _TRIES,
    "result_backend_thread_safe": "remove it: every backend may be used by several threads",
    "result_cache_max": "remove it: an AsyncResult keeps what it read, and nothing else does",
    "result_compression": "remove it: results are stored as they are, and those that Celery compressed are read",
    "result_exchange": "remove it: answers of rpc:// go straight to the queue of who asked",
    "result_exchange_type": "remove it: answers of rpc:// go straight to the queue of who asked",
    "result_failure_expires": "result_expires, for successes and failures",
    "task_remote_tracebacks": "remove it: AsyncResult.traceback is the text of the traceback in the worker",
    "worker_cancel_long_running_tasks_on_connection_loss": _LIVES,
    "worker_consumer": "leave out or add steps of the consumer instead: app.steps['consumer'].add(...), --without NAME",
    "worker_deduplicate_successful_tasks": "remove it: late tasks run at least once, so let each be safe to run again",
    "worker_detect_quorum_queues": "remove it: each queue's type is seen, and the limit of what is held set to suit it",
    "worker_disable_prefetch": "worker_prefetch_multiplier = 1; unset, what is held follows the pace of the tasks",
    "worker_enable_prefetch_count_reduction": "remove it: what runs over from a broken connection counts already",
    "worker_enable_soft_shutdown_on_idle": "remove it: what waits for its ETA goes back to the broker at once",
    "worker_eta_task_limit": "worker_eta_horizon: tasks farther away than that wait in the broker",
    "worker_lost_wait": "remove it: the death of a child is noticed at once, after what it had already said",
    "worker_pool_putlocks": "remove it: a pool is never given more than it can start",
    "worker_timer": _TIMER,
    "worker_timer_precision": _TIMER,
}
#: Who reads what is a setting here too, once it is installed.
READERS = {
    "beat_": "bootsteps-worker-beat",
    "control_queue_": "bootsteps-consumer-control",
    "event_": "bootsteps-consumer-events",
    "broker_": "bootsteps-consumer",
    "worker_autoscale": "bootsteps-autoscaler",
    "worker_state_db": "bootsteps-statedb",
    "worker_send_task_events": "bootsteps-consumer-events",
    "worker_enable_remote_control": "bootsteps-consumer-control",
}
#: What an application itself reads of those.
OURS = frozenset(setting.name for setting in SETTINGS)
#: The old names whose words changed with their case.
RENAMED = {
    "celery_task_result_expires": "result_expires",
    "celery_max_cached_results": "result_cache_max",
    "celery_result_dburi": "database_url",
    "celery_result_engine_options": "database_engine_options",
    "celery_result_db_short_lived_sessions": "database_short_lived_sessions",
    "celery_result_db_tablenames": "database_table_names",
    "celery_message_compression": "task_compression",
    "celery_eager_propagates_exceptions": "task_eager_propagates",
    "celery_send_task_sent_event": "task_send_sent_event",
    "celery_send_events": "worker_send_task_events",
    "celeryd_worker_lost_wait": "worker_lost_wait",
    "celeryd_task_time_limit": "task_time_limit",
    "celeryd_task_soft_time_limit": "task_soft_time_limit",
}
#: What the words of old names begin with now, the longest first.
BEGINNINGS = {"celerybeat_": ("beat_",), "celeryd_": ("worker_",), "celery_": ("", "task_", "worker_")}


def advice_on(name: str, known: frozenset[str]) -> str:
    """Return what to do instead of a setting of Celery's; nothing for a name that is none of its. `known` is ours."""
    new = "" if name in INSTEAD else new_name(name, known)
    if new and new != name:
        further = _found(new, INSTEAD) or _missing(new, known)
        return f"its name is {new} now" + (f"; {further}" if further else "")
    return _found(name, INSTEAD) or _missing(name, known)


def new_name(name: str, known: frozenset[str]) -> str:
    """Return the lower-case name that an old one of Celery's has now; nothing for a name that is none."""
    low = name.lower()
    if low in RENAMED:
        return RENAMED[low]
    found = [low] if name.isupper() else []
    for beginning, instead in BEGINNINGS.items():
        if low.startswith(beginning):
            found = [start + low.removeprefix(beginning) for start in instead]
            break
    return next((each for each in found if each in known or _found(each, INSTEAD) or _found(each, READERS)), "")


def _found(name: str, table: Mapping[str, str]) -> str:
    if name in table:
        return table[name]
    return next((text for key, text in table.items() if key.endswith("_") and name.startswith(key)), "")


def _missing(name: str, known: frozenset[str]) -> str:
    """Return how to install who reads a setting; nothing where other settings tell that it is installed."""
    for beginning, reader in READERS.items():
        if name.startswith(beginning):
            there = any(each.startswith(beginning) and each not in OURS for each in known)
            return "" if there else f"pip install {reader}, which reads it, or remove it"
    return ""
