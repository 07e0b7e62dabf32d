"""The life of a child: become one, start the runner, work, stop the runner."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import socket
import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NoReturn

from bootsteps import Runner
from bootsteps_pool_processes.frames import FAILED, READY, pack
from bootsteps_pool_processes.nature import Equipment, Nature

__all__ = ["Birth", "failed", "live"]


@dataclass(frozen=True, slots=True)
class Birth:
    """What a child is told about itself. Picklable if the runner's factory is."""

    parent: int
    #: Its place among the children, from 0.
    index: int
    nature: Nature
    make_runner: Callable[[], Runner]
    #: The signals that were blocked before all of them were.
    mask: Iterable[int]


def live(birth: Birth, equipment: Equipment) -> None:
    """Run until the pool closes the socket, or the child's share is used up. To be called after `be_a_child`.

    Never raises; ends the process with status 1 if the runner does not start.
    """
    _name(birth)
    runner = _start(birth, equipment)
    try:
        _work(birth.nature)(equipment, runner)
    except (BrokenPipeError, ConnectionResetError):
        pass  # the pool is gone, and nobody waits for the report
    finally:
        runner.stop()


def _work(nature: Nature) -> Callable[[Equipment, Runner], None]:
    if not isinstance(nature.work, str):
        return nature.work
    module, _, name = nature.work.partition(":")
    found: Callable[[Equipment, Runner], None] = getattr(importlib.import_module(module), name)
    return found


def _name(birth: Birth) -> None:
    """Tell all who ask who this is: log records (multiprocessing), and Celery's users (billiard)."""
    from billiard.process import current_process

    process = current_process()
    process.daemon = False  # or tasks could not have processes of their own
    process.__dict__["index"] = birth.index  # where Celery's users look for it
    process.name = multiprocessing.current_process().name = birth.nature.name(birth.index)


def _start(birth: Birth, equipment: Equipment) -> Runner:
    try:
        runner = birth.make_runner()
        runner.start()
    except BaseException:
        failed(equipment.socket)
    equipment.socket.sendall(pack(READY, 0))
    return runner


def failed(pool: socket.socket) -> NoReturn:
    """Send the traceback of what is being handled to the pool, and end this process."""
    pool.sendall(pack(FAILED, 0, traceback.format_exc().encode(errors="replace")))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)  # the pool logs it, once
