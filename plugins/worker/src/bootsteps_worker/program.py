"""The worker as a process."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Sequence

from bootsteps import App, KernelError, Plan
from bootsteps.cli import Session
from bootsteps.discovery import Broken
from bootsteps_worker.controller import WorkController
from bootsteps_worker.names import node_name
from bootsteps_worker.signals import GRACE

__all__ = ["launch", "make", "name_node", "relaunch", "run"]

log = logging.getLogger("worker")


def name_node(app: App, hostname: str | None) -> str:
    """Return the worker's node name, and let listeners change the application's settings for it."""
    name = node_name(hostname, socket.gethostname())
    app.hooks.announce("celeryd_init", hostname=name, app=app)
    return name


def relaunch(session: Session) -> tuple[Sequence[str], str]:
    """Return the command line that calls this program again, and the folder to call it from."""
    return (sys.executable, *sys.orig_argv[1:]), session.folder


def launch(session: Session, name: str) -> None:
    """Let listeners put the worker into another process before anything of it is there; then this one ends."""
    app = session.app()
    loaded = ((str(plugin), session.catalogue.load(plugin)) for plugin in session.catalogue.group("kernel.hooks"))
    app.hooks.adopt((whose, found) for whose, found in loaded if not isinstance(found, Broken))  # which is told later
    command, folder = relaunch(session)
    app.hooks.announce("worker_launched", app=app, hostname=name, command=command, folder=folder)


def make(session: Session, plan: Plan, name: str) -> WorkController:
    """Return the controller of what the session composed."""
    app = session.app()
    return WorkController(app, plan, hostname=name, options=session.options(), grace_s=app.conf.get(GRACE))


def run(worker: WorkController) -> int:
    """Run the worker and return the exit status."""
    try:
        return worker.start()
    except KernelError:
        raise
    except Exception:
        log.critical("the worker could not go on", exc_info=True)
        return 1
