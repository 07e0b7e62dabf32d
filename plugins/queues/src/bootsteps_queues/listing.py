"""`kernel list bindings`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from bootsteps.cli import AppCommand, Group
from bootsteps_queues.access import as_json, bindings_of, broker, counts, opened, the_app
from bootsteps_queues.table import show

__all__ = ["list_"]


@click.group("list", cls=Group)
def list_() -> None:
    """List what a broker knows.

    \b
    kernel -A proj list bindings
    kernel -b redis://localhost/0 list bindings --json
    """


@list_.command(cls=AppCommand)
@broker
@as_json
@click.pass_context
def bindings(ctx: click.Context, broker: str | None, as_json: bool) -> None:
    """List which exchange sends what to which queue.

    \b
    kernel -A proj list bindings
    kernel list bindings -b redis://localhost/0 --json

    AMQP has no way to list bindings: on RabbitMQ the list is what the application's settings say, of queues that are
    there.
    """
    app = the_app(ctx, broker)
    with opened(app) as connection:
        found = bindings_of(connection)
        if found is None:
            known = app.queues()
            found = [_binding(queue) for queue in known if counts(connection, queue.name) is not None]
    rows = [dict(zip(("queue", "exchange", "routing_key"), row, strict=True)) for row in found]
    click.echo(json.dumps(rows)) if as_json else show(("Queue", "Exchange", "Routing key"), _cells(rows))


def _binding(queue: Any) -> tuple[str, str, str]:
    return queue.name, queue.exchange.name, queue.routing_key


def _cells(rows: Sequence[dict[str, str]]) -> list[list[str]]:
    return [list(row.values()) for row in rows]
