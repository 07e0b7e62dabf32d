"""`kernel quarantine`: look at parked tasks, let them run again, or throw them away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from bootsteps.cli import AppCommand
from bootsteps.errors import WrongType
from bootsteps_consumer_tasks.guard import QUARANTINE
from bootsteps_consumer_tasks.poster import Poster
from bootsteps_tasks import App

__all__ = ["quarantine"]


@click.command(cls=AppCommand)
@click.argument("action", type=click.Choice(["list", "release", "drop"]))
@click.argument("ids", nargs=-1)
@click.option("--queue", "-Q", "queues", multiple=True, help="Only what came from this queue; default: all of the app.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.pass_context
def quarantine(ctx: click.Context, action: str, ids: tuple[str, ...], queues: tuple[str, ...], as_json: bool) -> None:
    """List tasks that were given up, RELEASE them into their queue, or DROP them; all of them, or those with these IDS.

    \b
    kernel -A proj quarantine list
    kernel -A proj quarantine release 2c1717a2-64a1-4635-8b0c-748ed175a51b
    kernel -A proj quarantine drop -Q mail
    """
    app = _app(ctx)
    poster = Poster(app.connection)
    try:
        for queue in queues or [queue.name for queue in app.queues()]:
            with _parked(app, f"{queue}.quarantine") as messages:
                for message in messages:
                    if not ids or (message.headers or {}).get("id") in ids:
                        _deal_with(message, queue, action, poster, as_json)
    finally:
        poster.close()


def _deal_with(message: Any, queue: str, action: str, poster: Poster, as_json: bool) -> None:
    if action == "release":
        poster.release(message, queue)
    if action != "list":
        message.ack()
    headers = message.headers or {}
    start = f"{QUARANTINE}-"
    found = {name.removeprefix(start): value for name, value in headers.items() if name.startswith(start)}
    if as_json:
        click.echo(json.dumps({"id": headers.get("id"), "task": headers.get("task"), **found}, default=str))
        return
    done = {"list": "", "release": "released ", "drop": "dropped "}[action]
    click.echo(f"{done}{headers.get('task')}[{headers.get('id')}] {found.get('time')} {queue}: {found.get('reason')}")


@contextmanager
def _parked(app: App, name: str) -> Iterator[Iterator[Any]]:
    """Lend the messages of a queue; those that are not acknowledged stay in it."""
    from kombu import Exchange, Queue

    seen: list[Any] = []

    def messages(queue: Any) -> Iterator[Any]:
        while (message := queue.get()) is not None:
            seen.append(message)
            yield message

    with app.connection() as connection:
        queue = Queue(name, Exchange(""), routing_key=name, durable=True)(connection.channel())
        queue.queue_declare()
        try:
            yield messages(queue)
        finally:
            for message in seen:
                if not message.acknowledged:
                    message.requeue()


def _app(ctx: click.Context) -> App:
    app = ctx.obj.app()
    if isinstance(app, App):
        return app
    fix = "-A MODULE where app = bootsteps_tasks.App('name'): kernel -A proj quarantine list"
    raise WrongType(f"{app!r} is no application with tasks", (f"-A gave a {type(app).__name__}",), fix)
