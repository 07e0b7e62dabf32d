"""`kernel migrate`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from bootsteps.cli import AppCommand
from bootsteps_queues.access import as_json, counts, names, opened, picked, the_app
from bootsteps_queues.mover import Mover, Wish

__all__ = ["migrate"]


@click.command(cls=AppCommand)
@click.argument("source", metavar="SOURCE")
@click.argument("dest", metavar="DEST")
@click.option("-n", "--limit", type=click.IntRange(1), metavar="N", help="At most so many messages.")
@click.option(
    "-t", "--timeout", type=float, default=1.0, show_default=True, metavar="SECONDS",
    help="Stop when nothing came for so long.",
)  # fmt: skip
@click.option("-a", "--ack-messages", is_flag=True, help="Take them out of SOURCE; else they remain there, too.")
@click.option("-T", "--tasks", multiple=True, callback=names, metavar="A,B", help="Only tasks of these names.")
@click.option("-Q", "--queues", multiple=True, callback=names, metavar="A,B:NEW", help="These queues; B becomes NEW.")
@click.option("-F", "--forever", is_flag=True, help="Go on until interrupted.")
@as_json
@click.pass_context
def migrate(
    ctx: click.Context, source: str, dest: str, limit: int | None, timeout: float, ack_messages: bool,
    tasks: tuple[str, ...], queues: tuple[str, ...], forever: bool, as_json: bool,
) -> None:  # fmt: skip
    """Take the messages of one broker to another: SOURCE and DEST are URLs.

    \b
    kernel -A proj migrate redis://old/0 amqp://guest@new// -a
    kernel migrate redis://old/0 redis://new/0 -a -Q mail,images:pictures -T proj.send
    kernel -A proj migrate redis://old/0 amqp://new// -a --forever

    Without -a it copies, as celery migrate does. With -a a message is taken out of SOURCE only when DEST has it: if
    this program is killed, none is lost, and at most 100 are in both. What a worker holds is not touched. Queues are
    those of the application, or -Q; DEST gets the same queues. Exit status: 0 done, 69 no broker, 130 interrupted.
    """
    app = the_app(ctx)
    renamed = {name: new or name for name, _, new in (text.partition(":") for text in queues)}
    chosen = picked(app, tuple(renamed))
    wish = Wish(
        {queue.name: renamed.get(queue.name, queue.name) for queue in chosen}, ack_messages, frozenset(tasks), limit,
        None if forever else timeout,
    )  # fmt: skip
    with _to(app, source) as old, _to(app, dest) as new:
        wish = _those_that_are_there(old, wish)
        _declare(app, new, tuple(wish.queues.values()))
        mover = _move(old, new, wish)
    if as_json:
        click.echo(json.dumps({"migrated": mover.total, "queues": mover.done}))
        return
    click.echo(f"{'Moved' if ack_messages else 'Copied'} {mover.total} message{'' if mover.total == 1 else 's'}.")


@contextmanager
def _to(app: Any, url: str) -> Iterator[Any]:
    app.conf.override({"broker_url": url})
    with opened(app) as connection:
        yield connection


def _those_that_are_there(connection: Any, wish: Wish) -> Wish:
    there = {name: to for name, to in wish.queues.items() if counts(connection, name) is not None}
    return Wish(there, wish.acknowledge, wish.tasks, wish.limit, wish.timeout_s)


def _declare(app: Any, connection: Any, queues: tuple[str, ...]) -> None:
    with connection.channel() as channel:
        for queue in picked(app, queues) if queues else ():
            queue(channel).declare()


def _move(old: Any, new: Any, wish: Wish) -> Mover:
    expected = sum(found.messages for name in wish.queues if (found := counts(old, name)))
    hidden = not sys.stderr.isatty()
    length = min(expected, wish.limit or expected)
    with (
        old.channel() as source,
        new.channel() as target,
        click.progressbar(length=length, label="Migrating", file=sys.stderr, hidden=hidden, show_pos=True) as bar,
    ):
        mover = Mover(source, target, wish, bar.update)
        mover.run()
    return mover
