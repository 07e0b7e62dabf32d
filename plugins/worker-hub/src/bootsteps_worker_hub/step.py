"""Lend the event loop."""

from __future__ import annotations

from bootsteps import HUB, TIMER, StartStopStep, WorkerView, services

__all__ = ["Hub"]


class Hub(StartStopStep):
    """The event loop that everything in the parent process shares."""

    provides = (HUB,)
    requires = (TIMER,)

    def create(self, worker: WorkerView) -> services.Hub:
        from bootsteps_worker_hub.hub import Hub as EventLoop

        hub: services.Hub = EventLoop(worker.get(TIMER))
        return hub

    def start(self, worker: WorkerView) -> None:
        from kombu.asynchronous.hub import set_event_loop

        set_event_loop(self.obj)  # transports and pools of kombu's make ask for it there
        worker.on_stop(self.obj.close)
        self.obj.open()

    def stop(self, worker: WorkerView) -> None:
        """Nothing more: closing it is registered where it is acquired."""
