"""The worker as a process."""

from __future__ import annotations

import logging
import socket

from bootsteps import KernelError, Plan
from bootsteps.cli import Session
from bootsteps_worker.controller import WorkController
from bootsteps_worker.names import node_name
from bootsteps_worker.signals import GRACE

__all__ = ["make", "run"]

log = logging.getLogger("worker")


def make(session: Session, plan: Plan, hostname: str | None) -> WorkController:
    """Return the controller of what the session composed."""
    app = session.app()
    name = node_name(hostname, socket.gethostname())
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
