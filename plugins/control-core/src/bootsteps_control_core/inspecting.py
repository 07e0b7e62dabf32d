"""The commands that ask and change nothing: names, arguments and replies are Celery's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bootsteps import CommandView, inspect_command
from bootsteps_consumer import CONSUMER
from bootsteps_consumer_tasks import REVOKED, SNAPSHOTS, TASK_QUEUES
from bootsteps_consumer_tasks.snapshots import Known
from bootsteps_control_core.shown import flag, request_of
from bootsteps_tasks.showing import settings_in_use

__all__ = [
    *("active", "active_queues", "clock", "conf", "ping", "query_task", "registered", "report", "reserved"),
    *("revoked", "scheduled", "stats"),
]

Reply = dict[str, Any]

#: Among calls due at one moment, tasks come after what the worker itself has to do (Celery's number).
ETA_PRIORITY = 6
PERSISTENT = 2
#: What is told of a task if nobody names anything, and it has that.
TASK_FACTS = ("exchange", "routing_key", "rate_limit")


@inspect_command(default_timeout=0.2)
def ping(state: CommandView, **extra: Any) -> Reply:
    """Ping worker(s)."""
    return {"ok": "pong"}


@inspect_command(requires=(SNAPSHOTS,), alias="dump_active", args=(), signature="")
def active(state: CommandView, safe: bool | None = False, **extra: Any) -> list[Reply]:
    """List of tasks currently being executed; with safe, arguments as text."""
    return _requests(state, state.get(SNAPSHOTS).active(), bool(safe))


@inspect_command(requires=(SNAPSHOTS,), alias="dump_reserved")
def reserved(state: CommandView, **extra: Any) -> list[Reply]:
    """List of currently reserved tasks, not including scheduled/active."""
    return _requests(state, state.get(SNAPSHOTS).reserved())


@inspect_command(requires=(SNAPSHOTS,), alias="dump_schedule")
def scheduled(state: CommandView, **extra: Any) -> list[Reply]:
    """List of currently scheduled ETA/countdown tasks."""
    return [
        {
            "eta": known.headers.eta.isoformat() if known.headers.eta else None,
            "priority": ETA_PRIORITY,
            "request": request_of(known, state.hostname),
        }
        for known in state.get(SNAPSHOTS).scheduled()
    ]


@inspect_command(requires=(SNAPSHOTS,), variadic="ids", args=(), signature="[id1 [id2 [... [idN]]]]")
def query_task(state: CommandView, ids: Any, **extra: Any) -> dict[str, tuple[str, Reply]]:
    """Query for task information by id."""
    wanted = [ids] if isinstance(ids, str) else [each for each in ids or () if isinstance(each, str)]
    found = state.get(SNAPSHOTS).find(wanted)
    return {known.headers.id: (known.where, request_of(known, state.hostname)) for known in found}


def _requests(state: CommandView, found: Iterable[Known], safe: bool = False) -> list[Reply]:
    return [request_of(known, state.hostname, safe) for known in found]


@inspect_command(alias="dump_tasks", variadic="taskinfoitems", args=(), signature="[attr1 [attr2 [... [attrN]]]]")
def registered(state: CommandView, taskinfoitems: Any = None, builtins: bool = False, **extra: Any) -> list[str]:
    """List of registered tasks, with the named attributes of each."""
    wanted = [name for name in taskinfoitems or TASK_FACTS if isinstance(name, str) and not name.startswith("_")]
    tasks = state.app.tasks
    names = [name for name in sorted(tasks) if builtins or not name.startswith("celery.")]
    return [_task_line(tasks[name], wanted) for name in names]


def _task_line(task: Any, wanted: Iterable[str]) -> str:
    facts = [f"{name}={value}" for name in wanted if (value := getattr(task, name, None)) is not None]
    return f"{task.name} [{' '.join(facts)}]" if facts else str(task.name)


@inspect_command(requires=(REVOKED,), alias="dump_revoked")
def revoked(state: CommandView, **extra: Any) -> list[str]:
    """List of revoked task-ids."""
    return state.get(REVOKED).snapshot()


@inspect_command(requires=(TASK_QUEUES,))
def active_queues(state: CommandView) -> list[Reply]:
    """List the task queues a worker is currently consuming from."""
    return [_queue(dict(queue.as_dict(recurse=True))) for queue in state.get(TASK_QUEUES)]


def _queue(found: Reply) -> Reply:
    """Persistent is what an exchange is whose delivery mode nobody names: Celery's name none."""
    exchange = found.get("exchange")
    if isinstance(exchange, dict) and exchange.get("delivery_mode") == PERSISTENT:
        found["exchange"] = {**exchange, "delivery_mode": None}
    return found


@inspect_command(requires=(CONSUMER,))
def stats(state: CommandView, **extra: Any) -> Reply:
    """Request worker statistics/information."""
    worker: Any = state.get(CONSUMER).controller
    return dict(worker.stats())


@inspect_command()
def clock(state: CommandView, **extra: Any) -> Reply:
    """Get current logical clock value."""
    return {"clock": state.app.clock.value}


@inspect_command(alias="dump_conf", args=[("with_defaults", flag)], signature="[include_defaults=False]")
def conf(state: CommandView, with_defaults: bool = False, **extra: Any) -> Reply:
    """List configuration; secrets are masked."""
    return settings_in_use(state.app.conf, bool(with_defaults))


@inspect_command()
def report(state: CommandView) -> Reply:
    """Information about this installation for bug reports."""
    from bootsteps_control_core.report import report_of

    return {"ok": report_of(state.app)}
