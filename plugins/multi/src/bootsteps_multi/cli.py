"""`kernel multi`."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import click

from bootsteps import KernelError, __version__
from bootsteps.cli import Session
from bootsteps.errors import did_you_mean

__all__ = ["multi"]

USAGE = """\b
kernel multi start NODES... [OPTIONS]            start them, and wait until they are ready
kernel multi stop NODES... [-SIGNAL]             send TERM, or another signal
kernel multi stopwait NODES... [-SIGNAL]         the same, and wait until they have ended (stop_verify)
kernel multi restart NODES... [-SIGNAL] [OPTIONS]  stop, wait and start
kernel multi kill NODES...                       send KILL
kernel multi show NODES... [OPTIONS]             print the commands that start would run
kernel multi get NODE NODES... [OPTIONS]         print the options of one of them
kernel multi names NODES...                      print their names
kernel multi expand TEMPLATE NODES...            print the template with their names in it
kernel multi help"""
ACTIONS = (*("start", "stop", "stopwait", "stop_verify", "restart", "kill", "show", "get", "names", "expand", "help"),)


class _Multi(click.Command):
    """Takes its words as they are: most are options of the worker, with scopes (`-c:1-3`) that click cannot read."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or args[0] in ("--help", "-h", "help"):
            click.echo(self.get_help(ctx))
            ctx.exit(0 if args else 2)
        ctx.params = {"action": args[0], "words": args[1:]}
        return []


@click.command(cls=_Multi)
@click.pass_context
def multi(ctx: click.Context, action: str, words: Sequence[str]) -> None:
    # USAGE stands first in the help, and is filled in below.
    if action not in ACTIONS:
        fix = did_you_mean(action, ACTIONS) or f"one of {', '.join(ACTIONS)}"
        raise KernelError(f"kernel multi has no action {action!r}", (f"kernel multi {action}",), fix)
    ctx.exit(_run(action, words, ctx.ensure_object(Session)))


multi.help = f"""Start, stop and restart several workers on this machine.

{USAGE}

NODES are names (Leslie, video@%h), or one number: 3 is celery1, celery2 and celery3. All options that multi does not
know are the worker's. An option may be for some nodes: by name (-c:Leslie,video 4), place (-c:2 4) or range (-Q:1-3 x).

\b
kernel multi start 1 -A proj -l INFO -c4 --pidfile=/var/run/kernel/%n.pid
kernel multi restart 1 --pidfile=/var/run/kernel/%n.pid
kernel multi start 10 -A proj -l INFO -Q:1-3 images,video -Q:4,5 data -Q default -l:4,5 DEBUG

A long option of the worker and its value are one word: --option=value. A restart without options of the worker starts
each node with the command line that it runs with. Exit status: 0 done (a node that is down needs no stop), 1 a node did
not become ready, 2 wrong use.

\b
--pidfile=PATH      default ~/.local/state/bootsteps/multi/%n.pid; %p node, %n its name, %h host, %d domain
--logfile=PATH      default ~/.local/state/bootsteps/multi/%n%I.log; also %i, %I: a child's number
--hostname=HOST     of nodes whose name has none (-n); also --suffix
--range-prefix=P    of nodes named by a number; default celery. --prefix=P: of all
--executable=PATH   the Python that runs them; --cmd=WORDS: what it runs, default: -m bootsteps worker --detach
--append=WORDS      at the end of each command, as what follows -- is
--nosplash, -q/--quiet, --verbose, -C/--no-color"""


def _run(action: str, typed: Sequence[str], session: Session) -> int:
    from bootsteps_multi.nodes import expand, make_nodes
    from bootsteps_multi.words import read

    first, typed = _first(action, typed) if action in ("get", "expand") else ("", typed)
    words = read(typed, signals=action in ("stop", "stopwait", "stop_verify", "restart"))
    nodes = make_nodes(words, session.words())
    if action in ("names", "expand"):
        click.echo("\n".join(expand(first or "%p", node.name) for node in nodes))
        return 0
    if action == "show":
        click.echo("\n".join(shlex.join((node.executable, *node.command)) for node in nodes))
        return 0
    if action == "get":
        found = [node for node in nodes if first in (node.name, node.name.partition("@")[0])]
        return _say_one(shlex.join(found[0].command)) if found else _no_such(first, [node.name for node in nodes])
    return _act(action, words, nodes)


def _first(action: str, typed: Sequence[str]) -> tuple[str, Sequence[str]]:
    if not typed:
        what = "a template" if action == "expand" else "a node"
        raise KernelError(
            f"kernel multi {action} needs {what} and nodes", (f"kernel multi {action}",), "kernel multi help"
        )
    return typed[0], typed[1:]


def _say_one(text: str) -> int:
    click.echo(text)
    return 0


def _no_such(name: str, names: Sequence[str]) -> NoReturn:
    raise KernelError(f"there is no node {name!r} among these", (), did_you_mean(name, names) or ", ".join(names))


def _act(action: str, words: Any, nodes: Sequence[Any]) -> int:
    """Do something to the processes; return the exit status."""
    from bootsteps_multi.cluster import Cluster

    say = _speaker(words.switches)
    if "nosplash" not in words.switches:
        say(f"kernel multi v{__version__}", 1)
    cluster = Cluster(nodes, say)
    if action == "start":
        say("> Starting nodes...", 1)
        return cluster.start()
    signum = signal.SIGKILL if action == "kill" else words.signum or signal.SIGTERM
    say("> Stopping nodes...", 1)
    if action == "restart":
        return cluster.restart(signum)
    running = cluster.signal(signum)
    if action in ("stopwait", "stop_verify", "kill"):
        cluster.wait(running)
    return 0


def _speaker(switches: set[str]) -> Callable[[str, int], None]:
    """Return what prints a line: of level 1 unless quiet, of level 2 when verbose; colours on a terminal only."""
    level = 0 if "quiet" in switches else 2 if "verbose" in switches else 1
    colors = {"OK": "green", "FAILED": "red", "DOWN": "magenta"}

    def say(text: str, needs: int) -> None:
        if needs > level:
            return
        for word, color in colors.items():
            text = text.replace(f": {word}", f": {click.style(word, fg=color)}")
        click.echo(text, color=False if "no_color" in switches else None)

    return say
