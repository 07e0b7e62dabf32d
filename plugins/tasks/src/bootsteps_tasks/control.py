"""Tell workers what to do: commands by the broker, without waiting for an answer (wire reference 10)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bootsteps_tasks.app import App

__all__ = ["REVOKED_KEPT", "REVOKED_TTL_S", "broadcast", "keep_revoked", "revoke", "revoke_by_stamps", "revoked_queue"]

#: How long, and how many, revokes wait for a worker when none is up: Celery's numbers for those that a worker keeps.
REVOKED_TTL_S, REVOKED_KEPT = 10_800.0, 50_000


def broadcast(
    app: App, command: str, arguments: Mapping[str, Any] | None = None, destination: Sequence[str] | None = None
) -> None:
    """Send a command to all workers, or to those with these node names.

    A worker that is away now never hears of it. Raises kombu's `OperationalError` when the broker cannot be reached.
    """
    with _connected(app) as connection:
        _cast(app, connection, command, arguments, destination)


def _connected(app: App) -> Any:
    connection = app.connection()
    return connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)


def _cast(
    app: App, connection: Any, command: str, arguments: Mapping[str, Any] | None, destination: Sequence[str] | None
) -> None:
    from kombu.pidbox import Mailbox

    if isinstance(destination, str):
        raise TypeError(f"destination is a list of node names, not {destination!r}")
    box = Mailbox(
        app.conf["control_exchange"], type="fanout", connection=connection, serializer=app.conf["task_serializer"],
        clock=app.clock,
    )  # fmt: skip
    names = None if destination is None else list(destination)
    box.cast(names, command, dict(arguments or {}))


def revoke(
    app: App,
    ids: str | Iterable[str],
    terminate: bool = False,
    signal: str | int | None = None,
    destination: Sequence[str] | None = None,
    wait: bool = False,
    timeout: float | None = None,
) -> None:
    """Have tasks not run; with `terminate` end them by a signal (default SIGTERM) where they run.

    A worker that starts within three hours gets to know too, unless `destination` names others. With `wait` return when
    those that are up have answered, or none did for `timeout` (default 1) seconds: that needs
    `bootsteps-control-client`. Raises as `broadcast`.
    """
    wanted = ids if isinstance(ids, str) else list(ids)
    if wait:
        how: dict[str, Any] = {"reply": True, "timeout": 1.0 if timeout is None else timeout}
        app.control.revoke(wanted, destination, terminate, "SIGTERM" if signal is None else signal, **how)
        return
    arguments = {"task_id": wanted, "terminate": terminate, "signal": "SIGTERM" if signal is None else signal}
    with _connected(app) as connection:
        if destination is None:
            keep_revoked(app, connection, [wanted] if isinstance(wanted, str) else wanted)
        _cast(app, connection, "revoke", arguments, destination)


def revoke_by_stamps(
    app: App,
    headers: Mapping[str, Any],
    terminate: bool = False,
    signal: str | int | None = None,
    wait: bool = False,
    timeout: float | None = None,
) -> None:
    """Have every task not run that has one of these stamps with one of these values, in the workers that are up.

    `wait` and `timeout` as for `revoke`.
    """
    signum = "SIGTERM" if signal is None else signal
    arguments = {"headers": dict(headers), "terminate": terminate, "signal": signum}
    if wait:
        seconds = 1.0 if timeout is None else timeout
        app.control.broadcast("revoke_by_stamped_headers", arguments, reply=True, timeout=seconds)
    else:
        broadcast(app, "revoke_by_stamped_headers", arguments)


def revoked_queue(app: App) -> Any:
    """Return the durable queue in which revokes wait for a worker with `bootsteps-consumer-mingle`.

    A message is `{"ids": [...], "at": Unix seconds}`. Not Celery's: its clients and workers do not know it.
    """
    from kombu import Queue

    return Queue(f"{app.conf['control_exchange']}.revoked", message_ttl=REVOKED_TTL_S, max_length=REVOKED_KEPT)


def keep_revoked(app: App, connection: Any, ids: Iterable[str]) -> None:
    """Let these ids wait for workers that are not up yet."""
    with connection.channel() as channel:
        queue = revoked_queue(app)(channel)
        _, waiting, _ = queue.queue_declare()
        for _ in range(waiting - REVOKED_KEPT):  # where the broker does not keep to max_length
            queue.get(no_ack=True)
        body = {"ids": list(ids), "at": time.time()}
        connection.Producer(channel).publish(body, routing_key=queue.name, serializer="json", delivery_mode=2)
