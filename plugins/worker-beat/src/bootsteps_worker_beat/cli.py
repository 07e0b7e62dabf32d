"""`kernel beat`."""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from bootsteps import KernelError
from bootsteps.cli import AppCommand, Session

__all__ = ["beat"]

log = logging.getLogger("beat")
#: With remote control, seconds between two looks whether to end.
LOOK_S = 0.5
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
FORMAT = "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s"


class BeatCommand(AppCommand):
    """Takes the application's options for beat too."""

    user_options = ("preload", "beat")


@click.command(cls=BeatCommand)
@click.option("-s", "--schedule", metavar="FILE", help="The file that remembers when each task was sent last.")
@click.option("-S", "--scheduler", metavar="MODULE:CLASS", help="The class that sends.")
@click.option("--max-interval", type=click.FloatRange(min=0), metavar="SECONDS", help="Longest time between two looks.")
@click.option("--enable-remote-control/--no-enable-remote-control", "remote", default=None, help="Answer inspect ping.")
@click.option("-n", "--hostname", metavar="NAME", help="The node's name for that; default: celerybeat@%h.")
@click.option("-f", "--logfile", metavar="FILE", help="Log to this file; default: standard error.")
@click.option("--pidfile", metavar="FILE", help="Keep the process id there while it runs.")
@click.option("-l", "--loglevel", type=click.Choice(LEVELS, case_sensitive=False), default="WARNING", show_default=True)
@click.pass_obj
def beat(session: Session, /, loglevel: str, **given: Any) -> None:
    """Send periodic tasks: those of the setting beat_schedule, and of app.add_periodic_task.

    \b
    kernel -A proj beat -l INFO
    kernel -A proj beat -s /var/lib/proj/beat.db

    Several may run with one schedule file: each tick is sent once.
    """
    from bootsteps_tasks import App
    from bootsteps_worker_beat.remote import Mailbox, node_name
    from bootsteps_worker_beat.service import Service
    from bootsteps_worker_beat.settings import REMOTE, SETTINGS

    app = session.app()
    if not isinstance(app, App):
        raise KernelError(f"{app!r} is no application with tasks", ("kernel beat",), "kernel -A MODULE:APP beat")
    app.conf.declare(SETTINGS)
    _set_up_logging(app, loglevel.upper(), given["logfile"])
    app.listen()
    app.load()
    service = Service(app, given["max_interval"], given["schedule"], given["scheduler"])
    remote = app.conf.get(REMOTE) if given["remote"] is None else given["remote"]
    box = Mailbox(app, node_name(given["hostname"])) if remote else None
    service.open(app.hooks)
    if not session.quiet:
        click.echo(f"beat: {len(service.schedule)} periodic tasks of {app.main or 'default'} "
                   f"-> {app.mask_url(app.broker_url()[0])} ({service.scheduler.info})", err=True)  # fmt: skip
    try:
        with _pidfile(given["pidfile"]):
            _run(service, box)
    finally:
        service.close()
        app.close()
    log.info("beat is gone.")


@contextmanager
def _pidfile(path: str | None) -> Iterator[None]:
    """Write the process id there; a file that names a living process is refused."""
    if path is None:
        yield
        return
    file = Path(path)
    with suppress(OSError, ValueError):
        other = int(file.read_text())
        os.kill(other, 0)
        raise KernelError(
            f"{path} says that process {other} runs", (f"--pidfile {path}",), "end it, or delete the file"
        )
    file.write_text(f"{os.getpid()}\n")
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def _run(service: Any, box: Any = None) -> None:
    """Turn until TERM or INT; a second one ends the process at once."""
    reader, writer = socket.socketpair()
    for end in (reader, writer):
        end.setblocking(False)
    told: list[int] = []

    def tell(number: int, frame: Any) -> None:
        told.append(number)
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, tell)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        while not told:
            ends = time.monotonic() + service.tick()
            while not told and (left := ends - time.monotonic()) > 0:
                if box is not None:
                    box.wait(min(left, LOOK_S))
                elif select.select([reader], [], [], left)[0]:
                    reader.recv(512)
    finally:
        signal.set_wakeup_fd(-1)
        if box is not None:
            box.close()
        reader.close()
        writer.close()


def _set_up_logging(app: Any, level: str, file: str | None) -> None:
    """As the worker does: whoever listens to `setup_logging` does it instead."""
    number = logging.getLevelNamesMapping()[level]
    if app.hooks.listeners("setup_logging"):
        app.hooks.announce("setup_logging", loglevel=number, logfile=file)
        return
    handler = logging.StreamHandler(sys.stderr) if file is None else logging.FileHandler(file)
    handler.setFormatter(logging.Formatter(FORMAT))
    logging.basicConfig(level=level, handlers=[handler])
    app.hooks.announce("after_setup_logger", logger=logging.getLogger(), loglevel=number, logfile=file)
