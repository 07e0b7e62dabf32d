"""From the words of a command to an application, its broker and its queues."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from bootsteps.errors import KernelError, UnknownName, WrongType, did_you_mean

if TYPE_CHECKING:
    from bootsteps_tasks import App

__all__ = [
    "Unavailable", "as_json", "bindings_of", "bound_queue", "broker", "counts", "names", "opened", "picked",
    "the_app", "unknown_queue",
]  # fmt: skip

F = TypeVar("F", bound=Callable[..., Any])

broker = click.option("-b", "--broker", metavar="URL", help="The broker, if no application names it.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for a script.")


class Unavailable(KernelError):
    """The broker cannot be reached."""

    exit_status = 69


class Counts(NamedTuple):
    """What a broker says of a queue."""

    #: Ready to be delivered; those that a worker holds are not counted.
    messages: int
    consumers: int


def the_app(ctx: click.Context, broker: str | None = None) -> App:
    """Return the application, or one without tasks when none is named."""
    from bootsteps_tasks import App

    session = ctx.obj
    app = session.app() if session.has_app() else App()
    if not isinstance(app, App):
        fix = f"-A MODULE where app = bootsteps_tasks.App('name'): kernel -A proj {ctx.info_name}"
        raise WrongType(f"{app!r} is no application with tasks", (f"-A gave a {type(app).__name__}",), fix)
    if broker:
        app.conf.override({"broker_url": broker})
    return app


@contextmanager
def opened(app: App) -> Iterator[Any]:
    """Lend a connection to the broker. Raises `Unavailable`; what the broker refuses is a `KernelError`."""
    from kombu.exceptions import OperationalError

    from bootsteps_tasks import mask_url

    connection = app.connection()
    url = mask_url(app.broker_url()[0])
    if connection.transport.driver_type == "amqp":
        connection.transport_options["confirm_publish"] = True  # what was published is there
    try:
        connection.ensure_connection(max_retries=1, interval_start=0.2)
        keep_lease = getattr(connection.transport, "keep_lease", None)
        if keep_lease is not None:
            keep_lease(in_thread=True)  # so what a killed process held comes back within a lease, and not in an hour
        yield connection
    except connection.channel_errors as exc:
        raise KernelError(
            f"the broker refuses: {exc}", (f"broker {url}",), "kernel queues list shows what is there"
        ) from exc
    except (*connection.connection_errors, OperationalError, OSError) as exc:
        what = f"the broker cannot be reached: {exc}"
        raise Unavailable(what, (f"broker {url}",), "start it, or name another: -b URL") from exc
    finally:
        with suppress(Exception):  # it may be broken
            connection.release()


def names(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """Read `-Q a,b -Q c`."""
    return tuple(dict.fromkeys(name for text in value for name in text.split(",") if name))


def picked(app: App, only: tuple[str, ...] = (), without: tuple[str, ...] = ()) -> list[Any]:
    """Return the application's queues, or those that are named, less others. Raises `UnknownName`."""
    return [queue for queue in app.queues(only) if queue.name not in without]


def bound_queue(queue: Any, channel: Any) -> Any:
    """Return the queue as one of that channel."""
    return queue(channel)


def counts(connection: Any, name: str) -> Counts | None:
    """Return what is in a queue, None where the broker has no queue of that name."""
    channel = connection.channel()
    try:
        found = channel.queue_declare(queue=name, passive=True)
        return Counts(int(found[1] or 0), int(found[2] or 0))
    except connection.channel_errors:
        return None
    finally:
        with suppress(Exception):  # RabbitMQ has closed it where there is no such queue
            channel.close()


def bindings_of(connection: Any) -> list[tuple[str, str, str]] | None:
    """Return (queue, exchange, routing key) of all bindings, None where the broker cannot list them (AMQP)."""
    with connection.channel() as channel:
        listing = getattr(channel, "list_bindings", None)
        return None if listing is None else sorted({(q, e, key) for q, e, key in listing()})


def unknown_queue(app: App, connection: Any, name: str) -> UnknownName:
    """Return the error for a queue that is not there."""
    known = {queue.name for queue in app.queues()} | {queue for queue, _, _ in bindings_of(connection) or ()}
    fix = did_you_mean(name, known) or "kernel queues list shows what is there"
    return UnknownName(f"the broker has no queue {name!r}", (), fix)
