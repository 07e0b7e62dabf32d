"""`kernel inspect`, `kernel control` and `kernel status`. kombu is imported only where the broker is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bootsteps import Command, KernelError
from bootsteps.cli import AppCommand, Session
from bootsteps.errors import WrongType
from bootsteps_control_client.listing import arguments_of, find, listed
from bootsteps_control_client.printing import online, say, say_json

if TYPE_CHECKING:
    from bootsteps_tasks import App

__all__ = ["control", "inspect", "status"]

F = TypeVar("F", bound=Callable[..., Any])

#: The exit status when nobody answers, as Celery's: EX_UNAVAILABLE of sysexits.h.
UNAVAILABLE = 69
TIMEOUT_S = 1.0

Answers = list[dict[str, Any]]


class Unanswered(KernelError):
    """No worker answered."""

    exit_status = UNAVAILABLE


class RemoteCommand(AppCommand):
    """A command whose help lists the remote commands of its kind."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _write(ctx, formatter, str(self.name))


def _write(ctx: click.Context, formatter: click.HelpFormatter, kind: str) -> None:
    rows = [(f"{c.name} {c.signature}".rstrip(), c.help.partition("\n")[0]) for c in listed(ctx.obj, kind)]
    if rows:
        with formatter.section(f"{kind.capitalize()} Commands"):
            formatter.write_dl(rows, col_max=40)


def _list(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        formatter = ctx.make_formatter()
        _write(ctx, formatter, str(ctx.command.name))
        click.echo(formatter.getvalue().rstrip())
        ctx.exit()


def _names(ctx: click.Context, param: click.Parameter, value: str | None) -> list[str] | None:
    return [name.strip() for name in value.split(",") if name.strip()] if value else None


def _options(function: F) -> F:
    for option in reversed(
        (
            click.option("-t", "--timeout", type=float, metavar="SECONDS", help="How long to wait.  [default: 1.0]"),
            click.option("-d", "--destination", metavar="NODE,...", callback=_names, help="Ask these nodes only."),
            click.option("-j", "--json", "as_json", is_flag=True, help="Print one JSON text."),
            click.option("-b", "--broker", metavar="URL", help="The broker, if no application names it."),
            click.option("--local", metavar="PID|NODE", help="Ask this worker of this machine, without the broker."),
        )
    ):
        function = option(function)
    return function


_unparsed = {"ignore_unknown_options": True}
_listing = click.option("--list", is_flag=True, expose_value=False, is_eager=True, callback=_list, help="List them.")


@click.command(cls=RemoteCommand, context_settings=_unparsed)
@click.argument("command")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@_options
@_listing
@click.pass_context
def inspect(ctx: click.Context, /, command: str, args: tuple[str, ...], **how: Any) -> None:
    """Ask workers something: the COMMAND has no effect on them.

    \b
    kernel -A proj inspect active
    kernel -A proj inspect query_task ID1 ID2 -d worker1@host --json
    kernel inspect stats --local 4711

    Exit status: 0 somebody answered, 69 nobody did, 2 wrong use.
    """
    answers = _run(ctx.obj, "inspect", command, args, **how)
    if how["as_json"]:
        say_json({node: reply for answer in answers for node, reply in answer.items()})
    elif not ctx.obj.quiet:
        online(len(answers))


@click.command(cls=RemoteCommand, context_settings=_unparsed)
@click.argument("command")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@_options
@_listing
@click.pass_context
def control(ctx: click.Context, /, command: str, args: tuple[str, ...], **how: Any) -> None:
    """Tell workers to do something.

    \b
    kernel -A proj control rate_limit proj.mail 10/m
    kernel -A proj control pool_grow 2 -d worker1@host

    Exit status: 0 somebody answered (also with an error), 69 nobody did, 2 wrong use.
    """
    answers = _run(ctx.obj, "control", command, args, **how)
    if how["as_json"]:
        say_json(answers)


@click.command(cls=AppCommand)
@_options
@click.pass_context
def status(ctx: click.Context, /, **how: Any) -> None:
    """Show the workers that are online.

    \b
    kernel -A proj status
    kernel -b redis://localhost/0 status --json -t 3

    Exit status: 0 there is one, 69 there is none.
    """
    answers = _run(ctx.obj, "inspect", "ping", (), body=False, **how)
    if how["as_json"]:
        say_json({node: reply for answer in answers for node, reply in answer.items()})
    elif not ctx.obj.quiet:
        online(len(answers))


def _run(
    session: Session, kind: str, name: str, words: Sequence[str], *, timeout: float | None,
    destination: list[str] | None, as_json: bool, broker: str | None, local: str | None, body: bool = True,
) -> Answers:  # fmt: skip
    """Ask, print the answers as they come, and return them. Raises `Unanswered`."""
    command = find(session, kind, name)
    arguments = arguments_of(command, words)
    seconds = timeout if timeout is not None else max(TIMEOUT_S, command.default_timeout or 0.0)

    def told(answer: Mapping[str, Any]) -> None:
        if not as_json:
            say(answer, body)

    if local is not None:
        return _locally(local, command, arguments, seconds, told)
    answers = _by_broker(_app(session, broker), command, arguments, seconds, destination, told)
    if not answers:
        fix = "is a worker running, on this broker? -t SECONDS waits longer for a busy one"
        asked = f"kernel {kind} {name}" if body else "kernel status"
        raise Unanswered("No nodes replied within time constraint", (asked,), fix)
    return answers


def _locally(
    name: str, command: Command, arguments: Mapping[str, Any], timeout: float, told: Callable[[Any], None]
) -> Answers:
    from bootsteps_control_socket import ask
    from bootsteps_control_socket import find as find_socket

    answer = ask(find_socket(name), command.name, arguments, timeout)
    told(answer)
    return [answer]


def _by_broker(
    app: App, command: Command, arguments: Mapping[str, Any], timeout: float, destination: list[str] | None,
    told: Callable[[Any], None],
) -> Answers:  # fmt: skip
    from kombu.exceptions import OperationalError

    from bootsteps_control_client.control import Control

    asking = Control(app)
    try:
        answers = asking.broadcast(
            command.name, arguments, destination, reply=True, timeout=timeout, callback=told
        )  # fmt: skip
    except OperationalError as exc:
        url = app.mask_url(app.broker_url()[0])
        raise Unanswered(
            f"the broker cannot be reached: {exc}", (f"broker {url}",), "start it, or name another"
        ) from exc
    finally:
        asking.close()
    return answers or []


def _app(session: Session, broker: str | None) -> App:
    from bootsteps_tasks import App

    app = session.app()
    if not isinstance(app, App):
        if app.spec is not None:
            fix = "-A MODULE where app = bootsteps_tasks.App('name')"
            raise WrongType(f"{app!r} is no application with tasks", (f"-A {app.spec}",), fix)
        app = App()
    if broker:
        app.conf.override({"broker_url": broker})
    return app
