"""`kernel monitor`."""

from __future__ import annotations

import sys

import click

from bootsteps.cli import AppCommand, Session
from bootsteps.errors import KernelError

__all__ = ["monitor"]


@click.command(cls=AppCommand)
@click.pass_obj
def monitor(session: Session) -> None:
    """Show tasks and workers live, full screen; kernel events does so, too.

    \b
    kernel -A proj monitor
    \b
    up, down, j, k      select              w        workers instead of tasks, and back
    page up, page down  by pages            /        show what contains these words only
    i, enter            all about a task    e        have workers send events of tasks
    r                   its result          c, x     revoke it (asks)
    t                   its traceback       T        terminate it (asks)
    q                   quit                l        limit the rate of such tasks (asks)

    Tasks are seen when workers send events of them: start these with -E, or press e.
    """
    from bootsteps_tasks import App

    app = session.app()
    if not isinstance(app, App):
        raise KernelError(f"{app!r} is no application with tasks", (), "name one: kernel -A MODULE:APP monitor")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        fix = "kernel events --dump prints one line for each event, kernel events --json one JSON object"
        raise KernelError("the monitor needs a terminal, and this is none", ("kernel monitor",), fix)
    from bootsteps_events_monitor.cluster import Cluster
    from bootsteps_events_monitor.screen import Monitor

    with Cluster(app) as cluster:
        Monitor(cluster).run()
