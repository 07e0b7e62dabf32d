"""Lend the timer."""

from __future__ import annotations

from bootsteps import TIMER, StartStopStep, WorkerView, services

__all__ = ["Timer"]


class Timer(StartStopStep):
    """Schedules calls in the loop thread; whoever turns the loop makes it tick."""

    provides = (TIMER,)

    def create(self, worker: WorkerView) -> services.Timer:
        from kombu.asynchronous.timer import Timer as KombuTimer

        timer: services.Timer = KombuTimer(max_interval=10.0)
        return timer

    def stop(self, worker: WorkerView) -> None:
        self.obj.clear()
