"""`kernel events`."""

from __future__ import annotations

import json
import pkgutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event
from typing import TYPE_CHECKING, Any

import click

from bootsteps.cli import AppCommand, Session
from bootsteps.errors import KernelError

if TYPE_CHECKING:
    from bootsteps_consumer_events.camera import Polaroid
    from bootsteps_tasks import App

__all__ = ["events"]

#: The command that a terminal shows when nothing else is asked for, if whoever brings it is installed.
MONITOR = "monitor"


class EventsCommand(AppCommand):
    """Takes the application's options for monitors too."""

    user_options = ("preload", "events")


@click.command(cls=EventsCommand)
@click.option("-d", "--dump", is_flag=True, help="Print one line for each event.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each event.")
@click.option("-c", "--camera", metavar="MODULE:CLASS", help="Take snapshots of the cluster with this camera.")
@click.option(
    "-F", "--frequency", "--freq", type=click.FloatRange(min=0, min_open=True), default=1.0, show_default=True,
    metavar="SECONDS", help="How often the camera takes one.",
)  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="End after so many events.")
@click.pass_context
def events(
    ctx: click.Context, dump: bool, as_json: bool, camera: str | None, frequency: float, limit: int | None
) -> None:
    """Show what happens to tasks and workers.

    In a terminal that is the monitor, if it is installed (pip install bootsteps-events-monitor); else one line for each
    event.

    \b
    kernel -A proj events
    kernel -A proj events --dump
    kernel -A proj events --json | jq 'select(.type == "task-failed")'
    kernel -A proj events --camera proj.monitoring:Camera --frequency 30

    Workers tell of tasks when they are started with -E or after: kernel -A proj control enable_events
    """
    session = ctx.ensure_object(Session)
    if not (dump or as_json or camera or limit) and (monitor := _monitor(ctx)) is not None:
        with monitor.make_context(MONITOR, [], parent=ctx.parent) as inner:
            monitor.invoke(inner)
        return
    app = _app(session)
    if camera is not None:
        _watch(app, *_filming(app, camera, frequency), limit)
        return
    show: Callable[[dict[str, Any]], str] = _as_json
    if not as_json:
        from bootsteps_consumer_events.dumper import Dumper

        show = Dumper().line
        if not session.quiet:
            click.echo("-> capturing events ...", err=True)
    _watch(app, lambda event: click.echo(show(event)), lambda: None, limit)


def _monitor(ctx: click.Context) -> click.Command | None:
    """Return the command of the monitor, if there is a terminal and one is installed."""
    if ctx.parent is None or not isinstance(ctx.parent.command, click.Group):
        return None
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return None
    return ctx.parent.command.get_command(ctx.parent, MONITOR)


def _app(session: Session) -> App:
    from bootsteps_tasks import App

    app = session.app()
    if not isinstance(app, App):
        raise KernelError(f"{app!r} is no application with tasks", (), "name one: kernel -A MODULE:APP events")
    return app


def _as_json(event: dict[str, Any]) -> str:
    return json.dumps(event, default=str)


def _filming(app: App, name: str, frequency: float) -> tuple[Callable[[dict[str, Any]], object], Callable[[], None]]:
    """Return what takes events, and what looks whether a snapshot is due."""
    try:
        make = pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as exc:
        raise KernelError(f"there is no camera {name!r}: {exc}", (), "--camera MODULE:CLASS") from exc
    state = app.events.State()
    camera: Polaroid = make(state, freq=frequency, app=app)
    click.echo(f"-> taking snapshots with {name} every {frequency:g} s", err=True)
    return state.event, camera.tick


def _watch(app: App, take: Callable[[dict[str, Any]], object], tick: Callable[[], None], limit: int | None) -> None:
    """Hear events until `limit` of them came, or Ctrl-C."""
    from bootsteps_consumer_events.watching import watch

    left = [limit]
    gone: list[BrokenPipeError] = []

    def count(event: dict[str, Any]) -> None:
        try:
            if left[0] != 0:
                take(event)
        except BrokenPipeError as exc:  # not the broker's: whoever read what is printed (`| head`) has enough
            gone.append(exc)
        if left[0]:
            left[0] -= 1

    def done() -> bool:
        return left[0] == 0 or bool(gone) or interrupted.is_set()

    def lost(why: str) -> None:
        click.echo(f"-> no connection to the broker: {why}; trying again ...", err=True)

    with suppress(KeyboardInterrupt), _heeding_interrupts() as interrupted:
        watch(app, count, done, tick=tick, on_lost=lost)
    if gone:
        raise gone[0]  # which click makes a quiet end


@contextmanager
def _heeding_interrupts() -> Iterator[Event]:
    """Yield what Ctrl-C sets. As an exception it could come into a destructor, and be lost; the second one is one."""
    interrupted = Event()

    def heed(*_: Any) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        interrupted.set()

    before = signal.signal(signal.SIGINT, heed)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)
