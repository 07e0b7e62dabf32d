"""Lend a pool of child processes, one task at a time in each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootsteps import WorkerView
from bootsteps_pool_processes.step import START_METHOD, ChildrenStep

if TYPE_CHECKING:
    from bootsteps_pool_processes.nature import Nature

__all__ = ["PreforkPool"]


class PreforkPool(ChildrenStep):
    """Runs tasks in child processes, fed in batches over sockets."""

    name = "Pool"
    choice = "prefork"
    settings = (*ChildrenStep.settings, START_METHOD)

    def nature(self, worker: WorkerView) -> Nature:
        from bootsteps_pool_processes.nature import Nature
        from bootsteps_pool_processes.serial import serial

        return Nature("prefork", serial, start_method=worker.setting(START_METHOD))
