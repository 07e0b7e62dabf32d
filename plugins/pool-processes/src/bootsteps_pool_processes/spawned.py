"""The first steps of a child that is a fresh interpreter."""

from __future__ import annotations

import os
import pickle
import socket
import sys

__all__ = ["main", "nursery"]


def main(fd: int) -> None:
    """Read from the descriptor what this child is, and be it."""
    with os.fdopen(fd, "rb") as file:
        end, sys.path[:], logs = pickle.load(file)
        from bootsteps_pool_processes.child import failed, live
        from bootsteps_pool_processes.hygiene import be_a_child
        from bootsteps_pool_processes.logs import restore
        from bootsteps_pool_processes.nature import Equipment
        from bootsteps_pool_processes.shared import Claims, Slot

        pool = socket.socket(fileno=end)
        restore(logs)
        try:
            birth, (_, reader, slot), recycling = pickle.load(file)
        except BaseException:  # the application cannot be imported here
            failed(pool)
    for each in (end, reader, slot):
        os.set_inheritable(each, False)
    equipment = Equipment(pool, Claims(reader), Slot(slot), recycling, birth.make_runner)
    os.close(slot)
    be_a_child(birth.parent, (), birth.mask)
    live(birth, equipment)


def nursery(fd: int) -> None:
    """Read from the descriptor what the children will be, import it, and fork them when asked."""
    with os.fdopen(fd, "rb") as file:
        end, sys.path[:], logs = pickle.load(file)
        from bootsteps_pool_processes.logs import restore
        from bootsteps_pool_processes.nursery import serve

        os.set_inheritable(end, False)
        pool = socket.socket(fileno=end)
        restore(logs)
        birth, recycling = pickle.load(file)
    serve(pool, birth, recycling)
