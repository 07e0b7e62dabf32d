"""The worker step `Autoreloader`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bootsteps import POOL, TIMER, KernelError, Setting, StartStopStep, WorkerView
from bootsteps_worker_autoreloader.keys import AUTORELOADER

if TYPE_CHECKING:
    from bootsteps_worker_autoreloader.reloader import Autoreloader

__all__ = ["AUTORELOAD", "AutoreloaderStep"]

AUTORELOAD = Setting[bool](
    "worker_autoreload", bool, False, flags=("--autoreload",), help="replace the pool's children when files change"
)


def _seconds(value: Any) -> float:
    number = float(value)
    if not number > 0:
        raise ValueError("it is a number of seconds above 0")
    return number


INTERVAL = Setting[float](
    "worker_autoreload_interval", _seconds, 0.5, unit="s", flags=(), help="how often --autoreload looks at the files"
)


class AutoreloaderStep(StartStopStep):
    """Watches the files of the application, and has new pool children when one changes: each after its task."""

    name = "Autoreloader"
    provides = (AUTORELOADER,)
    requires = (POOL, TIMER)
    settings = (AUTORELOAD, INTERVAL)

    def include_if(self, worker: WorkerView) -> bool:
        return worker.setting(AUTORELOAD)

    def create(self, worker: WorkerView) -> Autoreloader:
        from bootsteps_tasks import App
        from bootsteps_tasks.renewal import modules_of
        from bootsteps_worker_autoreloader.reloader import Autoreloader, sources

        app = worker.app
        if not isinstance(app, App) or app.spec is None:
            what = f"--autoreload cannot import {app!r} anew"
            raise KernelError(what, (), "name an application with tasks: kernel worker -A MODULE:APP --autoreload")
        #: Modules that could not be imported are watched all the same: so their names are kept.
        kept: dict[str, None] = {}

        def files() -> list[str]:
            kept.update(dict.fromkeys(sources(modules_of(app))))
            return list(kept)

        def renew() -> None:
            app.renew()
            worker.hooks.announce("application_renewed", app=app)
            worker.get(POOL).restart()

        return Autoreloader(files, renew, worker.log)

    def start(self, worker: WorkerView) -> None:
        worker.on_stop(worker.timer.call_repeatedly(worker.setting(INTERVAL), self.obj.look).cancel)

    def stop(self, worker: WorkerView) -> None:
        """Nothing more: the timer's entry is cancelled where it is made."""

    def info(self, worker: WorkerView) -> dict[str, Any]:
        return {"autoreloader": {"files": self.obj.files}}
