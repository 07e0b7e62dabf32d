"""`kernel queues`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import click

from bootsteps.cli import AppCommand, Group
from bootsteps.errors import SettingError
from bootsteps_queues.access import (
    as_json,
    bindings_of,
    broker,
    counts,
    opened,
    the_app,
    unknown_queue,
)  # fmt: skip
from bootsteps_queues.copying import fetch, give_back
from bootsteps_queues.copying import publish as publish_copies
from bootsteps_queues.table import show as show_table

__all__ = ["queues"]

TYPES = click.Choice(["direct", "topic", "fanout"])


@click.group(cls=Group)
def queues() -> None:
    """Look at the queues of a broker, and change them.

    \b
    kernel -A proj queues list                    messages and consumers of each
    kernel -A proj queues get mail -n 3           what waits first, and leave it there
    kernel -A proj queues publish mail '{"a": 1}'
    kernel queues purge mail -b redis://localhost/0

    They do on Redis, RabbitMQ and the embedded broker what `celery amqp` does on RabbitMQ.
    """


def _command(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    return queues.command(name, cls=AppCommand)


@_command("list")
@broker
@as_json
@click.pass_context
def list_queues(ctx: click.Context, broker: str | None, as_json: bool) -> None:
    """List queues with how many messages wait in each, and how many consumers it has.

    They are those of the application, and those that the broker can list (RabbitMQ cannot). A dash: the broker has no
    such queue; on Redis it may be empty. Redis does not know consumers.

    \b
    kernel -A proj queues list
    kernel -b redis://localhost/0 queues list --json
    """
    app = the_app(ctx, broker)
    with opened(app) as connection:
        bound = {queue for queue, _, _ in bindings_of(connection) or ()}
        known = sorted({queue.name for queue in app.queues()} | bound)
        rows = [(name, counts(connection, name)) for name in known]
    if as_json:
        click.echo(json.dumps([_row(name, found) for name, found in rows]))
        return
    show_table(("Queue", "Messages", "Consumers"), [(name, *(found or (None, None))) for name, found in rows])


def _row(name: str, found: Any) -> dict[str, Any]:
    return {"queue": name, **(found._asdict() if found else {"messages": None, "consumers": None})}


@_command("show")
@click.argument("name")
@broker
@as_json
@click.pass_context
def show(ctx: click.Context, name: str, broker: str | None, as_json: bool) -> None:
    """Show one queue: messages, consumers, and which exchanges send to it. Exit status 2 if it is not there.

    \b
    kernel -A proj queues show mail
    """
    app = the_app(ctx, broker)
    with opened(app) as connection:
        listed = bindings_of(connection)
        found = counts(connection, name)
        bound = [{"exchange": e, "routing_key": key} for q, e, key in listed or () if q == name]
        if found is None and not bound:
            raise unknown_queue(app, connection, name)
    row = _row(name, found) | {"bindings": None if listed is None else bound}
    if as_json:
        click.echo(json.dumps(row))
        return
    for key, value in row.items():
        click.echo(f"{key}: {value if value not in (None, []) else '-'}")


@_command("get")
@click.argument("name")
@click.option("-n", "--limit", type=click.IntRange(1), default=1, show_default=True, help="So many messages.")
@click.option("--ack", is_flag=True, help="Take them out of the queue.")
@broker
@as_json
@click.pass_context
def get(ctx: click.Context, name: str, limit: int, ack: bool, broker: str | None, as_json: bool) -> None:
    """Show the messages that wait first in the queue NAME. They stay there, unless with --ack.

    --json prints one object a line. Exit status 1 if there is none.

    \b
    kernel -A proj queues get mail -n 3
    kernel -A proj queues get mail --ack --json
    """
    app = the_app(ctx, broker)
    with opened(app) as connection:
        if counts(connection, name) is None and all(q != name for q, _, _ in bindings_of(connection) or ()):
            raise unknown_queue(app, connection, name)
        with connection.channel() as channel:
            tags = _print_messages(channel, name, limit, as_json)
            _settle(channel, tags, ack)
    ctx.exit(0 if tags else 1)


def _print_messages(channel: Any, name: str, limit: int, as_json: bool) -> list[Any]:
    tags: list[Any] = []
    while len(tags) < limit and (message := fetch(channel, name)) is not None:
        tags.append(message.delivery_tag)
        facts = {"headers": message.headers, "properties": _plain(message.properties), "body": _text(message.body)}
        facts |= {"content_type": message.content_type, "content_encoding": message.content_encoding}
        click.echo(json.dumps(facts, default=str, indent=None if as_json else 2))
    return tags


def _plain(properties: Any) -> dict[str, Any]:
    return {name: value for name, value in (properties or {}).items() if value is not None}


def _text(body: Any) -> str:
    return body.decode(errors="backslashreplace") if isinstance(body, bytes) else str(body)


def _settle(channel: Any, tags: list[Any], ack: bool) -> None:
    if ack:
        for tag in tags:
            channel.basic_ack(tag)
    else:
        give_back(channel, tags)


@_command("publish")
@click.argument("name")
@click.argument("body")
@click.option("--headers", default="{}", metavar="JSON", help="Headers, a JSON object.")
@click.option("--content-type", default="application/json", show_default=True, help="What BODY is.")
@click.option("--priority", type=click.IntRange(0, 255), help="0 to 9, higher first.")
@broker
@click.pass_context
def publish(
    ctx: click.Context, name: str, body: str, headers: str, content_type: str, priority: int | None, broker: str | None
) -> None:
    """Publish BODY (-: standard input) straight to the queue NAME. To run a task use kernel call.

    Exit status 2 if there is no such queue.

    \b
    kernel -A proj queues publish mail '{"a": 1}'
    """
    found = _object(headers)
    app = the_app(ctx, broker)
    text = sys.stdin.read() if body == "-" else body
    with opened(app) as connection:
        if counts(connection, name) is None and all(q != name for q, _, _ in bindings_of(connection) or ()):
            raise unknown_queue(app, connection, name)
        with connection.channel() as channel:
            message = channel.prepare_message(
                text.encode(), priority, content_type, "utf-8", found, {"delivery_mode": 2}
            )
            publish_copies(channel, [(message, name)])


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as exc:
        raise SettingError(f"--headers is not JSON: {exc}", (f"--headers {text}",), "--headers '{\"x\": 1}'") from exc
    if not isinstance(found, dict):
        raise SettingError("--headers is no object", (f"--headers {text}",), "--headers '{\"x\": 1}'")
    return found


@_command("declare")
@click.argument("name")
@click.option("--exchange", metavar="NAME", help="Bind it to this exchange; default: one of the queue's name.")
@click.option("--type", "kind", type=TYPES, default="direct", show_default=True, help="Of the exchange.")
@click.option("--routing-key", metavar="KEY", help="Default: the queue's name.")
@click.option("--auto-delete", is_flag=True, help="Gone with its last consumer.")
@click.option("--transient", is_flag=True, help="Does not survive a restart of RabbitMQ.")
@broker
@click.pass_context
def declare(
    ctx: click.Context, name: str, exchange: str | None, kind: str, routing_key: str | None, auto_delete: bool,
    transient: bool, broker: str | None,
) -> None:  # fmt: skip
    """Make the queue NAME, its exchange, and bind the two; what is there already remains.

    A queue that the application's settings know is made as they say, unless an option says otherwise.

    \b
    kernel -A proj queues declare mail
    """
    from kombu import Exchange, Queue

    app = the_app(ctx, broker)
    known = {queue.name: queue for queue in app.queues()}.get(name)
    plain = exchange is None and routing_key is None and not auto_delete and not transient
    durable = not transient
    made = Queue(
        name, Exchange(exchange or name, type=kind, durable=durable), routing_key if routing_key is not None else name,
        durable=durable, auto_delete=auto_delete,
    )  # fmt: skip
    with opened(app) as connection, connection.channel() as channel:
        (known if known is not None and plain else made)(channel).declare()


@_command("purge")
@click.argument("name")
@broker
@click.pass_context
def purge_one(ctx: click.Context, name: str, broker: str | None) -> None:
    """Throw away what waits in the queue NAME, without asking; print how many. kernel purge empties all and asks.

    \b
    kernel -A proj queues purge mail
    """
    app = the_app(ctx, broker)
    with opened(app) as connection:
        if counts(connection, name) is None and all(q != name for q, _, _ in bindings_of(connection) or ()):
            raise unknown_queue(app, connection, name)
        with connection.channel() as channel:
            click.echo(int(channel.queue_purge(name) or 0))


@_command("delete")
@click.argument("name")
@click.option("--if-empty", is_flag=True, help="Only if nothing waits in it.")
@click.option("--if-unused", is_flag=True, help="Only if it has no consumer.")
@broker
@click.pass_context
def delete(ctx: click.Context, name: str, if_empty: bool, if_unused: bool, broker: str | None) -> None:
    """Remove the queue NAME and what waits in it. Exit status 1 if a condition keeps it.

    \b
    kernel -A proj queues delete mail
    """
    app = the_app(ctx, broker)
    with opened(app) as connection:
        found = counts(connection, name)
        bound = [(e, key) for q, e, key in bindings_of(connection) or () if q == name]
        if found is None and not bound:
            raise unknown_queue(app, connection, name)
        if found and ((if_empty and found.messages) or (if_unused and found.consumers)):
            click.echo(f"kept: {found.messages} messages, {found.consumers} consumers", err=True)
            ctx.exit(1)
        with connection.channel() as channel:
            _delete(channel, name, bound, if_empty, if_unused)


def _delete(channel: Any, name: str, bound: list[tuple[str, str]], if_empty: bool, if_unused: bool) -> None:
    for exchange, key in bound:  # on Redis a queue is its bindings and its messages, and nothing else
        channel.queue_unbind(queue=name, exchange=exchange, routing_key=key)
    if bound:
        channel.queue_purge(name)
    channel.queue_delete(queue=name, if_empty=if_empty, if_unused=if_unused)
