"""`kernel flower`."""

from __future__ import annotations

import click

from bootsteps.cli import AppCommand, Session
from bootsteps.errors import KernelError

__all__ = ["flower"]


@click.command(cls=AppCommand, context_settings={"ignore_unknown_options": True})
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[OPTIONS OF FLOWER]")
@click.pass_obj
def flower(session: Session, options: tuple[str, ...]) -> None:
    """Run Flower, the monitor in the browser.

    \b
    kernel -A proj flower
    kernel -A proj flower --address=127.0.0.1 --port=5555 --basic_auth=user:password

    Flower lets everybody who reaches its port stop workers and revoke tasks: bind it to loopback, or ask for a
    password.
    Its options are those of its documentation, and FLOWER_PORT, FLOWER_BASIC_AUTH and so on in the environment.
    """
    from bootsteps_tasks import App

    app = session.app()
    if not isinstance(app, App):
        raise KernelError(f"{app!r} is no application with tasks", (), "name one: kernel -A MODULE:APP flower")
    from celery.bin.base import CLIContext
    from celery.bin.celery import celery
    from flower.command import flower as command

    from bootsteps_flower.translation import as_celery

    theirs = as_celery(app)
    theirs.set_current()  # Flower asks for results so
    chosen = CLIContext(app=theirs, no_color=True, workdir="", quiet=False)
    above = click.Context(celery, info_name="kernel", obj=chosen)
    with command.make_context("flower", list(options), parent=above) as context:
        command.invoke(context)
