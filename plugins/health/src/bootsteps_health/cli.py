"""`kernel health`, with help and words for wrong use; a plain question never comes here, see `probe`."""

from __future__ import annotations

import sys

import click

from bootsteps_health.probe import CHECKS, TIMEOUT_S, Question, ask

__all__ = ["health"]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("words", nargs=-1, metavar="[live|ready|startup] [NAME|PID]")
@click.option(
    "-j", "--json", "as_json", is_flag=True, help="Print the answer as it came: JSON, a line for each worker."
)
@click.option(
    "-t", "--timeout", type=click.FloatRange(min=0.001), default=TIMEOUT_S, show_default=True, help="Seconds."
)
@click.option("--folder", default="", help="Where the sockets are.  [default: this user's own folder]")
@click.option("--address", default="", metavar="HOST:PORT", help="Ask by HTTP, a worker with --health-address.")
def health(words: tuple[str, ...], as_json: bool, timeout: float, folder: str, address: str) -> None:
    """Say how the workers of this user on this machine are, without a broker and without an application.

    \b
    live     the loop and the pool made progress lately
    ready    consuming from every configured queue
    startup  the boot is over

    Without a NAME (a pid, a node's name, or its part before the @) all of them are asked. The exit status is 0 if all
    say yes, 1 if one says no, and 2 if nobody answers.

    \b
    kernel health ready
    kernel health live worker1@example.com --json
    """
    rest = list(words)
    check = rest.pop(0) if rest and rest[0] in CHECKS else "live"
    if len(rest) > 1:
        raise click.UsageError(f"one worker at a time: {' '.join(rest)}")
    if address and not address.rpartition(":")[2].isdigit():
        raise click.UsageError(f"{address!r} is no HOST:PORT")
    sys.exit(ask(Question(check, "".join(rest), as_json, timeout, folder, address)))
