"""`kernel shell`."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from bootsteps.cli import AppCommand, Session
from bootsteps.errors import LackingCapability, WrongType

if TYPE_CHECKING:
    from bootsteps_tasks import App

__all__ = ["shell"]

#: In the order in which they are looked for.
PROMPTS = ("ipython", "bpython", "python")
#: Whoever wants one installs it; it is no part of ours.
MODULES = {"ipython": "IPython", "bpython": "bpython"}


@click.command(cls=AppCommand)
@click.option("-I", "--ipython", "wanted", flag_value="ipython", help="IPython's prompt.")
@click.option("-B", "--bpython", "wanted", flag_value="bpython", help="bpython's prompt.")
@click.option("-P", "--python", "wanted", flag_value="python", help="Python's own prompt.")
@click.option("-T", "--without-tasks", is_flag=True, help="Give no names to tasks.")
@click.pass_obj
def shell(session: Session, wanted: str | None, without_tasks: bool) -> None:
    """Open a Python prompt with the application in it: IPython's, bpython's or Python's own, the first that is there.

    \b
    kernel -A proj shell
    >>> add.delay(2, 2).get(timeout=10)
    >>> group(add.s(n, n) for n in range(3)).delay().get()
    >>> app.control.inspect().active()

    There are: app; its tasks by the names of their functions; chain, group, chord, signature, AsyncResult. What stands
    in a file or a pipe is read as if it was typed: kernel -A proj shell -P < commands.py
    """
    from bootsteps_tasks import App

    app = session.app() if session.has_app() else App()
    if not isinstance(app, App):
        fix = "-A MODULE where app = bootsteps_tasks.App('name'): kernel -A proj shell"
        raise WrongType(f"{app!r} is no application with tasks", (f"-A gave a {type(app).__name__}",), fix)
    app.load()
    known = names(app, tasks=not without_tasks)
    prompt = _prompt(wanted)
    banner = f"kernel shell: {app.main or 'no application'}\n{', '.join(sorted(known))}"
    {"ipython": _ipython, "bpython": _bpython, "python": _python}[prompt](known, banner)


def names(app: App, tasks: bool = True) -> dict[str, Any]:
    """Return what the prompt knows; of two tasks of one name the last by their full names is there."""
    from bootsteps_tasks import AsyncResult, chain, chord, group, signature

    own = {
        "app": app,
        "chain": chain,
        "group": group,
        "chord": chord,
        "signature": signature,
        "AsyncResult": AsyncResult,
    }
    if not tasks:
        return own
    ours = {name: task for name, task in sorted(app.tasks.items()) if not name.startswith(("bootsteps.", "celery."))}
    short = {name.rpartition(".")[2]: task for name, task in ours.items()}
    return {name: task for name, task in short.items() if name.isidentifier()} | own


def _prompt(wanted: str | None) -> str:
    if wanted is None:
        return next(name for name in PROMPTS if name not in MODULES or _installed(name))
    if wanted in MODULES and not _installed(wanted):
        what = f"{MODULES[wanted]} is not installed"
        raise LackingCapability(what, (f"kernel shell --{wanted}",), f"pip install {wanted}, or: kernel shell --python")
    return wanted


def _installed(name: str) -> bool:
    return importlib.util.find_spec(MODULES[name]) is not None


def _python(known: Mapping[str, Any], banner: str) -> None:
    import code
    import sys

    if sys.stdin.isatty():
        _complete(known)
    code.interact(banner, local=dict(known), exitmsg="")


def _complete(known: Mapping[str, Any]) -> None:
    try:
        import readline
        import rlcompleter
    except ImportError:  # a Python without readline has no Tab key
        return
    readline.set_completer(rlcompleter.Completer(dict(known)).complete)
    readline.parse_and_bind("tab: complete")


def _ipython(known: Mapping[str, Any], banner: str) -> None:
    click.echo(banner)
    importlib.import_module(MODULES["ipython"]).start_ipython(argv=["--no-banner"], user_ns=dict(known))


def _bpython(known: Mapping[str, Any], banner: str) -> None:
    importlib.import_module(MODULES["bpython"]).embed(dict(known), banner=banner)
