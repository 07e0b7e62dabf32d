"""`kernel call` and `kernel result`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from bootsteps.cli import AppCommand
from bootsteps.errors import KernelError, SettingError, WrongType, did_you_mean

if TYPE_CHECKING:
    from bootsteps_tasks.app import App
    from bootsteps_tasks.result import AsyncResult

__all__ = ["call", "result"]


_broker = click.option("-b", "--broker", metavar="URL", help="The broker, rather than the application's.")
_backend = click.option("--result-backend", metavar="URL", help="Where results are, rather than the application's.")


@click.command(cls=AppCommand)
@click.argument("name")
@click.option("--args", "-a", default="[]", metavar="JSON", help="Positional arguments, a JSON list.")
@click.option("--kwargs", "-k", default="{}", metavar="JSON", help="Keyword arguments, a JSON object.")
@click.option("--queue", "-Q", help="Send to this queue rather than the task's own.")
@click.option("--exchange", metavar="NAME", help="Send to this exchange; with --routing-key.")
@click.option("--routing-key", metavar="KEY", help="Rather than the queue's.")
@click.option("--serializer", metavar="NAME", help="json, yaml, msgpack, ...: how the arguments travel.")
@click.option("--eta", metavar="TIME", help="Start no earlier, e.g. 2026-01-31T12:00:00+01:00.")
@click.option("--countdown", type=float, metavar="SECONDS", help="Start no earlier than this many seconds from now.")
@click.option("--expires", type=float, metavar="SECONDS", help="Do not start later than this many seconds from now.")
@click.option("--priority", type=click.IntRange(0, 255), help="0 to 9, higher first.")
@click.option("--wait", is_flag=True, help="Wait for the result and print it; exit status 1 if the task failed.")
@click.option("--timeout", type=float, metavar="SECONDS", help="How long to wait; default: for ever.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@_broker
@_backend
@click.pass_context
def call(ctx: click.Context, /, name: str, args: str, kwargs: str, wait: bool, **further: Any) -> None:
    """Ask a worker to run the task NAME, and print the id of its result.

    \b
    kernel -A proj call proj.add --args '[2, 2]' --wait
    kernel -A proj call proj.report --kwargs '{"year": 2025}' --queue slow --countdown 60

    Look at the result later: kernel -A proj result ID
    """
    app = _app(ctx, further.pop("broker"), further.pop("result_backend"))
    timeout, as_json = further.pop("timeout"), further.pop("as_json")
    positional, named = _json("--args", args, list, "'[2, 2]'"), _json("--kwargs", kwargs, dict, "'{\"x\": 2}'")
    _load(app, name, ctx.obj.quiet)
    with _plain_errors(app):
        sent = app.send_task(name, positional, named, **further)
    if not wait:
        click.echo(json.dumps({"id": sent.id}) if as_json else sent.id)
        return
    _wait(sent, timeout)
    _show(sent, as_json, traceback=False)
    ctx.exit(0 if sent.successful() else 1)


@click.command(cls=AppCommand)
@click.argument("id")
@click.option("--traceback", is_flag=True, help="Print the worker's traceback of a failed task.")
@click.option("--wait", is_flag=True, help="Wait until the task is ready; exit status 1 if it failed.")
@click.option("--timeout", type=float, metavar="SECONDS", help="How long to wait; default: for ever.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@_broker
@_backend
@click.pass_context
def result(
    ctx: click.Context, id: str, traceback: bool, wait: bool, timeout: float | None, as_json: bool,
    broker: str | None, result_backend: str | None,
) -> None:  # fmt: skip
    """Show the state and the result of the task with this ID.

    \b
    kernel -A proj result 2c1717a2-64a1-4635-8b0c-748ed175a51b
    kernel -A proj result 2c1717a2-64a1-4635-8b0c-748ed175a51b --json

    PENDING is all that can be said of an id of which nothing is stored: the task waits, or its results are ignored,
    or there never was one.
    """
    found = _app(ctx, broker, result_backend).AsyncResult(id)
    if wait:
        _wait(found, timeout)
    _show(found, as_json, traceback)
    if wait and not found.successful():
        ctx.exit(1)


def _app(ctx: click.Context, broker: str | None, backend: str | None) -> App:
    """Return the application, or one without tasks where none is named, but a place is."""
    from bootsteps_tasks.app import App

    app = App() if (broker or backend) and not ctx.obj.has_app() else ctx.obj.app()
    if isinstance(app, App):
        places = {"broker_url": broker, "result_backend": backend}
        app.conf.override({name: url for name, url in places.items() if url})
        return app
    fix = "-A MODULE where app = bootsteps_tasks.App('name'), before the command: kernel -A proj call ..."
    raise WrongType(f"{app!r} is no application with tasks", (f"-A gave a {type(app).__name__}",), fix)


def _json(option: str, text: str, kind: type, example: str) -> Any:
    try:
        found = json.loads(text)
    except ValueError as exc:
        raise SettingError(f"{option} is not JSON: {exc}", (f"{option} {text}",), f"{option} {example}") from exc
    if not isinstance(found, kind):
        shape = "a list" if kind is list else "an object"
        raise SettingError(f"{option} is JSON, but not {shape}", (f"{option} {text}",), f"{option} {example}")
    return found


def _load(app: App, name: str, quiet: bool) -> None:
    """Import the tasks; say when the name is none of theirs. It is sent all the same: a worker may know it."""
    app.load()
    if name not in app.tasks and app.main and not quiet:
        near = did_you_mean(name, app.tasks)
        click.echo(f"note: {app.main} has no task {name!r} {near}".rstrip(), err=True)


@contextmanager
def _plain_errors(app: App) -> Iterator[None]:
    from kombu.exceptions import OperationalError

    from bootsteps_tasks.places import mask_url

    try:
        yield
    except TypeError as exc:
        raise SettingError(str(exc), ("--args and --kwargs",), "arguments as the function takes them") from exc
    except OperationalError as exc:
        url = mask_url(app.broker_url()[0])
        raise KernelError(str(exc), (f"broker {url}",), "start the broker, or name another in broker_url") from exc


def _wait(found: AsyncResult[Any], timeout: float | None) -> None:
    try:
        found.get(timeout, propagate=False)
    except TimeoutError as exc:  # ours is one, too
        what = f"task {found.id} is {found.state} after {timeout} s"
        raise KernelError(what, (), f"is a worker running? look again: kernel result {found.id}") from exc


def _show(found: AsyncResult[Any], as_json: bool, traceback: bool) -> None:
    if as_json:
        click.echo(json.dumps({**found.meta, "task_id": found.id}, default=str))
        return
    value = found.result
    failed = isinstance(value, BaseException)
    click.echo(f"{found.state} {type(value).__name__}: {value}" if failed else f"{found.state} {value!r}")
    if traceback and found.traceback:
        click.echo(found.traceback.rstrip())
