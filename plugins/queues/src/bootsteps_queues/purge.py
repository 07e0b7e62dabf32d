"""`kernel purge`."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from bootsteps.cli import AppCommand
from bootsteps_queues.access import as_json, broker, counts, names, opened, picked, the_app

__all__ = ["purge"]


@click.command(cls=AppCommand)
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option("-Q", "--queues", multiple=True, callback=names, metavar="A,B", help="Only these queues.")
@click.option("-X", "--exclude-queues", multiple=True, callback=names, metavar="A,B", help="All but these queues.")
@broker
@as_json
@click.pass_context
def purge(
    ctx: click.Context, force: bool, queues: tuple[str, ...], exclude_queues: tuple[str, ...], broker: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Throw away all messages that wait in the queues of the application.

    \b
    kernel -A proj purge
    kernel -A proj purge -f -Q mail,images
    kernel -A proj purge -f -X important --json

    There is no way back. What workers hold (running tasks, those fetched before) is not touched. Exit status: 0 done,
    1 not done since you did not say yes, 69 no broker.
    """
    app = the_app(ctx, broker)
    chosen = [queue.name for queue in picked(app, queues, exclude_queues)]
    if not force:
        if as_json:
            ctx.fail("--json needs -f: nobody would read the question")
        click.echo(
            f"This throws away all messages in {', '.join(chosen) or 'no queue'}. There is no way back.", err=True
        )
        if not _confirmed():
            ctx.exit(1)
    with opened(app) as connection:
        gone = _purge(connection, chosen)
    if as_json:
        click.echo(json.dumps({"purged": sum(gone.values()), "queues": gone}))
        return
    total, of = sum(gone.values()), "1 queue" if len(chosen) == 1 else f"{len(chosen)} queues"
    click.echo(f"Purged {total} message{'' if total == 1 else 's'} from {of}." if total else f"No messages in {of}.")


def _confirmed() -> bool:
    try:
        return click.confirm("Are you sure?", err=True)
    except click.Abort:
        if sys.stdin.isatty():  # Ctrl-C
            raise
        click.echo("\nNobody is there to answer; -f does not ask.", err=True)
        return False


def _purge(connection: Any, chosen: list[str]) -> dict[str, int]:
    """Empty the queues; return how many messages were in each."""
    gone = dict.fromkeys(chosen, 0)
    hidden = not sys.stderr.isatty()
    with click.progressbar(chosen, label="Purging", file=sys.stderr, hidden=hidden) as bar:
        for name in bar:
            if counts(connection, name) is not None:
                with connection.channel() as channel:
                    gone[name] = int(channel.queue_purge(name) or 0)
    return gone
